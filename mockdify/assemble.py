"""From a configuration to the template of every workspace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mockdify.apps import App, default_key, demo_apps, load_app
from mockdify.config import Config, Settings
from mockdify.errors import MockdifyError
from mockdify.faults import check_faults
from mockdify.limits import limits_of
from mockdify.profiles import profile_named
from mockdify.workspace import Template

__all__ = ["template_of"]


def template_of(config: Config, settings: Settings, *, demo: bool | None = None) -> Template:
    """What a fresh workspace is made of.

    Args:
        demo: whether the five demo apps are there; None: when the configuration names no app.
    """
    installed: list[tuple[App, Mapping[str, Any]]] = []
    if not config.apps if demo is None else demo:
        installed += [(app, {"keys": {"default": f"app-{name}-demo"}}) for name, app in demo_apps().items()]
    for said in config.apps:
        keys = dict(said.keys) or {"default": default_key(said.name)}
        installed.append(
            (
                load_app(said.dsl),
                {"keys": keys, "api_enabled": said.api_enabled, "published": said.published},
            )
        )
    _check_keys(installed)
    if config.faults:
        check_faults(config.faults, config.where)
    return Template(
        profile=profile_named(settings.profile),
        apps=tuple(installed),
        make_script=config.script,
        faults=config.faults,
        limits=limits_of(config.limits, config.where),
        seed=settings.seed,
        models=None if settings.models is None else frozenset(settings.models),
        remote_files="accept" if settings.remote_files == "fetch" else settings.remote_files,
        pace=settings.pace.seconds,
        ping_interval=settings.ping_interval,
        silence=settings.silence,
        clock_start=settings.clock.at,
        clock_frozen=settings.clock.frozen,
    )


def _check_keys(installed: Iterable[tuple[App, Mapping[str, Any]]]) -> None:
    owner: dict[str, str] = {"dataset-demo": "the knowledge API"}
    for app, said in installed:
        for token in said["keys"].values():
            if owner.setdefault(token, app.name) != app.name:
                msg = f"the key of app {app.name!r} is taken already by {owner[token]!r}; give each app keys of its own"
                raise MockdifyError(msg)
