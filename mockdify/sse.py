"""Bytes and events: how an event is framed, and a decoder that never depends on where the bytes were cut."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mockdify.events import PING, Envelope, Event
from mockdify.wire import as_event_json

__all__ = ["PING_FRAME", "Decoder", "Frame", "decode", "encode"]

PING_FRAME = b"event: ping\n\n"
_LINE_END = re.compile("[\r\n]")


def encode(event: Event, envelope: Envelope) -> bytes:
    """The frame of *event*: `data: `, one line of JSON, a blank line. A ping has no data line."""
    if event is PING:
        return PING_FRAME
    return b"data: %b\n\n" % as_event_json(event.payload(envelope))


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

    __slots__ = ("_data", "_event", "_line", "_skip_lf", "_text", "_virgin")

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._skip_lf = False
        self._virgin = True
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The frames that *chunk* completes."""
        text = self._text.decode(chunk)
        if text and self._virgin:
            self._virgin = False
            text = text.removeprefix("\ufeff")
        start = 0
        for at, char in _line_ends(text):
            if char == "\n" and self._skip_lf and at == start:
                self._skip_lf = False
                start = at + 1
                continue
            self._skip_lf = char == "\r"
            frame = self._take(self._line + text[start:at])
            self._line, start = "", at + 1
            if frame is not None:
                yield frame
        if start < len(text):
            self._skip_lf = False
            self._line += text[start:]

    @property
    def rest(self) -> str:
        """What was received and is not a frame: an unfinished line or block."""
        return "\n".join([*self._data, self._line]) if self._data or self._line else ""

    def _take(self, line: str) -> Frame | None:
        if not line:
            frame = Frame(self._event or "message", "\n".join(self._data) if self._data else None)
            empty = not self._event and not self._data
            self._event, self._data = "", []
            return None if empty else frame
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        return None


def _line_ends(text: str) -> Iterator[tuple[int, str]]:
    return ((found.start(), found.group()) for found in _LINE_END.finditer(text))


def decode(chunks: Iterable[bytes]) -> list[Frame]:
    """All frames of a whole stream."""
    decoder = Decoder()
    return [frame for chunk in chunks for frame in decoder.feed(chunk)]
