"""Bytes and events: how an event is framed, and a decoder that never depends on where the bytes were cut."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mockdify.events import PING, Envelope, Event, Message
from mockdify.wire import as_event_json

__all__ = ["PING_FRAME", "Decoder", "Frame", "decode", "encode"]

PING_FRAME = b"event: ping\n\n"


def encode(event: Event, envelope: Envelope) -> bytes:
    """The frame of *event*: `data: `, one line of JSON, a blank line. A ping has no data line."""
    if type(event) is Message:  # most events: all of a stream differ in their text only
        common = envelope.common
        if common is None or common[0] is not event.id or common[1] is not event.from_variable_selector:
            common = envelope.common = _common(event, envelope)
        return b"%b%b%b" % (common[2], as_event_json(event.answer), common[3])
    if event is PING:
        return PING_FRAME
    return b"data: %b\n\n" % as_event_json(event.payload(envelope))


def _common(event: Message, envelope: Envelope) -> tuple[str, Any, bytes, bytes]:
    silent = Message(id=event.id, answer="", from_variable_selector=event.from_variable_selector)
    before, _, behind = as_event_json(silent.payload(envelope)).rpartition(b'"answer":""')
    return event.id, event.from_variable_selector, b'data: %b"answer":' % before, behind + b"\n\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """One block of a stream: `event` is the field's value (`message` when absent), `data` the joined data lines."""

    event: str
    data: str | None


class Decoder:
    """A stream decoder after the HTML standard: feed bytes cut anywhere, get whole frames.

    Lines end with LF, CR or CRLF only (never with U+2028 or U+0085), one leading byte order mark is dropped, comments
    are skipped, and what is not closed by a blank line is not a frame (`rest` tells it).
    """

    __slots__ = ("_after_cr", "_data", "_event", "_line", "_text", "_virgin")

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._line: list[str] = []
        self._after_cr = False
        self._virgin = True
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that *chunk* completes."""
        text = self._text.decode(chunk)
        if not text:
            return []
        if self._virgin:
            self._virgin = False
            text = text.removeprefix("\ufeff")
        if self._after_cr:
            self._after_cr = False
            text = text.removeprefix("\n")
        if "\r" in text:
            self._after_cr = text[-1] == "\r"
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        first, *lines = text.split("\n")
        self._line.append(first)
        if not lines:  # pieces of a line are joined once, however many there are
            return []
        lines.insert(0, "".join(self._line))
        self._line = [lines.pop()]
        return self._take(lines)

    @property
    def rest(self) -> str:
        """What was received and is not a frame: an unfinished line or block."""
        line = "".join(self._line)
        return "\n".join([*self._data, line]) if self._data or line else ""

    def _take(self, lines: list[str]) -> list[Frame]:
        frames: list[Frame] = []
        for line in lines:
            if not line:
                if self._data or self._event:
                    data = "\n".join(self._data) if self._data else None
                    frames.append(Frame(self._event or "message", data))
                    self._event, self._data = "", []
                continue
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            elif name == "event":
                self._event = value.removeprefix(" ")
        return frames


def decode(chunks: Iterable[bytes]) -> list[Frame]:
    """All frames of a whole stream."""
    decoder = Decoder()
    return [frame for chunk in chunks for frame in decoder.feed(chunk)]
