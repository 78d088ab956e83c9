"""Many questions, a few at a time. One that fails spoils no other; answers keep the order of the questions."""

from concurrent.futures import ThreadPoolExecutor

import requests


def ask_all(ask, queries, *, user, at_once=4):
    """For each query Dify's answer, or the exception it ended with."""

    def one(query):
        try:
            return ask(query, user=user)
        except requests.RequestException as error:
            return error

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, queries))
