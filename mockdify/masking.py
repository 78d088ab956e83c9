"""Secrets are never shown: keys stand as `app-…last4` in journals, logs and reports."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Masker", "mask_headers", "mask_key", "mask_text", "masker"]

_TOKEN = re.compile(r"\b(?:app|dataset|ds|sk)-[A-Za-z0-9_\-]{4,}")
_SECRET_HEADERS = {
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-mockdify-admin",
}
_LEAST = 6
"""Characters of the shortest known token that is looked for in texts: a shorter one would be found everywhere."""


def mask_key(key: str) -> str:
    """*key* as it may be shown: its kind and its last four characters; a fault suffix stays."""
    bare, bang, suffix = key.partition("!")
    head = next((kind for kind in ("app-", "dataset-", "ds-", "sk-") if bare.startswith(kind)), "")
    return f"{head}…{bare[-4:] if len(bare) > len(head) + 4 else ''}{bang}{suffix}"


def mask_text(text: str) -> str:
    """*text* with everything in it masked that looks like a key."""
    return _TOKEN.sub(lambda found: mask_key(found.group()), text) if "-" in text else text


def mask_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name, with the values of secret ones masked, and keys in the others too."""
    return _HEURISTIC.headers(headers)


class Masker:
    """Hides secrets in whatever is shown: what looks like a key, and the *tokens* that are known to be some.

    A configured key need not look like one of Dify's, so whoever knows the workspace's keys says them.
    """

    __slots__ = ("_known",)

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        # The longest first: a key may begin with another one.
        odd = sorted((t for t in tokens if len(t) >= _LEAST and not _TOKEN.fullmatch(t)), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, odd))) if odd else None

    def text(self, text: str) -> str:
        """*text* without secrets."""
        if self._known is not None:
            text = self._known.sub(lambda found: mask_key(found.group()), text)
        return mask_text(text)

    def headers(self, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Headers by name; of repeated ones the last."""
        return {name: self.header(name, value) for name, value in headers}

    def header(self, name: str, value: str) -> str:
        """The value of one header as it may be shown."""
        if name.lower() not in _SECRET_HEADERS:
            return self.text(value)
        scheme, blank, token = value.partition(" ")
        return f"{scheme} {mask_key(token)}" if blank else mask_key(value)

    def value(self, value: Any) -> Any:
        """A JSON value with every text in it masked, keys of objects too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(one) for key, one in value.items()}
        return [self.value(one) for one in value] if isinstance(value, list | tuple) else value


@lru_cache(maxsize=64)
def masker(tokens: tuple[str, ...]) -> Masker:
    """A `Masker` of *tokens*, made once."""
    return Masker(tokens)


_HEURISTIC = Masker()
