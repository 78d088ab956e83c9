"""Chat, streaming: every `message` is printed as it comes, then the metadata of `message_end`."""

import json
import os

import requests

BASE_URL = os.environ.get("DIFY_BASE_URL", "http://127.0.0.1:5001/v1")
API_KEY = os.environ.get("DIFY_API_KEY", "app-chat-demo")


def read_aloud(query):
    response = requests.post(
        f"{BASE_URL}/chat-messages",
        headers={"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"},
        json={"inputs": {}, "query": query, "response_mode": "streaming", "user": "abc-123"},
        stream=True,
    )
    for raw in response.iter_lines():
        line = raw.decode("utf-8")
        if not line.startswith("data: "):
            continue
        event = json.loads(line[6:])
        if event.get("event") == "message":
            print(event.get("answer"), end="", flush=True)
        elif event.get("event") == "message_end":
            print("\n-- complete")
            print(f"-- {event.get('metadata')}")


if __name__ == "__main__":
    read_aloud("Tell me a story")
