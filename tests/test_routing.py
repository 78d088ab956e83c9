"""Which endpoint a path means, and the suggestions that Dify appends to its 404s."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import NOBODY, SHARED

from mockdify.endpoints import ENDPOINTS
from mockdify.routing import Router, did_you_mean

ROUTER = Router(ENDPOINTS)
HELP = SHARED / "dify" / "not_found_help_1.13.2.tsv"


def help_for(path):
    """What a 404 with the text `X.` says about *path* behind the X."""
    return did_you_mean("X.", path).removeprefix("X")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: f"{one.method} {one.rule}")
def test_every_rule_finds_itself_and_its_slots(endpoint):
    path = re.sub("<uuid:[^>]*>", NOBODY, re.sub("<string:[^>]*>", "x-y", endpoint.rule))
    found = ROUTER.find(path)
    assert found.by_method[endpoint.method].handler is endpoint.handler
    assert found.rule == endpoint.rule
    assert set(found.values) == set(re.findall(r"<\w+:(\w+)>", endpoint.rule))
    assert ROUTER.find(f"{path}/") is None
    assert ROUTER.find(path.replace("/v1/", "/V1/")) is None


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages/xyz/feedbacks",
        f"/v1/messages/{NOBODY[:-1]}/suggested",
        f"/v1/conversations/{NOBODY.replace('-', '')}",
    ],
)
def test_a_uuid_slot_takes_nothing_else(path):
    assert ROUTER.find(path) is None


def test_a_fixed_rule_goes_before_one_with_a_slot():
    assert ROUTER.find("/v1/workflows/logs").rule == "/v1/workflows/logs"
    assert ROUTER.find("/v1/workflows/run").rule == "/v1/workflows/run"
    assert ROUTER.find("/v1/workflows/run/run").rule == "/v1/workflows/run/<string:workflow_run_id>"


@given(st.text(max_size=40))
def test_any_path_is_found_or_not(path):
    ROUTER.find(f"/v1/{path}")


# ---------------------------------------------------------------------- suggestions
@pytest.mark.parametrize(
    ("path", "rules"),
    [
        ("/v1/chat-messages", ["/v1/chat-messages", "/api/chat-messages", "/v1/chat-messages/<string:task_id>/stop"]),
        ("/v1/messages", ["/v1/messages", "/v1/chat-messages", "/api/messages"]),
        (
            "/v1/conversations",
            ["/v1/conversations", "/v1/conversations/<uuid:c_id>/variables/<uuid:variable_id>", "/api/conversations"],
        ),
        (f"/v1/conversations/{NOBODY}/variables", ["/v1/conversations/<uuid:c_id>/variables"]),
        (
            "/v1/workflows/logs",
            ["/v1/workflows/logs", "/v1/workflows/run", "/v1/workflows/run/<string:workflow_run_id>"],
        ),
    ],
)
def test_a_404_suggests_the_rules_most_alike(path, rules):
    assert help_for(path) == f". You have requested this URI [{path}] but did you mean {' or '.join(rules)} ?"


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/conversations/{NOBODY}",
        f"/v1/conversations/{NOBODY}/name",
        f"/v1/messages/{NOBODY}/feedbacks",
        f"/v1/messages/{NOBODY}/suggested",
        f"/v1/conversations/{NOBODY}/variables/{NOBODY}",
        f"/v1/workflows/run/{NOBODY}",
        f"/v1/workflows/{NOBODY}/run",
    ],
)
def test_a_path_made_long_by_its_ids_suggests_nothing(path):
    assert help_for(path) == "."


def test_an_empty_message_becomes_the_suggestion_alone():
    assert did_you_mean("", "/v1/messages").startswith("You have requested this URI [/v1/messages] but did you mean ")


def measured():
    """(path, suffix) of every route, as a running 1.13.2 gave it."""
    lines = HELP.read_text("utf-8").splitlines()[1:] if HELP.exists() else []
    for rule, _, suffix in (line.partition("\t") for line in lines):
        yield re.sub("<[^>]*>", NOBODY, rule) if not suffix else re.search(r"\[(.*?)\]", suffix)[1], suffix or "."


@pytest.mark.skipif(not HELP.exists(), reason="the measured table is not beside this checkout")
@pytest.mark.parametrize(("path", "suffix"), list(measured()))
def test_every_route_suggests_what_was_measured(path, suffix):
    path = path.replace("{uuid}", NOBODY)
    assert help_for(path) == suffix.replace("{uuid}", NOBODY)
