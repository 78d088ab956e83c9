"""Templates of answers and of node outputs: Jinja2, sandboxed, and bounded so that a slip cannot hang a server.

The sandbox keeps templates away from Python's insides; the bounds (length of every text made, rounds of every loop)
are against accidents of the author, not against an attacker. Jinja2 is imported when the first real template comes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["MAX_LENGTH", "MAX_ROUNDS", "check", "is_template", "render", "rendered"]

MAX_LENGTH = 1_000_000
"""The longest text a template may make, in characters."""
MAX_ROUNDS = 100_000
"""How many rounds all loops and macros of one rendering may make together."""

_MARK = re.compile(r"\{[{%#]")
_ROUND, _JOIN = "mockdify_round_", "mockdify_join_"
"""Names that bounded templates call; they come in with each rendering, beside the variables."""


class _TooMuchError(Exception):
    """A bound was met."""


def is_template(text: str) -> bool:
    """Whether *text* has anything for Jinja2 in it."""
    return _MARK.search(text) is not None


def render(template: str, variables: Mapping[str, Any], *, strict: bool = True) -> str:
    """*template* with *variables* filled in; a text without `{{`, `{%` or `{#` comes back as it is.

    When *strict*, a variable that is not there is a mistake (scripts); otherwise it is empty, and a last newline is
    dropped, as Jinja2 does by itself and so Dify's template node.
    """
    if not is_template(template):
        return template
    compiled = _compiled(template, strict)
    bounds = _Bounds()
    values = {**variables, _ROUND: bounds.round, _JOIN: bounds.join}
    try:
        for piece in compiled.generate(values):
            bounds.add(piece)
    except MockdifyError:
        raise
    except Exception as err:  # noqa: BLE001 - a template may fail in any way its expressions can
        raise MockdifyError(_told(template, err, variables)) from None
    return "".join(bounds.pieces)


def rendered(value: Any, variables: Mapping[str, Any]) -> Any:
    """*value* with every text in it rendered, however deep it lies in lists and tables."""
    if isinstance(value, str):
        return render(value, variables)
    if isinstance(value, Mapping):
        return {key: rendered(one, variables) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rendered(one, variables) for one in value]
    return value


def check(template: str, known: Collection[str] | None = None) -> None:
    """Tell what is wrong with *template* before it is used; *known* are the variables it may use, None for any."""
    if not is_template(template):
        return
    _compiled(template, True)
    if known is None:
        return
    from jinja2 import meta  # noqa: PLC0415 - only needed for real templates

    unknown = sorted(meta.find_undeclared_variables(_environment(True).parse(template)).difference(known))
    if unknown:
        raise MockdifyError(_unknown(unknown[0], known))


class _Bounds:
    """What one rendering has made so far, and the calls its template makes on the way."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._length = 0
        self._rounds = 0

    def add(self, piece: str) -> None:
        self._length += len(piece)
        _within(self._length)
        self.pieces.append(piece)

    def round(self) -> str:
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            raise _TooMuchError(f"its loops make more than {MAX_ROUNDS:,} rounds")
        return ""

    @staticmethod
    def join(*parts: Any) -> str:
        texts = [str(part) for part in parts]
        _within(sum(map(len, texts)))
        return "".join(texts)


def _within(length: float) -> None:
    if length > MAX_LENGTH:
        raise _TooMuchError(f"it makes a text of more than {MAX_LENGTH:,} characters")


@lru_cache(maxsize=512)
def _compiled(template: str, strict: bool) -> Template:
    from jinja2 import TemplateSyntaxError  # noqa: PLC0415 - only needed for real templates

    environment = _environment(strict)
    try:
        return environment.from_string(_bounded(environment, template))
    except TemplateSyntaxError as err:
        raise MockdifyError(f"the template is not Jinja2: {err.message} (its line {err.lineno})") from None
    except RecursionError:
        raise MockdifyError("the template is nested too deeply") from None


def _bounded(environment: ImmutableSandboxedEnvironment, template: str) -> Any:
    """The syntax tree of *template* with a call in every loop and macro, and with every `~` made a call."""
    from jinja2 import nodes  # noqa: PLC0415 - only needed for real templates
    from jinja2.visitor import NodeTransformer  # noqa: PLC0415 - only needed for real templates

    def call(name: str, *args: Any) -> Any:
        return nodes.Call(nodes.Name(name, "load"), list(args), [], None, None)

    class Bound(NodeTransformer):
        def visit_For(self, node: Any) -> Any:  # noqa: N802 - Jinja2's name
            node = self.generic_visit(node)
            node.body.insert(0, nodes.Output([call(_ROUND)]))
            return node

        visit_Macro = visit_CallBlock = visit_For  # noqa: N815 - Jinja2's names

        def visit_Concat(self, node: Any) -> Any:  # noqa: N802 - Jinja2's name
            parts: Any = self.generic_visit(node)
            return call(_JOIN, *parts.nodes)

    tree = Bound().visit(environment.parse(template))
    for node in tree.find_all(nodes.Node):
        node.environment = environment
        node.lineno = node.lineno or 1
    return tree


@lru_cache(maxsize=2)
def _environment(strict: bool) -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined, Undefined  # noqa: PLC0415 - only needed for real templates
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 - only needed for real templates

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(_SIZES)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _within(_SIZES[operator](left, right))
            return super().call_binop(context, operator, left, right)

    # A script's text keeps its last newline, as it was written; Dify's template node drops one.
    environment = Environment(undefined=StrictUndefined if strict else Undefined, keep_trailing_newline=strict)
    plain_center = environment.filters["center"]

    def center(value: str, width: int = 80) -> str:
        _within(width)
        return plain_center(value, width)  # type: ignore[no-any-return]

    environment.filters["center"] = center
    return environment


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes | list | tuple) else 0


def _times(left: Any, right: Any) -> float:
    return max(_size(left) * _number(right), _size(right) * _number(left))


def _power(left: Any, right: Any) -> float:
    return left.bit_length() * right if isinstance(left, int) and isinstance(right, int) and right > 0 else 0


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


_SIZES: Mapping[str, Callable[[Any, Any], float]] = {
    "+": lambda left, right: _size(left) + _size(right),
    "*": _times,
    "**": _power,
}
"""How large the result of an operator gets, for those that can make much out of little."""


def _told(template: str, err: Exception, variables: Collection[str]) -> str:
    from jinja2 import UndefinedError  # noqa: PLC0415 - only needed for real templates

    head = template if len(template) <= 80 else template[:77] + "..."
    if isinstance(err, UndefinedError):
        missing = re.fullmatch(r"'(\w+)' is undefined", str(err))
        what = _unknown(missing[1], variables) if missing else f"{err}; write `… | default('')` if it may be absent"
    elif isinstance(err, _TooMuchError):
        what = str(err)
    else:
        what = f"{type(err).__name__}: {err}"
    return f"the template {head!r} failed: {what}"


def _unknown(name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for an error

    near = get_close_matches(name, known, 1)
    allowed = ", ".join(sorted(known)) or "none"
    return f"unknown variable {name!r}; there is: {allowed}" + (f"; did you mean {near[0]!r}?" if near else "")
