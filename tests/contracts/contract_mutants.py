"""Mutants: a reply, an event or a stream with one thing wrong, and the reasons for which some are none.

A reason is always looked up before the mutant is judged, so that a contract cannot excuse what it misses.
"""

import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

TYPES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}
OTHER: list[Any] = [12345, "some text", [], {}, True]
TEXT = {
    "message",
    "agent_message",
    "text_chunk",
    "reasoning_chunk",
    "tts_message",
    "agent_log",
    "message_file",
    "message_replace",
}
NODE = {"node_started", "node_finished", "node_retry", "iteration_started", "iteration_next", "iteration_completed",
        "loop_started", "loop_next", "loop_completed"}  # fmt: skip


def tell(text: str) -> None:
    """Print a figure; `pytest -s` or `-rP` shows it."""
    sys.stdout.write(f"{text}\n")


@dataclass(frozen=True)
class Mutant:
    what: str
    value: Any
    excluded: str | None = None


# ---------------------------------------------------------------- one value
def places(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every subschema with the keys that lead to it; list items are `[]`. Variants of one place all come."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from places(part, (*path, name))
    yield from places(schema.get("items"), (*path, "[]"))
    for branch in ("then", "else"):
        yield from places(schema.get(branch), path)
    for part in schema.get("allOf", ()):
        yield from places(part, path)


class Freedom:
    """What a contract leaves open, by place."""

    def __init__(self, schema: Any) -> None:
        self.free: dict[tuple[str, ...], str] = {}
        self.optional: dict[tuple[str, ...], str] = {}
        self.types: dict[tuple[str, ...], set[str]] = {}
        self.untyped: set[tuple[str, ...]] = set()
        for path, part in places(schema):
            if "x-free" in part:
                self.free[path] = part["x-free"]
            if "x-optional" in part:
                self.optional[path] = part["x-optional"]
            told = part.get("type")
            self.types.setdefault(path, set()).update([told] if isinstance(told, str) else told or ())
            if "x-free" in part and told is None:
                self.untyped.add(path)

    def reason(self, what: str, path: tuple[str, ...], value: Any) -> str | None:
        if what in ("deleted", "renamed") and path in self.optional:
            return f"may be absent: {self.optional[path]}"
        if what == "null" and ("null" in self.types.get(path, ()) or value is None):
            return "may be null"
        if what in ("null", "retyped") and path in self.untyped:
            return f"free-form: {self.free[path]}"
        return None


def _retyped(value: Any, allowed: set[str]) -> Any:
    now = TYPES[type(value)]
    taken = {now, *allowed} | ({"integer"} if "number" in {now, *allowed} else set())
    return next((o for o in OTHER if TYPES[type(o)] not in taken), object)


def mutants(value: Any, freedom: Freedom) -> Iterator[Mutant]:
    for where, path in _spots(value, freedom, (), ()):
        parent, key = _at(value, where[:-1]), where[-1]
        old = parent[key]
        for what, new in (
            ("deleted", None),
            ("renamed", old),
            ("retyped", _retyped(old, freedom.types.get(path, set()))),
            ("null", None),
        ):
            if new is object or (what == "null" and old is None):
                continue
            copy = deepcopy(value)
            spot = _at(copy, where[:-1])
            if what in ("deleted", "renamed"):
                del spot[key]
                if what == "renamed":
                    spot[f"{key}_typo"] = new
            else:
                spot[key] = new
            yield Mutant(f"{what} {'.'.join(path)}", copy, freedom.reason(what, path, old))


def _at(value: Any, where: tuple[Any, ...]) -> Any:
    for key in where:
        value = value[key]
    return value


def _spots(
    value: Any, freedom: Freedom, where: tuple[Any, ...], path: tuple[str, ...]
) -> Iterator[tuple[tuple[Any, ...], tuple[str, ...]]]:
    """Where a key can be changed: outside free-form objects, in the first of a list's items."""
    if path in freedom.free:
        return
    if isinstance(value, dict):
        for key in value:
            yield (*where, key), (*path, key)
            yield from _spots(value[key], freedom, (*where, key), (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from _spots(value[0], freedom, (*where, 0), (*path, "[]"))


# ---------------------------------------------------------------- one stream
def stream_mutants(mode: str, view: str, events: list[dict[str, Any]]) -> Iterator[Mutant]:
    names = [e["event"] for e in events]
    for i, name in enumerate(names):
        yield Mutant(f"dropped {name}", events[:i] + events[i + 1 :], _why_drop(mode, view, events, i))
        yield Mutant(f"doubled {name}", [*events[: i + 1], *events[i:]], _why_double(mode, view, events, i))
        if i + 1 < len(names):
            swapped = [*events[:i], events[i + 1], events[i], *events[i + 2 :]]
            yield Mutant(f"swapped {name} {names[i + 1]}", swapped, _why_swap(mode, view, events, i))


def _text(mode: str, name: str) -> bool:
    """A piece of text: any number of them may come. A New Agent's `message` is no piece, it is the whole."""
    return name in TEXT and not (mode == "agent" and name == "message")


def _joined(view: str, events: list[dict[str, Any]]) -> bool:
    return view == "events" and all(e["event"] != "workflow_started" for e in events)


def _status(events: list[dict[str, Any]]) -> str:
    return str(events[-1].get("data", {}).get("status"))


def _tokens(events: list[dict[str, Any]]) -> int:
    return sum(e.get("metadata", {}).get("usage", {}).get("total_tokens", 0) for e in events)


def _first_end(events: list[dict[str, Any]]) -> int:
    """Where the start node ended: everything else waits for that."""
    ends = (k for k, e in enumerate(events) if e["event"] == "node_finished" and e["data"]["node_type"] == "start")
    return next(ends, -1)


def _why_drop(mode: str, view: str, events: list[dict[str, Any]], i: int) -> str | None:
    name, names, first_end = events[i]["event"], [e["event"] for e in events], _first_end(events)
    rules = {
        "pings come by the clock": name == "ping" and i > 0,
        "an answer may have any number of pieces": _text(mode, name),
        "a thought is told again as it grows": name == "agent_thought" and (i > 0 or names[1:2] == ["agent_thought"]),
        "a stopped answer costs nothing and has no closing message": mode == "agent"
        and name == "message"
        and not _tokens(events),
        "a stopped or failed run leaves nodes open": name == "node_finished"
        and _status(events) == "stopped"
        and i != first_end,
        "a node that a run waits for may be open": name == "node_finished" and events[i]["data"]["status"] == "paused",
        "a stream joined later begins anywhere": view == "events"
        and (name == "workflow_started" or (_joined(view, events) and name in NODE)),
    }
    return next((why for why, holds in rules.items() if holds), None)


def _why_double(mode: str, view: str, events: list[dict[str, Any]], i: int) -> str | None:
    name = events[i]["event"]
    rules = {
        "pings come by the clock": name == "ping",
        "an answer may have any number of pieces": _text(mode, name),
        "a thought is told again as it grows": name == "agent_thought",
        "a stream joined later begins anywhere": _joined(view, events) and name == "node_finished",
    }
    return next((why for why, holds in rules.items() if holds), None)


def _why_swap(mode: str, view: str, events: list[dict[str, Any]], i: int) -> str | None:
    a, b = events[i], events[i + 1]
    pair = {a["event"], b["event"]}
    first_end = _first_end(events)
    text = {n for n in pair if _text(mode, n)}
    ids = [e.get("data", {}).get("id") for e in (a, b)]
    rules = {
        "both are the same event": len(pair) == 1 and (a == b or text or pair == {"agent_thought"}),
        "pings come by the clock": "ping" in pair and i > 0,
        "text is not tied to its node's events": bool(text) and (text == pair or bool(pair & NODE)),
        "other branches go on while one asks": "human_input_required" in pair
        and (bool(text) or (view == "events" and bool(pair & NODE))),
        "rounds of an agent interleave": pair == {"agent_thought", "agent_message"} and i > 0,
        "branches may overlap": pair <= NODE and ids[0] != ids[1] and i != first_end and not _contained(a, b),
        "a stream joined later begins anywhere": view == "events"
        and bool(pair & {"workflow_started"})
        and "ping" not in pair,
        "a stream joined later tells ends without beginnings": _joined(view, events) and pair <= NODE,
    }
    return next((why for why, holds in rules.items() if holds), None)


def _contained(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Does one of the two begin or end the iteration or loop that the other happens in?"""
    for outer, inner in ((a, b), (b, a)):
        if outer["event"].endswith(("iteration_started", "loop_started", "iteration_completed", "loop_completed")):
            data = inner["data"]
            if outer["data"]["id"] in (data.get("iteration_id"), data.get("loop_id")):
                return True
    return False
