"""Every recorded run of a graph, walked again: same events, keys and chunks in the same order."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from typing import Any

import pytest
import yaml
from graph_walking import HELLO, SHARED, Doubles, go

from mockdify.events import Envelope
from mockdify.graph import Chunk, Dialect, NodeScript, parse_graph
from mockdify.model import ModelFailure
from mockdify.steps import Wait

DIFY = SHARED / "dify"
pytestmark = pytest.mark.skipif(not DIFY.exists(), reason="the recordings are not beside this checkout")

RELEASES = {
    "1.16": ("recordings-1.16.1.jsonl", "apps-1.16", "oracle-1.16.toml", Dialect()),
    "1.13": ("recordings-1.13.2.jsonl", "apps-1.13", "oracle-1.13.toml", Dialect.before_1_15()),
}
ERRORS = {
    "InvokeConnectionError": ModelFailure("connection", "[mock] Connection Error, Connection error."),
    "InvokeAuthorizationError": ModelFailure("authorization", "[mock] Incorrect model credentials provided. "),
    "InvokeRateLimitError": ModelFailure(
        "rate-limit",
        "[mock] Rate Limit Error, Error code: 429 - {'error': {'message': 'Rate limit reached for mock-llm', "
        "'type': 'requests', 'code': 'rate_limit_exceeded'}}",
    ),
}
SILENT = {"ping", "workflow_started", "workflow_finished", "message_end", "human_input_required", "workflow_paused"}
VOLATILE = {"created_at", "finished_at", "elapsed_time", "usage", "iteration_duration_map", "loop_duration_map"}


@cache
def recorded(release: str) -> dict[str, Any]:
    if not DIFY.exists():
        return {}
    lines = (DIFY / RELEASES[release][0]).read_text(encoding="utf-8").split("\n")
    return {row["name"]: row for row in map(json.loads, filter(None, lines))}


def events_of(row: Any) -> list[dict[str, Any]]:
    blocks = row["response"].get("sse", "").split("\n\n")
    return [json.loads(block[6:]) for block in blocks if block.startswith("data: ")]


def walkable(release: str) -> list[Any]:
    found = []
    for name, row in recorded(release).items():
        events = events_of(row)
        posted = row["request"]["method"] == "POST"
        if posted and events and any(event["event"] == "node_started" for event in events):
            found.append(pytest.param(release, name, id=f"{release}-{name}"))
    return found


def scripts_of(release: str, app: str) -> dict[str, NodeScript]:
    config = tomllib.loads((DIFY / RELEASES[release][2]).read_text(encoding="utf-8"))
    for entry in config["apps"]:
        if entry["dsl"].endswith(f"/{app}.yml"):
            return {item["node"]: script_of(item) for item in entry.get("nodes", [])}
    return {}


def script_of(item: dict[str, Any]) -> NodeScript:
    takes = item.get("takes")
    return NodeScript(
        outputs=item.get("outputs", {}),
        fails=item.get("fails"),
        takes=float(takes.rstrip("s")) if takes else 0.0,
    )


def doubles_for(asked: str, scripts: dict[str, NodeScript]) -> Doubles:
    for name, failure in ERRORS.items():
        if f"[[err:{name}]]" in asked:
            return Doubles(fails=failure, scripts=scripts)
        if f"[[err_after:{name}]]" in asked:
            return Doubles(fails=failure, after=2, scripts=scripts)
    if "[[drop]]" in asked:
        return Doubles(fails=ModelFailure("dropped", ""), scripts=scripts)
    if "[[think]]" in asked:
        said = ("<think>", "reason", "ing", "</think>", "\n", "The", " answer")
        return Doubles(chunks=said, prompt_tokens=6, scripts=scripts)
    if "[[slow" in asked:
        return Doubles(chunks=[f"w{n} " for n in range(40)], pace=0.1, scripts=scripts)
    return Doubles(chunks=HELLO, scripts=scripts)


def normal(value: Any) -> Any:
    """Key order kept, times and ids made comparable."""
    if isinstance(value, dict):
        return [(key, "~" if key in VOLATILE else normal(item)) for key, item in value.items()]
    return [normal(item) for item in value] if isinstance(value, list) else value


def shown(event: dict[str, Any]) -> Any:
    if event["event"] in ("message", "text_chunk"):
        data = event.get("data") or event
        return ("chunk", data.get("text", data.get("answer")), data["from_variable_selector"])
    data = dict(event["data"])
    if event["event"].startswith("node_"):
        data["id"] = "~"
    if event["event"] == "reasoning_chunk":
        data["message_id"] = "~"
    return (event["event"], normal(data))


def ours(step: Any) -> Any:
    if isinstance(step, Chunk):
        return ("chunk", step.text, list(step.selector))
    return shown(json.loads(json.dumps(step.payload(Envelope()))))


@pytest.mark.parametrize(("release", "name"), walkable("1.16") + walkable("1.13"))
def test_a_recorded_run_is_walked_event_for_event(release, name):
    row = recorded(release)[name]
    _, apps, _, dialect = RELEASES[release]
    app = yaml.safe_load((DIFY / apps / f"{row['app']}.yml").read_text(encoding="utf-8"))
    body, events = json.loads(row["request"]["body"]), events_of(row)
    started = next(event for event in events if event["event"] == "workflow_started")
    start = next(event for event in events if event["event"] == "node_finished")
    system = {k: v for k, v in started["data"]["inputs"].items() if k.startswith("sys.")}
    system |= {k: v for k, v in start["data"]["inputs"].items() if k.startswith("sys.")}
    if dialect.start_shows_system:
        system = {k: v for k, v in start["data"]["inputs"].items() if k.startswith("sys.")}
    expected = [shown(event) for event in events if event["event"] not in SILENT]
    ending = next((e["data"] for e in events if e["event"] in ("workflow_finished", "workflow_paused")), None)
    is_stopped = ending is None or ending["status"] == "stopped"
    walked = go(
        parse_graph(app["workflow"], source=row["app"]),
        mode=app["app"]["mode"],
        doubles=doubles_for(row["request"]["body"], scripts_of(release, row["app"])),
        inputs=body["inputs"],
        system=system,
        dialect=dialect,
        stop_at=len(expected) if is_stopped else None,
    )
    got = [ours(step) for step in walked.steps if not isinstance(step, Wait)]
    assert got == expected
    if ending is not None:
        outcome = walked.outcome
        assert outcome.status == ending["status"]
        assert (outcome.error, outcome.total_steps) == (ending.get("error"), ending["total_steps"])
        assert (outcome.outputs, outcome.total_tokens) == (ending["outputs"], ending["total_tokens"])
        assert outcome.exceptions_count == ending.get("exceptions_count", 0)
