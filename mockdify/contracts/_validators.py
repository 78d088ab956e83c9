"""Validators of one schema, kept by whoever asked for them.

jsonschema does the work; jsonschema-rs, where installed (extra `fast`), does the same some hundred times as fast. Both
only say which keyword failed where; the words are made here, so that they agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from mockdify.contracts._files import Json
from mockdify.contracts._violations import Finding, explain
from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mockdify.contracts._resolve import Schema

__all__ = ["BACKENDS", "Backend", "Check", "build", "has_fast"]

Backend: TypeAlias = Literal["jsonschema", "jsonschema-rs"]
Check: TypeAlias = Callable[[Json], list[Finding]]


def has_fast() -> bool:
    """Is jsonschema-rs installed?"""
    from importlib.util import find_spec  # noqa: PLC0415 - asked for once, if at all

    return find_spec("jsonschema_rs") is not None


def _sorted(found: Iterable[Finding]) -> list[Finding]:
    return sorted(set(found))


def _pure(schema: Schema) -> Check:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - 130 ms that a server without self-check never needs

    validator = Draft202012Validator(schema)

    def check(value: Json) -> list[Finding]:
        return _sorted(
            finding
            for error in validator.iter_errors(value)
            for finding in explain(
                list(error.absolute_path), error.instance, error.validator or None, error.validator_value, error.schema
            )
        )

    return check


def _walk(document: Json, path: Iterable[str | int]) -> Json:
    for key in path:
        document = document[int(key) if isinstance(document, list) else key]
    return document


def _fast(schema: Schema) -> Check:
    from importlib import import_module  # noqa: PLC0415 - optional, and without types

    validator = import_module("jsonschema_rs").Draft202012Validator(schema)

    def check(value: Json) -> list[Finding]:
        found: list[Finding] = []
        if validator.is_valid(value):
            return found
        for error in validator.iter_errors(value):
            *above, last = error.schema_path
            inside, keyword = _walk(schema, above), str(last)
            # Why: a failed `false` names the property it stands at, not a keyword.
            refused = keyword != "additionalProperties" and inside[keyword] is False
            at = _walk(value, error.instance_path)
            found.extend(explain(error.instance_path, at, None if refused else keyword, inside[keyword], inside))
        return _sorted(found)

    return check


BACKENDS: dict[Backend, Callable[[Schema], Check]] = {"jsonschema": _pure, "jsonschema-rs": _fast}


def build(schema: Schema, backend: Backend) -> Check:
    """A check of values against *schema*: gives what is wrong, sorted by place."""
    if backend == "jsonschema-rs" and not has_fast():
        raise MockdifyError("jsonschema-rs is not installed. Install it with: pip install 'mockdify[fast]'")
    return BACKENDS[backend](schema)
