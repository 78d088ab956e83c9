"""A small Dify client with httpx: ask, go on, stream."""

import json
import os

import httpx


class DifyError(Exception):
    """Dify said no: as an HTTP error, or as an event in the middle of a stream."""

    def __init__(self, status, code, message):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code = status, code


class Chat:
    """One conversation of one end user."""

    def __init__(self, base_url, key, user, timeout=60):
        self.user = user
        self.conversation_id = ""
        self.http = httpx.Client(base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def ask(self, query, **inputs):
        """The whole answer at once."""
        reply = self.http.post("/chat-messages", json=self._body(query, inputs, "blocking"))
        _check(reply)
        answer = reply.json()
        self.conversation_id = answer["conversation_id"]
        return answer["answer"]

    def stream(self, query, **inputs):
        """The answer piece by piece, as it is made."""
        with self.http.stream("POST", "/chat-messages", json=self._body(query, inputs, "streaming")) as reply:
            if reply.is_error:
                reply.read()
                _check(reply)
            for line in _lines(reply.iter_bytes()):
                if not line.startswith(b"data:"):  # a ping, or the blank line behind an event
                    continue
                event = json.loads(line.removeprefix(b"data:"))
                self.conversation_id = event.get("conversation_id", self.conversation_id)
                if event["event"] == "error":
                    raise DifyError(event["status"], event["code"], event["message"])
                if event["event"] in ("message", "agent_message"):
                    yield event["answer"]

    def _body(self, query, inputs, mode):
        return {
            "inputs": inputs,
            "query": query,
            "user": self.user,
            "conversation_id": self.conversation_id,
            "response_mode": mode,
        }


def _lines(pieces):
    """Lines of bytes. Not `iter_lines`: that also ends a line at U+2028 and its like, which Dify sends as they are."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    yield rest


def _check(reply):
    if not reply.is_error:
        return
    try:
        said = reply.json()
    except ValueError:  # a proxy in front of Dify speaks HTML
        said = {}
    raise DifyError(reply.status_code, said.get("code", "unknown"), said.get("message", reply.reason_phrase))


if __name__ == "__main__":
    with Chat(os.environ["DIFY_BASE_URL"], os.environ["DIFY_API_KEY"], "alice") as chat:
        print(chat.ask("Hello!"))
        for piece in chat.stream("And again?"):
            print(piece, end="", flush=True)
        print()
