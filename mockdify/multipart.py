"""Multipart bodies, parsed by python-multipart: only where each part stands, so that nothing is held twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from mockdify.errors import DifyError
from mockdify.http import Part, Request

__all__ = ["parse_multipart"]

_PIECE = 256 * 1024
_MOST_PARTS = 1000
_LARGEST_FIELD = 500_000
# Flask's own limits for forms, which Dify leaves as they are.
_TOO_MUCH = DifyError(  # unverified: the text
    413, "request_entity_too_large", "The data value transmitted exceeds the capacity limit."
)
_silent = logging.Logger("multipart", logging.CRITICAL)  # noqa: LOG001 - nobody's: what is wrong with a body is the client's business


class _Collector:
    """The parts met so far. The parser's callbacks name stretches of the piece that it was given last."""

    def __init__(self, source: object) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self.base = 0
        self.piece = b""
        self._source = source
        self._field = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._start = self._size = 0

    def all_read(self) -> None:
        self.complete = True

    def begin(self) -> None:
        if len(self.parts) == _MOST_PARTS:
            raise _TOO_MUCH
        self._headers, self._start, self._size = {}, 0, 0

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field, self._value = b"", b""

    def data(self, data: bytes, start: int, end: int) -> None:
        if not self._size:
            # What looked like a boundary at the end of the piece before is given as a copy, just before this piece.
            self._start = self.base + start if data is self.piece else self.base - end
        self._size += end - start

    def end(self) -> None:
        from python_multipart.multipart import parse_options_header  # noqa: PLC0415

        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name, filename = options.get(b"name"), options.get(b"filename")
        kind = self._headers.get(b"content-type")
        if name is None:
            return
        if filename is None and self._size > _LARGEST_FIELD:
            raise _TOO_MUCH
        self.parts.append(
            Part(
                name=name.decode("utf-8", "replace"),
                filename=None if filename is None else filename.decode("utf-8", "replace"),
                content_type=None if kind is None else kind.decode("latin-1"),
                source=self._source,  # type: ignore[arg-type]  # bytes or a file, as the request has it
                start=self._start,
                size=self._size,
            )
        )


def parse_multipart(request: Request) -> list[Part]:
    """The parts of *request*'s body; none when it is broken or not multipart at all."""
    kept = request.__dict__  # where `cached_property` keeps values as well; `settle` drops them
    if "parts" not in kept:
        kept["parts"] = _parse(request)
    found: list[Part] = kept["parts"]
    return found


def _parse(request: Request) -> list[Part]:
    from python_multipart.multipart import MultipartParser, parse_options_header  # noqa: PLC0415 - uploads are rare

    said = (request.header("content-type") or "").encode("utf-8", "surrogateescape")
    kind, options = parse_options_header(said)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        return []
    seen = _Collector(request.body if request.file is None else request.file)
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": seen.begin,
            "on_header_field": seen.header_field,
            "on_header_value": seen.header_value,
            "on_header_end": seen.header_end,
            "on_part_data": seen.data,
            "on_part_end": seen.end,
            "on_end": seen.all_read,
        },
    )
    parser.logger = _silent
    try:
        for piece in _pieces(request):
            seen.piece = piece
            parser.write(piece)
            seen.base += len(piece)
    except DifyError:
        raise
    except Exception:  # noqa: BLE001 - the parser's errors are many
        return []
    # unverified: werkzeug, which reads forms for Dify, gives up without a word on a body that has no end
    return seen.parts if seen.complete else []


def _pieces(request: Request) -> Iterator[bytes]:
    if request.file is None:
        yield request.body
        return
    request.file.seek(0)
    while piece := request.file.read(_PIECE):
        yield piece
