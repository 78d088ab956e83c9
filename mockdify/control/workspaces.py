"""Workspaces over HTTP: made, listed, deleted and reset, by whoever has no Python at hand."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mockdify import __version__, shapes
from mockdify.control.table import Answer, ControlError, Param, missing
from mockdify.errors import MockdifyError
from mockdify.masking import mask_key
from mockdify.profiles import profile_named
from mockdify.settings import SETTINGS

if TYPE_CHECKING:
    from mockdify.control.table import Call
    from mockdify.workspace import Template, Workspace

__all__ = ["CREATE", "CREATED", "HEALTH", "LIST", "ONE", "create", "delete", "health", "list_all", "reset", "show"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_DURATION = {"type": ["string", "number"], "examples": ["10s"]}


def _id(given: Any) -> str:
    if isinstance(given, str) and _ID.fullmatch(given):
        return given
    msg = f"an id of up to 64 letters, digits, '_', '.' and '-' is needed, got {shapes.shown(given)}"
    raise MockdifyError(msg)


CREATE = {
    "id": Param(
        shape=shapes.by_parser(_id, ""),
        schema={"type": "string", "pattern": f"^{_ID.pattern}$"},
        words="What it is called and what its keys end in: the same id, the same keys. Left out, the server counts.",
    ),
    "seed": Param(
        shape=shapes.whole(), schema={"type": "integer"}, words="Seed of its ids, texts and chances; else the server's."
    ),
    "profile": Param(
        shape=shapes.by_parser(profile_named),
        schema={"type": "string"},
        words="The Dify release it behaves as; else the server's.",
    ),
    "apps": Param(
        shape=shapes.list_of(shapes.text, what="a list of app names"),
        schema={"type": "array", "items": {"type": "string"}},
        words="The names of the apps it has; else all of the server's.",
    ),
    "pace": Param(shape=shapes.pace, schema={"type": ["string", "number"]}, words="As `--pace`."),
    "ping_interval": Param(shape=shapes.duration_above_zero, schema=_DURATION, words="As `--ping-interval`."),
    "clock": Param(shape=SETTINGS["clock"].shape, schema={"type": "string"}, words="As `--clock`."),
}
CREATED = {
    "type": "object",
    "required": ["id", "url", "keys"],
    "properties": {
        "id": {"type": "string"},
        "url": {"type": "string", "description": "The base URL for clients; it ends in `/v1` and goes with the keys."},
        "keys": {**_TEXTS, "description": "The key of each app, in full: this answer is the only one that has them."},
    },
}
ONE = {
    "type": "object",
    "required": ["id", "url", "apps", "seed", "profile", "exchanges", "faults"],
    "properties": {
        "id": {"type": "string"},
        "url": {"type": "string"},
        "seed": {"type": "integer"},
        "profile": {"type": "string"},
        "apps": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "mode", "key"],
                "properties": {
                    "name": {"type": "string"},
                    "mode": {"type": "string"},
                    "key": {"type": ["string", "null"], "description": "Masked."},
                },
            },
        },
        "exchanges": {"type": "integer", "description": "How many the journal keeps."},
        "faults": {"type": "integer", "description": "How many fault rules there are."},
    },
}
LIST = {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": ONE}}}
HEALTH = {
    "type": "object",
    "required": ["status", "version", "profile"],
    "properties": {
        "status": {"const": "ok"},
        "version": {"type": "string"},
        "profile": {"type": "string"},
        "workspaces": {"type": "integer"},
    },
}


def health(call: Call) -> Answer:
    """That the server is up."""
    engine = call.engine
    return Answer(
        value={
            "status": "ok",
            "version": __version__,
            "profile": engine.default.profile.name,
            "workspaces": len(engine.workspaces),
        }
    )


def list_all(call: Call) -> Answer:
    """Every workspace, the default one first."""
    return Answer(value={"items": [_shown(call, workspace) for workspace in call.engine.workspaces.values()]})


def show(call: Call) -> Answer:
    """One workspace."""
    return Answer(value=_shown(call, call.workspace))


def _shown(call: Call, workspace: Workspace) -> dict[str, Any]:
    return {
        "id": workspace.id,
        "url": f"{call.base}/v1",
        "seed": workspace.template.seed,
        "profile": workspace.profile.name,
        "apps": [
            {"name": app.name, "mode": app.mode, "key": mask_key(app.key) if app.keys else None}
            for app in workspace.apps.values()
        ],
        "exchanges": len(workspace.journal),
        "faults": len(workspace.faults.rules),
    }


def create(call: Call) -> Answer:
    """A new workspace with keys of its own."""
    engine, said = call.engine, dict(call.body)
    name = said.pop("id", None)
    template = _template(engine.default.template, said)
    try:
        workspace = engine.further(template, name=name, numbers=call.numbers)
    except MockdifyError as taken:
        raise ControlError(409, "conflict", str(taken)) from None
    return Answer(status=201, value={"id": workspace.id, "url": f"{call.base}/v1", "keys": workspace.keys})


def _template(template: Template, said: dict[str, Any]) -> Template:
    changed: dict[str, Any] = {name: said[name] for name in ("seed", "profile", "ping_interval") if name in said}
    if "pace" in said:
        changed["pace"] = said["pace"].seconds
    if "clock" in said:
        changed["clock_start"], changed["clock_frozen"] = said["clock"].at, said["clock"].frozen
    if "apps" in said:
        known = {app.name: app for app in template.apps}
        for name in said["apps"]:
            if name not in known:
                raise missing("app", name, known)
        changed["apps"] = tuple(known[name] for name in dict.fromkeys(said["apps"]))
    return replace(template, **changed)


def delete(call: Call) -> Answer:
    """Close a workspace: its keys open nothing any more, its open streams are cut off."""
    if call.workspace is call.engine.default:
        raise ControlError(409, "conflict", "the default workspace stays; POST /_mockdify/reset makes it new")
    call.engine.forget(call.workspace)
    return Answer(value={"id": call.workspace.id, "deleted": True})


def reset(call: Call) -> Answer:
    """The workspace as it was at the start: nothing said, nothing kept, no fault injected; open streams are cut off."""
    fresh = call.engine.reset(call.workspace)
    return Answer(value={"id": fresh.id, "url": f"{call.base}/v1", "reset": True})
