"""The command line. Commands import what they need when they run, so that each starts as fast as it can."""

from __future__ import annotations

import functools
import gc
import os
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mockdify import __version__
from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class _Commands(dict[str, Any]):
    """Commands by name; one that is given as "module:name" is imported when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        found = super().__getitem__(name)
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = self[name] = getattr(import_module(module), attribute)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """The command, if there is one."""
        return self[name] if name in self else default  # noqa: SIM401 - it would not import


class _Group(click.Group):
    """Commands in the order they are written; a user's mistake is told on stderr in one message, with exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from mockdify.shapes import nearest  # noqa: PLC0415 - only for a mistake

            msg = f"there is no command {args[0]!r}{nearest(args[0], self.commands)}"
            raise click.UsageError(msg, ctx)
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command and exit with its code."""
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except click.Abort:
            sys.exit(128 + 2)  # as a shell says that SIGINT ended it
        except click.ClickException as mistake:
            if type(mistake).__name__ == "NoArgsIsHelpError":  # since click 8.2: it shows the help
                mistake.show()
            else:
                context = getattr(mistake, "ctx", None)
                help_line = f"; see `{context.command_path} --help`" if context else ""
                click.echo(f"mockdify: {mistake.format_message().rstrip('.')}{help_line}", err=True)
            sys.exit(mistake.exit_code)
        except MockdifyError as mistake:
            click.echo(f"mockdify: {mistake}", err=True)
            sys.exit(2)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=_Group, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="mockdify")
def main() -> None:
    """A mock Dify server and a contract-testing harness for its clients."""


main.commands = _Commands(main.commands)


def serve_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `serve` and `exec` share."""
    options = [
        click.option("--host", help="Address to listen on. [default: 127.0.0.1]"),
        click.option("--port", help="Port to listen on; 0 picks a free one. [default: 5001; of exec: 0]"),
        click.option("--profile", help="Dify release to behave as: 1.16, 1.13 or guide. [default: 1.16]"),
        click.option("--seed", help="Seed of all ids, texts and chances. [default: 0]"),
        click.option("--pace", help="instant, realtime, 30ms or 2x; of a recording also recorded. [default: instant]"),
        click.option("--ping-interval", help="Silence before a ping. [default: 10s]"),
        click.option("--clock", help="real, frozen, or a time such as 2026-01-01T00:00:00Z. [default: real]"),
        click.option("--config", type=click.Path(path_type=Path), help="mockdify.toml or a pyproject.toml."),
        click.option(
            "--cassette", multiple=True, type=click.Path(path_type=Path), help="Play this recording, to any key."
        ),
        click.option(
            "--from-cassette",
            "recordings",
            multiple=True,
            type=click.Path(path_type=Path),
            help="Let models say what they said in this recording.",
        ),
        click.option("--repeat", help="Of a used-up recording: again, last or no. [default: again]"),
        click.option("--fault", "faults", multiple=True, help="A fault for every reply, such as 'cut; event=3'."),
        click.option("--coalesce", is_flag=True, default=None, help="Write unpaced streams in few pieces."),
        click.option("--strict-http", is_flag=True, default=None, help="Keep-alive and connections as Dify's server."),
        click.option(
            "--self-check", is_flag=True, default=None, help="Hold mockdify's replies to the contracts; slow."
        ),
        click.option(
            "--admin-token", help="What a caller of the control API must send. [default: nothing, from localhost]"
        ),
        click.option("--no-admin", "admin", is_flag=True, flag_value=False, default=None, help="No control API."),
        click.option("--quiet", is_flag=True, default=None, help="No line per request."),
    ]
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


def _loaded(apps: tuple[Path, ...], config: Path | None) -> Any:
    """What the file says, and the apps that the command line names."""
    from mockdify import config as configuration  # noqa: PLC0415 - not for --help

    path = configuration.locate(config, os.environ, Path.cwd())
    loaded = configuration.load(path) if path else configuration.Config()
    return configuration.with_apps(loaded, apps)


def _prepared(loaded: Any, flags: dict[str, Any]) -> tuple[Any, Any]:
    """The template and the settings that flags, environment and file say together."""
    from mockdify import config as configuration  # noqa: PLC0415 - not for --help
    from mockdify.assemble import template_of  # noqa: PLC0415

    flags = dict(flags)
    faults = [_fault(text) for text in flags.pop("faults", ())]
    loaded = replace(loaded, faults=(*loaded.faults, *faults))
    if recordings := flags.pop("recordings", ()):
        from mockdify.cassettes.files import load  # noqa: PLC0415 - rarely wanted
        from mockdify.cassettes.script import answers_of  # noqa: PLC0415

        said = answers_of(one for path in recordings for one in load(path))
        loaded = replace(loaded, rules=(*loaded.rules, *map(configuration.rule_from, said)))
    flags["cassette"] = [*flags.get("cassette", ())] or None
    settings = configuration.merge(flags, os.environ, loaded.given)
    return with_cassettes(template_of(loaded, settings), settings), settings


def _fault(text: str) -> dict[str, Any]:
    """What --fault says. Checked here: as one of many its place would be a number."""
    from mockdify.config import fault_from_text  # noqa: PLC0415 - rarely wanted
    from mockdify.faults import rule_of  # noqa: PLC0415

    try:
        said = fault_from_text(text)
        rule_of(said)
    except MockdifyError as mistake:
        msg = f"--fault {text!r}: {str(mistake).removeprefix(repr(text)).lstrip('.')}"
        raise MockdifyError(msg) from None
    return said


def with_cassettes(template: Any, settings: Any) -> Any:
    """*template*, playing the recordings that *settings* name."""
    if not settings.cassette:
        return template
    from mockdify.cassettes.playback import playing  # noqa: PLC0415 - most servers play none

    return playing(template, settings)


@main.command()
@click.argument("apps", nargs=-1, type=click.Path(path_type=Path))
@serve_options
@click.option("--watch", is_flag=True, default=None, help="Load apps and answers anew when their files change.")
@click.option("--json", "as_json", is_flag=True, help="Exactly one line on stdout once connections are accepted.")
def serve(apps: tuple[Path, ...], config: Path | None, as_json: bool, **flags: Any) -> None:
    """Start the mock. Each APP is a Dify DSL export or a folder of them; without any, five demo apps are there."""
    gc.disable()  # nothing that start-up makes is garbage; once connections are accepted it is on again
    try:
        loaded = _loaded(apps, config)
        template, settings = _prepared(loaded, flags)
        _warn(loaded, template)
        sources = _sources(loaded, apps, config, flags) if settings.watch else None
        from mockdify.serving import run_server  # noqa: PLC0415 - aiohttp is imported after mistakes were told

        run_server(template, settings, as_json=as_json, sources=sources)
    finally:
        gc.enable()


def _warn(loaded: Any, template: Any) -> None:
    """Tell what the file says of apps and nodes that are not there. A file that names none costs nothing."""
    if loaded.source is None:
        return
    from mockdify.loose_ends import loose_ends  # noqa: PLC0415 - only with a file

    for line in loose_ends(loaded, template):
        click.echo(f"mockdify: {line}", err=True)


def _sources(loaded: Any, apps: tuple[Path, ...], config: Path | None, flags: dict[str, Any]) -> Any:
    """The files that --watch looks at, and how they are read again."""
    from mockdify.watching import Sources, paths_of  # noqa: PLC0415 - only with --watch

    def load() -> tuple[Any, Sources]:
        anew = _loaded(apps, config)
        return _prepared(anew, flags)[0], _sources(anew, apps, config, flags)

    file = loaded.source.path if loaded.source else None
    return Sources(paths=paths_of(file, (app.dsl for app in loaded.apps), apps), load=load)


class _Exec(click.Command):
    """Options and apps stand before `--`, the command behind it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        mine, dashes, command = _split(args)
        ctx.meta["mockdify.command"] = command
        rest = super().parse_args(ctx, mine)
        if not command and not ctx.resilient_parsing:
            hint = "write it behind --" if dashes else "write -- before it"
            raise click.UsageError(f"which command? {hint}: mockdify exec -- npm test", ctx)
        return rest


def _split(args: list[str]) -> tuple[list[str], bool, list[str]]:
    if "--" not in args:
        return args, False, []
    at = args.index("--")
    return args[:at], True, args[at + 1 :]


@main.command(name="exec", cls=_Exec, short_help="Run a command with a mock Dify beside it.")
@click.argument("apps", nargs=-1, type=click.Path(path_type=Path), metavar="[APP]... -- COMMAND...")
@serve_options
@click.pass_context
def execute(ctx: click.Context, /, apps: tuple[Path, ...], config: Path | None, **flags: Any) -> None:
    """Run COMMAND with a mock Dify beside it, on a free port unless --port is given.

    The command finds DIFY_BASE_URL, DIFY_API_KEY and DIFY_<APP>_KEY in its environment. Afterwards stderr says what its
    client did wrong; the exit code is the command's.
    """
    # A port in the file is that of `mockdify serve`, which may run beside this.
    flags["port"] = flags["port"] or os.environ.get("MOCKDIFY_PORT") or "0"
    loaded = _loaded(apps, config)
    template, settings = _prepared(loaded, flags)
    _warn(loaded, template)
    from mockdify.executing import run_command  # noqa: PLC0415 - aiohttp is imported after mistakes were told

    ctx.exit(run_command(template, settings, ctx.meta["mockdify.command"]))


main.commands |= {
    "record": "mockdify.cassettes.cli:record",
    "verify": "mockdify.cassettes.cli:verify",
    "scrub": "mockdify.cassettes.cli:scrub",
    "check": "mockdify.harness.cli:check",
    "rerun": "mockdify.harness.cli:rerun",
    "rules": "mockdify.harness.cli:rules",
}


@main.command()
@click.argument("path", type=click.Path(path_type=Path), default="mockdify.toml")
def init(path: Path) -> None:
    """Write a commented mockdify.toml."""
    from mockdify.config import write_starter  # noqa: PLC0415

    click.echo(f"wrote {write_starter(path)}; `mockdify serve` uses it from now on")


_AS_JSON = click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")


@main.command()
@click.argument("apps", nargs=-1, type=click.Path(path_type=Path))
@serve_options
@click.option("--upstream", metavar="URL", help="Also ask this Dify, with the key in DIFY_API_KEY. [default: none]")
@_AS_JSON
def doctor(apps: tuple[Path, ...], config: Path | None, upstream: str | None, as_json: bool, **flags: Any) -> int:
    """Say what is wrong with this setup, and what to do about it; exit code 1 when something is.

    Give it the apps and options that you would give `serve`: it looks at what they lead to. Nothing is written, no
    secret is printed, and nothing leaves this machine without --upstream.
    """
    from mockdify import doctor as ward  # noqa: PLC0415 - not for --help

    setup = ward.Setup(
        config=lambda: _loaded(apps, config),
        prepare=lambda loaded: _prepared(loaded, flags),
        environ=os.environ,
        upstream=upstream,
    )
    return ward.show(ward.examine(setup), as_json=as_json)


@main.command()
@_AS_JSON
def faults(as_json: bool) -> None:
    """List the faults that can be injected."""
    from mockdify import listing  # noqa: PLC0415

    listing.show(listing.fault_rows(whole=as_json), as_json=as_json)


_RELEASE = click.option(
    "--release", type=click.Choice(["1.13", "1.16"]), default="1.16", show_default=True, help="Of which Dify."
)


@main.group("contracts", cls=_Group, context_settings=_CONTEXT, invoke_without_command=True)
@_RELEASE
@_AS_JSON
@click.pass_context
def contracts(ctx: click.Context, release: str, as_json: bool) -> None:
    """List the contracts of a release; `show` prints one, `export` writes them all."""
    if ctx.invoked_subcommand is None:
        from mockdify import listing  # noqa: PLC0415

        listing.show(listing.contract_rows(release, whole=as_json), as_json=as_json)


@contracts.command("show")
@click.argument("name")
@_RELEASE
@click.option("--mode", help="For an event: the app mode, where it differs.")
def show_contract(name: str, release: str, mode: str | None) -> None:
    """Print the contract called NAME, such as events/message_end, as JSON Schema."""
    import json  # noqa: PLC0415 - not for --help

    from mockdify.contracts import show  # noqa: PLC0415

    click.echo(json.dumps(show(name, release, mode=mode), ensure_ascii=False, indent=2))


@contracts.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@_RELEASE
def export_contracts(folder: Path, release: str) -> None:
    """Write a JSON Schema bundle and an OpenAPI 3.1 document into FOLDER, and print their paths."""
    import json  # noqa: PLC0415 - not for --help

    from mockdify.contracts import bundle, openapi  # noqa: PLC0415
    from mockdify.writing import write_whole  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    for name, made in (("contracts", bundle(release)), ("openapi", openapi(release))):
        path = folder / f"{name}-{release}.json"
        write_whole(path, json.dumps(made, ensure_ascii=False, indent=2) + "\n")
        click.echo(path)


@main.command()
@click.argument("releases", nargs=-1, metavar="[A B]")
@_AS_JSON
def profiles(releases: tuple[str, ...], as_json: bool) -> None:
    """List the Dify releases that can be served, or what differs between two of them."""
    from mockdify import listing  # noqa: PLC0415
    from mockdify.profiles import profile_named  # noqa: PLC0415

    if len(releases) not in (0, 2):
        msg = f"name two releases to compare, or none for the list; got {len(releases)}"
        raise click.UsageError(msg)
    rows = listing.differing_rows(*map(profile_named, releases)) if releases else listing.profile_rows()
    listing.show(rows, as_json=as_json)


@main.group("keys", cls=_Group, context_settings=_CONTEXT)
@click.option(
    "--admin",
    "url",
    envvar="MOCKDIFY_ADMIN_URL",
    help="The server's control API. [default: http://127.0.0.1:5001/_mockdify]",
)
@click.option("--admin-token", "token", envvar="MOCKDIFY_ADMIN_TOKEN", help="What it was started with.")
@click.option("--workspace", help="The workspace. [default: the default one]")
@click.pass_context
def keys(ctx: click.Context, url: str | None, token: str | None, workspace: str | None) -> None:
    """The API keys of a running server: create, rotate, revoke, and see which are used."""
    from mockdify.control.client import DEFAULT, Admin  # noqa: PLC0415 - urllib, not for --help

    ctx.obj = Admin(url or DEFAULT, token=token, workspace=workspace)


def _print_keys(found: list[dict[str, Any]], *, as_json: bool) -> None:
    import json  # noqa: PLC0415 - not for --help

    from mockdify.control.client import key_table  # noqa: PLC0415

    click.echo(json.dumps(found, ensure_ascii=False) if as_json else key_table(found))


def _print_key(made: dict[str, Any], *, as_json: bool) -> None:
    import json  # noqa: PLC0415 - not for --help

    from mockdify.control.client import key_line  # noqa: PLC0415

    click.echo(json.dumps(made, ensure_ascii=False) if as_json else key_line(made))


@keys.command("list")
@click.argument("app")
@_AS_JSON
@click.pass_obj
def list_keys(admin: Any, app: str, as_json: bool) -> None:
    """The keys of APP (`dataset` for the knowledge API), revoked ones too. Tokens are masked."""
    _print_keys(admin.call("GET", admin.keys(app))["items"], as_json=as_json)


@keys.command("create")
@click.argument("app")
@click.option("--name", help="What it is for. [default: default]")
@click.option("--environment", help="development, testing or production. [default: development]")
@click.option("--token", help="The key itself. [default: one made from the seed]")
@click.option("--expires-in", help="How long it works, such as 90d.")
@click.option("--rotation-period", help="After how long it is overdue, such as 90d.")
@_AS_JSON
@click.pass_obj
def create_key(admin: Any, /, app: str, as_json: bool, **said: str | None) -> None:
    """Make a key for APP. It is printed in full, this once."""
    given = {name: value for name, value in said.items() if value is not None}
    _print_key(admin.call("POST", admin.keys(app), given), as_json=as_json)


@keys.command("rotate")
@click.argument("app")
@click.argument("key")
@click.option("--grace", help="How long the old one goes on working, such as 1h. [default: not at all]")
@_AS_JSON
@click.pass_obj
def rotate_key(admin: Any, app: str, key: str, grace: str | None, as_json: bool) -> None:
    """Put a new key in the place of KEY (id, token or name). It is printed in full, this once."""
    given = {} if grace is None else {"grace": grace}
    _print_key(admin.call("POST", admin.keys(app, key, "rotate"), given), as_json=as_json)


@keys.command("revoke")
@click.argument("app")
@click.argument("key")
@_AS_JSON
@click.pass_obj
def revoke_key(admin: Any, app: str, key: str, as_json: bool) -> None:
    """End KEY (id, token or name): the next call with it gets Dify's 401."""
    _print_keys([admin.call("DELETE", admin.keys(app, key))], as_json=as_json)


@keys.command("report")
@click.option("--unused", is_flag=True, help="Only keys that were never used.")
@_AS_JSON
@click.pass_obj
def report_keys(admin: Any, unused: bool, as_json: bool) -> None:
    """All keys with when they were last used: what is unused, overdue, expired or revoked."""
    found = admin.call("GET", "/keys")["items"]
    _print_keys([key for key in found if key["never_used"] or not unused], as_json=as_json)
