"""The apps that are there with no configuration: DSL exports in the package."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockdify.apps.app import App, Mode

__all__ = ["DEMO_KEYS", "DEMO_MODES", "demo_app", "demo_apps"]

DEMO_MODES: Final[Mapping[str, Mode]] = {
    "completion": "completion",
    "chat": "chat",
    "agent": "agent-chat",
    "chatflow": "advanced-chat",
    "workflow": "workflow",
}
"""The demo apps by name with their modes, known without reading them."""
DEMO_KEYS: Final[Mapping[str, str]] = {name: f"app-{name}-demo" for name in DEMO_MODES}
"""The demo apps by name, each with its key."""


@cache
def demo_app(name: str) -> App:
    """The demo app called *name*. Read once, at its first use: a server that starts need not wait for YAML."""
    from mockdify.apps.dsl import parse_app  # noqa: PLC0415 - brings yaml

    text = (resources.files("mockdify") / "demo" / f"{name}.yml").read_text("utf-8")
    return parse_app(text, name=name, source=f"mockdify/demo/{name}.yml")


def demo_apps() -> Mapping[str, App]:
    """The five demo apps by name."""
    return {name: demo_app(name) for name in DEMO_MODES}
