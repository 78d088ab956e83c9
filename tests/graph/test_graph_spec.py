from __future__ import annotations

import pytest
from graph_walking import chain, edge, go, graph_of, node

from mockdify.errors import MockdifyError
from mockdify.graph import parse_graph


def test_a_graph_without_a_start_is_named():
    with pytest.raises(MockdifyError, match=r"test\.yml: the graph has no start node \(types of its nodes: end\)"):
        graph_of([node("end", "end")], [])


def test_a_section_without_a_graph_is_named():
    with pytest.raises(MockdifyError, match=r"app\.yml: `workflow\.graph` is missing"):
        parse_graph({}, source="app.yml")


def test_an_edge_to_an_unknown_node_is_named_with_the_nearest():
    with pytest.raises(MockdifyError, match=r"edge 1 leads from 'start' to 'answr', .* did you mean 'answer'\?"):
        graph_of([node("start", "start"), node("answer", "answer")], [edge("start", "answr")])


def test_what_the_editor_leaves_behind_is_no_mistake():
    """Notes, edges from deleted nodes, nodes without data, missing titles and numbers as ids all load."""
    note = {"id": "n", "type": "custom-note", "data": {"type": "", "text": "hi"}}
    untitled = {"id": 7, "data": {"type": "end"}}
    graph = graph_of(
        [node("start", "start"), untitled, note, {"id": "x"}, "?"], [edge("start", "7"), edge("gone", "7")]
    )
    assert list(graph.nodes) == ["start", "7"]
    assert [(e.source, e.target) for e in graph.edges] == [("start", "7")]
    assert go(graph).names[-1] == "node_finished 7"


def test_an_unknown_type_passes_through():
    graph = graph_of([node("start", "start"), node("x", "teleport"), node("end", "end")], chain("start", "x", "end"))
    walked = go(graph)
    assert (walked.outcome.status, walked.outcome.total_steps) == ("succeeded", 3)


def test_nodes_that_nothing_leads_to_do_not_run_and_hold_nothing_up():
    nodes = [node("start", "start"), node("stray", "code"), node("end", "end")]
    assert go(graph_of(nodes, [edge("start", "end"), edge("stray", "end")])).outcome.total_steps == 2
