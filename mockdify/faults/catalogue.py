"""The table of all faults, and how one is found by its name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from mockdify.errors import MockdifyError
from mockdify.faults import edge, framing, http, stream, transport
from mockdify.faults.base import Kind, Option, Spec
from mockdify.faults.presets import PRESETS
from mockdify.shapes import Problems, nearest

__all__ = ["CATALOGUE", "COMMON", "listing", "spec_of", "take_options", "unknown"]

CATALOGUE: Mapping[str, Kind] = {
    kind.name: kind for kind in (*http.KINDS, *edge.KINDS, *transport.KINDS, *stream.KINDS, *framing.KINDS)
}

COMMON: Mapping[str, Option] = {
    "times": Option(takes="whole", words="how often it strikes; 0 is always", default=1),
    "after": Option(takes="whole", words="how many matching requests pass first (in a stream: events)", default=0),
    "probability": Option(takes="chance", words="the chance to strike, from the workspace's seed", default=1.0),
    "retry_after": http.RETRY["retry_after"],
}
"""Options that every fault takes, wherever they have a meaning."""


def unknown(name: object) -> str:
    """What to say to a name that is no fault's."""
    near = get_close_matches(str(name).lower().replace("_", "-"), [*CATALOGUE, *PRESETS], n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ";"
    return f"there is no fault {name!r}{hint} `mockdify faults` lists all"


def take_options(
    kind: Kind, given: Mapping[str, Any], problems: Problems, path: tuple[str | int, ...]
) -> dict[str, Any]:
    """The options *given* for a fault, as it takes them; mistakes go to *problems*."""
    taken: dict[str, Any] = {}
    for name, value in given.items():
        option = kind.options.get(name) or COMMON.get(name)
        if option is None:
            allowed = nearest(name, sorted({*kind.options, *COMMON, "on", "when"}))
            problems.add((*path, name), f"fault {kind.name!r} has no option {name!r}{allowed}", at_key=True)
        else:
            taken[name] = option.shape(value, (*path, name), problems)
    if taken.get("byte") is not None and taken.get("after"):
        problems.add((*path, "byte"), "give 'after' (events) or 'byte', not both", at_key=True)
    return taken


def spec_of(name: str, options: Mapping[str, Any]) -> Spec:
    """The fault called *name*; a wrong name or option is refused with what there is."""
    kind = CATALOGUE.get(name)
    if kind is None:
        raise MockdifyError(unknown(name))
    problems = Problems()
    taken = take_options(kind, options, problems, ())
    problems.tell()
    return Spec(kind=kind, options=taken)


def listing() -> list[dict[str, Any]]:
    """The catalogue as JSON: faults, then presets."""
    faults = [
        {
            "name": kind.name,
            "kind": kind.when,
            "words": kind.words,
            "real": kind.real,
            "advice": kind.advice,
            "threads": list(kind.threads),
            "options": {
                name: {"takes": option.takes_words, "default": option.default, "words": option.words}
                for name, option in kind.options.items()
            },
        }
        for kind in CATALOGUE.values()
    ]
    presets = [
        {"name": preset.name, "kind": "preset", "words": preset.words, "rules": [dict(rule) for rule in preset.rules]}
        for preset in PRESETS.values()
    ]
    return faults + presets
