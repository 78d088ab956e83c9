"""The commands `record`, `verify`, `scrub` and `serve --cassette`, as a shell sees them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cassette_kit import in_thread, playing, recorded
from click.testing import CliRunner

from mockdify import MockDify
from mockdify.cassettes.files import load, save
from mockdify.cassettes.live import Keys
from mockdify.cli import main
from mockdify.errors import MockdifyError

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = REPOSITORY / "cassettes" / "1.16"
QUESTION = {"inputs": {}, "query": "hello", "user": "u", "response_mode": "streaming"}


def mockdify(*words):
    """(exit code, stdout, stderr)."""
    done = CliRunner().invoke(main, [str(each) for each in words])
    return done.exit_code, done.stdout, done.stderr


@contextmanager
def running(*words):
    """A command in a process of its own, and its ready line; it ends by SIGTERM unless it has ended."""
    command = [sys.executable, "-m", "mockdify", *map(str, words), "--json"]
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
    try:
        process.ready = json.loads(process.stdout.readline() or "{}")
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)


def post(url, body, key="app-chat-demo", path="/chat-messages"):
    """(status, body)."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    asked = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=20) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


# ---------------------------------------------------------------------- record
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_record_stops_cleanly_and_keeps_a_stream_that_was_under_way(cassette, tmp_path, number):
    script = tmp_path / "script.toml"
    with MockDify(pace="50ms") as dify:
        dify.app("chat").answer(chunks=["a"] * 200, when={"query": "long"})
        words = ("record", "--upstream", dify.base_url, "--cassette", cassette, "--port", "0", "--to-script", script)
        with running(*words) as recorder:
            assert recorder.ready["url"].endswith("/v1")
            assert recorder.ready["upstream"] == dify.base_url
            status, body = post(recorder.ready["url"], QUESTION)
            threading.Thread(target=_swallow, args=(recorder.ready["url"], {**QUESTION, "query": "long"})).start()
            _until(lambda: len(dify.journal) > 1 and len(dify.journal.last.events) > 2)
            recorder.send_signal(number)
            _, said = recorder.communicate(timeout=20)
    assert recorder.returncode == 0
    first, *_, last = said.splitlines()
    assert ("bytes" in first, first.endswith("1 open")) == (True, True)  # told while it runs, in a log too
    assert last.startswith("2 calls")
    assert "Traceback" not in said
    whole, cut = load(cassette)
    assert (status, whole.body, whole.cut) == (200, body, None)
    assert cut.cut == "killed"
    (rule,) = tomllib.loads(script.read_text())["answers"]
    assert rule["when"] == {"query": "hello"}


def _swallow(url, body):
    try:
        post(url, body)
    except OSError:
        pass
    except Exception:  # noqa: BLE001 - the connection ends in the middle of a chunk
        pass


def _until(holds):
    give_up = time.monotonic() + 20
    while not holds() and time.monotonic() < give_up:
        time.sleep(0.01)
    assert holds()


def test_record_refuses_what_it_cannot_do_in_one_line(cassette, tmp_path):
    cassette.write_text("- broken: [")
    for words, told in (
        (["--upstream", "nonsense", "--cassette", tmp_path / "new.yaml"], "a base URL such as"),
        (["--upstream", "http://127.0.0.1:9/v1", "--cassette", cassette], "damaged"),
        (["--upstream", "http://127.0.0.1:9/v1", "--cassette", tmp_path / "no" / "folder.yaml"], "cannot be written"),
        (["--upstream", "http://127.0.0.1:9/v1", "--cassette", tmp_path / "a.yaml", "--scrub", "/(/"], "regular"),
    ):
        code, _, said = mockdify("record", *words)
        assert (code, said.count("\n")) == (2, 1), said
        assert told in said
    assert cassette.read_text() == "- broken: ["


# ---------------------------------------------------------------------- serve
def test_serve_plays_a_cassette_to_any_key_with_a_fault_on_top(cassette):
    record = ("record", "--cassette", cassette, "--quiet", "--upstream")
    with MockDify() as dify, running(*record, dify.base_url) as recorder:
        live = post(recorder.ready["url"], QUESTION)
    with running("serve", "--cassette", cassette, "--port", "0", "--pace", "recorded") as server:
        assert post(server.ready["url"], QUESTION, key="any") == live
        status, body = post(server.ready["url"], {**QUESTION, "query": "hullo"}, key="any")
        assert (status, json.loads(body)["code"]) == (404, "mockdify_not_recorded")
    with running("serve", "--cassette", cassette, "--port", "0", "--fault", "cut; event=2", "--quiet") as server:
        for _ in range(2):
            assert post(server.ready["url"], QUESTION)[1].count(b"data: ") == 2


def test_serve_answers_like_a_recording_and_stays_stateful(cassette):
    with MockDify() as dify:
        dify.app("chat").answer(chunks=["Good ", "day"])
        with running("record", "--upstream", dify.base_url, "--cassette", cassette, "--quiet") as recorder:
            post(recorder.ready["url"], QUESTION)
    with running("serve", "--from-cassette", cassette, "--port", "0", "--seed", "9", "--quiet") as server:
        asked = {**QUESTION, "response_mode": "blocking", "user": "somebody else"}
        first = json.loads(post(server.ready["url"], asked)[1])
        second = json.loads(post(server.ready["url"], {**asked, "conversation_id": first["conversation_id"]})[1])
        assert first["answer"] == second["answer"] == "Good day"
        assert first["conversation_id"] == second["conversation_id"]
        assert first["message_id"] != second["message_id"]


def test_serve_refuses_a_cassette_that_is_not_one(cassette, tmp_path):
    assert mockdify("serve", "--cassette", tmp_path / "no.yaml")[0] == 2
    cassette.write_text("hello")
    code, _, said = mockdify("serve", "--cassette", cassette)
    assert (code, said.count("\n")) == (2, 1)
    save(cassette, [recorded()])
    code, _, said = mockdify("serve", "--cassette", cassette, "--pace", "30ms")
    assert (code, "recorded" in said) == (2, True)


# ---------------------------------------------------------------------- verify
def drifted(cassette, **said):
    body = b'{"code": "unauthorized", "message": "Access token is invalid", "status": 401, "new": 1}'
    headers = (
        ("Content-Type", "application/json"),
        ("X-Version", "1.16.1"),
        ("WWW-Authenticate", 'Bearer realm="api"'),
    )
    save(cassette, [recorded(status=401, headers=headers, body=body, **said)])
    return cassette


def test_verify_fails_at_the_grade_it_was_told(cassette):
    drifted(cassette, about={"dify": {"recorded_at": "2020-01-01T00:00:00Z"}})
    assert mockdify("verify", cassette)[0] == 0
    assert mockdify("verify", "--fail-on", "warn", cassette)[0] == 0
    code, out, _ = mockdify("verify", "--fail-on", "info", cassette)
    assert code == 1
    assert "new: is not known here" in out
    code, out, _ = mockdify("verify", "--fail-on", "warn", "--max-age", "90d", cassette)
    assert (code, "record it again" in out) == (1, True)


def test_verify_writes_reports_whole_or_not_at_all(cassette, tmp_path):
    drifted(cassette)
    reports = ["--report", f"json={tmp_path / 'r.json'}", "--report", f"html={tmp_path / 'r.html'}"]
    code, out, _ = mockdify("verify", cassette, "--json", *reports)
    assert json.loads(out) == json.loads((tmp_path / "r.json").read_text())
    assert json.loads(out)["drifts"][0]["grade"] == "info"
    assert "<table>" in (tmp_path / "r.html").read_text()
    assert mockdify("verify", cassette, "--report", f"json={tmp_path / 'no' / 'r.json'}")[0] == 2
    assert mockdify("verify", cassette, "--report", "csv=x")[0] == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["r.html", "r.json", "run.yaml"]
    assert code == 0
    assert "there is no such cassette" in mockdify("verify", tmp_path / "no.yaml")[2]


def test_verify_finds_nothing_in_the_cassettes_of_this_repository():
    code, out, _ = mockdify("verify", "--fail-on", "info", REPOSITORY / "cassettes")
    assert (code, out.splitlines()[-1].endswith("nothing drifted")) == (0, True)


# ---------------------------------------------------------------------- verify --live
def record_mock(cassette, dify):
    with running("record", "--upstream", dify.base_url, "--cassette", cassette, "--quiet") as recorder:
        url = recorder.ready["url"]
        first = json.loads(post(url, {**QUESTION, "response_mode": "blocking"})[1])
        post(url, {**QUESTION, "conversation_id": first["conversation_id"]})
        post(url, {"user": "u"}, path=f"/conversations/{first['conversation_id']}/name")
        post(url, QUESTION, key="app-agent-demo")
        post(url, {"query": "nobody"})


def test_the_mock_agrees_with_its_own_recording(cassette):
    """Also when it calls everything by other names."""
    with MockDify() as dify:
        record_mock(cassette, dify)
    save(cassette, [replace(one, about={**one.about, "app": _app(one)}) for one in load(cassette)])
    with MockDify(seed=99) as other:
        keys = [f"agent={other.app('agent').key}", other.app("chat").key]
        code, out, said = mockdify("verify", cassette, "--live", other.base_url, *_keys(keys), "--fail-on", "info")
        assert (code, said) == (0, ""), out
        assert "5 asked of the live server: nothing drifted" in out
        assert [exchange.status for exchange in other.journal] == [200, 200, 400, 200, 400]


def _app(one):
    return "agent" if b"agent_message" in one.body else "chat"


def _keys(keys):
    return [word for key in keys for word in ("--key", key)]


@pytest.mark.parametrize(("who", "code"), [("cassette", 1), ("live", 1), ("contract", 1)])
def test_the_odd_one_of_three_is_named(cassette, tmp_path, who, code):
    """One of them has a status that the others have not: a number where a text belongs."""
    with MockDify() as dify:
        record_mock(cassette, dify)
    good = load(cassette)[0]
    bad = replace(good, body=good.body.replace(b'"answer": "The mock heard: hello"', b'"answer": 7'), about={})
    assert bad.body != good.body
    played = tmp_path / "live.yaml"
    save(cassette, [good if who == "live" else bad])
    save(played, [good if who == "cassette" else bad])
    with in_thread(lambda: playing(played)) as url:
        got, out, _ = mockdify("verify", cassette, "--live", url, "--key", "app-any", "--json")
    report = json.loads(out)
    assert got == code
    assert [each["odd"] for each in report["drifts"] if "$.answer" in each["message"]] == [who]


def test_a_live_server_that_is_not_there_is_told_in_one_line(cassette):
    save(cassette, [recorded()])
    code, _, said = mockdify("verify", cassette, "--live", "http://127.0.0.1:9/v1", "--key", "app-x")
    assert (code, said.count("\n")) == (2, 1)
    assert mockdify("verify", cassette, "--live", "http://127.0.0.1:9/v1")[0] == 2
    assert mockdify("verify", cassette, "--key", "app-x")[0] == 2


def test_keys_are_one_for_all_and_one_for_single_apps():
    keys = Keys.parse(["app-all", "chat=app-chat"])
    assert keys.key_for(recorded(about={"app": "chat"})) == "app-chat"
    assert keys.key_for(recorded(about={"app": "agent"})) == keys.key_for(recorded()) == "app-all"
    with pytest.raises(MockdifyError, match="--key agent=KEY"):
        Keys.parse(["chat=app-chat"]).key_for(recorded(about={"app": "agent"}))


# ---------------------------------------------------------------------- scrub
def test_scrub_finds_what_is_left_and_shows_none_of_it(dirty):
    (dirty / "a.log").write_text("Bearer app-Zx81kQ0aLmN2pRsTuVwX and ACME-7731\n")
    code, out, _ = mockdify("scrub", "--check", "--scrub", "ACME-7731", dirty)
    assert code == 1
    assert "a.log:1" in out
    assert "Zx81kQ0aLmN2pRsTuVwX" not in out
    assert out.splitlines()[-1].startswith("2 secrets")
    (dirty / "a.log").write_text("nothing\n")
    assert mockdify("scrub", "--check", dirty)[:2] == (0, "no secret found\n")
    assert mockdify("scrub", dirty)[0] == 2
    assert mockdify("scrub", "--check", dirty / "nothing")[0] == 2
