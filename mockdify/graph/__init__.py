"""A workflow graph: parsed from a Dify export, walked with node doubles, told of in Dify's node events."""

from __future__ import annotations

from mockdify.graph.run import Chunk, Dialect, Doubles, NodeEvent, NodeScript, Outcome, Run
from mockdify.graph.spec import Edge, Graph, Node, Variable, parse_graph
from mockdify.graph.walk import MAX_STEPS, walk

__all__ = [
    "MAX_STEPS",
    "Chunk",
    "Dialect",
    "Doubles",
    "Edge",
    "Graph",
    "Node",
    "NodeEvent",
    "NodeScript",
    "Outcome",
    "Run",
    "Variable",
    "parse_graph",
    "walk",
]
