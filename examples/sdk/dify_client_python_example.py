"""dify-client-python (1.0.3, pydantic models) against mockdify."""

import os

from dify_client import Client, models

client = Client(api_key=os.environ["DIFY_CHAT_KEY"], api_base=os.environ["DIFY_BASE_URL"])


def asked(query, mode, conversation_id=""):
    return client.chat_messages(
        models.ChatRequest(query=query, user="alice", response_mode=mode, conversation_id=conversation_id, inputs={})
    )


print("blocking:", asked("Hello!", models.ResponseMode.BLOCKING).answer)

# Its model of a blocking answer has no conversation; a stream's events have.
first = list(asked("Hello!", models.ResponseMode.STREAMING))
events = list(asked("And again?", models.ResponseMode.STREAMING, first[0].conversation_id))
assert events[0].conversation_id == first[0].conversation_id
print("streaming:", "".join(event.answer for event in events if event.event == models.StreamEvent.MESSAGE))
print("currency:", events[-1].metadata.usage.currency)
