"""Jinja2 for nodes and scripts: sandboxed, and bounded, so that a template cannot fill the memory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["MAX_LENGTH", "TemplateFailure", "render", "render_all"]

MAX_LENGTH = 400_000
"""Dify's own limit for what a template makes."""


class TemplateFailure(ValueError):
    """The template is wrong, or makes too much."""


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 - most runs render no template

    class Bounded(ImmutableSandboxedEnvironment):
        """Refuses products and powers that are larger than any sensible text or number."""

        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "**" and abs(right) * max(abs(left), 2) > MAX_LENGTH:
                raise OverflowError("the power is too large")
            lengths = [len(side) for side in (left, right) if isinstance(side, (str, list, tuple))]
            factor = next((side for side in (left, right) if isinstance(side, int)), 1)
            if lengths and lengths[0] * factor > MAX_LENGTH:
                raise OverflowError(f"Output length exceeds {MAX_LENGTH} characters")
            return super().call_binop(context, operator, left, right)

    return Bounded(autoescape=False)  # noqa: S701 - texts for a model, not pages


@lru_cache(maxsize=1024)
def _compile(text: str) -> Template:
    return _environment().from_string(text)


def render(text: str, variables: Mapping[str, Any]) -> str:
    """*text* as a template over *variables*.

    Raises:
        TemplateFailure: with Jinja's own words, or because the result is longer than `MAX_LENGTH`.
    """
    if "{" not in text:
        return text
    pieces, length = [], 0
    try:
        for piece in _compile(text).generate(**variables):
            length += len(piece)
            if length > MAX_LENGTH:
                raise TemplateFailure(f"Output length exceeds {MAX_LENGTH} characters")
            pieces.append(piece)
    except TemplateFailure:
        raise
    except Exception as error:  # whatever a template does wrong is the template's failure
        raise TemplateFailure(str(error)) from error
    return "".join(pieces)


def render_all(value: Any, variables: Mapping[str, Any]) -> Any:
    """*value* with every text in it rendered, however deep."""
    if isinstance(value, str):
        return render(value, variables)
    if isinstance(value, Mapping):
        return {key: render_all(item, variables) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [render_all(item, variables) for item in value]
    return value
