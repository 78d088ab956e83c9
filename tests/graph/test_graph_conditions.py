from __future__ import annotations

import contextlib
import operator

import pytest
from graph_walking import chain, go, graph_of, node
from hypothesis import given
from hypothesis import strategies as st

from mockdify.graph.conditions import OPERATORS, ConditionError, compare, judge
from mockdify.graph.variables import Pool

TEXT = st.text(alphabet="ab1 ", max_size=4)
NUMBER = st.integers(-9, 9) | st.floats(-9, 9, allow_nan=False).map(lambda x: round(x, 2))


def pool(**values):
    return Pool({}, {}, {}, {}, {"n": values})


def test_every_operator_of_the_editor_is_there():
    assert set(OPERATORS) == {
        "contains", "not contains", "start with", "end with", "is", "is not", "empty", "not empty", "in", "not in",
        "all of", "=", "≠", ">", "<", "≥", "≤", "null", "not null", "exists", "not exists",
    }  # fmt: skip


@given(value=TEXT, expected=TEXT)
def test_texts_compare_as_python_texts(value, expected):
    """An empty value contains nothing and begins with nothing, not even with nothing."""
    assert compare("is", value, expected) == (value == expected)
    assert compare("is not", value, expected) == (value != expected)
    assert compare("contains", value, expected) == (bool(value) and expected in value)
    assert compare("not contains", value, expected) == (not value or expected not in value)
    assert compare("start with", value, expected) == (bool(value) and value.startswith(expected))
    assert compare("end with", value, expected) == (bool(value) and value.endswith(expected))
    assert compare("empty", value, None) == (not value) != compare("not empty", value, None)


@given(value=NUMBER, expected=NUMBER)
def test_numbers_compare_with_the_texts_of_numbers(value, expected):
    signs = {"=": operator.eq, "≠": operator.ne, ">": operator.gt, "<": operator.lt, "≥": operator.ge, "≤": operator.le}
    for sign, test in signs.items():
        assert compare(sign, value, str(expected)) == test(value, expected)


@given(value=st.lists(TEXT, max_size=3), expected=TEXT, wanted=st.lists(TEXT, max_size=3))
def test_lists_compare_by_their_items(value, expected, wanted):
    assert compare("contains", value, expected) == (expected in value)
    assert compare("not contains", value, expected) == (expected not in value)
    assert compare("all of", value, wanted) == (bool(value) and set(wanted) <= set(value))
    assert compare("in", expected, wanted) == (bool(expected) and expected in wanted)
    assert compare("not in", expected, wanted) == (not expected or expected not in wanted)


@given(value=st.none() | TEXT | NUMBER | st.booleans())
def test_null_is_only_none(value):
    assert compare("null", value, None) == (value is None) == compare("not exists", value, None)
    assert compare("not null", value, None) == (value is not None) == compare("exists", value, None)


@given(
    sign=st.sampled_from(sorted(OPERATORS)),
    value=st.none()
    | TEXT
    | NUMBER
    | st.booleans()
    | st.lists(TEXT, max_size=2)
    | st.dictionaries(TEXT, TEXT, max_size=2),
    expected=st.none() | TEXT | st.lists(TEXT, max_size=2) | st.booleans(),
)
def test_any_operator_on_anything_is_a_bool_or_a_condition_error(sign, value, expected):
    with contextlib.suppress(ConditionError):
        assert compare(sign, value, expected) in (True, False)


@given(results=st.lists(st.booleans(), max_size=5), joined=st.sampled_from(["and", "or"]))
def test_a_group_is_judged_up_to_the_condition_that_decides(results, joined):
    conditions = [
        {"variable_selector": ["n", "yes" if r else "no"], "comparison_operator": "is", "value": "y"} for r in results
    ]
    verdict = judge(pool(yes="y", no="n"), conditions, joined)
    decisive = joined == "or"
    assert verdict.final == (any(results) if decisive else all(results))
    until = results.index(decisive) + 1 if decisive in results else len(results)
    assert verdict.results == results[:until]
    assert len(verdict.inputs) == until


def test_a_boolean_is_compared_with_the_text_of_one():
    condition = {"variable_selector": ["n", "on"], "comparison_operator": "is", "value": "true"}
    verdict = judge(pool(on=True), [condition], "and")
    assert verdict.final
    assert verdict.inputs == [{"actual_value": True, "expected_value": True, "comparison_operator": "is"}]


def test_files_are_judged_by_their_attributes():
    file = {"dify_model_identity": "__dify__file__", "type": "image", "extension": ".png", "size": 5}
    sub = {
        "logical_operator": "and",
        "conditions": [
            {"key": "extension", "comparison_operator": "is", "value": "png"},
            {"key": "size", "comparison_operator": "<", "value": "9"},
        ],
    }
    condition = {"variable_selector": ["n", "files"], "comparison_operator": "contains", "sub_variable_condition": sub}
    assert judge(pool(files=[file]), [condition], "and").final
    assert not judge(pool(files=[{**file, "size": 10}]), [condition], "and").final


def test_an_unknown_operator_is_named():
    with pytest.raises(ConditionError, match="Unsupported operator: almost"):
        compare("almost", "a", "b")


def if_else(**data):
    start = node("start", "start", variables=[{"variable": "x"}])
    nodes = [start, node("if", "if-else", **data), node("end", "end")]
    return go(graph_of(nodes, chain("start", "if", "end")), inputs={"x": "b"})


def is_(value):
    return {"variable_selector": ["start", "x"], "comparison_operator": "is", "value": value}


def test_the_first_case_that_holds_is_selected():
    cases = [{"case_id": str(n), "logical_operator": "and", "conditions": [is_(v)]} for n, v in enumerate("abb")]
    finished = if_else(cases=cases).finished("if")
    assert finished.outputs == {"result": True, "selected_case_id": "1"}
    assert [r["final_result"] for r in finished.process_data["condition_results"]] == [False, True]


def test_the_old_form_has_one_group_that_is_called_default():
    finished = if_else(conditions=[is_("b")], logical_operator="and").finished("if")
    assert finished.outputs == {"result": True, "selected_case_id": "true"}
    assert finished.process_data == {
        "condition_results": [{"group": "default", "results": [True], "final_result": True}]
    }


def test_a_condition_on_a_variable_that_is_not_there_fails_the_run():
    cases = [{"case_id": "true", "conditions": [{**is_("b"), "variable_selector": ["gone", "x"]}]}]
    outcome = if_else(cases=cases).outcome
    assert (outcome.status, outcome.error) == ("failed", "Variable ['gone', 'x'] not found")
