"""Presets: a name for several rules that together look like one bad day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A named list of rules, each as `[[faults]]` writes it."""

    name: str
    words: str
    rules: tuple[Mapping[str, Any], ...]


def _sometimes(fault: str, probability: float, **options: Any) -> Mapping[str, Any]:
    return {"fault": fault, "probability": probability, "times": 0, **options}


_GENERATING = (
    "POST /v1/chat-messages",
    "POST /v1/completion-messages",
    "POST /v1/workflows/run",
    "POST /v1/workflows/*/run",
)

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="brownout",
            words="a server beyond its capacity: every third request fails with a 5xx, every other stream is slow",
            rules=(
                _sometimes("unavailable", 0.15, retry_after=1),
                _sometimes("gateway-timeout", 0.1),
                _sometimes("server-error", 0.1),
                _sometimes("slow", 0.5, delay=0.2),
            ),
        ),
        Preset(
            name="flaky-network",
            words="a bad line: connections break before and in the middle of answers, streams come in odd pieces",
            rules=(
                _sometimes("reset", 0.1),
                _sometimes("truncated-body", 0.05),
                _sometimes("reset-stream", 0.1, after=2),
                _sometimes("half-chunk", 0.1, after=1),
                _sometimes("chop", 0.3, bytes=7),
            ),
        ),
        Preset(
            name="quota-exhausted",
            words="the plan's quota is used up: whatever asks a model is refused, the rest of the API answers",
            rules=tuple({"fault": "quota", "on": on, "times": 0} for on in _GENERATING),
        ),
    )
}
