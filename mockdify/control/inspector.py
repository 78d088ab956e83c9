"""The inspector: one static page that asks the control API and shows what it says."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mockdify.control.table import Answer

if TYPE_CHECKING:
    from mockdify.control.table import Call

__all__ = ["page"]

# The page carries all it needs: nothing is loaded from anywhere, no other site may frame it or be talked to.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@lru_cache(maxsize=1)
def _html() -> bytes:
    return Path(__file__).with_name("inspector.html").read_bytes()


def page(_: Call) -> Answer:
    """The page. It holds no data itself, so it needs no token; it asks for one when the API does."""
    return Answer(
        data=_html(),
        media="text/html; charset=utf-8",
        headers=(("Content-Security-Policy", _POLICY),),
    )
