"""A client written with `requests`: lines of bytes, errors looked at, the end event waited for.

mockdify check examples/adapters/with_requests.py
"""

import json

import requests
from joined import joined, whole
from lines import Reported


def events(response):
    for line in response.iter_lines():  # bytes: text lines would break at U+2028
        if line.startswith(b"data:"):
            yield json.loads(line[5:])


def ask(path, call, stream, timeout, emit):
    body = {**call, "response_mode": "streaming" if stream else "blocking"}
    headers = {"Authorization": f"Bearer {body.pop('api_key')}"}
    with requests.post(
        body.pop("base_url") + path, json=body, headers=headers, stream=stream, timeout=timeout
    ) as response:
        if not response.ok:
            said = response.json() if "json" in response.headers.get("Content-Type", "") else {}
            raise Reported("http", said.get("message", response.reason), response.status_code, said.get("code"))
        return joined(events(response), emit) if stream else whole(response.json())


class Adapter:
    def chat(self, base_url, api_key, query, user, inputs, conversation_id, stream, timeout, emit):
        call = {"query": query, "user": user, "inputs": inputs, "conversation_id": conversation_id}
        return ask("/chat-messages", {**call, "base_url": base_url, "api_key": api_key}, stream, timeout, emit)

    def completion(self, base_url, api_key, user, inputs, stream, timeout, emit):
        call = {"user": user, "inputs": inputs, "base_url": base_url, "api_key": api_key}
        return ask("/completion-messages", call, stream, timeout, emit)
