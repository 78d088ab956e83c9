"""Uploads and their previews."""

from __future__ import annotations

import mimetypes
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import quote

from mockdify.context import ANYBODY
from mockdify.errors import DifyError, invalid_param
from mockdify.multipart import parse_multipart
from mockdify.steps import Body, Head
from mockdify.store import Upload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mockdify.context import Context
    from mockdify.http import Part, Request
    from mockdify.steps import Headers, Reply
    from mockdify.workspace import Workspace

__all__ = ["MEGABYTE", "download", "file_type", "mime_type", "preview", "take_upload", "upload", "user_of"]

MEGABYTE = 1024 * 1024
LIMITS: Mapping[str, int] = {"image": 10, "video": 100, "audio": 50, "document": 15, "custom": 15}
"""Megabytes per kind of file, as /parameters tells them."""

_KINDS: Mapping[str, frozenset[str]] = {
    "image": frozenset(["jpg", "jpeg", "png", "webp", "gif", "svg"]),
    "video": frozenset(["mp4", "mov", "mpeg", "webm"]),
    "audio": frozenset(["mp3", "m4a", "wav", "amr", "mpga"]),
    "document": frozenset(
        [
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
        ]
    ),
}
_ERRORS = {
    "none": DifyError(400, "no_file_uploaded", "Please upload your file."),
    "many": DifyError(400, "too_many_files", "Only one file is allowed."),
    "name": DifyError(400, "filename_not_exists_error", "The specified filename does not exist."),
    "type": DifyError(415, "unsupported_file_type", "File type not allowed."),
}


def file_type(extension: str) -> str:
    """Dify's kind of file for an extension."""
    return next((kind for kind, extensions in _KINDS.items() if extension in extensions), "custom")


def mime_type(part: Part) -> str:
    """A part's type without parameters; empty when it has none."""
    return (part.content_type or "").partition(";")[0].strip().lower()


def user_of(parts: Sequence[Part]) -> str:
    """The `user` field of a form; missing or empty is the shared end user."""
    found = next((part.data.decode("utf-8", "replace") for part in parts if part.name == "user"), "")
    return found or ANYBODY


def upload(ctx: Context) -> Reply:
    """Keep a file: 201 with its record."""
    parts = parse_multipart(ctx.request)
    made = take_upload(ctx, parts)
    now = int(made.created_at)
    answer = {
        "id": made.id,
        **({"reference": None} if ctx.profile.upload_reference else {}),
        "name": made.name,
        "size": made.size,
        "extension": made.extension,
        "mime_type": made.mime_type,
        "created_by": made.owner_id,
        "created_at": now,
        "preview_url": None,
        "source_url": source_url(ctx.request, ctx.workspace, made),
        "original_url": None,
        "user_id": None,
        "tenant_id": ctx.workspace.tenant_id,
        "conversation_id": None,
        "file_key": None,
    }
    return ctx.json(answer, 201)


def take_upload(ctx: Context, parts: Sequence[Part]) -> Upload:
    """The upload of a form, checked in Dify's order and kept."""
    files = [part for part in parts if part.filename is not None]
    chosen = next((part for part in files if part.name == "file"), None)
    if chosen is None:
        raise _ERRORS["none"]
    if len({part.name for part in files}) > 1:
        raise _ERRORS["many"]
    kind = mime_type(chosen)
    if not kind:
        raise _ERRORS["type"]
    name = chosen.filename or ""
    if not name:
        raise _ERRORS["name"]
    if "/" in name or "\\" in name:
        msg = "Filename contains invalid characters"
        raise invalid_param(msg)
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    type_ = file_type(extension)
    if len(chosen.data) > LIMITS[type_] * MEGABYTE:
        raise DifyError(413, "file_too_large", ctx.profile.file_too_large)
    made = Upload(
        id=ctx.person.ids.next(),
        app=ctx.installed.name,
        user=ctx.user,
        owner_id=ctx.person.end_user.id,
        name=name,
        data=chosen.data,
        size=len(chosen.data),
        extension=extension,
        mime_type=kind,
        type=type_,
        created_at=ctx.now(),
    )
    ctx.person.uploads[made.id] = ctx.workspace.store.uploads[made.id] = made
    return made


def source_url(request: Request, workspace: Workspace, made: Upload) -> str:
    """A signed link to the file, valid on this server."""
    now = int(made.created_at)
    nonce = blake2b(made.id.encode(), digest_size=16).hexdigest()
    path = f"/files/{made.id}/file-preview?timestamp={now}&nonce={nonce}&sign={quote(sign(workspace, made.id, nonce))}"
    return f"{request.scheme}://{request.host}{path}"


def sign(workspace: Workspace, upload_id: str, nonce: str) -> str:
    """The signature of a link: proof that this workspace made it."""
    return blake2b(f"{upload_id}|{nonce}".encode(), key=workspace.tenant_id.encode(), digest_size=16).hexdigest() + "="


def _with_charset(kind: str) -> str:
    """A media type as werkzeug writes it: texts and XML name their charset."""
    # unverified: only an image's preview was recorded
    texts = kind.startswith("text/") or kind.endswith("+xml") or kind in {"application/xml", "application/javascript"}
    return f"{kind}; charset=utf-8" if texts else kind


def preview(ctx: Context) -> Reply:
    """The bytes of a file that a message of this app uses; who asks does not matter."""
    found = ctx.workspace.store.uploads.get(ctx.values["file_id"].lower())
    if found is None or not found.conversation_apps:
        raise DifyError(404, "file_not_found", "File not found in message context")
    if ctx.installed.name not in found.conversation_apps:
        raise DifyError(403, "file_access_denied", "File access denied: not owned by requesting app")
    kind, extra = _with_charset(found.mime_type), [("Cache-Control", "public, max-age=3600")]
    if kind.startswith(("audio/", "video/")):
        extra.append(("Accept-Ranges", "bytes"))
    if ctx.payload["as_attachment"] or "html" in kind or found.extension in {"html", "htm"}:
        kind = "application/octet-stream"
        extra.append(("Content-Disposition", f"attachment; filename*=UTF-8''{quote(found.name)}"))
    return ctx.data(kind, found.data, tuple(extra))


def download(workspace: Workspace, request: Request, file_id: str) -> tuple[Headers, bytes] | None:
    """The bytes behind a signed `source_url`, or None when the link is not ours."""
    found = workspace.store.uploads.get(file_id)
    if found is None or request.query.get("sign") != sign(workspace, file_id, request.query.get("nonce", "")):
        return None
    kind = found.mime_type or mimetypes.guess_type(found.name)[0] or "application/octet-stream"
    return (("Content-Type", kind),), found.data


def whole(headers: Headers, data: bytes) -> Reply:
    """A plain 200."""
    yield Head(200, headers, len(data))
    yield Body(data)
