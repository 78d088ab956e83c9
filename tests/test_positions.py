"""The place of every key and value in generated documents, held against the writer that made them."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from mockdify.positions import Place, find_places, line_and_column

KEYS = st.text("abcxyz-_09", min_size=1, max_size=4) | st.text(max_size=4)
SCALARS = st.sampled_from(
    [
        "1",
        "-2.5e3",
        "true",
        "1979-05-27 07:32:00Z",
        '"a # \\" ] }"',
        "'lit # ]'",
        '""',
        "''",
        '"""\n[x]\nk = "1" \\""" ""\n"""',
        '"""two quotes at the end"""""',
        "'''\n[[x]] ' ''\n'''",
        "'''ends with one''''",
        '"[apps]\\n"',
        "[]",
        "{}",
        "0xff",
        "inf",
    ]
)


class Writer:
    """Writes a document in a drawn dress and keeps the offset of everything."""

    def __init__(self, draw):
        self.draw = draw
        self.text = ""
        self.places = {}

    def pick(self, *options):
        return self.draw(st.sampled_from(options))

    def put(self, text):
        self.text += text

    def gap(self, *, lines=False):
        self.put(self.pick("", " ", "\t ") if not lines else self.pick("", " ", "\n", " # note ] } = [\n  "))

    def note(self, path, key, value):
        self.places.setdefault(path, Place(key, value))

    def key(self, name):
        bare = name.isascii() and name and all(c.isalnum() or c in "-_" for c in name)
        if bare and self.draw(st.booleans()):
            self.put(name)
        elif "'" not in name and name.isprintable() and self.draw(st.booleans()):
            self.put(f"'{name}'")
        else:
            self.put('"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in name) + '"')

    def pair(self, table, *, deep, inline=False):
        """`a.b = value` below *table*, with names nobody used before."""
        path, keys = table, []
        for _ in range(self.draw(st.integers(1, 2))):
            if keys:
                self.gap()
                self.put(".")
                self.gap()
            name = self.fresh(path)
            keys.append((path := (*path, name), len(self.text)))
            self.key(name)
        self.gap()
        self.put("=")
        self.gap()
        for one, offset in keys:
            self.note(one, offset, len(self.text))
        self.value(path, deep)
        if not inline:
            self.gap()
            self.put(self.pick("\n", "  # note = [\n", "\n\n"))

    def fresh(self, path):
        return self.draw(KEYS.filter(lambda name: (*path, name) not in self.places and "\ud800" not in name))

    def value(self, path, deep):
        kind = self.pick("scalar", "list", "table") if deep else "scalar"
        if kind == "scalar":
            self.put(self.draw(SCALARS))
        elif kind == "list":
            self.items(path, deep - 1)
        else:
            self.put("{")
            for k in range(count := self.draw(st.integers(0, 3))):
                self.gap()
                self.pair(path, deep=deep - 1, inline=True)
                self.gap()
                self.put("," if k + 1 < count else "")
            self.put("}")

    def items(self, path, deep):
        self.put("[")
        for k in range(self.draw(st.integers(0, 3))):
            self.gap(lines=True)
            self.note((*path, k), len(self.text), len(self.text))
            self.value((*path, k), deep)
            self.gap(lines=True)
            self.put(",")
        self.gap(lines=True)
        self.put("]")

    def header(self, parent, name, *, index=None):
        """`[parent.name]` or `[[parent.name]]`; the names of the parent are written again."""
        self.put(self.pick("", "  "))
        start = len(self.text)
        self.put("[[" if index is not None else "[")
        path = ()
        for part in (*parent, name):
            if isinstance(part, str):
                if path and self.text[-1] != "[":
                    self.put(".")
                self.gap()
                offset = len(self.text)
                self.key(part)
                self.gap()
                self.note((*path, part), offset, start)
            path = (*path, part)
        if index is not None:
            path = (*path, index)
            self.note(path, start, start)
        self.put("]]" if index is not None else "]")
        self.put(self.pick("\n", " # note\n"))
        return path

    def table(self, path, depth):
        for _ in range(self.draw(st.integers(0, 2))):
            self.pair(path, deep=2)
        for _ in range(self.draw(st.integers(0, 2)) if depth else 0):
            name = self.fresh(path)
            if self.draw(st.booleans()):
                self.table(self.header(path, name), depth - 1)
            else:
                for k in range(self.draw(st.integers(1, 3))):
                    self.table(self.header(path, name, index=k), depth - 1)


@st.composite
def documents(draw):
    writer = Writer(draw)
    writer.table((), 2)
    return writer.text, writer.places


@given(documents())
def test_every_path_is_found_where_it_was_written(document):
    text, places = document
    tomllib.loads(text)  # the writer writes TOML
    assert find_places(text) == places


@given(documents())
def test_every_path_of_the_document_has_a_place(document):
    text, _ = document
    places = find_places(text)

    def paths(value, path):
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, one in items:
            yield (*path, key)
            yield from paths(one, (*path, key))

    assert set(paths(tomllib.loads(text), ())) == set(places)


def test_a_place_is_told_as_line_and_column_from_one():
    text = "a = 1\n  你 = 2"
    assert line_and_column(text, 0) == (1, 1)
    assert line_and_column(text, text.index("2")) == (2, 7)


def test_a_table_written_in_parts_is_where_it_began():
    text = "[[a]]\n[a.b]\nx = 1\n[[a]]\n[a.b]\nx = 2\n"
    places = find_places(text)
    assert [line_and_column(text, places["a", k, "b", "x"].value) for k in (0, 1)] == [(3, 5), (6, 5)]
    assert [line_and_column(text, places["a", k].value) for k in (0, 1)] == [(1, 1), (4, 1)]
