"""Verdicts go by what was sent and what the client said came of it. No socket here: exchanges are made by hand."""

import time

import pytest

from mockdify.checks import scenes
from mockdify.checks.judge import judge, judge_retries, truth_of
from mockdify.checks.model import Call, Failure, Outcome, Place
from mockdify.checks.transcript import error, stream
from mockdify.http import Request
from mockdify.journal import Journal

PLACE = Place(base_url="http://x/v1", api_key="app-x", app="chat", mode="chat")
TEXT = "".join(scenes.ANSWER)
CUT = stream(scenes.streamed()[:3])
WHOLE = stream(scenes.streamed())
FAILED = stream([*scenes.streamed()[:2], scenes.failed()])


def exchange(reply, *, at=0.0, journal=None):
    made = (journal or Journal(lambda: 1000.0 + at)).open(Request(method="POST", target="/v1/chat-messages"))
    made.status, made.headers = reply.status, reply.headers
    made.note(reply.body, 1000.0 + at)
    made.close("complete")
    return made


def outcome(*replies, **said):
    made = [exchange(reply, at=k) for k, reply in enumerate(replies)]
    return Outcome(call=Call(name="chat", place=PLACE), exchanges=made, **said)


def failure(kind, **more):
    return {"error": Failure(kind=kind, **more)}


@pytest.mark.parametrize(
    ("ended", "message", "seconds", "verdicts"),
    [
        ("client gone", "SyntaxError: Unexpected end of JSON input", 0.1, ["crashed"]),
        ("open", "JSONDecodeError: Expecting value", 0.1, ["crashed"]),
        ("complete", "JSONDecodeError: Expecting value", 0.1, []),
        ("client gone", "no end event", 0.1, []),
        ("client gone", "JSONDecodeError: Expecting value", 9.9, []),
    ],
)
def test_a_parser_that_gives_up_before_the_server_does_is_a_crash(ended, message, seconds, verdicts):
    said = outcome(CUT, **failure("protocol", message=message), seconds=seconds)
    said.exchanges[0].ended = ended
    assert [violation.verdict for violation in judge(said)] == verdicts


@pytest.mark.parametrize(
    ("reply", "said", "verdict"),
    [
        (WHOLE, {"ok": True, "text": TEXT}, None),
        (WHOLE, {"ok": True, "text": TEXT[:-3]}, "silent-loss"),
        (WHOLE, {"ok": True, "text": TEXT[3:]}, "silent-loss"),
        (WHOLE, {"ok": True, "text": TEXT + "!"}, "corrupt"),
        (WHOLE, {"ok": True, "text": TEXT.replace("你", "?")}, "corrupt"),
        (WHOLE, {"ok": True, "text": TEXT, "conversation_id": "another"}, "corrupt"),
        (WHOLE, failure("protocol", message="JSONDecodeError"), "crashed"),
        (WHOLE, failure("stream"), "wrong-error"),
        (WHOLE, failure("crash", message="KeyError: 'x'"), "crashed"),
        (WHOLE, {"hung": True}, "hung"),
        (CUT, failure("stream"), None),
        (CUT, failure("network"), None),
        (CUT, failure("protocol"), None),
        (CUT, failure("http", status=500), "wrong-error"),
        (CUT, {"ok": True, "text": "Hello"}, "silent-loss"),
        (CUT, failure("crash"), "crashed"),
        (FAILED, failure("stream", code="completion_request_error", status=400), None),
        (FAILED, failure("stream", code="another"), "wrong-error"),
        (FAILED, {"ok": True, "text": "Hello"}, "silent-loss"),
        (error(400, "invalid_param", "x"), failure("http", status=400, code="invalid_param"), None),
        (error(400, "invalid_param", "x"), failure("http", status=400), "wrong-error"),
        (error(400, "invalid_param", "x"), failure("http", status=500, code="invalid_param"), "wrong-error"),
        (error(502, "x", "x"), failure("protocol", message="SyntaxError: Unexpected token <"), "crashed"),
        (error(429, "too_many_requests", "x"), {"ok": True}, "silent-loss"),
    ],
)
def test_one_exchange(reply, said, verdict):
    assert [one.verdict for one in judge(outcome(reply, **said))] == ([verdict] if verdict else [])


def test_half_an_answer_is_a_loss_even_if_the_client_called_again():
    assert [one.verdict for one in judge(outcome(CUT, WHOLE, ok=True, text="Hello from"))] == ["silent-loss"]
    assert list(judge(outcome(CUT, WHOLE, ok=True, text=TEXT))) == []


def test_no_request_at_all_and_success_is_a_loss():
    assert [one.verdict for one in judge(outcome(ok=True))] == ["silent-loss"]
    assert list(judge(outcome(**failure("network")))) == []


@pytest.mark.parametrize(
    ("first", "bad"),
    [
        (error(401, "unauthorized", "x"), True),
        (error(404, "not_found", "x"), True),
        (error(429, "rate_limit_error", "x"), True),
        (error(429, "too_many_requests", "x"), False),
        (error(429, "too_many_requests", "x", headers=[("Retry-After", "1")]), False),
        (error(429, "too_many_requests", "x", headers=[("Retry-After", "2")]), True),
        (error(503, "service_unavailable", "x"), False),
        (WHOLE, True),
    ],
)
def test_what_may_be_asked_again(first, bad):
    assert bool(list(judge_retries(outcome(first, WHOLE, ok=True, text=TEXT)))) is bad


def test_the_closing_message_of_a_new_agent_may_be_given_instead_of_the_deltas_but_not_behind_them():
    frames = [*scenes.agent(["I look. "]), *scenes.agent(["Noon."]), scenes.closing("Noon."), scenes.end()]
    assert truth_of(exchange(stream(frames)), "chat").texts == ("I look. Noon.", "Noon.")


def test_a_replaced_text_is_the_truth():
    frames = [*scenes.deltas(["bad"]), scenes.replaced("good"), *scenes.deltas(["!"]), scenes.end()]
    assert truth_of(exchange(stream(frames)), "chat").texts == ("good!",)


def test_the_judge_is_quick_enough_to_be_asked_for_each_of_thousands():
    made = outcome(WHOLE, ok=True, text=TEXT)
    begun = time.perf_counter()
    for _ in range(200):
        assert not list(judge(made))
    assert time.perf_counter() - begun < 2
