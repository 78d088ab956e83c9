"""The guide's unit test and its integration test. On Dify the first fails: its answers have no `result`."""

import unittest

from batch import HEADERS, URL
from retry_helper import chat_with_retry


def ask(query, **more):
    body = {"inputs": {}, "query": query, "response_mode": "blocking", "user": "test", **more}
    return chat_with_retry(URL, HEADERS, body)


class TestDifyAPI(unittest.TestCase):
    def test_chat(self):
        response = ask("Hello")
        self.assertIsNotNone(response)  # noqa: PT009 - the guide tests with unittest
        self.assertIn("result", response)  # noqa: PT009


def test_conversation_flow():
    first = ask("Hello")
    second = ask("How are you?", conversation_id=first["conversation_id"])
    assert second is not None
    assert second["conversation_id"] == first["conversation_id"]
