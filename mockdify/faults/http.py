"""Faults before the reply that are Dify's own errors: status, code and text as Dify answers them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from mockdify.context import error_reply
from mockdify.errors import (
    APP_UNAVAILABLE,
    BAD_JSON,
    INTERNAL,
    DifyError,
    forbidden,
    invalid_param,
    not_found,
    unauthorized,
)
from mockdify.faults.base import FaultContext, Kind, Option, Options
from mockdify.steps import Headers, Reply, Wait

__all__ = ["BEFORE", "KINDS", "RETRY", "HttpError", "delayed", "http_date", "retry_after", "run_quota"]

ErrorFor: TypeAlias = Callable[[FaultContext], DifyError]


# ---------------------------------------------------------------------- what all pre-empting faults share
BEFORE = {"delay": Option(takes="seconds", words="how long nothing comes before it strikes", default=0)}
RETRY = {
    "retry_after": Option(takes="delay", words="the `Retry-After` header; without it there is none, as in Dify"),
    "as_date": Option(takes="flag", words="write it as a date, counted on the workspace's clock", default=False),
}


def delayed(ctx: FaultContext, options: Options, reply: Reply) -> Reply:
    """*reply* after the option `delay`."""
    if options["delay"]:
        yield Wait(ctx.now() + options["delay"])
    yield from reply


def retry_after(ctx: FaultContext, options: Options) -> Headers:
    """The `Retry-After` header: whole seconds, rounded up, or their date, unless given as text."""
    value: Any = options["retry_after"]
    if value is None:
        return ()
    if not isinstance(value, str):
        seconds = math.ceil(value)
        value = http_date(ctx.now() + seconds) if options["as_date"] else str(seconds)
    return (("Retry-After", value),)


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(moment: float) -> str:
    """*moment* as HTTP writes times, rounded up to the second; names of days and months never depend on a locale."""
    at = datetime.fromtimestamp(math.ceil(moment), UTC)
    return f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at:%Y %H:%M:%S} GMT"


@dataclass(frozen=True, slots=True)
class HttpError:
    """Answer with one of Dify's errors; the honest reply is never started."""

    error: ErrorFor
    options: Options

    def apply(self, ctx: FaultContext, reply: Reply) -> Reply:  # noqa: ARG002 - pre-empted
        """The error."""
        error = self.error(ctx)
        message = self.options["message"]
        if message is not None:
            error = DifyError(error.status, error.code, message, plain=True)
        return delayed(ctx, self.options, error_reply(ctx.request, ctx.profile, error, retry_after(ctx, self.options)))


# ---------------------------------------------------------------------- texts that depend on the app or the release
def _no_credentials(ctx: FaultContext) -> DifyError:
    if ctx.model:
        return DifyError(400, "provider_not_initialize", f"Model {ctx.model} credentials is not initialized.")
    text = (
        "No valid model provider credentials found. Please go to Settings -> Model Provider to complete your provider "
        "credentials."
    )
    return DifyError(400, "provider_not_initialize", text)


def _too_large(ctx: FaultContext) -> DifyError:
    return DifyError(413, "file_too_large", ctx.profile.file_too_large)


def run_quota(ctx: FaultContext) -> DifyError:
    """The plan's quota of runs is used up."""
    return DifyError(429, "rate_limit_error", f"Workflow execution quota limit reached for tenant {ctx.tenant_id}")


_QUOTA = (
    "Your quota for Dify Hosted OpenAI has been exhausted. Please go to Settings -> Model Provider to complete your "
    "own provider credentials."
)
_ALL = "yes, in every release"
_FIX_REQUEST = "reports it and does not send the same request again"
_TELL_OPERATOR = "reports it as a matter for whoever runs the app; asking again does not help"
_BACK_OFF = "waits (`Retry-After` where there is one, else longer each time), then asks again a few times"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A row of this module: the catalogue's `Kind` follows from it."""

    name: str
    error: DifyError | ErrorFor
    words: str
    real: str = _ALL
    advice: str = _FIX_REQUEST
    threads: tuple[str, ...] = ()

    def kind(self) -> Kind:
        error = self.error
        make: ErrorFor = (lambda _: error) if isinstance(error, DifyError) else error
        return Kind(
            name=self.name,
            when="before",
            words=self.words,
            make=lambda options: HttpError(make, options),
            real=self.real,
            advice=self.advice,
            threads=self.threads,
            options={"message": Option(takes="text", words="another text than Dify's"), **RETRY, **BEFORE},
        )


_ROWS = (
    _Row(
        name="unauthorized",
        error=unauthorized("Access token is invalid"),
        words="401 `unauthorized`: the key is not, or no longer, known",
        advice="stops and asks for another key",
        threads=("langgenius/dify#15706", "imfangs/dify-java-client#78", "langgenius/dify#19878"),
    ),
    _Row(name="bad-request", error=BAD_JSON, words="400 `bad_request`: the body is refused as unreadable"),
    _Row(
        name="invalid-param",
        error=invalid_param("Invalid parameter value."),
        words="400 `invalid_param`: a parameter is refused; the text says which",
        real="yes, in every release, with the text of what was wrong",
        threads=("langgenius/dify#8573", "langgenius/dify#28982"),
    ),
    _Row(
        name="app-unavailable",
        error=APP_UNAVAILABLE,
        words="400 `app_unavailable`: the app's configuration is broken, or the route is not its mode's",
        advice=_TELL_OPERATOR,
    ),
    _Row(
        name="provider-not-initialized",
        error=_no_credentials,
        words="400 `provider_not_initialize`: the model's credentials are missing",
        real="yes, in chat, completion and agent apps; graphs answer 400 `invalid_param` `Model is not configured`",
        advice=_TELL_OPERATOR,
    ),
    _Row(
        name="provider-quota",
        error=DifyError(400, "provider_quota_exceeded", _QUOTA),
        words="400 `provider_quota_exceeded`: the hosted model's quota is used up",
        real="yes, on Dify Cloud's hosted models; an `error` event says `Dify Hosted Model Provider` instead",
        advice=_TELL_OPERATOR,
    ),
    _Row(
        name="model-unsupported",
        error=DifyError(
            400, "model_currently_not_support", "Dify Hosted OpenAI trial currently not support the GPT-4 model."
        ),
        words="400 `model_currently_not_support`: the model may not be used",
        real="yes, in every release; the text is the same for every model",
        advice=_TELL_OPERATOR,
    ),
    _Row(
        name="completion-error",
        error=DifyError(400, "completion_request_error", "Completion request failed."),
        words="400 `completion_request_error`: the model's call failed, rate limits of the provider included",
        real="yes, in every release, mostly with the provider's own text; a provider's 429 never becomes an HTTP 429",
        advice="may ask once more; shows the text",
    ),
    _Row(
        name="forbidden",
        error=forbidden("The app's API service has been disabled."),
        words="403 `forbidden`: the app's API is switched off",
        advice=_TELL_OPERATOR,
    ),
    _Row(
        name="conversation-not-found",
        error=not_found("Conversation Not Exists."),
        words="404 `not_found`: the conversation is not there, or not this user's, or not this app's",
        real="yes, in every release; since 1.8.0 suggestions of similar paths follow the text",
        advice="starts a new conversation, or reports it; never compares the text for equality",
        threads=(
            "langgenius/dify#15916",
            "langgenius/dify#20149",
            "langgenius/dify#14893",
            "langgenius/dify#20401",
            "langgenius/dify#28481",
        ),
    ),
    _Row(
        name="file-too-large",
        error=_too_large,
        words="413 `file_too_large`: the upload is too large",
        real="yes; the text is empty since 1.16 and was `File size exceeded. {message}`, braces and all, in 1.13",
        advice="reports it by the status; the text may be empty",
    ),
    _Row(
        name="unsupported-file",
        error=DifyError(415, "unsupported_file_type", "File type not allowed."),
        words="415 `unsupported_file_type`: the file is of no taken type",
    ),
    _Row(
        name="rate-limit",
        error=DifyError(429, "too_many_requests", "Too many requests. Please try again later."),
        words="429 `too_many_requests`: too many requests at once, as Dify's documents have it",
        real="documented, and so up to 0.14.1; since 0.14.2 the same case is a 400 `invalid_param` (see `[[limits]]`)",
        advice=_BACK_OFF,
        threads=("langgenius/dify#37313", "langgenius/dify#5931", "langgenius/dify#6136", "langgenius/dify#13657"),
    ),
    _Row(
        name="quota",
        error=run_quota,
        words="429 `rate_limit_error`: the plan's quota of runs is used up",
        real="yes, on Dify Cloud; the documents show the text `Rate Limit Error`",
        advice="does not ask again: the quota comes back with the plan's next period",
        threads=("langgenius/dify#37313",),
    ),
    _Row(
        name="server-error",
        error=INTERNAL,
        words="500 `internal_server_error`: Dify itself failed",
        advice="asks again a few times, a little later each time, then reports it",
    ),
    _Row(
        name="unavailable",
        error=DifyError(503, "service_unavailable", "Service Unavailable"),  # unverified: the text
        words="503 `service_unavailable`: Dify is not available",
        real="reported of Dify Cloud by third parties",
        advice=_BACK_OFF,
    ),
)

KINDS: tuple[Kind, ...] = tuple(row.kind() for row in _ROWS)
