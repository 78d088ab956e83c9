"""One plain JSON Schema out of a contract file, for one release, app mode and view.

The files say in place what differs: `x-since` and `x-until` (releases, both ends included), `x-modes` (app modes),
`x-views` (`run`: the stream of the request that starts a run; `events`: the stream of one joined later), `x-cases` (the
first that applies is merged in), `x-should` (what a client ought to send, where Dify takes more) and `x-guide` (what
stands in its place for the profile `guide`). References are
replaced by what they name, because that again depends on the mode, and `allOf` of plain objects is joined, so that an
unknown field is told by `additionalProperties` and at once.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mockdify.contracts._files import Json, read
from mockdify.errors import MockdifyError

__all__ = ["OLDEST", "Context", "Schema", "View", "applies", "parse_profile", "parse_release", "resolve"]

Schema: TypeAlias = Json
View: TypeAlias = Literal["run", "events"]

OLDEST = (1, 13)
GUIDED = ("completion", "chat", "advanced-chat")
_RELEASE = re.compile(r"(\d+)\.(\d+)(\.\d+)?")
_CONDITIONS = frozenset({"x-since", "x-until", "x-modes", "x-views"})
_GONE = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a schema may depend on."""

    release: tuple[int, int]
    mode: str | None = None
    view: View = "run"
    should: bool = False
    guide: bool = False
    """Whether the profile `guide` is meant, which shows less and takes more than the release it is made from."""

    @property
    def is_projected(self) -> bool:
        """Whether the guide's own words hold: of agents and workflows it says nothing, so they are Dify's."""
        return self.guide and (self.mode is None or self.mode in GUIDED)


def parse_profile(text: str) -> tuple[tuple[int, int], bool]:
    """The release that a profile is made from, and whether it is the `guide`."""
    return ((1, 16), True) if text in ("guide", "guide-delta") else (parse_release(text), False)


def parse_release(text: str) -> tuple[int, int]:
    """`1.16` or `1.16.1` as numbers to compare; the third number never matters."""
    match = _RELEASE.fullmatch(text.strip())
    release = (int(match[1]), int(match[2])) if match else (0, 0)
    if release < OLDEST:
        raise MockdifyError(
            f"no contracts for release {text!r}: they begin with 1.13. Say a release like 1.13 or 1.16."
        )
    return release


def applies(schema: Json, context: Context) -> bool:
    """Does this part hold in that release, mode and view? Without a mode, parts for some modes hold."""
    if "x-since" in schema and context.release < parse_release(schema["x-since"]):
        return False
    if "x-until" in schema and context.release > parse_release(schema["x-until"]):
        return False
    if "x-modes" in schema and context.mode is not None and context.mode not in schema["x-modes"]:
        return False
    return "x-views" not in schema or context.view in schema["x-views"]


def resolve(name: str, context: Context, pointer: str = "") -> Schema:
    """The plain schema of a file, or of the part that *pointer* names. A part that does not apply is an error."""
    found = _resolve(_at(read(name), pointer), name, context)
    if found is _GONE:
        raise MockdifyError(f"contract {name!r} has nothing for release {context.release} and mode {context.mode!r}.")
    return found


def _at(document: Json, pointer: str) -> Json:
    for key in pointer.strip("/").split("/") if pointer.strip("/") else ():
        document = document[key]
    return document


def _resolve(schema: Json, base: str, context: Context) -> Json:
    if isinstance(schema, bool):
        return schema
    if not applies(schema, context):
        return _GONE
    if context.is_projected and "x-guide" in schema:
        return _resolve(schema["x-guide"], base, context)
    out: dict[str, Json] = {}
    if "$ref" in schema:
        _merge(out, _follow(schema["$ref"], base, context))
    for part in schema.get("allOf", ()):
        _join(out, _resolve(part, base, context))
    case = next((r for c in schema.get("x-cases", ()) if (r := _resolve(c, base, context)) is not _GONE), None)
    _merge(out, {} if case is None else case)
    _merge(out, _own(schema, base, context))
    if "x-should" in schema and context.should:
        _merge(out, _resolve(schema["x-should"], base, context))
    if out.get("unevaluatedProperties") is False:
        out["additionalProperties"] = out.pop("unevaluatedProperties")
    return out


def _follow(reference: str, base: str, context: Context) -> Json:
    file, _, pointer = reference.partition("#")
    name = posixpath.normpath(posixpath.join(posixpath.dirname(base), file)).removesuffix(".json") if file else base
    return _resolve(_at(read(name), pointer), name, context)


def _own(schema: Json, base: str, context: Context) -> dict[str, Json]:
    out: dict[str, Json] = {}
    gone: set[str] = set()
    for key, value in schema.items():
        match key:
            case "properties":
                parts = {name: _resolve(part, base, context) for name, part in value.items()}
                gone = {name for name, part in parts.items() if part is _GONE}
                out[key] = {name: part for name, part in parts.items() if part is not _GONE}
            case "items" | "additionalProperties" | "not" | "if" | "then" | "else":
                part = _resolve(value, base, context)
                if part is not _GONE:
                    out[key] = part
            case "anyOf" | "oneOf":
                out[key] = [part for p in value if (part := _resolve(p, base, context)) is not _GONE]
            case "$ref" | "$defs" | "$schema" | "allOf" | "x-cases" | "x-should" | "x-guide":
                pass
            case _ if key not in _CONDITIONS:
                out[key] = value
    if gone and "required" in out:
        out["required"] = [name for name in out["required"] if name not in gone]
    return out


def _merge(out: dict[str, Json], more: Json) -> None:
    """Add *more* to *out*: properties and required are joined, anything else of *more* wins."""
    for key, value in more.items():
        if key == "properties":
            out[key] = {**out.get(key, {}), **value}
        elif key == "required":
            out[key] = list(dict.fromkeys([*out.get(key, ()), *value]))
        elif key == "allOf":
            out.setdefault(key, []).extend(value)
        else:
            out[key] = value


_PLAIN = frozenset({"type", "properties", "required", "title", "description"})


def _join(out: dict[str, Json], part: Json) -> None:
    """Take in one member of an `allOf`: joined when it only adds properties, else kept beside."""
    if part is _GONE:
        return
    if set(part) <= _PLAIN:
        _merge(out, part)
    else:
        out.setdefault("allOf", []).append(part)
