"""What servers and clients do to bodies: packing, cutting, half unpacking; recorded plain, played to everybody."""

import asyncio
import gzip
import http.client
import json
import zlib
from urllib.parse import urlsplit

import pytest
import yaml
from aiohttp import web
from cassette_kit import SSE, Upstream, event, in_thread, recorded, recording, serving

from mockdify import MockDify
from mockdify.cassettes.coding import decoded, plain
from mockdify.cassettes.files import load, save
from mockdify.cassettes.proxy import Recorder
from mockdify.cassettes.replay import Play, Player, steps
from mockdify.http import Request
from mockdify.steps import Body

SAID = b'{"answer": "app-CANARY0123456789 writes to canary@example.com"}'
RAW = zlib.compress(SAID)[2:-4]


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(SAID)),
        ("x-gzip", gzip.compress(SAID[:9]) + gzip.compress(SAID[9:])),
        ("deflate", zlib.compress(SAID)),
        ("deflate", RAW),
    ],
    ids=["gzip", "two members", "deflate", "raw deflate"],  # a packed body has the time in it, an id must not
)
def test_what_is_packed_is_unpacked_piece_by_piece(coding, packed):
    pieces = [packed[:7], packed[7:20], packed[20:]]
    found = decoded(coding, pieces)
    assert (len(found), b"".join(found)) == (3, SAID)
    assert SAID.startswith(b"".join(decoded(coding, pieces[:2])))  # cut by somebody
    assert plain(coding, packed) == plain(coding, SAID) == SAID  # vcrpy may have kept it unpacked


def test_what_nobody_here_can_unpack_stays():
    assert decoded("br", [b"\x8b\x04\x80hello\x03"]) is None
    assert plain("br", b"\x8b\x04\x80hello\x03") is None
    assert plain("br", SAID) == SAID
    assert decoded("gzip", [SAID]) is None
    assert decoded("gzip", []) is None


class Packing(Upstream):
    """Packs although it was asked not to."""

    async def do_stream(self, request, body):
        response = web.StreamResponse(headers={**SSE, "Content-Encoding": "gzip"})
        await response.prepare(request)
        packing = zlib.compressobj(wbits=31)
        for text in ("can", "ary@exam", "ple.co", ".uk"):
            await response.write(packing.compress(event(text)) + packing.flush(zlib.Z_SYNC_FLUSH))
            await asyncio.sleep(0)
        await response.write(packing.flush())
        return response

    async def do_raw(self, request, body):
        return web.Response(body=RAW, headers={"Content-Encoding": "deflate", "Content-Type": "application/json"})

    async def do_brotli(self, request, body):
        return web.Response(body=b"\x8b\x04\x80hello\x03", headers={"Content-Encoding": "br"})


def test_a_packing_servers_replies_are_kept_plain_scrubbed_and_timed(cassette):
    async def walk():
        async with serving(Packing()) as (_, origin), Recorder(origin + "/v1", cassette) as recorder:
            for path in ("stream", "raw", "brotli"):
                url = urlsplit(f"{recorder.url}/{path}")
                reader, writer = await asyncio.open_connection(url.hostname, url.port)
                writer.write(f"GET {url.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                await reader.read()
                writer.close()
            return recorder.progress

    progress = asyncio.run(asyncio.wait_for(walk(), 20))
    stream, raw, brotli = load(cassette)
    assert stream.body == event("<email-1>") + event("") * 3
    assert sum(size for _, size in stream.chunks) == len(stream.body)
    assert len(stream.chunks) > 1
    assert raw.body == b'{"answer": "<key-1> writes to <email-2>"}'
    assert (brotli.about["coding"], progress.unread) == ("br", 1)


# ---------------------------------------------------------------- recorded by others
@pytest.mark.parametrize("body", [SAID, gzip.compress(SAID)], ids=["unpacked", "packed"])
def test_a_stock_cassette_plays_whether_its_client_unpacked_or_not(dirty, body):
    """requests and aiohttp hand vcrpy the plain body beside a header that says gzip, httpx the packed one."""
    headers = {"Content-Type": ["application/json"], "Content-Encoding": ["gzip"], "Content-Length": ["99"]}
    response = {"status": {"code": 200, "message": "OK"}, "headers": headers, "body": {"string": body}}
    request = {"method": "GET", "uri": "http://h/v1/info", "headers": {}, "body": None}
    document = {"version": 1, "interactions": [{"request": request, "response": response}]}
    path = dirty / "stock.yaml"
    path.write_text(yaml.safe_dump(document))
    player = Player.load(path)
    headers = (("Authorization", "Bearer any"),)
    play = player.find(Request(method="GET", target="/v1/info", headers=headers))
    assert isinstance(play, Play)
    assert b"".join(step.data for step in steps(play) if isinstance(step, Body)) == SAID
    assert (play.headers, play.length) == ((("Content-Type", "application/json"),), len(SAID))


def test_events_that_end_in_other_line_ends_are_events_too():
    body = b"data: 1\r\n\r\ndata: 2\n\ndata: 3"
    play = Play(index=0, interaction=recorded(headers=tuple(SSE.items()), body=body))
    assert [piece for _, piece in play.pieces] == [b"data: 1\r\n\r\n", b"data: 2\n\n", b"data: 3"]


# ---------------------------------------------------------------- over sockets
def multipart(border, content):
    """A body, and its headers, as a client that calls its border so writes them."""
    head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'.encode()
    return head + content + f"\r\n--{border}--\r\n".encode(), {
        "Content-Type": f"multipart/form-data; boundary={border}",
        "Authorization": f"Bearer app-{border}-0123456789",
    }


def ask(url, method, path, body=None, headers=None):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.request(method, f"{parts.path}/{path}", body, headers or {})
    reply = connection.getresponse()
    said = reply.status, reply.headers.get("Content-Length"), reply.read()
    connection.close()
    return said


@pytest.mark.parametrize("size", [1_000, 100_000, 3_000_000])
def test_an_upload_of_any_size_is_played_to_any_key(cassette, size):
    """However large, with a border of its own; a large one is read though nobody knows the key."""
    sound = bytes(range(256)) * (size // 256) + b"@b.cd"
    with in_thread(lambda: recording(cassette)) as (_, recorder, __):
        live = ask(recorder.url, "POST", "error", *multipart("one", sound))
    with MockDify(cassette=cassette) as server:
        assert ask(server.base_url, "POST", "error", *multipart("two", sound))[::2] == live[::2]
        assert ask(server.base_url, "POST", "error", *multipart("two", sound[1:]))[0] == 404


def test_a_reply_to_head_promises_what_was_promised(cassette):
    with in_thread(lambda: recording(cassette)) as (_, recorder, __):
        live = ask(recorder.url, "HEAD", "binary")
    with MockDify(cassette=cassette) as server:
        assert ask(server.base_url, "HEAD", "binary") == live == (200, "1024", b"")


def test_a_recording_without_mockdifys_words_is_played_and_told_apart(tmp_path):
    """As a client's own vcrpy wrote it, with the key filtered out."""
    asked = {"inputs": {}, "query": "hi", "user": "alice", "response_mode": "blocking"}
    one = recorded(request_body=json.dumps(asked).encode(), request_headers=(("Content-Type", "application/json"),))
    save(tmp_path / "a.yaml", [one])
    with MockDify(cassette=tmp_path / "a.yaml") as server:
        headers = {"Authorization": "Bearer mine", "Content-Type": "application/json"}
        assert ask(server.base_url, "POST", "chat-messages", json.dumps(asked), headers)[::2] == (200, one.body)
