"""Scrubbing: no canary survives, nothing else changes, borders stay borders; and what is left is found."""

import base64
import itertools
import json
import re

import pytest
import yaml
from cassette_kit import event, recorded
from hypothesis import given, settings
from hypothesis import strategies as st

from mockdify.cassettes.files import load, save
from mockdify.cassettes.scrub import Scrubber, check
from mockdify.cassettes.secrets import PLACEHOLDER

APP_KEY = "app-CANARYabcdefgh0123456789"
CANARIES = [
    APP_KEY,
    "dataset-CANARYabcdefgh012345678",
    "sk-canary-0123456789abcdef",
    "canary.person+tag@example.com",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl",
    "AKIACANARY0123456789",
    "ghp_canarycanarycanarycanarycanary012345",
]
TEXTS = {"request_headers": (("Content-Type", "text/plain"),), "headers": (("Content-Type", "text/plain"),)}


def everything(interaction):
    """All text of an interaction."""
    headers = [*interaction.request_headers, *interaction.headers]
    bodies = [(interaction.request_body or b"").decode("latin-1"), interaction.body.decode("latin-1")]
    return "\n".join(
        [interaction.uri, *(f"{n}: {v}" for n, v in headers), *bodies, json.dumps(dict(interaction.about))]
    )


@pytest.mark.parametrize("canary", CANARIES)
def test_a_canary_is_found_wherever_it_stands(canary):
    """In an address, headers, a JSON request, a JSON reply with every way of escaping, an event, HTML."""
    said = json.dumps({"a": f"x\n{canary}", "b": f"邮箱{canary}。"})
    one = recorded(
        uri=f"http://dify.test/v1/x?q={canary.replace('@', '%40')}&r={canary}",
        request_headers=(("X-Debug", canary), ("Content-Type", "application/json")),
        request_body=said.encode(),
        headers=(("X-Echo", f"<{canary}>"), ("Content-Type", "application/json")),
        body=said.replace("/", "\\/").encode() + b"\n" + json.dumps({"c": canary}, ensure_ascii=False).encode(),
        about={"unreachable": f"could not reach {canary}"},
    )
    clean = Scrubber()(one)
    assert canary not in everything(clean)
    assert "canary" not in everything(clean).lower()
    assert json.loads(clean.request_body)["a"].startswith("x\n<")
    names = {f"<{kind}-{number}>" for kind, number in PLACEHOLDER.findall(everything(clean))}
    assert len(names) == 1


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("Authorization", "Bearer short-1", "Bearer <key-1>"),
        ("authorization", "Basic Y2FuYXJ5OmNhbmFyeQ==", "Basic <key-1>"),
        ("Authorization", "canary-without-scheme", "<key-1>"),
        ("Authorization", "Bearer", "Bearer"),
        ("Authorization", "Bearer <key>", "Bearer <key>"),
        ("Authorization", "Bearer app-chat-demo", "Bearer <key-1>"),
        ("X-Api-Key", "canary", "<key-1>"),
        ("Cookie", "session=canary; theme=dark", "session=<cookie-1>; theme=<cookie-2>"),
        ("Set-Cookie", "session=canary; Path=/; HttpOnly", "session=<cookie-1>; Path=/; HttpOnly"),
        ("WWW-Authenticate", 'Bearer realm="api"', 'Bearer realm="api"'),
    ],
)
def test_headers_are_cleaned_by_name(name, value, kept):
    one = recorded(request_headers=((name, value),), headers=((name, value),))
    clean = Scrubber()(one)
    assert clean.request_headers == clean.headers == ((name, kept),)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "http://h/files/1/file-preview?timestamp=1795348159&nonce=70ee26&sign=vz0A_%3D",
            "http://h/files/1/file-preview?timestamp=<timestamp-1>&nonce=<nonce-1>&sign=<signature-1>",
        ),
        (r'"u":"http:\/\/h?nonce=ab\u0026sign=cd"', r'"u":"http:\/\/h?nonce=<nonce-1>\u0026sign=<signature-1>"'),
        ('{"api_key": "hunter2", "password":"x y"}', '{"api_key": "<secret-1>", "password":"<secret-2>"}'),
        ("https://user:hunter2@h/x", "https://<credentials-1>@h/x"),
        ('curl -H "authorization: Bearer abc.def-123"', 'curl -H "authorization: Bearer <key-1>"'),
    ],
)
def test_signatures_and_named_secrets_go(text, kept):
    assert Scrubber().text(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        '{"conversation_id":"d58ed906-7e2d-408a-b4f0-947f07ad8fc5","created_at":1795348079}',
        "Authorization header must be provided and start with 'Bearer'",
        'Bearer realm="api"',
        "app_unavailable, risk-free, task-0123456789, desk-lamp-in-the-hall",
        "app-chat-demo app-workflow-demo dataset-demo app-dev",
        "a <key> and <email-3>",
        '{"usage":{"total_tokens":10},"api_key":"","secret":"[__HIDDEN__]"}',
        "foo @ bar, x@y, @handle",
        "GET /v1/messages?timestamp=now&sign_in=1",
    ],
)
def test_what_is_no_secret_stays(text):
    assert Scrubber().text(text) == text


def test_users_add_to_the_usual_ones():
    scrub = Scrubber(["ACME 株式会社", re.compile(r"ticket (\d+)"), re.compile("größe")])
    text = f"ACME 株式会社 ticket 42 größe {APP_KEY} ACME 株式会社"
    assert scrub.text(text) == "<custom-1> ticket <custom-2> <custom-3> <key-1> <custom-1>"
    assert scrub.text(json.dumps("ACME 株式会社")) == '"<custom-1>"'


def test_a_users_expression_may_have_flags():
    assert (
        Scrubber([re.compile("(?i)acme"), re.compile("(?ix) tick (et)")]).text("AcmE tickET")
        == "<custom-1> tick<custom-2>"
    )


def test_the_same_secret_has_the_same_name_throughout_a_file_and_others_have_others():
    scrub = Scrubber()
    first = scrub(recorded(request_headers=(("Authorization", f"Bearer {APP_KEY}"),), body=APP_KEY.encode()))
    second = scrub(
        recorded(request_headers=(("Authorization", "Bearer other-key-1"),), body=f"{APP_KEY} a@b.de".encode())
    )
    assert (first.body, second.body) == (b"<key-1>", b"<key-1> <email-1>")
    assert second.request_headers == (("Authorization", "Bearer <key-2>"),)


def test_names_go_on_after_those_that_a_file_has():
    scrub = Scrubber()
    scrub.skip([recorded(body=b"<email-4> <key>")])
    assert scrub.text("a@b.de") == "<email-5>"


def test_a_secret_that_a_header_taught_is_found_in_bodies_whatever_it_looks_like():
    one = recorded(request_headers=(("Authorization", "Bearer my canary/1"),), body=b'"my canary\\/1" my%20canary%2F1')
    assert Scrubber()(one).body == b'"<key-1>" <key-1>'


def test_scrubbing_twice_changes_nothing():
    once = Scrubber()(recorded(body=" ".join(CANARIES).encode(), about={"chunks": [[1.0, 3]]}, uri="http://a:b@h/"))
    assert Scrubber()(once) == once


def test_a_secret_said_in_several_events_goes_and_the_events_stay():
    deltas = ["mail can", "ary@ex", "ample", ".com, key sk-", "canary-", "0123456789", " 你好\n", "sk-", "no"]
    stream = recorded(headers=(("Content-Type", "text/event-stream"),), body=b"".join(map(event, deltas)))
    clean = Scrubber()(stream)
    said = [json.loads(line[6:])["answer"] for line in clean.body.decode().splitlines() if line]
    assert said == ["mail <email-1>", "", "", ", key <key-1>", "", "", " 你好\n", "sk-", "no"]


@given(
    st.lists(st.sampled_from([*CANARIES, "x", "你好", "\n", '{"a": 1}', "\\n", "\xff"]), max_size=12),
    st.lists(st.integers(0, 400), max_size=12),
)
@settings(deadline=None)
def test_chunk_borders_stay_inside_the_body_and_in_order(words, cuts):
    """A border inside a secret moves behind its placeholder."""
    body = " ".join(words).encode("utf-8", "surrogateescape")
    places = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    sizes = [b - a for a, b in itertools.pairwise(places)]
    clean = Scrubber()(
        recorded(body=body, about={"chunks": [[float(n), size] for n, size in enumerate(sizes)]}, **TEXTS)
    )
    kept = [size for _, size in clean.chunks]
    assert sum(kept) == len(clean.body)
    assert all(size > 0 for size in kept)
    for border in itertools.accumulate(kept):
        assert "<" not in PLACEHOLDER.sub("", clean.body[:border].decode("latin-1"))  # none is cut in two


def test_an_address_that_goes_on_in_the_next_event_is_one():
    """Although its beginning is one already; in a blocking reply it has the same name."""
    scrub = Scrubber()
    stream = recorded(headers=(("Content-Type", "text/event-stream"),), body=event("canary@mail.co") + event(".uk!"))
    assert scrub(stream).body == event("<email-1>") + event("!")
    assert scrub(recorded(body=b'"canary@mail.co.uk"')).body == b'"<email-1>"'


def test_content_length_follows_the_body():
    body = json.dumps({"answer": APP_KEY}).encode()
    one = recorded(headers=(("Content-Length", str(len(body))),), body=body)
    clean = Scrubber()(one)
    assert clean.headers == (("Content-Length", str(len(clean.body))),)


def test_binary_is_left_alone_but_for_keys():
    """A sound that happens to hold something like an address is not changed; a key in it is."""
    sound = b"\xff\xfb" + b"a@b.cd" + bytes(range(256))
    one = recorded(headers=(("Content-Type", "audio/mpeg"),), body=sound + APP_KEY.encode())
    assert Scrubber()(one).body == sound + b"<key-1>"


def test_the_fields_beside_an_uploaded_file_are_cleaned():
    png = b"\x89PNG\r\n\x1a\n\xff" + b"a@b.cd"
    body = (
        b'--XX\r\nContent-Disposition: form-data; name="user"\r\n\r\ncanary@example.com\r\n'
        b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + png + b"\r\n--XX--\r\n"
    )
    one = recorded(request_headers=(("Content-Type", "multipart/form-data; boundary=XX"),), request_body=body)
    assert Scrubber()(one).request_body == body.replace(b"canary@example.com", b"<email-1>")


# ---------------------------------------------------------------- check
def test_check_finds_what_is_left_and_shows_little_of_it(dirty):
    (dirty / "logs").mkdir()
    log = dirty / "logs" / "run.log"
    log.write_text(f"one\nkey {APP_KEY}\nmail canary@example.com\nCookie: sid=canary1234\n")
    found = check([dirty])
    assert [(each.path, each.line, each.kind) for each in found] == [
        (log, 2, "key"),
        (log, 3, "email"),
        (log, 4, "cookie"),
    ]
    assert str(found[0]) == f"{log}:2: key app-…6789"
    assert found[1].excerpt == "c…@….com"


@pytest.mark.parametrize("canary", CANARIES)
def test_check_finds_every_canary_in_a_cassette_that_was_not_scrubbed(dirty, canary):
    save(dirty / "dirty.yaml", [recorded(body=canary.encode())])
    save(dirty / "hidden.yaml", [recorded(body=b"\xff\r\n--" + canary.encode())])
    save(dirty / "clean.yaml", [Scrubber()(recorded(body=canary.encode()))])
    assert {each.path.name for each in check([dirty])} == {"dirty.yaml", "hidden.yaml"}


DELTAS = ["mail can", "ary@exam", "ple.com, key sk-cana", "ry-0123456789"]


@pytest.mark.parametrize("by", ["mockdify", "vcrpy", "a log"])
def test_check_finds_what_several_events_say_together(dirty, by):
    stream = recorded(headers=(("Content-Type", "text/event-stream"),), body=b"".join(map(event, DELTAS)))
    save(dirty / "ours.yaml", [recorded(), stream])
    if by == "vcrpy":
        document = {"version": 1, "interactions": [each.to_vcr() for each in load(dirty / "ours.yaml")]}
        (dirty / "ours.yaml").write_text(yaml.safe_dump(document))
    elif by == "a log":
        (dirty / "ours.yaml").write_bytes(b"a run:\n" + stream.body)
    found = check([dirty])
    assert sorted((each.kind, each.excerpt) for each in found) == [
        ("email", "c\u2026@\u2026.com"),
        ("key", "sk-\u20266789"),
    ]
    save(dirty / "ours.yaml", [Scrubber()(stream), recorded(body=b"a@b")])
    assert check([dirty]) == []


def test_check_finds_what_the_user_adds(dirty):
    (dirty / "report.html").write_text("<p>ACME</p>")
    assert check([dirty]) == []
    assert [each.kind for each in check([dirty], extra=["ACME"])] == ["custom"]


def test_check_reads_headers_in_every_layout(dirty):
    (dirty / "a.yaml").write_text("headers:\n  Authorization:\n  - Bearer canary-token-1\n  Cookie: ['sid=canary1']\n")
    (dirty / "b.json").write_text('{"x-api-key": "canarycanarycanary", "Authorization": "Bearer <key-1>"}')
    assert [(each.path.name, each.line) for each in check([dirty])] == [("a.yaml", 3), ("a.yaml", 4), ("b.json", 1)]


def test_check_skips_what_is_not_the_users(dirty):
    (dirty / ".git").mkdir()
    (dirty / ".git" / "x").write_text(APP_KEY)
    (dirty / "x.bin").write_bytes(base64.b64decode("//79/Pv6") + b"a@b.cd")
    assert check([dirty]) == []


def test_check_of_nothing_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        check([tmp_path / "nowhere"])
