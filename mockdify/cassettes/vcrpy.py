"""Our files in vcrpy's hands: for clients that record and replay in their own process.

Stock vcrpy loads our files as they are. What is here makes its *writing* as safe as the proxy's (whole files, one
writer at a time, nothing damaged overwritten, no secrets), and its matching as wide as the player's. `vcr` is imported
late: it imports every HTTP client it can patch, half a second's worth.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockdify.cassettes import files, text
from mockdify.cassettes.interaction import Interaction
from mockdify.cassettes.match import recorded_request, shape
from mockdify.cassettes.scrub import Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Persister", "make_vcr", "same_request"]


_NO_REPLY = {"status": {"code": 0}}


class Persister:
    """Loads and saves whole cassettes for vcrpy: `vcr.VCR().register_persister(Persister())`.

    Saving adds to what others added since this process loaded the file: tests in several processes may share it.

    Args:
        make_scrubber: Makes what takes the secrets out, once a file.
        wait: Seconds to wait for another writer.
    """

    def __init__(self, make_scrubber: Callable[[], Scrubber] = Scrubber, *, wait: float = 10.0) -> None:
        self._make_scrubber = make_scrubber
        self._wait = wait
        self._loaded: dict[str, Counter[str]] = {}
        self._scrubbers: dict[str, Scrubber] = {}

    def load_cassette(self, cassette_path: str | os.PathLike[str], serializer: Any) -> tuple[list[Any], list[Any]]:  # noqa: ARG002
        """Vcrpy's (requests, responses) of a file; its own error when there is none."""
        from vcr.persisters.filesystem import CassetteNotFoundError  # type: ignore[import-untyped]  # noqa: PLC0415
        from vcr.request import Request  # type: ignore[import-untyped]  # noqa: PLC0415
        from vcr.serializers import compat  # type: ignore[import-untyped]  # noqa: PLC0415

        try:
            interactions = files.load(cassette_path)
        except files.MissingCassetteError:
            raise CassetteNotFoundError from None
        self._loaded[os.fspath(cassette_path)] = Counter(map(text.line, interactions))
        raws = [each.to_vcr() for each in interactions]
        requests = [Request(**raw["request"]) for raw in raws]
        return requests, [compat.convert_to_bytes(raw["response"]) for raw in raws]

    def save_cassette(
        self,
        cassette_path: str | os.PathLike[str],
        cassette_dict: Mapping[str, Any],
        serializer: Any,  # noqa: ARG002
    ) -> None:
        """Replace the file by what vcrpy has, and by what others wrote meanwhile."""
        path = os.fspath(cassette_path)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with files.locked(path, wait=self._wait):
            try:
                there = files.load(path)
            except files.MissingCassetteError:
                there = []
            scrub = self._scrubber(path, there)
            pairs = zip(cassette_dict["requests"], cassette_dict["responses"], strict=True)
            ours = [scrub(_interaction(request, response)) for request, response in pairs]
            interactions = [*self._others(path, there), *ours]
            files.save(path, interactions)
            self._loaded[path] = Counter(map(text.line, interactions))

    def _others(self, path: str, there: list[Interaction]) -> list[Interaction]:
        """What is in the file and was not when this process saw it last."""
        known = Counter(self._loaded.get(path, Counter()))
        found = []
        for each in there:
            line = text.line(each)
            if known[line]:
                known[line] -= 1
            else:
                found.append(each)
        return found

    def _scrubber(self, path: str, there: list[Interaction]) -> Scrubber:
        if path not in self._scrubbers:
            self._scrubbers[path] = self._make_scrubber()
        self._scrubbers[path].skip(there)
        return self._scrubbers[path]


def _interaction(request: Any, response: Mapping[str, Any]) -> Interaction:
    """Vcrpy's request and response as one of ours."""
    return Interaction.from_vcr({"request": request._to_dict(), "response": response})  # noqa: SLF001 - what vcrpy saves


def same_request(asked: Any, recorded: Any) -> None:
    """A matcher for vcrpy: the same by meaning (ids, end user, spacing and order of JSON keys may differ)."""
    first, second = (shape(recorded_request(_interaction(each, _NO_REPLY))) for each in (asked, recorded))
    if first.key != second.key:
        raise AssertionError(f"{first.key} != {second.key}")


def make_vcr(**options: Any) -> Any:
    """A `vcr.VCR` that writes with `Persister` and matches with `same_request`; *options* go to it."""
    import vcr  # type: ignore[import-untyped]  # noqa: PLC0415

    made = vcr.VCR(
        **{"match_on": ["same_request"], "decode_compressed_response": True, "record_mode": "none", **options}
    )
    made.register_matcher("same_request", same_request)
    made.register_persister(Persister())
    return made
