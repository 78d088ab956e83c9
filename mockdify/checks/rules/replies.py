"""What a client makes of whole answers: text, ids, usage, unknown fields, sizes, characters."""

from __future__ import annotations

from collections.abc import Iterator

from mockdify.checks.judge import judge_run
from mockdify.checks.model import Rule, Run, Violation
from mockdify.checks.scenes import (
    CONVERSATION,
    MESSAGE,
    MODES,
    USAGE,
    blocking,
    deltas,
    end,
    honest,
    played,
    reply_in,
    streamed,
)
from mockdify.checks.transcript import stream

__all__ = ["RULES"]

_BLOCKING = ("chat.blocking", "completion.blocking", "workflow.blocking")
_STREAMING = ("chat.streaming", "completion.streaming", "workflow.streaming")
_BIG = tuple(
    f"{k:06d} lorem ipsum 你好 dolor sit amet, consectetur adipisci velit, quia non numquam. " for k in range(2_400)
)
# ruff: noqa: RUF001 - characters of every kind are what this is about
_WIDE = ("👋", "👩‍👩‍👧", "é", "你好，世界", "\U0001d11e", "ا", "\u00a0", "\ufeff", "z\u0308")
_BREAKS = ("one\u2028two", "three\u2029four", "five\x85six", "seven\x0ceight", "nine\r\nten\n\neleven", "\x1c")


def _ids(run: Run) -> Iterator[Violation]:
    yield from judge_run(run)
    outcome = run.last
    if not outcome.ok:
        return
    wanted = {"message_id": MESSAGE} | ({"conversation_id": CONVERSATION} if outcome.call.name == "chat" else {})
    for name, value in wanted.items():
        if getattr(outcome, name) != value:
            words = f"{name} was {value}, the client gave {getattr(outcome, name) or 'none'}"
            yield Violation(verdict="silent-loss" if not getattr(outcome, name) else "corrupt", words=words)


def _usage(run: Run) -> Iterator[Violation]:
    yield from judge_run(run)
    given = run.last.usage
    if given is not None and run.last.ok:
        for name in ("total_tokens", "total_price", "currency"):
            if given.get(name) != USAGE[name]:
                words = f"usage.{name} was {USAGE[name]!r}, the client gave {given.get(name)!r}"
                yield Violation(verdict="corrupt", words=words)


_EXTRA = b',"invented_later":{"deep":[1,null,"x"]},"workflow_run_id":null}\n\n'


RULES: tuple[Rule, ...] = (
    Rule(
        id="REPLY-TEXT-001",
        severity="must",
        says="The answer is handed over whole and unchanged.",
        because="A blocking reply has it in `answer` (a workflow in `data.outputs`), a stream in its deltas.",
        threads=("langgenius/dify#8795",),
        fix="Read `answer`; join `message` or `agent_message` deltas; take a workflow's "
        "outputs from `workflow_finished`.",
        check=judge_run,
        cases=tuple(case for mode in MODES for case in (played(mode, reply_in(mode)), honest(mode, name="live"))),
    ),
    Rule(
        id="REPLY-IDS-001",
        severity="must",
        says="The ids of message and conversation are handed over.",
        because="Without them no conversation goes on, and no message can be rated or stopped.",
        threads=("langgenius/dify#15191", "langgenius/dify#28481"),
        fix="Give `message_id` and, in chat apps, `conversation_id` back with the answer; "
        "every event of a stream has them.",
        check=_ids,
        cases=tuple(played(mode, reply_in(mode)) for mode in MODES if not mode.startswith("workflow")),
    ),
    Rule(
        id="REPLY-USAGE-001",
        severity="should",
        says="Usage that is handed over is what the reply said.",
        because="Prices are texts and tokens numbers; a client that computes them anew gets other sums.",
        fix="Pass `metadata.usage` on as it came.",
        check=_usage,
        cases=tuple(played(mode, reply_in(mode)) for mode in MODES if not mode.startswith("workflow")),
    ),
    Rule(
        id="REPLY-EXTRA-001",
        severity="must",
        says="Fields that a client does not know are skipped.",
        because="Every release adds some; a strict model turns the next release of Dify into an outage.",
        threads=("guoshiqiufeng/dify-spring-boot-starter#131", "imfangs/dify-java-client#80"),
        fix="Let models ignore unknown fields and enumerations have a default.",
        check=judge_run,
        cases=(
            *(
                played(f"{call}.blocking", blocking(call, invented_later={"deep": [1, None, "x"]}, another="y"))
                for call in ("chat", "completion", "workflow")
            ),
            *(
                played(
                    f"{call}.streaming",
                    stream(f.replace(b"}\n\n", _EXTRA) if isinstance(f, bytes) else f for f in streamed(call)),
                )
                for call in ("chat", "completion")
            ),
        ),
        bugs=("strict-model",),
    ),
    Rule(
        id="REPLY-EMPTY-001",
        severity="must",
        says="An empty answer is an answer.",
        because="Models and moderation give empty texts; that is neither an error nor a reason to ask again.",
        fix="Test for the field or the end event, not for the text.",
        check=judge_run,
        cases=tuple(played(mode, reply_in(mode, ("",))) for mode in MODES),
    ),
    Rule(
        id="REPLY-BIG-001",
        severity="must",
        says="An answer of 200 kB arrives whole, in one event or in thousands.",
        because="Line readers and buffers have limits that short answers never meet.",
        threads=("langgenius/dify#27481",),
        fix="Do not limit the length of a line; read until the end.",
        check=judge_run,
        cases=(
            *(played(mode, reply_in(mode, ("".join(_BIG),)), name="one") for mode in MODES),
            *(played(mode, reply_in(mode, _BIG), name="many") for mode in _STREAMING),
        ),
    ),
    Rule(
        id="REPLY-WIDE-001",
        severity="must",
        says="Characters of every width arrive: emoji, CJK, combining marks.",
        because="Dify sends raw UTF-8 in streams and escapes in blocking replies; both must decode to the same text.",
        threads=("langgenius/dify#175", "musistudio/claude-code-router#1672"),
        fix="Decode as UTF-8 whatever the headers say, and let a JSON library read the escapes.",
        check=judge_run,
        cases=tuple(played(mode, reply_in(mode, _WIDE)) for mode in MODES),
        bugs=("latin-1",),
    ),
    Rule(
        id="REPLY-LINES-001",
        severity="must",
        says="U+2028, U+2029, U+0085 and form feed inside a text are characters, not line ends.",
        because="Dify sends them raw since 1.8.1, and `str.splitlines` or `httpx.iter_lines` cut the JSON there.",
        threads=("openai/openai-python#2721",),
        fix="Split a stream at LF, CR and CRLF only, on bytes or with a parser of server-sent events.",
        check=judge_run,
        cases=(
            *(played(mode, reply_in(mode, _BREAKS)) for mode in _BLOCKING),
            *(played(mode, reply_in(mode, _BREAKS)) for mode in _STREAMING),
        ),
        bugs=("splitlines",),
    ),
    Rule(
        id="REPLY-NULL-001",
        severity="robustness",
        says="Fields that may be null or missing are not needed for the answer.",
        because="`metadata.usage` is null after a pause, `retriever_resources` is missing in New Agent.",
        fix="Read optional fields with a default.",
        check=judge_run,
        cases=(
            played("chat.blocking", blocking("chat", metadata={})),
            played(
                "chat.streaming",
                stream([*deltas(["Hi", "!"]), end().replace(b'"metadata":{', b'"metadata":{"x":null,')]),
            ),
        ),
    ),
)
