"""Every error that was met on a running Dify, as its tables tell it, met again here.

The tables name the scenarios of each error; the requests behind the names are reconstructed below. Where a scenario
was recorded whole and can be seen, `test_fidelity` plays it; this is for the others, and for the table as a whole.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from support import NOBODY, SHARED, Said, World, form_of, template_in

from mockdify.script import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mockdify.workspace import Template

TABLES = {"1.16": "errors-met-1.16.1.md", "1.13": "errors-met.md"}
NOT_OURS = re.compile(
    r"^(dataset|kb|human|form|newagent|timeout|limit)\.|^http\.garbage_request|^meta\.models|^events\.(expired|two)"
    r"|^provider\.QuotaExceededError"
)
"""Areas of other tests, and one exception of a model whose name the configuration does not have."""
MB = 1024 * 1024
WAV = ("file", "a.wav", "audio/wav", b"RIFF")
PNG = ("file", "a.png", "image/png", b"\x89PNG")
ALICE = ("user", "alice")
SETTING = {"score_threshold": 0.9, "embedding_provider_name": "p", "embedding_model_name": "m"}
Ask = Callable[[World], Said]
ASKS: dict[str, Ask] = {}


# ---------------------------------------------------------------------- generate requests
PATHS = {
    "chat": "/chat-messages",
    "chatflow": "/chat-messages",
    "agent": "/chat-messages",
    "completion": "/completion-messages",
}
GOOD = {
    "chat": {"inputs": {}, "query": "hi"},
    "chatflow": {"inputs": {}, "query": "hi"},
    "agent": {"inputs": {}, "query": "hi"},
    "completion": {"inputs": {"query": "hi"}},
    "workflow": {"inputs": {"name": "bob"}},
}
GONE = object()


def asked(kind: str, app: str | None = None, *, stream: bool = False, path: str | None = None, **change: Any) -> Ask:
    """A generate request with some keys of its body changed, or `GONE`."""
    mode = "streaming" if stream else "blocking"
    body = {**GOOD[kind], "user": "alice", "response_mode": mode, **change}
    body = {key: value for key, value in body.items() if value is not GONE}
    return lambda here: here.post(path or PATHS.get(kind, "/workflows/run"), body, app=app or kind)


def raw(kind: str, body: bytes | None, content_type: str | None = "application/json") -> Ask:
    headers = {} if content_type is None else {"Content-Type": content_type}
    path = PATHS.get(kind, "/workflows/run")
    return lambda here: here.post(path, body, app=kind, headers=headers)


BODIES: dict[str, dict[str, Any]] = {
    "empty_user": {"user": ""},
    "missing_user": {"user": GONE},
    "user_null": {"user": None},
    "user_zero": {"user": 0},
    "missing_inputs": {"inputs": GONE},
    "inputs_null": {"inputs": None},
    "inputs_string": {"inputs": "x"},
    "inputs_list": {"inputs": []},
    "files_string": {"files": "x"},
    "files_list_of_str": {"files": ["x"]},
    "mode_invalid": {"response_mode": "chunky"},
    "mode_upper": {"response_mode": "STREAMING"},
    "mode_int": {"response_mode": 1},
    "two_errors": {"inputs": "x", "response_mode": "y"},
}
ONLY_USER = {"inputs": GONE, "query": GONE, "response_mode": GONE}
for kind in ("chat", "completion", "workflow"):
    for name, change in BODIES.items():
        ASKS[f"body.{kind}.{name}"] = asked(kind, **change)
    ASKS[f"body.{kind}.all_missing_but_user"] = asked(kind, **ONLY_USER)
    ASKS[f"body.{kind}.empty_object"] = asked(kind, user=GONE, **ONLY_USER)
    for name, body in {
        "array": b"[]",
        "array_nonempty": b"[1]",
        "null": b"null",
        "number": b"3",
        "string": b'"x"',
    }.items():
        ASKS[f"body.{kind}.{name}"] = raw(kind, body)
    for name, body in {
        "empty_body": b"",
        "nan": b'{"a": NaN}',
        "bom": b"\xef\xbb\xbf{}",
        "bad_utf8": b'"\xff"',
    }.items():
        ASKS[f"body.{kind}.{name}"] = raw(kind, body)
    ASKS[f"body.{kind}.truncated_json"] = raw(kind, b'{"inputs": {')
    ASKS[f"body.{kind}.ct_form"] = raw(kind, b"user=alice", "application/x-www-form-urlencoded")
    ASKS[f"body.{kind}.ct_text"] = raw(kind, b'{"user": "alice"}', "text/plain")
    ASKS[f"body.{kind}.ct_none"] = ASKS[f"body.{kind}.empty_body_no_ct"] = raw(kind, None, None)
ASKS |= {
    "body.chat.auto_name_bad": asked("chat", auto_generate_name="maybe"),
    "body.chat.missing_query": asked("chat", query=GONE),
    "body.chatflow.missing_query": asked("chatflow", query=GONE),
    "body.chat.query_int": asked("chat", query=5),
    "body.chat.query_null": asked("chat", query=None),
    "body.chat.query_list": asked("chat", query=["x"]),
    "body.chat.query_empty": asked("chat", query=""),
    "body.chat.query_empty_streaming": asked("chat", query="", stream=True),
    "body.chatflow.query_empty": asked("chatflow", query=""),
    "body.completion.missing_query_input": asked("completion", inputs={}),
    "body.completion.query_top_level": asked("completion", inputs={}, query="hi"),
    "agent.blocking": asked("agent"),
    "agent.mode_absent": asked("agent", response_mode=GONE),
    "chat.conv.malformed": asked("chat", conversation_id="not-a-uuid"),
    "chat.conv.malformed_streaming": asked("chat", conversation_id="not-a-uuid", stream=True),
    "chat.conv.unknown": asked("chat", conversation_id=NOBODY),
    "chat.conv.other_app": lambda here: here.chat(app="chat-plain", conversation_id=conversation(here)),
    "chat.conv.other_user": lambda here: here.chat(user="bob", conversation_id=conversation(here)),
    "chat.conv.other_user_streaming": lambda here: here.chat(
        user="bob", conversation_id=conversation(here), stream=True
    ),
    "chatflow.workflow_id_draft": asked("chatflow", workflow_id="draft"),
    "chatflow.workflow_id_malformed": asked("chatflow", workflow_id="xyz"),
    "chatflow.workflow_id_unknown": asked("chatflow", workflow_id=NOBODY),
    "chatflow_fail.blocking": asked("chatflow", "chatflow-fail"),
    "chat_nomodel.blocking": asked("chat", "chat-nomodel"),
    "chat_nomodel.streaming": asked("chat", "chat-nomodel", stream=True),
    "chat_noprovider.blocking": asked("chat", "chat-noprovider"),
    "chat_noprovider.streaming": asked("chat", "chat-noprovider", stream=True),
    "workflow_unpublished.blocking": asked("workflow", "workflow-unpublished"),
    "workflow_unpublished.streaming": asked("workflow", "workflow-unpublished", stream=True),
    "special.nul_user": asked("chat", user="a\0b"),
    "bad.chat.noprovider.streaming": asked("chat", "chat-noprovider", stream=True),
    "bad.chatflow.conv_malformed.streaming": asked("chatflow", conversation_id="xyz", stream=True),
    "bad.chatflow.conv_other_user.streaming": lambda here: here.chat(
        app="chatflow", user="bob", conversation_id=conversation(here, "chatflow"), stream=True
    ),
    "bad.chatflow.file_unknown.blocking": asked(
        "chatflow", files=[{"type": "image", "transfer_method": "local_file", "upload_file_id": NOBODY}]
    ),
    "bad.chatflow.inputs_null.streaming": asked("chatflow", inputs=None, stream=True),
    "bad.chatflow.missing_input.blocking": asked("chatflow", "chatflow-vars"),
    "bad.chatflow.unpublished.blocking": asked("chatflow", "chatflow-unpublished"),
    "bad.chatflow.unpublished.streaming": asked("chatflow", "chatflow-unpublished", stream=True),
    "bad.chatflow.workflow_id_malformed.streaming": asked("chatflow", workflow_id="xyz", stream=True),
    "bad.chatflow.workflow_id_unknown.streaming": asked("chatflow", workflow_id=NOBODY, stream=True),
    "bad.chatflow.synthetic_run_detail": lambda here: here.get(f"/workflows/run/{synthetic(here)}", app="chatflow"),
    "bad.chatflow.synthetic_run_events": lambda here: here.get(
        f"/workflow/{synthetic(here)}/events?user=alice", app="chatflow"
    ),
    "bad.workflow.unpublished.streaming": asked("workflow", "workflow-unpublished", stream=True),
    "bad.workflow.by_id_malformed.streaming": asked("workflow", path="/workflows/xyz/run", stream=True),
    "bad.workflow.by_id_unknown.streaming": asked("workflow", path=f"/workflows/{NOBODY}/run", stream=True),
    "events.chat_key": lambda here: here.get(f"/workflow/{NOBODY}/events?user=alice", app="chat"),
    "events.completion_key": lambda here: here.get(f"/workflow/{NOBODY}/events?user=alice", app="completion"),
    "events.unknown": lambda here: here.get(f"/workflow/{NOBODY}/events?user=alice", app="workflow"),
    "events.other_app": lambda here: here.get(f"/workflow/{run_of(here)}/events?user=alice", app="workflow-llm"),
    "events.finished_other_user": lambda here: here.get(f"/workflow/{run_of(here)}/events?user=bob", app="workflow"),
    "events.chatflow.other_user": lambda here: here.get(
        f"/workflow/{here.chat(app='chatflow', stream=True).events[0]['workflow_run_id']}/events?user=bob",
        app="chatflow",
    ),
    "wf.run_by_draft": asked("workflow", path="/workflows/draft/run"),
    "wf.run_by_malformed_id": asked("workflow", path="/workflows/xyz/run"),
    "wf.run_by_unknown_id": asked("workflow", path=f"/workflows/{NOBODY}/run"),
    "wf.files_in_run": asked(
        "workflow", files=[{"type": "image", "transfer_method": "remote_url", "url": "http://127.0.0.1:1/a.png"}]
    ),
}
INPUTS: dict[str, dict[str, Any]] = {
    "missing_required": {},
    "required_null": {"topic": None},
    "too_long": {"topic": "x" * 11},
    "max_len_emoji": {"topic": "👨‍👩‍👧" * 3},
    "int_for_text": {"topic": 5},
    "list_for_text": {"topic": ["a"]},
    "bad_option": {"topic": "x", "style": "zzz"},
    "option_empty": {"topic": "x", "style": ""},
    "number_bad": {"topic": "x", "count": "abc"},
}
WORKFLOW_NAMES = {"topic": "name", "style": "mode", "count": "n"}
for name, inputs in INPUTS.items():
    ASKS[f"inputs.chatvars.{name}"] = asked("chat", "chat-vars", inputs=inputs)
    ASKS[f"inputs.chatvars.{name}_streaming"] = asked("chat", "chat-vars", inputs=inputs, stream=True)
    ASKS[f"inputs.compvars.{name}"] = asked("completion", "completion-vars", inputs=inputs)
    ASKS[f"inputs.wfvars.{name}"] = asked(
        "workflow", inputs={WORKFLOW_NAMES[key]: value for key, value in inputs.items()}
    )
ASKS["chatvars.continue_inputs_empty"] = asked("chat", "chat-vars")
ASKS["chatvars.continue_inputs_invalid"] = asked("chat", "chat-vars", inputs={"topic": "x" * 50, "style": "nope"})


def conversation(here: World, app: str = "chat") -> str:
    return str(here.chat(app=app).json["conversation_id"])


def synthetic(here: World) -> str:
    return str(here.chat(app="chatflow-vars", stream=True).events[0]["task_id"])


def run_of(here: World) -> str:
    return str(here.run({"name": "bob"}).json["workflow_run_id"])


# ---------------------------------------------------------------------- models that fail
def failing(error: str, app: str, view: str, marker: str = "err") -> Ask:
    query = f"[[{marker}:{error}]]" if error else f"[[{marker}]]"
    change: dict[str, Any] = {"inputs": {"query": query}} if app == "completion" else {"query": query}
    return asked(app, stream=view == "streaming", **change)


for app in ("chat", "completion", "agent", "chatflow"):
    for view in ("blocking", "streaming"):
        for error in (
            "InvokeRateLimitError",
            "InvokeAuthorizationError",
            "InvokeConnectionError",
            "InvokeBadRequestError",
            "InvokeServerUnavailableError",
            "CredentialsValidateFailedError",
            "KeyError",
        ):
            ASKS[f"provider.{error}.{app}.{view}"] = failing(error, app, view)
            if error in ("InvokeRateLimitError", "InvokeConnectionError"):
                ASKS[f"provider.after.{error}.{app}.{view}"] = failing(error, app, view, "err_after")
        ASKS[f"provider.drop.{app}.{view}"] = failing("", app, view, "drop")
        ASKS[f"provider.drop_after.{app}.{view}"] = failing("", app, view, "drop_after")
REFUSALS = {
    "nocreds": "not-initialized",
    "status.no-configure": "not-initialized",
    "status.quota-exceeded": "quota",
    "status.no-permission": "model-unsupported",
}


def refusing(fails: str, ask: Ask) -> Ask:
    def asking(here: World) -> Said:
        here.workspace.script.add(Rule(fails=fails))
        return ask(here)

    return asking


for scenario, fails in REFUSALS.items():
    for app in ("chat", "completion", "agent", "chatflow", "workflow"):
        for view in ("blocking", "streaming"):
            real = "workflow-llm" if app == "workflow" else app
            inputs = {"inputs": {"q": "hi"}} if app == "workflow" else {}
            ASKS[f"{scenario}.{app}.{view}"] = refusing(fails, asked(app, real, stream=view == "streaming", **inputs))
ASKS["bad.chatflow.moderation_like.nocreds.streaming"] = ASKS["nocreds.chatflow.streaming"]


# ---------------------------------------------------------------------- everything else
def get(path: str, app: str = "chat") -> Ask:
    return lambda here: here.get(path, app=app)


def call(method: str, path: str, body: Any = None, app: str = "chat", **more: Any) -> Ask:
    return lambda here: here.call(method, path, body, app=app, **more)


def form(path: str, *parts: Any, app: str = "chat") -> Ask:
    return lambda here: here.post(path, form=form_of(*parts), app=app)


def with_file(change: dict[str, Any], times: int = 1, **more: Any) -> Ask:
    """A question with an uploaded image, changed somehow."""

    def asking(here: World) -> Said:
        made = here.upload().json["id"]
        file = {"type": "image", "transfer_method": "local_file", "upload_file_id": made, **change}
        file = {key: value for key, value in file.items() if value is not GONE}
        return here.chat(files=[file] * times, **more)

    return asking


def previewed(query: str = "", app: str = "chat") -> Ask:
    def asking(here: World) -> Said:
        made = here.upload().json["id"]
        here.chat(files=[{"type": "image", "transfer_method": "local_file", "upload_file_id": made}])
        return here.get(f"/files/{made}/preview?{query}", app=app)

    return asking


def on_conversation(method: str, rest: str = "", body: Any = None, app: str = "chat", asker: str | None = None) -> Ask:
    return lambda here: here.call(method, f"/conversations/{conversation(here, app)}{rest}", body, app=asker or app)


def on_variable(body: Any, variable: str | None = None) -> Ask:
    def asking(here: World) -> Said:
        known = conversation(here, "chatflow")
        found = here.get(f"/conversations/{known}/variables?user=alice", app="chatflow").json["data"][0]["id"]
        return here.call("PUT", f"/conversations/{known}/variables/{variable or found}", body, app="chatflow")

    return asking


def deleted(then: Callable[[World, dict[str, Any]], Said]) -> Ask:
    def asking(here: World) -> Said:
        made = here.chat().json
        here.call("DELETE", f"/conversations/{made['conversation_id']}", {"user": "alice"})
        return then(here, made)

    return asking


def rated(body: dict[str, Any], app: str = "chat") -> Ask:
    return lambda here: here.post(f"/messages/{here.chat().json['message_id']}/feedbacks", body, app=app)


def annotated(method: str, body: Any = None, app: str = "chat") -> Ask:
    def asking(here: World) -> Said:
        made = here.post("/apps/annotations", {"question": "q", "answer": "a"}).json["id"]
        return here.call(method, f"/apps/annotations/{made}", body, app=app)

    return asking


USER = {"user": "alice"}
ASKS |= {
    "auth.no_header": call("POST", "/chat-messages", {}, None),
    "auth.no_header_get": get("/parameters", None),
    "auth.empty": call("GET", "/info", headers={"Authorization": ""}),
    "auth.bearer_only": call("GET", "/info", headers={"Authorization": "Bearer"}),
    "auth.bearer_space": call("GET", "/info", headers={"Authorization": "Bearer "}),
    "auth.key_in_query": get("/info?api_key=x", None),
    "auth.basic": call("GET", "/info", headers={"Authorization": "Basic abc"}),
    "auth.bad_key": call("POST", "/chat-messages", {}, key="nope"),
    "auth.bad_key_get": call("GET", "/info", key="nope"),
    "auth.bad_key_datasets": call("GET", "/datasets", key="nope"),
    "auth.app_key_on_datasets": get("/datasets"),
    "auth.disabled_app": asked("chat", "chat-disabled"),
    "auth.disabled_app_get": get("/info", "chat-disabled"),
    "http.head_noauth": call("HEAD", "/parameters", None, None),
    "http.head_chat": call("HEAD", "/chat-messages"),
    "http.bad_uuid_path": call("POST", "/messages/xyz/feedbacks", {"user": "alice"}),
    "http.case": get("/Parameters"),
    "http.wrong_method": get("/chat-messages"),
    "http.wrong_method_delete": call("DELETE", "/parameters"),
    "http.swagger": get("/swagger.json"),
    "http.cors_file_preview": call("GET", f"/files/{NOBODY}/preview", headers={"Origin": "https://example.com"}),
    "convs.get_one": get(f"/conversations/{NOBODY}"),
    "mode.chat_key_on_completion": asked("completion", "chat"),
    "mode.agent_key_on_completion": asked("completion", "agent"),
    "mode.chatflow_key_on_completion": asked("completion", "chatflow"),
    "mode.completion_key_on_chat": asked("chat", "completion"),
    "mode.chat_key_on_workflow": asked("workflow", "chat"),
    "mode.chatflow_key_on_workflow": asked("workflow", "chatflow"),
    "mode.completion_key_on_workflow": asked("workflow", "completion"),
    "mode.conversations_completion_key": get("/conversations?user=alice", "completion"),
    "mode.conversations_workflow_key": get("/conversations?user=alice", "workflow"),
    "mode.stop_chat_key_on_wf_path": call("POST", f"/workflows/tasks/{NOBODY}/stop", USER),
    "meta.workflow_unpublished.parameters": get("/parameters", "workflow-unpublished"),
    "meta.end_user_unknown": get(f"/end-users/{NOBODY}"),
    "convs.limit_0": get("/conversations?user=alice&limit=0"),
    "convs.limit_-1": get("/conversations?user=alice&limit=-1"),
    "convs.limit_101": get("/conversations?user=alice&limit=101"),
    "convs.limit_abc": get("/conversations?user=alice&limit=abc"),
    "convs.limit_1.5": get("/conversations?user=alice&limit=1.5"),
    "convs.limit_empty": get("/conversations?user=alice&limit="),
    "convs.sort_name": get("/conversations?user=alice&sort_by=name"),
    "convs.sort_empty": get("/conversations?user=alice&sort_by="),
    "convs.last_id_malformed": get("/conversations?user=alice&last_id=xyz"),
    "convs.last_id_unknown": get(f"/conversations?user=alice&last_id={NOBODY}"),
    "convs.last_id_other_user": lambda here: here.get(f"/conversations?user=bob&last_id={conversation(here)}"),
    "messages.no_conv": get("/messages?user=conv-1"),
    "messages.conv_malformed": get("/messages?user=alice&conversation_id=xyz"),
    "messages.conv_unknown": get(f"/messages?user=alice&conversation_id={NOBODY}"),
    "messages.no_user": lambda here: here.get(f"/messages?conversation_id={conversation(here)}"),
    "messages.other_app": lambda here: here.get(
        f"/messages?user=alice&conversation_id={conversation(here)}", app="chat-plain"
    ),
    "messages.deleted_conv": deleted(
        lambda here, made: here.get(f"/messages?user=alice&conversation_id={made['conversation_id']}")
    ),
    "messages.first_id_malformed": lambda here: here.get(
        f"/messages?user=alice&conversation_id={conversation(here)}&first_id=xyz"
    ),
    "messages.first_id_unknown": lambda here: here.get(
        f"/messages?user=alice&conversation_id={conversation(here)}&first_id={NOBODY}"
    ),
    "messages.first_id_other_conv": lambda here: here.get(
        f"/messages?user=alice&conversation_id={conversation(here)}&first_id={here.chat().json['message_id']}"
    ),
    "messages.limit_0": get(f"/messages?user=alice&conversation_id={NOBODY}&limit=0"),
    "messages.limit_101": get(f"/messages?user=alice&conversation_id={NOBODY}&limit=101"),
    "messages.limit_abc": get(f"/messages?user=alice&conversation_id={NOBODY}&limit=abc"),
    "rename.no_name": on_conversation("POST", "/name", USER),
    "rename.null_name": on_conversation("POST", "/name", USER | {"name": None}),
    "rename.empty_name": on_conversation("POST", "/name", USER | {"name": ""}),
    "rename.spaces_name": on_conversation("POST", "/name", USER | {"name": "  "}),
    "rename.int_name": on_conversation("POST", "/name", USER | {"name": 5}),
    "rename.auto_bad": on_conversation("POST", "/name", USER | {"auto_generate": "zzz"}),
    "rename.empty_body": on_conversation("POST", "/name", {}),
    "delete.again": deleted(lambda here, made: here.call("DELETE", f"/conversations/{made['conversation_id']}", USER)),
    "delete.no_user": on_conversation("DELETE", "", {}),
    "delete.completion_key": on_conversation("DELETE", "", USER, asker="completion"),
    "convvars.limit0": on_conversation("GET", "/variables?user=alice&limit=0", app="chatflow"),
    "convvars.by_name_bad": on_conversation("GET", "/variables?user=alice&variable_name=a%3Bdrop--", app="chatflow"),
    "convvars.last_id_unknown": on_conversation("GET", f"/variables?user=alice&last_id={NOBODY}", app="chatflow"),
    "convvars.unknown": get(f"/conversations/{NOBODY}/variables?user=alice", "chatflow"),
    "convvars.other_user": on_conversation("GET", "/variables?user=bob", app="chatflow"),
    "convvars.update_other_user": on_variable({"value": "x", "user": "bob"}),
    "convvars.update_unknown_conv": call(
        "PUT", f"/conversations/{NOBODY}/variables/{NOBODY}", {"value": "x", **USER}, "chatflow"
    ),
    "convvars.update_unknown_var": on_variable({"value": "x", **USER}, NOBODY),
    "convvars.update_wrong_type": on_variable({"value": 5, **USER}),
    "convvars.update_missing_value": on_variable(USER),
    "feedback.invalid": rated(USER | {"rating": "meh"}),
    "feedback.empty_rating": rated(USER | {"rating": ""}),
    "feedback.content_int": rated(USER | {"rating": "like", "content": 5}),
    "feedback.absent_rating": rated(USER),
    "feedback.null_first": rated(USER | {"rating": None}),
    "feedback.null_again": rated(USER | {"rating": None}),
    "feedback.other_user": rated({"rating": "like", "user": "bob"}),
    "feedback.other_app": rated(USER | {"rating": "like"}, "chat-plain"),
    "feedback.unknown": call("POST", f"/messages/{NOBODY}/feedbacks", USER | {"rating": "like"}),
    "feedback.deleted_conv_message": deleted(
        lambda here, made: here.post(f"/messages/{made['message_id']}/feedbacks", USER | {"rating": "like"})
    ),
    "feedback.get_app_feedbacks_limit0": get("/app/feedbacks?limit=0"),
    "feedback.get_app_feedbacks_limit102": get("/app/feedbacks?limit=102"),
    "suggested.disabled": lambda here: here.get(
        f"/messages/{here.chat(app='chat-plain').json['message_id']}/suggested?user=alice", app="chat-plain"
    ),
    "files.no_file": form("/files/upload", ALICE),
    "files.no_body": call("POST", "/files/upload"),
    "files.json_body": call("POST", "/files/upload", USER),
    "files.two_files": form("/files/upload", PNG, ("other", *PNG[1:])),
    "files.empty_filename": form("/files/upload", ("file", "", "image/png", b"x")),
    "files.no_mimetype": form("/files/upload", ("file", "a.png", "", b"x")),
    "files.slash_name": form("/files/upload", ("file", "a/b.png", "image/png", b"x")),
    "files.too_large_txt": form("/files/upload", ("file", "a.txt", "text/plain", bytes(15 * MB + 1))),
    "files.too_large_image": form("/files/upload", ("file", "a.png", "image/png", bytes(10 * MB + 1))),
    "files.chat_unknown_id": with_file({"upload_file_id": NOBODY}),
    "files.chat_other_user": with_file({}, user="bob"),
    "files.chat_no_id": with_file({"upload_file_id": GONE}),
    "files.chat_malformed_id": with_file({"upload_file_id": "xyz"}),
    "files.chat_bad_type": with_file({"type": "zzz"}),
    "files.chat_bad_method": with_file({"transfer_method": "zzz"}),
    "files.chat_no_type": with_file({"type": GONE}),
    "files.chat_type_document": with_file({"type": "document"}),
    "files.chat_too_many": with_file({}, times=4),
    "files.chat_remote_bad_url": asked(
        "chat", files=[{"type": "image", "transfer_method": "remote_url", "url": "http://127.0.0.1:1/x.png"}]
    ),
    "preview.unknown": get(f"/files/{NOBODY}/preview"),
    "preview.not_in_message": lambda here: here.get(f"/files/{here.upload().json['id']}/preview"),
    "preview.other_app": previewed(app="chat-plain"),
    "preview.attachment_bad": previewed("as_attachment=zzz"),
    "audio.no_file": form("/audio-to-text", ALICE, app="chat-audio"),
    "audio.not_enabled": form("/audio-to-text", ALICE, WAV),
    "audio.completion_not_enabled": form("/audio-to-text", ALICE, WAV, app="completion"),
    "audio.workflow_not_enabled": form("/audio-to-text", ALICE, WAV, app="workflow"),
    "audio.unsupported": form("/audio-to-text", ALICE, ("file", "a.txt", "text/plain", b"x"), app="chat-audio"),
    "audio.too_large": form(
        "/audio-to-text", ALICE, ("file", "a.wav", "audio/wav", bytes(30 * MB + 1)), app="chat-audio"
    ),
    "tts.not_enabled": call("POST", "/text-to-audio", USER | {"text": "hello"}),
    "tts.workflow_not_enabled": call("POST", "/text-to-audio", USER | {"text": "hello"}, "workflow"),
    "tts.neither": call("POST", "/text-to-audio", USER, "chat-audio"),
    "annot.create_no_answer": call("POST", "/apps/annotations", {"question": "What?"}),
    "annot.create_int": call("POST", "/apps/annotations", {"question": 1, "answer": 2}),
    "annot.list_bad": get("/apps/annotations?page=abc"),
    "annot.list_limit0": get("/apps/annotations?page=0&limit=0"),
    "annot.update_unknown": call("PUT", f"/apps/annotations/{NOBODY}", {"question": "q", "answer": "a"}),
    "annot.update_other_app": annotated("PUT", {"question": "q", "answer": "a"}, "chat-plain"),
    "annot.delete_again": call("DELETE", f"/apps/annotations/{NOBODY}"),
    "annot.delete_bad": call("DELETE", "/apps/annotations/xyz"),
    "annot.reply_bad_action": call("POST", "/apps/annotation-reply/zzz", SETTING),
    "annot.reply_missing": call("POST", "/apps/annotation-reply/enable", {}),
    "annot.reply_status_unknown": get(f"/apps/annotation-reply/enable/status/{NOBODY}"),
    "wf.detail_unknown": get(f"/workflows/run/{NOBODY}", "workflow"),
    "wf.detail_other_app": lambda here: here.get(f"/workflows/run/{run_of(here)}", app="workflow-fail"),
    "wf.detail_chatflow_key": lambda here: here.get(f"/workflows/run/{run_of(here)}", app="chatflow"),
    "wf.logs_limit-0": get("/workflows/logs?limit=0", "workflow"),
    "wf.logs_limit-101": get("/workflows/logs?limit=101", "workflow"),
    "wf.logs_page-0": get("/workflows/logs?page=0", "workflow"),
    "wf.logs_page-abc": get("/workflows/logs?page=abc", "workflow"),
    "wf.logs_status-zzz": get("/workflows/logs?status=zzz", "workflow"),
    "wf.logs_created_by_account-zzz@example.com": get("/workflows/logs?created_by_account=zzz@example.com", "workflow"),
    "wf.logs_created_at__before-zzz": get("/workflows/logs?created_at__before=zzz", "workflow"),
}


# ---------------------------------------------------------------------- the tables
def rows() -> list[Any]:
    """(release, (where, status, code, message), scenario) of every scenario named in the tables."""
    return [
        pytest.param(profile, met, scenario, id=f"{profile}-{scenario}")
        for profile, name in TABLES.items()
        for met, scenarios in rows_of(SHARED / "dify" / name)
        for scenario in scenarios
        if not NOT_OURS.search(scenario)
    ]


def rows_of(table: Path) -> Iterator[tuple[tuple[str, int, str, str], list[str]]]:
    """An error and where it was met, row by row."""
    for line in table.read_text("utf-8").splitlines() if table.exists() else []:
        cells = [cell.strip(" `") for cell in line.replace("\\|", "¦").split(" | ")]
        if len(cells) >= 6 and cells[1].isdigit():
            where, message = cells[0].lstrip("| "), " | ".join(cells[3:-2])
            yield (where, int(cells[1]), cells[2], message), cells[-1].rstrip("| ").split(", ")


def flat(text: str) -> str:
    """A message as the tables write it: ids, versions and quoted values left out, lines joined."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>", text.replace("\n", " ⏎ "))
    text = re.sub(r"pydantic\.dev/[0-9.]+/", "pydantic.dev/<v>/", text)
    text = re.sub(r"req_id: [0-9a-f]{10}", "req_id: <10 hex>", text)
    return re.sub(r"input_value=.*?, input_type", "input_value=…, input_type", text).strip()


@functools.cache
def template(profile: str) -> Template:
    return template_in(SHARED / "dify" / f"oracle-{profile}.toml")


@pytest.mark.skipif(not (SHARED / "dify").exists(), reason="the tables are not beside this checkout")
def test_every_scenario_of_the_app_api_has_its_request():
    assert {row.values[-1] for row in rows()} <= ASKS.keys()


@pytest.mark.skipif(not (SHARED / "dify").exists(), reason="the tables are not beside this checkout")
@pytest.mark.parametrize(("profile", "met", "scenario"), rows())
def test_an_error_that_was_met_is_met_again(profile, met, scenario):
    where, status, code, message = met
    said = ASKS[scenario](World.of_template(template(profile)))
    if where.startswith("SSE"):
        error = said.event("error")
        assert (said.status, error["status"], error["code"]) == (200, status, code)
        assert flat(error["message"]) == flat(message)
        return
    assert said.status == status
    if code == "(html or empty)":
        assert scenario.startswith("http.head") or said.type.startswith("text/html")
        return
    if code == "None":
        assert json.dumps(said.json) == message.replace("'", '"')
        return
    assert said.json["code"] == code
    told, wanted = flat(said.json["message"]), flat(message)
    assert told.startswith(wanted) if len(wanted) > 400 else told == wanted
