"""`mockdify record`: a reverse proxy that passes everything on at once and writes down what it saw.

Any client in any language is pointed at it by its base URL. Bytes reach the client as they come, in the pieces they
come in; recording them inside the client would hold them back until the stream ends. An exchange is in the file before
the client sees its end, so that whoever has a reply has its recording too.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import re
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from mockdify.cassettes.coding import decoded
from mockdify.cassettes.files import CassetteError, Writer
from mockdify.cassettes.interaction import Interaction
from mockdify.cassettes.scrub import Scrubber
from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Iterable

    from mockdify.cassettes.interaction import Cut
    from mockdify.steps import Headers

__all__ = ["Progress", "Recorder", "sendable"]

_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect", "host"}
)
_OWN = (hdrs.CONTENT_TYPE, hdrs.DATE, hdrs.SERVER)  # headers that aiohttp adds to a reply that lacks them
_EVENT = re.compile(rb"(?:\A|\n)data:")
_SYNC_AFTER = 0.1  # seconds until an exchange that a kill cannot lose is safe from a power cut too
_IDLE = 1.0  # seconds a connection to the server is kept: gunicorn closes after two, and a race would be our error
_LONGEST_HEADER = 1 << 16
_LARGE = 1 << 20


@dataclass(slots=True)
class Progress:
    """What a recorder has seen so far."""

    calls: int = 0
    """Exchanges that ended."""
    bytes: int = 0
    """Bytes of replies that were passed on."""
    events: int = 0
    """Events with data among them."""
    open: int = 0
    """Exchanges that are going on."""
    cut: int = 0
    """Exchanges that ended too early, whoever ended them."""
    unreachable: int = 0
    """Exchanges that never reached the server."""
    unread: int = 0
    """Replies that the server compressed in a way that is not known here: they are not scrubbed."""


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(slots=True)
class _Exchange:
    """One exchange while it goes on."""

    method: str
    uri: str
    request_headers: Headers
    request_body: bytes | None
    at: datetime
    started: float
    status: int = 0
    reason: str = ""
    headers: Headers = ()
    about: dict[str, Any] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    chunks: list[list[float]] = field(default_factory=list)
    seam: bytes = b"\n"
    written: bool = False

    def ms(self) -> float:
        """Milliseconds since the request went out."""
        return round((time.perf_counter() - self.started) * 1000, 1)

    def take(self, data: bytes) -> int:
        """Note a piece of the reply; how many events began in it."""
        self.pieces.append(data)
        self.chunks.append([self.ms(), len(data)])
        joined = self.seam + data
        self.seam = joined[-5:]
        return len(_EVENT.findall(joined)) - len(_EVENT.findall(joined[: len(joined) - len(data)]))

    def interaction(self, cut: Cut | None) -> Interaction:
        """What is to be kept of it."""
        body, headers, chunks = b"".join(self.pieces), self.headers, self.chunks
        coding = next((value.strip().lower() for name, value in headers if name.lower() == "content-encoding"), "")
        plain = decoded(coding, self.pieces)
        if plain is not None:  # the server compressed although it was asked not to
            body = b"".join(plain)
            chunks = [[ms, len(each)] for (ms, _), each in zip(chunks, plain, strict=True) if each]
            headers = tuple((n, v) for n, v in headers if n.lower() not in ("content-encoding", "content-length"))
        about = {"at": _iso(self.at), **self.about, "chunks": chunks, "end_ms": self.ms(), "cut": cut}
        if body and plain is None and coding not in ("", "identity"):
            about["coding"] = coding  # kept as it came: nobody could look for secrets in it
        return Interaction(
            method=self.method,
            uri=self.uri,
            request_headers=self.request_headers,
            request_body=self.request_body,
            status=self.status,
            reason=self.reason,
            headers=tuple((name, value) for name, value in headers if name.lower() not in _HOP),
            body=body,
            about=about,
        )


class Recorder:
    """Records what clients ask of *upstream* into the cassette at *path*, adding to what is there.

    Args:
        upstream: The server's base URL, as a client would be given it.
        path: The cassette. Whoever else writes it is waited for, *wait* seconds at most.
        scrubber: Takes the secrets out; one of your own knows further ones.
        host: Where to listen.
        port: Where to listen; 0 picks a free one.
        note: A sentence on where this comes from, kept with each exchange.
        fresh: Replace what is in the cassette; or what tells so, once nobody else may write it.
        on_progress: Called after every change of `progress`.
    """

    def __init__(
        self,
        upstream: str,
        path: str | os.PathLike[str],
        *,
        scrubber: Scrubber | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        note: str = "",
        fresh: bool | Callable[[], bool] = False,
        wait: float = 0.0,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.upstream = upstream.rstrip("/")
        self._origin, self._prefix = _split(self.upstream)
        self.path = path
        self.scrubber = scrubber or Scrubber()
        self.host, self.port = host, port
        self.note = note
        self.progress = Progress()
        self._fresh, self._wait = fresh, wait
        self._on_progress = on_progress or (lambda _: None)
        self._stopping = False
        self._trouble: CassetteError | None = None
        self._syncing: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The base URL that stands for *upstream*; known once started."""
        host = "127.0.0.1" if self.host in ("", "0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{self._prefix}"

    async def start(self) -> None:
        """Take the cassette and accept connections.

        Raises:
            CassetteError: Somebody else writes the cassette, or it is damaged, or its folder cannot be written.
            MockdifyError: The port is taken.
        """
        self._writer = await asyncio.to_thread(Writer, self.path, wait=self._wait, fresh=self._fresh)
        try:
            self.scrubber.skip(self._writer.old)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=not _is_loopback(self._origin),
                max_line_size=_LONGEST_HEADER,
                max_field_size=_LONGEST_HEADER,
            )
            await self._listen()
        except BaseException:
            await self._release()
            raise

    async def _listen(self) -> None:
        app = web.Application(client_max_size=1 << 40)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(_only_upstreams_headers)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.1,
            auto_decompress=False,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise MockdifyError(
                f"cannot listen on {self.host}:{self.port}: {error.strerror or error}. Try another port; 0 picks one."
            ) from None
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """End what goes on (kept, marked `killed`), finish the file, let others write it.

        Raises:
            CassetteError: Something could not be written.
        """
        self._stopping = True
        await self._runner.cleanup()
        await self._release()
        if self._trouble is not None:
            raise self._trouble

    async def _release(self) -> None:
        if hasattr(self, "_session"):
            await self._session.close()
        if self._syncing is not None:
            await self._syncing
        await asyncio.to_thread(self._writer.close)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ------------------------------------------------------------ one exchange
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        exchange = _Exchange(
            method=request.method,
            uri=self._origin + _target(request),
            request_headers=_pairs(request.raw_headers),
            request_body=await request.read() or None,
            at=datetime.now(UTC),
            started=time.perf_counter(),
        )
        self.progress.open += 1
        try:
            return await self._pass_on(request, exchange)
        except asyncio.CancelledError:  # the client is gone, or we are to stop
            self._write(exchange, "killed" if self._stopping else "client")
            raise
        finally:
            self.progress.open -= 1
            self._on_progress(self.progress)

    async def _pass_on(self, request: web.Request, exchange: _Exchange) -> web.StreamResponse:
        try:
            answer = await self._session.request(
                exchange.method,
                URL(exchange.uri, encoded=True),
                headers=_asking(exchange.request_headers),
                data=sendable(exchange.request_body),
                allow_redirects=False,
                skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.CONTENT_TYPE),
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if _took_it(error):
                return self._silent(request, exchange, error)
            return self._unreachable(exchange, error)
        try:
            return await self._relay(request, exchange, answer)
        finally:
            answer.close() if exchange.about.get("cut_how") or not answer.content.at_eof() else answer.release()

    async def _relay(
        self, request: web.Request, exchange: _Exchange, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        exchange.status, exchange.reason = answer.status, answer.reason or ""
        exchange.headers = _pairs(answer.raw_headers)
        exchange.about |= self._origin_of(exchange) | {"framing": _framing(answer), "head_ms": exchange.ms()}
        response = _Passed(status=answer.status, reason=exchange.reason, headers=self._answering(exchange))
        response.theirs = frozenset(name.lower() for name, _ in exchange.headers)
        if exchange.about["framing"] == "none" or answer.content_length == 0:
            self._write(exchange, None)  # the client will know from the head that this is all
        try:
            await response.prepare(request)
            await self._stream(exchange, answer, response)
        except ConnectionError:  # of the client: those of the server are a cut, below
            self._write(exchange, "client")
        except _UpstreamCutError as cut:
            exchange.about["cut_how"] = cut.how
            self._write(exchange, "upstream")
            _abort(request, cut.how)
        return response

    async def _stream(self, exchange: _Exchange, answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        expected = answer.content_length if exchange.method != "HEAD" else None
        seen = 0
        async for data in _pieces(answer):
            seen += len(data)
            self.progress.events += exchange.take(data)
            self.progress.bytes += len(data)
            if seen == expected:
                self._write(exchange, None)  # before the client knows that this is all
            await response.write(data)
            self._on_progress(self.progress)
        self._write(exchange, None)
        await response.write_eof()

    def _unreachable(self, exchange: _Exchange, error: Exception) -> web.StreamResponse:
        """Our own 502, marked as such in the reply and in the cassette."""
        self.progress.unreachable += 1
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        body = {
            "code": "mockdify_upstream_unreachable",
            "message": f"mockdify record got no reply from {self._origin}: {reason}",
            "status": 502,
        }
        exchange.status, exchange.reason = 502, "Bad Gateway"
        exchange.headers = ((hdrs.CONTENT_TYPE, "application/json"), ("X-Mockdify", "upstream-unreachable"))
        exchange.about |= {"unreachable": reason, "framing": "length"}
        exchange.take(json.dumps(body).encode())
        self._write(exchange, None)
        return web.Response(body=exchange.pieces[0], status=502, headers=dict(exchange.headers))

    def _silent(self, request: web.Request, exchange: _Exchange, error: Exception) -> web.StreamResponse:
        """The server took the request and broke off without a word: so do we. vcrpy wants a status: 502, marked."""
        how = _how(error)
        exchange.status, exchange.reason = 502, "No Reply"
        exchange.about |= self._origin_of(exchange) | {"no_reply": True, "cut_how": how}
        self._write(exchange, "upstream")
        _abort(request, how)
        return web.Response(status=502)  # goes nowhere any more

    def _write(self, exchange: _Exchange, cut: Cut | None) -> None:
        """Put *exchange* into the file; done when this returns. An exchange without a reply leaves nothing to keep."""
        if exchange.written or not exchange.status:
            return
        exchange.written = True
        self.progress.calls += 1
        self.progress.cut += cut is not None
        kept = exchange.interaction(cut)
        self.progress.unread += "coding" in kept.about
        try:
            self._writer.append(self.scrubber(kept))
        except CassetteError as error:  # the client is not to suffer; `stop` tells
            self._trouble = self._trouble or error
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.get_running_loop().create_task(self._sync_soon())

    async def _sync_soon(self) -> None:
        if not self._stopping:
            await asyncio.sleep(_SYNC_AFTER)
        await asyncio.to_thread(self._writer.sync)

    def _origin_of(self, exchange: _Exchange) -> dict[str, Any]:
        version = next((value for name, value in exchange.headers if name.lower() == "x-version"), "")
        dify: dict[str, Any] = {"recorded_at": _iso(exchange.at)[:19] + "Z", "note": self.note or None}
        if version:
            dify = {"version": version, "profile": ".".join(version.split(".")[:2]), **dify}
        return {"dify": {name: value for name, value in dify.items() if value}}

    def _answering(self, exchange: _Exchange) -> CIMultiDict[str]:
        """The headers for the client: the server's, but that a redirect stays with the proxy."""
        ours = self.url.removesuffix(self._prefix)
        headers: CIMultiDict[str] = CIMultiDict()
        for name, value in exchange.headers:
            if name.lower() in _HOP:
                continue
            inside = name.lower() == "location" and value.startswith((self._origin + "/", self._origin + "?"))
            headers.add(name, ours + value[len(self._origin) :] if inside else value)
        return headers


class _UpstreamCutError(Exception):
    """The server's reply ended before its end: by a closed connection or by a reset one."""

    def __init__(self, how: str) -> None:
        self.how = how


async def _pieces(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The reply's bytes as they come, an HTTP chunk never joined to the next."""
    content = answer.content
    while True:
        try:
            data, ended = await content.readchunk()
        except (aiohttp.ClientError, OSError) as error:
            # What came just before the end is still in the reader, which only raises from now on.
            with contextlib.suppress(Exception):
                if rest := content._read_nowait(-1):  # noqa: SLF001 - no public way
                    yield rest
            raise _UpstreamCutError(_how(error)) from None
        if data:
            yield data
        if content.at_eof() or not (data or ended):
            return


def _took_it(error: Exception) -> bool:
    """Whether the server was there, and ended the connection before it said anything."""
    broken = isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError))
    return broken and not isinstance(error, aiohttp.ClientConnectorError)


def _how(error: BaseException | None) -> str:
    """How the connection ended; in the middle of a body aiohttp tells only in the text of its error."""
    while error is not None:
        if getattr(error, "errno", None) == errno.ECONNRESET or "ConnectionResetError" in str(error):
            return "reset"
        error = error.__cause__ or error.__context__
    return "close"


class _Passed(web.StreamResponse):
    """The server's reply; `theirs` are the names of its headers."""

    theirs: frozenset[str] = frozenset()


async def _only_upstreams_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Take away what aiohttp added to a reply of the server's: its headers are evidence too."""
    if isinstance(response, _Passed):
        for name in _OWN:
            if name.lower() not in response.theirs:
                response.headers.popall(name, None)


def _abort(request: web.Request, how: str) -> None:
    """End the client's connection as the server ended ours."""
    transport = request.transport
    if transport is None:
        return
    if how == "reset":
        sock = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()


# ---------------------------------------------------------------- small things
def _split(upstream: str) -> tuple[str, str]:
    """(origin, path) of the server's base URL."""
    parts = urlsplit(upstream)
    if "@" in parts.netloc:  # keys of Dify travel in the same header
        raise MockdifyError(f"upstream {parts.hostname!r}: user and password cannot be in its URL.")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise MockdifyError(f"upstream {upstream!r}: a base URL such as https://api.dify.ai/v1 is expected.")
    return f"{parts.scheme}://{parts.netloc}", parts.path


def sendable(body: bytes | None) -> bytes | BytesIO | None:
    """*body* as aiohttp likes it: a large one in pieces, so that nobody else has to wait."""
    return BytesIO(body) if body is not None and len(body) > _LARGE else body


def _is_loopback(origin: str) -> bool:
    host = urlsplit(origin).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _target(request: web.Request) -> str:
    """Path and query exactly as the client sent them."""
    target = request.raw_path
    if not target.startswith("/"):  # an absolute target, as for a forward proxy
        parts = urlsplit(target)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return target


def _pairs(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in raw)


def _asking(headers: Headers) -> CIMultiDict[str]:
    """The headers for the server. Uncompressed: compressed replies are held back, and play to few other clients."""
    kept = [(name, value) for name, value in headers if name.lower() not in _HOP]
    asked: CIMultiDict[str] = CIMultiDict(
        (n, v) for n, v in kept if n.lower() not in ("accept-encoding", "content-length")
    )
    asked[hdrs.ACCEPT_ENCODING] = "identity"
    return asked


def _framing(answer: aiohttp.ClientResponse) -> str:
    """How the server marks the end of its body: `chunked`, by `length`, by closing, or there is `none`."""
    if answer.method == "HEAD" or answer.status in (204, 304):
        return "none"
    if "chunked" in answer.headers.get(hdrs.TRANSFER_ENCODING, "").lower():
        return "chunked"
    return "length" if hdrs.CONTENT_LENGTH in answer.headers else "close"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
