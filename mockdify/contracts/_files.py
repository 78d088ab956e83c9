"""The contract files: where they are, and their JSON.

In a wheel they are package data (`mockdify/_contracts`); in a checkout, the folder `contracts` beside the package.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from mockdify.errors import MockdifyError

__all__ = ["Json", "names", "nearest", "read", "root"]

Json: TypeAlias = Any

_PACKAGE = Path(__file__).resolve().parents[1]


@cache
def root() -> Path:
    """The folder that holds the contracts."""
    for folder in (_PACKAGE / "_contracts", _PACKAGE.parent / "contracts"):
        if (folder / "operations.json").is_file():
            return folder
    raise MockdifyError(
        f"the contracts are missing: neither {_PACKAGE / '_contracts'} nor {_PACKAGE.parent / 'contracts'} "
        "has operations.json. Install mockdify again, or run it from a whole checkout."
    )


@cache
def read(name: str) -> Json:
    """The JSON of one file, by its name without ending: `events/message`. Not to be changed: it is shared."""
    path = root() / f"{name}.json"
    if not path.is_file():
        raise MockdifyError(f"there is no contract {name!r}.{nearest(name, names())} `mockdify contracts` lists them.")
    return orjson.loads(path.read_bytes())


@cache
def names(folder: str = "") -> tuple[str, ...]:
    """The names of all contracts, or of those in one folder (`events`), sorted."""
    base = root()
    return tuple(sorted(p.relative_to(base).with_suffix("").as_posix() for p in (base / folder).rglob("*.json")))


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """` Did you mean …?` with the known words most like *word*, or nothing."""
    close = get_close_matches(word, known, n=2)
    return f" Did you mean {' or '.join(close)}?" if close else ""
