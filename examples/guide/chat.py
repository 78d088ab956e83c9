"""Chat, blocking: one question and the whole answer, as the guide's chat reply shows it."""

import json
import os

import requests

BASE_URL = os.environ.get("DIFY_BASE_URL", "http://127.0.0.1:5001/v1")
API_KEY = os.environ.get("DIFY_API_KEY", "app-chat-demo")


def chat(query, **more):
    return requests.post(
        f"{BASE_URL}/chat-messages",
        headers={"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"},
        data=json.dumps({"inputs": {}, "query": query, "response_mode": "blocking", "user": "abc-123", **more}),
    )


if __name__ == "__main__":
    print(chat("Hello").json()["result"])
