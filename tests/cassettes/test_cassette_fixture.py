"""The fixture `mockdify_cassette`: plays by default, records when asked, and loses nothing when tests share a file."""

import json
from pathlib import Path

import pytest
import yaml  # noqa: F401 - its C half keeps the classes of its first import, and pytester forgets what tests import
from click.testing import CliRunner

from mockdify import MockDify
from mockdify.cassettes.files import load
from mockdify.cli import main

HELPERS = """
import http.client, json, pytest
from urllib.parse import urlsplit

def ask(cassette, query, key=None):
    parts = urlsplit(cassette.base_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    body = json.dumps({"query": query, "user": "u", "inputs": {}, "response_mode": "blocking"})
    headers = {"Authorization": "Bearer " + (key or cassette.key), "Content-Type": "application/json"}
    connection.request("POST", parts.path + "/chat-messages", body, headers)
    reply = connection.getresponse()
    said = json.loads(reply.read())
    connection.close()
    return reply.status, said
"""
SIX = "\n".join(
    f"""
@pytest.mark.mockdify_cassette("{"shared" if n < 4 else "other"}")
def test_{n}(mockdify_cassette):
    for turn in range(3):
        status, said = ask(mockdify_cassette, f"question {n}.{{turn}}")
        assert (status, said["answer"]) == (200, "The mock heard: question {n}.%d" % turn)
"""
    for n in range(6)
)


@pytest.fixture
def project(pytester, monkeypatch):
    """A folder with tests, run in this process, or in those that `-n` asks for."""
    monkeypatch.setenv("DIFY_API_KEY", "app-chat-demo")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def run(tests, *options):
        (pytester.path / "test_it.py").write_text(HELPERS + tests)
        run = pytester.runpytest_subprocess if "-n" in options else pytester.runpytest_inprocess
        return run("-p", "no:randomly", "-p", "no:cacheprovider", "-q", *options)

    return run


@pytest.fixture
def upstream():
    with MockDify() as server:
        yield server


def queries(path):
    return sorted(json.loads(each.request_body)["query"] for each in load(path))


@pytest.mark.slow
def test_six_tests_that_share_cassettes_in_three_processes_keep_all_interactions(project, pytester, upstream):
    pytest.importorskip("xdist")
    for mode in ("once", "all"):
        result = project(SIX, "-n", "3", "--mockdify-record", mode, "--mockdify-upstream", upstream.base_url)
        result.assert_outcomes(passed=6)
        folder = pytester.path / "cassettes"
        assert queries(folder / "shared.yaml") == sorted(f"question {n}.{k}" for n in range(4) for k in range(3))
        assert queries(folder / "other.yaml") == sorted(f"question {n}.{k}" for n in (4, 5) for k in range(3))
    asked = len(upstream.journal)
    project(SIX, "-n", "3").assert_outcomes(passed=6)
    assert len(upstream.journal) == asked


def test_what_the_cassette_has_not_fails_the_test_at_its_end(project, upstream):
    first = '@pytest.mark.mockdify_cassette("it")\ndef test_it(mockdify_cassette):\n    ask(mockdify_cassette, "one")\n'
    record = ("--mockdify-record", "once", "--mockdify-upstream", upstream.base_url)
    project(first, *record).assert_outcomes(passed=1)
    result = project(first.replace('"one"', '"two"'))
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(['*not recorded*body.query: recorded "one", asked "two"*'])
    twice = project(first + '    ask(mockdify_cassette, "one")\n')
    twice.assert_outcomes(passed=1, errors=1)
    again = first.replace('("it")', '("it", repeat="again")') + '    ask(mockdify_cassette, "one", key="any")\n'
    project(again).assert_outcomes(passed=1)


def test_a_fault_strikes_a_played_cassette(project, upstream):
    test = '@pytest.mark.mockdify_cassette("it")\ndef test_it(mockdify_cassette):\n    ask(mockdify_cassette, "one")\n'
    project(test, "--mockdify-record", "once", "--mockdify-upstream", upstream.base_url).assert_outcomes(passed=1)
    fault = '@pytest.mark.mockdify_fault("rate-limit")\n' + test.replace("    ask", "    assert 429 == ask")
    project(fault.rstrip() + "[0]\n").assert_outcomes(passed=1)


def test_a_fault_that_cannot_strike_while_recording_is_told(project, upstream):
    """The reply that it would have struck is recorded; played, it strikes."""
    test = '@pytest.mark.mockdify_cassette("it")\ndef test_it(mockdify_cassette):\n    ask(mockdify_cassette, "one")\n'
    told = "*it.yaml is being recorded: the fault 'rate-limit' does not strike now*"
    record = ("--mockdify-record", "all", "--mockdify-upstream", upstream.base_url, "-W", "default")
    result = project('@pytest.mark.mockdify_fault("rate-limit")\n' + test, *record)
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines([told])
    result = project(test + '    mockdify_cassette.inject("rate-limit", times=2)\n', *record)
    result.stdout.fnmatch_lines([told])
    result = project(test + "    mockdify_cassette.journal\n", *record)
    result.stdout.fnmatch_lines(["*journal: only a cassette that is played has it, and this one is being recorded*"])


def test_a_cassette_that_is_not_there_says_how_to_record_it(project):
    result = project('@pytest.mark.mockdify_cassette("none")\ndef test_it(mockdify_cassette): pass\n')
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*none.yaml: there is no such cassette; record it with --mockdify-record once*"])
    result = project("def test_it(mockdify_cassette): pass\n", "--mockdify-record", "once")
    result.stdout.fnmatch_lines(["*--mockdify-upstream URL, or set DIFY_UPSTREAM*"])


def test_without_a_mark_the_cassette_is_called_like_the_test(project, pytester, upstream):
    test = (
        'def test_it(mockdify_cassette):\n    ask(mockdify_cassette, "one")\n    assert mockdify_cassette.recording\n'
    )
    project(
        test, "--mockdify-record", "once", "--mockdify-upstream", upstream.base_url, "--mockdify-cassette-dir", "kept"
    )
    assert queries(Path(pytester.path) / "kept" / "test_it" / "test_it.yaml") == ["one"]


@pytest.mark.parametrize("workers", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow)])
def test_what_no_test_asks_for_is_told(project, pytester, upstream, workers):
    """An interaction that is never played, and a cassette that none plays."""
    tests = "".join(
        f'@pytest.mark.mockdify_cassette("{name}")\ndef test_{name}(mockdify_cassette):\n'
        '    ask(mockdify_cassette, "one")\n    ask(mockdify_cassette, "two")\n'
        for name in ("kept", "old")
    )
    project(tests, "--mockdify-record", "once", "--mockdify-upstream", upstream.base_url).assert_outcomes(passed=2)
    fewer = tests.partition('    ask(mockdify_cassette, "two")')[0]
    project(fewer, "--mockdify-played", "played.json", *workers).assert_outcomes(passed=1)
    words = ["verify", "--fail-on", "warn", "--played", str(pytester.path / "played.json")]
    done = CliRunner().invoke(main, [*words, str(pytester.path / "cassettes")])
    assert done.exit_code == 1
    found = [line for line in done.stdout.splitlines() if line.startswith("warn")]
    assert [line.partition(f"{pytester.path}/cassettes/")[2] for line in found] == [
        "kept.yaml#2 POST /v1/chat-messages cassette: unused: no test asked for it",
        "old.yaml cassette: an orphan: no test played it",
    ]
    done = CliRunner().invoke(main, [*words[:-1], str(pytester.path / "test_it.py"), str(pytester.path / "cassettes")])
    assert (done.exit_code, "--mockdify-played FILE" in done.stderr) == (2, True)
