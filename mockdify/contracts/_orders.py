"""Event orders: a small state table per app mode, and rules on what belongs together.

The table says which event may follow; a rule looks at a pair of events (a node that began must end), at something that
stays the same, or at a number that was counted. Rules keep what they saw in one `_Seen` per stream; nothing here reads
a clock.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from mockdify.contracts._files import Json
from mockdify.contracts._resolve import applies
from mockdify.contracts._violations import Kind, Violation, path_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mockdify.contracts._resolve import Context

__all__ = ["OrderChecker"]

Event: TypeAlias = Mapping[str, Json]


def _get(event: Event, path: str) -> Json:
    """The value at `data.node_id`, or None."""
    value: Json = event
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _where(path: str) -> str:
    return path_text(path.split("."))


@dataclass(slots=True)
class _Seen:
    """What the rules remember of one stream."""

    names: Counter[str] = field(default_factory=Counter)
    same: dict[str, Json] = field(default_factory=dict)
    open: dict[str, dict[str, str]] = field(default_factory=dict)
    once: set[tuple[str, str]] = field(default_factory=set)
    counted: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    lengths: dict[tuple[str, str], Json] = field(default_factory=dict)
    steps: int = 0
    partial: bool = False


class OrderChecker:
    """Fed with the events of one stream, tells at once which one is out of order, and at the end what is missing.

    Feed whole events where they are known: a name alone is held to the state table only.

    Args:
        order: The mode's contract (`orders/*`).
        context: Release, mode and view: `run` for the stream of the request that starts a run, `events` for one joined
            later.
        pings: False when whoever reads the stream does not see pings, so that none is missed.
    """

    def __init__(self, order: Json, context: Context, *, pings: bool = True) -> None:
        view = order["views"].get(context.view) or order["views"]["run"]
        self._states = _states(view["states"], order.get("groups", {}), context)
        self._qualify: Mapping[str, str] = order.get("qualify", {})
        self._rules = [r for r in order.get("rules", ()) if context.view in r.get("views", (context.view,))]
        self._contract = f"contracts/orders/{order['title']}"
        self._seen = _Seen()
        # Several when an event does not tell its kind, as one that lost its data: each that is still possible.
        self._at: tuple[str, ...] = (view["start"],)
        if not pings:
            self._at = (self._states[view["start"]].on.get("ping", view["start"]),)

    @property
    def may_end(self) -> bool:
        """Could the stream end here?"""
        return any(self._states[state].end for state in self._at)

    def feed(self, event: str | Json) -> list[Violation]:
        """Take the next event, or its name; gives what is wrong with its place."""
        known: Event = event if isinstance(event, Mapping) else {"event": event}
        name = str(known.get("event"))
        qualified = self._qualified(name, known)
        found = self._step(name, qualified)
        if isinstance(event, Mapping):
            for rule in self._rules:
                found.extend(self._violation(*hit) for hit in _RULES[rule["rule"]](rule, known, qualified, self._seen))
        self._seen.names.update({name, qualified})
        return found

    def finish(self) -> list[Violation]:
        """The stream ended by itself: tell what had to come."""
        if self.may_end:
            return []
        missing = self._expected()
        return [self._violation("unfinished", "$", f"the stream ended while {self._place}, without {missing}")]

    def _step(self, name: str, qualified: str) -> list[Violation]:
        targets = self._targets(self._at, name, qualified)
        if targets:
            self._enter(targets)
            return []
        message = f"{qualified} may not come while {self._place}; expected {self._expected()}"
        # Why: go where this event leads from elsewhere, so that one lost event is told once and not by all that follow.
        elsewhere = [t for state in self._states for t in self._targets((state,), name, qualified) if t != state]
        self._enter(tuple(elsewhere[:1]) or self._at)
        return [self._violation("order", "$.event", message)]

    def _enter(self, states: tuple[str, ...]) -> None:
        self._at = states
        self._seen.partial |= any(self._states[state].partial for state in states)

    def _targets(self, states: tuple[str, ...], name: str, qualified: str) -> tuple[str, ...]:
        """Where the event leads to from *states*; fed with a name only, where any of its kinds does."""
        found: list[str] = []
        for state in states:
            on = self._states[state].on
            target = on.get(qualified) or on.get(name)
            if target is not None:
                found.append(target)
            elif qualified == name:
                found += (to for key, to in on.items() if key.startswith(f"{name}:"))
        return tuple(dict.fromkeys(found))

    def _qualified(self, name: str, event: Event) -> str:
        value = _get(event, self._qualify[name]) if name in self._qualify else None
        return f"{name}:{value}" if isinstance(value, str) else name

    def _expected(self) -> str:
        events = ", ".join(dict.fromkeys(event for state in self._at for event in self._states[state].on))
        return " or ".join(filter(None, (events, "the end" if self.may_end else "")))

    @property
    def _place(self) -> str:
        return " or ".join(map(repr, self._at))

    def _violation(self, kind: Kind, path: str, message: str) -> Violation:
        return Violation(kind=kind, path=path, message=message, contract=self._contract)


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    on: Mapping[str, str]
    end: bool
    partial: bool


def _states(data: Json, groups: Json, context: Context) -> dict[str, _State]:
    return {
        name: _State(
            on=dict(_moves(name, row["on"], groups, context)),
            end=_ends(row["end"], context),
            partial=row.get("partial", False),
        )
        for name, row in data.items()
    }


def _ends(end: Json, context: Context) -> bool:
    return end if isinstance(end, bool) else applies(end, context)


def _moves(state: str, on: Json, groups: Json, context: Context) -> Iterator[tuple[str, str]]:
    for event, to in on.items():
        if isinstance(to, dict) and not applies(to, context):
            continue
        target = to["to"] if isinstance(to, dict) else to
        for name in groups.get(event, (event,)):
            yield name, state if target == "=" else target


# ---------------------------------------------------------------- rules: each gives (kind, path, message)
_Hit: TypeAlias = tuple[Kind, str, str]


def _same(rule: Json, event: Event, _name: str, seen: _Seen) -> Iterator[_Hit]:
    for key in rule["keys"]:
        value = event.get(key)
        if value is not None and seen.same.setdefault(key, value) != value:
            yield "identity", _where(key), f"{value!r} is another than before ({seen.same[key]!r})"


def _pair(rule: Json, event: Event, name: str, seen: _Seen) -> Iterator[_Hit]:
    key, pair = str(_get(event, rule["key"])), rule["name"]
    inside = seen.open.setdefault(pair, {})
    plain = name.partition(":")[0]
    if plain == rule["open"]:
        if key in inside:
            yield "order", _where(rule["key"]), f"{pair} {key!r} began a second time"
        inside[key] = str(_get(event, rule["label"]))
    elif plain == rule["close"] and inside.pop(key, None) is None and not seen.partial:
        yield "order", _where(rule["key"]), f"{pair} {key!r} ended without having begun"
    elif name in rule["before"] and inside:
        yield "order", "$.event", f"{name} came before the end of {pair} {', '.join(inside.values())}"


def _inside(rule: Json, event: Event, name: str, seen: _Seen) -> Iterator[_Hit]:
    key = _get(event, rule["key"])
    if key is None or name.partition(":")[0] not in rule["events"] or seen.partial:
        return
    inside = seen.open.get(rule["pair"], {})
    if key not in inside and key not in inside.values():
        yield "order", _where(rule["key"]), f"{name} belongs to {rule['pair']} {key!r}, which is not under way"


def _waiting(rule: Json, event: Event, name: str, seen: _Seen) -> Iterator[_Hit]:
    if name == rule["event"]:
        listed = _get(event, rule["listed"]) or ()
        others = [n for n in seen.open.get(rule["pair"], {}).values() if n not in listed]
        if others:
            yield "order", _where(rule["listed"]), f"{', '.join(others)} had not ended when the run paused"


def _counted(rule: Json, event: Event, name: str, seen: _Seen) -> Iterator[_Hit]:
    key = str(_get(event, rule["key"]))
    at, pair = (rule["pair"], key), rule["pair"]
    if name == f"{pair}_started":
        seen.counted[at] = []
        seen.lengths[at] = _get(event, rule["length"])
    elif name == rule["event"]:
        index = _get(event, rule["index"])
        if index in seen.counted.setdefault(at, []):
            yield "order", _where(rule["index"]), f"{name} {index} of {key!r} came twice"
        seen.counted[at].append(index)
    elif name == f"{pair}_completed" and not seen.partial:
        came = sorted(i for i in seen.counted.pop(at, ()) if isinstance(i, int))
        length = seen.lengths.pop(at, None)
        whole = isinstance(length, int) and _get(event, rule["complete"]["at"]) == rule["complete"]["is"]
        wanted = list(range(rule["first"], rule["first"] + (length if whole else len(came))))
        if came != wanted:
            yield "order", "$.event", f"{rule['event']} of {key!r} came as {came}, not as {wanted}"


def _once(rule: Json, event: Event, name: str, seen: _Seen) -> Iterator[_Hit]:
    if name == rule["event"]:
        at = (name, str(_get(event, rule["key"])))
        if at in seen.once:
            yield "order", _where(rule["key"]), f"{name} came twice for {at[1]!r}"
        seen.once.add(at)


def _steps(rule: Json, event: Event, name: str, seen: _Seen) -> Iterator[_Hit]:
    plain = name.partition(":")[0]
    if plain in rule["count"] and not any(_get(event, key) for key in rule["inner"]):
        seen.steps += 1
    if plain in rule["events"] and not seen.names[rule["unless_seen"]]:
        total = _get(event, rule["total"])
        if isinstance(total, int) and total != seen.steps:
            yield "order", _where(rule["total"]), f"{total} steps are counted, {seen.steps} were announced"


def _needs(rule: Json, event: Event, name: str, seen: _Seen) -> Iterator[_Hit]:
    unless = rule["unless"]
    if name != rule["event"] or seen.names[rule["needs"]] or re.search(unless["is"], str(_get(event, unless["at"]))):
        return
    if "if_seen" not in rule or seen.names[rule["if_seen"]]:
        yield "order", "$.event", f"{name} came without {rule['needs']}"


_RULES: dict[str, Callable[[Json, Event, str, _Seen], Iterator[_Hit]]] = {
    "same": _same,
    "pair": _pair,
    "inside": _inside,
    "waiting": _waiting,
    "counted": _counted,
    "once": _once,
    "steps": _steps,
    "needs": _needs,
}
