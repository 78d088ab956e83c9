"""`--self-check`: what mockdify answers is held to the contracts it checks others by.

Not done without being asked for: a check costs more than the answer. What was damaged by a fault, played from a
recording or projected by a `guide` profile is no promise of Dify's and is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mockdify.contracts import Violation
    from mockdify.engine import Handling

__all__ = ["broken_promises", "hold"]


def hold(handling: Handling) -> None:
    """Enter what breaks the contracts as warnings of the exchange: the log and the journal show them."""
    handling.exchange.warnings.extend(f"self-check: {one}" for one in broken_promises(handling))


def broken_promises(handling: Handling) -> list[Violation]:
    """How the reply that went out breaks the contracts of its release."""
    from mockdify.cassettes.verify import events_of  # noqa: PLC0415 - only under --self-check
    from mockdify.contracts import Contracts  # noqa: PLC0415

    exchange, workspace = handling.exchange, handling.workspace
    profile = exchange.profile
    if (
        not exchange.id
        or exchange.fault
        or exchange.ended != "complete"
        or exchange.sent_bytes != len(exchange.body)  # a part of it is no reply
        or workspace.playback is not None
        or profile is None
        or profile.name.startswith("guide")
    ):
        return []
    raw = exchange.raw
    contracts = Contracts.load(profile.version)
    if not contracts.covers(raw.path):
        return []
    operation = contracts.operation(raw.method, raw.path)
    body = None if raw.method == "HEAD" else exchange.body
    found = contracts.check_response(operation, exchange.status, dict(exchange.headers), body)
    installed = workspace.apps.get(exchange.app or "")
    if exchange.is_stream and operation is not None and operation.view is not None and installed is not None:
        found += contracts.check_stream(installed.mode, events_of(exchange.body), view=operation.view)
    return found
