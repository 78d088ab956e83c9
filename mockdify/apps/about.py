"""What an app says about itself: the answers of `/parameters`, `/info`, `/meta` and `/site`.

Keys and their order are those of the recordings; what differs by release is an argument whose default is 1.16.
The bodies share the export's own objects: encode them, do not change them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockdify.apps.app import App

__all__ = ["SYSTEM_LIMITS", "info", "meta", "parameters", "site"]

SYSTEM_LIMITS: Final[Mapping[str, int]] = {
    "image_file_size_limit": 10,
    "video_file_size_limit": 100,
    "audio_file_size_limit": 50,
    "file_size_limit": 15,
    "workflow_file_upload_limit": 10,
}
"""Dify's defaults: sizes in MB, and how many files a run may take."""

_SWITCHES: Final = (
    "suggested_questions_after_answer",
    "speech_to_text",
    "text_to_speech",
    "retriever_resource",
    "annotation_reply",
    "more_like_this",
)
_NO_MODERATION: Final = {"enabled": False, "type": "", "configs": []}
_NO_UPLOAD: Final = {
    "image": {
        "enabled": False,
        "number_limits": 3,
        "detail": "high",
        "transfer_methods": ["remote_url", "local_file"],
    }
}


def parameters(app: App, *, limits: Mapping[str, int] = SYSTEM_LIMITS, bare_moderation: bool = True) -> dict[str, Any]:
    """The body of GET /parameters.

    Args:
        app: The app that is asked.
        limits: The server's `system_parameters`.
        bare_moderation: A graph app without moderation says only that it is off (1.16); with false it also shows the
            empty type and configs (1.13).
    """
    raw = app.features.raw
    switches = {key: raw.get(key) or {"enabled": False} for key in _SWITCHES}
    return {
        "opening_statement": raw.get("opening_statement"),
        "suggested_questions": raw.get("suggested_questions") or [],
        **switches,
        "user_input_form": list(app.user_input_form),
        "sensitive_word_avoidance": _moderation(app, bare=bare_moderation),
        "file_upload": raw.get("file_upload") or _NO_UPLOAD,
        "system_parameters": dict(limits),
    }


def _moderation(app: App, *, bare: bool) -> Mapping[str, Any]:
    section: Mapping[str, Any] = app.features.raw.get("sensitive_word_avoidance") or _NO_MODERATION
    if not app.is_graph or app.features.moderation is not None:
        return section
    return {"enabled": False} if bare else {"configs": [], "enabled": False, "type": ""}


def info(app: App, *, author: str = "mockdify") -> dict[str, Any]:
    """The body of GET /info."""
    return {"name": app.title, "description": app.description, "tags": [], "mode": app.mode, "author_name": author}


def meta(app: App, *, console_url: str = "") -> dict[str, Any]:
    """The body of GET /meta: an icon for each tool, an address or a drawing.

    Args:
        app: The app that is asked.
        console_url: What addresses of the console start with; Dify's own default is nothing.
    """
    icons: dict[str, Any] = {}
    for tool in _tools(app):
        # unverified: addresses and the default drawing were read, not recorded; other kinds of tools have no icon
        if tool.get("provider_type") == "builtin":
            provider = tool.get("provider_id") or ""
            icons[str(tool.get("tool_name"))] = (
                f"{console_url}/console/api/workspaces/current/tool-provider/builtin/{provider}/icon"
            )
        elif tool.get("provider_type") == "api":
            icons[str(tool.get("tool_name"))] = {"background": "#252525", "content": "\U0001f601"}
    return {"tool_icons": icons}


def _tools(app: App) -> list[dict[str, Any]]:
    if app.agent is not None:
        return [
            {"provider_type": tool.type, "provider_id": tool.provider, "tool_name": tool.name}
            for tool in app.agent.tools
        ]
    graph = (app.workflow or {}).get("graph") or {}
    data = [node.get("data") or {} for node in graph.get("nodes") or []]
    return [node for node in data if node.get("type") == "tool"]


def site(app: App, *, input_placeholder: bool = True) -> dict[str, Any]:
    """The body of GET /site: how Dify's own WebApp looks. Most of it is not in an export and has its default.

    Args:
        app: The app that is asked.
        input_placeholder: Whether the release has that key (1.16 does).
    """
    return {
        "title": app.title,
        "chat_color_theme": None,
        "chat_color_theme_inverted": False,
        "icon_type": app.icon_type or "emoji",
        "icon": app.icon,
        "icon_background": app.icon_background,
        "description": None,
        "copyright": None,
        "privacy_policy": None,
        **({"input_placeholder": None} if input_placeholder else {}),
        "custom_disclaimer": "",
        "default_language": "en-US",
        "show_workflow_steps": True,
        "use_icon_as_answer_icon": app.use_icon_as_answer_icon,
        "icon_url": None,
    }
