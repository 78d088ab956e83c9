"""What every node's double works with: its `Work`, and the `Result` or `NodeFailure` it comes to."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mockdify import templates
from mockdify.errors import MockdifyError
from mockdify.graph.run import Step
from mockdify.graph.variables import Pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mockdify.graph.run import NodeScript, Run
    from mockdify.graph.spec import Graph, Node
    from mockdify.graph.variables import Selector

__all__ = ["Act", "Acting", "Inner", "Kind", "NodeFailure", "Paused", "Result", "Say", "Shape", "Think", "Work"]

Json: TypeAlias = Any
Shape: TypeAlias = Literal["plain", "branch", "container", "answer"]


@dataclass(frozen=True, slots=True)
class Say:
    """A node streams text under one of its outputs; whether it goes out is for the answers to say."""

    selector: Selector
    text: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Think:
    """A model streams its reasoning."""

    text: str
    final: bool = False


@dataclass(slots=True, kw_only=True)
class Result:
    """A node that ran: what its node_finished event says, and which of its edges are taken."""

    outputs: dict[str, Json] = field(default_factory=dict)
    inputs: Mapping[str, Json] = field(default_factory=dict)
    process_data: Mapping[str, Json] = field(default_factory=dict)
    metadata: dict[str, Json] = field(default_factory=dict)
    handle: str = "source"
    usage: Mapping[str, Json] | None = None
    reasoning: str = ""
    resources: Sequence[Mapping[str, Json]] = ()
    breaks: bool = False
    """The loop around the node ends with this round."""


@dataclass
class NodeFailure(Exception):
    """A node that failed; what becomes of the run is for its error strategy to say."""

    error: str
    type: str = "NodeRunError"
    inputs: Mapping[str, Json] = field(default_factory=dict)
    process_data: Mapping[str, Json] = field(default_factory=dict)


class Paused(Exception):
    """A node waits for a human: the run pauses here."""


@dataclass(slots=True)
class Inner:
    """How one round of a container went."""

    usage: Mapping[str, Json] | None = None
    error: str | None = None
    breaks: bool = False


Acting: TypeAlias = Generator["Step | Say | Think", None, Result]
Enter: TypeAlias = Callable[[Pool, Mapping[str, Json]], Generator[Step, None, Inner]]


@dataclass(slots=True, kw_only=True)
class Work:
    """One execution of one node: the node, what it may read, and how a container runs what is in it."""

    node: Node
    graph: Graph
    pool: Pool
    run: Run
    script: NodeScript | None
    enter: Enter
    """Run the inside once over a pool; the mapping marks the events of that round."""

    @property
    def id(self) -> str:
        """The node's id."""
        return self.node.id

    @property
    def data(self) -> Mapping[str, Json]:
        """The node's settings."""
        return self.node.data

    @property
    def model(self) -> dict[str, Json]:
        """The node's model as its inputs name it, where the release does."""
        model = self.data.get("model")
        if not self.run.dialect.model_in_inputs or not isinstance(model, Mapping):
            return {}
        return {"model_provider": model.get("provider"), "model_name": model.get("name")}

    def stated_inputs(self) -> dict[str, Json]:
        """The inputs a node has before it does anything: its variables, and its model."""
        variables = {} if self.node.type == "start" else self.pool.fill(self.data.get("variables"))
        return {**variables, **self.model}

    def scripted(self, inputs: Mapping[str, Json]) -> dict[str, Json]:
        """What the user's script gives this node, its templates rendered over *inputs*."""
        if self.script is None or not self.script.outputs:
            return {}
        try:
            return dict(templates.rendered(self.script.outputs, inputs))
        except MockdifyError as mistake:
            raise NodeFailure(str(mistake), "TemplateError", inputs) from mistake


Act: TypeAlias = Callable[[Work], "Result | Acting"]


def _writes_nothing(_: Node) -> tuple[Selector, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of node.

    `act` plays it. `shape` says how answers see it: a `branch` takes some of its edges, a `container` has an inside and
    iteration or loop events instead of node events, an `answer` speaks. `picks` names the output that says which edge
    is taken, so that a script can choose it. `writes` are variables of others that it changes.
    """

    act: Act
    shape: Shape = "plain"
    picks: str | None = None
    silent: bool = False
    """Without events of its own."""
    failure: str = "NodeRunError"
    """The `error_type` a scripted failure has."""
    writes: Callable[[Node], tuple[Selector, ...]] = _writes_nothing
