"""Multipart bodies: the same parts from memory and from a file, and nothing but silence about broken ones."""

from __future__ import annotations

import io
import logging
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mockdify import multipart
from mockdify.errors import DifyError
from mockdify.http import Request
from mockdify.multipart import parse_multipart

BOUNDARY = "frontier"


def encode(parts, boundary=BOUNDARY):
    """Parts (name, filename or None, type or None, data) as a body."""
    lines = []
    for name, filename, kind, data in parts:
        said = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
        lines.append(f"--{boundary}\r\nContent-Disposition: {said}\r\n".encode())
        lines.append(b"" if kind is None else f"Content-Type: {kind}\r\n".encode())
        lines.append(b"\r\n" + data + b"\r\n")
    return b"".join(lines) + f"--{boundary}--\r\n".encode()


def form(body, *, boundary=BOUNDARY, kind="multipart/form-data", in_file=False):
    header = f"{kind}; boundary={boundary}" if boundary is not None else kind
    return Request(
        method="POST",
        target="/v1/files/upload",
        headers=(("Content-Type", header),),
        body=body[:10] if in_file else body,
        file=io.BytesIO(body) if in_file else None,
    )


def shown(parts):
    return [(part.name, part.filename, part.content_type, part.data) for part in parts]


SOME = [("user", None, None, b"alice"), ("file", "a.png", "image/png", b"\x89PNG\r\n\0")]

DATA = st.one_of(
    st.binary(max_size=80),
    # what looks like a boundary for a while
    st.lists(
        st.sampled_from([b"\r", b"\n", b"--", b"\r\n--", b"front", b"\r\n--frontie", b"-", b"x"]), max_size=12
    ).map(b"".join),
).filter(lambda data: b"\r\n--frontier" not in b"\r\n" + data)
PARTS = st.lists(
    st.tuples(
        st.text("abc_", min_size=1, max_size=5),
        st.none() | st.text("abc .äß你", min_size=1, max_size=8),
        st.none() | st.sampled_from(["image/png", "text/plain; charset=utf-8"]),
        DATA,
    ),
    min_size=1,
    max_size=4,
)


@given(PARTS)
def test_the_parts_are_what_was_sent(parts):
    assert shown(parse_multipart(form(encode(parts)))) == parts


@given(PARTS, st.integers(min_value=1, max_value=40))
def test_a_file_gives_the_same_parts_however_it_is_read(parts, piece):
    body = encode(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multipart, "_PIECE", piece)
        assert shown(parse_multipart(form(body, in_file=True))) == parts


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_some_parts_or_none(data, in_file):
    parse_multipart(form(data, in_file=in_file))
    parse_multipart(form(b"--frontier\r\n" + data, in_file=in_file))


@given(st.integers(min_value=0, max_value=len(encode(SOME)) - 3))
def test_a_body_that_is_cut_short_has_no_parts(length):
    assert parse_multipart(form(encode(SOME)[:length])) == []


@pytest.mark.parametrize(
    "request_",
    [
        form(encode(SOME), boundary=None),
        form(encode(SOME), boundary=""),
        form(encode(SOME), boundary="other"),
        form(encode(SOME), boundary="\udcff\udce4"),
        form(encode(SOME), boundary="你"),
        form(encode(SOME), kind="application/json"),
        form(encode(SOME), kind="multipart/mixed"),
        form(b""),
        Request(method="POST", target="/", body=encode(SOME)),
    ],
    ids=["no boundary", "empty", "another", "bytes", "unicode", "json", "mixed", "no body", "no type"],
)
def test_what_is_not_a_form_has_no_parts(request_):
    assert parse_multipart(request_) == []


def test_nothing_is_said_in_the_log_about_a_broken_body(caplog):
    with caplog.at_level(logging.DEBUG):
        parse_multipart(form(b"--frontier\r\nno colon\r\n\r\nx"))
        parse_multipart(form(b"--frontierX"))
    assert not caplog.records


def test_a_thousand_parts_are_the_most():
    many = [("a", None, None, b"x")] * 1000
    assert len(parse_multipart(form(encode(many)))) == 1000
    with pytest.raises(DifyError) as met:
        parse_multipart(form(encode([*many, many[0]])))
    assert met.value.status == 413


def test_a_field_is_no_place_for_a_file():
    with pytest.raises(DifyError) as met:
        parse_multipart(form(encode([("user", None, None, b"x" * 500_001)])))
    assert (met.value.status, met.value.code) == (413, "request_entity_too_large")


def test_a_large_part_is_in_memory_once_and_only_when_it_is_asked_for(tmp_path):
    size = 8_000_000
    path = tmp_path / "body"
    path.write_bytes(encode([("file", "a.bin", "a/b", b"x" * size)]))
    with path.open("rb") as file:
        request = Request(
            method="POST",
            target="/",
            headers=(("Content-Type", f"multipart/form-data; boundary={BOUNDARY}"),),
            file=file,
        )
        tracemalloc.start()
        (part,) = parse_multipart(request)
        assert part.size == size
        before = tracemalloc.get_traced_memory()[1]
        assert len(part.data) == size
        after = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert before < size / 4
    assert after < size * 1.3


def test_a_settled_request_holds_neither_parts_nor_file():
    request = form(encode(SOME), in_file=True)
    first = parse_multipart(request)
    assert parse_multipart(request) is first
    request.settle()
    assert request.file.closed
    assert "parts" not in request.__dict__
