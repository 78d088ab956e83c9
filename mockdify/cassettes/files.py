"""Cassette files: loaded whole or refused, written by one at a time, complete whenever somebody kills the writer.

A `Writer` adds one interaction as one line: first as a comment, then its first character is overwritten. Whatever
moment the process dies at, the file is YAML with every interaction whose `append` returned; a torn comment is all that
can be left, and YAML does not mind it. Closing the writer turns the lines into readable blocks, in a new file that
replaces the old one at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from mockdify.cassettes import text
from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from mockdify.cassettes.interaction import Interaction

__all__ = ["BusyCassetteError", "CassetteError", "DamagedCassetteError", "MissingCassetteError", "Writer", "append"]
__all__ += ["load", "locked", "save", "tidy"]

_RETRY = 0.02  # seconds between two looks at a lock


class CassetteError(MockdifyError):
    """Something is wrong with a cassette file."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


class DamagedCassetteError(CassetteError):
    """The file is there but is no whole cassette; it is left as it is."""


class MissingCassetteError(CassetteError):
    """There is no such file."""


class BusyCassetteError(CassetteError):
    """Somebody else is writing the file."""


# ---------------------------------------------------------------- reading
def load(path: str | os.PathLike[str]) -> list[Interaction]:
    """The interactions of the cassette at *path*, in its order.

    Raises:
        MissingCassetteError: There is no such file.
        DamagedCassetteError: It cannot be read whole.
    """
    return _load(Path(path))[0]


def _load(path: Path) -> tuple[list[Interaction], bytes]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MissingCassetteError(path, f"{path}: there is no such cassette. {_neighbours(path)}".rstrip()) from None
    except OSError as error:
        raise CassetteError(path, f"{path}: the cassette cannot be read: {error.strerror}.") from None
    try:
        return text.read(data)
    except text.UnreadableError as error:
        raise DamagedCassetteError(
            path,
            f"{path}: the cassette is damaged: {error}. It was not touched; mend it, or move it away to record anew.",
        ) from None


def _neighbours(path: Path) -> str:
    found = sorted(each.name for each in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
    return f"In {path.parent} there are: {', '.join(found[:8])}." if found else ""


# ---------------------------------------------------------------- writing whole files
def save(path: str | os.PathLike[str], interactions: Iterable[Interaction], *, notes: Iterable[str] = ()) -> None:
    """Replace the cassette at *path* by one with *interactions*; *notes* become comments at its top.

    The caller holds the lock, see `locked`.
    """
    blocks = [text.block(each) for each in interactions]
    comments = "".join(f"# {note}\n" for note in notes)
    head = text.OPENING + comments + text.HEAD + "".join(blocks) + text.closing(len(blocks))
    _replace(Path(path), [head.encode()])


def append(path: str | os.PathLike[str], interactions: Iterable[Interaction], *, wait: float = 10.0) -> None:
    """Add *interactions* to the cassette at *path*, waiting up to *wait* seconds for whoever writes it now."""
    with Writer(path, wait=wait) as writer:
        for each in interactions:
            writer.append(each)


def tidy(path: str | os.PathLike[str], *, wait: float = 10.0) -> None:
    """Rewrite the cassette at *path* in readable blocks: after a kill, or when something else saved it."""
    with locked(path, wait=wait):
        save(path, load(path))


def _replace(path: Path, pieces: Iterable[bytes], *, durable: bool = True) -> None:
    """Put *pieces* at *path* so that nobody ever sees a part of them."""
    temporary = path.with_name(f".{path.name}.tmp")  # always the same: what a kill leaves is overwritten by the next
    try:
        with temporary.open("wb") as file:
            file.writelines(pieces)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise CassetteError(path, f"{path}: the cassette cannot be written: {error.strerror}.") from None
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name last too; not every system can open a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ---------------------------------------------------------------- one writer at a time
@contextlib.contextmanager
def locked(path: str | os.PathLike[str], *, wait: float = 0.0) -> Iterator[None]:
    """Nobody else writes the cassette at *path* meanwhile.

    The lock is a file beside it that the operating system frees when its holder dies, however it dies.

    Raises:
        BusyCassetteError: Somebody else held the lock for *wait* seconds.
    """
    held = _lock(Path(path), wait)
    try:
        yield
    finally:
        _unlock(held, _lock_path(Path(path)))


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _lock(path: Path, wait: float) -> IO[bytes]:
    deadline = time.monotonic() + wait
    beside = _lock_path(path)
    while True:
        held = _try_lock(path, beside)
        if held is not None:
            return held
        if time.monotonic() >= deadline:
            raise BusyCassetteError(
                path,
                f"{path}: another recorder is writing this cassette{_holder(beside)}. "
                "Stop it, or record into a file of its own.",
            )
        time.sleep(_RETRY)


def _try_lock(path: Path, beside: Path) -> IO[bytes] | None:
    """The lock, or None when it is taken, or was removed while we took it."""
    try:
        file = beside.open("a+b")
    except OSError as error:
        raise CassetteError(path, f"{path}: the cassette cannot be written: {error.strerror}.") from None
    if not (_hold(file) and _is_still(file, beside)):
        file.close()
        return None
    file.truncate(0)
    file.write(f"{os.getpid()}\n".encode())
    file.flush()
    return file


def _is_still(file: IO[bytes], beside: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), beside.stat())
    except FileNotFoundError:
        return False


def _unlock(file: IO[bytes], beside: Path) -> None:
    # Removed while it is still held: whoever opened the old file sees that it is gone, and tries again.
    with contextlib.suppress(OSError):
        beside.unlink()
    file.close()
    with contextlib.suppress(OSError):  # Windows removes no open file
        if sys.platform == "win32":
            beside.unlink()


def _holder(beside: Path) -> str:
    try:
        pid = beside.read_text().strip()
    except OSError:
        return ""
    return f" (process {pid})" if pid else ""


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _hold(file: IO[bytes]) -> bool:
        try:
            file.seek(0x7FFFFFF0)  # behind anything that is written: locked bytes cannot be read there
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _hold(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


# ---------------------------------------------------------------- adding while others may kill us
class Writer:
    """Adds interactions to a cassette, one by one, and owns it until `close`.

    What `append` has taken survives the death of the process at once, and that of the machine after `sync`.

    Raises:
        BusyCassetteError: Somebody else has been writing it for *wait* seconds.
        DamagedCassetteError: The file is there but is no whole cassette.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, wait: float = 0.0, fresh: bool | Callable[[], bool] = False
    ) -> None:
        self.path = Path(path)
        self._lock_file = _lock(self.path, wait)
        self._file: IO[bytes] | None = None
        self._tail: list[Interaction] = []
        self._blocks_end = self._end = 0
        self.old: list[Interaction] = []
        """What was there before; empty when *fresh* asked for it to be replaced by the first new interaction."""
        try:
            self._open(fresh=fresh if isinstance(fresh, bool) else fresh())  # asked while nobody else may write
        except BaseException:
            _unlock(self._lock_file, _lock_path(self.path))
            raise

    def _open(self, *, fresh: bool) -> None:
        try:
            old, torn = _load(self.path)
        except MissingCassetteError:
            return
        if fresh:
            return
        self.old = old
        data = self.path.read_bytes()
        end = data.rfind(b"\n" + text.END.encode())
        if torn or not data.endswith(text.END.encode()) or not data.startswith(text.OPENING.encode()) or not self.old:
            self._begin(self.old)
        else:
            self._attach(end + 1)

    def _begin(self, interactions: Iterable[Interaction]) -> None:
        """Write the file anew, all in blocks. An empty one is left for the first interaction to begin."""
        interactions = list(interactions)
        if not interactions:
            return
        data = text.OPENING + text.HEAD + "".join(map(text.block, interactions))
        # Not synced: that may take 30 ms, and a client waits for the end of its reply; `sync` follows soon.
        _replace(self.path, [data.encode(), text.END.encode()], durable=False)
        self._attach(len(data.encode()))

    def _attach(self, blocks_end: int) -> None:
        self._file = self.path.open("r+b", buffering=0)
        self._blocks_end = blocks_end
        self._end = blocks_end + len(text.END)

    def append(self, interaction: Interaction) -> None:
        """Put *interaction* behind the others; when this returns, a kill loses it no more."""
        if self._file is None:
            self._begin([interaction])
            return
        data = b"# " + text.line(interaction).encode()
        try:
            self._write(self._end, data)
            self._write(self._end, b"-")
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
            raise CassetteError(self.path, f"{self.path}: the cassette cannot be written: {error.strerror}.") from None
        self._end += len(data)
        self._tail.append(interaction)

    def _write(self, position: int, data: bytes) -> None:
        assert self._file is not None
        self._file.seek(position)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def sync(self) -> None:
        """Have everything on the disk itself. May be called from another thread."""
        file = self._file
        if file is not None:
            with contextlib.suppress(OSError, ValueError):  # closed meanwhile, and then it was synced there
                os.fsync(file.fileno())

    def close(self) -> None:
        """Turn the added lines into blocks, replace the file at once, let others write it. Twice does no harm."""
        if self._lock_file.closed:
            return
        try:
            self._settle()
        finally:
            if self._file is not None:
                self._file.close()
            _unlock(self._lock_file, _lock_path(self.path))

    def _settle(self) -> None:
        if self._file is None:
            return
        if not self._tail:
            self.sync()
            return
        self._file.seek(0)
        blocks = self._file.read(self._blocks_end)
        self._file.close()
        _replace(self.path, [blocks, *(text.block(each).encode() for each in self._tail), text.END.encode()])
        self._tail = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
