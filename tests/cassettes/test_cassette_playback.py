"""A workspace that plays a cassette: any key, byte for byte, faults on top, misses explained, the journal as usual."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cassette_kit import event, recorded

from mockdify.assemble import template_of
from mockdify.cassettes.files import load
from mockdify.cassettes.match import recorded_request
from mockdify.cassettes.playback import Playback, playback_of, speed_of
from mockdify.cassettes.replay import Player
from mockdify.config import Config, fault_from_text, merge
from mockdify.durations import parse_pace
from mockdify.engine import Engine
from mockdify.errors import MockdifyError
from mockdify.explain import explain
from mockdify.http import Request
from mockdify.sse import decode
from mockdify.steps import Abort, Body, Head, Wait

FOLDER = Path(__file__).resolve().parents[2] / "cassettes"
FILES = sorted(FOLDER.glob("*/*.yaml"))
SSE = (("Content-Type", "text/event-stream; charset=utf-8"), ("X-Version", "1.16.1"))
TEXTS = ("Hel", "lo ", "你好", "!")
END = {"event": "message_end", "task_id": "t", "message_id": "m", "conversation_id": "c", "metadata": {}}


def stream(**about):
    body = b"".join(event(text, message_id="m") for text in TEXTS) + b"data: " + json.dumps(END).encode() + b"\n\n"
    chunks = [[100.0 * (n + 1), len(each) + 2] for n, each in enumerate(body.split(b"\n\n")[:-1])]
    return recorded(
        request_body=b'{"query": "hi", "user": "alice", "inputs": {}, "response_mode": "streaming"}',
        headers=SSE,
        body=body,
        about={"head_ms": 50.0, "chunks": chunks, **about},
    )


def engine(*interactions, pace="instant", repeat="again", faults=()):
    template = template_of(Config(), merge({}, {}, {}))
    playback = Playback(Player(interactions, repeat=repeat), pace=pace)
    said = tuple(map(fault_from_text, faults))
    return Engine(replace(template, make_playback=playback.fresh, faults=said), time=lambda: 1000.0)


def ask(at, one=None, key="app-any", **headers):
    one = one or stream()
    kept = tuple((name, value) for name, value in one.request_headers if name != "Authorization")
    extra = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    request = recorded_request(replace(one, request_headers=(*kept, ("Authorization", f"Bearer {key}"), *extra)))
    return list(at.open(request).steps)


def body(steps):
    return b"".join(step.data for step in steps if isinstance(step, Body))


def names(steps):
    return [json.loads(frame.data)["event"] for frame in decode([body(steps)]) if frame.data]


# ---------------------------------------------------------------------- what is played
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recording_is_played_byte_for_byte_and_kept_in_the_journal(path):
    template = template_of(Config(), merge({}, {}, {}))
    at = Engine(replace(template, make_playback=playback_of([path], parse_pace("instant"))), time=lambda: 0.0)
    for one in load(path):
        steps = list(at.open(recorded_request(one)).steps)
        exchange = at.default.journal.last
        assert body(steps) == one.body
        assert exchange.status == one.status == next(step.status for step in steps if isinstance(step, Head))
        assert exchange.ended == ("aborted" if one.cut else "complete")
        assert exchange.app == one.about["app"] or one.about["app"] is None
        assert not exchange.is_warned
    assert at.default.playback.unplayed == []


def test_the_times_are_those_of_the_recording_at_the_pace_that_was_asked_for():
    def times(pace):
        return [round(step.until - 1000, 3) for step in ask(engine(stream(), pace=pace)) if isinstance(step, Wait)]

    assert times("instant") == []
    assert times("recorded") == [0.05, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert times(2.0) == [0.025, 0.05, 0.1, 0.15, 0.2, 0.25]


@pytest.mark.parametrize(("said", "pace"), [("recorded", "recorded"), ("realtime", "recorded"), ("2x", 2.0)])
def test_a_servers_pace_is_a_recordings(said, pace):
    assert speed_of(parse_pace(said)) == pace


def test_a_pace_for_each_chunk_is_refused():
    with pytest.raises(MockdifyError, match="recorded"):
        speed_of(parse_pace("30ms"))


def test_a_recording_that_was_cut_is_cut_again():
    steps = ask(engine(stream(cut="upstream", cut_how="reset")))
    assert steps[-1] == Abort("reset")
    assert next(step for step in steps if isinstance(step, Head)).length is None


def test_when_a_sequence_is_used_up_the_next_client_finds_it_anew():
    first, second = recorded(body=b'{"answer": "1"}'), recorded(body=b'{"answer": "2"}')
    at = engine(first, second)
    assert [body(ask(at, first)) for _ in range(3)] == [first.body, second.body, first.body]
    assert at.default.playback.left == (0, 2)
    at = engine(first, second, repeat="last")
    assert [body(ask(at, first)) for _ in range(4)] == [first.body, second.body, second.body, second.body]
    at = engine(first, repeat="no")
    ask(at, first)
    assert b"all played" in body(ask(at, first))


def test_a_reset_begins_the_recording_anew():
    first, second = recorded(body=b'{"answer": "1"}'), recorded(body=b'{"answer": "2"}')
    at = engine(first, second)
    ask(at, first)
    at.reset(at.default)
    assert body(ask(at, first)) == first.body


def test_workspaces_play_for_themselves():
    first, second = recorded(body=b'{"answer": "1"}'), recorded(body=b'{"answer": "2"}')
    at = engine(first, second)
    other = at.further()
    assert body(ask(at, first)) == body(ask(at, first, key=other.apps["chat"].key)) == first.body


# ---------------------------------------------------------------------- a miss
def test_a_miss_says_what_comes_nearest_and_warns_in_the_journal():
    at = engine(stream())
    steps = ask(
        at, recorded(request_body=b'{"query": "ho", "user": "alice", "inputs": {}, "response_mode": "streaming"}')
    )
    said = json.loads(body(steps))
    assert (said["status"], said["code"], said["reason"]) == (404, "mockdify_not_recorded", "unmatched")
    told = explain(at.default.journal.last, at.default)
    assert told.rule == "a server that plays a recording answers what was recorded, and nothing else"
    assert len(told.nearest) == len(said["closest"])
    assert "mockdify record" in told.fix[0]
    assert said["closest"] == [{"interaction": "#1", "differences": ['body.query: recorded "hi", asked "ho"']}]
    assert said["message"] in at.default.journal.last.warnings[0]
    assert len(at.default.playback.misses) == 1


def test_an_unknown_path_is_a_miss_too():
    at = engine(stream())
    steps = list(at.open(Request(method="GET", target="/v1/parameterz")).steps)
    assert "POST /v1/chat-messages" in json.loads(body(steps))["message"]


# ---------------------------------------------------------------------- faults on top
@pytest.mark.parametrize(
    "way", [{"faults": ["cut; event=3"]}, {"header": "cut; after=3"}, {"key": "app-any!cut;after=3"}, {"rule": True}]
)
def test_a_fault_strikes_the_recording_whichever_way_it_comes_in(way):
    at = engine(stream(), faults=way.get("faults", ()))
    if "rule" in way:
        at.default.faults.inject("cut", after=3)
    headers = {"X-Mockdify-Fault": way["header"]} if "header" in way else {}
    assert names(ask(at, key=way.get("key", "app-any"), **headers)) == ["message"] * 3
    assert at.default.journal.last.fault == "cut"


def test_an_error_that_ends_a_recorded_stream_has_the_streams_ids():
    steps = ask(engine(stream(), faults=["error-event; after=2"]))
    assert names(steps) == ["message", "message", "error"]
    assert json.loads(list(decode([body(steps)]))[-1].data)["message_id"] == "m"


def test_a_fault_before_the_reply_plays_nothing():
    at = engine(stream(), faults=["rate-limit*1"])
    assert ask(at)[0].status == 429
    assert len(at.default.playback.unplayed) == 1
    assert body(ask(at)) == stream().body


def test_a_fault_from_the_command_line_strikes_every_time_unless_it_has_a_number():
    assert fault_from_text("cut; event=3") == {"fault": "cut", "times": 0, "after": 3}
    assert fault_from_text("rate-limit*2; retry_after=0.5")["times"] == 2
    with pytest.raises(MockdifyError, match="option=value"):
        fault_from_text("cut; three")
