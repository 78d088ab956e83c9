"""The commands about recordings: `record`, `verify`, `scrub`. Nothing heavy is imported before one of them runs."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mockdify.errors import MockdifyError
from mockdify.writing import write_whole

if TYPE_CHECKING:
    from mockdify.cassettes.proxy import OnProgress, Progress, Recorder
    from mockdify.cassettes.verify import Grade, Report

__all__ = ["record", "scrub", "verify"]

_PROGRESS_EVERY = 0.1
_LOGGED_EVERY = 1.0
_WIDTH = 78


# ---------------------------------------------------------------------- record
_CONTEXT = {"help_option_names": ["-h", "--help"]}


@click.command(context_settings=_CONTEXT)
@click.option("--upstream", required=True, metavar="URL", help="The server to record, such as https://api.dify.ai/v1.")
@click.option("--cassette", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The file to add to.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default="a free one", type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--scrub", "extra", multiple=True, metavar="TEXT", help="A further secret, or /a regular expression/.")
@click.option("--note", default="", help="A sentence on where this comes from, kept with each exchange.")
@click.option("--fresh", is_flag=True, help="Replace what is in the file instead of adding to it.")
@click.option("--to-script", type=click.Path(path_type=Path), metavar="FILE", help="Also write a script, see below.")
@click.option("--json", "as_json", is_flag=True, help="Exactly one line on stdout once connections are accepted.")
@click.option("--quiet", is_flag=True, help="No progress.")
def record(
    *,
    upstream: str,
    cassette: Path,
    host: str,
    port: int,
    extra: tuple[str, ...],
    note: str,
    fresh: bool,
    to_script: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Record what clients ask of a real Dify into a cassette.

    Give your client the printed URL as its base URL; everything is passed on at once and untouched. Secrets are taken
    out as it is written. Stop with Ctrl-C; nothing that had ended is lost, however it is stopped. With --to-script the
    recorded answers are also written as `[[answers]]` of a mockdify.toml.
    """
    import asyncio  # noqa: PLC0415 - other commands do without

    from mockdify.cassettes.proxy import Recorder  # noqa: PLC0415 - brings aiohttp
    from mockdify.cassettes.scrub import Scrubber  # noqa: PLC0415

    recorder = Recorder(
        upstream,
        cassette,
        scrubber=Scrubber(_secrets(extra)),
        host=host,
        port=port,
        note=note,
        fresh=fresh,
        on_progress=(lambda _: None) if quiet else _progress(on_terminal=sys.stderr.isatty()),
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_record(recorder, as_json=as_json))
    if not quiet:
        said = f"{_told(recorder.progress)} in {cassette}"
        click.echo(said.ljust(_WIDTH) if sys.stderr.isatty() else said, err=True)
    if to_script is not None:
        from mockdify.cassettes.script import as_toml  # noqa: PLC0415

        write_whole(to_script, as_toml([cassette] if cassette.exists() else []))


async def _record(recorder: Recorder, *, as_json: bool) -> None:
    import asyncio  # noqa: PLC0415
    import signal  # noqa: PLC0415

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stopped.set)
    async with recorder:
        if as_json:
            ready = {"url": recorder.url, "upstream": recorder.upstream, "cassette": str(recorder.path)}
            click.echo(json.dumps(ready, ensure_ascii=False))
        else:
            click.echo(f"mockdify records {recorder.upstream} into {recorder.path}")
            click.echo(f"  base URL for clients: {recorder.url}\nStop with Ctrl-C.")
        sys.stdout.flush()
        await stopped.wait()


def _progress(*, on_terminal: bool) -> OnProgress:
    """Shows what was recorded so far: on one line of a terminal, or line by line in a log, once a second at most."""
    from time import monotonic  # noqa: PLC0415

    shown = 0.0
    pause, end = (_PROGRESS_EVERY, "\r") if on_terminal else (_LOGGED_EVERY, "\n")

    def show(progress: Progress) -> None:
        nonlocal shown
        if monotonic() - shown > pause or (on_terminal and not progress.open):
            shown = monotonic()
            with contextlib.suppress(OSError):  # nobody reads it any more: that is no reason to break a reply
                said = f"{_told(progress)}, {progress.open} open"
                click.echo((said.ljust(_WIDTH) if on_terminal else said) + end, err=True, nl=False)

    return show


def _told(progress: Progress) -> str:
    said = f"{progress.calls} calls, {progress.bytes} bytes, {progress.events} events"
    said += f", {progress.cut} cut" if progress.cut else ""
    said += f", {progress.unreachable} without a reply from upstream" if progress.unreachable else ""
    return said + (f", {progress.unread} compressed in an unknown way and NOT scrubbed" if progress.unread else "")


def _secrets(extra: tuple[str, ...]) -> list[str | re.Pattern[str]]:
    """Texts as they are; `/…/` is a regular expression."""
    found: list[str | re.Pattern[str]] = []
    for text in extra:
        if len(text) > len("//") and text[0] == text[-1] == "/":
            try:
                found.append(re.compile(text[1:-1]))
            except re.error as error:
                raise MockdifyError(f"--scrub {text}: no regular expression: {error}") from None
        elif text:
            found.append(text)
    return found


# ---------------------------------------------------------------------- verify
@click.command(context_settings=_CONTEXT)
@click.argument("cassettes", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option(
    "--fail-on",
    type=click.Choice(["info", "warn", "error"]),
    default="error",
    show_default=True,
    help="Exit with 1 at this or worse.",
)
@click.option("--release", help="The release to hold them to. [default: the one each was recorded from]")
@click.option("--max-age", metavar="90d", help="Warn of recordings that are older.")
@click.option(
    "--played",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Warn of what no test asked for; `pytest --mockdify-played FILE` writes it.",
)
@click.option("--live", metavar="URL", help="Ask this server the same, and compare recording, contract and server.")
@click.option(
    "--key", "keys", multiple=True, metavar="KEY|APP=KEY", help="The live server's key: one, or one for each app."
)
@click.option("--report", "reports", multiple=True, metavar="json=F|html=F", help="Write a report; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="The whole report on stdout, for machines.")
def verify(
    *,
    cassettes: tuple[Path, ...],
    fail_on: Grade,
    release: str | None,
    max_age: str | None,
    played: Path | None,
    live: str | None,
    keys: tuple[str, ...],
    reports: tuple[str, ...],
    as_json: bool,
) -> None:
    """Hold recordings against the contracts of their release: what drifted.

    PATH is a cassette or a folder of them. `info` is a new field, `warn` one that is missing or null, `error` what
    breaks clients: another type, code, status or event, another order.
    """
    wanted = [_report(text) for text in reports]
    found = _verified(cassettes, release, max_age, live, keys)
    if played is not None:
        from mockdify.cassettes.verify import with_unasked  # noqa: PLC0415 - brings jsonschema

        found = with_unasked(found, cassettes, played)
    for kind, path in wanted:
        write_whole(path, found.as_json() if kind == "json" else found.as_html())
    if as_json:
        click.echo(found.as_json())
    else:
        for drift in found.drifts:
            click.echo(drift)
        click.echo(found)
    if found.fails(fail_on):
        sys.exit(1)


def _verified(
    cassettes: tuple[Path, ...], release: str | None, max_age: str | None, live: str | None, keys: tuple[str, ...]
) -> Report:
    from mockdify.cassettes import verify as verifying  # noqa: PLC0415 - brings jsonschema
    from mockdify.durations import parse_duration  # noqa: PLC0415

    days = None if max_age is None else parse_duration(max_age) / 86400
    if live is None:
        if keys:
            raise MockdifyError("--key is for --live URL: without a server nothing is asked")
        return verifying.verify(cassettes, release=release, max_age_days=days)
    from mockdify.cassettes.live import Keys, verify_live  # noqa: PLC0415 - brings aiohttp

    return verify_live(cassettes, live, Keys.parse(keys), release=release, max_age_days=days)


def _report(text: str) -> tuple[str, Path]:
    kind, _, path = text.partition("=")
    if kind not in ("json", "html") or not path:
        raise MockdifyError(f"--report {text}: write json=FILE or html=FILE")
    return kind, Path(path)


# ---------------------------------------------------------------------- scrub
@click.command(context_settings=_CONTEXT)
@click.option("--check", is_flag=True, required=True, help="Only look: nothing is changed.")
@click.option("--scrub", "extra", multiple=True, metavar="TEXT", help="A further secret, or /a regular expression/.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
def scrub(*, check: bool, extra: tuple[str, ...], paths: tuple[Path, ...]) -> None:  # noqa: ARG001 - looking is all
    """Find secrets left in cassettes, logs and reports; PATH is a file or a folder. Exit 1 when there are any."""
    from mockdify.cassettes import scrub as scrubbing  # noqa: PLC0415

    for path in paths:
        if not path.exists():
            raise MockdifyError(f"{path}: there is no such file or folder")
    found = scrubbing.check(paths, extra=_secrets(extra))
    for finding in found:
        click.echo(finding)
    files = len({finding.path for finding in found})
    click.echo(f"{len(found)} secrets in {files} files" if found else "no secret found")
    if found:
        sys.exit(1)
