"""Hypothesis strategies for whoever tests a Dify client: texts, event streams, cuts, faults, conversations.

```python
@given(strategies.framings())
def test_framing(framing): ...
```
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from mockdify.checks import scenes
from mockdify.checks.isolation import isolation_machine
from mockdify.checks.transcript import WireReply, stream

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = [
    "CUTS",
    "Framing",
    "Turn",
    "conversations",
    "cut_plans",
    "event_lists",
    "fault_plans",
    "framings",
    "isolation_machine",
    "numbered_plan",
    "sweeps",
    "texts",
]

_TRICKY = [
    "\u2028",
    "\u2029",
    "\x85",
    "\x0c",
    "\ufeff",
    "👋",
    "👩‍👩‍👧",
    "é",
    "你",
    "\n",
    "\r\n",
    "\n\n",
    '"',
    "\\",
    "data: ",
    ":",
    "\t",
    "\x1c",
]
"""Characters and words that parsers of lines, of JSON and of UTF-8 fall over."""

CUTS = ("events", "bytes", "characters", "line ends", "fields", "few", "many")
"""The classes of cut plans: between events; everywhere; inside characters; around line ends; inside `data: `; one to
three anywhere; many anywhere."""


def texts(*, max_size: int = 12) -> SearchStrategy[str]:
    """Short texts with what breaks parsers in them more often than chance would have it."""
    plain = st.characters(codec="utf-8", exclude_characters="\0")
    return st.lists(st.one_of(st.sampled_from("abc "), st.sampled_from(_TRICKY), plain), max_size=max_size).map("".join)


@dataclass(frozen=True, slots=True)
class Framing:
    """A stream and where its bytes are cut: whatever the cuts, the outcome must be that of the uncut stream."""

    texts: tuple[str, ...]
    mode: str
    cuts: tuple[int, ...] | None
    """None: as Dify sends it, an event a chunk."""
    pings: tuple[int, ...] = ()
    """A ping goes before the frames of these numbers."""

    def reply(self, *, pause: float = 0.001) -> WireReply:
        """The stream in its pieces, the first few of them *pause* seconds apart."""
        whole = stream(self.frames())
        return whole if self.cuts is None else whole.cut(self.cuts, pause=pause)

    def frames(self) -> list[bytes]:
        """The stream's frames, uncut."""
        frames: list[bytes] = [frame for frame in scenes.streamed(self.mode, self.texts) if isinstance(frame, bytes)]
        for at in sorted(self.pings, reverse=True):
            frames.insert(min(at, len(frames)), scenes.PING_FRAME)
        return frames

    @property
    def body(self) -> bytes:
        """All bytes."""
        return b"".join(self.frames())

    def told(self) -> str:
        """Where it is cut, in words: `when a chunk ends inside a 3-byte character`."""
        body = self.body
        inner = [at for at in dict.fromkeys(self.cuts or ()) if 0 < at < len(body)]
        if not inner:
            return f"when the whole stream of {self.texts!r} comes in one chunk"
        where = list(dict.fromkeys(_place(body, at) for at in inner))
        shown = " and ".join(where[:3]) + (" and elsewhere" if len(where) > 3 else "")
        return f"when a chunk ends {shown}"


def _place(body: bytes, at: int) -> str:  # noqa: PLR0911 - one return a place
    """Where offset *at* lies, in words."""
    if body[at] & 0xC0 == 0x80:
        start = at
        while body[start] & 0xC0 == 0x80:
            start -= 1
        size = next(n for n, lead in ((4, 0xF0), (3, 0xE0), (2, 0xC0)) if body[start] >= lead)
        return f"inside a {size}-byte character"
    before, after = body[:at], body[at:]
    if before.endswith(b"\r") and after.startswith(b"\n"):
        return "between CR and LF"
    if before.endswith(b"\n\n"):
        return "between two events"
    if before.endswith(b"\n") and after.startswith(b"\n"):
        return "between the two line ends after an event"
    if after.startswith(b"\n"):
        return "before the line end of an event"
    line = before.rpartition(b"\n")[2]
    if b":" not in line or line in (b"data:", b"event:"):
        return "inside the name of a field" if line else "at the start of a line"
    return "inside an event" if line != b"data: " else "between `data: ` and its JSON"


@st.composite
def cut_plans(draw: st.DrawFn, body: bytes, kinds: tuple[str, ...] = CUTS) -> tuple[int, ...]:
    """Offsets at which *body* is cut, of one of the classes `CUTS`. Shrinks towards one cut."""
    kind = draw(_one_of(kinds))
    last = max(1, len(body) - 1)
    if kind in ("few", "many"):
        return tuple(draw(_offsets(last, 3 if kind == "few" else 30)))
    if kind == "bytes":
        step = draw(_STEPS)
        return tuple(range(step, len(body), step))
    at = [found.start() + 1 for found in _CANDIDATES[kind].finditer(body, 0, last)]
    if not at:
        return ()
    picked = draw(_offsets(len(at), 6))
    return tuple(at[number - 1] for number in picked)


_STEPS = st.integers(1, 9)
_CANDIDATES = {
    "events": re.compile(rb"\n(?<=\n\n)"),
    "characters": re.compile(rb"[\x80-\xff](?=[\x80-\xbf])"),
    "line ends": re.compile(rb"\n|.(?=\n)"),
    "fields": re.compile(rb"d(?=ata: )|(?<=\nd)a|(?<=\nda)t|(?<=\ndat)a|(?<=\ndata):|(?<=\ndata:) "),
}
"""The bytes behind which a class cuts."""


@functools.cache
def _one_of(values: tuple[str, ...]) -> SearchStrategy[str]:
    return st.sampled_from(values)


@functools.lru_cache(maxsize=4096)
def _offsets(last: int, most: int) -> SearchStrategy[list[int]]:
    return st.lists(st.integers(1, last), max_size=most)


_WORDS = st.one_of(
    st.sampled_from(
        [
            "a",
            "Hello",
            " ",
            "",
            "é",
            "你好",
            "👋",
            "👩‍👩‍👧",
            "\u2028",
            "\x85",
            "\ufeff",
            "\n",
            "\r\n",
            '"',
            "\\",
            "data: x",
            "\n\n",
        ]
    ),
    texts(max_size=4),
)
_SAID = st.lists(_WORDS, min_size=1, max_size=3)
_CALM = st.lists(
    st.sampled_from(["a", "Hello", " ", "", "é", "你好", "👋", "𝄞", "👩‍👩‍👧", '"', "\\", "data: x", "ä\n", "{}", "0"]),
    min_size=1,
    max_size=3,
)
"""Texts in which nothing but their width is special: a finding is then about what is done to them."""
_CALM_AND_WIDE = st.builds(lambda said, wide: [*said, wide], _CALM, st.sampled_from(["é", "你好", "👋", "𝄞"]))
"""There is a character to be cut in each."""
_PINGS = st.lists(st.integers(0, 5), max_size=3)


@st.composite
def framings(draw: st.DrawFn, mode: str = "chat", *, kinds: tuple[str, ...] = CUTS, pings: bool = False) -> Framing:
    """A stream of an app and a plan of cuts."""
    said = tuple(draw(_SAID))
    where = tuple(draw(_PINGS)) if pings else ()
    return Framing(said, mode, draw(cut_plans(Framing(said, mode, (), where).body, kinds)), where)


def numbered_plan(number: int, body: bytes, kinds: tuple[str, ...] = ()) -> tuple[int, ...]:
    """The cut plan of that number: every single cut has one, and so have the classes of plans.

    A plan that is one number costs Hypothesis one draw, so that hundreds are played in a second.
    """
    ways = kinds or ("characters", "line ends", "fields", "events", "bytes", "two", "many")
    kind, rest = ways[number % len(ways)], number // len(ways)
    if not kinds and number < _SINGLE:  # the smallest numbers are single cuts: there shrinking ends
        kind, rest = "one", number
    last = max(1, len(body) - 1)
    if kind == "bytes":
        step = _WIDTHS[rest % len(_WIDTHS)]
        return tuple(range(step, len(body), step))
    if kind in ("one", "two"):
        return (1 + rest % last,) if kind == "one" else (1 + rest % last, 1 + rest * 7919 % last)
    if kind == "many":
        return tuple(sorted(1 + (rest + 1) * step * 7919 % last for step in range(1, 20)))
    at = [found.start() + 1 for found in _CANDIDATES[kind].finditer(body, 0, last)]
    return (at[rest % len(at)],) if at else ()


_WIDTHS = (64, 32, 100, 7, 48, 16, 80, 3, 24, 128, 11, 40, 1)
"""Chunks of one byte are the dearest to read, and others find the same."""
_SINGLE = 4096
_NUMBERS = st.lists(st.integers(0, 4 * _SINGLE), min_size=1, max_size=16)


@st.composite
def sweeps(draw: st.DrawFn, mode: str = "chat", *, kinds: tuple[str, ...] = ()) -> list[Framing]:
    """One stream of an app in several framings. Shrinks to one framing with one cut."""
    said = tuple(draw(_CALM if kinds != ("characters",) else _CALM_AND_WIDE))
    body = Framing(said, mode, ()).body
    return [Framing(said, mode, numbered_plan(number, body, kinds)) for number in draw(_NUMBERS)]


@st.composite
def event_lists(draw: st.DrawFn, mode: str = "chat") -> list[bytes]:
    """The frames of a legal stream: deltas; pings, unknown events and replacements anywhere between; its end."""
    frames: list[bytes] = [*scenes.deltas(draw(_CALM) + draw(_CALM), mode)]
    extras = [
        scenes.PING_FRAME,
        b'data: {"event":"tts_message","audio":"AAAA"}\n\n',
        b'data: {"event":"something_new","x":{"y":[1]}}\n\n',
    ]
    if mode != "workflow":
        extras.append(scenes.replaced("Replaced.", mode))
    for extra in draw(st.lists(st.sampled_from(extras), max_size=4)):
        frames.insert(draw(st.integers(0, len(frames))), extra)
    if mode == "workflow":
        return [scenes.started(), *frames, scenes.finished({"text": "done"})]
    return [*frames, scenes.end(mode)]


def fault_plans(names: tuple[str, ...] | None = None) -> SearchStrategy[list[dict[str, Any]]]:
    """Faults as `inject` and `POST /_mockdify/faults` take them: a name, how often, after how many."""
    if names is None:
        from mockdify.faults import CATALOGUE  # noqa: PLC0415 - the catalogue of the moment

        names = tuple(CATALOGUE)
    one = st.fixed_dictionaries(
        {"fault": st.sampled_from(names), "times": st.integers(1, 3), "after": st.integers(0, 3)}
    )
    return st.lists(one, max_size=3)


@dataclass(frozen=True, slots=True)
class Turn:
    """One step of a conversation program: *user* says something in the conversation of that number, a new one if -1."""

    user: str
    conversation: int
    text: str


@st.composite
def conversations(
    draw: st.DrawFn, users: tuple[str, ...] = ("alice", "bob", "carol"), *, max_turns: int = 8
) -> list[Turn]:
    """Programs of several users who talk in turns: each begins conversations and goes on with their own."""
    begun = dict.fromkeys(users, 0)
    turns = []
    for _ in range(draw(st.integers(1, max_turns))):
        user = draw(st.sampled_from(users))
        which = draw(st.integers(-1, begun[user] - 1)) if begun[user] else -1
        begun[user] += which == -1
        turns.append(Turn(user, which, draw(st.sampled_from(["Hello", "And then?", "你好", "👋"]))))
    return turns
