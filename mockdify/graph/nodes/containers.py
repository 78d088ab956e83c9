"""Iterations and loops: the inside is really walked, round by round; parallel rounds run one after the other."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from mockdify.events import (
    IterationCompleted,
    IterationNext,
    IterationStarted,
    LoopCompleted,
    LoopNext,
    LoopStarted,
)
from mockdify.graph.conditions import ConditionError, judge
from mockdify.graph.nodes.base import NodeFailure, Result
from mockdify.graph.usage import add_usage
from mockdify.graph.variables import MISSING, zero_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockdify.graph.nodes.base import Acting, Inner, Work

__all__ = ["iteration", "loop", "loop_end"]

Json: TypeAlias = Any
Usage: TypeAlias = "Mapping[str, Json] | None"


def _bill(usage: Usage) -> dict[str, Json]:
    if usage is None:
        return {"total_tokens": 0, "total_price": "0.0", "currency": "USD"}
    price = usage["total_price"] if Decimal(usage["total_price"]) else "0.0"
    return {"total_tokens": usage["total_tokens"], "total_price": price, "currency": usage["currency"]}


def _named(work: Work) -> dict[str, Json]:
    """What all events of a container say first; its execution has no id of its own."""
    return {"id": work.id, "node_id": work.id, "node_type": work.node.type, "title": work.node.title}


def _ended(work: Work, began: float) -> dict[str, Json]:
    now = work.run.now()
    return {"elapsed_time": round(now - began, 6), "finished_at": int(now)}


# -- iteration -------------------------------------------------------------------------------------------------------


def iteration(work: Work) -> Acting:
    """The inside once for each item; the outputs are what its output variable held in each round."""
    items = _items(work)
    inputs = {"iterator_selector": items}
    if not items:  # unverified: an empty list has no iteration events at all
        return Result(inputs=inputs, outputs={"output": []})
    began, mode = work.run.now(), work.data.get("error_handle_mode") or "terminated"
    yield IterationStarted(
        **_named(work), created_at=int(began), metadata={"iteration_length": len(items)}, inputs=inputs
    )
    outputs: list[Json] = []
    durations: dict[str, float] = {}
    usage: Usage = None
    error: str | None = None
    for index, item in enumerate(items):
        start = work.run.now()
        yield IterationNext(**_named(work), index=index, created_at=int(start))
        pool = work.pool.copy()
        pool.add(work.id, {"index": index, "item": item})
        inner: Inner = yield from work.enter(pool, {"iteration_id": work.id, "iteration_index": index})
        durations[str(index)] = round(work.run.now() - start, 6)
        usage = add_usage(usage, inner.usage)
        if inner.error is not None and mode == "terminated":
            error = inner.error
            break
        if inner.error is None or mode == "continue-on-error":
            value = None if inner.error is not None else pool.get(work.data.get("output_selector") or ())
            outputs.append(None if value is MISSING else value)
    result = Result(
        inputs=inputs,
        outputs={"output": _flat(outputs) if work.data.get("flatten_output", True) else outputs},
        metadata={**_bill(usage), "iteration_duration_map": durations},
        usage=usage,
    )
    yield IterationCompleted(**_named(work), **_completion(work, result, began, error), steps=len(items))
    if error is not None:
        raise NodeFailure(error, "IterationNodeError", inputs)
    return result


def _items(work: Work) -> list[Json]:
    selector = work.data.get("iterator_selector") or ()
    value = work.pool.get(selector)
    if value is MISSING:
        raise NodeFailure(f"iterator variable {list(selector)} not found", "IteratorVariableNotFoundError")
    if value is None:
        return []
    if not isinstance(value, list):
        raise NodeFailure(f"invalid iterator value: {value}, please provide a list.", "InvalidIteratorValueError")
    return value


def _flat(outputs: list[Json]) -> list[Json]:
    """Lists of lists are joined, as Dify does unless told otherwise."""
    kept = [item for item in outputs if item is not None]
    if not kept or not all(isinstance(item, list) for item in kept):
        return outputs
    return [inner for item in kept for inner in item]


def _completion(work: Work, result: Result, began: float, error: str | None) -> dict[str, Json]:
    return {
        "outputs": result.outputs,
        "created_at": int(began),
        "inputs": result.inputs,
        # unverified: the event's own `error` is null even then, the run says what it was
        "status": "succeeded" if error is None else "failed",
        "total_tokens": result.metadata["total_tokens"],
        "execution_metadata": result.metadata,
        **_ended(work, began),
    }


# -- loop ------------------------------------------------------------------------------------------------------------


def loop(work: Work) -> Acting:
    """The inside again and again, until its count, a break condition or a loop-end node; its variables live on."""
    count = int(work.data.get("loop_count") or 0)
    variables = _declared(work)
    work.pool.add(work.id, variables)
    inputs = {"loop_count": count, **variables}
    began = work.run.now()
    yield LoopStarted(**_named(work), created_at=int(began), metadata={"loop_length": count}, inputs=inputs)
    outputs: dict[str, Json] = {}
    durations: dict[str, float] = {}
    held: dict[str, Json] = {}
    usage: Usage = None
    error: str | None = None
    done = _breaks(work)
    steps = 0 if done else count
    for index in range(steps):
        start = work.run.now()
        inner: Inner = yield from work.enter(work.pool, {"loop_id": work.id, "loop_index": index})
        usage = add_usage(usage, inner.usage)
        if inner.error is not None:
            error = inner.error
            break
        durations[str(index)] = round(work.run.now() - start, 6)
        held[str(index)] = {name: work.pool.get((work.id, name)) for name in variables}
        outputs = {**held[str(index)], "loop_round": index + 1}
        if inner.breaks:
            break
        done = _breaks(work)
        if done:
            break
        yield LoopNext(**_named(work), index=index + 1, created_at=int(work.run.now()))
    reason = "error" if error is not None else "loop_break" if done else "loop_completed"
    result = Result(
        inputs=inputs,
        outputs=outputs,
        metadata={
            **_bill(usage),
            "completed_reason": reason,
            "loop_duration_map": durations,
            "loop_variable_map": held,
        },
        usage=usage,
    )
    yield LoopCompleted(**_named(work), **_completion(work, result, began, error), steps=steps)
    if error is not None:
        raise NodeFailure(error, "LoopNodeError", inputs)
    return result


def loop_end(work: Work) -> Result:  # noqa: ARG001 - one signature for all
    """The node that ends the loop around it."""
    return Result(breaks=True)


def _declared(work: Work) -> dict[str, Json]:
    values = {}
    for item in work.data.get("loop_variables") or ():
        value = item.get("value")
        if item.get("value_type") == "variable":
            value = work.pool.get(value or ())
        else:
            value = _constant(value, str(item.get("var_type") or "string"))
        if value is MISSING:
            raise NodeFailure(f"Invalid value for loop variable {item.get('label')}", "ValueError")
        values[str(item.get("label"))] = value
    return values


def _constant(value: Json, kind: str) -> Json:
    """A constant of the editor's: numbers, lists and objects are written as text."""
    if not isinstance(value, str) or kind == "string":
        return value
    try:
        return json.loads(value) if value.strip() else zero_of(kind)
    except ValueError:
        return value


def _breaks(work: Work) -> bool:
    conditions = work.data.get("break_conditions") or ()
    if not conditions:
        return False
    try:
        return judge(work.pool, conditions, str(work.data.get("logical_operator") or "and")).final
    except ConditionError:
        return False  # Dify goes on with the loop
