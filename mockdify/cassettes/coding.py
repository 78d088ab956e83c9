"""Compressed bodies made plain: what is compressed cannot be scrubbed, searched, or played to every client."""

from __future__ import annotations

import contextlib
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["decoded", "plain"]

_WINDOWS = {
    "gzip": (zlib.MAX_WBITS | 16,),
    "x-gzip": (zlib.MAX_WBITS | 16,),
    "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),  # what is called deflate comes with a header or without
}


def decoded(coding: str, pieces: Sequence[bytes]) -> list[bytes] | None:
    """The plain bytes that came with each of *pieces*; None when they are not compressed, or in a way unknown here.

    A body that was cut is plain as far as it came.
    """
    for window in _WINDOWS.get(coding, ()) if pieces else ():
        with contextlib.suppress(zlib.error):
            return _inflated(pieces, window)
    return None


def plain(coding: str, body: bytes) -> bytes | None:
    """*body* without its *coding*; the same where it has none on it, though its header says so; None when unknown.

    vcrpy keeps what clients hand out, requests and aiohttp decode before that, and the header stays.
    """
    inflated = decoded(coding, [body])
    if inflated is not None:
        return inflated[0]
    try:
        body.decode()
    except UnicodeDecodeError:
        return None
    return body


def _inflated(pieces: Sequence[bytes], window: int) -> list[bytes]:
    found, inflating = [], zlib.decompressobj(window)
    for piece in pieces:
        plain, rest = b"", piece
        while rest:
            if inflating.eof:  # gzip may be several members, one behind the other
                inflating = zlib.decompressobj(window)
            plain += inflating.decompress(rest)
            rest = inflating.unused_data
        found.append(plain)
    return found
