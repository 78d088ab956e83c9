from __future__ import annotations

import itertools

import pytest
from graph_walking import CHAT, Doubles, chain, edge, go, graph_of, llm, node
from hypothesis import given
from hypothesis import strategies as st

from mockdify.graph import Chunk, NodeScript
from mockdify.graph.nodes.llm import split_reasoning
from mockdify.model import ModelFailure


def alone(middle, *, scripts=None, doubles=None, mode="workflow", inputs=None, section=None, **given_):
    """start → *middle* → end."""
    variables = [{"variable": name} for name in inputs or {}]
    nodes = [node("start", "start", variables=variables), middle, node("end", "end")]
    graph = graph_of(nodes, chain("start", middle["id"], "end"), **(section or {}))
    return go(
        graph, mode=mode, doubles=doubles or Doubles(scripts=scripts or {}), inputs=inputs or {}, system=CHAT, **given_
    )


def var(name, *selector):
    return {"variable": name, "value_selector": list(selector)}


# -- doubles and scripts ---------------------------------------------------------------------------------------------


def test_code_has_empty_values_of_its_declared_types():
    code = node(
        "c",
        "code",
        variables=[],
        outputs={"s": {"type": "string"}, "n": {"type": "number"}, "l": {"type": "array[object]"}},
    )
    assert alone(code).finished("c").outputs == {"s": "", "n": 0, "l": []}


def test_scripted_outputs_are_templates_over_the_inputs_and_keep_the_declared_types():
    code = node(
        "c", "code", variables=[var("x", "start", "q")], outputs={"up": {"type": "string"}, "n": {"type": "number"}}
    )
    script = NodeScript(outputs={"up": "{{ x | upper }}", "n": "{{ x | length }}", "more": ["{{ x }}"]})
    finished = alone(code, scripts={"c": script}, inputs={"q": "abc"}).finished("c")
    assert finished.inputs == {"x": "abc"}
    assert finished.outputs == {"up": "ABC", "n": 3, "more": ["abc"]}


def test_a_mistake_in_a_script_fails_the_node_and_says_why():
    walked = alone(node("c", "code"), scripts={"c": NodeScript(outputs={"x": "{{ nope }}"})})
    assert walked.outcome.status == "failed"
    assert "unknown variable 'nope'" in walked.outcome.error


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        ("http-request", {"status_code": 200, "body": "", "headers": {}, "files": []}),
        ("tool", {"text": "", "files": [], "json": []}),
        ("document-extractor", {"text": ""}),
        ("datasource-x", {}),
    ],
)
def test_doubles_have_the_customary_outputs(kind, outputs):
    assert alone(node("x", kind)).finished("x").outputs == outputs


def test_a_retrieval_finds_one_uncited_passage():
    walked = alone(node("k", "knowledge-retrieval"))
    [passage] = walked.finished("k").outputs["result"]
    assert passage["content"]
    assert walked.outcome.retriever_resources == []


def test_a_classifier_takes_the_first_class_or_the_scripted_one():
    classes = [{"id": "1", "name": "Buy"}, {"id": "2", "name": "Sell"}]
    nodes = [
        node("start", "start"),
        node("q", "question-classifier", classes=classes),
        node("b", "end"),
        node("s", "end"),
    ]
    graph = graph_of(nodes, [edge("start", "q"), edge("q", "b", "1"), edge("q", "s", "2")])
    assert go(graph).names[-1] == "node_finished b"
    for script in ({"class_name": "Sell"}, {"class_id": "2"}):
        walked = go(graph, doubles=Doubles(scripts={"q": NodeScript(outputs=script)}))
        assert walked.names[-1] == "node_finished s"


def test_a_parameter_extractor_has_empty_parameters():
    found = alone(node("p", "parameter-extractor", parameters=[{"name": "n", "type": "number"}])).finished("p").outputs
    assert (found["__is_success"], found["__reason"], found["n"]) == (1, None, 0)


def test_a_human_pauses_the_run_unless_scripted():
    nodes = [node("start", "start"), node("h", "human-input", user_actions=[{"id": "ok"}, {"id": "no"}])]
    graph = graph_of(
        [*nodes, node("yes", "end"), node("not", "end")],
        [edge("start", "h"), edge("h", "yes", "ok"), edge("h", "not", "no")],
    )
    paused = go(graph)
    assert (paused.names[-1], paused.outcome.status, paused.outcome.paused_nodes) == (
        "node_started h",
        "paused",
        ("h",),
    )
    refused = go(graph, doubles=Doubles(scripts={"h": NodeScript(outputs={"__action_id": "no"})}))
    assert refused.names[-1] == "node_finished not"


def test_retrieved_and_scripted_segments_are_cited_and_become_the_context():
    find = node("k", "knowledge-retrieval", query_variable_selector=["sys", "query"])
    ask = llm("m", "Use {{#context#}}", context={"enabled": True, "variable_selector": ["k", "result"]})
    result = [{"content": "fact", "title": "t", "metadata": {"position": 1, "score": 0.5}}]
    graph = graph_of(
        [node("start", "start"), find, ask, node("a", "answer", answer="{{#m.text#}}")], chain("start", "k", "m", "a")
    )
    walked = go(
        graph,
        mode="advanced-chat",
        system=CHAT,
        doubles=Doubles(scripts={"k": NodeScript(outputs={"result": result})}),
    )
    assert walked.outcome.retriever_resources == [{"position": 1, "score": 0.5}]
    assert walked.doubles.calls[0]["query"] == "Use fact"


# -- what is really evaluated ----------------------------------------------------------------------------------------


def test_a_template_is_jinja():
    made = node(
        "t",
        "template-transform",
        template="{% for x in xs %}{{ x }};{% endfor %}{{ gone }}",
        variables=[var("xs", "start", "xs")],
    )
    assert alone(made, inputs={"xs": [1, 2]}).finished("t").outputs == {"output": "1;2;"}


@pytest.mark.parametrize("template", ["{{ ''.__class__.__mro__ }}", "{{ 'x' * 10 ** 9 }}", "{% if %}"])
def test_a_bad_template_fails_its_node(template):
    assert alone(node("t", "template-transform", template=template, variables=[])).outcome.status == "failed"


def test_the_aggregator_takes_the_branch_that_ran():
    case = {
        "case_id": "a",
        "conditions": [{"variable_selector": ["sys", "query"], "comparison_operator": "is", "value": "hi"}],
    }
    nodes = [
        node("start", "start"),
        node("if", "if-else", cases=[case]),
        node("a", "code", outputs={"r": {"type": "number"}}),
        node("b", "code", outputs={"r": {"type": "number"}}),
        node("v", "variable-aggregator", variables=[["b", "r"], ["a", "r"]]),
        node("end", "end", outputs=[{"variable": "r", "value_selector": ["v", "output"]}]),
    ]
    edges = [
        edge("start", "if"),
        edge("if", "a", "a"),
        edge("if", "b", "false"),
        edge("a", "v"),
        edge("b", "v"),
        edge("v", "end"),
    ]
    walked = go(graph_of(nodes, edges), system=CHAT)
    assert walked.outcome.outputs == {"r": 0}
    assert "node_started b" not in walked.names


def test_grouped_aggregation():
    settings = {"group_enabled": True, "groups": [{"group_name": "g", "variables": [["x", "y"], ["sys", "query"]]}]}
    assert alone(node("v", "variable-aggregator", advanced_settings=settings)).finished("v").outputs == {
        "g": {"output": "hi"}
    }


def test_a_list_is_filtered_ordered_and_cut():
    picked = node(
        "l",
        "list-operator",
        variable=["start", "xs"],
        filter_by={"enabled": True, "conditions": [{"comparison_operator": "contains", "value": "a"}]},
        order_by={"enabled": True, "value": "desc"},
        limit={"enabled": True, "size": 2},
    )
    outputs = alone(picked, inputs={"xs": ["ab", "b", "ac", "ad"]}).finished("l").outputs
    assert outputs == {"result": ["ad", "ac"], "first_record": "ad", "last_record": "ac"}


def item(operation, value=None, input_type="constant"):
    return {
        "variable_selector": ["conversation", "v"],
        "operation": operation,
        "value": value,
        "input_type": input_type,
    }


@pytest.mark.parametrize(
    ("kind", "old", "items", "new"),
    [
        ("string", "a", [item("set", "b")], "b"),
        ("string", "a", [item("over-write", ["sys", "query"], "variable")], "hi"),
        ("number", 2, [item("+=", 3), item("*=", 4), item("-=", "1")], 19),
        ("number", 2, [item("/=", 4)], 0.5),
        ("array[string]", ["a"], [item("append", "b"), item("extend", ["c"]), item("remove-first")], ["b", "c"]),
        ("array[string]", ["a"], [item("remove-last")], []),
        ("object", {"a": 1}, [item("set", '{"b": 2}')], {"b": 2}),
        ("object", {"a": 1}, [item("clear")], {}),
        ("number", 7, [item("clear")], 0),
    ],
)
def test_assigner_operations(kind, old, items, new):
    section = {"conversation_variables": [{"name": "v", "value_type": kind, "value": old}]}
    walked = alone(node("w", "assigner", version="2", items=items), section=section)
    assert walked.outcome.status == "succeeded"
    assert walked.run.conversation == {"v": new}


@pytest.mark.parametrize(("mode", "new"), [("over-write", "hi"), ("append", ["a", "hi"]), ("clear", [])])
def test_the_first_form_of_the_assigner(mode, new):
    write = node(
        "w",
        "assigner",
        assigned_variable_selector=["conversation", "v"],
        input_variable_selector=["sys", "query"],
        write_mode=mode,
    )
    section = {"conversation_variables": [{"name": "v", "value_type": "array[string]", "value": ["a"]}]}
    assert alone(write, section=section).run.conversation == {"v": new}


@pytest.mark.parametrize("operation", ["/=", "sing"])
def test_an_operation_that_cannot_be_done_fails_the_node(operation):
    section = {"conversation_variables": [{"name": "v", "value_type": "number", "value": 1}]}
    outcome = alone(node("w", "assigner", version="2", items=[item(operation, 0)]), section=section).outcome
    assert (outcome.status, outcome.exceptions_count) == ("failed", 1)


# -- models ----------------------------------------------------------------------------------------------------------


def asked(ask, **given_):
    return alone(ask, mode="advanced-chat", **given_).doubles.calls[0]


def test_a_prompt_has_its_variables_filled_in():
    call = asked(llm("m", "Say {{#start.w#}} to {{#sys.query#}}"), inputs={"w": ["a", "b"]})
    assert call["query"] == 'Say ["a", "b"] to hi'


def test_a_chatflow_remembers_inside_its_window():
    memory = {"window": {"enabled": True, "size": 1}, "query_prompt_template": "Q: {{#sys.query#}}"}
    call = asked(llm("m", "be brief", memory=memory), history=[("old", "OLD"), ("q", "a")])
    assert [m["text"] for m in call["messages"]] == ["be brief", "q", "a", "Q: hi"]
    assert call["query"] == "Q: hi"
    unlimited = asked(llm("m", "be brief", memory={"window": {"enabled": False}}), history=[("old", "OLD"), ("q", "a")])
    assert [m["text"] for m in unlimited["messages"]] == ["be brief", "old", "OLD", "q", "a", "hi"]


def test_a_completion_model_has_one_prompt():
    ask = llm("m") | {"data": {**llm("m")["data"], "prompt_template": {"text": "Complete {{#sys.query#}}"}}}
    assert asked(ask)["messages"] == [{"role": "user", "text": "Complete hi"}]


def test_a_jinja_prompt():
    ask = llm("m", prompt_config={"jinja2_variables": [var("q", "sys", "query")]})
    ask["data"]["prompt_template"] = [
        {"role": "user", "edition_type": "jinja2", "jinja2_text": "{{ q | upper }}", "text": ""}
    ]
    assert asked(ask)["query"] == "HI"


def test_a_node_without_a_prompt_fails():
    assert alone(llm("m", "")).outcome.error.startswith("No prompt found")


def test_structure_is_read_from_the_answer_or_empty():
    schema = {"schema": {"properties": {"n": {"type": "number"}, "s": {"type": "string"}}}}
    ask = llm("m", structured_output_enabled=True, structured_output=schema)
    assert alone(ask).finished("m").outputs["structured_output"] == {"n": 0, "s": ""}
    said = Doubles(chunks=['{"n": 1, ', '"s": "x"}'])
    assert alone(ask, doubles=said).finished("m").outputs["structured_output"] == {"n": 1, "s": "x"}


def test_a_scripted_text_stands_for_the_model():
    walked = alone(llm("m"), scripts={"m": NodeScript(outputs={"text": "fixed"})})
    assert walked.finished("m").outputs["text"] == "fixed"
    assert walked.doubles.calls == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("authorization", "[Mock] Incorrect model credentials provided, please check and try again."),
        ("dropped", "Request to Plugin Daemon Service failed-500"),
        ("connection", "[mock] refused"),
        ("other", "[mock] refused"),
        ("quota", "Model quota has been exceeded"),
    ],
)
def test_a_failed_model_fails_the_run_with_its_text(kind, text):
    walked = alone(llm("m"), doubles=Doubles(fails=ModelFailure(kind, "[mock] refused")))
    finished = walked.finished("m")
    assert (finished.status, finished.error, finished.outputs, finished.process_data) == ("failed", text, {}, {})
    assert (walked.outcome.status, walked.outcome.error, walked.outcome.exceptions_count) == ("failed", text, 1)


def test_usage_is_summed_over_models():
    graph = graph_of([node("start", "start"), llm("a"), llm("b"), node("end", "end")], chain("start", "a", "b", "end"))
    outcome = go(graph, system=CHAT).outcome
    assert (outcome.total_tokens, outcome.usage["total_tokens"], outcome.usage["total_price"]) == (20, 20, "0.0000320")


@given(
    parts=st.lists(
        st.sampled_from(["<think>", "</think>", "<thi", "nk>", "</th", "ink>", "a", " b", "\n", "<", "/"]), max_size=12
    ),
    cuts=st.sets(st.integers(0, 60)),
)
def test_reasoning_is_split_off_wherever_the_stream_is_cut(parts, cuts):
    """What is streamed is what the node's outputs hold, up to blanks that the outputs do not have."""
    text = "".join(parts)
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(edges)]
    graph = graph_of(
        [
            node("start", "start"),
            llm("m", "x", reasoning_format="separated"),
            node("a", "answer", answer="{{#m.text#}}"),
        ],
        chain("start", "m", "a"),
    )
    walked = go(graph, mode="advanced-chat", doubles=Doubles(chunks=chunks))
    thought = "".join(s.reasoning for s in walked.steps if getattr(s, "name", "") == "reasoning_chunk")
    clean, reasoning = split_reasoning(text)
    assert "".join(walked.text.split()) == "".join(clean.split())
    assert "".join(thought.split()) == "".join(reasoning.split())
    assert walked.outcome.reasoning == ({"m": reasoning} if reasoning else {})


def test_an_agent_answers_with_its_model():
    agent = node("g", "agent", agent_parameters={"query": {"type": "constant", "value": "{{#sys.query#}}!"}})
    graph = graph_of(
        [node("start", "start"), agent, node("a", "answer", answer="{{#g.text#}}")], chain("start", "g", "a")
    )
    walked = go(graph, mode="advanced-chat", system=CHAT, doubles=Doubles(chunks=["x", "y"]))
    assert (walked.doubles.calls[0]["query"], walked.text) == ("hi!", "xy")
    assert [s.selector for s in walked.steps if isinstance(s, Chunk)] == [("g", "text")] * 3
