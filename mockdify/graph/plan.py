"""What can be said of a graph before it runs, worked out once: scopes, roots, and which edges hold an answer back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from mockdify.graph.nodes import kind_of
from mockdify.graph.spec import Edge
from mockdify.graph.variables import parse_template

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mockdify.graph.spec import Graph, Node
    from mockdify.graph.variables import Selector, Template

__all__ = ["Plan", "Reply", "Scope", "plan_of"]

Edges: TypeAlias = tuple[Edge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer or end node, as a text to be streamed."""

    node_id: str
    template: Template
    blocking: frozenset[str]
    """Edges whose taking is news: those out of branches, containers, other answers, and writers of its variables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The top level of a graph, or the inside of one container."""

    root: str
    nodes: Mapping[str, Node]
    leaving: Mapping[str, Edges]
    entering: Mapping[str, Edges]
    replies: tuple[Reply, ...]
    """In the order of their node ids, which is the order Dify asks them in."""

    def decided(self, reply: Reply, taken: frozenset[str] | set[str]) -> bool:
        """Whether the run is sure to come to *reply*, once the edges *taken* were."""
        seen, todo = {self.root}, [self.root]
        while todo:
            node = todo.pop()
            if node == reply.node_id:
                return True
            for edge in self.leaving.get(node, ()):
                if edge.target not in seen and (edge.id not in reply.blocking or edge.id in taken):
                    seen.add(edge.target)
                    todo.append(edge.target)
        return False


@dataclass(frozen=True, slots=True)
class Plan:
    """The scopes of a graph by the node each begins at."""

    scopes: Mapping[str, Scope]


_plans: WeakKeyDictionary[Graph, Plan] = WeakKeyDictionary()


def plan_of(graph: Graph) -> Plan:
    """The plan of *graph*, made at its first run."""
    plan = _plans.get(graph)
    if plan is None:
        plan = _plans[graph] = Plan(dict(_scopes(graph)))
    return plan


def _scopes(graph: Graph) -> Iterable[tuple[str, Scope]]:
    yield graph.start.id, _scope(graph, graph.start.id, None)
    for node in graph.nodes.values():
        if kind_of(node).shape == "container":
            root = _container_root(graph, node)
            if root is not None:
                yield node.id, _scope(graph, root, node.id)


def _container_root(graph: Graph, container: Node) -> str | None:
    """Where the inside begins: as declared, else the start node in it, else the first node in it."""
    declared = container.data.get("start_node_id")
    if declared is not None and str(declared) in graph.nodes:
        return str(declared)
    inside = graph.inside(container.id)
    first = [n for n in inside if n.type.endswith("-start") or n.data.get("isIterationStart")] or inside
    return first[0].id if first else None


def _scope(graph: Graph, root: str, parent: str | None) -> Scope:
    """The part of *parent* that *root* leads to; what it does not lead to never runs and holds nothing up."""
    leaving: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        if graph.nodes[edge.source].parent == parent == graph.nodes[edge.target].parent:
            leaving.setdefault(edge.source, []).append(edge)
    reached, todo = {root}, [root]
    while todo:
        for edge in leaving.get(todo.pop(), ()):
            if edge.target not in reached:
                reached.add(edge.target)
                todo.append(edge.target)
    nodes = {node.id: node for node in graph.nodes.values() if node.id in reached}
    out = {node: tuple(edges) for node, edges in leaving.items() if node in reached}
    entering: dict[str, list[Edge]] = {}
    for edges in out.values():
        for edge in edges:
            entering.setdefault(edge.target, []).append(edge)
    return Scope(
        root=root,
        nodes=nodes,
        leaving=out,
        entering={node: tuple(edges) for node, edges in entering.items()},
        replies=tuple(_reply(nodes[key], nodes, out) for key in sorted(nodes) if nodes[key].type in ("answer", "end")),
    )


def _reply(node: Node, nodes: Mapping[str, Node], leaving: Mapping[str, Edges]) -> Reply:
    template = _answer_template(node) if node.type == "answer" else _end_template(node)
    wanted = {piece[:2] for piece in template if not isinstance(piece, str)}
    blocking = {edge.id for key, edges in leaving.items() if _blocks(nodes[key], wanted) for edge in edges}
    return Reply(node_id=node.id, template=template, blocking=frozenset(blocking))


def _blocks(node: Node, wanted: set[Selector]) -> bool:
    kind = kind_of(node)
    return kind.shape != "plain" or node.error_strategy == "fail-branch" or bool(wanted & set(kind.writes(node)))


def _answer_template(node: Node) -> Template:
    return parse_template(str(node.data.get("answer") or ""))


def _end_template(node: Node) -> Template:
    """The outputs of an end node, a line break between them."""
    pieces: list[str | Selector] = []
    for output in node.data.get("outputs") or ():
        selector = tuple(str(part) for part in output.get("value_selector") or ())
        if selector:
            pieces += ["\n", selector] if pieces else [selector]
    return tuple(pieces)
