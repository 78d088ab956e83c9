"""One seed and a frozen clock: the same bytes, run after run, whoever else asks in between."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from engines import KEYS, START, ask, chat_body, control, engine
from hypothesis import given, settings
from hypothesis import strategies as st

FROZEN = {"clock_frozen": True, "clock_start": START, "seed": 7}

FAULTS = (
    {"fault": "rate-limit", "probability": 0.3, "times": 0, "retry_after": 2},
    {"fault": "chop", "probability": 0.5, "times": 0, "bytes": 7},
    {"fault": "cut", "probability": 0.2, "times": 0, "after": 2},
)


def dialogue(user):
    """What one user asks, in order: chats, an agent, a chatflow, a workflow, lists."""
    body = chat_body("What is the time, 你好?", user=user, streaming=True)
    yield "POST", "/v1/chat-messages", body, KEYS["chat"]
    yield "POST", "/v1/chat-messages", {**body, "response_mode": "blocking"}, KEYS["chat"]
    yield "POST", "/v1/chat-messages", body, KEYS["agent"]
    yield "POST", "/v1/chat-messages", body, KEYS["chatflow"]
    yield (
        "POST",
        "/v1/workflows/run",
        {"inputs": {"query": "x", "name": "n", "text": "t"}, "user": user, "response_mode": "streaming"},
        KEYS["workflow"],
    )
    yield "GET", f"/v1/conversations?user={user}", None, KEYS["chat"]
    yield "GET", "/v1/nothing", None, KEYS["chat"]


def answers(server, order):
    """The answers to every user's dialogue, by user, when they take turns in this *order*."""
    left = {user: list(dialogue(user)) for user in order}
    got = {user: [] for user in left}
    for user in order:
        method, path, body, key = left[user].pop(0)
        reply = ask(server, method, path, body, key=key)
        got[user].append((reply.status, sorted(reply.headers.items()), reply.body, reply.waits))
    return got


ALONE = [user for user in ("ann", "bob", "cem") for _ in dialogue(user)]


def test_two_runs_are_byte_identical():
    runs = []
    for _ in range(2):
        server = engine(**FROZEN)
        for fault in FAULTS:
            control(server, "POST", "/faults", fault)
        runs.append(
            (
                answers(server, ALONE),
                control(server, "GET", "/journal").body,
                control(server, "GET", "/journal?format=har").body,
            )
        )
    assert runs[0] == runs[1]
    statuses = {status for one in runs[0][0].values() for status, *_ in one}
    assert {200, 429} <= statuses


def test_another_seed_makes_other_ids():
    assert answers(engine(**FROZEN), ALONE) != answers(engine(**{**FROZEN, "seed": 8}), ALONE)


@settings(max_examples=15, deadline=None)
@given(st.permutations(ALONE))
def test_the_order_of_parallel_users_changes_nothing(order):
    assert answers(engine(**FROZEN), order) == answers(engine(**FROZEN), ALONE)


SCRIPT = """
import http.client, json, sys
from urllib.parse import urlsplit
ready = json.loads(sys.stdin.readline())
at = urlsplit(ready["url"])
line = http.client.HTTPConnection(at.hostname, at.port, timeout=10)
for query in ("one", "two, 你好"):
    for app in ("chat", "agent", "chatflow"):
        body = json.dumps({"inputs": {}, "query": query, "user": "u", "response_mode": "streaming"})
        key = "Bearer " + ready["keys"][app]
        headers = {"Host": "h", "Authorization": key, "Content-Type": "application/json"}
        line.request("POST", "/v1/chat-messages", body, headers)
        sys.stdout.buffer.write(line.getresponse().read())
"""


@pytest.mark.slow
def test_two_servers_with_a_frozen_clock_send_the_same_bytes():
    """As above over real sockets and `mockdify serve`."""

    def run():
        serve = [
            sys.executable,
            "-m",
            "mockdify",
            "serve",
            "--port",
            "0",
            "--json",
            "--quiet",
            "--seed",
            "7",
            "--clock",
            "frozen",
        ]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
            ready = server.stdout.readline()
            got = subprocess.run(
                [sys.executable, "-c", SCRIPT], input=ready.encode(), capture_output=True, check=True, timeout=30
            )
            server.terminate()
        return json.loads(ready)["keys"], got.stdout

    first, second = run(), run()
    assert first == second
    assert first[1].count(b"message_end") == 6
