"""Cassette text and files: round trips, one writer, refusing what is damaged."""

import multiprocessing
import threading
import time

import pytest
import yaml
from cassette_kit import SSE, event, recorded
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mockdify.cassettes import files, text
from mockdify.cassettes.files import (
    BusyCassetteError,
    DamagedCassetteError,
    MissingCassetteError,
    Writer,
    append,
    load,
    locked,
    save,
    tidy,
)
from mockdify.cassettes.interaction import Interaction
from mockdify.cassettes.replay import Player

TEXT = st.text(st.characters(codec="utf-8"))
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,12}", fullmatch=True) | st.sampled_from(
    ["Y", "no", "null", "on", "=", "<<"]
)
HEADERS = st.dictionaries(NAMES.map(str.title), TEXT.filter(lambda text: "\0" not in text), max_size=3)
LINES = st.lists(st.sampled_from(["data: {}", "", " ", "- x", "# end", "a: b", "---", "...", "你好 👋", "\t", "x "]))
BODIES = st.binary() | TEXT.map(str.encode) | LINES.map("\n".join).map(str.encode) | st.just(b"data: {}\n\n")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6).map(lambda x: round(x, 3)) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
INTERACTIONS = st.builds(
    Interaction,
    method=st.sampled_from(["GET", "POST", "Y", "no", "1e3"]),
    uri=TEXT.map("http://dify.test/".__add__),
    request_headers=HEADERS.map(lambda headers: tuple(headers.items())),
    request_body=st.none() | BODIES,
    status=st.integers(100, 599),
    reason=TEXT,
    headers=HEADERS.map(lambda headers: tuple(headers.items())),
    body=BODIES,
    about=st.dictionaries(NAMES, JSON, max_size=3),
)


def written(interactions):
    """The three ways in which *interactions* can stand in a file."""
    blocks = text.OPENING + text.HEAD + "".join(map(text.block, interactions)) + text.closing(len(interactions))
    lines = text.OPENING + text.HEAD + text.block(interactions[0]) + text.END
    lines += "".join("- " + text.line(each) for each in interactions[1:])
    return [blocks.encode(), lines.encode()]


@settings(deadline=None)
@given(st.lists(INTERACTIONS, min_size=1, max_size=3))
@example([recorded(body=b"a\n\n"), recorded(body=b"")])
@example([recorded(body=b" a"), recorded(body=b"a "), recorded(body=b"\n")])
@example([recorded(body=b"\xc2\x85 \xe2\x80\xa8 \xef\xbb\xbf"), recorded(about={"x": 1e-07})])
def test_whatever_is_written_is_read_back(interactions):
    """By the quick reader, by libyaml and by PyYAML alike, whether as blocks or as lines."""
    for data in written(interactions):
        got, torn = text.read(data)
        assert (torn, [each.to_vcr() for each in got]) == (
            b"",
            [each.to_vcr() for each in _read(data, yaml.CSafeLoader)],
        )
        assert got == _read(data, yaml.SafeLoader)
        assert [(each.body, each.request_body, each.uri, each.headers) for each in got] == [
            (each.body, each.request_body, each.uri, each.headers) for each in interactions
        ]


def _read(data, loader):
    return [Interaction.from_vcr(raw) for raw in yaml.load(data.decode(), Loader=loader)["interactions"]]


@settings(deadline=None, max_examples=30)
@given(st.lists(INTERACTIONS, min_size=1, max_size=2))
def test_stock_vcrpy_reads_the_same_bytes(interactions):
    from vcr.serialize import deserialize
    from vcr.serializers import yamlserializer

    for data in written(interactions):
        requests, responses = deserialize(data.decode(), yamlserializer)
        for each, request, response in zip(interactions, requests, responses, strict=True):
            assert response["body"]["string"] == each.body
            assert request.body == each.request_body
            assert response["status"]["code"] == each.status


def test_what_vcrpy_saved_is_read(cassette):
    """In its own layout; and recording goes on in ours, extension data and all."""
    from vcr.serialize import deserialize, serialize
    from vcr.serializers import yamlserializer

    one = recorded(body="event: ping\n\n你好\n".encode(), about={"chunks": [[1.5, 3], [2.0, 14]], "cut": None})
    save(cassette, [one])
    requests, responses = deserialize(cassette.read_text(), yamlserializer)
    cassette.write_text(serialize({"requests": requests, "responses": responses}, yamlserializer))
    assert not cassette.read_text().startswith(text.OPENING)
    assert load(cassette) == [one]
    append(cassette, [one])
    assert load(cassette) == [one, one]
    assert cassette.read_text().startswith(text.OPENING)


def test_old_forms_of_bodies_are_read(cassette):
    """A mapping for what aiohttp was given as json=, a plain string of a header, a body without a mapping."""
    cassette.write_text(
        "version: 1\ninteractions:\n- request: {method: POST, uri: http://x/, headers: {a: b}, body: {q: hi}}\n"
        "  response: {status: {code: 200, message: OK}, headers: {}, body: {string: hello}}\n"
    )
    [one] = load(cassette)
    assert (one.request_body, one.request_headers, one.body) == (b'{"q": "hi"}', (("a", "b"),), b"hello")


def test_files_are_readable():
    """Streams line by line, Chinese and emoji as they are, one header a line."""
    body = 'data: {"answer":"你好 👋"}\n\ndata: {"answer":""}\n\n'.encode()
    lines = text.block(recorded(body=body)).splitlines()
    assert '        data: {"answer":"你好 👋"}' in lines
    assert '      Content-Type: ["application/json"]' in lines


def test_notes_stand_at_the_top(cassette):
    save(cassette, [recorded()], notes=["where it comes from"])
    assert cassette.read_text().splitlines()[1] == "# where it comes from"
    assert load(cassette) == [recorded()]


def test_an_empty_cassette_is_one(cassette):
    save(cassette, [])
    assert load(cassette) == []
    assert yaml.safe_load(cassette.read_text())["interactions"] == []
    append(cassette, [recorded()])
    assert load(cassette) == [recorded()]


# ---------------------------------------------------------------- damage
def test_a_missing_cassette_says_what_else_is_there(tmp_path):
    save(tmp_path / "chat.yaml", [])
    with pytest.raises(MissingCassetteError, match=r"there are: chat\.yaml"):
        load(tmp_path / "chats.yaml")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: data.replace(b"\n# end\n", b"\n"), "cut short"),
        (lambda data: data.replace(b"version: 1", b"version: 2"), "its version is 2"),
        (lambda data: data.replace(b"\xe4\xbd\xa0", b"\xff\xff\xff"), "line 19: it is not UTF-8"),
        (lambda data: data.replace(b"status:", b"statue:"), "interaction 1: it has no 'status'"),
        (lambda data: data.replace(b"uri: ", b"uri: ["), "line 7"),
        (lambda data: b"", "it is empty"),
        (lambda data: b"hello", "no list of 'interactions'"),
        (lambda data: b"version: 1\ninteractions: {a: 1}", "no list of 'interactions'"),
        (lambda data: b"version: 1\ninteractions:\n- [1]\n", "interaction 1: it has no 'request'"),
    ],
)
def test_a_damaged_cassette_is_refused_by_readers_and_writers_and_never_overwritten(cassette, damage, says):
    save(cassette, [recorded(body="你好".encode())])
    damaged = damage(cassette.read_bytes())
    cassette.write_bytes(damaged)
    for use in (load, Writer, tidy, lambda path: append(path, [recorded()]), lambda path: Writer(path, fresh=True)):
        with pytest.raises(DamagedCassetteError, match=says) as error:
            use(cassette)
        assert str(cassette) in str(error.value)
        assert cassette.read_bytes() == damaged
    assert [each.name for each in cassette.parent.iterdir()] == [cassette.name]


@pytest.mark.parametrize("kept", range(1, 200, 7))
def test_a_line_that_a_writer_was_adding_is_dropped(cassette, kept):
    """Cut anywhere, in the middle of a character too."""
    save(cassette, [recorded()])
    whole = cassette.read_bytes()
    cassette.write_bytes(whole + ("# " + text.line(recorded(request_body="你好".encode() * 20))).encode()[:kept])
    assert load(cassette) == [recorded()]
    append(cassette, [recorded(status=201)])
    assert [each.status for each in load(cassette)] == [200, 201]


def test_a_line_that_was_never_turned_on_is_a_comment(cassette):
    save(cassette, [recorded()])
    with cassette.open("a") as file:
        file.write("# " + text.line(recorded(status=500)))
    append(cassette, [recorded(status=201)])
    assert [each.status for each in load(cassette)] == [200, 201]
    assert "500" not in cassette.read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"    method: POST": "    method: 'POST'"},
        {"# end": "# hello\n# end"},
        {'["': "[ '", '"]': "' ]"},
    ],
)
def test_a_cassette_may_be_edited_by_hand(cassette, change):
    save(cassette, [recorded()])
    edited = cassette.read_text()
    for old, new in change.items():
        edited = edited.replace(old, new)
    cassette.write_text(edited)
    assert load(cassette) == [recorded()]


# ---------------------------------------------------------------- writers
def test_what_was_appended_is_in_the_file_at_once(cassette):
    """For us, for libyaml and for vcrpy, after each single one; closing makes it readable."""
    writer = Writer(cassette)
    assert not cassette.exists()
    for n in range(4):
        writer.append(recorded(status=200 + n, body=b"\xff" * n))
        assert [each.status for each in load(cassette)] == list(range(200, 201 + n))
        assert len(yaml.load(cassette.read_bytes(), Loader=yaml.CSafeLoader)["interactions"]) == n + 1
        writer.sync()
    before = load(cassette)
    writer.close()
    assert load(cassette) == before
    assert cassette.read_text().count("\n- request:\n") == 4
    assert [each.name for each in cassette.parent.iterdir()] == [cassette.name]


def test_fresh_replaces_what_was_there_with_the_first_interaction(cassette):
    save(cassette, [recorded()])
    with Writer(cassette, fresh=True) as writer:
        assert load(cassette) == [recorded()]
        writer.append(recorded(status=201))
    assert [each.status for each in load(cassette)] == [201]


def test_a_second_writer_is_told_who_is_first(cassette):
    with Writer(cassette), pytest.raises(BusyCassetteError, match=r"\(process \d+\)"):
        Writer(cassette)
    Writer(cassette).close()


def test_a_second_writer_may_wait(cassette):
    first = Writer(cassette)
    done = threading.Event()

    def second():
        append(cassette, [recorded()], wait=10)
        done.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not done.is_set()
    first.append(recorded())
    first.close()
    thread.join(10)
    assert len(load(cassette)) == 2


def _append_some(path, first):
    for n in range(first, first + 5):
        append(path, [recorded(status=n)], wait=30)


def test_processes_that_share_a_cassette_keep_all_interactions(cassette):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_some, args=(cassette, 100 * n)) for n in (2, 3, 4)]
    for each in processes:
        each.start()
    for each in processes:
        each.join(60)
    assert sorted(each.status for each in load(cassette)) == [*range(200, 205), *range(300, 305), *range(400, 405)]


def test_a_folder_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(files.CassetteError, match="cannot be written: No such file or directory"):
        Writer(tmp_path / "nowhere" / "x.yaml")


def test_a_lock_leaves_nothing_behind(cassette):
    with locked(cassette):
        assert cassette.with_name("run.yaml.lock").exists()
    assert not list(cassette.parent.iterdir())


# ---------------------------------------------------------------- cost
@pytest.mark.parametrize("laid_out", ["as blocks", "as lines", "by vcrpy"])
def test_five_megabytes_load_in_less_than_half_a_second(tmp_path, laid_out):
    """And are ready to be played. The best of a few tries counts: the machine may be busy."""
    cassette = tmp_path / "large.yaml"
    stream = b"".join(event(f"word {n}", task_id="5b1e4ef2-5c5a-4f0e-a2f4-6a3f2b1c0d9e") for n in range(200))
    interactions = [
        recorded(request_body=b'{"query": "%d"}' % n, headers=tuple(SSE.items()), body=stream) for n in range(260)
    ]
    save(cassette, interactions[:1])
    if laid_out == "as blocks":
        save(cassette, interactions)
    elif laid_out == "as lines":
        with cassette.open("a") as file:
            file.writelines("- " + text.line(each) for each in interactions[1:])
    else:
        document = {"version": 1, "interactions": [each.to_vcr() for each in interactions]}
        cassette.write_text(yaml.dump(document, Dumper=yaml.CSafeDumper))
    assert cassette.stat().st_size > 5_000_000

    def seconds():
        started = time.perf_counter()
        player = Player.load(cassette)
        taken = time.perf_counter() - started
        assert len(player.interactions) == len(interactions)
        return taken

    assert any(seconds() < 0.5 for _ in range(5))
