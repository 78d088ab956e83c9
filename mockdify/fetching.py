"""`remote_files = "fetch"`: files that a request names by a URL are asked for before it is answered.

A reply does nothing before it is iterated, so this is the moment: the request is in, and nothing has happened yet. Each
address is asked with HEAD, as Dify does, in a thread of its own: it may be this very server that has to answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mockdify.remote import Fetched, Reached
from mockdify.server import Edge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

    from mockdify.engine import Engine, Handling
    from mockdify.settings import Settings
    from mockdify.steps import Step

__all__ = ["edge_of"]

_PATIENCE = 5.0


def edge_of(engine: Engine, settings: Settings, *, on_exchange: Callable[[Handling], None] | None = None) -> Edge:
    """The edge that *settings* ask for."""
    kind = _Fetching if isinstance(engine.template.remote_files, Reached) else Edge
    return kind(
        engine,
        coalesce=settings.coalesce,
        keepalive=settings.keepalive,
        connections=settings.connections,
        on_exchange=on_exchange,
    )


class _Fetching(Edge):
    """An edge that looks for remote files first."""

    _gives_at_once = False

    async def _perform(
        self, handling: Handling, steps: Iterator[Step], incoming: web.BaseRequest
    ) -> web.StreamResponse:
        reached = handling.workspace.template.remote_files
        if isinstance(reached, Reached) and handling.exchange.app is not None:
            for url in reached.named_in(handling.exchange.raw.body):
                reached.enter(url, await asyncio.to_thread(_asked, url))
        return await super()._perform(handling, steps, incoming)


def _asked(url: str) -> Fetched | None:
    """What the server of *url* says of it; None when there is no answer."""
    import urllib.error  # noqa: PLC0415 - few servers fetch anything
    import urllib.request  # noqa: PLC0415
    from http.client import HTTPException  # noqa: PLC0415

    try:
        if urlsplit(url).scheme not in ("http", "https"):
            return None
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - checked in the line above
        with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:  # noqa: S310
            return _fetched(reply.headers) if reply.status == 200 else Fetched()
    except urllib.error.HTTPError as refused:
        refused.close()
        return Fetched()  # unverified: an answer that is no 200 leaves name and size as they are
    except (OSError, HTTPException, ValueError):
        return None


def _fetched(headers: Any) -> Fetched:
    from email.message import Message  # noqa: PLC0415

    said = Message()
    said["Content-Disposition"] = headers.get("Content-Disposition", "")
    length = headers.get("Content-Length", "")
    return Fetched(
        name=said.get_filename() or None,
        mime_type=headers.get("Content-Type", "").partition(";")[0].strip(),
        size=int(length) if length.isdecimal() else -1,
    )
