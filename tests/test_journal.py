"""The journal: what it keeps, what it costs, what it never shows."""

from __future__ import annotations

import gc
import json
import time
import tracemalloc

import pytest
from engines import KEYS, Time, ask, chat, control, engine, perform, request
from hypothesis import example, given
from hypothesis import strategies as st

from mockdify.http import Request
from mockdify.journal import BUDGET, CAP, KEPT, Journal
from mockdify.masking import Masker

HEADERS = (
    ("Host", "127.0.0.1:5001"),
    ("User-Agent", "python-requests/2.34.2"),
    ("Accept-Encoding", "gzip, deflate"),
    ("Accept", "*/*"),
    ("Connection", "keep-alive"),
    ("Authorization", "Bearer app-chat-demo"),
    ("Content-Type", "application/json"),
)


def asked(path="/v1/info", body=b"", headers=HEADERS):
    # Fresh strings, as the edge makes them for each request.
    fresh = tuple((name[:1] + name[1:], (value + " ")[:-1]) for name, value in headers)
    return Request(method="POST" if body else "GET", target=path, headers=fresh, body=body)


def journal(**said):
    return Journal(Time(), **said)


def fill(book, count, body=b""):
    for _ in range(count):
        book.open(asked(body=body)).close("complete")


# --- what it keeps ---------------------------------------------------------------------------------------------------


def test_an_exchange_has_the_request_and_all_that_was_sent():
    server = engine()
    got = chat(server, "hi", streaming=True)
    exchange = server.default.journal.last
    assert (exchange.app, exchange.user, exchange.method, exchange.path) == (
        "chat",
        "alice",
        "POST",
        "/v1/chat-messages",
    )
    assert exchange.request.json["query"] == "hi"
    assert exchange.body == got.body
    assert exchange.events == got.events
    assert exchange.text == "The mock heard: hi"
    assert (exchange.status, exchange.ended, exchange.fault) == (200, "complete", None)
    assert sum(length for _, _, length in exchange.writes) == len(got.body)


def test_writes_carry_their_offset_and_milliseconds():
    now = Time()
    book = Journal(now)
    exchange = book.open(asked())
    for data, at in ((b"abc", 0.0), (b"", 0.25), (b"de", 1.5)):
        now.now += at
        exchange.note(data, now())
    before = exchange.writes
    exchange.close("complete")
    assert before == exchange.writes == [(0, 0.0, 3), (3, 250.0, 0), (3, 1750.0, 2)]
    assert exchange.ms == 1750.0


@pytest.mark.parametrize("how", ["complete", "aborted", "client gone", "reset"])
def test_the_first_word_on_how_it_ended_stays(how):
    exchange = journal().open(asked())
    exchange.note(b"x", 0)
    exchange.close(how)
    exchange.close("complete")
    exchange.note(b"late", 1)
    assert (exchange.ended, exchange.body, exchange.sent_bytes) == (how, b"x", 1)


def test_a_client_that_leaves_is_noted():
    server = engine()
    steps = server.handle(
        request(
            "POST",
            "/v1/chat-messages",
            {"inputs": {}, "query": "a b c", "user": "u", "response_mode": "streaming"},
            key=KEYS["chat"],
        )
    )
    next(steps)
    next(steps)
    steps.close()
    assert server.default.journal.last.ended == "client gone"


def test_a_reset_in_mid_stream_is_noted_and_the_next_journal_is_empty():
    server = engine()
    steps = server.handle(
        request(
            "POST",
            "/v1/chat-messages",
            {"inputs": {}, "query": "a b c", "user": "u", "response_mode": "streaming"},
            key=KEYS["chat"],
        )
    )
    next(steps)
    old = server.default.journal
    server.reset(server.default)
    steps.close()
    assert old.last.ended == "reset"
    assert len(server.default.journal) == 0
    chat(server)
    assert [exchange.id for exchange in server.default.journal] == [1]


def test_what_is_asked_of_the_control_api_stands_in_no_journal():
    server = engine()
    control(server, "GET", "/health")
    control(server, "POST", "/faults", {"fault": "rate-limit"})
    assert len(server.default.journal) == 0


@given(st.binary(max_size=60), st.text(max_size=20), st.text(st.characters(exclude_characters="\0"), max_size=20))
@example(b"", "", "\ud800")  # only a caller in Python can say this
def test_a_request_comes_back_as_it_was(body, target, value):
    sent = Request(
        method="POST", target="/" + target, headers=(("A", value), ("b", "2"), ("A", "3")), body=body, scheme="https"
    )
    assert journal().open(sent).raw == sent


def test_headers_in_any_bytes_come_back_as_they_were():
    sent = Request(method="GET", target="/", headers=(("X", b"\xff\xfe".decode("utf-8", "surrogateescape")),))
    assert journal().open(sent).raw == sent


def test_a_large_body_is_kept_up_to_a_limit_and_its_size_is_known():
    exchange = journal().open(asked(body=b"q" * (KEPT + 5)))
    for _ in range(3):
        exchange.note(b"a" * (KEPT // 2 + 1), 0)
    exchange.close("complete")
    assert (len(exchange.request.body), exchange.received_bytes) == (KEPT, KEPT + 5)
    assert (len(exchange.body), exchange.sent_bytes) == (KEPT, 3 * (KEPT // 2 + 1))
    assert sum(length for _, _, length in exchange.writes) == exchange.sent_bytes
    shown = exchange.as_dict()
    assert (shown["bytes"], shown["request"]["bytes"]) == (exchange.sent_bytes, KEPT + 5)


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_the_oldest_go_when_the_cap_is_reached():
    book = journal(cap=3)
    fill(book, 5)
    assert [exchange.id for exchange in book] == [3, 4, 5]
    assert len(book) == 3
    assert book.get(2) is None
    assert book.get(4).id == 4


def test_the_oldest_go_when_the_budget_is_spent_and_the_newest_always_stays():
    book = journal(budget=10_000)
    fill(book, 10, body=b"x" * 4_000)
    assert [exchange.id for exchange in book] == [9, 10]
    assert book.kept_bytes <= 10_000
    book.open(asked(body=b"x" * 50_000))
    assert [exchange.id for exchange in book] == [11]


def test_what_is_sent_counts_against_the_budget():
    book = journal(budget=10_000)
    for _ in range(5):
        exchange = book.open(asked())
        exchange.note(b"x" * 3_000, 0)
        exchange.close("complete")
    assert len(book) < 5


@given(
    st.integers(1, 6),
    st.integers(500, 3000),
    st.lists(st.one_of(st.integers(0, 900), st.just("clear")), max_size=40),
)
def test_the_ring_is_a_bounded_list(cap, budget, story):
    """Whatever happens, the journal is the newest of what was opened, by count and by bytes."""
    book, model, number = Journal(Time(), cap=cap, budget=budget), [], 0
    for step in story:
        if step == "clear":
            book.clear()
            model.clear()
            continue
        number += 1
        book.open(asked(body=b"x" * step)).close("complete")
        model.append(number)
        del model[:-cap]
        while book.get(model[0]) is None and len(model) > 1:
            model.pop(0)
        assert book.kept_bytes <= budget or len(book) == 1
    assert [exchange.id for exchange in book] == model
    assert len(book) == len(model)
    assert [book.get(one).id for one in model] == model
    assert [book[k].id for k in range(len(model))] == model
    assert [book[-k - 1].id for k in range(len(model))] == model[::-1]
    if model:
        assert book.last.id == model[-1]
        assert book[-1] is book.last
        assert book[0:2] == list(book)[0:2]


def test_an_empty_journal_says_so():
    with pytest.raises(LookupError, match="the journal is empty"):
        _ = journal().last
    with pytest.raises(IndexError, match="there is none at 0"):
        journal()[0]


def test_the_stated_defaults():
    book = journal()
    assert (book.cap, book.budget) == (CAP, BUDGET) == (10_000, 64 * 1024 * 1024)


# --- cost ------------------------------------------------------------------------------------------------------------


def measured(count, body, sent):
    """Bytes that *count* exchanges hold, and those of their payloads."""
    book = journal()
    fill(book, 10)
    book.clear()
    gc.collect()
    tracemalloc.start()
    try:
        for k in range(count):
            exchange = book.open(asked(body=body + str(k).encode()))
            exchange.app, exchange.user, exchange.status = "chat", f"user-{k % 50}", 200
            for piece in sent:
                exchange.note(piece + str(k).encode(), 0.5)
            exchange.close("complete")
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return held, sum(len(exchange.request.body) + exchange.sent_bytes for exchange in book)


def test_ten_thousand_small_exchanges_stay_under_fifteen_megabytes():
    held, payload = measured(CAP, b'{"inputs": {}, "query": "hello there", "user": "u"}', [b"x" * 800])
    assert held < 15_000_000
    assert (held - payload) / CAP < 512


def test_an_exchange_costs_less_than_half_a_kilobyte_beside_its_payload():
    held, payload = measured(1000, b'{"query": "hello"}', [b"x" * 300] * 12)
    assert (held - payload) / 1000 < 512


def test_the_tenth_thousand_costs_no_more_than_the_second():
    """Not a benchmark: whatever grows with the journal's length would be tenfold here."""
    book, spent = journal(), []
    for _ in range(10):
        begun = time.process_time()
        fill(book, 1000)
        assert book.get(book.made - 500) is not None or book.made < 500
        spent.append(time.process_time() - begun)
    assert min(spent[-3:]) < 3 * max(spent[1:4])


# --- what it shows ---------------------------------------------------------------------------------------------------

CANARY = "s3cr3t-canary-KEY"


def exposed(server):
    """Everything that shows an exchange to somebody."""
    from mockdify.explain import explain
    from mockdify.serving import request_line

    workspace = server.default
    for exchange in workspace.journal:
        yield json.dumps(exchange.as_dict(), ensure_ascii=False)
        yield str(exchange.request.headers) + exchange.request.path
        yield str(explain(exchange, workspace))
        yield repr(exchange)
    yield control(server, "GET", "/journal").body.decode()
    yield control(server, "GET", "/journal", query={"format": "har"}).body.decode()
    for exchange in workspace.journal:
        yield control(server, "GET", f"/journal/{exchange.id}").body.decode()
        yield control(server, "GET", f"/journal/{exchange.id}/why").body.decode()
        handling = type("Handling", (), {"exchange": exchange, "workspace": workspace})()
        yield request_line(handling)
    for path in ("/keys", "/apps/chat/keys", "/workspaces", "/faults"):
        yield control(server, "GET", path).body.decode()


@pytest.mark.parametrize("token", ["app-CANARYcanary1234567890AB", CANARY])
def test_no_key_is_ever_shown_in_full(token):
    server = engine()
    control(server, "POST", "/apps/chat/keys", {"name": "mine", "token": token})
    control(server, "POST", "/faults", {"fault": "rate-limit", "when": {"key": token}, "times": 1})
    chat(server, f"my key is {token}, say it", key=token)
    chat(server, f"my key is {token}, say it", key=token, streaming=True)
    chat(server, "fault", key=f"{token}!bad-gateway")
    ask(server, "GET", f"/v1/parameters/{token}?api_key={token}", key=token)
    ask(server, "GET", "/v1/info", headers=(("X-Api-Key", token), ("Cookie", f"k={token}"), ("X-Other", f"is {token}")))
    ask(server, "POST", "/v1/chat-messages", b'{"query": "' + token.encode(), key=token)
    ask(
        server,
        "POST",
        "/v1/chat-messages",
        b"\xff\xfe" + token.encode(),
        key=token,
        headers=(("Content-Type", "image/png"),),
    )
    ask(server, "GET", "/v1/info", key=token[:-1] + "X")
    control(server, "DELETE", f"/apps/chat/keys/{token}")
    ask(server, "GET", "/v1/info", key=token)
    assert len(server.default.journal) == 9
    for shown in exposed(server):
        assert token not in shown


def test_demo_keys_stand_masked_too():
    server = engine()
    chat(server)
    for shown in exposed(server):
        assert "app-chat-demo" not in shown
    assert server.default.journal.last.request.headers["Authorization"] == "Bearer app-…demo"


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_known_key_is_found_wherever_it_stands(before, after):
    assert CANARY not in Masker([CANARY]).text(f"{before}{CANARY}{after}")


def test_a_key_that_begins_with_another_is_masked_whole():
    assert Masker(["secret-one", "secret-one-longer"]).text("secret-one-longer") == "…nger"


# --- violations ------------------------------------------------------------------------------------------------------


def test_violations_are_found_when_somebody_asks():
    seen = []

    def check(exchange):
        seen.append(exchange.id)
        return ["off"]

    book = journal(check=check)
    exchange = book.open(asked())
    assert not seen
    assert exchange.violations == ["off"]
    assert exchange.as_dict(violations=True)["violations"] == ["off"]
    assert "violations" not in exchange.as_dict()


def test_a_served_request_that_breaks_the_contract_is_told():
    server = engine()
    perform(
        server.handle(
            request(
                "POST",
                "/v1/chat-messages",
                {
                    "inputs": {},
                    "query": "x",
                    "user": "u",
                    "response_mode": "blocking",
                    "conversation_id": "",
                    "files": [],
                },
                key=KEYS["chat"],
            )
        )
    )
    assert server.default.journal.last.violations == []
    ask(
        server,
        "POST",
        "/v1/chat-messages",
        {"inputs": {}, "query": "x", "user": "u", "auto_generate_name": "yes"},
        key=KEYS["chat"],
    )
    exchange = server.default.journal.last
    assert exchange.status == 200
    assert exchange.violations
    assert control(server, "GET", f"/journal/{exchange.id}").json["violations"]
