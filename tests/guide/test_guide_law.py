"""The law of the projection: the guide's answer is Dify's, however it is looked at."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockdify.script import Rule

PROFILES = ("guide", "guide-delta", "1.16", "1.13")
SAME = ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_unit_price", "completion_unit_price", "currency")


@pytest.fixture(scope="module")
def servers(dify):
    return {profile: dify(profile) for profile in PROFILES}


prices = st.decimals("0", "10", places=8).map(lambda price: f"{price:f}")
usages = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": st.integers(0, 10**6),
        "completion_tokens": st.integers(0, 10**6),
        "prompt_unit_price": prices,
        "completion_unit_price": prices,
        "price_unit": st.sampled_from(["0.001", "0.000001", "1"]),
        "currency": st.sampled_from(["USD", "CNY"]),
    },
)
turns = st.fixed_dictionaries(
    {"usage": usages},
    optional={
        "chunks": st.lists(st.text(max_size=20), max_size=8).map(tuple),
        "answer": st.text(st.characters(codec="utf-8", exclude_characters="{}"), max_size=60),
        "retriever_resources": st.just(({"position": 1, "content": "known"},)),
    },
)


def answered(server, rule, app, query, mode):
    """What a fresh server of the profile answers to the turn."""
    server.engine.reset(server.workspace)
    server.workspace.script.add(rule)
    ask = server.complete if app == "completion" else lambda text, **more: server.chat(text, app=app, **more)
    said = ask(query, mode=mode)
    assert said.status == 200, said.body
    return said


def joined(events):
    return "".join(event["answer"] for event in events if event["event"] == "message")


@settings(max_examples=60)
@given(turn=turns, app=st.sampled_from(["chat", "chatflow", "completion"]), query=st.text(min_size=1, max_size=30))
def test_result_answer_and_both_streams_are_one_text(servers, turn, app, query):
    """result == blocking answer == joined deltas == last cumulative chunk; ids and usage agree."""
    rule = Rule(**turn)
    shown = {
        (profile, mode): answered(servers[profile], rule, app, query, mode)
        for profile in PROFILES
        for mode in ("blocking", "streaming")
    }
    guide, release = shown["guide", "blocking"].json, shown["1.16", "blocking"].json
    snapshots = [e["answer"] for e in shown["guide", "streaming"].events if e["event"] == "message"]
    text = guide["result"]
    assert text == release["answer"] == shown["1.13", "blocking"].json["answer"]
    assert text == joined(shown["1.16", "streaming"].events) == joined(shown["1.13", "streaming"].events)
    assert text == joined(shown["guide-delta", "streaming"].events)
    assert text == (snapshots or [""])[-1]
    assert all(later.startswith(earlier) for earlier, later in pairwise(snapshots))

    end, cumulative_end = shown["1.16", "streaming"].events, shown["guide", "streaming"].events[-1]
    assert {guide["message_id"], release["message_id"]} == {e["id"] for e in shown["guide", "streaming"].events}
    assert guide.get("conversation_id") == release.get("conversation_id") == cumulative_end.get("conversation_id")
    assert guide["created_at"] == release["created_at"]
    told = next(e for e in end if e["event"] == "message_end")["metadata"]["usage"]
    usage = guide["metadata"]["usage"]
    assert usage == cumulative_end["metadata"]["usage"]
    assert [usage[key] for key in SAME] == [release["metadata"]["usage"][key] for key in SAME]
    assert [usage[key] for key in SAME] == [told[key] for key in SAME]
    for kind in ("prompt", "completion"):
        assert Decimal(usage[f"{kind}_price"]) == usage[f"{kind}_tokens"] * Decimal(usage[f"{kind}_unit_price"])
        assert "E" not in usage[f"{kind}_price"]
    assert Decimal(usage["total_price"]) == Decimal(usage["prompt_price"]) + Decimal(usage["completion_price"])
