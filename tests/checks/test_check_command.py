"""`check`, `rules` and `rerun`: 0 all held, 1 one broke, 2 the harness could not run."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mockdify.errors import MockdifyError
from mockdify.harness.cli import check, rerun, rules

QUICK = ["--rule", "REPLY-TEXT", "--rule", "SSE-FRAME-004", "--max-examples", "15"]


@pytest.fixture
def run():
    def go(command: click.Command, *args):
        return CliRunner().invoke(command, list(args))

    return go


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "client.py"
    path.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from broken import BROKEN\nadapter = BROKEN['decodes-each-chunk']\n"
    )
    return str(path)


def test_without_an_adapter_the_reference_client_is_checked(run):
    result = run(check, *QUICK)
    assert result.exit_code == 0, result.output
    assert "the reference client" in result.output


def test_a_broken_client_is_exit_1_with_reports_and_saved_failures(run, broken, tmp_path):
    reports = f"json={tmp_path / 'r.json'},junit={tmp_path / 'r.xml'},html={tmp_path / 'r.html'}"
    result = run(check, broken, *QUICK, "--report", reports, "--save-failures", str(tmp_path / "found"))
    assert result.exit_code == 1, result.output
    assert json.loads((tmp_path / "r.json").read_text())["ok"] is False
    saved = sorted((tmp_path / "found").iterdir())
    again = run(rerun, str(saved[0]), broken)
    assert again.exit_code == 1, again.output
    assert "(saved as corrupt)" in again.output
    assert (tmp_path / "found" / (saved[0].stem + ".server.py")).exists()
    assert run(rerun, str(saved[0])).exit_code == 0


def test_what_the_baseline_lists_passes(run, broken, tmp_path):
    known = str(tmp_path / "known.json")
    assert run(check, broken, *QUICK, "--write-baseline", known).exit_code == 1
    assert run(check, broken, *QUICK, "--baseline", known).exit_code == 0
    stale = run(check, *QUICK, "--baseline", known)
    assert stale.exit_code == 1
    assert "stale" in stale.output


@pytest.mark.parametrize(
    "args",
    [
        ["--rule", "SSE-PONG-001"],
        ["no_such_module"],
        ["--exec", "no-such-program"],
        ["--report", "pdf=x"],
        ["--baseline", "no-such-file"],
        ["json", "--exec", "true"],
        ["--exec", ""],
    ],
)
def test_what_cannot_run_is_a_mistake_that_the_command_line_tells_with_exit_2(run, args):
    result = run(check, *args)
    assert isinstance(result.exception, MockdifyError)


def test_rules_are_listed_for_people_and_machines(run):
    told = run(rules).output
    assert "SSE-PING-001" in told
    listed = json.loads(run(rules, "--json", "--suite", "dify").output)
    assert {rule["severity"] for rule in listed} == {"must"}
    assert {"id", "says", "because", "threads", "fix", "needs"} <= set(listed[0])
