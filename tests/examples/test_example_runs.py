"""Examples that are programs, run as their users run them: scripts, other people's SDKs, suites in other languages."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mockdify import cli
from mockdify.faults import CATALOGUE

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SDK_LINES = ["blocking: The mock heard: Hello!", "streaming: The mock heard: And again?"]


def run(*words, **options):
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def node():
    return shutil.which("node") or pytest.skip("there is no node here")


# ---------------------------------------------------------------------- scripts
@pytest.mark.parametrize("name", ["requests_client", "httpx_client", "aiohttp_client"])
def test_a_python_script(name, mockdify, outside):
    done = run(sys.executable, EXAMPLES / "python" / f"{name}.py", env=outside | mockdify.env())
    assert done.stdout.splitlines() == ["The mock heard: Hello!", "The mock heard: And again?"]


@pytest.mark.clients
def test_a_node_script(mockdify, outside):
    done = run(node(), EXAMPLES / "node" / "fetch.mjs", env=outside | mockdify.env())
    assert done.stdout.splitlines() == ["The mock heard: Hello!", "The mock heard: And again?"]


# ---------------------------------------------------------------------- SDKs
@pytest.mark.clients
@pytest.mark.parametrize(
    ("script", "client", "more"),
    [
        (
            "dify_client_example.py",
            ("dify-client", "0.1.10"),
            ["queries: ['Hello!', 'And again?']", "completion: The mock heard: Hello!"],
        ),
        ("dify_client_python_example.py", ("dify-client-python", "1.0.3"), ["currency: USD"]),
    ],
)
def test_a_python_sdk(script, client, more, mockdify, sdk_python):
    python, outside = sdk_python(*client)
    done = run(python, EXAMPLES / "sdk" / script, env=outside | mockdify.env())
    assert done.stdout.splitlines() == [*SDK_LINES, *more]


@pytest.mark.clients
def test_the_node_sdk(mockdify, outside, tmp_path, clients):
    modules = next(iter(clients.glob("dify-client-node-*2.3.2/node_modules")), None)
    if modules is None:
        pytest.skip("dify-client 2.3.2 of npm is not installed here")
    shutil.copy(EXAMPLES / "sdk" / "dify_client_example.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(modules)
    done = run(node(), tmp_path / "dify_client_example.mjs", env=outside | mockdify.env())
    assert done.stdout.splitlines() == [*SDK_LINES, "workflow: The mock heard: Hello!"]


# ---------------------------------------------------------------------- suites
@pytest.mark.clients
@pytest.mark.skipif("bad-gateway" not in CATALOGUE, reason="there is no fault of a gateway")
def test_a_suite_of_node_under_exec(tmp_path):
    suite = EXAMPLES / "node" / "fetch.test.mjs"
    done = run(sys.executable, "-m", "mockdify", "exec", "--", node(), "--test", suite, cwd=tmp_path)
    assert re.search(r"^\S+ fail 0$", done.stdout, re.MULTILINE), done.stdout
    assert "unknown path" not in done.stderr


def test_a_suite_of_pytest(pytester):
    shutil.copytree(EXAMPLES / "pytest", pytester.path, dirs_exist_ok=True)
    plugins = ["-p", "no:mockdify", "-p", "mockdify.pytest_plugin", "-p", "no:cacheprovider"]
    result = pytester.runpytest_inprocess(*plugins, "-W", "error")
    result.assert_outcomes(passed=8)


# ---------------------------------------------------------------------- files of other tools
def commands_of(workflow):
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def test_the_workflow_is_one():
    """Well formed, each step does one thing, and what it says to mockdify is understood."""
    workflow = yaml.safe_load((EXAMPLES / "github-actions.yml").read_text("utf-8"))
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    asked = [line.split() for line in commands_of(workflow) if line.startswith("mockdify ")]
    assert asked
    for _, name, *words in asked:
        parent = click_context()
        cli.main.commands[name].make_context(name, words, parent=parent)


def click_context():
    import click

    return click.Context(cli.main, info_name="mockdify", **cli.main.context_settings)


def instructions(dockerfile):
    """(INSTRUCTION, rest) of each line, continued ones joined."""
    text = dockerfile.read_text("utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def test_the_dockerfile_is_one():
    """Known instructions, sources that exist, and a server that starts with these options."""
    found = instructions(EXAMPLES / "Dockerfile")
    known = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"}
    assert {word for word, _ in found} <= known
    assert found[0][0] == "FROM"
    program, name, *words = json.loads(dict(found)["ENTRYPOINT"])
    assert program.endswith("/mockdify")
    context = cli.main.commands[name].make_context(name, words, parent=click_context())
    assert context.params["host"] == "0.0.0.0"
    root = EXAMPLES.parent
    if (root / "ARCHITECTURE.md").exists():
        sources = [one for word, rest in found if word == "COPY" and "--from" not in rest for one in rest.split()[:-1]]
        assert [one for one in sources if not (root / one).exists()] == []


def test_the_compose_file_names_what_is_there():
    services = yaml.safe_load((EXAMPLES / "compose.yml").read_text("utf-8"))["services"]
    build = services["dify"]["build"]
    assert (EXAMPLES / build["context"] / build["dockerfile"]).resolve() == EXAMPLES / "Dockerfile"


@pytest.mark.slow
def test_the_image_builds_and_serves():
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("there is no docker engine here")
    root = EXAMPLES.parent
    built = subprocess.run(
        ["docker", "build", "-q", "-f", "examples/Dockerfile", "."],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode and "failed to resolve" in built.stderr:
        pytest.skip("the base image is not here and cannot be fetched")
    assert built.returncode == 0, built.stderr
    done = run("docker", "run", "--rm", built.stdout.strip(), "--version")
    assert "mockdify" in done.stdout
