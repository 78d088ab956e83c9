"""The command line: commands that only print run in this process, servers in one of their own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

import mockdify as package
from mockdify import __version__
from mockdify.cli import main
from mockdify.config import STARTER, load
from mockdify.faults import CATALOGUE, PRESETS
from mockdify.profiles import PROFILES

MOCKDIFY = [sys.executable, "-m", "mockdify"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("MOCKDIFY_", "DIFY_"))}
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and exit codes as POSIX has them")


def told(*words):
    """Exit code, stdout and stderr of a command in this process."""
    result = CliRunner().invoke(main, words, env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def run(*words, cwd):
    """A command in a process of its own, to its end."""
    return subprocess.run(
        [*MOCKDIFY, *words], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )


@contextmanager
def started(*words, cwd):
    """A command in a process of its own, as it goes."""
    process = subprocess.Popen(
        [*MOCKDIFY, *words], cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ready(process):
    return json.loads(process.stdout.readline())


def ask(line, app="chat", **more):
    body = {"query": "hello", "user": "u1", "inputs": {}, "response_mode": "blocking", **more}
    return httpx.post(
        line["url"] + "/chat-messages", headers={"Authorization": f"Bearer {line['keys'][app]}"}, json=body, timeout=60
    )


# --- what prints -----------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_none_has_secrets():
    code, out, _ = told("--help")
    assert code == 0
    for name in main.commands:
        command = main.commands[name]
        assert f"  {name} " in out
        assert told(name, "--help")[0] == 0
        assert command.help
    assert told("--version") == (0, f"mockdify, version {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serv"], "mockdify: there is no command 'serv'; allowed: serve, .*did you mean 'serve'"),
        (["serve", "--sed", "3"], "mockdify: No such option '--sed'"),
        (["serve", "--seed"], "mockdify: Option '--seed' requires an argument"),
        (["serve", "--seed", "x"], "mockdify: --seed: a whole number is needed, got 'x'"),
        (["serve", "--ping-interval", "0"], "mockdify: --ping-interval: a duration above zero"),
        (["serve", "--profile", "1.61"], "mockdify: --profile: unknown profile '1.61'.*did you mean '1.16'"),
        (["serve", "nowhere.yml"], "mockdify: there is no file 'nowhere.yml'"),
        (["serve", "--config", "nowhere.toml"], "mockdify: .*nowhere.toml: cannot be read"),
        (["exec"], "mockdify: which command\\? write -- before it"),
        (["exec", "true"], "mockdify: which command\\? write -- before it"),
        (["exec", "--seed", "3", "--"], "mockdify: which command\\? write it behind --"),
        (["exec", "--seed", "x", "--", "true"], "mockdify: --seed: a whole number"),
        (["profiles", "1.16"], "mockdify: name two releases to compare"),
        (["profiles", "1.16", "1.12"], "mockdify: there is no profile '1.12'"),
        (["init", "nowhere/mockdify.toml"], "mockdify: nowhere.mockdify.toml cannot be written"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = told(*words)
    assert (code, out) == (2, "")
    assert re.match(message, err)
    assert err.count("\n") == 1


def test_every_mistake_of_a_file_is_told_at_its_place(tmp_path):
    (tmp_path / "mockdify.toml").write_text('sed = 7\nprofile = "1.16"\n[[answers]]\nanswer = 3\n')
    for words in (["serve", "--port", "0"], ["exec", "--", "true"]):
        result = run(*words, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (2, "")
        assert [line.split(": ")[0:2] for line in result.stderr.splitlines()] == [
            ["mockdify", "mockdify.toml:1:1"],
            ["mockdify.toml:4:10", "answers[0].answer"],
        ]


def test_init_writes_a_file_that_holds_and_never_a_second_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = told("init")
    assert (code, out) == (0, "wrote mockdify.toml; `mockdify serve` uses it from now on\n")
    assert (tmp_path / "mockdify.toml").read_text() == STARTER
    assert load(tmp_path / "mockdify.toml").rules
    code, _, err = told("init")
    assert code == 2
    assert err.startswith("mockdify: mockdify.toml is there already")


def test_faults_lists_the_catalogue():
    code, out, _ = told("faults")
    assert code == 0
    assert [line.split("  ")[0] for line in out.splitlines()] == ["name", *CATALOGUE, *PRESETS]
    rows = json.loads(told("faults", "--json")[1])
    assert [row["name"] for row in rows] == [*CATALOGUE, *PRESETS]
    assert next(row for row in rows if row["name"] == "cut")["options"]["after"]["default"] == 0


def test_profiles_lists_releases_and_compares_two():
    assert [line.split()[:2] for line in told("profiles")[1].splitlines()] == [
        ["name", "version"],
        *([name, profile.version] for name, profile in PROFILES.items()),
    ]
    assert json.loads(told("profiles", "--json")[1])[0] == {
        "name": "1.16",
        "version": "1.16.1",
        "serves": "Dify 1.16.1",
    }
    code, out, _ = told("profiles", "1.16", "1.13.2")
    head, first, *_ = out.splitlines()
    assert (code, head.split()) == (0, ["what", "1.16", "1.13"])
    assert first.split() == ["`X-Version`", "1.16.1", "1.13.2"]
    rows = json.loads(told("profiles", "1.13", "1.16", "--json")[1])
    assert {"what": "`X-Version`", "1.13": "1.13.2", "1.16": "1.16.1"} in rows
    assert told("profiles", "1.16", "1.16") == (0, "", "")


def test_a_terminal_gets_a_table_with_every_row(monkeypatch, capsys):
    from mockdify import listing

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    listing.show(listing.profile_rows(), as_json=False)
    listing.show([], as_json=False)
    shown = capsys.readouterr().out
    assert "1.16.1" in shown
    assert "version" in shown


# --- serve -----------------------------------------------------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_prints_one_line_and_ends_within_a_second_of_a_signal(number, tmp_path):
    with started("serve", "--port", "0", "--json", "--pace", "60s", cwd=tmp_path) as process:
        line = ready(process)
        assert list(line) == ["url", "admin", "profile", "seed", "keys"]
        assert line["keys"]["chat"] == "app-chat-demo"
        port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/v1", line["url"])[1])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
            body = b'{"query": "a b c", "user": "u1", "inputs": {}, "response_mode": "streaming"}'
            stream.sendall(
                b"POST /v1/chat-messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer app-chat-demo\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            while b"data: " not in stream.recv(65536):
                pass
            begun = time.perf_counter()
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
            assert time.perf_counter() - begun < 1
        assert (process.returncode, out) == (0, "")
        assert re.fullmatch(r"POST /v1/chat-messages chat u1 200 [\d.]+ms \((client gone|reset)\)\n", err)


def test_serve_without_json_shows_what_to_paste(tmp_path):
    with started("serve", "--port", "0", "--quiet", cwd=tmp_path) as process:
        shown = ""
        while "Stop with" not in shown:
            shown += process.stdout.readline()
        assert re.search(r"serves Dify 1\.16\.1 at http://127\.0\.0\.1:\d+/v1", shown)
        assert "app-chat-demo" in shown
        assert "curl -N" in shown


def test_a_port_in_use_is_one_message(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words in (["serve", "--port", str(port)], ["exec", "--port", str(port), "--", "true"]):
            result = run(*words, cwd=tmp_path)
            assert (result.returncode, result.stdout) == (2, "")
            assert re.fullmatch(
                f"mockdify: cannot listen on 127.0.0.1:{port}: .*; choose another port, or 0 for a free one\n",
                result.stderr,
            )


def test_two_servers_on_free_ports_live_side_by_side(tmp_path):
    words = ("serve", "--port", "0", "--json")
    with started(*words, cwd=tmp_path) as one, started(*words, "--profile", "1.13", cwd=tmp_path) as other:
        versions = [ask(ready(process)).headers["x-version"] for process in (one, other)]
        assert versions == ["1.16.1", "1.13.2"]


# --- exec ------------------------------------------------------------------------------------------------------------

CLIENT = """
import json, os, sys, urllib.error, urllib.request

def call(path, key=os.environ["DIFY_API_KEY"], **said):
    body = json.dumps({"query": "hello", "user": "u1", "inputs": {}, "response_mode": "blocking", **said}).encode()
    headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(os.environ["DIFY_BASE_URL"] + path, body, headers)) as reply:
            print(reply.status)
    except urllib.error.HTTPError as refused:
        print(refused.code)
        refused.close()
"""


def executed(code, *options, cwd):
    return run("exec", *options, "--", sys.executable, "-c", CLIENT + code, cwd=cwd)


def test_exec_lends_a_server_to_a_command_and_takes_over_its_code(tmp_path):
    code = "call('/chat-messages'); print(*sorted(n for n in os.environ if n.startswith('DIFY_'))); sys.exit(7)"
    result = executed(code, cwd=tmp_path)
    assert result.returncode == 7
    names = "AGENT_KEY API_KEY BASE_URL CHATFLOW_KEY CHAT_KEY COMPLETION_KEY DATASET_KEY WORKFLOW_KEY"
    assert result.stdout.split() == ["200", *(f"DIFY_{name}" for name in names.split())]
    first, last = result.stderr.splitlines()
    assert re.match(r"mockdify: serving Dify 1\.16\.1 at http://127\.0\.0\.1:\d+/v1 for: .*python\S* -c …$", first)
    assert last == "mockdify: 1 request, nothing wrong"


def test_exec_says_what_the_client_did_wrong(tmp_path):
    (tmp_path / "mockdify.toml").write_text(
        "port = 1\n[[faults]]\nfault = 'rate-limit'\non = 'POST /v1/chat-messages'\ntimes = 2\n"
    )
    code = "call('/chat-message'); call('/chat-message'); call('/parameters'); call('/chat-messages', 'nobody')"
    result = executed(code, "--quiet", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.split() == ["404", "404", "405", "401"]
    head, *wrong = result.stderr.splitlines()
    assert head == "mockdify: 4 requests; what the client did wrong:"
    assert wrong[0] == "  unknown path: POST /v1/chat-message; did you mean /v1/chat-messages? (2 times)"
    assert wrong[-2:] == [
        "  POST /v1/parameters 405 method_not_allowed: The method is not allowed for the requested URL.",
        "  POST /v1/chat-messages 401 unauthorized: Access token is invalid",
    ]


def test_exec_serves_the_apps_that_stand_before_the_command(tmp_path):
    export = (Path(package.__file__).parent / "demo" / "chat.yml").read_text("utf-8")
    (tmp_path / "support.yml").write_text(export, "utf-8")
    result = run(
        "exec",
        "support.yml",
        "--quiet",
        "--",
        sys.executable,
        "-c",
        "import os; print(os.environ['DIFY_SUPPORT_KEY'], os.environ['DIFY_API_KEY'])",
        "--",
        cwd=tmp_path,
    )
    assert result.stdout == "app-support app-support\n"
    assert result.stderr.startswith("mockdify: no request arrived: does the command read DIFY_BASE_URL")


@POSIX
def test_exec_ends_as_a_shell_would(tmp_path):
    (tmp_path / "plain.txt").write_text("no program")
    for words, code, message in [
        (
            ["no-such-command-anywhere"],
            127,
            r"command not found: no-such-command-anywhere; is it installed and on PATH\?",
        ),
        ([str(tmp_path / "plain.txt")], 126, "cannot run .*plain.txt: Permission denied"),
        ([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], 137, "no request arrived.*"),
    ]:
        result = run("exec", "--quiet", "--", *words, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (code, "")
        assert re.fullmatch(f"mockdify: {message}\n", result.stderr)


@POSIX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_exec_hands_signals_to_the_command(number, tmp_path):
    code = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(3))\n"
        "print('ready', flush=True)\n"
        "signal.pause()"
    )
    with started("exec", "--quiet", "--", sys.executable, "-c", code, cwd=tmp_path) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == 3
