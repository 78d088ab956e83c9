"""Requests and replies: routes, statuses, media types, headers, bodies."""

import subprocess
import sys

import contract_samples as own
import pytest

from mockdify.contracts import Contracts, Operation
from mockdify.contracts._files import read
from mockdify.errors import MockdifyError

NEW = Contracts.load("1.16")
CHAT = "/v1/chat-messages"


def _reply(path, status, headers, body, method="POST"):
    return [str(v) for v in NEW.check_response(NEW.operation(method, path), status, headers, body)]


def _error(code, status, message="no"):
    return {"code": code, "message": message, "status": status}


# ---------------------------------------------------------------- loading
def test_importing_the_contracts_is_cheap():
    """Neither jsonschema nor hypothesis comes with the import, nor with loading."""
    code = (
        "import sys, mockdify.contracts as c; c.Contracts.load('1.16'); c.list_contracts();"
        "print([m for m in ('jsonschema', 'referencing', 'hypothesis', 'aiohttp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_release_is_loaded_once_whatever_its_third_number():
    assert Contracts.load("1.16.1") is Contracts.load("1.16")
    assert repr(Contracts.load("1.13.2")) == "Contracts(1.13)"


@pytest.mark.parametrize("release", ["1.12", "guides", "", "latest"])
def test_a_release_without_contracts_is_told(release):
    with pytest.raises(MockdifyError, match=r"they begin with 1\.13"):
        Contracts.load(release)


def test_an_unknown_contract_is_told_with_the_nearest():
    with pytest.raises(MockdifyError, match="Did you mean events/message"):
        read("events/mesage")


# ---------------------------------------------------------------- routes
@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", CHAT, "chat-messages"),
        ("POST", f"{CHAT}/x/stop", "chat-stop"),
        ("POST", "/v1/workflows/run", "workflows-run"),
        ("POST", "/v1/workflows/xyz/run", "workflows-run-by-id"),
        ("GET", "/v1/workflows/run/xyz", "workflow-run"),
        ("GET", f"/v1/messages/{own.MESSAGE}/suggested?user=a", "suggested"),
        ("GET", f"/v1/messages/{own.MESSAGE.upper()}/suggested", "suggested"),
        ("GET", "/v1/messages/xyz/suggested", None),
        ("GET", "/v1/parameters/", None),
        ("DELETE", "/v1/parameters", None),
        ("HEAD", "/v1/parameters", "parameters"),
        ("OPTIONS", CHAT, "chat-messages"),
        ("GET", "/v1/nope", None),
    ],
)
def test_a_route_is_found_as_dify_finds_it(method, path, operation):
    found = NEW.operation(method, path)
    assert (found and found.id) == operation


def test_the_knowledge_api_is_not_covered():
    assert not NEW.covers("/v1/datasets?page=1")
    assert NEW.covers("/v1/datasetsx")


# ---------------------------------------------------------------- replies
def test_replies_of_each_kind_are_accepted():
    assert _reply(CHAT, 200, own.JSON, own.ANSWER) == []
    assert _reply(CHAT, 200, own.SSE, None) == []
    assert _reply(CHAT, 400, own.JSON, _error("invalid_param", 400, "")) == []
    assert _reply(f"/v1/conversations/{own.MESSAGE}", 204, own.JSON, b"", "DELETE") == []
    assert _reply("/v1/text-to-audio", 200, {"content-type": "audio/mpeg"}, b"\x00") == []
    assert _reply("/v1/text-to-audio", 200, own.JSON, b"null\n") == []
    assert (
        _reply("/v1/nope", 404, {"content-type": "text/html; charset=utf-8"}, b"<!doctype html>\n<html lang=en>") == []
    )
    assert (
        _reply(
            "/v1/info",
            405,
            own.JSON,
            _error("method_not_allowed", 405, "The method is not allowed for the requested URL."),
            "PUT",
        )
        == []
    )
    assert _reply("/v1/info", 200, own.JSON, b"", "HEAD") == []
    assert _reply("/v1/info", 200, {"Content-Type": "text/html", "Allow": "GET, OPTIONS, HEAD"}, b"", "OPTIONS") == []
    assert _reply(CHAT, 500, own.JSON, _error("unknown", 500, "Internal Server Error")) == []
    assert _reply(CHAT, 504, {"content-type": "text/html"}, "<html>") == []


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (418, own.JSON, {}, "status: 418 is no answer to POST /v1/chat-messages (contracts/operations/chat-messages)"),
        (
            200,
            {"content-type": "text/html"},
            "<html>",
            "text/html is not application/json or text/event-stream, which 200 comes as",
        ),
        (200, {}, own.ANSWER, "nothing is not application/json"),
        (200, own.JSON, b'{"a"', "$: the body is not JSON"),
        (200, {**own.SSE, "Content-Length": "3"}, None, "headers.content-length: a stream has none"),
        (400, own.JSON, _error("not_found", 404), "400 came with not_found, whose status is 404"),
        (
            404,
            own.JSON,
            _error("end_user_not_found", 404, "End user not found."),
            "end_user_not_found is no answer to POST /v1/chat-messages",
        ),
        (400, own.JSON, _error("no_such_code", 400), "'no_such_code' is no error code of Dify's"),
        (400, own.JSON, {"error": "x"}, "$.code: is missing (contracts/errors/parameter)"),
        (400, own.JSON, [], "$: a list is not an object (contracts/errors/parameter)"),
        (400, own.JSON, _error("not_chat_app", 400, "?"), "$.message: '?' is not 'Please check if your app mode"),
        (
            401,
            own.JSON,
            _error("unauthorized", 401, "Access token is invalid"),
            "headers.www-authenticate: None is not like",
        ),
        (404, {"content-type": "text/html"}, "<html>", "text/html is not application/json, which 404 comes as"),
        (502, {"content-type": "text/html"}, "oops", "the body is no HTML page"),
    ],
)
def test_a_wrong_reply_is_told(status, headers, body, words):
    assert words in "\n".join(_reply(CHAT, status, headers, body))


def test_a_deleted_conversation_has_no_body():
    assert _reply(f"/v1/conversations/{own.MESSAGE}", 204, own.JSON, b"{}", "DELETE") == [
        "$: the body should be empty (contracts/operations)"
    ]


def test_the_headers_may_be_pairs():
    pairs = [("WWW-Authenticate", 'Bearer realm="api"'), ("Content-Type", "application/json")]
    assert _reply(CHAT, 401, pairs, _error("unauthorized", 401, "Access token is invalid")) == []


def test_a_code_of_a_later_release_is_none_in_an_earlier():
    body = _error("speech_to_text_disabled", 400, "Speech to text is disabled.")
    for release, count in (("1.13", 1), ("1.16", 0)):
        contracts = Contracts.load(release)
        assert (
            len(contracts.check_response(contracts.operation("POST", "/v1/audio-to-text"), 400, own.JSON, body))
            == count
        )


def test_a_paused_chatflow_answers_only_from_1_14_on():
    body = {**own.ANSWER, "event": "workflow_paused"}
    assert any(
        "'workflow_paused' is not 'message'" in str(v)
        for v in Contracts.load("1.13").check_response(_op("1.13"), 200, own.JSON, body)
    )
    assert any(v.path == "$.data" for v in NEW.check_response(_op("1.16"), 200, own.JSON, body))


def _op(release) -> Operation:
    found = Contracts.load(release).operation("POST", CHAT)
    assert found
    return found


# ---------------------------------------------------------------- requests
GOOD = {"inputs": {}, "query": "hi", "user": "alice", "response_mode": "streaming"}


def _asked(body, path=CHAT, method="POST", headers=own.ASK):
    return [f"{v.severity} {v}" for v in NEW.check_request(method, path, headers, body)]


def test_a_good_request_is_accepted():
    assert _asked(GOOD) == []
    assert _asked(b'{"inputs": {"x": [1]}, "query": "hi", "user": "alice", "conversation_id": ""}') == []
    assert _asked(None, f"/v1/messages?conversation_id={own.CONVERSATION}&user=a&limit=5", "GET") == []
    assert _asked(None, "/v1/info", "GET") == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({**GOOD, "user": None}, "error $.user: null is not allowed"),
        ({**GOOD, "user": 42}, "warn $.user: 42 is not a string"),
        ({**GOOD, "user": "x" * 256}, "error $.user"),
        ({"query": "hi", "user": "a"}, "error $.inputs: is missing"),
        ({**GOOD, "inputs": []}, "error $.inputs: a list is not an object"),
        (
            {**GOOD, "response_mode": "STREAMING"},
            "error $.response_mode: 'STREAMING' is not 'blocking' or 'streaming' or null",
        ),
        ({**GOOD, "response_mode": None}, "warn $.response_mode: null is not 'blocking' or 'streaming'"),
        ({**GOOD, "conversation_id": "abc"}, "error $.conversation_id: 'abc' is not like"),
        ({**GOOD, "variables": {}}, "warn $.variables: is not known here"),
        ({**GOOD, "auto_generate_name": "maybe"}, "error $.auto_generate_name: 'maybe' is not a word for yes or no"),
        ({**GOOD, "files": [{"type": "image", "transfer_method": "remote_url"}]}, "warn $.files[0].url: is missing"),
        (b"[]", "error $: a list is not an object"),
        (b"", "error $: the body is not JSON"),
        (b'{"a": NaN}', "error $: the body is not JSON"),
    ],
)
def test_a_bad_request_is_told_with_how_bad(body, words):
    """`error`: Dify refuses it; `warn`: Dify takes it, though a client should not send it."""
    found = _asked(body)
    assert len(found) == 1
    assert found[0].startswith(words)


def test_a_breach_is_not_told_twice():
    assert len(_asked({**GOOD, "user": 0})) == 1
    assert len(_asked({**GOOD, "query": 5})) == 1


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Content-Type": "application/json"}, "error headers.authorization: there is no `Bearer KEY`"),
        ({**own.ASK, "Authorization": "Bearer\tapp-x"}, "error headers.authorization"),
        ({**own.ASK, "Content-Type": "text/plain"}, "error headers.content-type: text/plain is not JSON"),
    ],
)
def test_bad_headers_are_told(headers, words):
    assert _asked(GOOD, headers=headers)[0].startswith(words)


def test_a_key_is_a_bearer_in_any_case():
    for value in ("bearer app-x", "BEARER  app-x"):
        assert _asked(GOOD, headers={**own.JSON, "authorization": value}) == []


def test_a_path_that_dify_does_not_have_is_told_with_the_nearest():
    assert "there is no such path. Did you mean /v1/chat-messages" in _asked(GOOD, "/v1/chat-message")[0]
    assert "GET is no method of this path; it knows POST" in _asked(None, CHAT, "GET")[0]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/messages?user=a", "error $.conversation_id: is missing"),
        ("/v1/conversations?limit=101", "error $.limit: 101 breaks maximum 100"),
        ("/v1/conversations?limit=x", "error $.limit: 'x' is not an integer"),
        ("/v1/conversations?sort_by=", "error $.sort_by: '' is not"),
        ("/v1/conversations?usr=a", "warn $.usr: is not known here; 'user' is missing"),
    ],
)
def test_a_bad_query_is_told(path, words):
    assert _asked(None, path, "GET")[0].startswith(words)


def _form(*parts):
    lines = [f"--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n" for head, text in parts]
    return ("".join(lines) + "--b--\r\n").encode()


def test_a_form_is_held_to_its_contract():
    headers = {"Authorization": "Bearer k", "Content-Type": "multipart/form-data; boundary=b"}
    file = ('name="file"; filename="a.png"\r\nContent-Type: image/png', "bytes")
    user = ('name="user"', "alice")
    ask = {"path": "/v1/files/upload", "headers": headers}
    assert _asked(_form(file, user), **ask) == []
    assert _asked(_form(user), **ask) == ["error $.file: is missing (contracts/requests/file)"]
    assert _asked(_form(('name="file"; filename="a/b"', "x")), **ask) == [
        "error $.file.content_type: is missing (contracts/requests/file)",
        "error $.file.filename: 'a/b' is not like ^[^/\\\\]*$ (contracts/requests/file)",
    ]
    assert "is not a multipart form" in _asked(b"x", "/v1/files/upload")[0]
