"""Wire transcripts: replies as exact bytes in exact pieces. They are played to clients, saved and replayed.

Everything here is a value and turns into plain JSON and back without loss.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, TypeAlias

__all__ = ["End", "Pause", "Piece", "Send", "WireReply", "error", "stream", "whole"]

End: TypeAlias = Literal["complete", "close", "reset", "hang", "pings"]
"""How a reply ends: properly, by FIN, by RST, not at all, or with pings for ever."""
Framing: TypeAlias = Literal["chunked", "length", "close"]


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes that go out in one write (one HTTP chunk)."""

    data: bytes
    raw: bool = False
    """Whether they stand outside all framing, with no chunk around them."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds of silence."""

    seconds: float


Piece: TypeAlias = Send | Pause
_PAUSES = 6

EVENT_STREAM = (("Content-Type", "text/event-stream; charset=utf-8"), ("X-Version", "1.16.1"))
JSON_BODY = (("Content-Type", "application/json"), ("X-Version", "1.16.1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WireReply:
    """One reply as it goes over the wire. Status 0: not even a status line before the end."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = EVENT_STREAM
    pieces: tuple[Piece, ...] = ()
    framing: Framing = "chunked"
    end: End = "complete"
    extra_length: int = 0
    """How much longer than the truth Content-Length is."""
    reason: str = ""
    """The words behind the status; none: the usual ones."""
    delay: float = 0.0
    """Seconds before the status line."""

    @property
    def body(self) -> bytes:
        """All bytes, pauses left out."""
        return b"".join(self._sends)

    @property
    def _sends(self) -> Iterable[bytes]:
        return (piece.data for piece in self.pieces if isinstance(piece, Send))

    @property
    def is_plain(self) -> bool:
        """Whether it goes out at once, whole, framed as it should be, and the connection may be kept."""
        return (
            self.status > 0
            and self.end == "complete"
            and self.framing != "close"
            and not self.delay
            and not any(isinstance(piece, Pause) or piece.raw for piece in self.pieces)
        )

    def cut(self, at: Iterable[int], *, pause: float = 0.001) -> WireReply:
        """The same bytes, in pieces that end at the offsets *at* of the body.

        A moment passes at a few borders, the first and others all along: many clients join what they find waiting, and
        would never see a cut.

        Args:
            at: offsets; those outside the body are left out.
            pause: seconds at each of those borders; a process that is busy with itself needs more than the usual.
        """
        body = self.body
        borders = sorted({0, len(body), *(k for k in at if 0 < k < len(body))})
        inner = len(borders) - 2
        paused = {1 + k * (inner - 1) // max(1, _PAUSES - 1) for k in range(_PAUSES)} if inner > _PAUSES else None
        pieces: list[Piece] = []
        for number, (start, end) in enumerate(pairwise(borders)):
            if number and (paused is None or number in paused):
                pieces.append(Pause(pause))
            pieces.append(Send(body[start:end]))
        return replace(self, pieces=tuple(pieces))

    def as_json(self) -> dict[str, Any]:
        """As plain JSON; bytes that are no UTF-8 in base64."""
        steps = [{"wait": p.seconds} if isinstance(p, Pause) else _sent(p) for p in self.pieces]
        return {
            "status": self.status,
            "reason": self.reason,
            "delay": self.delay,
            "headers": [list(pair) for pair in self.headers],
            "framing": self.framing,
            "steps": steps,
            "end": self.end,
            "extra_length": self.extra_length,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WireReply:
        """Back from `as_json`."""
        pieces = tuple(
            Pause(step["wait"]) if "wait" in step else Send(_bytes(step), step.get("raw", False))
            for step in data["steps"]
        )
        return cls(
            status=data["status"],
            headers=tuple((name, value) for name, value in data["headers"]),
            pieces=pieces,
            framing=data["framing"],
            end=data["end"],
            extra_length=data.get("extra_length", 0),
            reason=data.get("reason", ""),
            delay=data.get("delay", 0.0),
        )


def _sent(piece: Send) -> dict[str, Any]:
    raw = {"raw": True} if piece.raw else {}
    try:
        return {"send": piece.data.decode(), **raw}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(piece.data).decode(), **raw}


def _bytes(step: Mapping[str, Any]) -> bytes:
    return base64.b64decode(step["base64"]) if "base64" in step else step["send"].encode()


def stream(frames: Iterable[bytes | Pause], *, end: End = "complete", framing: Framing = "chunked") -> WireReply:
    """A stream of events: each of *frames* is one piece."""
    pieces = tuple(frame if isinstance(frame, Pause) else Send(frame) for frame in frames)
    return WireReply(pieces=pieces, end=end, framing=framing)


def whole(body: Mapping[str, Any] | bytes, *, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> WireReply:
    """A reply of known length: JSON, or bytes with the headers given."""
    if isinstance(body, bytes):
        return WireReply(status=status, headers=tuple(headers), pieces=(Send(body),), framing="length")
    data = json.dumps(body).encode()
    return WireReply(status=status, headers=(*JSON_BODY, *headers), pieces=(Send(data),), framing="length")


def error(status: int, code: str, message: str, *, headers: Iterable[tuple[str, str]] = ()) -> WireReply:
    """One of Dify's errors."""
    return whole({"code": code, "message": message, "status": status}, status=status, headers=headers)
