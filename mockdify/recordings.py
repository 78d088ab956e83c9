"""The cassette of one test: played by a mock server, or recorded through a proxy from a real one."""

from __future__ import annotations

import asyncio
import os
import warnings
from concurrent.futures import Future
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mockdify.api import MockDify
from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from mockdify.cassettes.interaction import Interaction
    from mockdify.cassettes.playback import Playback
    from mockdify.workspace import Workspace

__all__ = ["MODES", "Mode", "PlayedCassette", "RecordedCassette", "Tally", "UnstruckFaultWarning", "is_recorded"]

Mode: TypeAlias = Literal["none", "once", "all"]
MODES = ("none", "once", "all")
"""Never record; record what was not there when the run began; record everything anew."""

_WAIT = 60.0  # seconds for another test, perhaps in another process, that records into the same file
_ANY_KEY = "app-recorded"
_OF_SERVERS = frozenset({"app", "clock", "journal", "unplayed", "workspaces"})
"""What tests may ask of a server, and a recorder has not."""


class Tally:
    """Which interactions of which cassettes the tests of a run have asked for."""

    def __init__(self) -> None:
        self._cassettes: dict[str, tuple[int, set[int]]] = {}

    def add(self, path: str | Path, count: int, asked: Iterable[int]) -> None:
        """Note that of the *count* interactions at *path* those were *asked* for, once more or for the first time."""
        place = str(Path(path).resolve())
        self._cassettes[place] = count, self._cassettes.get(place, (0, set()))[1] | set(asked)

    def take(self, other: Mapping[str, Any]) -> None:
        """Add what `as_dict` told of another process."""
        for path, said in other["cassettes"].items():
            self.add(path, said["interactions"], said["asked"])

    def as_dict(self) -> dict[str, Any]:
        """All of it, as `mockdify verify --played` reads it."""
        found = {
            path: {"interactions": count, "asked": sorted(asked)}
            for path, (count, asked) in sorted(self._cassettes.items())
        }
        return {"cassettes": found}


class PlayedCassette(MockDify):
    """A mock server that plays one cassette, to any key. `inject`, `journal` and the like are those of every server."""

    recording = False

    def __init__(
        self,
        path: Path,
        *,
        repeat: Literal["no", "last", "again"] = "no",
        pace: str | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        if not path.is_file():
            raise MockdifyError(
                f"{path}: there is no such cassette; record it with --mockdify-record once --mockdify-upstream URL"
            )
        self.path = path
        super().__init__(cassette=path, repeat=repeat, pace=pace)
        if secrets := tuple(secrets):  # what was scrubbed is looked for by what stands in its place
            from mockdify.cassettes.playback import playback_of  # noqa: PLC0415 - loaded already

            make = playback_of([path], self._settings.pace, repeat=repeat, extra=secrets)
            self._template = replace(self._template, make_playback=make)

    @property
    def key(self) -> str:
        """A key to call with; any would do."""
        return _ANY_KEY

    @property
    def unplayed(self) -> Sequence[Interaction]:
        """The interactions that nobody has asked for."""
        return self._door.settled(lambda workspace: _playback(workspace).unplayed)

    @property
    def asked(self) -> tuple[int, set[int]]:
        """How many interactions there are, and the places in the file, from 1, of those that were asked for."""

        def look(workspace: Workspace) -> tuple[int, set[int]]:
            player = _playback(workspace).player
            places = {int(place.removeprefix("#")) for place in player.places}
            return len(places), places - {int(player.places[index].removeprefix("#")) for index in player.unplayed}

        return self._door.settled(look)


def _playback(workspace: Workspace) -> Playback:
    from mockdify.cassettes.playback import Playback  # noqa: PLC0415 - loaded already

    assert isinstance(workspace.playback, Playback)
    return workspace.playback


class UnstruckFaultWarning(UserWarning):
    """A test wants a fault while its cassette is being recorded: faults strike only what is played."""


class RecordedCassette:
    """A proxy before a real Dify that writes a cassette, from `start` to `stop`. Also a context manager.

    Args:
        path: The cassette.
        upstream: The real server's base URL.
        secrets: What to scrub besides the usual.
        fresh: A file that is there when the run begins is replaced by the first test that records into it.
        run: The folder that all processes of this run share.
    """

    recording = True

    def __init__(self, path: Path, upstream: str, *, secrets: Iterable[str] = (), fresh: bool, run: Path) -> None:
        self.path = path
        self.upstream = upstream
        self.base_url = ""
        self._secrets = tuple(secrets)
        self._fresh = fresh
        self._mark = run / f"begun-{_called(path)}"
        self._ready: Future[str] = Future()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._failed: BaseException | None = None
        self._thread = Thread(target=self._run, name="mockdify-recorder", daemon=True)

    @property
    def key(self) -> str:
        """The real server's key, from DIFY_API_KEY."""
        key = os.environ.get("DIFY_API_KEY")
        if not key:
            raise MockdifyError("DIFY_API_KEY is not set: recording needs a key of the real server")
        return key

    def inject(self, fault: str, **options: Any) -> None:  # noqa: ARG002 - as on a server that plays
        """Warn that no fault strikes while recording; what is recorded is what the fault will strike later."""
        warnings.warn(
            f"{self.path.name} is being recorded: the fault {fault!r} does not strike now, so this test may fail. "
            "It does once the cassette is played, without --mockdify-record.",
            UnstruckFaultWarning,
            stacklevel=2,
        )

    def __getattr__(self, name: str) -> Any:
        if name in _OF_SERVERS:
            raise AttributeError(
                f"{name}: only a cassette that is played has it, and this one is being recorded. "
                "Ask `if not mockdify_cassette.recording` first."
            )
        raise AttributeError(name)

    def env(self) -> dict[str, str]:
        """The DIFY_* variables, with the proxy in the place of the real server."""
        given = {name: value for name, value in os.environ.items() if name.startswith("DIFY_")}
        return {**given, "DIFY_BASE_URL": self.base_url}

    def start(self) -> Self:
        """Take the cassette and accept connections."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        try:
            self.base_url = self._ready.result()
        except BaseException:
            self._thread.join()
            raise
        return self

    def stop(self) -> None:
        """Finish the file and let the next test write it."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()
        if self._failed is not None:
            raise self._failed

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._record())
        except BaseException as failed:  # noqa: BLE001 - told in the thread that asked for it
            if self._ready.done():
                self._failed = failed
            else:
                self._ready.set_exception(failed)

    async def _record(self) -> None:
        from mockdify.cassettes.proxy import Recorder  # noqa: PLC0415 - only when somebody records
        from mockdify.cassettes.scrub import Scrubber  # noqa: PLC0415

        recorder = Recorder(
            self.upstream, self.path, scrubber=Scrubber(self._secrets), fresh=self._is_first, wait=_WAIT
        )
        async with recorder:
            self._ready.set_result(recorder.url)
            await self._stopped.wait()

    def _is_first(self) -> bool:
        """Whether what is in the file goes: asked while nobody else may write it, and true once a run."""
        if not self._fresh or self._mark.exists():
            return False
        self._mark.parent.mkdir(parents=True, exist_ok=True)
        self._mark.touch()
        return True


def is_recorded(mode: Mode, path: Path, run: Path) -> bool:
    """Whether a test with the cassette *path* is to be recorded.

    `once` means: what was not there when the run began, even if another test of the run has begun to record it.

    Args:
        mode: The mode of the run.
        path: The cassette.
        run: The folder that all processes of this run share.
    """
    if mode != "once":
        return mode == "all"
    mark = run / f"new-{_called(path)}"
    if path.exists() and not mark.exists():
        return False
    run.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return True


def _called(path: Path) -> str:
    return sha256(str(path.resolve()).encode()).hexdigest()[:32]
