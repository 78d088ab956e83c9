"""Stop calls: who may stop what, and how the stopped stream ends."""

import pytest
from support import World

from mockdify.script import Rule

SLOW = Rule(chunks=tuple(f"w{k} " for k in range(10)), pace=1.0)
TEXTS = ("message", "agent_message", "text_chunk")
STARTS = {
    "chat": lambda here: here.talk(),
    "agent": lambda here: here.talk(app="agent"),
    "completion": lambda here: here.open(
        "POST",
        "/completion-messages",
        {"inputs": {"query": "hi"}, "user": "alice", "response_mode": "streaming"},
        app="completion",
    ),
    "chatflow": lambda here: here.talk(app="chatflow"),
    "workflow": lambda here: here.running(),
}
PATHS = {"completion": "/completion-messages/{}/stop", "workflow": "/workflows/tasks/{}/stop"}
EASY = ["chat", "agent", "completion"]
GRAPHS = ["chatflow", "workflow"]


def stopped(app, user="alice", *, key=None, profile="1.16", words=3):
    """A stream that *user* stops once so many words are out; the whole of it."""
    here = World(defaults=SLOW, profile=profile)
    talk = STARTS[app](here).until(lambda said: sum(name in TEXTS for name in said.names) >= words)
    path = PATHS.get(app, "/chat-messages/{}/stop").format(talk.task_id)
    assert here.post(path, {"user": user}, app=key or app).json == {"result": "success"}
    before = here.time()
    said = talk.rest()
    return here, said, here.time() - before


def words(said):
    return sum(name in TEXTS for name in said.names)


@pytest.mark.parametrize("app", EASY)
@pytest.mark.parametrize("profile", ["1.16", "1.13"])
def test_the_next_event_after_its_user_s_stop_is_message_end_with_nothing_counted(app, profile):
    here, said, lasted = stopped(app, profile=profile)
    assert (words(said), lasted, said.names[-1]) == (3, 0, "message_end")
    usage = said.events[-1]["metadata"]["usage"]
    assert (usage["total_tokens"], usage["prompt_price"], usage["total_price"]) == (0, "0E-7", "0E-7")
    assert usage.get("time_to_first_token") is None
    assert ("time_to_first_token" in usage) is (profile == "1.13")
    assert not here.workspace.tasks


@pytest.mark.parametrize("app", EASY)
def test_another_user_s_stop_of_a_chat_has_no_effect(app):
    _, said, _ = stopped(app, "bob")
    assert words(said) == 10


def test_another_app_s_key_stops_no_chat():
    _, said, _ = stopped("chat", key="agent")
    assert words(said) == 10


@pytest.mark.parametrize("app", GRAPHS)
@pytest.mark.parametrize(("profile", "error"), [("1.16", "Aborted: User requested stop"), ("1.13", "Stopped by user.")])
def test_a_stopped_run_ends_with_workflow_finished_and_no_message_end(app, profile, error):
    here, said, lasted = stopped(app, profile=profile)
    assert (words(said), lasted, said.names[-1]) == (3, 0, "workflow_finished")
    assert "message_end" not in said.names
    data = said.events[-1]["data"]
    assert (data["status"], data["error"], data["outputs"]) == ("stopped", error, {})
    record = here.get(f"/workflows/run/{data['id']}", app=app).json
    assert (record["status"], record["error"]) == ("stopped", error)


@pytest.mark.parametrize("app", GRAPHS)
def test_anybody_s_stop_ends_a_run_in_1_16(app):
    _, said, lasted = stopped(app, "bob")
    assert (words(said), lasted, said.events[-1]["data"]["status"]) == (3, 0, "stopped")


@pytest.mark.parametrize("app", GRAPHS)
def test_another_user_s_stop_shows_only_once_all_is_said_in_1_13(app):
    _, said, _ = stopped(app, "bob", profile="1.13")
    assert words(said) >= 10
    assert said.names[-3:] == ["node_finished", "node_started", "workflow_finished"]
    data = said.events[-1]["data"]
    assert (data["status"], data["error"]) == ("failed", "Aborted: User requested stop")


def test_a_stopped_message_keeps_what_was_said():
    here, said, _ = stopped("chat")
    known = said.events[0]["conversation_id"]
    (message,) = here.get(f"/messages?user=alice&conversation_id={known}").json["data"]
    assert (message["answer"], message["status"], message["total_tokens"]) == ("w0 w1 w2 ", "normal", 0)


def test_a_stopped_workflow_is_in_the_logs():
    here, _, _ = stopped("workflow")
    assert here.get("/workflows/logs?status=stopped", app="workflow").json["total"] == 1


@pytest.mark.parametrize("task", ["00000000-0000-4000-8000-000000000000", "xyz", "%20"])
def test_a_stop_of_nothing_succeeds(task):
    assert World().post(f"/chat-messages/{task}/stop", {"user": "alice"}).json == {"result": "success"}


def test_a_stop_of_a_finished_task_succeeds():
    here = World()
    task = here.chat().json["task_id"]
    assert here.post(f"/chat-messages/{task}/stop", {"user": "alice"}).status == 200


def test_a_blocking_answer_can_be_stopped_too():
    here = World(defaults=SLOW)
    talk = here.talk(stream=False)
    talk.step()
    (task,) = here.workspace.tasks
    here.post(f"/chat-messages/{task}/stop", {"user": "alice"})
    said = talk.rest()
    assert (said.status, said.json["answer"]) == (200, "w0 ")


def test_two_streams_are_stopped_apart():
    here = World(defaults=SLOW)
    one, other = here.talk().events(2), here.talk(user="bob").events(2)
    here.post(f"/chat-messages/{one.task_id}/stop", {"user": "alice"})
    assert (words(one.rest()), words(other.rest())) == (2, 10)
