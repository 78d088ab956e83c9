"""One run, two views: a turn is an iterator of events and waits; streaming sends it, blocking folds it.

A turn raises `ModelFailure` where the model failed and `DifyError` where Dify gives up before the model is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from mockdify.endpoints.files import source_url
from mockdify.errors import DifyError, invalid_param
from mockdify.events import ErrorEvent, Event
from mockdify.forms import InputFile, check_files, input_files, validate
from mockdify.ids import fixed_id
from mockdify.model import Generation, ModelFailure
from mockdify.pacing import with_pings
from mockdify.projection import stand_ins
from mockdify.script import Ask
from mockdify.steps import Emit, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mockdify.context import Context
    from mockdify.events import Envelope
    from mockdify.profiles import Profile
    from mockdify.script import Choice
    from mockdify.steps import Leaving, Reply
    from mockdify.store import Conversation, Upload
    from mockdify.workspace import Task

__all__ = [
    "Turn",
    "ask_model",
    "blocking",
    "failure_of",
    "file_value",
    "final_usage",
    "generation_of",
    "metadata",
    "streaming",
    "take_files",
    "take_inputs",
]

Turn: TypeAlias = Iterator[Event | Wait]


# ---------------------------------------------------------------------- the two views
def streaming(ctx: Context, envelope: Envelope, turn: Turn, *, leaving: Leaving) -> Reply:
    """The turn as a stream; a failure becomes its last event."""
    return with_pings(_stream(ctx, envelope, turn, leaving), interval=ctx.workspace.template.ping_interval, now=ctx.now)


def _stream(ctx: Context, envelope: Envelope, turn: Turn, leaving: Leaving) -> Reply:
    yield ctx.stream_head(leaving)
    try:
        for item in turn:
            yield item if isinstance(item, Wait) else Emit(item, envelope)
    except ModelFailure as failure:
        yield Emit(error_event(ctx.profile, failure), envelope)


def blocking(ctx: Context, turn: Turn, fold: Callable[[], Any]) -> Reply:
    """The turn in silence, as long as its stream would take, then the one answer that *fold* makes of it."""
    try:
        for item in turn:
            if isinstance(item, Wait):
                yield item
    except ModelFailure as failure:
        raise failure_of(
            ctx.profile, failure, streamed=False, req_id=fixed_id(ctx.user, ctx.exchange.id).replace("-", "")[:10]
        ) from None
    yield from ctx.generated(fold())


# ---------------------------------------------------------------------- the model
_DROPPED = "Request to Plugin Daemon Service failed-500"
_QUOTA = (
    "Your quota for Dify Hosted {what} has been exhausted. Please go to Settings -> Model Provider to complete your "
    "own provider credentials."
)
_UNSUPPORTED = "Dify Hosted OpenAI trial currently not support the GPT-4 model."
_INVOKE_ERRORS = ("rate-limit", "authorization", "bad-request", "connection", "server-unavailable")


class _QuotaEvent(ErrorEvent):
    """The one `error` event whose keys stand in another order."""

    __slots__ = ()

    def own(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "status": self.status}


def error_event(profile: Profile, failure: ModelFailure) -> ErrorEvent:
    """The `error` event of chat, completion and agent streams."""
    error = failure_of(profile, failure, streamed=True, req_id="")
    make = _QuotaEvent if error.code == "provider_quota_exceeded" else ErrorEvent
    return make(code=error.code, status=error.status, message=error.message)


def failure_of(profile: Profile, failure: ModelFailure, *, streamed: bool, req_id: str) -> DifyError:
    """What chat, completion and agent apps make of a model's failure, in HTTP and in an `error` event."""
    kind, said = failure.kind, failure.message
    if kind == "rate-limit":
        code, status = profile.streamed_rate_limit if streamed else profile.blocking_rate_limit
        return DifyError(status, code, said)
    if kind in _INVOKE_ERRORS:
        return DifyError(
            400, "completion_request_error", "Incorrect API key provided" if kind == "authorization" else said
        )
    if kind == "other":
        # An error the plugin does not name travels as JSON; only the HTTP form carries the request's id.
        text = json.dumps({"error_type": _error_type(said), "message": said, "args": {}})
        return invalid_param(text if streamed else f"req_id: {req_id} PluginInvokeError: {text}")
    code, text = {
        "dropped": ("invalid_param", _DROPPED),
        "credentials": ("invalid_param", said),
        "quota": ("provider_quota_exceeded", said or _QUOTA.format(what="Model Provider" if streamed else "OpenAI")),
        "not-initialized": ("provider_not_initialize", said),
        "model-unsupported": (
            "model_currently_not_support",
            said or ("Model Currently Not Support" if streamed else _UNSUPPORTED),
        ),
    }[kind]
    return DifyError(400, code, text)


def _error_type(said: str) -> str:
    """The name of the exception behind a text. Only a KeyError's can be told: it is a quoted value and nothing else."""
    quoted = len(said) > 1 and said[0] == said[-1] and said[0] in "'\"" and said[0] not in said[1:-1]
    return "KeyError" if quoted else "Exception"


_BEFORE_ANY_EVENT = ("quota", "not-initialized", "model-unsupported")


def may_not_be_asked(choice: Choice) -> bool:
    """Whether the model fails in a way that Dify meets before it opens a stream: an HTTP error in both modes.

    A failure `after` some chunks is met in the stream, whatever its kind.
    """
    return choice.fails is not None and choice.fails.kind in _BEFORE_ANY_EVENT and not choice.after


def ask_model(ctx: Context, query: str, inputs: Mapping[str, Any], turn: int, *, node: str | None = None) -> Choice:
    """What the script says to this query; kept on the exchange."""
    choice = ctx.workspace.script.choose(
        Ask(app=ctx.installed.name, user=ctx.user, query=query, inputs=inputs, turn=turn, node=node)
    )
    if ctx.exchange.answer is None:
        ctx.exchange.answer = choice.rule
    return choice


def generation_of(
    ctx: Context, choice: Choice, prompt_tokens: int, task: Task, chunks: Sequence[str] | None = None
) -> Generation:
    """The model's call for a choice of the script."""
    return Generation(
        chunks=choice.chunks if chunks is None else chunks,
        prompt_tokens=prompt_tokens,
        now=ctx.now,
        pace=ctx.workspace.template.pace if choice.pace is None else choice.pace,
        wake=task.wake,
        fails=choice.fails,
        after=choice.after,
        prices=choice.prices,
        overrides=choice.overrides,
    )


def check_model(ctx: Context) -> None:
    """Raise Dify's 400 when the app's model does not exist in this workspace."""
    models, model = ctx.workspace.template.models, ctx.installed.app.model
    if models is None or model is None or f"{model.provider}/{model.name}" in models:
        return
    if not any(known.startswith(f"{model.provider}/") for known in models):
        msg = f"Provider {model.provider} does not exist."
        raise invalid_param(msg)
    msg = f"Model {model.name} not exist."
    raise invalid_param(msg)


def refuse_early(choice: Choice, ctx: Context) -> None:
    """Raise what Dify answers before any event when the model may not be asked at all."""
    if may_not_be_asked(choice):
        failure = choice.fails
        assert failure is not None
        if failure.kind == "not-initialized" and not failure.message and ctx.installed.app.model:
            failure = ModelFailure(
                failure.kind, f"Model {ctx.installed.app.model.name} credentials is not initialized."
            )
        raise failure_of(ctx.profile, failure, streamed=False, req_id="")


# ---------------------------------------------------------------------- metadata
_PRICES = ("prompt_price", "completion_price", "total_price")


def final_usage(usage: dict[str, Any]) -> dict[str, Any]:
    """Usage as blocking answers write it: prices never in scientific notation."""
    small = {key: f"{Decimal(usage[key]):f}" for key in _PRICES if "E" in usage[key]}
    return usage | small if small else usage


def metadata(
    profile: Profile,
    usage: dict[str, Any],
    *,
    streamed: bool,
    annotation: dict[str, Any] | None = None,
    resources: Iterable[Mapping[str, Any]] = (),
    reasoning: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The `metadata` object of an answer, in the key order of its release and view."""
    found: dict[str, Any] = {}
    lean = streamed and profile.lean_stream_metadata
    if annotation is not None or not lean:
        found["annotation_reply"] = annotation
    found["retriever_resources"] = [dict(r) for r in resources]
    found["usage"] = usage if streamed else final_usage(usage)
    if profile.reasoning:
        found["reasoning"] = dict(reasoning or {})
    return found


# ---------------------------------------------------------------------- inputs and files
def take_inputs(ctx: Context, conversation: Conversation | None = None) -> dict[str, Any]:
    """The request's `inputs` as the app's form takes them; files as the values that events and records show.

    Where the profile freezes inputs, those of the *conversation* that goes on stand.
    """
    if conversation is not None and ctx.profile.frozen_inputs:
        return conversation.inputs
    form = ctx.installed.app.form
    if not form:
        return {}
    resolve = input_files(
        find_upload=lambda upload_id: find_upload(ctx, upload_id),
        remote=ctx.workspace.template.remote_files,
        strict=ctx.installed.mode == "workflow",
        named_methods=ctx.profile.named_enums,
    )
    given = ctx.payload["inputs"]
    if ctx.profile.loose_inputs:
        given = stand_ins(form, given)
    values = validate(form, given, files=resolve)
    return {name: _plain(ctx, value) for name, value in values.items()}


def _plain(ctx: Context, value: Any) -> Any:
    if isinstance(value, InputFile):
        return file_value(ctx, value)
    return [_plain(ctx, item) for item in value] if isinstance(value, list) else value


def take_files(ctx: Context) -> list[InputFile]:
    """The request's `files` as the app takes them."""
    files = ctx.payload["files"]
    if not files:
        return []
    return check_files(
        ctx.installed.file_rules,
        files,
        find_upload=lambda upload_id: find_upload(ctx, upload_id),
        remote=ctx.workspace.template.remote_files,
        strict=ctx.installed.mode == "workflow",
        named_methods=ctx.profile.named_enums,
    )


def find_upload(ctx: Context, upload_id: str) -> Upload | None:
    """The upload with this id, if the asker may use it."""
    found = ctx.workspace.store.uploads.get(upload_id)
    if found is None or (ctx.profile.uploads_by_user and found.owner_id != ctx.person.end_user.id):
        return None
    return found


def file_value(ctx: Context, file: InputFile) -> dict[str, Any]:
    """A file as a value of a run: what events and run records show of it."""
    # unverified: key order and `related_id` of a remote file; no recording has a file in a run
    upload = ctx.workspace.store.uploads.get(file.related_id or "")
    if upload is not None:
        upload.conversation_apps.add(ctx.installed.name)
    url = source_url(ctx.request, ctx.workspace, upload) if upload else file.url
    return {
        "dify_model_identity": "__dify__file__",
        "id": None,
        "tenant_id": ctx.workspace.tenant_id,
        "type": file.type,
        "transfer_method": file.transfer_method,
        "remote_url": file.url,
        "related_id": file.related_id,
        "filename": file.name,
        "extension": file.extension,
        "mime_type": file.mime_type,
        "size": file.size,
        "url": url,
    }
