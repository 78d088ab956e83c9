"""What users write is well typed, and their mistakes are found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mockdify


@pytest.mark.slow
def test_users_calls_hold_under_mypy_strict(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed here")
    folder = Path(__file__).parent / "typing"
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "--config-file", os.devnull]
    source = Path(mockdify.__file__).parents[1]  # where mypy looks first
    checked = subprocess.run([*command, str(folder)], cwd=source, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
