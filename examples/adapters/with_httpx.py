"""A client written with `httpx` the way most people do: `iter_lines`, which breaks lines at U+2028 and U+0085.

mockdify check examples/adapters/with_httpx.py
"""

import json

import httpx
from joined import joined, whole
from lines import Reported


def events(response):
    for line in response.iter_lines():
        if line.startswith("data:"):
            yield json.loads(line[5:])


def chat(base_url, api_key, query, user, inputs, conversation_id, stream, timeout, emit):
    body = {"query": query, "user": user, "inputs": inputs, "conversation_id": conversation_id}
    body["response_mode"] = "streaming" if stream else "blocking"
    headers = {"Authorization": f"Bearer {api_key}"}
    with httpx.stream("POST", f"{base_url}/chat-messages", json=body, headers=headers, timeout=timeout) as response:
        if response.is_error:
            response.read()
            said = response.json() if "json" in response.headers.get("Content-Type", "") else {}
            raise Reported("http", said.get("message", ""), response.status_code, said.get("code"))
        if stream:
            return joined(events(response), emit)
        response.read()
        return whole(response.json())
