"""Refused for what was sent: bodies, fields, inputs, modes."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson

from mockdify.explain.case import Case, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mockdify.apps import Variable

__all__ = [
    "agent_blocking",
    "field_refused",
    "input_refused",
    "json_broken",
    "media_refused",
    "mode_refused",
    "query_missing",
    "too_large",
    "unhandled",
    "user_missing",
]

_AROUND = 24


# ---------------------------------------------------------------------- JSON
def json_broken(case: Case) -> Finding:
    """400: the body is not JSON."""
    body = case.request.body
    rule = "the body is JSON, in UTF-8"
    if not body:
        return Finding(rule=rule, evidence=("the body is empty",), fix=("send a JSON object",))
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        said = f"the body is not UTF-8: byte {body[error.start]:#04x} at offset {error.start}"
        return Finding(rule=rule, evidence=(said,), fix=("encode the text as UTF-8",))
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1] if text.splitlines() else ""
        start = max(0, error.colno - 1 - _AROUND)
        shown = case.mask.text(line[start : error.colno - 1 + _AROUND])
        evidence = (
            f"JSON breaks at line {error.lineno} column {error.colno}: {error.msg}",
            f"there it says {shown!r}",
            *_habit(text),
        )
        return Finding(rule=rule, evidence=evidence, fix=("let a JSON library write the body",))
    except RecursionError:
        return Finding(rule=rule, evidence=("the body is nested too deeply",), fix=("send a flatter object",))
    # Python's reader is lenient where Dify's is not.
    try:
        orjson.loads(body)
        said = "the body is JSON, but was cut when it was kept"
    except ValueError as error:
        said = f"Dify's reader refuses it: {error} (NaN, Infinity and half surrogate pairs are no JSON)"
    return Finding(rule=rule, evidence=(said,), fix=("let a JSON library write the body, strictly",))


def _habit(text: str) -> tuple[str, ...]:
    """Whose habit the mistake looks like."""
    if re.match(r"\s*[\w.%-]+=", text):
        return ("it looks like a form (name=value&…), not like JSON",)
    if re.match(r"\s*\{\s*'", text):
        return ("it has single quotes, as Python prints a dict; JSON wants double ones",)
    if re.search(r",\s*[}\]]", text):
        return ("there is a comma before a closing bracket, which JSON does not allow",)
    return (
        ("there is a word such as None or True that is Python's",)
        if re.search(r":\s*(None|True|False)\b", text)
        else ()
    )


def media_refused(case: Case) -> Finding:
    """415: the Content-Type is not JSON's."""
    given = case.request.header("content-type")
    said = f"the Content-Type is {given!r}" if given else "there is no Content-Type"
    looks = ("the body itself is JSON",) if case.asked else ()
    return Finding(
        rule="a JSON body comes with Content-Type: application/json",
        evidence=(said, *looks),
        fix=("send `Content-Type: application/json` (with most libraries: json=…, not data=…)",),
    )


def too_large(case: Case) -> Finding:
    """413: an upload beyond the limit of its kind."""
    return Finding(
        rule="uploads are limited by kind: image 10 MB, document 15 MB, audio 50 MB, video 100 MB, anything else 15 MB",
        evidence=(f"the request has {case.exchange.received_bytes:,} bytes",),
        fix=("send a smaller file; GET /v1/parameters tells the limits",),
    )


# ---------------------------------------------------------------------- fields
def user_missing(case: Case) -> Finding:
    """400: no `user`."""
    near = get_close_matches("user", _strangers(case.asked), n=1, cutoff=0.4)
    elsewhere = (
        ("the query has a `user`, but this endpoint reads it from the body",) if "user" in case.request.query else ()
    )
    where = "in the query" if case.request.method == "GET" else "in the JSON body"
    empty = ("`user` is empty",) if case.asked.get("user", None) in ("", None) and "user" in case.asked else ()
    return Finding(
        rule=f"this endpoint wants the end user {where}, as `user`",
        evidence=(*(empty or ("there is no `user`",)), *elsewhere),
        nearest=tuple(f"the body has {name!r}" for name in near if name != "user"),
        fix=("send a `user` that stands for one end user of yours; conversations belong to it",),
    )


_FIELDS = {"user", "query", "inputs", "response_mode", "conversation_id", "files", "limit", "last_id", "name", "text"}
"""Keys that are meant as they are written."""


def _strangers(keys: Iterable[object]) -> list[str]:
    """The keys that may be a slip for another."""
    return [str(key) for key in keys if key not in _FIELDS]


_HEADING = re.compile(r"(\d+) validation errors? for (\w+)")
_LINE = re.compile(r"^  (.*) \[type=(\w+), input_value=(.*), input_type=(\w+)\]$")


def field_refused(case: Case) -> Finding:
    """400 of a schema: the fields that are wrong, one by one."""
    lines = case.message.splitlines()
    evidence, nearest = [], []
    for name, line in pairwise(lines):
        found = _LINE.match(line)
        if found is None:
            continue
        said, kind, value, given = found.groups()
        field = name if not name.startswith((" ", *"0123456789")) else "the body as a whole"
        if kind == "missing":
            evidence.append(f"`{field}` is missing")
            source = case.request.query if case.request.method == "GET" else case.asked
            near = get_close_matches(field, _strangers(source), n=1, cutoff=0.5)
            nearest += [f"there is {one!r}" for one in near]
        else:
            evidence.append(f"`{field}` is {case.mask.text(value)} ({given}): {said[:1].lower()}{said[1:]}")
    heading = _HEADING.search(case.message)
    schema = heading[2] if heading else "this endpoint's model"
    return Finding(
        rule=f"the fields must be what {schema} says",
        evidence=tuple(evidence) or (case.message,),
        nearest=tuple(nearest),
        fix=("correct the fields named above",),
    )


def query_missing(case: Case) -> Finding:
    """400: an empty query."""
    return Finding(
        rule="a chat message has a query that is not empty",
        evidence=(f"`query` is {case.asked.get('query')!r}",),
        fix=("send the question as `query`",),
    )


# ---------------------------------------------------------------------- inputs
_INPUT = re.compile(r"(?:\(type '[\w-]+'\) )?(.+?) (?:is required in input form|in input form)")


def input_refused(case: Case) -> Finding:
    """400 of the app's form: what the form says of the input, and what was sent."""
    found = _INPUT.match(case.message)
    name = found[1] if found else "?"
    inputs = case.asked.get("inputs")
    given: dict[str, Any] = inputs if isinstance(inputs, dict) else {}
    form = {variable.name: variable for variable in case.app.app.form} if case.app is not None else {}
    variable = form.get(name)
    evidence = [f"the form of app {case.exchange.app!r} says: {_described(variable)}"] if variable is not None else []
    if name in given:
        evidence.append(f"`inputs.{name}` is {_short(case, given[name])} ({type(given[name]).__name__})")
    else:
        evidence.append(f"`inputs` has {', '.join(map(repr, given)) or 'nothing'}")
        if name in case.asked:
            evidence.append(f"{name!r} stands in the body beside `inputs`, not in it")
    near = get_close_matches(name, [str(key) for key in given], n=1, cutoff=0.5) if name not in given else []
    return Finding(
        rule=f"input `{name}` is {'required by' if 'required' in case.message else 'checked against'} the app's form",
        evidence=tuple(evidence),
        nearest=tuple(f"`inputs` has {one!r}" for one in near),
        fix=(f"send inputs.{name} as the form wants it; GET /v1/parameters shows the form",),
    )


def _described(variable: Variable) -> str:
    words = [f"`{variable.name}`", variable.type, "required" if variable.required else "optional"]
    if variable.max_length:
        words.append(f"at most {variable.max_length}")
    if variable.options:
        words.append(f"one of {list(variable.options)}")
    return ", ".join(words)


def _short(case: Case, value: Any) -> str:
    written = case.mask.text(repr(value))
    return written if len(written) <= 80 else written[:77] + "…"


# ---------------------------------------------------------------------- modes
_GOES = {
    "completion": "POST /v1/completion-messages",
    "chat": "POST /v1/chat-messages",
    "agent-chat": "POST /v1/chat-messages, streaming only",
    "advanced-chat": "POST /v1/chat-messages",
    "workflow": "POST /v1/workflows/run",
}


def mode_refused(case: Case) -> Finding:
    """400: the endpoint is for apps of another mode, or the app was never published."""
    app = case.app
    mode = app.mode if app is not None else "?"
    row = next(iter(case.match.by_method.values()), None) if case.match is not None else None
    modes = row.modes if row is not None else ()
    if app is not None and not app.published:
        return Finding(
            rule="a chatflow or workflow is served once it is published",
            evidence=(f"app {app.name!r} is not published",),
            fix=(f"set `published = true` for {app.name!r} in mockdify.toml, or leave it out",),
        )
    fitting = [one.name for one in case.workspace.apps.values() if one.mode in modes]
    return Finding(
        rule=f"{case.match.rule if case.match else 'this path'} is for apps of mode {' or '.join(modes) or '?'}",
        evidence=(f"the key opens app {case.exchange.app!r}, whose mode is {mode}",),
        nearest=tuple(f"app {name!r} has such a mode" for name in fitting),
        fix=(
            f"a {mode} app is asked by {_GOES.get(mode, 'its own endpoint')}",
            "or use the key of an app of the right mode",
        ),
    )


def agent_blocking(case: Case) -> Finding:
    """400: an agent asked in blocking mode."""
    mode = case.asked.get("response_mode")
    return Finding(
        rule="agent apps answer in streaming mode only",
        evidence=(f"`response_mode` is {mode!r}" + (", and left out it means blocking" if mode is None else ""),),
        fix=('send "response_mode": "streaming" and read the events',),
    )


def unhandled(case: Case) -> Finding:
    """500: what Dify itself does not handle."""
    evidence = []
    if case.request.body and not case.asked and case.request.body.strip() != b"{}":
        evidence.append("the body is JSON, but no object")
    if len(case.user) > 255:
        evidence.append(f"`user` has {len(case.user)} characters; Dify's database takes 255")
    if isinstance(case.asked.get("name"), str) and len(case.asked["name"]) > 255:
        evidence.append(f"`name` has {len(case.asked['name'])} characters; Dify's database takes 255")
    if "variable_name" in case.request.query:
        evidence.append("Dify on PostgreSQL fails on the filter `variable_name`")
    evidence += [
        f"`{name}` is a {type(value).__name__}"
        for name, value in case.asked.items()
        if name.endswith("_id") and not isinstance(value, str | None)
    ]
    return Finding(
        rule="some requests end in an exception that Dify does not handle; the mock does the same",
        evidence=tuple(evidence) or (f"Dify answers {case.exchange.status} {case.code!r} here",),
        fix=("avoid what is named above; a client should treat it as a server error",),
    )
