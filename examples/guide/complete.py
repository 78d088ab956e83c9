"""Text generation: one prompt, one text; the answer streams, and its raw body is printed as it came."""

import json
import os

import requests

BASE_URL = os.environ.get("DIFY_BASE_URL", "http://127.0.0.1:5001/v1")
API_KEY = os.environ.get("DIFY_API_KEY", "app-completion-demo")


def complete(text):
    return requests.post(
        f"{BASE_URL}/completion-messages",
        headers={"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"},
        data=json.dumps({"inputs": {"text": text}, "response_mode": "streaming", "user": "abc-123"}),
    )


if __name__ == "__main__":
    print(complete("How is the weather?").text)
