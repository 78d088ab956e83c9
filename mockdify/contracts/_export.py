"""The contracts for other programs: a list, one contract in words, a JSON Schema bundle, an OpenAPI document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mockdify.contracts._contracts import Contracts
from mockdify.contracts._files import names, read
from mockdify.contracts._resolve import Context, applies, parse_profile

if TYPE_CHECKING:
    from mockdify.contracts._files import Json
    from mockdify.contracts._operations import Operation, Reply
    from mockdify.contracts._resolve import Schema, View

__all__ = ["ContractInfo", "bundle", "list_contracts", "openapi", "show"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SLOT = re.compile(r"\{(\w+)(?::(uuid))?\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractInfo:
    """One contract as a list shows it."""

    name: str
    kind: str
    title: str
    description: str
    modes: tuple[str, ...]
    since: str | None
    until: str | None
    source: tuple[str, ...]


def list_contracts(release: str | None = None) -> list[ContractInfo]:
    """All contracts, or those that hold in *release*, sorted by name. Parts that others are made of are not told."""
    context = None
    if release:
        number, guide = parse_profile(release)
        context = Context(release=number, guide=guide)
    found = []
    for name in names():
        data, kind = read(name), name.partition("/")[0]
        if kind != "common" and (context is None or applies(data, context)):
            found.append(
                ContractInfo(
                    name=name,
                    kind=kind,
                    title=data["title"],
                    description=data["description"],
                    modes=tuple(data.get("x-modes", ())),
                    since=data.get("x-since"),
                    until=data.get("x-until"),
                    source=tuple(data["x-source"]),
                )
            )
    return found


def show(name: str, release: str = "1.16", *, mode: str | None = None, view: View = "run") -> Json:
    """One contract as it holds in *release*: a plain JSON Schema; orders and the table of operations as they stand.

    Args:
        name: `events/message_end`, `responses/chat-messages`, `errors/app#not_chat_app`, `orders/chat`, `operations`.
        release: The release.
        mode: For events: the app mode; without it, the first that has the event.
        view: For events: as `Contracts.check_event` takes it.
    """
    data = read(name.partition("#")[0])
    if not name.startswith(("events/", "responses/", "requests/", "errors/")):
        return data
    chosen = mode or next(iter(data.get("x-modes", ())), None)
    return {"$schema": _DIALECT, **_plain(Contracts.load(release).schema(name, mode=chosen, view=view))}


def _plain(schema: Schema) -> Schema:
    """The schema without our own keywords."""
    if isinstance(schema, dict):
        return {k: _plain(v) for k, v in schema.items() if not k.startswith("x-")}
    return [_plain(v) for v in schema] if isinstance(schema, list) else schema


def _definitions(contracts: Contracts) -> dict[str, Schema]:
    """Every schema of a release by a name that is fit for a reference: `events.chat.message_end`."""
    out: dict[str, Schema] = {}
    for name in names("requests") + names("responses"):
        if applies(read(name), Context(release=contracts.release)):
            out[name.replace("/", ".")] = _plain(contracts.schema(name))
    for family in names("errors"):
        for code, row in read(family)["x-codes"].items():
            if applies(row, Context(release=contracts.release)):
                out[f"errors.{code}"] = _plain(contracts.schema(f"{family}#{code}"))
    for mode in contracts.modes:
        for event in contracts.events(mode):
            out[f"events.{mode}.{event}"] = _plain(contracts.schema(f"events/{event}", mode=mode))
            if mode in ("advanced-chat", "workflow"):
                out[f"events.{mode}-joined.{event}"] = _plain(
                    contracts.schema(f"events/{event}", mode=mode, view="events")
                )
    return out


def bundle(release: str = "1.16") -> dict[str, Any]:
    """One JSON Schema document with every contract of *release* under `$defs`.

    Names: `requests.X`, `responses.X`, `errors.CODE`, `events.MODE.EVENT`, and for a stream joined later
    `events.MODE-joined.EVENT`.
    """
    contracts = Contracts.load(release)
    return {
        "$schema": _DIALECT,
        "$id": f"urn:mockdify:contracts:{contracts.name}",
        "title": f"mockdify's contracts of Dify's app API, {contracts.name}",
        "$defs": _definitions(contracts),
    }


# ---------------------------------------------------------------- OpenAPI
def openapi(release: str = "1.16", *, server: str = "http://127.0.0.1:5001", mode: str | None = None) -> dict[str, Any]:
    """One OpenAPI 3.1 document of the app API; streams have `itemSchema`, one schema for each event's `data`.

    Args:
        release: The release.
        server: The base URL, without `/v1`.
        mode: Only what is there for apps of that mode; None for everything.
    """
    contracts = Contracts.load(release)
    paths: dict[str, Any] = {}
    for operation in contracts.operations:
        if mode is not None and mode not in operation.modes:
            continue
        path = _SLOT.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, contracts)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": _DIALECT,
        "info": {"title": "Dify's app API, as mockdify serves it", "version": contracts.name},
        "servers": [{"url": server}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": _definitions(contracts),
        },
    }


def _operation(operation: Operation, contracts: Contracts) -> dict[str, Any]:
    out: dict[str, Any] = {
        "operationId": operation.id,
        "parameters": _slots(operation),
        "responses": _responses(operation, contracts),
    }
    if not operation.key:
        out["security"] = []
    if operation.where == "query":
        out["parameters"] += _query(contracts.schema(str(operation.request)))
    elif operation.request:
        out["requestBody"] = {"required": True, "content": _asked(operation)}
    return out


def _asked(operation: Operation) -> dict[str, Any]:
    if operation.where == "form":
        parts = {"file": {"type": "string", "format": "binary"}, "user": {"type": "string"}}
        return {"multipart/form-data": {"schema": {"type": "object", "properties": parts, "required": ["file"]}}}
    return {"application/json": {"schema": _ref(str(operation.request))}}


def _slots(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", **({"format": "uuid"} if kind else {})},
        }
        for name, kind in _SLOT.findall(operation.path)
    ]


def _query(schema: Schema) -> list[dict[str, Any]]:
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _plain(part)}
        for name, part in schema["properties"].items()
    ]


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name.replace('/', '.')}"}


def _responses(operation: Operation, contracts: Contracts) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for reply in operation.replies:
        slot = out.setdefault(str(reply.status), {"description": "Done."})
        if not reply.empty:
            slot.setdefault("content", {}).update(_content(operation, reply, contracts))
    by_status: dict[int, list[str]] = {}
    for code in sorted(operation.errors | {reply.code for reply in contracts.everywhere if reply.code}):
        by_status.setdefault(contracts.error_status(code), []).append(code)
    for status, codes in sorted(by_status.items()):
        schema = {"anyOf": [_ref(f"errors/{code}") for code in codes]} if codes[1:] else _ref(f"errors/{codes[0]}")
        out[str(status)] = {"description": ", ".join(codes), "content": {"application/json": {"schema": schema}}}
    for reply in contracts.everywhere:
        if reply.html:
            slot = out.setdefault(str(reply.status), {"description": "A page, not of the app API."})
            slot.setdefault("content", {})[reply.media] = {"schema": {"type": "string"}}
    return out


def _content(operation: Operation, reply: Reply, contracts: Contracts) -> dict[str, Any]:
    if reply.events:
        return {reply.media: {"itemSchema": _item(operation, reply.events, contracts)}}
    return {reply.media: {"schema": _ref(str(reply.schema))} if reply.schema else {}}


def _item(operation: Operation, view: View, contracts: Contracts) -> Schema:
    """What one SSE block holds: an event's JSON as `data`, or only the name of a ping.

    By the standard a block without a name is one of the name `message`.
    """
    joined = "-joined" if view == "events" else ""
    events = [
        f"events.{mode}{joined}.{e}"
        for mode in operation.modes
        if mode in contracts.modes
        for e in contracts.events(mode)
        if e != "ping"
    ]
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"anyOf": [_ref(name) for name in events]},
    }
    return {"type": "object", "properties": {"data": data, "event": {"enum": ["message", "ping"]}}}
