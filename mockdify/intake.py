"""What comes in over a socket: connections with the manners of Dify's front server, and bodies on their way in.

Dify runs behind gunicorn, which answers what is not HTTP with a small page of its own, and that behind a proxy, which
stops bodies that are too large. Nothing here ends in a traceback: neither on the wire nor in the log.
"""

from __future__ import annotations

import ast
import asyncio
import html
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong, TransferEncodingError
from aiohttp.streams import StreamReader

from mockdify.errors import UNHANDLED
from mockdify.masking import mask_text
from mockdify.steps import Body, Head, Step
from mockdify.waits import Waiter
from mockdify.wire import JSON, REASONS, as_ujson

if TYPE_CHECKING:
    from mockdify.engine import Handling
    from mockdify.http import Request

__all__ = [
    "LONGEST_LINE",
    "AtOnce",
    "Begun",
    "BrokenError",
    "Connection",
    "Intake",
    "Listener",
    "StalledError",
    "refuse",
    "turned_away",
]

log = logging.getLogger("mockdify")

LONGEST_LINE = 4094
"""gunicorn's limit for a request line, which Dify leaves as it is."""
_MOST_HEADERS = 100
"""gunicorn's."""
_HALF_CLOSED = 0.05
"""Seconds between two looks at a client that has closed its sending side: whether the answer to what it sent is out."""
_LOOKS = 40
"""How often to look before the connection is closed all the same."""
_FLUSH = 5.0
"""Seconds for the last bytes to such a client."""
_SOME = 64 * 1024
"""Unsent bytes above which a client gets no further answer before it has read."""
_IN_MEMORY = 1024 * 1024
"""How much of a body is kept in memory before it goes to a file."""


class BrokenError(Exception):
    """A body that is framed wrongly."""


class StalledError(Exception):
    """A body of which nothing more comes."""


# ---------------------------------------------------------------------- bodies
class Intake:
    """One body on its way in: in memory up to 1 MiB, beyond that in a temporary file."""

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []
        self._file: BinaryIO | None = None

    async def read(self, content: StreamReader, *, patience: float, allow: Callable[[int], bool]) -> bool:
        """Take in all of *content*; False as soon as *allow* says so to the size met so far.

        Raises:
            BrokenError: the framing is wrong.
            StalledError: nothing came for *patience* seconds.
        """
        try:
            while True:
                async with asyncio.timeout(patience):
                    piece = await content.readany()
                if not piece:
                    return True
                self._add(piece)
                if not allow(self.size):
                    return False
        except TimeoutError:
            raise StalledError from None
        except (web.RequestPayloadError, TransferEncodingError) as error:
            raise BrokenError(str(error)) from None

    def _add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self._file is None:
            self._pieces.append(piece)
            if self.size <= _IN_MEMORY:
                return
            # A hundred megabytes of a video have no business in memory twice.
            self._file = TemporaryFile()  # noqa: SIM115 - the request closes it
            self._file.writelines(self._pieces)
        else:
            self._file.write(piece)

    def take(self, *, whole: bool) -> tuple[bytes, BinaryIO | None]:
        """The body, or its beginning and the file that has it all, unless the *whole* is wanted in memory."""
        beginning, file, self._file = b"".join(self._pieces), self._file, None
        self._pieces.clear()
        if file is None or not whole:
            return beginning, file
        with file:
            file.seek(0)
            return file.read(), None

    def close(self) -> None:
        """Give up the body."""
        if self._file is not None:
            self._file.close()


# ---------------------------------------------------------------------- connections
class Begun(NamedTuple):
    """A reply that was begun when its request came, and takes time."""

    request: Request
    handling: Handling
    steps: Iterator[Step]
    """All of it: what was met so far, and the rest."""
    leave: Callable[[], None]
    """The client has left before anybody went on with it."""


AtOnce: TypeAlias = Callable[[RawRequestMessage, bytes], bytes | Begun | None]
"""Tries to answer a request (its head, its whole body) without a task: gives the answer's bytes, or the reply it has
begun, or None when it did not look at it."""


class Connection(web.RequestHandler):
    """aiohttp's connection with other manners: gunicorn's page for what is not HTTP, one line in the log for it."""

    __slots__ = ("begun", "is_broken", "is_leaving", "waiter")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.is_broken = False
        """Whether the last thing that came was not HTTP, so that nothing more is to come."""
        self.is_leaving = False
        """Whether the client has closed its side: it gets what is about to come, and is gone."""
        self.waiter: Waiter | None = None
        """The waits of the reply that is under way."""
        self.begun: Begun | None = None
        """The reply that could not be given at once, for the task that goes on with it."""

    def data_received(self, data: bytes) -> None:
        """Take in bytes. When they spoil a body, who reads that body is told: aiohttp lets him wait for ever."""
        task = self._waiter  # aiohttp's task waits for a request
        if task is None or task.done() or self._messages or self._listener.at_once is None:
            super().data_received(data)
        else:
            # The task is not woken for a request that can be answered without it.
            self._waiter = None
            try:
                super().data_received(data)
            finally:
                self._waiter = task
            if self._messages and not self._is_answered_at_once() and not task.done():
                task.set_result(None)
        if self._messages and not isinstance(self._messages[-1][0], RawRequestMessage):
            self.is_broken = True
            reading = self._current_request
            if reading is not None and not reading.content.is_eof():
                reading.content.set_exception(web.RequestPayloadError("Invalid chunk"))

    def _is_answered_at_once(self) -> bool:
        """Whether there was one request and its answer is out."""
        message, payload = self._messages[0]
        listener, transport = self._listener, self.transport
        if (
            listener.at_once is None
            or transport is None
            or self._close
            or self._upgraded
            or len(self._messages) > 1
            or not isinstance(message, RawRequestMessage)
            or message.should_close
            or message.version != HttpVersion11
            or not payload.is_eof()
            or payload.exception() is not None
            or transport.get_write_buffer_size() > _SOME
        ):
            return False
        said = listener.at_once(message, payload.read_nowait())
        if not isinstance(said, bytes):
            self.begun = said
            return False
        transport.write(said)
        self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        listener.requests_count += 1
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone, perhaps before the task could go on with its reply."""
        super().connection_lost(exc)
        begun, self.begun = self.begun, None
        if begun is not None:
            begun.leave()

    @property
    def _listener(self) -> Listener:
        assert isinstance(self._manager, Listener)
        return self._manager

    def eof_received(self) -> bool | None:  # type: ignore[override]  # asyncio's protocols answer whether to stay open
        """The client sends no more. An answer that is on its way still goes out; one that waits for its time does not.

        A client that has vanished looks just the same as one that still listens, and most have vanished.
        """
        if self.waiter is not None:
            self.waiter.is_deserted = True
            if self.waiter.is_waiting:
                return None  # close
        elif self._waiter is not None and not self._waiter.done():
            return None  # idle
        self.is_leaving = True
        self._loop.call_later(_HALF_CLOSED, self._leave)
        return True

    def _leave(self, looks: int = _LOOKS) -> None:
        """Close the connection once there is nothing more to say to it."""
        transport = self.transport
        if transport is None:
            return
        if self._is_answering and looks:
            self._loop.call_later(_HALF_CLOSED, self._leave, looks - 1)
            return
        transport.close()
        if transport.get_write_buffer_size():  # goes out first; to a client that does not read it never would
            self._loop.call_later(_FLUSH, transport.abort)

    @property
    def _is_answering(self) -> bool:
        """Whether a request has come as a whole and its answer is not out."""
        asking = self._current_request
        return bool(self.waiter is not None or self._messages or (asking is not None and asking.content.is_eof()))

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to a request that is none, or that we failed on."""
        if status != 400 or exc is None:
            self.log_exception("mockdify failed on a request", exc_info=exc)
            if request.writer.output_size > 0:
                self.force_close()
                raise ConnectionError(message)
            failed = web.Response(status=500, reason=REASONS[500], body=as_ujson(UNHANDLED.payload()))
            failed.headers["Content-Type"] = JSON
            failed.force_close()
            return failed
        line = line_of(exc)
        if isinstance(exc, BadHttpMethod) and isinstance(self._manager, Listener):
            words = line.split(" ")
            if len(words) == len(("FOO", "/", "HTTP/1.1")) and _METHOD.fullmatch(words[0]):
                return self._manager.other_method(words[0], words[1])  # not HTTP for aiohttp, but for Dify's server
        level = self._manager.level if isinstance(self._manager, Listener) else logging.INFO
        return refuse(self.transport, *complaint(exc, line), level=level)

    def log_exception(self, *args: Any, exc_info: BaseException | None = None, **_: Any) -> None:
        """One line for what aiohttp would log with its traceback."""
        said = " ".join(map(str, args))
        log.error("%s: %s", said, " ".join(f"{type(exc_info).__name__}: {exc_info}".split()))


class Listener(web.Server):
    """aiohttp's server, making such connections.

    Args:
        handler: answers a request.
        at_once: answers most requests without a task; None for none.
        other_method: answers a request with a method that aiohttp does not know.
        level: how important it is that something was no HTTP.
        options: aiohttp's own.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        other_method: Callable[[str, str], web.StreamResponse],
        *,
        at_once: AtOnce | None,
        level: int,
        **options: Any,
    ) -> None:
        super().__init__(
            handler,
            max_line_size=LONGEST_LINE,
            max_headers=_MOST_HEADERS,
            auto_decompress=False,  # Dify does not unpack a compressed body either, and a bomb stays small
            access_log=None,
            **options,
        )
        self.at_once = at_once
        self.other_method = other_method
        self.level = level

    def __call__(self) -> Connection:
        """A protocol for one connection."""
        return Connection(self, loop=self._loop, **self._kwargs)


# ---------------------------------------------------------------------- refusals
def refuse(transport: asyncio.Transport | None, status: int, said: str, *, level: int) -> web.Response:
    """Answer as gunicorn does to what is not HTTP (`http.garbage_request`), and close the connection."""
    log.log(level, "%d: what came was not HTTP: %s", status, mask_text(_SECRET.sub(r"\1…", said)))
    phrase = "Bad Request" if status == 400 else "Request Header Fields Too Large"
    page = (
        f"<html>\n  <head>\n    <title>{phrase}</title>\n  </head>\n  <body>\n    <h1><p>{phrase}</p></h1>\n"
        f"    {html.escape(said)}\n  </body>\n</html>\n"
    ).encode()
    if transport is not None and not transport.is_closing():
        head = f"HTTP/1.1 {status} {phrase}\r\nConnection: close\r\nContent-Type: text/html\r\n"
        transport.write(head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(page), page))
        transport.close()
    return web.Response()  # nobody gets it: the connection is closed


def turned_away() -> tuple[Step, ...]:
    """What the proxy in front of Dify says to a body beyond its limit; the rest of it is not taken."""
    page = b"<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body></body>\r\n</html>\r\n"
    headers = (("Server", "nginx"), ("Content-Type", "text/html"), ("Connection", "close"))
    return (Head(413, headers, len(page)), Body(page))


_SECRET = re.compile(r"((?:authorization|cookie|api-key)\W).*", re.IGNORECASE)
"""The value of a header that nobody should read in a log, where just that header is the broken one."""
_QUOTED = re.compile(r"^  (b(['\"]).*\2)$", re.MULTILINE)
_VERSION = re.compile(r"HTTP/1\.[0-9]")
_METHOD = re.compile(r"[A-Z0-9!$%&'*+.^_`|~-]{3,20}")


def complaint(error: BaseException, line: str) -> tuple[int, str]:
    """Status and words of gunicorn for what aiohttp could not read.

    # unverified: all texts but the one about the version, which is recorded
    """
    said = str(getattr(error, "message", "") or error)
    if isinstance(error, LineTooLong):
        if f"than {LONGEST_LINE} " in said:
            return 400, f"Request Line is too large (over {LONGEST_LINE})"
        return 431, "Error parsing headers: 'limit request headers fields size'"
    if "Too many headers" in said:
        return 431, "Error parsing headers: 'limit request headers fields'"
    if not line:
        return 400, f"Invalid HTTP Header: {said!r}"
    return 400, _about_line(line, is_first=isinstance(error, BadHttpMethod))


def _about_line(line: str, *, is_first: bool) -> str:
    words = line.split(" ", 2)
    if not is_first and "HTTP/" not in line:
        return f"Invalid HTTP Header: {line!r}"
    if len(words) == len(("GET", "/", "HTTP/1.1")):
        if not _METHOD.fullmatch(words[0]):
            return f"Invalid Method 'Invalid HTTP method: {words[0]!r}'"
        if not _VERSION.fullmatch(words[2]):
            return f"Invalid HTTP Version 'Invalid HTTP Version: {words[2]!r}'"
    return f"Invalid Request Line 'Invalid HTTP request line: {line!r}'"


def line_of(error: BaseException) -> str:
    """The line that aiohttp's message quotes, as text; empty when it quotes none."""
    found = _QUOTED.search(str(getattr(error, "message", "")))
    if found is None:
        return ""
    line: bytes = ast.literal_eval(found[1])
    return line[:200].decode("latin-1")
