"""The recording proxy against a small server of our own."""

import asyncio
import json
import socket
import time

import aiohttp
import pytest
from cassette_kit import event, recording, serving
from yarl import URL

from mockdify import MockDify
from mockdify.cassettes.files import BusyCassetteError, DamagedCassetteError, load
from mockdify.cassettes.proxy import Recorder
from mockdify.cassettes.verify import verify
from mockdify.errors import MockdifyError


def run(test):
    return asyncio.run(asyncio.wait_for(test, 30))


def test_a_reply_is_passed_on_and_recorded_byte_for_byte(cassette):
    async def walk():
        async with recording(cassette) as (upstream, recorder, client):
            assert recorder.url.endswith("/v1")
            async with client.post(URL(recorder.url + "/echo?a=%2F&b=1", encoded=True), data=b"\x00\xff") as reply:
                body = await reply.read()
                names = set(reply.headers)
            [(method, target, headers, sent)] = upstream.seen
            return recorder, body, names, method, target, headers, sent

    recorder, body, names, method, target, headers, sent = run(walk())
    assert (method, target, sent) == ("POST", "/v1/echo?a=%2F&b=1", b"\x00\xff")
    assert headers["Accept-Encoding"] == "identity"
    [kept] = load(cassette)
    assert kept.body == body
    assert kept.request_body == b"\x00\xff"
    assert kept.uri == recorder.upstream + "/echo?a=%2F&b=1"
    assert kept.cut is None
    assert sum(size for _, size in kept.chunks) == len(body)
    assert {"Content-Type", "Content-Length", "Date", "Server"} <= names
    assert recorder.progress.calls == 1
    assert recorder.progress.bytes == len(body)


def test_a_stream_reaches_the_client_while_the_server_still_speaks(cassette):
    """The first event is there although the server waits for the test; borders and times are kept."""

    async def walk():
        async with recording(cassette) as (upstream, recorder, client), client.post(recorder.url + "/stream") as reply:
            first = await reply.content.readuntil(b"\n\n")
            upstream.go_on.set()
            return recorder, first, await reply.read()

    recorder, first, rest = run(walk())
    [kept] = load(cassette)
    assert first == event("Hel")
    assert kept.body == first + rest
    assert [size for _, size in kept.chunks] == [len(event(text)) for text in ("Hel", "lo 你好", "")]
    assert kept.about["framing"] == "chunked"
    assert kept.dify["version"] == "1.16.1"
    assert kept.dify["profile"] == "1.16"
    assert recorder.progress.events == 3


def test_the_first_byte_is_hardly_later_than_the_servers(cassette):
    """At most 5 ms in the median; the limit here is generous, machines that test are busy."""

    async def first_byte(client, url):
        started = time.perf_counter()
        async with client.post(url) as reply:
            await reply.content.readany()
            return time.perf_counter() - started

    async def walk():
        async with recording(cassette) as (upstream, recorder, client):
            upstream.go_on.set()
            await first_byte(client, recorder.upstream + "/stream")
            await first_byte(client, recorder.url + "/stream")
            direct = sorted([await first_byte(client, recorder.upstream + "/stream") for _ in range(15)])[7]
            through = sorted([await first_byte(client, recorder.url + "/stream") for _ in range(15)])[7]
            return through - direct

    assert run(walk()) < 0.05


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_stream_that_the_server_cuts_is_cut_for_the_client_and_kept(cassette, how):
    async def walk():
        async with recording(cassette) as (_, recorder, client):
            with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
                async with client.post(recorder.url + f"/cut?how={how}") as reply:
                    await reply.read()
            return recorder

    recorder = run(walk())
    [kept] = load(cassette)
    assert kept.cut == "upstream"
    assert kept.about["cut_how"] == how
    assert kept.body == event("Hel") + event("lo")
    assert recorder.progress.cut == 1


@pytest.mark.parametrize(("how", "told"), [("close", b""), ("reset", None)])
def test_a_server_that_breaks_off_without_a_word_does_so_for_the_client_and_when_played(cassette, how, told):
    def ask(port):
        """What came, None for a reset."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET /v1/silent?how=%b HTTP/1.1\r\nHost: x\r\n\r\n" % how.encode())
            try:
                return client.recv(100)
            except ConnectionResetError:
                return None

    async def walk():
        async with recording(cassette) as (_, recorder, __):
            return await asyncio.to_thread(ask, recorder.port)

    assert run(walk()) == told
    [kept] = load(cassette)
    assert (kept.cut, kept.about["no_reply"], kept.about["cut_how"]) == ("upstream", True, how)
    assert verify([cassette]).drifts == ()
    with MockDify(cassette=cassette) as server:
        assert ask(URL(server.base_url).port) == told


def test_a_client_that_leaves_leaves_the_server_too_and_its_part_is_kept(cassette):
    async def walk():
        async with recording(cassette) as (upstream, recorder, client):
            async with client.post(recorder.url + "/endless") as reply:
                await reply.content.readuntil(b"\n\n")
                reply.close()
            await asyncio.wait_for(upstream.left.wait(), 5)
        return load(cassette)

    [kept] = run(walk())
    assert kept.cut == "client"
    assert kept.body == event("one")


def test_stopping_keeps_what_goes_on_as_killed(cassette):
    async def walk():
        async with serving() as (_, origin), aiohttp.ClientSession() as client:
            recorder = Recorder(origin + "/v1", cassette)
            await recorder.start()
            async with client.post(recorder.url + "/echo", json={}), client.post(recorder.url + "/endless") as reply:
                await reply.content.readuntil(b"\n\n")
                await recorder.stop()

    run(walk())
    assert [(each.cut, each.body[:6]) for each in load(cassette)] == [(None, b'{"meth'), ("killed", b"data: ")]


def test_a_server_that_cannot_be_reached_is_a_502_of_ours_and_marked(cassette):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def walk():
        async with (
            Recorder(f"http://127.0.0.1:{port}/v1", cassette) as recorder,
            aiohttp.ClientSession() as client,
            client.get(recorder.url + "/parameters") as reply,
        ):
            return reply.status, reply.headers["X-Mockdify"], await reply.json()

    status, mark, body = run(walk())
    assert (status, mark, body["code"]) == (502, "upstream-unreachable", "mockdify_upstream_unreachable")
    assert str(port) in body["message"]
    [kept] = load(cassette)
    assert "Connect" in kept.about["unreachable"]
    assert not kept.dify


@pytest.mark.parametrize(("method", "path", "status", "size"), [
    ("GET", "nothing", 204, 0), ("HEAD", "echo", 200, 0), ("GET", "binary", 200, 1024), ("POST", "error", 429, 68),
])  # fmt: skip
def test_replies_of_every_kind_pass(cassette, method, path, status, size):
    async def walk():
        async with recording(cassette) as (_, recorder, client):
            async with client.request(method, f"{recorder.upstream}/{path}") as direct:
                there = await direct.read(), dict(direct.headers)
            async with client.request(method, f"{recorder.url}/{path}") as reply:
                return there, (await reply.read(), dict(reply.headers)), reply.status

    there, here, met = run(walk())
    for headers in (there[1], here[1]):
        headers.pop("Date", None)
    assert here == there
    [kept] = load(cassette)
    assert (met, kept.status, len(kept.body)) == (status, status, size)
    assert kept.body == here[0]


def test_an_upload_and_concurrent_calls_are_kept_apart(cassette):
    async def walk():
        async with recording(cassette) as (_, recorder, client):

            async def one(n):
                form = aiohttp.FormData({"user": f"u{n}"})
                form.add_field("file", bytes([n]) * 70_000, filename="a.bin", content_type="application/octet-stream")
                async with client.post(recorder.url + "/echo", data=form) as reply:
                    return (await reply.json())["body"]

            return await asyncio.gather(*(one(n) for n in range(8)))

    bodies = run(walk())
    kept = load(cassette)
    assert sorted(each.request_body.decode("latin-1") for each in kept) == sorted(bodies)
    assert all(json.loads(each.body)["body"] == each.request_body.decode("latin-1") for each in kept)


def test_redirects_stay_with_the_proxy_and_are_recorded_as_sent(cassette):
    async def walk():
        async with (
            recording(cassette) as (_, recorder, client),
            client.get(recorder.url + "/moved", allow_redirects=False) as reply,
        ):
            return recorder, reply.headers["Location"]

    recorder, location = run(walk())
    assert location == recorder.url + "/echo"
    assert dict(load(cassette)[0].headers)["Location"] == recorder.upstream + "/echo"


def test_a_compressed_reply_passes_as_it_is_and_is_kept_plain_and_scrubbed(cassette):
    async def walk():
        async with recording(cassette) as (_, recorder, client), client.get(recorder.url + "/zipped") as reply:
            return reply.headers["Content-Encoding"], await reply.json()

    assert run(walk()) == ("gzip", {"answer": "sk-canary-0123456789"})
    [kept] = load(cassette)
    assert json.loads(kept.body) == {"answer": "<key-1>"}
    assert "Content-Encoding" not in dict(kept.headers)


def test_secrets_reach_the_server_but_not_the_file(cassette):
    async def walk():
        async with recording(cassette) as (upstream, recorder, client):
            headers = {"Authorization": "Bearer app-CANARY0123456789", "Cookie": "session=canary-cookie-1"}
            async with client.post(recorder.url + "/echo", json={"q": "canary@example.com"}, headers=headers) as reply:
                await reply.read()
            return upstream.seen[0][2]["Authorization"]

    assert run(walk()) == "Bearer app-CANARY0123456789"
    assert b"canary" not in cassette.read_bytes().lower()


def test_two_recorders_cannot_share_a_cassette(cassette):
    async def walk():
        async with recording(cassette) as (_, recorder, __):
            await Recorder(recorder.upstream, cassette).start()

    with pytest.raises(BusyCassetteError, match="another recorder is writing this cassette"):
        run(walk())


def test_a_damaged_cassette_is_refused_and_left_as_it_is(cassette):
    cassette.write_bytes(b"version: 1\ninteractions: [\n")
    with pytest.raises(DamagedCassetteError, match="line 3"):
        run(Recorder("http://dify.test/v1", cassette).start())
    assert cassette.read_bytes() == b"version: 1\ninteractions: [\n"


def test_recording_again_adds_and_numbers_on(cassette):
    async def once(key):
        async with (
            recording(cassette) as (_, recorder, client),
            client.get(recorder.url + "/echo", headers={"Authorization": f"Bearer {key}"}) as reply,
        ):
            await reply.read()

    run(once("app-first-key-0001"))
    run(once("app-second-key-0002"))
    kept = [dict(each.request_headers)["Authorization"] for each in load(cassette)]
    assert kept == ["Bearer <key-1>", "Bearer <key-2>"]


@pytest.mark.parametrize("upstream", ["api.dify.ai/v1", "ftp://dify.test", "https://", "https://dify.test/v1?x=1"])
def test_what_is_no_base_url_is_refused(cassette, upstream):
    with pytest.raises(MockdifyError, match="a base URL such as"):
        Recorder(upstream, cassette)


def test_a_taken_port_is_said_so(cassette):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(MockdifyError, match="cannot listen on"):
            run(Recorder("http://dify.test/v1", cassette, port=taken.getsockname()[1]).start())
    assert not cassette.with_name("run.yaml.lock").exists()


def test_calls_are_on_the_disk_before_the_client_has_their_end(cassette):
    """Whoever has a whole reply finds it in the file, the recorder still running."""

    async def walk():
        async with recording(cassette) as (_, recorder, client):
            for n in range(5):
                for path in ("echo", "nothing", "cut"):
                    try:
                        async with client.get(f"{recorder.url}/{path}?n={n}") as reply:
                            await reply.read()
                    except aiohttp.ClientError:
                        pass
                    uris = [each.uri for each in load(cassette)]
                    assert uris[-1] == f"{recorder.upstream}/{path}?n={n}"
            return len(uris)

    assert run(walk()) == 15
