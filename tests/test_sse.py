"""Bytes and events: the laws of the decoder, and the traps of the HTML standard."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mockdify.events import PING, Envelope, Message
from mockdify.sse import PING_FRAME, Decoder, Frame, decode, encode

ENVELOPE = Envelope.chat(conversation_id="c", message_id="m", created_at=1, task_id="t")

# Text that is likely to hit what a decoder may get wrong.
WILD = st.text(
    st.sampled_from("\r\n: \ufeff\u2028\u2029\x85\x0b\x0c\x00adetvn") | st.characters(exclude_categories=["Cs"]),
    max_size=40,
)
STREAMS = st.lists(
    st.sampled_from(
        ["\n", "\r", "\r\n", "\n\n", "data: a", "data:b", "data", "data: ", ": ping", "event: x", "event:", "id: 1"]
    )
    | WILD,
    max_size=12,
).map("".join)


def by_the_book(text: str) -> tuple[list[Frame], str]:
    """The standard's algorithm, one character at a time: slow, and plainly right."""
    text = text.removeprefix("\ufeff")
    lines, line, at = [], "", 0
    while at < len(text):
        char = text[at]
        if char in "\r\n":
            lines.append(line)
            line = ""
            at += 2 if text[at : at + 2] == "\r\n" else 1
        else:
            line += char
            at += 1
    frames, data, event = [], [], ""
    for one in lines:
        if one == "":
            if data or event:
                frames.append(Frame(event or "message", "\n".join(data) if data else None))
            data, event = [], ""
        elif not one.startswith(":"):
            name, _, value = one.partition(":")
            value = value[1:] if value[:1] == " " else value
            if name == "data":
                data.append(value)
            elif name == "event":
                event = value
    return frames, "\n".join([*data, line])


def cut_at(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


# ---------------------------------------------------------------------- laws
@given(STREAMS, st.lists(st.integers(min_value=0)))
@example("\ufeffdata: a\r\n\r\n", [1, 2, 9, 10, 11, 12])
@example("data: 你\n\n", [7])
@example("data: a\r\n\r\n\r\n", [8, 9])
def test_decoding_does_not_depend_on_where_the_bytes_were_cut(text, places):
    data = text.encode()
    assert decode(cut_at(data, places)) == decode([data])


@given(STREAMS, st.lists(st.integers(min_value=0), max_size=4))
def test_decoding_is_what_the_standard_says(text, places):
    decoder = Decoder()
    frames = [frame for piece in cut_at(text.encode(), places) for frame in decoder.feed(piece)]
    expected, rest = by_the_book(text)
    assert frames == expected
    assert decoder.rest.strip("\n") == rest.strip("\n")


@given(st.binary(max_size=60), st.lists(st.integers(min_value=0)))
def test_bytes_that_are_no_utf8_break_nothing(data, places):
    assert decode(cut_at(data, places)) == decode([data])


@given(st.lists(WILD, max_size=6), st.lists(st.integers(min_value=0)))
def test_decoding_gives_back_what_was_encoded(answers, places):
    stream = b"".join(
        encode(Message(id="m", answer=answer, from_variable_selector=None), ENVELOPE) for answer in answers
    )
    frames = decode(cut_at(stream, places))
    assert [json.loads(frame.data)["answer"] for frame in frames] == answers


@given(WILD)
def test_an_event_is_one_line_whatever_it_says(answer):
    frame = encode(Message(id="m", answer=answer, from_variable_selector=None), ENVELOPE)
    assert frame.startswith(b"data: {")
    assert frame.endswith(b"}\n\n")
    assert b"\n" not in frame[:-2]
    assert b"\r" not in frame


# ---------------------------------------------------------------------- traps, one by one
@pytest.mark.parametrize(
    ("stream", "frames"),
    [
        pytest.param("data: a\n\n", ["a"], id="plain"),
        pytest.param("data:a\n\n", ["a"], id="no space"),
        pytest.param("data:  a\n\n", [" a"], id="only one space goes"),
        pytest.param("data\n\n", [""], id="a field without a colon is empty"),
        pytest.param("data: a\ndata: b\n\n", ["a\nb"], id="two data lines"),
        pytest.param("data:\ndata:\n\n", ["\n"], id="two empty data lines"),
        pytest.param("data: a\r\n\r\n", ["a"], id="crlf"),
        pytest.param("data: a\r\rdata: b\r\r", ["a", "b"], id="cr"),
        pytest.param("data: a\r\n\rdata: b\n\r\n", ["a", "b"], id="mixed ends"),
        pytest.param("\ufeffdata: a\n\n", ["a"], id="one bom"),
        pytest.param("\ufeff\ufeffdata: a\n\ndata: b\n\n", ["b"], id="the second bom belongs to the field's name"),
        pytest.param("data: a\n\n\ufeffdata: b\n\n", ["a"], id="a bom later is no bom"),
        pytest.param(": ping\n\ndata: a\n: more\ndata: b\n\n", ["a\nb"], id="comments"),
        pytest.param("data: a\u2028b\x85c\x0b\x0cd\n\n", ["a\u2028b\x85c\x0b\x0cd"], id="what is no line end"),
        pytest.param("data: a\n\ndata: b", ["a"], id="an unfinished block is dropped"),
        pytest.param("data: a\n\ndata: b\n", ["a"], id="a finished line in an unfinished block too"),
        pytest.param("id: 7\nretry: 10\nnope: x\ndata: a\n\n", ["a"], id="other fields"),
        pytest.param("Data: x\n data: y\ndata: a\n\n", ["a"], id="names are exact"),
        pytest.param('data: {"a": "b: c"}\n\n', ['{"a": "b: c"}'], id="only the first colon counts"),
        pytest.param("\n\n\n\ndata: a\n\n\n\n", ["a"], id="blank lines alone are nothing"),
    ],
)
def test_trap(stream, frames):
    assert [frame.data for frame in decode([stream.encode()])] == frames
    assert [frame.data for frame in decode(bytes([byte]) for byte in stream.encode())] == frames


def test_a_ping_is_a_frame_without_data():
    assert encode(PING, ENVELOPE) == PING_FRAME
    assert decode([PING_FRAME]) == [Frame("ping", None)]


def test_the_event_field_does_not_outlive_its_block():
    assert decode([b"event: x\ndata: a\n\ndata: b\n\n"]) == [Frame("x", "a"), Frame("message", "b")]


def test_what_is_cut_off_is_told():
    decoder = Decoder()
    decoder.feed(b"data: a\n\ndata: b\nda")
    assert decoder.rest == "b\nda"


def test_a_line_that_comes_byte_by_byte_is_joined_once():
    """A megabyte in pieces of one byte costs about as much memory as it is long, not its square."""
    decoder = Decoder()
    pieces = [b"data: ", *[b"x"] * 300_000, b"\n\n"]
    tracemalloc.start()
    (frame,) = [found for piece in pieces for found in decoder.feed(piece)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(frame.data) == 300_000
    assert peak < 8_000_000
