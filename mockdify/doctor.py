"""`mockdify doctor`: what is wrong with this setup, one line a thing, each with what to do about it.

Nothing here changes anything: no file is written, and nothing leaves this machine unless an upstream is named.
Whatever is printed goes through a masker: keys and passwords stand as `app-…last4`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from mockdify import __version__
from mockdify.errors import MockdifyError
from mockdify.loose_ends import loose_ends
from mockdify.masking import masker
from mockdify.settings import SETTINGS, Settings
from mockdify.shapes import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mockdify.config import Config
    from mockdify.workspace import Template

__all__ = ["Finding", "Setup", "examine", "show"]

Level: TypeAlias = "Literal['ok', 'warn', 'error']"
LEAST_PYTHON = (3, 11)
VARIABLES = (*(f"MOCKDIFY_{name.upper()}" for name in SETTINGS), "MOCKDIFY_CONFIG", "MOCKDIFY_ADMIN_URL")
EXTRAS = {"test": "the pytest fixture", "fast": "speed"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PATIENCE = 5.0
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    about: str
    level: Level
    found: str
    do: str = ""
    """What to do about it; empty when it is fine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is looked at.

    Args:
        config: what the configuration says that `mockdify serve` would use, or what is wrong with it.
        prepare: the template and the settings that it makes of that.
        environ: the environment.
        upstream: a real Dify to ask; None: none is asked.
    """

    config: Callable[[], Config]
    prepare: Callable[[Config], tuple[Template, Settings]]
    environ: Mapping[str, str]
    upstream: str | None = None


def examine(setup: Setup) -> list[Finding]:
    """Everything there is to say about *setup*, without a secret in it."""
    template, settings, told = _prepared(setup)
    found = [*_python(), *_packages(), *_extras(), *_command(), *_plugin(), *_node(), *_contracts()]
    found += [*_variables(setup), *told]
    if template is not None:
        found += [*_apps(template), *_cassettes(template)]
    found += [*_port(settings), *_loopback(), *_proxy(), *_target(setup), *_upstream(setup)]
    hide = masker(tuple(_secrets(setup, template, settings))).text
    return [Finding(about=one.about, level=one.level, found=hide(one.found), do=hide(one.do)) for one in found]


def _secrets(setup: Setup, template: Template | None, settings: Settings) -> Iterator[str]:
    yield from (value for name, value in setup.environ.items() if _SECRET.search(name))
    yield settings.admin_token or ""
    if template is not None:
        yield from (token for app in template.apps for token in app.keys.values())


def show(findings: list[Finding], *, as_json: bool) -> int:
    """Print *findings*; the exit code: 1 when something is wrong."""
    wrong = sum(one.level == "error" for one in findings)
    warned = sum(one.level == "warn" for one in findings)
    if as_json:
        said = {"ok": not wrong, "errors": wrong, "warnings": warned, "checks": [asdict(one) for one in findings]}
        sys.stdout.write(json.dumps(said, ensure_ascii=False, indent=2) + "\n")
    else:
        width = max(len(one.about) for one in findings)
        blank = "\n" + " " * (width + 9)
        for one in findings:
            lines = [*one.found.splitlines(), *([f"→ {one.do}"] if one.do else [])]
            sys.stdout.write(f"{one.level:<5}  {one.about:<{width}}  {blank.join(lines)}\n")
        sys.stdout.write(f"{_counted(wrong, 'error')}, {_counted(warned, 'warning')}\n")
    return 1 if wrong else 0


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


# ---------------------------------------------------------------------- what is installed
def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    found = f"{version} at {sys.executable}"
    if sys.version_info[:2] < LEAST_PYTHON:
        yield Finding(about="python", level="error", found=found, do="mockdify needs Python 3.11 or later")
    else:
        yield Finding(about="python", level="ok", found=found)
    yield Finding(about="mockdify", level="ok", found=f"{__version__} at {Path(__file__).parent}")


def _requirements(extra: str = "") -> list[tuple[str, str]]:
    """Name and bounds of what mockdify needs, or of what its *extra* brings."""
    found = []
    for line in metadata.requires("mockdify") or ():
        need, _, marker = line.partition(";")
        wanted = re.search(r"extra\s*==\s*['\"]([\w-]+)", marker)
        if (wanted[1] if wanted else "") == extra and ("sys_platform" not in marker or os.name == "posix"):
            name, bounds = re.fullmatch(r"\s*([\w.-]+)\s*\(?([^)]*)\)?\s*", need).groups()  # type: ignore[union-attr]
            found.append((name, bounds.strip()))
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:4])


def _fits(version: str, bounds: str) -> bool:
    """Whether *version* is within *bounds* such as `>=9.4.2,<10`; bounds of other kinds are not looked at."""
    for sign, bound in re.findall(r"(>=|<)\s*([\d.]+)", bounds):
        if (_numbers(version) < _numbers(bound)) == (sign == ">="):
            return False
    return True


def _missing(needs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """The versions that are installed, and what does not meet *needs*."""
    there, wrong = [], []
    for name, bounds in needs:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is not installed")
            continue
        there.append(f"{name} {version}")
        if not _fits(version, bounds):
            wrong.append(f"{name} {version} is not {bounds}")
    return there, wrong


def _packages() -> Iterator[Finding]:
    try:
        needs = _requirements()
    except metadata.PackageNotFoundError:
        do = "install it: `uv sync` or `pip install -e .` in the clone"
        yield Finding(about="packages", level="warn", found="mockdify runs from its files, not installed", do=do)
        return
    there, wrong = _missing(needs)
    if wrong:
        do = "install mockdify again in this environment: `uv sync`, or `pip install` with the clone's path"
        yield Finding(about="packages", level="error", found="; ".join(wrong), do=do)
    if there:
        yield Finding(about="packages", level="ok", found=", ".join(there))


def _extras() -> Iterator[Finding]:
    for extra, what in EXTRAS.items():
        with contextlib.suppress(metadata.PackageNotFoundError):
            there, wrong = _missing(_requirements(extra))
            about = f"extra {extra}"
            if not wrong:
                yield Finding(about=about, level="ok", found=", ".join(there))
            elif extra == "test":
                do = f"for {what}: `pip install 'PATH-OF-THE-CLONE[test]'`"
                yield Finding(about=about, level="warn", found="; ".join(wrong), do=do)
            else:
                yield Finding(about=about, level="ok", found=f"{'; '.join(wrong)} (only for {what})")


def _command() -> Iterator[Finding]:
    path = shutil.which("mockdify")
    here = Path(sys.executable).parent
    if path is None:
        do = f"`{sys.executable} -m mockdify` is the same; or activate the environment, or use `uv run mockdify`"
        yield Finding(about="command", level="warn", found="`mockdify` is not on PATH", do=do)
    elif Path(path).parent != here and Path(path).resolve().parent != here.resolve():
        do = f"that is not this environment's ({here}): activate it, or use `uv run mockdify`"
        yield Finding(about="command", level="warn", found=f"`mockdify` on PATH is {path}", do=do)
    else:
        yield Finding(about="command", level="ok", found=path)


def _plugin() -> Iterator[Finding]:
    about = "pytest plugin"
    registered = [one for one in metadata.entry_points(group="pytest11") if one.value == "mockdify.pytest_plugin"]
    if not registered:
        do = "install mockdify in the environment that pytest runs in"
        yield Finding(about=about, level="warn", found="not registered: tests have no fixture `mockdify`", do=do)
    elif os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        do = "unset it, or give pytest `-p mockdify.pytest_plugin`"
        yield Finding(about=about, level="warn", found="PYTEST_DISABLE_PLUGIN_AUTOLOAD is set", do=do)
    else:
        yield Finding(about=about, level="ok", found="registered: tests have the fixture `mockdify`")


def _node() -> Iterator[Finding]:
    path = shutil.which("node")
    if path is None:
        found = "not found (only clients in JavaScript need it)"
        yield Finding(about="node", level="ok", found=found)
        return
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_PATIENCE, check=True)  # noqa: S603 - just found
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding(about="node", level="warn", found=f"{path} does not run: {error}", do="install Node 18 or later")
        return
    version = done.stdout.strip()
    if _numbers(version) < (18,):
        do = "the examples use fetch, which Node has since 18"
        yield Finding(about="node", level="warn", found=f"{version} at {path}", do=do)
    else:
        yield Finding(about="node", level="ok", found=f"{version} at {path}")


def _contracts() -> Iterator[Finding]:
    from mockdify.contracts import list_contracts  # noqa: PLC0415 - not for --help

    try:
        found = ", ".join(f"{len(list_contracts(release))} of {release}" for release in ("1.16", "1.13"))
    except (OSError, ValueError, MockdifyError) as error:
        do = "the installation is damaged: install mockdify again"
        yield Finding(about="contracts", level="error", found=str(error), do=do)
    else:
        yield Finding(about="contracts", level="ok", found=found)


# ---------------------------------------------------------------------- what was said
def _variables(setup: Setup) -> Iterator[Finding]:
    for name in sorted(setup.environ):
        if name.startswith("MOCKDIFY_") and name not in VARIABLES:
            near = re.search(r"did you mean '(\w+)'", nearest(name, VARIABLES))
            do = (
                f"rename it to {near[1]}, or unset it" if near else "unset it; `MOCKDIFY_` and a setting's name is read"
            )
            yield Finding(about="environment", level="warn", found=f"nothing reads {name}", do=do)


def _prepared(setup: Setup) -> tuple[Template | None, Settings, list[Finding]]:
    """What `mockdify serve` would serve, and what there is to say about where that is written."""
    try:
        config = setup.config()
        template, settings = setup.prepare(config)
    except MockdifyError as mistake:
        do = "correct it; docs/configuration.md has every key"
        return None, Settings(), [Finding(about="configuration", level="error", found=str(mistake), do=do)]
    if config.source is None:
        found = "no mockdify.toml here (nothing needs one; `mockdify init` writes one)"
    else:
        found = f"{config.source.path}: {_counted(len(template.faults), 'fault')}, profile {template.profile.name}"
    told = [Finding(about="configuration", level="ok", found=found)]
    if ends := loose_ends(config, template):
        do = "correct the name, or serve the app that has it"
        told.append(Finding(about="names", level="warn", found="\n".join(ends), do=do))
    return template, settings, told


def _apps(template: Template) -> Iterator[Finding]:
    """Each app is read, its graph too, as its first request would."""
    from mockdify.graph import parse_graph  # noqa: PLC0415 - not for --help

    fine = []
    for one in template.apps:
        try:
            app = one.load()
            if app.workflow:
                parse_graph(app.workflow, source=app.source or app.name)
        except MockdifyError as mistake:
            do = "export it from Dify again, or correct the file"
            yield Finding(about=f"app {one.name}", level="error", found=str(mistake), do=do)
        else:
            fine.append(f"{one.name} ({one.mode})")
    if fine:
        yield Finding(about="apps", level="ok", found=", ".join(fine))


def _cassettes(template: Template) -> Iterator[Finding]:
    if template.make_playback is not None:
        playback = template.make_playback()
        found = f"{playback.name}: {_counted(playback.left[1], 'interaction')}"
        if playback.left[1]:
            yield Finding(about="cassettes", level="ok", found=found)
        else:
            do = "every request would be refused as not recorded: record something"
            yield Finding(about="cassettes", level="warn", found=found, do=do)


# ---------------------------------------------------------------------- the network
def _port(settings: Settings) -> Iterator[Finding]:
    from mockdify.serving import warnings  # noqa: PLC0415 - aiohttp, not for --help

    where = f"{settings.host}:{settings.port}"
    for line in warnings(settings):
        yield Finding(about="port", level="warn", found=line)
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as tried:
            if os.name == "posix":  # as asyncio listens; elsewhere it would share a port that is taken
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        if _is_ours(settings):
            do = "use that one, or give --port (0 picks a free one)"
            yield Finding(about="port", level="warn", found=f"a mockdify listens on {where} already", do=do)
        else:
            do = "give --port (0 picks a free one) or another --host"
            yield Finding(about="port", level="error", found=f"{where}: {error.strerror or error}", do=do)
    else:
        yield Finding(about="port", level="ok", found=f"{where} is free" if settings.port else "a free one is picked")


def _is_ours(settings: Settings) -> bool:
    """Whether what listens there is a mockdify."""
    with contextlib.suppress(OSError, HTTPException, ValueError):
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - read, not bound
        status, _, body = _get(HTTPConnection(host, settings.port, timeout=1), "/_mockdify/health")
        return status == 200 and "workspaces" in json.loads(body)
    return False


def _get(connection: HTTPConnection, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any, bytes]:
    with contextlib.closing(connection):
        connection.request("GET", path, headers=dict(headers or {}))
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read(100_000)


def _loopback() -> Iterator[Finding]:
    """The demo apps are served on a free port, and asked."""
    from mockdify.assemble import template_of  # noqa: PLC0415 - aiohttp, not for --help
    from mockdify.background import Background  # noqa: PLC0415
    from mockdify.config import Config  # noqa: PLC0415

    body = json.dumps({"inputs": {}, "query": "hello", "user": "doctor", "response_mode": "streaming"})
    headers = {"Authorization": "Bearer app-chat-demo", "Content-Type": "application/json"}
    try:
        # Not `MockDify()`: a wrong configuration was told already, and says nothing about the network.
        settings = Settings(port=0)
        server = Background(template_of(Config(), settings), settings)
        server.start()
        try:
            began = time.perf_counter()
            connection = HTTPConnection("127.0.0.1", server.edge.port, timeout=_PATIENCE)
            with contextlib.closing(connection):
                connection.request("POST", "/v1/chat-messages", body, headers)
                reply = connection.getresponse()
                text = reply.read()
            taken = (time.perf_counter() - began) * 1000
        finally:
            server.stop()
    except (OSError, HTTPException, MockdifyError) as error:
        do = "is loopback there, and allowed by firewall and sandbox? `ping 127.0.0.1`"
        yield Finding(about="loopback", level="error", found=f"the mock cannot be reached: {error}", do=do)
        return
    if reply.status == 200 and b'"message_end"' in text:
        yield Finding(about="loopback", level="ok", found=f"a stream of the demo app came through in {taken:.0f} ms")
    else:
        do = "something between this process and itself answers in the place of the mock"
        yield Finding(about="loopback", level="error", found=f"status {reply.status} instead of a stream", do=do)


def _proxy() -> Iterator[Finding]:
    proxies = urllib.request.getproxies()
    if "http" not in proxies:
        return
    if urllib.request.proxy_bypass("127.0.0.1") and urllib.request.proxy_bypass("localhost"):
        yield Finding(about="proxy", level="ok", found="HTTP_PROXY is set, and not for loopback")
    else:
        do = "set NO_PROXY=127.0.0.1,localhost for your tests"
        found = "HTTP_PROXY holds for 127.0.0.1 too: most clients would ask the proxy for the mock"
        yield Finding(about="proxy", level="warn", found=found, do=do)


def _target(setup: Setup) -> Iterator[Finding]:
    """Where a client that reads the usual variable would go."""
    url = setup.environ.get("DIFY_BASE_URL", "")
    if not url:
        return
    parts = urlsplit(url)
    where = parts.hostname or "?"
    if parts.scheme not in ("http", "https"):
        do = "it should look like http://127.0.0.1:5001/v1"
        yield Finding(about="DIFY_BASE_URL", level="warn", found="is no http address", do=do)
    elif where in _LOOPBACK:
        yield Finding(about="DIFY_BASE_URL", level="ok", found=f"points to {where}:{parts.port or 80}")
    else:
        do = "`mockdify exec -- COMMAND` sets it for the command; or set it to what `mockdify serve` prints"
        found = f"points to {where}: a client that reads it asks that, not the mock"
        yield Finding(about="DIFY_BASE_URL", level="warn", found=found, do=do)


def _upstream(setup: Setup) -> Iterator[Finding]:
    """Whether a real Dify answers; only when it was named."""
    if setup.upstream is None:
        return
    parts = urlsplit(setup.upstream)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        do = "write it like https://api.dify.ai/v1"
        yield Finding(about="upstream", level="error", found="is no http address", do=do)
        return
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    key = setup.environ.get("DIFY_API_KEY", "")
    try:
        connection = kind(parts.hostname, parts.port, timeout=_PATIENCE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        status, said, _ = _get(connection, f"{parts.path.rstrip('/')}/info", headers)
    except (OSError, HTTPException, ValueError) as error:
        do = "is the address right, and may this machine reach it?"
        yield Finding(about="upstream", level="error", found=f"{parts.hostname} does not answer: {error}", do=do)
        return
    dify = f" (Dify {said['X-Version']})" if said.get("X-Version") else ""
    found = f"{parts.hostname} answers {status}{dify}"
    if status == 200:
        yield Finding(about="upstream", level="ok", found=f"{found}; DIFY_API_KEY is taken")
    elif status == 401 and not key:
        do = "set DIFY_API_KEY to see whether a key is taken"
        yield Finding(about="upstream", level="ok", found=f"{found}: it wants a key", do=do)
    elif status == 401:
        do = "make a new key in the app's API access page, and set DIFY_API_KEY to it"
        yield Finding(about="upstream", level="error", found=f"{found}: DIFY_API_KEY is refused", do=do)
    else:
        do = "the address of Dify's API ends in /v1"
        yield Finding(about="upstream", level="error", found=found, do=do)
