"""What the rows of the control API are made of: routes, the keys they take, what a handler gets and gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mockdify.errors import MockdifyError
from mockdify.shapes import Field as ShapeField
from mockdify.shapes import KeyPath, Problems, nearest
from mockdify.shapes import table as shape_table
from mockdify.values import value

if TYPE_CHECKING:
    from mockdify.engine import Engine
    from mockdify.http import Request
    from mockdify.masking import Masker
    from mockdify.shapes import Shape
    from mockdify.steps import Headers
    from mockdify.workspace import Workspace

__all__ = ["Answer", "Call", "ControlError", "Handler", "Param", "Route", "from_query", "missing", "read_table"]

Schema: TypeAlias = Mapping[str, Any]


@value
class Param:
    """One key of a body or a query: what it may be, in code and in the API's document, and what it is for."""

    shape: Shape
    schema: Schema
    words: str
    required: bool = False
    from_text: Callable[[str], Any] = str
    """Makes of a query's text what the shape wants."""


@value
class Answer:
    """What a handler says: a JSON value, bytes of some type, or pieces that are sent one after the other."""

    value: Any = None
    status: int = 200
    media: str = "application/json"
    data: bytes | None = None
    pieces: Iterable[bytes] | None = None
    headers: Headers = ()


class ControlError(Exception):
    """A request to the control API that is refused."""

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


@dataclass(slots=True, kw_only=True)
class Call:
    """One request to a route, read and checked."""

    engine: Engine
    workspace: Workspace
    request: Request
    mask: Masker
    values: Mapping[str, str]
    """The path's slots."""
    query: Mapping[str, Any]
    body: Any
    numbers: Iterator[int]
    """Count the workspaces that nobody named."""
    next_number: Callable[[], int]
    """Counts what was scripted here."""

    @property
    def base(self) -> str:
        """The server's address as the caller knows it."""
        return f"{self.request.scheme}://{self.request.host}"


Handler: TypeAlias = Callable[[Call], Answer]


@value
class Route:
    """One row of the control API: a method and a path, what it takes, what it answers, who does it."""

    method: str
    path: str
    """After `/_mockdify`; for the scope `workspace` also after `/_mockdify/workspaces/{id}`."""
    name: str
    """The operation's id in the document."""
    words: str
    handler: Handler
    scope: Literal["workspace", "server"] = "workspace"
    query: Mapping[str, Param] = field(default_factory=dict)
    body: Mapping[str, Param] | None = None
    """The keys of the JSON body; None when none is read."""
    others: str | None = None
    """What keys beyond those are for; None refuses them."""
    read: Callable[[Any], Any] | None = None
    """Reads a body that has a table of its own, instead of `body`, which then only documents it."""
    status: int = 200
    reply: Schema = field(default_factory=lambda: {"type": "object"})
    media: str = "application/json"
    is_open: bool = False
    """Whether it answers without the token: it says and does nothing that needs one."""

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's parts."""
        return tuple(self.path.strip("/").split("/")) if self.path.strip("/") else ()


def read_table(params: Mapping[str, Param], data: Any, *, others: bool = False, what: str = "body") -> dict[str, Any]:
    """What *data* has of *params*; one error tells all that is wrong with it."""
    problems = Problems()
    fields = {name: ShapeField(one.shape, required=one.required) for name, one in params.items()}
    found: dict[str, Any] = shape_table(fields, others=_anything if others else None)(data, (), problems)
    _tell(problems, what)
    return found


def from_query(params: Mapping[str, Param], given: Mapping[str, str]) -> dict[str, Any]:
    """What a query says of *params*; an unknown name is refused with the nearest."""
    problems = Problems()
    found = {}
    for name, text in given.items():
        if name not in params:
            problems.add((name,), f"unknown parameter {name!r}{nearest(name, params)}", at_key=True)
        else:
            found[name] = params[name].shape(params[name].from_text(text), (name,), problems)
    _tell(problems, "query")
    return found


def _anything(value: Any, path: KeyPath, problems: Problems) -> Any:  # noqa: ARG001 - a Shape
    return value


def _tell(problems: Problems, what: str) -> None:
    try:
        problems.tell()
    except MockdifyError as mistake:
        raise ControlError(400, "bad_request", f"in the {what}: {mistake}") from None


def missing(what: str, given: str, known: Iterable[str]) -> ControlError:
    """404: there is no *what* called *given*; the nearest and all there are."""
    names = list(known)
    if not names:
        return ControlError(404, "not_found", f"there is no {what} {given!r}; there is none at all")
    listed = nearest(given, names).replace("; allowed:", "; there is:")
    return ControlError(404, "not_found", f"there is no {what} {given!r}{listed}")
