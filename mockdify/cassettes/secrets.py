r"""What a secret looks like: the one table that scrubbing, checking and matching read.

Every pattern works on bytes read as Latin-1 (so that places in the text are places in the bytes), and on JSON text as
it stands: a key may follow the escape `\\n`, a slash may be written `\\/`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "PATTERNS",
    "PLACEHOLDER",
    "REPORTED",
    "SecretPattern",
    "found",
    "generalise",
    "is_placeholder",
    "own_pattern",
]

PLACEHOLDER = re.compile(r"<([a-z]+)(?:-(\d+))?>")
_STAND_IN = re.compile(
    r"(?:(?:bearer|basic|token)\s*)?(?:(?:<|%3C)[a-z]+(?:-\d+)?(?:>|%3E)|\[_*HIDDEN_*\]|[*.x\u2026]+|true|false|null|none)?",
    re.IGNORECASE,
)
_FLAGS = re.compile(r"\A(?:\(\?[aiLmsux]+\))+")
# Not inside a word, unless what looks like the word is a JSON escape.
_FRESH = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4}))"
_AND = r"(?:[?&;]|&amp;|\\u0026)"
_DEMO = r"(?!(?:completion|chat|agent|chatflow|workflow)-demo(?![A-Za-z0-9_-]))"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretPattern:
    """How one kind of secret is found: group 1 of `regex` is the secret, and one of `needles` is always near it."""

    kind: str
    regex: re.Pattern[str]
    needles: tuple[str, ...]
    in_binary: bool = True
    """Whether a match in random bytes is unlikely enough to act on."""


_NEAR, _FAR = 64, 1 << 14
"""How far before a needle a secret may begin, and how far behind it one may end, in what is binary."""


def _pattern(kind: str, regex: str, *needles: str, in_binary: bool = True) -> SecretPattern:
    return SecretPattern(kind=kind, regex=re.compile(regex), needles=needles, in_binary=in_binary)


PATTERNS: tuple[SecretPattern, ...] = (
    _pattern("credentials", r"://([^\s/@:\"'<>\\]+:[^\s/@\"'<>\\]+)@", "://", in_binary=False),
    _pattern(
        "signature", _AND + r"(?:sign|sig|signature|X-Amz-Signature|X-Goog-Signature)=([^\s&\"'<>\\]+)", "sig", "Sig"
    ),
    _pattern("nonce", _AND + r"nonce=([^\s&\"'<>\\]+)", "nonce="),
    _pattern("timestamp", _AND + r"timestamp=(\d{9,})", "timestamp="),
    _pattern(
        "key",
        r"(?i:bearer)(?:[ \t]|\\t|%20|\+)+((?=[^\s\"'<>]*[0-9._-])(?:[A-Za-z0-9._~+/=!*;-]|\\/){8,})",
        "earer",
        "EARER",
    ),
    _pattern("key", _FRESH + r"((?:app|dataset|ds)-" + _DEMO + r"[A-Za-z0-9_-]{12,})", "app-", "dataset-", "ds-"),
    _pattern(
        "key",
        _FRESH + r"((?:sk|pk|rk|ak)-[A-Za-z0-9_-]{8,}|(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{8,})",
        *("sk-", "pk-", "rk-", "ak-", "_live_", "_test_"),
    ),
    _pattern(
        "key",
        _FRESH + r"((?:AKIA|ASIA)[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{35}|gh[pousr]_[A-Za-z0-9]{30,}"
        r"|(?:gsk|hf|xai)_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,})",
        *("AKIA", "ASIA", "AIza", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "gsk_", "hf_", "xai_", "xox"),
    ),
    _pattern("token", _FRESH + r"(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)", "eyJ"),
    _pattern(
        "secret",
        r"(?i)[\"'](?:x-|client_|app_|secret_|access_|private_)?(?:api[_-]?key|apikey|secret|secret_key|password|passwd"
        r"|access_key|access_token|refresh_token|private_key|authorization)[\"']\s*:\s*\"((?:[^\"\\]|\\.)+)\"",
        *(
            "_key",
            "-key",
            "iKey",
            "Key'",
            'Key"',
            "_KEY",
            "-KEY",
            "apikey",
            "APIKEY",
            "ecret",
            "ECRET",
            "passw",
            "PASSW",
        ),
        *("s_token", "S_TOKEN", "h_token", "H_TOKEN", "uthorization", "UTHORIZATION"),
        in_binary=False,
    ),
    _pattern(
        "secret",
        _AND + r"(?:api[_-]?key|apikey|access_token|refresh_token|client_secret|password)=([^\s&\"'<>\\]+)",
        *("key=", "token=", "secret=", "password="),
        in_binary=False,
    ),
    _pattern(
        "email",
        r"((?:[A-Za-z0-9._%+-]+)(?:@|%40)(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,24})(?![A-Za-z0-9-])",
        *("@", "%40"),
        in_binary=False,
    ),
)

REPORTED: tuple[SecretPattern, ...] = (
    *PATTERNS,
    _pattern(
        "cookie",
        r"(?i)(?:set-)?cookie[\"']?\s*:[\s\[\"'-]*(?:[A-Za-z0-9_.-]+=<[a-z]+-\d+>[;\s]*)*[A-Za-z0-9_.-]+=([^\s\"';,<>]+)",
        *("ookie", "OOKIE"),
        in_binary=False,
    ),
    _pattern(
        "key",
        r"(?i)(?:x-api-key|proxy-authorization|authorization)[\"']?\s*:[\s\[\"'-]*(?:(?:basic|bearer|token)\s+)?"
        r"((?!basic|bearer|token)[A-Za-z0-9._~+/=-]{12,})",
        *("uthorization", "UTHORIZATION", "api-key", "Api-Key", "API-Key", "API-KEY"),
        in_binary=False,
    ),
)
"""Also what scrubbing does by header name: a checked file may be any text."""


def own_pattern(what: str | re.Pattern[str]) -> SecretPattern:
    """A pattern for what a user adds: a text as it stands, or a regular expression (its group 1, or all of it)."""
    if isinstance(what, str):
        regex = re.compile(f"({'|'.join(re.escape(form) for form in spellings(what))})")
    else:
        source = _FLAGS.sub("", what.pattern.encode().decode("latin-1"))  # what they say is in `flags`
        regex = re.compile(source if what.groups else f"({source})", what.flags & ~re.UNICODE | re.ASCII)
    return SecretPattern(kind="custom", regex=regex, needles=("",))


def spellings(secret: str) -> Iterator[str]:
    """How *secret* may stand in bytes read as Latin-1: as it is, JSON-escaped in two ways, in a URL."""
    import json  # noqa: PLC0415 - beside the one use
    from urllib.parse import quote  # noqa: PLC0415

    raw = secret.encode("utf-8", "surrogateescape").decode("latin-1")
    plain = json.dumps(secret, ensure_ascii=False)[1:-1].encode("utf-8", "surrogateescape").decode("latin-1")
    ascii_only = json.dumps(secret)[1:-1]
    forms = (raw, plain, ascii_only, ascii_only.replace("/", "\\/"), quote(secret, safe="", errors="replace"))
    yield from sorted(set(forms), key=len, reverse=True)


def is_placeholder(text: str) -> bool:
    """Whether *text* stands for a secret already, or hides one."""
    return _STAND_IN.fullmatch(text) is not None


def found(text: str, pattern: SecretPattern, *, binary: bool = False) -> Iterator[tuple[int, int]]:
    """Where *pattern* finds secrets in *text*, first to last, placeholders left out.

    In what is *binary* it looks no further than around the needles: a sound of some megabytes takes no second.
    """
    if not any(needle in text for needle in pattern.needles):
        return
    for match in _matches(text, pattern, binary=binary):
        start, end = match.span(1)
        start = _behind_escape(text, start)
        if start < end and not is_placeholder(text[start:end]):
            yield start, end


def _matches(text: str, pattern: SecretPattern, *, binary: bool) -> Iterator[re.Match[str]]:
    if not binary or "" in pattern.needles:
        yield from pattern.regex.finditer(text)
        return
    at = 0
    for near in sorted(_places(text, pattern.needles)):
        if near >= at:
            stop = min(len(text), near + _FAR)
            for match in pattern.regex.finditer(text, max(at, near - _NEAR), stop):
                yield match
                at = match.end()
            at = max(at, stop - _NEAR)


def _places(text: str, needles: Iterable[str]) -> Iterator[int]:
    for needle in needles:
        at = text.find(needle)
        while at >= 0:
            yield at
            at = text.find(needle, at + 1)


def _behind_escape(text: str, start: int) -> int:
    r"""*start*, moved behind the JSON escape whose letters look like the secret's first: `\\nalice@example.com`."""
    backslashes = 0
    while start - backslashes and text[start - backslashes - 1] == "\\":
        backslashes += 1
    if backslashes % 2 == 0:
        return start
    return start + (5 if text[start] == "u" else 1)


def generalise(text: str, patterns: Iterable[SecretPattern] = PATTERNS, *, binary: bool = False) -> str:
    """*text* with every secret and every placeholder as `<kind>`: what a request and its recording have in common."""
    for pattern in patterns:
        if binary and not pattern.in_binary:
            continue
        at, pieces = 0, []
        for start, end in found(text, pattern, binary=binary):
            pieces += [text[at:start], f"<{pattern.kind}>"]
            at = end
        text = "".join([*pieces, text[at:]])
    return PLACEHOLDER.sub(r"<\1>", text)
