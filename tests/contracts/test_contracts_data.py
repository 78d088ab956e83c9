"""The contract files themselves: valid JSON Schema, complete, and nothing left open by accident."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from contract_mutants import tell
from jsonschema import Draft202012Validator

from mockdify.contracts import MODES, Contracts, bundle, list_contracts
from mockdify.contracts._files import names, read, root

SCHEMAS = [n for n in names() if n.startswith(("events/", "responses/", "requests/", "errors/"))]
RELEASES = ("1.13", "1.16")


def _parts(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield path, value
        for key, part in value.items():
            yield from _parts(part, f"{path}/{key}")
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from _parts(part, f"{path}/{i}")


def test_every_schema_is_valid_json_schema():
    """As it stands in the file, and as it holds in each release, mode and view."""
    held = [schema for release in RELEASES for schema in bundle(release)["$defs"].values()]
    distinct = {json.dumps(schema, sort_keys=True): schema for schema in (*map(read, SCHEMAS), *held)}
    for schema in distinct.values():
        Draft202012Validator.check_schema(schema)
    tell(f"{len(SCHEMAS)} files, {len(held)} schemas that hold somewhere, {len(distinct)} different ones")


SHAPES = [n for n in names() if n.startswith(("events/", "responses/", "errors/", "common/"))]
INSIDE_CONDITIONS = re.compile(r"/(if|then|else|not|anyOf|allOf|x-should)(/|$)")


def test_objects_are_closed_or_say_why_not():
    """An object with named properties refuses others, or tells with x-free or x-open why it does not."""
    for name in SHAPES:
        for path, part in _parts(read(name)):
            if "object" in part.get("type", ()) and "properties" in part and not INSIDE_CONDITIONS.search(path):
                closed = part.get("additionalProperties") is False or part.get("unevaluatedProperties") is False
                assert closed or part.get("x-free") or part.get("x-open"), f"{name}{path}"


def test_a_property_is_required_or_says_why_not():
    for name in SHAPES:
        for path, part in _parts(read(name)):
            if "properties" in part and "required" in part and not INSIDE_CONDITIONS.search(path):
                silent = {k for k, schema in part["properties"].items() if not schema.get("x-optional")}
                assert silent <= set(part["required"]), f"{name}{path}"


def test_no_schema_is_a_union():
    """A union tells only that nothing fitted; variants are told apart by `if`."""
    for name in SCHEMAS:
        assert not [p for p, part in _parts(read(name)) if "oneOf" in part], name


def test_every_file_says_what_it_is_and_where_it_comes_from():
    for name in names():
        data = read(name)
        assert data["title"], name
        assert data["description"].endswith("."), name
        assert data["x-source"], name


def test_every_file_is_found_by_its_folder_or_named_by_another():
    """A contract that nobody refers to is dead."""
    texts = {n: (root() / f"{n}.json").read_text(encoding="utf-8") for n in names()}
    for name in names():
        file = name.rpartition("/")[2]
        told = (f'"{name}"', f"/{file}.json", f'"{file}.json')
        by_folder = name.startswith(("events/", "orders/", "errors/", "operations"))
        assert by_folder or any(word in text for n, text in texts.items() if n != name for word in told), name


def test_the_readme_names_every_folder_and_keyword():
    text = (root() / "README.md").read_text(encoding="utf-8")
    for folder in {n.partition("/")[0] for n in names()}:
        assert f"`{folder}" in text
    used = {k for n in names() for _, part in _parts(read(n)) for k in part if k.startswith("x-")}
    assert [k for k in sorted(used) if f"`{k}`" not in text] == []


@pytest.mark.parametrize("release", RELEASES)
def test_every_operation_names_schemas_and_codes_that_hold_in_its_release(release):
    contracts = Contracts.load(release)
    held = {c.name for c in list_contracts(release)}
    for operation in contracts.operations:
        for reply in operation.replies:
            assert reply.schema is None or reply.schema in held, operation
        assert operation.request is None or operation.request in held
        assert all(contracts.error_status(code) >= 400 for code in operation.errors)
    for row in read("operations")["operations"]:
        for code in row["errors"]:
            assert code in read("operations")["error_sets"] or any(
                code in read(n)["x-codes"] for n in names("errors")
            ), code


@pytest.mark.parametrize("mode", MODES)
def test_an_order_names_only_events_of_its_mode_and_states_that_exist(mode):
    order, events = read(f"orders/{mode}"), set(Contracts.load("1.16").events(mode))
    groups = order.get("groups", {})
    for view in order["views"].values():
        assert view["start"] in view["states"]
        for state in view["states"].values():
            for event, to in state["on"].items():
                target = to["to"] if isinstance(to, dict) else to
                assert target == "=" or target in view["states"]
                assert {n.partition(":")[0] for n in groups.get(event, (event,))} <= events


def test_a_release_difference_is_data():
    """What 1.13 and 1.16 promise differently comes out of the same files."""
    old, new = Contracts.load("1.13"), Contracts.load("1.16")
    assert old.modes == ("completion", "chat", "agent-chat", "advanced-chat", "workflow")
    assert "agent" in new.modes
    assert "reasoning_chunk" not in old.events("workflow")
    assert "reference" in new.schema("responses/file")["properties"]
    assert "reference" not in old.schema("responses/file")["required"]
    assert old.operation("GET", f"/v1/workflow/{'0' * 8}/events") is None
