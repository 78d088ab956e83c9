"""Where a test's cassette is."""

import pytest


@pytest.fixture
def cassette(tmp_path):
    return tmp_path / "run.yaml"
