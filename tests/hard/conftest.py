"""What every test here also proves: nothing wrote a traceback, and hypothesis is not in a hurry."""

import logging
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parents[1]))

# Most examples here cross a socket or play a whole conversation.
HARD = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


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
