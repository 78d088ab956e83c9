"""From a configuration to the template of every workspace."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from mockdify.apps import DEMO_KEYS, DEMO_MODES, App, demo_app
from mockdify.config import AppConfig, Config, Settings
from mockdify.errors import MockdifyError
from mockdify.journal import contract_check
from mockdify.profiles import profile_named
from mockdify.remote import Reached
from mockdify.workspace import AppTemplate, Template

if TYPE_CHECKING:
    from mockdify.limits import Limit

__all__ = ["template_of"]


def template_of(config: Config, settings: Settings, *, demo: Collection[str] | None = None) -> Template:
    """What a fresh workspace is made of.

    Args:
        demo: the demo apps that are there; None: all of them when the configuration names no app.
    """
    if demo is None:
        demo = () if config.apps else DEMO_MODES
    apps = [_demo(name) for name in demo]
    apps += [_configured(said) for said in config.apps]
    _check_keys(apps)
    profile = profile_named(settings.profile)
    if config.faults:
        from mockdify.faults import check_faults  # noqa: PLC0415 - brings the whole catalogue

        check_faults(config.faults, config.where)
    return Template(
        profile=profile,
        apps=tuple(apps),
        make_script=config.script,
        faults=config.faults,
        limits=_limits(config),
        seed=settings.seed,
        models=None if settings.models is None else frozenset(settings.models),
        remote_files=Reached() if settings.remote_files == "fetch" else settings.remote_files,
        pace=settings.pace.seconds,
        ping_interval=settings.ping_interval,
        silence=settings.silence,
        clock_start=settings.clock.at,
        clock_frozen=settings.clock.frozen,
        check=contract_check(profile.name),
    )


def _limits(config: Config) -> tuple[Limit, ...]:
    if not config.limits:
        return ()
    from mockdify.limits import limits_of  # noqa: PLC0415 - brings the whole catalogue

    return limits_of(config.limits, config.where)


def _demo(name: str) -> AppTemplate:
    return AppTemplate(
        name=name, mode=DEMO_MODES[name], load=partial(demo_app, name), keys={"default": DEMO_KEYS[name]}
    )


def _configured(said: AppConfig) -> AppTemplate:
    from mockdify.apps import default_key  # noqa: PLC0415 - brings yaml

    app = _loaded(said.dsl)  # at once: mistakes are told before the server starts

    def load() -> App:
        return app

    return AppTemplate(
        name=app.name,
        mode=app.mode,
        load=load,
        keys=dict(said.keys) or {"default": default_key(said.name)},
        api_enabled=said.api_enabled,
        published=said.published,
        profile=None if said.profile is None else profile_named(said.profile),
    )


def _loaded(dsl: Path) -> App:
    """The app in a file; read again only when the file was changed, since each test may ask for it."""
    try:
        made = dsl.stat()
    except OSError:
        return _kept_app(dsl, 0, -1)  # which says what is wrong
    return _kept_app(dsl, made.st_mtime_ns, made.st_size)


@lru_cache(maxsize=512)
def _kept_app(dsl: Path, changed: int, size: int) -> App:  # noqa: ARG001 - the state of the file
    from mockdify.apps import load_app  # noqa: PLC0415 - brings yaml

    return load_app(dsl)


def _check_keys(apps: Iterable[AppTemplate]) -> None:
    owner: dict[str, str] = {"dataset-demo": "the knowledge API"}
    for app in apps:
        for token in app.keys.values():
            if owner.setdefault(token, app.name) != app.name:
                msg = f"the key of app {app.name!r} is taken already by {owner[token]!r}; give each app keys of its own"
                raise MockdifyError(msg)
