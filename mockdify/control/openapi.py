"""The control API's own OpenAPI document, made of the table of its routes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mockdify import __version__
from mockdify.control.table import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mockdify.control.table import Call, Param, Route

__all__ = ["document", "show"]

_PREFIX = "/_mockdify"
_ERROR = {
    "type": "object",
    "required": ["code", "message", "status"],
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string", "description": "What was met, what is allowed, the nearest thing, what to do."},
        "status": {"type": "integer"},
    },
}
_SLOTS = {
    "workspace": "A workspace's id.",
    "exchange": "An exchange's id, or `last`.",
    "fault": "A fault rule's id.",
    "app": "An app's name: its file's stem.",
    "key": "A key's id, token or name.",
}


def show(call: Call, routes: Iterable[Route]) -> Answer:
    """The document."""
    return Answer(value=document(routes, server=call.base))


def document(routes: Iterable[Route], *, server: str = "http://127.0.0.1:5001") -> dict[str, Any]:
    """An OpenAPI 3.1 document of *routes*, each workspace route both alone and under a workspace's id."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        places = [""] if route.scope == "server" else ["", "/workspaces/{workspace}"]
        for place in places:
            path = _PREFIX + place + ("/" if route.path == "/" else route.path)
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, path, within=bool(place))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mockdify control API",
            "version": __version__,
            "description": (
                "Handles a running mockdify server. Paths without a workspace mean the default one. Tokens of apps are "
                "shown in full only in the answer that makes them."
            ),
        },
        "servers": [{"url": server}],
        "security": [{"bearer": []}, {"header": []}, {}],
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The token of --admin-token."},
                "header": {"type": "apiKey", "in": "header", "name": "X-Mockdify-Admin"},
            },
        },
    }


def _operation(route: Route, path: str, *, within: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name + ("In" if within else ""),
        "summary": route.words,
        "tags": [route.segments[0] if route.segments else "inspector"],
        "responses": {
            str(route.status): {"description": "Done.", "content": _content(route)},
            "4XX": {
                "description": "Refused.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": _SLOTS[name]}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    parameters += [
        {"name": name, "in": "query", "schema": dict(one.schema), "description": one.words}
        for name, one in route.query.items()
    ]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = _object(route.body, route.others)
        operation["requestBody"] = {
            "required": any(one.required for one in route.body.values()),
            "content": {"application/json": {"schema": schema}},
        }
    if route.is_open:
        operation["security"] = [{}]
    return operation


def _content(route: Route) -> dict[str, Any]:
    return {
        route.media.partition(";")[0]: {"schema": dict(route.reply) if "json" in route.media else {"type": "string"}}
    }


def _object(params: Any, others: str | None) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _documented(one) for name, one in params.items()},
        "additionalProperties": {"description": others} if others else False,
    }
    required = [name for name, one in params.items() if one.required]
    return schema | ({"required": required} if required else {})


def _documented(param: Param) -> dict[str, Any]:
    return {**param.schema, "description": param.words}
