"""Conversations and their users, and what a call leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mockdify.checks.judge import is_generation, judge, judge_run, truth_of
from mockdify.checks.model import Call, Case, Rule, Run, Stage, Violation
from mockdify.checks.scenes import args_for, ask, deltas, end
from mockdify.checks.transcript import Pause, stream

__all__ = ["RULES"]

_CHAT = ("chat.blocking", "chat.streaming")


def _message_price(run: Run) -> tuple[int, float]:
    """How many messages the run made, and what they cost by the usage of the answers."""
    made, price = 0, 0.0
    for exchange in run.exchanges:
        truth = truth_of(exchange, "chat") if is_generation(exchange) else None
        if truth is not None and truth.kind in ("answer", "broken", "failed"):
            made += 1
            price += float((truth.usage or {}).get("total_price") or 0)
    return made, price


# ---------------------------------------------------------------------- scenes
def _goes_on(mode: str) -> Case:
    def play(stage: Stage) -> None:
        place = stage.live("chat")
        first = ask(stage, place, mode, query="My name is Ada")
        second = ask(stage, place, mode, query="What is it?", conversation_id=first.conversation_id)
        ask(stage, place, mode, query="Again?", conversation_id=second.conversation_id)

    return Case(mode=mode, play=play)


def _same_conversation(run: Run) -> Iterator[Violation]:
    yield from judge_run(run)
    if not all(outcome.conversation_id for outcome in run.outcomes):
        return  # without an id nothing can be told: REPLY-IDS-001 says so
    ids = {truth_of(exchange, "chat").conversation_id for exchange in run.exchanges if is_generation(exchange)}
    if len(ids) > 1:
        yield Violation(verdict="corrupt", words=f"three turns of one conversation made {len(ids)} conversations")


def _programs(mode: str) -> Case:
    """Several users in turns; each text has a canary that must come back to its own user alone."""

    def examples() -> Any:
        from mockdify import strategies  # noqa: PLC0415 - brings hypothesis

        return strategies.conversations()

    def play(stage: Stage, turns: list[Any]) -> None:
        place = stage.live("chat")
        known: dict[str, list[str]] = {}
        for number, turn in enumerate(turns):
            mine = known.setdefault(turn.user, [])
            conversation = mine[turn.conversation] if 0 <= turn.conversation < len(mine) else ""
            query = f"{turn.text} canary-{turn.user}-{number}"
            outcome = ask(stage, place, mode, query=query, user=turn.user, conversation_id=conversation)
            if not conversation:
                mine.append(outcome.conversation_id)

    return Case(mode=mode, play=play, examples=examples, told=_told)


def _told(turns: list[Any]) -> str:
    begins, goes_on = "begins a conversation", "goes on with number"
    return "when " + ", then ".join(
        f"{turn.user} {begins if turn.conversation < 0 else f'{goes_on} {turn.conversation + 1}'}" for turn in turns
    )


def _parallel(mode: str) -> Case:
    def play(stage: Stage) -> None:
        place = stage.live("chat")
        for turn in range(2):
            stage.together(
                [
                    Call(name="chat", place=place, args=args_for(mode, query=f"canary-{user}-{turn} " * 20, user=user))
                    for user in ("alice", "bob", "carol", "dave")
                ]
            )

    return Case(mode=mode, play=play, name="at once", needs=("parallel",))


def _unmixed(run: Run) -> Iterator[Violation]:  # noqa: C901 - one look at each outcome
    """Nobody hears another's canary, and no conversation has two users."""
    owners: dict[str, str] = {}
    for outcome in run.outcomes:
        user = outcome.call.args["user"]
        for other in ("alice", "bob", "carol", "dave"):
            if other != user and f"canary-{other}-" in outcome.text:
                yield Violation(verdict="leaked", words=f"{user} was given the answer of {other}")
        if outcome.conversation_id and owners.setdefault(outcome.conversation_id, user) != user:
            yield Violation(
                verdict="leaked", words=f"{user} was given a conversation of {owners[outcome.conversation_id]}"
            )
        for exchange in filter(is_generation, outcome.exchanges):
            sent = (exchange.request.json or {}).get("conversation_id") or ""
            if sent and owners.get(sent, user) != user:
                yield Violation(verdict="leaked", words=f"the conversation of {owners[sent]} was sent for {user}")
            elif sent != (outcome.call.args["conversation_id"] or ""):
                told = outcome.call.args["conversation_id"] or "a new one"
                yield Violation(
                    verdict="corrupt", words=f"{user} asked in conversation {told}, {sent or 'none'} was sent"
                )
        if exchanges_of := [x for x in outcome.exchanges if is_generation(x) and x.user != user]:
            yield Violation(verdict="leaked", words=f"a call for {user} was sent as {exchanges_of[0].user}")
        if outcome.exchanges:
            yield from judge(outcome)
        elif outcome.ok:
            yield Violation(verdict="leaked", words=f"a call for {user} was sent as somebody else's")


def _deleted(mode: str) -> Case:
    def play(stage: Stage) -> None:
        place = stage.live("chat")
        first = ask(stage, place, mode)
        stage.call("delete", place, user="alice", conversation_id=first.conversation_id)
        ask(stage, place, mode, conversation_id=first.conversation_id)

    return Case(mode=mode, play=play, name="deleted", needs=("delete",))


def _foreign(mode: str) -> Case:
    def play(stage: Stage) -> None:
        place = stage.live("chat")
        first = ask(stage, place, mode, user="alice")
        ask(stage, place, mode, user="mallory", conversation_id=first.conversation_id)

    return Case(mode=mode, play=play)


def _unknown(mode: str) -> Case:
    def play(stage: Stage) -> None:
        ask(stage, stage.live("chat"), mode, conversation_id="00000000-0000-4000-8000-00000000dead")

    return Case(mode=mode, play=play, name="unknown id")


def _refused(run: Run) -> Iterator[Violation]:
    """The last call is an error, and no conversation was begun behind it."""
    last = run.last
    if not last.call.args["conversation_id"]:
        return  # the client gave none to go on with: REPLY-IDS-001 says so
    for exchange in filter(is_generation, last.exchanges):
        sent = (exchange.request.json or {}).get("conversation_id")
        if not sent and exchange.status == 200:
            words = "a conversation that may not be gone on with was silently replaced by a new one"
            yield Violation(verdict="corrupt", words=words)
    if last.ok:
        yield Violation(verdict="silent-loss", words=f"a conversation that is not there was answered: {last}")
        return
    yield from (violation for violation in judge_run(run) if violation.verdict != "wrong-error")


# ---------------------------------------------------------------------- what is left behind
def _retried(mode: str) -> Case:
    def play(stage: Stage) -> None:
        stage.inject("rate-limit", times=1, retry_after=0)
        ask(stage, stage.live("chat"), mode)

    return Case(mode=mode, play=play, name="429", fault="rate-limit")


def _broken_off(mode: str) -> Case:
    def play(stage: Stage) -> None:
        stage.inject("cut", times=1, after=2)
        ask(stage, stage.live("chat"), mode)

    return Case(mode=mode, play=play, name="cut", fault="cut")


def _one_message(run: Run) -> Iterator[Violation]:
    made, price = _message_price(run)
    if made > 1:
        words = f"{made - 1} {'retry' if made == 2 else 'retries'} = {made} messages, {price:.7g} USD"
        yield Violation(verdict="retried-badly", words=f"one call made several messages: {words}")


def _left() -> Case:
    def play(stage: Stage) -> None:
        frames: list[bytes | Pause] = []
        for frame in [*deltas(["word "] * 40), end()]:
            frames += [frame, Pause(0.05)]
        outcome = stage.abandon("chat", stage.play(stream(frames)), timeout=8.0, **args_for("chat.streaming"))
        stage.wait_until(lambda: all(x.ended != "open" for x in outcome.exchanges), 0.5)

    return Case(mode="chat.streaming", play=play, needs=("abandon", "incremental"), in_dify=True)


def _let_go(run: Run) -> Iterator[Violation]:
    outcome = run.last
    generating = [exchange for exchange in outcome.exchanges if is_generation(exchange)]
    stopped = any(exchange.path.endswith("/stop") for exchange in run.exchanges)
    if outcome.hung:
        yield Violation(verdict="hung", words="asked to stop reading, the client did not come back")
    elif generating and not stopped:
        whole = truth_of(generating[0], "chat").kind == "answer"
        if not whole and generating[0].ended != "open":
            return
        how = "read on to the end" if whole else "left the connection open"
        words = f"asked to stop reading, the client {how}: the app goes on writing, and its tokens are paid"
        yield Violation(verdict="leaked", words=words)


# ---------------------------------------------------------------------- the other calls
def _called(call: str, /, **args: Any) -> Case:
    """One call about a conversation that there is."""

    def play(stage: Stage) -> None:
        place = stage.live("chat")
        mode = "chat.blocking"
        first = ask(stage, place, mode)
        ids: dict[str, Any] = {"conversation_id": first.conversation_id, "message_id": first.message_id}
        stage.call(call, place, user="alice", **ids, **args)

    return Case(mode=call, play=play, needs=("chat.blocking",))


def _accepted(run: Run) -> Iterator[Violation]:
    """The client says it worked, and the server says so too."""
    last = run.last
    good = [exchange for exchange in last.exchanges if 200 <= exchange.status < 300]
    if last.hung:
        yield Violation(verdict="hung", words=str(last))
    elif last.error is not None and last.error.kind == "crash":
        yield Violation(verdict="crashed", words=f"the server had answered, the client fell over: {last.error.message}")
    elif not last.ok and good:
        yield Violation(verdict="crashed", words=f"the server had done it, the client reported {last}")
    elif last.ok and not good:
        answered = ", ".join(str(exchange.status) for exchange in last.exchanges) or "nothing"
        yield Violation(verdict="silent-loss", words=f"the server answered {answered}, the client reported success")
    elif not last.ok:
        yield Violation(verdict="wrong-error", words=f"the request was refused: {last}")


def _missing(call: str, /, **args: Any) -> Case:
    nobody = "00000000-0000-4000-8000-00000000dead"

    def play(stage: Stage) -> None:
        stage.call(call, stage.live("chat"), user="alice", conversation_id=nobody, message_id=nobody, **args)

    return Case(mode=call, play=play, name="unknown id")


def _surfaced(run: Run) -> Iterator[Violation]:
    last = run.last
    wanted = last.exchanges[-1].status if last.exchanges else 0
    if last.hung:
        yield Violation(verdict="hung", words=str(last))
    elif last.ok:
        yield Violation(verdict="silent-loss", words=f"the server answered {wanted}, the client reported success")
    elif last.error is not None and last.error.kind == "crash":
        yield Violation(verdict="crashed", words=last.error.message)
    elif last.error is not None and last.error.status != wanted:
        yield Violation(verdict="wrong-error", words=f"the server answered {wanted}, the client reported {last}")


_PLAIN: dict[str, dict[str, Any]] = {
    "conversations": {},
    "messages": {},
    "rename": {"name": "Grüße 你好"},
    "delete": {},
    "feedback": {"rating": "like"},
}

RULES: tuple[Rule, ...] = (
    Rule(
        id="CONV-NEXT-001",
        severity="must",
        says="Turns that are told to go on make one conversation.",
        because="An app forgets everything with a new conversation.",
        threads=("langgenius/dify#15916", "langgenius/dify#20401"),
        fix="Send the `conversation_id` you are given; give back the one you get.",
        check=_same_conversation,
        cases=tuple(map(_goes_on, _CHAT)),
        bugs=("forgets-conversation",),
    ),
    Rule(
        id="CONV-USERS-001",
        severity="must",
        says="Users who talk in turns, or at once, never get each other's answers or conversations.",
        because="A conversation id kept on a shared client object sends one user's words into another's conversation.",
        threads=("wiremock/wiremock#498", "langgenius/dify#15191"),
        fix="Keep conversation ids by user, or leave them to the caller.",
        check=_unmixed,
        cases=(*map(_programs, _CHAT), *map(_parallel, _CHAT)),
        bugs=("shares-conversation",),
    ),
    Rule(
        id="CONV-GONE-001",
        severity="must",
        says="A deleted conversation is an error, not a new one.",
        because="Dify answers 404 `Conversation Not Exists.`; whoever begins anew in silence loses the thread unseen.",
        threads=("langgenius/dify#28481",),
        fix="Report the 404; let the caller decide to begin anew.",
        check=_refused,
        cases=(*map(_deleted, _CHAT), *map(_unknown, _CHAT)),
        bugs=("begins-anew",),
    ),
    Rule(
        id="CONV-OTHER-001",
        severity="must",
        says="Another user's conversation is an error, and not silently a new one.",
        because="The most reported error of the API: 404 `Conversation Not Exists.` for everybody but its owner.",
        threads=(
            "langgenius/dify#15916",
            "langgenius/dify#20149",
            "langgenius/dify#14893",
            "imfangs/dify-java-client#47",
        ),
        fix="Report the 404 with its code; never drop the id and ask again.",
        check=_refused,
        cases=tuple(map(_foreign, _CHAT)),
        bugs=("begins-anew",),
    ),
    Rule(
        id="FX-ONCE-001",
        severity="must",
        says="One call makes one message, whatever has to be repeated.",
        because="Every message is paid, and users see their question twice.",
        threads=("langgenius/dify#15728",),
        fix="Repeat only what was refused before it began (429, 503, no connection); never a stream that broke.",
        check=_one_message,
        cases=(*map(_retried, _CHAT), _broken_off("chat.streaming")),
        bugs=("retries-streams",),
    ),
    Rule(
        id="FX-LEAVE-001",
        severity="must",
        says="A stream that nobody reads any more is closed or stopped.",
        because="The app goes on writing, and its tokens are paid.",
        threads=("langgenius/dify#16449", "langgenius/dify#37755", "postmanlabs/httpbin#479"),
        fix="Close the response when the caller leaves the loop (`with`, `finally`, `AbortController`), or call stop.",
        check=_let_go,
        cases=(_left(),),
        bugs=("reads-on",),
    ),
    Rule(
        id="CALL-DONE-001",
        severity="must",
        says="Listing, renaming, deleting and rating do what they say and report it.",
        because="A 204 has no body, a list may be empty, a rating may be taken back.",
        threads=("stripe/stripe-mock#19",),
        fix="Look at the status; read a body only where there is one.",
        check=_accepted,
        cases=(
            *(_called(name, **args) for name, args in _PLAIN.items()),
            Case(
                mode="upload",
                play=lambda stage: (
                    stage.call(
                        "upload",
                        stage.live("chat"),
                        user="alice",
                        name="note.txt",
                        content="Hello 你好",
                        mime_type="text/plain",
                    )
                    and None
                ),
            ),
        ),
        bugs=("parses-204",),
    ),
    Rule(
        id="CALL-404-001",
        severity="must",
        says="What is not there is reported as 404.",
        because="Dify answers 404 to conversations and messages of others and to ids that are unknown.",
        threads=("langgenius/dify#28481",),
        fix="Raise on every status of 400 and above.",
        check=_surfaced,
        cases=tuple(_missing(name, **_PLAIN[name]) for name in ("messages", "rename", "delete", "feedback")),
        bugs=("ignores-status",),
    ),
)
