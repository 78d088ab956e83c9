"""When a fault strikes: conditions, counts, order, chance, and how mistakes are told."""

from __future__ import annotations

import pytest
from fault_support import ask, dialogue, drain, get, json_of, make_engine, status_of
from hypothesis import given, settings
from hypothesis import strategies as st

from mockdify.assemble import template_of
from mockdify.config import Settings, load
from mockdify.errors import MockdifyError
from mockdify.faults import PRESETS, Asked, FaultPlan, check_faults, rule_of, rule_of_text, spec_of
from mockdify.keys import split_key
from mockdify.steps import Body, Head

ASKED = {
    "method": "POST",
    "path": "/v1/chat-messages",
    "rule": "/v1/chat-messages",
    "app": "chat",
    "user": "u",
    "query": "q",
    "key": "app-chat-demo",
    "headers": {},
    "streamed": True,
}


def asked(**changes):
    return Asked(**ASKED | changes)


def struck(plan, **changes):
    strike = plan.strike(asked(**changes))
    first = strike.before()
    return [spec.name for spec in (strike.in_stream() if first is None else [first])]


def strikes(plan, count, **changes):
    """For each of *count* requests alike, whether something strikes."""
    return [bool(struck(plan, **changes)) for _ in range(count)]


# ---------------------------------------------------------------------- conditions
@pytest.mark.parametrize(
    ("said", "request_like"),
    [
        ({"on": "POST /v1/chat-messages"}, {}),
        ({"on": "/v1/chat-messages"}, {}),
        ({"on": "/chat-messages"}, {}),
        ({"on": "*"}, {}),
        ({"on": "POST *"}, {}),
        ({"on": "post /v1/*-messages"}, {}),
        ({"on": "POST /v1/chat-messages/{task}/stop"}, {"path": "/v1/chat-messages/abc/stop"}),
        ({"on": "POST /v1/chat-messages/<string:task_id>/stop"}, {"path": "/v1/chat-messages/abc/stop"}),
        ({"on": "POST /v1/chat-messages/abc/stop"}, {"path": "/v1/chat-messages/abc/stop"}),
        ({"when": {"user": "bob"}}, {"user": "bob"}),
        ({"when": {"query": "hi", "app": "chat"}}, {"query": "hi"}),
        ({"when": {"key": "app-chat-demo"}}, {}),
        ({"when": {"header": {"X-Test": "1"}}}, {"headers": {"x-test": "1"}}),
    ],
)
def test_a_rule_strikes_what_it_is_about(said, request_like):
    plan = FaultPlan("seed")
    plan.inject("reset", **said)
    assert struck(plan, **request_like) == ["reset"]


@pytest.mark.parametrize(
    ("said", "request_like"),
    [
        ({"on": "GET /v1/info"}, {}),
        ({"on": "POST /v1/chat-messages"}, {"path": "/v1/chat-messages/abc/stop"}),
        ({"on": "POST /v1/chat-messages/{task}/stop"}, {"path": "/v1/chat-messages/a/b/stop"}),
        ({"when": {"user": "bob"}}, {}),
        ({"when": {"user": "u", "query": "other"}}, {}),
        ({"when": {"header": {"X-Test": "1"}}}, {"headers": {"x-test": "2"}}),
        ({"when": {"app": "workflow"}}, {}),
    ],
)
def test_a_rule_lets_everything_else_pass_and_does_not_count_it(said, request_like):
    plan = FaultPlan("seed")
    rule = plan.inject("reset", **said)
    assert strikes(plan, 3, **request_like) == [False] * 3
    assert (rule.passed, rule.met) == (0, 0)


def test_conditions_look_at_real_requests():
    engine = make_engine()
    engine.default.faults.inject(
        "server-error", on="POST /v1/chat-messages", when={"user": "bob", "header": {"x-a": "1"}}
    )
    assert status_of(drain(engine, ask(user="bob"))) == 200
    assert status_of(drain(engine, ask(user="bob", headers=[("X-A", "1")], app="workflow"))) == 200
    assert status_of(drain(engine, ask(user="bob", headers=[("X-A", "1")]))) == 500
    engine.default.faults.inject("unavailable", when={"user": "eve"})
    assert status_of(drain(engine, get("/v1/conversations?user=bob"))) == 200
    assert status_of(drain(engine, get("/v1/conversations?user=eve"))) == 503


def test_the_user_of_a_form_is_known():
    engine = make_engine()
    engine.default.faults.inject("file-too-large", when={"user": "bob"})
    body = b'--x\r\nContent-Disposition: form-data; name="user"\r\n\r\nbob\r\n--x--\r\n'
    request = ask(path="/v1/files/upload")
    headers = (request.headers[0], ("Content-Type", "multipart/form-data; boundary=x"))
    assert (
        status_of(drain(engine, type(request)(method="POST", target=request.target, headers=headers, body=body))) == 413
    )


# ---------------------------------------------------------------------- how often
@settings(max_examples=100, deadline=None)
@given(times=st.integers(0, 6), after=st.integers(0, 6), requests=st.integers(0, 15))
def test_after_lets_so_many_pass_then_times_strike(times, after, requests):
    plan = FaultPlan("seed")
    rule = plan.inject("reset", times=times, after=after)
    wanted = [k >= after and (times == 0 or k < after + times) for k in range(requests)]
    assert strikes(plan, requests) == wanted
    assert rule.met == sum(wanted)
    assert (rule in plan.unmet()) == (rule.met < max(times, 1))


@settings(max_examples=50, deadline=None)
@given(nth=st.integers(1, 8), requests=st.integers(0, 12))
def test_nth_strikes_that_request_alone(nth, requests):
    plan = FaultPlan("seed")
    plan.inject("reset", when={"nth": nth})
    assert strikes(plan, requests) == [k + 1 == nth for k in range(requests)]


@settings(max_examples=50, deadline=None)
@given(nth=st.sets(st.integers(1, 9), min_size=1), every=st.integers(1, 5))
def test_nth_can_be_a_list_or_every_so_many(nth, every):
    plan = FaultPlan("seed")
    plan.inject("reset", when={"nth": sorted(nth)})
    assert strikes(plan, 10) == [k + 1 in nth for k in range(10)]
    plan = FaultPlan("seed")
    plan.inject("reset", when={"nth": f"every {every}"})
    assert strikes(plan, 10) == [(k + 1) % every == 0 for k in range(10)]


def test_nth_counts_matching_requests_only():
    plan = FaultPlan("seed")
    plan.inject("reset", when={"user": "bob", "nth": 2})
    users = ["bob", "eve", "eve", "bob", "bob"]
    assert [struck(plan, user=user) for user in users] == [[], [], [], ["reset"], []]


@pytest.mark.parametrize("times", [0, None])
def test_no_times_means_always(times):
    plan = FaultPlan("seed")
    plan.inject("reset", times=times)
    assert strikes(plan, 50) == [True] * 50


def test_once_is_the_default():
    plan = FaultPlan("seed")
    plan.inject("reset")
    assert strikes(plan, 3) == [True, False, False]


# ---------------------------------------------------------------------- chance
def chances(seed, users, probability=0.5):
    plan = FaultPlan(seed, "default")
    plan.inject("reset", times=0, probability=probability)
    return [(user, bool(struck(plan, user=user))) for user in users]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(), users=st.lists(st.sampled_from("abc"), max_size=30))
def test_one_seed_strikes_the_same_requests(seed, users):
    assert chances(seed, users) == chances(seed, users)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(), users=st.lists(st.sampled_from("abc"), max_size=30), data=st.data())
def test_the_order_of_parallel_users_changes_nothing(seed, users, data):
    shuffled = data.draw(st.permutations(users))
    for name in "abc":
        assert [hit for user, hit in chances(seed, users) if user == name] == [
            hit for user, hit in chances(seed, shuffled) if user == name
        ]


def test_seeds_differ_and_the_chance_is_about_what_was_asked():
    runs = [tuple(hit for _, hit in chances(seed, "a" * 200, 0.3)) for seed in range(10)]
    assert len(set(runs)) == 10
    assert 0.25 < sum(map(sum, runs)) / 2000 < 0.35


@pytest.mark.parametrize(("probability", "wanted"), [(0, False), (1, True)])
def test_no_chance_and_full_chance_are_certain(probability, wanted):
    assert {hit for _, hit in chances(1, "a" * 100, probability)} == {wanted}


# ---------------------------------------------------------------------- order
def test_the_first_fault_before_the_reply_is_the_only_one_and_the_others_do_not_count():
    plan = FaultPlan("seed")
    cut = plan.inject("cut", after=1)
    first, second = plan.inject("rate-limit"), plan.inject("server-error")
    assert [struck(plan) for _ in range(4)] == [["rate-limit"], ["server-error"], ["cut"], []]
    assert [rule.met for rule in (cut, first, second)] == [1, 1, 1]
    assert [rule.passed for rule in (cut, first, second)] == [1, 1, 1]


def test_faults_in_a_stream_strike_together_in_the_order_given_and_framing_is_around_them():
    plan = FaultPlan("seed")
    for fault in ("chop", "slow", "crlf", "unknown-event"):
        plan.inject(fault)
    assert struck(plan) == ["slow", "unknown-event", "crlf", "chop"]


def test_header_then_key_then_rules():
    def answer(**said):
        engine = make_engine()
        engine.default.faults.inject("server-error", times=0)
        return status_of(drain(engine, ask(**said)))

    assert answer() == 500
    assert answer(key="app-chat-demo!forbidden") == 403
    assert answer(key="app-chat-demo!forbidden", fault="rate-limit") == 429


REFUSED = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("fault", ["cut", "error-event", "chop", "bom", "connection-close"])
@pytest.mark.parametrize("said", [{"stream": False}, {"conversation_id": REFUSED}, {"user": ""}], ids=repr)
def test_a_fault_in_streams_is_met_by_a_stream_alone(fault, said):
    """A blocking answer or a refusal leaves it unmet: it strikes the next stream, and no count is used up."""
    engine = make_engine()
    rule = engine.default.faults.inject(fault)
    drain(engine, ask(**said))
    assert (rule.passed, rule.met, engine.default.journal.last.fault) == (0, 0, None)
    assert engine.default.faults.unmet() == [rule]
    drain(engine, ask())
    assert (rule.passed, rule.met, engine.default.journal.last.fault) == (1, 1, fault)


def test_a_fault_before_the_reply_that_pre_empts_leaves_one_in_the_stream_unmet():
    engine = make_engine()
    cut, refused = engine.default.faults.inject("cut"), engine.default.faults.inject("rate-limit")
    drain(engine, ask())
    assert (cut.met, refused.met) == (0, 1)
    drain(engine, ask())
    assert (cut.met, refused.met) == (1, 1)


def test_a_key_with_a_fault_in_streams_counts_streams():
    engine = make_engine()
    key = "app-chat-demo!cut*1;after=1"
    drain(engine, ask(key=key, stream=False))
    assert dialogue(drain(engine, ask(key=key)))[-1] == "(end)"
    assert dialogue(drain(engine, ask(key=key)))[-1] == "message_end"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_unmet_until_one_of_its_rules_was_asked(preset):
    plan = FaultPlan("seed")
    rule = plan.inject(preset, when={"user": "bob"})
    strikes(plan, 3)
    assert plan.unmet() == [rule]
    strikes(plan, 3, user="bob")
    assert plan.unmet() == []


def test_a_fault_by_chance_is_unmet_until_it_was_asked():
    plan = FaultPlan("seed")
    rule = plan.inject("reset", probability=0)
    assert plan.unmet() == [rule]
    assert strikes(plan, 1) == [False]
    assert plan.unmet() == []


def test_after_clear_chance_begins_anew():
    plan = FaultPlan("seed")

    def draws():
        plan.inject("reset", times=0, probability=0.5)
        found = strikes(plan, 40)
        plan.clear()
        return found

    first = draws()
    assert {True, False} == set(first)
    assert draws() == first


def test_a_rule_can_be_taken_back():
    plan = FaultPlan("seed")
    one, two = plan.inject("reset", times=0), plan.inject("hang", times=0)
    assert (one.id, two.id) == (1, 2)
    assert plan.remove(1)
    assert not plan.remove(1)
    assert struck(plan) == ["hang"]
    plan.clear()
    assert struck(plan) == []
    assert plan.inject("reset").id == 3


def test_a_fault_can_be_an_object_of_your_own():
    class Teapot:
        """418, always."""

        def apply(self, ctx, reply):
            yield Head(418, (), 0)
            yield Body(b"")

    engine = make_engine()
    engine.default.faults.inject(Teapot(), when={"user": "bob"})
    assert status_of(drain(engine, ask(user="bob"))) == 418
    assert engine.default.journal.last.fault == "Teapot"
    assert status_of(drain(engine, ask(user="bob"))) == 200


# ---------------------------------------------------------------------- presets
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_one_rule_with_parts(name):
    plan = FaultPlan("seed")
    rule = plan.inject(name, when={"user": "bob"})
    assert len(plan.rules) == 1
    assert rule.as_dict()["fault"] == name
    assert len(rule.as_dict()["rules"]) == len(PRESETS[name].rules)
    assert not any(strikes(plan, 50))
    assert any(strikes(plan, 50, user="bob"))
    assert rule.as_dict()["met"] > 0


def test_quota_exhausted_refuses_what_asks_a_model_and_nothing_else():
    engine = make_engine()
    engine.default.faults.inject("quota-exhausted")
    for app in ("chat", "chatflow", "workflow", "completion", "chat"):
        assert json_of(drain(engine, ask(app=app)))["code"] == "rate_limit_error"
    assert status_of(drain(engine, get("/v1/info"))) == 200


def test_a_brownout_is_the_same_one_each_time():
    def run():
        engine = make_engine(seed=7)
        engine.default.faults.inject("brownout")
        return [(status_of(drain(engine, ask())), engine.default.journal.last.fault) for _ in range(40)]

    assert run() == run()
    assert {200, 503, 504, 500} == {status for status, _ in run()}
    assert "slow" in {fault for _, fault in run()}


def test_a_preset_can_be_written_into_a_key():
    engine = make_engine()
    assert json_of(drain(engine, ask(key="app-chat-demo!quota-exhausted")))["code"] == "rate_limit_error"


def test_a_plan_knows_whose_fault_it_was():
    plan = FaultPlan("seed")
    cut, preset = plan.inject("cut", when={"user": "bob"}), plan.inject("quota-exhausted")
    of_preset = plan.strike(asked()).before()
    assert plan.owner(of_preset) is preset
    assert plan.owner(cut.spec) is cut
    assert plan.owner(spec_of("cut", {})) is None


# ---------------------------------------------------------------------- texts of headers and keys
@pytest.mark.parametrize(
    ("text", "times", "options"),
    [
        ("rate-limit", None, {}),
        ("rate-limit*2", 2, {}),
        ("rate-limit*0", None, {}),
        ("rate-limit * 1 ; retry_after = 1", 1, {"retry_after": 1}),
        ("rate-limit;times=3", 3, {}),
        ("rate-limit;retry_after=0.5", None, {"retry_after": "0.5"}),
        ("chop;bytes=3;tag=anything=goes", None, {"bytes": 3}),
        ("cut; after=2", None, {"after": 2}),
        ("slow;delay=20ms", None, {"delay": 0.02}),
        ("forbidden;message=12", None, {"message": "12"}),
        ("rate-limit;as_date=true;retry_after=1", None, {"as_date": True, "retry_after": 1}),
    ],
)
def test_what_a_header_or_a_key_says(text, times, options):
    rule = rule_of_text(text)
    assert (rule.times, dict(rule.spec.options)) == (times, options)


def test_a_condition_in_a_key():
    rule = rule_of_text("reset;on=GET /v1/info;probability=0.5;after=2")
    assert (rule.on, rule.probability, rule.after) == ("GET /v1/info", 0.5, 2)


def test_a_key_and_its_fault():
    assert split_key("app-x!cut;after=2") == ("app-x", "cut;after=2")
    assert split_key("app-x") == ("app-x", "")


def test_each_key_counts_for_itself():
    engine = make_engine()

    def status(key):
        return status_of(drain(engine, ask(key=f"app-chat-demo!rate-limit*2{key}")))

    assert [status(";tag=a"), status(";tag=b"), status(";tag=a"), status(";tag=a"), status("")] == [
        429,
        429,
        429,
        200,
        429,
    ]


def test_after_in_a_key_lets_requests_pass():
    engine = make_engine()
    key = "app-chat-demo!rate-limit*1;after=1"
    assert [status_of(drain(engine, ask(key=key))) for _ in range(3)] == [200, 429, 200]
    key = "app-chat-demo!cut*1;after=1"
    assert dialogue(drain(engine, ask(key=key))) == ["message", "(end)"]


# ---------------------------------------------------------------------- mistakes
MISTAKES = [
    ({"fault": "rate-limt"}, "there is no fault 'rate-limt'; did you mean 'rate-limit'"),
    ({"fault": "RATE_LIMIT"}, "did you mean 'rate-limit'"),
    ({"fault": "brownut"}, "did you mean 'brownout'"),
    ({"fault": 7}, "there is no fault 7"),
    ({}, "a table with the key 'fault' is needed"),
    ("cut", "a table with the key 'fault' is needed"),
    (
        {"fault": "cut", "aftr": 2},
        "fault 'cut' has no option 'aftr'; allowed: after, byte, on, probability, retry_after, times, when",
    ),
    ({"fault": "cut", "after": "two"}, "after: a whole number, 0 or more, is needed, got 'two'"),
    ({"fault": "cut", "after": -1}, "after: a whole number, 0 or more, is needed, got -1"),
    ({"fault": "cut", "after": 1, "byte": 5}, "give 'after' (events) or 'byte', not both"),
    ({"fault": "chop", "bytes": 0}, "bytes: a whole number, 1 or more, is needed, got 0"),
    ({"fault": "merge", "events": 1}, "events: a whole number, 2 or more, is needed, got 1"),
    ({"fault": "slow", "delay": "soon"}, "delay: 'soon' is not a duration"),
    ({"fault": "reset", "times": -1}, "times: a whole number, 0 or more, is needed, got -1"),
    ({"fault": "reset", "times": True}, "times: a whole number, 0 or more, is needed, got true"),
    ({"fault": "reset", "probability": 2}, "probability: a number from 0 to 1 is needed, got 2"),
    ({"fault": "rate-limit", "retry_after": -1}, "retry_after: a number, 0 or more, is needed, got -1"),
    ({"fault": "rate-limit", "retry_after": "1\r\nX: y"}, "retry_after: a header value of printable ASCII is needed"),
    (
        {"fault": "reset", "on": "POST /v1/chat-message"},
        "on: no endpoint is 'POST /v1/chat-message'; did you mean 'POST /v1/chat-messages'?",
    ),
    (
        {"fault": "reset", "on": "GET /v1/chat-messages"},
        "on: no endpoint is 'GET /v1/chat-messages'; with that path there is: POST",
    ),
    ({"fault": "reset", "on": "/nothing/like/it"}, "write it as 'POST /v1/chat-messages', or '*' for all"),
    (
        {"fault": "reset", "when": {"usr": "bob"}},
        "unknown key 'usr'; allowed: user, query, key, app, header, nth; did you mean 'user'?",
    ),
    ({"fault": "reset", "when": {"user": 7}}, "when.user: a text (in quotes) is needed, got 7"),
    ({"fault": "reset", "when": {"nth": 0}}, "when.nth: a whole number, 1 or more, is needed, got 0"),
    ({"fault": "reset", "when": {"nth": "third"}}, 'when.nth: a number, a list of them, or "every 3" is needed'),
    ({"fault": "brownout", "bytes": 1}, "fault 'brownout' has no option 'bytes'"),
]


@pytest.mark.parametrize(("said", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_a_mistake_in_a_rule_is_told_with_what_is_allowed(said, message):
    with pytest.raises(MockdifyError) as error:
        rule_of(said)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rate-limt", "in 'rate-limt': fault: there is no fault 'rate-limt'; did you mean 'rate-limit'"),
        ("cut;after", "'after' is not option=value"),
        ("cut*x", "after '*' comes a number of requests, not 'x'"),
        ("cut*1;times=2", "give '*N' or 'times', not both"),
        ("cut;after=two", "a whole number, 0 or more, is needed, got 'two'"),
        ("cut;when=user", "'when' cannot be written here"),
    ],
)
@pytest.mark.parametrize("way", ["header", "key"])
def test_a_mistake_in_a_header_or_key_is_answered(text, message, way):
    """A 4xx says what is wrong; the app is not asked."""
    engine = make_engine()
    said = {"fault": text} if way == "header" else {"key": f"app-chat-demo!{text}"}
    steps = drain(engine, ask(**said))
    assert status_of(steps) == 400
    assert json_of(steps)["code"] == "mockdify_fault"
    assert message in json_of(steps)["message"]
    assert engine.default.journal.last.answer is None


def test_an_empty_header_is_a_mistake_and_an_empty_suffix_is_none():
    engine = make_engine()
    assert "there is no fault ''" in json_of(drain(engine, ask(fault="")))["message"]
    assert status_of(drain(engine, ask(key="app-chat-demo!"))) == 200


def test_all_mistakes_of_a_list_are_told_at_once():
    with pytest.raises(MockdifyError) as error:
        check_faults([{"fault": "reset"}, {"fault": "cut", "aftr": 1}, {"fault": "nope"}])
    assert [line.partition(": ")[0] for line in str(error.value).splitlines()] == ["faults[1]", "faults[2].fault"]


def test_a_mistake_in_the_configuration_is_told_with_its_place(tmp_path):
    path = tmp_path / "mockdify.toml"
    path.write_text(
        '[[faults]]\nfault = "cut"\naftr = 2\n[[faults]]\nfault = "rate-limt"\n[limits]\n', encoding="utf-8"
    )
    with pytest.raises(MockdifyError) as error:
        template_of(load(path), Settings())
    first, second = str(error.value).splitlines()
    assert "mockdify.toml:3:" in first
    assert "mockdify.toml:5:" in second


def test_options_of_one_fault_are_checked_alone_too():
    assert spec_of("cut", {"after": 2}).options == {"after": 2}
    with pytest.raises(MockdifyError, match="there is no fault 'ct'"):
        spec_of("ct", {})


def test_a_rule_as_json():
    plan = FaultPlan("seed")
    rule = plan.inject("rate-limit", on="POST /v1/chat-messages", when={"user": "bob"}, times=2, retry_after=1)
    assert rule.as_dict() == {
        "id": 1,
        "fault": "rate-limit",
        "on": "POST /v1/chat-messages",
        "when": {"user": "bob"},
        "times": 2,
        "after": 0,
        "probability": 1.0,
        "options": {"retry_after": 1},
        "met": 0,
    }
