"""What every test here also proves: nothing wrote a traceback."""

import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture(autouse=True)
def no_traceback(caplog, capfd):
    """No record with a traceback in the log, none on stderr."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in (record for when in ("setup", "call") for record in caplog.get_records(when)):
        assert record.exc_info is None, record.getMessage()
        assert "Traceback" not in record.getMessage()
        assert record.levelno < logging.ERROR, record.getMessage()
    assert "Traceback" not in capfd.readouterr().err
