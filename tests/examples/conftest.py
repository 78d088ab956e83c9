"""What tests of examples share: where they are, how one is loaded, where other clients live."""

import importlib.util
import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
CLIENTS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mockdify-clients"
"""Environments with other people's clients, each `NAME-REQUIREMENT`; they are made by whoever wants these tests run."""


@pytest.fixture(scope="session")
def clients():
    return CLIENTS


@pytest.fixture
def load_example(monkeypatch):
    """The module in a file of the examples."""

    def load(path):
        file = EXAMPLES / path
        monkeypatch.syspath_prepend(str(file.parent))
        spec = importlib.util.spec_from_file_location(f"example_{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def outside():
    """The environment of a program that is not this one: our tree is not on its path."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


@pytest.fixture
def sdk_python(outside):
    """A Python that has a client, and its environment: one made for it, else this Python if it has that version."""

    def find(name, version):
        for python in CLIENTS.glob(f"{name}-*{version}/bin/python"):
            if (python.parents[1] / "ready").exists():
                return python, outside
        try:
            if metadata.version(name) == version:
                return sys.executable, outside
        except metadata.PackageNotFoundError:
            pass
        return pytest.skip(f"{name} {version} is not installed here")

    return find
