"""`--watch`: what changes on disk is served, what a run has made stays."""

import asyncio
import contextlib
import shutil
import time
from pathlib import Path

import pytest
from live import answer_of, request, said_to

import mockdify
from mockdify import cli, config, watching
from mockdify.engine import Engine

DEMO = Path(mockdify.__file__).parent / "demo"


class Served:
    """An engine over the files of a folder, and its watch."""

    def __init__(self, folder, *words, toml=None):
        self.folder = folder
        for word in words:
            (folder / word).parent.mkdir(exist_ok=True)
            shutil.copy(DEMO / "chat.yml", folder / word)
        if toml is not None:
            self.write("mockdify.toml", toml)
        apps = tuple(map(Path, words))
        loaded = cli._loaded(apps, None)
        template, _ = cli._prepared(loaded, {})
        self.engine = Engine(template, time=time.time)
        self.sources = cli._sources(loaded, apps, None, {})

    def write(self, name, text):
        (self.folder / name).write_text(text, "utf-8")

    def anew(self):
        """What a changed file makes of it."""
        template, self.sources = self.sources.load()
        return watching.adopt(self.engine, template)

    def say(self, query="hi", app="support", **more):
        body = said_to("chat", query, mode="blocking", **more)
        return answer_of(self.engine, request("POST", "/v1/chat-messages", body, key=f"app-{app}"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_answers_change_and_conversations_stay(here):
    served = Served(here, "support.yml", toml='[defaults]\nanswer = "one"')
    first = served.say().json
    assert first["answer"] == "one"
    served.write("mockdify.toml", '[defaults]\nanswer = "two"')
    assert served.anew() == []
    assert served.say(conversation_id=first["conversation_id"]).json["answer"] == "two"
    assert len(served.engine.default.journal) == 2


def test_what_was_added_in_a_run_stays_before_what_the_file_says(here):
    served = Served(here, "support.yml", toml='[defaults]\nanswer = "file"')
    served.engine.default.script.add(config.rule_from({"answer": "added", "when": {"query": "hi"}}))
    served.write("mockdify.toml", '[[answers]]\nanswer = "file anew"')
    served.anew()
    assert [served.say(query).json["answer"] for query in ("hi", "ho")] == ["added", "file anew"]


def test_an_app_changes_comes_and_goes(here):
    served = Served(here, "support.yml", "sales.yml")
    assert served.say(app="sales").status == 200
    text = (here / "support.yml").read_text("utf-8")
    served.write("support.yml", text.replace("mode: chat", "mode: completion", 1))
    served.anew()
    assert served.say().code == "not_chat_app"
    served.write("mockdify.toml", '[[apps]]\ndsl = "extra.yml"')
    shutil.copy(DEMO / "chat.yml", here / "extra.yml")
    served.anew()
    assert served.say(app="extra").status == 200
    served.write("mockdify.toml", "")
    served.anew()
    assert served.say(app="extra").status == 401
    assert served.say(app="sales").status == 200


def test_a_workspace_of_some_apps_gets_no_further_ones(here):
    served = Served(here, "support.yml", "sales.yml")
    engine = served.engine
    few = cli.replace(engine.template, apps=engine.template.apps[:1])
    other = engine.further(few)
    served.write("mockdify.toml", '[defaults]\nanswer = "two"')
    served.anew()
    assert list(other.apps) == ["support"]
    assert list(engine.further().apps) == ["support", "sales"]


def test_what_holds_for_the_whole_server_waits_for_a_restart_and_is_named(here):
    served = Served(here, "support.yml", toml="seed = 1")
    served.write("mockdify.toml", 'seed = 2\nprofile = "1.13"')
    assert served.anew() == ["after a restart: profile, seed"]
    assert served.engine.default.profile.name == "1.16"


@pytest.mark.parametrize("what", ["support.yml", "mockdify.toml", "more"])
def test_every_source_is_looked_at(here, what):
    """Also a configuration that was not there, and a file that is new in a folder."""
    (here / "more").mkdir()
    shutil.copy(DEMO / "agent.yml", here / "more" / "a.yml")
    shutil.copy(DEMO / "chat.yml", here / "support.yml")
    apps = (Path("support.yml"), Path("more"))
    sources = cli._sources(cli._loaded(apps, None), apps, None, {})
    before = sources.stamp()
    assert sources.stamp() == before
    if what == "more":
        shutil.copy(DEMO / "chat.yml", here / "more" / "b.yml")
    else:
        (here / what).write_text("# something else", "utf-8")
    assert sources.stamp() != before


def test_a_mistake_leaves_everything_as_it_was_until_it_is_corrected(here, capsys):
    served = Served(here, "support.yml", toml='[defaults]\nanswer = "one"')

    async def run():
        task = asyncio.create_task(watching.watch(served.engine, served.sources, interval=0.001))
        await asyncio.sleep(0)
        for text, said in (("answer = ", "not TOML"), ('[defaults]\nanswer = "two"\n', "loaded anew: mockdify.toml")):
            served.write("mockdify.toml", text)
            shown = ""
            while said not in shown:
                await asyncio.sleep(0.001)
                shown += capsys.readouterr().err
            assert "Traceback" not in shown
            answers.append(served.say().json["answer"])
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    answers = []
    asyncio.run(asyncio.wait_for(run(), 20))
    assert answers == ["one", "two"]
