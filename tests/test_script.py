import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mockdify.errors import MockdifyError
from mockdify.model import FAILURES, Prices
from mockdify.script import Ask, Checked, NodeScript, Round, Rule, Script, When


def ask(query="hello", **more):
    return Ask(**{"app": "chat", "query": query, **more})


def said(script, *asks, **more):
    asks = asks or (ask(**more),)
    texts = ["".join(script.choose(one).chunks) for one in asks]
    return texts if len(texts) > 1 else texts[0]


# --- which rule ------------------------------------------------------------------------------------------------------


def test_without_a_script_the_answer_quotes_the_query_and_is_always_the_same():
    choice = Script().choose(ask("how are 你好?"))
    assert choice.rule is None
    assert "how are 你好?" in "".join(choice.chunks)
    assert choice == Script().choose(ask("how are 你好?"))
    assert choice.chunks[-1] == ""


@given(st.text(max_size=1200))
def test_every_query_is_quoted_whole(query):
    assert query in "".join(Script().choose(ask(query)).chunks)


CONDITIONS = [
    ({"query": "hello"}, {"query": "hello!"}),
    ({"query_matches": re.compile("l{2}")}, {"query": "helo"}),
    ({"user": "alice"}, {"user": "bob"}),
    ({"turn": 2}, {"turn": 3}),
    ({"node": "llm"}, {"node": "llm2"}),
    ({"node": "llm"}, {"node": None}),
    ({"app": "chat"}, {"app": "agent"}),
    ({"inputs": {"x": 1}}, {"inputs": {"x": 2}}),
    ({"inputs": {"x": 1}}, {"inputs": {}}),
    ({"inputs": {"x": True}}, {"inputs": {"x": 1}}),
    ({"inputs": {"x": None}}, {"inputs": {}}),
]


@pytest.mark.parametrize(("when", "other"), CONDITIONS)
def test_a_condition_that_does_not_hold_keeps_a_rule_silent(when, other):
    good = {"query": "hello", "user": "alice", "turn": 2, "node": "llm", "inputs": {"x": 1}, **when}
    good = {key: one for key, one in good.items() if key != "query_matches"}
    script = Script(rules=[Rule(when=When(**when), answer="yes")], defaults=Rule(answer="no"))
    assert said(script, ask(**good)) == "yes"
    assert said(script, ask(**{**good, **other})) == "no"


def test_all_conditions_of_a_rule_must_hold():
    script = Script(rules=[Rule(when=When(query="a", user="u"), answer="yes")], defaults=Rule(answer="no"))
    assert said(script, ask("a", user="u"), ask("a", user="v"), ask("b", user="u")) == ["yes", "no", "no"]


def test_the_apps_rules_go_before_the_workspaces():
    script = Script(rules=[Rule(answer="workspace")], apps={"chat": [Rule(answer="app")]})
    assert said(script, ask(app="chat"), ask(app="agent")) == ["app", "workspace"]


def test_the_first_that_matches_answers_for_ever():
    script = Script(rules=[Rule(answer="a"), Rule(answer="b")])
    assert said(script, *[ask()] * 5) == ["a"] * 5


def test_with_times_a_rule_is_used_up_and_the_next_match_answers():
    script = Script(rules=[Rule(answer="a", times=2), Rule(answer="b")])
    assert said(script, *[ask()] * 4) == ["a", "a", "b", "b"]


def test_a_rule_that_does_not_match_is_not_used_up():
    script = Script(rules=[Rule(when=When(user="u"), answer="a", times=1), Rule(answer="b")])
    assert said(script, ask(user="v"), ask(user="v"), ask(user="u"), ask(user="u")) == ["b", "b", "a", "b"]


def test_defaults_answer_when_none_matches():
    script = Script(rules=[Rule(when=When(query="x"), answer="a")], defaults=Rule(answer="d {{ query }}"))
    assert said(script, ask("x"), ask("y")) == ["a", "d y"]


def test_answers_added_without_conditions_are_a_sequence_whose_last_stays():
    script = Script(rules=[Rule(answer="file")])
    for text in ("a", "b"):
        script.add(Rule(answer=text), app="chat", in_sequence=True)
    assert said(script, *[ask()] * 4) == ["a", "b", "b", "b"]
    assert said(script, app="agent") == "file"


def test_a_sequence_goes_on_where_it_was_when_it_grows():
    script = Script()
    script.add(Rule(answer="a"), in_sequence=True)
    assert said(script, ask(), ask()) == ["a", "a"]
    script.add(Rule(answer="b"), in_sequence=True)
    assert said(script, ask(), ask()) == ["b", "b"]


def test_conditions_and_times_are_no_part_of_a_sequence():
    script = Script()
    script.add(Rule(when=When(query="x"), answer="x"), in_sequence=True)
    script.add(Rule(answer="a", times=2), in_sequence=True)
    script.add(Rule(answer="b"), in_sequence=True)
    assert said(script, ask("x"), ask(), ask("x"), ask(), ask(), ask("x")) == ["x", "a", "x", "a", "b", "x"]


def test_added_rules_go_before_those_of_the_file_in_the_order_added():
    script = Script(apps={"chat": [Rule(answer="file")]})
    script.add(Rule(answer="first", times=1), app="chat")
    script.add(Rule(answer="second", times=1), app="chat")
    assert said(script, ask(), ask(), ask()) == ["first", "second", "file"]


def test_reset_forgets_what_was_added_and_used():
    script = Script(rules=[Rule(answer="a", times=1), Rule(answer="b")])
    script.add(Rule(answer="new", times=1))
    script.set_node("flow", NodeScript(node="n"))
    before = said(script, ask(), ask(), ask())
    script.reset()
    assert before == ["new", "a", "b"]
    assert said(script, ask(), ask()) == ["a", "b"]
    assert script.node("flow", "n") is None
    assert script.used == 2


def test_two_scripts_of_the_same_rules_share_no_state():
    rules = [Rule(answer="a", times=1), Rule(answer="b")]
    one, other = Script(rules=rules), Script(rules=rules)
    assert said(one, ask(), ask()) == ["a", "b"]
    assert said(other, ask(), ask()) == ["a", "b"]


@st.composite
def scripts(draw):
    users, queries = st.sampled_from(["u", "v"]), st.sampled_from(["x", "y"])
    when = st.builds(When, query=st.none() | queries, user=st.none() | users)
    rule = st.builds(Rule, when=when, times=st.none() | st.integers(1, 3))
    rules = [
        Rule(when=one.when, times=one.times, answer=f"rule {k}")
        for k, one in enumerate(draw(st.lists(rule, max_size=6)))
    ]
    return rules, draw(st.lists(st.builds(ask, queries, user=users), max_size=20))


@given(scripts())
def test_the_first_matching_rule_that_is_not_used_up_wins(drawn):
    rules, asks = drawn
    script = Script(rules=rules, defaults=Rule(answer="none"))
    used = dict.fromkeys((rule.answer for rule in rules), 0)
    for one in asks:
        expected = next(
            (
                rule.answer
                for rule in rules
                if rule.when.query in {None, one.query}
                and rule.when.user in {None, one.user}
                and (rule.times is None or used[rule.answer] < rule.times)
            ),
            "none",
        )
        used[expected] = used.get(expected, 0) + 1
        assert said(script, one) == expected
    assert [rule.answer for rule in script.unused()] == [rule.answer for rule in rules if not used[rule.answer]]
    assert script.used == len(asks)


@given(st.lists(st.integers(0, 9).map(str), min_size=1, max_size=6), st.integers(0, 12))
def test_a_sequence_says_each_once_and_the_last_for_ever(texts, calls):
    script = Script()
    for text in texts:
        script.add(Rule(answer=text), app="chat", in_sequence=True)
    for k in range(calls):
        assert said(script) == texts[min(k, len(texts) - 1)]


# --- what is said ----------------------------------------------------------------------------------------------------


def test_chunks_are_said_exactly_as_they_stand():
    choice = Script(rules=[Rule(answer="other", chunks=("{{ a", " }}", ""))]).choose(ask())
    assert choice.chunks == ("{{ a", " }}", "")


def test_an_answer_alone_is_cut_with_a_last_empty_chunk():
    assert Script(rules=[Rule(answer="Hi there!")]).choose(ask()).chunks == ("Hi", " there!", "")


def test_an_answer_is_a_template_over_the_call():
    rule = Rule(answer="{{ query }} {{ inputs.x }} {{ user }} {{ turn }} {{ app }} {{ node }} {{ history | length }}")
    got = said(Script(rules=[rule]), ask("q", inputs={"x": 1}, user="u", turn=2, node="n", history=("a", "b")))
    assert got == "q 1 u 2 chat n 2"


def test_a_query_is_never_a_template():
    assert "{{ 1 + 1 }}" in said(Script(), query="{{ 1 + 1 }}")
    assert said(Script(rules=[Rule(answer="{{ query }}")]), query="{{ 1 + 1 }}") == "{{ 1 + 1 }}"


def test_a_template_that_fails_names_its_rule():
    script = Script(rules=[Rule(answer="{{ inputs.x }}", label="answers[3]")])
    with pytest.raises(MockdifyError, match=r"answers\[3\]: the template"):
        script.choose(ask())


def test_usage_splits_into_prices_and_overrides():
    usage = {"prompt_unit_price": "0.5", "currency": "EUR", "prompt_tokens": 7, "latency": 0.25}
    choice = Script(rules=[Rule(answer="a", usage=usage)]).choose(ask())
    assert choice.prices == Prices(prompt_unit_price="0.5", currency="EUR")
    assert choice.overrides == {"prompt_tokens": 7, "latency": 0.25}


def test_prices_of_the_defaults_hold_for_every_rule_and_their_tokens_do_not():
    defaults = Rule(answer="d", usage={"currency": "EUR", "price_unit": "1", "prompt_tokens": 7})
    choice = Script(rules=[Rule(answer="a", usage={"price_unit": "2"})], defaults=defaults).choose(ask())
    assert choice.prices == Prices(currency="EUR", price_unit="2")
    assert choice.overrides == {}


def test_a_rule_without_words_takes_those_of_the_defaults():
    script = Script(rules=[Rule(fails="rate-limit", after=1)], defaults=Rule(chunks=("a", "b")))
    choice = script.choose(ask())
    assert (choice.chunks, choice.after, choice.fails.kind) == (("a", "b"), 1, "rate-limit")


def test_a_rule_without_words_and_defaults_quotes_the_query():
    assert "hello" in said(Script(rules=[Rule(pace=1.0)]))


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_says_its_usual_text_unless_told(kind):
    plain, own = (Script(rules=[Rule(fails=kind, message=text)]).choose(ask()).fails for text in (None, "mine"))
    assert (plain.kind, plain.message) == (kind, FAILURES[kind])
    assert own.message == "mine"


def test_each_call_fails_with_an_error_of_its_own():
    """A raised exception collects tracebacks, so that one for all calls would grow."""
    script = Script(rules=[Rule(fails="other")])
    assert script.choose(ask()).fails is not script.choose(ask()).fails


def test_pace_and_citations_come_from_the_rule_alone():
    defaults = Rule(answer="d", pace=2.0, retriever_resources=({"a": 1},))
    script = Script(rules=[Rule(when=When(query="x"), answer="a", pace=0.5)], defaults=defaults)
    assert [(one.pace, one.retriever_resources) for one in (script.choose(ask("x")), script.choose(ask("y")))] == [
        (0.5, ()),
        (2.0, ({"a": 1},)),
    ]


def test_rounds_are_rendered_and_end_with_chunks():
    rounds = (
        Round(thought="I look for {{ query }}. ", tool="t", tool_input={"q": "{{ query }}"}, observation='{"n": {}}'),
        Round(answer="Found {{ query }}"),
    )
    choice = Script(rules=[Rule(rounds=rounds)]).choose(ask("it"))
    first, last = choice.rounds
    assert (first.thought, first.tool_input, first.observation) == ("I look for it. ", {"q": "it"}, '{"n": {}}')
    assert choice.chunks == last.chunks == ("Found", " it", "")


def test_rounds_that_end_with_a_tool_still_say_something():
    choice = Script(rules=[Rule(rounds=(Round(tool="t"),))]).choose(ask("it"))
    assert [one.tool for one in choice.rounds] == ["t", ""]
    assert "it" in "".join(choice.chunks)


# --- why -------------------------------------------------------------------------------------------------------------


def test_explain_marks_each_condition_and_has_the_closest_rule_first():
    far = Rule(when=When(query="hello", user="bob"), answer="a", label="far")
    near = Rule(when=When(query="hallo", user="alice"), answer="b", label="near")
    nearer = Rule(when=When(query="hello", user="alice", turn=2), answer="c", label="nearer")
    script = Script(rules=[far, near, nearer])
    told = script.explain(ask("hello!", user="alice", turn=2))
    assert [rule.label for rule, _ in told] == ["nearer", "near", "far"]
    assert told[0].conditions == [
        Checked("user", "alice", "alice", True),
        Checked("turn", 2, 2, True),
        Checked("query", "hello", "hello!", False),
    ]
    assert list(map(str, told[0].conditions))[1:] == ["✓ turn 2", "✗ query: wanted 'hello', got 'hello!'"]
    assert script.unused() == [far, near, nearer]


def test_explain_shows_used_up_rules_other_apps_and_patterns():
    script = Script(apps={"support": [Rule(when=When(query_matches=re.compile("^h")), answer="a", times=1)]})
    script.choose(ask(app="support"))
    assert script.explain(ask())[0].conditions == [
        Checked("app", "support", "chat", False),
        Checked("query_matches", "^h", "hello", True),
        Checked("times", 1, 1, False),
    ]


@given(scripts())
def test_explain_agrees_with_choose_and_counts_nothing(drawn):
    rules, asks = drawn
    script = Script(rules=rules, defaults=Rule(answer="none"))
    for one in asks:
        matching = [told.rule.answer for told in script.explain(one) if told.matches]
        chosen = said(script, one)
        assert chosen in matching if matching else chosen == "none"


# --- nodes -----------------------------------------------------------------------------------------------------------


def test_a_node_double_fills_its_inputs_in():
    node = NodeScript(node="code", outputs={"result": "Hello {{ name }}", "n": 1, "many": ["{{ name | upper }}"]})
    script = Script(nodes={"flow": [node]})
    assert script.node("flow", "code").outputs_for({"name": "Bob"}) == {"result": "Hello Bob", "n": 1, "many": ["BOB"]}
    assert script.node("flow", "other") is None
    assert script.node("other", "code") is None


def test_a_node_can_be_set_later():
    script = Script(nodes={"flow": [NodeScript(node="code", outputs={})]})
    script.set_node("flow", NodeScript(node="code", fails="boom"))
    assert script.node("flow", "code").fails == "boom"
