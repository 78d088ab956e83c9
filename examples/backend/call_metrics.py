"""Calls by status, their time, the tokens they cost: what a dashboard shows."""

import time
from collections import Counter

import requests


class Metrics:
    def __init__(self):
        self.calls, self.tokens, self.seconds = Counter(), 0, []

    def watch(self, ask, query, *, user):
        """*ask* as it is, counted."""
        start, status = time.perf_counter(), "no reply"
        try:
            answer = ask(query, user=user)
            status = 200
        except requests.HTTPError as error:
            status = error.response.status_code
            raise
        finally:
            self.calls[status] += 1
            self.seconds.append(time.perf_counter() - start)
        self.tokens += answer["metadata"]["usage"]["total_tokens"]
        return answer
