"""Schemathesis, told what the OpenAPI document says, finds nothing in the server that it describes.

It makes requests that fit the document and requests that do not, and holds every answer to it. It is no part of what
the tests need: install it beside them (`uv run --with schemathesis …`), or this is skipped.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from mockdify import MockDify
from mockdify.contracts import openapi

EXAMPLES = int(os.environ.get("MOCKDIFY_SCHEMATHESIS", "12"))
SECONDS = 240
MODES = {"chat": "chat", "completion": "completion", "workflow": "workflow", "chatflow": "advanced-chat"}
# What no schema can say: Dify looks at its state, or into a file, and answers 400 or 415 to a request of the right form.
STATEFUL = {
    "annotation-reply-status": "there is no such job",
    "workflow-logs": "the account is looked up",
    "workflow-events": "the run is looked up",
    "audio-to-text": "the file is no audio, or speech is off",
    "file-upload": "the app does not take such files",
    "text-to-audio": "speech is off, or there is neither a text nor a message",
    "workflows-run": "the app's form requires a variable",
    "workflows-run-by-id": "the id is that of a published version",
    "completion-messages": "the app's form requires a variable",
    "chat-messages": "the conversation, the workflow_id and the files are looked up",
}
# And what it takes though it has the wrong form, because it never looks at it.
UNSEEN = {"chat-messages": "an app that takes no files does not look at them"}
# Dify's 405 has no `Allow`; and it falls over some malformed requests with 500 `unknown`, which the document lists.
# A 500 of our own making is looked for in the journal instead.
NOT_HELD_TO = "unsupported_method,not_a_server_error"


def _command():
    if importlib.util.find_spec("schemathesis"):
        return [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"]
    return [found] if (found := shutil.which("schemathesis")) else None


def _settings(document):
    lines = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            name = operation["operationId"]
            off = [("positive_data_acceptance", STATEFUL), ("negative_data_rejection", UNSEEN)]
            checks = [f"checks.{check}.enabled = false" for check, excused in off if name in excused]
            if checks:
                lines += ["[[operations]]", f'include-name = "{method.upper()} {path}"', *checks]
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.skipif(_command() is None, reason="schemathesis is not installed (uv run --with schemathesis)")
@pytest.mark.parametrize("app", MODES)
def test_it_finds_nothing(app, tmp_path):
    with MockDify() as server:
        root = server.base_url.removesuffix("/v1")
        document = openapi("1.16", server=root, mode=MODES[app])
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        (tmp_path / "schemathesis.toml").write_text(_settings(document))
        run = [
            *_command(), "--config-file", "schemathesis.toml", "run", "openapi.json", "--url", root,
            "-H", f"Authorization: Bearer {server.app(app).key}",
            "--phases", "coverage,fuzzing", "--exclude-checks", NOT_HELD_TO,
            "--max-examples", str(EXAMPLES), "--seed", "1", "--no-color",
        ]  # fmt: skip
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False)
        ours = [(x.path, x.warnings) for x in server.journal if any("mockdify failed" in one for one in x.warnings)]
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) generated, \1 passed", done.stdout).group(1)) > 300, done.stdout[-3000:]
    assert ours == []


def test_what_is_excused_is_in_the_document():
    names = {one["operationId"] for path in openapi()["paths"].values() for one in path.values()}
    assert set(STATEFUL) | set(UNSEEN) <= names
