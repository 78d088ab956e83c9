"""The official Python SDK (`dify-client` 0.1.10) against mockdify: only its address is another."""

import json
import os

from dify_client import ChatClient, CompletionClient

BASE_URL = os.environ["DIFY_BASE_URL"]


def made(kind, key):
    client = kind(key)
    client.base_url = BASE_URL  # its constructor takes none
    return client


chat = made(ChatClient, os.environ["DIFY_CHAT_KEY"])
first = chat.create_chat_message({}, "Hello!", "alice").json()
print("blocking:", first["answer"])

reply = chat.create_chat_message({}, "And again?", "alice", "streaming", first["conversation_id"])
events = [json.loads(line[5:]) for line in reply.iter_lines() if line.startswith(b"data:")]
print("streaming:", "".join(event["answer"] for event in events if event["event"] == "message"))

messages = chat.get_conversation_messages("alice", first["conversation_id"]).json()["data"]
print("queries:", [message["query"] for message in messages])

completion = made(CompletionClient, os.environ["DIFY_COMPLETION_KEY"])
print("completion:", completion.create_completion_message({"query": "Hello!"}, "blocking", "alice").json()["answer"])
