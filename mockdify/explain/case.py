"""What explainers look at and what they say."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from mockdify.masking import Masker
from mockdify.routing import Router

if TYPE_CHECKING:
    from mockdify.http import Request
    from mockdify.journal import Exchange
    from mockdify.routing import Match
    from mockdify.workspace import Installed, Workspace

__all__ = ["UUID", "Case", "Finding", "ago", "router"]

UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is to be said about an exchange."""

    rule: str
    """What holds here, whoever asks."""
    evidence: tuple[str, ...] = ()
    """What was met in this case."""
    nearest: tuple[str, ...] = ()
    """What comes closest to what was asked for."""
    fix: tuple[str, ...] = ()
    """What to do."""


@dataclass
class Case:
    """An exchange with the workspace it happened in."""

    exchange: Exchange
    workspace: Workspace
    mask: Masker = field(init=False)

    def __post_init__(self) -> None:
        self.mask = self.workspace.journal.mask

    @cached_property
    def request(self) -> Request:
        """The request as it came."""
        return self.exchange.raw

    @cached_property
    def app(self) -> Installed | None:
        """The app that the key opened."""
        return self.workspace.apps.get(self.exchange.app or "")

    @cached_property
    def user(self) -> str:
        """Who asked, as far as it was found out."""
        said = self.exchange.user or self.asked.get("user") or self.request.query.get("user")
        return str(said) if said else ""

    @cached_property
    def asked(self) -> dict[str, Any]:
        """The JSON object that was sent; empty when none was."""
        try:
            found = json.loads(self.request.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def match(self) -> Match | None:
        """The route that the path means."""
        return router().find(self.request.path)

    @cached_property
    def told(self) -> dict[str, Any]:
        """What refused the request: the JSON error of the reply, or the error event of a stream."""
        if self.exchange.is_stream:
            return next((event for event in self.exchange.events if event.get("event") == "error"), {})
        found = self.exchange.json if self.exchange.status >= 400 else None
        return found if isinstance(found, dict) else {}

    @cached_property
    def run_error(self) -> str | None:
        """Why the run of a graph failed, inside a reply that says 200; None when none did."""
        found = self.exchange.json if not self.exchange.is_stream else None
        for event in self.exchange.events:
            found = event if event.get("event") == "workflow_finished" else found
        data = found.get("data") if isinstance(found, dict) else None
        return str(data.get("error") or "") if isinstance(data, dict) and data.get("status") == "failed" else None

    @property
    def code(self) -> str:
        """The error's code; empty when there is none."""
        return str(self.told.get("code") or "")

    @property
    def message(self) -> str:
        """The error's text."""
        return str(self.told.get("message") or "")

    @property
    def status(self) -> int:
        """The error's status; of a stream that ended with an error event the event's."""
        status = self.told.get("status")
        return status if isinstance(status, int) and self.exchange.is_stream else self.exchange.status

    @cached_property
    def ids(self) -> list[tuple[str, str]]:
        """Every id that the request names, with where: ("conversation_id", "3f…")."""
        found = [(name, value) for name, value in (self.match.values if self.match else {}).items()]
        found += [(name, value) for name, value in self.request.query.items() if UUID.fullmatch(value)]
        found += _ids_in(self.asked, "")
        return list(dict.fromkeys((name, value.lower()) for name, value in found))


def _ids_in(value: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(name, value)] if UUID.fullmatch(value.strip()) else []
    if isinstance(value, dict):
        return [pair for key, one in value.items() for pair in _ids_in(one, str(key))]
    return [pair for one in value for pair in _ids_in(one, name)] if isinstance(value, list) else []


@lru_cache(maxsize=1)
def router() -> Router:
    """The routes of Dify's API."""
    from mockdify.endpoints import ENDPOINTS  # noqa: PLC0415 - endpoints bring much along

    return Router(ENDPOINTS)


def ago(then: float, now: float) -> str:
    """How long *then* was before *now*, for people."""
    seconds = max(0.0, now - then)
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit} before"
    return f"{seconds / 86400:.3g} days before"
