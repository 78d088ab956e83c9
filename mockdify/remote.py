"""What is known of files that clients name by a URL. Nothing here asks for one: the edge does, and enters it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Fetched", "Reached"]

_MOST = 1000
_MOST_IN_ONE = 20
"""Of one request: whoever names more is refused for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a server says of a file."""

    name: str | None = None
    """The name it offers; None: the one in the URL counts."""
    mime_type: str = ""
    size: int = -1


@dataclass(frozen=True, slots=True)
class Reached:
    """The remote files that were asked for, by their URLs; None for one that nobody answers for."""

    _known: dict[str, Fetched | None] = field(default_factory=dict, compare=False)

    def get(self, url: str) -> Fetched | None:
        """What is known of *url*; None when it cannot be reached."""
        return self._known.get(url)

    def enter(self, url: str, found: Fetched | None) -> None:
        """Remember what came of asking for *url*."""
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[url] = found

    @staticmethod
    def named_in(body: bytes) -> list[str]:
        """The URLs that the request with this *body* names as files."""
        if b'"remote_url"' not in body:
            return []
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            return []
        return list(dict.fromkeys(_urls(said)))[:_MOST_IN_ONE]


def _urls(said: Any) -> Iterator[str]:
    """Of `files`, and of the inputs that are a file or a list of files: no deeper."""
    if not isinstance(said, dict):
        return
    inputs = said.get("inputs")
    places = [said.get("files"), *(inputs.values() if isinstance(inputs, dict) else ())]
    for place in places:
        for one in place if isinstance(place, list) else [place]:
            if isinstance(one, dict) and one.get("transfer_method") == "remote_url":
                url = one.get("url") or one.get("remote_url")
                if isinstance(url, str):
                    yield url
