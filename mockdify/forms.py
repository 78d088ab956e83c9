"""Dify's checks of what a request brings: `inputs` against the app's form, `files` against its rules.

Texts are Dify's own, word for word; they reach clients as 400 `invalid_param`, or inside a failed run. The order is
Dify's too: all inputs in the form's order, then the files among them.
"""

from __future__ import annotations

import mimetypes
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from mockdify.errors import INTERNAL, DifyError, invalid_param
from mockdify.remote import Fetched, Reached

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mockdify.apps import FileRules, Variable

__all__ = [
    "Files",
    "FindUpload",
    "InputFile",
    "Remote",
    "Upload",
    "check_file",
    "check_files",
    "file_type",
    "input_files",
    "validate",
]


class Upload(Protocol):
    """A file that was uploaded before."""

    @property
    def id(self) -> str:
        """The UUID that the upload was answered with."""

    @property
    def name(self) -> str:
        """The file's name."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def extension(self) -> str:
        """Without the dot; empty when the name has none."""

    @property
    def mime_type(self) -> str:
        """As the client gave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file that came with a request, resolved and allowed."""

    type: str
    """image, document, audio, video or custom."""
    transfer_method: str
    """local_file or remote_url."""
    name: str
    extension: str
    """With the dot; empty when there is none."""
    mime_type: str
    size: int
    """Bytes; -1 when it is not known."""
    url: str | None = None
    """The address of a remote file."""
    upload: Upload | None = None
    """The upload of a local one."""

    @property
    def related_id(self) -> str | None:
        """The upload's id, as Dify calls it in messages."""
        return self.upload.id if self.upload is not None else None


FindUpload: TypeAlias = Callable[[str], Upload | None]
"""The upload with this id (in the usual form of a UUID) that the asking user may use, or None."""

Remote: TypeAlias = Literal["accept", "unreachable"] | Reached
"""What becomes of remote files: taken unseen, unreachable as they are for a server without a network, or as found."""

Files: TypeAlias = Callable[["Variable", Mapping[str, Any]], Any]
"""What the file mapping of a variable stands for; raises a `DifyError` when it stands for nothing."""


# ---------------------------------------------------------------- inputs
def validate(form: Sequence[Variable], inputs: Mapping[str, Any], *, files: Files) -> dict[str, Any]:
    """The values of *inputs* that a run starts with: every variable of *form* and nothing else, None where absent.

    Args:
        form: The app's variables, in order.
        inputs: What the request says; unknown keys are dropped.
        files: Resolves the mappings of `file` and `file-list` variables, see `input_files`.
    """
    values = {variable.name: _checked(variable, inputs.get(variable.name)) for variable in form}
    values = {name: value.replace("\0", "") if isinstance(value, str) else value for name, value in values.items()}
    for variable in form:
        value = values[variable.name]
        if variable.type == "file" and isinstance(value, dict):
            values[variable.name] = files(variable, value)
        elif variable.type == "file-list" and isinstance(value, list):
            values[variable.name] = [files(variable, item) for item in value if _is_told(item)]
    _refuse_mappings(form, values)
    return values


def _checked(variable: Variable, value: Any) -> Any:
    if value is None:
        if variable.required:
            raise invalid_param(f"{variable.name} is required in input form")
        value = variable.default
        if value is None:
            return None
    return _CHECKS[variable.type](variable, value)


def _text(variable: Variable, value: Any) -> str:
    if not isinstance(value, str):
        raise invalid_param(f"(type '{variable.type}') {variable.name} in input form must be a string")
    return value


def _limited_text(variable: Variable, value: Any) -> str:
    text = _text(variable, value)
    if variable.max_length and len(text) > variable.max_length:
        raise invalid_param(f"{variable.name} in input form must be less than {variable.max_length} characters")
    return text


def _option(variable: Variable, value: Any) -> str:
    text = _text(variable, value)
    if text not in variable.options:
        raise invalid_param(f"{variable.name} in input form must be one of the following: {list(variable.options)}")
    return text


def _number(variable: Variable, value: Any) -> int | float | None:
    if isinstance(value, int | float):  # a boolean passes and stays one (convs.vars_list)
        return value
    if not isinstance(value, str):
        raise DifyError(INTERNAL.status, INTERNAL.code, INTERNAL.message)
    if not value.strip():
        return None  # unverified
    try:
        return float(value) if "." in value else int(value)
    except ValueError:
        raise invalid_param(f"{variable.name} in input form must be a valid number") from None


_WORDS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def _checkbox(_: Variable, value: Any) -> Any:
    # Any other value passes as it is: "perhaps" was stored (convs.vars_list).
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower(), value)
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    return value


def _mapping(variable: Variable, value: Any) -> Any:
    if not isinstance(value, dict):
        raise invalid_param(f"{variable.name} in input form must be a dict")
    return value


def _file(variable: Variable, value: Any) -> Any:
    if not isinstance(value, dict):
        raise invalid_param(f"{variable.name} in input form must be a file")
    return value


def _file_list(variable: Variable, value: Any) -> Any:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid_param(f"{variable.name} in input form must be a list of files")
    if variable.max_length and len(value) > variable.max_length:
        raise invalid_param(f"{variable.name} in input form must be less than {variable.max_length} files")
    return value


def _anything(_: Variable, value: Any) -> Any:
    return value


_CHECKS: Final[Mapping[str, Callable[[Variable, Any], Any]]] = {
    "text-input": _limited_text,
    "paragraph": _limited_text,
    "select": _option,
    "number": _number,
    "checkbox": _checkbox,
    "json_object": _mapping,
    "file": _file,
    "file-list": _file_list,
    "external_data_tool": _anything,
}
_MAY_HOLD_MAPPINGS: Final = ("file", "file-list", "json_object")


def _refuse_mappings(form: Sequence[Variable], values: Mapping[str, Any]) -> None:
    plain = [variable.name for variable in form if variable.type not in _MAY_HOLD_MAPPINGS]
    for bad in (
        [name for name in plain if isinstance(values[name], dict)],
        [name for name in plain if isinstance(values[name], list) and any(isinstance(x, dict) for x in values[name])],
    ):
        if bad:
            raise invalid_param(f"Invalid input type for {bad}")


# ---------------------------------------------------------------- files
_KINDS: Final[Mapping[str, frozenset[str]]] = {
    "image": frozenset({"jpg", "jpeg", "png", "webp", "gif", "svg"}),
    "video": frozenset({"mp4", "mov", "mpeg", "webm"}),
    "audio": frozenset({"mp3", "m4a", "wav", "amr", "mpga"}),
    "document": frozenset(
        {
            "txt",
            "markdown",
            "md",
            "mdx",
            "pdf",
            "html",
            "htm",
            "xlsx",
            "xls",
            "vtt",
            "properties",
            "doc",
            "docx",
            "csv",
            "eml",
            "msg",
            "pptx",
            "ppt",
            "xml",
            "epub",
        }
    ),
}
_TYPES: Final = (*_KINDS, "custom")
_METHODS: Final = ("remote_url", "local_file", "tool_file", "datasource_file")


def file_type(extension: str, mime_type: str = "") -> str:
    """The type Dify finds for a file: by its *extension* (with or without dot), else by its *mime_type*."""
    bare = extension.lower().lstrip(".")
    by_name = next((kind for kind, extensions in _KINDS.items() if bare in extensions), None)
    return by_name or next((kind for kind in ("image", "video", "audio") if kind in mime_type), "custom")


def input_files(*, find_upload: FindUpload, remote: Remote, strict: bool = False, named_methods: bool = True) -> Files:
    """The `files` argument of `validate`; arguments as those of `check_files`."""

    def resolve(variable: Variable, mapping: Mapping[str, Any]) -> InputFile:
        return check_file(
            variable.files, mapping, find_upload=find_upload, remote=remote, strict=strict, named_methods=named_methods
        )

    return resolve


def check_files(
    rules: FileRules,
    files: Sequence[Mapping[str, Any]] | None,
    *,
    find_upload: FindUpload,
    remote: Remote,
    strict: bool = False,
    named_methods: bool = True,
) -> list[InputFile]:
    """The files of a generate request, in order. Entries without a method or address are skipped, as Dify does.

    Args:
        rules: Of the app; when they are off, its `files` are ignored.
        files: The request's `files`.
        find_upload: Finds the upload of a local file.
        remote: What becomes of remote files.
        strict: The given type must be the one Dify finds (workflow apps).
        named_methods: An unknown transfer method is told as 1.16 does; with false as 1.13.
    """
    if not rules.enabled:
        return []
    checked = [
        check_file(rules, item, find_upload=find_upload, remote=remote, strict=strict, named_methods=named_methods)
        for item in files or ()
        if _is_told(item)
    ]
    if rules.image_limit and sum(file.type == "image" for file in checked) > rules.image_limit:
        raise invalid_param(f"Number of image files exceeds the maximum limit {rules.image_limit}")
    if rules.limit and len(checked) > rules.limit:
        raise invalid_param(f"Number of files exceeds the maximum limit {rules.limit}")
    return checked


def check_file(
    rules: FileRules,
    mapping: Mapping[str, Any],
    *,
    find_upload: FindUpload,
    remote: Remote,
    strict: bool = False,
    named_methods: bool = True,
) -> InputFile:
    """The file that one *mapping* stands for; arguments as those of `check_files`."""
    method = mapping.get("transfer_method")
    if not method:
        raise invalid_param("transfer_method is required in file mapping")
    if method not in _METHODS:
        named = f"{method!r} is not a valid FileTransferMethod"
        raise invalid_param(named if named_methods else f"No matching enum found for value '{method}'")
    if method == "local_file":
        file = _local(mapping, find_upload, strict=strict)
    elif method == "remote_url":
        file = _remote(mapping, find_upload, remote, strict=strict)
    else:
        raise invalid_param(_NOT_FOUND[method].format(mapping.get(f"{method}_id")))
    if not _is_allowed(rules, mapping.get("type", "custom"), file):
        raise invalid_param(f"File validation failed for file: {file.name}")
    return file


# unverified: files made by tools cannot be sent by a client of the mock, so no id is ever found
_NOT_FOUND: Final[Mapping[str, str]] = {
    "tool_file": "ToolFile {} not found",
    "datasource_file": "DatasourceFile {} not found",
}


def _is_told(mapping: Mapping[str, Any]) -> bool:
    if mapping.get("transfer_method") == "remote_url":
        return bool(mapping.get("url") or mapping.get("remote_url"))
    return bool(mapping.get("transfer_method"))


def _local(mapping: Mapping[str, Any], find_upload: FindUpload, *, strict: bool) -> InputFile:
    upload = _upload(mapping.get("upload_file_id"), find_upload)
    return _of_upload(upload, mapping.get("type", "custom"), strict=strict)


def _of_upload(upload: Upload, wanted: Any, *, strict: bool, url: str | None = None) -> InputFile:
    extension = f".{upload.extension}" if upload.extension else ""
    return InputFile(
        type=_agreed(file_type(extension, upload.mime_type), wanted, strict=strict),
        transfer_method="local_file" if url is None else "remote_url",
        name=upload.name,
        extension=extension,
        mime_type=upload.mime_type,
        size=upload.size,
        url=url,
        upload=upload,
    )


def _upload(given: Any, find_upload: FindUpload) -> Upload:
    if not given:
        raise invalid_param("Invalid upload file id")
    if not isinstance(given, str):
        raise DifyError(INTERNAL.status, INTERNAL.code, INTERNAL.message)  # unverified: an unhandled AttributeError
    try:
        upload = find_upload(str(uuid.UUID(given)))
    except ValueError:
        raise invalid_param("Invalid upload file id format") from None
    if upload is None:
        raise invalid_param("Invalid upload file")
    return upload


def _remote(mapping: Mapping[str, Any], find_upload: FindUpload, remote: Remote, *, strict: bool) -> InputFile:
    url = mapping.get("url") or mapping.get("remote_url")
    if mapping.get("upload_file_id"):
        upload = _upload(mapping["upload_file_id"], find_upload)
        return _of_upload(upload, mapping.get("type"), strict=strict, url=str(url or ""))
    if not url:
        raise invalid_param("Invalid file url")
    url = str(url)
    fetched = remote.get(url) if isinstance(remote, Reached) else Fetched()
    if remote == "unreachable" or fetched is None:
        raise invalid_param(f"Reached maximum retries (3) for URL {url}")
    # unverified: what a server says counts before the URL for the name, and behind it for the type
    name = fetched.name or _name_in(url)
    mime_type = _mime_types().guess_type(name)[0] or fetched.mime_type
    extension = f".{name.rpartition('.')[2]}" if "." in name else ".bin"
    found = file_type(extension, mime_type)
    return InputFile(
        type=_agreed(found, mapping.get("type"), strict=strict and bool(mapping.get("type"))),
        transfer_method="remote_url",
        name=name,
        extension=extension,
        mime_type=mime_type,
        size=fetched.size,
        url=url,
    )


def _name_in(url: str) -> str:
    try:
        path = urlsplit(url).path
    except ValueError:
        path = url
    return unquote(path.rpartition("/")[2])


@cache
def _mime_types() -> mimetypes.MimeTypes:
    # The library's own table alone: what a machine has in /etc/mime.types must not change an answer.
    return mimetypes.MimeTypes()


def _agreed(found: str, wanted: Any, *, strict: bool) -> str:
    if strict and wanted != found:
        raise invalid_param("Detected file type does not match the specified type. Please verify the file.")
    if not wanted or wanted == "custom":
        return found
    if wanted not in _TYPES:
        raise invalid_param(f"{wanted!r} is not a valid FileType")
    return str(wanted)


def _is_allowed(rules: FileRules, wanted: Any, file: InputFile) -> bool:
    if rules.types and wanted not in rules.types and wanted != "custom":
        return False
    # unverified: whether case and dot of an extension matter to Dify; here they do not
    if wanted == "custom" and file.extension.lower() not in set(_dotted(rules.extensions)):
        return False
    return not rules.methods or file.transfer_method in rules.methods


def _dotted(extensions: Sequence[str]) -> Iterator[str]:
    return (f".{extension.lower().lstrip('.')}" for extension in extensions)
