"""Rules of the house that no tool checks: public names, what a wheel holds, what no file may say."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

import mockdify
from mockdify.faults import CATALOGUE, PRESETS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(mockdify.__file__).parent


def _files():
    """What is committed, or is about to be."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    binary = {".png", ".pdf", ".mp3", ".wav"}
    return [path for path in paths if path.is_file() and path.suffix not in binary and path != Path(__file__)]


def _hits(pattern, files):
    found = []
    for path in files:
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    return found


# ---------------------------------------------------------------------- names
def test_public_names_are_those_listed():
    """What `from mockdify import …` offers is `__all__`, and everything in it is there."""
    shown = {name for name in dir(mockdify) if not name.startswith("_")}
    modules = {module.name for module in pkgutil.iter_modules(mockdify.__path__)}
    ours = {
        name for name in shown - modules if getattr(getattr(mockdify, name), "__module__", "").startswith("mockdify")
    }
    assert ours == {name for name in mockdify.__all__ if not name.startswith("_")}
    assert all(hasattr(mockdify, name) for name in mockdify.__all__)


@pytest.mark.parametrize("name", sorted({name for name in mockdify.__all__ if not name.startswith("_")}))
def test_a_public_name_is_in_the_docs(name):
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    assert any(re.search(rf"\b{name}\b", page.read_text("utf-8")) for page in pages)


def test_the_docs_name_every_fault():
    text = (ROOT / "docs" / "faults.md").read_text("utf-8")
    assert [name for name in (*CATALOGUE, *PRESETS) if f"`{name}`" not in text] == []


MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(PACKAGE)], "mockdify.")
    if not module.name.endswith("__main__") and "jsonschema_rs" not in module.name
)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_lists_what_it_has(name):
    """`__all__` names only what is there."""
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", ())
    assert len(set(listed)) == len(listed)
    assert [one for one in listed if not hasattr(module, one)] == []


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").is_file()


# ---------------------------------------------------------------------- the wheel
def _wheel(source, out):
    """The names in the wheel of *source*; built without a network, or skipped."""
    if shutil.which("uv") is None:
        pytest.skip("there is no uv here to build a wheel with")
    done = subprocess.run(
        ["uv", "build", "--offline", "--quiet", "--wheel", "--out-dir", str(out), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and re.search(r"hatchling|offline|network", done.stderr):
        pytest.skip("hatchling is not here and nothing is fetched")
    assert done.returncode == 0, done.stderr
    [wheel] = out.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def _tree():
    if not (ROOT / "mockdify" / "cli.py").exists():
        pytest.skip("not the source tree")
    return ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return _wheel(_tree(), tmp_path_factory.mktemp("wheel"))


def test_a_wheel_has_all_that_is_needed(wheel):
    sources = [f"mockdify/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*.py")]
    demos = [f"mockdify/demo/{path.name}" for path in (PACKAGE / "demo").glob("*.yml")]
    contracts = [
        f"mockdify/_contracts/{path.relative_to(ROOT / 'contracts')}" for path in (ROOT / "contracts").rglob("*.json")
    ]
    assert len(demos) == 5
    assert len(contracts) > 50
    assert {*sources, *demos, *contracts, "mockdify/py.typed"} <= set(wheel)


def test_a_wheel_has_nothing_else(wheel):
    """No tests, no cassettes, no examples; the package and its metadata alone."""
    outside = [name for name in wheel if not re.match(r"mockdify/|mockdify-[^/]+\.dist-info/", name)]
    assert outside == []
    assert [name for name in wheel if re.search(r"/test_|conftest|\.pyc$|/cassettes/.*\.yaml$", name)] == []


def test_what_the_dockerfile_copies_is_enough_for_a_wheel(tmp_path, wheel):
    """The image is built from these files and no others."""
    text = (ROOT / "examples" / "Dockerfile").read_text("utf-8")
    context = tmp_path / "context"
    context.mkdir()
    for words in re.findall(r"^COPY (?!--)(.+)$", text, re.MULTILINE):
        *sources, target = words.split()
        for source in sources:
            kept = context / (target if target != "./" else source)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, kept, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, kept)
    assert sorted(_wheel(context, tmp_path / "out")) == sorted(wheel)


# ---------------------------------------------------------------------- what no file says
# This file names what no other may, and is not looked at.
HOSTS = re.compile(r"\b(pypi|pythonhosted|npmjs|yarnpkg|crates|rubygems)\.(org|com|io)\b")
TELLING = re.compile(
    r"claude code|anthropic|as an ai (language )?model|ai-generated|sub-?agent|worktree|/work/", re.IGNORECASE
)


def test_no_file_names_the_host_of_a_package_registry():
    assert _hits(HOSTS, _files()) == []


def test_no_file_tells_how_the_project_is_made():
    """Files speak of mockdify and of Dify."""
    recorded = ("cassettes/1.", "bench/")  # what others said, and where a bench ran
    assert _hits(TELLING, [path for path in _files() if not str(path.relative_to(ROOT)).startswith(recorded)]) == []


def test_what_lies_beside_the_checkout_is_only_for_tests():
    """The program and its docs never look outside their own folder."""
    files = [
        path
        for path in _files()
        if path.relative_to(ROOT).parts[0] not in ("tests", ".ci", "cassettes", "bench") and path.suffix != ".lock"
    ]
    assert _hits(re.compile(r"\.\./shared"), files) == []


# ---------------------------------------------------------------------- changes
def test_a_change_is_a_file_of_its_own():
    names = [path.name for path in (ROOT / "changelog.d").glob("*") if path.name != ".gitkeep"]
    assert [name for name in names if not re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed)\.md", name)] == []


def test_the_changelog_has_this_version():
    text = (
        (ROOT / "CHANGELOG.md").read_text("utf-8")
        if (ROOT / "CHANGELOG.md").exists()
        else pytest.skip("not the source tree")
    )
    assert re.search(rf"^## {re.escape(mockdify.__version__)}\b", text, re.MULTILINE)
