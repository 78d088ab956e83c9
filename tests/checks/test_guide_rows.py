"""What was measured on the guide's samples, fault by fault: each is found, and named by the right verdict.

The samples are retyped in `examples/guide`; their adapters are beside those of real clients.
"""

import shutil
import sys
from pathlib import Path

import pytest

from mockdify.checks.rules import RULES
from mockdify.harness.adapters import ExecAdapter, PythonAdapter, load
from mockdify.harness.runner import play
from mockdify.harness.stage import Theatre

pytest.importorskip("requests")
FOLDER = Path(__file__).resolve().parents[2] / "examples" / "adapters"
SAMPLES = [path.stem for path in (FOLDER.parent / "guide").glob("*.py")]
BY_ID = {rule.id: rule for rule in RULES}
CHAT, STREAM = "chat.blocking", "chat.streaming"
PYTHON = "guide_python.py"


@pytest.fixture(scope="module")
def guide():
    with Theatre(profile="guide") as one:
        yield one


@pytest.fixture
def client(monkeypatch):
    """An adapter whose sample does not really wait between its attempts."""
    clients, path = [], list(sys.path)
    hidden = {name: sys.modules.pop(name, None) for name in SAMPLES}  # a test module is called `test_api` too

    def made(name):
        clients.append(load(str(FOLDER / name)))
        monkeypatch.setattr(sys.modules["retry_helper"], "time", type("Time", (), {"sleep": staticmethod(id)}))
        return clients[-1]

    yield made
    for one in clients:
        one.close()
    for name in SAMPLES:
        sys.modules.pop(name, None)
    sys.modules.update({name: module for name, module in hidden.items() if module is not None})
    sys.path[:] = path


def found(theatre, adapter, rule, mode, case=""):
    """Verdict and words of one case."""
    one = next(one for one in BY_ID[rule].cases if one.mode == mode and one.name == case)
    came = play(theatre, adapter, BY_ID[rule], one, examples=8)
    return (came.finding.verdict, came.finding.words) if came.finding else ("held", "")


ROWS = [
    # the retry helper
    (PYTHON, "FX-ONCE-001", CHAT, "429", "held", ""),
    (PYTHON, "REPLY-TEXT-001", CHAT, "", "held", ""),
    (PYTHON, "RETRY-LAST-001", CHAT, "429", "silent-loss", "the client reported success with ''"),
    (PYTHON, "RETRY-LAST-001", CHAT, "500", "crashed", "UnboundLocalError: cannot access local variable 'wait_time'"),
    (PYTHON, "ERR-HTTP-001", CHAT, "fault server-error", "crashed", "'wait_time'"),
    (PYTHON, "ERR-HTTP-001", CHAT, "fault bad-request", "held", ""),
    (PYTHON, "ERR-NET-001", CHAT, "reset", "crashed", "UnboundLocalError: cannot access local variable 'response'"),
    (PYTHON, "ERR-NET-002", CHAT, "", "crashed", "UnboundLocalError: cannot access local variable 'response'"),
    (PYTHON, "RETRY-AFTER-001", CHAT, "fault rate-limit", "retried-badly", "said Retry-After: 1"),
    # monitoring, cache, batch
    ("guide_calls.py:Monitored", "REPLY-TEXT-001", CHAT, "", "crashed", "no attribute 'status_code'"),
    ("guide_calls.py:Monitored", "REPLY-TEXT-001", CHAT, "live", "crashed", "no attribute 'status_code'"),
    ("guide_calls.py:Batch", "RETRY-LAST-001", CHAT, "429", "silent-loss", "the client reported success with ''"),
    # the unit test and the integration test
    ("guide_calls.py:UnitTest", "REPLY-TEXT-001", CHAT, "", "crashed", "AssertionError: 'result' not found"),
    ("guide_calls.py:IntegrationTest", "CONV-NEXT-001", CHAT, "", "held", ""),
    # the reader in Python
    (PYTHON, "SSE-PING-001", STREAM, "between", "held", ""),
    (PYTHON, "REPLY-TEXT-001", STREAM, "", "held", ""),
    (PYTHON, "SSE-ERROR-001", STREAM, "after deltas", "silent-loss", "given an error event"),
    (PYTHON, "SSE-ERROR-001", STREAM, "instead of the end", "silent-loss", "given an error event"),
    (PYTHON, "SSE-ERROR-001", STREAM, "fault error-event", "silent-loss", "given an error event"),
    (PYTHON, "SSE-CUT-001", STREAM, "all but the end", "silent-loss", "given a stream without message_end"),
    (PYTHON, "SSE-CUT-001", STREAM, "fault cut", "silent-loss", "given a stream without message_end"),
    (PYTHON, "ERR-HTTP-001", STREAM, "fault rate-limit", "silent-loss", "given 429 too_many_requests"),
    (PYTHON, "SSE-FRAME-004", STREAM, "fault split-utf8", "held", ""),
    (PYTHON, "REPLY-LINES-001", STREAM, "", "held", ""),
    # text lines
    ("with_httpx.py", "REPLY-LINES-001", STREAM, "", "crashed", "given a whole answer"),
    ("with_requests.py", "REPLY-LINES-001", STREAM, "", "held", ""),
]


@pytest.mark.parametrize(("name", "rule", "mode", "case", "verdict", "words"), ROWS)
def test_on_dify(theatre, client, *, name, rule, mode, case, verdict, words):
    pytest.importorskip("httpx")
    got, told = found(theatre, client("guide_calls.py:Batch") and client(name), rule, mode, case)
    assert got == verdict, told
    assert words in told


def test_a_cache_by_query_gives_one_users_answer_to_another(theatre, client):
    adapter = client("guide_calls.py:Cached")
    sys.modules["cached"].cached_chat.cache_clear()
    got, told = found(theatre, adapter, "CONV-USERS-001", CHAT, "at once")
    assert (got, "somebody else's" in told or "was sent as" in told) == ("leaked", True)


@pytest.mark.parametrize(
    ("name", "rule", "mode", "case", "verdict", "words"),
    [
        ("guide_calls.py:UnitTest", "REPLY-TEXT-001", CHAT, "live", "held", ""),
        ("guide_calls.py:IntegrationTest", "CONV-NEXT-001", CHAT, "", "held", ""),
        ("guide_calls.py:Monitored", "REPLY-TEXT-001", CHAT, "live", "crashed", "no attribute 'status_code'"),
        (PYTHON, "FX-ONCE-001", CHAT, "429", "held", ""),
        (PYTHON, "ERR-HTTP-001", CHAT, "fault server-error", "crashed", "'wait_time'"),
        (PYTHON, "REPLY-TEXT-001", STREAM, "live", "corrupt", "sent ' mock heard: Hello', got 'The mock"),
        (PYTHON, "SSE-ERROR-001", STREAM, "fault error-event", "silent-loss", "given an error event"),
        (PYTHON, "SSE-CUT-001", STREAM, "fault cut", "silent-loss", "given a stream without message_end"),
    ],
)
def test_on_the_guides_own_profile(guide, client, *, name, rule, mode, case, verdict, words):
    got, told = found(guide, client("guide_calls.py:Batch") and client(name), rule, mode, case)
    assert got == verdict, told
    assert words in told


@pytest.mark.slow
@pytest.mark.clients
@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
@pytest.mark.parametrize(
    ("rule", "case", "verdict", "words"),
    [
        ("REPLY-TEXT-001", "", "held", ""),
        ("SSE-PING-001", "between", "held", ""),
        ("SSE-FRAME-002", "one chunk", "held", ""),
        ("SSE-FRAME-001", "seven bytes", "crashed", "SyntaxError"),
        ("SSE-FRAME-004", "", "crashed", "SyntaxError"),
        ("SSE-ERROR-001", "after deltas", "silent-loss", "given an error event"),
        ("SSE-CUT-001", "all but the end", "silent-loss", "given a stream without message_end"),
        ("ERR-HTTP-001", "fault rate-limit", "silent-loss", "given 429 too_many_requests"),
        ("ERR-NET-002", "", "held", ""),
    ],
)
def test_the_javascript_reader(theatre, *, rule, case, verdict, words):
    adapter = ExecAdapter(["node", str(FOLDER / "guide_javascript.mjs")])
    try:
        got, told = found(theatre, adapter, rule, STREAM, case)
    finally:
        adapter.close()
    assert got == verdict, told
    assert words in told


def _text_lines(response):
    import json

    for line in response.iter_lines(decode_unicode=True):
        if line.startswith("data:"):
            yield json.loads(line[5:])


def test_decoded_lines_of_requests_break_at_u2028_too(theatre, monkeypatch):
    adapter = load(str(FOLDER / "with_requests.py"))
    monkeypatch.setitem(adapter._methods["chat"].__globals__, "events", _text_lines)
    try:
        got, told = found(theatre, adapter, "REPLY-LINES-001", STREAM)
    finally:
        adapter.close()
    assert got == "crashed", told


def test_lines_of_aiohttp_do_not(theatre):
    adapter = PythonAdapter(aiohttp_lines)
    try:
        assert found(theatre, adapter, "REPLY-LINES-001", STREAM)[0] == "held"
    finally:
        adapter.close()


def aiohttp_lines(*, base_url, api_key, query, user, inputs, stream):
    import asyncio
    import json

    import aiohttp

    async def read():
        headers = {"Authorization": f"Bearer {api_key}"}
        body = {"query": query, "user": user, "inputs": inputs, "response_mode": "streaming"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{base_url}/chat-messages", json=body) as response,
        ):
            events = [json.loads(line[6:]) async for line in response.content if line.startswith(b"data: ")]
        return "".join(event["answer"] for event in events if event["event"] == "message")

    return asyncio.run(read())
