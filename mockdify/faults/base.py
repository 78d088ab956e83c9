"""What a fault is: a named damage, a function from reply to reply, and what it needs to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from mockdify.steps import Reply

if TYPE_CHECKING:
    from mockdify.http import Request
    from mockdify.profiles import Profile

__all__ = ["Fault", "FaultContext", "Kind", "Options", "Spec", "When"]

When: TypeAlias = Literal["before", "stream", "framing"]
"""`before` pre-empts the reply, `stream` damages its events, `framing` only their bytes."""
Options: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FaultContext:
    """What a fault may look at."""

    request: Request
    profile: Profile
    now: Callable[[], float]


class Fault(Protocol):
    """A damage, ready to be applied. It must not pull from *reply* before it is pulled from itself."""

    def apply(self, ctx: FaultContext, reply: Reply) -> Reply:
        """The damaged reply. A fault that pre-empts returns its own and never starts the honest one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One row of the catalogue."""

    name: str
    when: When
    words: str
    """What the client sees, in one sentence."""
    make: Callable[[Options], Fault]
    options: Mapping[str, type | tuple[type, ...]] = field(default_factory=dict)
    """The options of its own, with their types; the common ones go without saying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A fault with its options, as one of the four ways in names it."""

    kind: Kind
    options: Options = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The fault's name."""
        return self.kind.name

    def make(self) -> Fault:
        """The fault itself."""
        return self.kind.make(self.options)
