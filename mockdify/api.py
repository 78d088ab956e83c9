"""The mock server in Python: `with MockDify() as server:` and everything a test says to it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mockdify import config as configuration
from mockdify.apps import DEMO_KEYS
from mockdify.assemble import template_of
from mockdify.errors import MockdifyError
from mockdify.handles import FurtherWorkspace, World
from mockdify.shapes import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self, TypeVar

    from mockdify.background import Background, Door
    from mockdify.config import AppConfig, Config, Settings
    from mockdify.handles import Conclusion, Span
    from mockdify.workspace import Template, Workspace

    T = TypeVar("T")

__all__ = ["MockDify", "is_path"]

AppSource: TypeAlias = "str | os.PathLike[str]"
"""A demo app or one of the configuration by its name; or a DSL file or a folder of them by its path."""


class MockDify(World):
    """A mock Dify server, for `with` and `async with`. Its own methods speak of its default workspace.

    Without options it is what `mockdify serve` starts: the configuration file and `MOCKDIFY_*` variables hold, and
    without them five demo apps are there. Only the port is free unless it is given.

    Args:
        apps: names of demo or configured apps, DSL files (`*.yml`), folders of them; nothing for what is configured.
        config: a mockdify.toml or pyproject.toml; None looks for one.
        profile: the Dify release to behave as.
        seed: the seed of all ids, texts and chances.
        pace: how fast models speak: `"instant"`, `"realtime"`, `"2x"`, or the time of a chunk.
        clock: `"real"`, `"frozen"`, or the time a frozen clock shows.
        ping_interval: the silence before a ping.
        models: the models there are (`"provider/model"`); None: every model.
        remote_files: what becomes of files that are given by a URL.
        silence: how long a release that hangs on a bad request stays silent.
        coalesce: write unpaced streams in few pieces.
        strict_http: keep-alive and connections as Dify's own server has them.
        keepalive: how long an idle connection stays open.
        connections: how many requests are served at once; 0 for any number.
        cassette: recordings to play, to any key, instead of serving the apps.
        repeat: what they play when a recorded sequence is used up: `again` (all of it), `last`, or `no`.
        root: the folder where the configuration is looked for and where relative paths begin; None: the current one.
    """

    def __init__(
        self,
        *,
        apps: Iterable[AppSource] | None = None,
        config: AppSource | None = None,
        profile: str | None = None,
        seed: int | None = None,
        pace: Span | None = None,
        clock: str | datetime | None = None,
        ping_interval: Span | None = None,
        models: Iterable[str] | None = None,
        remote_files: Literal["accept", "unreachable", "fetch"] | None = None,
        silence: Span | None = None,
        coalesce: bool | None = None,
        strict_http: bool | None = None,
        keepalive: Span | None = None,
        connections: int | None = None,
        cassette: AppSource | Iterable[AppSource] | None = None,
        repeat: Literal["no", "last", "again"] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        root: AppSource | None = None,
    ) -> None:
        self._root = Path(root) if root is not None else Path.cwd()
        self._options = {
            "profile": profile,
            "seed": seed,
            "pace": pace,
            "clock": clock,
            "ping_interval": ping_interval,
            "models": None if models is None else list(models),
            "remote_files": remote_files,
            "silence": silence,
            "coalesce": coalesce,
            "strict_http": strict_http,
            "keepalive": keepalive,
            "connections": connections,
            "cassette": None if cassette is None else [self._root / each for each in _listed(cassette)],
            "repeat": repeat,
            "host": host,
            "port": port,
        }
        path = configuration.locate(None if config is None else Path(config), os.environ, self._root)
        self._config = configuration.load(path) if path else configuration.Config()
        self._apps = None if apps is None else _listed(apps)
        self._settings, self._template = self._made({}, self._apps)
        self._concluded: tuple[Workspace, int, int] | None = None
        self._running: Background | None = None
        self._lock = Lock()
        self._further: list[FurtherWorkspace] = []

    def __repr__(self) -> str:
        running = self._running
        return f"<MockDify {running.edge.url}>" if running else "<MockDify, not running>"

    # ------------------------------------------------------------------ life
    def start(self) -> Self:
        """Accept connections on a thread of its own; `with` does this and `stop` for you."""
        from mockdify.background import Background  # noqa: PLC0415 - aiohttp is imported when a server is wanted

        with self._lock:
            if self._running is not None:
                raise MockdifyError(f"{self!r} runs already; make another MockDify()")
            server = Background(self._template, self._settings)
            server.start()
            self._running = server
        return self

    def stop(self) -> None:
        """Close all connections, open streams too, and end the thread. Not an error when it does not run."""
        with self._lock:
            server, self._running = self._running, None
            self._further.clear()
            if server is not None:
                server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        try:
            return await _aside(self.start)
        except asyncio.CancelledError:
            self.stop()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await _aside(self.stop)

    # ------------------------------------------------------------------ workspaces
    @property
    def _door(self) -> Door:
        from mockdify.background import Door  # noqa: PLC0415

        server = self._running
        if server is None:
            raise MockdifyError("this mock server does not run; use it inside `with MockDify() as server:`")
        return Door(server, "default")

    def workspace(self) -> FurtherWorkspace:
        """One more isolated workspace, made like the default one, with keys of its own."""
        further = FurtherWorkspace(self._door.further())
        self._further.append(further)
        return further

    @property
    def workspaces(self) -> tuple[FurtherWorkspace, ...]:
        """The further workspaces that were made here and are not closed."""
        server = self._door.server
        self._further = [one for one in self._further if one.id in server.engine.workspaces]
        return tuple(self._further)

    def renew(
        self,
        *,
        profile: str | None = None,
        seed: int | None = None,
        apps: Iterable[AppSource] | None = None,
        clock: str | datetime | None = None,
        pace: Span | None = None,
    ) -> None:
        """A fresh default workspace as this server was made, but for what is given here; `reset` keeps to it."""
        given = {"profile": profile, "seed": seed, "clock": clock, "pace": pace}
        changes = {name: value for name, value in given.items() if value is not None}
        chosen = self._apps if apps is None else _listed(apps)
        if not changes and apps is None:
            if self._door.server.state == self._concluded:
                return  # nothing has happened since
            self._door.reset(self._template)
        else:
            self._door.reset(self._made(changes, chosen)[1])

    def conclude(self, *, strict: bool = True) -> Conclusion:
        """What there is to say about the default workspace so far; then a fresh world, as `renew` makes it.

        Args:
            strict: whether to look for what the clients did wrong.
        """
        found = super().conclude(strict=strict)
        self._concluded = self._door.server.state
        return found

    @property
    def _made_of(self) -> Template:
        return self._template

    # ------------------------------------------------------------------ what a workspace is made of
    def _made(self, changes: Mapping[str, Any], apps: list[AppSource] | None) -> tuple[Settings, Template]:
        config, demo = self._config, None
        if apps is not None:
            config, demo = _chosen(config, apps, self._root)
        # Host and port of a file or a variable are those of `mockdify serve`, which may run beside this.
        settings = configuration.merge({**self._options, **changes}, os.environ, config.given, keywords=True)
        template = template_of(config, settings, demo=demo)
        if settings.cassette:
            from mockdify.cassettes.playback import playing  # noqa: PLC0415 - few servers play one

            template = playing(template, settings)
        return settings, template


def _listed(apps: AppSource | Iterable[AppSource]) -> list[AppSource]:
    return [apps] if isinstance(apps, str | os.PathLike) else list(apps)


def _chosen(config: Config, apps: Iterable[AppSource], root: Path) -> tuple[Config, list[str]]:
    """*config* with just the asked apps of its own and those in files; and the asked demo apps."""
    own = {app.name: app for app in config.apps}
    kept: dict[str, AppConfig] = {}
    demo: dict[str, None] = {}
    paths = []
    for app in apps:
        if is_path(app):
            paths.append(root / app)
        elif app in own:
            kept[str(app)] = own[str(app)]
        elif app in DEMO_KEYS:
            demo[str(app)] = None
        else:
            hint = nearest(str(app), [*own, *DEMO_KEYS])
            raise MockdifyError(f"apps: there is no app {str(app)!r}{hint}; a DSL file is named with its ending, .yml")
    chosen = configuration.with_apps(replace(config, apps=tuple(kept.values())), paths)
    twice = [app for app in chosen.apps if app.name in demo]
    if twice:
        raise MockdifyError(
            f"apps: {twice[0].dsl} would be a second app {twice[0].name!r}; rename it, or leave one out"
        )
    return chosen, list(demo)


def is_path(app: AppSource) -> bool:
    """Whether *app* is meant as a path: it is a Path, has a separator, or ends like a DSL file."""
    if not isinstance(app, str):
        return True
    return "/" in app or os.sep in app or app.endswith((".yml", ".yaml"))


async def _aside(function: Callable[[], T]) -> T:
    """Run *function* without holding up the caller's loop; one that is not asyncio's is held up for milliseconds."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function()
    return await asyncio.to_thread(function)
