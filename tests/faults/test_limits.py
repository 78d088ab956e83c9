"""Limits: what passes, what does not, and what is said then."""

from __future__ import annotations

import pytest
from fault_support import BEGIN, ask, body_of, drain, get, head_of, json_of, make_engine, names_of, status_of
from hypothesis import given, settings
from hypothesis import strategies as st

from mockdify.assemble import template_of
from mockdify.config import Settings, load
from mockdify.errors import MockdifyError
from mockdify.explain import explain
from mockdify.faults import Asked
from mockdify.limits import Limit, Limits, Rate, limits_of, parse_rates
from mockdify.profiles import PROFILES
from mockdify.script import Rule, Script


class Clock:
    def __init__(self):
        self.time = BEGIN

    def __call__(self):
        return self.time


def limited(data, clock=None, **changes):
    return make_engine(limits=limits_of(data), now=clock or Clock(), **changes)


def slow_script():
    return Script(defaults=Rule(chunks=("a", "b"), pace=60.0))


def begin(engine, request):
    """A request that is under way: iterated up to its first step."""
    steps = engine.handle(request)
    next(steps)
    return steps


def asked(**changes):
    said = {
        "method": "POST",
        "path": "/v1/chat-messages",
        "rule": "/v1/chat-messages",
        "app": "chat",
        "user": "u",
        "query": "q",
        "key": "k",
        "headers": {},
        "streamed": True,
    }
    return Asked(**said | changes)


# ---------------------------------------------------------------------- concurrency
def test_beyond_the_app_s_concurrency_dify_answers_400_although_its_documents_say_429():
    engine = limited({"concurrency": 1}, make_script=slow_script)
    open_stream = begin(engine, ask())
    for stream in (True, False):
        steps = drain(engine, ask(user="other", stream=stream))
        assert json_of(steps) == {
            "code": "invalid_param",
            "message": "Too many requests. Please try again later. The current maximum concurrent requests allowed for "
            f"{engine.default.apps['chat'].id} is 1.",
            "status": 400,
        }
        assert "Retry-After" not in dict(head_of(steps).headers)
    open_stream.close()
    assert status_of(begin_and_drain(engine)) == 200


def begin_and_drain(engine, **said):
    return drain(engine, ask(**said))


def test_the_documented_answer_can_be_asked_for():
    engine = limited({"concurrency": {"max": 1, "answer": "documented", "retry_after": 2}}, make_script=slow_script)
    _open = begin(engine, ask())
    steps = drain(engine, ask())
    assert (status_of(steps), json_of(steps)["code"]) == (429, "too_many_requests")
    assert dict(head_of(steps).headers)["Retry-After"] == "2"


def test_a_slot_is_freed_however_the_answer_ends():
    engine = limited({"concurrency": 1})
    for fault in (None, "cut;after=1", "reset-stream;after=1", "error-event;after=1", "rate-limit"):
        drain(engine, ask(fault=fault))
    drain(engine, ask(stream=False))
    drain(engine, ask(conversation_id="00000000-0000-4000-8000-000000000000"))
    assert status_of(drain(engine, ask())) == 200


def test_a_stalled_stream_keeps_its_slot():
    engine = limited({"concurrency": 1})
    stalled = begin(engine, ask(fault="stall;after=1"))
    assert status_of(drain(engine, ask())) == 400
    stalled.close()
    assert status_of(drain(engine, ask())) == 200


def test_a_slot_is_forgotten_after_ten_minutes():
    clock = Clock()
    engine = limited({"concurrency": 1}, clock, make_script=slow_script)
    _open = begin(engine, ask())
    clock.time += 599
    assert status_of(drain(engine, ask())) == 400
    clock.time += 1
    assert status_of(begin_and_drain(engine)) == 200


def test_only_what_asks_a_model_is_counted():
    engine = limited({"concurrency": 0})
    assert status_of(drain(engine, get("/v1/info"))) == 200
    assert status_of(drain(engine, ask(path="/v1/chat-messages/x/stop"))) == 200
    for app in ("chat", "agent", "chatflow", "workflow", "completion"):
        assert status_of(drain(engine, ask(app=app))) == 400


def test_the_slot_is_taken_after_the_form_is_checked_and_before_the_conversation_is():
    engine = limited({"concurrency": 0})
    unknown = "00000000-0000-4000-8000-000000000000"
    assert "Too many requests" in json_of(drain(engine, ask(conversation_id=unknown)))["message"]
    assert "validation error" in json_of(drain(engine, ask(conversation_id="x")))["message"]
    assert json_of(drain(engine, ask(user="")))["message"] == "Arg user must be provided."


@pytest.mark.parametrize("app", ["chatflow", "workflow"])
def test_with_a_limit_of_one_a_streaming_graph_is_always_refused_and_a_blocking_one_passes(app):
    """Since 1.13 a streaming graph takes its slot twice."""
    engine = limited({"concurrency": 1})
    assert status_of(drain(engine, ask(app=app))) == 400
    assert status_of(drain(engine, ask(app=app, stream=False))) == 200


@pytest.mark.parametrize("app", ["chatflow", "workflow"])
def test_the_guide_knows_nothing_of_graphs_that_take_two_slots(app):
    engine = limited({"concurrency": 1}, profile=PROFILES["guide"])
    assert status_of(drain(engine, ask(app=app))) == 200


@pytest.mark.parametrize(
    ("profile", "code", "status"),
    [("1.16", "invalid_param", 400), ("1.13", "invalid_param", 400), ("guide", "too_many_requests", 429)],
)
def test_each_profile_tells_in_its_own_way_that_an_app_is_busy(profile, code, status):
    told = json_of(drain(limited({"concurrency": 0}, profile=PROFILES[profile]), ask()))
    assert (told["code"], told["status"]) == (code, status)
    documented = limited([{"kind": "concurrency", "max": 0, "answer": "documented"}], profile=PROFILES[profile])
    assert json_of(drain(documented, ask()))["code"] == "too_many_requests"


@pytest.mark.parametrize(
    ("profile", "app", "code", "status"),
    [
        ("1.16", "completion", "rate_limit_error", 429),
        ("1.13", "completion", "internal_server_error", 500),
        ("1.13", "chat", "rate_limit_error", 429),
        ("1.13", "workflow", "rate_limit_error", 429),
        ("guide", "completion", "rate_limit_error", 429),
    ],
)
def test_each_profile_tells_in_its_own_way_that_the_quota_is_used_up(profile, app, code, status):
    engine = limited({"quota": "1 per day"}, profile=PROFILES[profile])
    drain(engine, ask())
    told = json_of(drain(engine, ask(app=app)))
    assert (told["code"], told["status"]) == (code, status)
    assert "[limits]" in str(explain(engine.default.journal.last, engine.default))


def test_with_a_higher_limit_streaming_graphs_do_not_count():
    engine = limited({"concurrency": 2})
    streams = [begin(engine, ask(app="workflow")) for _ in range(5)]
    assert [names_of(body_of(list(stream)))[-1] for stream in streams] == ["workflow_finished"] * 5


def test_concurrency_is_per_app_unless_said_otherwise():
    engine = limited([{"kind": "concurrency", "max": 1}], make_script=slow_script)
    _open = begin(engine, ask())
    assert status_of(begin_and_drain(engine, app="completion")) == 200
    engine = limited([{"kind": "concurrency", "max": 1, "per": "user"}], make_script=slow_script)
    _open = begin(engine, ask(user="a"))
    assert status_of(begin_and_drain(engine, user="b")) == 200
    assert status_of(begin_and_drain(engine, user="a")) == 400
    engine = limited([{"kind": "concurrency", "max": 0, "app": "completion"}])
    assert status_of(drain(engine, ask())) == 200
    assert status_of(drain(engine, ask(app="completion"))) == 400


@settings(max_examples=50, deadline=None)
@given(most=st.integers(0, 4), moves=st.lists(st.integers(0, 5), max_size=30))
def test_never_more_at_once_than_allowed_and_never_fewer_for_want_of_a_freed_slot(most, moves):
    limits = Limits(limits_of({"concurrency": most}), Clock())
    inside = []
    for move in moves:
        if move and len(inside) >= move:
            inside.pop(move - 1).__exit__(None, None, None)
            continue
        entry = limits.inside(asked(), twice=False)
        if entry.__enter__() is None:
            assert len(inside) < most
            inside.append(entry)
        else:
            assert len(inside) == most
            entry.__exit__(None, None, None)


# ---------------------------------------------------------------------- quota and edge
def test_a_quota_is_told_in_difys_words():
    engine = limited({"quota": "2 per hour"})
    said = [drain(engine, ask(app=app)) for app in ("chat", "workflow", "completion")]
    assert [status_of(steps) for steps in said] == [200, 200, 429]
    assert json_of(said[2])["code"] == "rate_limit_error"
    assert engine.default.tenant_id in json_of(said[2])["message"]
    assert status_of(drain(engine, get("/v1/info"))) == 200


def test_the_edge_counts_every_request_and_answers_html():
    clock = Clock()
    engine = limited({"edge": "2 per minute"}, clock)
    assert [status_of(drain(engine, get("/v1/info"))) for _ in range(3)] == [200, 200, 429]
    clock.time += 20
    steps = drain(engine, ask())
    headers = dict(head_of(steps).headers)
    assert b"1015" in body_of(steps)
    assert "X-Version" not in headers
    assert headers["Retry-After"] == "40"
    assert status_of(drain(engine, get("/v1/info", app="workflow"))) == 200
    clock.time += 40
    assert status_of(drain(engine, ask())) == 200


def test_a_request_that_a_fault_pre_empts_counts_for_no_limit():
    engine = limited({"edge": "1 per day", "quota": "1 per day"})
    assert status_of(drain(engine, ask(fault="server-error"))) == 500
    assert status_of(drain(engine, ask())) == 200


def test_windows_follow_the_workspace_s_clock():
    engine = limited({"quota": "1 per hour"})
    assert [status_of(drain(engine, ask())) for _ in range(2)] == [200, 429]
    engine.default.clock.advance(3600)
    assert status_of(drain(engine, ask())) == 200


def test_several_rates_hold_at_once():
    clock = Clock()
    limits = Limits(limits_of({"edge": "2 per minute; 3 per hour"}), clock)
    passed = []
    for _ in range(6):
        passed.append(limits.at_edge(asked()) is None)
        clock.time += 30
    assert passed == [True, True, True, False, False, False]


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 5), seconds=st.integers(1, 10), gaps=st.lists(st.floats(0, 5), max_size=40))
def test_no_window_ever_holds_more_than_the_rate(count, seconds, gaps):
    clock = Clock()
    limits = Limits((Limit(kind="edge", per="key", rate=(Rate(count=count, seconds=seconds),)),), clock)
    passed: list[float] = []
    for gap in gaps:
        clock.time += gap
        recent = [at for at in passed if at > clock.time - seconds]
        if limits.at_edge(asked()) is None:
            assert len(recent) < count
            passed.append(clock.time)
        else:
            assert len(recent) == count


@pytest.mark.parametrize(("per", "changes", "shared"), [
    ("workspace", {"app": "other", "user": "v", "key": "l"}, True),
    ("app", {"user": "v", "key": "l"}, True),
    ("app", {"app": "other"}, False),
    ("key", {"user": "v"}, True),
    ("key", {"key": "l"}, False),
    ("user", {"key": "l"}, True),
    ("user", {"user": "v"}, False),
    ("user", {"app": "other"}, False),
])  # fmt: skip
def test_per_says_who_shares_a_limit(per, changes, shared):
    limits = Limits(limits_of([{"kind": "edge", "rate": "1 per day", "per": per}]), Clock())
    assert limits.at_edge(asked()) is None
    assert (limits.at_edge(asked(**changes)) is not None) == shared


def test_many_users_do_not_fill_the_memory():
    clock = Clock()
    limits = Limits(limits_of([{"kind": "edge", "rate": "1 per second", "per": "user"}]), clock)
    for number in range(30_000):
        clock.time += 0.001
        limits.at_edge(asked(user=str(number)))
    assert len(limits._windows) <= 10_000


def test_two_workspaces_share_no_limit():
    engine = limited({"quota": "1 per day"})
    engine.create("other", engine.template, key_suffix="-2")
    assert [
        status_of(drain(engine, ask(key=key))) for key in ("app-chat-demo", "app-chat-demo-2", "app-chat-demo")
    ] == [200, 200, 429]


# ---------------------------------------------------------------------- as people write them
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("20 per minute", [(20, 60)]),
        ("20 per minute; 100 per hour", [(20, 60), (100, 3600)]),
        ("20/minute,100/hour", [(20, 60), (100, 3600)]),
        ("1 per 30 seconds", [(1, 30)]),
        ("5 PER Day;", [(5, 86_400)]),
    ],
)
def test_rates_as_people_write_them(text, wanted):
    assert [(rate.count, rate.seconds) for rate in parse_rates(text)] == wanted


@pytest.mark.parametrize(
    "text", ["", "often", "20", "0 per minute", "20 per 0 minutes", "20 per fortnight", 20, None, "-1 per hour"]
)
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(MockdifyError, match='write "20 per minute", several with ";"; units: second, minute'):
        parse_rates(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"concurency": 1},
            "unknown kind of limit 'concurency'; allowed: concurrency, quota, edge; did you mean 'concurrency'?",
        ),
        ({"concurrency": "one"}, "limits.concurrency.max: a whole number, 0 or more, is needed, got 'one'"),
        ({"edge": "often"}, "limits.edge.rate: 'often' is no rate"),
        ([{"kind": "edge"}], "limits[0]: a limit of kind 'edge' needs 'rate', e.g. rate = \"20 per minute\""),
        ([{"rate": "1 per day"}], "limits[0]: the key 'kind' is missing"),
        ([{"kind": "quota", "max": 1, "rate": "1 per day"}], "a limit of kind 'quota' has no 'max'"),
        (
            [{"kind": "edge", "rate": "1 per day", "per": "planet"}],
            "unknown scope 'planet'; allowed: workspace, app, key, user",
        ),
        (
            [{"kind": "edge", "rate": "1 per day", "on": "GET /v1/nfo"}],
            "no endpoint is 'GET /v1/nfo'; did you mean 'GET /v1/info'?",
        ),
        ([{"kind": "concurrency", "max": 1, "answer": "429"}], "unknown answer '429'; allowed: real, documented"),
        (3, "a table of kinds or a list of tables is needed, got 3"),
    ],
)
def test_a_mistake_in_limits_is_told(data, message):
    with pytest.raises(MockdifyError) as error:
        limits_of(data)
    assert message in str(error.value)


def test_no_limits_are_no_limits():
    assert limits_of(None) == ()
    assert make_engine().default.limits is None


def test_limits_come_from_the_configuration_with_the_place_of_mistakes(tmp_path):
    path = tmp_path / "mockdify.toml"
    path.write_text('[limits]\nconcurrency = 1\nedge = "20 per minute; 100 per hour"\n', encoding="utf-8")
    template = template_of(load(path), Settings())
    assert [(limit.kind, limit.max, len(limit.rate)) for limit in template.limits] == [
        ("concurrency", 1, 0),
        ("edge", 0, 2),
    ]
    path.write_text('[[limits]]\nkind = "edge"\nrate = "often"\n', encoding="utf-8")
    with pytest.raises(MockdifyError, match=r"mockdify.toml:3:8: limits\[0\].rate: 'often' is no rate"):
        template_of(load(path), Settings())
