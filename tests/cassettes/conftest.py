"""Where a test's cassette is; and whatever a test has written there, no secret is left in it."""

import shutil

import pytest

from mockdify.cassettes.scrub import check


@pytest.fixture
def cassette(tmp_path):
    path = tmp_path / "run.yaml"
    yield path
    written = [each for each in tmp_path.rglob("*") if each.suffix in (".yaml", ".toml", ".json", ".html")]
    assert check(written) == []


@pytest.fixture
def dirty(tmp_path):
    """A folder for files with secrets on purpose. It goes with the test: whatever is found later is a mistake."""
    folder = tmp_path / "dirty"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)
