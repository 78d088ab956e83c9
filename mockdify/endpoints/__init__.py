"""The table of endpoints. A new endpoint is a row here and a handler in the module of its family."""

from mockdify import payloads
from mockdify.context import Context, Endpoint, Handler
from mockdify.endpoints import annotations, apps, audio, chat, completion, conversations, files, messages
from mockdify.endpoints.knowledge import ROUTES
from mockdify.endpoints.stop import stop
from mockdify.errors import APP_UNAVAILABLE, NOT_CHAT_APP, NOT_WORKFLOW_APP
from mockdify.projection import projected
from mockdify.steps import Reply

__all__ = ["ENDPOINTS"]

CHAT_MODES = ("chat", "agent-chat", "advanced-chat", "agent")

_CHAT = {"modes": CHAT_MODES, "wrong_mode": NOT_CHAT_APP}
_COMPLETION = {"modes": ("completion",), "wrong_mode": APP_UNAVAILABLE}
_WORKFLOW = {"modes": ("workflow",), "wrong_mode": NOT_WORKFLOW_APP}
_GRAPH = {"modes": ("workflow", "advanced-chat"), "wrong_mode": NOT_WORKFLOW_APP}


def _graph(name: str) -> Handler:
    """The handler *name* of `workflows`, imported at its first call: a server that starts need not wait for graphs."""

    def handle(ctx: Context) -> Reply:
        from mockdify.endpoints import workflows  # noqa: PLC0415

        reply: Reply = getattr(workflows, name)(ctx)
        return reply

    return handle


def _row(method: str, rule: str, handler: object, **said: object) -> Endpoint:
    return Endpoint(method=method, rule=f"/v1{rule}", handler=handler, **said)  # type: ignore[arg-type]


ENDPOINTS: tuple[Endpoint, ...] = (
    # generating
    _row("POST", "/chat-messages", projected(chat.send), user="json", schema=payloads.CHAT, **_CHAT),
    _row("POST", "/chat-messages/<string:task_id>/stop", stop, user="json", **_CHAT),
    _row(
        "POST",
        "/completion-messages",
        projected(completion.send),
        user="json",
        schema=payloads.COMPLETION,
        **_COMPLETION,
    ),
    _row("POST", "/completion-messages/<string:task_id>/stop", stop, user="json", **_COMPLETION),
    _row("POST", "/workflows/run", _graph("run"), user="json", schema=payloads.WORKFLOW_RUN, **_WORKFLOW),
    _row(
        "POST",
        "/workflows/<string:workflow_id>/run",
        _graph("run_by_id"),
        user="json",
        schema=payloads.WORKFLOW_RUN,
        **_WORKFLOW,
    ),
    _row("POST", "/workflows/tasks/<string:task_id>/stop", stop, user="json", **_WORKFLOW),
    # conversations
    _row("GET", "/conversations", conversations.list_all, user="query?", schema=payloads.CONVERSATIONS, **_CHAT),
    _row("DELETE", "/conversations/<uuid:c_id>", conversations.delete, user="json?", **_CHAT),
    _row(
        "POST", "/conversations/<uuid:c_id>/name", conversations.rename, user="json?", schema=payloads.RENAME, **_CHAT
    ),
    _row(
        "GET",
        "/conversations/<uuid:c_id>/variables",
        conversations.list_variables,
        user="query?",
        schema=payloads.VARIABLES,
        **_CHAT,
    ),
    _row(
        "PUT",
        "/conversations/<uuid:c_id>/variables/<uuid:variable_id>",
        conversations.update_variable,
        user="json?",
        schema=payloads.VARIABLE_UPDATE,
        **_CHAT,
    ),
    # messages
    _row("GET", "/messages", messages.list_all, user="query?", schema=payloads.MESSAGES, **_CHAT),
    _row("GET", "/messages/<uuid:message_id>/suggested", messages.suggested, user="query", **_CHAT),
    _row("POST", "/messages/<uuid:message_id>/feedbacks", messages.feedback, user="json", schema=payloads.FEEDBACK),
    _row("GET", "/app/feedbacks", messages.list_feedbacks, schema=payloads.FEEDBACKS),
    # files and speech
    _row("POST", "/files/upload", files.upload, user="form?"),
    _row("GET", "/files/<uuid:file_id>/preview", files.preview, user="query?", schema=payloads.PREVIEW),
    _row("POST", "/audio-to-text", audio.to_text, user="form?"),
    _row("POST", "/text-to-audio", audio.to_audio, user="json?", schema=payloads.TEXT_TO_AUDIO),
    # annotations
    _row("GET", "/apps/annotations", annotations.list_all),
    _row("POST", "/apps/annotations", annotations.create, json=True, schema=payloads.ANNOTATION),
    _row("PUT", "/apps/annotations/<uuid:annotation_id>", annotations.update, json=True, schema=payloads.ANNOTATION),
    _row("DELETE", "/apps/annotations/<uuid:annotation_id>", annotations.delete),
    _row(
        "POST",
        "/apps/annotation-reply/<string:action>",
        annotations.reply_action,
        json=True,
        schema=payloads.ANNOTATION_REPLY,
    ),
    _row("GET", "/apps/annotation-reply/<string:action>/status/<uuid:job_id>", annotations.reply_status),
    # the app
    _row("GET", "/info", apps.info),
    _row("GET", "/parameters", apps.parameters),
    _row("GET", "/meta", apps.meta),
    _row("GET", "/site", apps.site),
    _row("GET", "/end-users/<uuid:end_user_id>", apps.end_user),
    # records of workflows
    _row("GET", "/workflows/run/<string:workflow_run_id>", _graph("detail"), **_GRAPH),
    _row("GET", "/workflows/logs", _graph("logs"), schema=payloads.WORKFLOW_LOGS),
    _row("GET", "/workflow/<string:task_id>/events", _graph("events"), user="query", needs="run_events", **_GRAPH),
    *ROUTES,
)
