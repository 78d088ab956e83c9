"""The journal over HTTP: pages of exchanges, one of them, why it ended as it did, and all as HAR."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mockdify import shapes
from mockdify.control.table import Answer, ControlError, Param, missing
from mockdify.journal import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mockdify.control.table import Call
    from mockdify.journal import Exchange

__all__ = ["EXCHANGE", "FILTERS", "PAGE", "WHY", "list_all", "show", "why"]

_AT_ONCE = 64
"""Up to so many exchanges are sent in one piece; more go out one by one, so that other requests are served between."""
_STATUS = re.compile(r"[1-5](\d\d|xx)", re.IGNORECASE)


def _number(text: str) -> Any:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text


def _status(value: Any, path: shapes.KeyPath, problems: shapes.Problems) -> str:
    if isinstance(value, str) and _STATUS.fullmatch(value):
        return value.lower()
    problems.add(path, f"a status such as 429 or 4xx is needed, got {shapes.shown(value)}")
    return ""


_TEXT = {"type": "string"}
FILTERS = {
    "app": Param(shape=shapes.text, schema=_TEXT, words="Only of this app; `*` stands for anything."),
    "user": Param(shape=shapes.text, schema=_TEXT, words="Only of this end user; `*` stands for anything."),
    "method": Param(shape=shapes.text, schema=_TEXT, words="Only of this method."),
    "path": Param(shape=shapes.text, schema=_TEXT, words="Only of this path, without query; `*` stands for anything."),
    "status": Param(shape=_status, schema=_TEXT, words="Only with this status: `429`, or `4xx`."),
    "fault": Param(shape=shapes.text, schema=_TEXT, words="Only struck by this fault; `*` for any fault."),
    "since": Param(
        shape=shapes.whole(0),
        schema={"type": "integer"},
        words="Only those after the exchange with this id; with `limit` the first ones after it.",
        from_text=_number,
    ),
    "limit": Param(
        shape=shapes.whole(1),
        schema={"type": "integer", "minimum": 1},
        words="At most so many: the newest, or with `since` the oldest of them. Left out: all that is kept.",
        from_text=_number,
    ),
    "format": Param(
        shape=shapes.one_of(("json", "har"), "format"),
        schema={"enum": ["json", "har"]},
        words="`har` for HAR 1.2, which browsers and other tools open.",
    ),
}
EXCHANGE = {
    "type": "object",
    "required": [
        *("id", "app", "user", "method", "path", "status", "request", "headers", "body"),
        *("events", "text", "answer", "fault", "ended", "ms", "warnings", "violations"),
    ],
    "properties": {
        "id": {"type": "integer"},
        "at": {"type": "number", "description": "When it came, in seconds since the epoch, by the workspace's clock."},
        "app": {"type": ["string", "null"]},
        "user": {"type": ["string", "null"]},
        "method": {"type": "string"},
        "path": {"type": "string"},
        "status": {"type": "integer", "description": "0 while nothing was sent."},
        "request": {
            "type": "object",
            "required": ["headers", "json", "body"],
            "properties": {"headers": {"type": "object"}, "json": {}, "body": {"type": "string"}},
        },
        "headers": {"type": "object"},
        "body": {"type": "string", "description": "What was sent, as text, keys masked."},
        "writes": {
            "type": "array",
            "description": "One [offset in the body as sent, milliseconds since the request, length] per write.",
            "items": {"type": "array", "items": {"type": "number"}},
        },
        "events": {"type": "array", "items": {"type": "object"}},
        "text": {"type": "string"},
        "answer": {"type": ["string", "null"], "description": "Where the scripted answer stands that was given."},
        "fault": {"type": ["string", "null"]},
        "ended": {"enum": ["open", "complete", "aborted", "client gone", "reset"]},
        "ms": {"type": "number"},
        "warnings": {"type": "array", "items": {"type": "string"}},
        "violations": {
            "type": "array",
            "items": {"type": "string"},
            "description": "How the request breaks the contracts of its release.",
        },
    },
}
PAGE = {
    "type": "object",
    "required": ["items", "next"],
    "properties": {
        "items": {"type": "array", "items": EXCHANGE, "description": "Newest last."},
        "next": {"type": ["integer", "null"], "description": "The `since` of the next page; null when there is none."},
    },
}
_TEXTS = {"type": "array", "items": {"type": "string"}}
WHY = {
    "type": "object",
    "required": ["id", "verdict", "rule", "evidence", "nearest", "fix", "text"],
    "properties": {
        "id": {"type": "integer"},
        "verdict": {"type": "string", "description": "What came out, in one line."},
        "rule": {"type": "string", "description": "The rule behind it."},
        "evidence": _TEXTS,
        "nearest": _TEXTS,
        "fix": _TEXTS,
        "text": {"type": "string", "description": "All of it, to be printed."},
    },
}


def list_all(call: Call) -> Answer:
    """Exchanges, newest last."""
    asked = dict(call.query)
    wanted_format = asked.pop("format", "json")
    found, following = _page(call, asked)
    if wanted_format == "har":
        from mockdify.har import har_pieces  # noqa: PLC0415 - only who asks for it pays for it

        return _pieces(har_pieces(found, mask=call.mask), len(found))
    return _pieces(_as_page(call, found, following), len(found))


def _page(call: Call, asked: dict[str, Any]) -> tuple[list[Exchange], int | None]:
    """The exchanges that are wanted, and the `since` of the next page."""
    limit, since = asked.pop("limit", None), asked.pop("since", None)
    found = call.workspace.journal.since(since or 0)
    tests = [_TESTS[name](value) for name, value in asked.items()]
    if tests:
        found = [exchange for exchange in found if all(test(exchange) for test in tests)]
    if limit is None or len(found) <= limit:
        return found, None
    if since is None:
        return found[-limit:], None
    return found[:limit], found[limit - 1].id


def _like(get: Any) -> Any:
    def test(pattern: str) -> Any:
        wanted = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
        return lambda exchange: any(wanted.fullmatch(text) for text in get(exchange))

    return test


def _has_status(wanted: str) -> Any:
    low = int(wanted.replace("xx", "00"))
    high = low + 99 if wanted.endswith("xx") else low
    return lambda exchange: low <= exchange.status <= high


_TESTS = {
    "app": _like(lambda exchange: [exchange.app] if exchange.app else []),
    "user": _like(lambda exchange: [exchange.user] if exchange.user is not None else []),
    "method": _like(lambda exchange: [exchange.method, exchange.method.lower()]),
    "path": _like(lambda exchange: [exchange.path]),
    "status": _has_status,
    "fault": _like(lambda exchange: exchange.fault.split(", ") if exchange.fault else []),
}


def _as_page(call: Call, found: Sequence[Exchange], following: int | None) -> Iterator[bytes]:
    lead = b'{"items":['
    for exchange in found:
        yield lead + dumps(exchange.as_dict(call.mask, violations=True))
        lead = b","
    yield (lead if lead != b"," else b"") + b'],"next":' + dumps(following) + b"}\n"


def _pieces(pieces: Iterator[bytes], count: int) -> Answer:
    return Answer(pieces=pieces) if count > _AT_ONCE else Answer(data=b"".join(pieces))


def _found(call: Call) -> Exchange:
    journal, given = call.workspace.journal, call.values["exchange"]
    if given == "last" and len(journal):
        return journal.last
    number = _number(given)
    found = journal.get(number) if isinstance(number, int) else None
    if found is not None:
        return found
    if not len(journal):
        raise missing("exchange", given, ())
    kept = f"{journal[0].id} to {journal.last.id}"
    hint = "it was dropped, as the journal keeps only the newest" if _was(number, journal.made) else "no request had it"
    raise ControlError(404, "not_found", f"there is no exchange {given!r}: {hint}; kept are {kept}, or say 'last'")


def _was(number: Any, made: int) -> bool:
    return isinstance(number, int) and 0 < number <= made


def show(call: Call) -> Answer:
    """One exchange."""
    return Answer(value=_found(call).as_dict(call.mask, violations=True))


def why(call: Call) -> Answer:
    """The rule behind what came out, the evidence, the nearest thing, and how to fix it."""
    from mockdify.explain import explain  # noqa: PLC0415 - only who asks for it pays for it

    return Answer(value=explain(_found(call), call.workspace).as_dict())
