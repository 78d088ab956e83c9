"""A few stories from end to end, over real sockets with the clients that people use."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests
from live import KEYS, Peer, post, said_to, serving

import mockdify

CHUNKS = ["One", ", two", ", three", ", four"]
SCRIPT = f"""
[[answers]]
when = {{ query = "count" }}
chunks = {json.dumps(CHUNKS)}
[[answers]]
when = {{ query = "count slowly" }}
chunks = {json.dumps(CHUNKS)}
pace = "60s"
[[answers]]
when = {{ query = "count evenly" }}
chunks = {json.dumps(CHUNKS)}
pace = "100ms"
"""


@pytest.fixture
def live():
    with serving(SCRIPT) as running:
        yield running
        running.assert_at_rest()


@pytest.fixture
def session():
    with requests.Session() as made:
        made.headers["Authorization"] = f"Bearer {KEYS['chat']}"
        yield made


def events_of(lines):
    """The events among the lines of a stream, as a simple client reads them."""
    for line in lines:
        text = line.decode() if isinstance(line, bytes) else line
        if text.startswith("data: "):
            yield json.loads(text[6:])


# ---------------------------------------------------------------------- one user's day
def test_a_conversation_over_several_turns(live, session):
    """Ask, go on, look back, give it a name, rate an answer, delete it."""
    first = session.post(f"{live.url}/chat-messages", json=said_to("chat", "count", mode="blocking")).json()
    assert first["answer"] == "One, two, three, four"
    talk = first["conversation_id"]
    body = said_to("chat", "and then?", conversation_id=talk)
    with session.post(f"{live.url}/chat-messages", json=body, stream=True) as streamed:
        events = list(events_of(streamed.iter_lines()))
    assert {event["conversation_id"] for event in events} == {talk}
    assert events[-1]["event"] == "message_end"

    asked = {"user": "alice", "conversation_id": talk}
    messages = session.get(f"{live.url}/messages", params=asked).json()["data"]
    assert [message["query"] for message in messages] == ["count", "and then?"]
    assert messages[1]["answer"] == "".join(event.get("answer", "") for event in events)

    named = session.post(f"{live.url}/conversations/{talk}/name", json={"user": "alice", "name": "Counting"})
    assert named.json()["name"] == "Counting"
    rating = {"user": "alice", "rating": "like"}
    assert session.post(f"{live.url}/messages/{first['message_id']}/feedbacks", json=rating).json() == {
        "result": "success"
    }
    listed = session.get(f"{live.url}/conversations", params={"user": "alice"}).json()["data"]
    assert [one["name"] for one in listed] == ["Counting"]
    assert session.get(f"{live.url}/conversations", params={"user": "bob"}).json()["data"] == []

    assert session.delete(f"{live.url}/conversations/{talk}", json={"user": "alice"}).status_code == 204
    assert session.get(f"{live.url}/messages", params=asked).status_code == 404


def test_an_answer_that_is_stopped_half_way(live):
    headers = {"Authorization": f"Bearer {KEYS['chat']}"}
    with httpx.Client(base_url=live.url, headers=headers, timeout=10) as client:
        with client.stream("POST", "/chat-messages", json=said_to("chat", "count slowly")) as streamed:
            events = events_of(streamed.iter_lines())
            first = next(events)
            assert first["answer"] == "One"
            stopped = client.post(f"/chat-messages/{first['task_id']}/stop", json={"user": "alice"})
            assert stopped.json() == {"result": "success"}
            assert [event["event"] for event in events] == ["message_end"]
        asked = {"user": "alice", "conversation_id": first["conversation_id"]}
        (message,) = client.get("/messages", params=asked).json()["data"]
        assert message["answer"] == "One"
        again = client.post("/chat-messages", json=said_to("chat", "count", mode="blocking"))
        assert again.json()["answer"] == "One, two, three, four"


def test_a_client_that_backs_off_and_asks_again(live, session):
    live.call(lambda: live.workspace.faults.inject("rate-limit", times=2, retry_after=0))
    statuses = []
    while not statuses or statuses[-1] == 429:
        answer = session.post(f"{live.url}/chat-messages", json=said_to("chat", "count", mode="blocking"))
        statuses.append(answer.status_code)
        assert answer.status_code == 200 or answer.headers["Retry-After"] == "0"
    assert statuses == [429, 429, 200]
    assert len(session.get(f"{live.url}/conversations", params={"user": "alice"}).json()["data"]) == 1


def test_a_stream_that_breaks_is_asked_again(live, session):
    broken = {"X-Mockdify-Fault": "cut; after=2"}
    body = said_to("chat", "count")
    with session.post(f"{live.url}/chat-messages", json=body, headers=broken, stream=True) as streamed:
        assert [event["event"] for event in events_of(streamed.iter_lines())] == ["message", "message"]
    with session.post(f"{live.url}/chat-messages", json=body, stream=True) as streamed:
        assert [event["event"] for event in events_of(streamed.iter_lines())][-1] == "message_end"


def test_a_picture_that_is_sent_asked_about_and_looked_at(live, session):
    picture = b"\x89PNG\r\n\x1a\n" + bytes(2000)
    sent = session.post(
        f"{live.url}/files/upload", data={"user": "alice"}, files={"file": ("cat.png", picture, "image/png")}
    ).json()
    assert (sent["name"], sent["size"]) == ("cat.png", len(picture))
    preview = f"{live.url}/files/{sent['id']}/preview"
    assert session.get(preview).status_code == 404  # not in a message yet
    entry = {"type": "image", "transfer_method": "local_file", "upload_file_id": sent["id"]}
    asked = session.post(
        f"{live.url}/chat-messages", json=said_to("chat", "what is it?", mode="blocking", files=[entry])
    )
    assert asked.status_code == 200
    assert session.get(preview).content == picture
    attached = session.get(preview, params={"as_attachment": "true"})
    assert attached.headers["Content-Disposition"] == "attachment; filename*=UTF-8''cat.png"
    assert requests.get(sent["source_url"], timeout=10).content == picture
    other = requests.get(preview, headers={"Authorization": f"Bearer {KEYS['chatflow']}"}, timeout=10)
    assert other.status_code == 403


def test_a_client_that_leaves_and_comes_back(live):
    """Chatflow: what it had asked for was finished without it."""
    headers = {"Authorization": f"Bearer {KEYS['chatflow']}"}
    with httpx.Client(base_url=live.url, headers=headers, timeout=10) as client:
        with client.stream("POST", "/chat-messages", json=said_to("chatflow", "count evenly")) as streamed:
            talk = next(events_of(streamed.iter_lines()))["conversation_id"]
        live.until(lambda: not live.edge._open and not live.edge._background)
        (message,) = client.get("/messages", params={"user": "alice", "conversation_id": talk}).json()["data"]
        assert "One, two, three, four" in message["answer"]


# ---------------------------------------------------------------------- many at once
def test_three_hundred_streams_at_once(live):
    """Each gets all of its own answer and nothing of another's, at its own pace."""
    count = 300

    async def one(client, number):
        body = said_to("chat", "count evenly", f"user-{number}")
        async with client.post(f"{live.url}/chat-messages", json=body) as streamed:
            assert streamed.status == 200
            return [event async for line in streamed.content for event in events_of([line])]

    async def all_of_them():
        headers = {"Authorization": f"Bearer {KEYS['chat']}"}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers=headers) as client:
            return await asyncio.gather(*(one(client, number) for number in range(count)))

    streams = asyncio.run(all_of_them())
    assert len({events[0]["conversation_id"] for events in streams}) == count
    for events in streams:
        assert len({(event["conversation_id"], event["task_id"]) for event in events}) == 1
        assert "".join(event.get("answer", "") for event in events) == "One, two, three, four"
        assert events[-1]["event"] == "message_end"
    lasted = [exchange.ms for exchange in live.workspace.journal]
    assert min(lasted) >= 290  # three gaps of 100 ms


# ---------------------------------------------------------------------- the whole program
@contextmanager
def program(tmp_path, *options):
    """`mockdify serve` as a process of its own, and its ready line."""
    config = tmp_path / "mockdify.toml"
    config.write_text(SCRIPT, encoding="utf-8")
    home = str(Path(mockdify.__file__).parents[1])
    command = [sys.executable, "-m", "mockdify", "serve", "--port", "0", "--json", "--config", str(config), *options]
    environ = {**os.environ, "PYTHONPATH": home}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as process:
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_the_program_stops_within_a_second_with_streams_open(tmp_path, number):
    with program(tmp_path) as (process, ready), ExitStack() as stack:
        port = port_of(ready)
        peers = []
        for app in KEYS:
            for _ in range(4):
                body = said_to(app, "count slowly")
                path = {"completion": "/v1/completion-messages", "workflow": "/v1/workflows/run"}.get(
                    app, "/v1/chat-messages"
                )
                peers.append(stack.enter_context(Peer(port)).send(post(path, body, KEYS[app])))
        stack.enter_context(Peer(port)).send(
            b"POST /v1/chat-messages HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
        )
        for peer in peers:
            assert peer.head().status == 200
        started = time.perf_counter()
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        took = time.perf_counter() - started
        assert process.returncode == 0
        assert took < 1, took
        assert "Traceback" not in errors
        assert "rror" not in errors
        for peer in peers:
            assert not peer.rest().endswith(b"0\r\n\r\n")


def test_the_program_says_one_line_about_what_is_no_http(tmp_path):
    with program(tmp_path) as (process, ready):
        with Peer(port_of(ready)) as peer:
            assert peer.send(b"\x16\x03\x01 this is TLS\r\n\r\n").answer().status == 400
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
    (line,) = errors.splitlines()
    assert line.startswith("400: what came was not HTTP")


def test_nobody_writes_lines_of_his_own_into_the_log(tmp_path):
    with program(tmp_path) as (process, ready):
        with Peer(port_of(ready)) as peer:
            assert peer.send(b"GET /v1/%0aINJECTED%1b[31m HTTP/1.1\r\nHost: x\r\n\r\n").answer().status == 404
            user = said_to("chat", "hi", "a\nINJECTED\x1b[31m", mode="blocking")
            assert peer.send(post("/v1/chat-messages", user)).answer().status == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
    assert len(errors.splitlines()) == 2, errors
    assert "\x1b" not in errors


def port_of(ready):
    return int(ready["url"].split(":")[2].split("/")[0])
