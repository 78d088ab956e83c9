"""What the profile `guide` answers: the shapes, inputs and errors of the guide, told in examples."""

from dataclasses import replace
from decimal import Decimal

import pytest

from mockdify.apps import Moderation
from mockdify.errors import MockdifyError
from mockdify.profiles import PROFILES, differences, profile_named
from mockdify.script import Rule

USAGE_KEYS = [
    *("prompt_tokens", "prompt_unit_price", "prompt_price_unit", "prompt_price"),
    *("completion_tokens", "completion_unit_price", "completion_price_unit", "completion_price"),
    *("total_tokens", "total_price", "currency", "latency"),
]


def script(server, **said):
    server.workspace.script.add(Rule(**said))
    return server


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_blocking_chat_answer_has_the_guides_five_fields(guide):
    said = script(guide, answer="Hello! How can I help?").chat()
    assert said.status == 200
    assert list(said.json) == ["result", "conversation_id", "message_id", "created_at", "metadata"]
    assert said.json["result"] == "Hello! How can I help?"
    assert said.json["created_at"] == 1_678_901_234
    assert list(said.json["metadata"]) == ["usage"]
    assert list(said.json["metadata"]["usage"]) == USAGE_KEYS


def test_a_completion_has_no_conversation(guide):
    assert list(guide.complete().json) == ["result", "message_id", "created_at", "metadata"]


@pytest.mark.parametrize(
    ("tokens", "prices", "total"),
    [((10, 20), ("0.0001", "0.0004"), "0.0005"), ((15, 25), ("0.00015", "0.0005"), "0.00065")],
)
def test_prices_are_tokens_times_unit_price_as_in_the_guides_two_samples(guide, tokens, prices, total):
    """Its unit says "1K tokens", its figures do not: they are those of single tokens."""
    usage = {
        "prompt_tokens": tokens[0],
        "completion_tokens": tokens[1],
        "total_tokens": sum(tokens),
        "prompt_unit_price": "0.00001",
        "completion_unit_price": "0.00002",
    }
    shown = script(guide, answer="Hi", usage=usage).chat().json["metadata"]["usage"]
    assert (shown["prompt_price"], shown["completion_price"], shown["total_price"]) == (*prices, total)
    assert shown["prompt_price_unit"] == shown["completion_price_unit"] == "1K tokens"
    assert Decimal(shown["total_price"]) == sum(map(Decimal, prices))
    assert (shown["total_tokens"], shown["currency"]) == (sum(tokens), "USD")


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", ["chat", "chatflow"])
def test_a_stream_repeats_the_text_so_far_and_ends_with_its_usage(guide, app):
    said = script(guide, chunks=("Hello", ", how", " are")).chat(app=app, mode="streaming")
    *messages, end = said.events
    assert [event["answer"] for event in messages] == ["Hello", "Hello, how", "Hello, how are"]
    assert said.names == ["message"] * 3 + ["message_end"]
    assert all(list(event) == ["event", "task_id", "id", "answer", "conversation_id"] for event in messages)
    assert list(end) == ["event", "task_id", "id", "metadata", "conversation_id"]
    assert list(end["metadata"]["usage"]) == USAGE_KEYS


def test_by_option_a_stream_carries_deltas(dify):
    said = script(dify("guide-delta"), chunks=("Hello", ", how", " are")).chat(mode="streaming")
    assert [event.get("answer") for event in said.events] == ["Hello", ", how", " are", None]


def test_no_ping_interrupts_a_slow_stream(dify):
    pinged = script(dify("1.16"), chunks=("a", "b"), pace=25.0)
    assert pinged.chat(mode="streaming").body.count(b"event: ping") == 2
    quiet = script(dify("guide"), chunks=("a", "b"), pace=25.0).chat(mode="streaming")
    assert quiet.names == ["message", "message", "message_end"]
    assert b"ping" not in quiet.body


def test_a_streamed_conversation_can_go_on(guide):
    """The one field that the guide does not show: without it nobody could ask a second question."""
    first = guide.chat(mode="streaming").events[0]["conversation_id"]
    assert guide.chat(mode="streaming", conversation_id=first).events[-1]["conversation_id"] == first


def test_a_replaced_answer_is_the_next_text_so_far(configured):
    text = '[[apps]]\ndsl = "chat.yml"\n[[apps.answers]]\nchunks = ["a ", "secret"]\n'
    server = configured(text, "guide")
    moderated = _moderating(server, "secret", "Not said.")
    assert [event.get("answer") for event in moderated.chat(mode="streaming").events] == [
        "a ",
        "a secret",
        "Not said.",
        None,
    ]
    assert moderated.chat().json["result"] == "Not said."


def _moderating(server, word, instead):
    installed = server.workspace.apps["chat"]
    features = replace(
        installed.app.features, moderation=Moderation(type="keywords", keywords=(word,), output_response=instead)
    )
    installed.app = replace(installed.app, features=features)
    return server


def test_a_model_that_fails_in_a_stream_is_an_error_event(guide):
    said = script(guide, chunks=("a", "b"), fails="connection", after=1).chat(mode="streaming")
    assert said.names == ["message", "error"]
    error = said.events[-1]
    assert list(error) == ["event", "task_id", "message_id", "conversation_id", "code", "status", "message"]
    assert (error["code"], error["status"]) == ("completion_request_error", 400)


def test_a_failed_run_of_a_chatflow_says_the_same_in_both_modes(guide):
    script(guide, fails="connection")
    blocking, streamed = guide.chat(app="chatflow"), guide.chat(app="chatflow", mode="streaming")
    assert streamed.names == ["error"]
    assert (blocking.status, streamed.events[0]["status"]) == (400, 400)
    assert streamed.events[0]["message"] == blocking.json["message"]


def test_an_injected_error_event_names_what_the_guides_events_name(guide):
    guide.workspace.faults.inject("error-event", after=1)
    said = guide.chat(mode="streaming")
    assert said.names == ["message", "error"]
    assert said.events[1]["task_id"] == said.events[0]["task_id"]
    assert said.events[1]["conversation_id"] == said.events[0]["conversation_id"]


def test_a_cut_counts_the_guides_events(guide):
    guide.workspace.faults.inject("cut", after=2)
    assert guide.chat(app="chatflow", mode="streaming").names == ["message", "message"]


# --- what a request may look like ------------------------------------------------------------------------------------


def test_later_turns_need_no_inputs_and_those_they_send_are_ignored(configured, tmp_path):
    server = configured('[[apps]]\ndsl = "chat.yml"\n[[apps.answers]]\nanswer = "{{ inputs }}"\n', "guide")
    name = server.workspace.apps["chat"].app.form[0].name if server.workspace.apps["chat"].app.form else None
    first = server.chat(inputs={name: "one"} if name else {})
    conversation = first.json["conversation_id"]
    body = {"query": "again", "user": "alice", "response_mode": "blocking", "conversation_id": conversation}
    assert server.send("POST", "/v1/chat-messages", body).json["result"] == first.json["result"]
    for ignored in ({name: "two"} if name else {"x": 1}, None, "no object", [1]):
        later = server.chat(conversation_id=conversation, inputs=ignored)
        assert later.json["result"] == first.json["result"]


def test_a_first_turn_needs_inputs(guide):
    for conversation in ({}, {"conversation_id": ""}, {"conversation_id": None}):
        body = {"query": "hi", "user": "alice", "response_mode": "blocking", **conversation}
        assert guide.send("POST", "/v1/chat-messages", body).json["code"] == "invalid_param"


def test_a_release_of_dify_wants_inputs_every_time(dify):
    server = dify("1.16")
    conversation = server.chat().json["conversation_id"]
    body = {"query": "again", "user": "alice", "conversation_id": conversation}
    assert server.send("POST", "/v1/chat-messages", body).status == 400


def test_the_guides_text_is_taken_for_the_prompts_query(dify):
    """The guide sends `inputs.text` to any completion app; the demo app's form has `query`."""
    assert "How are you?" in dify("guide").complete("How are you?", name="text").json["result"]
    assert dify("1.16").complete("How are you?", name="text").status == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_json_is_read_whatever_its_type_says(dify, kind):
    assert dify("guide").chat(headers={"Content-Type": kind}).status == 200
    assert dify("1.16").chat(headers={"Content-Type": kind}).status == 415


# --- variables -------------------------------------------------------------------------------------------------------


def variables(server, conversation, app="chatflow"):
    listed = server.get(f"/v1/conversations/{conversation}/variables?user=alice", app=app).json["data"]
    return {one["name"]: one["value"] for one in listed}


def test_variables_in_a_chat_body_set_the_conversations_variables(guide):
    conversation = guide.chat(app="chatflow").json["conversation_id"]
    assert variables(guide, conversation) == {"memo": ""}
    body = {"query": "Speak Chinese", "user": "alice", "response_mode": "streaming", "conversation_id": conversation}
    guide.send(
        "POST", "/v1/chat-messages", {**body, "variables": {"memo": "zh", "language": "Chinese"}}, app="chatflow"
    )
    assert variables(guide, conversation) == {"memo": "zh", "language": "Chinese"}


def test_a_variable_of_nobodys_can_be_changed_by_its_id(guide):
    conversation = guide.chat(app="chatflow", variables={"tone": "kind"}).json["conversation_id"]
    path = f"/v1/conversations/{conversation}/variables"
    (tone,) = (one for one in guide.get(f"{path}?user=alice", app="chatflow").json["data"] if one["name"] == "tone")
    body = {"user": "alice", "value": "curt"}
    assert guide.send("PUT", f"{path}/{tone['id']}", body, app="chatflow").json["value"] == "curt"
    assert variables(guide, conversation)["tone"] == "curt"


def test_variables_of_a_new_conversation_and_of_a_plain_chat_are_kept_too(guide):
    conversation = guide.chat(variables={"language": "Chinese", "level": 3}).json["conversation_id"]
    assert variables(guide, conversation, "chat") == {"language": "Chinese", "level": "3"}


@pytest.mark.parametrize(("said", "code"), [({"memo": 3}, "bad_request"), ("Chinese", "invalid_param")])
def test_variables_that_cannot_be_set_are_refused_and_leave_nothing(guide, said, code):
    refused = guide.chat(app="chatflow", variables=said)
    assert (refused.status, refused.json["code"]) == (400, code)
    assert guide.get("/v1/conversations?user=alice", app="chatflow").json["data"] == []


def test_a_release_of_dify_ignores_variables(dify):
    server = dify("1.16")
    conversation = server.chat(app="chatflow", variables={"memo": "zh"}).json["conversation_id"]
    assert variables(server, conversation) == {"memo": ""}


# --- errors ----------------------------------------------------------------------------------------------------------


def test_the_guides_four_errors_have_one_shape(guide):
    met = [
        guide.chat(query=""),
        guide.send("POST", "/v1/chat-messages", b"no json"),
        guide.send("POST", "/v1/chat-messages", {}, key="app-unknown"),
        script(guide, fails="rate-limit").chat(),
        guide.chat(headers={"X-Mockdify-Fault": "server-error"}),
    ]
    assert [said.status for said in met] == [400, 400, 401, 429, 500]
    for said in met:
        assert list(said.json) == ["code", "message", "status"]
        assert said.json["status"] == said.status


def test_a_rate_limited_model_is_429_in_both_modes(guide):
    script(guide, fails="rate-limit")
    blocking, streamed = guide.chat(), guide.chat(mode="streaming")
    assert (blocking.status, blocking.json["code"]) == (429, "too_many_requests")
    assert (streamed.events[0]["status"], streamed.events[0]["code"]) == (429, "too_many_requests")


def test_unknown_paths_and_things_are_json_without_advice(guide):
    unknown = guide.get("/v1/chat-message")
    assert (unknown.status, unknown.headers["Content-Type"], unknown.json["code"]) == (
        404,
        "application/json",
        "not_found",
    )
    foreign = guide.chat(conversation_id="00000000-0000-4000-8000-000000000000")
    assert (foreign.status, foreign.json["message"]) == (404, "Conversation Not Exists.")


def test_a_bad_streaming_request_is_an_http_error_also_for_a_chatflow(guide):
    assert guide.chat(query="", app="chatflow", mode="streaming").status == 400


# --- where the guide is silent ---------------------------------------------------------------------------------------


def test_agents_and_workflows_answer_as_dify_does(dify):
    guide, release = dify("guide"), dify("1.16")
    body = {"inputs": {"query": "hi"}, "user": "alice", "response_mode": "streaming"}
    for ask in (
        lambda server: server.chat("what time is it?", app="agent", mode="streaming"),
        lambda server: server.send("POST", "/v1/workflows/run", body, app="workflow"),
        lambda server: server.get("/v1/parameters"),
        lambda server: server.get("/v1/conversations?user=alice"),
    ):
        assert ask(guide).body == ask(release).body


def test_isolation_holds(guide):
    conversation = guide.chat(user="alice").json["conversation_id"]
    assert guide.chat(user="bob", conversation_id=conversation).status == 404


# --- the profile -----------------------------------------------------------------------------------------------------


def test_an_app_may_have_a_profile_of_its_own(configured):
    text = '[[apps]]\ndsl = "chat.yml"\nprofile = "guide"\n[[apps]]\ndsl = "chatflow.yml"\n'
    server = configured(text)
    assert "result" in server.chat().json
    assert "answer" in server.chat(app="chatflow").json
    assert server.get("/v1/nowhere").headers["Content-Type"] == "application/json"
    assert server.get("/v1/nowhere", app="chatflow").headers["Content-Type"].startswith("text/html")


def test_a_wrong_profile_of_an_app_is_told_with_the_right_ones(configured):
    with pytest.raises(MockdifyError, match=r"3:11: apps\[0\].profile: unknown profile 'gide'; allowed: .*guide-delta"):
        configured('[[apps]]\ndsl = "chat.yml"\nprofile = "gide"\n')


def test_the_journal_reads_the_guides_answers(dify):
    for profile in ("guide", "guide-delta"):
        server = script(dify(profile), chunks=("Hello", ", how", " are"))
        for mode in ("blocking", "streaming"):
            exchange = server.chat(mode=mode).exchange
            assert exchange.text == "Hello, how are"
            assert exchange.as_dict()["profile"] == profile


def test_differences_to_a_release_are_told_in_words():
    words = {words: (one, other) for words, one, other in differences(PROFILES["1.16"], PROFILES["guide"])}
    assert words["the key of a blocking answer's text"] == ("answer", "result")
    assert len(differences(PROFILES["guide"], PROFILES["guide-delta"])) == 1
    assert profile_named("guide").is_projected
    assert not any(PROFILES[name].is_projected for name in ("1.13", "1.16"))
    assert "no release of Dify" in PROFILES["guide"].serves
    assert PROFILES["1.16"].serves == "Dify 1.16.1"
