"""Multipart bodies, parsed in memory by python-multipart."""

from __future__ import annotations

from mockdify.http import Part, Request

__all__ = ["parse_multipart"]


class _Collector:
    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._field = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._data: list[bytes] = []

    def begin(self) -> None:
        self._headers, self._data = {}, []

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field, self._value = b"", b""

    def data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def end(self) -> None:
        from python_multipart.multipart import parse_options_header  # noqa: PLC0415

        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name, filename = options.get(b"name"), options.get(b"filename")
        kind = self._headers.get(b"content-type")
        if name is not None:
            self.parts.append(
                Part(
                    name=name.decode("utf-8", "replace"),
                    filename=None if filename is None else filename.decode("utf-8", "replace"),
                    content_type=None if kind is None else kind.decode("latin-1"),
                    data=b"".join(self._data),
                )
            )


def parse_multipart(request: Request) -> list[Part]:
    """The parts of *request*'s body; none when it is not (well-formed) multipart."""
    from python_multipart.multipart import MultipartParser, parse_options_header  # noqa: PLC0415 - uploads are rare

    kind, options = parse_options_header(request.header("content-type") or "")
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        return []
    seen = _Collector()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": seen.begin,
            "on_header_field": seen.header_field,
            "on_header_value": seen.header_value,
            "on_header_end": seen.header_end,
            "on_part_data": seen.data,
            "on_part_end": seen.end,
        },
    )
    try:
        parser.write(request.body)
        parser.finalize()
    except Exception:  # noqa: BLE001 - the parser's errors are many; a broken body has the parts read so far
        return seen.parts
    return seen.parts
