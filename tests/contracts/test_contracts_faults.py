"""What a fault of the catalogue answers is under contract too, as far as it is an answer at all."""

import json

import httpx
import pytest

from mockdify.contracts import Contracts
from mockdify.faults import CATALOGUE
from mockdify.sse import decode

BODY = {"inputs": {}, "user": "alice", "query": "Hello 你好"}
NO_ANSWER = {"reset", "hang", "garbage", "truncated-body", "bad-json"}
"""Damage that no contract allows: that is what these are for."""
OFF_CONTRACT = {
    "cut", "reset-stream", "half-chunk", "stall", "slow", "pings-only", "no-end", "duplicate-end", "unknown-event", "malformed-event",
}  # fmt: skip
"""Streams that break off, and events that Dify does not send."""
UPLOADS = {"file-too-large", "unsupported-file"}

pytestmark = pytest.mark.mockdify(strict=False)


def ask(mockdify, fault, **more):
    mockdify.inject(fault, times=0)
    headers = {"Authorization": f"Bearer {mockdify.app('chat').key}"}
    if fault in UPLOADS:
        files = {"file": ("a.txt", b"text", "text/plain")}
        return httpx.post(f"{mockdify.base_url}/files/upload", headers=headers, files=files, data={"user": "alice"})
    return httpx.post(f"{mockdify.base_url}/chat-messages", headers=headers, json=BODY | more)


@pytest.mark.parametrize("release", ["1.16", "guide"])
@pytest.mark.parametrize("fault", [n for n, kind in CATALOGUE.items() if kind.when == "before" and n not in NO_ANSWER])
def test_an_error_that_was_injected_is_one_of_difys_or_of_the_edges(mockdify, fault, release):
    contracts = Contracts.load(release)
    got = ask(mockdify, fault)
    operation = contracts.operation("POST", f"/v1/{'files/upload' if fault in UPLOADS else 'chat-messages'}")
    assert got.status_code >= 400
    assert contracts.check_response(operation, got.status_code, got.headers, got.content) == []


@pytest.mark.parametrize("fault", [n for n, k in CATALOGUE.items() if k.when != "before" and n not in OFF_CONTRACT])
def test_a_stream_that_is_cut_up_otherwise_is_as_legal_as_before(mockdify, fault):
    contracts = Contracts.load("1.16")
    got = ask(mockdify, fault, response_mode="streaming")
    frames = [frame.data for frame in decode([got.content])]
    events = [json.loads(data) for data in frames if data is not None]
    assert contracts.check_stream("chat", events, pings=False) == []
