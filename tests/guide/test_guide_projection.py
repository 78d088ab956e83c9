"""The projection's pure parts."""

from mockdify.apps import Variable
from mockdify.events import PING, Envelope, Message, MessageEnd
from mockdify.model import Prices, usage_of, zero_usage
from mockdify.profiles import PROFILES
from mockdify.projection import asked_of, shown, stand_ins, usage
from mockdify.steps import Emit, Head, Wait

GUIDE = PROFILES["guide"]
CHAT = Envelope.chat(conversation_id="c", message_id="m", created_at=1, task_id="t")


def test_waits_and_heads_of_streams_pass_as_they_are():
    steps = [Head(200), Wait(3.0), Emit(PING, CHAT)]
    assert list(shown(GUIDE, iter(steps))) == steps[:2]


def test_events_keep_their_class_so_that_faults_find_the_end():
    end = MessageEnd(id="m", metadata={"usage": zero_usage()}, files=[])
    steps = [Emit(Message(id="m", answer="a", from_variable_selector=[]), CHAT), Emit(end, CHAT)]
    first, last = shown(GUIDE, iter(steps))
    assert isinstance(first.event, Message)
    assert isinstance(last.event, MessageEnd)


def test_leaving_a_projected_stream_closes_the_honest_one():
    closed = []

    def honest():
        try:
            yield Head(200)
            yield Wait(9.0)
        finally:
            closed.append(True)

    reply = shown(GUIDE, honest())
    next(reply)
    reply.close()
    assert closed == [True]


def test_only_a_turn_that_goes_on_may_lack_inputs():
    goes_on = {"query": "q", "conversation_id": "c"}
    assert asked_of(GUIDE, goes_on)["inputs"] == {}
    assert asked_of(PROFILES["1.16"], goes_on) is goes_on
    for begins in ({"query": "q"}, {"query": "q", "conversation_id": "  "}, {"query": "q", "conversation_id": 3}):
        assert asked_of(GUIDE, begins) is begins


def test_a_spare_text_stands_in_for_a_required_one_and_for_nothing_else():
    form = [
        Variable(name="query", required=True),
        Variable(name="tone"),
        Variable(name="n", type="number", required=True),
    ]
    assert stand_ins(form, {"text": "a", "tone": "b"})["query"] == "a"
    assert stand_ins(form, {"text": "a", "query": "c"})["query"] == "c"
    assert "query" not in stand_ins(form, {"tone": "b", "size": 3})
    assert "n" not in stand_ins(form, {"query": "c", "text": "a"})


def test_prices_are_exact_and_plain():
    prices = {"prompt_unit_price": "0.00000001", "completion_unit_price": "12345678901234567890.5"}
    told = usage_of(Prices(), 3, 10**12, latency=0.5) | prices
    found = usage(GUIDE, told)
    assert found["prompt_price"] == "0.00000003"
    assert found["completion_price"] == "12345678901234567890500000000000"
    assert found["total_price"] == "12345678901234567890500000000000.00000003"
    assert usage(GUIDE, zero_usage())["total_price"] == "0"
