"""The configuration file: `mockdify.toml`, or `[tool.mockdify]` in pyproject.toml.

A `Config` is the template of every workspace and never changes. All mistakes of a file are told at once, one line
each, with file, line, column, what is allowed there and what was probably meant. What may stand where is said in
the tables of this module; the same tables read a rule that comes over HTTP or from Python.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockdify import shapes
from mockdify.errors import MockdifyError
from mockdify.masking import mask_key
from mockdify.model import FAILURES
from mockdify.script import VARIABLES, NodeScript, Round, Rule, Script, When
from mockdify.settings import PROFILES, SETTINGS, Settings, merge
from mockdify.shapes import Field, Problems, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mockdify.shapes import KeyPath

__all__ = [
    "STARTER",
    "AppConfig",
    "Config",
    "Settings",
    "Source",
    "discover",
    "fault_from",
    "fault_from_text",
    "load",
    "locate",
    "merge",
    "node_from",
    "rule_from",
    "with_apps",
    "write_starter",
]

FILE, PYPROJECT, SECTION = "mockdify.toml", "pyproject.toml", ("tool", "mockdify")


# --- a rule, a node, an app, a fault ---------------------------------------------------------------------------------

_ANSWER_TEMPLATE = shapes.template(VARIABLES)
_CHUNKS = shapes.list_of(shapes.text, what="a list of texts")
_TOKENS = shapes.whole(0)


def _price(value: Any, path: KeyPath, problems: Problems) -> str:
    """A decimal, as a text so that none of its digits is lost."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    written = f"{Decimal(str(value)):f}" if is_number else value
    if isinstance(written, str) and re.fullmatch(r"\d{1,20}(\.\d{1,20})?", written):
        return written
    problems.add(path, f'a price such as "0.001" is needed, got {shapes.shown(value)}')
    return "0"


_USAGE = table(
    {
        **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), Field(_TOKENS)),
        **dict.fromkeys(("prompt_unit_price", "completion_unit_price", "price_unit"), Field(_price)),
        "currency": Field(shapes.text),
        **dict.fromkeys(("prompt_price", "completion_price", "total_price"), Field(_price)),
        **dict.fromkeys(("latency", "time_to_first_token", "time_to_generate"), Field(shapes.number(0))),
    }
)
_MATCHES = {
    "query": Field(shapes.text),
    "query_matches": Field(shapes.regex),
    "user": Field(shapes.text),
    "inputs": Field(shapes.mapping(shapes.anything)),
    "turn": Field(shapes.whole(1)),
    "node": Field(shapes.text),
    "app": Field(shapes.text),
}


def _when(value: Any, path: KeyPath, problems: Problems) -> When:
    """Also takes `"inputs.x": …` as one key, which JSON and a quoted TOML key give."""
    if isinstance(value, Mapping):
        flat = {key[7:]: one for key, one in value.items() if isinstance(key, str) and key.startswith("inputs.")}
        if flat and isinstance(value.get("inputs", {}), Mapping):
            rest = {key: one for key, one in value.items() if key[:7] != "inputs."}
            value = rest | {"inputs": {**value.get("inputs", {}), **flat}}
    return When(**table(_MATCHES)(value, path, problems))


def _build_round(found: dict[str, Any], path: KeyPath, problems: Problems) -> Round:
    if not found.get("tool"):
        for name in ("tool_input", "observation"):
            if name in found:
                problems.add((*path, name), f"{name!r} needs a 'tool' beside it", at_key=True)
        if not {"answer", "chunks"} & found.keys():
            problems.add(path, "a round needs a 'tool' that it uses, or 'chunks' or 'answer' that it ends with")
    return Round(**found)


def _tool_input(value: Any, path: KeyPath, problems: Problems) -> Any:
    if isinstance(value, str):
        return _ANSWER_TEMPLATE(value, path, problems)
    return shapes.mapping(shapes.anything)(value, path, problems)


_ROUND = table(
    {
        "thought": Field(_ANSWER_TEMPLATE),
        "tool": Field(shapes.text),
        "tool_input": Field(_tool_input),
        "observation": Field(_ANSWER_TEMPLATE),
        "chunks": Field(_CHUNKS),
        "answer": Field(_ANSWER_TEMPLATE),
    },
    _build_round,
)


def _chunk_pace(value: Any, path: KeyPath, problems: Problems) -> float:
    seconds: float = shapes.pace(value, path, problems).seconds
    return seconds


_DEFAULTS_FIELDS = {
    "answer": Field(_ANSWER_TEMPLATE),
    "chunks": Field(_CHUNKS),
    "usage": Field(_USAGE),
    "pace": Field(_chunk_pace),
    "retriever_resources": Field(shapes.list_of(shapes.mapping(shapes.anything), what="a list of tables")),
    "rounds": Field(shapes.list_of(_ROUND, what="a list of tables", least=1)),
    "fails": Field(shapes.one_of(tuple(FAILURES), "failure")),
    "message": Field(shapes.text),
    "after": Field(shapes.whole(0)),
}
_RULE_FIELDS = {
    "when": Field(_when),
    **_DEFAULTS_FIELDS,
    "times": Field(shapes.whole(1, hint="; leave 'times' out for a rule that answers for ever")),
}


def _build_rule(found: dict[str, Any], path: KeyPath, problems: Problems) -> Rule:
    if not found.keys() & _DEFAULTS_FIELDS.keys() and not problems.within(path):
        problems.add(path, f"a rule that says nothing; it needs one of {', '.join(_DEFAULTS_FIELDS)}")
    if "fails" not in found:
        for name in ("message", "after"):
            if name in found:
                problems.add((*path, name), f"{name!r} needs 'fails' beside it", at_key=True)
    if "rounds" in found:
        for name in ("answer", "chunks"):
            if name in found:
                problems.add((*path, name), f"{name!r} cannot stand beside 'rounds'; put it in a round", at_key=True)
    return Rule(**found, label=shapes.path_text(path))


_RULE = table(_RULE_FIELDS, _build_rule)
_DEFAULTS = table(_DEFAULTS_FIELDS, _build_rule)


def rule_from(data: Any, *, label: str = "answer") -> Rule:
    """The rule that *data* says with the keys of `[[answers]]`; messages call it *label*.

    For rules that come from Python and over HTTP; `when` also takes `"inputs.x"` as one key.
    """
    problems = Problems()
    rule: Rule = _RULE(data, (label,), problems)
    problems.tell()
    return replace(rule, label=label)


def node_from(data: Any, *, label: str = "node") -> NodeScript:
    """What *data* says with the keys of `[[apps.nodes]]`; messages call it *label*."""
    problems = Problems()
    node: NodeScript = _NODE(data, (label,), problems)
    problems.tell()
    return node


def fault_from(data: Any, *, label: str = "fault") -> dict[str, Any]:
    """*data* as `[[faults]]` takes it; names and options of faults are for the catalogue to check."""
    problems = Problems()
    fault: dict[str, Any] = _FAULT(data, (label,), problems)
    problems.tell()
    return fault


def fault_from_text(text: str) -> dict[str, Any]:
    """The same from `NAME[*N][; option=value]...`, as headers and keys write it: every time, unless it has a number.

    `event=N` may stand for `after=N`.
    """
    head, *rest = (part.strip() for part in text.split(";"))
    name, star, times = (part.strip() for part in head.partition("*"))
    said: dict[str, Any] = {"fault": name, "times": _plain(times) if star else 0}
    for part in filter(None, rest):
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise MockdifyError(f"in {text!r}: {part!r} is not option=value")
        said["after" if option == "event" else option] = _plain(value)
    return fault_from(said, label=text)


def _plain(value: str) -> Any:
    """*value* as the number or flag it is written like."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return {"true": True, "false": False}.get(value.lower(), value)


def _build_node(found: dict[str, Any], path: KeyPath, problems: Problems) -> NodeScript:
    if "outputs" in found and "fails" in found:
        problems.add((*path, "outputs"), "a node gives 'outputs' or 'fails', not both", at_key=True)
    elif not found.keys() & {"outputs", "fails", "takes"}:
        problems.add(path, "a node needs 'outputs', 'fails' or 'takes'")
    return NodeScript(**{"node": "", **found})


def _outputs(value: Any, path: KeyPath, problems: Problems) -> Any:
    """Any values; their texts are templates whose variables (the node's inputs) nobody knows yet."""
    if isinstance(value, str):
        return shapes.template()(value, path, problems)
    if isinstance(value, list):
        return [_outputs(one, (*path, k), problems) for k, one in enumerate(value)]
    return shapes.mapping(_outputs)(value, path, problems) if isinstance(value, Mapping) else value


_NODE = table(
    {
        "node": Field(shapes.text, required=True),
        "outputs": Field(shapes.mapping(_outputs)),
        "fails": Field(shapes.text),
        "takes": Field(shapes.duration),
    },
    _build_node,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppConfig:
    """One app of the configuration. Its `name` is the stem of its DSL file."""

    name: str
    dsl: Path
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys by name; empty for the one that follows from the app's name."""
    rules: tuple[Rule, ...] = ()
    nodes: tuple[NodeScript, ...] = ()
    api_enabled: bool = True
    published: bool = True
    profile: str | None = None
    """The release that this app behaves as; None for that of the whole server."""


def _key(value: Any, path: KeyPath, problems: Problems) -> str:
    # A header value is ASCII, and "!" begins the faults inside a key.
    if isinstance(value, str) and re.fullmatch(r"[!-~]+", value) and "!" not in value:
        return value
    got = repr(mask_key(value)) if isinstance(value, str) else shapes.shown(value)
    problems.add(path, f"a key of ASCII characters without blanks and '!' is needed, got {got}")
    return ""


def _keys(value: Any, path: KeyPath, problems: Problems) -> dict[str, str]:
    if isinstance(value, str):
        return {"default": _key(value, path, problems)}
    found: dict[str, str] = shapes.mapping(_key)(value, path, problems)
    return found


def _build_app(found: dict[str, Any], path: KeyPath, problems: Problems) -> AppConfig:
    found["rules"] = found.pop("answers", ())
    _only_once(((node.node, (*path, "nodes", k)) for k, node in enumerate(found.get("nodes", ()))), "node", problems)
    dsl = Path(found.pop("dsl", ""))
    return AppConfig(name=dsl.stem, dsl=dsl, **found)


def _only_once(found: Iterable[tuple[str, KeyPath]], what: str, problems: Problems) -> None:
    first: dict[str, KeyPath] = {}
    for name, path in found:
        if name and name in first:
            shown = mask_key(name) if what == "key" else name
            problems.add(path, f"the {what} {shown!r} is taken already by {shapes.path_text(first[name])}")
        first.setdefault(name, path)


_APP_FIELDS = {
    "dsl": Field(shapes.path, required=True),
    "keys": Field(_keys),
    "answers": Field(shapes.list_of(_RULE, what="a list of tables")),
    "nodes": Field(shapes.list_of(_NODE, what="a list of tables")),
    "api_enabled": Field(shapes.flag),
    "published": Field(shapes.flag),
    "profile": Field(shapes.one_of(PROFILES, "profile")),
}
_APP = table(_APP_FIELDS, _build_app)


def _delay(value: Any, path: KeyPath, problems: Problems) -> float | str:
    if isinstance(value, str):  # sent as it stands: a date, "0.5"
        return value
    seconds: float = shapes.number(0)(value, path, problems)
    return seconds


_FAULT = table(
    {
        "fault": Field(shapes.text, required=True),
        "on": Field(shapes.text),
        "when": Field(shapes.mapping(shapes.anything)),
        "times": Field(shapes.whole(0)),
        "after": Field(shapes.whole(0)),
        "probability": Field(shapes.number(0, 1)),
        "retry_after": Field(_delay),
    },
    others=shapes.anything,
)

_TOP: Mapping[str, Field] = {
    **{name: Field(setting.shape) for name, setting in SETTINGS.items()},
    "defaults": Field(_DEFAULTS),
    "answers": Field(shapes.list_of(_RULE, what="a list of tables")),
    "apps": Field(shapes.list_of(_APP, what="a list of tables")),
    "faults": Field(shapes.list_of(_FAULT, what="a list of tables")),
    "limits": Field(shapes.anything),
}


# --- the file --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The file a configuration came from; it finds the place of a key path when an error is to be told."""

    path: Path
    text: str = field(repr=False)
    section: KeyPath = ()

    def place(self, *path: str | int, key: bool = False) -> tuple[int, int]:
        """Line and column of *path*'s value (or of its *key*), or of the nearest thing around it that is there."""
        from mockdify.positions import find_places, line_and_column  # noqa: PLC0415 - only for an error

        places = find_places(self.text)
        whole = (*self.section, *path)
        for length in range(len(whole), 0, -1):
            if place := places.get(whole[:length]):
                return line_and_column(self.text, place.key if key or length < len(whole) else place.value)
        return 1, 1

    def at(self, *path: str | int, key: bool = False) -> str:
        """`file:line:column` of *path*, to begin a message with."""
        return ":".join(map(str, (_shown(self.path), *self.place(*path, key=key))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that a configuration says. It never changes: workspaces are made after it."""

    settings: Settings = field(default_factory=Settings)
    given: Mapping[str, Any] = field(default_factory=dict)
    """The settings that the file really has; `merge` puts them behind flags and environment."""
    apps: tuple[AppConfig, ...] = ()
    rules: tuple[Rule, ...] = ()
    defaults: Rule | None = None
    faults: tuple[Mapping[str, Any], ...] = ()
    """As written; the catalogue of faults checks names and options. `source.at("faults", 0, …)` says where."""
    limits: Any = None
    source: Source | None = None

    def script(self) -> Script:
        """A new script for one workspace."""
        return Script(
            rules=self.rules,
            apps={app.name: app.rules for app in self.apps},
            defaults=self.defaults,
            nodes={app.name: app.nodes for app in self.apps},
        )

    def where(self, *path: str | int) -> str:
        """`file:line:column: ` of *path*, to begin a message with; empty without a file."""
        return f"{self.source.at(*path)}: " if self.source else ""


def discover(cwd: Path) -> Path | None:
    """The configuration that holds in *cwd*: its own, else that of the nearest folder up to the project's root."""
    for folder in _up_to_root(cwd.resolve()):
        if (folder / FILE).is_file():
            return folder / FILE
        if _has_section(folder / PYPROJECT):
            return folder / PYPROJECT
    return None


def locate(flag: str | Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The configuration to use: `--config`, else `MOCKDIFY_CONFIG`, else what `discover` finds."""
    given = flag or environ.get("MOCKDIFY_CONFIG")
    return cwd / given if given else discover(cwd)


def load(path: Path | str) -> Config:
    """The configuration in the file at *path*; one `MockdifyError` tells all its mistakes."""
    path = Path(path)
    source = Source(path=path, text=_read(path), section=SECTION if path.name == PYPROJECT else ())
    problems = Problems()
    found = table(_TOP)(_section(source, _parsed(source)), (), problems)
    apps = _checked_apps(found.pop("apps", ()), path.parent, problems)
    _tell(source, problems)
    given = {name: found[name] for name in SETTINGS if name in found}
    if "cassette" in given:
        given["cassette"] = tuple(path.parent / one for one in given["cassette"])
    return Config(
        settings=merge({}, {}, given),
        given=given,
        apps=apps,
        rules=found.get("answers", ()),
        defaults=found.get("defaults"),
        faults=found.get("faults", ()),
        limits=found.get("limits"),
        source=source,
    )


def with_apps(config: Config, paths: Iterable[Path | str]) -> Config:
    """*config* with the apps of the command line: DSL files, and folders of them. One that is there stays as it is."""
    apps = {app.dsl.resolve(): app for app in config.apps}
    names = {app.name: app.dsl for app in config.apps}
    for path in _dsl_files(map(Path, paths)):
        if path.resolve() in apps:
            continue
        if path.stem in names:
            raise MockdifyError(_same_name(path, names[path.stem]))
        names[path.stem] = path
        apps[path.resolve()] = AppConfig(name=path.stem, dsl=path)
    return replace(config, apps=tuple(apps.values()))


def _dsl_files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if not path.is_dir():
            if not path.is_file():
                raise MockdifyError(_no_file(path, path))
            yield path
            continue
        inside = sorted(one for one in path.iterdir() if one.suffix in {".yml", ".yaml"} and one.is_file())
        if not inside:
            raise MockdifyError(
                f"{_shown(path)}: no app in this folder; it needs *.yml or *.yaml files, exported from Dify"
            )
        yield from inside


def _same_name(one: Path, other: Path) -> str:
    return f"{_shown(other)} and {_shown(one)} would both be the app {one.stem!r}; rename one of the files"


def _no_file(path: Path, written: Path | str) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no file {str(written)!r}: the folder {_shown(folder)} does not exist"
    names = sorted(one.name for one in folder.iterdir() if one.suffix in {".yml", ".yaml"})[:20]
    near = shapes.nearest(path.name, names) if names else ""
    return f"there is no file {str(written)!r} in {_shown(folder)}" + near.replace("; allowed:", "; there is:")


def _checked_apps(apps: Iterable[AppConfig], base: Path, problems: Problems) -> tuple[AppConfig, ...]:
    """The *apps* with paths from *base*, each file looked for, names and keys found unique."""
    placed = []
    first: dict[str, Path] = {}
    for k, app in enumerate(apps):
        dsl = base / app.dsl
        where = ("apps", k, "dsl")
        if not app.name:
            continue  # told already
        if dsl.is_dir():
            problems.add(
                where, f"{str(app.dsl)!r} is a folder; name one DSL file, or give the folder to `mockdify serve`"
            )
        elif not dsl.is_file():
            problems.add(where, _no_file(dsl, app.dsl))
        elif app.name in first:
            problems.add(where, _same_name(dsl, first[app.name]))
        first.setdefault(app.name, dsl)
        placed.append(replace(app, dsl=dsl))
    keys = ((key, ("apps", k, "keys", name)) for k, app in enumerate(placed) for name, key in app.keys.items())
    _only_once(keys, "key", problems)
    return tuple(placed)


def _tell(source: Source, problems: Problems) -> None:
    """Raise all the *problems* there are, each with its place, in the order of the file."""
    if problems.items:
        placed = [(*source.place(*one.path, key=one.at_key), str(one)) for one in problems.items]
        name = _shown(source.path)
        raise MockdifyError("\n".join(f"{name}:{line}:{column}: {text}" for line, column, text in sorted(set(placed))))


def _read(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as err:
        raise MockdifyError(f"{_shown(path)}: not UTF-8 (byte {err.start}); save the file as UTF-8") from None
    except OSError as err:
        raise MockdifyError(
            f"{_shown(path)}: cannot be read: {err.strerror}; `mockdify init` writes a new one"
        ) from None
    return text


def _parsed(source: Source) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - 17 ms that a server without a file need not pay

    try:
        return tomllib.loads(source.text)
    except (ValueError, RecursionError) as err:
        place = re.search(r" \(at line (\d+), column (\d+)\)", str(err))
        line, column = place.groups() if place else _end(source.text)
        what = str(err).split(" (at ")[0] if isinstance(err, ValueError) else "nested too deeply"
        raise MockdifyError(f"{_shown(source.path)}:{line}:{column}: not TOML: {what}") from None


def _end(text: str) -> tuple[int, int]:
    from mockdify.positions import line_and_column  # noqa: PLC0415 - only for an error

    return line_and_column(text, len(text))


def _section(source: Source, data: Any) -> Any:
    for part in source.section:
        if not isinstance(data, dict) or part not in data:
            raise MockdifyError(f"{_shown(source.path)}: there is no [tool.mockdify] in it; add one, or use {FILE}")
        data = data[part]
    return data


def _up_to_root(folder: Path) -> list[Path]:
    """*folder* and those above it, up to the first that looks like a project's root; itself alone if none does."""
    line = [folder, *folder.parents]
    for k, one in enumerate(line):
        if (one / ".git").exists() or (one / PYPROJECT).is_file():
            return line[: k + 1]
    return [folder]


def _has_section(pyproject: Path) -> bool:
    try:
        text = pyproject.read_text("utf-8")
        if SECTION[1] not in text:
            return False
        import tomllib  # noqa: PLC0415 - 17 ms that most need not pay

        return SECTION[1] in tomllib.loads(text).get(SECTION[0], {})
    except (OSError, ValueError):  # somebody else's mistake: whoever owns the file will tell
        return False


def _shown(path: Path) -> str:
    """*path* as short as it can be said here."""
    with contextlib.suppress(ValueError, OSError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


# --- the file to begin with ------------------------------------------------------------------------------------------

STARTER = """\
# What mockdify serves. Every line is optional; a flag or a MOCKDIFY_* variable wins over this file.
# Paths are relative to this file.
seed = 0                     # the same seed gives the same ids, times and texts
profile = "1.16"             # the Dify release whose behaviour is served: 1.16, 1.13 or guide
pace = "instant"             # or "realtime", "30ms" a chunk, "2x" as fast as realtime

# Apps are Dify's own exports ("Export DSL"). Without any the demo apps are served:
# completion, chat, agent, chatflow and workflow, with keys like app-chat-demo.
#
# [[apps]]
# dsl = "apps/support.yml"   # the app's name is the file's: support
# keys = { development = "app-dev", production = "app-prod" }
#   [[apps.answers]]         # answers of this app alone, tried before those below
#   when = { inputs.language = "French" }
#   answer = "Bonjour {{ user }} !"
#   [[apps.nodes]]           # what a node of a workflow does instead of its work
#   node = "code"
#   outputs = { result = "Hello {{ name }}" }

# Answers are rules for every app: the first that matches answers.
[[answers]]
when = { query = "hello" }   # also: query_matches = "regex", user, inputs.x, turn = 2, node, app = "chat"
answer = "Hi {{ user }}! You asked: {{ query }}"   # a Jinja2 template over query, inputs, user and turn

[[answers]]
when = { query_matches = "(?i)long story" }
chunks = ["Once ", "upon ", "a ", "time."]         # the deltas, exactly as they are sent
pace = "100ms"

[[answers]]
when = { query = "break" }
fails = "rate-limit"         # the model fails, and the app reports it as Dify does
times = 1                    # used up after that; the next match answers

# What is said when no rule matches. Without it an app quotes the query.
[defaults]
answer = "This is a mock. Nothing is scripted for: {{ query }}"

# Damage on demand; `mockdify faults` lists all there are.
#
# [[faults]]
# fault = "rate-limit"
# on = "POST /v1/chat-messages"
# when = { user = "bob" }
# times = 2
# retry_after = 1
"""


def write_starter(path: Path | str) -> Path:
    """Write `STARTER` to *path*, whole or not at all; a file that is there stays."""
    import tempfile  # noqa: PLC0415 - only `mockdify init` needs it

    path = Path(path)
    if os.path.lexists(path):
        raise MockdifyError(f"{_shown(path)} is there already; remove it first, or give another name")
    draft = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=".mockdify-", delete=False
        ) as file:
            draft = Path(file.name)
            file.write(STARTER)
        draft.chmod(0o644)  # a temporary file is private
        draft.replace(path)
    except OSError as err:
        if draft:
            draft.unlink(missing_ok=True)
        raise MockdifyError(f"{_shown(path)} cannot be written: {err.strerror}") from None
    return path
