"""What really goes over the wire, and what becomes of the server when a client leaves or it stops."""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from contextlib import closing

import pytest
from fault_support import GENERATE, Server, ask, names_of, serving

from mockdify.faults import CATALOGUE
from mockdify.faults.docs import as_lines
from mockdify.steps import Body

PATIENCE = 5.0
LEFT_OUT = ("Date: ", "Connection: keep-alive")
"""What the page does not show of a head."""


@pytest.fixture(scope="module")
def server():
    with serving(ping_interval=0.05) as running:
        yield running


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


def send(sock: socket.socket, fault: str = "", *, app: str = "chat", user: str = "u", stream: bool = True) -> None:
    request = ask(app=app, user=user, stream=stream, fault=fault or None)
    lines = [
        f"POST {GENERATE.get(app, '/v1/chat-messages')} HTTP/1.1",
        "Host: x",
        f"Content-Length: {len(request.body)}",
    ]
    lines += [f"{name}: {value}" for name, value in request.headers]
    sock.sendall("\r\n".join([*lines, "", ""]).encode() + request.body)


def read_all(sock: socket.socket) -> tuple[bytes, str]:
    """Everything up to the end of the answer, and how it ended."""
    got = b""
    try:
        while True:
            piece = sock.recv(65536)
            if not piece:
                return got, "FIN"
            got += piece
            if got.endswith(b"\r\n0\r\n\r\n"):
                return got, "last chunk"
            head, _, body = got.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            if length and len(body) == int(length[1]):
                return got, "length"
    except ConnectionResetError:
        return got, "RST"


def answer(server: Server, fault: str, **said) -> tuple[bytes, str]:
    with closing(connect(server)) as sock:
        send(sock, fault, **said)
        return read_all(sock)


def chunks_on_wire(raw: bytes) -> list[bytes]:
    """The HTTP chunks of a chunked answer."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    found = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            break
        found.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return found


# ---------------------------------------------------------------------- bytes
@pytest.mark.parametrize(
    ("fault", "ended"),
    [
        ("reset", "RST"),
        ("reset-stream;after=2", "RST"),
        ("reset-stream;byte=100", "RST"),
        ("garbage", "FIN"),
        ("half-chunk;after=1", "FIN"),
        ("half-chunk;byte=10", "FIN"),
        ("truncated-body", "FIN"),
        ("connection-close", "FIN"),
        ("cut;after=1", "last chunk"),
        ("no-end", "last chunk"),
    ],
)
def test_how_the_connection_ends(server, fault, ended):
    assert answer(server, fault)[1] == ended


def test_nothing_follows_what_was_broken_off(server):
    """No second answer comes on a connection that a fault closed."""
    raw, _ = answer(server, "garbage")
    assert b"HTTP/1.1" not in raw
    raw, _ = answer(server, "truncated-body")
    assert raw.count(b"HTTP/1.1") == 1
    promised = int(re.search(rb"Content-Length: (\d+)", raw)[1])
    assert 0 < len(raw.partition(b"\r\n\r\n")[2]) < promised


def test_half_a_chunk_is_half_of_what_its_size_says(server):
    raw, _ = answer(server, "half-chunk;after=1")
    _, _, rest = raw.partition(b"\r\n\r\n")
    size, _, rest = rest.partition(b"\r\n")
    rest = rest[int(size, 16) + 2 :]
    size, _, half = rest.partition(b"\r\n")
    assert len(half) == int(size, 16) // 2


def test_a_connection_goes_on_after_a_clean_cut(server):
    """`cut` damages the answer, not HTTP."""
    with closing(connect(server)) as sock:
        for _ in range(2):
            send(sock, "cut;after=1")
            raw, ended = read_all(sock)
            assert (ended, len(chunks_on_wire(raw))) == ("last chunk", 1)


@pytest.mark.parametrize("coalesce", [False, True])
def test_chunk_borders_are_those_of_the_fault_also_where_streams_go_out_in_few_pieces(coalesce):
    with serving(coalesce=coalesce) as server:
        assert max(map(len, chunks_on_wire(answer(server, "chop;bytes=3")[0]))) == 3
        assert any(chunk[-1] >= 0xC0 for chunk in chunks_on_wire(answer(server, "split-utf8")[0]))
        assert any(chunk.endswith(b"\r") for chunk in chunks_on_wire(answer(server, "split-crlf")[0]))
        assert [len(names_of(chunk)) for chunk in chunks_on_wire(answer(server, "merge;events=2")[0])] == [2, 2, 1]


def test_connection_close_has_no_chunks_and_says_so(server):
    head, _, body = answer(server, "connection-close")[0].partition(b"\r\n\r\n")
    assert b"\r\nConnection: close" in head
    assert b"Transfer-Encoding" not in head
    assert b"Content-Length" not in head
    assert names_of(body)[-1] == "message_end"


@pytest.mark.parametrize(
    "fault", [name for name, kind in CATALOGUE.items() if kind.when == "framing" and name != "connection-close"]
)
def test_a_stream_is_chunked_and_never_has_a_length(server, fault):
    chunks = chunks_on_wire(answer(server, fault)[0])
    assert [name for name in names_of(chunks) if name != "ping"][-1] == "message_end"


def test_the_wire_is_what_the_page_shows():
    """The examples of the page and the real bytes come from the same steps."""
    for fault in ("rate-limit", "bad-gateway", "cut", "chop", "connection-close", "truncated-body"):
        with serving(clock_frozen=True) as server:
            raw, _ = answer(server, fault)
        with serving(clock_frozen=True) as server:
            steps = list(server.engine.handle(ask(fault=fault, user="u")))
        head, _, body = raw.partition(b"\r\n\r\n")
        shown = list(as_lines(steps))
        wire_head = {line for line in head.decode().split("\r\n") if not line.startswith(LEFT_OUT)}
        assert wire_head == set(shown[: shown.index("")])
        sent = b"".join(step.data for step in steps if isinstance(step, Body))
        ids = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}|\d{10}|\d+\.\d+(e-\d+)?")
        got = b"".join(chunks_on_wire(raw)) if b"chunked" in head else body
        assert ids.sub(b"", got) == ids.sub(b"", sent)


# ---------------------------------------------------------------------- silence
def journal_of(server: Server):
    return server.engine.default.journal


@pytest.mark.parametrize("fault", ["hang", "stall;after=1", "pings-only;after=1"])
@pytest.mark.parametrize("app", ["chat", "chatflow"])
def test_a_silent_reply_ends_when_its_client_leaves(server, fault, app):
    before = len(journal_of(server))
    with closing(connect(server)) as sock:
        send(sock, fault, app=app)
        if fault != "hang":
            assert b"200 OK" in sock.recv(65536)
        assert server.until(lambda: len(journal_of(server)) > before and journal_of(server).last.fault is not None)
        exchange = journal_of(server).last
        assert exchange.ended == "open"
    assert server.until(lambda: exchange.ended == "client gone")
    assert server.until(lambda: not server.edge._background)


def test_a_hang_sends_no_byte(server):
    with closing(connect(server)) as sock:
        send(sock, "hang")
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_a_stall_sends_no_pings_and_pings_only_does(server):
    for fault, wanted in (("stall;after=1", {"message"}), ("pings-only;after=1", {"message", "ping"})):
        with closing(connect(server)) as sock:
            send(sock, fault)
            sock.settimeout(0.2)
            got = b""
            end = time.monotonic() + 0.2
            while time.monotonic() < end:
                try:
                    got += sock.recv(65536)
                except TimeoutError:
                    break
        assert set(names_of(chunks_on_wire(got))) == wanted


@pytest.mark.parametrize("fault", ["hang", "stall", "pings-only", ""])
def test_a_server_stops_at_once_whatever_hangs(fault):
    with serving(ping_interval=0.05) as server, closing(connect(server)) as sock:
        send(sock, fault or "slow;delay=60")
        assert server.until(lambda: len(journal_of(server)) == 1 and journal_of(server).last.fault is not None)
        begin = time.monotonic()
        server.stop()
        assert time.monotonic() - begin < 2
        assert read_all(sock)[1] in ("FIN", "RST")


def test_a_reset_of_the_workspace_ends_what_hangs(server):
    with closing(connect(server)) as sock:
        send(sock, "hang", user="reset")
        assert server.until(lambda: any(exchange.user == "reset" for exchange in journal_of(server)))
        server.call(lambda: server.engine.reset(server.engine.default))
        assert read_all(sock)[1] in ("FIN", "RST")


def test_pings_come_in_real_time_although_the_clock_is_frozen():
    with serving(clock_frozen=True, ping_interval=0.05) as server:
        before = server.engine.default.clock.now()
        with closing(connect(server)) as sock:
            send(sock, "pings-only")
            got = b""
            end = time.monotonic() + 0.25
            while time.monotonic() < end:
                got += sock.recv(65536)
        assert 1 <= names_of(chunks_on_wire(got)).count("ping") <= 6
        assert server.engine.default.clock.now() == before


# ---------------------------------------------------------------------- who goes on
@pytest.mark.parametrize(
    "fault", ["", "stall;after=1", "pings-only;after=1", "reset-stream;after=1", "cut;after=1", "half-chunk;after=1"]
)
def test_a_workflow_goes_on_without_its_client(server, fault):
    """The run is finished and kept, whether the client left, the network broke or a fault did it."""
    user = f"goes on {fault}"
    with closing(connect(server)) as sock:
        send(sock, fault or "slow;delay=20ms", app="workflow", user=user)
        sock.recv(65536)
        if not fault or fault.startswith(("stall", "pings")):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    runs = server.engine.default.store.app("workflow").runs
    assert server.until(lambda: [run.status for run in runs.values() if run.user == user] == ["succeeded"])


def test_a_chat_stays_as_it_was(server):
    answer(server, "reset-stream;after=1", user="stays")
    (message,) = server.engine.default.store.user("chat", "stays", 0).messages.values()
    assert message.answer == ""
    assert server.until(lambda: not server.engine.default.tasks)


def test_a_broken_answer_is_followed_by_a_whole_one(server):
    """What a fault broke does no harm to the next request."""
    for fault in CATALOGUE:
        if fault in ("hang", "stall", "pings-only"):
            continue
        answer_or_error(server, fault)
    with closing(connect(server)) as sock:
        send(sock)
        raw, ended = read_all(sock)
    assert ended == "last chunk"
    assert names_of(chunks_on_wire(raw))[-1] == "message_end"


def answer_or_error(server: Server, fault: str) -> None:
    with closing(connect(server)) as sock:
        send(sock, fault + (";delay=1ms" if fault == "slow" else ""))
        try:
            sock.recv(65536)
        except ConnectionResetError:
            return


def test_the_journal_keeps_what_went_out(server):
    raw, _ = answer(server, "half-chunk;after=1", user="kept")
    exchange = journal_of(server).last
    assert server.until(lambda: exchange.ended == "aborted")
    assert exchange.fault == "half-chunk"
    assert exchange.user == "kept"
    assert exchange.body.endswith(raw[-40:])
    assert json.loads(json.dumps(exchange.as_dict()))["fault"] == "half-chunk"
