"""The control API under `/_mockdify`: how a running server is handled, in JSON, by any language.

`Control` is what an `Engine` takes as its `control`: a function from request to reply, in the same steps as all else,
so that most of its tests open no socket. It stands beside Dify's API and is never touched by faults, and what is asked
of it stands in no journal.
"""

from __future__ import annotations

import itertools
import json
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mockdify.control import guard
from mockdify.control.routes import ROUTES
from mockdify.control.table import Answer, Call, ControlError, from_query, missing, read_table
from mockdify.errors import MockdifyError
from mockdify.journal import dumps
from mockdify.masking import Masker
from mockdify.steps import Body, Head

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mockdify.control.table import Route
    from mockdify.engine import Engine
    from mockdify.http import Request
    from mockdify.steps import Headers, Reply
    from mockdify.workspace import Workspace

__all__ = ["PREFIX", "Control"]

log = logging.getLogger("mockdify")

PREFIX = "/_mockdify"
_PLAIN: Headers = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


class Control:
    """The control API of one server.

    Args:
        token: what a caller must send; None lets in whoever is on this machine.
    """

    def __init__(self, token: str | None = None, *, routes: Iterable[Route] = ROUTES) -> None:
        if token is not None and not token.strip():
            msg = "the admin token is empty, which guards nothing; give one, or leave --admin-token out"
            raise MockdifyError(msg)
        self._token = None if token is None else token.strip().encode()
        self.routes = tuple(routes)
        # Never the same twice: who still has the key of a deleted workspace must not get into a later one.
        self._workspaces = itertools.count(1)
        self._answers = itertools.count(1)

    def __call__(self, engine: Engine, request: Request) -> Reply:
        """The reply to *request*, whose path begins with `PREFIX`."""
        cors = _cors(request)
        try:
            answer = self._answer(engine, request)
        except ControlError as refused:
            answer = _refusal(refused.status, refused.code, refused.message, refused.headers)
        except MockdifyError as mistake:
            answer = _refusal(400, "bad_request", str(mistake))
        except Exception as error:  # the one seam: a mistake of ours must not reach the caller as a traceback
            log.exception("mockdify failed on %s %s", request.method, request.path)
            answer = _refusal(500, "internal_error", f"mockdify failed: {type(error).__name__}: {error}")
        yield from _sent(answer, cors)

    # ------------------------------------------------------------------ one request
    def _answer(self, engine: Engine, request: Request) -> Answer:
        found = _Found(self.routes, request)
        method = "GET" if request.method == "HEAD" else request.method
        route = found.by_method.get(method)
        if route is None or not route.is_open:
            if request.method == "OPTIONS" and guard.origin_of(request) is not None:
                return _preflight(found)  # a browser sends no token with it
            guard.check(request, self._token)
        if not found.by_method:
            raise _unknown_path(self.routes, found.path)
        if request.method == "OPTIONS":
            return _preflight(found)
        if route is None:
            msg = f"{request.method} is no method of {PREFIX}{found.path}; it has: {found.allowed}"
            raise ControlError(405, "method_not_allowed", msg, (("Allow", found.allowed),))
        return route.handler(self._call(engine, request, route, found))

    def _call(self, engine: Engine, request: Request, route: Route, found: _Found) -> Call:
        workspace = _workspace(engine, found.values.get("workspace"))
        return Call(
            engine=engine,
            workspace=workspace,
            request=request,
            mask=self._masker(workspace),
            values=found.values,
            query=from_query(route.query, request.query),
            body=_body(request, route),
            numbers=self._workspaces,
            next_number=lambda: next(self._answers),
        )

    def _masker(self, workspace: Workspace) -> Masker:
        own = () if self._token is None else (self._token.decode(),)
        return Masker([*workspace.tokens, *own])


class _Found:
    """The routes of a path by their methods, and the values of its slots."""

    def __init__(self, routes: Iterable[Route], request: Request) -> None:
        raw = request.target.partition("?")[0].removeprefix(PREFIX)
        self.path = unquote(raw) or "/"
        parts = [unquote(part) for part in raw.split("/")[1:]] if raw not in ("", "/") else []
        self.values: Mapping[str, str] = {}
        self.by_method: dict[str, Route] = {}
        for route in routes if raw.startswith("/") or not raw else ():
            values = _values(route, parts)
            if values is not None:
                self.by_method[route.method], self.values = route, values

    @property
    def allowed(self) -> str:
        """The `Allow` header."""
        head = ["HEAD"] if "GET" in self.by_method else []
        return ", ".join(sorted([*self.by_method, *head, "OPTIONS"]))


def _values(route: Route, parts: Sequence[str]) -> dict[str, str] | None:
    """The values of the slots when *parts* are the route's path, alone or within a workspace; else None."""
    found = _slots(route.segments, parts)
    if found is None and route.scope == "workspace" and len(parts) > 1 and parts[0] == "workspaces":
        found = _slots(route.segments, parts[2:])
        return None if found is None else {**found, "workspace": parts[1]}
    return found


def _slots(segments: Sequence[str], parts: Sequence[str]) -> dict[str, str] | None:
    if len(segments) != len(parts):
        return None
    found = {}
    for segment, part in zip(segments, parts, strict=True):
        if segment.startswith("{"):
            if not part:
                return None
            found[segment.strip("{}")] = part
        elif segment != part:
            return None
    return found


def _workspace(engine: Engine, name: str | None) -> Workspace:
    found = engine.default if name is None else engine.workspaces.get(name)
    if found is None:
        raise missing("workspace", name or "", engine.workspaces)
    return found


# ---------------------------------------------------------------------- what was asked
def _body(request: Request, route: Route) -> Any:
    if route.body is None:
        return {}
    data: Any = {}
    if request.body.strip():
        try:
            data = json.loads(request.body)
        except UnicodeDecodeError as error:
            raise ControlError(400, "bad_request", f"the body is not UTF-8 (byte {error.start})") from None
        except json.JSONDecodeError as error:
            msg = f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
            raise ControlError(400, "bad_request", msg) from None
        except RecursionError:
            raise ControlError(400, "bad_request", "the body is nested too deeply") from None
    if not isinstance(data, dict):
        raise ControlError(400, "bad_request", f"the body must be a JSON object with: {', '.join(route.body)}")
    return route.read(data) if route.read else read_table(route.body, data, others=route.others is not None)


def _unknown_path(routes: Iterable[Route], path: str) -> ControlError:
    from difflib import get_close_matches  # noqa: PLC0415 - only an error needs it

    parts = path.strip("/").split("/")
    within = "/".join(parts[:2]) if parts[0] == "workspaces" and len(parts) > 2 else ""
    rest = "/" + "/".join(parts[2:] if within else parts)
    known = list(dict.fromkeys(route.path for route in routes if not within or route.scope == "workspace"))
    near = get_close_matches(rest, known, n=3, cutoff=0.5)
    lead = f"{PREFIX}/{within}" if within else PREFIX
    hint = f"; did you mean {' or '.join(lead + one for one in near)}?" if near else ""
    msg = f"there is no {PREFIX}{path}{hint} {PREFIX}/openapi.json lists all"
    return ControlError(404, "not_found", msg)


# ---------------------------------------------------------------------- what is said
def _refusal(status: int, code: str, message: str, headers: Headers = ()) -> Answer:
    return Answer(value={"code": code, "message": message, "status": status}, status=status, headers=headers)


def _preflight(found: _Found) -> Answer:
    return Answer(data=b"", status=204, headers=(("Allow", found.allowed),))


def _cors(request: Request) -> Headers:
    """What lets a page on this machine, e.g. a front end under test, read the answer."""
    origin = guard.origin_of(request)
    if origin is None:
        return ()
    headers: Headers = (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))
    if request.method == "OPTIONS":
        headers += (
            ("Access-Control-Allow-Methods", "GET, POST, DELETE"),
            ("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Mockdify-Admin"),
        )
    return headers


def _sent(answer: Answer, cors: Headers) -> Reply:
    headers = (("Content-Type", answer.media), *_PLAIN, *answer.headers, *cors)
    if answer.pieces is not None:
        yield Head(answer.status, headers)
        for piece in answer.pieces:
            yield Body(piece)
        return
    data = dumps(answer.value) + b"\n" if answer.data is None else answer.data
    yield Head(answer.status, headers, len(data))
    yield Body(data)
