"""`remote_files = "fetch"`: files named by a URL are asked for, and what their server says is what a run sees."""

import json
from email.message import Message

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live import said_to

from mockdify import MockDify
from mockdify.fetching import _asked, _fetched
from mockdify.remote import Fetched, Reached


@pytest.fixture
def fetching():
    with MockDify(remote_files="fetch", apps=["chat"]) as server:
        yield server


def send(server, url, **more):
    file = {"type": "image", "transfer_method": "remote_url", "url": url}
    body = said_to("chat", "look", mode="blocking", files=[file]) | more
    headers = {"Authorization": f"Bearer {server.app('chat').key}"}
    return httpx.post(f"{server.base_url}/chat-messages", json=body, headers=headers), headers


def test_a_file_that_is_there_is_taken_even_from_the_mock_itself(fetching):
    headers = {"Authorization": f"Bearer {fetching.app('chat').key}"}
    made = httpx.post(
        f"{fetching.base_url}/files/upload",
        headers=headers,
        files={"file": ("cat.png", b"x" * 321, "image/png")},
        data={"user": "alice"},
    ).json()
    url = fetching.base_url.removesuffix("/v1") + httpx.URL(made["source_url"]).raw_path.decode()
    reply, _ = send(fetching, url)
    assert reply.status_code == 200, reply.text
    assert any(one.method == "HEAD" for one in fetching.journal)
    messages = httpx.get(
        f"{fetching.base_url}/messages",
        headers=headers,
        params={"user": "alice", "conversation_id": reply.json()["conversation_id"]},
    ).json()["data"]
    assert [(file["url"], file["size"]) for file in messages[0]["message_files"]] == [(url, 321)]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/a.png", "file:///etc/passwd", "http://[", "ftp://x/a.png", "a.png"]
)
def test_one_that_is_not_there_is_refused_as_dify_does(fetching, url):
    reply, _ = send(fetching, url)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_param")
    assert reply.json()["message"] == f"Reached maximum retries (3) for URL {url}"


def test_an_address_that_refuses_is_there(fetching):
    assert _asked(f"{fetching.base_url}/info") == Fetched()  # 401
    httpx.get(f"{fetching.base_url}/info", headers={"Authorization": f"Bearer {fetching.app('chat').key}"})


def test_without_the_setting_nothing_is_asked(mockdify):
    url = mockdify.base_url + "/cat.png"
    reply, _ = send(mockdify, url)
    assert reply.status_code == 200
    assert [one.method for one in mockdify.journal] == ["POST"]


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, Fetched()),
        ({"Content-Length": "12", "Content-Type": "image/png; x=1"}, Fetched(size=12, mime_type="image/png")),
        ({"Content-Disposition": 'attachment; filename="a b.pdf"'}, Fetched(name="a b.pdf")),
        ({"Content-Length": "many", "Content-Disposition": "inline"}, Fetched()),
    ],
)
def test_what_headers_say(headers, found):
    said = Message()
    for name, value in headers.items():
        said[name] = value
    assert _fetched(said) == found


FILE = {"transfer_method": "remote_url", "url": "http://a/b"}


@pytest.mark.parametrize(
    ("said", "urls"),
    [
        ({"files": [FILE, FILE], "inputs": {}}, ["http://a/b"]),
        (
            {"inputs": {"doc": FILE, "docs": [{"transfer_method": "remote_url", "remote_url": "c"}]}},
            ["http://a/b", "c"],
        ),
        ({"files": [{"transfer_method": "local_file", "url": "x"}, 3], "inputs": "remote_url"}, []),
        ([FILE], []),
    ],
)
def test_the_urls_of_a_request(said, urls):
    assert Reached.named_in(json.dumps(said).encode()) == urls


@given(st.binary(max_size=60))
def test_any_body_may_be_looked_at(body):
    assert isinstance(Reached.named_in(b'{"remote_url"' + body), list)
    assert Reached.named_in(b'["remote_url",' * 2000) == []


def test_what_is_remembered_is_bounded():
    reached = Reached()
    for number in range(5000):
        reached.enter(str(number), Fetched())
    assert len(reached._known) <= 1000
    assert reached.get("4999") == Fetched()
    assert reached == Reached()
