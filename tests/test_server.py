"""The edge: how steps become bytes on a socket, and how waits pass."""

from __future__ import annotations

import asyncio
import json

import pytest
from live import KEYS, get, make_engine, post, said_to, serving

from mockdify.clock import Clock
from mockdify.engine import Handling
from mockdify.errors import MockdifyError
from mockdify.server import Edge
from mockdify.sse import decode
from mockdify.steps import Abort, Body, Head, Signal, Wait
from mockdify.waits import FOREVER, Waiter, Wheel

CHAT = "/v1/chat-messages"
THREE = """
[[answers]]
when = { query = "three" }
chunks = ["one", "two", "three"]
[[answers]]
when = { query = "slow" }
chunks = ["one", "two", "three"]
pace = "60s"
[[answers]]
when = { query = "steps" }
chunks = ["one", "two", "three"]
pace = "20ms"
"""


@pytest.fixture
def live():
    with serving(THREE) as running:
        yield running
        running.assert_at_rest()


def ask(query, *, mode="streaming", user="alice", **more):
    return post(CHAT, said_to("chat", query, user, mode=mode, **more))


def events(body):
    return [json.loads(frame.data)["event"] for frame in decode([body]) if frame.data is not None]


def scripted(live, *steps):
    """Let the engine answer the next requests with *steps*, whatever they ask."""
    engine = live.engine
    opened = type(engine).open

    def open_(request, *, instead=None):
        handling = opened(engine, request)

        def played():
            try:
                yield from steps
            finally:
                handling.exchange.close("complete")

        return Handling(handling.workspace, handling.exchange, played())

    engine.open = open_


# ---------------------------------------------------------------------- one answer after another
def test_a_connection_is_kept_after_an_answer_and_after_a_stream(live):
    with live.peer() as peer:
        assert peer.send(ask("three", mode="blocking")).answer().json["answer"] == "onetwothree"
        streamed = peer.send(ask("three")).answer()
        assert streamed.headers["Connection"] == "keep-alive"
        assert events(streamed.body) == ["message", "message", "message", "message_end"]
        assert peer.send(get("/v1/info")).answer().status == 200


def test_requests_sent_ahead_are_answered_in_their_order(live):
    with live.peer() as peer:
        peer.send(ask("three") + get("/v1/info") + ask("three", mode="blocking") + get("/v1/nope"))
        assert [peer.answer().status for _ in range(4)] == [200, 200, 200, 404]


def test_a_client_that_asks_for_it_is_closed_after_the_answer(live):
    with live.peer() as peer:
        answer = peer.send(get("/v1/info", more="Connection: close\r\n")).answer()
        assert answer.headers["Connection"] == "close"
        assert peer.is_closed()


def test_an_old_client_gets_a_body_that_ends_with_the_connection(live):
    with live.peer() as peer:
        answer = peer.send(ask("three").replace(b"HTTP/1.1", b"HTTP/1.0")).answer()
        assert not {"Transfer-Encoding", "Content-Length"} & set(answer.headers)
        assert events(answer.body)[-1] == "message_end"


def test_an_old_client_may_keep_its_connection_where_the_length_is_known(live):
    with live.peer() as peer:
        request = get("/v1/info", version="1.0", more="Connection: keep-alive\r\n")
        assert peer.send(request).answer().headers["Connection"] == "keep-alive"
        assert peer.send(request).answer().status == 200


def test_head_tells_the_length_and_sends_no_body(live):
    length = live.ask(get("/v1/info")).headers["Content-Length"]
    with live.peer() as peer:
        answer = peer.send(get("/v1/info", method="HEAD") + get("/v1/site")).answer("HEAD")
        assert answer.headers["Content-Length"] == length
        assert peer.answer().json["title"]


def test_a_deleted_conversation_is_204_without_a_body(live):
    made = live.ask(ask("three", mode="blocking")).json["conversation_id"]
    with live.peer() as peer:
        request = post(f"/v1/conversations/{made}", {"user": "alice"}).replace(b"POST", b"DELETE", 1)
        assert peer.send(request + get("/v1/info")).answer().status == 204
        assert peer.answer().status == 200


def test_headers_are_those_of_dify(live):
    headers = live.ask(get("/v1/info")).headers
    assert headers["Server"] == "gunicorn"
    assert headers["Connection"] == "keep-alive"
    assert "Date" in headers
    assert not [
        name for name, value in headers.items() if "aiohttp" in value.lower() or "mock" in (name + value).lower()
    ]


# ---------------------------------------------------------------------- pieces
def test_each_event_is_one_chunk(live):
    with live.peer() as peer:
        peer.send(ask("three")).head()
        chunks = list(peer.chunks())
    assert len(chunks) == 4
    assert all(chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") for chunk in chunks)


def test_coalesced_streams_have_the_same_bytes_in_fewer_chunks():
    with serving(THREE, seed=1) as one, serving(THREE, seed=1, edge={"coalesce": True}) as few:
        bodies = []
        for live in (one, few):
            with live.peer() as peer:
                peer.send(ask("three")).head()
                bodies.append(list(peer.chunks()))
        assert len(bodies[0]) == 4
        assert len(bodies[1]) == 1
        assert events(b"".join(bodies[0])) == events(b"".join(bodies[1]))


def test_coalescing_does_not_hold_back_what_is_paced():
    with serving(THREE, edge={"coalesce": True}) as live, live.peer() as peer:
        peer.send(ask("steps")).head()
        assert len(list(peer.chunks())) >= 3


def test_an_empty_piece_does_not_end_a_stream(live):
    scripted(live, Head(200), Body(b"a"), Body(b""), Body(b"b"))
    assert live.ask(get("/v1/info")).body == b"ab"


def test_a_stream_cut_off_has_no_last_chunk(live):
    scripted(live, Head(200), Body(b"a"), Abort("close"))
    with live.peer() as peer:
        peer.send(get("/v1/info") * 2).head()
        assert peer.rest() == b"1\r\na\r\n"


def test_a_cut_while_much_is_still_unsent_has_no_last_chunk_either(live):
    """No ghost: neither an end of the body nor a second answer follows what was already on its way."""
    scripted(live, Head(200), Body(b"a" * 12_000_000), Abort("close"))
    with live.peer() as peer:
        peer.send(get("/v1/info") * 2).head()
        rest = peer.rest()
    assert rest.count(b"a") == 12_000_000
    assert rest.endswith(b"a\r\n")


def test_a_reset_is_a_reset(live):
    scripted(live, Head(200), Body(b"a"), Abort("reset"))
    with live.peer() as peer:
        peer.send(get("/v1/info")).head()
        peer.read_to(b"1\r\na\r\n")
        with pytest.raises(ConnectionResetError):
            peer.socket.recv(100)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_an_answer_that_never_begins_sends_not_a_byte(live, how):
    scripted(live, Abort(how))
    with live.peer() as peer:
        assert peer.send(get("/v1/info")).is_closed()


def test_an_answer_may_break_off_before_its_length_is_reached(live):
    scripted(live, Head(200, length=10), Body(b"abc"), Abort("close"))
    with live.peer() as peer:
        assert peer.send(get("/v1/info")).head().headers["Content-Length"] == "10"
        assert peer.rest() == b"abc"


def test_an_answer_of_known_length_may_come_slowly(live):
    scripted(live, Head(200, length=6), Body(b"abc"), Wait(0), Body(b"def"))
    assert live.ask(get("/v1/info")).body == b"abcdef"


def test_steps_that_make_no_answer_close_the_connection(live):
    scripted(live)
    with live.peer() as peer:
        assert peer.send(get("/v1/info")).is_closed()


# ---------------------------------------------------------------------- headers cannot be broken out of
def test_header_lines_stay_one_line_each(live):
    scripted(live, Head(200, (("X-A", "a\r\nSet-Cookie: b"), ("X-B", "\ud800c\0\x7f")), 0))
    answer = live.ask(get("/v1/info"))
    assert answer.headers["X-A"] == "aSet-Cookie: b"
    assert answer.headers["X-B"] == "c"
    assert "Set-Cookie" not in answer.headers


# ---------------------------------------------------------------------- waiting
def test_pings_come_at_their_interval():
    with serving(THREE, ping_interval="20ms") as live, live.peer() as peer:
        peer.send(ask("slow")).head()
        chunks = peer.chunks()
        assert next(chunks).startswith(b"data: ")
        assert [next(chunks) for _ in range(3)] == [b"event: ping\n\n"] * 3


def test_a_stop_ends_a_wait_at_once(live):
    with live.peer() as peer:
        peer.send(ask("slow")).head()
        task = json.loads(next(peer.chunks())[6:])["task_id"]
        assert live.ask(post(f"{CHAT}/{task}/stop", {"user": "alice"})).status == 200
        assert events(b"".join(peer.chunks()))[-1] == "message_end"


def test_a_clock_that_moves_ends_a_wait(live):
    with live.peer() as peer:
        peer.send(ask("slow")).head()
        chunks = peer.chunks()
        next(chunks)
        live.call(live.workspace.clock.advance, 300)
        assert events(b"".join(chunks))[-1] == "message_end"


def test_a_faster_clock_shortens_waits_under_way(live):
    with live.peer() as peer:
        peer.send(ask("slow")).head()
        chunks = peer.chunks()
        next(chunks)
        live.call(live.workspace.clock.set_speed, 10_000.0)
        assert events(b"".join(chunks))[-1] == "message_end"


def test_a_frozen_clock_jumps_over_waits():
    with serving(THREE, clock="frozen") as live:
        before = live.workspace.clock.now()
        assert events(live.ask(ask("slow")).body)[-1] == "message_end"
        assert live.workspace.clock.now() - before == pytest.approx(120, abs=1)


def test_a_paced_stream_does_not_drift(live):
    """The k-th chunk is due at k times the pace after the first, however long each write took."""
    with live.peer() as peer:
        peer.send(ask("steps")).answer()
    sent = [ms for _, ms, _ in live.workspace.journal.last.writes]
    assert sent[2] - sent[0] == pytest.approx(40, abs=35)


def test_a_blocking_answer_takes_as_long_as_its_stream(live):
    with live.peer() as peer:
        peer.send(ask("slow", mode="blocking"))
        live.until(lambda: any(waiter.is_waiting for waiter in live.edge._open))
        live.call(live.workspace.clock.advance, 119)
        live.until(lambda: any(waiter.is_waiting for waiter in live.edge._open))
        live.call(live.workspace.clock.advance, 2)
        assert peer.answer().json["answer"] == "onetwothree"


def test_a_reset_workspace_cuts_its_streams_off_and_starts_afresh(live):
    with live.peer() as peer:
        peer.send(ask("slow")).head()
        next(peer.chunks())
        old = live.workspace
        live.call(live.engine.reset, old)
        assert peer.rest() == b""
    assert old.journal.last.ended == "reset"
    assert len(live.workspace.journal) == 0
    assert live.ask(get("/v1/conversations?user=alice")).json["data"] == []


def test_settling_waits_for_what_is_on_its_way_and_not_for_what_waits(live):
    with live.peer() as peer:
        peer.send(ask("slow")).head()
        next(peer.chunks())
        live.run(live.edge.settle(live.workspace))
        assert live.workspace.journal.last.ended == "open"
    live.run(live.edge.settle(live.workspace))


# ---------------------------------------------------------------------- the wheel
def on_a_loop(work):
    return asyncio.run(work())


def test_the_wheel_wakes_in_the_order_of_the_deadlines():
    async def work():
        loop = asyncio.get_running_loop()
        wheel, woken = Wheel(loop), []
        now = loop.time()
        for number in (3, 1, 2, 0):
            wheel.at(now + number / 1000, lambda number=number: woken.append(number))
        last = loop.create_future()
        wheel.at(now + 0.004, lambda: last.set_result(None))
        await last
        return woken

    assert on_a_loop(work) == [0, 1, 2, 3]


def test_many_that_are_due_at_once_are_spread_over_turns():
    async def work():
        loop = asyncio.get_running_loop()
        wheel = Wheel(loop)
        due = loop.time() - 1
        alarms = [wheel.at(due, lambda: None) for _ in range(200)]
        counts = []
        while alarms[-1].call is not None:
            await asyncio.sleep(0)
            counts.append(sum(alarm.call is None for alarm in alarms))
        return [after - before for before, after in zip([0, *counts], counts, strict=False)]

    assert max(on_a_loop(work)) == 64


def test_waits_that_were_given_up_do_not_stay():
    async def work():
        loop = asyncio.get_running_loop()
        wheel, clock, closed, wake = Wheel(loop), Clock(loop.time), Signal(), Signal()
        wheel.at(loop.time() + 1000, lambda: None)
        waiters = [Waiter(wheel, clock, closed) for _ in range(500)]
        tasks = [asyncio.create_task(waiter.wait(Wait(loop.time() + 100, wake))) for waiter in waiters]
        await asyncio.sleep(0)
        assert len(wheel) == 501
        wake.set()
        await asyncio.gather(*tasks)
        for waiter in waiters:
            waiter.close()
        left = len(wheel), len(clock.moved._waiters), len(closed._waiters), len(wake._waiters)
        wheel.close()
        return left

    kept, *subscribed = on_a_loop(work)
    assert kept <= 65 + 1
    assert subscribed == [0, 0, 0]


def test_a_cancelled_wait_is_given_up_too():
    async def work():
        loop = asyncio.get_running_loop()
        wheel, clock, closed = Wheel(loop), Clock(loop.time), Signal()
        tasks = []
        for _ in range(300):
            waiter = Waiter(wheel, clock, closed)
            tasks.append(asyncio.create_task(waiter.wait(Wait(loop.time() + 100))))
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        wheel.close()
        return len(wheel)

    assert on_a_loop(work) <= 66


def test_a_wait_for_ever_takes_no_place_on_the_wheel():
    async def work():
        loop = asyncio.get_running_loop()
        wheel, wake = Wheel(loop), Signal()
        waiter = Waiter(wheel, Clock(loop.time), Signal())
        task = asyncio.create_task(waiter.wait(Wait(FOREVER, wake)))
        await asyncio.sleep(0)
        waiting = waiter.is_waiting, len(wheel)
        wake.set()
        await task
        return waiting, waiter.is_waiting

    assert on_a_loop(work) == ((True, 0), False)


# ---------------------------------------------------------------------- starting and stopping
def test_an_address_in_use_is_told_and_leaves_nothing(live):
    async def work():
        edge = Edge(make_engine())
        with pytest.raises(MockdifyError, match=f"cannot listen on 127.0.0.1:{live.port}: "):
            await edge.start("127.0.0.1", live.port)
        await edge.stop()
        return len(asyncio.all_tasks())

    assert on_a_loop(work) == 1


def test_port_0_is_a_free_port_told_in_the_url(live):
    assert live.port > 0
    assert live.url == f"http://127.0.0.1:{live.port}/v1"


def test_at_most_so_many_requests_are_served_at_once():
    with serving(THREE, edge={"connections": 1}) as live, live.peer() as first, live.peer() as second:
        first.send(ask("slow")).head()
        next(first.chunks())
        second.send(get("/v1/info"))
        live.until(lambda: len(live.edge._slots._waiters or ()) == 1)
        first.close()
        assert second.answer().status == 200


def test_every_mode_streams(live):
    for app, path in (("completion", "/v1/completion-messages"), ("workflow", "/v1/workflows/run")):
        answer = live.ask(post(path, said_to(app, "three"), KEYS[app]))
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.body.endswith(b"\n\n")
