"""Nodes that mockdify really evaluates: where a run begins, branches and ends, and what only moves values about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from mockdify import templates
from mockdify.errors import MockdifyError
from mockdify.graph.conditions import ConditionError, compare, judge
from mockdify.graph.nodes.base import NodeFailure, Result
from mockdify.graph.variables import MISSING, files_in, parse_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mockdify.graph.conditions import Verdict
    from mockdify.graph.nodes.base import Work

__all__ = ["aggregate", "answer", "end", "if_else", "list_operator", "nothing", "start", "template"]

Json: TypeAlias = Any

_MOST_TEXT = 400_000
"""Dify's limit for what a template node makes, in characters."""


def nothing(work: Work) -> Result:  # noqa: ARG001 - one signature for all
    """A node that passes through."""
    return Result()


def start(work: Work) -> Result:
    """The run's inputs, those that are declared."""
    given = work.run.inputs
    declared = [item for item in work.data.get("variables") or () if isinstance(item, Mapping)]
    values = {str(item["variable"]): given.get(str(item["variable"])) for item in declared if item.get("variable")}
    if work.run.dialect.start_shows_system:
        values |= {f"sys.{name}": value for name, value in work.pool.system.items()}
    return Result(inputs=values, outputs=dict(values))


def answer(work: Work) -> Result:
    """The whole text, whatever of it was streamed."""
    pieces = parse_template(str(work.data.get("answer") or ""))
    values = [work.pool.get(piece) for piece in pieces if not isinstance(piece, str)]
    files = [file for value in values for file in files_in(value)]
    return Result(outputs={"answer": work.pool.show(pieces), "files": files})


def end(work: Work) -> Result:
    """The run's outputs; a variable that nobody set is null."""
    values = {}
    for output in work.data.get("outputs") or ():
        value = work.pool.get(output.get("value_selector") or ())
        values[str(output.get("variable"))] = None if value is MISSING else value
    return Result(inputs=values, outputs=dict(values))


# -- branches --------------------------------------------------------------------------------------------------------


def if_else(work: Work) -> Result:
    """The first case whose conditions hold, else `false`."""
    cases = work.data.get("cases")
    # Before 0.6.9 a node had one group of conditions, and nothing called it a case.
    legacy = not isinstance(cases, list)
    groups = [work.data] if not isinstance(cases, list) else cases
    reports: list[dict[str, Json]] = []
    inputs: dict[str, Json] = {"conditions": []}
    selected: str | None = None
    for group in groups:
        verdict = _judge(work, group, inputs, reports)
        reports.append(
            {
                "group": "default" if legacy else _described(group),
                "results": verdict.results,
                "final_result": verdict.final,
            }
        )
        inputs = {"conditions": verdict.inputs}
        if verdict.final:
            selected = "true" if legacy else _case_id(group)
            break
    handle = selected or "false"
    return Result(
        inputs=inputs,
        process_data={"condition_results": reports},
        outputs={"result": selected is not None, "selected_case_id": handle},
        handle=handle,
    )


def _judge(work: Work, group: Mapping[str, Json], inputs: Mapping[str, Json], reports: Sequence[Json]) -> Verdict:
    try:
        return judge(work.pool, group.get("conditions") or (), str(group.get("logical_operator") or "and"))
    except ConditionError as error:
        raise NodeFailure(str(error), "ValueError", inputs, {"condition_results": [*reports]}) from error


def _case_id(group: Mapping[str, Json]) -> str:
    return str(group.get("case_id") or group.get("id") or "true")


def _described(group: Mapping[str, Json]) -> dict[str, Json]:
    conditions = [
        {
            "variable_selector": condition.get("variable_selector"),
            "comparison_operator": condition.get("comparison_operator"),
            "value": condition.get("value"),
            "sub_variable_condition": condition.get("sub_variable_condition"),
        }
        for condition in group.get("conditions") or ()
    ]
    return {
        "case_id": _case_id(group),
        "logical_operator": group.get("logical_operator") or "and",
        "conditions": conditions,
    }


# -- values ----------------------------------------------------------------------------------------------------------


def aggregate(work: Work) -> Result:
    """The first of several variables that exists: that of the branch that was taken."""
    settings = work.data.get("advanced_settings")
    if not (isinstance(settings, Mapping) and settings.get("group_enabled")):
        found = _first(work, work.data.get("variables"))
        return Result(inputs=dict([found]), outputs={"output": found[1]}) if found else Result()
    inputs, outputs = {}, {}
    for group in settings.get("groups") or ():
        found = _first(work, group.get("variables"))
        if found:
            inputs[found[0]] = found[1]
            outputs[str(group.get("group_name"))] = {"output": found[1]}
    return Result(inputs=inputs, outputs=outputs)


def _first(work: Work, selectors: Json) -> tuple[str, Json] | None:
    for selector in selectors or ():
        value = work.pool.get(selector)
        if value is not MISSING:
            return ".".join(map(str, selector[1:])), value
    return None


def template(work: Work) -> Result:
    """A Jinja2 template over the node's variables."""
    inputs = work.pool.fill(work.data.get("variables"))
    try:
        return Result(inputs=inputs, outputs={"output": _rendered(work, inputs)})
    except MockdifyError as mistake:
        raise NodeFailure(str(mistake), "TemplateTransformNodeError", inputs) from mistake


def _rendered(work: Work, inputs: Mapping[str, Json]) -> str:
    text = templates.render(str(work.data.get("template") or ""), inputs, strict=False)
    if len(text) > _MOST_TEXT:
        raise NodeFailure(f"Output length exceeds {_MOST_TEXT} characters", "TemplateTransformNodeError", inputs)
    return text


def list_operator(work: Work) -> Result:
    """A list, filtered, ordered and cut."""
    value = work.pool.get(work.data.get("variable") or ())
    if value is MISSING:
        raise NodeFailure(f"Variable not found for selector: {work.data.get('variable')}", "ListOperatorError")
    items = list(value) if isinstance(value, list) else []
    inputs = {"variable": list(items)}
    try:
        for name, apply in _LIST_STEPS.items():
            settings = work.data.get(name)
            if items and isinstance(settings, Mapping) and settings.get("enabled"):
                items = apply(work, items, settings)
    except (ConditionError, TypeError, ValueError, KeyError) as error:
        raise NodeFailure(str(error), "ListOperatorError", inputs, inputs) from error
    outputs = {
        "result": items,
        "first_record": items[0] if items else None,
        "last_record": items[-1] if items else None,
    }
    return Result(inputs=inputs, process_data=inputs, outputs=outputs)


def _filtered(work: Work, items: list[Json], settings: Mapping[str, Json]) -> list[Json]:
    for condition in settings.get("conditions") or ():
        expected = condition.get("value")
        expected = work.pool.text(expected) if isinstance(expected, str) else expected
        operator = str(condition.get("comparison_operator"))
        items = [item for item in items if compare(operator, _attribute(item, condition.get("key")), expected)]
    return items


def _attribute(item: Json, key: Json) -> Json:
    if not isinstance(item, Mapping) or not key:
        return item
    return item.get({"name": "filename", "url": "remote_url"}.get(str(key), str(key)))


def _extracted(work: Work, items: list[Json], settings: Mapping[str, Json]) -> list[Json]:
    serial = int(work.pool.text(str(settings.get("serial") or "1")))
    if not 1 <= serial <= len(items):
        bound = ">= 1" if serial < 1 else f"<= {len(items)}"
        raise ValueError(f"Invalid serial index: must be {bound}, got {serial}")
    return [items[serial - 1]]


def _ordered(work: Work, items: list[Json], settings: Mapping[str, Json]) -> list[Json]:  # noqa: ARG001
    return sorted(items, key=lambda x: _attribute(x, settings.get("key")), reverse=settings.get("value") == "desc")


def _limited(work: Work, items: list[Json], settings: Mapping[str, Json]) -> list[Json]:  # noqa: ARG001
    return items[: int(settings.get("size") or 0)]


_LIST_STEPS = {"filter_by": _filtered, "extract_by": _extracted, "order_by": _ordered, "limit": _limited}
