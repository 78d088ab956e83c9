"""The law of framing: whatever is done to the bytes, the events are the same."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from fault_support import BEGIN, chunks_of
from hypothesis import given, settings
from hypothesis import strategies as st

from mockdify.events import PING, Envelope, ErrorEvent, Message, MessageEnd, TextChunk, WorkflowFinished
from mockdify.faults import CATALOGUE, FaultContext, spec_of
from mockdify.http import Request
from mockdify.profiles import PROFILES
from mockdify.sse import decode, encode
from mockdify.steps import Emit, Head, Wait
from mockdify.wire import SSE

FRAMING = [name for name, kind in CATALOGUE.items() if kind.when == "framing"]
CHAT = Envelope.chat(conversation_id="c", message_id="m", created_at=1, task_id="t")
RUN = Envelope.workflow(run_id="r", task_id="t")
CONTEXT = FaultContext(Request(method="POST", target="/v1/chat-messages"), PROFILES["1.16"], lambda: BEGIN)

texts = st.text(max_size=20) | st.sampled_from(
    ['"', "\\", "\\u00e9", "a\nb", "\r\n", "data: x", "é", "你好", "👋", "\u2028", "\x00", '{"a": 1}, [2]']
)
messages = st.builds(lambda text: Emit(Message(id="m", answer=text, from_variable_selector=[]), CHAT), texts)
chunks = st.builds(lambda text: Emit(TextChunk(text=text, from_variable_selector=["n", "text"]), RUN), texts)
errors = st.builds(lambda text: Emit(ErrorEvent(code="x", status=400, message=text), CHAT), texts)
ends = st.just(Emit(MessageEnd(id="m", metadata={"usage": {"total_price": "1E-7", "latency": 0.5}}, files=[]), CHAT))
pings = st.just(Emit(PING, Envelope()))
waits = st.just(Wait(BEGIN + 1))
streams = st.lists(messages | chunks | pings | waits | errors | ends, max_size=12)


def framed(steps, *faults):
    reply = iter([Head(200, (("Content-Type", SSE),)), *steps])
    for fault, options in sorted(faults, key=lambda one: CATALOGUE[one[0]].stage):
        reply = spec_of(fault, options).make().apply(CONTEXT, reply)
    return list(reply)


def meaning(chunks):
    """Event names and data as JSON: what a client that parses as it should gets."""
    return [(frame.event, None if frame.data is None else json.loads(frame.data)) for frame in decode(chunks)]


def honest(steps):
    return meaning(encode(step.event, step.envelope) for step in steps if isinstance(step, Emit))


@pytest.mark.parametrize("fault", FRAMING)
@settings(max_examples=30, deadline=None)
@given(steps=streams)
def test_framing_never_changes_the_events(fault, steps):
    assert meaning(chunks_of(framed(steps, (fault, {})))) == honest(steps)


@settings(max_examples=60, deadline=None)
@given(steps=streams, faults=st.sets(st.sampled_from(FRAMING), min_size=1), size=st.integers(1, 50))
def test_framing_faults_together_never_change_the_events(steps, faults, size):
    options = {"chop": {"bytes": size}, "merge": {"events": size + 1}}
    out = framed(steps, *((fault, options.get(fault, {})) for fault in faults))
    assert meaning(chunks_of(out)) == honest(steps)


@settings(max_examples=60, deadline=None)
@given(steps=streams, faults=st.sets(st.sampled_from(FRAMING), min_size=1), cuts=st.lists(st.integers(0, 5000)))
def test_nor_does_it_matter_where_the_network_cuts_them(steps, faults, cuts):
    body = b"".join(chunks_of(framed(steps, *((fault, {}) for fault in faults))))
    places = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    assert meaning(body[a:b] for a, b in itertools.pairwise(places)) == honest(steps)


@settings(max_examples=60, deadline=None)
@given(steps=streams, size=st.integers(1, 400))
def test_chop_keeps_every_byte_and_no_chunk_is_longer(steps, size):
    out = chunks_of(framed(steps, ("chop", {"bytes": size})))
    assert all(len(chunk) <= size for chunk in out)
    assert b"".join(out) == b"".join(encode(s.event, s.envelope) for s in steps if isinstance(s, Emit))


@settings(max_examples=30, deadline=None)
@given(steps=streams)
def test_no_chunk_is_empty(steps):
    """An empty chunk would end a chunked body."""
    for fault in FRAMING:
        assert all(chunks_of(framed(steps, (fault, {}))))


def said(text):
    return [
        Emit(Message(id="m", answer=text, from_variable_selector=[]), CHAT),
        Emit(MessageEnd(id="m", metadata={}, files=[]), CHAT),
    ]


def borders(fault, text):
    """What stands left and right of each chunk border that is not between two events."""
    out = chunks_of(framed(said(text), (fault, {})))
    whole = b"".join(out)
    ends = {found.end() for found in re.finditer(rb"\r?\n\r?\n", whole)}
    at = list(itertools.accumulate(map(len, out)))
    return [(out[k], out[k + 1]) for k, end in enumerate(at) if end not in ends]


@pytest.mark.parametrize("text", ["café", "你好", "👋", "plain"])
def test_split_utf8_puts_a_border_inside_a_character(text):
    found = borders("split-utf8", text)
    assert found
    for left, right in found:
        assert left[-1] >= 0xC0 or 0x80 <= right[0] < 0xC0
        with pytest.raises(UnicodeDecodeError):
            left.decode()


def test_split_crlf_puts_a_border_between_cr_and_lf():
    assert all(left.endswith(b"\r") and right.startswith(b"\n") for left, right in borders("split-crlf", "x"))
    assert borders("split-crlf", "x")


def test_split_field_puts_a_border_inside_the_word_data():
    assert [(left, right[:4]) for left, right in borders("split-field", "x")] == [(b"da", b"ta: ")] * 2


@pytest.mark.parametrize("text", ["a\nb", 'say "hi"', "back\\slash", "\x01", "plain"])
def test_split_escape_puts_a_border_inside_an_escape(text):
    found = borders("split-escape", text)
    assert found
    assert all(re.search(rb"\\(u[0-9a-f])?$", left) for left, _ in found)


def test_split_blank_puts_a_border_before_the_blank_line():
    assert [(left[-1:], right) for left, right in borders("split-blank", "x")] == [(b"\n", b"\n")] * 2


def test_a_wait_between_two_pieces_lets_a_client_read_them_one_by_one():
    out = framed(said("é"), ("split-utf8", {}))
    assert [step for step in out if isinstance(step, Wait)] == [Wait(BEGIN + 0.002, real=True)]


def test_merge_holds_events_over_a_wait():
    steps = [*said("x")[:1], Wait(BEGIN + 5), *said("x")[1:]]
    out = framed(steps, ("merge", {}))
    assert [type(step) for step in out[1:-1]] == [Wait]
    assert len(decode(chunks_of(out))) == 2


def test_multiline_has_more_than_one_data_line_in_every_event():
    for chunk in chunks_of(framed([*said("x"), Emit(WorkflowFinished(**FINISHED), RUN)], ("multiline", {}))):
        assert chunk.count(b"data: ") > 1


FINISHED = {
    "id": "r",
    "workflow_id": "w",
    "status": "succeeded",
    "outputs": {},
    "error": None,
    "elapsed_time": 0.1,
    "total_tokens": 0,
    "total_steps": 0,
    "created_by": {},
    "created_at": 1,
    "finished_at": 2,
    "exceptions_count": 0,
    "files": [],
}


def test_texts_of_the_other_framings():
    def first(fault):
        return chunks_of(framed(said("x"), (fault, {})))[0]

    assert first("crlf").endswith(b"}\r\n\r\n")
    assert first("comment").startswith(b": a comment\n\ndata: ")
    assert first("no-space").startswith(b'data:{"event"')
    assert first("bom").startswith(b"\xef\xbb\xbfdata: ")
    assert chunks_of(framed([Emit(PING, CHAT)], ("no-space", {}))) == [b"event:ping\n\n"]
