"""Recorded with any client, played to every other: the same bytes, whoever asks."""

import asyncio
import contextlib
import json
import shutil
import subprocess

import pytest
from cassette_kit import event, in_thread, playing, recording

from mockdify import MockDify
from mockdify.cassettes.proxy import Recorder
from mockdify.cassettes.scrub import check
from mockdify.cassettes.verify import events_of

pytestmark = pytest.mark.clients

CALLS = [
    ("stream", {"query": "你好", "user": "u"}),
    ("error", {"query": "x"}),
    ("echo", {"a": [1, None], "b": "é"}),
    ("binary", {}),
]
KEY = "app-CANARY0123456789"

NODE = """
const [url, key, calls] = [process.argv[1], process.argv[2], JSON.parse(process.argv[3])];
const out = [];
for (const [path, body] of calls) {
  const reply = await fetch(url + "/" + path, { method: "POST", body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", Authorization: "Bearer " + key } });
  out.push([reply.status, Buffer.from(await reply.arrayBuffer()).toString("base64")]);
}
console.log(JSON.stringify(out));
"""


def by_requests(url, calls, key=KEY):
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        session.trust_env = False
        replies = [
            session.post(f"{url}/{path}", json=body, headers={"Authorization": f"Bearer {key}"}) for path, body in calls
        ]
        return [(reply.status_code, reply.content) for reply in replies]


def by_httpx(url, calls, key=KEY):
    httpx = pytest.importorskip("httpx")
    with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {key}"}) as client:
        replies = [client.post(f"{url}/{path}", json=body) for path, body in calls]
        return [(reply.status_code, reply.content) for reply in replies]


def by_aiohttp(url, calls, key=KEY):
    import aiohttp

    async def ask():
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            found = []
            for path, body in calls:
                async with session.post(f"{url}/{path}", json=body) as reply:
                    found.append((reply.status, await reply.read()))
            return found

    return asyncio.run(ask())


def by_node(url, calls, key=KEY):
    import base64

    node = shutil.which("node") or pytest.skip("node is not here")
    command = [node, "--input-type=module", "-e", NODE, url, key, json.dumps(calls)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [(status, base64.b64decode(body)) for status, body in json.loads(done.stdout)]


def by_curl(url, calls, key=KEY):
    curl = shutil.which("curl") or pytest.skip("curl is not here")
    found = []
    for path, body in calls:
        command = [curl, "-sN", "--noproxy", "*", "-w", "%{http_code}", "-H", f"Authorization: Bearer {key}", "-H"]
        command += ["Content-Type: application/json", "-d", json.dumps(body), f"{url}/{path}"]
        done = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
        found.append((int(done[-3:]), done[:-3]))
    return found


CLIENTS = {"requests": by_requests, "httpx": by_httpx, "aiohttp": by_aiohttp, "node": by_node, "curl": by_curl}


@pytest.mark.parametrize("recorder", CLIENTS)
def test_what_one_client_recorded_plays_to_every_client(cassette, recorder):
    with in_thread(lambda: recording(cassette)) as (upstream, proxy, _):
        upstream.go_on.set()
        live = CLIENTS[recorder](proxy.url, CALLS)
    assert [status for status, _ in live] == [200, 429, 200, 200]
    assert live[0][1] == event("Hel") + event("lo 你好") + event("")
    assert KEY.encode() not in cassette.read_bytes()
    for client in CLIENTS.values():
        with in_thread(lambda: playing(cassette)) as url:
            assert client(url, CALLS) == live


# ---------------------------------------------------------------------- the mock itself
QUESTION = {"inputs": {}, "user": "u", "response_mode": "streaming"}
DIFY = [
    ("chat-messages", {**QUESTION, "query": "hello 你好"}),
    ("chat-messages", {**QUESTION, "query": "hello 你好", "response_mode": "blocking"}),
    ("chat-messages", {**QUESTION, "query": "fail now"}),
    ("chat-messages", {**QUESTION, "query": "fail later"}),
    ("chat-messages", {**QUESTION, "query": "too much"}),
    ("chat-messages", {**QUESTION, "query": "x", "conversation_id": "00000000-0000-4000-8000-000000000000"}),
    ("chat-messages", {"query": "nobody"}),
    ("chat-messages", {**QUESTION, "query": "hello 你好"}),
    ("completion-messages", {**QUESTION}),
    ("workflows/nowhere", {**QUESTION}),
]
STATUSES = [200, 200, 200, 200, 429, 404, 400, 200, 400, 404]


@contextlib.contextmanager
def mock_recorded(cassette):
    """The base URL of a recorder before the mock, with a chat that answers, and fails, in several ways."""
    with MockDify() as server:
        chat = server.app("chat")
        chat.answer(fails="rate-limit", when={"query": "fail now"})
        chat.answer(chunks=["a", "b", "c"], fails="connection", after=2, when={"query": "fail later"})
        server.inject("rate-limit", times=0, when={"query": "too much"}, retry_after=1)
        with in_thread(lambda: recorder_for(server.base_url, cassette)) as url:
            yield url, server.base_url, chat.key


@contextlib.asynccontextmanager
async def recorder_for(upstream, cassette):
    async with Recorder(upstream, cassette) as recorder:
        yield recorder.url


@pytest.mark.parametrize("recorder", CLIENTS)
def test_the_mock_recorded_with_one_client_plays_to_every_client_and_in_stock_vcrpy(cassette, recorder):
    """One server for all five, one after the other: the recording begins anew when it is used up."""
    with mock_recorded(cassette) as (url, upstream, key):
        live = CLIENTS[recorder](url, DIFY, key)
    assert [status for status, _ in live] == STATUSES
    assert names(live[0][1])[-1] == "message_end"
    assert names(live[2][1]) == ["error"]
    assert names(live[3][1]) == ["message", "message", "error"]
    assert key.encode() not in cassette.read_bytes()
    assert check([cassette]) == []
    with MockDify(cassette=cassette) as server:
        for client in CLIENTS.values():
            assert client(server.base_url, DIFY, "app-any-other") == live
        assert [exchange.status for exchange in server.journal] == STATUSES * len(CLIENTS)
    assert vcr_plays(cassette, upstream) == live


def names(body):
    return [event["event"] for event in events_of(body)]


def vcr_plays(cassette, upstream):
    """What requests gets from vcrpy as it comes, with no server there any more."""
    import requests
    import vcr

    with vcr.use_cassette(str(cassette), record_mode="none"), requests.Session() as session:
        session.trust_env = False
        replies = [session.post(f"{upstream}/{path}", json=body) for path, body in DIFY]
        return [(reply.status_code, reply.content) for reply in replies]
