"""A workflow graph as a Dify export says it: nodes, edges, and what lies in which container.

Parsing is liberal, as Dify's import is: notes, missing titles and edges that lead from nowhere are no errors. What
Dify itself refuses to run (no start node, an edge to a node that is not there) is one, and says where.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["START_TYPES", "Edge", "Graph", "Node", "Variable", "parse_graph"]

Json: TypeAlias = Any

START_TYPES = frozenset({"start", "trigger-webhook", "trigger-schedule", "trigger-plugin", "datasource"})
"""Where a run may begin, the best first choice being `start`."""

_NOTE = "custom-note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node. `parent` is the iteration or loop around it, `data` its settings as exported."""

    id: str
    type: str
    title: str
    data: Mapping[str, Json]
    parent: str | None = None

    @property
    def error_strategy(self) -> str | None:
        """`default-value`, `fail-branch`, or None: a failure fails the run."""
        strategy = self.data.get("error_strategy")
        return strategy if strategy in ("default-value", "fail-branch") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A connection; `handle` is the branch of the source node it hangs on."""

    id: str
    source: str
    target: str
    handle: str = "source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A conversation or environment variable as declared."""

    name: str
    type: str
    value: Json


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Graph:
    """A parsed graph. Graphs are compared by identity: a plan is kept for each."""

    source: str
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    start: Node
    conversation: Mapping[str, Variable] = field(default_factory=dict)
    environment: Mapping[str, Variable] = field(default_factory=dict)

    def inside(self, parent: str | None) -> tuple[Node, ...]:
        """The nodes directly in container *parent* (None: the top level), in the order of the file."""
        return tuple(node for node in self.nodes.values() if node.parent == parent)

    @property
    def answers(self) -> tuple[Node, ...]:
        """The nodes that make the run's text or outputs: `answer` and `end`."""
        return tuple(node for node in self.nodes.values() if node.type in ("answer", "end"))


def parse_graph(workflow: Mapping[str, Json], *, source: str) -> Graph:
    """The graph of an export's `workflow` section; *source* is named in errors.

    Raises:
        MockdifyError: the graph cannot run: it has no nodes, no start, or an edge leads to an unknown node.
    """
    graph = workflow.get("graph")
    if not isinstance(graph, Mapping):
        raise MockdifyError(f"{source}: `workflow.graph` is missing. Export the app from Dify once more.")
    nodes = {node.id: node for node in map(_node, _mappings(graph.get("nodes"))) if node is not None}
    return Graph(
        source=source,
        nodes=nodes,
        edges=tuple(_edges(_mappings(graph.get("edges")), nodes, source)),
        start=_start(nodes, source),
        conversation=_variables(workflow.get("conversation_variables")),
        environment=_variables(workflow.get("environment_variables")),
    )


def _mappings(value: Json) -> Iterable[Mapping[str, Json]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _node(raw: Mapping[str, Json]) -> Node | None:
    data = raw.get("data")
    if raw.get("type") == _NOTE or not isinstance(data, Mapping) or not data.get("type") or raw.get("id") is None:
        return None
    parent = raw.get("parentId") or data.get("iteration_id") or data.get("loop_id")
    return Node(
        id=str(raw["id"]),
        type=str(data["type"]),
        title=str(data.get("title") or ""),
        data=data,
        parent=None if parent is None else str(parent),
    )


def _edges(raw: Iterable[Mapping[str, Json]], nodes: Mapping[str, Node], source: str) -> Iterable[Edge]:
    seen: set[str] = set()
    for number, edge in enumerate(raw, start=1):
        tail, head = str(edge.get("source") or ""), str(edge.get("target") or "")
        if tail not in nodes or not head:
            continue  # what is left of a deleted node: nothing can come this way
        if head not in nodes:
            raise MockdifyError(f"{source}: edge {number} leads from '{tail}' to {_unknown(head, nodes)}")
        name = str(edge.get("id") or f"{tail}-{number}")
        name = name if name not in seen else f"{name}#{number}"
        seen.add(name)
        yield Edge(id=name, source=tail, target=head, handle=str(edge.get("sourceHandle") or "source"))


def _unknown(node: str, nodes: Mapping[str, Node]) -> str:
    near = difflib.get_close_matches(node, nodes, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"'{node}', which is no node of the graph{hint or '.'} There is: {', '.join(list(nodes)[:20])}."


def _start(nodes: Mapping[str, Node], source: str) -> Node:
    starts = [node for node in nodes.values() if node.type in START_TYPES and node.parent is None]
    if not starts:
        types = ", ".join(sorted({node.type for node in nodes.values()})) or "none"
        raise MockdifyError(f"{source}: the graph has no start node (types of its nodes: {types}). Add one in Dify.")
    return min(starts, key=lambda node: node.type != "start")


def _variables(raw: Json) -> Mapping[str, Variable]:
    return {
        str(item["name"]): Variable(
            name=str(item["name"]), type=str(item.get("value_type") or "string"), value=item.get("value")
        )
        for item in _mappings(raw)
        if item.get("name")
    }
