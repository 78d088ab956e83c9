"""What a scripted model says in one call: its chunks, its usage, its failure.

Easy-UI apps and LLM nodes call a model the same way: they iterate `Generation.stream`, which yields deltas and
waits, and read `usage` afterwards. Nothing here reads a clock: the time comes in as a callable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from mockdify.steps import Signal, Wait

__all__ = [
    "FAILURES",
    "Failure",
    "Generation",
    "ModelFailure",
    "Prices",
    "count_tokens",
    "cut",
    "usage_of",
    "zero_usage",
]

Failure: TypeAlias = Literal[
    "rate-limit",
    "authorization",
    "bad-request",
    "connection",
    "server-unavailable",
    "credentials",
    "quota",
    "not-initialized",
    "model-unsupported",
    "dropped",
    "other",
]

FAILURES: Mapping[Failure, str] = {
    "rate-limit": "Rate Limit Error",
    "authorization": "Incorrect model credentials provided, please check and try again. ",
    "bad-request": "Bad Request Error",
    "connection": "Connection Error",
    "server-unavailable": "Server Unavailable Error",
    "credentials": "credentials validate failed",
    "quota": "",
    "not-initialized": "",
    "model-unsupported": "",
    "dropped": "",
    "other": "the model failed",
}
"""The ways a model fails, each with the text it fails with unless the script gives one."""


@dataclass
class ModelFailure(Exception):
    """The model's call failed; the app reports it as Dify does in its mode and release."""

    kind: Failure
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a token costs. Decimal strings, as Dify sends them; price = tokens x unit price x price unit."""

    prompt_unit_price: str = "0.001"
    completion_unit_price: str = "0.002"
    price_unit: str = "0.001"
    currency: str = "USD"


# Compiled by `re` when a text is first cut: three milliseconds that a start-up need not take.
_PIECE = r"\s*(?:[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]{1,2}|[^\s\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]+)|\s+"


def cut(answer: str) -> tuple[str, ...]:
    """*answer* in the pieces a model would stream: words with their blanks, and Dify's last empty chunk."""
    return (*re.findall(_PIECE, answer), "")


def count_tokens(*texts: str) -> int:
    """A plausible number of tokens: pieces as `cut` makes them."""
    return sum([_short(text) if len(text) < _SHORT else len(re.findall(_PIECE, text)) for text in texts if text])


_SHORT = 512


@lru_cache(maxsize=1024)  # a suite asks the same few things, with the same prompt
def _short(text: str) -> int:
    return len(re.findall(_PIECE, text))


def _price(tokens: int, unit: str, price_unit: str) -> Decimal:
    return (tokens * Decimal(unit) * Decimal(price_unit)).quantize(Decimal("0.0000001"), ROUND_HALF_UP)


@lru_cache(maxsize=4096)
def _priced(
    prompt_tokens: int, completion_tokens: int, prompt_unit: str, unit: str, price_unit: str
) -> tuple[str, str, str]:
    """Prompt, completion and total price. Kept, as a suite asks for the same few over and over."""
    prompt = _price(prompt_tokens, prompt_unit, price_unit)
    completion = _price(completion_tokens, unit, price_unit)
    return str(prompt), str(completion), str(prompt + completion)


def usage_of(
    prices: Prices,
    prompt_tokens: int,
    completion_tokens: int,
    *,
    latency: float,
    first: float | None = None,
    rest: float | None = None,
) -> dict[str, Any]:
    """Dify's `usage` object: token counts (int), prices (decimal strings), seconds (float or null)."""
    price_unit = prices.price_unit
    prompt, completion, total = _priced(
        prompt_tokens, completion_tokens, prices.prompt_unit_price, prices.completion_unit_price, price_unit
    )
    return {
        "prompt_tokens": prompt_tokens,
        "prompt_unit_price": prices.prompt_unit_price,
        "prompt_price_unit": price_unit,
        "prompt_price": prompt,
        "completion_tokens": completion_tokens,
        "completion_unit_price": prices.completion_unit_price,
        "completion_price_unit": price_unit,
        "completion_price": completion,
        "total_tokens": prompt_tokens + completion_tokens,
        "total_price": total,
        "currency": prices.currency,
        "latency": latency,
        "time_to_first_token": first,
        "time_to_generate": rest,
    }


def zero_usage(*, latency: float = 0.0, first: float | None = None, rest: float | None = None) -> dict[str, Any]:
    """The usage of an answer that no model gave (moderation, branches without a model)."""
    none = Prices(prompt_unit_price="0.0", completion_unit_price="0.0", price_unit="0.0")
    usage = usage_of(none, 0, 0, latency=latency, first=first, rest=rest)
    return usage | {"prompt_price": "0.0", "completion_price": "0.0", "total_price": "0.0"}


@dataclass(slots=True, kw_only=True)
class Generation:
    """One call of a model. Iterate `stream` to its end (or to its `ModelFailure`), then read `text` and `usage`."""

    chunks: Sequence[str]
    prompt_tokens: int
    now: Callable[[], float]
    pace: float = 0.0
    """Seconds between chunks: the first is sent at once, the k-th at k x pace."""
    wake: Signal | None = None
    fails: ModelFailure | None = None
    after: int = 0
    """How many chunks are out before `fails` is raised."""
    prices: Prices = field(default_factory=Prices)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Keys of `usage` that the script fixes, e.g. `prompt_tokens`."""
    retriever_resources: Sequence[Mapping[str, Any]] = ()
    said: list[str] = field(default_factory=list)
    _started: float = 0.0
    _first: float = 0.0

    def stream(self) -> Iterator[str | Wait]:
        """Deltas and waits, in order. The caller looks at its task after each wait."""
        self._started = self._first = self.now()
        chunks = self.chunks if self.fails is None else self.chunks[: self.after]
        for k, chunk in enumerate(chunks):
            if k and self.pace:
                yield Wait(self._started + k * self.pace, self.wake)
            if not k:
                self._first = self.now()
            self.said.append(chunk)
            yield chunk
        if self.fails is not None:
            if self.after and self.pace:
                yield Wait(self._started + self.after * self.pace, self.wake)
            raise self.fails

    def at_once(self) -> None:
        """Say everything without a listener; for answers that nobody hears chunk by chunk and no pace slows down."""
        self._started = self._first = self.now()
        self.said.extend(self.chunks if self.fails is None else self.chunks[: self.after])
        if self.fails is not None:
            raise self.fails

    @property
    def text(self) -> str:
        """What was said so far."""
        return "".join(self.said)

    @property
    def usage(self) -> dict[str, Any]:
        """Dify's usage object for what was said so far."""
        end = self.now()
        usage = usage_of(
            self.prices,
            self.overrides.get("prompt_tokens", self.prompt_tokens),
            self.overrides.get("completion_tokens", len(self.said) - self.said.count("")),
            latency=round(end - self._started, 6),
            first=round(self._first - self._started, 6),
            rest=round(end - self._first, 6),
        )
        return {**usage, **self.overrides} if self.overrides else usage
