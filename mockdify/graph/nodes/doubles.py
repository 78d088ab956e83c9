"""Nodes that a mock cannot play: code, HTTP, tools, retrieval, people. They have the outputs Dify's have, empty.

What a user's script says of a node is laid over these outputs by the walk.
Their inputs and process_data are unverified: of these types, code alone is in the recordings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from mockdify.graph.nodes.base import NodeFailure, Paused, Result
from mockdify.graph.variables import MISSING, zero_of
from mockdify.model import zero_usage

if TYPE_CHECKING:
    from mockdify.graph.nodes.base import Work

__all__ = [
    "code",
    "document_extractor",
    "http_request",
    "human_input",
    "knowledge_retrieval",
    "parameter_extractor",
    "question_classifier",
    "tool",
]

Json: TypeAlias = Any


def _value(work: Work, selector: Json) -> Json:
    value = work.pool.get(selector or ())
    return None if value is MISSING else value


def code(work: Work) -> Result:
    """The declared outputs, empty."""
    declared = work.data.get("outputs")
    outputs = declared.items() if isinstance(declared, Mapping) else ()
    return Result(
        inputs=work.pool.fill(work.data.get("variables")),
        outputs={str(name): zero_of(_declared_type(output)) for name, output in outputs},
    )


def _declared_type(output: Json) -> str:
    return str(output.get("type") or "string") if isinstance(output, Mapping) else "string"


def http_request(work: Work) -> Result:
    """Any request is answered 200, with nothing."""
    method, url = str(work.data.get("method") or "get").upper(), work.pool.text(str(work.data.get("url") or ""))
    return Result(
        process_data={"request": f"{method} {url}"},  # unverified: Dify shows the raw request
        outputs={"status_code": 200, "body": "", "headers": {}, "files": []},
    )


def tool(work: Work) -> Result:
    """A tool that says nothing."""
    return Result(
        inputs=_parameters(work, work.data.get("tool_parameters")), outputs={"text": "", "files": [], "json": []}
    )


def _parameters(work: Work, parameters: Json) -> dict[str, Json]:
    if not isinstance(parameters, Mapping):
        return {}
    return {name: _parameter(work, item) for name, item in parameters.items()}


def _parameter(work: Work, item: Json) -> Json:
    if not isinstance(item, Mapping):
        return item
    value = item.get("value")
    if item.get("type") == "variable":
        return _value(work, value)
    return work.pool.text(value) if isinstance(value, str) else value


def knowledge_retrieval(work: Work) -> Result:
    """One passage that names its question; scripted `result` entries are cited if they say where they are from.

    Templates behind a retrieval reach into its first result, so an empty one would fail runs that are right.
    """
    inputs = {"query": _value(work, work.data.get("query_variable_selector"))}
    passage = {
        "content": f"A passage about: {inputs['query'] or 'anything'}",
        "title": "passage",
        "files": [],
        "metadata": {},
    }
    found = work.scripted(inputs).get("result", [passage])
    cited = [item["metadata"] for item in found if isinstance(item, Mapping) and item.get("metadata")]
    return Result(inputs=inputs, outputs={"result": found}, resources=cited)


def question_classifier(work: Work) -> Result:
    """The first class, or the one that is scripted by name or id."""
    inputs = {"query": _value(work, work.data.get("query_variable_selector")), **work.model}
    classes = [item for item in work.data.get("classes") or () if isinstance(item, Mapping)]
    if not classes:
        raise NodeFailure("No classes", "QuestionClassifierNodeError", inputs)
    wanted = work.scripted(inputs)
    chosen = next((item for item in classes if _is_wanted(item, wanted)), classes[0])
    usage = zero_usage()
    name, key = work.pool.text(str(chosen.get("name") or "")), str(chosen.get("id"))
    return Result(
        inputs=inputs,
        outputs={"class_name": name, "class_id": key, "usage": usage},
        usage=usage,
        handle=key,
    )


def _is_wanted(item: Mapping[str, Json], wanted: Mapping[str, Json]) -> bool:
    return wanted.get("class_id") == item.get("id") or (
        "class_name" in wanted and wanted["class_name"] == item.get("name")
    )


def parameter_extractor(work: Work) -> Result:
    """Every parameter, empty."""
    selector = work.data.get("query")
    declared = [item for item in work.data.get("parameters") or () if isinstance(item, Mapping)]
    inputs = {
        "query": _value(work, selector),
        "files": [],
        "parameters": declared,
        "instruction": work.pool.text(str(work.data.get("instruction") or "")),
        **work.model,
    }
    values = {str(item.get("name")): zero_of(str(item.get("type") or "string")) for item in declared}
    usage = zero_usage()
    outputs = {"__is_success": 1, "__reason": None, "__usage": usage, **values}
    return Result(inputs=inputs, outputs=outputs, usage=usage)


def document_extractor(work: Work) -> Result:
    """Documents without a word."""
    value = _value(work, work.data.get("variable_selector"))
    many = isinstance(value, list) or bool(work.data.get("is_array_file"))
    texts = [""] * len(value) if isinstance(value, list) else []
    return Result(
        inputs={"variable_selector": work.data.get("variable_selector")}, outputs={"text": texts if many else ""}
    )


def human_input(work: Work) -> Result:
    """A run pauses here, unless a script answers for the human (`__action_id` picks the button).

    The form, its tokens and the second half of the run belong here when pauses are served.
    """
    answered = work.scripted({})
    if not answered:
        raise Paused
    actions = [item for item in work.data.get("user_actions") or () if isinstance(item, Mapping)]
    action = str(answered.get("__action_id") or (actions[0].get("id") if actions else "source"))
    return Result(outputs={"__action_id": action}, handle=action)
