"""Every route of the control API, and what it says to mistakes."""

from __future__ import annotations

import json

import jsonschema
import pytest
from engines import KEYS, ask, chat, control, engine, perform, request
from hypothesis import given
from hypothesis import strategies as st

from mockdify.control import Control, faults
from mockdify.control.routes import ROUTES
from mockdify.steps import Body, Head


@pytest.fixture
def server():
    return engine()


def conversations(server, user="alice", key=KEYS["chat"]):
    return ask(server, "GET", f"/v1/conversations?user={user}", key=key).json["data"]


# --- health and workspaces -------------------------------------------------------------------------------------------


def test_health_says_that_the_server_is_up(server):
    got = control(server, "GET", "/health")
    assert (got.status, got.json["status"], got.json["workspaces"]) == (200, "ok", 1)
    assert got.headers["Content-Type"] == "application/json"


def test_a_workspace_is_made_with_an_address_and_keys_of_its_own(server):
    made = control(server, "POST", "/workspaces", {})
    assert made.status == 201
    assert made.json["url"] == "http://127.0.0.1:5001/v1"
    assert set(made.json["keys"]) == set(server.default.keys)
    assert not set(made.json["keys"].values()) & set(server.default.keys.values())
    assert chat(server, key=made.json["keys"]["chat"]).status == 200


def test_a_workspaces_address_is_the_one_that_its_maker_used(server):
    made = control(server, "POST", "/workspaces", host="localhost:8080").json
    assert made["url"] == "http://localhost:8080/v1"


def test_two_workspaces_share_nothing(server):
    keys = [control(server, "POST", "/workspaces", {}).json["keys"]["chat"] for _ in range(2)]
    chat(server, "mine", key=keys[0])
    assert len(conversations(server, key=keys[0])) == 1
    assert conversations(server, key=keys[1]) == conversations(server) == []


def test_a_workspace_is_made_as_asked(server):
    body = {"id": "mine", "seed": 7, "profile": "1.13", "apps": ["chat"], "pace": "20ms", "clock": "frozen"}
    made = control(server, "POST", "/workspaces", body).json
    assert made["id"] == "mine"
    assert set(made["keys"]) == {"chat", "dataset"}
    shown = control(server, "GET", "/workspaces/mine").json
    assert (shown["seed"], shown["profile"], [app["name"] for app in shown["apps"]]) == (7, "1.13", ["chat"])
    assert ask(server, "GET", "/v1/info", key=made["keys"]["chat"]).headers["X-Version"] == "1.13.2"
    assert control(server, "GET", "/workspaces/mine/clock").json["frozen"] is True
    assert len(chat(server, "a b", key=made["keys"]["chat"]).waits) > 0


def test_the_same_id_and_seed_make_the_same_world():
    def world():
        server = engine()
        keys = control(server, "POST", "/workspaces", {"id": "w", "seed": 3}).json["keys"]
        return keys, chat(server, key=keys["chat"], streaming=True).body

    assert world() == world()


def test_workspaces_are_listed_with_masked_keys(server):
    made = control(server, "POST", "/workspaces", {}).json
    got = control(server, "GET", "/workspaces")
    assert [one["id"] for one in got.json["items"]] == ["default", made["id"]]
    for keys in (server.default.keys, made["keys"]):
        assert not any(token in got.body.decode() for token in keys.values())


def test_a_deleted_workspace_is_gone_with_its_keys(server):
    made = control(server, "POST", "/workspaces", {}).json
    assert control(server, "DELETE", f"/workspaces/{made['id']}").json == {"id": made["id"], "deleted": True}
    assert chat(server, key=made["keys"]["chat"]).status == 401
    assert control(server, "GET", f"/workspaces/{made['id']}/journal").status == 404
    again = control(server, "POST", "/workspaces", {}).json
    assert (made["id"], again["id"]) == ("w1", "w2"), "who still has the old key must not get into a later workspace"
    assert chat(server, key=made["keys"]["chat"]).status == 401


def test_a_workspace_s_keys_end_in_its_id_and_take_nobody_else_s(server):
    named = control(server, "POST", "/workspaces", {"id": "worker-3"}).json
    assert named["keys"]["chat"] == "app-chat-demo-worker-3"
    control(server, "POST", "/apps/chat/keys", {"token": "app-chat-demo-mine"})
    taken = control(server, "POST", "/workspaces", {"id": "mine"})
    assert (taken.status, taken.json["code"]) == (409, "conflict")
    assert "as this workspace's would be" in taken.json["message"]


def test_faults_are_taken_back_by_name_and_endpoint_or_all_at_once(server):
    on = "POST /v1/chat-messages"
    for said in ({"fault": "cut"}, {"fault": "cut", "on": on}, {"fault": "brownout"}, {"fault": "hang"}):
        control(server, "POST", "/faults", said)

    def taken(body=None, **query):
        return [one["id"] for one in control(server, "DELETE", "/faults", body, query=query).json["removed"]]

    assert taken({"fault": "cut", "on": on}) == [2]
    assert taken(fault="cut") == [1]
    assert taken(fault="cut") == []
    assert taken(id=3) == [3]
    refused = control(server, "DELETE", "/faults", {"fault": "hnag"})
    assert (refused.status, "did you mean 'hang'" in refused.json["message"]) == (400, True)
    assert taken() == [4]


def test_the_journal_s_list_says_how_requests_break_their_contracts(server):
    ask(
        server,
        "POST",
        "/v1/chat-messages",
        {"inputs": {}, "query": "q", "user": "u", "variables": {}},
        key=KEYS["chat"],
    )
    chat(server)
    strange, good = control(server, "GET", "/journal").json["items"]
    assert "$.variables" in strange["violations"][0]
    assert good["violations"] == []


def test_what_a_preset_s_rule_shows_is_in_the_document(server):
    control(server, "POST", "/faults", {"fault": "brownout"})
    (shown,) = control(server, "GET", "/faults").json["items"]
    jsonschema.Draft202012Validator(faults.LIST).validate({"items": [shown]})
    assert shown.keys() == faults.RULE["properties"].keys()
    assert all(part.keys() == shown.keys() - {"rules"} for part in shown["rules"])


def test_why_names_the_preset_that_struck_by_whichever_way_it_came_in(server):
    control(server, "POST", "/faults", {"fault": "quota-exhausted", "when": {"user": "bob"}})
    chat(server, user="bob")
    text = control(server, "GET", "/journal/last/why").json["text"]
    assert "was injected as rule 1 (POST /_mockdify/faults; user = 'bob'); it struck 1 times so far" in text
    chat(server, key=f"{KEYS['chat']}!quota-exhausted")
    assert "is written into the API key" in control(server, "GET", "/journal/last/why").json["text"]


def test_the_default_workspace_stays(server):
    assert control(server, "DELETE", "/workspaces/default").status == 409


def test_a_taken_id_is_refused(server):
    assert control(server, "POST", "/workspaces", {"id": "default"}).status == 409


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"ap": []},
            "unknown key 'ap'; allowed: id, seed, profile, apps, pace, ping_interval, clock; did you mean 'apps'?",
        ),
        ({"apps": ["chatt"]}, "there is no app 'chatt'; there is: completion, chat"),
        ({"profile": "9.9"}, "there is no profile '9.9'"),
        ({"id": "a b"}, "an id of up to 64 letters"),
        ({"seed": "x"}, "seed: a whole number is needed, got 'x'"),
    ],
)
def test_a_workspace_that_cannot_be_is_refused(server, body, message):
    got = control(server, "POST", "/workspaces", body)
    assert 400 <= got.status < 500
    assert message in got.json["message"]
    assert len(server.workspaces) == 1


def test_reset_makes_a_workspace_new(server):
    chat(server)
    control(server, "POST", "/faults", {"fault": "rate-limit", "times": 0})
    control(server, "POST", "/apps/chat/answers", {"answer": "scripted"})
    before = chat(server).status
    assert control(server, "POST", "/reset").status == 200
    assert before == 429
    assert len(server.default.journal) == 0
    assert server.default.faults.rules == []
    got = chat(server)
    assert (got.status, got.json["answer"]) == (200, "The mock heard: hello")
    assert len(conversations(server)) == 1


def test_reset_keeps_to_its_workspace_and_keeps_its_keys(server):
    made = control(server, "POST", "/workspaces", {}).json
    chat(server)
    chat(server, key=made["keys"]["chat"])
    control(server, "POST", f"/workspaces/{made['id']}/reset")
    assert len(conversations(server)) == 1
    assert conversations(server, key=made["keys"]["chat"]) == []


def test_the_same_after_a_reset_is_the_same_again(server):
    first = chat(server, streaming=True).body
    control(server, "POST", "/reset")
    assert chat(server, streaming=True).body == first


# --- the journal -----------------------------------------------------------------------------------------------------


def ids(server, **query):
    return [one["id"] for one in control(server, "GET", "/journal", query=query).json["items"]]


@pytest.fixture
def told(server):
    chat(server, user="bob")  # 1
    ask(server, "GET", "/v1/info", key=KEYS["agent"])  # 2
    ask(server, "GET", "/v1/nothing", key=KEYS["chat"])  # 3
    control(server, "POST", "/faults", {"fault": "rate-limit"})
    chat(server, user="carol")  # 4
    return server


def test_the_journal_is_listed_newest_last(told):
    assert ids(told) == [1, 2, 3, 4]
    one = control(told, "GET", "/journal").json["items"][0]
    assert (one["app"], one["user"], one["status"], one["ended"]) == ("chat", "bob", 200, "complete")
    assert one["request"]["json"]["query"] == "hello"
    assert one["text"] == "The mock heard: hello"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"app": "chat"}, [1, 3, 4]),
        ({"app": "ag*"}, [2]),
        ({"user": "bob"}, [1]),
        ({"status": "4xx"}, [3, 4]),
        ({"status": "429"}, [4]),
        ({"path": "/v1/chat-messages"}, [1, 4]),
        ({"path": "/v1/*"}, [1, 2, 3, 4]),
        ({"fault": "rate-limit"}, [4]),
        ({"fault": "*"}, [4]),
        ({"method": "get"}, [2, 3]),
        ({"since": 2}, [3, 4]),
        ({"limit": 2}, [3, 4]),
        ({"since": 1, "limit": 2}, [2, 3]),
        ({"app": "chat", "limit": 1}, [4]),
        ({"user": "nobody"}, []),
    ],
)
def test_the_journal_is_filtered(told, query, found):
    assert ids(told, **query) == found


def test_pages_lead_through_the_whole_journal(server):
    for _ in range(7):
        ask(server, "GET", "/v1/info", key=KEYS["chat"])
    seen, since = [], 0
    while since is not None:
        page = control(server, "GET", "/journal", query={"since": since, "limit": 3}).json
        seen += [one["id"] for one in page["items"]]
        since = page["next"]
    assert seen == list(range(1, 8))


def test_a_long_journal_goes_out_in_pieces_and_is_whole(server):
    for _ in range(150):
        ask(server, "GET", "/v1/info", key=KEYS["chat"])
    steps = list(server.handle(request("GET", "/_mockdify/journal")))
    assert next(step for step in steps if isinstance(step, Head)).length is None
    assert sum(isinstance(step, Body) for step in steps) > 100
    assert len(perform(steps).json["items"]) == 150


@pytest.mark.parametrize("name", ["1", "last"])
def test_one_exchange(server, name):
    chat(server)
    assert control(server, "GET", f"/journal/{name}").json["id"] == 1


def test_an_exchange_that_is_not_there_says_why(told):
    assert (
        "there is no exchange '9': no request had it; kept are 1 to 4"
        in control(told, "GET", "/journal/9").json["message"]
    )
    control(told, "POST", "/reset")
    assert "there is none at all" in control(told, "GET", "/journal/1").json["message"]


def test_why_is_told_as_text_and_in_parts(told):
    got = control(told, "GET", "/journal/3/why").json
    assert got["rule"]
    assert got["fix"]
    assert got["text"].startswith("exchange 3: GET /v1/nothing → 404")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"stauts": "429"}, "unknown parameter 'stauts'"),
        ({"status": "many"}, "a status such as 429 or 4xx is needed"),
        ({"limit": "0"}, "a whole number, 1 or more, is needed"),
        ({"since": "x"}, "a whole number, 0 or more, is needed"),
        ({"format": "xml"}, "unknown format 'xml'; allowed: json, har"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(server, query, message):
    got = control(server, "GET", "/journal", query=query)
    assert got.status == 400
    assert message in got.json["message"]


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_fault_over_http_strikes_as_told(server):
    body = {
        "fault": "rate-limit",
        "on": "POST /v1/chat-messages",
        "when": {"user": "bob"},
        "times": 2,
        "retry_after": 3,
    }
    made = control(server, "POST", "/faults", body)
    assert made.status == 201
    assert made.json["options"] == {"retry_after": 3}
    assert chat(server, user="alice").status == 200
    struck = [chat(server, user="bob") for _ in range(3)]
    assert [got.status for got in struck] == [429, 429, 200]
    assert struck[0].headers["Retry-After"] == "3"
    assert control(server, "GET", f"/faults/{made.json['id']}").json["met"] == 2


def test_options_may_stand_in_a_table_of_their_own(server):
    made = control(server, "POST", "/faults", {"fault": "rate-limit", "options": {"retry_after": "0.5"}})
    assert made.json["options"] == {"retry_after": "0.5"}
    both = {"fault": "rate-limit", "retry_after": 1, "options": {"retry_after": 2}}
    assert "say it once" in control(server, "POST", "/faults", both).json["message"]


def test_a_fault_of_one_workspace_is_no_other_ones(server):
    made = control(server, "POST", "/workspaces", {}).json
    control(server, "POST", f"/workspaces/{made['id']}/faults", {"fault": "unavailable", "times": 0})
    assert chat(server).status == 200
    assert chat(server, key=made["keys"]["chat"]).status == 503


def test_faults_are_listed_and_taken_back(server):
    made = [control(server, "POST", "/faults", {"fault": "rate-limit"}).json["id"] for _ in range(3)]
    assert [rule["id"] for rule in control(server, "GET", "/faults").json["items"]] == made
    assert [rule["id"] for rule in control(server, "DELETE", f"/faults/{made[1]}").json["removed"]] == [made[1]]
    assert control(server, "GET", f"/faults/{made[1]}").status == 404
    assert len(control(server, "DELETE", "/faults").json["removed"]) == 2
    assert chat(server).status == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"fault": "rate-limt"}, "there is no fault 'rate-limt'; did you mean 'rate-limit'"),
        ({}, "fault"),
        ({"fault": "rate-limit", "times": -1}, "times: a whole number, 0 or more, is needed"),
        ({"fault": "rate-limit", "when": {"usr": 1}}, "unknown key 'usr'"),
        ({"fault": "rate-limit", "nonsense": 1}, "'nonsense'"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(server, body, message):
    got = control(server, "POST", "/faults", body)
    assert got.status == 400
    assert message in got.json["message"]
    assert server.default.faults.rules == []


def test_health_and_control_are_never_touched_by_faults(server):
    for fault in ("rate-limit", "hang", "reset", "bad-gateway"):
        control(server, "POST", "/faults", {"fault": fault, "times": 0})
    fault = (("X-Mockdify-Fault", "server-error"),)
    for path in ("/health", "/journal", "/faults", "/openapi.json"):
        assert control(server, "GET", path, headers=fault, key=f"{KEYS['chat']}!reset").status == 200


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_scripted_answer_is_given_before_those_of_the_file():
    from mockdify.script import Rule, Script

    server = engine(make_script=lambda: Script(rules=[Rule(answer="from the file")]))
    made = control(server, "POST", "/apps/chat/answers", {"when": {"query": "hello"}, "answer": "Hi {{ user }}!"})
    assert (made.status, made.json["app"]) == (201, "chat")
    assert chat(server).json["answer"] == "Hi alice!"
    assert chat(server, "other").json["answer"] == "from the file"
    assert chat(server, key=KEYS["agent"], streaming=True).status == 200
    assert server.default.journal.get(1).as_dict()["answer"] == made.json["label"]


def test_conditions_and_chunks_are_those_of_the_file(server):
    control(server, "POST", "/apps/chat/answers", {"when": {"user": "bob"}, "chunks": ["a", "b"]})
    got = chat(server, user="bob", streaming=True)
    assert [event["answer"] for event in got.events if event["event"] == "message"] == ["a", "b"]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/apps/chatt/answers", {"answer": "x"}, 404, "there is no app 'chatt'; there is: completion, chat"),
        ("/apps/chat/answers", {"anser": "x"}, 400, "did you mean 'answer'?"),
        ("/apps/chat/answers", {}, 400, "a rule that says nothing"),
        ("/apps/chat/answers", {"answer": "{{ querry }}"}, 400, "querry"),
        ("/apps/chat/answers", {"answer": "x", "when": {"query_matches": "("}}, 400, "not a regular expression"),
    ],
)
def test_an_answer_that_cannot_be_is_refused(server, path, body, status, message):
    got = control(server, "POST", path, body)
    assert got.status == status
    assert message in got.json["message"]


# --- conversations of the WebApp -------------------------------------------------------------------------------------


def test_to_the_api_a_webapp_conversation_does_not_exist(server):
    made = control(server, "POST", "/apps/chat/conversations", {"origin": "webapp", "user": "alice"})
    assert made.status == 201
    conversation, unknown = made.json["id"], "00000000-0000-4000-8000-000000000000"
    assert conversations(server) == []
    assert chat(server, conversation_id=conversation).status == 404
    met = [
        ask(server, "GET", f"/v1/messages?user=alice&conversation_id={one}", key=KEYS["chat"])
        for one in (conversation, unknown)
    ]
    assert met[0].status == 404
    assert met[0].body == met[1].body


def test_with_a_shared_session_it_is_not_listed_but_continued_by_its_id(server):
    body = {"user": "alice", "shared_session": True}
    conversation = control(server, "POST", "/apps/chat/conversations", body).json["conversation_id"]
    assert conversations(server) == []
    messages = ask(server, "GET", f"/v1/messages?user=alice&conversation_id={conversation}", key=KEYS["chat"])
    assert len(messages.json["data"]) == 1
    assert chat(server, conversation_id=conversation).json["conversation_id"] == conversation
    assert conversations(server) == []
    assert chat(server, user="bob", conversation_id=conversation).status == 404
    assert chat(server, key=KEYS["agent"], streaming=True, conversation_id=conversation).status == 404


def test_a_conversation_of_the_api_is_listed(server):
    body = {"origin": "api", "user": "alice", "query": "q", "answer": "a", "name": "named"}
    made = control(server, "POST", "/apps/chatflow/conversations", body).json
    listed = conversations(server, key=KEYS["chatflow"])
    assert [(one["id"], one["name"]) for one in listed] == [(made["id"], "named")]


@pytest.mark.parametrize(
    ("app", "body", "message"),
    [
        ("workflow", {"user": "a"}, "is a workflow app and has no conversations; chat apps are: chat, agent, chatflow"),
        ("chat", {}, "the key 'user' is missing"),
        ("chat", {"user": ""}, "the end user's name is empty"),
        ("chat", {"user": "a", "origin": "web"}, "unknown origin 'web'; allowed: webapp, api; did you mean 'webapp'?"),
    ],
)
def test_a_conversation_that_cannot_be_is_refused(server, app, body, message):
    got = control(server, "POST", f"/apps/{app}/conversations", body)
    assert got.status == 400
    assert message in got.json["message"]


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/jurnal", "/_mockdify/journal"),
        ("/fault", "/_mockdify/faults"),
        ("/journal/", "/_mockdify/journal"),
        ("/apps/chat/answer", "/_mockdify/apps/{app}/answers"),
        ("/workspaces/default/clok", "/_mockdify/workspaces/default/clock"),
        ("/Health", "/_mockdify/health"),
    ],
)
def test_an_unknown_path_is_told_with_the_nearest(server, path, near):
    got = control(server, "GET", path)
    assert (got.status, got.json["code"]) == (404, "not_found")
    assert f"there is no /_mockdify{path}" in got.json["message"]
    assert near in got.json["message"]


def test_a_wrong_method_is_told_with_the_right_ones(server):
    got = control(server, "PUT", "/faults")
    assert (got.status, got.headers["Allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"fault": "rate-limit" 1}',
            "the body is not JSON: Expecting ',' delimiter at line 1, column 24",
        ),
        (b"[1]", "the body must be a JSON object with: fault, on, when"),
        (b'"x"', "the body must be a JSON object"),
        (b"\xff{}", "the body is not UTF-8 (byte 0)"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_object_is_told(server, body, message):
    got = control(server, "POST", "/faults", body)
    assert (got.status, got.json["code"], got.json["status"]) == (400, "bad_request", 400)
    assert message in got.json["message"]


@given(
    st.sampled_from([(route.method, route.path) for route in ROUTES]),
    st.one_of(st.binary(max_size=30), st.dictionaries(st.text(max_size=8), st.text(max_size=5), max_size=3)),
    st.text(st.characters(categories=["L", "N", "P"]), max_size=8),
)
def test_nothing_that_is_sent_makes_it_fail(route, body, slot):
    """Whatever comes, the answer is below 500 and JSON."""
    method, path = route
    path = path.replace("{", "").replace("}", slot.replace("/", "").replace("?", "").replace("#", ""))
    got = control(engine(), method, path, body)
    assert 200 <= got.status < 500
    if path != "/":
        assert isinstance(json.loads(got.body), dict)


def test_a_mistake_of_ours_is_told_and_no_traceback():
    from dataclasses import replace

    def broken(call):
        raise ZeroDivisionError("oops")

    routes = [replace(route, handler=broken) if route.path == "/journal" else route for route in ROUTES]
    server = engine()
    server.control = Control(routes=routes)
    got = control(server, "GET", "/journal")
    assert (got.status, got.json["message"]) == (500, "mockdify failed: ZeroDivisionError: oops")


def test_without_a_control_api_its_paths_are_difys_404():
    server = engine(control=False)
    got = control(server, "GET", "/health")
    assert (got.status, got.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_half_a_character_in_a_request_does_not_break_the_journal(server):
    ask(
        server,
        "POST",
        "/v1/chat-messages",
        b'{"query": "\\ud800", "n": 1e999, "big": 123456789012345678901234567890}',
        key=KEYS["chat"],
    )
    assert ids(server) == [1]
    assert control(server, "GET", "/journal", query={"format": "har"}).status == 200
    assert control(server, "GET", "/journal/1/why").status == 200


# --- the inspector ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/"])
def test_the_inspector_is_one_page_that_loads_nothing(server, path):
    got = control(server, "GET", path)
    page = got.body.decode()
    assert (got.status, got.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in got.headers["Content-Security-Policy"]
    for outside in ("http://", "https://", "src=", "@import", "url(", "innerHTML", "eval("):
        assert outside not in page


def test_the_inspector_asks_only_for_routes_there_are(server):
    import re

    page = control(server, "GET", "/").body.decode()
    asked = re.findall(r'(?:ask|within)\([`"](/[\w-]+)', page)
    known = {f"/{route.segments[0]}" for route in ROUTES if route.segments}
    assert asked
    assert set(asked) <= known


def test_a_body_of_another_type_is_read_all_the_same(server):
    """`curl -d` says that it sends a form."""
    form = (("Content-Type", "application/x-www-form-urlencoded"),)
    assert control(server, "POST", "/faults", {"fault": "rate-limit"}, headers=form).status == 201
