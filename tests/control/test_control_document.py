"""The control API's own OpenAPI document says what is served, and all of it."""

from __future__ import annotations

import re

import jsonschema
import pytest
from engines import KEYS, ask, chat, control, engine

from mockdify.control.openapi import document
from mockdify.control.routes import ROUTES

DOCUMENT = document(ROUTES)
OPERATIONS = [(method, path, said) for path, item in DOCUMENT["paths"].items() for method, said in item.items()]
IDS = [f"{method} {path}" for method, path, _ in OPERATIONS]

EXAMPLES = {
    "createWorkspace": {"seed": 3, "profile": "1.16", "apps": ["chat"], "pace": "1ms", "clock": "frozen"},
    "injectFault": {"fault": "rate-limit", "on": "POST /v1/chat-messages", "when": {"user": "x"}, "retry_after": 1},
    "removeFaults": {"fault": "rate-limit"},
    "scriptAnswer": {"when": {"query": "hi"}, "answer": "Hello"},
    "makeConversation": {"origin": "webapp", "user": "alice"},
    "createKey": {"name": "ci", "environment": "testing", "expires_in": "1h", "rotation_period": "90d"},
    "rotateKey": {"grace": "1m"},
    "revokeKeyNamed": {"name": "default"},
    "moveClock": {"advance": "30s"},
    "reset": {},
}
SLOTS = {"exchange": "1", "fault": "1", "app": "chat", "key": "default"}


def schema_of(reply):
    return {**reply["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}


def name_of(operation):
    return operation["operationId"].removesuffix("In")


def test_it_is_served_and_is_that_document():
    got = control(engine(), "GET", "/openapi.json")
    assert got.json == {**DOCUMENT, "servers": [{"url": "http://127.0.0.1:5001"}]}


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_each_operation_is_whole(method, path, operation):
    slots = set(re.findall(r"\{(\w+)\}", path))
    assert {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"} == slots
    assert operation["summary"]
    assert all(one.get("description") for one in operation.get("parameters", []))
    for reply in operation["responses"].values():
        for content in reply["content"].values():
            jsonschema.Draft202012Validator.check_schema(content["schema"])
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator.check_schema(schema)
        assert all(one["description"] for one in schema["properties"].values())


def test_operation_ids_are_unique():
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(ids)) == len(ids)


def test_every_served_route_is_documented_and_nothing_else():
    served = {(route.method, route.path) for route in ROUTES}
    told = {
        (method.upper(), path.removeprefix("/_mockdify").removeprefix("/workspaces/{workspace}"))
        for method, path, operation in OPERATIONS
        if operation["operationId"].endswith("In")
    }
    told |= {
        (method.upper(), path.removeprefix("/_mockdify"))
        for method, path, operation in OPERATIONS
        if not operation["operationId"].endswith("In")
    }
    assert told == served


@pytest.fixture
def server():
    """A workspace with something of everything."""
    server = engine()
    chat(server, streaming=True)
    control(server, "POST", "/workspaces", {"id": "w"})
    for place in ("", "/workspaces/w"):
        control(server, "POST", f"{place}/faults", {"fault": "rate-limit", "when": {"user": "nobody"}})
    keys = control(server, "POST", "/workspaces", {}).json["keys"]
    assert keys
    ask(server, "GET", "/v1/info", key=next(key.token for key in server.workspaces["w"].apps["chat"].keys))
    return server


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_each_operation_answers_as_documented(server, method, path, operation):
    target = path.removeprefix("/_mockdify").format(workspace="w", **SLOTS)
    got = control(server, method.upper(), target, EXAMPLES.get(name_of(operation)))
    (status,) = (status for status in operation["responses"] if status != "4XX")
    assert got.status == int(status), got.body
    reply = operation["responses"][status]
    media = got.headers["Content-Type"].partition(";")[0]
    assert media in reply["content"]
    if media == "application/json":
        jsonschema.Draft202012Validator(schema_of(reply)).validate(got.json)


WITH_BODY = [one for one in OPERATIONS if "requestBody" in one[2]]


@pytest.mark.parametrize(("method", "path", "operation"), WITH_BODY, ids=[f"{one[0]} {one[1]}" for one in WITH_BODY])
def test_each_documented_body_is_taken_and_no_other(server, method, path, operation):
    """The examples fit their schemas; a key that the schema does not know is refused by both."""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    example = EXAMPLES[name_of(operation)]
    jsonschema.Draft202012Validator(schema).validate(example)
    target = path.removeprefix("/_mockdify").format(workspace="w", **SLOTS)
    got = control(server, method.upper(), target, {**example, "nonsense": 1})
    assert got.status == 400
    assert "'nonsense'" in got.json["message"]


@pytest.mark.parametrize("path", ["/nothing", "/journal/99", "/journal?limit=0"])
def test_refusals_are_as_documented(path):
    got = control(engine(), "GET", path)
    jsonschema.validate(got.json, DOCUMENT["components"]["schemas"]["Error"])
    assert got.json["status"] == got.status


def test_the_demo_keys_are_what_the_helpers_say():
    assert KEYS.items() <= engine().default.keys.items()
