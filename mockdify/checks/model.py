"""What a check is made of: a rule, its cases, the run of one case, the violations found in it.

A *rule* is one sentence a client is held to. Each of its *cases* plays a small scene on a stage: it sets the server up
and makes calls through the client. The *run* is what came of it: what was sent, what the server received, what the
client said happened. A *check* reads a run and yields violations. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from mockdify.checks.transcript import WireReply
    from mockdify.journal import Exchange

__all__ = [
    "CAPABILITIES",
    "EVERY_PROFILE",
    "GENERATING",
    "VERDICTS",
    "Call",
    "Case",
    "Check",
    "Failure",
    "Outcome",
    "Place",
    "Rule",
    "Run",
    "Severity",
    "Stage",
    "Verdict",
    "Violation",
]

Severity: TypeAlias = Literal["must", "should", "robustness", "timeouts"]
Verdict: TypeAlias = Literal[
    "held",
    "crashed",
    "silent-loss",
    "corrupt",
    "wrong-error",
    "hung",
    "retried-badly",
    "leaked",
    "not-applicable",
]
VERDICTS: tuple[Verdict, ...] = (
    "crashed",
    "silent-loss",
    "corrupt",
    "leaked",
    "hung",
    "retried-badly",
    "wrong-error",
    "held",
    "not-applicable",
)
"""The worst first: a cell shows the worst of its cases."""

GENERATING = ("chat", "completion", "workflow")
_OTHERS = ("stop", "conversations", "messages", "rename", "delete", "feedback", "upload")
CAPABILITIES: tuple[str, ...] = (
    *(f"{call}.{mode}" for call in GENERATING for mode in ("blocking", "streaming")),
    *_OTHERS,
    "incremental",
    "abandon",
    "parallel",
)
"""What an adapter can say it does. `parallel`: several calls may be under way at once."""

_DIFY = ("1.16", "1.13")
EVERY_PROFILE = (*_DIFY, "guide", "guide-delta")
"""Rules are about clients, and what a client must not do does not change with the release, unless a rule says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a client is sent: a base URL, a key, and the mode of the app that answers there."""

    base_url: str
    api_key: str
    app: str
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to the client."""

    name: str
    place: Place
    args: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 10.0

    def as_json(self) -> dict[str, Any]:
        """The call's message to an adapter, without an id."""
        place = {"base_url": self.place.base_url, "api_key": self.place.api_key}
        return {"call": self.name, **place, **self.args, "timeout": self.timeout}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The error a client reported. `kind` is `crash` when it is a mistake of the program rather than a report."""

    kind: str
    status: int | None = None
    code: str | None = None
    message: str = ""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What the client said happened, and the exchanges that the call caused."""

    call: Call
    ok: bool = False
    text: str = ""
    conversation_id: str = ""
    message_id: str = ""
    outputs: Any = None
    usage: Mapping[str, Any] | None = None
    error: Failure | None = None
    hung: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    """Everything the adapter answered."""
    deltas: list[tuple[float, str]] = field(default_factory=list)
    """What was handed on while the call ran, with the epoch second of each."""
    started: float = 0.0
    seconds: float = 0.0
    exchanges: list[Exchange] = field(default_factory=list)
    abandon: bool = False
    """Whether the client was asked to stop at its first delta."""
    watched: float | None = None
    """Seconds it was watched, where that was not its limit."""

    def __str__(self) -> str:
        if self.hung:
            return f"no answer within {self.seconds:.1f} s"
        if self.ok:
            shown = self.text if self.text or self.outputs is None else str(self.outputs)
            return f"success with {_short(shown)}"
        error = self.error or Failure(kind="?")
        parts = [error.kind, *(str(part) for part in (error.status, error.code) if part)]
        return f"an error ({' '.join(parts)}: {_short(error.message)})"


def _short(text: str, most: int = 60) -> str:
    return (
        repr(text) if len(text) <= most else f"{text[: most // 2]!r} … {text[-most // 3 :]!r} ({len(text)} characters)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One way in which a run breaks its rule, told in words."""

    verdict: Verdict
    words: str


@dataclass(slots=True, kw_only=True)
class Run:
    """One case that was played."""

    case: Case
    outcomes: list[Outcome] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    """What the scene wants its check to know."""
    sent: dict[int, Callable[[], WireReply]] = field(default_factory=dict)
    """Gives how an exchange (by `id`) was answered, as a transcript that plays again."""
    together: list[tuple[int, int]] = field(default_factory=list)
    """Which outcomes were of calls made at once: from, to."""

    @property
    def last(self) -> Outcome:
        """The last call's outcome."""
        return self.outcomes[-1]


Check: TypeAlias = Callable[[Run], Iterable[Violation]]


class Stage(Protocol):
    """What a scene may use. The harness is the only one who has it."""

    run: Run
    patience: float
    """Seconds a client is watched when its own timeouts are measured."""

    @property
    def moment(self) -> float:
        """Seconds between two pieces that this client sees as two: longer for one that starts a process a call."""
        ...

    def live(self, app: str = "chat") -> Place:
        """The app called *app* of a fresh workspace of the mock."""
        ...

    def play(self, *replies: WireReply, mode: str = "chat", others: Sequence[tuple[str, str, WireReply]] = ()) -> Place:
        """A place that plays *replies*, one for each request that generates; the last one again and again.

        *others* are method, path and reply of requests that do not generate; those it does not name are just accepted.
        """
        ...

    def nowhere(self) -> Place:
        """A place where nobody listens."""
        ...

    def full(self) -> Place:
        """A place that takes no connection and refuses none."""
        ...

    def inject(self, fault: str, **options: Any) -> None:
        """Let a fault strike this workspace, as `FaultPlan.inject` does."""
        ...

    def say(self, app: str, **rule: Any) -> None:
        """Script an answer of *app*."""
        ...

    def call(self, call: str, place: Place, /, *, timeout: float = 10.0, **args: Any) -> Outcome:
        """Call the client and wait for what it says."""
        ...

    def watch(self, call: str, place: Place, /, **args: Any) -> Outcome:
        """Call the client without a limit and watch it for `patience` seconds."""
        ...

    def together(self, calls: Sequence[Call]) -> list[Outcome]:
        """Several calls at once."""
        ...

    def abandon(self, call: str, place: Place, /, *, timeout: float = 10.0, **args: Any) -> Outcome:
        """Call the client and ask it to stop reading at its first delta."""
        ...

    def wait_until(self, holds: Callable[[], bool], seconds: float = 2.0) -> bool:
        """Whether *holds* becomes true in time."""
        ...


Play: TypeAlias = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One scene of a rule.

    `mode` is the column it belongs to (`chat.streaming`). With `examples`, the scene is played with many of them, and
    the least one that breaks the rule is kept.
    """

    mode: str
    play: Play
    name: str = ""
    needs: tuple[str, ...] = ()
    """Capabilities beside `mode`."""
    fault: str | None = None
    """The fault it injects: without it in the catalogue the case is left out."""
    in_dify: bool = False
    """Whether it plays an answer written down in Dify's words: nothing for a profile that shows others."""
    examples: Callable[[], SearchStrategy[Any]] | None = None
    check: Check | None = None
    told: Callable[[Any], str] | None = None
    """An example in words."""
    simpler: Callable[[Any], Iterable[Any]] | None = None
    """Examples that are simpler than one: tried when Hypothesis has shrunk as far as it can."""

    @property
    def label(self) -> str:
        """Mode and name."""
        return f"{self.mode} {self.name}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One sentence a client is held to, why, and how to mend a client that breaks it."""

    id: str
    severity: Severity
    says: str
    because: str
    threads: tuple[str, ...] = ()
    fix: str
    check: Check
    cases: tuple[Case, ...]
    profiles: tuple[str, ...] = EVERY_PROFILE
    """What it holds for; see `holds_for`."""
    bugs: tuple[str, ...] = ()
    """Names of the mistakes that this rule is there to find."""

    @property
    def holds_for(self) -> tuple[str, ...]:
        """The profiles in which it has something to play."""
        return tuple(name for name in self.profiles if name in _DIFY or not all(case.in_dify for case in self.cases))

    def as_dict(self) -> dict[str, Any]:
        """What `mockdify rules --json` lists."""
        return {
            "id": self.id,
            "severity": self.severity,
            "says": self.says,
            "because": self.because,
            "threads": list(self.threads),
            "fix": self.fix,
            "profile": list(self.holds_for),
            "modes": list(dict.fromkeys(case.mode for case in self.cases)),
            "needs": sorted({need for case in self.cases for need in case.needs}),
            "bugs": list(self.bugs),
        }
