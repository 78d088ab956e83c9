"""Wrong JSON at every depth: always an answer shaped as Dify's, never a 500 that Dify would not give."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live import HARD, KEYS, answer_of, make_engine, request, said_to

from mockdify.endpoints import ENDPOINTS
from mockdify.http import Request
from mockdify.sse import decode

NOBODY = "00000000-0000-4000-8000-000000000000"
ENDS = {"message_end", "workflow_finished", "error", "tts_message_end"}

# ---------------------------------------------------------------------- a world with something in it
ENGINE = make_engine(seed=5)


def _made() -> dict[str, str]:
    """Ids that exist, by the slot they fit."""
    chat = answer_of(ENGINE, request("POST", "/v1/chat-messages", said_to("chat", "hello", mode="blocking"))).json
    flow = said_to("chatflow", "hello", mode="blocking")
    flow = answer_of(ENGINE, request("POST", "/v1/chat-messages", flow, KEYS["chatflow"])).json
    target = f"/v1/conversations/{flow['conversation_id']}/variables?user=alice"
    (variable,) = answer_of(ENGINE, request("GET", target, key=KEYS["chatflow"])).json["data"]
    form = (
        b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\nalice\r\n--b\r\nContent-Disposition: form-data; '
        b'name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nx\r\n--b--\r\n'
    )
    upload = request("POST", "/v1/files/upload", form, content_type="multipart/form-data; boundary=b")
    run = answer_of(
        ENGINE, request("POST", "/v1/workflows/run", said_to("workflow", "x", mode="blocking"), KEYS["workflow"])
    ).json
    return {
        "chat": chat["conversation_id"],
        "message": chat["message_id"],
        "chatflow": flow["conversation_id"],
        "variable": variable["id"],
        "file": answer_of(ENGINE, upload).json["id"],
        "run": run["workflow_run_id"],
    }


MADE = _made()
SLOTS = {
    "c_id": ("chat", "chatflow"),
    "message_id": ("message",),
    "variable_id": ("variable",),
    "file_id": ("file",),
    "workflow_run_id": ("run",),
    "task_id": ("run",),
}


def targets(rule):
    """Paths that fit *rule*: with ids that exist, with one that does not."""
    found = {rule}
    for slot in re.findall(r"<\w+:(\w+)>", rule):
        values = [MADE[name] for name in SLOTS.get(slot, ())]
        values += (
            ["enable", "disable", "nonsense"]
            if slot == "action"
            else [NOBODY, *(["%00", "a"] if ":str" in rule else [])]
        )
        found = {re.sub(rf"<\w+:{slot}>", value, path) for path in found for value in values}
    return sorted(found)


ROUTES = [(one, target) for one in ENDPOINTS if one.key == "app" for target in targets(one.rule)]
WRITES = [route for route in ROUTES if route[0].method != "GET" and route[0].user != "form?"]
READS = [route for route in ROUTES if route[0].method == "GET"]

# ---------------------------------------------------------------------- strategies
ODD = st.sampled_from(
    [
        *(
            "",
            " ",
            "\0",
            "a\0b",
            "x" * 256,
            "9" * 40,
            "\u0663",
            "1_0",
            "1e5",
            "nan",
            "true",
            "like",
            "blocking",
            "streaming",
        ),
        *(
            "{{ 1/0 }}",
            "{{#sys.query#}}",
            "{% for x in y %}",
            "\u2028",
            "\ufeff",
            "\U0001f469\u200d\U0001f4bb",
            "../..",
        ),
        *("'; --", "http://", "a.png", NOBODY, MADE["chat"], MADE["message"], MADE["file"]),
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    ODD,
)
NAMES = st.sampled_from(["type", "transfer_method", "upload_file_id", "url", "query", "name", "text", "a"])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)
FILE = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["image", "document", "audio", "video", "custom"]) | JSON,
        "transfer_method": st.sampled_from(["local_file", "remote_url", "tool_file"]) | JSON,
        "url": st.just("http://example.com/a.png") | JSON,
        "upload_file_id": st.sampled_from([NOBODY, MADE["file"]]) | JSON,
    },
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "inputs": st.dictionaries(NAMES, JSON, max_size=3) | JSON,
    "query": st.text(min_size=1, max_size=20) | JSON,
    "user": st.just("alice") | JSON,
    "response_mode": st.sampled_from(["blocking", "streaming"]) | JSON,
    "conversation_id": st.sampled_from(["", NOBODY, MADE["chat"], MADE["chatflow"]]) | JSON,
    "files": st.lists(FILE, max_size=3) | JSON,
    "rating": st.sampled_from(["like", "dislike", None]) | JSON,
    "name": st.text(max_size=10) | JSON,
    "auto_generate": st.booleans() | JSON,
    **dict.fromkeys(
        (
            "auto_generate_name",
            "workflow_id",
            "content",
            "value",
            "question",
            "answer",
            "score_threshold",
            "voice",
            "text",
        ),
        JSON,
    ),
    **dict.fromkeys(("embedding_provider_name", "embedding_model_name", "message_id", "streaming", "trace_id"), JSON),
}
BODIES = st.fixed_dictionaries({}, optional=FIELDS) | JSON
KEY = st.sampled_from([*KEYS.values(), "dataset-demo"])


# ---------------------------------------------------------------------- what every answer is
def check(asked: Request, answer: Any, *, sent: Any = None) -> None:
    """The answer is shaped as one of Dify's, and we did not fail."""
    journal = ENGINE.default.journal
    assert not [said for said in journal.last.warnings if said.startswith("mockdify failed")], asked
    assert journal.last.ended == "complete"
    assert "X-Version" in answer.headers
    kind = answer.headers.get("Content-Type", "")
    assert b"Traceback" not in answer.body
    if kind.startswith("text/event-stream"):
        frames = decode([answer.body])
        assert frames
        events = [json.loads(frame.data) for frame in frames if frame.data is not None]
        assert events[-1]["event"] in ENDS
    elif answer.status >= 400 and kind.startswith("application/json"):
        said = answer.json
        if "error" not in said:  # one of the knowledge routes'
            assert isinstance(said["message"], str)
            assert said["status"] == answer.status
            assert re.fullmatch(r"[a-z_]+", said["code"])
    elif kind.startswith("application/json") and answer.status != 204:
        json.loads(answer.body)
    if answer.status >= 500:
        assert dify_fails(asked, sent), (asked.target, sent, answer.body)


def dify_fails(asked: Request, sent: Any) -> bool:
    """Whether Dify itself answers 500, as recorded or as its database and validators demand."""
    if asked.method == "GET":
        return re.search(r"variable_name=|run/|events", asked.target) is not None
    if not isinstance(sent, dict) or re.search("nonsense|%00", asked.target):
        return True
    conversation, files, inputs = sent.get("conversation_id"), sent.get("files"), sent.get("inputs")
    return (
        any(len(str(sent.get(name))) > 255 for name in ("user", "name"))  # the database refuses the long text
        or (conversation is not None and not isinstance(conversation, str))
        or (isinstance(files, list) and any(_is_odd(file) for file in files))
        or (isinstance(inputs, dict) and any(isinstance(value, (dict, list)) for value in inputs.values()))
    )


def _is_odd(file: Any) -> bool:
    return not isinstance(file, dict) or any(
        value is not None and not isinstance(value, str) for value in file.values()
    )


# ---------------------------------------------------------------------- laws
@settings(HARD, max_examples=150)
@given(st.sampled_from(WRITES), KEY, BODIES)
def test_any_json_gets_an_answer_shaped_as_dify_s(route, key, body):
    endpoint, target = route
    asked = request(endpoint.method, target, json.dumps(body).encode(), key)
    check(asked, answer_of(ENGINE, asked), sent=body)


TEXTS = st.text(max_size=12) | ODD
NAMES_IN_QUERIES = (
    *(
        "user",
        "limit",
        "page",
        "last_id",
        "first_id",
        "conversation_id",
        "sort_by",
        "as_attachment",
        "keyword",
        "status",
    ),
    *("created_at__before", "created_at__after", "created_by_end_user_session_id", "created_by_account", "message_id"),
)
QUERY = st.dictionaries(st.sampled_from(NAMES_IN_QUERIES), TEXTS, max_size=4)


@settings(HARD, max_examples=100)
@given(st.sampled_from(READS), KEY, QUERY)
def test_any_query_gets_an_answer_shaped_as_dify_s(route, key, query):
    asked = request("GET", f"{route[1]}?{urlencode(query)}", key=key)
    answer = answer_of(ENGINE, asked)
    if answer.status >= 500:
        assert len(query.get("user", "")) > 255 or re.search(r"run/|events|variable_name", asked.target)
    else:
        check(asked, answer)


@HARD
@given(
    st.sampled_from(WRITES),
    st.binary(max_size=60),
    st.sampled_from(["application/json", "text/plain", "", "application/x+json"]),
)
def test_any_bytes_get_an_answer_shaped_as_dify_s(route, body, kind):
    endpoint, target = route
    asked = request(endpoint.method, target, body, content_type=kind)
    answer = answer_of(ENGINE, asked)
    assert answer.status in (400, 401, 404, 415, 500, 200, 201, 204)
    if answer.status == 500:
        assert not isinstance(json.loads(body), dict)


# ---------------------------------------------------------------------- one by one
def nested(depth, left="[", right="]"):
    return left * depth + right * depth


SPECIAL = {
    "deep list": nested(900),
    "deeper list": nested(1020),
    "too deep list": nested(5000),
    "deep object": nested(1000, '{"a":', "}").replace(":}", ":1}", 1),
    "infinite": "1e999",
    "negative infinite": "-1e999",
    "forty digits": "9" * 40,
    "five thousand digits": "9" * 5000,
    "five thousand digits as text": '"' + "9" * 5000 + '"',
    "largest float": "1.7976931348623157e308",
    "minus zero": "-0",
    "a megabyte": '"' + "x" * 1_000_000 + '"',
    "nul": '"a\\u0000b"',
    "a pair of surrogates": '"\\ud83d\\ude00"',
    "line separator": '"\\u2028"',
    "template": '"{{ 7 * 7 }}{% raw %}"',
    "the same key twice": '{"a": 1, "a": 2}',
    "many keys": "{" + ",".join(f'"k{number}": {number}' for number in range(1500)) + "}",
    "long list": "[" + ",".join("1" for _ in range(15_000)) + "]",
    "an empty key": '{"": ""}',
}
BROKEN = {
    "nan": "NaN",
    "lone surrogate": '"\\ud800"',
    "raw control character": '"a\nb"',
    "unfinished": '"abc',
    "single quotes": "'abc'",
    "trailing comma": "[1,]",
    "comment": "1 /* x */",
    "bare word": "True",
    "overlong": "01",
}
BASE = {
    "inputs": "{}",
    "query": '"hi"',
    "user": '"alice"',
    "response_mode": '"blocking"',
    "files": "[]",
    "name": '"n"',
    "auto_generate": "false",
    "rating": '"like"',
    "value": '"v"',
    "question": '"q"',
    "answer": '"a"',
    "score_threshold": "0.5",
    "embedding_provider_name": '"e"',
    "embedding_model_name": '"m"',
    "text": '"t"',
}
ALSO = ("conversation_id", "workflow_id", "auto_generate_name", "content", "message_id", "voice", "trace_id")
APPS = ("chat", "chatflow", "completion", "workflow")


def text_of(**fields: str) -> bytes:
    return ("{" + ",".join(f'"{name}": {value}' for name, value in {**BASE, **fields}.items()) + "}").encode()


@pytest.mark.parametrize("value", SPECIAL.values(), ids=SPECIAL)
@pytest.mark.parametrize("mode", ["blocking", "streaming"])
def test_special_values_in_every_field(value, mode):
    for name in (*BASE, *ALSO):
        for app in APPS:
            for path in ("/v1/chat-messages", "/v1/completion-messages", "/v1/workflows/run"):
                body = text_of(**{"response_mode": f'"{mode}"', name: value})
                one(request("POST", path, body, KEYS[app]))
    for endpoint, target in WRITES:
        if endpoint.method == "DELETE":
            continue
        for name in (*BASE, *ALSO):
            one(request(endpoint.method, target, text_of(**{name: value})))


def one(asked):
    answer = answer_of(ENGINE, asked)
    last = ENGINE.default.journal.last
    assert not [said for said in last.warnings if said.startswith("mockdify failed")]
    assert last.ended in ("complete", "aborted")  # aborted: an event that is nested too deeply to be sent
    assert answer.status
    ENGINE.default.journal.clear()


@pytest.mark.parametrize("value", SPECIAL.values(), ids=SPECIAL)
def test_special_values_as_inputs_and_in_files(value):
    for app in APPS:
        path = {"completion": "/v1/completion-messages", "workflow": "/v1/workflows/run"}.get(app, "/v1/chat-messages")
        for mode in ("blocking", "streaming"):
            for name in ("query", "text", "name"):
                body = text_of(inputs=f'{{"{name}": {value}}}', response_mode=f'"{mode}"')
                one(request("POST", path, body, KEYS[app]))
            for name in ("type", "transfer_method", "url", "upload_file_id", "x"):
                file = {
                    "type": '"image"',
                    "transfer_method": '"remote_url"',
                    "url": '"http://example.com/a.png"',
                    name: value,
                }
                said = ",".join(f'"{key}": {one_}' for key, one_ in file.items())
                one(request("POST", path, text_of(files=f"[{{{said}}}]", response_mode=f'"{mode}"'), KEYS[app]))


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
def test_what_is_no_json_is_400(value):
    for name in BASE:
        answer = answer_of(ENGINE, request("POST", "/v1/chat-messages", text_of(**{name: value})))
        assert (answer.status, answer.code) == (400, "bad_request")


@pytest.mark.parametrize(
    "body", [b"\xef\xbb\xbf{}", '{"user": "\xff"}'.encode("latin-1"), b"{}{}", b"", b"\0", "{}".encode("utf-16")]
)
def test_bytes_that_are_no_json_are_400(body):
    answer = answer_of(ENGINE, request("POST", "/v1/chat-messages", body))
    assert (answer.status, answer.code) == (400, "bad_request")


@pytest.mark.parametrize("body", ["[]", '"x"', "null", "3", "true", "[{}]"])
def test_json_that_is_no_object_is_dify_s_500(body):
    for endpoint, target in WRITES:
        if endpoint.json or endpoint.user.startswith("json"):
            assert answer_of(ENGINE, request(endpoint.method, target, body.encode())).status == 500


@pytest.mark.parametrize("digits", ["9" * 4000, "9" * 5000, "\u0663"])
def test_numbers_of_any_length_in_a_query_get_an_answer(digits):
    """Those that Python converts are numbers like any other: beyond a limit, or of a page without rows."""
    for target in ("/v1/conversations?limit=", "/v1/messages?limit="):
        assert answer_of(ENGINE, request("GET", target + digits)).status == 400
    wanted = 200 if digits == "9" * 4000 else 400
    assert answer_of(ENGINE, request("GET", f"/v1/app/feedbacks?page={digits}")).status == wanted
