"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from mockdify.errors import MockdifyError

__all__ = ["write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Put *text* in the place of *path*. What was there stays when that fails.

    Raises:
        MockdifyError: it cannot be written.
    """
    import tempfile  # noqa: PLC0415 - rarely needed

    temporary = None
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            temporary = Path(file.name)
            file.write(text)
        temporary.chmod(0o644)  # a temporary file is private
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise MockdifyError(f"cannot write {path}: {error.strerror or error}") from None
