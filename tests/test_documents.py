"""YAML documents: exact for exports, kind to hand-written files, precise about mistakes."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mockdify.documents import load_yaml, parse_yaml
from mockdify.errors import MockdifyError

# Next line is a line break to the C parser, also inside quotes: every reader of an export loses it.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=12)


def mistake(text):
    with pytest.raises(MockdifyError) as caught:
        parse_yaml(text, source="a.yml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(VALUES)
def test_what_pyyaml_writes_is_read_back_unchanged(value):
    text = yaml.safe_dump(value, allow_unicode=True)
    assert parse_yaml(text, source="a.yml").data == value


@pytest.mark.parametrize(
    "word", ["no", "yes", "on", "Off", "y", "12:30:00", "2026-01-01", "010", "0x1f", "1_000", "1e5", "="]
)
def test_words_that_yaml_1_1_would_change_stay_texts(word):
    assert parse_yaml(f"a: {word}", source="a.yml").data == {"a": word}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-0.5", -0.5),
        (".inf", float("inf")),
        ("!!str 12", "12"),
    ],
)
def test_plain_values_are_read_as_json_would(text, value):
    assert parse_yaml(f"a: {text}", source="a.yml").data == {"a": value}


def test_keys_are_always_texts():
    assert parse_yaml("{1: a, true: b, no: c}", source="a.yml").data == {"1": "a", "true": "b", "no": "c"}


def test_aliases_and_merges_are_followed():
    document = parse_yaml("base: &b {x: 1, y: 2}\nsame: *b\nmore: {<<: *b, y: 3}", source="a.yml")
    assert document.data == {"base": {"x": 1, "y": 2}, "same": {"x": 1, "y": 2}, "more": {"y": 3, "x": 1}}


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "a.yml:4:3: ", "given twice (first in line 3)"),
        ("a: [1, 2\nb: 3", "a.yml:2:", "not valid YAML"),
        ("a:\n\tb: 1", "a.yml:2:1: ", "not valid YAML"),
        ("a: !!python/object:os.system x", "a.yml:1:4: ", "tag"),
        ("a: !!int x", "a.yml:1:4: ", "tag"),
        ("a: &a [*a]", "a.yml:1:4: ", "contains itself"),
        ("? [1]\n: 2", "a.yml:1:3: ", "cannot be a key"),
        ("a: b\nc: d\x00", "a.yml:2:5: ", "not allowed"),
        ("<<: 3", "a.yml:1:5: ", "'<<'"),
        ("a: 1\n---\nb: 2", "a.yml:2:1: ", "single document"),
        ("[" * 5000, "a.yml:2:1: ", "not valid YAML"),
    ],
)
def test_a_mistake_is_one_line_with_file_line_and_column(text, place, word):
    told = mistake(text)
    assert told.startswith(place)
    assert word in told


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        parse_yaml(text, source="a.yml")
    except MockdifyError as error:
        assert str(error).startswith("a.yml:")  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


def test_a_file_that_is_not_there_or_not_utf_8_is_told(tmp_path):
    with pytest.raises(MockdifyError, match=r"none\.yml: cannot be read: No such file"):
        load_yaml(tmp_path / "none.yml")
    latin = tmp_path / "latin.yml"
    latin.write_bytes("a: 1\nb: ü".encode("latin-1"))
    with pytest.raises(MockdifyError, match=r"latin\.yml:2:4: this is not UTF-8"):
        load_yaml(latin)


def test_a_byte_order_mark_is_skipped(tmp_path):
    file = tmp_path / "bom.yml"
    file.write_bytes(b"\xef\xbb\xbfa: 1")
    assert load_yaml(file).data == {"a": 1}


def section(text):
    return parse_yaml(text, source="a.yml").root("a test")


def test_getters_take_values_liberally():
    data = section("{t: 12, b: true, f: 'Yes', n: '7', e: '', l: [a, 1], s: {}, p: []}")
    assert (data.text("t"), data.text("b"), data.text("none", "x"), data.optional_text("none")) == (
        "12",
        "true",
        "x",
        None,
    )
    assert (data.flag("b"), data.flag("f"), data.flag("none", default=True)) == (True, True, True)
    assert (data.number("n"), data.number("e"), data.number("none")) == (7, None, None)
    assert (data.texts("l"), data.items("none"), data.section("p").data) == (("a", "1"), (), {})


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (lambda s: s.text("map"), "a.yml:1:6: map: a text belongs here, but this is a mapping"),
        (lambda s: s.section("text"), "a.yml:2:7: text: a mapping belongs here, but this is the text 'word'"),
        (lambda s: s.sections("list"), "a.yml:3:12: list[1]: a mapping belongs here, but this is the number 3"),
        (lambda s: s.items("map"), "a.yml:1:6: map: a list belongs here, but this is a mapping"),
        (lambda s: s.flag("text"), "a.yml:2:7: text: true or false belongs here, but this is the text 'word'"),
        (lambda s: s.number("text"), "a.yml:2:7: text: a whole number belongs here, but this is the text 'word'"),
        (
            lambda s: s.choice("text", {"world": 1}, "thing"),
            "a.yml:2:7: text: 'word' is no thing; allowed are world; did you mean 'world'?",
        ),
        (
            lambda s: s.section("map").choice("none", {"a": 1}, "thing"),
            "a.yml:1:6: map: the key 'none' is missing: thing is one of a",
        ),
        (
            lambda s: s.needed("texxt", "it is needed"),
            "a.yml:1:1: the key 'texxt' is missing: it is needed; did you mean 'text'?",
        ),
    ],
)
def test_a_wrong_shape_is_told_with_its_place_and_what_belongs_there(read, told):
    with pytest.raises(MockdifyError) as caught:
        read(section("map: {a: 1}\ntext: word\nlist: [{}, 3]\n"))
    assert str(caught.value) == told


def test_a_document_that_is_no_mapping_is_refused():
    for text in ("[1]", "", "word"):
        with pytest.raises(MockdifyError, match=r"^a\.yml:1:1: a test is a mapping"):
            section(text)
