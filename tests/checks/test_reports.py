"""Reports: every cell of the matrix in every format; baselines say what is new, known and stale."""

import io
import json
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest
from broken import BROKEN
from rich.console import Console

from mockdify.errors import MockdifyError
from mockdify.harness import baseline, failures, standalone
from mockdify.harness.adapters import PythonAdapter
from mockdify.harness.reports import files, terminal
from mockdify.harness.runner import check, play, rules_of


@pytest.fixture(scope="module")
def report(theatre):
    one = PythonAdapter(BROKEN["decodes-each-chunk"](), name="broken <client>")
    yield check(one, rules_of("dify", ["REPLY-TEXT", "SSE-FRAME-004", "SSE-CUT"]), examples=20, theatre=theatre)
    one.close()


def test_json_has_every_cell(report):
    data = files.as_json(report)
    assert len(data["cells"]) == len(report.cells)
    assert data["ok"] is False
    assert {cell["verdict"] for cell in data["cells"]} == {"held", "corrupt"}
    json.dumps(data)


def test_junit_is_xml_with_a_case_a_cell(report):
    suite = ET.fromstring(files.junit(report))
    assert len(suite.findall("testcase")) == len(report.cells)
    assert len(suite.findall("testcase/failure")) == len(report.failed) == int(suite.get("failures"))


def test_junit_has_no_character_that_xml_forbids():
    assert files._clean("a\x00b\x1b\ud800c\n👋") == "a?b??c\n👋"


def test_the_page_stands_alone_and_escapes_what_it_shows(report):
    page = files.FORMATS["html"](report)
    assert "broken &lt;client&gt;" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://127.0.0.1", "")
    assert "app-chat-check" not in page


def test_the_badge_counts_rules(report):
    assert "2/3 rules" in files.badge(report)


def test_the_grid_is_plain_when_piped(report):
    out = io.StringIO()
    terminal.print_report(report, Console(file=out, width=120))
    told = out.getvalue()
    assert "\x1b" not in told
    assert "SSE-FRAME-004" in told
    assert "-byte character" in told
    assert "seed 0" in told


@pytest.mark.parametrize("wanted", ["junit", "pdf=x", "=x"])
def test_a_wrong_report_is_refused(wanted):
    with pytest.raises(MockdifyError, match="formats are json, junit, html, badge"):
        files.check_wanted(wanted)


def test_a_baseline_lists_what_is_known(report, tmp_path):
    path = tmp_path / "known.json"
    baseline.write(path, report)
    known = baseline.read(path)
    assert baseline.compare(report, known).ok
    assert baseline.compare(report, {}).new == tuple(known)
    stale = baseline.compare(
        report,
        {
            **known,
            "REPLY-TEXT-001 chat.blocking": "corrupt",
            "CALL-404-001 messages": "hung",
            "OTHER-001 chat.blocking": "hung",
        },
    )
    assert stale.stale == ("REPLY-TEXT-001 chat.blocking", "OTHER-001 chat.blocking")
    assert "stale" in stale.told()
    otherwise = baseline.compare(report, dict.fromkeys(known, "leaked"))
    assert otherwise.ok
    assert "(leaked, now " in otherwise.told()


def test_a_json_report_is_a_baseline_too(report, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(files.as_json(report)))
    assert baseline.compare(report, baseline.read(path)).ok


@pytest.mark.parametrize("text", ["[]", "{", '{"known": []}'])
def test_a_wrong_baseline_is_told(text, tmp_path):
    path = tmp_path / "known.json"
    path.write_text(text)
    with pytest.raises(MockdifyError, match="baseline"):
        baseline.read(path)


def test_a_saved_failure_plays_again_and_is_held_by_a_good_client(report, theatre, tmp_path):
    from mockdify.reference import ReferenceAdapter

    paths = failures.save_all(report, tmp_path)
    assert len(paths) == sum(len(cell.findings) for cell in report.failed)
    for path in paths:
        saved = failures.read(path)
        rule = failures.rule_named(saved.rule)
        for target, broken in ((BROKEN["decodes-each-chunk"], True), (ReferenceAdapter, False)):
            one = PythonAdapter(target())
            came = play(theatre, one, rule, saved.case(None))
            one.close()
            assert (came.finding is not None) is broken
            assert came.finding is None or came.finding.verdict == saved.verdict
        assert len(path.read_bytes()) < 20_000
        assert "app-chat-check" not in path.read_text()


def test_the_stand_alone_server_sends_the_same_bytes(report, tmp_path):
    saved = failures.read(failures.save_all(report, tmp_path)[0])
    path = tmp_path / "server.py"
    path.write_text(standalone.script(saved, path.name))
    process = subprocess.Popen([sys.executable, "-I", str(path), "0"], stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().split()[-1]
        import http.client

        connection = http.client.HTTPConnection(url.split("/")[2], timeout=5)
        connection.request("POST", "/v1/chat-messages", b"{}")
        response = connection.getresponse()
        assert response.status == 200
        assert response.read() == saved.replies[0].body
        connection.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other"}'])
def test_what_is_no_saved_failure_is_told(text, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(MockdifyError, match=r"x\.json"):
        failures.read(path)
