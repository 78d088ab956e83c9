"""What other programs get: a list, one contract, a bundle, an OpenAPI document."""

import contract_samples as own
import pytest
from jsonschema import Draft202012Validator

from mockdify.contracts import MODES, Contracts, bundle, list_contracts, openapi, show


def test_the_list_tells_what_there_is_in_a_release():
    everything = {c.name: c for c in list_contracts()}
    assert everything["events/reasoning_chunk"].since == "1.15"
    assert everything["events/reasoning_chunk"].modes == ("advanced-chat", "workflow")
    assert set(everything) - {c.name for c in list_contracts("1.13")} == {
        "events/reasoning_chunk", "orders/agent", "responses/human-input-form",
    }  # fmt: skip


def test_one_contract_is_shown_as_it_holds():
    shown = show("events/message", "1.13", mode="completion")
    assert list(shown["properties"]) == [
        "message_id",
        "created_at",
        "task_id",
        "event",
        "id",
        "answer",
        "from_variable_selector",
    ]
    assert shown["properties"]["from_variable_selector"] == {"type": "null"}
    assert show("errors/app#not_chat_app")["properties"]["status"] == {"const": 400}
    assert "views" in show("orders/chat")


@pytest.mark.parametrize("mode", MODES)
def test_the_bundle_says_the_same_as_the_contracts(mode):
    definitions = bundle("1.16")["$defs"]
    for event in own.STREAMS[mode]:
        validator = Draft202012Validator(definitions[f"events.{mode}.{event['event']}"])
        assert validator.is_valid(event)
        assert not validator.is_valid({**event, "new": 1})


def test_the_bundle_has_every_contract():
    definitions = bundle("1.16")["$defs"]
    for operation in Contracts.load("1.16").operations:
        for reply in operation.replies:
            assert not reply.schema or reply.schema.replace("/", ".") in definitions
        assert not operation.request or operation.request.replace("/", ".") in definitions
        assert all(f"errors.{code}" in definitions for code in operation.errors)


def _references(value):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)


@pytest.mark.parametrize("release", ["1.13", "1.16"])
def test_the_openapi_document_hangs_together(release):
    document = openapi(release)
    schemas = document["components"]["schemas"]
    assert {r.removeprefix("#/components/schemas/") for r in _references(document)} <= set(schemas)
    operations = [o for path in document["paths"].values() for o in path.values()]
    assert len({o["operationId"] for o in operations}) == len(operations) == len(Contracts.load(release).operations)
    stream = document["paths"]["/v1/chat-messages"]["post"]["responses"]["200"]["content"]["text/event-stream"]
    names = _references(stream["itemSchema"])
    assert "#/components/schemas/events.chat.message" in names
    assert not any(key.startswith("x-") for schema in schemas.values() for key in schema)
