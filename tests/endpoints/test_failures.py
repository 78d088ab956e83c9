"""Models that fail: what each kind of app makes of it, in both views, before and after the first words."""

import pytest
from support import NOBODY, START, World, answer_node, graph_app, llm_node, waits

from mockdify.script import Rule, When

SAID = "[openai] it broke"
WORDS = ("Hel", "lo", " there", "")


def failing(kind, *, after=0, message=SAID, **more):
    return World(rules=[Rule(fails=kind, after=after, message=message, chunks=WORDS)], **more)


INVOKE = ["rate-limit", "bad-request", "connection", "server-unavailable"]
HTTP = {
    **dict.fromkeys(INVOKE, ("completion_request_error", SAID)),
    "authorization": ("completion_request_error", "Incorrect API key provided"),
    "credentials": ("invalid_param", SAID),
    "dropped": ("invalid_param", "Request to Plugin Daemon Service failed-500"),
}
EARLY = {
    "quota": (
        "provider_quota_exceeded",
        (
            "Your quota for Dify Hosted OpenAI has been exhausted. "
            "Please go to Settings -> Model Provider to complete your own provider credentials."
        ),
    ),
    "not-initialized": ("provider_not_initialize", "Model gpt-4o-mini credentials is not initialized."),
    "model-unsupported": (
        "model_currently_not_support",
        "Dify Hosted OpenAI trial currently not support the GPT-4 model.",
    ),
}
GRAPH_TEXTS = {
    "quota": "Model quota has been exceeded",
    "not-initialized": "Model is not configured",
    "model-unsupported": "No permission to use this model",
}
kinds = pytest.mark.parametrize("kind", HTTP)
profiles = pytest.mark.parametrize("profile", ["1.16", "1.13"])
after = pytest.mark.parametrize("after", [0, 2])


@kinds
@after
@profiles
def test_a_blocking_chat_or_completion_is_a_400_even_after_some_words(kind, after, profile):
    here = failing(kind, after=after, profile=profile)
    assert here.chat().error == (400, *HTTP[kind])
    assert here.complete().error == (400, *HTTP[kind])


@kinds
@after
@profiles
def test_a_stream_ends_with_an_error_event_behind_the_words_that_came(kind, after, profile):
    here = failing(kind, after=after, profile=profile)
    code, status = HTTP[kind][0], 400
    if kind == "rate-limit" and profile == "1.16":
        code, status = "rate_limit_error", 429
    for said, words in (
        (here.chat(stream=True), ["message"] * after),
        (here.complete(stream=True), ["message"] * after),
        (here.chat(stream=True, app="agent"), (["agent_thought"] if after else []) + ["agent_message"] * after),
    ):
        assert said.status == 200
        assert said.names == [*words, "error"]
        error = said.events[-1]
        assert list(error)[-3:] == ["code", "status", "message"]
        assert "task_id" not in error
        assert (error["code"], error["status"], error["message"]) == (code, status, HTTP[kind][1])


def test_an_error_that_the_plugin_does_not_name_travels_as_json_with_a_request_id_in_http_only():
    here = failing("other", message="boom")
    inner = '{"error_type": "Exception", "message": "boom", "args": {}}'
    status, code, message = here.chat().error
    assert (status, code) == (400, "invalid_param")
    assert message.startswith("req_id: ")
    assert len(message.split()[1]) == 10
    assert message.endswith(f" PluginInvokeError: {inner}")
    assert here.chat(stream=True).events[0]["message"] == inner


@pytest.mark.parametrize(
    ("said", "name"),
    [("'some key'", "KeyError"), ("it's 'a' key", "Exception"), ("'a' or 'b'", "Exception"), ("", "Exception")],
)
def test_a_text_that_is_a_quoted_value_is_a_key_error_s(said, name):
    assert f'"error_type": "{name}"' in failing("other", message=said).chat(stream=True).events[0]["message"]


@pytest.mark.parametrize("kind", EARLY)
def test_a_model_that_may_not_be_asked_is_an_http_error_in_both_modes(kind):
    here = failing(kind, message=None)
    error = (400, *EARLY[kind])
    assert here.chat().error == error
    assert here.chat(stream=True).error == error
    assert here.complete(stream=True).error == error
    assert here.chat(stream=True, app="agent").error == error
    assert here.get("/conversations?user=alice").json["data"] == [], "no conversation is made"


def test_a_quota_used_up_in_the_middle_is_an_event_with_its_own_text_and_key_order():
    said = failing("quota", after=1, message=None).chat(stream=True)
    assert said.names == ["message", "error"]
    error = said.events[-1]
    assert list(error)[-3:] == ["code", "message", "status"]
    assert error["message"].startswith("Your quota for Dify Hosted Model Provider has been exhausted.")


@after
def test_the_failed_message_is_kept_without_its_words(after):
    here = failing("connection", after=after)
    known = here.chat(stream=True).events[-1]["conversation_id"]
    (message,) = here.get(f"/messages?user=alice&conversation_id={known}").json["data"]
    assert (message["status"], message["error"], message["answer"]) == ("error", SAID, "")
    here.time.now += 10
    assert here.get("/conversations?user=alice").json["data"][0]["name"] == "hi", "no title comes"


def test_a_failure_in_a_later_turn_leaves_the_title_alone():
    here = World(rules=[Rule(times=1, chunks=WORDS), Rule(fails="connection")])
    known = here.chat().json["conversation_id"]
    here.chat(conversation_id=known)
    here.time.now += 10
    assert here.get("/conversations?user=alice").json["data"][0]["name"].startswith("About")


# ---------------------------------------------------------------------- graphs
@kinds
@after
@profiles
def test_a_chatflow_s_run_fails_an_http_error_in_blocking_mode_no_error_event_in_a_stream(kind, after, profile):
    here = failing(kind, after=after, profile=profile)
    text = HTTP[kind][1] if kind != "authorization" else None
    status, code, message = here.chat(app="chatflow").error
    assert (status, code) == (400, "invalid_param")
    assert message.startswith("Run failed: ")
    said = here.chat(app="chatflow", stream=True)
    assert "error" not in said.names
    assert "message_end" not in said.names
    assert said.names.count("message") == after
    finished = said.events[-1]["data"]
    assert (said.names[-1], finished["status"]) == ("workflow_finished", "failed")
    assert message == f"Run failed: {finished['error']}"
    if text is not None:
        assert finished["error"] == text


@pytest.mark.parametrize(("profile", "name"), [("1.16", "Openai"), ("1.13", "openai")])
def test_in_a_graph_wrong_credentials_are_told_in_the_provider_s_name(profile, name):
    here = failing("authorization", profile=profile)
    text = f"[{name}] Incorrect model credentials provided, please check and try again."
    assert here.chat(app="chatflow").error[2] == f"Run failed: {text}"


@kinds
@after
def test_a_workflow_s_run_fails_with_http_200(kind, after):
    here = failing(kind, after=after)
    data = here.run().json["data"]
    assert (data["status"], data["outputs"]) == ("failed", {})
    said = here.run(stream=True)
    assert said.names[-1] == "workflow_finished"
    assert said.events[-1]["data"]["status"] == "failed"
    assert said.names.count("text_chunk") == after


@pytest.mark.parametrize("kind", GRAPH_TEXTS)
def test_a_graph_whose_model_may_not_be_asked_never_begins(kind):
    here, text = failing(kind, message=None), GRAPH_TEXTS[kind]
    assert here.chat(app="chatflow").error == (400, "invalid_param", text)
    assert here.run().error == (400, "invalid_param", text)
    for said in (here.chat(app="chatflow", stream=True), here.run(stream=True)):
        assert said.names == ["ping", "error", "workflow_started", "workflow_finished"]
        assert said.event("error")["message"] == text
        assert said.events[-1]["data"]["error"] == "Workflow stream ended without a terminal event"
    assert list(here.chat(app="chatflow", stream=True).event("error")) == [
        "event",
        "conversation_id",
        "message_id",
        "created_at",
        "code",
        "status",
        "message",
    ]
    assert here.run(stream=True).event("error")["workflow_run_id"] is None
    assert not here.workspace.tasks
    assert not here.workspace.store.app("workflow").runs


def test_models_that_the_workspace_does_not_have_are_not_configured():
    here = World(models=frozenset({"a/b/c"}))
    assert here.run().error == (400, "invalid_param", "Model is not configured")
    assert here.chat(app="chatflow", stream=True).names == ["ping", "error", "workflow_started", "workflow_finished"]


def test_a_model_that_may_not_be_asked_once_words_are_out_fails_its_node():
    app = graph_app(
        "chatflow",
        "advanced-chat",
        llm_node("one"),
        llm_node("two", "second"),
        answer_node("{{#one.text#}}{{#two.text#}}"),
    )
    here = World(app, rules=[Rule(when=When(node="two"), fails="quota"), Rule(chunks=WORDS)])
    said = here.chat(app="chatflow", stream=True)
    assert said.names[-1] == "workflow_finished"
    assert said.events[-1]["data"]["error"] == GRAPH_TEXTS["quota"]


def test_1_13_falls_silent_after_the_error():
    said = failing("not-initialized", message=None, profile="1.13").run(stream=True)
    assert said.names == ["ping", "error"]


# ---------------------------------------------------------------------- a run that never begins
BAD = [{"inputs": {}}, {"inputs": {"query": 5}}]


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_streaming_run_begins_and_fails_in_1_16(bad):
    here = World()
    said = here.run(stream=True, **bad)
    assert said.names == ["ping", "workflow_started", "workflow_finished"]
    started, finished = said.events
    assert started["task_id"] == started["workflow_run_id"] == started["data"]["id"] == finished["task_id"]
    assert list(started) == ["event", "task_id", "workflow_run_id", "data"]
    data = finished["data"]
    assert (data["status"], data["outputs"], data["created_by"], data["exceptions_count"]) == ("failed", None, {}, 1)
    assert data["error"] == here.run(**bad).error[2]
    assert here.get(f"/workflows/run/{data['id']}", app="workflow").status == 404, "there is no such run"
    assert here.get(f"/workflow/{data['id']}/events?user=alice", app="workflow").status == 404
    assert here.get("/workflows/logs", app="workflow").json["total"] == 0


def test_a_bad_streaming_chatflow_has_no_ids_of_a_message():
    said = World().chat("", app="chatflow", stream=True)
    assert said.names == ["ping", "workflow_started", "workflow_finished"]
    assert "message_id" not in said.events[0]
    assert said.events[-1]["data"]["error"] == "query is required"


@pytest.mark.parametrize("silence", [300.0, 5.0])
def test_a_bad_streaming_run_is_answered_with_silence_in_1_13(silence):
    here = World(profile="1.13", silence=silence)
    for ask in (
        lambda: here.run({}, stream=True),
        lambda: here.chat("", app="chatflow", stream=True),
        lambda: here.chat(app="chatflow", stream=True, conversation_id=NOBODY),
    ):
        begun = here.time() - START
        said = ask()
        assert (said.status, said.names) == (200, ["ping"])
        assert list(waits(said.steps)) == [begun + silence]
        (warning,) = here.workspace.journal.last.warnings
        assert f"{silence:g} s" in warning
        assert "silence" in warning


def test_the_log_says_why_a_1_13_stream_is_silent():
    here = World(profile="1.13")
    here.run({}, stream=True)
    why = "a stream of Dify 1.13.2 says nothing for 300 s (setting `silence`) where 1.16 tells: "
    assert here.workspace.journal.last.warnings == [f"{why}query is required in input form"]


def test_the_same_mistakes_are_http_errors_in_blocking_mode_in_both_releases():
    for profile in ("1.16", "1.13"):
        here = World(profile=profile)
        assert here.run({}).error == (400, "invalid_param", "query is required in input form")
        assert here.chat("", app="chatflow").error == (400, "invalid_param", "query is required")
        assert here.chat(app="chatflow", conversation_id=NOBODY).status == 404
