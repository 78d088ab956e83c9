"""What happened: every exchange with its request and everything that was sent back.

Bytes are kept as they went out with one packed array of (offset, time); parsed views are made when somebody reads
them. The journal holds a bounded number of exchanges and drops the oldest.
"""

from __future__ import annotations

import json
from array import array
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mockdify.masking import mask_headers, mask_text
from mockdify.sse import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockdify.http import Request
    from mockdify.profiles import Profile

__all__ = ["Ended", "Exchange", "Journal"]

Ended: TypeAlias = Literal["open", "complete", "aborted", "client gone", "reset"]

CAP = 10_000
"""How many exchanges a journal keeps unless told otherwise."""


class RequestView:
    """The request of an exchange, parsed when asked. Keys stand masked."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return self._request.method

    @property
    def path(self) -> str:
        """The path with its query, as sent."""
        return mask_text(self._request.target)

    @property
    def headers(self) -> dict[str, str]:
        """The headers by their names as sent; of repeated ones the last; secrets masked."""
        return mask_headers(self._request.headers)

    @property
    def body(self) -> bytes:
        """The body as received."""
        return self._request.body

    @property
    def json(self) -> Any:
        """The body as JSON, or None when it is not JSON."""
        try:
            return json.loads(self._request.body)
        except ValueError:
            return None


class Exchange:
    """One request with everything sent back."""

    __slots__ = (
        "_marks",
        "_request",
        "_sent",
        "answer",
        "app",
        "ended",
        "fault",
        "headers",
        "id",
        "profile",
        "started",
        "status",
        "user",
        "warnings",
    )

    def __init__(self, number: int, request: Request, started: float) -> None:
        self.id = number
        self._request = request
        self.started = started
        self.profile: Profile | None = None
        self.app: str | None = None
        self.user: str | None = None
        self.status = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self.fault: str | None = None
        self.answer: Any = None
        self.ended: Ended = "open"
        self.warnings: list[str] = []
        self._sent: list[bytes] | bytes = []
        self._marks = array("d")

    def note(self, data: bytes, now: float) -> None:
        """Keep one write."""
        sent = self._sent
        if isinstance(sent, list):  # a write after the end is nobody's
            sent.append(data)
            self._marks.append(now)

    def close(self, how: Ended) -> None:
        """The exchange is over; the first word on how it ended stays."""
        if self.ended != "open":
            return
        self.ended = how
        sent = self._sent
        if isinstance(sent, list):
            packed, offset = array("d"), 0
            for data, at in zip(sent, self._marks, strict=True):
                packed.append(offset)
                packed.append(at)
                offset += len(data)
            self._sent = sent[0] if len(sent) == 1 else b"".join(sent)
            self._marks = packed

    @property
    def request(self) -> RequestView:
        """The request."""
        return RequestView(self._request)

    @property
    def method(self) -> str:
        """The request's method."""
        return self._request.method

    @property
    def path(self) -> str:
        """The request's path, without the query."""
        return mask_text(self._request.path)

    @property
    def body(self) -> bytes:
        """The body as it went out, framing faults included."""
        return self._sent if isinstance(self._sent, bytes) else b"".join(self._sent)

    @property
    def writes(self) -> list[tuple[int, float, int]]:
        """One (offset in the body, ms since the request, length) per write."""
        if isinstance(self._sent, list):
            offsets, at = [0], list(self._marks)
            for data in self._sent:
                offsets.append(offsets[-1] + len(data))
        else:
            offsets, at = [*map(int, self._marks[::2]), len(self._sent)], list(self._marks[1::2])
        return [
            (start, round((moment - self.started) * 1000, 3), end - start)
            for start, end, moment in zip(offsets, offsets[1:], at, strict=False)
        ]

    @property
    def ms(self) -> float:
        """Milliseconds from the request to the last write."""
        writes = self.writes
        return writes[-1][1] if writes else 0.0

    @property
    def is_stream(self) -> bool:
        """Whether the answer was a stream of events."""
        return any(name == "Content-Type" and value.startswith("text/event-stream") for name, value in self.headers)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that were sent, decoded; pings, which have no data, are left out."""
        found = []
        for frame in decode([self.body]) if self.is_stream else ():
            if frame.data is not None:
                try:
                    found.append(json.loads(frame.data))
                except ValueError:
                    found.append({"event": "?", "data": frame.data})
        return found

    @property
    def json(self) -> Any:
        """The answer as JSON, or None when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def text(self) -> str:
        """The answer's text: a stream's chunks put together, a blocking reply's `answer`, else empty."""
        if self.is_stream:
            said = ""
            whole = self.profile is not None and self.profile.chunks == "cumulative"
            for event in self.events:
                name = event.get("event")
                if name == "message_replace" or (whole and name == "message"):
                    said = event.get("answer") or ""
                elif name in ("message", "agent_message"):
                    said += event.get("answer") or ""
                elif name == "text_chunk":
                    said += (event.get("data") or {}).get("text") or ""
            return said
        answer, key = self.json, self.profile.answer_key if self.profile else "answer"
        return answer.get(key, "") if isinstance(answer, dict) else ""

    def __repr__(self) -> str:
        return f"<Exchange {self.id} {self.method} {self.path} {self.status} {self.ended}>"

    def as_dict(self) -> dict[str, Any]:
        """The exchange as JSON: what `GET /_mockdify/journal` lists."""
        return {
            "id": self.id,
            "profile": self.profile.name if self.profile else None,
            "app": self.app,
            "user": self.user,
            "method": self.method,
            "path": self.request.path,
            "status": self.status,
            "request": {
                "headers": self.request.headers,
                "json": self.request.json,
                "body": mask_text(self._request.body.decode("utf-8", "replace")),
            },
            "headers": dict(self.headers),
            "body": self.body.decode("utf-8", "replace"),
            "writes": self.writes,
            "events": self.events,
            "text": self.text,
            "fault": self.fault,
            "ended": self.ended,
            "ms": self.ms,
            "warnings": self.warnings,
        }


class Journal:
    """The exchanges of one workspace, oldest first, at most `cap` of them."""

    def __init__(self, now: Callable[[], float], *, cap: int = CAP) -> None:
        self._now = now
        self._kept: deque[Exchange] = deque(maxlen=cap)
        self._made = 0

    def open(self, request: Request) -> Exchange:
        """A new exchange for *request*."""
        self._made += 1
        exchange = Exchange(self._made, request, self._now())
        self._kept.append(exchange)
        return exchange

    def clear(self) -> None:
        """Forget everything; numbers go on."""
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(list(self._kept))

    def __getitem__(self, index: int) -> Exchange:
        return self._kept[index]

    def get(self, number: int) -> Exchange | None:
        """The exchange with this id, if it is still kept."""
        return next((exchange for exchange in self._kept if exchange.id == number), None)

    @property
    def last(self) -> Exchange:
        """The newest exchange."""
        if not self._kept:
            msg = "the journal is empty: no request has reached this workspace"
            raise LookupError(msg)
        return self._kept[-1]
