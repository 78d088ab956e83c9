"""dify-client 0.1.10, the first official Python SDK. It hands `requests` responses on; they are read as its README does.

pip install dify-client==0.1.10
mockdify check --exec "python examples/adapters/dify_client_0_1.py"
"""

import json

from dify_client import ChatClient, CompletionClient
from lines import run


def read(response, stream, emit):
    response.raise_for_status()
    said = {"text": ""}
    if not stream:
        body = response.json()
        return {
            "text": body["answer"],
            "conversation_id": body.get("conversation_id"),
            "message_id": body["message_id"],
        }
    for line in response.iter_lines(decode_unicode=True):  # the README's loop
        line = line.split("data:", 1)[-1]
        if line.strip():
            event = json.loads(line.strip())
            said.update({key: event[key] for key in ("conversation_id", "message_id") if event.get(key)})
            said["text"] += event.get("answer") or ""
            emit(event.get("answer") or "")
    return said


def ask(call, emit):
    client = (ChatClient if "query" in call else CompletionClient)(call["api_key"])
    client.base_url = call["base_url"]
    mode = "streaming" if call["stream"] else "blocking"
    if "query" in call:
        response = client.create_chat_message(
            call["inputs"], call["query"], call["user"], mode, call["conversation_id"]
        )
    else:
        response = client.create_completion_message(call["inputs"], mode, call["user"])
    return read(response, call["stream"], emit)


MODES = [f"{call}.{mode}" for call in ("chat", "completion") for mode in ("blocking", "streaming")]
run(*MODES, "incremental", chat=ask, completion=ask)
