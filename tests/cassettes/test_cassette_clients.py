"""Recorded with any client, played to every other: the same bytes, whoever asks."""

import asyncio
import json
import shutil
import subprocess

import pytest
from cassette_kit import event, in_thread, playing, recording

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


def by_requests(url):
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        session.trust_env = False
        replies = [
            session.post(f"{url}/{path}", json=body, headers={"Authorization": f"Bearer {KEY}"}) for path, body in CALLS
        ]
        return [(reply.status_code, reply.content) for reply in replies]


def by_httpx(url):
    httpx = pytest.importorskip("httpx")
    with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {KEY}"}) as client:
        replies = [client.post(f"{url}/{path}", json=body) for path, body in CALLS]
        return [(reply.status_code, reply.content) for reply in replies]


def by_aiohttp(url):
    import aiohttp

    async def ask():
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session:
            found = []
            for path, body in CALLS:
                async with session.post(f"{url}/{path}", json=body) as reply:
                    found.append((reply.status, await reply.read()))
            return found

    return asyncio.run(ask())


def by_node(url):
    import base64

    node = shutil.which("node") or pytest.skip("node is not here")
    command = [node, "--input-type=module", "-e", NODE, url, KEY, json.dumps(CALLS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [(status, base64.b64decode(body)) for status, body in json.loads(done.stdout)]


def by_curl(url):
    curl = shutil.which("curl") or pytest.skip("curl is not here")
    found = []
    for path, body in CALLS:
        command = [curl, "-sN", "--noproxy", "*", "-w", "%{http_code}", "-H", f"Authorization: Bearer {KEY}", "-H"]
        command += ["Content-Type: application/json", "-d", json.dumps(body), f"{url}/{path}"]
        done = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
        found.append((int(done[-3:]), done[:-3]))
    return found


CLIENTS = {"requests": by_requests, "httpx": by_httpx, "aiohttp": by_aiohttp, "node": by_node, "curl": by_curl}


@pytest.mark.parametrize("recorder", CLIENTS)
def test_what_one_client_recorded_plays_to_every_client(cassette, recorder):
    with in_thread(lambda: recording(cassette)) as (upstream, proxy, _):
        upstream.go_on.set()
        live = CLIENTS[recorder](proxy.url)
    assert [status for status, _ in live] == [200, 429, 200, 200]
    assert live[0][1] == event("Hel") + event("lo 你好") + event("")
    assert KEY.encode() not in cassette.read_bytes()
    for client in CLIENTS.values():
        with in_thread(lambda: playing(cassette)) as url:
            assert client(url) == live
