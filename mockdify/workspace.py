"""One isolated world: its apps, keys, end users, conversations, files, scripts, faults, clock and journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from mockdify.clock import Clock
from mockdify.ids import Ids, fixed_id
from mockdify.journal import BUDGET, CAP, Journal
from mockdify.keys import DATASET, Key, current, first_keys
from mockdify.steps import Signal
from mockdify.store import Store
from mockdify.values import value

if TYPE_CHECKING:
    from mockdify.apps import App
    from mockdify.faults.plan import FaultPlan
    from mockdify.forms import Remote
    from mockdify.graph import Graph
    from mockdify.http import Request
    from mockdify.journal import Exchange, Violations
    from mockdify.limits import Limit, Limits
    from mockdify.profiles import Profile
    from mockdify.script import Script
    from mockdify.steps import Reply

__all__ = ["AppTemplate", "Installed", "Key", "Playback", "Task", "Template", "Workspace"]


class Playback(Protocol):
    """What answers in the place of the endpoints: a recording."""

    @property
    def name(self) -> str:
        """What it is called: its files."""
        ...

    @property
    def left(self) -> tuple[int, int]:
        """How many of its interactions nobody has asked for, and how many there are."""
        ...

    def reply(self, request: Request, exchange: Exchange, *, in_events: bool = False) -> Reply:
        """The reply to *request*, a stream event by event where faults count them. Nothing happens before its steps."""
        ...


@dataclass
class Installed:
    """An app in a workspace: what the DSL says, and what it cannot say."""

    name: str
    """The app's name in mockdify: its file's stem."""
    mode: str
    """The app's mode, in Dify's words."""
    load: Callable[[], App]
    id: str
    workflow_id: str
    keys: list[Key] = field(default_factory=list)
    api_enabled: bool = True
    published: bool = True
    profile: Profile | None = None
    version: str = ""
    """The published workflow's version, a time as Dify writes it."""

    @property
    def key(self) -> str:
        """The key to use: the first that was not revoked."""
        return current(self.keys).token

    @cached_property
    def app(self) -> App:
        """What the DSL says, read at its first use."""
        return self.load()

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


@dataclass(slots=True, weakref_slot=True)
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


@value
class AppTemplate:
    """One app, and what its DSL cannot say."""

    name: str
    mode: str
    load: Callable[[], App]
    """Reads the app; called at its first use."""
    keys: Mapping[str, str]
    """Tokens by the names of the keys."""
    api_enabled: bool = True
    published: bool = True
    profile: Profile | None = None


@value
class Template:
    """What a fresh workspace is made of. Immutable: a reset makes the same world again."""

    profile: Profile
    apps: tuple[AppTemplate, ...]
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
    journal_cap: int = CAP
    journal_budget: int = BUDGET
    """Bytes of payload that a journal keeps."""
    check: Violations | None = None
    """What holds the journal's requests to the contracts, when somebody asks."""
    make_playback: Callable[[], Playback] | None = None
    """Makes what answers instead of the endpoints."""


class Workspace:
    """A world made from a template. Nothing in it is shared with another."""

    def __init__(self, id: str, template: Template, time: Callable[[], float], *, key_suffix: str = "") -> None:  # noqa: A002
        self.id = id
        self.key_suffix = key_suffix
        self.template = template
        self.key_suffix = key_suffix
        self.profile = template.profile
        self.clock = Clock(time, start=template.clock_start, frozen=template.clock_frozen)
        seed = template.seed
        self.tenant_id = fixed_id(seed, id, "tenant")
        self.store = Store(seed, id)
        self.script = template.make_script()
        self.journal = Journal(
            self.clock.now,
            cap=template.journal_cap,
            budget=template.journal_budget,
            check=template.check,
            secrets=lambda: self.tokens,
        )
        # A reply holds its task; one that is closed before its first step never comes to `end_task`.
        self.tasks: WeakValueDictionary[str, Task] = WeakValueDictionary()
        self.open_replies = Signal()
        self.plan_faults: Callable[[], FaultPlan]  # given by the engine, which knows faults
        self._faults: FaultPlan | None = None
        self.fault_origins: dict[int, str] = {}
        """Who injected a fault rule, by the rule's id; whoever is not here did it in Python or in the configuration."""
        self.limits: Limits | None = None  # as well
        self.playback = None if template.make_playback is None else template.make_playback()
        self.apps: dict[str, Installed] = {}
        self.dataset_keys = first_keys(self, DATASET, {"default": template.dataset_key + key_suffix})
        for app in template.apps:
            self.install(app)

    @property
    def faults(self) -> FaultPlan:
        """The faults of the workspace, made when they are first looked at: most servers damage nothing."""
        if self._faults is None:
            self._faults = self.plan_faults()
        return self._faults

    @property
    def has_faults(self) -> bool:
        """Whether there is any rule."""
        if self._faults is None and not self.template.faults:
            return False
        return bool(self.faults.rules)

    def install(self, app: AppTemplate) -> Installed:
        """Add *app* (or swap it for one of the same name; running replies keep the old one, and its keys stay)."""
        seed = self.template.seed
        keys = first_keys(self, app.name, {name: token + self.key_suffix for name, token in app.keys.items()})
        if app.name in self.apps:
            old = {key.token: key for key in self.apps[app.name].keys}
            keys = [*(old.pop(key.token, key) for key in keys), *old.values()]
        installed = self.apps[app.name] = Installed(
            name=app.name,
            mode=app.mode,
            load=app.load,
            id=fixed_id(seed, self.id, "app", app.name),
            workflow_id=fixed_id(seed, self.id, "workflow", app.name),
            keys=keys,
            api_enabled=app.api_enabled,
            published=app.published,
            profile=app.profile,
            version="2026-01-01 00:00:00.000000",
        )
        return installed

    @property
    def keys(self) -> dict[str, str]:
        """The key to use of each app, and the knowledge key under `dataset`."""
        found = {name: app.key for name, app in self.apps.items() if app.keys}
        return {**found, DATASET: self.dataset_key}

    @property
    def dataset_key(self) -> str:
        """The knowledge key to use."""
        return current(self.dataset_keys).token

    @property
    def tokens(self) -> Iterator[str]:
        """Every key there is or was: what must not be shown."""
        for keys in (self.dataset_keys, *(app.keys for app in self.apps.values())):
            yield from (key.token for key in keys)

    def webapp_conversation(self, app: str, user: str) -> str:
        """The id of a new conversation that *user* began in the WebApp of *app*: the API must not see it."""
        partition = self.store.app(app)
        made = fixed_id(self.template.seed, self.id, app, user, "webapp", len(partition.webapp))
        partition.webapp[made] = user
        return made

    def new_task(self, app: str, user: str, ids: Ids, *, graph: bool) -> Task:
        """A task that a stop call can find until `end_task`."""
        task = Task(ids.next(), app, user, graph)
        self.tasks[task.id] = task
        return task

    def end_task(self, task: Task) -> None:
        """The generation is over, however it ended."""
        self.tasks.pop(task.id, None)
