"""From a configuration to the template of every workspace."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from mockdify.apps import DEMO_KEYS, DEMO_MODES, App, demo_app
from mockdify.config import AppConfig, Config, Settings
from mockdify.errors import MockdifyError
from mockdify.journal import contract_check
from mockdify.profiles import profile_named
from mockdify.workspace import AppTemplate, Template

__all__ = ["template_of"]


def template_of(config: Config, settings: Settings, *, demo: bool | None = None) -> Template:
    """What a fresh workspace is made of.

    Args:
        demo: whether the five demo apps are there; None: when the configuration names no app.
    """
    apps = [_demo(name) for name in DEMO_MODES] if (not config.apps if demo is None else demo) else []
    apps += [_configured(said) for said in config.apps]
    _check_keys(apps)
    profile = profile_named(settings.profile)
    return Template(
        profile=profile,
        apps=tuple(apps),
        make_script=config.script,
        faults=config.faults,
        seed=settings.seed,
        models=None if settings.models is None else frozenset(settings.models),
        remote_files="accept" if settings.remote_files == "fetch" else settings.remote_files,
        pace=settings.pace.seconds,
        ping_interval=settings.ping_interval,
        silence=settings.silence,
        clock_start=settings.clock.at,
        clock_frozen=settings.clock.frozen,
        check=contract_check(profile.version),
    )


def _demo(name: str) -> AppTemplate:
    return AppTemplate(
        name=name, mode=DEMO_MODES[name], load=partial(demo_app, name), keys={"default": DEMO_KEYS[name]}
    )


def _configured(said: AppConfig) -> AppTemplate:
    from mockdify.apps import default_key, load_app  # noqa: PLC0415 - brings yaml

    app = load_app(said.dsl)  # at once: mistakes are told before the server starts

    def load() -> App:
        return app

    return AppTemplate(
        name=app.name,
        mode=app.mode,
        load=load,
        keys=dict(said.keys) or {"default": default_key(said.name)},
        api_enabled=said.api_enabled,
        published=said.published,
    )


def _check_keys(apps: Iterable[AppTemplate]) -> None:
    owner: dict[str, str] = {"dataset-demo": "the knowledge API"}
    for app in apps:
        for token in app.keys.values():
            if owner.setdefault(token, app.name) != app.name:
                msg = f"the key of app {app.name!r} is taken already by {owner[token]!r}; give each app keys of its own"
                raise MockdifyError(msg)
