"""What may stand where in data that people write: shapes as small functions, put together in tables.

A `Shape` takes what was written and the path to it, notes every mistake in `Problems`, and gives back the value to
use. Whoever read the data tells all the mistakes at once, with the line and column of each path where there is one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias

from mockdify import templates
from mockdify.durations import INSTANT, parse_duration, parse_pace
from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Field",
    "KeyPath",
    "Problem",
    "Problems",
    "Shape",
    "anything",
    "by_parser",
    "duration",
    "duration_above_zero",
    "flag",
    "list_of",
    "mapping",
    "nearest",
    "number",
    "one_of",
    "pace",
    "path",
    "path_text",
    "regex",
    "shown",
    "table",
    "template",
    "text",
    "whole",
]

KeyPath: TypeAlias = tuple[str | int, ...]
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake: where it is, whether the key or its value is meant, and what to do."""

    path: KeyPath
    text: str
    at_key: bool = False

    def __str__(self) -> str:
        where = path_text(self.path[:-1] if self.at_key else self.path)
        return f"{where}: {self.text}" if where else self.text


@dataclass(slots=True)
class Problems:
    """The mistakes met so far."""

    items: list[Problem] = field(default_factory=list)

    def add(self, path: KeyPath, text: str, *, at_key: bool = False) -> None:
        """Note one mistake at *path*."""
        self.items.append(Problem(path=path, text=text, at_key=at_key))

    def within(self, path: KeyPath) -> bool:
        """Whether there is a mistake at *path* or below."""
        return any(item.path[: len(path)] == path for item in self.items)

    def tell(self) -> None:
        """Raise one `MockdifyError` with a line for each mistake there is."""
        if self.items:
            raise MockdifyError("\n".join(dict.fromkeys(map(str, self.items))))


Shape: TypeAlias = Callable[[Any, KeyPath, Problems], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """A key of a table: what may stand there, and whether it must be there."""

    shape: Shape
    required: bool = False


def path_text(path: KeyPath) -> str:
    """*path* as people read it: `apps[0].answers[1]`, and with quotes where a key needs them."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if _BARE.fullmatch(part) else repr(part)
            text += f".{shown}" if text else shown
    return text


def nearest(given: str, allowed: Iterable[str]) -> str:
    """The ending of an error: what is allowed, and what was probably meant."""
    names = list(allowed)
    near = get_close_matches(given, names, 1, 0.5)
    if not near:  # "query-matches", "QUERY": only the dress is wrong
        near = [name for name in names if _plain(name) == _plain(given)]
    return f"; allowed: {', '.join(names)}" + (f"; did you mean {near[0]!r}?" if near else "")


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


def shown(value: Any) -> str:
    """*value* in an error, shortened."""
    words = {True: "true", False: "false", None: "null"}
    written = words[value] if value is None or isinstance(value, bool) else repr(value)
    return written if len(written) <= 60 else written[:57] + "..."


def anything(value: Any, path: KeyPath, problems: Problems) -> Any:  # noqa: ARG001 - a Shape
    """Whatever was written."""
    return value


def text(value: Any, path: KeyPath, problems: Problems) -> str:
    """A text."""
    if isinstance(value, str):
        return value
    problems.add(path, f"a text (in quotes) is needed, got {shown(value)}")
    return ""


def flag(value: Any, path: KeyPath, problems: Problems) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    problems.add(path, f"true or false is needed, got {shown(value)}")
    return False


def whole(least: int | None = None, most: int | None = None, *, hint: str = "") -> Shape:
    """A whole number from *least* to *most*."""

    def shape(value: Any, path: KeyPath, problems: Problems) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and _within(value, least, most):
            return value
        problems.add(path, f"a whole number{_range(least, most)} is needed, got {shown(value)}{hint}")
        return least or 0

    return shape


def number(least: float | None = None, most: float | None = None) -> Shape:
    """A number from *least* to *most*."""

    def shape(value: Any, path: KeyPath, problems: Problems) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and _within(value, least, most):
            return value
        problems.add(path, f"a number{_range(least, most)} is needed, got {shown(value)}")
        return least or 0

    return shape


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most) and value == value  # noqa: PLR0124 - NaN


def _range(least: float | None, most: float | None) -> str:
    if least is None:
        return ""
    return f", {least} or more," if most is None else f" from {least} to {most}"


def one_of(names: Sequence[str], what: str) -> Shape:
    """One of *names*."""

    def shape(value: Any, path: KeyPath, problems: Problems) -> str:
        if isinstance(value, str) and value in names:
            return value
        problems.add(path, f"unknown {what} {shown(value)}{nearest(str(value), names)}")
        return names[0]

    return shape


def by_parser(parse: Callable[[Any], Any], fallback: Any = None) -> Shape:
    """Whatever *parse* makes of it; its `MockdifyError` is the mistake."""

    def shape(value: Any, path: KeyPath, problems: Problems) -> Any:
        try:
            return parse(value)
        except MockdifyError as err:
            problems.add(path, str(err))
            return fallback

    return shape


def path(value: Any, where: KeyPath, problems: Problems) -> str:
    """A path to a file."""
    if isinstance(value, str | PurePath) and str(value) and "\0" not in str(value):
        return str(value)
    problems.add(where, f"a path to a file is needed, got {shown(value)}")
    return ""


def duration_above_zero(value: Any, path: KeyPath, problems: Problems) -> float:
    """Seconds, more than none."""
    before = len(problems.items)
    seconds: float = duration(value, path, problems)
    if not seconds and len(problems.items) == before:
        problems.add(path, f"a duration above zero is needed, got {shown(value)}")
    return seconds


duration = by_parser(parse_duration, 0.0)
pace = by_parser(parse_pace, INSTANT)


def template(known: Sequence[str] | None = None) -> Shape:
    """A text that may be a template over the variables *known* (None: any)."""

    def shape(value: Any, path: KeyPath, problems: Problems) -> str:
        written = text(value, path, problems)
        try:
            templates.check(written, known)
        except MockdifyError as err:
            problems.add(path, str(err))
        return written

    return shape


def regex(value: Any, path: KeyPath, problems: Problems) -> re.Pattern[str]:
    """A regular expression, compiled."""
    if isinstance(value, re.Pattern):
        return value
    written = text(value, path, problems)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "possible nested set": legal today, and the author's choice
            return re.compile(written)
    except (re.error, OverflowError, RecursionError) as err:
        problems.add(path, f"{shown(written)} is not a regular expression: {err}")
        return re.compile("")


def list_of(item: Shape, *, what: str = "a list", least: int = 0) -> Shape:
    """A list of *item*, as a tuple."""

    def shape(value: Any, path: KeyPath, problems: Problems) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            problems.add(path, f"{what} is needed, got {shown(value)}")
            return ()
        if len(value) < least:
            problems.add(path, f"{what} with at least {least} item is needed, got {len(value)}")
        return tuple(item(one, (*path, k), problems) for k, one in enumerate(value))

    return shape


def mapping(value_shape: Shape) -> Shape:
    """A table with any keys, each value a *value_shape*."""

    def shape(value: Any, path: KeyPath, problems: Problems) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            problems.add(path, f"a table is needed, got {shown(value)}")
            return {}
        return {str(key): value_shape(one, (*path, str(key)), problems) for key, one in value.items()}

    return shape


def table(
    fields: Mapping[str, Field],
    build: Callable[[dict[str, Any], KeyPath, Problems], Any] | None = None,
    *,
    others: Shape | None = None,
) -> Shape:
    """A table with the keys of *fields*, handed to *build* as a dict of what was given.

    *others* is what keys beyond *fields* may hold; None refuses them.
    """

    def shape(value: Any, path: KeyPath, problems: Problems) -> Any:
        if not isinstance(value, Mapping):
            problems.add(path, f"a table with {', '.join(fields)} is needed, got {shown(value)}")
            value = {}
        else:
            for name, key in fields.items():
                # A key that is not there and one that is unknown are one typing error: the second is told.
                if key.required and name not in value and (others is not None or fields.keys() >= value.keys()):
                    problems.add(path, f"the key {name!r} is missing")
        found = {}
        for name, one in value.items():
            where = (*path, name)
            if name in fields:
                found[name] = fields[name].shape(one, where, problems)
            elif others is not None:
                found[name] = others(one, where, problems)
            else:
                problems.add(where, f"unknown key {shown(name)}{nearest(str(name), fields)}", at_key=True)
        return build(found, path, problems) if build else found

    return shape
