"""Around the endpoints: unknown paths, methods, HEAD, OPTIONS, CORS, redirects, the order of headers."""

import pytest
from support import NOBODY, World

EXPOSED = "X-Env, X-Trace-Id, X-Version"
ORIGIN = "https://example.com"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nope",
        "/Info",
        "/info/",
        "/parameters/",
        "/docs",
        "/openapi.json",
        "/swagger.json",
        "/messages/xyz/feedbacks",
        "/conversations/xyz",
        "/files/xyz/preview",
        "/chat-messages/a/b/stop",
        "//",
        "//v1/../info",
        "//console/api/apps",
    ],
)
@pytest.mark.parametrize("key", ["app-chat-demo", "nope"])
def test_a_path_that_is_no_route_is_an_html_404_whatever_the_key(path, key):
    said = World().get(path, key=key)
    assert (said.status, said.type) == (404, "text/html; charset=utf-8")
    assert said.text.startswith("<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n")
    assert ("Access-Control-Allow-Origin" in said.headers) is (path == "/")
    assert said.headers["X-Version"] == "1.16.1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/chat-messages"),
        ("DELETE", "/parameters"),
        ("PATCH", "/info"),
        ("GET", f"/conversations/{NOBODY}"),
        ("POST", "/conversations"),
        ("GET", "/chat-messages/x/stop"),
        ("HEAD", "/chat-messages"),
        ("TRACE", "/info"),
    ],
)
def test_a_wrong_method_is_a_json_405_without_cors_and_allow(method, path):
    said = World().call(method, path, app=None, headers={"Origin": ORIGIN})
    assert said.error == (405, "method_not_allowed", "The method is not allowed for the requested URL.")
    assert not {"Allow", "Access-Control-Allow-Origin"} & said.headers.keys()
    assert said.headers["Vary"] == "Cookie"


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("//v1", "http://test/v1/"),
        ("//v1?a=1", "http://test/v1/?a=1"),
        ("//v1//parameters", "http://test/v1/parameters"),
        ("////v1//info?x=%20", "http://test/v1/info?x=%20"),
    ],
)
def test_doubled_slashes_and_the_bare_prefix_are_redirected(asked, location):
    said = World().get(asked)
    assert (said.status, said.headers["Location"], said.type) == (308, location, "text/html; charset=utf-8")
    assert f'<a href="{location}">' in said.text


# ---------------------------------------------------------------------- headers
def test_an_answer_has_dify_s_headers_in_its_order():
    assert list(World().get("/info").headers) == [
        "Server",
        "Content-Type",
        "Access-Control-Allow-Origin",
        "Access-Control-Expose-Headers",
        "X-Version",
        "X-Env",
        "Vary",
    ]
    assert list(World().get("/info", headers={"Origin": ORIGIN}).headers)[-3:] == ["Vary", "X-Version", "X-Env"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda here, headers: here.get("/info", headers=headers),
        lambda here, headers: here.get("/info", headers=headers, key="nope"),
        lambda here, headers: here.get(f"/files/{NOBODY}/preview", headers=headers),
        lambda here, headers: here.open("POST", "/chat-messages", BODY, headers=headers).rest(),
        lambda here, headers: here.open(
            "POST", "/chat-messages", BODY | {"response_mode": "streaming"}, headers=headers
        ).rest(),
    ],
    ids=["answer", "401", "404", "blocking", "stream"],
)
def test_an_origin_is_echoed_and_without_one_everybody_is_let_in(ask):
    said = ask(World(), {"Origin": ORIGIN})
    assert said.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert (said.headers["Access-Control-Expose-Headers"], said.headers["Vary"]) == (EXPOSED, "Origin, Cookie")
    said = ask(World(), {})
    assert (said.headers["Access-Control-Allow-Origin"], said.headers["Vary"]) == ("*", "Cookie")


BODY = {"inputs": {}, "query": "hi", "user": "alice"}


def test_a_stream_has_no_cache_control_and_no_length():
    said = World().chat(stream=True)
    assert not {"Cache-Control", "Content-Length", "X-Accel-Buffering", "Content-Encoding"} & said.headers.keys()
    assert said.steps[0].length is None


@pytest.mark.parametrize(
    "headers", [{"Accept": "application/xml"}, {"Accept-Encoding": "gzip"}, {"X-Trace-Id": "bad !"}]
)
def test_what_the_client_accepts_does_not_matter(headers):
    here = World()
    assert here.get("/parameters", headers=headers).body == here.get("/parameters").body
    assert (
        here.open("POST", "/chat-messages", BODY, headers=headers | {"Accept": "text/event-stream"})
        .rest()
        .json["answer"]
    )


@pytest.mark.parametrize(("profile", "version"), [("1.16", "1.16.1"), ("1.13", "1.13.2")])
def test_every_answer_names_its_version(profile, version):
    here = World(profile=profile)
    for said in (
        here.get("/info"),
        here.get("/nope"),
        here.call("PATCH", "/info"),
        here.call("OPTIONS", "/info"),
        here.chat(stream=True),
    ):
        assert (said.headers["X-Version"], said.headers["X-Env"]) == (version, "PRODUCTION")


# ---------------------------------------------------------------------- HEAD and OPTIONS
@pytest.mark.parametrize(
    "path", ["/info", "/parameters", "/conversations?user=alice", "/apps/annotations", "/workflows/logs"]
)
def test_head_has_the_head_of_get(path):
    here = World()
    head, get = here.call("HEAD", path), here.get(path)
    assert (head.status, head.headers, head.steps[0].length) == (get.status, get.headers, len(get.body))


def test_head_needs_a_key_too():
    said = World().call("HEAD", "/parameters", app=None)
    assert (said.status, said.headers["WWW-Authenticate"]) == (401, 'Bearer realm="api"')


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/chat-messages", "OPTIONS, POST"),
        ("/info", "GET, HEAD, OPTIONS"),
        (f"/conversations/{NOBODY}", "DELETE, OPTIONS"),
        ("/apps/annotations", "GET, HEAD, OPTIONS, POST"),
        (f"/apps/annotations/{NOBODY}", "DELETE, OPTIONS, PUT"),
        ("/chat-messages/x/stop", "OPTIONS, POST"),
    ],
)
def test_options_tells_the_methods_without_a_key(path, allowed):
    said = World().call("OPTIONS", path, app=None)
    assert (said.status, said.body, said.headers["Allow"], said.type) == (200, b"", allowed, "text/html; charset=utf-8")
    assert "Access-Control-Allow-Methods" not in said.headers


def test_a_preflight_is_told_the_methods_and_those_of_its_headers_that_are_allowed():
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-foo",
    }
    said = World().call("OPTIONS", "/chat-messages", app=None, headers=asked)
    assert said.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert said.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert said.headers["Access-Control-Allow-Methods"] == "DELETE, GET, OPTIONS, PATCH, POST, PUT"
    assert "Access-Control-Max-Age" not in said.headers
    assert World().call("OPTIONS", "/nope", app=None, headers=asked).status == 404


def test_1_13_has_a_schema_that_fails_and_no_run_events():
    here = World(profile="1.13")
    said = here.get("/swagger.json", app=None)
    assert (said.status, said.json) == (500, {"error": "Unable to render schema"})
    assert here.get(f"/workflow/{NOBODY}/events?user=a", app="workflow").type == "text/html; charset=utf-8"
