"""Hypothesis strategies for whoever tests a Dify client: texts, event streams, cuts, faults, conversations.

```python
@given(strategies.framings())
def test_framing(framing): ...
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from mockdify.checks import scenes
from mockdify.checks.transcript import WireReply, stream

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["CUTS", "Framing", "Turn", "conversations", "cut_plans", "event_lists", "fault_plans", "framings", "texts"]

_TRICKY = ["\u2028", "\u2029", "\x85", "\x0c", "\ufeff", "👋", "👩‍👩‍👧", "é", "你", "\n", "\r\n", "\n\n", '"', "\\", "data: ", ":", "\t", "\x1c"]
"""Characters and words that parsers of lines, of JSON and of UTF-8 fall over."""

CUTS = ("events", "bytes", "characters", "line ends", "fields", "few", "many")
"""The classes of cut plans: between events; everywhere; inside characters; around line ends; inside `data: `; one to
three anywhere; many anywhere."""


def texts(*, max_size: int = 12) -> SearchStrategy[str]:
    """Short texts with what breaks parsers in them more often than chance would have it."""
    plain = st.characters(codec="utf-8", exclude_categories=("Cs",), exclude_characters="\0")
    return st.lists(st.one_of(st.sampled_from("abc "), st.sampled_from(_TRICKY), plain), max_size=max_size).map("".join)


@dataclass(frozen=True, slots=True)
class Framing:
    """A stream and where its bytes are cut: whatever the cuts, the outcome must be that of the uncut stream."""

    texts: tuple[str, ...]
    mode: str
    cuts: tuple[int, ...]
    pings: tuple[int, ...] = ()
    """A ping goes before the frames of these numbers."""

    def reply(self) -> WireReply:
        """The stream in its pieces."""
        return stream(self.frames()).cut(self.cuts)

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
        inner = [at for at in dict.fromkeys(self.cuts) if 0 < at < len(body)]
        if not inner:
            return f"when the whole stream of {self.texts!r} comes in one chunk"
        where = list(dict.fromkeys(_place(body, at) for at in inner))
        shown = " and ".join(where[:3]) + (" and elsewhere" if len(where) > 3 else "")
        return f"when a chunk ends {shown}"


def _place(body: bytes, at: int) -> str:
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
    kind = draw(st.sampled_from(kinds))
    last = max(1, len(body) - 1)
    anywhere = st.integers(1, last)
    if kind == "few":
        return tuple(draw(st.lists(anywhere, max_size=3)))
    if kind == "many":
        return tuple(draw(st.lists(anywhere, max_size=60)))
    if kind == "bytes":
        step = draw(st.integers(1, 9))
        return tuple(range(step, len(body), step))
    at = _candidates(body, kind)
    return tuple(draw(st.lists(st.sampled_from(at), max_size=8, unique=True))) if at else ()


def _candidates(body: bytes, kind: str) -> list[int]:
    if kind == "characters":
        return [at for at in range(1, len(body)) if body[at] & 0xC0 == 0x80]
    if kind == "line ends":
        return [at for at in range(1, len(body)) if b"\n" in body[at - 1 : at + 1]]
    if kind == "fields":
        starts = [at for at in range(len(body)) if body[at : at + 5] == b"data:" and (at == 0 or body[at - 1] == 10)]
        return [at + k for at in starts for k in range(1, 7) if at + k < len(body)]
    return [at + 2 for at in range(len(body) - 2) if body[at : at + 2] == b"\n\n"]


@st.composite
def framings(draw: st.DrawFn, mode: str = "chat", *, kinds: tuple[str, ...] = CUTS, pings: bool = False) -> Framing:
    """A stream of an app and a plan of cuts."""
    said = tuple(draw(st.lists(texts(max_size=5), min_size=1, max_size=4)))
    where = tuple(draw(st.lists(st.integers(0, 5), max_size=3))) if pings else ()
    whole = Framing(said, mode, (), where)
    return Framing(said, mode, draw(cut_plans(whole.body, kinds)), where)


@st.composite
def event_lists(draw: st.DrawFn, mode: str = "chat") -> list[bytes]:
    """The frames of a legal stream: deltas with pings, unknown events and replacements anywhere between, and its end."""
    frames: list[bytes] = [*scenes.deltas(draw(st.lists(texts(), min_size=1, max_size=6)), mode)]
    extras = [scenes.PING_FRAME, b'data: {"event":"tts_message","audio":"AAAA"}\n\n', b'data: {"event":"something_new","x":{"y":[1]}}\n\n']
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
def conversations(draw: st.DrawFn, users: tuple[str, ...] = ("alice", "bob", "carol"), *, max_turns: int = 8) -> list[Turn]:
    """Programs of several users who talk in turns: each begins conversations and goes on with their own."""
    begun = dict.fromkeys(users, 0)
    turns = []
    for _ in range(draw(st.integers(1, max_turns))):
        user = draw(st.sampled_from(users))
        which = draw(st.integers(-1, begun[user] - 1)) if begun[user] else -1
        begun[user] += which == -1
        turns.append(Turn(user, which, draw(st.sampled_from(["Hello", "And then?", "你好", "👋"]))))
    return turns
