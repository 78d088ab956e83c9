"""The same question of the same user is asked once in a while. Errors and later turns are never kept."""

import time


class AnswerCache:
    def __init__(self, ask, *, seconds=300, size=1000, now=time.monotonic):
        self._ask, self._seconds, self._size, self._now = ask, seconds, size, now
        self._kept = {}

    def ask(self, query, *, user, conversation_id="", **more):
        """An answer that is young enough, else a new one."""
        if conversation_id or more:  # the answer depends on more than the question
            return self._ask(query, user=user, conversation_id=conversation_id, **more)
        key, now = (user, " ".join(query.split())), self._now()
        made, answer = self._kept.pop(key, (None, None))
        if made is None or now - made >= self._seconds:
            made, answer = now, self._ask(query, user=user)
        self._kept[key] = made, answer
        if len(self._kept) > self._size:
            del self._kept[next(iter(self._kept))]  # the one that was not asked for longest
        return answer
