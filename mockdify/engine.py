"""The order of it all: route, key, pre-empting faults, Dify's checks, handler; around the reply damage and journal.

`Engine.handle` makes a reply and touches nothing until it is iterated. No socket, no clock, no thread: the edge
performs the steps.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from html import escape
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import orjson

from mockdify import wire
from mockdify.context import ANYBODY, Context, Endpoint, error_reply, service_headers
from mockdify.endpoints import ENDPOINTS
from mockdify.endpoints.files import download, user_of, whole
from mockdify.endpoints.knowledge import not_served
from mockdify.errors import (
    BAD_JSON,
    NO_METHOD,
    NO_PATH,
    NO_SCHEMA,
    NO_USER,
    NOT_JSON,
    NUL_IN_TEXT,
    UNHANDLED,
    DifyError,
    MockdifyError,
    forbidden,
    unauthorized,
)
from mockdify.exposure import exposed_key
from mockdify.http import Request
from mockdify.keys import split_key, token_of
from mockdify.masking import mask_key
from mockdify.multipart import parse_multipart
from mockdify.projection import asked_of
from mockdify.routing import Match, Router
from mockdify.sse import encode
from mockdify.steps import Abort, Body, Emit, Head, Raw, Reply
from mockdify.workspace import Installed, Template, Workspace

if TYPE_CHECKING:
    from mockdify.faults import FaultPlan, Spec, Strike
    from mockdify.journal import Exchange
    from mockdify.keys import Key
    from mockdify.limits import Limits
    from mockdify.profiles import Profile

__all__ = ["Engine", "Handling"]

log = logging.getLogger("mockdify")

Known: TypeAlias = "tuple[Workspace, Installed | None, Key]"
"""What a key leads to: its workspace, its app (None for the knowledge API), itself."""

FAULT_HEADER = "x-mockdify-fault"
CONTROL = "/_mockdify"
"""What begins like this is asked of mockdify itself: no key, no fault and no journal entry."""
BODY_LIMIT = 110 * 1024 * 1024
"""The largest body taken at all: a video of 100 MB and its form. Dify's own nginx stops at 100 MB."""
_USER_LIMIT = 255
_SLASHES = re.compile("/{2,}")
_IN_PATH = "/:@!$&'()*+,;="
_BAD_TOKEN = unauthorized("Access token is invalid")
_API_OFF = forbidden("The app's API service has been disabled.")


class Handling:
    """A request on its way: iterate it for the steps; its workspace and exchange are known at once."""

    __slots__ = ("exchange", "steps", "workspace")

    def __init__(self, workspace: Workspace, exchange: Exchange, steps: Reply) -> None:
        self.workspace, self.exchange, self.steps = workspace, exchange, steps


class Engine:
    """All workspaces of one server, and the way of a request through one of them."""

    def __init__(
        self,
        template: Template,
        *,
        time: Callable[[], float],
        endpoints: Iterable[Endpoint] = ENDPOINTS,
        control: Callable[[Engine, Request], Reply] | None = None,
    ) -> None:
        self.template = template
        self.time = time
        self.router = Router(endpoints)
        self.control = control
        self.workspaces: dict[str, Workspace] = {}
        self._keys: dict[str, Known] = {}
        self.asked = 0
        """How many requests there were, those of the control API included."""
        self.default = self.create("default", template)

    # ------------------------------------------------------------------ workspaces
    def create(self, id: str, template: Template, *, key_suffix: str = "") -> Workspace:  # noqa: A002
        """A new workspace, reachable by its keys."""
        workspace = Workspace(id, template, self.time, key_suffix=key_suffix)
        workspace.plan_faults = lambda: _planned(template, id)
        if template.limits:
            from mockdify.limits import Limits  # noqa: PLC0415 - most servers have none

            workspace.limits = Limits(template.limits, workspace.clock.now)
        self.workspaces[id] = workspace
        self.learn_keys(workspace)
        return workspace

    def further(
        self, template: Template | None = None, *, name: str | None = None, numbers: Iterable[int] | None = None
    ) -> Workspace:
        """One more workspace beside the default one; its keys end in its name.

        Args:
            template: what it is made of; None for what the default one is made of.
            name: what it is called; None takes the first of w1, w2, … that is free.
            numbers: the numbers to try instead of 1, 2, …
        """
        template = template or self.default.template
        tokens = [template.dataset_key, *(token for app in template.apps for token in app.keys.values())]

        def taken(name: str) -> str | None:
            if name in self.workspaces:
                return f"a workspace {name!r}"
            key = next((f"{token}-{name}" for token in tokens if f"{token}-{name}" in self._keys), None)
            return None if key is None else f"a key {mask_key(key)}, as this workspace's would be"

        if name is None:
            name = next(name for name in map("w{}".format, numbers or count(1)) if taken(name) is None)
        elif (what := taken(name)) is not None:
            raise MockdifyError(f"there is {what} already; delete its workspace, or choose another id")
        return self.create(name, template, key_suffix=f"-{name}")

    def learn_keys(self, workspace: Workspace) -> None:
        """Make every key of *workspace* lead to it."""
        for key in workspace.dataset_keys:
            self._keys[key.token] = (workspace, None, key)
        for installed in workspace.apps.values():
            for key in installed.keys:
                self._keys[key.token] = (workspace, installed, key)

    def knows_key(self, token: str) -> bool:
        """Whether *token* leads to a workspace, revoked or not."""
        return token in self._keys

    def forget(self, workspace: Workspace) -> None:
        """Close a workspace: its keys are unknown from now on, its open replies end."""
        self._keys = {token: found for token, found in self._keys.items() if found[0] is not workspace}
        if self.workspaces.get(workspace.id) is workspace:
            del self.workspaces[workspace.id]
        workspace.open_replies.set()

    def reset(
        self, workspace: Workspace, template: Template | None = None, *, key_suffix: str | None = None
    ) -> Workspace:
        """A fresh world in the place of *workspace*; what still runs in the old one is cut off and heard no more.

        Args:
            template: what it is made of; None for the same again.
            key_suffix: None for the same keys again.
        """
        self.forget(workspace)
        suffix = workspace.key_suffix if key_suffix is None else key_suffix
        fresh = self.create(workspace.id, template or workspace.template, key_suffix=suffix)
        if workspace is self.default:
            self.default = fresh
        return fresh

    # ------------------------------------------------------------------ a request
    def handle(self, request: Request) -> Reply:
        """The reply to *request*, as steps. Nothing happens before it is iterated."""
        yield from self.open(request).steps

    def admit(self, head: Request) -> int:
        """How many bytes of the body behind *head* are worth reading: 0 when the answer does not depend on it.

        Nothing is entered anywhere; `open` says in full what is wrong.
        """
        if self.default.playback is not None or (self.control is not None and head.target.startswith(CONTROL)):
            return BODY_LIMIT  # a recording is played to any key
        match = self.router.find(head.path)
        if match is None:
            return 0
        endpoint = match.by_method.get(head.method)
        _, _, known, error = self._asker(head)
        if endpoint is None or error is not None or known is None:
            return 0
        workspace, installed, door = known
        if (installed is None) != (endpoint.key == "dataset") or door.state(workspace.clock.now()) != "active":
            return 0
        return BODY_LIMIT if installed is None or installed.api_enabled else 0

    def _asker(self, request: Request) -> tuple[str, str, Known | None, DifyError | None]:
        """The bearer token, the fault written into it, what it leads to, and what is wrong with it."""
        token, error = token_of(request)
        key, suffix = split_key(token) if "!" in token and token not in self._keys else (token, "")
        known = self._keys.get(key)
        return token, suffix, known, _BAD_TOKEN if error is None and known is None else error

    def open(self, request: Request, *, instead: Reply | None = None) -> Handling:
        """Enter *request* in the journal of its workspace and prepare its reply, or take one that comes *instead*."""
        self.asked += 1
        if self.control is not None and request.target.startswith(CONTROL):
            aside = self.default.journal.aside(request)
            return Handling(self.default, aside, instead or self.control(self, request))
        token, suffix, known, error = self._asker(request)
        workspace, installed, door = known or (self.default, None, None)
        if error is None and not (door is not None and door.use(workspace.clock.now())):
            error = _BAD_TOKEN
        exchange = workspace.journal.open(request)
        profile = workspace.profile
        if installed is not None:
            exchange.app = installed.name
            profile = installed.profile or profile
            warning = exposed_key(request)
            if warning is not None:
                exchange.warnings.append(warning)
        exchange.profile = profile
        reply = instead or self._routed(workspace, installed, exchange, request, token, suffix, error)
        guarded = _guarded(request, profile, exchange, reply)
        return Handling(workspace, exchange, _sent(guarded, exchange, workspace))

    def _routed(  # noqa: PLR0917 - all that is known of the request
        self,
        workspace: Workspace,
        installed: Installed | None,
        exchange: Exchange,
        request: Request,
        token: str,
        suffix: str,
        error: DifyError | None,
    ) -> Reply:
        path = request.path
        profile = (installed.profile if installed else None) or workspace.profile
        match = self.router.find(path)
        if workspace.playback is not None:
            # Any key plays. What faults ask about an app is asked of one that is there.
            standing_in = installed or next(iter(workspace.apps.values()), None)
            if match is None or standing_in is None:
                yield from workspace.playback.reply(request, exchange)
                return
            ctx = Context(request, workspace, standing_in, profile, exchange, match.values)
            exchange.user = str(request.peek().get("user") or request.query.get("user") or "") or None
            strike = _strike(ctx, match, token, suffix)
            in_events = strike is not None and strike.may_damage
            yield from _damaged(ctx, workspace.playback.reply(request, exchange, in_events=in_events), strike)
            return
        if match is None:
            yield from self._elsewhere(profile, request)
            return
        method = "GET" if request.method == "HEAD" else request.method
        endpoint = match.by_method.get(method)
        if request.method == "OPTIONS":
            yield from _options(profile, match, request)
            return
        if endpoint is not None and endpoint.needs and not getattr(profile, endpoint.needs):
            yield from _no_page(profile, request)
            return
        if endpoint is None:
            yield from error_reply(request, profile, NO_METHOD, cors=False)
            return
        if error is not None:
            raise error
        if (installed is None) != (endpoint.key == "dataset"):
            raise _BAD_TOKEN
        if installed is None:
            raise not_served(path)
        ctx = Context(request, workspace, installed, profile, exchange, match.values)
        yield from _answered(ctx, endpoint, match, _strike(ctx, match, token, suffix))

    def _elsewhere(self, profile: Profile, request: Request) -> Reply:
        """Paths that are no endpoint: redirects, signed downloads, Dify's HTML 404."""
        path = request.path
        found = _signed_download(self.workspaces.values(), request)
        if found is not None:
            yield from whole(*found)
            return
        if path == "/v1/swagger.json" and profile.broken_swagger:
            raise NO_SCHEMA
        meant = "/v1/" if path == "/v1" else _SLASHES.sub("/", path)
        if meant != path and (meant == "/v1/" or self.router.find(meant) is not None):
            yield from _redirect(profile, request, meant)
            return
        yield from _no_page(profile, request)


# ---------------------------------------------------------------------- the honest reply
def _answered(ctx: Context, endpoint: Endpoint, match: Match, strike: Strike | None) -> Reply:
    """The reply to a request that has found its endpoint and its app."""
    if strike is None and ctx.workspace.limits is None:  # most: a generator less that each event has to come through
        _check(ctx, endpoint)
        return endpoint.handler(ctx)
    return _damaged(ctx, _honest(ctx, endpoint, match), strike)


def _honest(ctx: Context, endpoint: Endpoint, match: Match) -> Reply:
    """Dify's own checks, in its order, then the handler."""
    if ctx.workspace.limits is not None:
        yield from _limited(ctx, endpoint, match, ctx.workspace.limits)
        return
    _check(ctx, endpoint)
    yield from endpoint.handler(ctx)


def _limited(ctx: Context, endpoint: Endpoint, match: Match, limits: Limits) -> Reply:
    """The same within limits: the edge's before Dify's checks, quota and concurrency right after them."""
    from mockdify.faults.striking import asked_of, context_of  # noqa: PLC0415 - most servers have no limits

    asked = asked_of(ctx, match)
    refused = limits.at_edge(asked)
    if refused is not None:
        yield from refused(context_of(ctx))
        return
    _check(ctx, endpoint)
    twice = asked.streamed and ctx.profile.graph_takes_two_slots and ctx.installed.app.is_graph
    with limits.inside(asked, twice=twice) as refused:
        yield from endpoint.handler(ctx) if refused is None else refused(context_of(ctx))


def _check(ctx: Context, endpoint: Endpoint) -> None:
    """What Dify checks of every request of an endpoint, in its order."""
    if not ctx.installed.api_enabled:
        raise _API_OFF
    _read_user(ctx, endpoint)
    if endpoint.modes and ctx.installed.mode not in endpoint.modes:
        assert endpoint.wrong_mode is not None
        raise endpoint.wrong_mode
    if endpoint.schema is not None:
        asked = ctx.request.query if endpoint.method == "GET" else asked_of(ctx.profile, ctx.raw)
        ctx.payload = endpoint.schema.take(asked)


def _read_user(ctx: Context, endpoint: Endpoint) -> None:
    """Decode the body where one is demanded and make the end user known, as early as Dify does."""
    source = endpoint.user
    if endpoint.json or source in ("json", "json?"):
        ctx.raw = _json_object(ctx.request, any_type=ctx.profile.any_content_type)
    if source == "none":
        ctx.person = ctx.workspace.store.user(ctx.installed.name, ANYBODY, ctx.now())
        return
    if source in ("json", "json?"):
        said = ctx.raw.get("user")
    elif source == "form?":
        said = user_of(parse_multipart(ctx.request))
    else:
        said = ctx.request.query.get("user")
    if not said:
        if not source.endswith("?"):
            raise NO_USER
        said = ANYBODY
    ctx.user = said if isinstance(said, str) else str(said)
    ctx.exchange.user = ctx.user
    if "\0" in ctx.user:
        raise NUL_IN_TEXT
    if len(ctx.user) > _USER_LIMIT:
        raise UNHANDLED  # the database refuses the long text
    ctx.person = ctx.workspace.store.user(ctx.installed.name, ctx.user, ctx.now())


def _json_object(request: Request, *, any_type: bool) -> dict[str, Any]:
    """The body as a JSON object, or Dify's 415, 400 or 500."""
    if not any_type and not _is_json(request.header("content-type") or ""):
        raise NOT_JSON
    try:
        found = orjson.loads(request.body)
    except ValueError:
        raise BAD_JSON from None
    if not isinstance(found, dict):
        raise UNHANDLED
    return found


@lru_cache(maxsize=64)  # clients send the same few
def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


# ---------------------------------------------------------------------- faults
def _planned(template: Template, workspace: str) -> FaultPlan:
    """The faults that a workspace begins with."""
    from mockdify.faults import FaultPlan, rule_of  # noqa: PLC0415 - most servers damage nothing

    plan = FaultPlan(template.seed, workspace, "faults")
    for said in template.faults:
        plan.add(rule_of(said))
    return plan


def _strike(ctx: Context, match: Match, token: str, suffix: str) -> Strike | None:
    """What faults do to this request: its header's, its key's, then the workspace's; None where there are none."""
    named = ctx.request.header(FAULT_HEADER)
    if named is None and not suffix and not ctx.workspace.has_faults:
        return None
    from mockdify.faults.striking import asked_of  # noqa: PLC0415 - most requests meet no fault

    try:
        return ctx.workspace.faults.strike(asked_of(ctx, match), header=named, token=token, suffix=suffix)
    except MockdifyError as mistake:
        raise DifyError(400, "mockdify_fault", f"{mistake}", plain=True) from None


def _damaged(ctx: Context, reply: Reply, strike: Strike | None) -> Reply:
    """The honest *reply* with the faults that strike it around it."""
    if strike is None:
        return reply
    from mockdify.faults.striking import context_of  # noqa: PLC0415

    guarded = _guarded(ctx.request, ctx.profile, ctx.exchange, reply)
    return strike.around(context_of(ctx), guarded, lambda struck: _note(ctx.exchange, strike, struck))


def _note(exchange: Exchange, strike: Strike, struck: Sequence[Spec]) -> None:
    """Enter in the journal which faults strike."""
    exchange.fault = ", ".join(spec.name for spec in struck)
    exchange.struck = tuple(struck)
    if exchange.user is None:
        exchange.user = strike.asked.user or None  # a pre-empted request never gets to where it is read


# ---------------------------------------------------------------------- around the reply
def _guarded(request: Request, profile: Profile, exchange: Exchange, reply: Reply) -> Reply:
    """*reply*, where an error that is raised becomes the answer Dify gives."""
    begun = False
    try:
        for step in reply:  # the first one
            begun = True
            yield step
            break
        yield from reply
    except DifyError as error:
        error.__traceback__ = None  # many errors are constants: each raise would add to it, and keep its frames alive
        yield from error_reply(request, profile, error)
    except RecursionError:  # the client's doing: nested more deeply than any Python, Dify's too, can handle
        if begun:
            yield Abort("close")
        else:
            yield from error_reply(request, profile, UNHANDLED)
    except Exception as error:  # noqa: BLE001 - the one seam: a mistake of ours must not reach the client as a traceback
        _confess(exchange, error)
        if begun:
            yield Abort("close")
        else:
            yield from error_reply(request, profile, UNHANDLED)


def _confess(exchange: Exchange, error: BaseException) -> None:
    """Say in one line, in the log and in the journal, that we failed and where."""
    if isinstance(error, MockdifyError):  # a mistake in a script, e.g. a template that cannot be rendered
        log.error("%s %s: %s", exchange.method, exchange.path, error)
        exchange.warnings.append(f"mockdify failed: {error}")
        return
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "?" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    said = " ".join(f"mockdify failed: {type(error).__name__}: {error} ({where})".split())
    log.error("%s %r: %s", exchange.method, exchange.path, said)
    exchange.warnings.append(said)


def _sent(reply: Reply, exchange: Exchange, workspace: Workspace) -> Reply:
    """*reply* with its events encoded and everything that goes out kept in the journal."""
    note, now = exchange.note, workspace.clock.now
    try:
        for step in reply:
            if isinstance(step, Emit):
                data = encode(step.event, step.envelope)
                note(data, now())
                yield Body(data)
                continue
            if isinstance(step, Body):
                note(step.data, now())
            elif isinstance(step, Head):
                exchange.status, exchange.headers = step.status, step.headers
            elif isinstance(step, Abort):
                exchange.close("aborted")
            elif isinstance(step, Raw):
                note(step.data, now())
            yield step
        exchange.close("complete")
    except TypeError as error:  # orjson's way to say that an event cannot be encoded: nested too deeply for it, mostly
        if "ecursion" not in str(error):
            _confess(exchange, error)
        exchange.close("aborted")
        yield Abort("close")
    finally:
        exchange.close("reset" if workspace.open_replies.is_set else "client gone")
        end = getattr(reply, "close", None)
        if end is not None:
            end()


def _options(profile: Any, match: Match, request: Request) -> Reply:
    """OPTIONS: the methods, and what a preflight wants to hear. No key is needed."""
    origin = request.header("origin")
    headers = [*service_headers(profile, wire.HTML, origin), ("Allow", match.allowed)]
    asked = request.header("access-control-request-headers")
    if origin and request.header("access-control-request-method"):
        names = [name.strip() for name in (asked or "").split(",")]
        allowed = ", ".join(name for name in names if name.lower() in _PREFLIGHT)
        if allowed:
            headers.append(("Access-Control-Allow-Headers", allowed))
        headers.append(("Access-Control-Allow-Methods", "DELETE, GET, OPTIONS, PATCH, POST, PUT"))
    yield Head(200, tuple(headers), 0)


def _redirect(profile: Profile, request: Request, path: str) -> Reply:
    """308 to the path that was meant. What the client said stands quoted in it, so that it can name no other place."""
    query = request.target.partition("?")[2]
    location = f"{request.scheme}://{request.host}{quote(path, safe=_IN_PATH)}"
    if query:
        location += f"?{quote(query, safe=_IN_PATH + '%?')}"
    page = wire.html_redirect(escape(location))
    headers = service_headers(profile, wire.HTML, None, cors=False)
    yield Head(308, (*headers, ("Location", location)), len(page))
    yield Body(page)


_PREFLIGHT = {"authorization", "content-type", "x-app-code", "x-app-passport"}


def _no_page(profile: Profile, request: Request) -> Reply:
    """What there is at an unknown path."""
    if profile.html_404:
        return _html_404(profile, request)
    return error_reply(request, profile, NO_PATH)


def _html_404(profile: Any, request: Request) -> Reply:
    cors = request.path == "/v1/"
    headers = service_headers(profile, wire.HTML, request.header("origin"), cors=cors)
    yield Head(404, headers, len(wire.HTML_404))
    yield Body(wire.HTML_404)


def _signed_download(workspaces: Iterable[Workspace], request: Request) -> Any:
    parts = request.path.strip("/").split("/")
    if len(parts) != 3 or parts[0] != "files" or parts[2] != "file-preview":
        return None
    return next((found for ws in workspaces if (found := download(ws, request, parts[1])) is not None), None)
