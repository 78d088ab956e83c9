"""Request bodies and queries as Dify's pydantic models take them, with pydantic's texts for what they refuse.

A `Schema` is a table of fields; a kind of field is a function that returns the accepted value or raises `_Refused`.
The texts are those of pydantic 2.12 as recorded (`body.*`, `convs.*`, `rename.*`, ...).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from mockdify.errors import UNHANDLED, invalid_param

__all__ = ["Field", "Schema"]


class _Refused(Exception):
    def __init__(self, kind: str, text: str, at: tuple[object, ...] = (), value: Any = None) -> None:
        self.kind, self.text, self.at, self.value = kind, text, at, value


Kind: TypeAlias = Callable[[Any], Any]

_DOCS = "https://errors.pydantic.dev/2.12/v/"
_TRUE = {"1", "on", "t", "true", "y", "yes"}
_FALSE = {"0", "off", "f", "false", "n", "no"}
_REPR_LIMIT = 50


def _shown(value: Any) -> str:
    """A value as pydantic quotes it: its repr, the middle left out beyond 50 characters."""
    text = repr(value)
    return text if len(text) <= _REPR_LIMIT else f"{text[:25]}...{text[-24:]}"


def text(*, least: int = 0, most: int | None = None) -> Kind:
    """A string of *least* to *most* characters."""

    def take(value: Any) -> str:
        if not isinstance(value, str):
            raise _Refused("string_type", "Input should be a valid string")
        if len(value) < least:
            raise _Refused("string_too_short", f"String should have at least {least} character{'s' * (least != 1)}")
        if most is not None and len(value) > most:
            raise _Refused("string_too_long", f"String should have at most {most} character{'s' * (most != 1)}")
        return value

    return take


def boolean(value: Any) -> bool:
    """A boolean, or one of the words and numbers that pydantic takes for one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | str):
        word = str(value).strip().lower() if isinstance(value, str) else str(int(value)) if value in (0, 1) else ""
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise _Refused("bool_parsing", "Input should be a valid boolean, unable to interpret input")
    raise _Refused("bool_type", "Input should be a valid boolean")


def integer(*, least: int | None = None, most: int | None = None) -> Kind:
    """An integer, also as a string (queries), within bounds."""

    def take(value: Any) -> int:
        if isinstance(value, str):
            if not re.fullmatch(r"\s*[+-]?\d+(_\d+)*(\.0+)?\s*", value):
                raise _Refused("int_parsing", "Input should be a valid integer, unable to parse string as an integer")
            number = int(value.strip().split(".")[0].replace("_", ""))
        elif isinstance(value, bool | int):
            number = int(value)
        elif isinstance(value, float):
            if value != int(value):
                raise _Refused("int_from_float", "Input should be a valid integer, got a number with a fractional part")
            number = int(value)
        else:
            raise _Refused("int_type", "Input should be a valid integer")
        if least is not None and number < least:
            raise _Refused("greater_than_equal", f"Input should be greater than or equal to {least}")
        if most is not None and number > most:
            raise _Refused("less_than_equal", f"Input should be less than or equal to {most}")
        return number

    return take


def number(value: Any) -> float:
    """A number, also as a string."""
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise _Refused("float_parsing", "Input should be a valid number, unable to parse string as a number") from None
    raise _Refused("float_type", "Input should be a valid number")


def literal(*words: str) -> Kind:
    """One of *words*."""
    allowed = ", ".join(map(repr, words[:-1])) + f" or {words[-1]!r}"

    def take(value: Any) -> Any:
        if isinstance(value, str) and value in words:
            return value
        raise _Refused("literal_error", f"Input should be {allowed}")

    return take


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise _Refused("dict_type", "Input should be a valid dictionary")
    return value


def list_of(kind: Kind) -> Kind:
    """A list; the first bad item is told with its position."""

    def take(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _Refused("list_type", "Input should be a valid list")
        for index, item in enumerate(value):
            try:
                kind(item)
            except _Refused as refused:
                refused.at, refused.value = (index, *refused.at), item
                raise
        return value

    return take


def uuid_or_blank(what: str = "") -> Kind:
    """A UUID in any spelling, normalised; empty or blank text is None. An integer crashes Dify's validator: 500."""
    said = f"{what} must be a valid UUID" if what else "must be a valid UUID"

    def take(value: Any) -> str | None:
        if not isinstance(value, str):
            raise UNHANDLED
        if not value.strip():
            return None
        try:
            return str(UUID(value.strip()))
        except ValueError:
            raise _Refused("value_error", f"Value error, {said}") from None

    return take


def anything(value: Any) -> Any:
    """Any JSON value."""
    return value


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its kind, whether it must be there, what stands when it is not."""

    kind: Kind
    required: bool = False
    default: Any = None
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Schema:
    """A named model. `take` returns every field's value, or raises Dify's 400 with all errors at once."""

    name: str
    fields: Mapping[str, Field]
    after: Callable[[dict[str, Any]], str | None] | None = None
    """A check of the whole: the text of its ValueError, or None."""

    def take(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The accepted values of *raw*; unknown keys are ignored."""
        taken: dict[str, Any] = {}
        wrong: list[tuple[tuple[object, ...], str, str, Any]] = []
        for name, field in self.fields.items():
            if name not in raw:
                if field.required:
                    wrong.append(((name,), "missing", "Field required", raw))
                taken[name] = field.default
                continue
            value = raw[name]
            if value is None and field.nullable:
                taken[name] = None
                continue
            try:
                taken[name] = field.kind(value)
            except _Refused as refused:
                wrong.append(((name, *refused.at), refused.kind, refused.text, refused.value if refused.at else value))
        if not wrong and self.after is not None and (said := self.after(taken)):
            wrong.append(((), "value_error", f"Value error, {said}", raw))
        if wrong:
            raise invalid_param(_report(self.name, wrong))
        return taken


def _report(name: str, wrong: Sequence[tuple[tuple[object, ...], str, str, Any]]) -> str:
    lines = [f"{len(wrong)} validation error{'s' * (len(wrong) != 1)} for {name}"]
    for at, kind, said, value in wrong:
        if at:
            lines.append(".".join(map(str, at)))
        lines.append(f"  {said} [type={kind}, input_value={_shown(value)}, input_type={type(value).__name__}]")
        lines.append(f"    For further information visit {_DOCS}{kind}")
    return "\n".join(lines)


_GENERATE = {
    "inputs": Field(mapping, required=True, nullable=False),
    "files": Field(list_of(mapping)),
    "response_mode": Field(literal("blocking", "streaming")),
    "trace_id": Field(anything),
}
_PAGE = integer(least=1)

CHAT = Schema(
    "ChatRequestPayload",
    {
        "inputs": _GENERATE["inputs"],
        "query": Field(text(), required=True, nullable=False),
        "files": _GENERATE["files"],
        "response_mode": _GENERATE["response_mode"],
        "conversation_id": Field(uuid_or_blank("conversation_id")),
        "retriever_from": Field(text(), default="dev", nullable=False),
        "auto_generate_name": Field(boolean, default=True, nullable=False),
        "workflow_id": Field(text()),
    },
)
COMPLETION = Schema(
    "CompletionRequestPayload",
    {
        "inputs": _GENERATE["inputs"],
        "query": Field(text(), default="", nullable=False),
        "files": _GENERATE["files"],
        "response_mode": _GENERATE["response_mode"],
        "retriever_from": Field(text(), default="dev", nullable=False),
    },
)
WORKFLOW_RUN = Schema("WorkflowRunPayload", {k: _GENERATE[k] for k in ("inputs", "files", "response_mode")})
CONVERSATIONS = Schema(
    "ConversationListQuery",
    {
        "last_id": Field(uuid_or_blank()),
        "limit": Field(integer(least=1, most=100), default=20, nullable=False),
        "sort_by": Field(
            literal("created_at", "-created_at", "updated_at", "-updated_at"), default="-updated_at", nullable=False
        ),
    },
)
MESSAGES = Schema(
    "MessageListQuery",
    {
        "conversation_id": Field(uuid_or_blank(), required=True),
        "first_id": Field(uuid_or_blank()),
        "limit": Field(integer(least=1, most=100), default=20, nullable=False),
    },
)


def _named(values: dict[str, Any]) -> str | None:
    if not values["auto_generate"] and not (values["name"] or "").strip():
        return "name is required when auto_generate is false"
    return None


RENAME = Schema(
    "ConversationRenamePayload",
    {"name": Field(text()), "auto_generate": Field(boolean, default=False, nullable=False)},
    after=_named,
)
_VARIABLE_NAME = re.compile(r"^[a-zA-Z0-9_.-]+$")
_INJECTIONS = ("'", '"', ";", "--", "/*", "*/", "xp_", "sp_")


def _variable_name(value: Any) -> str:
    name: str = text(least=1, most=255)(value)
    if not _VARIABLE_NAME.match(name):
        raise _Refused(
            "value_error",
            "Value error, Variable name can only contain letters, numbers, hyphens (-), underscores (_), and periods (.)",
        )
    # Dify refuses what looks like SQL with a text that no recording shows.
    if any(part in name.lower() for part in _INJECTIONS):  # unverified: the text
        raise _Refused("value_error", "Value error, Variable name contains invalid characters")
    return name


VARIABLES = Schema(
    "ConversationVariablesQuery",
    {
        "last_id": Field(uuid_or_blank()),
        "limit": Field(integer(least=1, most=100), default=20, nullable=False),
        "variable_name": Field(_variable_name),
    },
)
VARIABLE_UPDATE = Schema("ConversationVariableUpdatePayload", {"value": Field(anything, required=True)})
FEEDBACK = Schema("MessageFeedbackPayload", {"rating": Field(literal("like", "dislike")), "content": Field(text())})
FEEDBACKS = Schema(
    "FeedbackListQuery",
    {
        "page": Field(_PAGE, default=1, nullable=False),
        "limit": Field(integer(least=1, most=101), default=20, nullable=False),
    },
)
PREVIEW = Schema("FilePreviewQuery", {"as_attachment": Field(boolean, default=False, nullable=False)})
ANNOTATION = Schema(
    "AnnotationCreatePayload",
    {
        "question": Field(text(), required=True, nullable=False),
        "answer": Field(text(), required=True, nullable=False),
    },
)
ANNOTATIONS = Schema(
    "AnnotationListQuery",
    {
        "page": Field(_PAGE, default=1, nullable=False),
        "limit": Field(_PAGE, default=20, nullable=False),
        "keyword": Field(text(), default="", nullable=False),
    },
)
ANNOTATION_REPLY = Schema(
    "AnnotationReplyActionPayload",
    {
        "score_threshold": Field(number, required=True, nullable=False),
        "embedding_provider_name": Field(text(), required=True, nullable=False),
        "embedding_model_name": Field(text(), required=True, nullable=False),
    },
)
WORKFLOW_LOGS = Schema(
    "WorkflowLogQuery",
    {
        "keyword": Field(text()),
        "status": Field(literal("succeeded", "failed", "stopped")),
        "created_at__before": Field(text()),
        "created_at__after": Field(text()),
        "created_by_end_user_session_id": Field(text()),
        "created_by_account": Field(text()),
        "page": Field(integer(least=1, most=99999), default=1, nullable=False),
        "limit": Field(integer(least=1, most=100), default=20, nullable=False),
    },
)
TEXT_TO_AUDIO = Schema(
    "TextToAudioPayload",
    {"message_id": Field(text()), "voice": Field(text()), "text": Field(text()), "streaming": Field(boolean)},
)
