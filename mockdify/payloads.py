"""Request bodies and queries as Dify's pydantic models take them, with pydantic's texts for what they refuse.

A `Schema` is a table of fields; a kind of field is a function that returns the accepted value or raises `_Refused`.
Coercions and texts are those of pydantic 2.12: recorded (`body.*`, `convs.*`, `rename.*`, ...) and compared with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import UUID

from mockdify.errors import UNHANDLED, invalid_param

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Field", "Schema"]


class _Error(NamedTuple):
    """One mistake: where below the field, pydantic's name for it, its text and the value that is wrong."""

    at: tuple[object, ...]
    kind: str
    text: str
    value: Any


class _Refused(Exception):
    def __init__(self, *errors: _Error) -> None:
        self.errors = errors


def _no(kind: str, said: str, value: Any) -> _Refused:
    return _Refused(_Error((), kind, said, value))


Kind: TypeAlias = Callable[[Any], Any]

_DOCS = "https://errors.pydantic.dev/2.12/v/"
_TRUE = frozenset({"1", "on", "t", "true", "y", "yes"})
_FALSE = frozenset({"0", "off", "f", "false", "n", "no"})
_REPR_BYTES = 50
_LARGEST = 2**63
_LONGEST_INT = 4300
_TOO_LONG = ("int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size")
_BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What Rust trims; Python's `strip` also takes the separators below U+0020."""


def _shown(value: Any) -> str:
    """A value as pydantic quotes it: its repr, the middle left out beyond 50 bytes of UTF-8."""
    raw = repr(value).encode()
    if len(raw) <= _REPR_BYTES:
        return raw.decode()
    # A character that the cut would split falls away with the middle.
    return f"{raw[:25].decode(errors='ignore')}...{raw[-24:].decode(errors='ignore')}"


def text(*, least: int = 0, most: int | None = None) -> Kind:
    """A string of *least* to *most* characters."""

    def take(value: Any) -> str:
        if not isinstance(value, str):
            raise _no("string_type", "Input should be a valid string", value)
        if len(value) < least:
            raise _no("string_too_short", f"String should have at least {_characters(least)}", value)
        if most is not None and len(value) > most:
            raise _no("string_too_long", f"String should have at most {_characters(most)}", value)
        return value

    return take


def _characters(count: int) -> str:
    return f"{count} character{'s' * (count != 1)}"


def boolean(value: Any) -> bool:
    """A boolean, or one of the words and numbers that pydantic takes for one."""
    if isinstance(value, bool):
        return value
    if not (isinstance(value, str) or _is_small(value)):
        raise _no("bool_type", "Input should be a valid boolean", value)
    word = value.lower() if isinstance(value, str) else str(int(value))
    if word in ("0", "1") or (isinstance(value, str) and (word in _TRUE or word in _FALSE)):
        return word in _TRUE
    raise _no("bool_parsing", "Input should be a valid boolean, unable to interpret input", value)


def _is_small(value: Any) -> bool:
    """Whether pydantic looks at this number as 64 bits."""
    return isinstance(value, int | float) and value == value // 1 and -_LARGEST <= value < _LARGEST


def integer(*, least: int | None = None, most: int | None = None) -> Kind:
    """An integer, also as a string (queries) or a whole float, within bounds."""

    def take(value: Any) -> int:
        number = _whole(value)
        if least is not None and number < least:
            raise _no("greater_than_equal", f"Input should be greater than or equal to {least}", value)
        if most is not None and number > most:
            raise _no("less_than_equal", f"Input should be less than or equal to {most}", value)
        return number

    return take


_WHOLE_TEXT = re.compile(r"[+-]?[0-9]+(?:_[0-9]+)*(?:\.0+)?")


def _whole(value: Any) -> int:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return _from_float(value)
    if not isinstance(value, str):
        raise _no("int_type", "Input should be a valid integer", value)
    written = value.strip(_BLANKS)
    if len(written) > _LONGEST_INT:
        raise _no(*_TOO_LONG, value)
    if not _WHOLE_TEXT.fullmatch(written):
        raise _no("int_parsing", "Input should be a valid integer, unable to parse string as an integer", value)
    return int(written.partition(".")[0].replace("_", ""))


def _from_float(value: float) -> int:
    if not math.isfinite(value):
        raise _no("finite_number", "Input should be a finite number", value)
    if not value.is_integer():
        raise _no("int_from_float", "Input should be a valid integer, got a number with a fractional part", value)
    if not _is_small(value):
        raise _no(*_TOO_LONG, value)
    return int(value)


def number(value: Any) -> float:
    """A number, also as a string."""
    if isinstance(value, bool | int | float):
        return float(value)
    if not isinstance(value, str):
        raise _no("float_type", "Input should be a valid number", value)
    try:
        written = value.strip(_BLANKS)
        return float(written if written.isascii() and written.isprintable() else "")
    except ValueError:
        said = "Input should be a valid number, unable to parse string as a number"
        raise _no("float_parsing", said, value) from None


def literal(*words: str) -> Kind:
    """One of *words*."""
    allowed = ", ".join(map(repr, words[:-1])) + f" or {words[-1]!r}"

    def take(value: Any) -> Any:
        if isinstance(value, str) and value in words:
            return value
        raise _no("literal_error", f"Input should be {allowed}", value)

    return take


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise _no("dict_type", "Input should be a valid dictionary", value)
    return value


def list_of(kind: Kind) -> Kind:
    """A list; every bad item is told, with its position."""

    def take(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _no("list_type", "Input should be a valid list", value)
        wrong: list[_Error] = []
        for index, item in enumerate(value):
            try:
                kind(item)
            except _Refused as refused:
                wrong += (error._replace(at=(index, *error.at)) for error in refused.errors)
        if wrong:
            raise _Refused(*wrong)
        return value

    return take


_plain_text = text()


def uuid_or_empty(value: Any) -> str | None:
    """A UUID in any spelling, normalised; empty text is None."""
    written = _plain_text(value)
    return _uuid(written, "must be a valid UUID", value) if written else None


def conversation_uuid(value: Any) -> str | None:
    """As `uuid_or_empty`, and whatever is blank or false is None. Anything else crashes Dify's validator: 500."""
    written = value.strip() if isinstance(value, str) else value
    if not written:
        return None
    if not isinstance(written, str):
        raise UNHANDLED
    return _uuid(written, "conversation_id must be a valid UUID", value)


def _uuid(written: str, otherwise: str, value: Any) -> str:
    try:
        return str(UUID(written))
    except ValueError:
        raise _no("value_error", f"Value error, {otherwise}", value) from None


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
        wrong: list[_Error] = []
        for name, field in self.fields.items():
            if name not in raw:
                if field.required:
                    wrong.append(_Error((name,), "missing", "Field required", raw))
                taken[name] = field.default
                continue
            value = raw[name]
            if value is None and field.nullable:
                taken[name] = None
                continue
            try:
                taken[name] = field.kind(value)
            except _Refused as refused:
                wrong += (error._replace(at=(name, *error.at)) for error in refused.errors)
        if not wrong and self.after is not None and (said := self.after(taken)):
            wrong.append(_Error((), "value_error", f"Value error, {said}", raw))
        if wrong:
            raise invalid_param(_report(self.name, wrong))
        return taken


def _report(name: str, wrong: Sequence[_Error]) -> str:
    lines = [f"{len(wrong)} validation error{'s' * (len(wrong) != 1)} for {name}"]
    for error in wrong:
        if error.at:
            lines.append(".".join(map(str, error.at)))
        kind = type(error.value).__name__
        lines.append(f"  {error.text} [type={error.kind}, input_value={_shown(error.value)}, input_type={kind}]")
        lines.append(f"    For further information visit {_DOCS}{error.kind}")
    return "\n".join(lines)


_GENERATE = {
    "inputs": Field(mapping, required=True, nullable=False),
    "files": Field(list_of(mapping)),
    "response_mode": Field(literal("blocking", "streaming")),
}
_PAGE = integer(least=1)

CHAT = Schema(
    "ChatRequestPayload",
    {
        "inputs": _GENERATE["inputs"],
        "query": Field(text(), required=True, nullable=False),
        "files": _GENERATE["files"],
        "response_mode": _GENERATE["response_mode"],
        "conversation_id": Field(conversation_uuid),
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
        "last_id": Field(uuid_or_empty),
        "limit": Field(integer(least=1, most=100), default=20, nullable=False),
        "sort_by": Field(
            literal("created_at", "-created_at", "updated_at", "-updated_at"), default="-updated_at", nullable=False
        ),
    },
)
MESSAGES = Schema(
    "MessageListQuery",
    {
        "conversation_id": Field(uuid_or_empty, required=True, nullable=False),
        "first_id": Field(uuid_or_empty),
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
_INJECTIONS = ("'", '"', ";", "--", "/*", "*/", "xp_", "sp_")


def _variable_name(value: Any) -> str:
    if not re.sub("[-_.]", "", value).isalnum():
        said = "Variable name can only contain letters, numbers, hyphens (-), underscores (_), and periods (.)"
        raise _no("value_error", f"Value error, {said}", value)
    # unverified: no recording shows the text for what looks like SQL
    found = next((part for part in _INJECTIONS if part in value.lower()), None)
    if found is not None:
        raise _no("value_error", f"Value error, Variable name contains invalid characters: {found}", value)
    name: str = text(least=1, most=255)(value)
    return name


VARIABLES = Schema(
    "ConversationVariablesQuery",
    {
        "last_id": Field(uuid_or_empty),
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
