"""Events and their order, on streams of our own making."""

import copy

import contract_samples as own
import pytest

from mockdify.contracts import MODES, Contracts
from mockdify.errors import MockdifyError

NEW = Contracts.load("1.16")


def _said(found):
    return [str(v) for v in found]


@pytest.mark.parametrize("mode", MODES)
def test_a_stream_of_each_mode_is_accepted(mode):
    assert NEW.check_stream(mode, own.STREAMS[mode]) == []


def test_a_breach_is_told_where_it_is():
    event = copy.deepcopy(own.message_end("chat"))
    event["metadata"]["usage"]["total_tokens"] = "1168"
    event["metadata"]["citations"] = []
    del event["task_id"]
    event["created_at"] = None
    assert _said(NEW.check_event("chat", event)) == [
        "$.created_at: null is not an integer (contracts/events/message_end)",
        "$.metadata.citations: is not known here (contracts/events/message_end)",
        "$.metadata.usage.total_tokens: '1168' is not an integer (contracts/events/message_end)",
        "$.task_id: is missing (contracts/events/message_end)",
    ]


def test_the_kind_of_a_breach_grades_drift():
    event = {**own.message("chat", "x"), "new": 1, "id": None, "created_at": "now"}
    del event["answer"]
    assert {(v.kind, v.drift) for v in NEW.check_event("chat", event)} == {
        ("unknown-field", "info"), ("null", "warn"), ("missing", "warn"), ("type", "error"),
    }  # fmt: skip


def test_a_misspelt_key_is_told_with_the_right_one():
    event = own.message("chat", "x")
    event["anwser"] = event.pop("answer")
    assert "$.anwser: is not known here; 'answer' is missing (contracts/events/message)" in _said(
        NEW.check_event("chat", event)
    )


@pytest.mark.parametrize(
    ("mode", "event", "words"),
    [
        ("chat", {"event": "mesage"}, "Did you mean message"),
        ("workflow", {"event": "message"}, "message is no event of workflow apps in 1.16"),
        ("chat", {"answer": "x"}, "None is no event"),
        ("chat", ["message"], "None is no event"),
    ],
)
def test_an_unknown_event_is_told(mode, event, words):
    (violation,) = NEW.check_event(mode, event)
    assert words in str(violation)


def test_an_unknown_mode_is_the_callers_mistake():
    with pytest.raises(MockdifyError, match="Did you mean advanced-chat"):
        NEW.check_event("advanced_chat", {"event": "message"})


def test_an_event_of_a_later_release_is_none_in_an_earlier():
    event = {"event": "reasoning_chunk"}
    assert Contracts.load("1.13").check_event("workflow", event)[0].kind == "unknown-event"
    assert NEW.check_event("workflow", event)[0].kind == "missing"


def test_a_selector_is_null_in_1_13_and_empty_in_1_16():
    old, new = {**own.message("chat", "x"), "from_variable_selector": None}, own.message("chat", "x")
    for release, good, bad in (("1.13", old, new), ("1.16", new, old)):
        assert Contracts.load(release).check_event("chat", good) == []
        assert len(Contracts.load(release).check_event("chat", bad)) == 1


def test_a_snapshot_is_right_only_in_a_stream_joined_later():
    event = own.node_finished("workflow", 1, "start")
    for key in ("inputs_truncated", "outputs_truncated", "process_data_truncated"):
        del event["data"][key]
    event["data"] |= {"inputs": None, "outputs": None, "process_data": None, "index": 2}
    assert NEW.check_event("workflow", event, view="events") == []
    assert {v.kind for v in NEW.check_event("workflow", event)} == {"missing", "null"}


# ---------------------------------------------------------------- order
def _order(mode, names, **kw):
    checker = NEW.order(mode, **kw)
    found = [v for name in names for v in checker.feed(name)]
    return [v.message for v in (*found, *checker.finish())]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("chat", "ping message message ping message message_end"),
        ("chat", "message message_replace message_end"),
        ("chat", "error"),
        ("chat", "message error"),
        ("chat", "message_end"),
        ("chat", "message message_end tts_message tts_message_end"),
        ("completion", "message message_end"),
        (
            "agent-chat",
            "agent_thought agent_message agent_thought agent_thought agent_message agent_thought message_end",
        ),
        ("agent-chat", "agent_thought agent_message message_end"),
        ("agent", "agent_thought agent_message message message_end"),
        ("advanced-chat", "ping message message_end"),
        ("advanced-chat", "ping workflow_started workflow_finished"),
        ("advanced-chat", "ping error workflow_started workflow_finished"),
        (
            "workflow",
            "ping workflow_started node_started node_finished node_started human_input_required workflow_paused",
        ),
    ],
)
def test_orders_that_dify_has(mode, names):
    assert _order(mode, names.split()) == []


@pytest.mark.parametrize(
    ("mode", "names", "words"),
    [
        ("chat", "message", "the stream ended while 'answering', without message, "),
        ("chat", "", "the stream ended while 'new'"),
        ("chat", "message message_end message", "message may not come while 'ended'"),
        ("chat", "message error message_end", "message_end may not come while 'failed'; expected the end"),
        ("chat", "message_end message_end", "message_end may not come while 'ended'"),
        ("completion", "agent_thought message_end", "agent_thought may not come"),
        ("agent-chat", "agent_message agent_thought message_end", "agent_message may not come while 'new'"),
        ("agent", "agent_thought message message message_end", "message may not come while 'repeated'"),
        ("workflow", "workflow_started workflow_finished", "workflow_started may not come while 'new'; expected ping"),
        ("workflow", "ping workflow_started node_started node_started", "node_started may not come while 'first'"),
        ("workflow", "ping", "the stream ended while 'open'"),
        ("workflow", "ping workflow_started workflow_paused", "workflow_paused may not come while 'started'"),
    ],
)
def test_orders_that_dify_does_not_have(mode, names, words):
    assert words in _order(mode, names.split())[0]


def test_one_lost_event_is_told_once():
    events = own.STREAMS["workflow"]
    found = NEW.check_stream("workflow", [events[0], *events[2:]])
    (only,) = found
    assert (only.at, only.message) == (
        1,
        "node_started may not come while 'open'; expected ping, workflow_started, error",
    )
    assert str(only).endswith("(contracts/orders/workflow)")


def test_pings_are_not_missed_by_who_cannot_see_them():
    events = [e for e in own.STREAMS["workflow"] if e["event"] != "ping"]
    assert NEW.check_stream("workflow", events, pings=False) == []
    assert len(NEW.check_stream("workflow", events)) == 1


def test_nothing_is_missed_at_the_end_of_a_cut_stream():
    events = own.STREAMS["chat"][:2]
    assert NEW.check_stream("chat", events, complete=False) == []
    assert [v.kind for v in NEW.check_stream("chat", events)] == ["unfinished"]


def test_silence_after_the_ping_is_right_up_to_1_14():
    assert Contracts.load("1.13").check_stream("workflow", [own.PING]) == []
    assert Contracts.load("1.14").check_stream("workflow", [own.PING]) == []
    assert [v.kind for v in NEW.check_stream("workflow", [own.PING])] == ["unfinished"]


@pytest.mark.parametrize("mode", ["advanced-chat", "workflow"])
def test_a_run_refused_by_the_worker_is_two_events(mode):
    events = [own.PING, own.refused("workflow_started"), own.refused("workflow_finished")]
    assert NEW.check_stream(mode, events) == []
    assert NEW.check_stream(mode, events[:2])[-1].kind == "unfinished"


def test_an_error_may_come_before_the_refused_run():
    for mode in ("advanced-chat", "workflow"):
        events = [
            own.PING,
            own.error(mode, "invalid_param"),
            own.refused("workflow_started"),
            own.refused("workflow_finished"),
        ]
        assert NEW.check_stream(mode, events) == []


def _rule(mode, events, **kw):
    return [v.message for v in NEW.check_stream(mode, events, **kw)]


def test_ids_stay_in_a_stream():
    first, second, end = own.STREAMS["chat"]
    assert "is another than before" in _rule("chat", [first, {**second, "task_id": own.RUN}, end])[0]


def test_what_begins_ends():
    events = own.STREAMS["workflow"]
    assert _rule("workflow", [e for e in events if e != own.node_finished("workflow", 2, "llm")]) == [
        "workflow_finished:succeeded came before the end of node llm"
    ]
    assert _rule("workflow", [e for e in events if e != own.node_started("workflow", 2, "llm")]) == [
        "node '00000002-7777-4777-8777-777777777777' ended without having begun",
        "3 steps are counted, 2 were announced",
    ]


def test_a_stopped_run_leaves_its_node_open():
    assert NEW.check_stream("workflow", [*own.STREAMS["workflow"][:6], own.finished("workflow", "stopped", 2)]) == []


BLAMELESS = "workflow_finished:failed came without node_finished:failed"


def test_a_run_fails_because_of_a_node():
    head = own.STREAMS["workflow"][:5]
    failed = own.node_finished("workflow", 2, "llm", "failed")
    assert _rule("workflow", [*head, failed, own.finished("workflow", "failed", 2)]) == []
    assert _rule("workflow", [*head, own.finished("workflow", "failed", 2)]) == [BLAMELESS]


def test_an_agents_answer_that_cost_something_has_its_closing_message():
    begin, piece, _, end = own.STREAMS["agent"]
    assert _rule("agent", [begin, piece, end]) == ["message_end came without message"]


def test_a_finished_run_asked_for_again_is_one_event():
    assert NEW.check_stream("workflow", [own.finished("workflow")], view="events") == []
    assert NEW.check_stream("workflow", [own.finished("workflow"), own.PING], view="events") != []


def test_a_stream_joined_late_begins_anywhere():
    events = [own.PING, own.text_chunk("lo"), own.node_finished("workflow", 2, "llm"), own.finished("workflow")]
    assert NEW.check_stream("workflow", events, view="events") == []
    assert NEW.check_stream("workflow", events) != []
