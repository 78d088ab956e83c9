"""What the profile `guide` serves and takes is under contract, and Dify's own contracts refuse it."""

import json

import httpx
import pytest

from mockdify.contracts import Contracts, bundle, list_contracts, openapi
from mockdify.sse import decode

GUIDE, DIFY = Contracts.load("guide"), Contracts.load("1.16")
ASKED = {"inputs": {"query": "x", "name": "Ada", "text": "y"}, "user": "alice", "query": "Hello"}
APPS = {
    "chat": ("chat", "/chat-messages"),
    "chatflow": ("advanced-chat", "/chat-messages"),
    "completion": ("completion", "/completion-messages"),
}

pytestmark = pytest.mark.mockdify(profile="guide", strict=False)


def ask(mockdify, app, **more):
    _, path = APPS[app]
    headers = {"Authorization": f"Bearer {mockdify.app(app).key}"}
    return httpx.post(f"{mockdify.base_url}{path}", json=ASKED | more, headers=headers)


def events_of(got):
    return [json.loads(frame.data) for frame in decode([got.content])]


@pytest.mark.parametrize("app", APPS)
def test_an_answer_is_on_the_guides_contract_and_off_difys(mockdify, app):
    got = ask(mockdify, app, response_mode="blocking")
    asked = f"/v1{APPS[app][1]}"
    told = [c.check_response(c.operation("POST", asked), 200, got.headers, got.content) for c in (GUIDE, DIFY)]
    assert [bool(one) for one in told] == [False, True]


@pytest.mark.parametrize("app", APPS)
def test_a_stream_is_on_the_guides_contract_and_off_difys(mockdify, app):
    mode = APPS[app][0]
    events = events_of(ask(mockdify, app, response_mode="streaming"))
    assert GUIDE.check_stream(mode, events) == []
    assert DIFY.check_stream(mode, events, pings=False) != []
    assert [one.kind for one in GUIDE.check_stream(mode, events[:-1])] == ["unfinished"]


def test_an_error_event_is_on_contract(mockdify):
    mockdify.inject("error-event", after=1)
    assert GUIDE.check_stream("chat", events_of(ask(mockdify, "chat", response_mode="streaming"))) == []


@pytest.mark.parametrize("fault", ["rate-limit", "unauthorized", "bad-gateway", "gateway-timeout", "server-error"])
def test_an_error_is_on_contract(mockdify, fault):
    mockdify.inject(fault)
    got = ask(mockdify, "chat")
    chat = GUIDE.operation("POST", "/v1/chat-messages")
    assert GUIDE.check_response(chat, got.status_code, got.headers, got.content) == []


def test_an_unknown_path_is_json(mockdify):
    got = httpx.get(f"{mockdify.base_url}/nowhere")
    assert GUIDE.check_response(None, 404, got.headers, got.content) == []
    assert DIFY.check_response(None, 404, got.headers, got.content) != []


def test_a_later_turn_needs_no_inputs_and_may_set_variables(mockdify):
    first = ask(mockdify, "chat").json()
    later = {"query": "And?", "user": "alice", "conversation_id": first["conversation_id"], "variables": {"a": 1}}
    headers = {"Authorization": f"Bearer {mockdify.app('chat').key}"}
    httpx.post(f"{mockdify.base_url}/chat-messages", json=later, headers=headers)
    assert mockdify.journal.last.status == 200
    assert mockdify.journal.last.violations == []
    begun = {key: value for key, value in later.items() if key != "conversation_id"}
    assert [one.path for one in _asked(GUIDE, begun)] == ["$.inputs"]
    assert {one.path for one in _asked(DIFY, later)} == {"$.inputs", "$.variables"}


def _asked(contracts, body):
    headers = {"Authorization": "Bearer app-x", "Content-Type": "application/json"}
    return contracts.check_request("POST", "/v1/chat-messages", headers, body)


def test_other_modes_are_difys():
    assert GUIDE.events("workflow") == DIFY.events("workflow")
    assert GUIDE.events("chat") == ("error", "message", "message_end")


def test_it_is_listed_and_exported():
    assert bundle("guide")["$defs"]["responses.chat-messages"]["properties"].keys() >= {"result", "conversation_id"}
    assert openapi("guide")["info"]["version"] == "guide"
    assert "events/message" in {one.name for one in list_contracts("guide")}


def test_an_extra_field_is_harmless_and_a_misspelt_one_is_not():
    extra, typo = (_asked(DIFY, ASKED | {name: "x"}) for name in ("colour", "conversation_ids"))
    assert [one.harmless for one in extra] == [True]
    assert [one.harmless for one in typo] == [False]
