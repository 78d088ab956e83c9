"""The guide's samples in JavaScript, run by node against the mock."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mockdify.faults import CATALOGUE

SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "guide"
NODE = shutil.which("node")
pytestmark = [
    pytest.mark.clients,
    pytest.mark.mockdify(profile="guide", strict=False),
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
]
chops = pytest.mark.skipif("chop" not in CATALOGUE, reason="there is no fault that cuts a stream into pieces")


def run(mockdify, script, suffix=""):
    key = mockdify.app("chat").key + suffix
    environ = {**os.environ, "DIFY_BASE_URL": mockdify.base_url, "DIFY_API_KEY": key, "NO_COLOR": "1"}
    return subprocess.run(
        [NODE, str(SAMPLES / script)],
        env=environ,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def torn(mockdify, fault, is_torn):
    """A run of the reader in which it met the cut: on a busy machine node may read both sides of it at once."""
    for _ in range(5):
        done = run(mockdify, "stream_reader.mjs", fault)
        if is_torn(done):
            return done
    pytest.fail(f"never went wrong by {fault}: {done.stdout}")


def test_the_blocking_sample_finds_its_result(mockdify):
    mockdify.app("chat").answer("Hi!")
    done = run(mockdify, "chat.mjs")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "Hi!"
    assert mockdify.journal.last.warnings == []  # node's own headers are no browser's


@pytest.mark.mockdify(profile="guide-delta")
def test_the_reader_is_right_where_chunks_are_deltas(mockdify):
    mockdify.app("chat").answer(chunks=["Hello", ", how", " are"])
    done = run(mockdify, "stream_reader.mjs")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Hello, how are\n-- complete\n-- {")


def test_the_reader_breaks_on_the_guides_own_stream(mockdify):
    mockdify.app("chat").answer(chunks=["Hello", ", how", " are"])
    assert run(mockdify, "stream_reader.mjs").stdout.startswith("HelloHello, howHello, how are\n")


@chops
def test_the_reader_breaks_when_an_event_spans_two_network_chunks(mockdify):
    mockdify.app("chat").answer(chunks=["Hello", ", how", " are"])
    done = torn(mockdify, "!chop;bytes=40", lambda done: done.returncode != 0)
    assert "SyntaxError" in done.stderr


@chops
@pytest.mark.mockdify(profile="guide-delta")
def test_the_reader_goes_wrong_when_a_character_spans_two_network_chunks(mockdify):
    mockdify.app("chat").answer(chunks=["你好"])
    torn(mockdify, "!split-utf8", lambda done: "你好" not in done.stdout)
