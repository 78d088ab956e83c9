"""Workflow runs, their records and logs, what apps tell about themselves."""

import json

import pytest
from support import NOBODY, START, World, answer_node, code_node, end_node, graph_app, llm_node, start_input

from mockdify.script import NodeScript, Rule

CODE = graph_app("code", "workflow", code_node(), end_node("code", "result", name="r"), variables=[start_input("name")])


def test_a_blocking_run_answers_with_its_record():
    said = World().run()
    assert list(said.json) == ["task_id", "workflow_run_id", "data"]
    data = said.json["data"]
    assert list(data) == [
        "id",
        "workflow_id",
        "status",
        "outputs",
        "error",
        "elapsed_time",
        "total_tokens",
        "total_steps",
        "created_at",
        "finished_at",
    ]
    assert (data["id"], data["status"], data["error"]) == (said.json["workflow_run_id"], "succeeded", None)
    assert data["outputs"] == {"text": "The mock heard: hi"}
    assert said.type == "application/json; charset=utf-8"


def test_a_streamed_run_pings_first_and_names_run_and_task_in_every_event():
    said = World().run(stream=True)
    assert said.runs == [
        "ping",
        "workflow_started",
        "node_started",
        "node_finished",
        "node_started",
        "text_chunk",
        "node_finished",
        "node_started",
        "node_finished",
        "workflow_finished",
    ]
    assert all(list(event)[:3] == ["event", "workflow_run_id", "task_id"] for event in said.events)
    assert len({(event["workflow_run_id"], event["task_id"]) for event in said.events}) == 1


def test_a_chatflow_puts_conversation_and_message_in_front_and_ends_the_message_before_the_run():
    said = World().chat(app="chatflow", stream=True)
    assert said.runs[-2:] == ["message_end", "workflow_finished"]
    assert list(said.event("workflow_started"))[:6] == [
        "event",
        "conversation_id",
        "message_id",
        "created_at",
        "task_id",
        "workflow_run_id",
    ]
    message = said.event("message")
    assert message["from_variable_selector"] == ["llm", "text"]
    assert said.event("message_end")["metadata"]["annotation_reply"] is None


NEW = [
    "sys.query",
    "sys.files",
    "sys.user_id",
    "sys.dialogue_count",
    "sys.app_id",
    "sys.workflow_id",
    "sys.workflow_run_id",
]
OLD = [
    "sys.files",
    "sys.user_id",
    "sys.app_id",
    "sys.workflow_id",
    "sys.workflow_run_id",
    "sys.query",
    "sys.dialogue_count",
]


@pytest.mark.parametrize(("profile", "names"), [("1.16", NEW), ("1.13", OLD)])
def test_a_run_starts_with_the_inputs_and_the_system_s_variables_in_the_release_s_order(profile, names):
    here = World(profile=profile)
    assert list(here.chat(app="chatflow", stream=True).events[0]["data"]["inputs"]) == names
    ours = [name for name in names if name not in ("sys.query", "sys.dialogue_count")]
    assert list(here.run(stream=True).events[0]["data"]["inputs"]) == ["query", *ours]


def test_1_13_shows_the_system_s_variables_at_the_start_node_a_workflow_s_time_too():
    here = World(profile="1.13")
    start = here.run(stream=True).event("node_finished")["data"]
    assert list(start["inputs"])[-1] == "sys.timestamp"
    assert start["outputs"] == start["inputs"]
    start = here.chat(app="chatflow", stream=True).event("node_finished")["data"]
    assert "sys.conversation_id" in start["inputs"]
    assert "sys.timestamp" not in start["inputs"]
    assert not any(
        name.startswith("sys.") for name in World().run(stream=True).event("node_finished")["data"]["inputs"]
    )


def test_a_failed_run_is_a_200_and_a_failed_chatflow_a_400():
    broken = NodeScript(node="code", fails="boom")
    flow = graph_app("flow", "advanced-chat", code_node(), answer_node("{{#code.result#}}"))
    here = World(CODE, flow, nodes={"code": [broken], "flow": [broken]})
    data = here.run({}, app="code").json["data"]
    assert (data["status"], data["outputs"], data["error"]) == ("failed", {}, "boom")
    assert here.chat(app="flow").error == (400, "invalid_param", "Run failed: boom")
    assert here.chat(app="flow", stream=True).runs[-1] == "workflow_finished"


def test_a_chatflow_remembers_and_counts_its_turns():
    here = World(rules=[Rule(answer="{{ turn }}: {{ query }}")])
    known = here.chat("a", app="chatflow").json["conversation_id"]
    assert here.chat("b", app="chatflow", conversation_id=known).answer == "2: b"
    said = here.chat("c", app="chatflow", conversation_id=known, stream=True)
    assert said.event("workflow_started")["data"]["inputs"]["sys.dialogue_count"] == 3


def test_a_run_by_id_is_one_of_the_published_workflow():
    here = World()
    workflow = here.workspace.apps["workflow"].workflow_id
    body = {"inputs": {"query": "hi"}, "user": "alice", "response_mode": "blocking"}
    for spelling in (workflow, workflow.upper()):
        assert here.post(f"/workflows/{spelling}/run", body, app="workflow").json["data"]["status"] == "succeeded"
    for stream in ({}, {"response_mode": "streaming"}):
        said = [
            here.post(f"/workflows/{other}/run", body | stream, app="workflow").error
            for other in ("draft", "xyz", NOBODY)
        ]
        assert said == [
            (400, "bad_request", "Invalid workflow_id format: 'draft'. "),
            (400, "bad_request", "Invalid workflow_id format: 'xyz'. "),
            (404, "not_found", f"Workflow not found with id: {NOBODY}"),
        ]


def test_a_chatflow_takes_the_same_ids_in_its_body():
    here = World()
    workflow = here.workspace.apps["chatflow"].workflow_id
    assert here.chat(app="chatflow", workflow_id=workflow).status == 200
    assert here.chat(app="chatflow", workflow_id="").status == 200
    assert here.chat(app="chatflow", workflow_id="draft").error[:2] == (400, "bad_request")
    status, code, message = here.chat(app="chatflow", workflow_id=NOBODY, stream=True).error
    assert (status, code) == (404, "not_found")
    assert message.startswith(f"Workflow not found with id: {NOBODY}. You have requested this URI [/v1/chat-messages]")


def test_an_unpublished_workflow_runs_nowhere_and_has_no_parameters():
    here = World(CODE, said={"code": {"published": False}})
    for stream in (False, True):
        assert here.run({}, app="code", stream=stream).error == (400, "invalid_param", "Workflow not published")
    error = (400, "app_unavailable", "App unavailable, please check your app configurations.")
    assert here.get("/parameters", app="code").error == error
    assert here.get("/info", app="code").status == here.get("/site", app="code").status == 200


# ---------------------------------------------------------------------- records
def test_the_record_of_a_run_has_its_inputs_as_text_and_its_outputs_as_an_object():
    here = World()
    run = here.run({"query": "hé", "name": "bob"}, user="bob").json["workflow_run_id"]
    for spelling in (run, run.upper(), run.replace("-", "")):
        said = here.get(f"/workflows/run/{spelling}", app="workflow").json
        assert said["id"] == run
    assert list(said) == [
        "id",
        "workflow_id",
        "status",
        "inputs",
        "outputs",
        "error",
        "total_steps",
        "total_tokens",
        "created_at",
        "finished_at",
        "elapsed_time",
    ]
    inputs = json.loads(said["inputs"])
    assert (inputs["query"], inputs["name"], inputs["text"]) == ("hé", "bob", None)
    assert (inputs["sys.user_id"], inputs["sys.timestamp"]) == ("bob", int(START))
    assert said["outputs"] == {"text": "The mock heard: hé"}
    assert here.get("/workflows/run/xyz", app="workflow").error == (500, "unknown", "Internal Server Error")


def test_a_chatflow_s_run_has_a_record_too():
    here = World()
    run = here.chat(app="chatflow", stream=True).events[0]["workflow_run_id"]
    assert here.get(f"/workflows/run/{run}", app="chatflow").json["status"] == "succeeded"
    assert here.get("/workflows/logs", app="chatflow").json["data"] == [], "only workflow apps have logs"


def test_the_events_of_a_finished_run_are_one_frame_in_python_s_style():
    here = World()
    run = here.run().json["workflow_run_id"]
    said = here.get(f"/workflow/{run}/events?user=alice", app="workflow")
    assert said.names == ["workflow_finished"]
    assert said.body.startswith(b'data: {"event": "workflow_finished", "task_id": ')
    assert said.headers["Cache-Control"] == "no-cache"
    assert here.get("/workflow/xyz/events?user=alice", app="workflow").status == 500
    assert World(profile="1.13").get(f"/workflow/{run}/events?user=alice", app="workflow").type.startswith("text/html")


def test_logs_are_newest_first_with_page_and_total():
    here = World()
    for user in ("alice", "bob", "alice"):
        here.run(user=user)
        here.time.now += 10
    said = here.get("/workflows/logs", app="workflow").json
    assert list(said) == ["page", "limit", "total", "has_more", "data"]
    assert (said["page"], said["limit"], said["total"], said["has_more"]) == (1, 20, 3, False)
    first = said["data"][0]
    assert list(first) == [
        "id",
        "workflow_run",
        "details",
        "created_from",
        "created_by_role",
        "created_by_account",
        "created_by_end_user",
        "created_at",
    ]
    assert list(first["workflow_run"]) == [
        "id",
        "version",
        "status",
        "triggered_from",
        "error",
        "elapsed_time",
        "total_tokens",
        "total_steps",
        "created_at",
        "finished_at",
        "exceptions_count",
    ]
    assert [one["created_by_end_user"]["session_id"] for one in said["data"]] == ["alice", "bob", "alice"]
    times = [one["created_at"] for one in said["data"]]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=succeeded", 2),
        ("status=failed", 1),
        ("status=stopped", 0),
        ("keyword=BOB", 3),  # an input of the first, the user of the others
        ("keyword=boom", 0),
        ("keyword=zzz", 0),
        ("created_by_end_user_session_id=bob", 2),
        ("created_by_end_user_session_id=zzz", 0),
        ("created_by_end_user_session_id=&created_by_account=&keyword=", 3),
        ("created_at__before=2020-01-01", 0),
        ("created_at__after=2020-01-01T00:00:00Z", 3),
        ("created_at__after=2027-01-15T08:00:05%2B00:00", 2),
    ],
)
def test_logs_are_filtered(query, found):
    here = World(CODE, nodes={"code": [NodeScript(node="code", outputs={"result": "{{ 1 }}"})]})
    here.run({"name": "bob"}, app="code", user="alice")
    here.time.now += 10
    here.run({"name": "x"}, app="code", user="bob")
    here.workspace.script.set_node("code", NodeScript(node="code", fails="boom"))
    here.run({"name": "y"}, app="code", user="bob")
    assert here.get(f"/workflows/logs?{query}", app="code").json["total"] == found


def test_a_bad_filter_of_logs_is_a_400():
    here = World()
    asked = [
        ("created_by_account=zzz@example.com", "Account not found: zzz@example.com"),
        ("created_at__before=zzz", "ISO string too short"),
    ]
    for query, message in asked:
        assert here.get(f"/workflows/logs?{query}", app="workflow").error == (400, "invalid_param", message)


# ---------------------------------------------------------------------- what an app tells
@pytest.mark.parametrize("app", ["completion", "chat", "agent", "chatflow", "workflow"])
def test_every_app_tells_its_info_parameters_meta_and_site(app):
    here = World()
    info = here.get("/info", app=app).json
    assert list(info) == ["name", "description", "tags", "mode", "author_name"]
    parameters = here.get("/parameters", app=app).json
    assert list(parameters) == [
        "opening_statement",
        "suggested_questions",
        "suggested_questions_after_answer",
        "speech_to_text",
        "text_to_speech",
        "retriever_resource",
        "annotation_reply",
        "more_like_this",
        "user_input_form",
        "sensitive_word_avoidance",
        "file_upload",
        "system_parameters",
    ]
    assert list(here.get("/meta", app=app).json) == ["tool_icons"]
    assert ("input_placeholder" in here.get("/site", app=app).json) is True
    assert "input_placeholder" not in World(profile="1.13").get("/site", app=app).json


def test_only_an_app_s_own_end_users_are_told():
    here = World()
    here.chat()
    user = next(one for one in here.workspace.store.end_users.values() if one.session_id == "alice")
    said = here.get(f"/end-users/{user.id.upper()}").json
    assert list(said) == [
        "id",
        "tenant_id",
        "app_id",
        "type",
        "external_user_id",
        "name",
        "is_anonymous",
        "session_id",
        "created_at",
        "updated_at",
    ]
    assert (said["session_id"], said["created_at"]) == ("alice", "2027-01-15T08:00:00")
    for app, asked in (("workflow", user.id), ("chat", NOBODY)):
        assert here.get(f"/end-users/{asked}", app=app).error == (404, "end_user_not_found", "End user not found.")


def test_a_client_that_leaves_a_run_does_not_stop_it():
    here = World(CODE, llm_app := graph_app("flow", "advanced-chat", llm_node(), answer_node()))
    assert llm_app.mode == "advanced-chat"
    talk = here.talk(app="flow").events(2)
    assert next(step for step in talk.taken if hasattr(step, "leaving")).leaving == "finish"
