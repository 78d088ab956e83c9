"""A client with one bug is caught by every rule that is there for it; what else it breaks follows from the bug."""

import json

import pytest
from broken import BROKEN

from mockdify.checks.rules import RULES
from mockdify.harness import failures
from mockdify.harness.adapters import adapter_of
from mockdify.harness.runner import play

SLOW = {"retries-for-ever", "no-timeout"}
# What a bug breaks beside the rules that are there for it, and why.
ALSO = {
    "appends-ping": {
        "SSE-LEGAL-001": "made-up streams have pings",
        "SSE-STALL-002": "a stream of pings is endless text",
        "REQ-AGENT-001": "an agent that thinks for long sends pings",
    },
    "ignores-error-events": {},
    "splits-on-chunks": {
        "SSE-CRLF-001": "its stream is cut every seven bytes",
        "SSE-SPACE-001": "its stream is cut every seven bytes",
        "SSE-COMMENT-001": "its stream is cut every seven bytes",
        "SSE-MULTI-001": "it takes each line for an event",
        "SSE-BOM-001": "its first line begins with the mark",
        "SSE-CUT-001": "half a line is half a JSON",
        "SSE-FRAME-002": "the fault that joins events cuts them too",
        "SSE-JSON-001": "any cut",
        "REPLY-BIG-001": "an event of 200 kB comes in several reads",
        "REQ-AGENT-001": "what comes in one read is not always whole",
    },
    "decodes-each-chunk": {
        "SSE-CRLF-001": "its stream is cut every seven bytes",
        "SSE-SPACE-001": "its stream is cut every seven bytes",
        "SSE-COMMENT-001": "its stream is cut every seven bytes",
        "SSE-MULTI-001": "its stream is cut every seven bytes",
        "REPLY-BIG-001": "an event of 200 kB comes in several reads",
    },
    "retries-401": {
        "CONV-GONE-001": "a 404 is sent again",
        "CONV-OTHER-001": "a 404 is sent again",
        "ERR-HTTP-001": "400, 401, 403 and 404 are sent again",
        "REQ-AGENT-001": "the 400 of a blocking call is sent again",
    },
    "ignores-retry-after": {},
    "shares-conversation": {
        "REQ-CONV-001": "every call goes on with the last conversation of all",
        "REQ-USER-001": "the conversation of another rule is sent",
        "REQ-BODY-001": "the conversation of another rule is sent",
        "CALL-DONE-001": "its first question goes into a conversation that is not there",
    },
    "accepts-truncation": {
        "SSE-JSON-001": "an event that is no JSON comes before an end that does not",
        "SSE-FAILED-001": "the failure of a run has no code, and it takes it for a cut",
    },
}


def tagged(bug):
    return {rule.id for rule in RULES if bug in rule.bugs}


@pytest.mark.parametrize("bug", [pytest.param(one, marks=[pytest.mark.slow] if one in SLOW else []) for one in BROKEN])
def test_a_bug_is_caught_by_every_rule_that_is_there_for_it(bug, hold):
    found = {rule for rule, _ in hold(BROKEN[bug](), *tagged(bug))}
    assert found == tagged(bug)


@pytest.mark.parametrize(
    "bug", [one if one == "decodes-each-chunk" else pytest.param(one, marks=pytest.mark.slow) for one in BROKEN]
)
def test_a_saved_finding_plays_again_with_its_verdict(bug, hold, theatre):
    """Whatever the rule: a timeout, a retry, a conversation, a call that is no generation."""
    client = adapter_of(BROKEN[bug]())
    try:
        for cell in hold(BROKEN[bug](), *tagged(bug), examples=10).values():
            for finding in cell.findings:
                saved = failures.Saved(json.loads(json.dumps(failures.save(finding))))
                original = next(one for one in finding.rule.cases if one.label == finding.case.label)
                again = play(theatre, client, finding.rule, saved.case(original)).finding
                assert again is not None, (finding.rule.id, finding.case.label, finding.words)
                assert again.verdict == finding.verdict, (finding.words, again.words)
    finally:
        client.close()


@pytest.mark.slow
@pytest.mark.parametrize("bug", ALSO)
def test_what_else_breaks_is_explained_by_the_bug(bug, hold):
    found = {rule for rule, _ in hold(BROKEN[bug](), examples=5)}
    assert found - tagged(bug) - set(ALSO[bug]) == set()


def test_a_finding_is_shrunk_to_one_cut_and_told_in_words(hold):
    cell = hold(BROKEN["decodes-each-chunk"](), "SSE-FRAME-004", examples=30)["SSE-FRAME-004", "chat.streaming"]
    assert cell.verdict == "corrupt"
    assert "when a chunk ends inside a" in cell.reason
    assert cell.reason.endswith("-byte character")
    assert len(cell.findings[0].example) == 1
    assert len(cell.findings[0].example[0].cuts) == 1
