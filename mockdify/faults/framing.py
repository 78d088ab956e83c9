"""Faults of framing: every event arrives, and means the same; only the bytes between them differ.

Texts first (`crlf`, `comment`, ...), then where the bytes are cut into HTTP chunks (`merge`, `split-utf8`, `chop`),
then how the body ends (`connection-close`). Several can strike one stream; `stage` keeps them in this order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from mockdify.faults.base import FaultContext, Kind, Option, Options, bytes_of, close, is_stream, lead
from mockdify.steps import Body, OnWire, Reply, Step, Wait

__all__ = ["KINDS"]

Damage: TypeAlias = Callable[[FaultContext, Options, Reply], Reply]
PLAIN, EXACT, UNTIL_CLOSE = OnWire(), OnWire(exact=True), OnWire(until_close=True)


@dataclass(frozen=True, slots=True)
class Framing:
    """Another framing of the steps behind the head of a stream; what is no stream passes untouched."""

    damage: Damage
    wire: OnWire
    options: Options

    def apply(self, ctx: FaultContext, reply: Reply) -> Reply:
        """The reply with its bytes framed otherwise."""
        head = yield from lead(reply)
        if head is None:
            return
        if not is_stream(head):
            yield head
            yield from reply
            return
        yield replace(head, wire=_both(head.wire or PLAIN, self.wire))
        try:
            yield from self.damage(ctx, self.options, _encoded(reply))
        finally:
            close(reply)


def _both(one: OnWire, other: OnWire) -> OnWire:
    return OnWire(reason=one.reason, until_close=one.until_close or other.until_close, exact=one.exact or other.exact)


def _encoded(reply: Reply) -> Reply:
    for step in reply:
        data = bytes_of(step)
        yield step if data is None else Body(data)


# ---------------------------------------------------------------------- other texts for the same events
def _texts(change: Callable[[bytes], bytes]) -> Damage:
    """A damage that changes each frame's text."""

    def damage(_ctx: FaultContext, _options: Options, reply: Reply) -> Reply:
        for step in reply:
            yield Body(change(step.data)) if isinstance(step, Body) else step

    return damage


_FIELD = re.compile(rb"(?m)^(data|event): ")
_BETWEEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[,{]')
"""Texts of a JSON object, and the places between them where a line may end."""


def _crlf(frame: bytes) -> bytes:
    return frame.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _multiline(frame: bytes) -> bytes:
    return _BETWEEN.sub(lambda found: found[0] if found[0][:1] == b'"' else found[0] + b"\ndata: ", frame)


def _bom(_ctx: FaultContext, _options: Options, reply: Reply) -> Reply:
    mark = b"\xef\xbb\xbf"
    for step in reply:
        if isinstance(step, Body):
            yield Body(mark + step.data)
            mark = b""
        else:
            yield step


# ---------------------------------------------------------------------- other chunks
_GAP = 0.002
"""Seconds between two pieces, so that a client reads them one by one."""
_MOST = 4
"""Cuts of one kind in one event: enough to meet every kind of character, few enough to stay quick."""
_BLANK = (b"\n\n", b"\r\n\r\n")
_END = re.compile(rb'"event": ?"(?:message_end|workflow_finished|error)"')


def _cuts(
    find: Callable[[bytes], Iterable[int]],
    *,
    change: Callable[[bytes], bytes] = bytes,
    force: Callable[[bytes], bytes] = bytes,
) -> Damage:
    """A damage that puts chunk borders where *find* says.

    Args:
        find: offsets in the bytes of an event.
        change: what is done to each event first.
        force: what is done to the last event of a stream in which nothing was found, so that something is.
    """

    def damage(ctx: FaultContext, _options: Options, reply: Reply) -> Reply:
        found_any = False
        closed = True
        for step in reply:
            if not isinstance(step, Body):
                yield step
                continue
            # Pieces that another cut left are cut further, and otherwise stay as they are.
            opened, closed = closed, step.data.endswith(_BLANK)
            whole = opened and closed
            data = change(step.data) if whole else step.data
            cuts = list(find(data))[:_MOST]
            if whole and not cuts and not found_any and _END.search(data):
                data = force(data)
                cuts = list(find(data))
            found_any = found_any or bool(cuts)
            yield from _pieces(ctx, data, cuts)

    return damage


def _pieces(ctx: FaultContext, data: bytes, cuts: Iterable[int]) -> Iterator[Step]:
    start = 0
    for cut in cuts:
        yield Body(data[start:cut])
        yield Wait(ctx.now() + _GAP, real=True)
        start = cut
    yield Body(data[start:])


def _inside_characters(data: bytes) -> Iterator[int]:
    # The first byte of a character of several bytes is 0xC0 or more, the others are 0x80 to 0xBF.
    return (at + (2 if byte >= 0xF0 else 1) for at, byte in enumerate(data) if byte >= 0xC0)


def _comment_beyond_ascii(frame: bytes) -> bytes:
    return b": \xe2\x80\xa6\n\n" + frame


_ESCAPE = re.compile(rb"\\(u[0-9a-fA-F]{4}|.)")
_NAME = re.compile(rb'("event": ?")(\w)')


def _inside_escapes(data: bytes) -> Iterator[int]:
    return (found.start() + (3 if len(found[1]) > 1 else 1) for found in _ESCAPE.finditer(data))


def _escaped_name(frame: bytes) -> bytes:
    return _NAME.sub(lambda found: found[1] + b"\\u%04x" % ord(found[2]), frame, count=1)


def _at(pattern: bytes, offset: int) -> Callable[[bytes], Iterator[int]]:
    compiled = re.compile(pattern)
    return lambda data: (found.start() + offset for found in compiled.finditer(data))


def _chop(ctx: FaultContext, options: Options, reply: Reply) -> Reply:
    size, torn = options["bytes"], 0
    for step in reply:
        if not isinstance(step, Body):
            yield step
            continue
        pieces = [Body(step.data[at : at + size]) for at in range(0, len(step.data), size)]
        yield pieces[0]
        if len(pieces) > 1 and torn < _MOST:  # or a client that reads late could find whole events all the same
            torn += 1
            yield Wait(ctx.now() + _GAP, real=True)
        yield from pieces[1:]


def _merge(_ctx: FaultContext, options: Options, reply: Reply) -> Reply:
    held: list[bytes] = []
    events = 0
    for step in reply:
        if isinstance(step, Body):
            held.append(step.data)
            events += b"data:" in step.data
            if events < options["events"]:
                continue
        if held and not isinstance(step, Wait):  # a wait passes, what is held stays held
            yield Body(b"".join(held))
            held.clear()
            events = 0
        if not isinstance(step, Body):
            yield step
    if held:
        yield Body(b"".join(held))


def _same(_ctx: FaultContext, _options: Options, reply: Reply) -> Reply:
    return reply


# ---------------------------------------------------------------------- the rows
_NEVER = "not Dify, which writes `data: `, one line of JSON, two LF; legal all the same, and proxies may do it"
_ANY = "any network and proxy does it: HTTP chunks and TCP segments have nothing to do with events"
_PARSE = "parses as the HTML standard says, so the events are the same"
_BUFFER = "keeps bytes until an event is complete, whatever the chunks are"


def _kind(
    stage: int,
    name: str,
    damage: Damage,
    words: str,
    *,
    real: str = _NEVER,
    advice: str = _PARSE,
    threads: tuple[str, ...] = (),
    wire: OnWire = PLAIN,
    options: dict[str, Option] | None = None,
) -> Kind:
    return Kind(
        name=name,
        when="framing",
        words=words,
        make=lambda given: Framing(damage, wire, given),
        real=real,
        advice=advice,
        threads=threads,
        options=options or {},
        stage=stage,
    )


_CHUNKS = ("baptisteArno/typebot.io#2245", "EvolutionAPI/evolution-api#795", "langgenius/dify#175")

KINDS: tuple[Kind, ...] = (
    _kind(
        12,
        "chop",
        _chop,
        "no HTTP chunk is longer than N bytes",
        real=_ANY,
        advice=_BUFFER,
        threads=_CHUNKS,
        wire=EXACT,
        options={"bytes": Option(takes="whole", words="the longest chunk", default=1, least=1)},
    ),
    _kind(
        8,
        "split-utf8",
        _cuts(_inside_characters, force=_comment_beyond_ascii),
        "HTTP chunks end inside characters of several bytes; a stream of ASCII alone gets a comment with one before "
        "its last event",
        real=_ANY,
        advice="decodes the joined bytes, or decodes incrementally",
        threads=("musistudio/claude-code-router#1672", "langgenius/dify#175"),
        wire=EXACT,
    ),
    _kind(
        7,
        "split-crlf",
        _cuts(_at(rb"\r\n", 1), change=_crlf),
        "lines end with CR LF, and HTTP chunks end between the CR and the LF",
        advice="takes a LF that opens a chunk after a CR for the rest of that line's end, not for an empty line",
        wire=EXACT,
    ),
    _kind(
        10,
        "split-field",
        _cuts(_at(rb"(?m)^(?:data|event):", 2)),
        "HTTP chunks end inside the word `data:`",
        real=_ANY,
        advice=_BUFFER,
        threads=_CHUNKS,
        wire=EXACT,
    ),
    _kind(
        9,
        "split-escape",
        _cuts(_inside_escapes, force=_escaped_name),
        "HTTP chunks end inside JSON escapes such as `\\n`; a stream without any gets one in its last event's name",
        real=_ANY,
        advice=_BUFFER,
        threads=_CHUNKS,
        wire=EXACT,
    ),
    _kind(
        11,
        "split-blank",
        _cuts(_at(rb"\n(?=\r?\n)", 1)),
        "HTTP chunks end before the blank line that ends an event",
        real=_ANY,
        advice="takes the event for complete only when the blank line is there",
        threads=_CHUNKS,
        wire=EXACT,
    ),
    _kind(
        6,
        "merge",
        _merge,
        "several events come in one HTTP chunk",
        real="yes, through any buffering proxy",
        advice="takes all events of a chunk",
        threads=("EvolutionAPI/evolution-api#795", "langgenius/dify#28083"),
        wire=EXACT,
        options={"events": Option(takes="whole", words="how many", default=3, least=2)},
    ),
    _kind(5, "crlf", _texts(_crlf), "lines end with CR LF"),
    _kind(
        13,
        "connection-close",
        _same,
        "no chunks and no length: the body ends with the connection (`Connection: close`)",
        real="yes, behind proxies that speak HTTP/1.0 to their upstream",
        advice="takes the end of the connection for the end of the body, and an end event for the end of the answer",
        wire=UNTIL_CLOSE,
    ),
    _kind(
        3,
        "comment",
        _texts(lambda frame: b": a comment\n\n" + frame),
        "a comment line comes before each event",
        real="not Dify; many servers and proxies keep connections alive this way",
        advice="ignores lines that begin with a colon",
    ),
    _kind(2, "no-space", _texts(lambda frame: _FIELD.sub(rb"\1:", frame)), "no blank follows the colon of `data:`"),
    _kind(
        1,
        "multiline",
        _texts(_multiline),
        "the JSON of an event is spread over several `data:` lines",
        advice="joins the data lines of an event with LF before it parses them",
    ),
    _kind(
        4,
        "bom",
        _bom,
        "the stream begins with a byte order mark",
        advice="drops one leading U+FEFF",
    ),
)
