"""One isolated world: its apps, keys, end users, conversations, files, scripts, faults, clock and journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mockdify.clock import Clock
from mockdify.ids import Ids, fixed_id
from mockdify.journal import Journal
from mockdify.steps import Signal
from mockdify.store import Store

if TYPE_CHECKING:
    from mockdify.apps import App
    from mockdify.faults.plan import FaultPlan
    from mockdify.forms import Remote
    from mockdify.graph import Graph
    from mockdify.limits import Limit, Limits
    from mockdify.profiles import Profile
    from mockdify.script import Script

__all__ = ["Installed", "Key", "Task", "Template", "Workspace"]


@dataclass(slots=True)
class Key:
    """One API key of an app."""

    token: str
    name: str = "default"
    environment: str = "development"


@dataclass
class Installed:
    """An app in a workspace: what the DSL says, and what it cannot say."""

    app: App
    id: str
    workflow_id: str
    keys: list[Key] = field(default_factory=list)
    api_enabled: bool = True
    published: bool = True
    profile: Profile | None = None
    version: str = ""
    """The published workflow's version, a time as Dify writes it."""

    @property
    def name(self) -> str:
        """The app's name in mockdify: its file's stem."""
        return self.app.name

    @property
    def mode(self) -> str:
        """The app's mode, in Dify's words."""
        return self.app.mode

    @cached_property
    def file_rules(self) -> Any:
        """What uploads the app takes."""
        from mockdify.apps import file_rules  # noqa: PLC0415 - only requests with files need it

        return file_rules(self.app)

    @cached_property
    def graph(self) -> Graph:
        """The app's graph, parsed at its first run."""
        from mockdify.graph import parse_graph  # noqa: PLC0415 - a server of chat apps never needs it

        return parse_graph(self.app.workflow or {}, source=self.app.source or self.app.name)


@dataclass(slots=True)
class Task:
    """One generation that is under way: what a stop call finds by its id."""

    id: str
    app: str
    user: str
    graph: bool
    stopped: bool = False
    stopped_late: bool = False
    """A stop that shows only when the run is over."""
    wake: Signal = field(default_factory=Signal)

    def stop(self) -> None:
        """Ask the generation to end; it looks at the next chunk or wait."""
        self.stopped = True
        self.wake.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What a fresh workspace is made of. Immutable: a reset makes the same world again."""

    profile: Profile
    apps: tuple[tuple[App, Mapping[str, Any]], ...]
    """Each app with what the configuration says about it: `keys`, `api_enabled`, `published`, `profile`."""
    make_script: Callable[[], Script]
    faults: tuple[Any, ...] = ()
    """What a fresh workspace begins with, as `[[faults]]` writes it."""
    limits: tuple[Limit, ...] = ()
    seed: int = 0
    models: frozenset[str] | None = None
    remote_files: Remote = "accept"
    pace: float = 0.0
    ping_interval: float = 10.0
    silence: float = 300.0
    dataset_key: str = "dataset-demo"
    clock_start: float | None = None
    clock_frozen: bool = False
    journal_cap: int = 10_000


class Workspace:
    """A world made from a template. Nothing in it is shared with another."""

    def __init__(self, id: str, template: Template, time: Callable[[], float], *, key_suffix: str = "") -> None:  # noqa: A002
        self.id = id
        self.template = template
        self.profile = template.profile
        self.clock = Clock(time, start=template.clock_start, frozen=template.clock_frozen)
        seed = template.seed
        self.tenant_id = fixed_id(seed, id, "tenant")
        self.store = Store(seed, id)
        self.script = template.make_script()
        self.journal = Journal(self.clock.now, cap=template.journal_cap)
        self.tasks: dict[str, Task] = {}
        self.open_replies = Signal()
        self.faults: FaultPlan = None  # type: ignore[assignment]  # given by the engine, which knows faults
        self.limits: Limits | None = None  # as well
        self.apps: dict[str, Installed] = {}
        self.dataset_key = template.dataset_key + key_suffix
        for app, said in template.apps:
            self.install(app, said, key_suffix=key_suffix)

    def install(self, app: App, said: Mapping[str, Any], *, key_suffix: str = "") -> Installed:
        """Add *app* (or swap it for one of the same name; running replies keep the old one)."""
        seed = self.template.seed
        keys = [Key(token + key_suffix, name=name, environment=name) for name, token in said["keys"].items()]
        installed = self.apps[app.name] = Installed(
            app,
            id=fixed_id(seed, self.id, "app", app.name),
            workflow_id=fixed_id(seed, self.id, "workflow", app.name),
            keys=keys,
            api_enabled=said.get("api_enabled", True),
            published=said.get("published", True),
            profile=said.get("profile"),
            version="2026-01-01 00:00:00.000000",
        )
        return installed

    @property
    def keys(self) -> dict[str, str]:
        """The first key of each app, and the knowledge key under `dataset`."""
        found = {name: app.keys[0].token for name, app in self.apps.items() if app.keys}
        return {**found, "dataset": self.dataset_key}

    def new_task(self, app: str, user: str, ids: Ids, *, graph: bool) -> Task:
        """A task that a stop call can find until `end_task`."""
        task = Task(ids.next(), app, user, graph)
        self.tasks[task.id] = task
        return task

    def end_task(self, task: Task) -> None:
        """The generation is over, however it ended."""
        self.tasks.pop(task.id, None)
