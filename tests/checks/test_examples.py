"""The example adapters are short, and those of the guide's samples show what was measured on them."""

import re
import shutil
from pathlib import Path

import pytest

from mockdify.harness.adapters import ExecAdapter, load

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "adapters"


SHARED = ("lines", "joined")
ADAPTERS = [path for path in sorted(FOLDER.glob("*.*")) if path.stem not in SHARED]


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.name)
def test_an_adapter_has_under_forty_lines_of_code(path):
    text = re.sub(r'^""".*?"""', "", path.read_text(), flags=re.DOTALL)
    assert len([line for line in text.splitlines() if line.strip() and not line.startswith("//")]) < 40


@pytest.fixture
def python(hold):
    return lambda *only: {
        key: cell.verdict for key, cell in hold(load(str(FOLDER / "guide_python.py")), *only, examples=5).items()
    }


def test_the_retry_helper_returns_nothing_when_its_attempts_are_used_up(hold):
    cell = hold(load(str(FOLDER / "guide_python.py")), "RETRY-LAST")["RETRY-LAST-001", "chat.blocking"]
    by_case = {finding.case.name: finding.verdict for finding in cell.findings}
    assert by_case == {"429": "silent-loss", "500": "crashed"}


def test_the_retry_helper_falls_over_when_nobody_is_there(python):
    assert python("ERR-NET") == {
        ("ERR-NET-001", "chat.blocking"): "crashed",
        ("ERR-NET-002", "chat.blocking"): "crashed",
    }


def test_the_reader_takes_an_error_event_and_a_cut_for_an_answer(python):
    assert python("SSE-ERROR", "SSE-CUT") == {
        ("SSE-ERROR-001", "chat.streaming"): "silent-loss",
        ("SSE-CUT-001", "chat.streaming"): "silent-loss",
    }


def test_the_reader_skips_pings_and_keeps_whole_lines(python):
    assert python("SSE-PING", "SSE-FRAME", "REPLY-LINES") == {}


@pytest.mark.slow
@pytest.mark.clients
@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
def test_the_javascript_reader_breaks_at_a_cut(hold):
    found = hold(
        ExecAdapter(["node", str(FOLDER / "guide_javascript.mjs")]), "SSE-FRAME-001", "SSE-ERROR", "SSE-CUT", examples=4
    )
    assert {key: cell.verdict for key, cell in found.items()} == {
        ("SSE-FRAME-001", "chat.streaming"): "crashed",
        ("SSE-ERROR-001", "chat.streaming"): "silent-loss",
        ("SSE-CUT-001", "chat.streaming"): "silent-loss",
    }


def test_a_client_with_text_lines_breaks_at_u2028(hold):
    found = hold(load(str(FOLDER / "with_httpx.py")), "REPLY-LINES", "SSE-PING", examples=5)
    assert set(found) == {("REPLY-LINES-001", "chat.streaming")}


def test_a_client_with_lines_of_bytes_does_not(hold):
    assert hold(load(str(FOLDER / "with_requests.py")), "REPLY-", "SSE-PING", "SSE-ERROR", "SSE-CUT", examples=5) == {}
