"""What happened: every exchange with its request and everything that was sent back.

Bytes are kept as they went out with one packed row of (length, time) per write; parsed views are made when somebody
reads them. The journal is bounded twice: by a number of exchanges and by the bytes of their payloads; the oldest go
first. What an exchange costs beside its payload is under 0.5 KB, so nothing here keeps a parsed request.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from struct import Struct
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload
from urllib.parse import unquote

import orjson

from mockdify.http import Request
from mockdify.masking import Masker, masker
from mockdify.sse import decode

if TYPE_CHECKING:
    from mockdify.profiles import Profile
    from mockdify.script import Rule

__all__ = [
    "BUDGET",
    "CAP",
    "KEPT",
    "Ended",
    "Exchange",
    "Journal",
    "RequestView",
    "Violations",
    "contract_check",
    "dumps",
]

Ended: TypeAlias = Literal["open", "complete", "aborted", "client gone", "reset"]
Violations: TypeAlias = Callable[["Exchange"], Sequence[Any]]
"""What is wrong with an exchange's request by the contracts; called when somebody asks."""

Shared = TypeVar("Shared")

CAP = 10_000
"""How many exchanges a journal keeps unless told otherwise."""
BUDGET = 64 * 1024 * 1024
"""How many bytes of payload (requests and what was sent) a journal keeps unless told otherwise."""
KEPT = 1024 * 1024
"""How many bytes of one body are kept, each way; of larger ones the beginning."""
_MOST_SHARED = 1024


def dumps(value: Any) -> bytes:
    """*value* as JSON, also where a client sent what no JSON text should hold (half a surrogate pair, huge numbers)."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, default=str).encode()


def contract_check(release: str) -> Violations:
    """What holds requests to the contracts of *release*, or of the profile of the app that was asked."""

    def check(exchange: Exchange) -> Sequence[Any]:
        from mockdify.contracts import Contracts  # noqa: PLC0415 - few runs ask for it

        served = exchange.profile.name if exchange.profile is not None else release
        contracts, raw = Contracts.load(served), exchange.raw
        if not raw.path.startswith("/v1") or not contracts.covers(raw.path):
            return ()
        return contracts.check_request(raw.method, raw.target, raw.headers, raw.body)

    return check


class RequestView:
    """The request of an exchange, parsed when asked. Keys stand masked, except in the body."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return self._exchange.method

    @property
    def path(self) -> str:
        """The path with its query, as sent."""
        return self._exchange.mask.text(self._exchange.raw.target)

    @property
    def headers(self) -> dict[str, str]:
        """The headers by their names as sent; of repeated ones the last; secrets masked."""
        return self._exchange.mask.headers(self._exchange.raw.headers)

    @property
    def body(self) -> bytes:
        """The body as received; of a large one the first `KEPT` bytes."""
        return self._exchange.raw.body

    @property
    def json(self) -> Any:
        """The body as JSON, or None when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Exchange:
    """One request with everything sent back."""

    __slots__ = (
        "_asked",
        "_body",
        "_head",
        "_journal",
        "_sent",
        "_size",
        "_target",
        "_times",
        "_warnings",
        "answer",
        "app",
        "ended",
        "fault",
        "headers",
        "id",
        "method",
        "profile",
        "started",
        "status",
        "struck",
        "user",
    )

    def __init__(self, number: int, request: Request, started: float, journal: Journal) -> None:
        self.id = number
        self.started = started
        self.profile: Profile | None = None
        self._journal = journal
        share = journal.share
        self.method = share(request.method)
        self._target = share(request.target)
        self._head = share(_pack(request))
        body = request.body
        self._asked = len(body)
        self._body = body if len(body) <= KEPT else body[:KEPT]
        self.app: str | None = None
        self.user: str | None = None
        self.status = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self.fault: str | None = None
        """The names of the faults that struck, joined."""
        self.struck: tuple[Any, ...] = ()
        """The specs of those faults."""
        self.answer: Rule | None = None
        """The scripted rule that answered, if one did."""
        self.ended: Ended = "open"
        self._warnings: list[str] | None = None
        # While it is open: the writes and their moments; afterwards the body, and the writes packed.
        self._sent: list[bytes] | bytes = []
        self._times: list[float] | bytes = []
        self._size = 0

    # ------------------------------------------------------------------ written by the engine
    def note(self, data: bytes, now: float) -> None:
        """Keep one write. Beyond `KEPT` bytes only its size and moment count."""
        sent, times = self._sent, self._times
        if not isinstance(sent, list) or not isinstance(times, list):
            return  # a write after the end is nobody's
        before = self._size
        self._size = size = before + len(data)
        if size <= KEPT:
            sent.append(data)
            times.append(now)
        elif before < KEPT or not sent:
            sent.append(data[: KEPT - before])
            times.append(now)
        else:
            times[-1] = now

    def close(self, how: Ended) -> None:
        """The exchange is over; the first word on how it ended stays."""
        if self.ended != "open":
            return
        self.ended = how
        journal, sent, times = self._journal, self._sent, self._times
        assert isinstance(sent, list)
        assert isinstance(times, list)
        if len(sent) == 1:  # most answers, in a third of the time
            self._times = _one_write(min(self._size, _MOST), (times[0] - self.started) * 1000)
            self._sent = sent[0]
        else:
            self._times = _packed([len(data) for data in sent], times, self.started, self._size)
            self._sent = b"".join(sent)
        self.headers = journal.share(self.headers)
        if self.user is not None:
            self.user = journal.share(self.user)
        if not self._warnings:
            self._warnings = None
        journal.grown(self, len(self._sent))

    @property
    def warnings(self) -> list[str]:
        """What the server has to say about this exchange; add with `append`."""
        if self._warnings is None:
            self._warnings = []
        return self._warnings

    @property
    def is_warned(self) -> bool:
        """Whether there is any warning."""
        return bool(self._warnings)

    # ------------------------------------------------------------------ the request
    @property
    def request(self) -> RequestView:
        """The request."""
        return RequestView(self)

    @property
    def raw(self) -> Request:
        """The request as it came, secrets and all, its body cut at `KEPT` bytes. Not to be shown."""
        scheme, _, rest = self._head.partition(b"\0")
        parts = rest.decode("utf-8", "surrogatepass").split("\0") if rest else []
        return Request(
            method=self.method,
            target=self._target,
            headers=tuple(zip(parts[::2], parts[1::2], strict=True)),
            body=self._body,
            scheme=scheme.decode(),
        )

    @property
    def raw_path(self) -> str:
        """The request's path, without the query, as it came. Not to be shown."""
        path = self._target.partition("?")[0]
        return unquote(path) if "%" in path else path

    @property
    def path(self) -> str:
        """The request's path, without the query."""
        return self.mask.text(self.raw_path)

    @property
    def mask(self) -> Masker:
        """What hides the secrets of the exchange's workspace."""
        return self._journal.mask

    def payload(self) -> int:
        """The bytes that are kept of both bodies, and of the head."""
        sent = len(self._sent) if isinstance(self._sent, bytes) else 0
        return len(self._body) + len(self._head) + sent

    @property
    def received_bytes(self) -> int:
        """The size of the request's body as it was received, kept or not."""
        return self._asked

    @property
    def violations(self) -> list[Any]:
        """How the request breaks Dify's contracts; found when asked."""
        check = self._journal.check
        return list(check(self)) if check is not None else []

    # ------------------------------------------------------------------ what was sent
    @property
    def body(self) -> bytes:
        """The body as it went out, framing faults included; of a large one the first `KEPT` bytes."""
        return self._sent if isinstance(self._sent, bytes) else b"".join(self._sent)

    @property
    def sent_bytes(self) -> int:
        """The size of the body as it went out, kept or not."""
        return self._size

    @property
    def writes(self) -> list[tuple[int, float, int]]:
        """One (offset in the body, ms since the request, length) per write."""
        lengths: Sequence[int]
        moments: Sequence[float]
        if isinstance(self._times, bytes):
            half = len(self._times) // 2
            lengths, moments = array("I", self._times[:half]), array("f", self._times[half:])
        else:
            lengths = [len(data) for data in self._sent]  # type: ignore[arg-type]  # both are lists until the end
            moments = [(at - self.started) * 1000 for at in self._times]
        found, offset = [], 0
        for length, moment in zip(lengths, moments, strict=True):
            found.append((offset, round(moment, 3), length))
            offset += length
        return found

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
        return _events(self.body) if self.is_stream else []

    @property
    def json(self) -> Any:
        """The answer as JSON, or None when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def _is_whole(self) -> bool:
        return self.profile is not None and self.profile.chunks == "cumulative"

    @property
    def text(self) -> str:
        """The answer's text: a stream's chunks put together, a blocking reply's `answer`, else empty."""
        if self.is_stream:
            return _said(self.events, whole=self._is_whole)
        answer, key = self.json, self.profile.answer_key if self.profile else "answer"
        said = answer.get(key) if isinstance(answer, dict) else None
        return said if isinstance(said, str) else ""

    def __repr__(self) -> str:
        return f"<Exchange {self.id} {self.method} {self.path} {self.status} {self.ended}>"

    def as_dict(self, mask: Masker | None = None, *, violations: bool = False) -> dict[str, Any]:
        """The exchange as JSON, without secrets: what `GET /_mockdify/journal` lists.

        Args:
            mask: knows what to hide; None for the journal's own.
            violations: whether the request is held to the contracts.
        """
        mask = mask or self.mask
        raw, body = self.raw, self.body
        shown = mask.text(body.decode("utf-8", "replace"))
        asked = mask.text(raw.body.decode("utf-8", "replace"))
        is_stream = self.is_stream
        events = _events(shown.encode()) if is_stream else []
        return {
            "id": self.id,
            "profile": self.profile.name if self.profile else None,
            "at": round(self.started, 6),
            "app": self.app,
            "user": None if self.user is None else mask.text(self.user),
            "method": self.method,
            "path": mask.text(raw.target),
            "status": self.status,
            "request": {
                "headers": mask.headers(raw.headers),
                "json": _json(asked),
                "body": asked,
                **({"bytes": self._asked} if self._asked > len(raw.body) else {}),
            },
            "headers": mask.headers(self.headers),
            "body": shown,
            **({"bytes": self._size} if self._size > len(body) else {}),
            "writes": self.writes,
            "events": events,
            "text": _said(events, whole=self._is_whole) if is_stream else mask.text(self.text),
            "answer": None if self.answer is None else self.answer.label or "scripted",
            "fault": self.fault,
            "ended": self.ended,
            "ms": self.ms,
            "warnings": [mask.text(warning) for warning in self._warnings or ()],
            **({"violations": [mask.text(str(one)) for one in self.violations]} if violations else {}),
        }


def _pack(request: Request) -> bytes:
    """The scheme and the headers of a request, in one piece."""
    parts = [request.scheme, *chain.from_iterable(request.headers)]
    return "\0".join(parts).encode("utf-8", "surrogatepass")


_one_write = Struct("=If").pack
_MOST = 2**32 - 1


def _packed(lengths: list[int], times: list[float], started: float, size: int) -> bytes:
    """The lengths of all writes, then their milliseconds; the last one has what was not kept of *size* too."""
    if lengths:
        lengths[-1] = min(lengths[-1] + size - sum(lengths), _MOST)
    return array("I", lengths).tobytes() + array("f", [(at - started) * 1000 for at in times]).tobytes()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _events(body: bytes) -> list[dict[str, Any]]:
    found = []
    for frame in decode([body]):
        if frame.data is not None:
            event = _json(frame.data)
            found.append(event if isinstance(event, dict) else {"event": "?", "data": frame.data})
    return found


def _said(events: Sequence[dict[str, Any]], *, whole: bool = False) -> str:
    """The text of a stream. *whole*: each message holds all of it so far, as the guide has it."""
    said = ""
    for event in events:
        name = event.get("event")
        if name == "message_replace" or (whole and name == "message"):
            said = event.get("answer") or ""
        elif name in ("message", "agent_message"):
            said += event.get("answer") or ""
        elif name == "text_chunk":
            said += (event.get("data") or {}).get("text") or ""
    return said


class Journal:
    """The exchanges of one workspace, oldest first: at most *cap* of them and *budget* bytes of payload.

    They stand in a ring, so that opening, finding by id and dropping the oldest cost the same however many there are.

    Args:
        now: the clock of the exchanges.
        cap: how many are kept at most.
        budget: how many bytes of payload are kept at most.
        check: what `Exchange.violations` asks.
        secrets: the keys that are never to be shown; without it only what looks like one is hidden.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        cap: int = CAP,
        budget: int = BUDGET,
        check: Violations | None = None,
        secrets: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._now = now
        self._secrets = secrets
        self.cap, self.budget, self.check = max(1, cap), budget, check
        self._ring: list[Exchange | None] = []
        self._first = 1
        self._made = 0
        self._bytes = 0
        self._shared: dict[Any, Any] = {}

    # ------------------------------------------------------------------ written by the engine
    def open(self, request: Request) -> Exchange:
        """A new exchange for *request*."""
        self._made = number = self._made + 1
        exchange = Exchange(number, request, self._now(), self)
        if number - self._first >= self.cap:
            self._drop_oldest()
        if len(self._ring) < self.cap:
            self._ring.append(exchange)
        else:
            self._ring[(number - 1) % self.cap] = exchange
        self._grow(exchange.payload())
        return exchange

    def aside(self, request: Request) -> Exchange:
        """An exchange that is not kept: what is asked of the server itself is nobody's business."""
        return Exchange(0, request, self._now(), self)

    def share(self, value: Shared) -> Shared:
        """*value*, or the equal one that is kept already: clients send the same headers again and again."""
        shared = self._shared
        if len(shared) >= _MOST_SHARED:
            shared.clear()
        found: Shared = shared.setdefault(value, value)
        return found

    def grown(self, exchange: Exchange, sent: int) -> None:
        """A kept exchange is over and holds *sent* bytes."""
        if exchange.id >= self._first:
            self._grow(sent)

    def clear(self) -> None:
        """Forget everything; numbers go on."""
        self._ring = [None] * len(self._ring)
        self._first = self._made + 1
        self._bytes = 0

    def _grow(self, size: int) -> None:
        self._bytes += size
        while self._bytes > self.budget and self._first < self._made:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        slot = (self._first - 1) % self.cap
        oldest, self._ring[slot] = self._ring[slot], None
        self._first += 1
        if oldest is not None:
            self._bytes -= oldest.payload()

    # ------------------------------------------------------------------ read
    @property
    def mask(self) -> Masker:
        """What hides the secrets in whatever is shown."""
        return masker(tuple(self._secrets()))

    @property
    def made(self) -> int:
        """How many exchanges there have been, kept or not: the id of the newest."""
        return self._made

    @property
    def kept_bytes(self) -> int:
        """The bytes of payload that are kept."""
        return self._bytes

    def __len__(self) -> int:
        return self._made - self._first + 1

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self.since(0))

    @overload
    def __getitem__(self, index: int) -> Exchange: ...
    @overload
    def __getitem__(self, index: slice) -> list[Exchange]: ...
    def __getitem__(self, index: int | slice) -> Exchange | list[Exchange]:
        if isinstance(index, slice):
            return self.since(0)[index]
        found = self.get(self._first + index if index >= 0 else self._made + 1 + index)
        if found is None:
            msg = f"the journal has {len(self)} exchanges, there is none at {index}"
            raise IndexError(msg)
        return found

    def get(self, number: int) -> Exchange | None:
        """The exchange with this id, if it is still kept."""
        return self._ring[(number - 1) % self.cap] if self._first <= number <= self._made else None

    def since(self, number: int) -> list[Exchange]:
        """The kept exchanges after the one with this id, oldest first."""
        wanted = range(max(self._first, number + 1), self._made + 1)
        return [found for found in map(self.get, wanted) if found is not None]

    @property
    def last(self) -> Exchange:
        """The newest exchange."""
        found = self.get(self._made)
        if found is None:
            msg = "the journal is empty: no request has reached this workspace"
            raise LookupError(msg)
        return found
