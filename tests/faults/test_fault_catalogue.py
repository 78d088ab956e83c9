"""Each fault without a socket: what the reply becomes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fault_support import (
    BEGIN,
    ask,
    body_of,
    chunks_of,
    dialogue,
    drain,
    get,
    head_of,
    json_of,
    make_engine,
    names_of,
    status_of,
)

from mockdify.faults import CATALOGUE, PRESETS, listing
from mockdify.faults.docs import as_lines, example, page
from mockdify.profiles import PROFILES
from mockdify.steps import Abort, Body, Head, Raw, Wait

FOREVER = float("inf")
HONEST = ["message", "message", "message", "message", "message_end"]

PROMISED = """
unauthorized bad-request invalid-param app-unavailable provider-not-initialized provider-quota model-unsupported
completion-error forbidden conversation-not-found file-too-large unsupported-file rate-limit quota edge-rate-limit
server-error bad-gateway unavailable gateway-timeout reset hang truncated-body bad-json
error-event cut reset-stream stall slow pings-only no-end duplicate-end unknown-event malformed-event
chop split-utf8 merge crlf connection-close comment no-space multiline bom
""".split()  # noqa: SIM905 - as the interface lists them


@pytest.fixture
def engine():
    return make_engine()


def test_every_promised_name_is_there():
    assert set(PROMISED) <= CATALOGUE.keys()


def test_no_name_means_two_things():
    assert not CATALOGUE.keys() & PRESETS.keys()


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=CATALOGUE)
def test_a_row_says_everything(kind):
    assert kind.words
    assert kind.real
    assert kind.advice
    assert all("/" in thread and thread.rpartition("#")[2].isdigit() for thread in kind.threads)
    assert all(option.words for option in kind.options.values())


def test_the_listing_is_json():
    assert [row["name"] for row in json.loads(json.dumps(listing()))] == [*CATALOGUE, *PRESETS]


def test_the_page_is_made_from_the_code():
    """`python -m mockdify.faults.docs > docs/faults.md` makes it again."""
    written = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
    assert written.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=CATALOGUE)
def test_every_fault_has_an_example(kind):
    lines = as_lines(example(kind))
    assert next(lines)


# ---------------------------------------------------------------------- Dify's errors and the edge's
ERRORS = {
    "unauthorized": (401, "unauthorized"),
    "bad-request": (400, "bad_request"),
    "invalid-param": (400, "invalid_param"),
    "app-unavailable": (400, "app_unavailable"),
    "provider-not-initialized": (400, "provider_not_initialize"),
    "provider-quota": (400, "provider_quota_exceeded"),
    "model-unsupported": (400, "model_currently_not_support"),
    "completion-error": (400, "completion_request_error"),
    "forbidden": (403, "forbidden"),
    "conversation-not-found": (404, "not_found"),
    "file-too-large": (413, "file_too_large"),
    "unsupported-file": (415, "unsupported_file_type"),
    "rate-limit": (429, "too_many_requests"),
    "quota": (429, "rate_limit_error"),
    "server-error": (500, "internal_server_error"),
    "unavailable": (503, "service_unavailable"),
}
PAGES = {
    "edge-rate-limit": (429, "1015"),
    "bad-gateway": (502, "502 Bad Gateway"),
    "gateway-timeout": (504, "504 Gateway Time-out"),
    "edge-timeout": (524, "524"),
}


@pytest.mark.parametrize(("fault", "wanted"), ERRORS.items(), ids=ERRORS)
@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
def test_an_error_has_difys_status_code_and_headers(engine, fault, wanted, stream):
    steps = drain(engine, ask(fault=fault, stream=stream))
    head, said = head_of(steps), json_of(steps)
    assert (head.status, said["code"]) == wanted
    assert list(said) == ["code", "message", "status"]
    assert said["status"] == head.status
    headers = dict(head.headers)
    assert headers["X-Version"] == "1.16.1"
    assert headers["Content-Type"] == "application/json"
    assert ("WWW-Authenticate" in headers) == (head.status == 401)
    assert "Retry-After" not in headers


@pytest.mark.parametrize(("fault", "wanted"), PAGES.items(), ids=PAGES)
def test_a_page_of_the_edge_is_html_and_carries_none_of_difys_headers(engine, fault, wanted):
    steps = drain(engine, ask(fault=f"{fault};retry_after=3"))
    headers = dict(head_of(steps).headers)
    assert head_of(steps).status == wanted[0]
    assert wanted[1] in body_of(steps).decode()
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Server"] in ("nginx", "cloudflare")
    assert headers["Retry-After"] == "3"
    assert not headers.keys() & {"X-Version", "X-Env", "Access-Control-Allow-Origin", "Vary"}


@pytest.mark.parametrize("fault", [name for name, kind in CATALOGUE.items() if kind.when == "before"])
def test_a_fault_before_the_reply_uses_up_no_answer_and_leaves_nothing_behind(engine, fault):
    workspace = engine.default
    drain(engine, ask(fault=fault, user="pat"))
    assert not workspace.store.user("chat", "pat", BEGIN).conversations
    assert workspace.journal.last.answer is None
    assert workspace.journal.last.fault == fault
    assert workspace.journal.last.user == "pat"


def test_the_text_of_an_error_can_be_another(engine):
    assert json_of(drain(engine, ask(fault="forbidden; message=Nope")))["message"] == "Nope"
    assert json_of(drain(engine, ask(fault="conversation-not-found; message=404")))["message"] == "404"


def test_a_missing_conversation_has_difys_suggestions(engine):
    message = json_of(drain(engine, ask(fault="conversation-not-found")))["message"]
    assert message.startswith(
        "Conversation Not Exists. You have requested this URI [/v1/chat-messages] but did you mean"
    )


@pytest.mark.parametrize(("profile", "text"), [("1.16", ""), ("1.13", "File size exceeded. {message}")])
def test_a_text_that_differs_by_release_is_that_of_the_profile(profile, text):
    engine = make_engine(profile=PROFILES[profile])
    assert json_of(drain(engine, ask(fault="file-too-large")))["message"] == text


def test_texts_name_the_app_s_model_and_the_workspace(engine):
    model = engine.default.apps["chat"].app.model.name
    assert (
        json_of(drain(engine, ask(fault="provider-not-initialized")))["message"]
        == f"Model {model} credentials is not initialized."
    )
    workflow = json_of(drain(engine, ask(app="workflow", fault="provider-not-initialized")))["message"]
    assert workflow.startswith("No valid model provider credentials")
    assert json_of(drain(engine, ask(fault="quota")))["message"].endswith(engine.default.tenant_id)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("1", "1"),
        ("0", "0"),
        ("0.5", "0.5"),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ("2;as_date=true", "Wed, 18 Nov 2026 11:06:42 GMT"),
    ],
)
def test_retry_after_in_a_header_is_sent_as_it_stands(engine, given, sent):
    assert dict(head_of(drain(engine, ask(fault=f"rate-limit;retry_after={given}"))).headers)["Retry-After"] == sent


@pytest.mark.parametrize(("given", "sent"), [(1, "1"), (0.2, "1"), (1.5, "2"), (0, "0"), ("0.5", "0.5")])
def test_retry_after_as_a_number_is_rounded_up(engine, given, sent):
    engine.default.faults.inject("rate-limit", retry_after=given)
    assert dict(head_of(drain(engine, ask())).headers)["Retry-After"] == sent


def test_a_delay_comes_before_the_fault(engine):
    steps = drain(engine, ask(fault="gateway-timeout; delay=60s"))
    assert steps[0] == Wait(BEGIN + 60)
    assert status_of(steps) == 504


# ---------------------------------------------------------------------- transport
def test_reset_sends_nothing(engine):
    assert drain(engine, ask(fault="reset")) == [Abort("reset")]


def test_hang_sends_nothing_and_waits_for_ever(engine):
    assert drain(engine, ask(fault="hang", stream=False)) == [Wait(FOREVER)]


def test_garbage_is_no_http(engine):
    raw, end = drain(engine, ask(fault="garbage"))
    assert isinstance(raw, Raw)
    assert not raw.data.startswith(b"HTTP")
    assert end == Abort("close")


def test_a_truncated_body_promises_more_than_it_sends(engine):
    head, body, end = drain(engine, ask(fault="truncated-body"))
    assert isinstance(head, Head)
    assert isinstance(body, Body)
    assert head.status == 200
    assert head.wire is not None
    assert head.wire.until_close
    assert 0 < len(body.data) < (head.length or 0)
    assert end == Abort("close")
    assert len(body_of(drain(engine, ask(fault="truncated-body; byte=10")))) == 10
    whole = drain(engine, ask(fault="truncated-body; byte=100000"))
    assert len(body_of(whole)) < (head_of(whole).length or 0)


def test_bad_json_has_its_length_and_does_not_parse(engine):
    steps = drain(engine, ask(fault="bad-json"))
    assert dict(head_of(steps).headers)["Content-Type"].startswith("application/json")
    assert head_of(steps).length == len(body_of(steps))
    with pytest.raises(json.JSONDecodeError):
        json_of(steps)


# ---------------------------------------------------------------------- in the stream
STREAMS = {
    "cut; after=2": ["message", "message", "(end)"],
    "cut": ["(end)"],
    "cut; after=99": [*HONEST, "(end)"],
    "reset-stream; after=1": ["message", "(reset)"],
    "half-chunk; after=1": ["message", "(raw)", "(close)"],
    "half-chunk; after=99": [*HONEST, "(raw)", "(close)"],
    "error-event; after=2": ["message", "message", "error"],
    "error-event": ["error"],
    "error-event; after=99": [*HONEST, "error"],
    "stall; after=3": ["message", "message", "message"],
    "slow; delay=1": HONEST,
    "no-end": HONEST[:-1],
    "duplicate-end": [*HONEST, "message_end"],
    "unknown-event; after=1": ["message", "event_of_tomorrow", *HONEST[1:]],
    "unknown-event; name=x": ["x", *HONEST],
    "malformed-event; after=2": ["message", "message", "?", *HONEST[2:]],
}


@pytest.mark.parametrize(("fault", "wanted"), STREAMS.items(), ids=STREAMS)
def test_a_stream_is_damaged_where_it_should_be(engine, fault, wanted):
    steps = drain(engine, ask("hi", fault=fault))
    assert head_of(steps).length is None
    assert dialogue(steps) == wanted


IN_STREAMS = [name for name, kind in CATALOGUE.items() if kind.when in ("stream", "framing")]


@pytest.mark.parametrize("fault", IN_STREAMS)
def test_a_fault_in_streams_does_nothing_to_a_blocking_answer(engine, fault):
    engine.default.faults.inject(fault)
    steps = drain(engine, ask(stream=False))
    assert json_of(steps)["event"] == "message"
    assert engine.default.journal.last.fault is None
    assert engine.default.faults.rules[0].met == 0


@pytest.mark.parametrize("fault", IN_STREAMS)
def test_a_fault_in_streams_does_nothing_to_an_error(engine, fault):
    plain = drain(make_engine(), ask("", conversation_id="00000000-0000-4000-8000-000000000000"))
    damaged = drain(engine, ask("", fault=fault, conversation_id="00000000-0000-4000-8000-000000000000"))
    assert (head_of(damaged), body_of(damaged)) == (head_of(plain), body_of(plain))


@pytest.mark.parametrize("fault", ["cut", "reset-stream", "half-chunk", "stall"])
@pytest.mark.parametrize("byte", [0, 1, 100, 400])
def test_a_stream_can_be_damaged_at_a_byte(engine, fault, byte):
    whole = body_of(drain(make_engine(), ask("hi")))
    steps = drain(engine, ask("hi", fault=f"{fault}; byte={byte}"))
    sent = body_of(steps)
    for step in steps:
        if isinstance(step, Raw):
            sent += step.data.partition(b"\r\n")[2]
    assert sent == whole[:byte]


def test_pings_and_waits_pass_and_do_not_count():
    """A chatflow's stream begins with a ping; `after` counts what has data."""
    engine = make_engine()
    assert dialogue(drain(engine, ask(app="chatflow", fault="cut; after=1"))) == ["ping", "workflow_started", "(end)"]
    assert dialogue(drain(engine, ask(app="chatflow", fault="cut"))) == ["(end)"]


def test_a_stall_waits_for_ever_without_pings(engine):
    steps = drain(engine, ask("hi", fault="stall; after=1"))
    assert steps[-1] == Wait(FOREVER)


def test_pings_only_sends_its_events_and_then_pings(engine):
    steps = drain(engine, ask("hi", fault="pings-only; after=2"), most=20)
    assert dialogue(steps)[:5] == ["message", "message", "ping", "ping", "ping"]
    waits = [step for step in steps if isinstance(step, Wait)]
    assert all(wait == Wait(BEGIN + engine.default.template.ping_interval, real=True) for wait in waits)


def test_pings_only_ends_for_whoever_drains_it(engine):
    assert len(drain(engine, ask("hi", fault="pings-only"), most=10_000_000)) < 1_000_000


def test_pings_only_can_have_a_pace_of_its_own(engine):
    steps = drain(engine, ask("hi", fault="pings-only; every=50ms"), most=6)
    assert Wait(BEGIN + 0.05, real=True) in steps


def test_slow_pauses_before_each_event_and_pings_in_long_pauses():
    clock = [BEGIN]
    engine = make_engine(now=lambda: clock[0])
    said, waits = [], []
    for step in engine.handle(ask("hi", fault="slow; delay=25; after=1")):
        if isinstance(step, Wait):
            waits.append(step.until - clock[0])
            clock[0] = step.until
        elif isinstance(step, Body):
            said += names_of(step.data)
    assert said == ["message", *(["ping", "ping", "message"] * 3), "ping", "ping", "message_end"]
    assert waits == [10, 10, 5] * 4


def test_an_error_event_says_what_it_is_told_in_the_stream_s_envelope(engine):
    steps = drain(engine, ask("hi", fault="error-event; after=1; code=quota; status=402; message=no more"))
    first, error = (json.loads(chunk.removeprefix(b"data: ")) for chunk in chunks_of(steps))
    assert error == {
        "event": "error",
        "conversation_id": first["conversation_id"],
        "message_id": first["message_id"],
        "created_at": first["created_at"],
        "code": "quota",
        "status": 402,
        "message": "no more",
    }


def test_the_envelope_of_an_error_is_known_although_nothing_was_sent(engine):
    (error,) = chunks_of(drain(engine, ask("hi", fault="error-event")))
    assert json.loads(error.removeprefix(b"data: "))["conversation_id"]


def test_no_end_leaves_out_both_ends_of_a_chatflow(engine):
    said = dialogue(drain(engine, ask(app="chatflow", fault="no-end")))
    assert not {"message_end", "workflow_finished"} & set(said)
    assert "node_finished" in said


def test_a_graph_goes_on_when_its_stream_is_broken(engine):
    drain(engine, ask(app="workflow", fault="reset-stream; after=1", user="pat"))
    (run,) = engine.default.store.app("workflow").runs.values()
    assert run.status == "succeeded"


def test_a_chat_stops_when_its_stream_is_broken(engine):
    drain(engine, ask("hi", fault="reset-stream; after=1", user="pat"))
    (message,) = engine.default.store.user("chat", "pat", BEGIN).messages.values()
    assert message.answer == ""
    assert not engine.default.tasks


@pytest.mark.parametrize(
    ("fault", "ended"),
    [
        ("reset", "aborted"),
        ("cut;after=1", "aborted"),
        ("half-chunk", "aborted"),
        ("error-event", "complete"),
        ("chop", "complete"),
    ],
)
def test_the_journal_says_how_it_ended(engine, fault, ended):
    drain(engine, ask("hi", fault=fault))
    assert engine.default.journal.last.ended == ended


def test_a_get_can_be_struck_too(engine):
    assert status_of(drain(engine, get("/v1/info", fault="server-error"))) == 500


def test_a_fault_never_strikes_before_the_key_is_known(engine):
    assert status_of(drain(engine, ask(key="app-nobody", fault="server-error"))) == 401


# ---------------------------------------------------------------------- framing
def test_chop_makes_no_chunk_longer_than_asked(engine):
    assert {len(chunk) for chunk in chunks_of(drain(engine, ask("hi", fault="chop")))} == {1}
    assert max(len(chunk) for chunk in chunks_of(drain(engine, ask("hi", fault="chop; bytes=7")))) == 7


def test_merge_puts_several_events_in_a_chunk(engine):
    chunks = chunks_of(drain(engine, ask("hi", fault="merge; events=2")))
    assert [len(names_of(chunk)) for chunk in chunks] == [2, 2, 1]


def test_what_is_held_for_a_merge_is_sent_before_the_stream_breaks(engine):
    engine.default.faults.inject("cut", after=2)
    engine.default.faults.inject("merge", events=3)
    assert dialogue(drain(engine, ask("hi"))) == ["message", "message", "(end)"]


def test_connection_close_has_neither_chunks_nor_length(engine):
    head = head_of(drain(engine, ask("hi", fault="connection-close")))
    assert head.wire is not None
    assert head.wire.until_close
    assert head.length is None


def test_framing_faults_can_be_combined(engine):
    for fault in ("chop", "crlf", "connection-close", "bom"):
        engine.default.faults.inject(fault)
    steps = drain(engine, ask("hi"))
    assert {len(chunk) for chunk in chunks_of(steps)} == {1}
    assert body_of(steps).startswith(b"\xef\xbb\xbfdata: ")
    assert b"\r\n\r\n" in body_of(steps)
    assert names_of(body_of(steps)) == HONEST
    assert engine.default.journal.last.fault == "bom, crlf, chop, connection-close"
