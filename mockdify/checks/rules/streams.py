"""What a client makes of a stream: deltas, pings, unknown events, framing, errors, ends that do not come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from mockdify.checks.judge import is_generation, judge, judge_run, truth_of
from mockdify.checks.model import Call, Case, Outcome, Rule, Run, Stage, Violation
from mockdify.checks.scenes import (
    ANSWER,
    PING_FRAME,
    agent,
    args_for,
    ask,
    closing,
    deltas,
    end,
    failed,
    finished,
    played,
    replaced,
    rounds,
    started,
    streamed,
    struck,
    thought,
)
from mockdify.checks.transcript import End, Pause, WireReply, stream

__all__ = ["RULES"]

_STREAMING = ("chat.streaming", "completion.streaming", "workflow.streaming")
_TALKING = _STREAMING[:2]
_BRIEF = 1.0
"""Seconds that a call may take where the server never ends."""


def _frames(mode: str, texts: Sequence[str] = ANSWER) -> list[bytes]:
    return [frame for frame in streamed(mode.partition(".")[0], texts) if isinstance(frame, bytes)]


def _with(mode: str, extra: bytes, *places: int) -> WireReply:
    frames = _frames(mode)
    for at in sorted(places, reverse=True):
        frames.insert(min(at, len(frames)), extra)
    return stream(frames)


def _as(mode: str, change: Callable[[bytes], bytes], name: str = "") -> Case:
    """The plain stream with its bytes changed: asked for twice, in one piece and in pieces of a few bytes."""
    body = b"".join(change(frame) for frame in _frames(mode))
    call = mode.partition(".")[0]

    def play(stage: Stage) -> None:
        for reply in (stream([body]), stream([body]).cut(range(7, len(body), 7))):
            ask(stage, stage.play(reply, mode=call), mode)

    return Case(mode=mode, play=play, name=name, in_dify=True)


def _ends(end_: End, *, mode: str, after: int = 3, name: str, timeout: float = 10.0) -> Case:
    """A stream that has no end event and ends as *end_* says."""
    return played(mode, stream(_frames(mode)[:after], end=end_), name=name, timeout=timeout)


# ---------------------------------------------------------------------- framing
def _framing(mode: str, *kinds: str) -> Case:
    call = mode.partition(".")[0]

    def examples() -> Any:
        from mockdify import strategies  # noqa: PLC0415 - brings hypothesis

        return strategies.sweeps(call, kinds=kinds)

    def play(stage: Stage, framings: list[Any]) -> None:
        every = (replace(framings[0], cuts=None), *framings)
        places = [stage.play(framing.reply(pause=stage.moment), mode=call) for framing in every]
        stage.together([Call(name=call, place=place, args=args_for(mode)) for place in places])

    return Case(
        mode=mode,
        play=play,
        examples=examples,
        in_dify=True,
        check=_as_uncut,
        told=lambda framings: framings[-1].told(),
        simpler=_simpler,
    )


def _as_uncut(run: Run) -> Iterator[Violation]:
    """Only the cuts are looked at: what the client makes of the same stream as Dify sends it, it makes of all."""
    uncut, *framed = run.outcomes
    for outcome in framed:
        if _said(outcome) != _said(uncut):
            yield from judge(outcome)


def _said(outcome: Outcome) -> tuple[Any, ...]:
    error = (outcome.error.kind, outcome.error.code) if outcome.error else None
    return (outcome.ok, outcome.hung, outcome.text, outcome.outputs, error)


def _simpler(framings: list[Any]) -> Iterator[list[Any]]:
    """One framing alone, then half of its cuts, then one of them."""
    if len(framings) > 1:
        yield from ([framing] for framing in framings)
        return
    framing, cuts = framings[0], framings[0].cuts or ()
    half = len(cuts) // 2
    fewer = (cuts[:half], cuts[half:]) if len(cuts) > 8 else tuple((at,) for at in cuts if len(cuts) > 1)
    yield from ([replace(framing, cuts=some)] for some in fewer)


def _in_general(mode: str) -> Case:
    def examples() -> Any:
        from mockdify import strategies  # noqa: PLC0415 - brings hypothesis

        return strategies.event_lists(mode.partition(".")[0])

    def play(stage: Stage, frames: list[bytes]) -> None:
        ask(stage, stage.play(stream(frames), mode=mode.partition(".")[0]), mode)

    return Case(mode=mode, play=play, examples=examples, told=_told, in_dify=True)


def _told(frames: list[bytes]) -> str:
    names = [frame.partition(b'"event":"')[2].partition(b'"')[0].decode() or "ping" for frame in frames]
    return f"when the stream is {', '.join(names)}"


# ---------------------------------------------------------------------- checks of their own
def _incremental(run: Run) -> Iterator[Violation]:
    yield from judge_run(run)
    outcome = run.last
    exchange = next(filter(is_generation, outcome.exchanges), None)
    if exchange is None or not outcome.ok:
        return
    last = exchange.started + exchange.writes[-1][1] / 1000
    early = [at for at, _ in outcome.deltas if at < last - 0.05]
    if not early:
        words = "nothing was handed on before the last event had been sent: the stream is collected first"
        yield Violation(verdict="silent-loss", words=words)
    elif (said := "".join(text for _, text in outcome.deltas)) not in truth_of(exchange, "chat").texts:
        yield Violation(verdict="corrupt", words=f"the deltas join to {said!r}")


def _paced() -> Case:
    frames: list[bytes | Pause] = []
    for frame in _frames("chat.streaming"):
        frames += [frame, Pause(0.06)]
    return played("chat.streaming", stream(frames), needs=("incremental",))


def _asked_once(run: Run) -> Iterator[Violation]:
    yield from judge_run(run)
    count = len([exchange for exchange in run.exchanges if is_generation(exchange)])
    if count > 1:
        yield Violation(verdict="retried-badly", words=f"one call, whose stream was whole, made {count} requests")


def _crlf(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def _multiline(data: bytes) -> bytes:
    """The JSON on several data lines, as the standard allows."""
    return data.replace(b',"', b',\ndata: "') if data.startswith(b"data: ") else data


def _fault(fault: str, **options: Any) -> tuple[Case, ...]:
    return tuple(struck(mode, fault, **options) for mode in _STREAMING)


_NEW_EVENTS = b'data: {"event":"parallel_branch_started","data":{"id":"x"},"conversation_id":null}\n\n'
_TTS = b'data: {"event":"tts_message","audio":"//uQxAAA","message_id":"x","created_at":1,"task_id":"x"}\n\n'

RULES: tuple[Rule, ...] = (
    Rule(
        id="SSE-DELTA-001",
        severity="must",
        says="Deltas are joined: one character each, empty ones, all in one.",
        because="`answer` of an event is what is new, not what there is so far; the last one may be empty.",
        fix="Append each delta; do not trim it and do not put anything between.",
        check=judge_run,
        cases=tuple(
            played(mode, stream(_frames(mode, texts)), name=name)
            for mode in _STREAMING
            for name, texts in (
                ("characters", tuple("Hello, 你好 👋")),
                ("blanks", (" a", " ", "\n\n", "b ", "", "\t")),
                ("repeated", ("ha", "ha", "ha", "haha")),
                ("one", ("Hello",)),
            )
        ),
        bugs=("cumulative",),
    ),
    Rule(
        id="SSE-PING-001",
        severity="must",
        says="A ping is skipped wherever it comes: first, between deltas, several at once.",
        because="`event: ping` has no data line; parsers that take each block for JSON break, at "
        "the latest after ten seconds of silence.",
        threads=(
            "langgenius/dify#2508",
            "langgenius/dify#9813",
            "EvolutionAPI/evolution-api#795",
            "langgenius/dify-docs#937",
        ),
        fix="Look at `data:` lines only; a block without one is nothing.",
        check=judge_run,
        cases=tuple(
            played(mode, _with(mode, PING_FRAME, *places), name=name)
            for mode in _STREAMING
            for name, places in (
                ("first", (0,)),
                ("between", (2, 4)),
                ("several", (1, 1, 1)),
                ("before the end", (len(ANSWER),)),
            )
        ),
        bugs=("appends-ping",),
    ),
    Rule(
        id="SSE-UNKNOWN-001",
        severity="must",
        says="Events that a client does not know are skipped.",
        because="Every release brings new ones; a chatflow sends a dozen kinds before its first word.",
        threads=("guoshiqiufeng/dify-spring-boot-starter#131", "imfangs/dify-java-client#80"),
        fix="Handle the events you need and let all others pass.",
        check=judge_run,
        cases=(
            *(played(mode, _with(mode, _NEW_EVENTS, 0, 3)) for mode in _STREAMING),
            *(played(mode, _with(mode, _TTS, 2), name="speech") for mode in _TALKING),
            *_fault("unknown-event", after=1),
        ),
        bugs=("strict-model",),
    ),
    Rule(
        id="SSE-REPLACE-001",
        severity="must",
        says="`message_replace` throws away what was said and puts its text there.",
        because="Moderation takes back a text that must not be shown; a client that appends shows both.",
        fix="Set the text to the event's `answer`; deltas after it are appended to that.",
        check=judge_run,
        cases=(
            played("chat.streaming", stream([*deltas(["Bad ", "words"]), replaced("Removed."), end()])),
            played("chat.streaming", stream([*deltas(["a"]), replaced("b"), *deltas(["c"]), end()]), name="goes on"),
            played(
                "completion.streaming",
                stream([*deltas(["Bad"], "completion"), replaced("No.", "completion"), end("completion")]),
            ),
        ),
        bugs=("appends-replace",),
    ),
    Rule(
        id="SSE-AGENT-001",
        severity="must",
        says="An agent's answer is its `agent_message` deltas, all rounds; thoughts are not part of it.",
        because="`agent_thought` repeats what was said, with the tool's input and result.",
        threads=("higress-group/mock-server#1",),
        fix="Join `agent_message`; show thoughts elsewhere, by their id.",
        check=judge_run,
        cases=(played("chat.streaming", stream(rounds()), name="rounds"),),
        bugs=("ignores-agents", "appends-thought"),
    ),
    Rule(
        id="SSE-AGENT-002",
        profiles=("1.16",),
        severity="must",
        says="The closing `message` of a New Agent app is not appended to the deltas.",
        because="It repeats the whole answer: a client that joins both kinds gives the answer twice.",
        fix="After an `agent_message`, a `message` is the same text again.",
        check=judge_run,
        cases=(
            played(
                "chat.streaming",
                stream([thought(1), *agent(["Hello"]), thought(1), *agent([" there"]), closing("Hello there"), end()]),
            ),
        ),
        bugs=("appends-closing",),
    ),
    Rule(
        id="SSE-ORDER-001",
        severity="must",
        says="`message_end` and `workflow_finished` end a chatflow in either order, and once is enough.",
        because="Releases differ in it, and a second end event comes from proxies that retry.",
        threads=("langgenius/dify#31253", "langgenius/dify#36027", "imfangs/dify-java-client#165"),
        fix="The answer is complete with `message_end`, whatever follows or went before.",
        check=judge_run,
        cases=(
            played(
                "chat.streaming",
                stream([started("chat"), *deltas(ANSWER), end(), finished({"answer": "x"}, "chat")]),
                name="end first",
            ),
            played(
                "chat.streaming",
                stream([started("chat"), *deltas(ANSWER), finished({"answer": "x"}, "chat"), end()]),
                name="graph first",
            ),
            played("chat.streaming", stream([*deltas(ANSWER), end(), end()]), name="twice"),
        ),
    ),
    Rule(
        id="SSE-LEGAL-001",
        severity="must",
        says="Any legal order of deltas, pings, replacements and unknown events gives the right text.",
        because="Examples are made up by Hypothesis: what nobody thought of is tried too.",
        fix="See the rule of the event that is named.",
        check=judge_run,
        cases=tuple(map(_in_general, _STREAMING)),
    ),
    Rule(
        id="SSE-FRAME-001",
        severity="must",
        says="The outcome does not depend on where the bytes are cut.",
        because="Networks and proxies cut anywhere: inside a line, inside a character, between two line ends.",
        threads=(
            "baptisteArno/typebot.io#2245",
            "EvolutionAPI/evolution-api#795",
            "tegnike/aituber-kit#162",
            "langgenius/dify#175",
        ),
        fix="Keep the bytes of an unfinished line until the rest comes; decode whole lines, "
        "or use an incremental decoder.",
        check=judge_run,
        cases=(
            *map(_framing, _STREAMING),
            played(
                "chat.streaming",
                stream(_frames("chat.streaming")).cut(range(7, 2_000, 7), pause=0.1),
                name="seven bytes",
            ),
        ),
        bugs=("splits-on-chunks", "decodes-each-chunk"),
    ),
    Rule(
        id="SSE-FRAME-002",
        severity="must",
        says="Several events in one chunk are several events.",
        because="A fast model, a slow reader or a buffering proxy joins them.",
        threads=("langgenius/dify#4440",),
        fix="Loop over the events of a buffer instead of taking one per read.",
        check=judge_run,
        cases=(
            *(played(mode, stream([b"".join(_frames(mode))]), name="one chunk") for mode in _STREAMING),
            *_fault("merge"),
        ),
        bugs=("one-event-a-chunk",),
    ),
    Rule(
        id="SSE-FRAME-003",
        severity="must",
        says="A stream without chunked coding, which ends with its connection, is read like any other.",
        because="HTTP/1.0 proxies send it so.",
        fix="Leave the transfer coding to your HTTP library.",
        check=judge_run,
        cases=(
            *(played(mode, stream(_frames(mode), framing="close"), name="close") for mode in _STREAMING),
            *_fault("connection-close"),
        ),
    ),
    Rule(
        id="SSE-FRAME-004",
        severity="must",
        says="A character cut in two by a chunk's border stays that character.",
        because="Decoding each chunk alone gives U+FFFD or an exception.",
        threads=("musistudio/claude-code-router#1672", "danielmiessler/Fabric#2203", "katanemo/plano#980"),
        fix="Use an incremental UTF-8 decoder (`stream: true` in JavaScript), or split bytes into lines first.",
        check=judge_run,
        cases=(
            *(_framing(mode, "characters") for mode in _STREAMING),
            *_fault("split-utf8", query="Grüße 你好 👋"),
            *_fault("chop"),
        ),
        bugs=("splits-on-chunks", "decodes-each-chunk"),
    ),
    Rule(
        id="SSE-CRLF-001",
        severity="robustness",
        says="Lines that end with CRLF, or with CR alone, are lines.",
        because="The standard allows three line ends; gateways change them. Dify itself sends LF.",
        threads=("ggml-org/llama.cpp#16107",),
        fix="End a line at LF, CR or CRLF.",
        check=judge_run,
        cases=(
            *(_as(mode, _crlf, "CRLF") for mode in _STREAMING),
            _as("chat.streaming", lambda data: data.replace(b"\n", b"\r"), "CR"),
            *_fault("crlf"),
        ),
        bugs=("lf-only",),
    ),
    Rule(
        id="SSE-SPACE-001",
        severity="robustness",
        says="`data:` needs no blank behind it.",
        because="The standard drops one blank if there is one. Dify sends one; gateways that write anew may not.",
        threads=("graniet/llm#90",),
        fix="Split at the colon, then drop one leading blank.",
        check=judge_run,
        cases=(
            *(_as(mode, lambda data: data.replace(b"data: ", b"data:")) for mode in _STREAMING),
            *_fault("no-space"),
        ),
    ),
    Rule(
        id="SSE-COMMENT-001",
        severity="robustness",
        says="Comments and the fields `id:` and `retry:` are skipped.",
        because="Proxies keep connections open with lines that begin with a colon.",
        threads=("NVIDIA-NeMo/Guardrails#1974",),
        fix="Ignore lines that begin with a colon and fields you do not know.",
        check=judge_run,
        cases=(
            *(_as(mode, lambda data: b": keep-alive\n\nid: 7\nretry: 100\n" + data) for mode in _STREAMING),
            *_fault("comment"),
        ),
    ),
    Rule(
        id="SSE-MULTI-001",
        severity="robustness",
        says="Several `data:` lines of one event are joined with line feeds.",
        because="The standard says so; Dify sends one line, a gateway may fold it.",
        threads=("NVIDIA-NeMo/Guardrails#1974",),
        fix="Collect data lines until the blank line, then read the JSON.",
        check=judge_run,
        cases=(*(_as(mode, _multiline) for mode in _STREAMING), *_fault("multiline")),
    ),
    Rule(
        id="SSE-BOM-001",
        severity="robustness",
        says="One byte order mark at the start of a stream is skipped.",
        because="The standard says so; hardly any parser does it, and hardly any server sends one.",
        fix="Drop EF BB BF before the first line.",
        check=judge_run,
        cases=(
            *(
                played(mode, stream([b"\xef\xbb\xbf" + first, *rest]))
                for mode in _STREAMING
                for first, *rest in (_frames(mode),)
            ),
            *_fault("bom"),
        ),
    ),
    Rule(
        id="SSE-INC-001",
        severity="must",
        says="The first delta is handed on before the last event is sent.",
        because="Users read along; a client that collects the stream first makes streaming pointless.",
        threads=("langgenius/dify#16012", "langgenius/dify#4440", "langgenius/dify#28083"),
        fix="Read the body as it comes (`stream=True`, `iter_raw`, `getReader`) and yield each delta.",
        check=_incremental,
        cases=(_paced(),),
        bugs=("collects",),
    ),
    Rule(
        id="SSE-ERROR-001",
        severity="must",
        says="An `error` event is an error, raised with its code, wherever it comes.",
        because="The HTTP status is 200 by then; a client that skips the event reports half an answer as a whole one.",
        threads=("langgenius/dify#37337", "langgenius/dify#37224", "guoshiqiufeng/dify-spring-boot-starter#190"),
        fix="Raise on `event: error`, with `code`, `status` and `message`, and give the text so far.",
        check=judge_run,
        cases=(
            *(
                played(mode, stream([*_frames(mode)[:after], failed(mode.partition(".")[0])]), name=name)
                for mode in _STREAMING
                for name, after in (("first", 0), ("after deltas", 4))
            ),
            *(
                played(mode, stream([*_frames(mode)[:-1], failed(mode.partition(".")[0])]), name="instead of the end")
                for mode in _STREAMING
            ),
            played("chat.streaming", stream([failed(code="rate_limit_error", status=429)]), name="quota"),
            played(
                "chat.streaming",
                stream([*_frames("chat.streaming")[:2], failed(code="internal_server_error", status=500)]),
                name="internal",
            ),
            *_fault("error-event", after=2),
        ),
        bugs=("ignores-error-events",),
    ),
    Rule(
        id="SSE-FAILED-001",
        severity="should",
        says="A workflow that ends with status `failed` is an error.",
        because="The stream ends properly and the status is 200; only `data.status` and `data.error` tell.",
        threads=("langgenius/dify#36943",),
        fix="Look at `data.status` of `workflow_finished`.",
        check=judge_run,
        cases=(
            played(
                "workflow.streaming",
                stream(
                    [PING_FRAME, started(), finished({}, status="failed", error="node llm: the model is overloaded")]
                ),
            ),
        ),
    ),
    Rule(
        id="SSE-CUT-001",
        severity="must",
        says="A stream that ends without its end event is reported, not taken for the answer.",
        because="Workers die and proxies time out in mid-answer; the connection ends cleanly all the same.",
        threads=("langgenius/dify#31253", "imfangs/dify-java-client#132"),
        fix="Remember whether `message_end` (or `workflow_finished`) came, and raise if not.",
        check=judge_run,
        cases=(
            *(
                _ends("complete", mode=mode, after=after, name=name)
                for mode in _STREAMING
                for name, after in (("at once", 0), ("in the middle", 4))
            ),
            *(played(mode, stream(_frames(mode)[:-1]), name="all but the end") for mode in _STREAMING),
            *(
                played(mode, stream([*_frames(mode)[:3], _frames(mode)[3][:40]]), name="inside an event")
                for mode in _STREAMING
            ),
            *_fault("cut", after=2),
            *_fault("no-end"),
        ),
        bugs=("accepts-truncation",),
    ),
    Rule(
        id="SSE-RESET-001",
        severity="must",
        says="A connection that breaks in mid-stream is reported.",
        because="Half an answer that looks whole is worse than none.",
        threads=("langgenius/dify#15912", "langgenius/dify#19009"),
        fix="Let the network error pass, or wrap it; do not swallow it around the reading loop.",
        check=judge_run,
        cases=(
            *(_ends("reset", mode=mode, name="reset") for mode in _STREAMING),
            *(_ends("close", mode=mode, name="closed") for mode in _STREAMING),
            *_fault("reset-stream", after=2),
        ),
        bugs=("accepts-truncation",),
    ),
    Rule(
        id="SSE-STALL-001",
        severity="must",
        says="A stream that falls silent is given up after the call's limit.",
        because="A failed worker leaves the stream open for five minutes, without a word.",
        threads=("langgenius/dify#36943", "langgenius/dify#21161", "langgenius/dify#39356"),
        fix="Set a read timeout and a limit for the whole call.",
        check=judge_run,
        cases=(
            *(_ends("hang", mode=mode, name="silent", timeout=_BRIEF) for mode in _STREAMING),
            struck("chat.streaming", "stall", after=2, timeout=_BRIEF),
        ),
        bugs=("no-timeout",),
    ),
    Rule(
        id="SSE-STALL-002",
        severity="must",
        says="A stream of nothing but pings is given up after the call's limit.",
        because="Each ping starts a read timeout anew; only a limit for the whole call ends it.",
        threads=("langgenius/dify#21161", "langgenius/dify#37224"),
        fix="Have a deadline for the whole call beside the read timeout.",
        check=judge_run,
        cases=(
            _ends("pings", mode="chat.streaming", name="after deltas", timeout=_BRIEF),
            _ends("pings", mode="workflow.streaming", after=1, name="from the start", timeout=_BRIEF),
        ),
        bugs=("no-timeout",),
    ),
    Rule(
        id="SSE-JSON-001",
        severity="should",
        says="An event that is not JSON is reported, not skipped: its text is lost.",
        because="Proxies write HTML and debug lines into streams.",
        threads=("langgenius/dify#27481",),
        fix="Raise an error of your own instead of letting the parser's pass or skipping the event.",
        check=judge_run,
        cases=(
            *(played(mode, stream([*_frames(mode)[:3], b"data: <html>502</html>\n\n"])) for mode in _STREAMING),
            *_fault("malformed-event", after=2),
        ),
    ),
    Rule(
        id="SSE-DONE-001",
        severity="must",
        says="A stream that came whole is not asked for again.",
        because="A second request makes and pays a second message.",
        threads=("langgenius/dify#16449",),
        fix="Treat the close of a finished stream as its end, not as a lost connection "
        "(`EventSource` reconnects by itself).",
        check=_asked_once,
        cases=(
            *(played(mode, stream(_frames(mode))) for mode in _STREAMING),
            *_fault("duplicate-end"),
        ),
    ),
)
