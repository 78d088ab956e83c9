"""Where in a TOML text a key path stands. `tomllib` keeps no positions; they are looked for when an error is told.

The text has been read by `tomllib` already, so the scanner here may trust it to be well formed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Place", "find_places", "line_and_column"]

KeyPath: TypeAlias = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[A-Za-z0-9_-]+")
# The longest first: a text of three quotes may hold quotes, and may end with up to two more of them.
_VALUE = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r"|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^,\]}#\n]*",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_PLAIN_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


class Place(NamedTuple):
    """Offsets into the text: of a key (for a list's item and a table: of its beginning) and of its value."""

    key: int
    value: int


@lru_cache(maxsize=2)
def find_places(text: str) -> Mapping[KeyPath, Place]:
    """The place of every key path in *text*; where one is given in parts, its first."""
    return _Scanner(text).scan()


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Line and column of *offset*, both from 1, the column in characters."""
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places: dict[KeyPath, Place] = {}
        self.lengths: dict[KeyPath, int] = {}
        """How many tables each array of tables has so far."""

    def scan(self) -> dict[KeyPath, Place]:
        table: KeyPath = ()
        while self._skip(_BLANK) < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.places

    def _skip(self, what: re.Pattern[str]) -> int:
        match = what.match(self.text, self.at)
        assert match
        self.at = match.end()
        return self.at

    def _note(self, path: KeyPath, key: int, value: int) -> None:
        self.places.setdefault(path, Place(key, value))

    def _header(self) -> KeyPath:
        start = self.at
        is_array = self.text.startswith("[[", start)
        self.at += 2 if is_array else 1
        keys = self._keys()
        self.at += 2 if is_array else 1
        path: KeyPath = ()
        for depth, (key, offset) in enumerate(keys, 1):
            path = (*path, key)
            self._note(path, offset, start)
            if is_array and depth == len(keys):
                self.lengths[path] = self.lengths.get(path, 0) + 1
            if path in self.lengths:
                path = (*path, self.lengths[path] - 1)
                self._note(path, start, start)
        return path

    def _keys(self) -> list[tuple[str, int]]:
        """The parts of a dotted key with their offsets; ends behind the last and its blanks."""
        keys = []
        while True:
            start = self._skip(_SPACE)
            self._skip(_KEY)
            keys.append((_name(self.text[start : self.at]), start))
            self._skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return keys
            self.at += 1

    def _pair(self, table: KeyPath) -> None:
        path = table
        keys = self._keys()
        self.at += 1  # the equals sign
        value = self._skip(_SPACE)
        for key, offset in keys:
            path = (*path, key)
            self._note(path, offset, value)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        opening = self.text[self.at : self.at + 1]
        if opening == "[":
            self._items(path)
        elif opening == "{":
            self._inline(path)
        else:
            self._skip(_VALUE)

    def _items(self, path: KeyPath) -> None:
        self.at += 1
        count = 0
        while self.text[self._skip(_BLANK)] != "]":
            self._note((*path, count), self.at, self.at)
            self._value((*path, count))
            count += 1
            self._comma()
        self.at += 1

    def _inline(self, path: KeyPath) -> None:
        self.at += 1
        while self.text[self._skip(_BLANK)] != "}":
            self._pair(path)
            self._comma()
        self.at += 1

    def _comma(self) -> None:
        if self.text[self._skip(_BLANK)] == ",":
            self.at += 1


def _name(written: str) -> str:
    if written.startswith("'"):
        return written[1:-1]
    return _ESCAPE.sub(_unescaped, written[1:-1]) if written.startswith('"') else written


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else _PLAIN_ESCAPES.get(match[3], match[3])
