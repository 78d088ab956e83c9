"""What a test holds of a running server: a workspace, its apps, its clock and its journal.

Each call is handed to the server's own thread and returns when it is done there, so a test needs no waiting.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from operator import methodcaller
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, overload

from mockdify import config as configuration
from mockdify.durations import parse_duration
from mockdify.errors import MockdifyError
from mockdify.shapes import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self, TypeVar

    from mockdify.background import Door
    from mockdify.journal import Exchange
    from mockdify.model import Failure
    from mockdify.workspace import Installed, Template, Workspace

    T = TypeVar("T")

__all__ = ["AppHandle", "ClockHandle", "Conclusion", "FurtherWorkspace", "JournalView", "Span", "World", "environment"]

__tracebackhide__ = methodcaller("errisinstance", MockdifyError)
"""What pytest asks: a user's mistake is shown where the user made it."""

Span: TypeAlias = "str | float"
"""A duration: `"100ms"`, `"2s"`, or seconds."""

_CHAT_MODES = ("chat", "agent-chat", "advanced-chat")


class AppHandle:
    """One app of a workspace: its keys, and what its model and its nodes say."""

    def __init__(self, door: Door, name: str) -> None:
        self._door = door
        self.name = name
        self._do(lambda _: None)  # a wrong name is told here and not at the first use

    def __repr__(self) -> str:
        return f"<app {self.name!r} of workspace {self._door.workspace_id!r}>"

    @property
    def mode(self) -> str:
        """The app's mode, in Dify's words: `chat`, `agent-chat`, `advanced-chat`, `completion`, `workflow`."""
        return self._do(lambda app: app.mode)

    @property
    def keys(self) -> dict[str, str]:
        """All API keys of the app, by name."""
        return self._do(lambda app: {key.name: key.token for key in app.keys})

    @property
    def key(self) -> str:
        """The app's API key; the first when there are several."""
        keys = self.keys
        if not keys:
            raise MockdifyError(f"the app {self.name!r} has no API key any more")
        return next(iter(keys.values()))

    def answer(
        self,
        answer: str | None = None,
        *,
        chunks: Sequence[str] | None = None,
        when: Mapping[str, Any] | None = None,
        times: int | None = None,
        usage: Mapping[str, Any] | None = None,
        pace: Span | None = None,
        fails: Failure | None = None,
        message: str | None = None,
        after: int | None = None,
        rounds: Sequence[Mapping[str, Any]] | None = None,
        retriever_resources: Sequence[Mapping[str, Any]] | None = None,
    ) -> Self:
        """Let the app answer this. Answers without conditions are a sequence: each once, the last for ever.

        Args:
            answer: a text, or a Jinja2 template over `query`, `inputs`, `user` and `turn`.
            chunks: the deltas, exactly as they are sent; instead of *answer*.
            when: what must hold: `query`, `query_matches`, `user`, `inputs`, `turn`, `node`.
            times: how often it answers before the next match does; None for ever.
            usage: keys of Dify's `usage` that are fixed.
            pace: the time of one chunk.
            fails: the model fails, and the app reports it as Dify does.
            message: what the failing model says.
            after: how many chunks are out before it fails.
            rounds: an agent's rounds, each with `thought`, `tool`, `tool_input` and `observation`, or `chunks`.
            retriever_resources: the knowledge that was found.
        """
        given = {
            "answer": answer,
            "chunks": chunks,
            "when": when,
            "times": times,
            "usage": usage,
            "pace": pace,
            "fails": fails,
            "message": message,
            "after": after,
            "rounds": rounds,
            "retriever_resources": retriever_resources,
        }
        rule = configuration.rule_from(_set(given))
        self._door.do(lambda workspace: workspace.script.add(rule, app=self.name, in_sequence=True))
        return self

    def node(
        self,
        node: str,
        *,
        outputs: Mapping[str, Any] | None = None,
        fails: str | None = None,
        takes: Span | None = None,
    ) -> Self:
        """Let a node of the app's graph do this instead of its work.

        Args:
            node: the node's id in the export.
            outputs: its outputs; texts may be templates over the node's inputs.
            fails: the text it fails with.
            takes: how long it runs.
        """
        said = configuration.node_from(_set({"node": node, "outputs": outputs, "fails": fails, "takes": takes}))
        known = self._do(_node_ids)
        if node not in known:
            why = nearest(node, known) if known else ": it has no graph"
            raise MockdifyError(f"the app {self.name!r} has no node {node!r}{why}")
        self._door.do(lambda workspace: workspace.script.set_node(self.name, said))
        return self

    def webapp_conversation(self, *, user: str) -> str:
        """The id of a new conversation that *user* began in the app's web page: the API must not see it."""
        return self._door.do(lambda workspace: workspace.webapp_conversation(self.name, user))

    def _do(self, function: Callable[[Installed], T]) -> T:
        return self._door.do(lambda workspace: function(_installed(workspace, self.name)))


def _installed(workspace: Workspace, name: str) -> Installed:
    found = workspace.apps.get(name)
    if found is None:
        raise MockdifyError(f"there is no app {name!r} here{nearest(name, workspace.apps)}")
    return found


def _node_ids(installed: Installed) -> list[str]:
    nodes = ((installed.app.workflow or {}).get("graph") or {}).get("nodes") or ()
    return [str(node["id"]) for node in nodes if isinstance(node, dict) and "id" in node]


def _set(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


class ClockHandle:
    """The time of one workspace."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @property
    def now(self) -> float:
        """What it shows, in seconds since the epoch."""
        return self._door.do(lambda workspace: workspace.clock.now())

    @property
    def speed(self) -> float:
        """How many times as fast as real time it goes; may be set."""
        return self._door.do(lambda workspace: workspace.clock.speed)

    @speed.setter
    def speed(self, speed: float) -> None:
        if not _is_speed(speed):
            raise MockdifyError(f"a clock's speed is a number above 0, got {speed!r}; use advance() to let time jump")
        self._door.do(lambda workspace: workspace.clock.set_speed(float(speed)))

    def advance(self, span: Span) -> None:
        """Let *span* pass at once: `"30s"`, `"10m"`, or seconds."""
        seconds = parse_duration(span)
        self._door.do(lambda workspace: workspace.clock.advance(seconds))


def _is_speed(speed: Any) -> bool:
    return isinstance(speed, int | float) and not isinstance(speed, bool) and 0 < speed < float("inf")


class JournalView(Sequence["Exchange"]):
    """The exchanges of one workspace, oldest first. Each look at it sees what there is by then.

    An exchange whose last byte is out is waited for (at most 2 s), so that a client that has its answer finds it here.
    """

    def __init__(self, door: Door) -> None:
        self._door = door

    def _all(self) -> list[Exchange]:
        return self._door.settled(lambda workspace: list(workspace.journal))

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> Exchange: ...
    @overload
    def __getitem__(self, index: slice) -> list[Exchange]: ...
    def __getitem__(self, index: int | slice) -> Exchange | list[Exchange]:
        found = self._all()
        try:
            return found[index]
        except IndexError:
            raise IndexError(f"the journal has no exchange [{index}]: {_amount(found)}") from None

    @property
    def last(self) -> Exchange:
        """The newest exchange."""
        found = self._all()
        if not found:
            raise MockdifyError(f"the journal has no last exchange: {_amount(found)}")
        return found[-1]

    def __repr__(self) -> str:
        return f"<journal: {', '.join(map(repr, self._all())) or 'empty'}>"


def _amount(found: Sequence[Exchange]) -> str:
    requests = "1 request" if len(found) == 1 else f"{len(found) or 'no'} requests"
    return f"{requests} reached this workspace"


class World:
    """One isolated workspace of a server: apps, keys, users, conversations, answers, faults, clock and journal."""

    @property
    def _door(self) -> Door:
        raise NotImplementedError

    @property
    def id(self) -> str:
        """The workspace's id."""
        return self._door.workspace_id

    @property
    def base_url(self) -> str:
        """What a client is given as Dify's address; ends in `/v1`, without a slash."""
        return self._door.server.edge.url

    @property
    def keys(self) -> dict[str, str]:
        """The API key of each app by its name, and the knowledge key under `dataset`."""
        return self._door.do(lambda workspace: workspace.keys)

    @property
    def journal(self) -> JournalView:
        """What happened: every request with everything that was sent back."""
        return JournalView(self._door)

    @property
    def clock(self) -> ClockHandle:
        """The workspace's time."""
        return ClockHandle(self._door)

    @property
    def seed(self) -> int:
        """The seed of all ids, texts and chances."""
        return self._door.look().template.seed

    @property
    def profile(self) -> str:
        """The Dify release that is served."""
        return self._door.look().profile.name

    def app(self, name: str) -> AppHandle:
        """The app called *name*: the stem of its DSL file, or one of the demo apps."""
        return AppHandle(self._door, name)

    def inject(
        self,
        fault: str,
        *,
        times: int | None = 1,
        after: int = 0,
        on: str | None = None,
        when: Mapping[str, Any] | None = None,
        probability: float | None = None,
        retry_after: float | str | None = None,
        **options: Any,
    ) -> None:
        """Damage the next matching requests; `mockdify faults` lists what there is.

        Args:
            fault: its name, such as `"rate-limit"`.
            times: how often; 0 or None means always.
            after: for a fault in a stream, the events before it; for any other, the matching requests that pass first.
            on: only this endpoint, such as `"POST /v1/chat-messages"`.
            when: only requests with this `user`, `query`, `key`, `app`, `header` or `nth`.
            probability: how likely it strikes, by the workspace's seed.
            retry_after: seconds, or the header's text.
            options: the fault's own.
        """
        given = {"on": on, "when": when, "probability": probability, "retry_after": retry_after, **options}
        said = configuration.fault_from({"fault": fault, "times": times or 0, "after": after, **_set(given)})
        name = said.pop("fault")
        self._door.do(lambda workspace: workspace.faults.inject(name, **said))

    def env(self) -> dict[str, str]:
        """The variables that clients read: DIFY_BASE_URL, DIFY_API_KEY (of the chat app), DIFY_<APP>_KEY of each."""
        return self._door.do(lambda workspace: environment(workspace, self.base_url))

    def reset(self) -> None:
        """The same fresh world again; what still runs in the old one is broken off."""
        self._door.reset()

    def explanations(self) -> list[str]:
        """Why the newest requests were refused, broke off or met no scripted answer, line by line."""
        return self._door.settled(_explanations)

    def problems(self) -> list[str]:
        """What the clients did wrong so far: unknown paths, requests off contract, injected faults not met."""
        return self._door.settled(_problems)

    def conclude(self, *, strict: bool = True) -> Conclusion:
        """What there is to say about the workspace so far; then a fresh world in its place.

        Args:
            strict: whether to look for what the clients did wrong.
        """
        door, template = self._door, self._made_of

        def end(workspace: Workspace) -> Conclusion:
            wrong = _problems(workspace) if strict else []
            found = Conclusion(wrong, list(workspace.journal), _explanations(workspace) if wrong else [])
            door.server.engine.reset(workspace, template)
            return found

        return door.settled(end)

    @property
    def _made_of(self) -> Template | None:
        """What a fresh world is made of; None: what this one is made of."""
        return None


class Conclusion(NamedTuple):
    """What there was to say about a workspace."""

    problems: list[str]
    """What the clients did wrong."""
    journal: list[Exchange]
    reasons: list[str]
    """Why requests ended as nobody asked for, where there are problems."""


def _problems(workspace: Workspace) -> list[str]:
    from mockdify.reports import problems  # noqa: PLC0415 - many tests never ask

    # Faults of the configuration are the weather; the others somebody asked for.
    given = len(workspace.template.faults)
    rules = [rule for rule in workspace.faults.rules if rule.id > given] if workspace.has_faults else []
    return problems(workspace.journal, rules)


def _explanations(workspace: Workspace) -> list[str]:
    from mockdify.reports import explanations  # noqa: PLC0415 - only for a failure

    return explanations(workspace)


def environment(workspace: Workspace, base_url: str) -> dict[str, str]:
    """The DIFY_* variables of *workspace*. A name without an ASCII word, or a taken one, becomes six hex digits."""
    found: dict[str, str] = {}
    for name, key in workspace.keys.items():
        word = re.sub("[^A-Z0-9]+", "_", name.upper()).strip("_")
        if not word or word == "API" or f"DIFY_{word}_KEY" in found:
            word = hashlib.sha256(name.encode()).hexdigest()[:6].upper()
        found[f"DIFY_{word}_KEY"] = key
    found["DIFY_BASE_URL"] = base_url
    main = _main_app(workspace)
    if main is not None:
        found["DIFY_API_KEY"] = main.keys[0].token
    return found


def _main_app(workspace: Workspace) -> Installed | None:
    """The app called chat, else the first that chats, else the first that has a key."""
    apps = [app for app in workspace.apps.values() if app.keys]
    ranks = (lambda app: app.name == "chat", lambda app: app.mode in _CHAT_MODES, lambda _: True)
    return next((app for rank in ranks for app in apps if rank(app)), None)


class FurtherWorkspace(World):
    """A workspace beside the default one, with keys of its own. Also a context manager that closes it."""

    def __init__(self, door: Door) -> None:
        self._own_door = door

    @property
    def _door(self) -> Door:
        return self._own_door

    def close(self) -> None:
        """Forget it: its keys are unknown from now on. Not an error when that has happened."""
        self._own_door.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
