"""Speech: audio-to-text and text-to-audio. Any input gives a small valid answer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from mockdify.endpoints.files import MEGABYTE, mime_type
from mockdify.errors import DifyError, invalid_param
from mockdify.multipart import parse_multipart

if TYPE_CHECKING:
    from mockdify.context import Context
    from mockdify.steps import Reply

__all__ = ["to_audio", "to_text"]

_TYPES = {f"audio/{kind}" for kind in ("mp3", "m4a", "wav", "amr", "mpga")}
_LIMIT = 30
TRANSCRIPTION = "mock transcription"
# One silent MPEG-1 layer III frame (32 kbit/s, 44.1 kHz): a header and zeros, 104 bytes.
_FRAME = b"\xff\xfb\x10\xc4" + bytes(100)
SPEECH = _FRAME * 40


def to_text(ctx: Context) -> Reply:
    """A transcription of whatever was said."""
    parts = [part for part in parse_multipart(ctx.request) if part.filename is not None]
    file = next((part for part in parts if part.name == "file"), None)
    if file is None and ctx.profile.audio_before_switch:
        raise DifyError(400, *ctx.profile.no_audio)
    if not ctx.installed.app.features.speech_to_text:
        raise DifyError(400, *ctx.profile.speech_disabled)
    if file is None:
        raise DifyError(400, *ctx.profile.no_audio)
    if mime_type(file) not in _TYPES:
        raise DifyError(415, "unsupported_audio_type", "Audio type not allowed.")
    if len(file.data) > _LIMIT * MEGABYTE:
        raise DifyError(413, "audio_too_large", f"Audio size larger than {_LIMIT} mb")
    return ctx.json({"text": TRANSCRIPTION})


def to_audio(ctx: Context) -> Reply:
    """A moment of silence, as MP3 in chunks. `message_id` wins over `text`; an unknown one gives JSON null."""
    asked = ctx.payload
    if asked["message_id"]:
        message = ctx.person.messages.get(_uuid(asked["message_id"]) or "")
        if message is None or not message.answer:
            return ctx.json(None)
    elif asked["text"] is None:
        msg = "Text is required"
        raise invalid_param(msg)
    if not ctx.installed.app.features.text_to_speech:
        msg = "TTS is not enabled"
        raise invalid_param(msg)
    return ctx.data("audio/mpeg", SPEECH, chunked=True)


def _uuid(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None
