"""What a walk needs and what it gives: the values at the border between the graph and whoever walks it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from mockdify.events import (
    IterationCompleted,
    IterationNext,
    IterationStarted,
    LoopNext,
    NodeFinished,
    NodeStarted,
    ReasoningChunk,
)
from mockdify.model import zero_usage
from mockdify.steps import Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping, Sequence

    from mockdify.graph.spec import Node
    from mockdify.model import Generation
    from mockdify.steps import Signal

__all__ = ["Chunk", "Dialect", "Doubles", "Mode", "NodeEvent", "NodeScript", "Outcome", "Run", "RunStatus", "Step"]

Json: TypeAlias = Any
Mode: TypeAlias = Literal["advanced-chat", "workflow"]
RunStatus: TypeAlias = Literal["succeeded", "partial-succeeded", "failed", "stopped", "paused"]

NodeEvent: TypeAlias = (
    NodeStarted | NodeFinished | IterationStarted | IterationNext | IterationCompleted | LoopNext | ReasoningChunk
)
"""The events of nodes; loop_started and loop_completed are kinds of their iteration namesakes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A delta of the run's text; the caller makes it a `message` or a `text_chunk`."""

    text: str
    selector: tuple[str, ...]


Step: TypeAlias = NodeEvent | Chunk | Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeScript:
    """What the user says of one node."""

    outputs: Mapping[str, Json] = field(default_factory=dict)
    """Laid over the node's outputs. Texts are Jinja2 templates over the node's inputs."""
    fails: str | None = None
    """The error the node fails with."""
    takes: float | None = None
    """How many seconds the node lasts."""


class Doubles(Protocol):
    """Who answers for models, code, tools and all else that a graph calls."""

    def generate(
        self, node: Node, *, messages: Sequence[Mapping[str, str]], query: str, inputs: Mapping[str, Json]
    ) -> Generation:
        """One call of *node*'s model. *query* is the last user message, its variables filled in."""
        ...

    def script(self, node: Node) -> NodeScript | None:
        """What the user said of *node*, if anything."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Where releases differ in what a walk sends. The defaults are 1.16's; `Dialect.before_1_15` is 1.13's."""

    start_shows_system: bool = False
    """The start node's inputs and outputs hold the `sys.*` variables too."""
    model_in_inputs: bool = True
    """An LLM node's inputs name its provider and model."""
    eager_answers: bool = True
    """An answer that no branch can prevent begins before the start node, not with the first edge (unverified: 1.13)."""
    flush_exceptions: bool = True
    """The default value of a failed node is streamed before its node_finished, not with the next value."""
    provider_label: bool = True
    """A credentials error names the provider's label (`Mock`), not its id (`mock`)."""
    reasoning_chunks: bool = True
    """Separated reasoning is streamed."""
    stop_error: str = "Aborted: User requested stop"
    """What a run says that its user stopped."""

    @classmethod
    def before_1_15(cls) -> Dialect:
        """As recorded from 1.13.2."""
        return cls(
            start_shows_system=True,
            model_in_inputs=False,
            eager_answers=False,
            flush_exceptions=False,
            provider_label=False,
            reasoning_chunks=False,
            stop_error="Stopped by user.",
        )


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of a graph: what it is asked and what it may use. Nothing in it reads a clock or rolls dice by itself."""

    mode: Mode
    doubles: Doubles
    now: Callable[[], float]
    new_id: Callable[[], str]
    inputs: Mapping[str, Json] = field(default_factory=dict)
    system: Mapping[str, Json] = field(default_factory=dict)
    """`sys.*` in wire order; keys with or without the `sys.`."""
    conversation: MutableMapping[str, Json] = field(default_factory=dict)
    """Conversation variables; assigner nodes change them here. What is absent has its default from the DSL."""
    environment: Mapping[str, Json] = field(default_factory=dict)
    history: Sequence[tuple[str, str]] = ()
    """Earlier (query, answer) pairs of the conversation, oldest first: the memory of LLM nodes."""
    message_id: str | None = None
    """The id of a chatflow's message, for its reasoning events."""
    stopped: Callable[[], bool] = lambda: False
    wake: Signal | None = None
    dialect: Dialect = field(default_factory=Dialect)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended. The caller makes workflow_finished and message_end of it."""

    status: RunStatus
    outputs: dict[str, Json] = field(default_factory=dict)
    error: str | None = None
    total_tokens: int = 0
    total_steps: int = 0
    exceptions_count: int = 0
    usage: dict[str, Json] = field(default_factory=zero_usage)
    answer: str = ""
    """All that was streamed, joined: what a chatflow's message holds."""
    reasoning: dict[str, str] = field(default_factory=dict)
    files: list[Json] = field(default_factory=list)
    retriever_resources: list[Json] = field(default_factory=list)
    paused_nodes: tuple[str, ...] = ()
