"""Secrets out of recordings: replaced when they are written, and looked for afterwards.

The same secret gets the same placeholder throughout a cassette (`<key-1>`, `<email-2>`), so that what belonged together
still does. No secret, nor anything made from one, is kept anywhere but in the memory of one `Scrubber`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mockdify.cassettes.interaction import is_text, media_type
from mockdify.cassettes.secrets import (
    PATTERNS,
    PLACEHOLDER,
    REPORTED,
    SecretPattern,
    found,
    is_placeholder,
    own_pattern,
    spellings,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    from mockdify.cassettes.interaction import Interaction
    from mockdify.steps import Headers

__all__ = ["Finding", "Scrubber", "check"]

Edit = tuple[int, int, str]

_CREDENTIAL_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-auth-token", "x-csrf-token", "x-app-passport"}
    | {"x-goog-api-key", "x-amz-security-token"}
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9-]*[ \t]+)(.+)", re.DOTALL)
_SCHEMES = frozenset({"bearer", "basic", "token", "digest"})
_COOKIE = re.compile(r"((?:^|;)\s*[^=;]+=)([^;]*)")
_BOUNDARY = re.compile(rb"\A--[^\r\n]{1,80}\r\n")
_DELTA_EVENT = re.compile(r'"event"\s*:\s*"(message|agent_message|text_chunk|reasoning_chunk)"')
_DELTA = re.compile(r'"(?:answer|text|reasoning)"\s*:\s*"((?:[^"\\]|\\.)*)"')
_SELECTOR = re.compile(r'"from_variable_selector"\s*:\s*\[[^\]]*\]')
_UNIT = re.compile(r"\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.DOTALL)
_ESCAPES = {"\\n": "\n", "\\r": "\r", "\\t": "\t", "\\b": "\b", "\\f": "\f"}


class Scrubber:
    """Replaces secrets by placeholders: the usual kinds, and the texts and regular expressions of *extra* besides."""

    def __init__(self, extra: Iterable[str | re.Pattern[str]] = ()) -> None:
        self.patterns: tuple[SecretPattern, ...] = (*map(own_pattern, extra), *PATTERNS)
        self._names: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._learnt: set[str] = set()
        self._met: SecretPattern | None = None

    def skip(self, interactions: Iterable[Interaction]) -> None:
        """Number new placeholders after those that *interactions* have: their secrets are not known any more."""
        for each in interactions:
            headers = " ".join(value for _, value in (*each.request_headers, *each.headers))
            for text in (each.uri, headers, _latin(each.request_body or b""), _latin(each.body)):
                for kind, number in PLACEHOLDER.findall(text):
                    self._counts[kind] = max(self._counts[kind], int(number or 0))

    def __call__(self, interaction: Interaction) -> Interaction:
        """*interaction* without secrets. Chunk borders and Content-Length follow the body's new length."""
        request_headers = self._headers(interaction.request_headers)
        headers = self._headers(interaction.headers)  # both first: what they teach is looked for in the bodies
        uri = self.text(interaction.uri)
        request_body = self._request(interaction)
        body, sizes = self._reply(interaction)
        about = {
            name: self.text(value) if isinstance(value, str) else value for name, value in interaction.about.items()
        }
        if interaction.chunks:
            about["chunks"] = [[ms, size] for (ms, _), size in zip(interaction.chunks, sizes, strict=True) if size]
        return replace(
            interaction,
            uri=uri,
            request_headers=_with_length(request_headers, interaction.request_body, request_body),
            request_body=request_body,
            headers=_with_length(headers, interaction.body, body),
            body=body,
            about=about,
        )

    def text(self, text: str) -> str:
        """*text* without secrets: a line of a log, a header's value, an address."""
        draft = _Draft(_latin(text.encode("utf-8", "surrogateescape")))
        self._clean(draft, binary=False)
        return draft.data.decode("utf-8", "surrogateescape")

    # ------------------------------------------------------------ parts of an interaction
    def _headers(self, headers: Headers) -> Headers:
        cleaned = [(name, self._by_name(name.lower(), value)) for name, value in headers]
        return tuple((name, self.text(value)) for name, value in cleaned)

    def _by_name(self, name: str, value: str) -> str:
        if name in _CREDENTIAL_HEADERS:
            return self._credential(value)
        if name == "cookie":
            return _COOKIE.sub(lambda m: m[1] + self._replace("cookie", m[2], learn=True), value)
        if name == "set-cookie":
            return _COOKIE.sub(lambda m: m[1] + self._replace("cookie", m[2], learn=True), value, count=1)
        return value

    def _credential(self, value: str) -> str:
        match = _SCHEME.fullmatch(value)
        scheme, secret = match.groups() if match else ("", value)
        if not scheme and (value.strip().lower() in _SCHEMES or not value.strip()):
            return value
        return scheme + self._replace("key", secret, learn=True)

    def _request(self, interaction: Interaction) -> bytes | None:
        data = interaction.request_body
        if not data:
            return data
        kind = media_type(interaction.request_headers)
        boundary = _BOUNDARY.match(data)
        if boundary is None or is_text(kind, data):
            return self._bytes(data, kind)
        border = boundary[0].rstrip()
        return border.join(self._bytes(part, "") for part in data.split(border))

    def _bytes(self, data: bytes, kind: str) -> bytes:
        draft = _Draft(_latin(data))
        self._clean(draft, binary=not is_text(kind, data))
        return draft.data

    def _reply(self, interaction: Interaction) -> tuple[bytes, list[int]]:
        draft = _Draft(_latin(interaction.body), list(accumulate(size for _, size in interaction.chunks)))
        if interaction.is_stream:  # first: the beginning of an address may look like a shorter one
            self._clean_across_events(draft)
        self._clean(draft, binary=not is_text(interaction.media_type, interaction.body))
        return draft.data, [end - start for start, end in pairwise([0, *draft.borders])]

    # ------------------------------------------------------------ finding and naming
    def _clean(self, draft: _Draft, *, binary: bool) -> None:
        for pattern in self._all_patterns():
            if pattern.in_binary or not binary:
                text = draft.text
                spans = found(text, pattern, binary=binary)
                draft.edit([(a, b, self._replace(pattern.kind, text[a:b])) for a, b in spans])

    def _all_patterns(self) -> Sequence[SecretPattern]:
        if self._met is None and self._learnt:
            forms = sorted({form for secret in self._learnt for form in spellings(secret)}, key=len, reverse=True)
            self._met = SecretPattern(
                kind="key", regex=re.compile(f"({'|'.join(map(re.escape, forms))})"), needles=tuple(forms)
            )
        return self.patterns if self._met is None else (self._met, *self.patterns)

    def _replace(self, kind: str, secret: str, *, learn: bool = False) -> str:
        if not secret or is_placeholder(secret):
            return secret
        plain = _plain(secret)
        if learn and len(plain) >= 8 and not plain.isalpha() and plain not in self._learnt:
            self._learnt.add(plain)
            self._met = None
        if plain not in self._names:
            self._counts[kind] += 1
            self._names[plain] = f"<{kind}-{self._counts[kind]}>"
        return self._names[plain]

    def _clean_across_events(self, draft: _Draft) -> None:
        """Secrets that a model said in several deltas: the placeholder goes where the first piece was."""
        for pieces in _deltas(draft.text):
            self._clean_pieces(draft, pieces)

    def _clean_pieces(self, draft: _Draft, pieces: list[tuple[int, int]]) -> None:
        said = _Said.of(draft.text, pieces)
        edits: list[Edit] = []
        for pattern in self._all_patterns():
            for start, end in found(said.text, pattern):
                if said.piece(start) != said.piece(end - 1):
                    edits += said.edits(start, end, self._replace(pattern.kind, said.text[start:end]))
        draft.edit(_disjoint(edits))
        if edits:  # places have moved: the next group is looked for anew
            self._clean_across_events(draft)


def _deltas(text: str) -> Iterator[list[tuple[int, int]]]:
    """Where the deltas of each text stand that a stream says in several events."""
    groups: dict[str, list[tuple[int, int]]] = {}
    for line in re.finditer(r"[^\n]+", text):
        event, delta = _DELTA_EVENT.search(line[0]), _DELTA.search(line[0])
        if event and delta and delta[1]:
            selector = _SELECTOR.search(line[0])
            span = (line.start() + delta.start(1), line.start() + delta.end(1))
            groups.setdefault(event[1] + (selector[0] if selector else ""), []).append(span)
    yield from (pieces for pieces in groups.values() if len(pieces) > 1)


@dataclass(slots=True)
class _Draft:
    """A body while it is edited, as Latin-1, with the places of its chunk borders."""

    text: str
    borders: list[int] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        return self.text.encode("latin-1")

    def edit(self, edits: list[Edit]) -> None:
        """Replace each span by its text. A border inside a replaced span moves behind the replacement."""
        if not edits:
            return
        at, pieces, ends, moved, shift = 0, [], [], [], 0
        for start, end, text in edits:
            pieces += [self.text[at:start], text]
            shift += len(text) - (end - start)
            ends.append(end)
            moved.append((start, end, end + shift))
            at = end
        pieces.append(self.text[at:])
        self.text = "".join(pieces)
        self.borders = [_moved(border, ends, moved) for border in self.borders]


def _moved(border: int, ends: list[int], moved: list[tuple[int, int, int]]) -> int:
    before = bisect_right(ends, border)
    if before < len(moved) and moved[before][0] < border:
        return moved[before][2]
    return border + (moved[before - 1][2] - moved[before - 1][1] if before else 0)


@dataclass(slots=True)
class _Said:
    """What the deltas of one stream say together, and where each character of it stands in the body."""

    text: str
    places: list[tuple[int, int]]
    starts: list[int]

    @classmethod
    def of(cls, body: str, pieces: list[tuple[int, int]]) -> _Said:
        characters: list[str] = []
        places: list[tuple[int, int]] = []
        starts: list[int] = []
        for start, end in pieces:
            starts.append(len(characters))
            for unit in _UNIT.finditer(body, start, end):
                characters.append(_ESCAPES.get(unit[0]) or (unit[0][1] if len(unit[0]) == 2 else unit[0][0]))
                places.append(unit.span())
        return cls("".join(characters), places, starts)

    def piece(self, at: int) -> int:
        """The number of the delta that says character *at*."""
        return bisect_right(self.starts, at) - 1

    def edits(self, start: int, end: int, text: str) -> list[Edit]:
        """Put *text* where the first piece of [start, end) stands, and nothing for the other pieces."""
        first, last = self.piece(start), self.piece(end - 1)
        out = []
        for n in range(first, last + 1):
            a = max(start, self.starts[n])
            b = min(end, self.starts[n + 1] if n + 1 < len(self.starts) else len(self.text))
            if a < b:
                out.append((self.places[a][0], self.places[b - 1][1], text if n == first else ""))
        return out


def _disjoint(edits: list[Edit]) -> list[Edit]:
    kept: list[Edit] = []
    for edit in sorted(edits):
        if not kept or edit[0] >= kept[-1][1]:
            kept.append(edit)
    return kept


def _plain(secret: str) -> str:
    """*secret* as its owner knows it (still as Latin-1), however it was escaped."""
    if "\\" in secret:
        with contextlib.suppress(ValueError):
            secret = json.loads(f'"{secret}"', strict=False).encode("utf-8", "surrogatepass").decode("latin-1")
    return unquote(secret, encoding="latin-1")


def _latin(data: bytes) -> str:
    return data.decode("latin-1")


def _with_length(headers: Headers, old: bytes | None, new: bytes | None) -> Headers:
    """*headers*, their Content-Length moved by as much as the body grew. (A HEAD reply's is another body's.)."""
    grown = len(new or b"") - len(old or b"")
    if not grown:
        return headers
    return tuple(
        (name, str(int(value) + grown) if name.lower() == "content-length" and value.isdigit() else value)
        for name, value in headers
    )


# ---------------------------------------------------------------- looking for what is left
@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """A secret left in a file; `excerpt` shows enough to find it and too little to use it."""

    path: Path
    line: int
    kind: str
    excerpt: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.kind} {self.excerpt}"


_SKIPPED = frozenset(
    {".git", ".hg", ".venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
)
_EMBEDDED = re.compile(r'!!binary (?:"([A-Za-z0-9+/=]+)"|\|-?\n((?:[ ]+[A-Za-z0-9+/=]+\n)+))')


def check(paths: Iterable[str | os.PathLike[str]], *, extra: Iterable[str | re.Pattern[str]] = ()) -> list[Finding]:
    """The secrets left in files, and in all files of folders: cassettes, logs, reports, whatever they are.

    Args:
        paths: Files and folders. What does not exist is a FileNotFoundError.
        extra: Texts and regular expressions to look for besides the usual kinds.
    """
    patterns = (*map(own_pattern, extra), *REPORTED)
    return sorted({finding for path in paths for file in _files(Path(path)) for finding in _in_file(file, patterns)})


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for each in sorted(path.iterdir()):
        if each.name not in _SKIPPED and not each.is_symlink():
            yield from _files(each)


def _in_file(path: Path, patterns: Sequence[SecretPattern]) -> Iterator[Finding]:
    data = path.read_bytes()
    text = _latin(data)
    feeds = [match.start() for match in re.finditer("\n", text)]
    for start, part, binary in _parts(data, text):
        for a, b, kind in _secrets(part, [each for each in patterns if each.in_binary or not binary]):
            line = bisect_left(feeds, start or a) + 1
            yield Finding(path=path, line=line, kind=kind, excerpt=_masked(part[a:b]))
    for start, stream in _streams(path, text):
        for piece, kind, secret in _in_events(stream, patterns):
            line = bisect_left(feeds, max(text.find(piece, start), start)) + 1
            yield Finding(path=path, line=line, kind=kind, excerpt=_masked(secret))


_EVENTS = re.compile(r"(?:^[ \t]*(?:(?:data|event|id):.*|:.*)?\n)+", re.MULTILINE)


def _streams(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """(start, text) of each stream of events in a file: in a cassette, or as it stands in a log."""
    if path.suffix in (".yaml", ".yml", ".json") and "interactions" in text:
        from mockdify.cassettes.files import CassetteError, load  # noqa: PLC0415 - most files are no cassettes

        with contextlib.suppress(CassetteError):
            yield from [(0, _latin(one.body)) for one in load(path) if one.is_stream]
            return
    if '"event"' in text:
        yield from ((match.start(), match[0]) for match in _EVENTS.finditer(text) if "data:" in match[0])


def _in_events(stream: str, patterns: Sequence[SecretPattern]) -> Iterator[tuple[str, str, str]]:
    """(its first event, kind, secret) of each secret that several events say together."""
    for pieces in _deltas(stream):
        said = _Said.of(stream, pieces)
        for start, end, kind in _secrets(said.text, patterns):
            if said.piece(start) != said.piece(end - 1):
                at = said.places[start][0]
                begin = stream.rfind("\n", 0, at) + 1
                yield stream[begin : stream.find("\n", at)], kind, said.text[start:end]


def _secrets(text: str, patterns: Sequence[SecretPattern]) -> Iterator[tuple[int, int, str]]:
    """(start, end, kind) of each secret once, though several patterns may find it."""
    taken: list[tuple[int, int]] = []
    for pattern in patterns:
        for start, end in found(text, pattern):
            if not any(start < b and a < end for a, b in taken):
                taken.append((start, end))
                yield start, end, pattern.kind


def _parts(data: bytes, text: str) -> Iterator[tuple[int, str, bool]]:
    """(start, text, whether it is binary): the file itself, then what is embedded in it as base64."""
    yield 0, text, not is_text("", data)
    for match in _EMBEDDED.finditer(text):
        try:
            inner = base64.b64decode("".join((match[1] or match[2]).split()))
        except ValueError:
            continue
        for part in inner.split(b"\r\n--"):  # the parts of an upload: a file, and fields beside it
            yield match.start(), _latin(part), not is_text("", part)


def _masked(secret: str) -> str:
    """A few characters of *secret*: `app-…Zx9k`, `z…@…com`."""
    name, at, domain = secret.partition("@")
    if at:
        return f"{name[:1]}…@…{domain[-4:]}"
    head = re.match(r"[A-Za-z]{2,8}[-_]", secret)
    return (head[0] if head else "") + "…" + (secret[-4:] if len(secret) >= 12 else "")
