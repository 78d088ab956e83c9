"""The bot's tests. Run them here: `python -m pytest`, or `python -m pytest -n auto`."""

import pytest
import requests
from support_bot import SupportBot, Unavailable


@pytest.fixture
def slept():
    """How long the bot waited, without waiting."""
    return []


@pytest.fixture
def bot(mockdify, slept):
    return SupportBot(mockdify.base_url, mockdify.app("support").key, sleep=slept.append)


def test_it_answers_in_the_customers_language(bot):
    assert bot.ask("ann", "Can I have a refund?") == "You have 14 days, ann."
    assert bot.ask("li", "可以退款吗", language="zh") == "您有 14 天的时间。"
    assert bot.ask("ann", "What is love?") == "Let me ask a colleague."


def test_it_goes_on_with_a_conversation(bot, mockdify):
    bot.ask("ann", "Can I have a refund?")
    assert bot.ask("ann", "A refund, I said.") == "You have still 14 days, ann."
    first, second = mockdify.journal
    assert second.request.json["conversation_id"] == first.json["conversation_id"]


def test_customers_have_conversations_of_their_own(bot):
    bot.ask("ann", "Hello")
    bot.ask("bob", "Hello")
    assert bot.conversations["ann"] != bot.conversations["bob"]


@pytest.mark.mockdify_fault("rate-limit", times=2, retry_after=7)
def test_it_waits_as_long_as_it_is_told(bot, slept, mockdify):
    assert bot.ask("ann", "Can I have a refund?")
    assert slept == [7, 7]
    assert [exchange.status for exchange in mockdify.journal] == [429, 429, 200]


@pytest.mark.mockdify_fault("unavailable", times=3)
def test_it_gives_up_in_the_end(bot, slept):
    with pytest.raises(Unavailable):
        bot.ask("ann", "Can I have a refund?")
    assert slept == [1, 2, 4]


@pytest.mark.mockdify_fault("invalid-param")
def test_a_mistake_is_not_sent_again(bot, mockdify):
    with pytest.raises(requests.HTTPError):
        bot.ask("ann", "Can I have a refund?")
    assert len(mockdify.journal) == 1


def test_the_form_is_checked_as_dify_does(bot, mockdify):
    with pytest.raises(requests.HTTPError):
        bot.ask("ann", "Can I have a refund?", language="fr")
    assert mockdify.journal.last.json["message"] == "language in input form must be one of the following: ['en', 'zh']"


def test_a_deleted_conversation_is_begun_anew(bot, mockdify):
    bot.ask("ann", "Hello")
    url = f"{mockdify.base_url}/conversations/{bot.conversations['ann']}"
    requests.delete(url, json={"user": "ann"}, headers=bot.headers, timeout=5)
    assert bot.ask("ann", "Can I have a refund?")
    assert [exchange.status for exchange in mockdify.journal] == [200, 204, 404, 200]
