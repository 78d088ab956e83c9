"""How long a call took, in the log. The guide reads `status_code` of what is a dict: it fails after every answer."""

import logging
import time

from batch import HEADERS, URL
from retry_helper import chat_with_retry

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("guide")


def log_api_call(endpoint, status, response_time):
    log.info("API: %s | Status: %s | Time: %.1fms", endpoint, status, response_time)


def monitor_chat(query):
    start = time.time()
    body = {"inputs": {}, "query": query, "response_mode": "blocking", "user": "abc-123"}
    response = chat_with_retry(URL, HEADERS, body)
    log_api_call("chat", response.status_code, (time.time() - start) * 1000)
    return response


if __name__ == "__main__":
    monitor_chat("Hello")
