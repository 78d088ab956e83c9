"""For which requests a fault strikes, and how often: one rule, however it was written.

`rule_of` reads the mapping of `[[faults]]`, of `POST /_mockdify/faults` and of Python; `rule_of_text` reads what a
header or a key says. Both tell every mistake with what is allowed and what was probably meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NoReturn, TypeAlias

from mockdify import shapes
from mockdify.errors import MockdifyError
from mockdify.faults.base import Kind, Spec
from mockdify.faults.catalogue import CATALOGUE, COMMON, take_options, unknown
from mockdify.faults.presets import PRESETS, Preset
from mockdify.shapes import KeyPath, Problems

__all__ = ["Asked", "FaultRule", "check_faults", "check_on", "concerns", "rule_of", "rule_of_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What rules look at."""

    method: str
    path: str
    rule: str
    app: str
    user: str
    query: str
    key: str
    headers: Mapping[str, str]
    """By lower-case names."""
    streamed: bool


# ---------------------------------------------------------------------- on
_SLOT = re.compile(r"(\*|<[^>]*>|\{[^}]*\})")


@lru_cache(maxsize=256)
def _read_on(on: str) -> tuple[str, re.Pattern[str]]:
    method, _, path = on.strip().rpartition(" ")
    if not path.startswith(("/v1", "*")):
        path = f"/v1/{path.lstrip('/')}"
    parts = _SLOT.split(path)
    wild = {"*": ".*"}
    pattern = "".join(wild.get(part, "[^/]+") if at % 2 else re.escape(part) for at, part in enumerate(parts))
    return method.strip().upper(), re.compile(pattern)


def concerns(on: str, asked: Asked) -> bool:
    """Whether *on* (`POST /v1/chat-messages`, a path alone, `*` for anything) means this request."""
    method, pattern = _read_on(on)
    return (not method or method == asked.method) and pattern.fullmatch(asked.path) is not None


def check_on(value: Any, path: KeyPath, problems: Problems) -> str:
    """A method and a path, or a path, that some endpoint has."""
    from mockdify.endpoints import ENDPOINTS  # noqa: PLC0415 - only where a rule is written

    on = shapes.text(value, path, problems)
    method, pattern = _read_on(on)
    slots = {"uuid": "00000000-0000-4000-8000-000000000000", "string": "x"}
    found = {
        endpoint.method
        for endpoint in ENDPOINTS
        if pattern.fullmatch(re.sub(r"<(\w+):\w+>", lambda slot: slots[slot[1]], endpoint.rule))
        or _read_on(endpoint.rule)[1].fullmatch(on.rpartition(" ")[2])
    }
    if not found:
        rules = sorted({f"{endpoint.method} {endpoint.rule}" for endpoint in ENDPOINTS})
        near = shapes.nearest(on, rules).partition("; did you mean ")[2]
        hint = f"; did you mean {near}" if near else "; write it as 'POST /v1/chat-messages', or '*' for all"
        problems.add(path, f"no endpoint is {shapes.shown(on)}{hint}")
    elif method and method not in found:
        problems.add(path, f"no endpoint is {shapes.shown(on)}; with that path there is: {', '.join(sorted(found))}")
    return on


# ---------------------------------------------------------------------- when
Condition: TypeAlias = Callable[[Asked, Any], bool]

_CONDITIONS: Mapping[str, Condition] = {
    "user": lambda asked, wanted: asked.user == wanted,
    "query": lambda asked, wanted: asked.query == wanted,
    "key": lambda asked, wanted: asked.key == wanted,
    "app": lambda asked, wanted: asked.app == wanted,
    "header": lambda asked, wanted: all(asked.headers.get(name.lower()) == value for name, value in wanted.items()),
}
_EVERY = re.compile(r"every ([1-9][0-9]{0,8})")


def _nth(value: Any, path: KeyPath, problems: Problems) -> Any:
    """The number of a matching request, a list of them, or "every N"."""
    if isinstance(value, str):
        if not _EVERY.fullmatch(value):
            problems.add(path, f'a number, a list of them, or "every 3" is needed, got {shapes.shown(value)}')
        return value
    if isinstance(value, list | tuple):
        return shapes.list_of(shapes.whole(1), what="a list of numbers", least=1)(value, path, problems)
    return shapes.whole(1)(value, path, problems)


_WHEN = shapes.table(
    {
        **{name: shapes.Field(shapes.text) for name in ("user", "query", "key", "app")},
        "header": shapes.Field(shapes.mapping(shapes.text)),
        "nth": shapes.Field(_nth),
    }
)


def matches(when: Mapping[str, Any], asked: Asked) -> bool:
    """Whether all conditions hold; `nth` is the rule's own matter."""
    return all(_CONDITIONS[name](asked, wanted) for name, wanted in when.items() if name != "nth")


# ---------------------------------------------------------------------- one rule
@dataclass(slots=True, kw_only=True)
class FaultRule:
    """One injected fault: for which requests, how often, how often so far. A preset has `parts` that strike for it."""

    spec: Spec
    on: str | None = None
    when: Mapping[str, Any] = field(default_factory=dict)
    times: int | None = 1
    """None: every time."""
    after: int = 0
    """How many matching requests pass first."""
    probability: float = 1.0
    parts: tuple[FaultRule, ...] = ()
    id: int = 0
    """Its number in the plan, from 1."""
    passed: int = 0
    met: int = 0

    @property
    def spent(self) -> bool:
        """Whether it struck as often as it should."""
        return self.times is not None and self.met >= self.times

    @property
    def struck(self) -> int:
        """How often it struck, or the parts of a preset did."""
        return sum(part.met for part in self.parts) if self.parts else self.met

    @property
    def is_unmet(self) -> bool:
        """Whether it still waits for its request. One that leaves it to chance need not strike, only be asked.

        A preset is met once one of its rules is.
        """
        if self.parts:
            return all(part.is_unmet for part in self.parts)
        if self.probability < 1:
            return not self.passed
        return self.met < (self.times or 1)

    def matches(self, asked: Asked) -> bool:
        """Whether this rule is about the request at all."""
        return (self.on is None or concerns(self.on, asked)) and matches(self.when, asked)

    def strikes(self, asked: Asked, draw: Callable[[], float]) -> bool:
        """Whether it strikes this request; counts are taken. *draw* gives a number from 0 to 1."""
        if self.spent or not self.matches(asked):
            return False
        self.passed += 1
        if self.passed <= self.after or not self._is_its_turn():
            return False
        if self.probability < 1 and draw() >= self.probability:
            return False
        self.met += 1
        return True

    def _is_its_turn(self) -> bool:
        nth = self.when.get("nth")
        if nth is None:
            return True
        if isinstance(nth, str):
            return self.passed % int(nth.removeprefix("every ")) == 0
        return self.passed == nth if isinstance(nth, int) else self.passed in nth

    def as_dict(self) -> dict[str, Any]:
        """The rule as JSON."""
        shown = {
            "id": self.id,
            "fault": self.spec.name,
            "on": self.on,
            "when": dict(self.when),
            "times": self.times or 0,
            "after": self.after,
            "probability": self.probability,
            "options": dict(self.spec.options),
            "met": self.struck,
        }
        return shown | ({"rules": [part.as_dict() for part in self.parts]} if self.parts else {})


# ---------------------------------------------------------------------- from a mapping
def rule_of(data: Any) -> FaultRule:
    """The rule that *data* says with the keys of `[[faults]]`; one `MockdifyError` tells all its mistakes."""
    problems = Problems()
    rule = _rule(data, (), problems)
    problems.tell()
    assert rule is not None
    return rule


def check_faults(faults: Iterable[Any], where: Callable[..., str] | None = None) -> None:
    """Raise a `MockdifyError` with every mistake there is.

    Args:
        faults: a list as `[[faults]]` writes it.
        where: the place of a key path, to begin a line with: `Config.where`.
    """
    problems = Problems()
    for at, said in enumerate(faults):
        _rule(said, ("faults", at), problems)
    if problems.items and where is not None:
        raise MockdifyError("\n".join(f"{where(*item.path)}{item}" for item in problems.items))
    problems.tell()


def _rule(value: Any, path: KeyPath, problems: Problems) -> FaultRule | None:
    if not isinstance(value, Mapping) or "fault" not in value:
        problems.add(path, "a table with the key 'fault' is needed; `mockdify faults` lists all names")
        return None
    name = value["fault"]
    known = name if isinstance(name, str) else ""
    said = {str(key): one for key, one in value.items() if key != "fault" and (one is not None or key == "times")}
    common = {
        "on": check_on(said.pop("on"), (*path, "on"), problems) if "on" in said else None,
        "when": _WHEN(said.pop("when", {}), (*path, "when"), problems),
    }
    if known in PRESETS:
        return _preset_rule(PRESETS[known], said, common, path, problems)
    kind = CATALOGUE.get(known)
    if kind is None:
        problems.add((*path, "fault"), unknown(name))
        return None
    return _plain_rule(kind, said, common, path, problems)


def _plain_rule(
    kind: Kind, said: dict[str, Any], common: Mapping[str, Any], path: KeyPath, problems: Problems
) -> FaultRule:
    always = "times" in said and said["times"] is None
    taken = take_options(kind, {key: one for key, one in said.items() if one is not None}, problems, path)
    times = taken.pop("times", _default_times(common["when"])) or None
    own_after = "after" in kind.options
    return FaultRule(
        spec=Spec(kind=kind, options={key: one for key, one in taken.items() if key in kind.options}),
        times=None if always else times,
        after=0 if own_after else taken.get("after", 0),
        probability=taken.get("probability", 1.0),
        **common,
    )


def _default_times(when: Mapping[str, Any]) -> int:
    """How often a rule strikes that does not say: once, or at each of the requests that `nth` names."""
    nth = when.get("nth")
    if isinstance(nth, str):
        return 0
    return len(set(nth)) if isinstance(nth, list | tuple) else 1


def _never_made(options: Mapping[str, Any]) -> NoReturn:
    msg = f"a preset is struck by its parts: {options}"
    raise AssertionError(msg)


def _preset_rule(
    preset: Preset, said: dict[str, Any], common: Mapping[str, Any], path: KeyPath, problems: Problems
) -> FaultRule:
    """A preset's rules, narrowed down by what is said beside its name."""
    kind = Kind(name=preset.name, when="preset", words=preset.words, make=_never_made, real="", advice="")
    told = take_options(kind, {key: one for key, one in said.items() if one is not None}, problems, path)
    parts = []
    for one in preset.rules:
        part = rule_of(one)
        parts.append(
            replace(
                part,
                on=common["on"] or part.on,
                when={**part.when, **common["when"]},
                times=(told["times"] or None) if "times" in told else part.times,
                after=told.get("after", 0),
                probability=part.probability * told.get("probability", 1.0),
            )
        )
    return FaultRule(spec=Spec(kind=kind), times=told.get("times") or None, parts=tuple(parts), **common)


# ---------------------------------------------------------------------- from a header or a key
def rule_of_text(text: str) -> FaultRule:
    """The rule that `NAME[*N][; option=value]...` says, every time unless it has a number."""
    try:
        return rule_of(_said(text))
    except MockdifyError as mistake:
        msg = f"in {text!r}: {mistake}"
        raise MockdifyError(msg) from None


def _said(text: str) -> dict[str, Any]:
    head, *rest = (part.strip() for part in text.split(";"))
    name, star, count = (part.strip() for part in head.partition("*"))
    kind = CATALOGUE.get(name)
    known = {**COMMON, **(kind.options if kind else {})}
    said: dict[str, Any] = {"fault": name, "times": None}
    if star:
        said["times"] = _count(count)
    for part in filter(None, rest):
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            msg = f"{part!r} is not option=value"
            raise MockdifyError(msg)
        if option == "times" and star:
            msg = "give '*N' or 'times', not both"
            raise MockdifyError(msg)
        if option == "when":
            msg = "'when' cannot be written here; a key and a header are conditions by themselves"
            raise MockdifyError(msg)
        if option != "tag":  # it only makes another key
            said[option] = known[option].read(value) if option in known else value
    return said


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        msg = f"after '*' comes a number of requests, not {text!r}"
        raise MockdifyError(msg)
    return int(text)
