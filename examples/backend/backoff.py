"""Ask again when that can help, later each time; give up with the error that was met."""

import random
import time

import requests


def with_backoff(call, *, tries=4, first=0.5, longest=30.0, sleep=time.sleep, chance=random.random):
    """What *call* returns. It is called at most *tries* times."""
    for attempt in range(tries - 1):
        try:
            return call()
        except requests.RequestException as error:
            if not is_passing(error):
                raise
            wait = told_wait(error)
            if wait is None:
                wait = first * 2**attempt * (0.5 + chance() / 2)  # not all clients at the same moment
            sleep(min(wait, longest))
    return call()


def is_passing(error):
    """Whether the same request may succeed later: limits and failures of servers, not mistakes of ours."""
    if error.response is None:
        return isinstance(error, requests.ConnectionError | requests.Timeout)
    if error.response.status_code == 429:
        return '"rate_limit_error"' not in error.response.text  # a used-up quota does not come back in seconds
    return error.response.status_code >= 500


def told_wait(error):
    """Seconds that the server asked for, if it did."""
    said = "" if error.response is None else error.response.headers.get("Retry-After", "")
    return float(said) if said.isdigit() else None
