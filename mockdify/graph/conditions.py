"""The conditions of if-else nodes, loops and list filters: Dify's comparison operators and how groups are reported.

An operator that does not fit the value's type is an error, as in Dify: the node fails with its text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from mockdify.graph.variables import MISSING, is_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mockdify.graph.variables import Pool

__all__ = ["OPERATORS", "ConditionError", "Verdict", "compare", "judge"]

Json: TypeAlias = Any
Condition: TypeAlias = Mapping[str, Json]


class ConditionError(ValueError):
    """A condition that cannot be judged."""


@dataclass(slots=True)
class Verdict:
    """What a group of conditions came to. Judging stops at the condition that decides the group."""

    inputs: list[dict[str, Json]] = field(default_factory=list)
    results: list[bool] = field(default_factory=list)
    final: bool = False


def judge(pool: Pool, conditions: Sequence[Condition], logical_operator: str) -> Verdict:
    """The verdict on *conditions* joined by *logical_operator* (`and` or `or`).

    Raises:
        ConditionError: a variable does not exist or has the wrong type.
    """
    verdict = Verdict()
    decisive = logical_operator == "or"
    for condition in conditions:
        result = _judge_one(pool, condition, verdict)
        verdict.results.append(result)
        if result == decisive:
            verdict.final = result
            return verdict
    verdict.final = not decisive
    return verdict


def _judge_one(pool: Pool, condition: Condition, verdict: Verdict) -> bool:
    selector = [str(part) for part in condition.get("variable_selector") or ()]
    operator = str(condition.get("comparison_operator"))
    actual = pool.get(selector)
    if actual is MISSING:
        raise ConditionError(f"Variable {selector} not found")
    if _is_files(actual) and operator in ("contains", "not contains", "all of"):
        return _judge_files(actual, condition.get("sub_variable_condition"))
    if operator in ("exists", "not exists"):
        return compare(operator, actual, None)
    expected = _expected(pool, actual, condition.get("value"))
    verdict.inputs.append({"actual_value": actual, "expected_value": expected, "comparison_operator": operator})
    return compare(operator, actual, expected)


def _expected(pool: Pool, actual: Json, expected: Json) -> Json:
    if isinstance(expected, str):
        expected = pool.text(expected)
    if expected is not None and _is_boolean(actual):
        # Old exports hold the texts "true" and "false" for booleans.
        return [_boolean(item) for item in expected] if isinstance(expected, list) else _boolean(expected)
    return expected


def _is_boolean(value: Json) -> bool:
    return isinstance(value, bool) or (isinstance(value, list) and bool(value) and isinstance(value[0], bool))


def _boolean(value: Json) -> bool:
    if isinstance(value, int):
        return bool(value)
    try:
        loaded = json.loads(value)
    except (TypeError, ValueError) as error:
        raise ConditionError(str(error)) from error
    if isinstance(loaded, int):
        return bool(loaded)
    raise ConditionError(f"unexpected value: type={type(value)}, value={value}")


def _is_files(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_file, value))


def _judge_files(files: list[Json], group: Json) -> bool:
    if not isinstance(group, Mapping):
        raise ConditionError("Sub variable is required")
    results = [_judge_attribute(files, condition) for condition in group.get("conditions") or ()]
    return all(results) if group.get("logical_operator") == "and" else any(results)


def _judge_attribute(files: list[Json], condition: Condition) -> bool:
    operator, key, expected = str(condition["comparison_operator"]), condition.get("key"), condition.get("value")
    values = [file.get({"name": "filename", "url": "remote_url"}.get(str(key), str(key))) for file in files]
    if key == "extension" and isinstance(expected, str):
        expected, values = _dotted(expected), [_dotted(value) for value in values]
    results = [compare(operator, value, expected) for value in values]
    return all(results) if "not" in operator else any(results)


def _dotted(extension: Json) -> Json:
    return f".{extension}" if isinstance(extension, str) and extension and extension[0] != "." else extension


# -- operators: (actual, expected) -> bool ---------------------------------------------------------------------------

Operator: TypeAlias = Callable[[Json, Json], bool]


def _typed(kinds: tuple[type, ...], called: str, empty: bool, test: Operator) -> Operator:
    """*test*, *empty* for an empty actual value, an error for one that is none of *kinds*."""

    def checked(actual: Json, expected: Json) -> bool:
        if not actual:
            return empty
        if not isinstance(actual, kinds):
            raise ConditionError(f"Invalid actual value type: {called}")
        return test(actual, expected)

    return checked


def _same(test: Operator) -> Operator:
    def checked(actual: Json, expected: Json) -> bool:
        if actual is None:
            return False
        if not isinstance(actual, (str, bool)):
            raise ConditionError("Invalid actual value type: string or boolean")
        return test(actual, expected)

    return checked


def _number(called: str, test: Operator) -> Operator:
    """*test* on numbers; the expected text is read as the actual value's type, an int unless it has a fraction."""

    def checked(actual: Json, expected: Json) -> bool:
        if actual is None:
            return False
        if not isinstance(actual, (int, float)):
            raise ConditionError(f"Invalid actual value type: {called}")
        return test(actual, _as_number(actual, expected))

    return checked


def _as_number(actual: float, expected: Json) -> float:
    if isinstance(actual, bool):
        return bool(expected)
    try:
        if isinstance(actual, int):
            number = float(expected)
            return int(number) if number.is_integer() else number
        return float(expected)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConditionError(f"Cannot convert '{expected}' to number") from error


def _among(empty: bool, test: Operator) -> Operator:
    def checked(actual: Json, expected: Json) -> bool:
        if not actual:
            return empty
        if not isinstance(expected, list):
            raise ConditionError("Invalid expected value type: array")
        return test(actual, expected)

    return checked


def _all_of(actual: Json, expected: Json) -> bool:
    if not isinstance(expected, list):
        raise ConditionError("Unsupported operator: all of")  # so Dify says that only lists can be asked for
    return bool(actual) and all(item in actual for item in expected)


_TEXTS, _TEXT = ((str, list), "string or array"), ((str,), "string")
_COUNT, _EITHER = "number", "number or boolean"

OPERATORS: Mapping[str, Operator] = {
    "contains": _typed(*_TEXTS, False, lambda a, e: e in a),
    "not contains": _typed(*_TEXTS, True, lambda a, e: e not in a),
    "start with": _typed(*_TEXT, False, lambda a, e: a.startswith(e)),
    "end with": _typed(*_TEXT, False, lambda a, e: a.endswith(e)),
    "is": _same(lambda a, e: a == e),
    "is not": _same(lambda a, e: a != e),
    "empty": lambda a, _: not a,
    "not empty": lambda a, _: bool(a),
    "=": _number(_EITHER, lambda a, e: a == e),
    "≠": _number(_EITHER, lambda a, e: a != e),
    ">": _number(_COUNT, lambda a, e: a > e),
    "<": _number(_COUNT, lambda a, e: a < e),
    "≥": _number(_COUNT, lambda a, e: a >= e),
    "≤": _number(_COUNT, lambda a, e: a <= e),
    "null": lambda a, _: a is None,
    "not null": lambda a, _: a is not None,
    "in": _among(False, lambda a, e: a in e),
    "not in": _among(True, lambda a, e: a not in e),
    "all of": _all_of,
    "exists": lambda a, _: a is not None,
    "not exists": lambda a, _: a is None,
}
"""Every comparison operator of Dify's, by the name exports use."""


def compare(operator: str, actual: Json, expected: Json) -> bool:
    """Whether *actual* stands to *expected* as *operator* says.

    Raises:
        ConditionError: no such operator, or it does not fit the types.
    """
    test = OPERATORS.get(operator)
    if test is None:
        raise ConditionError(f"Unsupported operator: {operator}")
    try:
        return test(actual, expected)
    except TypeError as error:
        raise ConditionError(str(error)) from error
