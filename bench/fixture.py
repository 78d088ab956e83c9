"""What a test pays for its mock server, beside pytest-httpserver, and what a page costs where there are many.

    python bench/fixture.py [--tests 400] [--rounds 5] [--write docs/bench.md]

A test's cost is a slope: a module of that many tests against a module of one, less the slope of empty tests, each in a
pytest of its own, interleaved. pytest-httpserver is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEAD = """
import http.client, json, os, pytest
from urllib.parse import urlsplit
each = pytest.mark.parametrize("number", range(int(os.environ["TESTS"])))
BODY = json.dumps({"inputs": {}, "query": "hello", "user": "u", "response_mode": "blocking"})
ANSWER = json.dumps({"event": "message", "answer": "hello " * 100})

def post(port, key):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    connection.request("POST", "/v1/chat-messages", BODY, headers)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    assert reply.status == 200
"""
EMPTY = "@each\ndef test_one(number):\n    pass\n"
HTTPSERVER = """
@each
def test_one(number, httpserver):
    httpserver.expect_request("/v1/chat-messages", method="POST").respond_with_data(ANSWER, content_type="application/json")
"""
MODULES = {
    "empty": EMPTY,
    "mockdify: reset": "@each\ndef test_one(number, mockdify):\n    pass\n",
    "mockdify: reset and one POST": "@each\ndef test_one(number, mockdify):\n    post(urlsplit(mockdify.base_url).port, 'app-chat-demo')\n",
    "pytest-httpserver: reset": HTTPSERVER,
    "pytest-httpserver: reset and one POST": HTTPSERVER + "    post(httpserver.port, 'k')\n",
}
PLUGINS = {"mockdify": "mockdify.pytest_plugin", "pytest-httpserver": "pytest_httpserver.pytest_plugin"}


def seconds(module: str, name: str, tests: int, folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one pytest."""
    file = folder / f"test_{abs(hash(name))}.py"
    file.write_text(HEAD + module)
    plugin = PLUGINS.get(name.partition(":")[0])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(file)]
    command += ["-p", plugin] if plugin else []
    environment = {**os.environ, "TESTS": str(tests), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def slopes(names: list[str], tests: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Wall and CPU milliseconds of one test, the empty test taken off."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(rounds):
            empty = (0.0, 0.0)
            for name in names:
                few = seconds(MODULES[name], name, 1, Path(scratch))
                many = seconds(MODULES[name], name, tests, Path(scratch))
                slope = tuple((b - a) / (tests - 1) * 1000 for a, b in zip(few, many, strict=True))
                empty = slope if name == "empty" else empty
                found[name].append((slope[0] - empty[0], slope[1] - empty[1]))
    return {
        name: (statistics.median(wall for wall, _ in each), statistics.median(cpu for _, cpu in each))
        for name, each in found.items()
    }


def pages(rounds: int) -> dict[int, float]:
    """CPU microseconds for a page of 20 conversations of one user who has that many."""
    from mockdify.assemble import template_of
    from mockdify.config import Config
    from mockdify.engine import Engine
    from mockdify.http import Request
    from mockdify.settings import merge

    engines = {}
    for count in (1_000, 10_000):
        engine = engines[count] = Engine(template_of(Config(), merge({}, {}, {})), time=time.time)
        headers = (("Authorization", "Bearer app-chat-demo"), ("Content-Type", "application/json"))
        body = b'{"inputs": {}, "query": "hello", "user": "u", "response_mode": "blocking"}'
        for _ in range(count):
            for _ in engine.handle(Request(method="POST", target="/v1/chat-messages", headers=headers, body=body)):
                pass
    asked = Request(method="GET", target="/v1/conversations?user=u&limit=20", headers=headers)
    found: dict[int, list[float]] = {count: [] for count in engines}
    for _ in range(rounds * 4):
        for count, engine in engines.items():
            started = time.process_time()
            for _ in range(50):
                for _ in engine.handle(asked):
                    pass
            found[count].append((time.process_time() - started) / 50 * 1e6)
    return {count: statistics.median(each) for count, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tests", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="replace the list in this Markdown file")
    options = parser.parse_args()
    there = importlib.util.find_spec("pytest_httpserver") is not None
    names = [name for name in MODULES if there or not name.startswith("pytest-httpserver")]
    lines = ["| what | wall | CPU |", "|---|---|---|"]
    found = slopes(names, options.tests, options.rounds)
    lines += [f"| {name} | {found[name][0]:.2f} ms | {found[name][1]:.2f} ms |" for name in names if name != "empty"]
    listed = pages(options.rounds)
    lines += [f"| a page of 20 of {count:,} conversations | | {cost:.0f} us |" for count, cost in listed.items()]
    text = "\n".join(lines)
    print(text)
    if options.write:
        page = options.write.read_text()
        before, _, rest = page.partition("<!-- fixture -->\n")
        options.write.write_text(
            f"{before}<!-- fixture -->\n{text}\n<!-- end of fixture -->{rest.partition('<!-- end of fixture -->')[2]}"
        )


if __name__ == "__main__":
    main()
