"""Names of apps and nodes that are not there are told, with their place, and hinder nothing."""

import shutil
from pathlib import Path

import pytest

import mockdify
from mockdify import cli
from mockdify.loose_ends import loose_ends

DEMO = Path(mockdify.__file__).parent / "demo"
SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def told(config, apps=()):
    loaded = cli._loaded(apps, config)
    return loose_ends(loaded, cli._prepared(loaded, {})[0])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("chat", "workflow"):
        shutil.copy(DEMO / f"{name}.yml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (
            '[[answers]]\nanswer = "x"\nwhen = { app = "chta" }',
            "mockdify.toml:3:16: there is no app 'chta', so this never happens; did you mean 'chat'?",
        ),
        (
            '[[faults]]\nfault = "cut"\nwhen = { app = "zzz" }',
            (
                "mockdify.toml:3:16: there is no app 'zzz', so this never happens; there are: agent, chat, chatflow, "
                "completion, workflow"
            ),
        ),
        (
            '[[apps]]\ndsl = "workflow.yml"\n[[apps.nodes]]\nnode = "lllm"\nfails = "x"',
            "mockdify.toml:4:8: there is no node 'lllm' of app 'workflow', so this never happens; did you mean 'llm'?",
        ),
        (
            '[[apps]]\ndsl = "workflow.yml"\n[[apps.answers]]\nanswer = "x"\nwhen = { node = "lllm" }',
            "mockdify.toml:5:17: there is no node 'lllm' of app 'workflow', so this never happens; did you mean 'llm'?",
        ),
        (
            '[[apps]]\ndsl = "chat.yml"\n[[apps.nodes]]\nnode = "llm"\nfails = "x"',
            "mockdify.toml:4:8: there is no node 'llm' of app 'chat', so this never happens; there is none",
        ),
        (
            '[[answers]]\nanswer = "x"\nwhen = { node = "lllm" }',
            "mockdify.toml:3:17: there is no node 'lllm', so this never happens; did you mean 'llm'?",
        ),
    ],
)
def test_a_name_that_is_not_there_is_told(here, toml, line):
    (here / "mockdify.toml").write_text(toml)
    assert told(None) == [line]


def test_names_that_are_there_are_not_told(here):
    (here / "mockdify.toml").write_text(
        '[[apps]]\ndsl = "workflow.yml"\n[[apps.nodes]]\nnode = "llm"\nfails = "x"\n'
        '[[apps]]\ndsl = "chat.yml"\n[[answers]]\nanswer = "x"\nwhen = { app = "chat", node = "llm" }\n'
        '[[faults]]\nfault = "cut"\nwhen = { app = "workflow" }\n'
    )
    assert told(None) == []


@pytest.mark.parametrize("name", ["oracle-1.16.toml", "oracle-1.13.toml"])
def test_a_large_configuration_that_is_right_has_none(name):
    config = SHARED / "dify" / name
    if not config.exists():
        pytest.skip(f"{config} is not here")
    assert told(config) == []
