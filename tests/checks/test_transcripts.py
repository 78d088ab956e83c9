"""Transcripts and framings: the bytes are the same however they are cut, saved or told."""

import json

from hypothesis import given
from hypothesis import strategies as st

from mockdify import strategies
from mockdify.checks import scenes
from mockdify.checks.transcript import Pause, Send, WireReply, stream
from mockdify.sse import decode

REPLIES = st.builds(
    WireReply,
    status=st.sampled_from([0, 200, 429]),
    headers=st.just((("Content-Type", "text/event-stream"),)),
    pieces=st.lists(st.one_of(st.binary().map(Send), st.floats(0, 9).map(Pause))).map(tuple),
    framing=st.sampled_from(["chunked", "length", "close"]),
    end=st.sampled_from(["complete", "close", "reset", "hang", "pings"]),
    extra_length=st.integers(0, 9),
)


@given(REPLIES)
def test_a_reply_survives_json(reply):
    assert WireReply.from_json(json.loads(json.dumps(reply.as_json()))) == reply


@given(st.binary(max_size=60), st.lists(st.integers(-3, 70)))
def test_cutting_changes_no_byte(body, at):
    assert stream([body]).cut(at).body == body


@given(strategies.framings(pings=True))
def test_a_framing_has_the_events_of_its_uncut_stream(framing):
    pieces = [piece.data for piece in framing.reply().pieces if isinstance(piece, Send)]
    assert decode(pieces) == decode([framing.body])


@given(strategies.framings())
def test_every_framing_can_be_told(framing):
    assert framing.told().startswith("when ")


def test_where_a_cut_lies_is_told_in_words():
    frame = scenes.deltas(["你"])[0]
    told = {
        strategies.Framing(("你",), "chat", (at,)).told().removeprefix("when a chunk ends ")
        for at in range(1, len(frame) + 2)
    }
    assert told == {
        "inside the name of a field",
        "between `data: ` and its JSON",
        "inside an event",
        "inside a 3-byte character",
        "before the line end of an event",
        "between the two line ends after an event",
        "between two events",
    }


@given(st.integers(0, 20_000))
def test_every_number_is_a_plan(number):
    body = strategies.Framing(("Hello", "你好"), "chat", ()).body
    assert all(0 < at < len(body) for at in strategies.numbered_plan(number, body))


@given(strategies.sweeps(kinds=("characters",)))
def test_a_class_of_cuts_is_what_it_says(framings):
    for framing in framings:
        assert all(framing.body[at] & 0xC0 == 0x80 for at in framing.cuts or ())


@given(strategies.event_lists(), strategies.event_lists("workflow"))
def test_made_up_streams_are_legal(chat, workflow):
    for frames, last in ((chat, "message_end"), (workflow, "workflow_finished")):
        assert json.loads(decode(frames)[-1].data)["event"] == last


@given(strategies.conversations())
def test_conversation_programs_go_on_with_what_was_begun(turns):
    begun = dict.fromkeys(("alice", "bob", "carol"), 0)
    for turn in turns:
        assert turn.conversation < begun[turn.user]
        begun[turn.user] += turn.conversation < 0


@given(strategies.fault_plans())
def test_fault_plans_can_be_injected(plan):
    from mockdify.faults.plan import FaultPlan

    faults = FaultPlan(lambda: 0.5)
    for one in plan:
        name, times, after = one["fault"], one["times"], one["after"]
        faults.inject(name, times=times, after=after)
    assert len(faults.rules) == len(plan)
