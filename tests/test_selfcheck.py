"""`--self-check`: the mock keeps the promises it holds others to, and says so when it does not."""

import asyncio

import pytest
from live import KEYS, PATHS, make_engine, request, said_to

from mockdify.config import Settings
from mockdify.selfcheck import broken_promises, hold
from mockdify.serving import _heard

BROKEN = request("POST", "/v1/chat-messages", {"inputs": []})
MORE = [
    request("GET", "/v1/info"),
    request("GET", "/v1/parameters"),
    request("GET", "/v1/conversations?user=alice"),
    request("GET", "/v1/messages?user=alice"),
    request("GET", "/v1/nope"),
    request("GET", "/v1/info", key="nobody"),
    BROKEN,
]


def handled(engine, asked):
    handling = engine.open(asked)
    for _ in handling.steps:
        pass
    return handling


@pytest.mark.parametrize("profile", ["1.16", "1.13"])
def test_what_is_answered_is_on_contract(profile):
    engine = make_engine(profile=profile)
    asked = [
        request("POST", PATHS[app], said_to(app, "hello", mode=mode), KEYS[app])
        for app in KEYS
        for mode in ("blocking", "streaming")
    ]
    for one in asked + MORE:
        assert broken_promises(handled(engine, one)) == [], one


@pytest.mark.parametrize("mode", ["blocking", "streaming"])
def test_a_reply_that_breaks_its_contract_is_a_warning(mode):
    handling = handled(make_engine(), request("POST", "/v1/chat-messages", said_to("chat", "hi", mode=mode)))
    exchange = handling.exchange
    exchange._sent = exchange.body.replace(b'"answer"', b'"anwser"')
    hold(handling)
    assert any("self-check: " in said and "answer" in said for said in exchange.warnings)


def test_what_a_fault_damaged_and_what_a_guide_projects_is_left_alone():
    damaged = request("POST", "/v1/chat-messages", said_to("chat", "hi"), f"{KEYS['chat']}!cut;after=1")
    assert broken_promises(handled(make_engine(), damaged)) == []
    asked = request("POST", "/v1/chat-messages", said_to("chat", "hi"))
    assert broken_promises(handled(make_engine(profile="guide"), asked)) == []


def test_it_is_done_only_when_asked_for(capsys):
    assert _heard(Settings(quiet=True)) is None
    handling = handled(make_engine(), BROKEN)
    handling.exchange._sent = handling.exchange.body.replace(b'"code"', b'"cude"')
    _heard(Settings(self_check=True, quiet=True))(handling)
    assert handling.exchange.warnings
    assert capsys.readouterr().err == ""

    async def heard():
        _heard(Settings(self_check=True))(handling)
        await asyncio.sleep(0)  # the line is printed in the loop's next turn

    asyncio.run(heard())
    assert "! self-check: " in capsys.readouterr().err
