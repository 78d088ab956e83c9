"""A small client of Dify's app API that does everything right: `mockdify check` without an adapter checks this one.

Read it as an example of what the rules ask for. It is synchronous and needs nothing but the standard library.

```python
client = Client("http://127.0.0.1:5001/v1", "app-chat-demo")
print(client.chat("Hello", user="alice").text)
for delta in client.deltas("Tell me more", user="alice"): ...
```
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

from mockdify.sse import Decoder

__all__ = ["Answer", "Client", "Failed", "Reader", "ReferenceAdapter"]

Kind = Literal["http", "stream", "network", "timeout", "protocol"]
_LATE = 0.1
"""Seconds by which a call may be over its limit."""
_PIECE = 65_536
_AGAIN = {429, 503}
_CONNECT = 5.0
"""Seconds for a connection at most, however long the call may take."""
_IDLE = 25.0
"""Seconds without an event that has data: Dify pings every ten, so two and a half pings and nothing else."""
_LIMIT = 40.0
"""Seconds for a call of the adapter at most, whatever it is given."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """What an app answered."""

    text: str = ""
    conversation_id: str = ""
    message_id: str = ""
    task_id: str = ""
    outputs: dict[str, Any] | None = None
    usage: dict[str, Any] = field(default_factory=dict)


class Failed(Exception):
    """The call did not succeed. `text` is what had come before; `status` and `code` are Dify's, where it gave any."""

    def __init__(
        self, kind: Kind, message: str, *, status: int | None = None, code: str | None = None, text: str = ""
    ) -> None:
        super().__init__(message)
        self.kind, self.message, self.status, self.code, self.text = kind, message, status, code, text
        self.retry_after: str | None = None


class _Timed(io.RawIOBase):
    """A socket for `http.client` on which every operation together must be done by one deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline
        self._armed = float("inf")

    def _arm(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for the whole call is over")
        if self._armed - left > _LATE:  # setting it before each read would cost as much as the read
            self._sock.settimeout(left)
            self._armed = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._arm()
        return self._sock.recv_into(buffer)

    def sendall(self, data: Any) -> None:
        self._arm()
        self._sock.sendall(data)

    def makefile(self, _mode: str, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_Timed(self._sock, self._deadline), _PIECE)  # it is closed apart from the connection


class Client:
    """A client of one app.

    Args:
        timeout: seconds one call may take, everything included.
        retries: how often a 429 (not the plan's quota) or 503 is asked again, after `Retry-After` or a growing wait.
            Both refuse before anything is done, so asking again never makes a second message.
    """

    reader: type[Reader]
    """What reads a stream."""

    def __init__(self, base_url: str, api_key: str, *, timeout: float = 60.0, retries: int = 0) -> None:
        self._url = urlsplit(base_url.rstrip("/"))
        self._headers = {
            "Authorization": f"Bearer {api_key}",
            "User-Agent": "mockdify-reference",
            "Connection": "close",
        }
        self.timeout = timeout
        self.retries = retries

    # ------------------------------------------------------------------ asking an app
    def chat(
        self,
        query: str,
        *,
        user: str,
        inputs: Mapping[str, Any] | None = None,
        conversation_id: str = "",
        stream: bool = False,
        emit: Callable[[str], object] | None = None,
    ) -> Answer:
        """Ask a chat, agent or chatflow app. *emit* gets each delta as it comes."""
        body = {"query": query, "inputs": dict(inputs or {}), "user": user}
        if conversation_id:
            body["conversation_id"] = conversation_id
        return self._generate("/chat-messages", body, stream, emit)

    def completion(
        self,
        *,
        user: str,
        inputs: Mapping[str, Any] | None = None,
        stream: bool = False,
        emit: Callable[[str], object] | None = None,
    ) -> Answer:
        """Ask a completion app."""
        return self._generate("/completion-messages", {"inputs": dict(inputs or {}), "user": user}, stream, emit)

    def workflow(
        self,
        *,
        user: str,
        inputs: Mapping[str, Any] | None = None,
        stream: bool = False,
        emit: Callable[[str], object] | None = None,
    ) -> Answer:
        """Run a workflow app."""
        return self._generate("/workflows/run", {"inputs": dict(inputs or {}), "user": user}, stream, emit)

    # ------------------------------------------------------------------ everything else
    def stop(self, task_id: str, *, user: str, path: str = "chat-messages") -> None:
        """End a generation that is under way."""
        self._json("POST", f"/{path}/{quote(task_id)}/stop", {"user": user})

    def conversations(self, *, user: str, limit: int = 20) -> list[dict[str, Any]]:
        """The user's conversations, the newest first."""
        found: list[dict[str, Any]] = self._json("GET", f"/conversations?{urlencode({'user': user, 'limit': limit})}")[
            "data"
        ]
        return found

    def messages(self, conversation_id: str, *, user: str, limit: int = 20) -> list[dict[str, Any]]:
        """The messages of a conversation, the oldest first."""
        asked = urlencode({"user": user, "conversation_id": conversation_id, "limit": limit})
        found: list[dict[str, Any]] = self._json("GET", f"/messages?{asked}")["data"]
        return found

    def rename(self, conversation_id: str, name: str, *, user: str) -> None:
        """Give a conversation a name."""
        self._json("POST", f"/conversations/{quote(conversation_id)}/name", {"name": name, "user": user})

    def delete(self, conversation_id: str, *, user: str) -> None:
        """Delete a conversation."""
        self._json("DELETE", f"/conversations/{quote(conversation_id)}", {"user": user})

    def feedback(self, message_id: str, rating: str | None, *, user: str) -> None:
        """Rate a message `like` or `dislike`; None takes it back."""
        self._json("POST", f"/messages/{quote(message_id)}/feedbacks", {"rating": rating, "user": user})

    def upload(self, name: str, data: bytes, mime_type: str, *, user: str) -> str:
        """Upload a file; its id."""
        border = uuid4().hex
        head = f'--{border}\r\nContent-Disposition: form-data; name="user"\r\n\r\n{user}\r\n--{border}\r\n'
        part = f'Content-Disposition: form-data; name="file"; filename="{quote(name)}"\r\n'
        part += f"Content-Type: {mime_type}\r\n\r\n"
        body = (head + part).encode() + data + f"\r\n--{border}--\r\n".encode()
        with self._open("POST", "/files/upload", body, f"multipart/form-data; boundary={border}") as response:
            found: str = _as_json(response)["id"]
            return found

    # ------------------------------------------------------------------ within
    def _generate(self, path: str, body: dict[str, Any], stream: bool, emit: Callable[[str], object] | None) -> Answer:
        body["response_mode"] = "streaming" if stream else "blocking"
        deadline = time.monotonic() + self.timeout
        for attempt in range(self.retries + 1):
            try:
                return self._once(path, body, stream, emit, deadline)
            except Failed as failed:
                wait = self.wait(failed, attempt)
                if attempt == self.retries or wait is None or time.monotonic() + wait >= deadline:
                    raise
            time.sleep(wait)
        raise AssertionError  # the last attempt returned or raised

    def _once(
        self, path: str, body: dict[str, Any], stream: bool, emit: Callable[[str], object] | None, deadline: float
    ) -> Answer:
        data = json.dumps(body, ensure_ascii=False).encode()
        with self._open("POST", path, data, "application/json", deadline) as response:
            if not stream:
                return _answer(_as_json(response))
            kind = response.getheader("Content-Type", "")
            if not kind.startswith("text/event-stream"):
                raise Failed("protocol", f"asked for a stream of events, got {kind or 'no Content-Type'}")
            return self.reader(emit).read(response)

    def wait(self, failed: Failed, attempt: int) -> float | None:
        """Seconds before asking again, None when that is no use: a used-up quota stays used up."""
        if failed.status not in _AGAIN or failed.code == "rate_limit_error":
            return None
        return _after(failed.retry_after, attempt)

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        with self._open(method, path, data, "application/json") as response:
            return {} if response.status == 204 else _as_json(response)

    @contextlib.contextmanager
    def _open(
        self, method: str, path: str, data: bytes | None, kind: str, deadline: float | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """The reply to one request, when its status is a good one; whatever goes wrong meanwhile as `Failed`."""
        deadline = deadline or time.monotonic() + self.timeout
        sock: socket.socket | None = None
        try:
            sock = self._connect(deadline)
            connection = http.client.HTTPConnection(self._url.netloc)
            connection.sock = _Timed(sock, deadline)  # as much of a socket as it uses
            headers = self._headers | ({"Content-Type": kind} if data is not None else {})
            connection.request(method, self._url.path + path, data, headers)
            response = connection.getresponse()
            if response.status >= 300:
                raise _refused(response)
            yield response
        except TimeoutError as error:
            raise Failed("timeout", str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise Failed("network", f"{type(error).__name__}: {error}") from error
        finally:
            if sock is not None:
                sock.close()

    def _connect(self, deadline: float) -> socket.socket:
        host, secure = self._url.hostname or "", self._url.scheme == "https"
        left = max(0.001, min(_CONNECT, deadline - time.monotonic()))
        sock = socket.create_connection((host, self._url.port or (443 if secure else 80)), left)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return ssl.create_default_context().wrap_socket(sock, server_hostname=host) if secure else sock


class Reader:
    """A stream on its way to an answer."""

    def __init__(self, emit: Callable[[str], object] | None) -> None:
        self.emit = emit or (lambda _: None)
        self.said = Answer()
        self.by_agent = False
        self.ended = False
        self.in_graph = False
        self.heard = time.monotonic()

    def read(self, response: http.client.HTTPResponse) -> Answer:
        """The answer, once its end event came. A stream without one has failed, whatever was said before."""
        decoder = Decoder()
        said = self.said
        try:
            while not self._done and (piece := response.read1(_PIECE)):
                self.feed(decoder, piece)
                if time.monotonic() - self.heard > _IDLE:
                    raise TimeoutError(f"nothing but pings for {_IDLE:g} s")  # noqa: TRY301 - as if the socket had
        except TimeoutError as error:
            if not self.ended:
                raise Failed("timeout", str(error), text=said.text) from error
        except (OSError, http.client.HTTPException) as error:
            if not self.ended:
                raise Failed("network", f"the stream broke off: {type(error).__name__}", text=said.text) from error
        if not self.ended:
            raise Failed("stream", "the stream ended without its end event", text=said.text)
        return said

    def feed(self, decoder: Decoder, piece: bytes) -> None:
        """Take what came."""
        for frame in decoder.feed(piece):
            if frame.data is not None:  # a ping has none
                self.take(frame.data)

    @property
    def _done(self) -> bool:
        return self.ended and not self.in_graph

    def take(self, data: str) -> None:
        """One event, as its JSON text."""
        self.heard = time.monotonic()
        try:
            event = json.loads(data)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            raise Failed("protocol", f"an event is not a JSON object: {data[:80]!r}", text=self.said.text)
        said = self.said
        for name in ("conversation_id", "message_id", "task_id"):
            value = event.get(name)
            if isinstance(value, str) and value:
                setattr(said, name, value)
        taker = _EVENTS.get(event.get("event") or "")
        if taker is not None:  # events that are not known are skipped: every release brings new ones
            getattr(self, taker)(event)

    def delta(self, text: Any) -> None:
        """Append to the answer and hand on."""
        if text:
            self.said.text += text
            self.emit(text)

    def on_message(self, event: dict[str, Any]) -> None:
        """A delta of the answer."""
        if not self.by_agent:  # else it repeats what the agent said already
            self.delta(event.get("answer"))

    def on_agent(self, event: dict[str, Any]) -> None:
        """A delta of an agent."""
        self.by_agent = True
        self.delta(event.get("answer"))

    def on_replace(self, event: dict[str, Any]) -> None:
        """Everything so far is replaced."""
        self.said.text = event.get("answer") or ""

    def on_end(self, event: dict[str, Any]) -> None:
        """The answer is complete."""
        self.ended = True
        self.said.usage = (event.get("metadata") or {}).get("usage") or {}

    def on_chunk(self, event: dict[str, Any]) -> None:
        """A delta of a workflow."""
        self.delta((event.get("data") or {}).get("text"))

    def on_graph(self, _: dict[str, Any]) -> None:
        """A graph began."""
        self.in_graph = True

    def on_graph_end(self, event: dict[str, Any]) -> None:
        """A graph ended."""
        self.in_graph = False
        data = event.get("data") or {}
        _check_run(data, self.said.text)
        if not self.said.message_id:  # a workflow has no message_end
            self.ended = True
        self.said.outputs = data.get("outputs") or {}

    def on_error(self, event: dict[str, Any]) -> None:
        """The app failed."""
        message = str(event.get("message") or "the app failed")
        raise Failed("stream", message, status=event.get("status"), code=event.get("code"), text=self.said.text)


Client.reader = Reader
_EVENTS = {
    "message": "on_message",
    "agent_message": "on_agent",
    "message_replace": "on_replace",
    "message_end": "on_end",
    "text_chunk": "on_chunk",
    "workflow_started": "on_graph",
    "workflow_finished": "on_graph_end",
    "error": "on_error",
}
"""Events by name and who takes them."""


def _check_run(data: dict[str, Any], text: str) -> None:
    if data.get("status") == "failed":
        raise Failed("stream", str(data.get("error") or "the run failed"), text=text)


def _as_json(response: http.client.HTTPResponse) -> Any:
    data = response.read()
    try:
        return json.loads(data)
    except ValueError:
        raise Failed("protocol", f"the reply is not JSON: {data[:80]!r}") from None


def _answer(body: Any) -> Answer:
    """A blocking reply as an answer."""
    if not isinstance(body, dict):
        raise Failed("protocol", "the reply is not a JSON object")
    run = body.get("data")
    if "answer" not in body and isinstance(run, dict):
        _check_run(run, "")
        return Answer(task_id=body.get("task_id") or "", outputs=run.get("outputs") or {})
    if not isinstance(body.get("answer"), str):
        raise Failed("protocol", "the reply has no answer")
    return Answer(
        text=body["answer"],
        conversation_id=body.get("conversation_id") or "",
        message_id=body.get("message_id") or "",
        task_id=body.get("task_id") or "",
        usage=(body.get("metadata") or {}).get("usage") or {},
    )


def _refused(response: http.client.HTTPResponse) -> Failed:
    """An error status with Dify's code and message, or without them when an edge answered."""
    data = b""
    with contextlib.suppress(http.client.IncompleteRead):
        data = response.read()
    try:
        said = json.loads(data)
    except ValueError:
        said = None
    body = said if isinstance(said, dict) else {}
    message = str(body.get("message") or f"{response.status} {response.reason}")
    failed = Failed("http", message, status=response.status, code=body.get("code"))
    failed.retry_after = response.getheader("Retry-After")
    return failed


def _after(after: str | None, attempt: int) -> float | None:
    """What `Retry-After` asks for, seconds or a date; without it a wait that grows."""
    if after is None:
        return 0.5 * float(2**attempt) * random.uniform(1.0, 1.2)  # noqa: S311 - not a secret
    try:
        return float(after) + 0.01
    except ValueError:
        pass
    try:
        moment: float = parsedate_to_datetime(after).timestamp()
        return max(0.0, moment - time.time()) + 0.01
    except ValueError:
        return None


class ReferenceAdapter:
    """The reference client as the checks drive it; read it as an example of an adapter in Python."""

    client: type[Client] = Client

    def __init__(self, *, retries: int = 1) -> None:
        self._retries = retries

    def _client(self, base_url: str, api_key: str, timeout: float) -> Client:
        return self.client(base_url, api_key, timeout=min(timeout, _LIMIT), retries=self._retries)

    def chat(
        self,
        *,
        base_url: str,
        api_key: str,
        timeout: float,
        query: str,
        user: str,
        inputs: dict[str, Any],
        conversation_id: str,
        stream: bool,
        emit: Callable[[str], object],
    ) -> Answer:
        """One turn of a conversation."""
        return self._client(base_url, api_key, timeout).chat(
            query, user=user, inputs=inputs, conversation_id=conversation_id, stream=stream, emit=emit
        )

    def completion(
        self,
        *,
        base_url: str,
        api_key: str,
        timeout: float,
        user: str,
        inputs: dict[str, Any],
        stream: bool,
        emit: Callable[[str], object],
    ) -> Answer:
        """One completion."""
        return self._client(base_url, api_key, timeout).completion(user=user, inputs=inputs, stream=stream, emit=emit)

    def workflow(
        self,
        *,
        base_url: str,
        api_key: str,
        timeout: float,
        user: str,
        inputs: dict[str, Any],
        stream: bool,
        emit: Callable[[str], object],
    ) -> Answer:
        """One run."""
        return self._client(base_url, api_key, timeout).workflow(user=user, inputs=inputs, stream=stream, emit=emit)

    def stop(self, *, base_url: str, api_key: str, timeout: float, task_id: str, user: str) -> None:
        """Stop a task."""
        self._client(base_url, api_key, timeout).stop(task_id, user=user)

    def conversations(self, *, base_url: str, api_key: str, timeout: float, user: str) -> dict[str, Any]:
        """List conversations."""
        return {"data": self._client(base_url, api_key, timeout).conversations(user=user)}

    def messages(
        self, *, base_url: str, api_key: str, timeout: float, user: str, conversation_id: str
    ) -> dict[str, Any]:
        """List messages."""
        return {"data": self._client(base_url, api_key, timeout).messages(conversation_id, user=user)}

    def rename(
        self, *, base_url: str, api_key: str, timeout: float, user: str, conversation_id: str, name: str
    ) -> None:
        """Rename a conversation."""
        self._client(base_url, api_key, timeout).rename(conversation_id, name, user=user)

    def delete(self, *, base_url: str, api_key: str, timeout: float, user: str, conversation_id: str) -> None:
        """Delete a conversation."""
        self._client(base_url, api_key, timeout).delete(conversation_id, user=user)

    def feedback(
        self, *, base_url: str, api_key: str, timeout: float, user: str, message_id: str, rating: str | None
    ) -> None:
        """Rate a message."""
        self._client(base_url, api_key, timeout).feedback(message_id, rating, user=user)

    def upload(
        self, *, base_url: str, api_key: str, timeout: float, user: str, name: str, content: str, mime_type: str
    ) -> dict[str, Any]:
        """Upload a file."""
        return {
            "file_id": self._client(base_url, api_key, timeout).upload(name, content.encode(), mime_type, user=user)
        }
