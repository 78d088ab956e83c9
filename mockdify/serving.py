"""`mockdify serve`: the banner, the ready line, the request log, and a clean stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

from mockdify.engine import CONTROL, Engine, Handling
from mockdify.fetching import edge_of
from mockdify.reports import exchange_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockdify.config import Settings
    from mockdify.control import Control
    from mockdify.http import Request
    from mockdify.server import Edge
    from mockdify.steps import Reply
    from mockdify.watching import Sources
    from mockdify.workspace import Template

__all__ = ["banner", "control_of", "fast_loop", "ready_line", "request_line", "run_server"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def run_server(template: Template, settings: Settings, *, as_json: bool, sources: Sources | None = None) -> None:
    """Serve until SIGINT or SIGTERM; open streams do not hold the stop. What changes in *sources* is served anew."""
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(_serve(template, settings, as_json=as_json, sources=sources))


def fast_loop() -> Any:
    """Uvloop's loop where the extra `fast` is installed, else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return uvloop.new_event_loop


def control_of(settings: Settings) -> Callable[[Engine, Request], Reply] | None:
    """The control API, imported when it is first asked something; None where it is off."""

    @cache
    def made() -> Control:
        from mockdify.control import Control  # noqa: PLC0415 - half of all servers are never asked

        return Control(settings.admin_token)

    if not settings.admin:
        return None
    if settings.admin_token is not None:
        made()  # says what is wrong with the token
    return lambda engine, request: made()(engine, request)  # noqa: PLW0108 - made at the first request


async def _serve(template: Template, settings: Settings, *, as_json: bool, sources: Sources | None) -> None:
    engine = Engine(template, time=time.time, control=control_of(settings))
    edge = edge_of(engine, settings, on_exchange=_heard(settings))
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stopped.set)
    await edge.start(settings.host, settings.port)
    watching = None if sources is None else loop.create_task(_watch(engine, sources))
    # What start-up made lives as long as the server, and most of what a request makes lives in the store: looking at
    # it again and again costs a tenth of an answer.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()
    if as_json:
        print(ready_line(edge), flush=True)
        for line in warnings(settings):
            print(f"mockdify: {line}", file=sys.stderr, flush=True)
    else:
        banner(edge, settings, sys.stdout)
    await stopped.wait()
    if watching is not None:
        watching.cancel()
    await edge.stop()
    playback = engine.default.playback
    if playback is not None and not settings.quiet and playback.left[0]:
        left, count = playback.left
        print(f"{left} of {count} recorded interactions were never asked for", file=sys.stderr)


async def _watch(engine: Engine, sources: Sources) -> None:
    from mockdify.watching import watch  # noqa: PLC0415 - only with --watch

    await watch(engine, sources)


def ready_line(edge: Edge) -> str:
    """The one line of `--json`: where it listens and with which keys."""
    workspace = edge.engine.default
    return json.dumps(
        {
            "url": edge.url,
            "admin": admin_url(edge),
            "profile": workspace.profile.name,
            "seed": workspace.template.seed,
            "keys": workspace.keys,
        },
        ensure_ascii=False,
    )


def admin_url(edge: Edge) -> str | None:
    """Where the control API is; None when it is off."""
    return None if edge.engine.control is None else edge.url.removesuffix("/v1") + CONTROL


def warnings(settings: Settings) -> list[str]:
    """What to say to whoever lets other machines in."""
    if settings.host in _LOOPBACK:
        return []
    said = [f"listens on {settings.host}: reachable from other machines"]
    if settings.admin and settings.admin_token is None:
        said.append(
            "the control API has no token: it answers requests for localhost only, which other machines can pretend; "
            "give --admin-token, or --no-admin"
        )
    return said


def _heard(settings: Settings) -> Callable[[Handling], None] | None:
    """What is done about each exchange that is over."""
    log = None if settings.quiet else RequestLog()
    if not settings.self_check:
        return log
    from mockdify.selfcheck import hold  # noqa: PLC0415 - brings jsonschema at the first value

    def heard(handling: Handling) -> None:
        hold(handling)
        if log is not None:
            log(handling)

    return heard


class RequestLog:
    """Prints a line for each request, all of a turn of the loop in one write; what was asked of mockdify has none."""

    def __init__(self) -> None:
        self._handled: list[Handling] = []

    def __call__(self, handling: Handling) -> None:
        """Print the line of one request, soon: its answer goes out first."""
        if not handling.exchange.id:
            return
        if not self._handled:
            asyncio.get_running_loop().call_soon(self._print)
        self._handled.append(handling)

    def _print(self) -> None:
        handled, self._handled = self._handled, []
        print("\n".join(map(request_line, handled)), file=sys.stderr)


def banner(edge: Edge, settings: Settings, out: TextIO) -> None:
    """What a person sees: the address, a key per app, the faults, one line to paste."""
    workspace = edge.engine.default
    width = max(map(len, workspace.keys), default=0)
    if workspace.playback is not None:
        print(f"mockdify plays {workspace.playback.name} at {edge.url}, to any key", file=out)
    else:
        print(f"mockdify serves {workspace.profile.serves} at {edge.url}", file=out)
    for name, token in workspace.keys.items():
        mode = workspace.apps[name].mode if name in workspace.apps else "knowledge"
        print(f"  {name:<{width}}  {token}  ({mode})", file=out)
    for rule in workspace.faults.rules if workspace.has_faults else ():
        print(f"  fault: {rule.spec.name}{f' on {rule.on}' if rule.on else ''}", file=out)
    if (admin := admin_url(edge)) is not None:
        print(f"  control API and inspector: {admin}/", file=out)
    for line in warnings(settings):
        print(f"  {line}", file=out)
    chat = next((app for app in workspace.apps.values() if app.mode in ("chat", "agent-chat", "advanced-chat")), None)
    if chat is not None:
        body = '{"inputs": {}, "query": "hello", "user": "me", "response_mode": "streaming"}'
        print(
            f"\ncurl -N {edge.url}/chat-messages -H 'Authorization: Bearer {chat.key}' "
            f"-H 'Content-Type: application/json' -d '{body}'\n",
            file=out,
        )
    print("Stop with Ctrl-C.", file=out, flush=True)


def request_line(handling: Handling) -> str:
    """One line a request: method, path, app, user, status, ms, fault. Keys stand masked."""
    return exchange_line(handling.exchange)
