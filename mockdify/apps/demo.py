"""The apps that are there with no configuration: DSL exports in the package."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from mockdify.apps.dsl import parse_app

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockdify.apps.app import App

__all__ = ["DEMO_KEYS", "demo_apps"]

DEMO_KEYS: Final[Mapping[str, str]] = {
    name: f"app-{name}-demo" for name in ("completion", "chat", "agent", "chatflow", "workflow")
}
"""The demo apps by name, each with its key."""


@cache
def demo_apps() -> Mapping[str, App]:
    """The five demo apps by name. Read once; apps never change."""
    folder = resources.files("mockdify") / "demo"
    return {
        name: parse_app((folder / f"{name}.yml").read_text("utf-8"), name=name, source=f"mockdify/demo/{name}.yml")
        for name in DEMO_KEYS
    }
