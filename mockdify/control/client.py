"""A client of the control API, with nothing but the standard library: what the command line uses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["DEFAULT", "Admin", "key_line", "key_table"]

DEFAULT = "http://127.0.0.1:5001/_mockdify"
_TIMEOUT = 10.0


class Admin:
    """The control API of a running server.

    Args:
        url: where it is, as the ready line's `admin` says; the server's base URL does too.
        token: what its `--admin-token` is; None when it has none.
        workspace: the workspace that calls are about; None for the default one.
    """

    def __init__(self, url: str = DEFAULT, *, token: str | None = None, workspace: str | None = None) -> None:
        url = url.rstrip("/").removesuffix("/v1")
        if not url.startswith(("http://", "https://")):
            msg = f"{url!r} is no address of a server; it begins with http://, as in {DEFAULT}"
            raise MockdifyError(msg)
        self.url = url if url.endswith("/_mockdify") else f"{url}/_mockdify"
        self._within = "" if workspace is None else f"/workspaces/{quote(workspace, safe='')}"
        self._token = token
        # Why no proxy: the server is on this machine or near it, and a proxy would be sent the token.
        self._opener = build_opener(ProxyHandler({}))

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the server answers; a refusal is a `MockdifyError` with its words."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token is not None:
            headers["X-Mockdify-Admin"] = self._token
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}{self._within}{path}", data=data, headers=headers, method=method)  # noqa: S310 - http(s) only, see above
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as reply:
                return json.load(reply)
        except HTTPError as refused:
            raise MockdifyError(_words(refused)) from None
        except URLError as error:
            msg = (
                f"no server answers at {self.url}: {error.reason}; start one with `mockdify serve`, or say --admin URL"
            )
            raise MockdifyError(msg) from None
        except (OSError, ValueError) as error:
            msg = f"{self.url} does not answer as a mockdify server does: {error}"
            raise MockdifyError(msg) from None

    def keys(self, app: str, *more: str) -> str:
        """The path of an app's keys."""
        return "/".join(["/apps", quote(app, safe=""), "keys", *(quote(one, safe="") for one in more)])


def _words(refused: HTTPError) -> str:
    try:
        told = json.load(refused)
        return str(told["message"])
    except (ValueError, KeyError, TypeError):
        return f"{refused.url} answers {refused.code}: is there a control API? (`--no-admin` switches it off)"


# ---------------------------------------------------------------------- for people
def key_line(key: Mapping[str, Any]) -> str:
    """A key that was just made: the only time that its token is shown."""
    parts = [f"{key['token']}  app {key['app']}, {key['name']} ({key['environment']}), id {key['id']}"]
    if key.get("replaces"):
        old = key["replaces"]
        until = f"works until {_moment(old['expires_at'])}" if old["state"] == "active" else "ended at once"
        parts.append(f"in the place of {old['token']}, which {until}")
    return "\n".join(parts)


def key_table(keys: Iterable[Mapping[str, Any]]) -> str:
    """Keys in columns."""
    rows: list[Sequence[str]] = [("APP", "NAME", "ENVIRONMENT", "TOKEN", "STATE", "USES", "LAST USED", "REMARKS", "ID")]
    for key in keys:
        used = "never" if key["never_used"] else _moment(key["last_used"])
        rows.append(
            (
                key["app"], key["name"], key["environment"], key["token"], key["state"], str(key["uses"]), used,
                _remarks(key), key["id"],
            )
        )  # fmt: skip
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _remarks(key: Mapping[str, Any]) -> str:
    said = []
    if key["overdue"]:
        said.append(f"rotation due since {_moment(key['rotation_due_at'])}")
    if key["state"] == "active" and key["expires_at"] is not None:
        said.append(f"until {_moment(key['expires_at'])}")
    if key["replaced_by"]:
        said.append(f"replaced by {key['replaced_by'][:8]}…")
    return ", ".join(said) or "-"


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "after 9999"
