"""`mockdify doctor`: what it finds, what it says to do, and what it never prints."""

import json
import socket
import sys
from importlib import metadata

import pytest
from click.testing import CliRunner

from mockdify import MockDify, doctor
from mockdify.cli import main
from mockdify.settings import Settings


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """No configuration, no port of somebody else's, no program that takes its time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOCKDIFY_PORT", "0")
    for name in ("DIFY_BASE_URL", "DIFY_API_KEY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor, "_node", lambda: iter(()))


def examined(*words):
    """Exit code and findings by what they are about; the text for people has them too."""
    result = CliRunner().invoke(main, ["doctor", *words, "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    said = json.loads(result.stdout)
    assert said["ok"] == (result.exit_code == 0) == (not said["errors"])
    return result.exit_code, {one["about"]: one for one in said["checks"]}


def test_a_sound_setup_is_exit_0_and_says_what_is_there():
    code, found = examined()
    assert code == 0
    assert {one["level"] for one in found.values()} <= {"ok", "warn"}
    assert found["python"]["found"].startswith(".".join(map(str, sys.version_info[:3])))
    assert f"aiohttp {metadata.version('aiohttp')}" in found["packages"]["found"]
    assert "chat (chat)" in found["apps"]["found"]
    assert "came through" in found["loopback"]["found"]
    assert all(one["do"] for one in found.values() if one["level"] != "ok")


def test_people_get_a_line_a_thing_and_a_sum():
    result = CliRunner().invoke(main, ["doctor", "nowhere.yml"])
    assert result.exit_code == 1
    *lines, last = result.stdout.splitlines()
    assert any(line.startswith("error  configuration  there is no file 'nowhere.yml'") for line in lines)
    assert any(line.strip().startswith("→ ") for line in lines)
    assert last.startswith("1 error, ")


@pytest.mark.parametrize(
    ("file", "text", "about", "found"),
    [
        ("mockdify.toml", "sed = 7", "configuration", "mockdify.toml:1:1: unknown key 'sed'"),
        ("mockdify.toml", "seed = ", "configuration", "mockdify.toml:1:8: not TOML"),
        ("mockdify.toml", '[[faults]]\nfault = "cutt"', "configuration", "did you mean"),
        ("support.yml", "app: [", "configuration", "support.yml:"),
        ("support.yml", "kind: app", "configuration", "support.yml"),
    ],
)
def test_a_file_with_a_mistake_is_an_error_at_its_place(file, text, about, found, tmp_path):
    (tmp_path / file).write_text(text)
    code, findings = examined(*([file] if file.endswith("yml") else []))
    assert code == 1
    assert findings[about]["level"] == "error"
    assert found in findings[about]["found"]


def test_the_configuration_that_holds_is_named(tmp_path):
    (tmp_path / "mockdify.toml").write_text('profile = "1.13"\n[[faults]]\nfault = "cut"\n')
    _, found = examined()
    assert "mockdify.toml: 1 fault, profile 1.13" in found["configuration"]["found"]


def test_a_graph_that_cannot_be_read_is_told_before_its_first_run(tmp_path):
    (tmp_path / "flow.yml").write_text(
        "kind: app\nversion: 0.6.0\napp: {mode: workflow, name: x}\nworkflow: {graph: {nodes: 3, edges: []}}\n"
    )
    code, found = examined("flow.yml")
    assert code == 1
    assert "flow.yml" in "".join(one["found"] for one in found.values() if one["level"] == "error")


def test_a_cassette_is_read(tmp_path):
    (tmp_path / "bad.yaml").write_text("interactions: 3")
    code, found = examined("--cassette", "bad.yaml")
    assert (code, found["configuration"]["level"]) == (1, "error")
    (tmp_path / "empty.yaml").write_text("interactions: []\nversion: 1\n")
    _, found = examined("--cassette", "empty.yaml")
    assert found["cassettes"]["level"] == "warn"


def test_a_port_that_is_taken_is_an_error_unless_a_mockdify_has_it():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.close()  # nobody answers who it is
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        code, found = examined("--port", str(taken.getsockname()[1]))
        assert (code, found["port"]["level"]) == (1, "error")
    with MockDify() as server:
        port = server.base_url.split(":")[2].split("/")[0]
        code, found = examined("--port", port)
        assert (code, found["port"]["level"]) == (0, "warn")
        assert "a mockdify listens" in found["port"]["found"]


def test_an_open_door_is_a_warning():
    found = list(doctor._port(Settings(host="0.0.0.0", port=0)))
    assert [one.level for one in found] == ["warn", "warn", "ok"]


def test_variables_that_nothing_reads_are_named(monkeypatch):
    monkeypatch.setenv("MOCKDIFY_SED", "7")
    monkeypatch.setenv("MOCKDIFY_COLOUR_OF_THE_SKY", "blue")
    _, found = examined()
    assert found["environment"]["level"] == "warn"
    rows = list(doctor._variables(doctor.Setup(config=None, prepare=None, environ={"MOCKDIFY_SED": "7"})))
    assert rows[0].do == "rename it to MOCKDIFY_SEED, or unset it"


@pytest.mark.parametrize(
    ("url", "level"),
    [("http://127.0.0.1:5001/v1", "ok"), ("https://api.dify.ai/v1", "warn"), ("api.dify.ai", "warn")],
)
def test_a_client_that_would_ask_the_real_thing_is_noticed(url, level, monkeypatch):
    monkeypatch.setenv("DIFY_BASE_URL", url)
    _, found = examined()
    assert found["DIFY_BASE_URL"]["level"] == level


def test_a_proxy_for_loopback_is_noticed(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert [one.level for one in doctor._proxy()] == ["warn"]
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    assert [one.level for one in doctor._proxy()] == ["ok"]


def test_an_upstream_is_asked_only_when_it_is_named(mockdify, monkeypatch):
    chat = mockdify.app("chat")
    monkeypatch.setenv("DIFY_BASE_URL", mockdify.base_url)
    _, found = examined()
    assert "upstream" not in found
    assert len(mockdify.journal) == 0
    _, found = examined("--upstream", mockdify.base_url)
    assert (found["upstream"]["level"], found["upstream"]["found"]) == (
        "ok",
        "127.0.0.1 answers 401 (Dify 1.16.1): it wants a key",
    )
    monkeypatch.setenv("DIFY_API_KEY", chat.key)
    _, found = examined("--upstream", mockdify.base_url)
    assert found["upstream"]["found"] == "127.0.0.1 answers 200 (Dify 1.16.1); DIFY_API_KEY is taken"
    monkeypatch.setenv("DIFY_API_KEY", "app-nobody")
    code, found = examined("--upstream", mockdify.base_url)
    assert (code, found["upstream"]["level"]) == (1, "error")


@pytest.mark.parametrize("url", ["api.dify.ai/v1", "http://127.0.0.1:1/v1", "http://"])
def test_an_upstream_that_is_not_there_is_an_error(url):
    code, found = examined("--upstream", url)
    assert (code, found["upstream"]["level"]) == (1, "error")


def test_no_secret_is_printed(tmp_path, monkeypatch):
    secrets = ("app-production-canary", "odd.canary.token", "canaryadmin", "canarypassword", "canary-env-key")
    (tmp_path / "support.yml").write_text("kind: app\nversion: 0.6.0\napp: {mode: chat, name: x}\nmodel_config: {}\n")
    (tmp_path / "mockdify.toml").write_text(
        f'admin_token = "{secrets[2]}"\n[[apps]]\ndsl = "support.yml"\n'
        f'keys = {{ a = "{secrets[0]}", b = "{secrets[1]}", c = "{secrets[1]}" }}\n'
    )
    monkeypatch.setenv("DIFY_API_KEY", secrets[4])
    monkeypatch.setenv("DIFY_BASE_URL", f"http://me:{secrets[3]}@127.0.0.1:9/v1")
    for words in (["--json"], [], ["--upstream", f"http://me:{secrets[3]}@127.0.0.1:9/v1"]):
        shown = CliRunner().invoke(main, ["doctor", *words]).output
        assert [secret for secret in secrets if secret in shown] == []
    assert "taken already" in shown


@pytest.mark.parametrize(
    ("version", "bounds", "fits"),
    [
        ("9.4.2", ">=9.4.2,<10", True),
        ("10.0", ">=9.4.2,<10", False),
        ("9.4", ">=9.4.2", False),
        ("3.1.6.post1", ">=3.1.6", True),
        ("1.0", "", True),
    ],
)
def test_versions_are_held_against_their_bounds(version, bounds, fits):
    assert doctor._fits(version, bounds) == fits


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(
        metadata, "requires", lambda _: ["aiohttp>=999", "no-such-package>=1", "pytest>=1; extra == 'test'"]
    )
    missing, there = doctor._packages()
    assert (missing.level, there.level) == ("error", "ok")
    assert "no-such-package is not installed" in missing.found
    assert ">=999" in missing.found
