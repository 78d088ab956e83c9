"""The guide's retry helper, with its mistakes: see the table in README.md before you borrow it.

`time` is imported here; the guide forgets that too.
"""

import time

import requests
from requests.exceptions import RequestException


def chat_with_retry(url, headers, data, max_retries=3):
    for attempt in range(max_retries):
        try:
            response = requests.post(url, headers=headers, json=data)
            response.raise_for_status()
            return response.json()
        except RequestException:
            if response.status_code == 429:
                wait_time = 2**attempt
                time.sleep(wait_time)
                continue
            if response.status_code >= 500 and attempt < max_retries - 1:
                time.sleep(wait_time)
                continue
            raise
    return None
