"""A recording as a script: the mock answers *like* what was recorded, and stays stateful.

Only what a model said is taken over: its chunks, its usage, an agent's rounds, its failures. Conversations, ids, times
and everything else are the mock's own. What an app refused, and what other nodes of a graph than models did, is not in
a script.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mockdify.cassettes.files import load
from mockdify.cassettes.match import is_id
from mockdify.cassettes.verify import events_of
from mockdify.model import FAILURES, cut

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mockdify.cassettes.interaction import Interaction

__all__ = ["answers_of", "as_toml"]

_CHAT, _COMPLETION, _WORKFLOW = "/chat-messages", "/completion-messages", "/workflows/run"
_USAGE = ("prompt_tokens", "completion_tokens", "prompt_unit_price", "completion_unit_price", "currency")
_BY_CODE = {
    "provider_quota_exceeded": "quota",
    "provider_not_initialize": "not-initialized",
    "model_currently_not_support": "model-unsupported",
    "rate_limit_error": "rate-limit",
}
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_OF_MODEL = frozenset({*_BY_CODE, "completion_request_error"})


def answers_of(interactions: Iterable[Interaction]) -> list[dict[str, Any]]:
    """The `[[answers]]` that say what the models of *interactions* said, in their order.

    What was asked several times is answered in that order, the last answer for ever.
    """
    found = [rule for one in interactions for rule in _rules(one)]
    found.sort(key=lambda rule: "node" not in rule["when"])  # the particular before the general
    last = {_key(rule): n for n, rule in enumerate(found)}
    kept: list[dict[str, Any]] = []
    for n, rule in enumerate(found):
        is_last = last[_key(rule)] == n
        if is_last:
            while kept and _key(kept[-1]) == _key(rule) and _without_times(kept[-1]) == rule:
                kept.pop()  # the same again and again is one answer
        kept.append(rule if is_last else {**rule, "times": 1})
    return kept


def as_toml(paths: Iterable[str | os.PathLike[str]]) -> str:
    """The answers of the cassettes at *paths* for a mockdify.toml."""
    paths = list(paths)
    lines = [f"# What models said in {', '.join(map(str, paths))}: `mockdify serve --config` this file.", ""]
    for rule in answers_of(each for path in paths for each in load(path)):
        lines.append("[[answers]]")
        lines += (f"{name} = {_toml(value)}" for name, value in rule.items())
        lines.append("")
    return "\n".join(lines)


def _key(rule: Mapping[str, Any]) -> str:
    return json.dumps(rule["when"], sort_keys=True)


def _without_times(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in rule.items() if name != "times"}


# ---------------------------------------------------------------------- one run
def _rules(one: Interaction) -> Iterator[dict[str, Any]]:
    path = urlsplit(one.uri).path
    kind = next((each for each in (_CHAT, _COMPLETION, _WORKFLOW) if path.endswith(each)), None)
    asked = _json(one.request_body or b"")
    if one.method != "POST" or kind is None or not isinstance(asked, dict) or one.cut:
        return
    when = _when(kind, asked)
    said = _events(one) if one.is_stream else _json(one.body)
    if isinstance(said, list):
        nodes = list(_model_nodes(said))
        if nodes or any(event.get("event") == "workflow_started" for event in said):
            yield from nodes
        elif when:
            yield from _streamed(when, said)
    elif isinstance(said, dict) and isinstance(said.get("data"), dict):
        yield from _blocking_graph(_when(_COMPLETION, asked), said["data"])
    elif isinstance(said, dict) and when:
        yield from _blocking(when, said, one.status)


def _when(kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What tells this question from others, as far as a rule of the mock can see it."""
    if kind == _CHAT and isinstance(asked.get("query"), str):
        return {"query": asked["query"].replace("\0", "")}  # which Dify takes out
    inputs = asked.get("inputs")
    plain = {k: v for k, v in inputs.items() if isinstance(v, str | int | float)} if isinstance(inputs, dict) else {}
    return {"inputs": plain} if plain and kind == _COMPLETION else {}


def _streamed(when: Mapping[str, Any], events: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What the model of an app without a graph said."""
    chunks = [str(e.get("answer") or "") for e in events if e.get("event") in ("message", "agent_message")]
    failed = next((event for event in events if event.get("event") == "error"), None)
    if failed is not None:
        if (failure := _failure(failed)) is not None:
            yield {"when": when, **failure, **({"chunks": chunks, "after": len(chunks)} if chunks else {})}
        return
    end = next((event for event in events if event.get("event") == "message_end"), None)
    if end is None or not _said_by_model(end) or not chunks:
        return
    rounds = _rounds(events)
    words: dict[str, Any] = {"rounds": rounds} if rounds else {"chunks": chunks}
    yield {"when": when, **words, **_from_metadata(end.get("metadata") or {})}


def _blocking(when: Mapping[str, Any], said: Mapping[str, Any], status: int) -> Iterator[dict[str, Any]]:
    if status >= 400:
        if (failure := _failure(said)) is not None:
            yield {"when": when, **failure}
    elif isinstance(said.get("answer"), str) and said["answer"] and _said_by_model(said):
        yield {"when": when, "chunks": list(cut(said["answer"])), **_from_metadata(said.get("metadata") or {})}


def _blocking_graph(when: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the model of a workflow said, as far as a reply without its nodes tells: its failure, or its one new text.

    The condition is what went into the run, since what the model was asked is not told.
    """
    error = str(run.get("error") or "")
    if not when:
        return
    if run.get("status") == "failed":
        if (kind := _kind(error)) != "other":
            yield {"when": when, "fails": kind, "message": error}
    elif run.get("total_tokens"):
        outputs = run.get("outputs") or {}
        texts = {each for each in outputs.values() if isinstance(each, str) and each} - set(when["inputs"].values())
        if len(texts) == 1:
            yield {"when": when, "chunks": list(cut(texts.pop()))}


def _said_by_model(end: Mapping[str, Any]) -> bool:
    """Whether a model was asked at all: annotations and moderation answer without one."""
    usage = (end.get("metadata") or {}).get("usage") or {}
    return bool(usage.get("completion_tokens") or usage.get("prompt_tokens"))


def _failure(error: Mapping[str, Any]) -> dict[str, Any] | None:
    """How the model failed that led to *error*; None when it was not the model."""
    message, code = str(error.get("message") or ""), str(error.get("code"))
    if code == "invalid_param":  # a failure that Dify has no name for travels as JSON
        inner = _json(message[message.find("{") :].encode()) if '"error_type"' in message else None
        return {"fails": "other", "message": str(inner.get("message"))} if isinstance(inner, dict) else None
    if code not in _OF_MODEL:
        return None
    fails = _BY_CODE.get(code) or _kind(message)
    return {"fails": fails, "message": message} if fails in ("other", *_TOLD) else {"fails": fails}


_WRONG_KEY = "Incorrect API key provided"
"""What an app without a graph says of it, whatever the model said."""
_TOLD = ("rate-limit", "authorization", "bad-request", "connection", "server-unavailable")
"""Failures that come with the model's own words."""


def _kind(message: str) -> str:
    if message == _WRONG_KEY:
        return "authorization"
    return next((kind for kind in _TOLD if FAILURES[kind].strip()[:20] in message), "other")  # type: ignore[index]


def _from_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    usage = _usage(metadata.get("usage") or {})
    if usage:
        found["usage"] = usage
    resources = [
        {
            name: value
            for name, value in each.items()
            if value is not None and not (name.endswith("_id") and is_id(str(value)))
        }
        for each in metadata.get("retriever_resources") or ()
    ]
    if resources:
        found["retriever_resources"] = resources
    return found


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: usage[name] for name in _USAGE if usage.get(name) is not None}
    unit = usage.get("prompt_price_unit")
    return kept | ({"price_unit": unit} if unit else {})


# ---------------------------------------------------------------------- agents
def _rounds(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rounds of an agent: those with a tool as they ended, and what was said after the last of them."""
    ended: dict[str, dict[str, Any]] = {}
    chunks: list[str] = []
    for event in events:
        if event.get("event") == "agent_thought" and event.get("tool"):
            ended[str(event.get("id"))] = _round(event)
            chunks = []
        elif event.get("event") == "agent_message":
            chunks.append(str(event.get("answer") or ""))
    return [*ended.values(), {"chunks": chunks}] if ended else []


def _round(event: Mapping[str, Any]) -> dict[str, Any]:
    given = _json(str(event.get("tool_input") or "").encode())
    round_ = {
        "thought": event.get("thought") or "",
        "tool": event["tool"],
        "observation": event.get("observation") or "",
    }
    return round_ | ({"tool_input": given} if isinstance(given, dict) and given else {})


# ---------------------------------------------------------------------- graphs
def _model_nodes(events: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One rule for each model node of a run: what it was asked, what it said."""
    chunks: defaultdict[str, list[str]] = defaultdict(list)
    for event in events:
        data = event.get("data") or {}
        if event.get("event") in ("message", "text_chunk"):
            selector = event.get("from_variable_selector") or data.get("from_variable_selector") or [""]
            chunks[selector[0]].append(str(event.get("answer") or data.get("text") or ""))
        elif event.get("event") == "node_finished" and data.get("node_type") == "llm":
            query = _last_question(data)
            if query is not None:
                when = {"node": data["node_id"], "query": query}
                yield {"when": when, **_node_said(data, chunks.pop(data["node_id"], []))}


def _last_question(data: Mapping[str, Any]) -> str | None:
    prompts = (data.get("process_data") or {}).get("prompts") or ()
    return next((str(each.get("text")) for each in reversed(prompts) if each.get("role") == "user"), None)


def _node_said(data: Mapping[str, Any], chunks: list[str]) -> dict[str, Any]:
    if data.get("status") == "failed":
        message = str(data.get("error") or "")
        heard = [each for each in chunks if each]
        after = {"chunks": heard, "after": len(heard)} if heard else {}
        return {"fails": _kind(message), "message": message, **after}
    text = str((data.get("outputs") or {}).get("text") or "")
    if "".join(chunks) != text:
        chunks = list(cut(text))
    elif len(chunks) > 1 and chunks[-2:] == ["", ""]:
        chunks = chunks[:-1]  # the graph adds an empty one behind the model's
    usage = _usage((data.get("process_data") or {}).get("usage") or {})
    return {"chunks": chunks, **({"usage": usage} if usage else {})}


# ---------------------------------------------------------------------- JSON and TOML
def _events(one: Interaction) -> list[dict[str, Any]]:
    return [event for event in events_of(one.body) if isinstance(event, dict)]


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _toml_key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml(name)


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case dict():
            pairs = ", ".join(f"{_toml_key(str(name))} = {_toml(each)}" for name, each in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case int() | float():
            return str(value)
    # A JSON text is a TOML one, but for a character that JSON leaves as it is, and for halves of a pair.
    text = str(value).encode("utf-8", "replace").decode()
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
