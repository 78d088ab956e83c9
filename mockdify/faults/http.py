"""Faults before the reply that are Dify's own errors: status, code and text as Dify answers them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mockdify import wire
from mockdify.context import service_headers
from mockdify.errors import APP_UNAVAILABLE, BAD_JSON, INTERNAL, DifyError
from mockdify.faults.base import FaultContext, Kind, Options
from mockdify.routing import did_you_mean
from mockdify.steps import Body, Head, Headers, Reply

__all__ = ["KINDS", "HttpError", "error_reply"]


def error_reply(ctx: FaultContext, error: DifyError, extra: Headers = (), *, cors: bool = True) -> Reply:
    """*error* as Dify sends it."""
    if error.status == 404 and error.body is None and error.code == "not_found" and not error.plain and ctx.profile.path_suggestions:
        error = DifyError(404, error.code, did_you_mean(error.message, ctx.request.path))
    body = wire.as_ujson(error.payload())
    headers = service_headers(ctx.profile, wire.JSON, ctx.request.header("origin"), cors=cors)
    if error.status == 401:
        headers = (*headers, ("WWW-Authenticate", 'Bearer realm="api"'))
    yield Head(error.status, headers + extra, len(body))
    yield Body(body)


def retry_after(options: Options) -> Headers:
    """The `Retry-After` header: whole seconds, rounded up, unless given as text."""
    value: Any = options.get("retry_after")
    if value is None:
        return ()
    return (("Retry-After", value if isinstance(value, str) else str(math.ceil(value))),)


@dataclass(frozen=True, slots=True)
class HttpError:
    """Answer with one of Dify's errors; the honest reply is never started."""

    error: DifyError
    options: Options

    def apply(self, ctx: FaultContext, reply: Reply) -> Reply:  # noqa: ARG002 - pre-empted
        """The error."""
        error = self.error
        message = self.options.get("message")
        if message is not None:
            error = DifyError(error.status, error.code, str(message), plain=True)
        return error_reply(ctx, error, retry_after(self.options))


_ROWS: tuple[tuple[str, DifyError, str], ...] = (
    ("unauthorized", DifyError(401, "unauthorized", "Access token is invalid"), "the key is not (or no longer) known"),
    ("bad-request", BAD_JSON, "the body is refused as unreadable"),
    ("invalid-param", DifyError(400, "invalid_param", "Invalid parameter"), "a parameter is refused"),
    ("app-unavailable", APP_UNAVAILABLE, "the app's configuration is broken"),
    (
        "provider-not-initialized",
        DifyError(400, "provider_not_initialize", "Model credentials is not initialized."),
        "the model's credentials are missing",
    ),
    (
        "provider-quota",
        DifyError(
            400,
            "provider_quota_exceeded",
            "Your quota for Dify Hosted OpenAI has been exhausted. Please go to Settings -> Model Provider to complete "
            "your own provider credentials.",
        ),
        "the hosted model's quota is used up",
    ),
    (
        "model-unsupported",
        DifyError(400, "model_currently_not_support", "Model Currently Not Support"),
        "the model may not be used",
    ),
    (
        "completion-error",
        DifyError(400, "completion_request_error", "Connection Error"),
        "the model's call failed",
    ),
    ("forbidden", DifyError(403, "forbidden", "The app's API service has been disabled."), "the app's API is off"),
    (
        "conversation-not-found",
        DifyError(404, "not_found", "Conversation Not Exists."),
        "the conversation is not there, or not this user's",
    ),
    ("file-too-large", DifyError(413, "file_too_large", ""), "the upload is too large"),
    ("unsupported-file", DifyError(415, "unsupported_file_type", "File type not allowed."), "the file is of no taken type"),
    (
        "rate-limit",
        DifyError(429, "too_many_requests", "Too many requests. Please try again later."),
        "too many requests at once, as Dify documents it",
    ),
    ("quota", DifyError(429, "rate_limit_error", "Rate Limit Error"), "the plan's quota is used up"),
    ("server-error", INTERNAL, "Dify itself failed"),
    (
        "unavailable",
        DifyError(503, "service_unavailable", "Service Unavailable"),  # unverified: code and text
        "Dify is not available",
    ),
)

_OPTIONS: dict[str, type | tuple[type, ...]] = {"message": str, "retry_after": (int, float, str)}


def _kind(name: str, error: DifyError, words: str) -> Kind:
    said = f"{error.status} `{error.code}`: {words}"
    return Kind(name=name, when="before", words=said, make=lambda options: HttpError(error, options), options=_OPTIONS)


KINDS: tuple[Kind, ...] = tuple(_kind(*row) for row in _ROWS)
