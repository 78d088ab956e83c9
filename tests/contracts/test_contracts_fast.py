"""jsonschema-rs gives the verdicts of jsonschema, word for word."""

import contract_samples as own
import pytest
from contract_mutants import Freedom, mutants, tell

from mockdify.contracts import MODES, Contracts
from mockdify.contracts._validators import build, has_fast
from mockdify.errors import MockdifyError

SLOW = Contracts.load("1.16")


@pytest.mark.skipif(has_fast(), reason="jsonschema-rs is installed")
def test_asking_for_what_is_not_installed_is_told():
    with pytest.raises(MockdifyError, match=r"mockdify\[fast\]"):
        build({}, "jsonschema-rs")


@pytest.mark.skipif(not has_fast(), reason="jsonschema-rs is not installed (extra: fast)")
@pytest.mark.parametrize("mode", MODES)
def test_both_say_the_same_of_every_mutant(mode):
    quick, count = Contracts.load("1.16", backend="jsonschema-rs"), 0
    for event in {str(e): e for e in own.STREAMS[mode]}.values():
        freedom = Freedom(SLOW.schema(f"events/{event['event']}", mode=mode))
        for mutant in mutants(event, freedom):
            assert quick.check_event(mode, mutant.value) == SLOW.check_event(mode, mutant.value), mutant.what
            count += 1
    tell(f"{count} mutants of {mode} judged alike")


@pytest.mark.skipif(not has_fast(), reason="jsonschema-rs is not installed (extra: fast)")
def test_both_say_the_same_of_requests_and_replies():
    quick = Contracts.load("1.16", backend="jsonschema-rs")
    path = "/v1/chat-messages"
    operation = SLOW.operation("POST", path)
    for mutant in mutants(own.ANSWER, Freedom(SLOW.schema("responses/chat-messages"))):
        assert quick.check_response(operation, 200, own.JSON, mutant.value) == SLOW.check_response(
            operation, 200, own.JSON, mutant.value
        )
    good = {"inputs": {}, "query": "hi", "user": "alice", "response_mode": "streaming", "files": [{"type": "image"}]}
    for mutant in mutants(good, Freedom({})):
        assert quick.check_request("POST", path, own.ASK, mutant.value) == SLOW.check_request(
            "POST", path, own.ASK, mutant.value
        )
