"""The guide's samples in Python, run as they stand: what holds, what breaks, and what they do on a real release.

Tests named `…breaks…` or `…goes_wrong…` pin mistakes of the guide, not of mockdify: the table in
examples/guide/README.md tells them.
"""

import importlib
import logging
import sys
import unittest
from pathlib import Path

import pytest

requests = pytest.importorskip("requests")

SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "guide"
NAMES = [path.stem for path in SAMPLES.glob("*.py")]
release = pytest.mark.mockdify(profile="1.16")
pytestmark = pytest.mark.mockdify(profile="guide", strict=False)


@pytest.fixture
def sample(mockdify, monkeypatch):
    """A sample as a fresh module that finds this test's mock in its environment."""
    monkeypatch.syspath_prepend(SAMPLES)

    def load(name, app="chat"):
        monkeypatch.setenv("DIFY_BASE_URL", mockdify.base_url)
        monkeypatch.setenv("DIFY_API_KEY", mockdify.app(app).key)
        return importlib.import_module(name)

    _forget()
    yield load
    _forget()


def _forget():
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def waits(monkeypatch):
    """The seconds that samples would have slept."""
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def statuses(mockdify):
    return [exchange.status for exchange in mockdify.journal]


# --- what holds ------------------------------------------------------------------------------------------------------


def test_the_completion_sample_prints_its_stream(mockdify, sample):
    said = sample("complete", "completion").complete("How is the weather?")
    assert said.status_code == 200
    assert '"answer":"The mock heard: How is the weather?"' in said.text
    assert '"event":"message_end"' in said.text


def test_the_chat_sample_finds_its_result(mockdify, sample):
    mockdify.app("chat").answer("Hi!")
    assert sample("chat").chat("Hello").json()["result"] == "Hi!"


def test_the_conversation_sample_goes_on_and_sets_its_variables(mockdify, sample):
    talk = sample("conversation", "chatflow")
    conversation = talk.start("Hello")
    assert talk.go_on(conversation, "How are you?")["conversation_id"] == conversation
    assert talk.go_on(conversation, "Speak Chinese", variables={"language": "Chinese"})["result"]
    address = f"{mockdify.base_url}/conversations/{conversation}/variables?user=abc-123"
    listed = requests.get(address, headers={"Authorization": f"Bearer {mockdify.app('chatflow').key}"}, timeout=5)
    assert {"name": "language", "value": "Chinese"}.items() <= listed.json()["data"][-1].items()


def test_the_unit_test_and_the_integration_test_pass(mockdify, sample):
    tests = sample("test_api")
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(tests.TestDifyAPI).run(result)
    assert result.testsRun == 1
    assert result.wasSuccessful(), result.failures + result.errors
    tests.test_conversation_flow()
    assert statuses(mockdify) == [200, 200, 200]


def test_the_retry_sample_waits_on_429_and_then_succeeds(mockdify, sample, waits):
    mockdify.inject("rate-limit", times=2)
    assert sample("test_api").ask("Hello")["result"]
    assert waits == [1, 2]


def test_the_retry_sample_raises_a_400(mockdify, sample, waits):
    with pytest.raises(requests.HTTPError, match="400"):
        sample("test_api").ask("")
    assert waits == []


def test_the_batch_sample_answers_in_order(mockdify, sample):
    answers = sample("batch").batch_chat(["one", "two"])
    assert ["one" in answers[0]["result"], "two" in answers[1]["result"]] == [True, True]


def test_the_cache_sample_asks_once(mockdify, sample):
    ask = sample("cached").cached_chat
    assert ask("Hello") is ask("Hello")
    assert len(mockdify.journal) == 1


# --- what breaks: mistakes of the guide ------------------------------------------------------------------------------


def printed(sample, capsys):
    sample("stream_reader").read_aloud("Tell me a story")
    return capsys.readouterr().out


def test_the_readers_own_way_breaks_on_the_guides_own_stream(mockdify, sample, capsys):
    """Cumulative chunks, as the guide shows them, and a reader that appends, as the guide shows it."""
    mockdify.app("chat").answer(chunks=["Hello", ", how", " are"])
    assert printed(sample, capsys).startswith("HelloHello, howHello, how are\n-- complete\n-- {'usage': {")


@pytest.mark.mockdify(profile="guide-delta")
def test_the_reader_is_right_where_chunks_are_deltas(mockdify, sample, capsys):
    mockdify.app("chat").answer(chunks=["Hello", ", how", " are"])
    assert printed(sample, capsys).startswith("Hello, how are\n-- complete\n")


@pytest.mark.parametrize("fault", ["error-event", "cut"])
def test_a_stream_that_fails_goes_wrong_in_silence(mockdify, sample, capsys, fault):
    """The reader knows neither `error` nor a missing end: a failure looks like a short answer."""
    mockdify.app("chat").answer(chunks=["Hello", ", how", " are"])
    mockdify.inject(fault, after=1)
    assert printed(sample, capsys) == "Hello"


def test_a_refused_stream_goes_wrong_in_silence(mockdify, sample, capsys):
    """It looks at no status either."""
    mockdify.inject("rate-limit")
    assert printed(sample, capsys) == ""


def test_the_retry_sample_breaks_on_the_first_500(mockdify, sample, waits):
    """The wait is set by a 429 only."""
    mockdify.inject("server-error")
    with pytest.raises(UnboundLocalError, match="wait_time"):
        sample("test_api").ask("Hello")


def test_the_retry_sample_survives_a_500_only_behind_a_429(mockdify, sample, waits):
    mockdify.inject("rate-limit")
    mockdify.inject("server-error")
    assert sample("test_api").ask("Hello")["result"]
    assert statuses(mockdify) == [429, 500, 200]
    assert waits == [1, 1]


def test_the_retry_sample_breaks_where_nobody_answers(mockdify, sample, waits):
    retry = sample("retry_helper").chat_with_retry
    with pytest.raises(UnboundLocalError, match="response"):
        retry("http://127.0.0.1:9/v1/chat-messages", {}, {})


def test_the_retry_sample_goes_wrong_in_silence_after_three_429s(mockdify, sample, waits):
    """None instead of an error, and a last wait for nothing."""
    mockdify.inject("rate-limit", times=3)
    assert sample("test_api").ask("Hello") is None
    assert waits == [1, 2, 4]


def test_the_retry_sample_ignores_what_the_server_asks_for(mockdify, sample, waits):
    mockdify.inject("rate-limit", retry_after=30)
    sample("test_api").ask("Hello")
    assert waits == [1]


def test_the_batch_sample_goes_wrong_in_silence_when_one_question_is_limited(mockdify, sample, waits):
    mockdify.inject("rate-limit", times=3)
    first, second = sample("batch").batch_chat(["one", "two"])
    assert first is None
    assert second["result"]


def test_the_cache_sample_goes_wrong_by_keeping_a_failure(mockdify, sample, waits):
    """Three 429s are a None, and the None is kept for ever."""
    mockdify.inject("rate-limit", times=3)
    ask = sample("cached").cached_chat
    assert ask("Hello") is None
    assert ask("Hello") is None
    assert len(mockdify.journal) == 3


def test_the_monitoring_sample_breaks_after_every_answer(mockdify, sample, caplog):
    with caplog.at_level(logging.INFO), pytest.raises(AttributeError, match="status_code"):
        sample("monitored").monitor_chat("Hello")
    assert statuses(mockdify) == [200]


# --- the same on a release of Dify -----------------------------------------------------------------------------------


@release
def test_on_dify_the_unit_test_breaks(mockdify, sample):
    tests = sample("test_api")
    with pytest.raises(AssertionError, match="'result' not found"):
        tests.TestDifyAPI("test_chat").debug()


@release
def test_on_dify_the_integration_test_passes(mockdify, sample):
    sample("test_api").test_conversation_flow()


@release
def test_on_dify_the_reader_is_right(mockdify, sample, capsys):
    mockdify.app("chat").answer(chunks=["Hello", ", how", " are"])
    assert printed(sample, capsys).startswith("Hello, how are\n-- complete\n")


@release
def test_on_dify_variables_are_lost_in_silence(mockdify, sample):
    talk = sample("conversation", "chatflow")
    body = talk.go_on("", "Speak Chinese", variables={"language": "Chinese"})
    assert "answer" in body
    address = f"{mockdify.base_url}/conversations/{body['conversation_id']}/variables?user=abc-123"
    listed = requests.get(address, headers={"Authorization": f"Bearer {mockdify.app('chatflow').key}"}, timeout=5)
    assert [one["name"] for one in listed.json()["data"]] == ["memo"]
