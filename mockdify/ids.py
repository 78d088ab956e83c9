"""Ids from a seed: the same world makes the same ids, whatever runs beside it."""

from __future__ import annotations

from hashlib import blake2b

__all__ = ["Ids", "fixed_id"]

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _as_uuid(digest: str) -> str:
    """32 hex digits as a UUID of version 4."""
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-{_VARIANT[digest[16]]}{digest[17:20]}-{digest[20:]}"


def fixed_id(*scope: object) -> str:
    """The one UUID of *scope*, e.g. an app's id from (seed, workspace, app name)."""
    return _as_uuid(blake2b("\0".join(map(str, scope)).encode(), digest_size=16).hexdigest())


class Ids:
    """UUIDs from (scope, how many were made): no global counter, so the order of parallel users changes nothing.

    One hash gives four ids: an answer needs three or four, and hashing is most of what an id costs.
    """

    __slots__ = ("_hash", "_left", "made")

    def __init__(self, *scope: object) -> None:
        self._hash = blake2b("\0".join(map(str, scope)).encode() + b"\0#", digest_size=64)
        self._left = ""
        self.made = 0

    def next(self) -> str:
        """The next UUID of this scope."""
        left = self._left
        if not left:
            fresh = self._hash.copy()
            fresh.update(b"%d" % self.made)
            left = fresh.hexdigest()
        self.made += 1
        self._left = left[32:]
        return _as_uuid(left[:32])
