"""A workspace's time: moved by hand, faster, frozen; and what hangs on it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from engines import KEYS, START, Time, chat, control, engine
from hypothesis import given
from hypothesis import strategies as st

from mockdify.clock import Clock
from mockdify.script import Rule, Script
from mockdify.server import Edge

# --- the clock itself ------------------------------------------------------------------------------------------------


def test_it_follows_its_source():
    now = Time()
    clock = Clock(now)
    now.now += 5
    assert clock.now() == START + 5


def test_a_frozen_clock_moves_only_when_told():
    now = Time()
    clock = Clock(now, start=100.0, frozen=True)
    now.now += 5
    assert clock.now() == 100
    clock.advance(30)
    assert clock.now() == 130
    clock.reach(140)
    clock.reach(120)
    assert clock.now() == 140
    assert clock.speed == 0


steps = st.one_of(
    st.tuples(st.just("pass"), st.floats(0, 1e6)),
    st.tuples(st.just("advance"), st.floats(0, 1e6)),
    st.tuples(st.just("speed"), st.floats(0.01, 1e4)),
    st.tuples(st.just("freeze"), st.booleans()),
)


@given(st.lists(steps, max_size=30))
def test_time_never_goes_back_and_every_jump_is_told(story):
    now = Time(0.0)
    clock, told = Clock(now), []
    clock.moved.subscribe(lambda: told.append(1))
    shown, jumps = clock.now(), 0
    for what, value in story:
        if what == "pass":
            now.now += value
        else:
            jumps += 1
            {"advance": clock.advance, "speed": clock.set_speed, "freeze": clock.freeze}[what](value)
            wanted = shown + value if what == "advance" else shown
            assert clock.now() == pytest.approx(wanted, abs=1e-3)
        assert clock.now() >= shown
        shown = clock.now()
    assert len(told) == jumps


@given(st.floats(0.01, 1e4), st.floats(0, 1e6))
def test_real_seconds_are_what_is_left_at_this_speed(speed, wait):
    now = Time(0.0)
    clock = Clock(now)
    clock.set_speed(speed)
    left = clock.real_seconds_until(clock.now() + wait)
    now.now += left
    assert clock.now() == pytest.approx(wait, abs=1e-3)


# --- over the control API --------------------------------------------------------------------------------------------


def test_over_http_time_is_read_and_moved():
    server = engine()
    assert control(server, "GET", "/clock").json == {
        "now": START, "time": "2026-01-01T00:00:00.000Z", "speed": 1.0, "frozen": False,
    }  # fmt: skip
    assert control(server, "POST", "/clock", {"advance": "30s"}).json["time"] == "2026-01-01T00:00:30.000Z"
    assert control(server, "POST", "/clock", {"speed": 100}).json["speed"] == 100
    frozen = control(server, "POST", "/clock", {"frozen": True, "advance": "1d"}).json
    assert (frozen["time"], frozen["speed"], frozen["frozen"]) == ("2026-01-02T00:00:30.000Z", 0, True)
    assert control(server, "POST", "/clock", {"frozen": False, "speed": 2}).json["speed"] == 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "say one of advance, speed, frozen"),
        ({"advance": "soon"}, "'soon' is not a duration"),
        ({"advance": "-5s"}, "not below zero"),
        ({"advance": "40000d"}, "at most a hundred years"),
        ({"speed": 0}, "a number above 0"),
        ({"speed": -1}, "a number above 0"),
        ({"speed": True}, "a number above 0"),
        ({"spede": 2}, "did you mean 'speed'?"),
        ({"frozen": True, "speed": 2}, "a frozen clock has no speed"),
    ],
)
def test_a_time_that_cannot_be_is_refused(body, message):
    got = control(engine(), "POST", "/clock", body)
    assert got.status == 400
    assert message in got.json["message"]


def test_created_at_follows_the_clock():
    server = engine()
    assert chat(server).json["created_at"] == START
    control(server, "POST", "/clock", {"advance": "1h"})
    assert chat(server).json["created_at"] == START + 3600


def test_each_workspace_has_its_own_time():
    server = engine()
    made = control(server, "POST", "/workspaces", {}).json
    control(server, "POST", f"/workspaces/{made['id']}/clock", {"advance": "1d"})
    assert chat(server).json["created_at"] == START
    assert chat(server, key=made["keys"]["chat"]).json["created_at"] == START + 86400


# --- over a real socket ----------------------------------------------------------------------------------------------


@contextmanager
def served(server):
    """The engine behind a real socket, in a thread with its own loop."""
    loop, edge = asyncio.new_event_loop(), Edge(server)
    ready = threading.Event()

    async def begin():
        await edge.start("127.0.0.1", 0)
        ready.set()

    def run():
        loop.run_until_complete(begin())
        loop.run_forever()
        loop.run_until_complete(edge.stop())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(5)
    try:
        yield edge
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


class Line:
    """One connection, read as it comes."""

    def __init__(self, edge, method, path, body, key=None):
        port = edge.port
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        data = json.dumps(body).encode()
        auth = f"Authorization: Bearer {key}\r\n" if key else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{auth}Content-Type: application/json\r\n"
        self.sock.sendall(f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
        self.seen = b""

    def until(self, *words):
        """Everything up to where all *words* were seen, or to the end."""
        while not all(word in self.seen for word in words):
            data = self.sock.recv(65536)
            if not data:
                break
            self.seen += data
        return self.seen

    def asleep(self, edge):
        """Come back when the first chunk is here and the stream waits for its next moment."""
        self.until(b"first")
        while not edge._wheel._heap:
            Line(edge, "GET", "/_mockdify/health", {}).rest()

    def rest(self):
        while data := self.sock.recv(65536):
            self.seen += data
        self.sock.close()
        return self.seen


def slow(seconds):
    """A script whose second chunk comes after *seconds* on the workspace's clock."""
    return lambda: Script(rules=[Rule(chunks=("first", "second"), pace=seconds)])


def stream(edge):
    body = {"inputs": {}, "query": "hi", "user": "u", "response_mode": "streaming"}
    return Line(edge, "POST", "/v1/chat-messages", body, key=KEYS["chat"])


def test_advancing_wakes_a_sleeping_stream_with_the_pings_it_owes():
    """An hour of silence passes in a moment: 360 pings and the rest of the answer."""
    server = engine(time=time.time, make_script=slow(3600.0))
    with served(server) as edge:
        begun = time.monotonic()
        line = stream(edge)
        line.asleep(edge)
        assert b"second" not in line.seen
        Line(edge, "POST", "/_mockdify/clock", {"advance": "1h"}).rest()
        got = line.rest()
        took = time.monotonic() - begun
    assert b"second" in got
    assert b"message_end" in got
    assert 359 <= got.count(b"event: ping") <= 360
    assert took < 5


def test_at_a_hundred_times_the_speed_pings_come_without_waiting():
    """35 s of silence with a ping each 10 s are over in 0.35 s."""
    server = engine(time=time.time, make_script=slow(35.0))
    with served(server) as edge:
        Line(edge, "POST", "/_mockdify/clock", {"speed": 100}).rest()
        begun = time.monotonic()
        got = stream(edge).rest()
        took = time.monotonic() - begun
    assert got.count(b"event: ping") == 3
    assert 0.3 < took < 5


def test_a_change_of_speed_reaches_streams_that_wait_already():
    server = engine(time=time.time, make_script=slow(1000.0))
    with served(server) as edge:
        begun = time.monotonic()
        line = stream(edge)
        line.asleep(edge)
        Line(edge, "POST", "/_mockdify/clock", {"speed": 10_000}).rest()
        got = line.rest()
        took = time.monotonic() - begun
    assert b"message_end" in got
    assert took < 5


def test_freezing_lets_waits_pass_at_once():
    server = engine(time=time.time, make_script=slow(1000.0))
    with served(server) as edge:
        line = stream(edge)
        line.asleep(edge)
        Line(edge, "POST", "/_mockdify/clock", {"frozen": True}).rest()
        got = line.rest()
    assert b"message_end" in got
    assert server.default.clock.now() - time.time() > 900


def test_a_reset_cuts_a_sleeping_stream_and_leaves_nothing_to_the_next_test():
    server = engine(time=time.time, make_script=slow(3600.0))
    with served(server) as edge:
        line = stream(edge)
        line.asleep(edge)
        old = server.default.journal
        Line(edge, "POST", "/_mockdify/reset", {}).rest()
        got = line.rest()
        second = Line(edge, "GET", "/v1/conversations?user=u", {}, key=KEYS["chat"]).rest()
    assert b"second" not in got
    assert not got.endswith(b"0\r\n\r\n")
    assert b'"data":[]' in second
    assert old.last.ended == "reset"
    assert [one.path for one in server.default.journal] == ["/v1/conversations"]
