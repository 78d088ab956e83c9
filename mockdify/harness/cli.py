"""The commands `check`, `rerun` and `rules`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mockdify.errors import MockdifyError
from mockdify.writing import write_whole

if TYPE_CHECKING:
    from mockdify.harness.adapters import Adapter
    from mockdify.harness.runner import Report

__all__ = ["check", "rerun", "rules"]

_CONTEXT = {"help_option_names": ["-h", "--help"]}
_SUITES = ("dify", "robustness", "timeouts", "all")


def _adapter(target: str | None, command: str | None) -> Adapter:
    """The client that the command line means; the reference client without a word."""
    from mockdify.harness import adapters  # noqa: PLC0415 - not for --help

    if target and command is not None:
        raise MockdifyError("give ADAPTER or --exec, not both")
    if command is not None and not command.strip():
        raise MockdifyError("--exec names no program; write it like --exec 'node adapter.mjs'")
    if command:
        return adapters.ExecAdapter(command)
    if target:
        return adapters.load(target)
    from mockdify.reference import ReferenceAdapter  # noqa: PLC0415

    return adapters.PythonAdapter(ReferenceAdapter(), name="the reference client")


@click.command(context_settings=_CONTEXT)
@click.argument("adapter", required=False)
@click.option("--exec", "command", help="A program that speaks JSON lines: --exec 'node adapter.mjs'.")
@click.option("--suite", type=click.Choice(_SUITES), default="dify", show_default=True, help="Which rules.")
@click.option("--rule", "only", multiple=True, help="Only this rule, or all whose ids begin so; may be given again.")
@click.option("--seed", type=int, default=None, help="Seed of the examples; printed, so that a run can be repeated.")
@click.option("--max-examples", type=click.IntRange(1), default=None, help="Examples for each case that has some.")
@click.option(
    "--profile-examples", "profile", type=click.Choice(["dev", "ci", "thorough"]), default="dev", show_default=True,
    help="How thoroughly: 20, 60 or 1000 examples.",
)  # fmt: skip
@click.option(
    "--baseline", type=click.Path(path_type=Path), help="Known failures: listed pass, unlisted and stale fail."
)
@click.option("--write-baseline", type=click.Path(path_type=Path), help="Write what broke as a baseline.")
@click.option("--report", "wanted", default="", help="junit=F,html=F,json=F,badge=F")
@click.option("--save-failures", type=click.Path(path_type=Path), help="A folder: one small file a finding, for rerun.")
@click.option(
    "--patience", type=float, default=60.0, show_default=True, help="Seconds the suite timeouts waits at most."
)
@click.option("--profile", "served", default="1.16", show_default=True, help="What the mock serves: 1.16, 1.13, guide.")
def check(  # noqa: PLR0917 - click calls it by name
    adapter: str | None,
    command: str | None,
    suite: str,
    only: tuple[str, ...],
    seed: int | None,
    max_examples: int | None,
    profile: str,
    baseline: Path | None,
    write_baseline: Path | None,
    wanted: str,
    save_failures: Path | None,
    patience: float,
    served: str,
) -> None:
    """Hold a client to every rule and print the matrix. ADAPTER is module:object, file.py or a URL."""
    from rich.console import Console  # noqa: PLC0415 - not for --help

    from mockdify.harness import baseline as baselines  # noqa: PLC0415
    from mockdify.harness import failures, runner  # noqa: PLC0415
    from mockdify.harness.reports import files, terminal  # noqa: PLC0415
    from mockdify.profiles import profile_named  # noqa: PLC0415

    files.check_wanted(wanted)
    known = baselines.read(baseline) if baseline else None
    chosen = runner.rules_of(suite, only)
    serving = profile_named(served)
    if serving.is_projected and not (adapter or command):
        raise MockdifyError(f"the reference client speaks Dify's API, not that of the profile {served}; give a client")
    client = _adapter(adapter, command)
    console = Console(highlight=False)
    try:
        with terminal.Progress(console) as progress:
            report = runner.check(
                client,
                chosen,
                suite="rules " + ", ".join(only) if only else suite,
                seed=_seed(seed, profile),
                examples=max_examples or runner.PROFILES[profile],
                patience=patience,
                profile=serving.name,
                progress=progress,
            )
    finally:
        client.close()
    compared = baselines.compare(report, known) if known is not None else None
    terminal.print_report(report, console, compared)
    _write(report, wanted, write_baseline)
    if save_failures is not None:
        paths = failures.save_all(report, save_failures)
        console.print(
            f"{len(paths)} failures saved in {save_failures}; `mockdify rerun FILE` plays one again", soft_wrap=True
        )
    sys.exit(0 if (compared.ok if compared is not None else not report.failed) else 1)


def _seed(given: int | None, profile: str) -> int:
    """As given; 0 every time, but for the thorough profile, which looks elsewhere each time."""
    if given is not None:
        return given
    if profile != "thorough":
        return 0
    import random  # noqa: PLC0415

    return random.SystemRandom().randrange(1 << 31)


def _write(report: Report, wanted: str, baseline: Path | None) -> None:
    from mockdify.harness import baseline as baselines  # noqa: PLC0415
    from mockdify.harness.reports import write  # noqa: PLC0415

    write(report, wanted)
    if baseline is not None:
        baselines.write(baseline, report)


@click.command(context_settings=_CONTEXT)
@click.argument("failure", type=click.Path(path_type=Path))
@click.argument("adapter", required=False)
@click.option("--exec", "command", help="A program that speaks JSON lines.")
@click.option("--server", type=click.Path(path_type=Path), help="Where the stand-alone server goes; '-' prints it.")
def rerun(failure: Path, adapter: str | None, command: str | None, server: Path | None) -> None:
    """Play one saved failure again, byte by byte, and write a stand-alone server for a bug report."""
    from mockdify.checks.judge import worst  # noqa: PLC0415 - not for --help
    from mockdify.harness import failures, runner, standalone  # noqa: PLC0415
    from mockdify.harness.stage import Theatre  # noqa: PLC0415

    saved = failures.read(failure)
    path = server or failure.with_suffix(".server.py")
    source = standalone.script(saved, path.name)
    rule = failures.rule_named(saved.rule)
    original = next((case for case in rule.cases if case.mode == saved.mode and case.name == saved.data["case"]), None)
    client = _adapter(adapter, command)
    try:
        client.capabilities()
        with Theatre(seed=saved.seed, profile=saved.profile) as theatre:
            came = runner.play(theatre, client, rule, saved.case(original))
    finally:
        client.close()
    verdict = worst(came.finding.violations) if came.finding else "held"
    click.echo(f"{saved.rule} {saved.mode}: {verdict} (saved as {saved.verdict})")
    for violation in came.finding.violations if came.finding else ():
        click.echo(f"  ✗ {violation.words}")
    if saved.data.get("nobody") and not saved.data.get("full"):
        click.echo("for a bug report: nobody listens there; any port without a server does it")
    elif str(server) == "-":
        click.echo(source)
    else:
        write_whole(path, source)
        click.echo(f"a server that sends the same bytes, for a bug report: python {path}")
    sys.exit(0 if verdict == "held" else 1)


@click.command(context_settings=_CONTEXT)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--suite", type=click.Choice(_SUITES), default="all", help="Only the rules of one suite.")
def rules(as_json: bool, suite: str) -> None:
    """List the rules that `check` holds a client to."""
    from mockdify.harness.runner import rules_of  # noqa: PLC0415 - not for --help

    found: list[dict[str, Any]] = [rule.as_dict() for rule in rules_of(suite)]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for rule in found:
        click.echo(f"{rule['id']:<17} {rule['severity']:<10} {rule['says']}")
