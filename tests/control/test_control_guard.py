"""Who may use the control API."""

from __future__ import annotations

import pytest
from engines import ask, control, engine
from hypothesis import given
from hypothesis import strategies as st

from mockdify.control import Control
from mockdify.control.guard import is_loopback
from mockdify.control.routes import ROUTES
from mockdify.errors import MockdifyError

CLOSED = [(route.method, route.path) for route in ROUTES if not route.is_open]


def concrete(path):
    return path.replace("{", "").replace("}", "")


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_with_a_token_nothing_is_open_but_health_and_the_empty_page(method, path):
    got = control(engine(token="hush"), method, concrete(path))
    assert (got.status, got.json["code"]) == (401, "unauthorized")
    assert got.headers["WWW-Authenticate"] == "Bearer"


def test_a_refusal_tells_nothing_of_what_there_is():
    server = engine(token="hush")
    refused = [control(server, "GET", path).body for path in ("/journal", "/nothing", "/workspaces/none/journal")]
    assert len(set(refused)) == 1


@pytest.mark.parametrize(
    "header", [("Authorization", "Bearer hush"), ("Authorization", "bearer  hush "), ("X-Mockdify-Admin", "hush")]
)
def test_the_token_opens(header):
    assert control(engine(token="hush"), "GET", "/journal", headers=(header,)).status == 200


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", "Bearer hus"),
        ("Authorization", "Bearer hush2"),
        ("Authorization", "hush"),
        ("Authorization", "Basic hush"),
        ("Authorization", "Bearer "),
        ("X-Mockdify-Admin", "HUSH"),
        ("X-Mockdify-Admin", ""),
        ("X-Mockdify-Admin", "hüsh"),
        ("X-Mockdify-Admin", b"\xff".decode("utf-8", "surrogateescape")),
        ("Cookie", "hush"),
    ],
)
def test_anything_else_does_not(header):
    assert control(engine(token="hush"), "GET", "/journal", headers=(header,)).status == 401


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), st.text(min_size=1))
def test_only_the_token_is_the_token(token, given_):
    got = control(engine(token=token), "GET", "/clock", headers=(("X-Mockdify-Admin", given_),))
    assert (got.status == 200) == (given_.strip() == token)


def test_health_and_the_page_stay_open():
    server = engine(token="hush")
    assert control(server, "GET", "/health").status == 200
    assert control(server, "HEAD", "/health").status == 200
    assert control(server, "GET", "/").status == 200


def test_a_token_that_guards_nothing_is_refused():
    with pytest.raises(MockdifyError, match="the admin token is empty"):
        Control(" ")


def test_the_admin_token_is_masked_where_a_client_sends_it_astray():
    server = engine(token="very-s3cret")
    ask(server, "GET", "/v1/info?t=very-s3cret", key="very-s3cret", headers=(("X-Mockdify-Admin", "very-s3cret"),))
    for path in ("/journal", "/journal/1", "/journal/1/why"):
        got = control(server, "GET", path, headers=(("X-Mockdify-Admin", "very-s3cret"),))
        assert got.status == 200
        assert b"very-s3cret" not in got.body


# --- without a token: this machine only ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1:5001", "localhost:5001", "LOCALHOST", "[::1]:5001", "127.0.0.2", "a.localhost:1"]
)
def test_this_machine_is_answered(host):
    assert control(engine(), "GET", "/journal", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example:5001",
        "localhost.evil.example",
        "192.168.0.7:5001",
        "",
        "[::2]:5001",
        "mockdify:5001",
    ],
)
def test_another_name_is_refused_because_it_may_be_rebound(host):
    got = control(engine(), "GET", "/journal", host=host)
    assert (got.status, got.json["code"]) == (403, "forbidden")
    assert "--admin-token" in got.json["message"]


def test_with_a_token_any_name_will_do():
    got = control(
        engine(token="hush"), "GET", "/journal", host="mockdify:5001", headers=(("X-Mockdify-Admin", "hush"),)
    )
    assert got.status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_other_sites_are_refused(origin, method):
    path = "/journal" if method == "GET" else "/reset"
    got = control(engine(), method, path, headers=(("Origin", origin),))
    assert got.status == 403
    assert "Access-Control-Allow-Origin" not in got.headers


def test_what_a_page_of_another_site_embeds_is_refused():
    assert control(engine(), "GET", "/journal", headers=(("Sec-Fetch-Site", "cross-site"),)).status == 403


def test_a_page_on_this_machine_may_read_the_answer():
    page = ("Origin", "http://localhost:3000")
    got = control(engine(), "GET", "/journal", headers=(page,))
    assert (got.status, got.headers["Access-Control-Allow-Origin"]) == (200, "http://localhost:3000")
    asked = control(
        engine(token="hush"), "OPTIONS", "/faults", headers=(page, ("Access-Control-Request-Method", "POST"))
    )
    assert asked.status == 204
    assert "X-Mockdify-Admin" in asked.headers["Access-Control-Allow-Headers"]


def test_health_answers_everybody():
    assert control(engine(), "GET", "/health", host="mockdify:5001").status == 200


def test_the_service_api_answers_everybody():
    got = ask(
        engine(),
        "GET",
        "/v1/info",
        key="app-chat-demo",
        host="evil.example",
        headers=(("Origin", "https://evil.example"),),
    )
    assert got.status == 200


@given(st.text(max_size=20))
def test_nothing_with_a_dot_behind_it_is_this_machine(text):
    assert not is_loopback(f"127.0.0.1.{text}x.com")
    assert not is_loopback(f"localhost.{text}x")
