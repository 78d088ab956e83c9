"""Dify's errors as values: what an HTTP error body or an `error` event says.

Codes, statuses and texts are those of the recordings of 1.16.1; what differs by release asks the profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["DifyError", "MockdifyError", "bad_request", "forbidden", "invalid_param", "not_found", "unauthorized"]


class MockdifyError(Exception):
    """A mistake of a user of mockdify, told in one message: what, where and what to do."""


@dataclass(eq=True)
class DifyError(Exception):
    """An error that Dify answers: HTTP `status`, machine `code`, human `message`.

    A 404 gets Dify's suggestions of similar paths appended, unless it is `plain`. `body` replaces the usual three keys
    where Dify has its own shape.
    """

    status: int
    code: str
    message: str
    body: dict[str, Any] | None = None
    plain: bool = False

    def payload(self) -> dict[str, Any]:
        """The JSON body, in Dify's key order."""
        return (
            self.body if self.body is not None else {"code": self.code, "message": self.message, "status": self.status}
        )


def invalid_param(message: str) -> DifyError:
    """400, what every ValueError of Dify's becomes."""
    return DifyError(400, "invalid_param", message)


def bad_request(message: str) -> DifyError:
    """400, raised on purpose by a handler."""
    return DifyError(400, "bad_request", message)


def not_found(message: str) -> DifyError:
    """404 of a handler (an unknown path is an HTML page instead)."""
    return DifyError(404, "not_found", message)


def forbidden(message: str) -> DifyError:
    """403 of the app or workspace checks behind the key."""
    return DifyError(403, "forbidden", message)


def unauthorized(message: str) -> DifyError:
    """401; the reply also carries `WWW-Authenticate`."""
    return DifyError(401, "unauthorized", message)


UNHANDLED = DifyError(
    500, "unknown", "Internal Server Error", {"message": "Internal Server Error", "code": "unknown", "status": 500}
)
"""An exception nobody handled in Dify: other key order, code `unknown`."""

INTERNAL = DifyError(
    500,
    "internal_server_error",
    "The server encountered an internal error and was unable to complete your request. "
    "Either the server is overloaded or there is an error in the application.",
)
NOT_CHAT_APP = DifyError(400, "not_chat_app", "Please check if your app mode matches the right API route.")
NOT_WORKFLOW_APP = DifyError(400, "not_workflow_app", "Please check if your app mode matches the right API route.")
APP_UNAVAILABLE = DifyError(400, "app_unavailable", "App unavailable, please check your app configurations.")
BAD_JSON = DifyError(400, "bad_request", "The browser (or proxy) sent a request that this server could not understand.")
NOT_JSON = DifyError(
    415,
    "unsupported_media_type",
    "Did not attempt to load JSON data because the request Content-Type was not 'application/json'.",
)
NO_METHOD = DifyError(405, "method_not_allowed", "The method is not allowed for the requested URL.")
NO_PATH = DifyError(404, "not_found", "The requested URL was not found on the server.", plain=True)
NO_SCHEMA = DifyError(500, "", "Unable to render schema", {"error": "Unable to render schema"})
"""What 1.13's swagger.json answers."""
NO_USER = DifyError(400, "invalid_param", "Arg user must be provided.")
NUL_IN_TEXT = DifyError(400, "invalid_param", "A string literal cannot contain NUL (0x00) characters.")
