"""Why an exchange ended as it did: the rule, the evidence, the nearest thing, how to fix it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engines import KEYS, ask, chat, chat_body, control, engine, request, template
from hypothesis import given
from hypothesis import strategies as st

from mockdify.explain import ROWS, explain
from mockdify.explain.plain import PLAIN
from mockdify.limits import limits_of
from mockdify.script import NodeScript, Rule, Script, When

CHAT = "/v1/chat-messages"


@pytest.fixture
def server():
    return engine()


def why(server):
    """The explanation of the last exchange."""
    return explain(server.default.journal.last, server.default)


def app_changed(name, **changed):
    """An engine one of whose apps is configured otherwise."""
    apps = [replace(app, **changed) if app.name == name else app for app in template().apps]
    return engine(apps=tuple(apps))


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "evidence"),
    [
        ((), "the request has no Authorization header"),
        ((("Authorization", " "),), "the Authorization header is empty"),
        (
            (("X-Api-Key", KEYS["chat"]),),
            "the header x-api-key carries a key that would open, but Dify does not look there",
        ),
        (
            (("Authorization", KEYS["chat"]),),
            "the Authorization header is the bare key app-…demo, without a scheme before it",
        ),
        ((("Authorization", f"Basic {KEYS['chat']}"),), "the Authorization header's scheme is 'Basic'"),
        (
            (("Authorization", f"Bearer Bearer {KEYS['chat']}"),),
            "the header has the word Bearer twice; inside is the key of app 'chat'",
        ),
        (
            (("Authorization", f'Bearer "{KEYS["chat"]}"'),),
            "the header has quotes or brackets around it; inside is the key of app 'chat'",
        ),
        ((("Authorization", "Bearer {api_key}"),), "it looks like a placeholder that was never filled in"),
        ((("Authorization", "Bearer app-other-server"),), "the key app-…rver is unknown here"),
        ((("Authorization", "Bearer dataset-demo"),), "is for /v1/datasets; this path belongs to an app"),
    ],
)
def test_a_refused_key_is_told_with_what_was_sent(server, headers, evidence):
    assert ask(server, "GET", "/v1/info", headers=headers).status == 401
    told = why(server)
    assert any(evidence in one for one in told.evidence), told.evidence
    assert told.fix


def test_a_mistyped_key_is_told_with_the_nearest_and_neither_is_shown(server):
    ask(server, "GET", "/v1/info", key="app-chat-dem0")
    told = why(server)
    assert told.nearest == ("app-…demo, the key 'default' of app 'chat': 1 of its 13 characters is another",)
    assert "app-chat-dem" not in str(told)


def test_a_revoked_key_is_told_with_when_and_its_successor(server):
    made = control(server, "POST", "/apps/chat/keys/default/rotate").json
    server.default.clock.advance(90)
    ask(server, "GET", "/v1/info", key=KEYS["chat"])
    told = why(server)
    assert told.rule == "a revoked key opens nothing, from the next call on"
    assert told.evidence[0] == "the key 'default' (app-…demo) of app 'chat' was revoked 90 s before this request"
    assert told.nearest == (f"its successor is app-…{made['token'][-4:]} ({made['id']})",)


def test_an_expired_key_is_told(server):
    made = control(server, "POST", "/apps/chat/keys", {"name": "x", "expires_in": "1m"}).json
    server.default.clock.advance(3600)
    ask(server, "GET", "/v1/info", key=made["token"])
    assert "expired 59 min before this request" in why(server).evidence[0]


def test_an_apps_key_at_the_knowledge_api_is_told(server):
    ask(server, "GET", "/v1/datasets", key=KEYS["chat"])
    assert why(server).rule == "the knowledge API wants a knowledge key"


def test_a_switched_off_app_is_told():
    server = app_changed("chat", api_enabled=False)
    assert ask(server, "GET", "/v1/info", key=KEYS["chat"]).status == 403
    told = why(server)
    assert told.evidence == ("the key app-…demo is known, but the API of its app 'chat' is switched off",)
    assert "api_enabled = true" in told.fix[0]


# --- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "nearest", "evidence"),
    [
        ("/v1/chat-messages/", CHAT, "differs from /v1/chat-messages by a slash at the end"),
        ("/chat-messages", CHAT, "by the missing prefix /v1"),
        ("/v1/v1/info", "/v1/info", "by the prefix /v1 twice, as a base URL that has it already gives"),
        ("/api/info", "/v1/info", "by the prefix /api, which is the WebApp's, instead of /v1"),
        ("/V1/Info/", "/v1/info", "by upper case letters and a slash at the end"),
        ("/v1/chat_messages", CHAT, "by underscores instead of hyphens"),
        ("/v1/chat-message", CHAT, "'chat-message' instead of 'chat-messages' ('s' is missing)"),
        ("/v1/infos", "/v1/info", "'infos' instead of 'info' ('s' is too much)"),
        (
            "/v1/messages/abc/suggested",
            "/v1/messages/<uuid:message_id>/suggested",
            "'abc' is no UUID, which <uuid:message_id> wants",
        ),
        ("/v1/messages/1/2/3", "/v1/messages", "it has 5 parts, /v1/messages has 2"),
    ],
)
def test_an_unknown_path_is_told_with_what_differs(server, path, nearest, evidence):
    assert ask(server, "POST", path, key=KEYS["chat"]).status == 404
    told = why(server)
    assert told.nearest == (nearest,)
    assert evidence in told.evidence[0] or evidence in told.evidence[1]
    assert told.fix == (f"ask for {nearest}",)


def test_a_path_like_no_other_is_told_all_the_same(server):
    ask(server, "GET", "/zzzzzz", key=KEYS["chat"])
    assert why(server).evidence == ("there is no route for /zzzzzz",)


def test_a_wrong_method_is_told_with_the_right_ones(server):
    ask(server, "GET", CHAT, key=KEYS["chat"])
    assert why(server).evidence == ("GET was sent to /v1/chat-messages, which has OPTIONS, POST",)


def test_a_redirect_is_told(server):
    assert ask(server, "GET", "/v1//info", key=KEYS["chat"]).status == 308
    assert "doubled slashes" in why(server).rule


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "evidence"),
    [
        (b'{"query": "x" 1}', "JSON breaks at line 1 column 15: Expecting ',' delimiter"),
        (b'{"query":\n "x" "y"}', "JSON breaks at line 2 column 6: Expecting ',' delimiter"),
        (b'{"query": "x",}', "there is a comma before a closing bracket, which JSON does not allow"),
        (b"{'query': 'x'}", "it has single quotes, as Python prints a dict; JSON wants double ones"),
        (b"query=x&user=y", "it looks like a form (name=value&…), not like JSON"),
        (b'{"a": None}', "there is a word such as None or True that is Python's"),
        (b"\xff\xfe", "the body is not UTF-8: byte 0xff at offset 0"),
        (b'{"a": NaN}', "Dify's reader refuses it"),
        (b" ", "JSON breaks at line 1 column 2"),
    ],
)
def test_a_body_that_is_no_json_is_told_where_it_breaks(server, body, evidence):
    assert ask(server, "POST", CHAT, body, key=KEYS["chat"]).status == 400
    assert any(evidence in one for one in why(server).evidence), why(server).evidence


def test_an_empty_body_is_told(server):
    ask(server, "POST", CHAT, key=KEYS["chat"], headers=(("Content-Type", "application/json"),))
    assert why(server).evidence == ("the body is empty",)


def test_a_wrong_content_type_is_told(server):
    ask(server, "POST", CHAT, b'{"query": "x"}', key=KEYS["chat"], headers=(("Content-Type", "text/plain"),))
    assert why(server).evidence == ("the Content-Type is 'text/plain'", "the body itself is JSON")


def test_a_missing_user_is_told_with_what_looks_like_one(server):
    ask(server, "POST", f"{CHAT}?user=x", {"inputs": {}, "query": "x", "usr": "a"}, key=KEYS["chat"])
    told = why(server)
    assert told.nearest == ("the body has 'usr'",)
    assert "the query has a `user`, but this endpoint reads it from the body" in told.evidence


def test_wrong_fields_are_told_one_by_one(server):
    body = {"input": {}, "query": 5, "user": "a", "response_mode": "stream"}
    ask(server, "POST", CHAT, body, key=KEYS["chat"])
    told = why(server)
    assert told.evidence == (
        "`inputs` is missing",
        "`query` is 5 (int): input should be a valid string",
        "`response_mode` is 'stream' (str): input should be 'blocking' or 'streaming'",
    )
    assert told.nearest == ("there is 'input'",)


@pytest.mark.parametrize("mode", ["blocking", "streaming"])
def test_a_missing_input_is_told_with_the_form(server, mode):
    """A streaming workflow says 200 and fails inside; the reason is the same."""
    body = {"inputs": {"qery": "x"}, "query": "y", "user": "a", "response_mode": mode}
    ask(server, "POST", "/v1/workflows/run", body, key=KEYS["workflow"])
    told = why(server)
    assert told.rule == "input `query` is required by the app's form"
    assert told.evidence[0] == "the form of app 'workflow' says: `query`, paragraph, required"
    assert "'query' stands in the body beside `inputs`, not in it" in told.evidence
    assert told.nearest == ("`inputs` has 'qery'",)


def test_a_wrong_input_is_told_with_its_value(server):
    ask(
        server,
        "POST",
        "/v1/completion-messages",
        {"inputs": {"query": 5}, "user": "a", "response_mode": "blocking"},
        key=KEYS["completion"],
    )
    assert "`inputs.query` is 5 (int)" in why(server).evidence


def test_an_app_of_another_mode_is_told_with_those_that_fit(server):
    chat(server, key=KEYS["workflow"])
    told = why(server)
    assert told.evidence == ("the key opens app 'workflow', whose mode is workflow",)
    assert "app 'chat' has such a mode" in told.nearest
    assert told.fix[0] == "a workflow app is asked by POST /v1/workflows/run"


def test_an_unpublished_app_is_told():
    server = app_changed("workflow", published=False)
    body = {"inputs": {"query": "x", "name": "n", "text": "t"}, "user": "a", "response_mode": "blocking"}
    ask(server, "POST", "/v1/workflows/run", body, key=KEYS["workflow"])
    assert why(server).evidence == ("app 'workflow' is not published",)


def test_an_agent_in_blocking_mode_is_told(server):
    ask(server, "POST", CHAT, {"inputs": {}, "query": "x", "user": "u"}, key=KEYS["agent"])
    assert why(server).evidence == ("`response_mode` is None, and left out it means blocking",)


def test_an_empty_query_is_told(server):
    chat(server, "")
    assert why(server).evidence == ("`query` is ''",)


@pytest.mark.parametrize(
    ("body", "evidence"),
    [(b"[1]", "the body is JSON, but no object"), ({**chat_body(), "user": "u" * 300}, "`user` has 300 characters")],
)
def test_what_dify_does_not_handle_is_told(server, body, evidence):
    assert ask(server, "POST", CHAT, body, key=KEYS["chat"]).status == 500
    assert any(evidence in one for one in why(server).evidence)


def test_an_unknown_model_is_told():
    server = engine(models=frozenset({"other/model"}))
    assert chat(server).status == 400
    assert "`models` has: other/model" in why(server).evidence


# --- things ----------------------------------------------------------------------------------------------------------


def test_another_users_conversation_is_told_with_its_owner(server):
    conversation = chat(server, user="bob").json["conversation_id"]
    assert chat(server, conversation_id=conversation).status == 404
    told = why(server)
    assert told.verdict == "POST /v1/chat-messages → 404 not_found 'Conversation Not Exists.'"
    assert told.evidence == (
        f"conversation_id: conversation {conversation} exists, but belongs to user 'bob' of app 'chat'",
        "the request came from user 'alice' of app 'chat'",
    )
    assert told.fix[0] == "send user='bob', the one who made it"


def test_another_apps_conversation_is_told(server):
    conversation = chat(server).json["conversation_id"]
    chat(server, conversation_id=conversation, key=KEYS["agent"], streaming=True)
    assert "use the key of app 'chat'" in why(server).fix


def test_a_webapp_conversation_is_told_as_such(server):
    conversation = control(server, "POST", "/apps/chat/conversations", {"user": "bob"}).json["id"]
    chat(server, user="bob", conversation_id=conversation)
    assert "was made in the WebApp by 'bob': the API does not see it" in why(server).evidence[0]
    shared = {"user": "bob", "shared_session": True}
    conversation = control(server, "POST", "/apps/chat/conversations", shared).json["id"]
    chat(server, conversation_id=conversation)
    assert "was made in the WebApp, so that lists leave it out" in why(server).evidence[0]


def test_a_deleted_conversation_is_told_with_who_deleted_it(server):
    conversation = chat(server).json["conversation_id"]
    ask(server, "DELETE", f"/v1/conversations/{conversation}", {"user": "alice"}, key=KEYS["chat"])
    server.default.clock.advance(3)
    chat(server, conversation_id=conversation)
    assert f"{conversation} was deleted 3 s before by exchange 2, user 'alice' of app 'chat'" in why(server).evidence[0]


def test_an_id_that_never_was_is_told_and_the_near_one_found(server):
    conversation = chat(server).json["conversation_id"]
    slip = ("0" if conversation[0] != "0" else "1") + conversation[1:]
    chat(server, conversation_id=slip)
    told = why(server)
    assert f"{slip} was never given out by this workspace" in told.evidence[0]
    assert told.nearest == (f"conversation_id: conversation {conversation}",)


def test_an_id_of_another_kind_is_told(server):
    message = chat(server).json["message_id"]
    chat(server, conversation_id=message)
    told = why(server)
    assert f"message {message} exists, but belongs to user 'alice'" in told.evidence[0]
    assert told.fix[0] == "send the id of a conversation as conversation_id; this is the id of a message"
    assert not any("send user=" in one for one in told.fix)


def test_a_request_without_user_is_told_whom_it_came_from(server):
    conversation = chat(server).json["conversation_id"]
    ask(server, "GET", f"/v1/messages?conversation_id={conversation}", key=KEYS["chat"])
    assert any("it came from the user DEFAULT-USER" in one for one in why(server).evidence)


def test_another_users_upload_is_told(server):
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nx\r\n'
    )
    form += b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\nbob\r\n--b--\r\n'
    upload = ask(
        server,
        "POST",
        "/v1/files/upload",
        form,
        key=KEYS["chat"],
        headers=(("Content-Type", "multipart/form-data; boundary=b"),),
    ).json["id"]
    files = [{"type": "image", "transfer_method": "local_file", "upload_file_id": upload}]
    assert ask(server, "POST", CHAT, {**chat_body(), "files": files}, key=KEYS["chat"]).status == 400
    assert why(server).evidence[0] == f"upload {upload} exists, but belongs to user 'bob' of app 'chat'"


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_fault_over_http_is_told_with_its_rule(server):
    body = {"fault": "rate-limit", "on": f"POST {CHAT}", "when": {"user": "bob"}, "times": 2}
    control(server, "POST", "/faults", body)
    chat(server, user="bob")
    told = why(server)
    who = "rule 1 (POST /_mockdify/faults; on POST /v1/chat-messages, user = 'bob')"
    assert f"rate-limit was injected as {who}; it struck 1 of 2 times so far" in told.evidence
    assert told.fix == ("DELETE /_mockdify/faults/1 takes it back",)


def test_a_fault_from_python_is_told_as_such(server):
    server.default.faults.inject("server-error")
    chat(server)
    assert any("in Python or by the configuration" in one for one in why(server).evidence)


def test_a_fault_in_the_header_and_one_in_the_key_are_told(server):
    chat(server, headers=(("X-Mockdify-Fault", "cut; after=2"),), streaming=True)
    assert "cut was named by the request's header X-Mockdify-Fault: cut; after=2" in why(server).evidence
    chat(server, key=f"{KEYS['chat']}!server-error*1")
    assert "server-error is written into the API key, behind the '!': server-error*1" in why(server).evidence


@pytest.mark.parametrize(
    ("fault", "said", "words"),
    [
        ("cut", {}, "it concerns streams, and this answer is none"),
        ("cut", {"query": ""}, "it concerns streams, and this answer is none"),
        ("rate-limit; after=1", {}, "its times are used up, or its other conditions"),
        ("quota-exhausted; probability=0", {}, "its times are used up, or its other conditions"),
    ],
)
def test_a_fault_that_was_named_and_did_not_strike_is_told(server, fault, said, words):
    ask(
        server,
        "POST",
        CHAT,
        chat_body(**{"query": "hi", **said}),
        key=KEYS["chat"],
        headers=(("X-Mockdify-Fault", fault),),
    )
    assert f"the fault {fault!r} did not strike: {words}" in why(server).evidence[-1]
    ask(server, "POST", CHAT, chat_body(**{"query": "hi", **said}), key=f"{KEYS['chat']}!{fault.replace(' ', '')}")
    assert any(words in one for one in why(server).evidence)


def test_a_fault_that_no_key_let_in_is_told(server):
    ask(server, "GET", "/v1/nothing", key=KEYS["chat"], headers=(("X-Mockdify-Fault", "reset"),))
    assert (
        "the fault 'reset' did not strike: faults strike what an app's key and a known path let in"
        in why(server).evidence
    )


def test_a_fault_that_was_taken_back_is_told(server):
    control(server, "POST", "/faults", {"fault": "rate-limit"})
    chat(server)
    control(server, "DELETE", "/faults")
    assert "rate-limit was injected by a rule that is not there any more" in why(server).evidence


def test_an_unknown_fault_is_told(server):
    chat(server, headers=(("X-Mockdify-Fault", "cutt"),))
    assert "there is no fault 'cutt'; did you mean 'cut'" in why(server).evidence[0]


LIMITS = {
    "quota": ("2 per hour", "quota, 2 in 3600 s per workspace"),
    "edge": ("2 per minute", "edge, 2 in 60 s per key"),
}


@pytest.mark.parametrize("kind", LIMITS)
def test_a_limit_is_told(kind):
    rate, words = LIMITS[kind]
    server = engine(limits=limits_of({kind: rate}))
    assert [chat(server).status for _ in range(3)][-1] == 429
    told = why(server)
    assert told.evidence == (f"there is a limit: {words}",)
    assert ("Retry-After" in told.fix[0]) == (kind == "edge")


def test_too_many_at_once_are_told():
    server = engine(limits=limits_of({"concurrency": 1}))
    steps = begun(server)
    assert chat(server).status == 400
    assert why(server).evidence == ("there is a limit: concurrency, 1 at once per app",)
    steps.close()


# --- answers ---------------------------------------------------------------------------------------------------------

RULES = (
    Rule(label="one", when=When(query="hello world"), answer="A"),
    Rule(label="two", when=When(user="zed", query="hello"), answer="B"),
    Rule(label="three", when=When(turn=2), answer="C"),
    Rule(label="four", when=When(query="fail"), fails="rate-limit", message="slow down"),
    Rule(label="elsewhere", when=When(app="agent"), answer="D"),
)


@pytest.fixture
def scripted():
    return engine(make_script=lambda: Script(rules=RULES))


def test_the_answer_that_was_used_is_told_with_its_conditions(scripted):
    chat(scripted, user="zed")
    assert why(scripted).evidence == ("the scripted answer two was used", "✓ user 'zed'", "✓ query 'hello'")


def test_the_closest_answers_are_told_with_a_mark_for_each_condition(scripted):
    chat(scripted, "hello")
    told = why(scripted)
    assert told.evidence[0].startswith("no scripted answer matched")
    assert told.nearest[0] == "one: ✗ query: wanted 'hello world', got 'hello'"
    assert "two: ✗ user: wanted 'zed', got 'alice'  ✓ query 'hello'" in told.nearest
    assert not any("elsewhere" in one for one in told.nearest)


def test_the_turn_is_the_messages_place_in_its_conversation(scripted):
    conversation = chat(scripted).json["conversation_id"]
    for _ in range(2):
        chat(scripted, conversation_id=conversation)
    second, third = scripted.default.journal[1:]
    assert "✓ turn 2" in explain(second, scripted.default).evidence
    assert "three: ✗ turn: wanted 2, got 3" in explain(third, scripted.default).nearest


def test_nothing_scripted_is_told(server):
    chat(server)
    told = why(server)
    assert told.evidence == ("nothing is scripted for app 'chat', so that a text that quotes the query was given",)
    assert told.nearest == ()


@pytest.mark.parametrize("streaming", [False, True])
def test_a_model_that_fails_by_script_is_told(scripted, streaming):
    chat(scripted, "fail", streaming=streaming)
    told = why(scripted)
    assert told.evidence == ("the scripted answer four makes the model fail: 'rate-limit'", "✓ query 'fail'")
    assert ("as an error event" in told.verdict) == streaming


def test_a_node_that_fails_by_script_is_told():
    llm = next(
        node["id"]
        for node in next(app for app in template().apps if app.name == "workflow").load().workflow["graph"]["nodes"]
        if node["data"]["type"] == "llm"
    )
    script = {"workflow": [NodeScript(node=llm, fails="boom")]}
    server = engine(make_script=lambda: Script(nodes=script))
    body = {"inputs": {"query": "x", "name": "n", "text": "t"}, "user": "a", "response_mode": "streaming"}
    ask(server, "POST", "/v1/workflows/run", body, key=KEYS["workflow"])
    told = why(server)
    assert "but the run failed: 'boom'" in told.verdict
    assert f"a script says that node '{llm}' (llm) fails with 'boom'" in told.evidence


# --- ends and violations ---------------------------------------------------------------------------------------------


def begun(server):
    steps = server.handle(request("POST", CHAT, chat_body("a b", streaming=True), key=KEYS["chat"]))
    next(steps)
    next(steps)
    return steps


def test_a_client_that_left_is_told(server):
    begun(server).close()
    told = why(server)
    assert told.rule == "the client closed the connection before the reply was over"
    assert told.evidence[0].startswith("it had been sent 1 events")


def test_a_reply_under_way_is_told(server):
    steps = begun(server)
    assert why(server).rule == "the reply is still under way"
    steps.close()


def test_an_off_contract_request_that_was_served_is_told(server):
    ask(server, "POST", CHAT, {**chat_body(), "auto_generate_name": "yes"}, key=KEYS["chat"])
    assert any(one.startswith("off contract: ") for one in why(server).evidence)


# --- the table of plain refusals -------------------------------------------------------------------------------------

UPLOAD = b'--b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\nx\r\n--b--\r\n'
FORM = (("Content-Type", "multipart/form-data; boundary=b"),)
IMAGE = {"type": "image", "transfer_method": "remote_url", "url": "http://x.invalid/a.png"}


@pytest.mark.parametrize(
    ("asked", "body", "app", "rule_and_evidence"),
    [
        (
            "POST /files/upload",
            UPLOAD % (b"document", b"a.png"),
            "chat",
            ("one part called `file`", "the form's 'document' is the file 'a.png' of 1 bytes"),
        ),
        (
            "POST /files/upload",
            UPLOAD.replace(b"\r\n\r\n", b"\r\nContent-Type: image/png\r\n\r\n") % (b"file", b"a/b.png"),
            "chat",
            ("no slashes", "the form's 'file' is the file 'a/b.png'"),
        ),
        (
            "POST /files/upload",
            UPLOAD % (b"file", b"a.png"),
            "chat",
            ("says its Content-Type", "'file' is the file 'a.png'"),
        ),
        (
            "POST /audio-to-text",
            UPLOAD % (b"sound", b"a.mp3"),
            "chat",
            ("one part called `file`", "the form's 'sound'"),
        ),
        (
            "POST /audio-to-text",
            UPLOAD % (b"file", b"a.txt"),
            "chat",
            ("audio is mp3", "the form's 'file' is the file 'a.txt'"),
        ),
        (
            "POST /audio-to-text",
            UPLOAD % (b"file", b"a.mp3"),
            "agent",
            ("speech is switched on", "the key opens app 'agent'"),
        ),
        ("POST /text-to-audio", {"user": "u"}, "chat", ("speech is made of a `text`", "there is no `text`")),
        (
            "POST /text-to-audio",
            {"user": "u", "text": "x"},
            "agent",
            ("speech is switched on", "the key opens app 'agent'"),
        ),
        (
            "POST /chat-messages",
            {"files": [{**IMAGE, "transfer_method": "zzz"}]},
            "chat",
            ("transfer_method is local_file", "'transfer_method': 'zzz'"),
        ),
        (
            "POST /chat-messages",
            {"files": [{**IMAGE, "type": "video"}]},
            "chat",
            ("one the app takes", "app 'chat' takes image or document by"),
        ),
        ("POST /chat-messages", {"files": [IMAGE] * 99}, "chat", ("takes so many files", "at most")),
        ("POST /workflows/zzz/run", {}, "workflow", ("named by a UUID", "Invalid workflow_id format")),
        (
            "GET /workflows/logs?created_at__before=zzz",
            None,
            "workflow",
            ("times are ISO 8601", "`created_at__before` is 'zzz'"),
        ),
        (
            "GET /workflows/logs?created_by_account=a@b.c",
            None,
            "workflow",
            ("the mock has no accounts", "`created_by_account` is 'a@b.c'"),
        ),
        ("GET /datasets", None, "dataset", ("not the knowledge API", "does not serve the knowledge API")),
    ],
)
def test_a_plain_refusal_is_told(server, asked, body, app, rule_and_evidence):
    said = {"inputs": {}, "query": "hi", "user": "u"} | body if isinstance(body, dict) else body
    headers = FORM if isinstance(body, bytes) else ()
    method, _, path = asked.partition(" ")
    got = ask(server, method, f"/v1{path}", said, key={**KEYS, "dataset": "dataset-demo"}[app], headers=headers)
    assert got.status >= 400
    told, (rule, evidence) = why(server), rule_and_evidence
    assert rule in told.rule
    assert any(evidence in one for one in told.evidence), told.evidence
    assert told.fix


def test_every_plain_refusal_says_what_to_do():
    assert all(row.rule and row.fix and (row.code or row.says) for row in PLAIN)


# --- the table, and laws ---------------------------------------------------------------------------------------------


def test_the_text_has_all_of_it(server):
    chat(server, "")
    told = why(server)
    assert str(told).splitlines()[0] == f"exchange 1: {told.verdict}"
    assert all(part in str(told) for part in (told.rule, *told.evidence, *told.nearest, *told.fix))
    assert told.as_dict()["text"] == str(told)


def test_each_row_says_when_it_is_meant():
    assert all(
        row.status is not None or row.code or row.says or row.explain.__name__ in ("model_failed", "plain")
        for row in ROWS
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "files", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)
bodies = st.dictionaries(
    st.sampled_from(["inputs", "query", "user", "response_mode", "conversation_id", "files", "name", "rating"]),
    json_values,
)
PATHS = (CHAT, "/v1/completion-messages", "/v1/workflows/run", "/v1/conversations", "/v1/messages", "/v1/files/upload")


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.sampled_from([*PATHS, "/v1/conversations/x/name", "/v1", "/"]) | st.text(max_size=12).map("/v1/{}".format),
    st.sampled_from([*KEYS.values(), "dataset-demo", "nope", None]),
    bodies | st.binary(max_size=20),
)
def test_whatever_was_asked_is_explained(method, path, key, body):
    server = engine()
    ask(server, method, path, body, key=key)
    told = why(server)
    assert told.verdict
    assert told.rule
    assert told.evidence or told.fix
