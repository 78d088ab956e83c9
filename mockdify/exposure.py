"""A key in a front end: what a request shows that no back end would send."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mockdify.http import Request

__all__ = ["exposed_key"]

_BY_BROWSERS = ("origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user")
_ANY = frozenset(_BY_BROWSERS)
_NODES = ("node", "undici")


def exposed_key(request: Request) -> str | None:
    """The warning for a request that brought a key of an app out of a browser; None when nothing speaks for one.

    Node's own `fetch` sends `Sec-Fetch-Mode` too, and no other of these headers: it is a back end.
    """
    if _ANY.isdisjoint(request.by_name):
        return None
    met = [name for name in _BY_BROWSERS if request.header(name) is not None]
    if met == ["sec-fetch-mode"] and _is_node(request):
        return None
    named = " and ".join("-".join(map(str.capitalize, name.split("-"))) for name in met[:2])
    return (
        f"an app key came together with {named}, which browsers send: a key in a front end is everybody's; "
        "keep it in a back end and let the front end call that"
    )


def _is_node(request: Request) -> bool:
    # It asks for any language unless it is told another; a browser always names some.
    return request.header("user-agent") in _NODES or request.header("accept-language") == "*"
