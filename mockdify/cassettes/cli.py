"""The commands about recordings: `record`, `verify`, `scrub`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from mockdify.cassettes.proxy import Progress, Recorder

__all__ = ["record", "scrub", "verify"]


@click.command()
@click.option("--upstream", required=True, help="The server to record, e.g. https://api.dify.ai/v1.")
@click.option("--cassette", required=True, type=click.Path(path_type=Path), help="The file to add to.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=0, show_default="a free one", type=click.IntRange(0, 65535))
@click.option("--scrub", "extra", multiple=True, metavar="TEXT", help="A further secret, or /a regular expression/.")
@click.option("--note", default="", help="A sentence on where this comes from, kept with each exchange.")
@click.option("--fresh", is_flag=True, help="Replace what is in the file instead of adding to it.")
@click.option("--json", "as_json", is_flag=True, help="One line on stdout once connections are accepted.")
@click.option("--quiet", is_flag=True, help="No progress.")
def record(
    upstream: str,
    cassette: Path,
    host: str,
    port: int,
    extra: tuple[str, ...],
    note: str,
    fresh: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Record what clients ask of a real Dify, through a proxy, into a cassette. Secrets are taken out as it is written."""
    from mockdify.cassettes.proxy import Recorder  # noqa: PLC0415 - brings aiohttp
    from mockdify.cassettes.scrub import Scrubber  # noqa: PLC0415

    show = _progress(quiet=quiet or not sys.stderr.isatty())
    recorder = Recorder(
        upstream,
        cassette,
        scrubber=Scrubber(_secrets(extra)),
        host=host,
        port=port,
        note=note,
        fresh=fresh,
        on_progress=show,
    )
    asyncio.run(_record(recorder, as_json=as_json))
    done = recorder.progress
    click.echo(f"\n{cassette}: {done.calls} calls, {done.events} events, {done.bytes} bytes", err=True)


async def _record(recorder: Recorder, *, as_json: bool) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stopped.set)
    await recorder.start()
    if as_json:
        ready = {"url": recorder.url, "upstream": recorder.upstream, "cassette": str(recorder.path)}
        click.echo(json.dumps(ready))
    else:
        click.echo(
            f"recording {recorder.upstream} into {recorder.path}: use {recorder.url} as the base URL. Stop with Ctrl-C."
        )
    await stopped.wait()
    await recorder.stop()


def _progress(*, quiet: bool) -> Any:
    def show(progress: Progress) -> None:
        click.echo(
            f"\r{progress.calls} calls, {progress.events} events, {progress.bytes} bytes, {progress.open} open ",
            err=True,
            nl=False,
        )

    return (lambda _: None) if quiet else show


def _secrets(extra: tuple[str, ...]) -> list[str | re.Pattern[str]]:
    """Texts as they are; `/…/` is a regular expression."""
    found: list[str | re.Pattern[str]] = []
    for text in extra:
        if len(text) > 2 and text[0] == text[-1] == "/":
            try:
                found.append(re.compile(text[1:-1]))
            except re.error as error:
                msg = f"--scrub {text}: not a regular expression: {error}"
                raise MockdifyError(msg) from None
        else:
            found.append(text)
    return found


@click.command()
@click.argument("cassettes", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--fail-on", type=click.Choice(["info", "warn", "error"]), default="error", show_default=True)
@click.option("--release", help="The release to hold them to. [default: the one each was recorded from]")
@click.option("--max-age", metavar="90d", help="Tell recordings that are older.")
@click.option("--report", multiple=True, metavar="json=F|html=F", help="Write a report.")
@click.option("--json", "as_json", is_flag=True, help="The whole report on stdout, for machines.")
def verify(
    cassettes: tuple[Path, ...],
    fail_on: Any,
    release: str | None,
    max_age: str | None,
    report: tuple[str, ...],
    as_json: bool,
) -> None:
    """Hold recordings against the contracts: what drifted. Exit code 1 when something is at least as bad as --fail-on."""
    from mockdify.cassettes import verify as verifying  # noqa: PLC0415 - brings jsonschema
    from mockdify.durations import parse_duration  # noqa: PLC0415

    days = None if max_age is None else parse_duration(max_age) / 86400
    wanted = [_report(text) for text in report]
    found = verifying.verify(cassettes, release=release, max_age_days=days)
    if as_json:
        click.echo(found.as_json())
    else:
        for drift in found.drifts:
            click.echo(drift)
        click.echo(found)
    for kind, path in wanted:
        _write(path, found.as_json() if kind == "json" else found.as_html())
    if found.fails(fail_on):
        sys.exit(1)


def _report(text: str) -> tuple[str, Path]:
    kind, equals, path = text.partition("=")
    if kind not in ("json", "html") or not equals or not path:
        msg = f"--report {text}: json=FILE or html=FILE"
        raise MockdifyError(msg)
    return kind, Path(path)


def _write(path: Path, text: str) -> None:
    """*path* with *text*, whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            file.write(text)
        os.replace(file.name, path)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}"
        raise MockdifyError(msg) from None


@click.command()
@click.option("--check", "check_only", is_flag=True, required=True, help="Only look; nothing is changed.")
@click.option("--scrub", "extra", multiple=True, metavar="TEXT", help="A further secret, or /a regular expression/.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def scrub(check_only: bool, extra: tuple[str, ...], paths: tuple[Path, ...]) -> None:  # noqa: ARG001 - looking is all it does
    """Find secrets left in cassettes, logs and reports. Exit code 1 when there are any."""
    from mockdify.cassettes.scrub import check  # noqa: PLC0415

    found = check(paths, extra=_secrets(extra))
    for finding in found:
        click.echo(finding)
    click.echo(f"{len(found)} secrets found" if found else "no secrets found")
    if found:
        sys.exit(1)
