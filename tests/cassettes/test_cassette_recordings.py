"""The cassettes of this repository: whole, clean, playable, and what the recordings say."""

import json
import re
import runpy
from pathlib import Path

import pytest
import yaml

from mockdify import MockDify
from mockdify.cassettes.files import load
from mockdify.cassettes.interaction import Interaction
from mockdify.cassettes.live import Keys, verify_live
from mockdify.cassettes.match import recorded_request
from mockdify.cassettes.replay import Play, Player, steps
from mockdify.cassettes.scrub import Scrubber, check
from mockdify.steps import Body

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "cassettes"
FILES = sorted(FOLDER.glob("*/*.yaml"))
NOT_SERVED = re.compile("-human|newagent")
"""Apps of kinds that the mock does not have: graphs that wait for a person, agents with a workspace of their own."""
SOURCES = REPOSITORY.parent / "shared" / "dify"


def name(path):
    return f"{path.parent.name}/{path.stem}"


def test_there_are_enough_of_them_and_they_are_small():
    assert len(FILES) >= 20
    assert sum(path.stat().st_size for path in FILES) < 4_000_000


@pytest.mark.parametrize("path", FILES, ids=name)
def test_each_is_whole_and_says_where_it_comes_from(path):
    interactions = load(path)
    raw = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)["interactions"]
    assert [Interaction.from_vcr(each) for each in raw] == interactions
    for each in interactions:
        assert each.dify["version"].startswith(path.parent.name)
        assert each.dify["profile"] == path.parent.name
        assert each.dify["recorded_at"].startswith("2026-11-22T")
        assert each.dify["note"] == f"recorded from a real Dify {each.dify['version']} with a scripted model"


def test_no_secret_is_left():
    assert check([FOLDER]) == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_recorded_request_finds_its_own_reply(path):
    """Asked in order, each gets the reply that stands with it, byte for byte."""
    player = Player.load(path)
    for index, each in enumerate(player.interactions):
        play = player.find(recorded_request(each))
        assert isinstance(play, Play), str(play)
        assert play.index == index
        assert b"".join(step.data for step in steps(play) if isinstance(step, Body)) == each.body
    assert player.unplayed == []


@pytest.mark.parametrize("release", ["1.13", "1.16"])
def test_every_mode_and_error_family_is_there(release):
    interactions = [each for path in FILES if path.parent.name == release for each in load(path)]
    routes = {(each.method, each.uri.partition("/v1/")[2].split("?")[0]) for each in interactions}
    assert {("POST", "chat-messages"), ("POST", "completion-messages"), ("POST", "workflows/run")} <= routes
    assert {"chat", "completion", "chatflow", "workflow", "agent", "dataset"} <= {
        each.about["app"] for each in interactions
    }
    assert {200, 201, 204, 308, 400, 401, 404, 405, 415, 500} <= {each.status for each in interactions}
    bodies = b"\n".join(each.body for each in interactions)
    families = ["invalid_param", "unauthorized", "not_found", "not_chat_app", "not_workflow_app", "app_unavailable"]
    families += ["completion_request_error", "bad_request", "unknown", "unsupported_media_type", "method_not_allowed"]
    families += [
        "no_file_uploaded",
        "unsupported_file_type",
        "unsupported_audio_type",
        "file_not_found",
        "invalid_action",
    ]
    assert [each for each in families if each.encode() not in bodies] == []


@pytest.mark.parametrize("version", ["1.13.2", "1.16.1"])
def test_they_are_what_the_recordings_say(version, tmp_path):
    """Built again they are the same files; bodies are the recorded ones, but for what was scrubbed."""
    source = SOURCES / f"recordings-{version}.jsonl"
    if not source.exists():
        pytest.skip("the raw recordings are not here")
    script = runpy.run_path(str(FOLDER / "build.py"))
    script["build"](source, tmp_path)
    release = version.rpartition(".")[0]
    built = {path.name: path.read_bytes() for path in (tmp_path / release).iterdir()}
    assert built == {path.name: path.read_bytes() for path in (FOLDER / release).iterdir()}
    kept = {each.about["case"]: each for path in (FOLDER / release).iterdir() for each in load(path)}
    rows = [json.loads(line) for line in source.read_bytes().split(b"\n") if line]
    assert {row["name"] for row in rows if "@" not in row["name"]} - set(kept) == {"http.garbage_request"}
    for row in rows:
        if row["name"] in kept:
            raw = script["interaction"](row, "", version)
            assert kept[row["name"]].status == row["response"]["status"]
            assert kept[row["name"]].body == raw.body or b"<" in kept[row["name"]].body
            assert Scrubber()(kept[row["name"]]) == kept[row["name"]]


@pytest.mark.parametrize("release", ["1.13", "1.16"])
def test_the_mock_answers_as_they_do(release):
    """Asked the same in the same order, with the apps and the model that were recorded."""
    configuration = SOURCES / f"oracle-{release}.toml"
    if not configuration.exists():
        pytest.skip("the recorded apps are not here")
    with MockDify(config=configuration, pace="instant") as dify:
        # An app that is not there any more has no key: its recordings say what is answered to a wrong one.
        keys = Keys(default="app-none", of_app=dify.keys)
        report = verify_live([FOLDER / release], dify.base_url, keys)
    app_of = {(str(path), n): str(each.about["app"]) for path in FILES for n, each in enumerate(load(path), start=1)}
    wrong = {(each.cassette, each.interaction) for each in report.drifts if each.grade == "error"}
    wrong = {each for each in wrong if not NOT_SERVED.search(app_of[each])}
    # What somebody did through the web page in between is in no recording: four answers lean on that.
    assert len(wrong) <= 4, wrong
    assert report.asked > 350
