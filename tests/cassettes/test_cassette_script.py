"""A recording as a script: the mock says what the recorded model said, and is itself in everything else."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from cassette_kit import recorded

from mockdify.assemble import template_of
from mockdify.cassettes.files import load, save
from mockdify.cassettes.match import recorded_request
from mockdify.cassettes.script import answers_of, as_toml
from mockdify.cassettes.verify import events_of
from mockdify.config import Config, merge, rule_from
from mockdify.engine import Engine
from mockdify.steps import Body

FOLDER = Path(__file__).resolve().parents[2] / "cassettes"
FILES = sorted(FOLDER.glob("*/*.yaml"))
SSE = (("Content-Type", "text/event-stream; charset=utf-8"),)
USAGE = {"prompt_tokens": 4, "completion_tokens": 2, "prompt_unit_price": "0.001", "total_tokens": 6}


def asked(query, **more):
    return json.dumps({"query": query, "inputs": {}, "user": "u", **more}).encode()


def blocking(query, answer):
    said = {"event": "message", "answer": answer, "metadata": {"usage": USAGE}}
    return recorded(request_body=asked(query), body=json.dumps(said).encode())


def streamed(query, *events):
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return recorded(request_body=asked(query), headers=SSE, body=body)


def chunk(text):
    return {"event": "message", "answer": text}


END = {"event": "message_end", "metadata": {"usage": USAGE, "retriever_resources": []}}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recording_becomes_a_script_that_the_configuration_takes(path):
    written = tomllib.loads(as_toml([path])).get("answers", [])
    assert written == answers_of(load(path))
    assert len([rule_from(each) for each in written]) == len(written)


def test_a_stream_keeps_its_chunks_and_its_usage():
    (rule,) = answers_of([streamed("hi", chunk("Hel"), chunk("lo \x7f{{"), chunk(""), END)])
    assert rule["when"] == {"query": "hi"}
    assert rule["chunks"] == ["Hel", "lo \x7f{{", ""]
    assert rule["usage"] == {"prompt_tokens": 4, "completion_tokens": 2, "prompt_unit_price": "0.001"}


def test_what_was_asked_again_is_answered_in_turn_the_last_for_ever():
    rules = answers_of([blocking("hi", "one"), blocking("ho", "other"), blocking("hi", "two"), blocking("hi", "two")])
    assert [("".join(rule["chunks"]), rule.get("times")) for rule in rules if rule["when"] == {"query": "hi"}] == [
        ("one", 1),
        ("two", None),
    ]


def test_a_failure_after_some_chunks_fails_there():
    error = {"event": "error", "code": "completion_request_error", "status": 400, "message": "[x] Connection Error, no"}
    (rule,) = answers_of([streamed("hi", chunk("a"), chunk("b"), error)])
    assert (rule["fails"], rule["after"], rule["message"]) == ("connection", 2, "[x] Connection Error, no")


def test_what_the_app_refused_and_what_no_model_said_is_in_no_script():
    refused = recorded(
        request_body=asked("hi"), status=400, body=b'{"code": "invalid_param", "message": "", "status": 400}'
    )
    canned = recorded(
        request_body=asked("hi"), body=b'{"answer": "canned", "metadata": {"usage": {"prompt_tokens": 0}}}'
    )
    assert answers_of([refused, canned]) == []


def workflow(inputs, **run):
    said = {"task_id": "t", "workflow_run_id": "w", "data": {"error": None, "outputs": {}, "total_tokens": 0, **run}}
    asked = {"inputs": inputs, "user": "u", "response_mode": "blocking"}
    uri, body = "http://dify.test/v1/workflows/run", json.dumps(said).encode()
    return recorded(uri=uri, request_body=json.dumps(asked).encode(), body=body)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({"status": "succeeded", "total_tokens": 9, "outputs": {"t": "an answer", "name": "bob"}}, "an answer"),
        ({"status": "succeeded", "total_tokens": 9, "outputs": {"t": "an answer", "r": "and why"}}, None),
        ({"status": "succeeded", "outputs": {"t": "by a template"}}, None),
        ({"status": "failed", "error": "Traceback (most recent call last)"}, None),
        ({"status": "failed", "error": "[m] Connection Error, no"}, "connection"),
    ],
)
def test_a_blocking_workflow_tells_its_models_one_text_or_failure(run, words):
    """What it does not tell (which of several texts, what other nodes did) is not guessed."""
    rules = answers_of([workflow({"name": "bob"}, **run)])
    assert [rule.get("fails") or "".join(rule["chunks"]) for rule in rules] == ([] if words is None else [words])
    assert all(rule["when"] == {"inputs": {"name": "bob"}} for rule in rules)
    assert answers_of([workflow({}, **run)]) == []


def test_a_file_is_written_and_read_back(cassette):
    save(cassette, [blocking('你好 "x"', "a\nb\\c 👋")])
    (rule,) = tomllib.loads(as_toml([cassette]))["answers"]
    assert rule["when"] == {"query": '你好 "x"'}
    assert "".join(rule["chunks"]) == "a\nb\\c 👋"


@pytest.mark.parametrize(
    ("case", "app"),
    [
        ("agent", "agent"),
        ("unusual-text", "chat"),
        ("errors-model", "chat"),
        ("errors-model", "agent"),
    ],
)
def test_the_mock_says_what_was_recorded(case, app):
    """The demo apps, scripted by a recording, answer its questions with its words, chunk by chunk."""
    interactions = [each for each in load(FOLDER / "1.16" / f"{case}.yaml") if plain(each, app)]
    rules = tuple(rule_from(each) for each in answers_of(interactions))
    scripted = {each.when.query for each in rules}
    engine = Engine(template_of(Config(rules=rules), merge({}, {}, {})), time=lambda: 0.0)
    compared = 0
    for one in interactions:
        if json.loads(one.request_body)["query"].replace("\0", "") in scripted:
            headers = (("Authorization", f"Bearer app-{one.about['app']}-demo"), ("Content-Type", "application/json"))
            steps = list(engine.handle(recorded_request(replace(one, request_headers=headers))))
            said = b"".join(step.data for step in steps if isinstance(step, Body))
            assert words(said) == words(one.body), one.about["case"]
            compared += 1
    assert compared


def plain(one, app):
    """Whether this is a streamed first question to a demo app."""
    asked = json.loads(one.request_body) if one.request_headers and one.is_stream and one.request_body else {}
    return one.about["app"] == app and "query" in asked and not asked.get("conversation_id")


def words(body):
    return [(event["event"], event.get("answer"), event.get("message")) for event in events_of(body)]
