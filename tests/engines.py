"""Engines to ask without a socket, a clock or a wait."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from mockdify.assemble import template_of
from mockdify.config import Config, Settings
from mockdify.control import Control
from mockdify.engine import Engine
from mockdify.http import Request
from mockdify.sse import decode
from mockdify.steps import Body, Head, Wait

START = 1_767_225_600.0
KEYS = {"chat": "app-chat-demo", "agent": "app-agent-demo", "chatflow": "app-chatflow-demo"}
KEYS |= {"workflow": "app-workflow-demo", "completion": "app-completion-demo"}


class Time:
    """Real time that stands still until somebody moves it."""

    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now


@dataclass
class Got:
    status: int
    headers: dict
    body: bytes
    waits: list

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def events(self):
        return [json.loads(frame.data) for frame in decode([self.body]) if frame.data is not None]


def template(**changed):
    return replace(template_of(Config(), Settings()), **changed)


def engine(*, token=None, time=None, control=True, **changed):
    return Engine(template(**changed), time=time or Time(), control=Control(token) if control else None)


def perform(steps):
    """What a client gets of *steps*; waits pass at once."""
    status, headers, body, waits = 0, {}, b"", []
    for step in steps:
        if isinstance(step, Head):
            status, headers = step.status, dict(step.headers)
        elif isinstance(step, Body):
            body += step.data
        elif isinstance(step, Wait):
            waits.append(step.until)
    return Got(status, headers, body, waits)


def request(method, target, body=None, *, key=None, headers=(), host="127.0.0.1:5001"):
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = [("Host", host), *headers]
    if key is not None:
        sent.append(("Authorization", f"Bearer {key}"))
    if data and not any(name.lower() == "content-type" for name, _ in sent):
        sent.append(("Content-Type", "application/json"))
    return Request(method=method, target=target, headers=tuple(sent), body=data)


def ask(engine, method, target, body=None, **more):
    return perform(engine.handle(request(method, target, body, **more)))


def control(engine, method, path, body=None, *, query=None, **more):
    target = f"/_mockdify{path}" + (f"?{urlencode(query)}" if query else "")
    return ask(engine, method, target, body, **more)


def chat_body(query="hello", *, user="alice", streaming=False, conversation_id="", inputs=None):
    mode = "streaming" if streaming else "blocking"
    said = {"inputs": inputs or {}, "query": query, "user": user, "response_mode": mode}
    return said | ({"conversation_id": conversation_id} if conversation_id else {})


def chat(engine, query="hello", *, key=KEYS["chat"], headers=(), **more):
    return ask(engine, "POST", "/v1/chat-messages", chat_body(query, **more), key=key, headers=headers)
