"""The plugin, as the tests of its users see it: each test here writes a small test module and runs it."""

import importlib
import os
import pkgutil
import re
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import mockdify as package

# pytester forgets what an inner run imported, and some C extensions do not bear a second import: all of it is there
# before the first run.
for module in ("yaml", "jinja2", "orjson", *(one.name for one in pkgutil.walk_packages(package.__path__, "mockdify."))):
    if not module.endswith("__main__"):
        importlib.import_module(module)

CLIENT = '''
import json
import urllib.error
import urllib.request


def call(base_url, key, path="/chat-messages", **said):
    """The status and the JSON of one blocking call."""
    body = json.dumps({"query": "hello", "user": "u1", "inputs": {}, "response_mode": "blocking", **said}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(base_url + path, body, headers), timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as refused:
        with refused:
            text = refused.read()
            return refused.code, json.loads(text) if text[:1] == b"{" else text.decode()


def ask(mock, **said):
    return call(mock.base_url, mock.app("chat").key, **said)


class my_client:
    """Asks again after a 429."""

    def __init__(self, base_url, key):
        self.base_url, self.key = base_url, key

    def ask(self, query, user):
        status, said = 429, {}
        while status == 429:
            status, said = call(self.base_url, self.key, query=query, user=user)
        return said["answer"]
'''


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test module in this process, with our plugin alone and warnings as errors."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in [name for name in os.environ if name.startswith(("MOCKDIFY_", "PYTEST_ADDOPTS"))]:
        monkeypatch.delenv(name)
    pytester.makepyfile(client=CLIENT)
    monkeypatch.syspath_prepend(pytester.path)

    def run(code, *options, subprocess=False):
        pytester.makepyfile(test_it="import pytest\nfrom client import ask, call, my_client\n\n" + code)
        runner = pytester.runpytest_subprocess if subprocess else pytester.runpytest_inprocess
        options = (
            "-p",
            "mockdify.pytest_plugin",
            "-W",
            "error",
            "--strict-markers",
            "-p",
            "no:cacheprovider",
            *options,
        )
        return runner(*options)

    return run


def section(result):
    """The lines of all `mockdify` sections."""
    text = result.stdout.str()
    return re.findall(r"-+ mockdify -+\n(.*?)(?=\n[-=_]{3,}|\Z)", text, re.DOTALL)


# --- the fixture -----------------------------------------------------------------------------------------------------


def test_the_promised_example_passes_as_it_stands(run):
    run("""
def test_backs_off(mockdify):                       # fresh workspace, nothing shared between tests or workers
    mockdify.app("chat").answer("Hi!")
    mockdify.inject("rate-limit", times=2, retry_after=0)
    assert my_client(mockdify.base_url, mockdify.app("chat").key).ask("hello", user="u1") == "Hi!"
    assert [x.status for x in mockdify.journal] == [429, 429, 200]
""").assert_outcomes(passed=1)


def test_the_entry_point_brings_the_plugin_to_every_run(pytester, monkeypatch):
    (found,) = entry_points(group="pytest11", name="mockdify")
    assert found.value == "mockdify.pytest_plugin"
    pytester.makepyfile("def test_it(mockdify, mock_dify, mockdify_server): assert mockdify is mock_dify")
    plugins = ("-p", "no:randomly", "-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "no:cacheprovider")
    result = pytester.runpytest_subprocess("-W", "error", *plugins)
    result.assert_outcomes(passed=1)
    assert re.search(r"plugins: .*mockdify", result.stdout.str())


def test_importing_the_plugin_brings_nothing_but_errors_of_ours():
    code = (
        "import sys, pytest; import mockdify.pytest_plugin; print(*sorted(n for n in sys.modules if 'mockdify' in n))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert loaded == ["mockdify", "mockdify.errors", "mockdify.pytest_plugin"]


def test_each_test_has_a_fresh_world_on_one_server(run):
    run("""
seen = []

@pytest.mark.parametrize("k", range(5))
def test_it(k, mockdify, mockdify_server):
    seen.append((mockdify.base_url, mockdify.clock.now > 0))
    assert len(mockdify.journal) == 0
    assert ask(mockdify)[1]["answer"] != "scripted"
    conversation = ask(mockdify)[1]["conversation_id"]
    mockdify.app("chat").answer("scripted")
    assert ask(mockdify, conversation_id=conversation)[1]["answer"] == "scripted"
    assert mockdify is mockdify_server
    assert [x.id for x in mockdify.journal] == [1, 2, 3]
    mockdify.app("chat").answer(chunks=["a", "b"], pace="60s")  # and what is not asked for is no fault
    mockdify.workspace()

def test_last(mockdify):
    assert len(set(seen)) == 1
    assert mockdify.workspaces == ()
""").assert_outcomes(passed=6)


def test_a_stream_left_open_is_no_ones_business_after_the_test(run):
    run("""
import http.client
from urllib.parse import urlsplit

@pytest.mark.parametrize("k", range(3))
def test_it(k, mockdify):
    mockdify.app("chat").answer(chunks=["a", "b"], pace="60s")
    global connection
    connection = http.client.HTTPConnection(urlsplit(mockdify.base_url).netloc, timeout=60)
    headers = {"Authorization": "Bearer " + mockdify.app("chat").key, "Content-Type": "application/json"}
    body = '{"query": "x", "user": "left", "inputs": {}, "response_mode": "streaming"}'
    connection.request("POST", "/v1/chat-messages", body, headers)
    reply = connection.getresponse()
    assert reply.readline().startswith(b"data: ")
    assert len(mockdify.journal) == 1
    assert mockdify.journal.last.ended == "open"
    connection.close()
    reply.close()

def test_next(mockdify):
    assert ask(mockdify)[0] == 200
    assert [x.user for x in mockdify.journal] == ["u1"]
""").assert_outcomes(passed=4)


def test_tests_of_the_servers_own_fixture_find_it_fresh_after_other_tests(run):
    run("""
@pytest.mark.mockdify(profile="1.13")
def test_first(mockdify):
    mockdify.app("chat").answer("scripted")
    further = mockdify.workspace()

def test_second(mockdify_server):
    assert mockdify_server.profile == "1.16"
    assert ask(mockdify_server)[1]["answer"] != "scripted"
    assert mockdify_server.workspaces == ()
""").assert_outcomes(passed=2)


def test_a_workspace_made_for_the_session_outlives_the_tests(run):
    run("""
@pytest.fixture(scope="session")
def shared(mockdify_server):
    with mockdify_server.workspace() as made:
        made.app("chat").answer("shared")
        yield made

@pytest.mark.parametrize("k", range(2))
def test_it(shared, mockdify, k):
    assert ask(shared)[1]["answer"] == "shared"
    assert mockdify.workspace().id == "w2"
    assert len(shared.journal) == k + 1
""").assert_outcomes(passed=2)


def test_it_serves_classes_and_unittest(run):
    run("""
import unittest

class TestIt:
    def test_it(self, mockdify):
        assert ask(mockdify)[0] == 200

class OldTest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _mock(self, mockdify):
        self.mock = mockdify

    def test_it(self):
        self.assertEqual(ask(self.mock)[0], 200)
""").assert_outcomes(passed=2)


def test_async_tests_need_no_plugin_of_ours(run):
    run("""
import asyncio

def test_it(mockdify):
    async def main():
        return await asyncio.gather(*(asyncio.to_thread(ask, mockdify, user=str(k)) for k in range(4)))
    assert [status for status, _ in asyncio.run(main())] == [200] * 4
""").assert_outcomes(passed=1)


# --- marks and options -----------------------------------------------------------------------------------------------


def test_marks_say_how_the_mock_is_made_and_the_nearest_word_counts(run, pytester):
    export = (Path(package.__file__).parent / "demo" / "chat.yml").read_text("utf-8")
    (pytester.mkdir("exports") / "support.yml").write_text(export, "utf-8")
    run("""
pytestmark = pytest.mark.mockdify(profile="1.13", seed=1)

def test_module(mockdify):
    assert (mockdify.profile, mockdify.seed) == ("1.13", 1)

@pytest.mark.mockdify(seed=2, apps=["exports/support.yml", "chat"])
class TestClass:
    def test_class(self, mockdify):
        assert (mockdify.profile, mockdify.seed) == ("1.13", 2)
        assert sorted(mockdify.keys) == ["chat", "dataset", "support"]

    @pytest.mark.mockdify(seed=3, clock="2026-05-05T00:00:00Z", pace="1h", profile=None)
    def test_function(self, mockdify):
        assert (mockdify.profile, mockdify.seed) == ("1.16", 3)
        begun = mockdify.clock.now
        assert ask(mockdify)[0] == 200
        assert mockdify.clock.now - begun >= 3600
""").assert_outcomes(passed=3)


def test_the_same_seed_makes_the_same_ids_in_every_test(run):
    run("""
met = []

@pytest.mark.parametrize("k", range(2))
@pytest.mark.mockdify(seed=5, clock="frozen")
def test_it(mockdify, k):
    met.append(ask(mockdify))
    assert met[0] == met[-1]
""").assert_outcomes(passed=2)


def test_fault_marks_strike_in_the_order_they_are_written(run):
    run("""
pytestmark = pytest.mark.mockdify_fault("unavailable")

@pytest.mark.mockdify_fault("server-error", times=2)
@pytest.mark.mockdify_fault("rate-limit", retry_after=1, when={"user": "u1"})
def test_it(mockdify):
    assert [ask(mockdify)[0] for _ in range(5)] == [503, 500, 500, 429, 200]
""").assert_outcomes(passed=1)


MISTAKES = [
    ("mockdify(profil='1.13')", "has no argument 'profil'*did you mean 'profile'"),
    ("mockdify('1.13')", "takes names only, such as seed=7; got '1.13'"),
    ("mockdify(profile='1.31')", "profile: unknown profile '1.31'"),
    ("mockdify(seed='x')", "seed: a whole number is needed, got 'x'"),
    ("mockdify(clock='x')", "clock: 'x' is not a clock"),
    ("mockdify(strict='no')", "strict is True or False, got 'no'"),
    ("mockdify(apps=['chta'])", "there is no app 'chta'*did you mean 'chat'"),
    ("mockdify(apps=['x.yml'])", "there is no file*x.yml"),
    ("mockdify_fault('rate-limt')", "there is no fault 'rate-limt'; did you mean 'rate-limit'"),
    ("mockdify_fault('cut', afterwards=2)", "fault 'cut' has no option 'afterwards'"),
    ("mockdify_fault()", "takes one fault's name, then options; got ()"),
    ("mockdify_fault(fault='cut')", "takes one fault's name"),
    ("mockdify_fault('cut', fault='cut')", "the fault's name stands first"),
    ("mockdify_fault('cut', times='2')", "times: a whole number"),
]


def test_a_mistake_in_a_mark_is_told_and_costs_its_own_test_alone(run):
    marked = "".join(f"@pytest.mark.{mark}\ndef test_{k}(mockdify): pass\n\n" for k, (mark, _) in enumerate(MISTAKES))
    result = run(marked + "def test_fine(mockdify): assert ask(mockdify)[0] == 200\n")
    result.assert_outcomes(passed=1, errors=len(MISTAKES))
    for _, told in MISTAKES:
        result.stdout.fnmatch_lines([f"*mockdify: *{told.replace('[', '[[]')}*"])
    assert "Traceback" not in result.stdout.str()
    assert "pytest_plugin.py" not in result.stdout.str()


def test_options_say_how_the_server_is_made(run, pytester):
    (pytester.path / "mine.toml").write_text('seed = 7\n[defaults]\nanswer = "from the file"\n')
    run(
        """
def test_it(mockdify):
    assert (mockdify.profile, mockdify.seed) == ("1.13", 7)
    assert ask(mockdify)[1]["answer"] == "from the file"
    mockdify.reset()
    assert mockdify.profile == "1.13"
""",
        "--mockdify-profile=1.13",
        "--mockdify-config=mine.toml",
        "--mockdify-ping-interval=1s",
        "--mockdify-clock=frozen",
        "--mockdify-pace=1s",
    ).assert_outcomes(passed=1)


def test_the_configuration_of_the_root_folder_holds(run, pytester):
    (pytester.path / "pyproject.toml").write_text("[tool.mockdify]\nseed = 12\n[tool.pytest.ini_options]\n")
    run("def test_it(mockdify): assert mockdify.seed == 12").assert_outcomes(passed=1)


def test_a_wrong_option_is_told_before_anything_runs(run):
    result = run("def test_it(mockdify): pass", "--mockdify-seed=x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --mockdify-*: seed: a whole number is needed, got 'x'"])


def test_a_mistake_in_the_configuration_is_told_without_a_traceback(run, pytester):
    (pytester.path / "mockdify.toml").write_text("sed = 7\n")
    result = run("def test_it(mockdify): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["mockdify: *mockdify.toml:1:1: unknown key 'sed'*did you mean 'seed'*"])
    assert "pytest_plugin.py" not in result.stdout.str()


def test_it_is_documented_where_pytest_documents(run):
    shown = run("", "--help").stdout.str()
    for words in ("--mockdify-profile", "--mockdify-seed", "--mockdify-config"):
        assert words in shown
    marks = run("", "--markers").stdout.str()
    assert "@pytest.mark.mockdify(*, profile" in marks
    assert "@pytest.mark.mockdify_fault(name" in marks
    assert "A mock Dify of this test's own" in run("", "--fixtures").stdout.str()


# --- what fails a test at its end ------------------------------------------------------------------------------------


def test_what_the_client_did_wrong_fails_the_test_by_name(run):
    result = run("""
def test_unknown_path(mockdify):
    assert ask(mockdify, path="/chat-message")[0] == 404

@pytest.mark.mockdify_fault("cut", after=2)
def test_unmet(mockdify):
    ask(mockdify)

def test_half_met(mockdify):
    mockdify.inject("rate-limit", times=2, retry_after=0)
    ask(mockdify)

def test_elsewhere(mockdify):
    mockdify.workspace().inject("forbidden")

def test_meant(mockdify):
    assert ask(mockdify, conversation_id="00000000-0000-4000-8000-000000000000")[0] == 404
    assert call(mockdify.base_url, "nobody")[0] == 401
    assert ask(mockdify, user="")[0] == 400
""")
    result.assert_outcomes(passed=5, errors=4)
    told = result.stdout.str()
    for name, words in [
        ("test_unknown_path", "unknown path: POST /v1/chat-message; did you mean /v1/chat-messages?"),
        ("test_unmet", "injected fault 'cut' was never met"),
        ("test_half_met", "injected fault 'rate-limit' was met 1 of 2 times"),
        ("test_elsewhere", "workspace w1: injected fault 'forbidden' was never met"),
    ]:
        part = re.split(f"ERROR at teardown of {name} _+", told)[1].split("____")[0]
        assert words in part
        assert "strict=False" in part
    assert "pytest_plugin.py" not in told


def test_an_off_contract_request_that_was_answered_fails_the_test(run, monkeypatch):
    monkeypatch.setattr(
        "mockdify.reports.off_contract", lambda exchange: ["$.inputs is no object"] if exchange.user == "odd" else []
    )
    result = run("""
def test_answered(mockdify):
    assert ask(mockdify, user="odd")[0] == 200

def test_refused(mockdify):
    assert ask(mockdify, user="odd", query="")[0] == 400

def test_good(mockdify):
    assert ask(mockdify)[0] == 200
""")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*off contract: POST /v1/chat-messages: $.inputs is no object"])


def test_strict_false_lets_it_pass(run):
    run("""
@pytest.mark.mockdify(strict=False)
@pytest.mark.mockdify_fault("cut")
def test_it(mockdify):
    ask(mockdify, path="/nowhere")
""").assert_outcomes(passed=1)


def test_faults_of_the_configuration_need_not_be_met(run, pytester):
    (pytester.path / "mockdify.toml").write_text("[[faults]]\nfault = 'forbidden'\nwhen = { user = 'nobody' }\n")
    run("""
def test_it(mockdify):
    assert ask(mockdify)[0] == 200
""").assert_outcomes(passed=1)


def test_a_tests_own_failure_is_never_masked(run):
    """Whatever else was wrong, a test that failed, was skipped or failed as expected is told for that alone."""
    wrong = 'mockdify.inject("cut"); ask(mockdify, path="/nowhere")'
    result = run(f"""
def test_fails(mockdify):
    {wrong}
    assert "this" == "that"

def test_skips(mockdify):
    {wrong}
    pytest.skip("not today")

@pytest.mark.xfail(strict=True)
def test_xfails(mockdify):
    {wrong}
    assert 0

@pytest.fixture
def broken(mockdify):
    {wrong}
    raise ValueError("broken fixture")

def test_setup(broken):
    pass
""")
    result.assert_outcomes(failed=1, skipped=1, xfailed=1, errors=1)
    assert "client did wrong" not in result.stdout.str()
    assert "broken fixture" in result.stdout.str()


def test_a_mock_that_failed_itself_is_told(run):
    """A template that cannot be rendered is the test's mistake; the client only sees a 500."""
    result = run("""
def test_it(mockdify):
    mockdify.app("chat").answer("{{ 1 // (turn - 1) }}")
    assert ask(mockdify)[0] == 500
""")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*POST /v1/chat-messages: mockdify failed: answer: *"])
    assert "Traceback" not in result.stdout.str()


def test_a_test_that_stops_the_server_is_told_so(run):
    result = run("def test_it(mockdify): mockdify.stop()")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["mockdify: this mock server does not run*"])


# --- what a failure shows --------------------------------------------------------------------------------------------

TOO_MANY = "too_many_requests: Too many requests. Please try again later."
FAILS = """
@pytest.mark.mockdify(seed=42)
@pytest.mark.mockdify_fault("rate-limit")
def test_it(mockdify):
    ask(mockdify)
    ask(mockdify, user="alice")
    ask(mockdify, user="")
    key, other = "app-" + "secret-key-of-mine", "app-" + "another-secret"  # no report shows them, nor this line
    call(mockdify.base_url, key, path="/chat-messages?key=" + other)
    ask(mockdify.workspace())
    assert 0
"""


def test_a_failure_shows_the_journal_and_the_seed(run):
    result = run(FAILS)
    result.assert_outcomes(failed=1)
    (shown,) = section(result)
    lines = [re.sub(r" [\d.]+ms", "", line) for line in shown.splitlines()]
    assert re.fullmatch(r"seed 42, profile 1.16, http://127.0.0.1:\d+/v1", lines[0])
    journal = [
        line
        for line in lines[1:]
        if not line.startswith(("exchange", "  rule", "  evidence", "  near", "  fix", "     "))
    ]
    assert journal == [
        "  1  POST /v1/chat-messages chat u1 429 fault=rate-limit  " + TOO_MANY,
        "  2  POST /v1/chat-messages chat alice 200",
        "  3  POST /v1/chat-messages chat - 400  invalid_param: Arg user must be provided.",
        "  4  POST /v1/chat-messages - - 401  unauthorized: Access token is invalid",
        "workspace w1:",
        "  1  POST /v1/chat-messages chat u1 200",
    ]
    assert "exchange 3: POST /v1/chat-messages → 400 invalid_param 'Arg user must be provided.'" in lines
    assert "  fix       send a `user` that stands for one end user of yours; conversations belong to it" in lines
    assert "  evidence  the key app-…mine is unknown here" in lines
    assert not any(line.startswith(("exchange 1:", "exchange 2:")) for line in lines), "nobody wonders about these"
    assert "secret" not in shown
    assert "app-chat-demo" not in shown


def test_a_failure_says_why_requests_were_refused_or_met_no_script(run):
    result = run("""
def test_it(mockdify):
    mockdify.app("chat").answer("Hi!", when={"query": "hello"})
    for _ in range(3):
        ask(mockdify, user="", query="hi")
        ask(mockdify, query="hallo")
    assert 0

def test_teardown(mockdify):
    ask(mockdify, path="/chat-message")
""")
    result.assert_outcomes(failed=1, errors=1, passed=1)
    at_teardown, shown = section(result)
    assert shown.count("send a `user` that stands for one end user") == 1, "each reason once"
    assert "✗ query: wanted 'hello', got 'hallo'" in shown
    assert "nearest   /v1/chat-messages" in at_teardown
    assert "'chat-message' instead of 'chat-messages' ('s' is missing)" in at_teardown


def test_a_setup_and_a_teardown_that_fail_show_it_too(run):
    result = run("""
@pytest.fixture
def broken(mockdify):
    ask(mockdify)
    raise ValueError

def test_setup(broken):
    pass

def test_teardown(mockdify):
    ask(mockdify, path="/nowhere")
""")
    result.assert_outcomes(passed=1, errors=2)
    assert ["/v1/chat-messages" in section(result)[0], "/v1/nowhere" in section(result)[1]] == [True, True]


def test_a_long_journal_is_cut_to_its_end(run):
    result = run("""
def test_it(mockdify):
    for _ in range(70):
        ask(mockdify)
    assert 0
""")
    (shown,) = section(result)
    assert "(10 earlier ones left out)" in shown
    assert " 11  POST" in shown
    assert " 70  POST" in shown


def test_a_test_without_requests_says_so(run):
    (shown,) = section(run("def test_it(mockdify): assert 0"))
    assert shown.endswith("no request arrived")


def test_passed_tests_and_tests_without_the_fixture_show_nothing(run):
    assert section(run("def test_a(mockdify): pass\n\ndef test_b(): assert 0")) == []


# --- xdist -----------------------------------------------------------------------------------------------------------


def test_workers_have_servers_of_their_own_and_failures_show_their_journal(run):
    result = run(
        f"""
import os

@pytest.mark.parametrize("k", range(20))
def test_many(k, mockdify):
    mockdify.app("chat").answer(str(k))
    assert ask(mockdify)[1]["answer"] == str(k)
    assert [x.text for x in mockdify.journal] == [str(k)]
    with open(f"{{os.environ['PYTEST_XDIST_WORKER']}}.txt", "w") as file:
        file.write(mockdify.base_url)
{FAILS}
""",
        *("-p", "xdist", "-n", "2", "--mockdify-profile=1.13", "--dist=load"),
        subprocess=True,
    )
    result.assert_outcomes(passed=20, failed=1)
    (shown,) = section(result)
    assert shown.startswith("seed 42, profile 1.13, ")
    urls = {Path(f"gw{k}.txt").read_text() for k in range(2)}
    assert len(urls) == 2
    for url in urls:  # and none of them is left
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(url)
