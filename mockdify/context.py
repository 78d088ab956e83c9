"""What an endpoint may use: the asker, the app, the workspace, and the ways to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mockdify import wire
from mockdify.errors import DifyError
from mockdify.routing import did_you_mean
from mockdify.steps import Body, Head, Headers, Leaving, Reply
from mockdify.values import value

if TYPE_CHECKING:
    from mockdify.http import Request
    from mockdify.journal import Exchange
    from mockdify.payloads import Schema
    from mockdify.profiles import Profile
    from mockdify.store import AppPartition, UserPartition
    from mockdify.workspace import Installed, Workspace

__all__ = ["Context", "Endpoint", "Handler", "UserFrom", "error_reply"]

UserFrom: TypeAlias = Literal["json", "json?", "query", "query?", "form?", "none"]
"""Where an endpoint reads `user`; with a question mark a missing one is the shared DEFAULT-USER."""

ANYBODY = "DEFAULT-USER"


@dataclass(slots=True)
class Context:
    """One request on its way through an endpoint."""

    request: Request
    workspace: Workspace
    installed: Installed
    profile: Profile
    exchange: Exchange
    values: Mapping[str, str]
    """The path's slots."""
    user: str = ANYBODY
    raw: dict[str, Any] = field(default_factory=dict)
    """The JSON body as sent (POST, PUT, DELETE)."""
    payload: dict[str, Any] = field(default_factory=dict)
    """Body or query as the endpoint's schema took it."""
    person: UserPartition = None  # type: ignore[assignment]  # set by the engine before the handler runs

    @property
    def now(self) -> Callable[[], float]:
        """The workspace's clock."""
        return self.workspace.clock.now

    @property
    def partition(self) -> AppPartition:
        """What belongs to the app as a whole."""
        return self.workspace.store.app(self.installed.name)

    # ------------------------------------------------------------------ ways to answer
    def headers(self, content_type: str | None) -> Headers:
        """Dify's headers for an answer of this type."""
        return service_headers(self.profile, content_type, self.request.header("origin"))

    def json(self, value: Any, status: int = 200) -> Reply:
        """*value* in the style of every answer that is not generated."""
        return self._whole(status, wire.JSON, wire.as_ujson(value))

    def generated(self, value: Any) -> Reply:
        """*value* in the style of blocking generate answers."""
        return self._whole(200, wire.JSON_UTF8, wire.as_python_json(value))

    def empty(self) -> Reply:
        """204: Dify names a type all the same."""
        yield Head(204, self.headers(wire.JSON), 0)

    def data(self, content_type: str, data: bytes, extra: Headers = (), *, chunked: bool = False) -> Reply:
        """Bytes of any type, at once or in chunks."""
        if not chunked:
            yield from self._whole(200, content_type, data, extra)
            return
        yield Head(200, self.headers(content_type) + extra)
        for start in range(0, len(data), 1024):
            yield Body(data[start : start + 1024])

    def stream_head(self, leaving: Leaving) -> Head:
        """The head of an event stream."""
        return Head(200, self.headers(wire.SSE), None, leaving)

    def _whole(self, status: int, content_type: str, data: bytes, extra: Headers = ()) -> Reply:
        yield Head(status, self.headers(content_type) + extra, len(data))
        yield Body(data)


Handler: TypeAlias = Callable[[Context], Reply]


@value
class Endpoint:
    """One row of the table of endpoints; the engine checks in Dify's order what the row says.

    Route and method, key, app status; then the JSON body (415, 400), the user, the app's mode, the schema; then the
    handler.
    """

    method: str
    rule: str
    handler: Handler
    user: UserFrom = "none"
    json: bool = False
    """Whether a JSON body is demanded although no user is read from it."""
    modes: tuple[str, ...] = ()
    """The app modes that may use it; empty: all."""
    wrong_mode: DifyError | None = None
    schema: Schema | None = None
    key: Literal["app", "dataset"] = "app"
    """Which kind of key opens it."""
    needs: str = ""
    """The profile's field that must be true for the endpoint to exist."""


_head_cache: dict[tuple[str, str, str | None, str | None], Headers] = {}


def service_headers(profile: Profile, content_type: str | None, origin: str | None, *, cors: bool = True) -> Headers:
    """The headers of an answer of the service API, in Dify's order."""
    key = (profile.version, profile.env, content_type, None if not cors else origin or "*")
    known = _head_cache.get(key)
    if known is None:
        made: list[tuple[str, str]] = [("Server", "gunicorn")]
        if content_type is not None:
            made.append(("Content-Type", content_type))
        if cors:
            made += wire.cors(origin)
        if cors and origin:
            made.append(("Vary", "Origin, Cookie"))
        made += [("X-Version", profile.version), ("X-Env", profile.env)]
        if not (cors and origin):
            made.append(("Vary", "Cookie"))
        known = tuple(made)
        if len(_head_cache) < 256:  # origins are the client's: the cache is bounded
            _head_cache[key] = known
    return known


def error_reply(
    request: Request, profile: Profile, error: DifyError, extra: Headers = (), *, cors: bool = True
) -> Reply:
    """*error* as Dify sends it."""
    if (
        error.status == 404
        and error.body is None
        and error.code == "not_found"
        and not error.plain
        and profile.path_suggestions
    ):
        error = DifyError(404, error.code, did_you_mean(error.message, request.path))
    body = wire.as_ujson(error.payload())
    headers = service_headers(profile, wire.JSON, request.header("origin"), cors=cors)
    if error.status == 401:
        headers = (*headers, ("WWW-Authenticate", 'Bearer realm="api"'))
    yield Head(error.status, headers + extra, len(body))
    yield Body(body)
