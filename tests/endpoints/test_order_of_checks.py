"""The order in which each endpoint checks a request: a table with a row for every endpoint of the app API."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from support import NOBODY, World, easy_app, graph_app, text_input

from mockdify.endpoints import ENDPOINTS

NOT_CHAT = "not_chat_app"
NOT_WORKFLOW = "not_workflow_app"
UNAVAILABLE = "app_unavailable"
HELPED = "You have requested this URI"


class Row(NamedTuple):
    """What an endpoint says as one mistake after the other is taken out of a request."""

    method: str
    rule: str
    path: str
    app: str
    user: str = ""
    """`json!`, `json`, `query!`, `query`, `form` or nothing; with `!` it is required."""
    wrong: str = ""
    """The code for an app of another mode."""
    schema: str = ""
    """The pydantic model, where a request can break it."""
    broken: Any = None
    """A body or a query that breaks it."""
    sound: Any = None
    """A body that does not; the last error is then the handler's own."""
    last: int = 200


CHAT_BODY = {"inputs": {}, "query": "hi"}
ROWS = [
    Row("POST", "/chat-messages", "/chat-messages", "chat", "json!", NOT_CHAT, "ChatRequestPayload", {}, CHAT_BODY),
    Row("POST", "/chat-messages/<string:task_id>/stop", "/chat-messages/x/stop", "chat", "json!", NOT_CHAT, sound={}),
    Row(
        "POST",
        "/completion-messages",
        "/completion-messages",
        "completion",
        "json!",
        UNAVAILABLE,
        "CompletionRequestPayload",
        {},
        {"inputs": {"query": "hi"}},
    ),
    Row(
        "POST",
        "/completion-messages/<string:task_id>/stop",
        "/completion-messages/x/stop",
        "completion",
        "json!",
        UNAVAILABLE,
        sound={},
    ),
    Row(
        "POST",
        "/workflows/run",
        "/workflows/run",
        "workflow",
        "json!",
        NOT_WORKFLOW,
        "WorkflowRunPayload",
        {},
        {"inputs": {"query": "hi"}},
    ),
    Row(
        "POST",
        "/workflows/<string:workflow_id>/run",
        f"/workflows/{NOBODY}/run",
        "workflow",
        "json!",
        NOT_WORKFLOW,
        "WorkflowRunPayload",
        {},
        {"inputs": {"query": "hi"}},
        404,
    ),
    Row(
        "POST",
        "/workflows/tasks/<string:task_id>/stop",
        "/workflows/tasks/x/stop",
        "workflow",
        "json!",
        NOT_WORKFLOW,
        sound={},
    ),
    Row("GET", "/conversations", "/conversations", "chat", "query", NOT_CHAT, "ConversationListQuery", "limit=0"),
    Row(
        "DELETE", "/conversations/<uuid:c_id>", f"/conversations/{NOBODY}", "chat", "json", NOT_CHAT, sound={}, last=404
    ),
    Row(
        "POST",
        "/conversations/<uuid:c_id>/name",
        f"/conversations/{NOBODY}/name",
        "chat",
        "json",
        NOT_CHAT,
        "ConversationRenamePayload",
        {},
        {"name": "x"},
        404,
    ),
    Row(
        "GET",
        "/conversations/<uuid:c_id>/variables",
        f"/conversations/{NOBODY}/variables",
        "chat",
        "query",
        NOT_CHAT,
        "ConversationVariablesQuery",
        "limit=0",
        last=404,
    ),
    Row(
        "PUT",
        "/conversations/<uuid:c_id>/variables/<uuid:variable_id>",
        f"/conversations/{NOBODY}/variables/{NOBODY}",
        "chat",
        "json",
        NOT_CHAT,
        "ConversationVariableUpdatePayload",
        {},
        {"value": 1},
        404,
    ),
    Row("GET", "/messages", "/messages", "chat", "query", NOT_CHAT, "MessageListQuery", "limit=0", "conversation_id="),
    Row(
        "GET",
        "/messages/<uuid:message_id>/suggested",
        f"/messages/{NOBODY}/suggested",
        "chat",
        "query!",
        NOT_CHAT,
        last=404,
    ),
    Row(
        "POST",
        "/messages/<uuid:message_id>/feedbacks",
        f"/messages/{NOBODY}/feedbacks",
        "chat",
        "json!",
        "",
        "MessageFeedbackPayload",
        {"rating": "meh"},
        {"rating": "like"},
        404,
    ),
    Row("GET", "/app/feedbacks", "/app/feedbacks", "chat", "", "", "FeedbackListQuery", "limit=102"),
    Row("POST", "/files/upload", "/files/upload", "chat", "form", last=400),
    Row(
        "GET",
        "/files/<uuid:file_id>/preview",
        f"/files/{NOBODY}/preview",
        "chat",
        "query",
        "",
        "FilePreviewQuery",
        "as_attachment=zzz",
        last=404,
    ),
    Row("POST", "/audio-to-text", "/audio-to-text", "chat", "form", last=400),
    Row(
        "POST",
        "/text-to-audio",
        "/text-to-audio",
        "chat",
        "json",
        "",
        "TextToAudioPayload",
        {"text": 5},
        {"text": "hi"},
    ),
    Row("GET", "/apps/annotations", "/apps/annotations", "chat", "", "", "AnnotationListQuery", "page=0"),
    Row(
        "POST",
        "/apps/annotations",
        "/apps/annotations",
        "chat",
        "",
        "",
        "AnnotationCreatePayload",
        {},
        {"question": "q", "answer": "a"},
        201,
    ),
    Row(
        "PUT",
        "/apps/annotations/<uuid:annotation_id>",
        f"/apps/annotations/{NOBODY}",
        "chat",
        "",
        "",
        "AnnotationCreatePayload",
        {},
        {"question": "q", "answer": "a"},
        404,
    ),
    Row("DELETE", "/apps/annotations/<uuid:annotation_id>", f"/apps/annotations/{NOBODY}", "chat", last=404),
    Row(
        "POST",
        "/apps/annotation-reply/<string:action>",
        "/apps/annotation-reply/zzz",
        "chat",
        "",
        "",
        "AnnotationReplyActionPayload",
        {},
        {"score_threshold": 0.9, "embedding_provider_name": "p", "embedding_model_name": "m"},
        500,
    ),
    Row(
        "GET",
        "/apps/annotation-reply/<string:action>/status/<uuid:job_id>",
        f"/apps/annotation-reply/enable/status/{NOBODY}",
        "chat",
        last=400,
    ),
    Row("GET", "/info", "/info", "chat"),
    Row("GET", "/parameters", "/parameters", "chat"),
    Row("GET", "/meta", "/meta", "chat"),
    Row("GET", "/site", "/site", "chat"),
    Row("GET", "/end-users/<uuid:end_user_id>", f"/end-users/{NOBODY}", "chat", last=404),
    Row(
        "GET",
        "/workflows/run/<string:workflow_run_id>",
        f"/workflows/run/{NOBODY}",
        "workflow",
        "",
        NOT_WORKFLOW,
        last=404,
    ),
    Row("GET", "/workflows/logs", "/workflows/logs", "workflow", "", "", "WorkflowLogQuery", "limit=0"),
    Row(
        "GET",
        "/workflow/<string:task_id>/events",
        f"/workflow/{NOBODY}/events",
        "workflow",
        "query!",
        NOT_WORKFLOW,
        last=404,
    ),
]
OTHER_MODE = {NOT_CHAT: "workflow", NOT_WORKFLOW: "chat", UNAVAILABLE: "chat"}


def takes_json(row):
    return row.user.startswith("json") or isinstance(row.sound, dict)


def rows(keep=lambda row: True):
    kept = [row for row in ROWS if keep(row)]
    return pytest.mark.parametrize("row", kept, ids=[f"{row.method} {row.rule}" for row in kept])


def ask(row, *, app=None, query="", body=None, **asked):
    body = body if row.method != "GET" and takes_json(row) else None
    return World().call(row.method, f"{row.path}?{query}", body, app=app or row.app, **asked)


def with_user(row, body, query=""):
    """The request's body and query with a user in the right place."""
    user = {"user": "alice"} if row.user.startswith("json") else {}
    return ({**user, **body} if isinstance(body, dict) else None), "&".join(
        filter(None, [query, "user=alice" if row.user.startswith("query") else ""])
    )


def test_there_is_a_row_for_every_endpoint_of_the_app_api():
    ours = {(one.method, one.rule) for one in ENDPOINTS if one.key == "app"}
    assert {(row.method, f"/v1{row.rule}") for row in ROWS} == ours


@rows()
def test_first_the_method_then_the_key(row):
    other = "PATCH"
    assert World().call(other, row.path, key="nope").error[0] == 405
    assert World().call(row.method, row.path, key="nope").error[0] == 401


@rows(lambda row: row.method != "GET" and takes_json(row))
def test_then_the_body_where_one_is_demanded(row):
    other = OTHER_MODE.get(row.wrong)
    assert ask(row, app=other).error[:2] == (415, "unsupported_media_type")
    assert ask(row, app=other, body=b"user=alice", headers={"Content-Type": "text/plain"}).status == 415
    assert ask(row, app=other, body=b"{").error[:2] == (400, "bad_request")
    assert ask(row, app=other, body=b"").error[:2] == (400, "bad_request")
    for no_object in (b"null", b"[]", b"[1]", b'"x"', b"3"):
        said = ask(row, app=other, body=no_object)
        assert said.error == (500, "unknown", "Internal Server Error")
        assert list(said.json) == ["message", "code", "status"]


@rows(lambda row: row.user.endswith("!"))
def test_then_the_user_where_one_is_required(row):
    said = ask(row, app=OTHER_MODE.get(row.wrong), body={})
    assert said.error == (400, "invalid_param", "Arg user must be provided.")


@rows(lambda row: row.wrong)
def test_then_the_mode_of_the_app(row):
    broken = row.broken if isinstance(row.broken, dict) else {}
    body, query = with_user(row, broken, row.broken if isinstance(row.broken, str) else "")
    said = ask(row, app=OTHER_MODE[row.wrong], body=body, query=query)
    assert said.error[:2] == (400, row.wrong), "whatever else is wrong"


@rows(lambda row: row.schema)
def test_then_the_schema(row):
    broken = row.broken if isinstance(row.broken, dict) else {}
    body, query = with_user(row, broken, row.broken if isinstance(row.broken, str) else "")
    status, code, message = ask(row, body=body, query=query).error
    assert (status, code) == (400, "invalid_param")
    assert "validation error" in message
    assert f"for {row.schema}\n" in message


@rows()
def test_at_last_the_handler(row):
    body, query = with_user(
        row, row.sound if isinstance(row.sound, dict) else {}, row.sound if isinstance(row.sound, str) else ""
    )
    said = ask(row, body=body, query=query)
    assert said.status == row.last


# ---------------------------------------------------------------------- inside the generate endpoints
def message_of(said):
    return said.error[2]


def test_an_agent_is_refused_blocking_before_its_query_and_conversation_are_looked_at():
    world = World()
    for mode in ({"response_mode": "blocking"}, {"response_mode": None}):
        said = world.chat("", app="agent", conversation_id=NOBODY, **mode)
        assert message_of(said) == "Agent Chat App does not support blocking mode"


def test_a_chat_checks_query_then_conversation_then_files_then_model_then_inputs():
    upload = {"enabled": True, "allowed_file_types": ["image"], "number_limits": 1}
    app = easy_app("chat", form=[text_input("topic", required=True)], file_upload=upload)
    world = World(app, models=frozenset({"langgenius/openai/openai/other"}))
    bad_file = [{"type": "image", "transfer_method": "zzz"}]
    said = [
        message_of(world.chat("", conversation_id=NOBODY, files=bad_file)),
        message_of(world.chat(conversation_id=NOBODY, files=bad_file)),
        message_of(world.chat(files=bad_file)),
        message_of(world.chat()),
    ]
    assert said[0] == "query is required"
    assert said[1].startswith("Conversation Not Exists.")
    assert said[2] == "'zzz' is not a valid FileTransferMethod"
    assert said[3] == "Model gpt-4o-mini not exist."
    assert message_of(World(app).chat()) == "topic is required in input form"


def test_a_chatflow_checks_the_workflow_id_then_whether_it_is_published_then_the_conversation():
    world = World(*_chatflow(), said={"chatflow": {"published": False}})
    said = [
        world.chat("", app="chatflow", workflow_id="xyz", conversation_id=NOBODY),
        world.chat("", app="chatflow", conversation_id=NOBODY),
        World(*_chatflow()).chat("", app="chatflow", conversation_id=NOBODY),
        World(*_chatflow()).chat("", app="chatflow"),
    ]
    assert [message_of(one).partition(".")[0].partition(":")[0] for one in said] == [
        "Invalid workflow_id format",
        "Workflow not published",
        "Conversation Not Exists",
        "query is required",
    ]


def _chatflow():
    return (graph_app("chatflow", "advanced-chat"),)
