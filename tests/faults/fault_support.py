"""A world without sockets for tests of faults, and a real server in a thread for those that need the wire."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mockdify.assemble import template_of
from mockdify.config import Config, Settings
from mockdify.engine import Engine
from mockdify.http import Request
from mockdify.script import Rule, Script
from mockdify.server import Edge
from mockdify.sse import decode
from mockdify.steps import Abort, Body, Head, Raw, Step

GENERATE = {"workflow": "/v1/workflows/run", "completion": "/v1/completion-messages"}
BEGIN = 1_795_000_000.0
CHUNKS = ("Hi", " dear", " caf\u00e9", " \u4f60\u597d")


def make_engine(*, now: Callable[[], float] = lambda: BEGIN, **changes: Any) -> Engine:
    """An engine with the demo apps, whose models say `CHUNKS`; *changes* are fields of its template."""
    said = {"make_script": lambda: Script(defaults=Rule(chunks=CHUNKS))} | changes
    return Engine(dataclasses.replace(template_of(Config(), Settings()), **said), time=now)


def ask(
    query: str = "hello",
    *,
    app: str = "chat",
    user: str = "u-1",
    stream: bool = True,
    key: str | None = None,
    fault: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    method: str = "POST",
    path: str | None = None,
    **more: Any,
) -> Request:
    """A request that asks the app's model; *fault* goes into the header."""
    said = {
        "inputs": {"query": query},
        "query": query,
        "user": user,
        "response_mode": "streaming" if stream else "blocking",
    }
    sent = [("Authorization", f"Bearer {key or f'app-{app}-demo'}"), ("Content-Type", "application/json"), *headers]
    if fault is not None:
        sent.append(("X-Mockdify-Fault", fault))
    return Request(
        method=method,
        target=path or GENERATE.get(app, "/v1/chat-messages"),
        headers=tuple(sent),
        body=json.dumps(said | more).encode(),
    )


def get(path: str, *, app: str = "chat", fault: str | None = None) -> Request:
    """A GET request."""
    sent = [("Authorization", f"Bearer app-{app}-demo"), *([("X-Mockdify-Fault", fault)] if fault else [])]
    return Request(method="GET", target=path, headers=tuple(sent))


def drain(engine: Engine, request: Request, most: int = 100_000) -> list[Step]:
    """The steps of the reply; no more than *most* of one that does not end by itself."""
    return list(itertools.islice(engine.handle(request), most))


def head_of(steps: Iterable[Step]) -> Head:
    return next(step for step in steps if isinstance(step, Head))


def status_of(steps: Iterable[Step]) -> int:
    return head_of(steps).status


def body_of(steps: Iterable[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Body))


def chunks_of(steps: Iterable[Step]) -> list[bytes]:
    return [step.data for step in steps if isinstance(step, Body)]


def json_of(steps: Iterable[Step]) -> Any:
    return json.loads(body_of(steps))


def names_of(data: bytes | Iterable[bytes]) -> list[str]:
    """The events in these bytes: by the name in their JSON, pings as `ping`, what is no JSON as `?`."""
    return [name for name, _ in events_of(data)]


def events_of(data: bytes | Iterable[bytes]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for frame in decode([data] if isinstance(data, bytes) else data):
        if frame.data is None:
            found.append((frame.event, None))
            continue
        try:
            event = json.loads(frame.data)
        except ValueError:
            found.append(("?", frame.data))
        else:
            found.append((event["event"], event))
    return found


def dialogue(steps: Iterable[Step]) -> list[str]:
    """What a reply says, as a list: event names, and how it was broken off."""
    said: list[str] = []
    for step in steps:
        match step:
            case Body():
                said += names_of(step.data)
            case Abort():
                said.append(f"({step.how})")
            case Raw():
                said.append("(raw)")
    return said


# ---------------------------------------------------------------------- a real server
@dataclasses.dataclass
class Server:
    """A server in a thread of its own."""

    engine: Engine
    edge: Edge
    loop: asyncio.AbstractEventLoop

    @property
    def port(self) -> int:
        return self.edge.port

    @property
    def url(self) -> str:
        return self.edge.url

    def call(self, function: Callable[[], Any]) -> Any:
        """The result of *function*, called in the server's loop."""

        async def called() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(5)

    def until(self, holds: Callable[[], bool]) -> bool:
        """Whether *holds* comes true within two seconds."""

        async def wait() -> bool:
            for _ in range(400):
                if holds():
                    return True
                await asyncio.sleep(0.005)
            return False

        return asyncio.run_coroutine_threadsafe(wait(), self.loop).result(5)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.edge.stop(), self.loop).result(5)


@contextmanager
def serving(*, coalesce: bool = False, **changes: Any) -> Iterator[Server]:
    """A server with the demo apps; *changes* are fields of its template."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    engine = make_engine(now=time.time, **changes)
    server = Server(engine, Edge(engine, coalesce=coalesce), loop)
    asyncio.run_coroutine_threadsafe(server.edge.start("127.0.0.1", 0), loop).result(5)
    try:
        yield server
    finally:
        server.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
