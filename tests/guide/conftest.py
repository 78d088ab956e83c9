"""Asking an engine without a socket: `dify("guide")` is one server of that profile, its clock standing still."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

import mockdify
from mockdify.assemble import template_of
from mockdify.config import Config, Settings, load
from mockdify.engine import Engine
from mockdify.http import Request
from mockdify.sse import decode
from mockdify.steps import Body, Head

NOW = 1_678_901_234.0
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Said:
    """An answer as a client has it."""

    status: int
    headers: dict
    body: bytes
    exchange: object

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def events(self):
        return [json.loads(frame.data) for frame in decode([self.body]) if frame.data is not None]

    @property
    def names(self):
        return [event["event"] for event in self.events]


class Server:
    """One engine; every question goes through it whole, and what it waits for passes at once."""

    def __init__(self, profile, config=None):
        config = config or Config()
        self.engine = Engine(template_of(config, Settings(profile=profile)), time=lambda: NOW)

    @property
    def workspace(self):
        return self.engine.default

    def send(self, method, path, body=b"", *, app="chat", key=None, headers=()):
        sent = {"Authorization": f"Bearer {key or self.workspace.keys[app]}", **dict(headers)}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if data:
            sent.setdefault("Content-Type", "application/json")
        handling = self.engine.open(Request(method=method, target=path, headers=tuple(sent.items()), body=data))
        head, pieces = None, []
        for step in handling.steps:
            if isinstance(step, Head):
                head = step
            elif isinstance(step, Body):
                pieces.append(step.data)
        whole = b"".join(pieces)
        assert head.length in (None, len(whole))
        return Said(head.status, dict(head.headers), whole, handling.exchange)

    def get(self, path, **more):
        return self.send("GET", path, **more)

    def chat(self, query="hello", *, app="chat", mode="blocking", user="alice", headers=(), **more):
        body = {"inputs": {}, "query": query, "user": user, "response_mode": mode, **more}
        return self.send("POST", "/v1/chat-messages", body, app=app, headers=headers)

    def complete(self, text="hello", *, mode="blocking", name="query", **more):
        body = {"inputs": {name: text}, "user": "alice", "response_mode": mode, **more}
        return self.send("POST", "/v1/completion-messages", body, app="completion")


@pytest.fixture(scope="session")
def dify():
    """Make a server of a profile."""
    return Server


@pytest.fixture
def guide():
    """A server of the profile `guide`."""
    return Server("guide")


@pytest.fixture
def configured(tmp_path):
    """A server from the text of a mockdify.toml, the demo apps' exports beside it."""

    def make(text, profile="1.16"):
        for export in (Path(mockdify.__file__).parent / "demo").glob("*.yml"):
            (tmp_path / export.name).write_bytes(export.read_bytes())
        (tmp_path / "mockdify.toml").write_text(text, "utf-8")
        return Server(profile, load(tmp_path / "mockdify.toml"))

    return make
