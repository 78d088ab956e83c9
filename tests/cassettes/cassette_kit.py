"""A small upstream of our own, a recorder in front of it, and a way to run both without an async plugin."""

import asyncio
import contextlib
import socket
import struct
import threading

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from mockdify.cassettes.interaction import Interaction
from mockdify.cassettes.proxy import Recorder
from mockdify.cassettes.replay import Miss, Player, steps
from mockdify.http import Request
from mockdify.steps import Abort, Body, Head

SSE = {"Content-Type": "text/event-stream; charset=utf-8", "X-Version": "1.16.1"}


def recorded(**changes):
    """An interaction as a recorder writes it."""
    plain = {
        "method": "POST",
        "uri": "http://dify.test/v1/chat-messages",
        "request_headers": (("Authorization", "Bearer <key-1>"), ("Content-Type", "application/json")),
        "request_body": b'{"query": "hi", "user": "alice", "inputs": {}}',
        "status": 200,
        "reason": "OK",
        "headers": (("Content-Type", "application/json"), ("X-Version", "1.16.1")),
        "body": b'{"answer": "hello"}',
    }
    return Interaction(**{**plain, **changes})


def event(text, **more):
    """One SSE event of a model's answer."""
    import json

    return b"data: " + json.dumps({"event": "message", "answer": text, **more}, ensure_ascii=False).encode() + b"\n\n"


class Upstream:
    """A server that does what a path says; `seen` are the requests as they came."""

    def __init__(self):
        self.seen = []
        self.left = asyncio.Event()
        self.go_on = asyncio.Event()

    async def handle(self, request):
        body = await request.read()
        self.seen.append((request.method, request.raw_path, dict(request.headers), body))
        what = request.path.rsplit("/", 1)[-1]
        return await getattr(self, f"do_{what.replace('-', '_')}", self.do_echo)(request, body)

    async def do_echo(self, request, body):
        return web.json_response({"method": request.method, "path": request.raw_path, "body": body.decode("latin-1")})

    async def do_nothing(self, request, body):
        return web.Response(status=204)

    async def do_error(self, request, body):
        return web.json_response({"code": "too_many_requests", "message": "slow down", "status": 429}, status=429)

    async def do_binary(self, request, body):
        return web.Response(body=bytes(range(256)) * 4, content_type="audio/mpeg")

    async def do_moved(self, request, body):
        return web.Response(status=308, headers={"Location": f"http://{request.host}/v1/echo"})

    async def do_stream(self, request, body):
        """Three events, the last two when the test says so."""
        response = web.StreamResponse(headers=SSE)
        await response.prepare(request)
        await response.write(event("Hel"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.go_on.wait(), 5)
        await response.write(event("lo 你好"))
        await response.write(event(""))
        await response.write_eof()
        return response

    async def do_cut(self, request, body):
        """Two events, then the connection ends."""
        response = web.StreamResponse(headers=SSE)
        await response.prepare(request)
        await response.write(event("Hel"))
        await response.write(event("lo"))
        if request.query.get("how") == "reset":
            sock = request.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
        else:
            request.transport.close()
        return response

    async def do_silent(self, request, body):
        """Not a word, and the connection ends."""
        if request.query.get("how") == "reset":
            sock = request.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
        else:
            request.transport.close()
        return web.Response()

    async def do_endless(self, request, body):
        """An event, then nothing until the client leaves."""
        response = web.StreamResponse(headers=SSE)
        await response.prepare(request)
        await response.write(event("one"))
        try:
            await asyncio.sleep(30)
        finally:
            self.left.set()
        return response

    async def do_zipped(self, request, body):
        """Compressed although nobody asked for it."""
        import gzip

        return web.Response(
            body=gzip.compress(b'{"answer": "sk-canary-0123456789"}'),
            headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
        )


@contextlib.asynccontextmanager
async def serving(upstream=None):
    """(upstream, its base URL)."""
    upstream = upstream or Upstream()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", upstream.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield upstream, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def recording(path, **options):
    """(upstream, recorder, client session)."""
    async with serving() as (upstream, origin), aiohttp.ClientSession() as client:
        recorder = Recorder(origin + "/v1", path, **options)
        await recorder.start()
        try:
            yield upstream, recorder, client
        finally:
            await recorder.stop()


@contextlib.contextmanager
def in_thread(make):
    """What the async context manager *make()* gives, kept open by a loop in a thread: for clients that block."""
    started, stop, box = threading.Event(), None, {}

    async def main():
        nonlocal stop
        stop = asyncio.Event()
        box["loop"] = asyncio.get_running_loop()
        try:
            async with make() as given:
                box["given"] = given
                started.set()
                await stop.wait()
        finally:
            started.set()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    started.wait(10)
    try:
        yield box["given"]
    finally:
        box["loop"].call_soon_threadsafe(stop.set)
        thread.join(10)


@contextlib.asynccontextmanager
async def playing(path, **options):
    """The base URL of a server that plays the cassette at *path*: the steps, performed at their simplest."""
    player = Player.load(path, **options)

    async def handle(request):
        headers, body = tuple(request.headers.items()), await request.read()
        asked = Request(method=request.method, target=request.raw_path, headers=headers, body=body)
        play = player.find(asked)
        if isinstance(play, Miss):
            return web.json_response({"code": "not_recorded", "message": str(play), "status": 404}, status=404)
        response = None
        for step in steps(play):
            if isinstance(step, Head):
                response = web.StreamResponse(status=step.status, headers=CIMultiDict(step.headers))
                response.content_length = step.length
                await response.prepare(request)
            elif isinstance(step, Body):
                await response.write(step.data)
            elif isinstance(step, Abort):
                request.transport.close()
        return response

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()
