"""Faults before the reply that come from a proxy in front of Dify: HTML pages without any of Dify's headers."""

from __future__ import annotations

from dataclasses import dataclass

from mockdify.faults.base import FaultContext, Kind, Options
from mockdify.faults.http import BEFORE, RETRY, delayed, retry_after
from mockdify.steps import Body, Head, Headers, OnWire, Reply

__all__ = ["KINDS", "RATE_LIMITED", "Page", "page_reply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An error page of a proxy."""

    status: int
    reason: str
    headers: Headers
    html: str


def page_reply(page: Page, extra: Headers = ()) -> Reply:
    """*page* as the proxy sends it."""
    body = page.html.encode()
    yield Head(page.status, page.headers + extra, len(body), wire=OnWire(reason=page.reason))
    yield Body(body)


_CLOUDFLARE: Headers = (
    ("Server", "cloudflare"),
    ("Content-Type", "text/html; charset=UTF-8"),
    ("Cache-Control", "private, max-age=0, no-store, no-cache, must-revalidate"),
    ("CF-RAY", "0123456789abcdef-MCK"),
)
_NGINX: Headers = (("Server", "nginx"), ("Content-Type", "text/html"))


def _cloudflare(status: int, reason: str, number: int, title: str, text: str) -> Page:
    html = (
        '<!DOCTYPE html>\n<html lang="en-US">\n'
        f"<head><title>api.dify.ai | {number}: {title}</title></head>\n"
        f"<body>\n<h1>Error {number}</h1>\n<h2>{title}</h2>\n<p>{text}</p>\n</body>\n</html>\n"
    )
    return Page(status=status, reason=reason, headers=_CLOUDFLARE, html=html)


def _nginx(status: int, reason: str) -> Page:
    line = f"{status} {reason}"
    html = (
        f"<html>\r\n<head><title>{line}</title></head>\r\n"
        f"<body>\r\n<center><h1>{line}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Page(status=status, reason=reason, headers=_NGINX, html=html)


RATE_LIMITED = _cloudflare(
    429,
    "Too Many Requests",
    1015,
    "You are being rate limited",
    "The site's owner allows only so many requests a minute.",
)


@dataclass(frozen=True, slots=True)
class EdgePage:
    """Answer with a proxy's page; Dify never hears of the request."""

    page: Page
    options: Options

    def apply(self, ctx: FaultContext, reply: Reply) -> Reply:  # noqa: ARG002 - pre-empted
        """The page."""
        return delayed(ctx, self.options, page_reply(self.page, retry_after(ctx, self.options)))


def _kind(name: str, page: Page, words: str, real: str, advice: str, *threads: str) -> Kind:
    return Kind(
        name=name,
        when="before",
        words=words,
        make=lambda options: EdgePage(page, options),
        real=real,
        advice=advice,
        threads=threads,
        options={**RETRY, **BEFORE},
    )


_NOT_JSON = "goes by the status and does not take the body for JSON"

KINDS: tuple[Kind, ...] = (
    _kind(
        "edge-rate-limit",
        RATE_LIMITED,
        "429 with an HTML page, Cloudflare's error 1015",
        "yes, in front of Dify Cloud",
        f"{_NOT_JSON}; waits as after any 429",
        "langgenius/dify#19355",
    ),
    _kind(
        "bad-gateway",
        _nginx(502, "Bad Gateway"),
        "502 with an HTML page: the proxy does not reach Dify",
        "yes, from the nginx in front of a restarting Dify",
        f"{_NOT_JSON}; asks again a little later",
        "langgenius/dify#41895",
    ),
    _kind(
        "gateway-timeout",
        _nginx(504, "Gateway Time-out"),
        "504 with an HTML page: Dify took longer than the proxy waits",
        "yes, for long blocking calls; the run goes on and its record shows up later",
        f"{_NOT_JSON}; streams long runs instead of asking again, which would run them twice",
        "langgenius/dify#15728",
        "langgenius/dify#25452",
        "langgenius/dify#15912",
        "langgenius/dify#19009",
        "langgenius/dify#33501",
        "langgenius/dify#23502",
    ),
    _kind(
        "edge-timeout",
        _cloudflare(
            524, "", 524, "A timeout occurred", "The origin accepted the connection but did not answer in time."
        ),
        "524 with an HTML page: Cloudflare's own time-out, a status that no standard knows",
        "yes, in front of Dify Cloud, after 100 s of a blocking call",
        f"{_NOT_JSON}; takes any unknown 5xx for a server's error",
        "langgenius/dify#12276",
    ),
)
