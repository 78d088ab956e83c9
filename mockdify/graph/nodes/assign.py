"""The assigner: writes conversation variables, and those of a loop. Both forms that exports have, told by `items`."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from mockdify.graph.nodes.base import NodeFailure, Result
from mockdify.graph.variables import MISSING, zero_of

if TYPE_CHECKING:
    from mockdify.graph.nodes.base import Work
    from mockdify.graph.spec import Node
    from mockdify.graph.variables import Selector

__all__ = ["assign", "written"]

Json: TypeAlias = Any
Operation: TypeAlias = Callable[[Json, Json], Json]

_FAILURE = "VariableOperatorNodeError"


def written(node: Node) -> tuple[Selector, ...]:
    """The variables that *node* writes."""
    return tuple(selector for selector, _, _, _ in _items(node.data))


def _items(data: Mapping[str, Json]) -> list[tuple[Selector, str, str, Json]]:
    """(target, operation, input type, value) of each write."""
    if not isinstance(data.get("items"), list):
        target = _selector(data.get("assigned_variable_selector"))
        return [(target, str(data.get("write_mode") or "over-write"), "variable", data.get("input_variable_selector"))]
    return [
        (
            _selector(item.get("variable_selector")),
            str(item.get("operation") or "over-write"),
            str(item.get("input_type") or "constant"),
            item.get("value"),
        )
        for item in data["items"]
        if isinstance(item, Mapping)
    ]


def _selector(value: Json) -> Selector:
    return tuple(str(part) for part in value) if isinstance(value, (list, tuple)) else ()


_OPERATIONS: Mapping[str, Operation] = {
    "over-write": lambda _, new: new,
    "set": lambda _, new: new,
    "append": lambda old, new: [*old, new],
    "extend": lambda old, new: [*old, *new],
    "+=": operator.add,
    "-=": operator.sub,
    "*=": operator.mul,
    "/=": operator.truediv,
    "remove-first": lambda old, _: old[1:],
    "remove-last": lambda old, _: old[:-1],
}
_WITHOUT_INPUT = frozenset({"clear", "remove-first", "remove-last"})


def assign(work: Work) -> Result:
    """Write the variables, one after the other; a later one sees what an earlier one wrote."""
    # unverified: what the node shows of itself; no assigner was recorded
    first_form = not isinstance(work.data.get("items"), list)
    shown: dict[str, Json] = {}
    value: Json = None
    for target, operation, input_type, given in _items(work.data):
        value = _input(work, operation, input_type, given, target)
        if value is None and operation not in _WITHOUT_INPUT and input_type == "variable":
            continue  # a null changes nothing
        shown[target[1]] = _write(work, target, operation, value)
    if first_form:
        return Result(inputs={"value": value})
    return Result(inputs={key: work.data[key] for key in _SHOWN if key in work.data}, process_data=shown)


_SHOWN = ("type", "title", "desc", "version", "items")


def _input(work: Work, operation: str, input_type: str, given: Json, target: Selector) -> Json:
    if operation in _WITHOUT_INPUT:
        return _zero(work, target) if operation == "clear" else None
    if input_type != "variable":
        return given
    value = work.pool.get(given or ())
    if value is MISSING:
        raise NodeFailure(f"variable not found: {given}", _FAILURE)
    return value


def _write(work: Work, target: Selector, operation: str, value: Json) -> Json:
    old = work.pool.get(target)
    if old is MISSING:
        raise NodeFailure(f"variable not found: {list(target)}", _FAILURE)
    try:
        new = value if operation == "clear" else _OPERATIONS[operation](old, _fitting(old, operation, value))
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise NodeFailure(f"operation {operation} is not supported for {list(target)}: {error}", _FAILURE) from error
    work.pool.assign(target, new)
    return new


def _fitting(old: Json, operation: str, value: Json) -> Json:
    """*value* as the variable's type: exports hold objects, and some numbers, as texts."""
    if not isinstance(value, str) or isinstance(old, (str, type(None))) or operation in ("append", "over-write"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _zero(work: Work, target: Selector) -> Json:
    declared = work.graph.conversation.get(target[1]) if target[:1] == ("conversation",) and len(target) > 1 else None
    if declared is not None:
        return zero_of(declared.type)
    old = work.pool.get(target)
    return type(old)() if isinstance(old, (str, int, float, list, dict)) else None
