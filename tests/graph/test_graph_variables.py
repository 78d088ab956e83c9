from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from mockdify.graph.variables import MISSING, Pool, files_in, markdown, parse_template, plain_text, zero_of

FILE = {"dify_model_identity": "__dify__file__", "type": "image", "filename": "a.png", "remote_url": "http://x/a.png"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    max_leaves=5,
)


def pool(**nodes):
    return Pool({"query": "hi"}, {"KEY": "k"}, {"memo": "m"}, {"kept": "default"}, nodes)


def test_selectors_lead_into_nodes_and_objects():
    known = pool(n={"o": {"a": {"b": 1}}, "f": FILE})
    assert known.get(["n", "o", "a", "b"]) == 1
    assert known.get(["n", "f", "url"]) == "http://x/a.png"
    assert known.get(["sys", "query"]) == "hi"
    assert known.get(["env", "KEY"]) == "k"
    assert [known.get(["conversation", name]) for name in ("memo", "kept")] == ["m", "default"]
    assert [known.get(s) for s in ([], ["n"], ["n", "x"], ["x", "y"], ["n", "o", "a", "b", "c"])] == [MISSING] * 5


def test_the_start_node_of_old_exports_has_the_system_variables():
    assert pool(start={}).get(["start", "sys.query"]) == "hi"


def test_values_in_prompts():
    shown = {'{"a": "ü"}': {"a": "ü"}, '["a", "b"]': ["a", "b"], "[1, 2]": [1, 2], "3": 3, "3.0": 3.0, "True": True}
    assert {text: plain_text(value) for text, value in shown.items()} == {text: text for text in shown}
    assert [plain_text(value) for value in (None, [], FILE, [FILE])] == [""] * 4


def test_values_in_answers():
    assert markdown(["A", {"b": 1}]) == "- A\n- {'b': 1}"
    assert markdown({"a": [1]}) == '{\n  "a": [\n    1\n  ]\n}'
    assert markdown([FILE]) == "![a.png](http://x/a.png)"
    assert markdown({**FILE, "type": "document"}) == "[a.png](http://x/a.png)"
    assert [markdown(value) for value in (None, [], True, 2)] == ["", "", "True", "2"]


def test_of_a_variable_that_is_not_there_the_name_remains():
    assert pool(n={"x": 1}).text("{{#n.x#}} {{#n.y#}} {{#context#}} {{x}}") == "1 n.y {{#context#}} {{x}}"


@given(parts=st.lists(st.text(alphabet="ab{}#. \n", max_size=5)))
def test_a_template_split_and_joined_is_itself(parts):
    """Whatever stands around the variables: no text is lost, no variable unseen."""
    text = "{{#n.x#}}".join(parts)
    pieces = parse_template(text)
    assert "".join(p if isinstance(p, str) else "{{#" + ".".join(p) + "#}}" for p in pieces) == text
    assert sum(p == ("n", "x") for p in pieces) == max(len(parts) - 1, 0)
    assert pool(n={"x": "VALUE"}).text(text) == text.replace("{{#n.x#}}", "VALUE")


@given(value=JSON)
def test_any_value_is_shown_as_a_text(value):
    assert isinstance(markdown(value), str)
    assert isinstance(plain_text(value), str)
    if isinstance(value, dict):
        assert json.loads(markdown(value)) == json.loads(plain_text(value)) == value


def test_empty_values_by_type():
    assert [zero_of(kind) for kind in ("string", "number", "boolean", "object", "array[string]", "file", "?")] == [
        "", 0, False, {}, [], None, None]  # fmt: skip
    assert zero_of("object") is not zero_of("object")


def test_files_are_found_in_outputs():
    assert list(files_in({"a": FILE, "b": [FILE, 1], "c": {"deep": FILE}})) == [FILE, FILE]
