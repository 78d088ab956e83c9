"""In which order text goes out."""

from __future__ import annotations

from graph_walking import CHAT, Doubles, chain, edge, go, graph_of, llm, node
from hypothesis import given
from hypothesis import strategies as st

from mockdify.graph import Chunk, Dialect, NodeScript


def chat(nodes, edges, **given_):
    return go(graph_of([node("start", "start"), *nodes], edges), mode="advanced-chat", system=CHAT, **given_)


def texts(walked):
    return [step.text for step in walked.steps if isinstance(step, Chunk)]


def branch(value="hi"):
    case = {
        "case_id": "yes",
        "logical_operator": "and",
        "conditions": [{"variable_selector": ["sys", "query"], "comparison_operator": "is", "value": value}],
    }
    return node("if", "if-else", cases=[case])


def test_what_follows_an_unknown_variable_waits_for_it():
    walked = chat(
        [llm("a"), llm("b"), node("answer", "answer", answer="1 {{#b.text#}} 2 {{#a.text#}} 3")],
        chain("start", "a", "b", "answer"),
        doubles=Doubles(by_node={"a": ["A", "a"], "b": ["B"]}),
    )
    assert texts(walked) == ["1 ", "B", "", " 2 ", "A", "a", "", " 3"]
    assert walked.names[:8] == [
        "chunk answer.answer",
        "node_started start",
        "node_finished start",
        "node_started a",
        "node_finished a",
        "node_started b",
        "chunk b.text",
        "chunk b.text",
    ]
    assert walked.outcome.answer == walked.outcome.outputs["answer"] == "1 B 2 Aa 3"


def test_one_answer_speaks_at_a_time():
    """Of two parallel answers the second waits for the end of the first, in the order of their ids."""
    walked = chat(
        [
            llm("a"),
            llm("b"),
            node("z", "answer", answer="[{{#a.text#}}]"),
            node("y", "answer", answer="({{#b.text#}})"),
        ],
        [edge("start", "a"), edge("start", "b"), edge("a", "z"), edge("b", "y")],
        doubles=Doubles(by_node={"a": ["A"], "b": ["B"]}),
    )
    assert walked.text == "(B)[A]"


def test_an_answer_behind_a_branch_begins_when_the_branch_is_taken():
    walked = chat(
        [branch(), node("yes", "answer", answer="yes!"), node("no", "answer", answer="no!")],
        [edge("start", "if"), edge("if", "yes", "yes"), edge("if", "no", "false")],
    )
    assert walked.names == [
        "node_started start",
        "node_finished start",
        "node_started if",
        "chunk yes.answer",
        "node_finished if",
        "node_started yes",
        "node_finished yes",
    ]


def test_an_answer_in_the_middle_holds_the_next_one_back():
    walked = chat(
        [llm("a"), node("first", "answer", answer="1"), llm("b"), node("second", "answer", answer="2{{#b.text#}}")],
        chain("start", "a", "first", "b", "second"),
        doubles=Doubles(by_node={"a": ["A"], "b": ["B"]}),
    )
    assert walked.names.index("chunk second.answer") > walked.names.index("node_started first")
    assert walked.text == walked.outcome.outputs["answer"] == "12B"


def test_a_variable_of_a_skipped_branch_is_left_out():
    walked = chat(
        [branch(), llm("a"), llm("b"), node("answer", "answer", answer="{{#a.text#}}{{#b.text#}}.")],
        [
            edge("start", "if"),
            edge("if", "a", "yes"),
            edge("if", "b", "false"),
            edge("a", "answer"),
            edge("b", "answer"),
        ],
        doubles=Doubles(by_node={"a": ["A"], "b": ["B"]}),
    )
    assert walked.text == "A."


def test_a_model_that_no_answer_shows_streams_nothing():
    walked = chat([llm("a"), node("answer", "answer", answer="done")], chain("start", "a", "answer"))
    assert texts(walked) == ["done"]


def test_a_conversation_variable_is_shown_after_it_is_written():
    write = node(
        "w",
        "assigner",
        version="2",
        items=[
            {
                "variable_selector": ["conversation", "memo"],
                "operation": "over-write",
                "input_type": "variable",
                "value": ["sys", "query"],
            }
        ],
    )
    graph = graph_of(
        [node("start", "start"), write, node("answer", "answer", answer="memo {{#conversation.memo#}}")],
        chain("start", "w", "answer"),
        conversation_variables=[{"name": "memo", "value": "old", "value_type": "string"}],
    )
    walked = go(graph, mode="advanced-chat", system=CHAT)
    assert walked.text == "memo hi"
    assert walked.run.conversation == {"memo": "hi"}


def test_the_outputs_of_an_end_node_are_lines():
    end = node(
        "end",
        "end",
        outputs=[
            {"variable": "q", "value_selector": ["start", "q"]},
            {"variable": "n", "value_selector": ["start", "n"]},
        ],
    )
    start = node("start", "start", variables=[{"variable": "q"}, {"variable": "n"}])
    walked = go(graph_of([start, end], chain("start", "end")), inputs={"q": ["x", "y"], "n": 3})
    chunks = [(step.text, step.selector) for step in walked.steps if isinstance(step, Chunk)]
    assert chunks == [("- x\n- y", ("start", "q")), ("\n", ("end", "answer")), ("3", ("start", "n"))]
    assert walked.outcome.outputs == {"q": ["x", "y"], "n": 3}


def test_models_side_by_side_are_both_started_before_one_speaks():
    walked = chat(
        [llm("a"), llm("b"), node("answer", "answer", answer="{{#a.text#}}{{#b.text#}}")],
        [edge("start", "a"), edge("start", "b"), edge("a", "answer"), edge("b", "answer")],
        doubles=Doubles(by_node={"a": ["A", "a"], "b": ["B", "b"]}, pace=1.0),
    )
    assert walked.names[2:4] == ["node_started a", "node_started b"]
    assert walked.text == "AaBb"


def test_the_shorter_of_two_waits_ends_first():
    scripts = {"a": NodeScript(takes=2.0), "b": NodeScript(takes=1.0)}
    walked = chat(
        [node("a", "code"), node("b", "code"), node("answer", "answer", answer=".")],
        [edge("start", "a"), edge("start", "b"), edge("a", "answer"), edge("b", "answer")],
        doubles=Doubles(scripts=scripts),
    )
    assert [name for name in walked.names if name.endswith((" a", " b"))] == [
        "node_started a",
        "node_started b",
        "node_finished b",
        "node_finished a",
    ]
    assert [walked.finished(key).elapsed_time for key in "ab"] == [2.0, 1.0]


def test_before_1_15_a_certain_answer_begins_with_the_first_edge():
    nodes, edges = [node("answer", "answer", answer="hi")], chain("start", "answer")
    assert chat(nodes, edges).names[:2] == ["chunk answer.answer", "node_started start"]
    assert chat(nodes, edges, dialect=Dialect.before_1_15()).names[:2] == ["node_started start", "chunk answer.answer"]


PIECES = st.lists(st.sampled_from(["a", "b", "c", " and ", "\n", "{", "}}", "#"]), max_size=8)


@given(pieces=PIECES, said=st.lists(st.lists(st.text(max_size=3), max_size=4), min_size=3, max_size=3))
def test_all_that_is_streamed_is_the_answer(pieces, said):
    """Whatever the template and however models cut their text: chunks joined are the answer, each variable once."""
    once = [p for i, p in enumerate(pieces) if p not in "abc" or p not in pieces[:i]]
    template = "".join("{{#" + p + ".text#}}" if p in "abc" else p for p in once)
    walked = chat(
        [llm("a"), llm("b"), llm("c"), node("answer", "answer", answer=template)],
        chain("start", "a", "b", "c", "answer"),
        doubles=Doubles(by_node=dict(zip("abc", said, strict=True))),
    )
    by_node = dict(zip("abc", ("".join(chunks) for chunks in said), strict=True))
    assert walked.text == "".join(by_node.get(p, p) for p in once)
    assert walked.outcome.answer == walked.outcome.outputs["answer"] == walked.text


@given(
    links=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5))),
    kinds=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_any_graph_ends(links, kinds):
    """Loops of edges, strays, branches that lead nowhere: every graph comes to an end, every start to a finish."""
    nodes = [branch() | {"id": f"n{i}"} if kind else node(f"n{i}", "code") for i, kind in enumerate(kinds)]
    edges = [edge("start", "n0"), *(edge(f"n{a}", f"n{b}", "yes" if a % 2 else "source") for a, b in sorted(links))]
    walked = chat([*nodes, node("answer", "answer", answer="end")], [*edges, edge("n5", "answer", "yes")])
    assert walked.outcome.status == "succeeded"
    started = [name.split()[1] for name in walked.names if name.startswith("node_started")]
    assert len(started) == len(set(started)) == walked.outcome.total_steps
    assert sorted(started) == sorted(name.split()[1] for name in walked.names if name.startswith("node_finished"))
