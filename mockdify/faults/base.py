"""What a fault is: a named damage, a function from reply to reply, and the row of the catalogue that tells of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from mockdify import shapes
from mockdify.events import PING
from mockdify.sse import encode
from mockdify.steps import Body, Emit, Head, Reply, Step, Wait

if TYPE_CHECKING:
    from mockdify.http import Request
    from mockdify.profiles import Profile

__all__ = [
    "Fault",
    "FaultContext",
    "Kind",
    "Option",
    "Options",
    "Spec",
    "When",
    "bytes_of",
    "close",
    "has_data",
    "is_stream",
    "lead",
    "silence",
    "unheard",
]

When: TypeAlias = Literal["before", "stream", "framing", "preset"]
"""`before` pre-empts the reply, `stream` damages its events, `framing` only their bytes; a `preset` is many rules."""
Options: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FaultContext:
    """What a fault may look at."""

    request: Request
    profile: Profile
    now: Callable[[], float]
    ping_interval: float = 10.0
    tenant_id: str = ""
    app_id: str = ""
    model: str = ""
    """The name of the app's model; empty where it has none of its own."""
    left: Callable[[], bool] = bool
    """Whether the client has left."""


class Fault(Protocol):
    """A damage, ready to be applied. It must not pull from *reply* before it is pulled from itself."""

    def apply(self, ctx: FaultContext, reply: Reply) -> Reply:
        """The damaged reply. A fault that pre-empts returns its own and never starts the honest one."""
        ...


# ---------------------------------------------------------------------- options
Takes: TypeAlias = Literal["whole", "number", "chance", "text", "flag", "seconds", "delay"]


def _delay(value: Any, path: shapes.KeyPath, problems: shapes.Problems) -> float | str:
    """Seconds, or a text that is sent as it stands."""
    if isinstance(value, str):
        if not value.isprintable() or not value.isascii():
            problems.add(path, f"a header value of printable ASCII is needed, got {shapes.shown(value)}")
        return value
    seconds: float = shapes.number(0)(value, path, problems)
    return seconds


_SHAPES: Mapping[Takes, tuple[shapes.Shape, str]] = {
    "whole": (shapes.whole(0), "whole number"),
    "number": (shapes.number(0), "number"),
    "chance": (shapes.number(0, 1), "number from 0 to 1"),
    "text": (shapes.text, "text"),
    "flag": (shapes.flag, "true or false"),
    "seconds": (shapes.duration, 'seconds, or a text such as "200ms"'),
    "delay": (_delay, "seconds (rounded up), or a text that is sent as it stands"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a fault: what it takes, what it is without being given, what it does."""

    takes: Takes
    words: str
    default: Any = None
    least: int | None = None
    """The smallest whole number; None: 0."""

    @property
    def takes_words(self) -> str:
        """What it takes, for people."""
        return _SHAPES[self.takes][1]

    @property
    def shape(self) -> shapes.Shape:
        """What may stand there."""
        return _SHAPES[self.takes][0] if self.least is None else shapes.whole(self.least)

    def read(self, text: str) -> Any:
        """The value that *text* of a header or a key stands for; what cannot be read stays a text."""
        return _READERS.get(self.takes, str)(text)


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _whole(text: str) -> Any:
    return int(text) if text.isascii() and text.lstrip("-").isdigit() else text


_READERS: Mapping[Takes, Callable[[str], Any]] = {
    "whole": _whole,
    "number": _number,
    "chance": _number,
    "flag": lambda text: {"true": True, "false": False}.get(text.lower(), text),
    "delay": _whole,  # a date or "0.5" is sent as it stands
}


# ---------------------------------------------------------------------- the catalogue's rows
@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One row of the catalogue."""

    name: str
    when: When
    words: str
    """What the client sees, in one sentence."""
    make: Callable[[Options], Fault]
    real: str
    """Whether a real Dify does it, and since or until which release."""
    advice: str
    """What a good client does."""
    threads: tuple[str, ...] = ()
    """The public threads where people met it."""
    options: Mapping[str, Option] = field(default_factory=dict)
    """The options of its own; the common ones go without saying."""
    stage: int = 0
    """Framing faults are applied in this order, whatever the order of the rules: texts, then cuts, then the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A fault with the options that one of the four ways in gave it."""

    kind: Kind
    options: Options = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The fault's name."""
        return self.kind.name

    def make(self) -> Fault:
        """The fault itself."""
        return self.kind.make({name: option.default for name, option in self.kind.options.items()} | dict(self.options))


# ---------------------------------------------------------------------- tools for damage
def is_stream(head: Head) -> bool:
    """Whether *head* opens a stream of events."""
    return head.length is None and any(
        name.lower() == "content-type" and value.startswith("text/event-stream") for name, value in head.headers
    )


def lead(reply: Reply) -> Generator[Step, None, Head | None]:
    """Pass on what comes before the head and return the head, not passed on; None when there is none."""
    for step in reply:
        if isinstance(step, Head):
            return step
        yield step
    return None


def has_data(step: Step) -> bool:
    """Whether *step* is an event with data: pings are none."""
    return (isinstance(step, Emit) and step.event is not PING) or isinstance(step, Body)


def bytes_of(step: Step) -> bytes | None:
    """What *step* sends in the body, or None."""
    if isinstance(step, Emit):
        return encode(step.event, step.envelope)
    return step.data if isinstance(step, Body) else None


def close(reply: Reply) -> None:
    """Stop the honest reply where it stands, as if the client had left."""
    end = getattr(reply, "close", None)
    if end is not None:
        end()


def silence(ctx: FaultContext) -> Iterator[Step]:
    """Nothing any more, until the client leaves or the server stops."""
    if not ctx.left():
        yield Wait(float("inf"))


def unheard(head: Head, reply: Reply) -> Iterator[Step]:
    """The rest of a reply whose connection is broken: a graph's run goes on in silence, any other reply stops."""
    if head.leaving == "finish":
        for step in reply:
            if isinstance(step, Wait):
                yield step
    close(reply)
