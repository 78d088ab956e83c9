"""The client's own timeouts, measured: how long until it gives up by itself."""

from __future__ import annotations

from collections.abc import Iterator

from mockdify.checks.model import Case, Check, Rule, Run, Stage, Violation
from mockdify.checks.scenes import PING_FRAME, args_for, deltas
from mockdify.checks.transcript import Pause, WireReply, stream

__all__ = ["RULES"]


def _measured(mode: str, *replies: WireReply) -> Case:
    call = mode.partition(".")[0]

    def play(stage: Stage) -> None:
        stage.run.notes["patience"] = stage.patience
        stage.watch(call, stage.play(*replies, mode=call), **args_for(mode))

    return Case(mode=mode, play=play, in_dify=any(reply.status for reply in replies))


def _unconnected(mode: str) -> Case:
    def play(stage: Stage) -> None:
        stage.run.notes["patience"] = stage.patience
        stage.watch(mode.partition(".")[0], stage.full(), **args_for(mode))

    return Case(mode=mode, play=play)


def _gave_up(name: str) -> Check:
    def check(run: Run) -> Iterator[Violation]:
        outcome = run.last
        words = (
            f"{name}: none within {run.notes['patience']:g} s" if outcome.hung else f"{name}: {outcome.seconds:.1f} s"
        )
        run.notes["measured"] = words
        if outcome.hung:
            yield Violation(verdict="hung", words=words)
        elif outcome.ok:
            yield Violation(verdict="silent-loss", words=f"given no whole answer, the client reported {outcome}")

    return check


_DRIP: list[bytes | Pause] = [*deltas(["a"]), Pause(0.5)] * 400

RULES: tuple[Rule, ...] = (
    Rule(
        id="TIME-CONNECT-001",
        severity="timeouts",
        says="The client gives up by itself when a connection is neither taken nor refused.",
        because="A firewall that drops packets looks like that; the system's own limit is two minutes.",
        threads=("langgenius/dify#12276",),
        fix="Set a connect timeout of a few seconds.",
        check=_gave_up("connect"),
        cases=(_unconnected("chat.blocking"),),
    ),
    Rule(
        id="TIME-FIRST-001",
        severity="timeouts",
        says="The client gives up by itself when no first byte comes.",
        because="A blocking call of a long workflow takes minutes; a client needs a limit, and "
        "its caller must know it.",
        threads=("langgenius/dify#15728",),
        fix="Set a read timeout (100 s is what proxies in front of Dify use).",
        check=_gave_up("first byte"),
        cases=(
            _measured("chat.blocking", WireReply(status=0, end="hang")),
            _measured("chat.streaming", WireReply(status=0, end="hang")),
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
        cases=(_measured("chat.streaming", stream(deltas(["Hello"]), end="hang")),),
    ),
    Rule(
        id="TIME-PINGS-001",
        severity="timeouts",
        says="The client gives up by itself when only pings come.",
        because="Pings keep read timeouts from striking, for as long as the server likes.",
        threads=("langgenius/dify#21161",),
        fix="Count the time since the last event with data.",
        check=_gave_up("pings only"),
        cases=(_measured("chat.streaming", stream([PING_FRAME], end="pings")),),
    ),
    Rule(
        id="TIME-TOTAL-001",
        severity="timeouts",
        says="The client gives up by itself when a stream drips on without an end.",
        because="Only a limit for the whole call ends it.",
        threads=("nock/nock#787",),
        fix="Have a deadline for the whole call.",
        check=_gave_up("total"),
        cases=(_measured("chat.streaming", stream(_DRIP, end="hang")),),
    ),
)
