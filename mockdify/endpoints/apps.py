"""What an app tells about itself, and about its end users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mockdify import apps
from mockdify.endpoints.messages import iso
from mockdify.errors import APP_UNAVAILABLE, DifyError

if TYPE_CHECKING:
    from mockdify.context import Context
    from mockdify.steps import Reply

__all__ = ["end_user", "info", "meta", "parameters", "site"]


def info(ctx: Context) -> Reply:
    """Name, description, tags, mode, author."""
    return ctx.json(apps.info(ctx.installed.app))


def parameters(ctx: Context) -> Reply:
    """Features, the input form and the limits of uploads; a graph app must be published."""
    if not ctx.installed.published:
        raise APP_UNAVAILABLE
    return ctx.json(apps.parameters(ctx.installed.app, bare_moderation=ctx.profile.lean_word_avoidance))


def meta(ctx: Context) -> Reply:
    """The icons of the app's tools."""
    return ctx.json(apps.meta(ctx.installed.app))


def site(ctx: Context) -> Reply:
    """How the app's WebApp looks."""
    return ctx.json(apps.site(ctx.installed.app, input_placeholder=ctx.profile.site_input_placeholder))


def end_user(ctx: Context) -> Reply:
    """An end user of this app by id."""
    found = ctx.workspace.store.end_users.get(ctx.values["end_user_id"].lower())
    if found is None or found.app != ctx.installed.name:
        raise DifyError(404, "end_user_not_found", "End user not found.")
    named = None if found.session_id == "DEFAULT-USER" else found.session_id
    return ctx.json(
        {
            "id": found.id,
            "tenant_id": ctx.workspace.tenant_id,
            "app_id": ctx.installed.id,
            "type": "service-api",
            "external_user_id": named,
            "name": None,
            "is_anonymous": named is None,
            "session_id": found.session_id,
            "created_at": iso(found.created_at),
            "updated_at": iso(found.created_at),
        }
    )
