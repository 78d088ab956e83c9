"""dify-python-sdk 0.1.16, the official Python SDK's newer source, read as its README does.

pip install dify-python-sdk==0.1.16
mockdify check --exec "python examples/adapters/dify_python_sdk.py"
"""

import json

from dify_client import ChatClient, CompletionClient, WorkflowClient
from dify_client.exceptions import RateLimitError
from joined import joined, whole
from lines import Reported, run

MODES = {True: "streaming", False: "blocking"}


def events(response):
    for line in response.iter_lines():  # the README's loop
        if line.startswith("data:") and line[5:].strip():
            yield json.loads(line[5:].strip())


def caller(kind, ask):
    def call(call, emit):
        with kind(call["api_key"], base_url=call["base_url"], timeout=call["timeout"]) as client:
            try:
                response = ask(client, call, MODES[call["stream"]])
            except RateLimitError as error:  # the one error without its status
                raise Reported("http", str(error), 429) from error
            return joined(events(response), emit) if call["stream"] else whole(response.json())

    return call


run(
    *(f"{name}.{mode}" for name in ("chat", "completion", "workflow") for mode in MODES.values()), "incremental",
    chat=caller(ChatClient, lambda c, a, m: c.create_chat_message(a["inputs"], a["query"], a["user"], m, a["conversation_id"] or None)),
    completion=caller(CompletionClient, lambda c, a, m: c.create_completion_message(a["inputs"], m, a["user"])),
    workflow=caller(WorkflowClient, lambda c, a, m: c.run(a["inputs"], m, a["user"])),
)  # fmt: skip
