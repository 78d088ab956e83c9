"""What faults and limits look at: a request as their rules see it, and what there is around its reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mockdify.endpoints.files import user_of
from mockdify.faults.base import FaultContext
from mockdify.faults.rules import Asked
from mockdify.keys import split_key, token_of
from mockdify.multipart import parse_multipart

if TYPE_CHECKING:
    from mockdify.context import Context
    from mockdify.routing import Match

__all__ = ["asked_of", "context_of"]


def context_of(ctx: Context) -> FaultContext:
    """What a fault may look at, for the request of *ctx*."""
    exchange, model = ctx.exchange, ctx.installed.app.model
    return FaultContext(
        ctx.request,
        ctx.profile,
        ctx.now,
        ping_interval=ctx.workspace.template.ping_interval,
        tenant_id=ctx.workspace.tenant_id,
        app_id=ctx.installed.id,
        model=model.name if model else "",
        left=lambda: exchange.ended != "open",
    )


def asked_of(ctx: Context, match: Match) -> Asked:
    """The request of *ctx* as rules look at it."""
    request = ctx.request
    body = request.peek()
    user = body.get("user") or request.query.get("user")
    if not user and (request.header("content-type") or "").startswith("multipart/"):
        user = user_of(parse_multipart(request))
    return Asked(
        method=request.method,
        path=request.path,
        rule=match.rule,
        app=ctx.installed.name,
        user=str(user or ""),
        query=str(body.get("query") or ""),
        key=split_key(token_of(request)[0])[0],
        headers={name.lower(): value for name, value in request.headers},
        streamed=body.get("response_mode") == "streaming" or match.rule.endswith("/events"),
    )
