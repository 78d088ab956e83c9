"""Every fault over a real socket: what requests, httpx, aiohttp and node's fetch see."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from fault_clients import CLIENTS, NODE, Job, Seen, with_node
from fault_support import Server, serving

from mockdify.faults import CATALOGUE

HONEST = ["message", "message", "message", "message", "message_end"]
LONG, SHORT = 10.0, 0.3
"""Seconds a client waits: for an answer that comes, for one that never does."""


@dataclass(frozen=True)
class Wanted:
    """What every client must see."""

    status: int = 200
    ended: str = "complete"
    events: list[str] | None = None
    code: str | None = None
    options: str = ""
    timeout: float = LONG
    stream: bool = True


def error(status: int, code: str) -> Wanted:
    return Wanted(status=status, code=code)


WANTED = {
    "unauthorized": error(401, "unauthorized"),
    "bad-request": error(400, "bad_request"),
    "invalid-param": error(400, "invalid_param"),
    "app-unavailable": error(400, "app_unavailable"),
    "provider-not-initialized": error(400, "provider_not_initialize"),
    "provider-quota": error(400, "provider_quota_exceeded"),
    "model-unsupported": error(400, "model_currently_not_support"),
    "completion-error": error(400, "completion_request_error"),
    "forbidden": error(403, "forbidden"),
    "conversation-not-found": error(404, "not_found"),
    "file-too-large": error(413, "file_too_large"),
    "unsupported-file": error(415, "unsupported_file_type"),
    "rate-limit": error(429, "too_many_requests"),
    "quota": error(429, "rate_limit_error"),
    "server-error": error(500, "internal_server_error"),
    "unavailable": error(503, "service_unavailable"),
    "edge-rate-limit": Wanted(status=429),
    "bad-gateway": Wanted(status=502),
    "gateway-timeout": Wanted(status=504),
    "edge-timeout": Wanted(status=524),
    "reset": Wanted(status=0, ended="no answer"),
    "hang": Wanted(status=0, ended="timeout", timeout=SHORT),
    "truncated-body": Wanted(ended="broken"),
    "bad-json": Wanted(),
    "garbage": Wanted(status=0, ended="no answer"),
    "error-event": Wanted(options="after=2", events=["message", "message", "error"]),
    "cut": Wanted(options="after=2", events=["message", "message"]),
    "reset-stream": Wanted(options="after=2", ended="broken", events=["message", "message"]),
    "half-chunk": Wanted(options="after=2", ended="broken", events=["message", "message"]),
    "stall": Wanted(options="after=2", ended="timeout", timeout=SHORT, events=["message", "message"]),
    "slow": Wanted(options="delay=10ms", events=HONEST),
    "pings-only": Wanted(options="after=1;every=20ms", ended="timeout", timeout=SHORT, events=["message", "ping"]),
    "no-end": Wanted(events=HONEST[:-1]),
    "duplicate-end": Wanted(events=[*HONEST, "message_end"]),
    "unknown-event": Wanted(options="after=1", events=["message", "event_of_tomorrow", *HONEST[1:]]),
    "malformed-event": Wanted(options="after=1", events=["message", "?", *HONEST[1:]]),
    **{name: Wanted(events=HONEST) for name, kind in CATALOGUE.items() if kind.when == "framing"},
}


PAGES = ("edge-rate-limit", "bad-gateway", "gateway-timeout", "edge-timeout")


@pytest.fixture(scope="module")
def server():
    with serving(ping_interval=0.05) as running:
        yield running


@pytest.fixture(scope="module")
def node_saw(server):
    """What fetch saw of every fault, from one process."""
    if NODE is None:
        pytest.skip("node is not on PATH")
    return dict(zip(WANTED, with_node(job(server, fault) for fault in WANTED), strict=True))


def job(server: Server, fault: str) -> Job:
    wanted = WANTED[fault]
    key = f"app-chat-demo!{fault};{wanted.options}".rstrip(";")
    return Job(url=server.url, key=key, stream=wanted.stream, timeout=wanted.timeout)


def check(fault: str, seen: Seen) -> None:
    wanted = WANTED[fault]
    assert (seen.status, seen.ended) == (wanted.status, wanted.ended), seen
    assert bool(seen.error) == (wanted.ended != "complete")
    if wanted.events is not None:
        assert seen.events[: len(wanted.events)] == wanted.events
        assert len(seen.events) == len(wanted.events) or fault == "pings-only"
    if wanted.code is not None:
        assert json.loads(seen.body)["code"] == wanted.code
    if fault in PAGES:
        assert seen.body.startswith(b"<")


def test_every_fault_is_in_the_table():
    assert WANTED.keys() == CATALOGUE.keys()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("fault", WANTED)
def test_what_a_client_sees(server, client, fault):
    check(fault, CLIENTS[client](job(server, fault)))


@pytest.mark.parametrize("fault", WANTED)
def test_what_fetch_sees(node_saw, fault):
    check(fault, node_saw[fault])
