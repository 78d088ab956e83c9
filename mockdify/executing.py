"""`mockdify exec`: a mock Dify for the time of one command, in any language."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mockdify.background import Background, Door
from mockdify.handles import environment
from mockdify.reports import problems, refusals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from mockdify.config import Settings
    from mockdify.workspace import Template, Workspace

__all__ = ["run_command"]

_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_NOT_EXECUTABLE, _NOT_FOUND, _BY_SIGNAL = 126, 127, 128
"""Exit codes as a shell has them."""
_SHORT = 60


class _CannotRunError(Exception):
    """The command was not started; `code` is what a shell exits with then."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def run_command(template: Template, settings: Settings, command: Sequence[str]) -> int:
    """Serve, run *command* with the DIFY_* variables, say on stderr what its client did wrong; its exit code."""
    server = Background(template, settings)
    server.start()
    try:
        door = Door(server, "default")
        url = server.edge.url
        if not settings.quiet:
            _say(f"serving Dify {template.profile.version} at {url} for: {_shown(command)}")
        code = _run(command, {**os.environ, **door.do(lambda workspace: environment(workspace, url))})
        _tell(door.settled(_findings), url, quiet=settings.quiet)
    except _CannotRunError as why:
        _say(str(why))
        return why.code
    finally:
        server.stop()
    return code


# ---------------------------------------------------------------------- the command
def _run(command: Sequence[str], env: dict[str, str]) -> int:
    """The exit code of *command*, as a shell would say it."""
    name = command[0]
    with _Forwarding() as signals:
        try:
            # On Windows `npm` is npm.cmd, which only a search finds.
            child = subprocess.Popen([shutil.which(name) or name, *command[1:]], env=env)  # noqa: S603 - the user's own
        except FileNotFoundError:
            raise _CannotRunError(_NOT_FOUND, f"command not found: {name}; is it installed and on PATH?") from None
        except OSError as error:
            raise _CannotRunError(_NOT_EXECUTABLE, f"cannot run {name}: {error.strerror or error}") from None
        with child:
            signals.send_to(child)
            code = child.wait()
    return code if code >= 0 else _BY_SIGNAL - code


def _shown(command: Sequence[str]) -> str:
    """*command* on one line; a script inside it is left out."""
    return " ".join(word if len(word) <= _SHORT and word.isprintable() else "…" for word in map(shlex.quote, command))


class _Forwarding:
    """Hands signals to the command: it decides when to end, and we end with it."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        numbers = (getattr(signal, name, None) for name in _FORWARDED)
        self._before = {number: signal.signal(number, self._forward) for number in numbers if number is not None}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def send_to(self, child: subprocess.Popen[bytes]) -> None:
        """From now on to *child*; those that came before it are sent now."""
        self._child = child
        while self._early:
            self._forward(self._early.pop(0), None)

    def _forward(self, number: int, _frame: Any) -> None:
        if number in _from_keyboard and _has_keyboard():
            return  # the terminal has sent it to the whole group
        if self._child is None:
            self._early.append(number)
            return
        with suppress(ProcessLookupError):
            self._child.send_signal(number)


_from_keyboard = {getattr(signal, name, None) for name in ("SIGINT", "SIGQUIT")}


def _has_keyboard() -> bool:
    """Whether this process is in the foreground of a terminal."""
    try:
        return os.tcgetpgrp(sys.__stdin__.fileno()) == os.getpgrp() if sys.__stdin__ else False
    except (OSError, ValueError, AttributeError):
        return False


# ---------------------------------------------------------------------- what is said afterwards
def _findings(workspace: Workspace) -> tuple[int, list[str]]:
    exchanges = list(workspace.journal)
    return len(exchanges), problems(exchanges, workspace.faults.rules) + refusals(exchanges)


def _tell(findings: tuple[int, list[str]], url: str, *, quiet: bool) -> None:
    amount, wrong = findings
    requests = f"{amount} request{'' if amount == 1 else 's'}"
    if wrong:
        _say("\n  ".join([f"{requests}; what the client did wrong:", *wrong]))
    elif not amount:
        _say(f"no request arrived: does the command read DIFY_BASE_URL ({url}) and DIFY_API_KEY?")
    elif not quiet:
        _say(f"{requests}, nothing wrong")


def _say(text: str) -> None:
    sys.stderr.write(f"mockdify: {text}\n")
    sys.stderr.flush()
