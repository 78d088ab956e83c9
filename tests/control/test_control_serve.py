"""The control API of `mockdify serve`: its options, and what the documentation says of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from mockdify.control.routes import ROUTES
from mockdify.serving import warnings
from mockdify.settings import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs" / "control.md"


@contextmanager
def served(*options):
    """A server started as users do; gives its ready line."""
    command = [sys.executable, "-m", "mockdify", "serve", "--port", "0", "--json", "--quiet", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield json.loads(server.stdout.readline())
        finally:
            server.terminate()


def status(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


def test_serve_with_a_token_and_without_a_control_api():
    with served("--admin-token", "hush") as ready:
        admin = ready["admin"]
        assert status(f"{admin}/health") == 200
        assert status(f"{admin}/journal") == 401
        assert status(f"{admin}/journal", Authorization="Bearer hush") == 200
    with served("--no-admin") as ready:
        assert ready["admin"] is None
        assert status(ready["url"].removesuffix("/v1") + "/_mockdify/health") == 404


def test_the_control_api_is_there_by_default():
    with served() as ready:
        assert status(f"{ready['admin']}/journal") == 200


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, []),
        ({"host": "0.0.0.0"}, ["reachable from other machines", "the control API has no token"]),
        ({"host": "0.0.0.0", "admin_token": "t"}, ["reachable from other machines"]),
        ({"host": "0.0.0.0", "admin": False}, ["reachable from other machines"]),
        ({"host": "::1"}, []),
    ],
)
def test_who_lets_other_machines_in_is_told(said, words):
    told = warnings(Settings(**said))
    assert len(told) == len(words)
    assert all(word in line for word, line in zip(words, told, strict=True))


def test_the_documentation_lists_every_route_and_nothing_else():
    if not DOCS.is_file():
        pytest.skip("the documentation is not beside the tests")
    told = re.findall(r"^\| `(GET|POST|DELETE) (\S+)` \|", DOCS.read_text("utf-8"), re.MULTILINE)
    assert sorted(told) == sorted((route.method, route.path) for route in ROUTES)
