"""`--watch`: apps and answers anew when their files change. Conversations, journal, faults and clock stay.

What is asked is a stat of each file twice a second: no thread, no system call that one machine has and another has not.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mockdify.engine import Engine
    from mockdify.workspace import Template, Workspace

__all__ = ["Sources", "adopt", "paths_of", "watch"]

Stamp: TypeAlias = "dict[Path, tuple[int, int] | None]"
INTERVAL = 0.5
_TAKEN_OVER = {"apps", "make_script"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a server is made of, on disk: its files, and how they are read again."""

    paths: tuple[Path, ...]
    """The configuration (or where one would be), every app's file, and the folders that were named."""
    load: Callable[[], tuple[Template, Sources]]

    def stamp(self) -> Stamp:
        """How the files are now: two of these differ when one was changed, made or removed."""
        return {path: _stamp(path) for path in self.paths}


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        made = path.stat()
    except OSError:
        return None
    return made.st_mtime_ns, made.st_size


async def watch(engine: Engine, sources: Sources, *, interval: float = INTERVAL) -> None:
    """Keep the workspaces of *engine* at what the files say, until cancelled."""
    before = sources.stamp()
    while True:
        await asyncio.sleep(interval)
        now = sources.stamp()
        if now == before:
            continue
        changed = ", ".join(sorted(path.name for path in now if now[path] != before[path]))
        before = now
        try:
            template, sources = await asyncio.to_thread(sources.load)
        except MockdifyError as mistake:
            _say(f"{mistake}\n  what was served before is served on; correct it and save")
            continue
        before = sources.stamp()
        _say("; ".join([f"loaded anew: {changed}", *adopt(engine, template)]))


def _say(text: str) -> None:
    print(f"mockdify: {text}", file=sys.stderr, flush=True)  # noqa: T201 - for people, as the request log


def adopt(engine: Engine, template: Template) -> list[str]:
    """Give every workspace the apps and answers of *template*; what else differs is named, and waits for a restart."""
    names = {app.name for app in engine.template.apps}
    waits = [
        field.name
        for field in fields(template)
        if field.name not in _TAKEN_OVER
        and _differ(getattr(template, field.name), getattr(engine.template, field.name))
    ]
    engine.template = replace(engine.template, apps=template.apps, make_script=template.make_script)
    for workspace in list(engine.workspaces.values()):
        is_whole = {app.name for app in workspace.template.apps} == names
        _adopt(workspace, engine.template, is_whole=is_whole)
        engine.learn_keys(workspace)
    return [f"after a restart: {', '.join(waits)}"] if waits else []


def _differ(one: Any, other: Any) -> bool:
    # Two functions that do the same are not equal.
    return not callable(one) and one != other


def _adopt(workspace: Workspace, template: Template, *, is_whole: bool) -> None:
    """A workspace that was made with some of the apps gets no further ones."""
    apps = tuple(app for app in template.apps if is_whole or app.name in workspace.apps)
    workspace.template = replace(workspace.template, apps=apps, make_script=template.make_script)
    for app in apps:
        workspace.install(app)
    for name in workspace.apps.keys() - {app.name for app in apps}:
        for key in workspace.apps.pop(name).keys:
            key.revoked_at = workspace.clock.now()
    script = template.make_script()
    script.take_over(workspace.script)
    workspace.script = script


def paths_of(configuration: Path | None, apps: Iterable[Path], named: Iterable[Path]) -> tuple[Path, ...]:
    """What to look at: the *configuration* or where one would be, the files of *apps*, and what was *named*."""
    return tuple(dict.fromkeys([configuration or Path.cwd() / "mockdify.toml", *apps, *named]))
