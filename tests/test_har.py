"""A journal as HAR 1.2."""

from __future__ import annotations

import base64
import json
from datetime import datetime

import jsonschema
import pytest
from engines import KEYS, START, ask, chat, chat_body, control, engine, request

from mockdify.har import har, har_pieces

TEXT, NUMBER = {"type": "string"}, {"type": "number", "minimum": 0}
PAIRS = {
    "type": "array",
    "items": {"type": "object", "required": ["name", "value"], "properties": {"name": TEXT, "value": TEXT}},
}
MESSAGE = {
    "httpVersion": TEXT,
    "cookies": PAIRS,
    "headers": PAIRS,
    "headersSize": {"type": "integer"},
    "bodySize": {"type": "integer"},
}


def obj(**properties):
    required = [name for name in properties if not name.startswith("_")]
    return {"type": "object", "required": required, "properties": properties}


# Written from the format's description (HAR 1.2); all keys below are required there.
SCHEMA = obj(
    log=obj(
        version={"const": "1.2"},
        creator=obj(name=TEXT, version=TEXT),
        entries={
            "type": "array",
            "items": obj(
                startedDateTime={
                    "type": "string",
                    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)$",
                },
                time=NUMBER,
                request=obj(
                    method=TEXT, url={"type": "string", "pattern": "^https?://[^/]+/"}, queryString=PAIRS, **MESSAGE
                ),
                response=obj(
                    status={"type": "integer"},
                    statusText=TEXT,
                    redirectURL=TEXT,
                    content=obj(size=NUMBER, mimeType=TEXT),
                    **MESSAGE,
                ),
                cache={"type": "object"},
                timings=obj(send=NUMBER, wait=NUMBER, receive=NUMBER),
            ),
        },
    )
)


@pytest.fixture
def server():
    server = engine(pace=0.1)
    chat(server, "hi", streaming=True)
    ask(server, "GET", "/v1/messages?conversation_id=&user=%E4%BD%A0", key=KEYS["chat"])
    ask(server, "GET", "/v1//info", key=KEYS["chat"])
    ask(server, "POST", "/v1/text-to-audio", {"text": "hi", "user": "u"}, key=KEYS["chat"])
    ask(
        server,
        "POST",
        "/v1/chat-messages",
        b"\xff\xfe\x00",
        key=KEYS["chat"],
        headers=(("Content-Type", "application/octet-stream"),),
    )
    steps = server.handle(request("POST", "/v1/chat-messages", chat_body("a b"), key=KEYS["chat"]))
    next(steps)
    steps.close()
    return server


def entries(server):
    return har(server.default.journal)["log"]["entries"]


def test_it_has_the_structure_of_har_1_2(server):
    jsonschema.validate(har(server.default.journal), SCHEMA)
    jsonschema.validate(har([]), SCHEMA)


def test_pieces_are_the_same_document(server):
    pieces = b"".join(har_pieces(server.default.journal, mask=server.default.journal.mask))
    assert json.loads(pieces) == json.loads(json.dumps(har(server.default.journal)))
    assert control(server, "GET", "/journal?format=har").json == json.loads(pieces)


def test_an_entry_has_what_was_asked_and_sent(server):
    first, second, third, *_ = entries(server)
    assert datetime.fromisoformat(first["startedDateTime"]).timestamp() == START
    assert first["request"]["url"] == "http://127.0.0.1:5001/v1/chat-messages"
    assert json.loads(first["request"]["postData"]["text"])["query"] == "hi"
    assert first["response"]["content"]["text"].startswith("data: {")
    assert (first["_app"], first["_user"], first["_ended"]) == ("chat", "alice", "complete")
    assert len(first["_writes"]) > 3
    assert second["request"]["queryString"] == [
        {"name": "conversation_id", "value": ""},
        {"name": "user", "value": "你"},
    ]
    assert third["response"]["redirectURL"] == "http://127.0.0.1:5001/v1/info"


def test_bytes_that_are_no_text_are_base64(server):
    audio, strange = entries(server)[3:5]
    content = audio["response"]["content"]
    assert content["encoding"] == "base64"
    assert base64.b64decode(content["text"]) == server.default.journal.get(4).body
    assert base64.b64decode(strange["request"]["postData"]["text"]) == b"\xff\xfe\x00"
    assert strange["request"]["postData"]["_encoding"] == "base64", "HAR has no `encoding` for what was asked"


def test_what_was_never_answered_is_there_too(server):
    last = entries(server)[-1]
    assert (last["response"]["status"], last["_ended"], last["response"]["content"]["size"]) == (0, "client gone", 0)
