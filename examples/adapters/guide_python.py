"""The guide's Python samples (examples/guide): its retry helper for blocking calls, its reader for streams.

mockdify check examples/adapters/guide_python.py
"""
# ruff: noqa: PLR0917, ARG001

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "guide"))
import retry_helper
import stream_reader


class Adapter:
    name = "the guide's Python samples"

    def chat(self, base_url, api_key, query, user, inputs, conversation_id, stream, emit):
        if stream:
            return self.read(base_url, api_key, query, emit)
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        body = {"inputs": inputs, "query": query, "response_mode": "blocking", "user": user}
        if conversation_id:
            body["conversation_id"] = conversation_id
        answer = retry_helper.chat_with_retry(f"{base_url}/chat-messages", headers, body)
        if answer is None:  # what the helper returns when its attempts are used up
            return ""
        return {**answer, "text": answer.get("answer", answer.get("result"))}

    def read(self, base_url, api_key, query, emit):
        printed = []

        def heard(text, end="\n", flush=False):
            if not str(text).startswith(("\n-- ", "-- ")):
                printed.append(text)
                emit(text)

        stream_reader.BASE_URL, stream_reader.API_KEY, stream_reader.print = base_url, api_key, heard
        stream_reader.read_aloud(query)
        return "".join(printed)

    def capabilities(self):
        return ["chat.blocking", "chat.streaming", "incremental"]
