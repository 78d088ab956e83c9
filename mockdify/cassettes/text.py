"""Cassette text: written to be read by people and to be appended to, read back quickly.

A cassette is a YAML list, so that another interaction is more text behind the last. There are two spellings of one:

- a *block*, several lines, bodies as literal blocks where YAML keeps them as they are, every other value as JSON;
- a *line*, `- {…}` in YAML's flow style, which is JSON but for binary bodies. A writer adds it as the comment `# {…}`
  and turns it on by overwriting its first character, so that the file is whole YAML at any moment.

Reading ours is ten times as quick as reading any YAML (both are JSON in known places); whatever does not look exactly
like ours (somebody edited it, vcrpy saved it) goes through libyaml.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from mockdify.cassettes.interaction import EXTENSION, Interaction, MalformedError, as_text, grouped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["END", "HEAD", "OPENING", "UnreadableError", "block", "closing", "line", "read"]

OPENING = "# A mockdify cassette: vcrpy's YAML, version 1.\n"
HEAD = "version: 1\ninteractions:\n"
END = "# end\n"
"""Behind the last block. A file of ours without it was cut short; lines may follow it."""

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{2,}")  # too long to be one of YAML's y, n, on, no
_WORDS = frozenset({"true", "false", "null", "yes", "off"})
# What a YAML reader refuses or changes when it stands unescaped.
_UNSAFE = re.compile("[^\\x20-\\x7e\\xa0-\\u2027\\u202a-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\\U00010000-\\U0010ffff]")
# A literal block keeps line feeds, but not an indented first line, and editors trim blanks at line ends.
_NOT_LITERAL = re.compile("\\A[ \\n]|[ ](?:\\n|\\Z)|" + _UNSAFE.pattern.replace("[^", "[^\\n"))
_LONGEST_KEY = 1000  # libyaml gives up on a key of 1,024 characters


class UnreadableError(ValueError):
    """Text that is no cassette; the message says where and why."""


# ---------------------------------------------------------------- writing
def block(interaction: Interaction) -> str:
    """The lines of *interaction* as a YAML list item, for people."""
    request_body = "null" if interaction.request_body is None else _body(interaction.request_body, "      ")
    return (
        f"- request:\n    method: {_method(interaction.method)}\n    uri: {_json(interaction.uri)}\n"
        f"    headers:{_header_lines(grouped(interaction.request_headers))}\n    body: {request_body}\n"
        f'  response:\n    status: {{"code": {interaction.status}, "message": {_json(interaction.reason)}}}\n'
        f"    headers:{_header_lines(grouped(interaction.headers))}\n"
        f"    body:\n      string: {_body(interaction.body, '        ')}\n"
        f"    {EXTENSION}:{_about_lines(interaction.about)}\n"
    )


def line(interaction: Interaction) -> str:
    """*interaction* in one line, without the `- ` that makes it a list item."""
    return _json(_nameable(interaction.to_vcr())) + "\n"


def closing(blocks: int) -> str:
    """What ends a file of that many blocks."""
    return END if blocks else " []\n" + END


def _method(method: str) -> str:
    return method if method in _METHODS else _json(method)


def _header_lines(headers: Mapping[str, list[str]]) -> str:
    lines = [f"\n      {_name(name)}: {_json(values)}" for name, values in headers.items() if len(name) < _LONGEST_KEY]
    return "".join(lines) or " {}"


def _about_lines(about: Mapping[str, Any]) -> str:
    return "".join(f"\n      {_name(name)}: {_json(value)}" for name, value in about.items()) or " {}"


def _name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) and name.lower() not in _WORDS else _json(name)


def _nameable(raw: dict[str, Any]) -> dict[str, Any]:
    """*raw* without headers whose names no YAML key can hold."""
    for side in raw.values():
        side["headers"] = {name: values for name, values in side["headers"].items() if len(name) < _LONGEST_KEY}
    return raw


def _json(value: Any) -> str:
    """JSON that is YAML too: nothing unprintable, no float in a form that YAML 1.1 takes for text, bytes tagged."""
    if isinstance(value, bytes):
        return f'!!binary "{base64.b64encode(value).decode()}"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_json(str(name))}: {_json(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_json, value)) + "]"
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) else f"{value:.6f}"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _body(data: bytes, indent: str) -> str:
    text = as_text(data)
    if isinstance(text, bytes):
        encoded = base64.b64encode(text).decode()
        return "!!binary |" + "".join(f"\n{indent}{encoded[at : at + 100]}" for at in range(0, len(encoded), 100))
    if not text or _NOT_LITERAL.search(text):
        return _json(text)
    kept = text.rstrip("\n")
    style = "|-" if kept == text else "|" if len(text) == len(kept) + 1 else "|+"
    lines = text.removesuffix("\n").split("\n")
    return style + "".join(f"\n{indent}{each}" if each else "\n" for each in lines)


# ---------------------------------------------------------------- reading
def read(data: bytes) -> tuple[list[Interaction], bytes]:
    """The interactions of a cassette, and the torn line at its end if a writer was killed there.

    Raises:
        UnreadableError: The bytes are no cassette, or only a part of one.
    """
    whole, torn = _without_torn_tail(data)
    try:
        text = whole.decode()
    except UnicodeDecodeError as error:
        number = whole.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"line {number}: it is not UTF-8") from None
    with _no_collecting():
        items = _items(text) if text.startswith(OPENING) else None
        raws = _any_yaml(text) if items is None else [_one(item, first) for first, item in items]
        return [_interaction(raw, n) for n, raw in enumerate(raws, 1)], torn


def _without_torn_tail(data: bytes) -> tuple[bytes, bytes]:
    """*data* up to its last complete line, where what follows is a line that a writer was adding."""
    end = data.rfind(b"\n") + 1
    ours = data.startswith(OPENING.encode()) and data.find(b"\n" + END.encode(), 0, end) > 0
    return (data[:end], data[end:]) if ours and data[end : end + 2] in (b"# ", b"#", b"- ", b"-") else (data, b"")


def _items(text: str) -> Iterator[tuple[int, list[str]]] | None:
    """(line number, lines) of each list item of a cassette of ours; None when it is laid out differently."""
    if f"\n{END}" not in text:
        raise UnreadableError(f"it was cut short: the closing line {END.strip()!r} is missing")
    lines = text.split("\n")
    top = next((n for n, each in enumerate(lines) if each.startswith("interactions:")), None)
    if top is None or [each for each in lines[:top] if each and each[0] != "#"] != ["version: 1"]:
        return None
    if lines[top] != "interactions:":
        return None
    starts = [n for n in range(top + 1, len(lines)) if lines[n] and lines[n][0] != " "]
    if any(lines[n][0] not in "-#" for n in starts):
        return None
    ends = [*starts[1:], len(lines)]
    return ((n + 1, lines[n:end]) for n, end in zip(starts, ends, strict=True) if lines[n][0] == "-")


def _one(lines: list[str], number: int) -> Any:
    """The dictionary of one list item: quickly when it is spelt as we spell it, by libyaml otherwise."""
    try:
        return orjson.loads("".join(lines)[2:]) if lines[0].startswith("- {") else _read_block(lines)
    except (ValueError, LookupError):
        pass
    loaded = _load_yaml("\n".join(lines), number - 1)
    if not isinstance(loaded, list) or len(loaded) != 1:
        raise UnreadableError(f"line {number}: a list item is expected there")
    return loaded[0]


class _Lines:
    """A cursor over the lines of a block; anything unexpected is a ValueError, and libyaml has its turn."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.at = 0

    def value(self, start: str) -> str:
        """What follows *start* in the next line."""
        each = self.lines[self.at]
        if not each.startswith(start):
            raise ValueError(start)
        self.at += 1
        return each[len(start) :]

    def mapping(self, start: str, loads: Callable[[str], Any]) -> dict[str, Any]:
        """A block mapping of JSON values, two steps in from *start*."""
        rest = self.value(start)
        if rest:
            if rest != " {}":
                raise ValueError(rest)
            return {}
        found: dict[str, Any] = {}
        while self.at < len(self.lines) and (each := self.lines[self.at]).startswith("      "):
            name, value = _split_name(each[6:])
            if name in found:
                raise ValueError(each)
            found[name] = loads(value)
            self.at += 1
        return found

    def scalar(self, start: str, indent: str) -> Any:
        """A body: JSON, or a literal block, or base64."""
        rest = self.value(start)
        if not rest.startswith(("|", "!!binary |")):
            return orjson.loads(rest)
        first = self.at
        while self.at < len(self.lines) and (not (each := self.lines[self.at]) or each.startswith(indent)):
            self.at += 1
        content = [each[len(indent) :] for each in self.lines[first : self.at]]
        if rest == "!!binary |":
            return base64.b64decode("".join(content), validate=True)
        return _literal(rest, content)


def _literal(style: str, content: Sequence[str]) -> str:
    if not content or not content[0] or content[0][0] in " \t":
        raise ValueError("its indentation is for libyaml to find out")
    text = "\n".join(content)
    if style == "|+":
        return text + "\n"
    kept = text.rstrip("\n")
    return {"|-": kept, "|": kept + "\n"}[style]


def _split_name(text: str) -> tuple[str, str]:
    if text.startswith('"'):
        name, end = json.JSONDecoder().raw_decode(text)
        separator, value = text[end : end + 2], text[end + 2 :]
    else:
        name, separator, value = text.partition(": ")
        separator = separator if _name(name) == name else ""
    if separator != ": ":
        raise ValueError(text)
    return name, value


def _read_block(lines: Sequence[str]) -> dict[str, Any]:
    at = _Lines(lines)
    at.value("- request:")
    method = at.value("    method: ")
    request = {
        "method": method if method in _METHODS else orjson.loads(method),
        "uri": orjson.loads(at.value("    uri: ")),
        "headers": at.mapping("    headers:", orjson.loads),
        "body": at.scalar("    body: ", "      "),
    }
    at.value("  response:")
    response = {
        "status": orjson.loads(at.value("    status: ")),
        "headers": at.mapping("    headers:", orjson.loads),
    }
    at.value("    body:")
    response["body"] = {"string": at.scalar("      string: ", "        ")}
    response[EXTENSION] = at.mapping(f"    {EXTENSION}:", orjson.loads)
    if any(at.lines[at.at :]):
        raise ValueError("something follows")
    return {"request": request, "response": response}


def _interaction(raw: Any, number: int) -> Interaction:
    try:
        return Interaction.from_vcr(raw)
    except MalformedError as error:
        raise UnreadableError(f"interaction {number}: {error}") from None


def _any_yaml(text: str) -> Iterable[Any]:
    if not text.strip():
        raise UnreadableError("it is empty")
    document = _load_yaml(text, 0)
    if not isinstance(document, dict) or not isinstance(document.get("interactions"), list):
        raise UnreadableError("it has no list of 'interactions'")
    if document.get("version") != 1:
        raise UnreadableError(f"its version is {document.get('version')!r}, not 1")
    interactions: list[Any] = document["interactions"]
    return interactions


def _load_yaml(text: str, above: int) -> Any:
    """*text* as libyaml reads it; *above* lines stand before it in the file."""
    import yaml  # noqa: PLC0415 - not needed for files of ours

    if "!!python/" in text:  # tags that only vcrpy's own loader knows, and reads without running anything
        from vcr.serializers import yamlserializer  # type: ignore[import-untyped]  # noqa: PLC0415 - half a second

        load: Callable[[str], Any] = yamlserializer.deserialize
    else:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

        def load(text: str) -> Any:
            return yaml.load(text, Loader=loader)  # noqa: S506 - one of the two safe loaders

    try:
        return load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableError(_where(error, above)) from None


@contextlib.contextmanager
def _no_collecting() -> Iterator[None]:
    """A hundred thousand values and not one cycle among them: the collector would double the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _where(error: Exception, above: int) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {above + mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem
