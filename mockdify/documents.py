"""YAML documents whose mistakes can be pointed at: values at once, positions only when an error is to be told.

Dify's exporter writes with PyYAML, which quotes every text that YAML 1.1 would read as something else. Reading fewer
plain scalars as non-texts than YAML 1.1 does is therefore exact for exports, and kinder to files edited by hand: `no`,
`12:30:00` and `2026-01-01` stay the texts they look like.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import yaml

from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

__all__ = ["Document", "Place", "Section", "load_yaml", "nearest", "parse_yaml"]

Place: TypeAlias = tuple[str | int, ...]
"""The way from the root of a document to a value: keys of mappings, places in lists."""

_T = TypeVar("_T")

_TAG: Final = "tag:yaml.org,2002:"
_MAX_SHOWN: Final = 40

_IMPLICIT: Final[tuple[tuple[str, str, str], ...]] = (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    (
        "float",
        r"^(?:[-+]?[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?|[-+]?\.[0-9]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+0123456789.",
    ),
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
    ("merge", r"^<<$", "<"),
)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for kind, pattern, firsts in _IMPLICIT:
        for first in firsts:
            table.setdefault("" if first == "\0" else first, []).append((_TAG + kind, re.compile(pattern)))
    return table


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # the base is chosen at run time
    yaml_implicit_resolvers = _resolvers()


def _float(text: str) -> float:
    low = text.lower()
    return float(low.replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Final[Mapping[str, Callable[[str], Any]]] = {
    _TAG + "str": str,
    _TAG + "int": int,
    _TAG + "float": _float,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "null": lambda _: None,
    _TAG + "merge": str,
}
_MERGE: Final = _TAG + "merge"
_STR: Final = _TAG + "str"
_BUILDING: Final = object()


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        return cast("yaml.Node | None", loader.get_single_node())
    finally:
        loader.dispose()


class _MistakeError(Exception):
    def __init__(self, node: yaml.Node, what: str) -> None:
        super().__init__(what)
        self.mark = node.start_mark


class _Builder:
    """Values from composed nodes."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}

    def value(self, node: yaml.Node) -> Any:
        """The plain value of *node*: texts, numbers, booleans, None, lists, dicts with text keys."""
        kind = type(node)
        if kind is yaml.ScalarNode:
            if node.tag == _STR:
                return node.value
            return self._scalar(node)
        met = self._seen.get(id(node))
        if met is _BUILDING:
            raise _MistakeError(node, "this part contains itself; write it out instead of using the alias")
        if met is None:
            self._seen[id(node)] = _BUILDING
            met = [self.value(item) for item in node.value] if kind is yaml.SequenceNode else self._mapping(node)
            self._seen[id(node)] = met
        return met

    def _scalar(self, node: yaml.Node) -> Any:
        convert = _SCALARS.get(node.tag)
        try:
            if convert is not None:
                return convert(node.value)
        except ValueError:
            pass
        shown = node.tag.removeprefix(_TAG)
        raise _MistakeError(
            node, f"the tag {shown!r} does not fit here; only plain texts, numbers, true, false and null are allowed"
        )

    def _mapping(self, node: yaml.Node) -> dict[str, Any]:
        made: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if type(key_node) is not yaml.ScalarNode:
                raise _MistakeError(key_node, "a list or mapping cannot be a key; write a text")
            if key_node.tag == _MERGE:
                merged.append(value_node)
                continue
            key = key_node.value
            if key in made:
                first = next(k for k, _ in node.value if k.value == key)
                raise _MistakeError(
                    key_node,
                    f"the key {key!r} is given twice (first in line {first.start_mark.line + 1}); keep one of them",
                )
            made[key] = self.value(value_node)
        for value_node in merged:
            self._merge(made, value_node)
        return made

    def _merge(self, into: dict[str, Any], node: yaml.Node) -> None:
        for part in node.value if type(node) is yaml.SequenceNode else [node]:
            if type(part) is not yaml.MappingNode:
                raise _MistakeError(part, "'<<' takes a mapping or a list of mappings")
            for key, value in self.value(part).items():
                into.setdefault(key, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed file: its `data`, and `error`, which points at a place in it."""

    source: str
    text: str
    data: Any

    def where(self, path: Place) -> str:
        """`file:line:column` of the value at *path*, or of the nearest thing around it that exists."""
        node = _compose(self.text)
        for step in path:
            inner = _child(node, step)
            if inner is None:
                break
            node = inner
        mark = node.start_mark if node is not None else None
        return f"{self.source}:{mark.line + 1}:{mark.column + 1}" if mark else f"{self.source}:1:1"

    def error(self, path: Place, what: str) -> MockdifyError:
        """The one-line error *what* about the value at *path*."""
        return MockdifyError(f"{self.where(path)}: {what}")

    def root(self, what: str) -> Section:
        """The document as a section; *what* names what it should be when it is no mapping."""
        if not isinstance(self.data, dict):
            raise self.error((), f"{what} is a mapping of keys to values, but this is {_kind(self.data)}")
        return Section(document=self, path=(), data=self.data)


def _child(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item: yaml.Node = node.value[step]
        return item
    return None


def parse_yaml(text: str, *, source: str) -> Document:
    """The document in *text*; *source* is what errors call it."""
    try:
        node = _compose(text)
        data = None if node is None else _Builder().value(node)
    except _MistakeError as mistake:
        raise MockdifyError(f"{source}:{mistake.mark.line + 1}:{mistake.mark.column + 1}: {mistake}") from None
    except yaml.MarkedYAMLError as error:
        raise MockdifyError(_syntax(error, source)) from None
    except yaml.reader.ReaderError as error:
        raise MockdifyError(_unreadable(error, text, source)) from None
    except (RecursionError, yaml.YAMLError) as error:
        raise MockdifyError(f"{source}:1:1: this is no YAML that can be read ({type(error).__name__})") from None
    return Document(source=source, text=text, data=data)


def _syntax(error: yaml.MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
    what = ", ".join(part for part in (error.context, error.problem) if part)
    return f"{source}:{place}: not valid YAML: {what}; indent with spaces and quote texts that hold ': ' or ' #'"


def _unreadable(error: yaml.reader.ReaderError, text: str, source: str) -> str:
    bad = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    before = text[: bad.start()] if bad else ""
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    shown = f"the character {bad.group()!r}" if bad else error.reason
    return f"{source}:{line}:{column}: {shown} is not allowed in YAML; write it as an escape in a double-quoted text"


def load_yaml(path: Path) -> Document:
    """The document in the file *path*."""
    source = str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise MockdifyError(f"{source}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        good: bytes = error.object[: error.start]
        line, column = good.count(b"\n") + 1, len(good.rpartition(b"\n")[2].decode(errors="replace")) + 1
        raise MockdifyError(f"{source}:{line}:{column}: this is not UTF-8; save the file as UTF-8") from None
    return parse_yaml(text, source=source)


def nearest(word: str, allowed: Collection[str]) -> str:
    """`; did you mean 'x'?` when *word* is close to one of *allowed*, else nothing."""
    close = difflib.get_close_matches(word, list(allowed), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


_FLAGS: Final[Mapping[Any, bool]] = {
    **dict.fromkeys(("true", "yes", "on", "1", "enabled"), True),
    **dict.fromkeys(("false", "no", "off", "0", "disabled", ""), False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A mapping in a document, with getters that say where a value has the wrong shape.

    Absent and null are the same everywhere; values are taken liberally (a number where a text is meant is that text),
    structure is not.
    """

    document: Document
    path: Place
    data: Mapping[str, Any]

    def error(self, what: str, *keys: str | int) -> MockdifyError:
        """An error about this mapping, or about the value under *keys*; the text starts with the way there."""
        path = (*self.path, *keys)
        return self.document.error(path, f"{_dotted(path)}: {what}" if path else what)

    def section(self, key: str) -> Section:
        """The mapping under *key*; an empty one when there is none."""
        value = self.data.get(key)
        if value is None or value == []:  # PHP-like exporters write an empty mapping as a list
            value = {}
        if not isinstance(value, dict):
            raise self._wrong(key, "a mapping")
        return Section(document=self.document, path=(*self.path, key), data=value)

    def needed(self, key: str, why: str) -> Section:
        """The mapping under *key*, which must be there; *why* says what it is for."""
        if self.data.get(key) is None:
            raise self.error(f"the key {key!r} is missing: {why}{nearest(key, self.data)}")
        return self.section(key)

    def sections(self, key: str) -> tuple[Section, ...]:
        """The mappings of the list under *key*; none when there is no list."""
        made = []
        for place, value in enumerate(self.items(key)):
            if not isinstance(value, dict):
                raise self.error(f"a mapping belongs here, but this is {_kind(value)}", key, place)
            made.append(Section(document=self.document, path=(*self.path, key, place), data=value))
        return tuple(made)

    def items(self, key: str) -> Sequence[Any]:
        """The list under *key*; empty when there is none."""
        value = self.data.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts of the list under *key*."""
        return tuple(self._text(value, key, place) for place, value in enumerate(self.items(key)))

    def text(self, key: str, default: str = "") -> str:
        """The text under *key*; a number or boolean is taken as it is written in JSON."""
        value = self.data.get(key)
        return default if value is None else self._text(value, key)

    def optional_text(self, key: str) -> str | None:
        """The text under *key*, or None."""
        value = self.data.get(key)
        return None if value is None else self._text(value, key)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """The boolean under *key*; also written as a text or number."""
        value = self.data.get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        met = _FLAGS.get(str(value).strip().lower()) if not isinstance(value, list | dict) else None
        if met is None:
            raise self._wrong(key, "true or false")
        return met

    def number(self, key: str) -> int | None:
        """The whole number under *key*, or None; an empty text is None."""
        value = self.data.get(key)
        if value is None or value == "":
            return None
        if isinstance(value, bool | list | dict):
            raise self._wrong(key, "a whole number")
        try:
            return int(value)
        except (ValueError, OverflowError):
            raise self._wrong(key, "a whole number") from None

    def choice(self, key: str, allowed: Mapping[str, _T], what: str) -> _T:
        """What *allowed* holds for the text under *key*; *what* names such a text."""
        value = self.data.get(key)
        if value is None:
            raise self.error(
                f"the key {key!r} is missing: {what} is one of {', '.join(allowed)}{nearest(key, self.data)}"
            )
        text = self._text(value, key)
        if text not in allowed:
            raise self.error(
                f"{_shown(text)} is no {what}; allowed are {', '.join(allowed)}{nearest(text, allowed)}", key
            )
        return allowed[text]

    def _text(self, value: Any, *keys: str | int) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return str(value)
        raise self.error(f"a text belongs here, but this is {_kind(value)}", *keys)

    def _wrong(self, key: str, wanted: str) -> MockdifyError:
        return self.error(f"{wanted} belongs here, but this is {_kind(self.data.get(key))}", key)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {_shown(value)}"
        case _:
            return f"the number {value}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…")


def _dotted(path: Place) -> str:
    made = ""
    for step in path:
        made += f"[{step}]" if isinstance(step, int) else f".{step}" if made else step
    return made
