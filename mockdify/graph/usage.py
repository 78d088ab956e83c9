"""Adding up what several calls of models cost."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["add_usage"]

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_PRICES = ("prompt_price", "completion_price", "total_price")


def add_usage(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The sum of two usages; unit prices and times to tokens are those of the later one, as in Dify."""
    if one is None or other is None or not one["total_tokens"]:
        last = other if other is not None else one
        return None if last is None else dict(last)
    if not other["total_tokens"]:
        return dict(one)
    total = dict(other)
    total |= {key: one[key] + other[key] for key in _COUNTS}
    total |= {key: str(Decimal(one[key]) + Decimal(other[key])) for key in _PRICES}
    total["latency"] = round(one["latency"] + other["latency"], 6)
    return total
