"""POST /chat-messages and /completion-messages for apps without a graph."""

import json

import pytest
from support import NOBODY, World, easy_app, text_input, waits

from mockdify.script import Round, Rule

HELLO = Rule(chunks=("Hel", "lo", ""))
USAGE = [
    "prompt_tokens",
    "prompt_unit_price",
    "prompt_price_unit",
    "prompt_price",
    "completion_tokens",
    "completion_unit_price",
    "completion_price_unit",
    "completion_price",
    "total_tokens",
    "total_price",
    "currency",
    "latency",
    "time_to_first_token",
    "time_to_generate",
]


def world(**more):
    return World(defaults=HELLO, **more)


# ---------------------------------------------------------------------- the two views
def test_a_blocking_chat_answers_with_dify_s_keys_in_its_order():
    said = world().chat()
    assert list(said.json) == [
        "event",
        "task_id",
        "id",
        "message_id",
        "conversation_id",
        "mode",
        "answer",
        "metadata",
        "created_at",
    ]
    assert (said.json["event"], said.json["mode"], said.json["answer"]) == ("message", "chat", "Hello")
    assert said.json["id"] == said.json["message_id"]
    assert list(said.json["metadata"]) == ["annotation_reply", "retriever_resources", "usage", "reasoning"]
    assert list(said.json["metadata"]["usage"]) == USAGE


def test_a_blocking_answer_is_spaced_ascii_without_a_newline():
    said = World(defaults=Rule(chunks=("你好 / 👋",))).chat()
    assert said.type == "application/json; charset=utf-8"
    assert said.body == json.dumps(said.json).encode()
    assert b"\\u4f60\\u597d / \\ud83d\\udc4b" in said.body


def test_a_completion_has_no_conversation():
    said = world().complete()
    assert "conversation_id" not in said.json
    assert said.json["mode"] == "completion"
    streamed = world().complete(stream=True)
    assert list(streamed.events[0]) == [
        "event",
        "message_id",
        "created_at",
        "task_id",
        "id",
        "answer",
        "from_variable_selector",
    ]


def test_a_stream_says_each_chunk_and_then_the_end():
    said = world().chat(stream=True)
    assert said.names == ["message", "message", "message", "message_end"]
    assert [event["answer"] for event in said.events[:3]] == ["Hel", "lo", ""]
    assert said.type == "text/event-stream; charset=utf-8"
    assert list(said.events[0]) == [
        "event",
        "conversation_id",
        "message_id",
        "created_at",
        "task_id",
        "id",
        "answer",
        "from_variable_selector",
    ]
    end = said.events[-1]
    assert list(end)[-3:] == ["id", "metadata", "files"]
    assert list(end["metadata"]) == ["retriever_resources", "usage", "reasoning"]


def test_prices_are_strings_and_a_small_one_is_scientific_in_a_stream_only():
    small = World(defaults=Rule(chunks=("a",), usage={"completion_unit_price": "0.0001", "prompt_unit_price": "0"}))
    streamed = small.chat(stream=True).events[-1]["metadata"]["usage"]
    blocking = small.chat(user="bob").json["metadata"]["usage"]
    assert streamed["completion_price"] == "1E-7"
    assert blocking["completion_price"] == "0.0000001"


@pytest.mark.parametrize("mode", [{"response_mode": None}, {"response_mode": "blocking"}, "absent"])
def test_blocking_is_the_mode_when_none_is_given(mode):
    body = {"inputs": {}, "query": "hi", "user": "alice", **({} if mode == "absent" else mode)}
    assert world().post("/chat-messages", body).json["answer"] == "Hello"


def test_the_answer_takes_as_long_in_blocking_mode_as_its_stream():
    slow = World(defaults=Rule(chunks=("a", "b", "c"), pace=0.5))
    assert list(waits(slow.chat(stream=True).steps)) == [0.5, 1.0]
    slow = World(defaults=Rule(chunks=("a", "b", "c"), pace=0.5))
    assert list(waits(slow.chat().steps)) == [0.5, 1.0]


# ---------------------------------------------------------------------- what is taken
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/vnd.x+json"])
def test_json_comes_under_any_json_type(kind):
    body = json.dumps({"inputs": {}, "query": "hi", "user": "alice"}).encode()
    assert world().post("/chat-messages", body, headers={"Content-Type": kind}).status == 200


@pytest.mark.parametrize(
    "body",
    [b'\xef\xbb\xbf{"a": 1}', b'{"a": "\xff"}', b'{"a": NaN}', b'{"a": "\\ud800"}', b'{"a": 1', b"", b"{'a': 1}"],
    ids=["bom", "bad utf-8", "NaN", "lone surrogate", "cut", "empty", "quotes"],
)
def test_what_orjson_does_not_read_is_a_400(body):
    said = world().post("/chat-messages", body, headers={"Content-Type": "application/json"})
    assert said.error[:2] == (400, "bad_request")


def test_of_repeated_keys_the_last_counts():
    body = b'{"inputs": {}, "query": "first", "query": "second", "user": "alice"}'
    assert World().post("/chat-messages", body).answer == "The mock heard: second"


def test_unknown_keys_and_a_workflow_id_are_ignored():
    assert world().chat(workflow_id="xyz", zzz=[1], trace_id="?").status == 200
    assert world().complete(conversation_id=NOBODY).status == 200


@pytest.mark.parametrize("given", ["", "   ", None, False, 0, [], {}])
def test_a_conversation_id_that_says_nothing_begins_a_new_conversation(given):
    assert world().chat(conversation_id=given).status == 200


@pytest.mark.parametrize("given", [5, True, 1.5, ["x"], {"a": 1}])
def test_a_conversation_id_of_another_type_crashes(given):
    assert world().chat(conversation_id=given).error == (500, "unknown", "Internal Server Error")


def test_a_conversation_goes_on_under_any_spelling_of_its_id():
    here = world()
    known = here.chat().json["conversation_id"]
    for spelling in (known, known.upper(), known.replace("-", ""), f" {known} ", f"{{{known}}}"):
        assert here.chat(conversation_id=spelling).json["conversation_id"] == known


def test_nul_is_taken_out_of_query_and_inputs():
    app = easy_app(form=[text_input("topic")], pre_prompt="{{topic}}")
    here = World(app)
    said = here.chat("a\0b", inputs={"topic": "x\0y"})
    assert said.answer == "The mock heard: ab"
    (listed,) = here.get(f"/messages?user=alice&conversation_id={said.json['conversation_id']}").json["data"]
    assert (listed["query"], listed["inputs"]) == ("ab", {"topic": "xy"})


def test_a_completion_asks_the_model_with_its_prompt_filled_in():
    app = easy_app("completion", "completion", form=[text_input("a")], pre_prompt="Say {{a}} and {{b}}.")
    assert World(app).complete(inputs={"a": "x", "b": "y"}).answer == "The mock heard: Say x and {{b}}."


@pytest.mark.parametrize("answer", [Rule(chunks=()), Rule(chunks=("",)), Rule(answer="")])
def test_an_empty_answer_is_an_answer(answer):
    here = World(defaults=answer)
    assert here.chat().json["answer"] == ""
    assert here.chat(stream=True).names[-1] == "message_end"


def test_inputs_are_looked_at_in_every_turn_and_the_conversation_keeps_the_first_ones():
    here = World(easy_app(form=[text_input("topic", required=True)]))
    known = here.chat(inputs={"topic": "cats"}).json["conversation_id"]
    assert here.chat(conversation_id=known).error[2] == "topic is required in input form"
    here.chat(inputs={"topic": "dogs"}, conversation_id=known)
    assert here.get("/conversations?user=alice").json["data"][0]["inputs"] == {"topic": "cats"}
    listed = here.get(f"/messages?user=alice&conversation_id={known}").json["data"]
    assert [message["inputs"]["topic"] for message in listed] == ["cats", "dogs"]


# ---------------------------------------------------------------------- moderation
def moderated(name="chat", mode="chat", **more):
    config = {
        "keywords": "badword\nSecret",
        "inputs_config": {"enabled": True, "preset_response": "no!"},
        "outputs_config": {"enabled": True, "preset_response": "hidden"},
    }
    return easy_app(
        name, mode, sensitive_word_avoidance={"enabled": True, "type": "keywords", "config": config}, **more
    )


def test_a_refused_question_is_answered_with_the_preset_one_character_an_event():
    here = World(moderated(), defaults=HELLO)
    said = here.chat("a BADword here", stream=True)
    assert said.names == ["message", "message", "message", "message_end"]
    assert said.answer == "no!"
    usage = said.events[-1]["metadata"]["usage"]
    assert (usage["total_tokens"], usage["total_price"], usage["prompt_unit_price"]) == (0, "0.0", "0.0")
    assert "time_to_first_token" not in usage
    assert here.chat("badword").json["answer"] == "no!"


def test_refused_inputs_count_as_the_question():
    here = World(moderated(form=[text_input("topic")]))
    assert here.chat(inputs={"topic": "badword"}).answer == "no!"


def test_a_refused_answer_is_replaced_before_the_end_and_as_a_whole_when_blocking():
    here = World(moderated(), defaults=Rule(chunks=("a ", "secret", "")))
    said = here.chat(stream=True)
    assert said.runs == ["message", "message_replace", "message_end"]
    replace = said.event("message_replace")
    assert (replace["answer"], replace["reason"], list(replace)[-2:]) == ("hidden", "", ["answer", "reason"])
    assert here.chat().json["answer"] == "hidden"
    listed = here.get(f"/messages?user=alice&conversation_id={replace['conversation_id']}").json["data"]
    assert listed[0]["answer"] == "hidden"


def test_an_agent_is_moderated_too():
    here = World(moderated("agent", "agent-chat"), defaults=Rule(chunks=("secret",)))
    assert here.chat(stream=True, app="agent").runs == [
        "agent_thought",
        "agent_message",
        "agent_thought",
        "message_replace",
        "message_end",
    ]
    assert here.chat("badword", stream=True, app="agent").runs == ["message", "message_end"]


# ---------------------------------------------------------------------- agents
TOOL = Rule(
    rounds=(
        Round(thought="I look. ", tool="current_time", tool_input={"current_time": {}}, observation='{"t": 1}'),
        Round(chunks=("Noon", "")),
    )
)


def test_an_agent_thinks_uses_its_tool_and_thinks_again():
    said = World(defaults=TOOL).chat(stream=True, app="agent")
    assert said.runs == [
        "agent_thought",
        "agent_message",
        "agent_thought",
        "agent_message",
        "agent_thought",
        "message_end",
    ]
    thoughts = [event for event in said.events if event["event"] == "agent_thought"]
    assert [(t["position"], t["thought"], t["tool"], t["observation"]) for t in thoughts] == [
        (1, "", "", ""),
        (1, "I look. ", "current_time", ""),
        (1, "I look. ", "current_time", '{"t": 1}'),
        (2, "", "", ""),
        (2, "Noon", "", ""),
    ]
    assert len({t["id"] for t in thoughts}) == 2
    assert json.loads(thoughts[1]["tool_input"]) == {"current_time": {}}
    assert thoughts[1]["tool_labels"]["current_time"]["en_US"] == "Current Time"


def test_an_agent_without_a_script_uses_the_tool_that_the_query_names():
    assert "current_time" in World().chat("what time is it", stream=True, app="agent").text
    assert World().chat("hello", stream=True, app="agent").runs == [
        "agent_thought",
        "agent_message",
        "agent_thought",
        "message_end",
    ]


def test_a_message_of_an_agent_lists_its_thoughts_and_the_joined_answer():
    here = World(defaults=TOOL)
    known = here.chat(stream=True, app="agent").events[0]["conversation_id"]
    (message,) = here.get(f"/messages?user=alice&conversation_id={known}", app="agent").json["data"]
    assert message["answer"] == "I look. \nNoon"
    first, second = message["agent_thoughts"]
    assert list(first)[:11] == [
        "id",
        "chain_id",
        "message_id",
        "position",
        "thought",
        "tool",
        "tool_labels",
        "tool_input",
        "created_at",
        "observation",
        "files",
    ]
    assert (first["tool"], first["observation"], second["tool"]) == ("current_time", '{"t": 1}', "")
    assert message["answer_tokens"] == 2, "the words of all rounds"


# ---------------------------------------------------------------------- names and titles
def test_a_conversation_is_called_as_its_question_until_the_title_comes():
    here = world()
    here.chat("What is the meaning of life")
    assert here.get("/conversations?user=alice").json["data"][0]["name"] == "What is the meaning …"
    here.time.now += 1
    assert here.get("/conversations?user=alice").json["data"][0]["name"].startswith("About: What is")


def test_without_auto_generate_name_the_question_stays():
    here = world()
    here.chat("hello", auto_generate_name=False)
    here.chat("bye", auto_generate_name="false")
    here.time.now += 5
    assert [one["name"] for one in here.get("/conversations?user=alice").json["data"]] == ["bye", "hello"]


def test_the_opening_statement_is_the_introduction_with_its_variables_filled_in():
    here = World(easy_app(form=[text_input("who")], opening_statement="Hello {{who}}, {{nobody}}!"))
    here.chat(inputs={"who": "Eve"})
    assert here.get("/conversations?user=alice").json["data"][0]["introduction"] == "Hello Eve, {{nobody}}!"


# ---------------------------------------------------------------------- models
def test_a_model_that_does_not_exist_is_refused_in_both_modes():
    here = world(models=frozenset({"langgenius/openai/openai/other"}))
    assert here.chat().error == (400, "invalid_param", "Model gpt-4o-mini not exist.")
    assert here.chat(stream=True).error == (400, "invalid_param", "Model gpt-4o-mini not exist.")
    here = world(models=frozenset({"a/b/c"}))
    assert here.chat().error[2] == "Provider langgenius/openai/openai does not exist."
