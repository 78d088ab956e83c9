"""A small Dify client with requests: ask, go on, stream."""

import json
import os

import requests


class DifyError(Exception):
    """Dify said no: as an HTTP error, or as an event in the middle of a stream."""

    def __init__(self, status, code, message):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code = status, code


class Chat:
    """One conversation of one end user."""

    def __init__(self, base_url, key, user, timeout=60):
        self.base_url, self.user, self.timeout = base_url.rstrip("/"), user, timeout
        self.conversation_id = ""
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {key}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def ask(self, query, **inputs):
        """The whole answer at once."""
        answer = self._send(query, inputs, "blocking").json()
        self.conversation_id = answer["conversation_id"]
        return answer["answer"]

    def stream(self, query, **inputs):
        """The answer piece by piece, as it is made."""
        with self._send(query, inputs, "streaming") as reply:
            for line in reply.iter_lines():
                if not line.startswith(b"data:"):  # a ping, or the blank line behind an event
                    continue
                event = json.loads(line.removeprefix(b"data:"))
                self.conversation_id = event.get("conversation_id", self.conversation_id)
                if event["event"] == "error":
                    raise DifyError(event["status"], event["code"], event["message"])
                if event["event"] in ("message", "agent_message"):
                    yield event["answer"]

    def _send(self, query, inputs, mode):
        body = {
            "inputs": inputs,
            "query": query,
            "user": self.user,
            "conversation_id": self.conversation_id,
            "response_mode": mode,
        }
        streamed = mode == "streaming"
        reply = self.http.post(f"{self.base_url}/chat-messages", json=body, stream=streamed, timeout=self.timeout)
        if not reply.ok:
            try:
                said = reply.json()
            except ValueError:  # a proxy in front of Dify speaks HTML
                said = {}
            raise DifyError(reply.status_code, said.get("code", "unknown"), said.get("message", reply.reason))
        return reply


if __name__ == "__main__":
    with Chat(os.environ["DIFY_BASE_URL"], os.environ["DIFY_API_KEY"], "alice") as chat:
        print(chat.ask("Hello!"))
        for piece in chat.stream("And again?"):
            print(piece, end="", flush=True)
        print()
