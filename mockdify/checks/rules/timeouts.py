"""The client's own timeouts, measured: how long until it gives up by itself."""

from __future__ import annotations

from collections.abc import Iterator

from mockdify.checks.model import Case, Check, Rule, Run, Stage, Violation
from mockdify.checks.scenes import PING_FRAME, args_for, deltas
from mockdify.checks.transcript import Pause, WireReply, stream

__all__ = ["RULES"]


def _measured(mode: str, name: str, *replies: WireReply) -> Case:
    def play(stage: Stage) -> None:
        place = stage.play(*replies, mode=mode.partition(".")[0])
        stage.call(mode.partition(".")[0], place, timeout=stage.patience, **args_for(mode))

    return Case(mode=mode, play=play, name=name, check=_gave_up(name))


def _gave_up(name: str) -> Check:
    def check(run: Run) -> Iterator[Violation]:
        outcome = run.last
        limit = outcome.call.timeout
        run.notes["measured"] = f"{name}: none within {limit:g} s" if outcome.seconds >= limit - 0.5 else f"{name}: {outcome.seconds:.1f} s"
        if outcome.seconds >= limit - 0.5:
            yield Violation(verdict="hung", words=run.notes["measured"])
        elif outcome.ok:
            yield Violation(verdict="silent-loss", words=f"given no whole answer, the client reported {outcome}")

    return check


_DRIP = [piece for _ in range(400) for piece in (*deltas(["a"]), Pause(0.5))]

RULES: tuple[Rule, ...] = (
    Rule(
        id="TIME-FIRST-001",
        severity="timeouts",
        says="The client gives up by itself when no first byte comes.",
        because="A blocking call of a long workflow takes minutes; a client needs a limit, and its caller must know it.",
        threads=("langgenius/dify#15728",),
        fix="Set a read timeout (100 s is what proxies in front of Dify use).",
        check=_gave_up("first byte"),
        cases=(
            _measured("chat.blocking", "first byte", WireReply(status=0, end="hang")),
            _measured("chat.streaming", "first byte", WireReply(status=0, end="hang")),
        ),
    ),
    Rule(
        id="TIME-IDLE-001",
        severity="timeouts",
        says="The client gives up by itself when a stream falls silent.",
        because="Dify pings every ten seconds: 30 s of silence mean that nobody is there.",
        threads=("langgenius/dify#36943",),
        fix="Set a read timeout of a few ping intervals.",
        check=_gave_up("idle"),
        cases=(_measured("chat.streaming", "idle", stream(deltas(["Hello"]), end="hang")),),
    ),
    Rule(
        id="TIME-PINGS-001",
        severity="timeouts",
        says="The client gives up by itself when only pings come.",
        because="Pings keep read timeouts from striking, for as long as the server likes.",
        threads=("langgenius/dify#21161",),
        fix="Count the time since the last event with data.",
        check=_gave_up("pings only"),
        cases=(_measured("chat.streaming", "pings only", stream([PING_FRAME], end="pings")),),
    ),
    Rule(
        id="TIME-TOTAL-001",
        severity="timeouts",
        says="The client gives up by itself when a stream drips on without an end.",
        because="Only a limit for the whole call ends it.",
        threads=("nock/nock#787",),
        fix="Have a deadline for the whole call.",
        check=_gave_up("total"),
        cases=(_measured("chat.streaming", "total", stream(_DRIP, end="hang")),),
    ),
)
