"""At most so many questions of one user in so many seconds: refused here, they cost nothing there."""

import time
from collections import defaultdict, deque


class RateLimit:
    def __init__(self, calls, seconds, now=time.monotonic):
        self.calls, self.seconds, self.now = calls, seconds, now
        self._times = defaultdict(deque)

    def allows(self, user):
        """Whether *user* may ask now; if so, it counts."""
        times, now = self._times[user], self.now()
        while times and times[0] <= now - self.seconds:
            times.popleft()
        if len(times) == self.calls:
            return False
        times.append(now)
        return True
