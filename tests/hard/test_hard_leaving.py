"""Clients that vanish, sleep, read nothing or send half: what Dify makes of it, and that nothing of them stays."""

from __future__ import annotations

import gc
import json
import resource
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from live import KEYS, PATHS, Peer, get, make_engine, post, request, said_to, serving

from mockdify.config import rule_from
from mockdify.faults import CATALOGUE
from mockdify.sse import decode
from mockdify.steps import Body, Head, Wait

# Twenty milliseconds between chunks: time enough to leave between any two.
PACED = """
[[answers]]
when = { query = "paced" }
chunks = ["one", "two", "three"]
pace = "20ms"
[[answers]]
when = { query = "steady" }
chunks = ["one", "two", "three"]
pace = "150ms"
[[answers]]
when = { query = "slow" }
chunks = ["one", "two", "three"]
pace = "60s"
[defaults]
chunks = ["one", "two", "three"]
"""
APPS = tuple(KEYS)
SAID = "onetwothree"
GRAPHS = ("chatflow", "workflow")
FINISHED = {"chatflow", "workflow"}
"""What goes on when its client has left."""


HUGE = rule_from({"when": {"query": "huge"}, "chunks": ["x" * 100_000] * 200})
"""Not in the file: twenty megabytes of TOML take a second to read."""


@contextmanager
def with_huge():
    with serving(PACED) as running:
        running.workspace.script.add(HUGE)
        yield running


@pytest.fixture
def live():
    with with_huge() as running:
        yield running
        running.assert_at_rest()


def ask(app, query, user="alice", *, mode="streaming", **more):
    return post(PATHS[app], said_to(app, query, user, mode=mode, **more), KEYS[app])


def stored(live, app, user):
    """What the store has of the one turn of *user*: (status, text)."""
    workspace = live.workspace
    if app == "workflow":
        (run,) = [run for run in workspace.store.app(app).runs.values() if run.user == user]
        return run.status, "".join(str(value) for value in run.outputs.values())
    (message,) = workspace.store.user(app, user, 0).messages.values()
    return message.status, message.answer


# ---------------------------------------------------------------------- at every point of a stream
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("app", APPS)
def test_a_client_may_vanish_at_any_point_of_a_stream(live, app, how):
    """After any of its events, also those that come all at once: nothing stays."""
    points = len(decode([live.ask(ask(app, "paced", "whole")).body]))
    peers = [live.peer().send(ask(app, "paced", f"left-{point}")) for point in range(points)]
    for point, peer in enumerate(peers):
        if point:
            peer.head()
            chunks = peer.chunks()
            for _ in range(point):
                next(chunks)
        getattr(peer, how)()
    live.assert_at_rest()
    for exchange in live.workspace.journal:
        assert exchange.ended in ("complete", "client gone")
        if app in FINISHED or exchange.ended == "complete":
            status, text = stored(live, app, exchange.user)
            assert status in ("succeeded", "normal")
            assert SAID in text


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("waits", [0, 1])
@pytest.mark.parametrize("app", APPS)
def test_what_a_client_leaves_behind_in_the_middle(live, app, waits, how):
    """Chat, completion and agent stop where they are, without an answer; chatflow and workflow go on to the end."""

    def pass_time():
        live.until(lambda: any(waiter.is_waiting for waiter in live.edge._open))
        live.call(live.workspace.clock.advance, 60)

    peer = live.peer().send(ask(app, "slow"))
    for _ in range(waits):
        pass_time()
    live.until(lambda: any(waiter.is_waiting for waiter in live.edge._open))
    getattr(peer, how)()
    live.until(lambda: not live.edge._open)
    assert live.workspace.journal.last.ended == "client gone"
    if app in FINISHED:
        live.until(lambda: live.edge._background)
        assert stored(live, app, "alice")[0] in ("running", "normal")
        live.call(live.workspace.clock.advance, 300)
    live.assert_at_rest()
    status, text = stored(live, app, "alice")
    assert (status, SAID in text) == ("succeeded", True) if app == "workflow" else (status == "normal")
    assert (SAID in text) == (app in FINISHED)


@pytest.mark.parametrize("app", ["chat", "completion", "chatflow", "workflow"])
def test_a_blocking_answer_is_finished_for_nobody(live, app):
    for how in ("close", "reset"):
        peer = live.peer().send(ask(app, "steady", how, mode="blocking"))
        live.until(lambda: live.edge._open)
        getattr(peer, how)()
    live.assert_at_rest()
    for user in ("close", "reset"):
        assert SAID in stored(live, app, user)[1]
    assert {exchange.ended for exchange in live.workspace.journal} == {"client gone"}


def test_the_conversation_goes_on_after_a_client_that_left(live):
    with live.peer() as peer:
        peer.send(ask("chat", "slow")).head()
        made = json.loads(next(peer.chunks())[6:])["conversation_id"]
    live.assert_at_rest()
    assert live.ask(ask("chat", "hi", mode="blocking", conversation_id=made)).json["answer"] == SAID
    listed = live.ask(get(f"/v1/messages?user=alice&conversation_id={made}")).json["data"]
    assert sorted(message["answer"] for message in listed) == ["", SAID]


def test_a_run_that_goes_on_unheard_can_be_stopped(live):
    with live.peer() as peer:
        peer.send(ask("chatflow", "slow")).head()
        chunks = peer.chunks()
        task = next(json.loads(chunk[6:])["task_id"] for chunk in chunks if chunk.startswith(b"data"))
        while b'"message"' not in next(chunks):
            pass
    live.until(lambda: live.edge._background)
    stop = post(f"/v1/chat-messages/{task}/stop", {"user": "alice"}, KEYS["chatflow"])
    assert live.ask(stop).status == 200
    live.assert_at_rest()


def test_a_reset_ends_what_runs_unheard(live):
    with live.peer() as peer:
        peer.send(ask("workflow", "slow")).head()
        next(peer.chunks())
    live.until(lambda: live.edge._background)
    live.call(live.engine.reset, live.workspace)
    live.assert_at_rest()


# ---------------------------------------------------------------------- without a socket: closed at every step
@pytest.mark.parametrize("mode", ["blocking", "streaming"])
@pytest.mark.parametrize("app", APPS)
def test_a_reply_may_be_closed_after_any_step(app, mode):
    """With each fault of the catalogue and without: no run stays in the workspace, no exchange stays open."""
    engine = make_engine(PACED)
    plain = request("POST", PATHS[app], said_to(app, "paced", mode=mode), KEYS[app])
    for fault in [None, *CATALOGUE]:
        headers = plain.headers if fault is None else (*plain.headers, ("X-Mockdify-Fault", fault))
        asked = replace(plain, headers=headers)
        point = 0
        while point < 40 and closed_after(point, engine.open(asked)):
            assert engine.default.journal.last.ended != "open"
            point += 1
        if engine.default.tasks:  # a graph that was closed before its first step waits for the collector
            gc.collect()
        assert not engine.default.tasks, fault


def closed_after(point, handling):
    """Let a client leave after that many steps, as the edge does it; False when there were not so many."""
    taken, leaving = 0, "close"
    for taken, step in enumerate(handling.steps):
        leaving = step.leaving if isinstance(step, Head) else leaving
        if taken == point or is_endless(step):
            break
    if leaving == "finish":  # what a graph has begun is run to its end; only a reset closes it, with its world
        handling.exchange.close("client gone")
        any(is_endless(step) for step in handling.steps)
    handling.steps.close()
    return taken == point


def is_endless(step):
    return isinstance(step, Wait) and step.until == float("inf")


@pytest.mark.parametrize("clock", ["real", "frozen"])
def test_no_fault_outlives_its_client(clock):
    with serving(PACED, clock=clock, ping_interval="20ms") as live:
        peers = []
        for fault in CATALOGUE:
            for app in ("chat", "chatflow"):
                body = said_to(app, "paced", f"{fault}-{app}")
                peers.append(live.peer().send(post(PATHS[app], body, KEYS[app], X_Mockdify_Fault=fault)))
        live.until(lambda: len(live.workspace.journal) == len(peers))
        for peer in peers:
            peer.close()

        def has_ended():  # graphs go on unheard, slow ones too: their time passes here
            live.workspace.clock.advance(60)
            return not live.edge._open and not live.edge._background

        live.until(has_ended)
        live.assert_at_rest()


# ---------------------------------------------------------------------- half a connection
def test_half_a_connection_still_gets_its_answer(live):
    for app in APPS:
        with live.peer() as peer:
            answer = peer.send(ask(app, "hi")).half_close().answer()
            assert answer.body.endswith(b"\n\n")
            assert peer.is_closed()
    with live.peer() as peer:
        assert peer.send(get("/v1/info") + ask("chat", "hi", mode="blocking")).half_close().answer().status == 200
        assert peer.answer().json["answer"] == SAID
        assert peer.is_closed()


def test_half_a_connection_is_no_audience_for_a_long_stream(live):
    """It looks just like one that has vanished."""
    with live.peer() as peer:
        peer.send(ask("chat", "slow")).half_close()
        assert b"one" in peer.rest()
    live.assert_at_rest()
    assert live.workspace.journal.last.ended == "client gone"


def test_half_a_request_on_half_a_connection_is_closed(live):
    for data in (b"GET", get("/v1/info")[:-2], b"", b"\r\n"):
        with live.peer() as peer:
            assert peer.send(data).half_close().is_closed()


# ---------------------------------------------------------------------- clients that do not read
def test_what_is_not_read_is_not_piled_up(live):
    """A stream of twenty megabytes to somebody who reads nothing waits with a few of them in the system's buffers."""
    peer = live.peer()
    peer.send(ask("chat", "huge"))
    live.until(lambda: live.edge._listener.connections)
    (connection,) = live.edge._listener.connections
    live.until(lambda: connection._paused)
    assert connection.transport.get_write_buffer_size() < 400_000
    exchange = live.workspace.journal.last
    sent = len(exchange.body)
    assert sent < 15_000_000
    body = peer.answer().body
    assert body.count(b"message_end") == 1
    assert len(body) > 20_000_000
    peer.close()


def test_a_reset_does_not_wait_for_somebody_who_does_not_read(live):
    with live.peer() as peer:
        peer.send(ask("chat", "huge"))
        live.until(lambda: any(connection._paused for connection in live.edge._listener.connections))
        old = live.workspace
        live.call(live.engine.reset, old)
        live.until(lambda: not live.edge._open)
        assert old.journal.last.ended == "reset"
    live.assert_at_rest()


def test_a_large_answer_in_one_piece_does_not_outlive_its_reader(live):
    made = live.ask(ask("chat", "y" * 9_000_000, mode="blocking")).json
    target = f"/v1/messages?user=alice&conversation_id={made['conversation_id']}"
    peer = live.peer().send(get(target))
    live.until(lambda: any(connection._paused for connection in live.edge._listener.connections))
    peer.close()
    live.assert_at_rest()


# ---------------------------------------------------------------------- many, and slow
def test_idle_and_slow_connections_are_closed_in_time():
    with serving(edge={"keepalive": 0.15}) as live:
        with ExitStack() as stack:
            peers = [stack.enter_context(live.peer()) for _ in range(6)]
            peers[1].send(b"G")
            peers[2].send(b"GET /v1/info HTTP/1.1\r\nHost: x\r\n")
            peers[3].send(b"\r\n\r\n")
            assert peers[4].send(get("/v1/info")).answer().status == 200
            assert peers[5].send(get("/v1/info")).answer().status == 200
            peers[5].send(b"GET /v1/info HTTP/1.1\r\nX-Slow: ")
            assert all(peer.is_closed() for peer in peers)
        live.assert_at_rest()


def test_an_idle_connection_may_speak_again_in_time(live):
    with live.peer() as peer:
        for _ in range(3):
            assert peer.send(get("/v1/info")).answer().status == 200


def test_two_thousand_idle_connections_do_not_keep_anybody_waiting(live):
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(2000, (soft - 300) // 2)
    if count < 100:
        pytest.skip(f"only {soft} files may be open")
    with ExitStack() as stack:
        for number in range(count):
            peer = stack.enter_context(Peer(live.port))
            if number % 3 == 1:
                peer.send(b"GET /v1/info HTT")
            elif number % 3 == 2:
                peer.send(get("/v1/info"))
        live.until(lambda: len(live.edge._listener.connections) == count)
        started = time.perf_counter()
        assert live.ask(ask("chat", "hi", mode="blocking")).status == 200
        assert live.ask(ask("chatflow", "hi")).status == 200
        assert time.perf_counter() - started < 2
    live.assert_at_rest()


# ---------------------------------------------------------------------- stopping
def test_a_server_stops_within_a_second_whatever_its_clients_do():
    with ExitStack() as stack:
        live = stack.enter_context(with_huge())
        peers = []
        for app in APPS:
            peers += [stack.enter_context(live.peer().send(ask(app, query))) for query in ("slow", "huge", "slow")]
            if app != "agent":
                peers.append(stack.enter_context(live.peer().send(ask(app, "slow", mode="blocking"))))
            live.peer().send(ask(app, "slow")).close()
        peers.append(stack.enter_context(live.peer()))
        peers.append(stack.enter_context(live.peer().send(b"GET /v1")))
        peers.append(stack.enter_context(live.peer().send(post("/v1/chat-messages", b"{", Content_Length="1000000"))))
        peers.append(stack.enter_context(live.peer().send(get("/v1/info"))))
        live.until(lambda: len(live.edge._open) >= 17)
        started = time.perf_counter()
        live.run(live.edge.stop())
        assert time.perf_counter() - started < 1
        gc.collect()  # a cancelled reply may hold itself until then
        left = live.call(live._census)
        assert (left["tasks"], left["replies"], left["generations"], left["open exchanges"]) == (1, 0, 0, 0)
        for peer in peers:
            peer.rest()
        with pytest.raises(ConnectionRefusedError):
            Peer(live.port)


def test_a_stream_that_a_stop_cuts_off_has_no_proper_end():
    with serving(PACED) as live, live.peer() as peer:
        peer.send(ask("chat", "slow")).head()
        chunks = peer.chunks()
        next(chunks)
        live.run(live.edge.stop())
        with pytest.raises(EOFError):
            next(chunks)


def test_steps_that_nobody_hears_do_not_hold_the_loop(live):
    """An unpaced run of a graph whose client has left yields to others in between."""
    engine, turns = live.engine, []
    opened = type(engine).open

    def open_(asked, *, instead=None):
        handling = opened(engine, asked)

        def steps():
            yield Wait(handling.workspace.clock.now() + 60)
            for _ in range(2000):
                turns.append(1)
                yield Body(b"x")
            handling.exchange.close("complete")

        handling.steps.close()
        handling.steps = steps()
        return handling

    engine.open = open_
    peer = live.peer().send(get("/v1/info"))
    live.until(lambda: live.edge._open)
    peer.close()
    live.until(lambda: live.edge._background)
    live.call(live.workspace.clock.advance, 60)
    live.assert_at_rest()
    assert len(turns) == 2000
