"""Who may use the control API: whoever has the token; without one, whoever is on this machine and no web page.

Why the host is looked at: a page of another site may point its own name at 127.0.0.1 (DNS rebinding) and then read and
write here with its visitor's browser. It cannot choose the `Host` and `Origin` that the browser sends.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mockdify.control.table import ControlError

if TYPE_CHECKING:
    from mockdify.http import Request

__all__ = ["check", "is_loopback", "origin_of"]

_LOOPBACK = re.compile(r"localhost|.+\.localhost|127(\.\d{1,3}){3}|\[?::1\]?", re.IGNORECASE)
_NOTHING_GIVEN = (
    "the control API of this server wants its admin token: send `Authorization: Bearer TOKEN` or "
    "`X-Mockdify-Admin: TOKEN` (the one given with --admin-token or MOCKDIFY_ADMIN_TOKEN)"
)
_WRONG_GIVEN = "this is not the admin token of this server"
_HOST = (
    "the control API answers only to this machine (Host {host!r} is not localhost); start the server with "
    "--admin-token and send the token, or ask for http://127.0.0.1:PORT/_mockdify"
)
_ORIGIN = (
    "the control API does not answer pages of other sites (Origin {origin!r}); start the server with --admin-token and "
    "send the token"
)


def check(request: Request, token: bytes | None) -> None:
    """Raise the refusal of *request*, if it is one; *token* is the server's, None when it has none."""
    if token is None:
        _check_place(request)
        return
    given = _given(request)
    if given is None:
        raise ControlError(401, "unauthorized", _NOTHING_GIVEN, (("WWW-Authenticate", "Bearer"),))
    # Compared in constant time: how long a refusal takes must not tell how much of a guess was right.
    if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token):
        raise ControlError(401, "unauthorized", _WRONG_GIVEN, (("WWW-Authenticate", "Bearer"),))


def _given(request: Request) -> str | None:
    own = request.header("x-mockdify-admin")
    if own is not None:
        return own.strip()
    scheme, _, token = (request.header("authorization") or "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _check_place(request: Request) -> None:
    host = request.header("host") or ""
    if not is_loopback(_name_of(f"//{host}")):
        raise ControlError(403, "forbidden", _HOST.format(host=host))
    origin = request.header("origin")
    if origin is not None and not is_loopback(_name_of(origin)):
        raise ControlError(403, "forbidden", _ORIGIN.format(origin=origin))
    if origin is None and request.header("sec-fetch-site") == "cross-site":
        raise ControlError(403, "forbidden", _ORIGIN.format(origin="another site"))


def origin_of(request: Request) -> str | None:
    """The page on this machine that asks, which may therefore read the answer; None when none does."""
    origin = request.header("origin")
    return origin if origin is not None and is_loopback(_name_of(origin)) else None


def is_loopback(host: str) -> bool:
    """Whether *host*, a name or address without a port, is this machine's own."""
    return _LOOPBACK.fullmatch(host) is not None


def _name_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
