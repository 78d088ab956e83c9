"""What is under test: a bot that asks Dify, waits when it is told to, and never repeats what cannot work."""

import time

import requests


class Unavailable(Exception):
    """Nobody can answer now."""


class SupportBot:
    def __init__(self, base_url, key, *, attempts=3, sleep=time.sleep):
        self.url, self.attempts, self.sleep = f"{base_url}/chat-messages", attempts, sleep
        self.headers = {"Authorization": f"Bearer {key}"}
        self.conversations = {}

    def ask(self, customer, question, language="en"):
        """The answer for *customer*, in the conversation that they have."""
        body = {
            "inputs": {"language": language},
            "query": question,
            "user": customer,
            "conversation_id": self.conversations.get(customer, ""),
        }
        answer = self._post(body).json()
        self.conversations[customer] = answer["conversation_id"]
        return answer["answer"]

    def _post(self, body):
        for attempt in range(self.attempts):
            reply = requests.post(self.url, json=body, headers=self.headers, timeout=60)
            if reply.status_code == 429 or reply.status_code >= 500:
                self.sleep(float(reply.headers.get("Retry-After", 2**attempt)))
                continue
            if reply.status_code == 404 and body["conversation_id"]:  # it was deleted: begin a new one
                body = body | {"conversation_id": ""}
                continue
            reply.raise_for_status()
            return reply
        raise Unavailable
