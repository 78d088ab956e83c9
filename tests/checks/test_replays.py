"""A saved failure plays again byte for byte and ends as it ended: in `rerun`, and in the stand-alone server."""

import json
import re
import socket
import subprocess
import sys
import time

import pytest

from mockdify.checks.model import Call, Violation
from mockdify.checks.rules import RULES
from mockdify.checks.scenes import struck
from mockdify.faults import CATALOGUE
from mockdify.harness import failures, standalone
from mockdify.harness.runner import Finding, _once

RULE = RULES[0]
_PATHS = {"chat": "chat-messages", "completion": "completion-messages", "workflow": "workflows/run"}
PATIENCE = 0.3


class Raw:
    """A client that keeps what it reads, and how that ended."""

    name = "raw"

    def __init__(self):
        self.read = []

    def capabilities(self):
        return frozenset({"chat.streaming", "chat.blocking"})

    def call(self, call: Call, *, abandon=False, watched=None):
        from mockdify.checks.model import Outcome

        body = {key: value for key, value in call.args.items() if key != "stream"}
        body["response_mode"] = "streaming" if call.args["stream"] else "blocking"
        self.read.append(ask(call.place.base_url, call.place.api_key, call.name, body))
        return Outcome(call=call, started=time.time(), hung=True)

    def settle(self):
        pass


def ask(base_url, key, call, body):
    """What comes, pings apart: status line, headers, the body without its coding, and how it ended."""
    host, port = re.match(r"http://([\d.]+):(\d+)", base_url).groups()
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/{_PATHS[call]} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    got, ended = b"", "open"
    with socket.create_connection((host, int(port))) as conn:
        conn.sendall(head.encode() + data)
        conn.settimeout(PATIENCE)
        try:
            while piece := conn.recv(65536):
                got += piece
                if done(got):
                    break
            ended = "closed"
        except TimeoutError:
            pass
        except ConnectionResetError:
            ended = "reset"
    return told(got, ended)


def done(got):
    head, _, rest = got.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    if b"chunked" in head.lower():
        return rest.endswith(b"\r\n0\r\n\r\n") or rest == b"0\r\n\r\n"
    return length is not None and len(rest) >= int(length[1])


_OF_THE_MOMENT = ("date", "connection", "server", "keep-alive")


def told(got, ended):
    head, _, rest = got.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    pieces = []
    while b"chunked" in head.lower() and rest:
        size, _, rest = rest.partition(b"\r\n")
        pieces.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    pings = [piece for piece in pieces or [rest] if piece == b"event: ping\n\n"]
    return {
        "status": first.partition(" ")[2][:3],
        "headers": sorted(pair for pair in headers if pair[0] not in _OF_THE_MOMENT),
        "pieces": [piece for piece in pieces or [rest] if piece not in (b"", b"event: ping\n\n")],
        "ended": "whole" if done(got) else ended,
        "pings": len(pings) > 1,
    }


def saved_of(theatre, mode, fault):
    """What the raw client read of *fault*, and the failure saved of it."""
    client = Raw()
    case = struck(mode, fault, query="Grüße 你好", timeout=PATIENCE, **OPTIONS.get(fault, {}))
    run = _once(theatre, client, case)
    finding = Finding(rule=RULE, case=case, run=run, violations=[Violation(verdict="hung", words="made up")])
    return client.read[0], failures.Saved(json.loads(json.dumps(failures.save(finding))))


OPTIONS = {name: {"after": 2} for name, kind in CATALOGUE.items() if kind.when == "stream"} | {"slow": {}}
FAULTS = [
    (mode, name)
    for name, kind in CATALOGUE.items()
    for mode in (("chat.streaming",) if kind.when != "before" else ("chat.blocking",))
    if name != "slow"
]


@pytest.mark.parametrize(("mode", "fault"), FAULTS, ids=[name for _, name in FAULTS])
def test_a_rerun_is_byte_for_byte(theatre, mode, fault):
    first, saved = saved_of(theatre, mode, fault)
    client = Raw()
    _once(theatre, client, saved.case(None))
    assert client.read[0] == first


@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        ("chat.blocking", "hang"),
        ("chat.blocking", "truncated-body"),
        ("chat.streaming", "half-chunk"),
        *(
            pytest.param(mode, fault, marks=pytest.mark.slow)
            for mode, fault in (
                ("chat.blocking", "rate-limit"),
                ("chat.blocking", "bad-gateway"),
                ("chat.blocking", "reset"),
                ("chat.blocking", "garbage"),
                ("chat.streaming", "cut"),
                ("chat.streaming", "reset-stream"),
                ("chat.streaming", "stall"),
                ("chat.streaming", "error-event"),
                ("chat.streaming", "split-utf8"),
                ("chat.streaming", "connection-close"),
            )
        ),
    ],
)
def test_the_server_for_a_bug_report_sends_the_same_bytes(theatre, tmp_path, mode, fault):
    """Alone: no line of it needs anything but Python."""
    first, saved = saved_of(theatre, mode, fault)
    path = tmp_path / "server.py"
    path.write_text(standalone.script(saved), encoding="ascii")
    with subprocess.Popen([sys.executable, "-I", "-S", str(path), "0"], stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().split()[-1]
            again = ask(url, "app-any", "chat", {"query": "Hello"})
        finally:
            server.kill()
    assert again == first


def test_a_tape_knows_what_stood_outside_the_framing_and_what_was_promised(theatre):
    _, half = saved_of(theatre, "chat.streaming", "half-chunk")
    _, short = saved_of(theatre, "chat.blocking", "truncated-body")
    assert half.replies[0].pieces[-1].raw
    assert short.replies[0].extra_length > 0
    assert (half.replies[0].end, short.replies[0].end) == ("close", "close")
