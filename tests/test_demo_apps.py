"""The demo apps: what a newcomer, and the client scripts, find with no configuration."""

import time

from mockdify.apps import DEMO_KEYS, demo_app, demo_apps, file_rules, parameters


def test_the_five_demo_apps_have_their_names_keys_and_modes():
    assert {name: app.mode for name, app in demo_apps().items()} == {
        "completion": "completion",
        "chat": "chat",
        "agent": "agent-chat",
        "chatflow": "advanced-chat",
        "workflow": "workflow",
    }
    assert DEMO_KEYS["chat"] == "app-chat-demo"
    assert list(DEMO_KEYS) == list(demo_apps())


def test_chat_agent_and_chatflow_require_nothing():
    assert not any(variable.required for name in ("chat", "agent", "chatflow") for variable in demo_apps()[name].form)


def test_completion_and_workflow_take_texts_and_require_only_the_query():
    for name, allowed in (("completion", {"query", "text"}), ("workflow", {"name", "query", "text"})):
        form = demo_apps()[name].form
        assert {variable.name for variable in form} <= allowed
        assert {variable.type for variable in form} <= {"text-input", "paragraph"}
        assert [variable.name for variable in form if variable.required] == ["query"]


def test_chat_has_an_opening_suggestions_uploads_and_speech_both_ways():
    chat = demo_apps()["chat"]
    features = chat.features
    assert features.opening_statement
    assert features.suggested_questions_after_answer
    assert features.speech_to_text
    assert features.text_to_speech
    assert parameters(chat)["text_to_speech"]["voice"]
    rules = file_rules(chat)
    assert rules.enabled
    assert set(rules.types) == {"image", "document"}
    assert "local_file" in rules.methods


def test_chatflow_has_one_text_variable_for_each_conversation():
    (memo,) = demo_apps()["chatflow"].conversation_variables
    assert (memo.value_type, memo.value) == ("string", "")


def test_agent_has_one_tool_that_tells_the_time():
    assert [tool.name for tool in demo_apps()["agent"].agent.tools] == ["current_time"]


def test_the_workflow_asks_one_model_with_the_bare_query():
    graph = demo_apps()["workflow"].workflow["graph"]
    assert [node["data"]["type"] for node in graph["nodes"]] == ["start", "llm", "end"]
    assert graph["nodes"][1]["data"]["prompt_template"][-1] == {"role": "user", "text": "{{#start.query#}}"}
    assert demo_apps()["completion"].pre_prompt == "{{query}}"


def test_the_demo_apps_load_quickly():
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        [demo_app.__wrapped__(name) for name in DEMO_KEYS]
        best = min(best, time.perf_counter() - start)
    assert best < 0.045, f"{best * 1000:.0f} ms"  # 5 ms on an idle machine; three times the aim for a busy one
