"""What is no HTTP, or only just: an answer as gunicorn and Dify give it, or a clean close."""

from __future__ import annotations

import html
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live import HARD, KEYS, Peer, get, post, said_to, serving

from mockdify.http import Request

CHAT = "/v1/chat-messages"


@pytest.fixture(scope="module")
def live():
    with serving() as running:
        yield running
        running.assert_at_rest()


def page_of(live, data):
    """The words on gunicorn's page for *data*, which ends the connection."""
    with live.peer() as peer:
        answer = peer.send(data).answer()
        assert peer.is_closed()
    assert set(answer.headers) == {"Connection", "Content-Type", "Content-Length"}
    assert answer.headers["Connection"] == "close"
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.body.startswith(b"<html>\n  <head>\n    <title>")
    return answer.status, html.unescape(answer.body.decode()).splitlines()[6].strip()


# ---------------------------------------------------------------------- garbage
@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        pytest.param(
            b"GET /v1/parameters HTTP/9.9 x HTTP/1.1\r\nHost: x\r\n\r\n",
            400,
            "Invalid HTTP Version 'Invalid HTTP Version: 'HTTP/9.9 x HTTP/1.1''",
            id="version",  # recorded: http.garbage_request
        ),
        pytest.param(
            b"get /v1/info HTTP/1.1\r\nHost: x\r\n\r\n", 400, "Invalid Method 'Invalid HTTP method: 'get''", id="lower"
        ),
        pytest.param(
            b"hello world\r\n\r\n", 400, "Invalid Request Line 'Invalid HTTP request line: 'hello world''", id="words"
        ),
        pytest.param(b"GET /\r\n\r\n", 400, "Invalid Request Line 'Invalid HTTP request line: 'GET /''", id="http 0.9"),
        pytest.param(b"\0\1\2\3\r\n\r\n", 400, None, id="control characters"),
        pytest.param(b"\x16\x03\x01\x02\0\1\0\1\xfc\x03\x03", 400, None, id="tls"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, None, id="http 2"),
        pytest.param(b"GET /v1/info HTTP/1.1\r\n\r\n", 400, None, id="no host"),
        pytest.param(get("/v1/info", more="Host: b\r\n"), 400, None, id="two hosts"),
        pytest.param(get("/v1/info", more="no colon\r\n"), 400, "Invalid HTTP Header: 'no colon'", id="no colon"),
        pytest.param(get("/v1/info", more="A: a\0b\r\n"), 400, None, id="nul in a header"),
        pytest.param(get("/v1/info", more="A: a\r\n b\r\n"), 400, None, id="a folded header"),
        pytest.param(get("/v1/info", more="A : b\r\n"), 400, None, id="a blank before the colon"),
        pytest.param(get("/v1/info", more="\xe4: b\r\n"), 400, None, id="a name beyond ascii"),
        pytest.param(get("/v1/info").replace(b"\r\n", b"\n"), 400, None, id="bare line feeds"),
        pytest.param(get("/v1/\xff"), 400, None, id="raw bytes in the path"),
        pytest.param(get("/v1/info?" + "a" * 4094), 400, "Request Line is too large (over 4094)", id="long url"),
        pytest.param(
            get("/v1/info?" + "a" * 4080), 400, "Request Line is too large (4102 > 4094)", id="slightly long url"
        ),
        pytest.param(
            get("/v1/info?" + "a" * 300_000), 400, "Request Line is too large (over 4094)", id="very long url"
        ),
        pytest.param(
            get("/v1/info", more=f"A: {'a' * 9000}\r\n"),
            431,
            "Error parsing headers: 'limit request headers fields size'",
            id="long header",
        ),
        pytest.param(get("/v1/info", more=f"A: {'a' * 300_000}\r\n"), 431, None, id="very long header"),
        pytest.param(get("/v1/info", more=f"{'a' * 9000}: b\r\n"), 431, None, id="long name"),
        pytest.param(
            get("/v1/info", more="".join(f"A{number}: a\r\n" for number in range(100))),
            431,
            "Error parsing headers: 'limit request headers fields'",
            id="many headers",
        ),
        pytest.param(post(CHAT, b"{}", Transfer_Encoding="chunked"), 400, None, id="two lengths"),
        pytest.param(post(CHAT, b"{}", Content_Length="-1"), 400, None, id="negative length"),
        pytest.param(post(CHAT, b"{}", Content_Length="9" * 30), 400, None, id="endless length"),
        pytest.param(post(CHAT, b"{}", Content_Length="0x2"), 400, None, id="hexadecimal length"),
        pytest.param(post(CHAT, b"{}", Content_Length="\u0662"), 400, None, id="arabic length"),
    ],
)
def test_garbage_gets_the_page_of_dify_s_server(live, data, status, said):
    met = page_of(live, data)
    assert met[0] == status
    assert said is None or met[1] == said


def test_garbage_is_one_line_in_the_log(live, caplog):
    caplog.clear()
    page_of(live, b"hello app-secret-key\r\nAuthorization: Bearer app-secret-key\r\n\r\n")
    lines = [record.getMessage() for record in caplog.records if record.name == "mockdify"]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert "secret" not in lines[0]


@pytest.mark.parametrize(
    "header", ["Authorization: Bearer my\x01secret", "authorization my secret", "Cookie: my\0secret"]
)
def test_a_broken_header_that_holds_a_secret_is_not_logged(live, caplog, header):
    caplog.clear()
    page_of(live, get("/v1/info", more=header + "\r\n").replace(b"Authorization: Bearer app-chat-demo\r\n", b""))
    assert "secret" not in caplog.text


@HARD
@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_get_an_answer_or_a_close(live, data):
    with live.peer() as peer:
        peer.send(data).half_close()
        rest = peer.rest()
    assert rest == b"" or rest.startswith(b"HTTP/1.1 4")
    assert b"Traceback" not in rest


WORDS = st.sampled_from(
    [
        *(
            "GET",
            "POST",
            "FOO",
            " ",
            "/",
            "/v1/info",
            "//",
            "%2f",
            "%",
            "..",
            "?",
            "#",
            "HTTP/1.1",
            "HTTP/1.0",
            "HTTP/9",
        ),
        *(
            "\r\n",
            "Host: a",
            "Host",
            ":",
            "Content-Length: 3",
            "Transfer-Encoding: chunked",
            "Connection: upgrade",
            "\0",
        ),
        *("Upgrade: websocket", "Expect: 100-continue", "\x7f", "é", "0\r\n\r\n", "5\r\nhello\r\n"),
        f"Authorization: Bearer {KEYS['chat']}",
    ]
)


@HARD
@given(st.lists(WORDS, max_size=20).map("".join))
def test_almost_http_gets_an_answer_or_a_close(live, text):
    with live.peer() as peer:
        peer.send(b"GET /v1/" + text.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n").half_close()
        rest = peer.rest()
    assert rest == b"" or rest.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))
    assert b"Traceback" not in rest
    assert b"HTTP/1.1 5" not in rest


def test_garbage_after_a_good_request_ends_the_connection(live):
    with live.peer() as peer:
        assert peer.send(get("/v1/info")).answer().status == 200
        assert peer.send(b"garbage\r\n\r\n").answer().status == 400
        assert peer.is_closed()


def test_garbage_while_an_answer_is_on_its_way_comes_after_it(live):
    with live.peer() as peer:
        peer.send(post(CHAT, said_to("chat", "hi"))).head()
        chunks = peer.chunks()
        next(chunks)
        peer.send(b"garbage\r\n\r\n")
        assert b"message_end" in b"".join(chunks)
        assert peer.answer().status == 400
        assert peer.is_closed()


# ---------------------------------------------------------------------- methods
@pytest.mark.parametrize("method", ["FOO", "BREW", "X-Y_Z", "PROPFIND", "TRACE"])
def test_any_method_is_405_where_a_path_is_known_and_404_where_not(live, method):
    answer = live.ask(get("/v1/info", method=method))
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert live.ask(get("/v1/nope", method=method)).headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(("method", "target"), [("OPTIONS", "*"), ("CONNECT", "mock:443")])
def test_targets_that_are_no_paths_are_unknown(live, method, target):
    assert live.ask(get(target, method=method)).status == 404


def test_a_target_may_name_the_server(live):
    assert live.ask(get("http://elsewhere.example/v1/info?a=b")).status == 200
    assert live.ask(get("http://elsewhere.example")).status == 404


@pytest.mark.parametrize("upgrade", ["websocket", "h2c", "TLS/1.0"])
def test_an_upgrade_is_not_heard(live, upgrade):
    with live.peer() as peer:
        assert peer.send(get("/v1/info", more=f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\n")).answer().status == 200
        assert peer.send(get("/v1/site")).answer().json["title"]


# ---------------------------------------------------------------------- paths
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/../v1/info", 404),
        ("/v1/./info", 404),
        ("/../../etc/passwd", 404),
        ("/v1/%2e%2e/v1/info", 404),
        ("/v1%2finfo", 200),  # WSGI decodes before it routes
        ("/v1/%69nfo", 200),
        ("/v1/info%00", 404),
        ("/v1/info%0d%0aX: y".replace(" ", "%20"), 404),
        ("/v1/info;a=b", 404),
        ("/v1/info#here", 200),
        ("/v1/INFO", 404),
        ("/v1/info/", 404),
        ("/v1/%zz%", 404),
        ("/v1/%ff%fe", 404),
        ("/v1/conversations/%D9%A1/name", 404),
        ("/v1/messages/\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661-1111-4111-8111-111111111111/suggested", 404),
        ("/v1/info?a=%zz&%ff=%00&user=%F0%9F", 200),
        ("/v1/conversations?user=%ff%fe&limit=1", 200),
        ("/v1/conversations?user=a&limit=1&limit=x", 200),
        ("/v1/conversations?" + "&".join(f"a{number}=1" for number in range(500)), 200),
        ("/v1/conversations?user=%00", 400),
        ("/v1/workflows/run/%00", 400),
        ("/v1/chat-messages/%00%0a/stop", 405),
    ],
)  # fmt: skip
def test_paths_and_queries(live, target, status):
    quoted = "".join(char if char.isascii() else "".join(f"%{byte:02X}" for byte in char.encode()) for char in target)
    answer = live.ask(get(quoted))
    assert answer.status == status, answer
    assert "X" not in answer.headers


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/v1", "http://mock/v1/"),
        ("/v1//info", "http://mock/v1/info"),
        ("//v1/info", "http://mock/v1/info"),
        ("//evil.example//v1/info", None),
        ("//evil.example/%2e%2e", None),
        ("/v1//info?x=\"><b>&y='", "http://mock/v1/info?x=%22%3E%3Cb%3E&y='"),
        ("/v1//info%0d%0aSet-Cookie:%20a=b", None),
        ("/v1//messages/a%0d%0aSet-Cookie:b/suggested", None),
        ("/v1//workflows/run/a%0d%0aSet-Cookie:b", "http://mock/v1/workflows/run/a%0D%0ASet-Cookie:b"),
        ("/v1//workflows/run/%22%3E%3Cscript%3E", "http://mock/v1/workflows/run/%22%3E%3Cscript%3E"),
        ("/v1//workflows/run/%e4%bd%a0%ff", "http://mock/v1/workflows/run/%E4%BD%A0%EF%BF%BD"),
        ("/v1//nope", None),
    ],
)  # fmt: skip
def test_redirects_lead_only_to_paths_that_exist_here(live, target, location):
    answer = live.ask(get(target))
    assert answer.headers.get("Location") == location
    assert answer.status == (404 if location is None else 308)
    assert "Set-Cookie" not in answer.headers
    if location is not None:
        assert html.escape(location).encode() in answer.body
        assert b"<script" not in answer.body
        assert b"<b>" not in answer.body


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("mock.example:8080", "mock.example:8080"),
        ("[::1]:80", "[::1]:80"),
        ('"><script>alert(1)</script>', "localhost"),
        ("a.example:80@evil.example", "localhost"),
        ("a.example/evil", "localhost"),
        ("a.example:1:2", "localhost"),
        ("a b", "localhost"),
        ("\u4f60.example", "localhost"),
        ("", "localhost"),
    ],
)
def test_a_hostile_host_is_repeated_nowhere(live, host, shown):
    redirect = live.ask(f"GET /v1 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert redirect.headers["Location"] == f"http://{shown}/v1/"
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: a/b\r\n\r\nx\r\n--b--\r\n'
    )
    upload = live.ask(
        post("/v1/files/upload", form, Content_Type="multipart/form-data; boundary=b").replace(
            b"Host: mock", b"Host: " + host.encode()
        )
    )
    assert upload.json["source_url"].startswith(f"http://{shown}/files/")


# ---------------------------------------------------------------------- headers
def test_an_origin_is_echoed_as_one_header(live):
    origin = "https://a.example, https://b.example\tX"
    answer = live.ask(get("/v1/info", more=f"Origin: {origin}\r\n"))
    assert answer.headers["Access-Control-Allow-Origin"].startswith("https://a.example")
    raw = live.ask(get("/v1/info", more="Origin: ").replace(b"Origin: ", b"Origin: \xff\xfe\r\n"))
    assert raw.status == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer \u4f60", 401),
        ("Bearer  app-chat-demo", 200),
        ("BEARER app-chat-demo", 200),
        ("Bearer app-chat-demo app-chat-demo", 401),
        ("Bearer " + "a" * 8000, 401),
        ("Bearer app-chat-demo!no-such-fault", 400),
        ("Bearer app-chat-demo!rate-limit*x", 400),
        ("Bearer app-chat-demo!rate-limit;retry_after=\u4f60", 400),
        ("Bearer app-chat-demo!rate-limit;retry_after=a b", 429),
        ("Bearer !", 401),
        ("Basic " + "a" * 100, 401),
    ],
)
def test_keys_of_every_kind(live, header, status):
    request = get("/v1/info").replace(b"Bearer app-chat-demo", header.encode())
    assert live.ask(request).status == status


def test_bytes_that_are_no_text_in_any_header_are_only_bytes(live):
    for name in ("Authorization", "Origin", "User-Agent", "X-Mockdify-Fault", "Content-Type", "Cookie", "Accept"):
        request = f"GET /v1/info HTTP/1.1\r\nHost: x\r\n{name}: ".encode() + b"\xff\x80\xe4\xbd\r\n\r\n"
        assert live.ask(request).status in (400, 401)


def test_the_journal_shows_hostile_requests_as_text(live):
    live.ask(get("/v1/%0a%1b%5b31m?user=%ff", more="X-A: \xff\r\n"))
    json.dumps(live.call(live.workspace.journal.last.as_dict)).encode()


# ---------------------------------------------------------------------- names of files
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='"\\/'), min_size=1, max_size=12)


@HARD
@given(NAMES, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1, max_size=12))
def test_no_name_or_type_of_a_file_breaks_out_of_its_header(live, name, kind):
    form = (
        f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}.png"\r\n'
        f"Content-Type: image/png{kind}\r\n\r\n"
        'x\r\n--b\r\nContent-Disposition: form-data; name="user"\r\n\r\nalice\r\n--b--\r\n'
    )
    with live.peer() as peer:
        made = peer.send(
            post("/v1/files/upload", form.encode(), Content_Type="multipart/form-data; boundary=b")
        ).answer()
        if made.status != 201:
            assert made.status in (400, 413, 415)
            return
        files = [{"type": "image", "transfer_method": "local_file", "upload_file_id": made.json["id"]}]
        assert peer.send(post(CHAT, said_to("chat", "hi", mode="blocking", files=files))).answer().status in (200, 400)
        for more in ("", "?as_attachment=true"):
            shown = peer.send(get(f"/v1/files/{made.json['id']}/preview{more}")).answer()
            if shown.status == 200:
                assert shown.body == b"x"
                assert set(shown.headers) <= PREVIEW_HEADERS
        source = made.json["source_url"].removeprefix("http://mock")
        assert set(peer.send(get(source)).answer().headers) <= PREVIEW_HEADERS


PREVIEW_HEADERS = {
    "Server", "Date", "Connection", "Content-Type", "Content-Length", "Cache-Control", "Content-Disposition", "Vary",
    "Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "X-Version", "X-Env", "Accept-Ranges",
}  # fmt: skip


@pytest.mark.parametrize("tail", ["", "?sign=x", "?nonce=%00&sign=%ff", "/x", "?timestamp=" + "9" * 400])
def test_a_link_that_was_not_signed_here_leads_nowhere(live, tail):
    for name in ("00000000-0000-4000-8000-000000000000", "%00", "..", "%2e%2e%2f"):
        assert live.ask(get(f"/files/{name}/file-preview{tail}")).status == 404


def test_host_and_query_without_a_socket():
    request = Request(
        method="GET", target="/v1/a?b=1&b=2&c=&%ff", headers=(("hOST", "a.example"), ("Host", "b.example"))
    )
    assert request.host == "a.example"
    assert request.query == {"b": "1", "c": "", "\ufffd": ""}
    assert Request(method="GET", target="/").host == "localhost"


def test_each_app_answers_every_key_but_its_own_as_unauthorized_or_its_mode(live):
    for app, key in KEYS.items():
        status = live.ask(post("/v1/chat-messages", said_to("chat", "x", mode="blocking"), key)).status
        assert status == (200 if app in ("chat", "chatflow") else 400)


def test_a_peer_that_only_connects_leaves_nothing(live):
    for _ in range(20):
        Peer(live.port).close()
    Peer(live.port).reset()
    live.assert_at_rest()
