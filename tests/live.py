"""A server in a thread of its own with its inside in view, and plain sockets to speak to it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from types import GeneratorType
from typing import Any, Self, TypeVar

from hypothesis import HealthCheck, settings

import mockdify
from mockdify.assemble import template_of
from mockdify.config import Config, load, merge
from mockdify.engine import Engine
from mockdify.http import Request
from mockdify.server import Edge
from mockdify.steps import Body, Head, Wait
from mockdify.workspace import Template

T = TypeVar("T")
HARD = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
"""Most examples of hard input cross a socket or play a whole conversation."""
PATIENCE = 10.0
KEYS = {
    "chat": "app-chat-demo",
    "agent": "app-agent-demo",
    "chatflow": "app-chatflow-demo",
    "completion": "app-completion-demo",
    "workflow": "app-workflow-demo",
}
PATHS = {
    "chat": "/v1/chat-messages",
    "agent": "/v1/chat-messages",
    "chatflow": "/v1/chat-messages",
    "completion": "/v1/completion-messages",
    "workflow": "/v1/workflows/run",
}


def make_engine(toml: str = "", *, now: Callable[[], float] = time.time, **flags: Any) -> Engine:
    """An engine with the demo apps, as `mockdify serve --config` would have it."""
    return Engine(_template(toml, **flags), time=now)


@functools.cache
def _template(toml: str, **flags: Any) -> Template:
    config = Config()
    if toml:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "mockdify.toml")
            path.write_text(toml, encoding="utf-8")
            config = load(path)
    settings = merge(flags, {}, config.given)
    return template_of(config, settings)


def said_to(app: str, query: str, user: str = "alice", *, mode: str = "streaming", **more: Any) -> dict[str, Any]:
    """The body that asks *query* of a demo app."""
    body: dict[str, Any] = {"inputs": {}, "user": user, "response_mode": mode}
    if app in ("completion", "workflow"):
        body["inputs"] = {"query": query}
    else:
        body["query"] = query
    return body | more


def post(path: str, body: Any, key: str = KEYS["chat"], **headers: str) -> bytes:
    """A POST of JSON, as bytes on the wire."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Host": "mock", "Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    lines |= {"Content-Length": str(len(data))} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + data


def get(target: str, key: str = KEYS["chat"], version: str = "1.1", method: str = "GET", more: str = "") -> bytes:
    """A request without a body, as bytes on the wire."""
    return f"{method} {target} HTTP/{version}\r\nHost: mock\r\nAuthorization: Bearer {key}\r\n{more}\r\n".encode()


@dataclass(frozen=True)
class Answer:
    """One HTTP answer as it stood on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


class Peer:
    """A client that is nothing but a socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Vanish without a word: RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()

    def send(self, data: bytes) -> Peer:
        self.socket.sendall(data)
        return self

    def half_close(self) -> Peer:
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def read_to(self, mark: bytes) -> bytes:
        """Everything up to and with *mark*."""
        while mark not in self._buffer:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self._buffer)
            self._buffer += data
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def read(self, count: int) -> bytes:
        pieces, size = [self._buffer], len(self._buffer)
        while size < count:
            data = self.socket.recv(1 << 20)
            if not data:
                raise EOFError(size)
            pieces.append(data)
            size += len(data)
        found = b"".join(pieces)
        self._buffer = found[count:]
        return found[:count]

    def rest(self) -> bytes:
        """Everything until the server closes; a reset counts as that."""
        found, self._buffer = [self._buffer], b""
        with contextlib.suppress(ConnectionError):
            while data := self.socket.recv(1 << 20):
                found.append(data)
        return b"".join(found)

    def head(self) -> Answer:
        """Status and headers of the next answer."""
        lines = self.read_to(b"\r\n\r\n").decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1."), lines[0]
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        return Answer(int(lines[0].split(" ")[1]), headers, b"")

    def answer(self, method: str = "GET") -> Answer:
        """The next answer as a whole."""
        head = self.head()
        if method == "HEAD" or head.status in (204, 304):
            body = b""
        elif "Content-Length" in head.headers:
            body = self.read(int(head.headers["Content-Length"]))
        elif head.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(self.chunks())
        else:
            body = self.rest()
        return Answer(head.status, head.headers, body)

    def chunks(self) -> Iterator[bytes]:
        """The HTTP chunks of a body, each for itself."""
        while size := int(self.read_to(b"\r\n"), 16):
            chunk = self.read(size + 2)
            assert chunk.endswith(b"\r\n")
            yield chunk[:-2]
        assert self.read(2) == b"\r\n"

    def is_closed(self) -> bool:
        """Whether the server closes the connection without another byte."""
        return self.rest() == b""


class Live:
    """An `Edge` over an `Engine`, in a thread with a loop of its own."""

    def __init__(self, engine: Engine, **options: Any) -> None:
        self.engine = engine
        self.edge = Edge(engine, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self.edge.start("127.0.0.1", 0))
        self.at_rest = self.census()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.edge.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._loop.close()

    @property
    def port(self) -> int:
        return self.edge.port

    @property
    def url(self) -> str:
        return self.edge.url

    @property
    def workspace(self) -> Any:
        return self.engine.default

    def run(self, work: Awaitable[T]) -> T:
        """What a coroutine gives on the server's loop."""

        async def wrapped() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(wrapped(), self._loop).result(PATIENCE)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """What a function gives in the server's thread."""

        async def wrapped() -> T:
            return function(*args)

        return self.run(wrapped())

    def until(self, condition: Callable[[], Any]) -> None:
        """Come back once *condition*, looked at between turns of the server's loop, holds."""

        async def wrapped() -> None:
            async with asyncio.timeout(PATIENCE - 1):
                while not condition():
                    await asyncio.sleep(0.001)

        self.run(wrapped())

    # ------------------------------------------------------------------ talking
    def peer(self) -> Peer:
        return Peer(self.port)

    def ask(self, data: bytes, method: str = "GET") -> Answer:
        """The answer to one request on a connection of its own."""
        with self.peer() as peer:
            return peer.send(data).answer(method)

    # ------------------------------------------------------------------ what is left
    def census(self) -> dict[str, int]:
        """What is alive in the server; equal before and after when nothing stays."""
        return self.call(self._census)

    def _census(self) -> dict[str, int]:
        edge, journal = self.edge, self.workspace.journal
        listener = edge._listener
        return {
            "tasks": len(asyncio.all_tasks(self._loop)),
            "connections": 0 if listener is None else len(listener.connections),
            "replies": len(edge._open) + len(edge._background),
            "generations": sum(len(workspace.tasks) for workspace in self.engine.workspaces.values()),
            "open exchanges": sum(exchange.ended == "open" for exchange in journal),
            **_alive(),
            "subscribers": sum(
                len(signal._waiters)
                for workspace in self.engine.workspaces.values()
                for signal in (workspace.open_replies, workspace.clock.moved)
            ),
        }

    def assert_at_rest(self) -> None:
        """Nothing is left of what was asked since the start: no task, connection, reply, run, generator or file."""
        quick = self.at_rest | {"generators": -1, "files": -1}

        def is_quiet() -> bool:
            edge = self.edge
            return (
                not edge._open
                and not edge._background
                and len(asyncio.all_tasks(self._loop)) <= quick["tasks"] + 1
                and edge._listener is not None
                and not edge._listener.connections
            )

        self.until(is_quiet)
        if self._left():
            self.call(gc.collect)
            assert not self._left()

    def _left(self) -> dict[str, int]:
        return {name: count for name, count in self.census().items() if count > self.at_rest[name]}


def _alive() -> dict[str, int]:
    """Generators of ours that are neither finished nor collected, and temporary files that are open."""
    home, generators, files = str(Path(mockdify.__file__).parent), 0, 0
    for one in gc.get_objects():
        if type(one) is GeneratorType:
            generators += one.gi_frame is not None and one.gi_code.co_filename.startswith(home)
        elif type(one) is BufferedRandom:
            files += not one.closed
    return {"generators": generators, "files": files}


@contextlib.contextmanager
def serving(toml: str = "", *, edge: dict[str, Any] | None = None, **flags: Any) -> Iterator[Live]:
    """A live server with the demo apps."""
    with Live(make_engine(toml, **flags), **(edge or {})) as live:
        yield live


# ---------------------------------------------------------------------- without sockets
def answer_of(engine: Engine, request: Request) -> Answer:
    """The whole answer of an engine, waits passed over."""
    status, headers, data = 0, (), []
    for step in engine.handle(request):
        assert not isinstance(step, Wait) or step.until != float("inf")
        if isinstance(step, Head):
            status, headers = step.status, step.headers
        elif isinstance(step, Body):
            data.append(step.data)
    return Answer(status, dict(headers), b"".join(data))


def request(
    method: str, target: str, body: Any = None, key: str = KEYS["chat"], content_type: str = "application/json"
) -> Request:
    """A request without a socket; a body that is no bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    headers = [("Host", "mock"), ("Authorization", f"Bearer {key}")]
    if body is not None:
        headers.append(("Content-Type", content_type))
    return Request(method=method, target=target, headers=tuple(headers), body=data)
