"""One line a call: endpoint, user, status, time. No key and no text of anybody's in it."""

import functools
import logging
import time

import requests

log = logging.getLogger("backend.dify")


def logged(call):
    """*call*, which logs how it went."""

    @functools.wraps(call)
    def wrapped(query, *, user, **more):
        start, status = time.perf_counter(), "no reply"
        try:
            answer = call(query, user=user, **more)
            status = 200
        except requests.HTTPError as error:
            status = error.response.status_code
            raise
        finally:
            log.info("chat-messages user=%s status=%s %.0f ms", user, status, (time.perf_counter() - start) * 1000)
        return answer

    return wrapped
