"""The documentation is true: code runs, commands parse, tables say what the program says, links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import aiohttp
import click
import doc_pages
import httpx
import jinja2.sandbox
import jsonschema
import pytest
import requests
import vcr
import yaml
from doc_pages import PAGES, ROOT, TEXTS, Block, blocks

import mockdify
import mockdify.background
import mockdify.cassettes.proxy
import mockdify.cassettes.replay
import mockdify.contracts
from mockdify import cli, config, engine, intake, journal, pytest_plugin, templates
from mockdify.apps import DEMO_KEYS, DEMO_MODES
from mockdify.assemble import template_of
from mockdify.contracts import Contracts
from mockdify.errors import MockdifyError
from mockdify.graph.nodes import KINDS
from mockdify.model import FAILURES
from mockdify.settings import SETTINGS, Settings

IMPORTED_ONCE = (aiohttp, httpx, jinja2.sandbox, jsonschema, requests, vcr, mockdify.background)
"""An inner run forgets what it imported first, so pages would pay for these again and again."""

CONFIGURATION = ROOT / "docs" / "configuration.md"
CLI = ROOT / "docs" / "cli.md"
DEMO = Path(mockdify.__file__).parent / "demo"


def _id(value):
    if isinstance(value, Block):
        return value.place
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


def _all(*languages, word=""):
    return [one for page in PAGES for one in blocks(page, *languages) if one.word == word]


# ---------------------------------------------------------------------- Python
def _exports(folder, some):
    """The DSL files that blocks name, as copies of demo apps: a page need not print one to load it."""
    named = {name for one in some for name in re.findall(r"[\w./-]+\.yml", one.code)}
    for name in named:
        kind = next((kind for kind in ("chatflow", "workflow", "agent", "completion") if kind in name), "chat")
        path = folder / name
        if not path.exists() and path.resolve().is_relative_to(folder.resolve()):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(DEMO / f"{kind}.yml", path)


def _inner_run(pytester, page, some):
    """Run *some* Python blocks of *page* as one test module, its files beside it."""
    for one in blocks(page):
        if one.word == "file":
            path = pytester.path / one.said
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(one.code, "utf-8")
    _exports(pytester.path, blocks(page, "python", "toml"))
    # Named as no test of ours is: in one process, two modules of one name are one.
    pytester.makepyfile(**{f"test_page_{page.stem.replace('.', '_').replace('-', '_')}": doc_pages.as_module(some)})
    plugins = ["-p", "no:mockdify", "-p", "mockdify.pytest_plugin", "-p", "no:randomly", "-p", "no:cacheprovider"]
    return pytester.runpytest_inprocess(*plugins, "-W", "error", "--strict-markers", "-q")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=_id)
def test_python_of_a_page_runs(page, pytester):
    """All blocks of a page are one module, in order; what is called `test_` in it passes."""
    some = [one for one in blocks(page, "python") if not one.word]
    result = _inner_run(pytester, page, some)
    tests = sum(len(re.findall(r"^def test_", one.code, re.MULTILINE)) for one in some)
    outcomes = result.parseoutcomes()
    assert result.ret in ((0,) if tests else (5,)), result.stdout.str()
    assert outcomes.get("passed", 0) >= tests, f"tests of one name? {outcomes}"


@pytest.mark.parametrize("block", _all("python", word="fails"), ids=_id)
def test_python_that_should_fail_fails_as_the_page_says(block, pytester):
    result = _inner_run(pytester, block.page, [block])
    assert result.ret == 1
    assert block.said in result.stdout.str()


@pytest.mark.parametrize("block", [one for page in PAGES for one in blocks(page) if one.word == "from"], ids=_id)
def test_a_block_out_of_an_example_is_as_it_stands_there(block):
    path, _, _ = block.said.partition("::")
    assert block.code.strip() in (ROOT / path).read_text("utf-8"), f"{block.place} differs from {path}"


# ---------------------------------------------------------------------- data
@pytest.mark.parametrize("block", [*_all("toml"), *_all("toml", word="file")], ids=_id)
def test_a_configuration_loads(block, tmp_path):
    """With everything that a server looks at before it starts: apps, keys, faults, limits."""
    name = "pyproject.toml" if "tool" in tomllib.loads(block.code) else "mockdify.toml"
    (tmp_path / name).write_text(block.code, "utf-8")
    _exports(tmp_path, [block])
    loaded = config.load(tmp_path / name)
    template_of(loaded, config.merge({}, {}, loaded.given))


@pytest.mark.parametrize("block", [*_all("json"), *_all("yaml")], ids=_id)
def test_data_is_well_formed(block):
    assert json.loads(block.code) if block.language == "json" else yaml.safe_load(block.code)


def test_javascript_is_well_formed(tmp_path):
    if shutil.which("node") is None:
        pytest.skip("there is no node here")
    for block in _all("js"):
        path = tmp_path / "block.mjs"
        path.write_text(block.code, "utf-8")
        subprocess.run(["node", "--check", str(path)], check=True)


# ---------------------------------------------------------------------- commands
SHELLS = ("console", "sh", "bash")
COMMANDS = [(one, line) for one in _all(*SHELLS) for line in doc_pages.commands(one)]


@pytest.mark.parametrize(("block", "line"), [pair for pair in COMMANDS if pair[1].startswith("curl ")], ids=_id)
def test_curl_commands_are_answered(block, line, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = shlex.split(line)
    with mockdify.MockDify() as server:
        root = server.base_url.removesuffix("/v1")
        asked = [re.sub(r"^http://(127\.0\.0\.1|localhost):5001", root, word) for word in words]
        code = ["-sS", "--max-time", "20", "-w", "\n%{http_code}"]
        done = subprocess.run([*asked, *code], check=True, capture_output=True, text=True, cwd=tmp_path)
    *_, status = done.stdout.splitlines()
    wants_error = "!" in line or "X-Mockdify-Fault" in line
    assert (int(status) >= 400) == wants_error, done.stdout


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=_id)
def test_mockdify_commands_exist_with_these_options(block, line, tmp_path, monkeypatch):
    """Every `mockdify …` is read as click reads it, and not run. The reader's files are there."""
    words = shlex.split(line, comments=True)
    monkeypatch.chdir(tmp_path)
    for word in words:
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/", word):
            (tmp_path / word).mkdir(parents=True)
        elif re.fullmatch(r"([\w.-]+/)*[\w-]+\.ya?ml", word):
            (tmp_path / word).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / word).touch()
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    if not words or Path(words[0]).name != "mockdify":
        return
    _parse(words[1:])


def _parse(words):
    if not words or words[0].startswith("-"):
        assert words in (["--help"], ["--version"], ["-h"])
        return
    # With the parent that it really has: click keeps the help option of whoever asks first.
    context = click.Context(cli.main, info_name="mockdify", **cli.main.context_settings)
    command = cli.main
    while isinstance(command, click.Group):
        name, *words = words
        command = command.commands[name]
        context = command.make_context(name, list(words), parent=context)
        words = [*context._protected_args, *context.args] if isinstance(command, click.Group) else []


@pytest.mark.parametrize("page", TEXTS, ids=_id)
def test_commands_in_running_text_exist(page):
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`mockdify ([a-z]+)", text))
    assert named <= set(cli.main.commands)


# ---------------------------------------------------------------------- the command line's page
def _build():
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_command_line_shows_the_help_as_it_is():
    text = CLI.read_text("utf-8")
    rebuilt = _build().with_help(text)
    assert rebuilt.split() == text.split(), "docs/cli.md is behind the program: python docs/build.py"


@pytest.mark.parametrize("name", list(cli.main.commands))
def test_every_command_has_its_words(name):
    """A heading, a sentence or more by hand, and the help."""
    text = CLI.read_text("utf-8")
    _, found, rest = text.partition(f"\n## `mockdify {name}`\n")
    assert found, f"docs/cli.md has no section for `mockdify {name}`"
    assert len(rest.split("<!-- help", 1)[0].split()) >= 5, "say in a sentence what it is for"


# ---------------------------------------------------------------------- the configuration's page
def _said(value):
    """A default as the page writes it."""
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return f"`{value}`"


_DEFAULTS_AS_WRITTEN = {
    "pace": "`instant`",
    "clock": "`real`",
    "ping_interval": "`10s`",
    "silence": "`300s`",
    "keepalive": "`75s`",
}


def _options(command):
    return {option.name: option.opts[0] for option in command.params if isinstance(option, click.Option)}


def test_the_table_of_settings_is_the_programs():
    """Name, flag of `serve`, variable, default: each as the code has it."""
    rows = doc_pages.table(CONFIGURATION, "## Settings")
    flags = _options(cli.main.commands["serve"])
    wanted = [
        [
            f"`{name}`",
            f"`{flags[name]}`" if name in flags else "-",
            f"`MOCKDIFY_{name.upper()}`",
            _DEFAULTS_AS_WRITTEN.get(name) or _said(getattr(Settings(), name)),
        ]
        for name in SETTINGS
    ]
    assert sorted(row[:4] for row in rows) == sorted(wanted)
    assert all(row[4] for row in rows)
    assert {field.name for field in fields(Settings)} == set(SETTINGS)


def test_written_defaults_are_the_defaults():
    said = {name: text.strip("`") for name, text in _DEFAULTS_AS_WRITTEN.items()}
    assert config.merge(said, {}, {}) == Settings()


TABLES = {
    "## Top level": "zzz = 1",
    "## Answers": "[[answers]]\nzzz = 1",
    "### When": '[[answers]]\nanswer = "x"\nwhen = { zzz = 1 }',
    "### Usage": '[[answers]]\nanswer = "x"\nusage = { zzz = 1 }',
    "### Rounds": "[[answers]]\nrounds = [{ zzz = 1 }]",
    "## Apps": "[[apps]]\nzzz = 1",
    "### Nodes": '[[apps]]\ndsl = "chat.yml"\n[[apps.nodes]]\nzzz = 1',
}


@pytest.mark.parametrize("heading", TABLES)
def test_the_tables_of_keys_are_the_programs(heading, tmp_path):
    """The keys a table names are those that the program says are allowed there."""
    path = tmp_path / "mockdify.toml"
    path.write_text(TABLES[heading], "utf-8")
    shutil.copy(DEMO / "chat.yml", tmp_path)
    with pytest.raises(MockdifyError, match="zzz") as met:
        config.load(path)
    line = next(line for line in str(met.value).splitlines() if "zzz" in line)
    allowed = re.search(r"allowed: ([\w, ]+)", line)[1].split(", ")
    named = [name for row in doc_pages.table(CONFIGURATION, heading) for name in re.findall(r"`(\w+)`", row[0])]
    elsewhere = set(SETTINGS) if heading == "## Top level" else set()
    assert sorted(named) == sorted(set(allowed) - elsewhere)


def test_the_kinds_of_failure_are_the_models():
    """Both pages that list them have all of them."""
    [row] = [row for row in doc_pages.table(CONFIGURATION, "## Answers") if row[0] == "`fails`"]
    assert set(re.findall(r"`([\w-]+)`", row[2])) == set(FAILURES)
    rows = doc_pages.table(ROOT / "docs" / "scripting.md", "## A model that fails")
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row[0])} == set(FAILURES)


def test_the_table_of_nodes_is_the_programs():
    rows = doc_pages.table(ROOT / "docs" / "apps.md", "## Nodes")
    doubles = {name: "double" in row[1] for row in rows for name in re.findall(r"`([\w-]+)`", row[0])}
    assert set(doubles) == set(KINDS)
    assert {name for name, is_double in doubles.items() if is_double} == {
        name for name, kind in KINDS.items() if kind.act.__module__.endswith(".doubles")
    }


def test_the_table_of_demo_apps_is_the_programs():
    rows = doc_pages.table(ROOT / "docs" / "apps.md", "## The demo apps")
    said = [(row[0].strip("`"), row[1], row[2].strip("`")) for row in rows]
    assert said == [(name, mode, DEMO_KEYS[name]) for name, mode in DEMO_MODES.items()]


def test_the_table_of_events_is_the_contracts():
    """Each event a mode may send, and no other."""
    page = ROOT / "docs" / "streaming.md"
    modes = ("completion", "chat", "agent-chat", "advanced-chat", "workflow")
    rows = doc_pages.table(page, "## Events")
    head = next(line for line in page.read_text("utf-8").splitlines() if line.startswith("| event |"))
    assert [cell.strip() for cell in head.split("|")[2:-1]] == list(modes)
    contracts = Contracts.load("1.16")
    for column, mode in enumerate(modes, 1):
        said = {name for row in rows if row[column] for name in re.findall(r"`(\w+)`", row[0])}
        allowed = set(contracts.events(mode))
        assert said == allowed, mode


def test_the_bounds_are_the_programs():
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    for bound in (journal.CAP, templates.MAX_LENGTH, templates.MAX_ROUNDS, intake.LONGEST_LINE):
        assert f"{bound:,}" in text
    for bound in (journal.BUDGET, journal.KEPT, engine.BODY_LIMIT):
        assert f"{bound // 1024**2} MB" in text


def test_the_pytest_page_has_every_option_and_fixture():
    text = (ROOT / "docs" / "pytest.md").read_text("utf-8")
    options = [f"--mockdify-{name.replace('_', '-')}" for name in pytest_plugin._OPTIONS]
    assert [row[0].strip("`") for row in doc_pages.table(ROOT / "docs" / "pytest.md", "## Options")] == options
    for name in ("mockdify", "mock_dify", "mockdify_server"):
        assert f"| `{name}` |" in text
    for name in pytest_plugin._MARK_ARGUMENTS:
        assert f"`{name}`" in text.partition("## Marks")[2].partition("\n## ")[0]


def test_variables_that_are_named_are_read():
    """No page names a `MOCKDIFY_*` variable that nothing reads."""
    known = {f"MOCKDIFY_{name.upper()}" for name in SETTINGS} | {"MOCKDIFY_CONFIG", "MOCKDIFY_ADMIN_URL"}
    for page in PAGES:
        named = set(re.findall(r"\bMOCKDIFY_[A-Z_]+[A-Z]\b", page.read_text("utf-8")))
        assert named <= known, page


# ---------------------------------------------------------------------- links
@pytest.mark.parametrize("page", TEXTS, ids=_id)
def test_links_lead_somewhere(page):
    if not (ROOT / "ARCHITECTURE.md").exists():
        pytest.skip("not the source tree: some of the files that pages link to are not here")
    for target in doc_pages.links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in doc_pages.anchors(linked), f"{page.name} links to {target}"


def test_every_page_is_linked_from_the_readme():
    linked = doc_pages.links(ROOT / "README.md")
    assert {f"docs/{page.name}" for page in ROOT.glob("docs/*.md")} <= set(linked)


def test_both_readmes_have_the_same_code():
    """The Chinese README shows the same blocks, comments apart."""
    one, other = ([*map(_bare, blocks(ROOT / name))] for name in ("README.md", "README.zh-CN.md"))
    assert one == other


def _bare(block):
    lines = (re.sub(r"\s*#.*", "", line) for line in block.code.splitlines())
    return block.language, re.sub(r"[\u3000-\u9fff\uff00-\uffef]+|\"[^\"]*\"", "…", "\n".join(lines))


# ---------------------------------------------------------------------- words
def test_no_page_claims_a_release_that_is_not_there():
    """Docs say how it is today: from a clone."""
    for page in PAGES:
        assert not re.search(
            r"\bpip install [^./'\n]*mockdify|uv add [^-\n]*mockdify|pypi", page.read_text("utf-8"), re.IGNORECASE
        ), page


def test_pages_of_python_need_no_more_than_the_project_brings():
    """What pages import is in the standard library, mockdify, its dependencies, or named on the page as a client."""
    allowed = {
        *sys.stdlib_module_names,
        "mockdify",
        "pytest",
        "hypothesis",
        "aiohttp",
        "httpx",
        "requests",
        "yaml",
        "vcr",
    }
    for page in PAGES:
        files = {Path(one.said).stem for one in blocks(page) if one.word == "file"}
        code = "\n".join(one.code for one in blocks(page, "python") if one.word in ("", "file", "fails"))
        imported = {name.split(".")[0] for name in re.findall(r"^\s*(?:from|import) ([\w.]+)", code, re.MULTILINE)}
        assert imported <= allowed | files, page


def test_a_page_is_no_wider_than_a_screen():
    """Prose is wrapped; tables, code and addresses may be wider."""
    for page in PAGES:
        text = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        text = re.sub(r"\[[^\]]*\]\([^)]*\)", "link", text)
        wide = [line for line in text.splitlines() if len(line) > 150 and not line.startswith(("|", "<!--"))]
        assert not wide, (page, wide)
