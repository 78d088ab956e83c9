"""The catalogue of faults and how one is named: in Python, over HTTP, in a header, in an API key.

A new fault is a class with `apply` in the module of its kind and a row in that module's `KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from mockdify.errors import MockdifyError
from mockdify.faults import http, stream
from mockdify.faults.base import Fault, FaultContext, Kind, Spec

__all__ = ["CATALOGUE", "Fault", "FaultContext", "Kind", "Spec", "parse_spec", "spec_of", "split_key"]

CATALOGUE: dict[str, Kind] = {kind.name: kind for kind in (*http.KINDS, *stream.KINDS)}

COMMON = {"times", "after", "probability", "retry_after", "on", "when", "tag"}
"""Options that the plan or every fault understands."""


def spec_of(name: str, options: Mapping[str, Any]) -> Spec:
    """The fault called *name*; a wrong name or option is refused with what there is."""
    kind = CATALOGUE.get(name)
    if kind is None:
        near = get_close_matches(name, CATALOGUE, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        msg = f"there is no fault {name!r}{hint} `mockdify faults` lists all"
        raise MockdifyError(msg)
    for option, value in options.items():
        wanted = kind.options.get(option)
        if wanted is None and option not in COMMON:
            allowed = ", ".join(sorted({*kind.options, *COMMON}))
            msg = f"fault {name!r} has no option {option!r}; it takes: {allowed}"
            raise MockdifyError(msg)
        if wanted is not None and not isinstance(value, wanted):
            msg = f"fault {name!r}: option {option!r} is {value!r}, which is not a {_word(wanted)}"
            raise MockdifyError(msg)
    return Spec(kind=kind, options=dict(options))


def _word(wanted: type | tuple[type, ...]) -> str:
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    words = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return " or ".join(words.get(kind, kind.__name__) for kind in kinds)


def parse_spec(text: str) -> tuple[Spec, int | None]:
    """`NAME[*N][; option=value]...` as the header and the key suffix write it: the fault and N."""
    head, *rest = (part.strip() for part in text.split(";"))
    name, star, count = head.partition("*")
    if star and not count.isdigit():
        msg = f"in {text!r}: after '*' comes a number of requests, not {count!r}"
        raise MockdifyError(msg)
    options: dict[str, Any] = {}
    for part in filter(None, rest):
        option, equals, value = part.partition("=")
        if not equals:
            msg = f"in {text!r}: {part!r} is not option=value"
            raise MockdifyError(msg)
        options[option.strip()] = _value(option.strip(), value.strip())
    return spec_of(name.strip(), options), int(count) if star else None


def _value(option: str, text: str) -> Any:
    if text.lstrip("-").isdigit():
        return int(text)
    if option == "retry_after":
        return text  # a date or "0.5" is sent as it stands
    try:
        return float(text)
    except ValueError:
        return {"true": True, "false": False}.get(text.lower(), text)


def split_key(token: str) -> tuple[str, str]:
    """An API key and the fault written into it: `app-x!cut;after=2` -> (`app-x`, `cut;after=2`)."""
    key, _, suffix = token.partition("!")
    return key, suffix
