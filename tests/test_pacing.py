"""Pings and late heads: when a stream says something although nothing happens."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mockdify.events import PING, Envelope, TextChunk
from mockdify.pacing import with_pings
from mockdify.steps import Body, Emit, Head, Signal, Wait

HEAD = Head(200)
SAID = Emit(TextChunk(text="a", from_variable_selector=[]), Envelope())


class Clock:
    """A clock that stands still but for the waits it is given."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def play(reply, clock, *, interval=10.0, waking=None):
    """What goes out and when (seconds from the start), with each wait passed at once; *waking* may end one early."""
    start, seen = clock.now, []
    for step in with_pings(reply, interval=interval, now=clock):
        if isinstance(step, Wait):
            assert step.until >= clock.now, "a wait lies ahead"
            if waking is not None and waking(step):
                continue
            clock.now = step.until
        else:
            seen.append((round(clock.now - start, 6), "ping" if step == Emit(PING, Envelope()) else step))
    return seen


def saying(clock, *gaps, wake=None):
    """A reply that says something after each gap."""
    yield HEAD
    for gap in gaps:
        if gap:
            yield Wait(clock.now + gap, wake)
        yield SAID


def test_a_quick_stream_has_no_pings():
    clock = Clock()
    assert play(saying(clock, 0, 1, 9, 0), clock) == [(0, HEAD), (0, SAID), (1, SAID), (10, SAID), (10, SAID)]


def test_the_head_waits_for_the_first_event():
    clock = Clock()
    assert play(saying(clock, 4), clock) == [(4, HEAD), (4, SAID)]


def test_the_head_comes_with_the_first_ping():
    clock = Clock()
    assert play(saying(clock, 25), clock) == [(10, HEAD), (10, "ping"), (20, "ping"), (25, SAID)]


def test_silence_is_counted_from_the_last_event():
    clock = Clock()
    seen = play(saying(clock, 4, 12), clock)
    assert seen == [(4, HEAD), (4, SAID), (14, "ping"), (16, SAID)]


def test_short_waits_that_add_up_to_silence_are_silence():
    clock = Clock()

    def thinking():
        yield HEAD
        for _ in range(5):
            yield Wait(clock.now + 4)
        yield SAID

    assert play(thinking(), clock) == [(10, HEAD), (10, "ping"), (20, SAID)]


def test_an_empty_stream_still_has_its_head():
    clock = Clock()
    assert play(saying(clock), clock) == [(0, HEAD)]


def test_bytes_end_a_silence_as_events_do():
    clock = Clock()

    def mixed():
        yield HEAD
        yield Wait(clock.now + 8)
        yield Body(b"x")
        yield Wait(clock.now + 8)
        yield SAID

    assert [at for at, _ in play(mixed(), clock)] == [8, 8, 16]


def test_a_woken_reply_looks_at_its_task_before_anything_is_said():
    """A stop in the middle of a long silence: no ping comes between it and the reply's own ending."""
    clock, wake = Clock(), Signal()

    def stopped():
        yield HEAD
        yield Wait(clock.now + 100, wake)
        yield SAID

    def waking(step):
        if clock.now >= 1020:
            wake.set()
            clock.now += 3
            return True
        return False

    assert play(stopped(), clock, waking=waking) == [(10, HEAD), (10, "ping"), (20, "ping"), (23, SAID)]


def test_closing_the_wrapper_closes_the_reply():
    closed = []

    def reply():
        try:
            yield HEAD
            yield SAID
            yield SAID
        finally:
            closed.append(True)

    wrapped = with_pings(reply(), interval=10, now=Clock())
    next(wrapped)
    next(wrapped)
    wrapped.close()
    assert closed == [True]


@given(
    st.lists(st.floats(min_value=0, max_value=60, allow_subnormal=False), max_size=8),
    st.floats(min_value=0.5, max_value=30),
)
def test_nothing_is_silent_for_longer_than_the_interval(gaps, interval):
    """And the events themselves come in their order and at their time, pings or not."""
    clock = Clock()
    seen = play(saying(clock, *gaps), clock, interval=interval)
    times = [0.0, *(at for at, _ in seen)]
    assert all(after - before <= interval + 1e-6 for before, after in pairwise(times))
    said = [at for at, step in seen if step is SAID]
    due = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    assert len(said) == len(due)
    assert all(abs(at - expected) < 1e-3 for at, expected in zip(said, due, strict=True))
    assert sum(step is HEAD for _, step in seen) == 1
    assert seen[0][1] is HEAD


@given(st.lists(st.sampled_from([0.0, 0.01, 3.0, 12.0]), max_size=6))
def test_pings_come_only_after_an_interval_of_silence(gaps):
    clock = Clock()
    seen = play(saying(clock, *gaps), clock)
    last = 0.0
    for at, step in seen:
        if step == "ping":
            assert abs(at - last - 10) < 1e-6
        last = last if step is HEAD else at
