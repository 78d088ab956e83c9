"""Each piece of a back end, held to what it promises. `mockdify` is the pytest plugin's fixture."""

import logging

import pytest
import requests
from answer_cache import AnswerCache
from backoff import with_backoff
from bounded_batch import ask_all
from call_log import logged
from call_metrics import Metrics
from dify_client import ask
from front_door import Refused, handle
from keys import settings
from rate_limit import RateLimit

SHOP = {"Origin": "https://shop.example"}


@pytest.fixture(autouse=True)
def environment(mockdify, monkeypatch):
    monkeypatch.setenv("DIFY_BASE_URL", mockdify.base_url)
    monkeypatch.setenv("DIFY_DEV_API_KEY", mockdify.app("chat").key)


def statuses(mockdify):
    return [exchange.status for exchange in mockdify.journal]


def test_each_stage_has_its_own_key(monkeypatch):
    monkeypatch.setenv("DIFY_PROD_API_KEY", "app-revoked")
    assert ask("hello", user="alice")["answer"]
    monkeypatch.setenv("APP_STAGE", "prod")
    with pytest.raises(requests.HTTPError, match="401"):
        ask("hello", user="alice")
    with pytest.raises(RuntimeError, match="DIFY_TEST_API_KEY is not set"):
        settings({"APP_STAGE": "test"})


def test_a_bad_request_goes_no_further(mockdify):
    for headers, body in [({}, {"query": "hi"}), (SHOP, {"query": " "}), (SHOP, ["hi"]), (SHOP, {"query": "x" * 2001})]:
        with pytest.raises(Refused):
            handle(headers, body, "alice")
    assert len(mockdify.journal) == 0


def test_a_good_request_is_asked_in_the_name_of_the_sessions_user(mockdify):
    assert handle(SHOP, {"query": "hi", "user": "bob"}, "alice")
    assert mockdify.journal.last.user == "alice"
    assert mockdify.journal.last.warnings == []


def test_a_key_in_a_front_end_is_noticed(mockdify):
    _, key = settings()
    headers = {"Authorization": f"Bearer {key}", **SHOP}
    requests.get(f"{mockdify.base_url}/parameters", headers=headers, timeout=5)
    assert "a key in a front end" in mockdify.journal.last.warnings[0]


def test_the_third_question_within_a_minute_waits(mockdify):
    clock = iter([0, 1, 59, 61])
    limit = RateLimit(calls=2, seconds=60, now=lambda: next(clock))
    for expected in (True, True, False, True):
        allowed = limit.allows("alice")
        assert allowed == expected
        if allowed:
            ask("hello", user="alice")
    assert len(mockdify.journal) == 3


def test_the_log_has_user_and_status_but_no_secret(mockdify, caplog):
    mockdify.inject("server-error")
    with caplog.at_level(logging.INFO, "backend.dify"):
        with pytest.raises(requests.HTTPError):
            logged(ask)("my diagnosis", user="alice")
        logged(ask)("my diagnosis", user="alice")
    assert "user=alice status=500" in caplog.messages[0]
    assert "user=alice status=200" in caplog.messages[1]
    assert settings()[1] not in caplog.text
    assert "diagnosis" not in caplog.text


def test_a_limit_is_waited_for_as_long_as_the_server_says(mockdify):
    waits = []
    mockdify.inject("rate-limit", times=2, retry_after=3)
    assert with_backoff(lambda: ask("hello", user="alice"), sleep=waits.append)["answer"]
    assert statuses(mockdify) == [429, 429, 200]
    assert waits == [3, 3]


def test_a_failing_server_is_asked_later_each_time_and_then_given_up(mockdify):
    waits = []
    mockdify.inject("server-error", times=4)
    with pytest.raises(requests.HTTPError, match="500"):
        with_backoff(lambda: ask("hello", user="alice"), sleep=waits.append, chance=lambda: 1)
    assert statuses(mockdify) == [500] * 4
    assert waits == [0.5, 1, 2]


@pytest.mark.parametrize("fault", ["bad-request", "unauthorized", "quota"])
def test_what_cannot_get_better_is_not_asked_again(mockdify, fault):
    mockdify.inject(fault)
    with pytest.raises(requests.HTTPError):
        with_backoff(lambda: ask("hello", user="alice"), sleep=pytest.fail)
    assert len(mockdify.journal) == 1


def test_one_failure_spoils_no_other_answer(mockdify):
    mockdify.inject("server-error", when={"query": "b"})
    first, second, third = ask_all(ask, ["a", "b", "c"], user="alice")
    assert "a" in first["answer"]
    assert second.response.status_code == 500
    assert "c" in third["answer"]


def test_an_answer_is_kept_for_its_user_and_for_a_while(mockdify):
    clock = [0]
    cache = AnswerCache(ask, seconds=300, now=lambda: clock[0])
    cache.ask("opening hours?", user="alice")
    cache.ask("opening  hours?", user="alice")
    assert len(mockdify.journal) == 1
    cache.ask("opening hours?", user="bob")
    clock[0] = 300
    cache.ask("opening hours?", user="alice")
    assert len(mockdify.journal) == 3


def test_an_error_is_not_kept(mockdify):
    cache = AnswerCache(ask)
    mockdify.inject("server-error")
    with pytest.raises(requests.HTTPError):
        cache.ask("opening hours?", user="alice")
    assert cache.ask("opening hours?", user="alice")["answer"]


def test_calls_and_tokens_are_counted(mockdify):
    metrics = Metrics()
    mockdify.app("chat").answer("Hi!", usage={"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30})
    mockdify.inject("unavailable")
    with pytest.raises(requests.HTTPError):
        metrics.watch(ask, "hello", user="alice")
    metrics.watch(ask, "hello", user="alice")
    assert metrics.calls == {503: 1, 200: 1}
    assert metrics.tokens == 30
