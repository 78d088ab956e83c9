"""Bodies: large, larger than that, late, broken, compressed; the answer comes when it is known and nothing stays."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live import HARD, KEYS, get, make_engine, post, request, said_to, serving

from mockdify.engine import BODY_LIMIT
from mockdify.http import Request
from mockdify.multipart import parse_multipart

CHAT, UPLOAD = "/v1/chat-messages", "/v1/files/upload"
FORM = "multipart/form-data; boundary=frontier"
MB = 1024 * 1024


def form_of(data, name="a.bin", kind="application/octet-stream", user="alice"):
    return (
        (
            f'--frontier\r\nContent-Disposition: form-data; name="user"\r\n\r\n{user}\r\n'
            f'--frontier\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            f"Content-Type: {kind}\r\n\r\n"
        ).encode()
        + data
        + b"\r\n--frontier--\r\n"
    )


def upload(data, name="a.bin", kind="application/octet-stream", key=KEYS["chat"], **headers):
    return post(UPLOAD, form_of(data, name, kind), key, Content_Type=FORM, **headers)


def chunked(data, size=1000):
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def as_chunked(message, size=1000):
    head, _, body = message.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked"]) + b"\r\n\r\n" + chunked(body, size)


@pytest.fixture
def live():
    with serving() as running:
        yield running
        running.assert_at_rest()


@pytest.fixture
def impatient():
    with serving(edge={"patience": 0.1, "keepalive": 0.2}) as running:
        yield running
        running.assert_at_rest()


# ---------------------------------------------------------------------- taken
def test_a_body_may_come_in_chunks(live):
    message = post(CHAT, said_to("chat", "hi", mode="blocking"))
    assert live.ask(as_chunked(message, 7)).status == 200
    assert live.ask(as_chunked(upload(b"x" * 3000))).json["size"] == 3000


def test_a_body_may_come_byte_by_byte(live):
    with live.peer() as peer:
        for byte in post(CHAT, said_to("chat", "hi", mode="blocking")):
            peer.send(bytes([byte]))
        assert peer.answer().status == 200


def test_a_query_of_20_mb_is_answered(live):
    query = "x" * (20 * MB)
    answer = live.ask(post(CHAT, said_to("chat", query, mode="blocking")))
    assert answer.status == 200
    assert live.workspace.journal.last.status == 200


def test_20_mb_that_are_no_json_are_400(live):
    assert live.ask(post(CHAT, b"{" * (20 * MB))).code == "bad_request"
    assert live.ask(post(CHAT, b"[" * (20 * MB))).code == "bad_request"
    assert live.ask(post(CHAT, b"\0" * (20 * MB))).code == "bad_request"


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, MB - 400, MB, MB + 1, 5 * MB])
@pytest.mark.parametrize(
    "frame", [lambda message: message, lambda message: as_chunked(message, 300_000)], ids=["length", "chunks"]
)
def test_an_upload_is_the_same_bytes_whether_kept_in_memory_or_in_a_file(live, size, frame):
    data = bytes(range(256)) * (size // 256) + b"\r\n--frontie"[: size % 256]
    made = live.ask(frame(upload(data, "a.pdf", "application/pdf")))
    assert (made.status, made.json["size"]) == (201, len(data))
    source = made.json["source_url"].removeprefix("http://mock")
    assert live.ask(get(source)).body == data


def test_a_large_upload_leaves_its_beginning_in_the_journal_and_its_bytes_once_in_memory(live):
    data = b"x" * (14 * MB)
    assert live.ask(upload(data, "a.pdf", "application/pdf")).status == 201
    exchange = live.workspace.journal.last
    assert exchange.request.body.startswith(b"--frontier\r\n")
    assert len(exchange.request.body) <= 2 * MB
    live.ask(upload(data, "b.pdf", "application/pdf"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        live.ask(upload(data, "c.png", "image/png"))  # refused: too large for an image
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024


# ---------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("name", "size", "status"),
    [
        ("a.png", 10, 201),
        ("a.png", 11, 413),
        ("a.pdf", 15, 201),
        ("a.pdf", 16, 413),
        ("a", 16, 413),
        ("a.mp3", 16, 201),
    ],
)
def test_a_file_over_the_limit_of_its_kind_is_dify_s_413(live, name, size, status):
    answer = live.ask(upload(b"x" * (size * MB), name))
    assert answer.status == status
    if status == 413:
        assert answer.json == {"code": "file_too_large", "message": "", "status": 413}


def test_a_body_said_to_be_beyond_the_proxy_s_limit_is_not_waited_for(live):
    with live.peer() as peer:
        peer.send(upload(b"", Content_Length=str(BODY_LIMIT + 1)))
        answer = peer.answer()
        assert (answer.status, answer.headers["Content-Type"]) == (413, "text/html")
        assert answer.headers["Connection"] == "close"
        assert "X-Version" not in answer.headers
    assert live.workspace.journal.last.status == 413


def test_a_body_that_turns_out_to_be_beyond_the_limit_is_cut_off(live, monkeypatch):
    monkeypatch.setattr("mockdify.engine.BODY_LIMIT", 3 * MB)
    monkeypatch.setattr("mockdify.server.BODY_LIMIT", 3 * MB)
    with live.peer() as peer:
        sender = threading.Thread(target=lambda: peer.send(as_chunked(upload(b"x" * (4 * MB)), 100_000)))
        sender.start()
        assert peer.answer().status == 413
        sender.join()
    assert live.ask(as_chunked(upload(b"x" * (2 * MB)), 100_000)).status == 201


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (upload(b"", key="app-unknown", Content_Length=str(50 * MB)), 401),
        (upload(b"", key="dataset-demo", Content_Length=str(50 * MB)), 401),
        (upload(b"", Content_Length=str(50 * MB)).replace(UPLOAD.encode(), b"/v1/nope"), 404),
        (upload(b"", Content_Length=str(50 * MB)).replace(UPLOAD.encode(), b"/v1/info"), 405),
        (upload(b"", Content_Length=str(50 * MB)).replace(b"Authorization", b"X-Nothing"), 401),
    ],
    ids=["unknown key", "another kind of key", "unknown path", "wrong method", "no key"],
)
def test_who_is_refused_anyway_is_not_made_to_send_it_all(live, message, status):
    with live.peer() as peer:
        assert peer.send(message).answer().status == status


def test_an_app_that_is_switched_off_takes_no_body(live):
    live.workspace.apps["chat"].api_enabled = False
    with live.peer() as peer:
        assert peer.send(upload(b"", Content_Length=str(50 * MB))).answer().status == 403


def test_a_refused_client_may_finish_and_keep_its_connection(live):
    with live.peer() as peer:
        peer.send(upload(b"x" * (2 * MB), key="app-unknown"))
        assert peer.answer().status == 401
        assert peer.send(get("/v1/info")).answer().status == 200


# ---------------------------------------------------------------------- Expect
def test_a_client_that_asks_first_is_told_to_go_on(live):
    body = json.dumps(said_to("chat", "hi", mode="blocking")).encode()
    with live.peer() as peer:
        peer.send(post(CHAT, b"", Content_Length=str(len(body)), Expect="100-continue"))
        assert peer.read_to(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert peer.send(body).answer().status == 200
        assert peer.send(get("/v1/info")).answer().status == 200


def test_a_client_that_asks_first_and_is_refused_is_told_so_at_once(live):
    with live.peer() as peer:
        peer.send(post(UPLOAD, b"", "app-unknown", Content_Length="100", Expect="100-continue"))
        assert peer.answer().status == 401
    with live.peer() as peer:
        peer.send(upload(b"", Content_Length=str(BODY_LIMIT + 1), Expect="100-Continue"))
        assert peer.answer().status == 413


@pytest.mark.parametrize("expect", ["", "200-ok", "100-continue, x", "\xff"])
def test_other_expectations_are_not_heard(live, expect):
    assert live.ask(post(CHAT, said_to("chat", "hi", mode="blocking"), Expect=expect)).status == 200


def test_an_old_client_is_not_told_to_go_on(live):
    message = post(CHAT, said_to("chat", "hi", mode="blocking"), Expect="100-continue").replace(
        b"HTTP/1.1", b"HTTP/1.0"
    )
    head, body = message[:-20], message[-20:]
    with live.peer() as peer:
        peer.send(head)
        live.until(lambda: live.edge._listener.requests_count)
        assert peer.send(body).answer().status == 200


def test_asking_first_without_a_body_is_no_question(live):
    assert live.ask(get("/v1/info", more="Expect: 100-continue\r\n")).status == 200


# ---------------------------------------------------------------------- broken, late, cut off
@pytest.mark.parametrize(
    "tail", [b"zz\r\nabc", b"-1\r\n", b"5\r\nabcdefgh\r\n0\r\n\r\n", b"5\r\nabcde0\r\n\r\n", b"fffffffffffffffff\r\n"]
)
def test_chunks_that_are_none_are_400(live, tail):
    head = as_chunked(post(CHAT, b"")).removesuffix(b"0\r\n\r\n")
    with live.peer() as peer:  # in one piece with the head
        assert peer.send(head + tail).answer().status == 400
        assert peer.is_closed()
    with live.peer() as peer:  # while the body is being read
        peer.send(head + b"3\r\nabc\r\n")
        live.until(lambda: live.edge._listener.requests_count and len(live.edge._listener.connections) == 1)
        peer.send(tail)
        assert peer.answer().status == 400
        assert peer.is_closed()


def test_a_body_that_stops_coming_ends_with_the_connection(impatient):
    for message in (post(CHAT, b"{", Content_Length="100"), as_chunked(post(CHAT, b"")).removesuffix(b"0\r\n\r\n")):
        with impatient.peer() as peer:
            assert peer.send(message).is_closed()
    assert len(impatient.workspace.journal) == 0


def test_a_body_that_drips_is_waited_for(impatient):
    """Patience is counted from the last byte: a slow line is no attack."""
    message = post(CHAT, said_to("chat", "hi", mode="blocking"))
    with impatient.peer() as peer:
        for start in range(0, len(message), 40):
            peer.send(message[start : start + 40])
            impatient.run(asyncio.sleep(0.03))
        assert peer.answer().status == 200


def test_a_client_that_vanishes_in_its_body_was_never_there(live):
    for size in (1, 100_000, 3 * MB):
        peer = live.peer().send(upload(b"x" * size, Content_Length=str(5 * MB)))
        peer.close()
        peer = live.peer().send(upload(b"x" * size, Content_Length=str(5 * MB)))
        peer.reset()
    live.assert_at_rest()
    assert len(live.workspace.journal) == 0


def test_half_a_body_is_no_body(live):
    with live.peer() as peer:
        assert peer.send(post(CHAT, b"{", Content_Length="100")).half_close().is_closed()


def test_a_compressed_body_is_not_unpacked(live):
    """Dify does not, so it is no JSON; and a bomb stays as small as it came."""
    bomb = gzip.compress(b"0" * (20 * MB))
    assert live.ask(post(CHAT, bomb, Content_Encoding="gzip")).code == "bad_request"
    assert live.ask(post(CHAT, b"", Content_Encoding="br")).code == "bad_request"


# ---------------------------------------------------------------------- admission, without a socket
def test_admission_changes_nothing_and_agrees_with_the_answer():
    engine = make_engine()
    for rule, match in [*engine.router._fixed.items(), ("/v1/nope", None), ("/v1/x/../y", None)]:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            for key in (KEYS["chat"], KEYS["workflow"], "dataset-demo", "nobody", f"{KEYS['chat']}!rate-limit"):
                asked = request(method, rule, key=key)
                admitted = engine.admit(asked)
                served = match is not None and method in match.by_method
                assert (admitted > 0) <= served
    assert len(engine.default.journal) == 0
    assert not engine.default.store.users


@HARD
@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from(["GET", "POST", "x"]))
def test_admission_takes_any_head(path, header, method):
    engine = ENGINE
    head = Request(method=method, target=f"/v1/{path}", headers=(("Authorization", header), ("Content-Length", header)))
    assert engine.admit(head) >= 0


ENGINE = make_engine()


@HARD
@given(st.binary(max_size=50), st.booleans())
def test_any_upload_is_answered(data, whole):
    body = form_of(data) if whole else b"--frontier\r\nContent-Disposition: form-data; " + data
    asked = request("POST", UPLOAD, body, content_type=FORM)
    steps = list(ENGINE.handle(asked))
    assert steps[0].status in (201, 400, 413, 415)
    assert len(parse_multipart(asked)) <= 3
