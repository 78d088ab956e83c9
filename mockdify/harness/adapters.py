"""How a client is called: a Python object, a program that speaks JSON lines, or a URL that takes the same JSON.

An adapter answers with an `Outcome`: what the client said happened. What goes wrong with the adapter itself (it does
not start, dies, writes something else) is an `AdapterError`: the harness could not run, and no client is blamed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import queue
import re
import shlex
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from mockdify.checks.model import CAPABILITIES, GENERATING, Call, Failure, Outcome
from mockdify.errors import MockdifyError

__all__ = [
    "GRACE",
    "Abandoned",
    "Adapter",
    "AdapterError",
    "ExecAdapter",
    "HttpAdapter",
    "PythonAdapter",
    "adapter_of",
    "load",
]

GRACE = 1.5
"""Seconds beyond its limit after which a call counts as hung."""
_HELLO = 30.0
_KINDS = {"http", "stream", "network", "timeout", "protocol"}
_MISTAKES = re.compile(
    r"^\W*(?:Uncaught )?(?:(?:UnboundLocal|Type|Attribute|Key|Index|Name|Reference|Range|Assertion|Lookup|Recursion"
    r"|ZeroDivision|NullPointer|IndexOutOfBounds|ClassCast)(?:Error|Exception)|panic|runtime error)\b"
)
"""How the message of a program's own mistake begins. A parser's error is a report: what it was given decides."""


class AdapterError(MockdifyError):
    """The adapter itself failed: nothing can be said about its client."""


class Abandoned(Exception):
    """Raised out of `emit` when the harness no longer wants the answer. Let it pass, closing what is open."""


class Adapter(Protocol):
    """A client as the harness sees it."""

    name: str

    def capabilities(self) -> frozenset[str]:
        """What the client can do, in the words of `CAPABILITIES`."""
        ...

    def call(self, call: Call, *, abandon: bool = False, watched: float | None = None) -> Outcome:
        """Make *call* and wait for what the client says.

        Args:
            call: what is asked of the client.
            abandon: ask the client to stop reading at its first delta.
            watched: seconds to wait, where that is not the call's own limit and a little more.
        """
        ...

    def another(self) -> Adapter:
        """One more like this, for calls beside each other."""
        ...

    def settle(self) -> None:
        """Wait for calls that were given up, or be rid of them: their connections are closed by now."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


# ---------------------------------------------------------------------- answers
def fill(outcome: Outcome, said: Mapping[str, Any]) -> None:
    """Take over the answer of an adapter: the JSON of the protocol."""
    outcome.data = said
    outcome.ok = bool(said.get("ok"))
    outcome.text = said.get("text") or ""
    outcome.conversation_id = said.get("conversation_id") or ""
    outcome.message_id = said.get("message_id") or ""
    outcome.outputs, outcome.usage = said.get("outputs"), said.get("usage")
    if not outcome.ok:
        outcome.error = _failure(said.get("error"))


def _failure(error: Any) -> Failure:
    said = error if isinstance(error, Mapping) else {"kind": "protocol", "message": str(error)}
    kind, message = str(said.get("kind", "")), str(said.get("message") or "")
    if kind not in _KINDS or (kind == "protocol" and _MISTAKES.match(message)):
        kind = "crash"
    status, code = said.get("status"), said.get("code")
    return Failure(
        kind=kind,
        status=status if isinstance(status, int) else None,
        code=None if code is None else str(code),
        message=message,
    )


def _emitter(outcome: Outcome, abandon: bool) -> Callable[[str], None]:
    def emit(text: str) -> None:
        if text:
            outcome.deltas.append((time.time(), text))
        if abandon:
            raise Abandoned

    return emit


# ---------------------------------------------------------------------- Python
_METHODS = {*GENERATING, "stop", "conversations", "messages", "rename", "delete", "feedback", "upload"}


class PythonAdapter:
    """An object with a method per call, or one function that does `chat`.

    Arguments go by name, as many as the method takes: `base_url api_key query user inputs conversation_id stream
    timeout` and `emit`, to be called with each delta. It returns the text, or an object or dict with the fields of the
    protocol; an exception is the client's error.
    """

    def __init__(self, target: Any, name: str = "") -> None:
        if inspect.isclass(target):
            target = target()
        if isinstance(target, Mapping):
            self._methods = dict(target)
        else:
            self._methods = {name: getattr(target, name) for name in _METHODS if callable(getattr(target, name, None))}
            if not self._methods and callable(target):
                self._methods = {"chat": target}
        said = getattr(target, "capabilities", None)
        self._said = said() if callable(said) else said
        self.name = name or getattr(target, "name", "") or getattr(target, "__name__", type(target).__name__)
        if not set(self._methods) & set(GENERATING):
            raise AdapterError(
                f"{self.name} has none of the methods {', '.join(GENERATING)}; an adapter needs one of them"
            )
        self._known: frozenset[str] | None = None
        self._takes: dict[str, set[str]] = {}
        self._idle: list[_Worker] = []
        self._late: list[tuple[_Worker, threading.Event]] = []

    def capabilities(self) -> frozenset[str]:
        """As said, or as its methods and their parameters tell."""
        if self._known is None:
            self._known = self._found()
        return self._known

    def _found(self) -> frozenset[str]:
        if self._said is not None:
            return _known(self._said, self.name)
        found = {"parallel"}
        for name, method in self._methods.items():
            takes = _parameters(method)
            if name not in GENERATING:
                found.add(name)
                continue
            found |= {f"{name}.blocking", f"{name}.streaming"} if "stream" in takes else {f"{name}.blocking"}
            if "emit" in takes:
                found |= {"incremental", "abandon"}
        return frozenset(found)

    def call(self, call: Call, *, abandon: bool = False, watched: float | None = None) -> Outcome:
        """In a thread of its own, so that a call that hangs can be left behind."""
        outcome = Outcome(call=call, started=time.time())
        begun = time.monotonic()
        done = threading.Event()
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = _Worker()
        worker.work.put(lambda: self._run(call, outcome, abandon, done))
        if done.wait(watched or call.timeout + GRACE):
            outcome.seconds = time.monotonic() - begun
            self._idle.append(worker)
            return outcome
        self._late.append((worker, done))
        left = Outcome(call=call, started=outcome.started, seconds=time.monotonic() - begun, hung=True)
        left.deltas = list(outcome.deltas)  # what comes later is nobody's
        return left

    def _run(self, call: Call, outcome: Outcome, abandon: bool, done: threading.Event) -> None:
        method = self._methods[call.name]
        said = call.as_json() | {"emit": _emitter(outcome, abandon)}
        del said["call"]
        takes = self._takes.get(call.name) or self._takes.setdefault(call.name, _parameters(method))
        try:
            result = method(**(said if "**" in takes else {key: value for key, value in said.items() if key in takes}))
            fill(outcome, _as_said(result))
        except Abandoned:
            fill(outcome, {"ok": True, "abandoned": True})
        except SystemExit as error:
            outcome.error = Failure(kind="crash", message=f"SystemExit: {error}")
        except Exception as error:  # noqa: BLE001 - whatever a client raises is its answer
            outcome.error = _raised(error)
        finally:
            done.set()

    def another(self) -> PythonAdapter:
        """This one: each call has a thread anyhow."""
        return self

    def settle(self) -> None:
        """Give calls that were left behind a moment to see their closed connections."""
        for worker, done in self._late:
            if done.wait(1.0):
                self._idle.append(worker)
        self._late.clear()

    def close(self) -> None:
        """Let the threads end."""
        for worker in self._idle:
            worker.work.put(None)
        self._idle.clear()


class _Worker:
    """A thread that makes one call after the other: a new one for each would cost as much as the call."""

    def __init__(self) -> None:
        self.work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._go, daemon=True, name="mockdify call").start()

    def _go(self) -> None:
        while (job := self.work.get()) is not None:
            job()


def _parameters(method: Callable[..., Any]) -> set[str]:
    try:
        found = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return {"**"}
    return {"**" if one.kind is one.VAR_KEYWORD else one.name for one in found}


_FIELDS = ("text", "conversation_id", "message_id", "outputs", "usage", "task_id")


def _as_said(result: Any) -> Mapping[str, Any]:
    """What a method returned, as an answer of the protocol."""
    if isinstance(result, Mapping):
        return {"ok": True, **result}
    if isinstance(result, str) or result is None:
        return {"ok": True, "text": result or ""}
    if isinstance(result, list):
        return {"ok": True, "data": result}
    return {"ok": True, **{name: getattr(result, name) for name in _FIELDS if hasattr(result, name)}}


_TIMEOUT = re.compile(r"Timeout|TimedOut", re.IGNORECASE)
_NETWORK = re.compile(
    r"Connect|Network|Transport|Protocol|ChunkedEncoding|Incomplete|Payload|Disconnect|ReadError|URLError"
)
_PARSERS = (json.JSONDecodeError, UnicodeError)
_OWN_MISTAKES = (
    AttributeError, TypeError, NameError, LookupError, ArithmeticError, AssertionError, RecursionError, StopIteration,
)  # fmt: skip


def _raised(error: BaseException) -> Failure:
    """An exception as an error report: its own fields where it has some, its kind by its class otherwise."""
    said: dict[str, Any] = {"message": f"{type(error).__name__}: {error}"}
    response = getattr(error, "response", None)
    for name, others in (("status", ("status_code",)), ("code", ("error_code",))):
        values = [getattr(error, one, None) for one in (name, *others)]
        said[name] = next((value for value in values if isinstance(value, int | str) and value != ""), None)
    if said["status"] is None and response is not None:
        said["status"] = getattr(response, "status_code", None)
        with contextlib.suppress(Exception):
            said["code"] = response.json().get("code")
    kind = getattr(error, "kind", None)
    if kind not in _KINDS:
        kind = _kind_of(error, said["status"])
    said["kind"] = kind
    if kind == "crash":
        where = traceback.extract_tb(error.__traceback__)[-1]
        said["message"] += f" ({Path(where.filename).name}:{where.lineno})"
    return Failure(
        kind=kind,
        status=said["status"] if isinstance(said["status"], int) else None,
        code=None if said["code"] is None else str(said["code"]),
        message=said["message"],
    )


def _kind_of(error: BaseException, status: Any) -> str:
    names = " ".join(cls.__name__ for cls in type(error).__mro__ if cls not in (object, BaseException, Exception))
    if isinstance(status, int):
        return "http"
    if isinstance(error, TimeoutError) or _TIMEOUT.search(names):
        return "timeout"
    if isinstance(error, _PARSERS):
        return "protocol"
    if isinstance(error, _OWN_MISTAKES):
        return "crash"
    if isinstance(error, OSError) or _NETWORK.search(names):
        return "network"
    return "protocol"


def _known(said: Iterable[str], name: str) -> frozenset[str]:
    found = frozenset(map(str, said))
    if not found & {f"{call}.{mode}" for call in GENERATING for mode in ("blocking", "streaming")}:
        raise AdapterError(
            f"{name} says it can do {', '.join(sorted(found)) or 'nothing'}; "
            "it needs one of chat.blocking, chat.streaming, completion.…, workflow.…"
        )
    return found & set(CAPABILITIES)


# ---------------------------------------------------------------------- JSON lines
class ExecAdapter:
    """A program that reads one JSON object a line and writes one line per call. One process serves all calls."""

    def __init__(
        self, command: str | list[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._command = shlex.split(command) if isinstance(command, str) else command
        if not self._command:
            raise AdapterError(
                "--exec got an empty command; give the program and its arguments: --exec 'node adapter.mjs'"
            )
        self.name = next((Path(word).stem for word in reversed(self._command) if not word.startswith("-")), "client")
        self._cwd, self._env = cwd, dict(env) if env is not None else None
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._made = 0
        self._waiting: dict[int, _Answer] = {}
        self._errors: list[str] = []
        self._listener: threading.Thread | None = None
        self._garbage: str | None = None
        self._late = False
        self._said: frozenset[str] | None = None

    def capabilities(self) -> frozenset[str]:
        """As the program's `hello` says."""
        if self._said is None:
            answer = self._send({"call": "hello"})
            if not answer.done.wait(_HELLO):
                raise AdapterError(f"{self._shown} did not answer hello within {_HELLO:g} s{self._told()}")
            said = self._checked(answer, "hello").get("capabilities")
            if not isinstance(said, list):
                raise AdapterError(f'{self._shown} answered hello without "capabilities": [...]')
            self._said = _known(said, self.name)
        return self._said

    def call(self, call: Call, *, abandon: bool = False, watched: float | None = None) -> Outcome:
        """Write the call, wait for its line."""
        outcome = Outcome(call=call, started=time.time())
        begun = time.monotonic()
        answer = self._send(call.as_json(), outcome)
        if abandon:
            answer.first.wait(call.timeout)
            self._send({"call": "abandon", "of": answer.number}, quiet=True)
        got = answer.done.wait(watched or call.timeout + GRACE)
        outcome.seconds = time.monotonic() - begun
        if not got:
            outcome.hung = self._late = True
            return outcome
        fill(outcome, self._checked(answer, call.name))
        return outcome

    def another(self) -> ExecAdapter:
        """One more process."""
        return ExecAdapter(self._command, cwd=self._cwd, env=self._env)

    def settle(self) -> None:
        """A program that does not come back from a hung call is started anew."""
        if not self._late:
            return
        self._late = False
        until = time.monotonic() + 1.0
        for answer in list(self._waiting.values()):
            answer.done.wait(max(0.0, until - time.monotonic()))
        if any(not answer.done.is_set() for answer in self._waiting.values()):
            self._end()
        self._waiting.clear()

    def close(self) -> None:
        """End the program."""
        self._end()

    # ------------------------------------------------------------------ within
    @property
    def _shown(self) -> str:
        return f"adapter {shlex.join(self._command)!r}"

    def _told(self) -> str:
        return f"; it said: {' / '.join(self._errors[-3:])}" if self._errors else ""

    def _send(self, message: Mapping[str, Any], outcome: Outcome | None = None, *, quiet: bool = False) -> _Answer:
        with self._lock:
            process = self._started()
            self._made += 1
            answer = _Answer(self._made, outcome)
            if not quiet:
                self._waiting[answer.number] = answer
            line = json.dumps({"id": answer.number, **message}, ensure_ascii=True)
            assert process.stdin is not None
            try:
                process.stdin.write(line + "\n")
                process.stdin.flush()
            except OSError:
                answer.died = True
                answer.done.set()
        return answer

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or (self._process.poll() is not None and not self._waiting):
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    cwd=self._cwd,
                    env=self._env,
                )
            except OSError as error:
                raise AdapterError(f"cannot start {self._shown}: {error.strerror or error}") from None
            threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
            self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
            self._listener.start()
        return self._process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                self._take(line)
        if process is self._process:
            for answer in list(self._waiting.values()):
                if not answer.done.is_set():
                    answer.died = True
                    answer.done.set()

    def _take(self, line: str) -> None:
        try:
            said = json.loads(line)
            answer = self._waiting.get(said["id"])
        except (ValueError, TypeError, KeyError):
            self._garbage = line.rstrip()[:200]
            for answer in list(self._waiting.values()):
                answer.done.set()
            return
        if answer is None:
            return
        if "delta" in said:
            if answer.outcome is not None and said["delta"]:
                answer.outcome.deltas.append((time.time(), str(said["delta"])))
            answer.first.set()
        else:
            answer.said = said
            answer.first.set()
            answer.done.set()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self._errors.append(line.rstrip()[:300])
            del self._errors[:-20]

    def _checked(self, answer: _Answer, call: str) -> Mapping[str, Any]:
        self._waiting.pop(answer.number, None)
        if answer.said is None and self._garbage is not None:
            garbage, self._garbage = self._garbage, None
            raise AdapterError(
                f"{self._shown} wrote a line that is not its protocol during {call!r}: {garbage!r}; "
                "stdout is for JSON lines alone, write everything else to stderr"
            )
        if answer.said is None:
            code = self._process.wait(2) if self._process is not None else None
            if self._listener is not None:
                self._listener.join(1.0)  # its last words
            raise AdapterError(f"{self._shown} ended with code {code} during {call!r}{self._told()}")
        return answer.said

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            with contextlib.suppress(OSError, ValueError):
                if pipe is not None:
                    pipe.close()


class _Answer:
    """One call on its way."""

    def __init__(self, number: int, outcome: Outcome | None) -> None:
        self.number, self.outcome = number, outcome
        self.said: Mapping[str, Any] | None = None
        self.died = False
        self.first, self.done = threading.Event(), threading.Event()


# ---------------------------------------------------------------------- HTTP
class HttpAdapter:
    """A URL that takes the same JSON as POST and answers it: for clients inside a service."""

    def __init__(self, url: str) -> None:
        self.name = self._url = url
        self._made = 0

    def capabilities(self) -> frozenset[str]:
        """As `hello` says; what needs a second line on the way is not there."""
        said = self._post({"id": 0, "call": "hello"}, _HELLO).get("capabilities")
        return _known(said or (), self.name) - {"incremental", "abandon"}

    def call(self, call: Call, *, abandon: bool = False, watched: float | None = None) -> Outcome:  # noqa: ARG002 - not one of its capabilities
        """One POST."""
        self._made += 1
        outcome = Outcome(call=call, started=time.time())
        begun = time.monotonic()
        try:
            fill(outcome, self._post({"id": self._made, **call.as_json()}, watched or call.timeout + GRACE))
        except TimeoutError:
            outcome.hung = True
        outcome.seconds = time.monotonic() - begun
        return outcome

    def _post(self, message: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        import urllib.error  # noqa: PLC0415 - for this kind of adapter alone
        import urllib.request  # noqa: PLC0415

        request = urllib.request.Request(  # noqa: S310 - the user's own URL
            self._url, json.dumps(message).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
                said = json.loads(response.read())
        except TimeoutError:
            raise
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise TimeoutError from None
            raise AdapterError(f"adapter {self._url} could not be asked: {error.reason}") from None
        except ValueError as error:
            raise AdapterError(f"adapter {self._url} answered something that is not JSON: {error}") from None
        if not isinstance(said, Mapping):
            raise AdapterError(f"adapter {self._url} answered {type(said).__name__}, not an object")
        return said

    def another(self) -> HttpAdapter:
        """This one."""
        return self

    def settle(self) -> None:
        """Nothing is left behind."""

    def close(self) -> None:
        """Nothing was started."""


# ---------------------------------------------------------------------- finding one
def adapter_of(target: Any) -> Adapter:
    """*target* as an adapter: one already, or a Python object or function."""
    if isinstance(target, ExecAdapter | HttpAdapter | PythonAdapter):
        return target
    return PythonAdapter(target)


def load(text: str) -> Adapter:
    """The adapter that the command line names: `module:object`, `file.py`, `file.py:object` or a URL."""
    if text.startswith(("http://", "https://")):
        return HttpAdapter(text)
    place, _, name = text.partition(":")
    try:
        module = _file(Path(place)) if place.endswith(".py") else _module(place)
    except AdapterError:
        raise
    except Exception as error:
        raise AdapterError(f"cannot import {place!r}: {type(error).__name__}: {error}") from error
    for one in (name,) if name else ("adapter", "Adapter", "chat"):
        target: Any = module
        for part in one.split("."):
            target = getattr(target, part, None)
        if target is not None:
            return PythonAdapter(target, name=name or Path(place).stem)
    raise AdapterError(f"{place!r} has no {name or 'adapter'!r}; name the adapter as {place}:NAME")


def _file(path: Path) -> Any:
    if not path.is_file():
        raise AdapterError(f"there is no file {str(path)!r}; ADAPTER is module:object, file.py or a URL")
    spec = importlib.util.spec_from_file_location(f"_adapter_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _import_from(path.parent)
    spec.loader.exec_module(module)
    return module


def _module(name: str) -> Any:
    _import_from(Path.cwd())
    return importlib.import_module(name)


def _import_from(folder: Path) -> None:
    """Let an adapter import what lies beside it."""
    if str(folder.resolve()) not in sys.path:
        sys.path.insert(0, str(folder.resolve()))
