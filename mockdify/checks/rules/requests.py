"""What a client sends: key, types, fields, user, conversation, inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mockdify.checks.judge import is_generation, judge_run
from mockdify.checks.model import Case, Rule, Run, Stage, Violation
from mockdify.checks.scenes import MODES, ask, honest
from mockdify.masking import mask_text

if TYPE_CHECKING:
    from mockdify.journal import Exchange

__all__ = ["RULES"]

_CHAT = ("chat.blocking", "chat.streaming")
_QUERY = 'Grüße 你好 👋 "quoted" \\ \u2028 line\nbreak'


def _generations(run: Run) -> list[Exchange]:
    return [exchange for exchange in run.exchanges if is_generation(exchange)]


def _turns(mode: str, turns: int = 2, **more: Any) -> Case:
    """A conversation of several turns."""

    def play(stage: Stage) -> None:
        place, conversation = stage.live("chat"), ""
        for turn in range(turns):
            outcome = ask(stage, place, mode, query=f"Turn {turn + 1}", conversation_id=conversation, **more)
            conversation = outcome.conversation_id

    return Case(mode=mode, play=play)


# ---------------------------------------------------------------------- checks
def _bearer(run: Run) -> Iterator[Violation]:
    key = run.last.call.place.api_key
    for exchange in run.exchanges:
        given = exchange.raw.header("authorization")
        if given != f"Bearer {key}":
            yield Violation(
                verdict="wrong-error", words=f"Authorization was {mask_text(given or '')!r}, not 'Bearer ' and the key"
            )


def _json_type(run: Run) -> Iterator[Violation]:
    for exchange in _generations(run):
        given = exchange.raw.header("content-type") or ""
        if given.partition(";")[0].strip().lower() != "application/json":
            yield Violation(verdict="wrong-error", words=f"Content-Type was {given!r}; Dify answers 415 to it")


def _on_contract(run: Run) -> Iterator[Violation]:
    from mockdify.contracts import Contracts  # noqa: PLC0415 - brings jsonschema at the first value

    if not run.exchanges:
        yield Violation(verdict="silent-loss", words="no request came")
    for exchange in run.exchanges:
        asked = exchange.raw
        contracts = Contracts.load(exchange.profile.name if exchange.profile is not None else "1.16")
        for broken in contracts.check_request(asked.method, asked.target, dict(asked.headers), asked.body):
            if broken.severity == "error":
                yield Violation(verdict="wrong-error", words=f"{asked.method} {asked.path}: {broken}")


def _one_user(run: Run) -> Iterator[Violation]:
    for outcome in run.outcomes:
        for exchange in outcome.exchanges:
            if exchange.user != outcome.call.args["user"]:
                yield Violation(
                    verdict="corrupt", words=f"called for user {outcome.call.args['user']!r}, sent {exchange.user!r}"
                )


def _carried(run: Run) -> Iterator[Violation]:
    for outcome in run.outcomes[1:]:
        wanted = outcome.call.args["conversation_id"]
        if not wanted:
            yield Violation(verdict="corrupt", words="the client gave no conversation_id to go on with")
        for exchange in filter(is_generation, outcome.exchanges):
            sent = (exchange.request.json or {}).get("conversation_id")
            if sent != wanted:
                yield Violation(
                    verdict="corrupt", words=f"told to go on with conversation {wanted!r}, it sent {sent!r}"
                )


def _inputs(run: Run) -> Iterator[Violation]:
    for outcome in run.outcomes:
        for exchange in filter(is_generation, outcome.exchanges):
            sent, wanted = (exchange.request.json or {}).get("inputs"), outcome.call.args["inputs"]
            if sent != wanted:
                yield Violation(verdict="corrupt", words=f"inputs were {wanted!r}, the client sent {sent!r}")


def _key_hidden(run: Run) -> Iterator[Violation]:
    key = run.last.call.place.api_key
    for exchange in run.exchanges:
        asked = exchange.raw
        if key in asked.target:
            yield Violation(verdict="leaked", words=f"the key is in the URL: {mask_text(asked.target)}")
        if key.encode() in asked.body:
            yield Violation(verdict="leaked", words="the key is in the body")
    for outcome in run.outcomes:
        if key in outcome.text or (outcome.error and key in outcome.error.message):
            yield Violation(verdict="leaked", words="the key is in the text or message that the client gave")


def _mode(run: Run) -> Iterator[Violation]:
    for outcome in run.outcomes:
        wanted = "streaming" if outcome.call.args["stream"] else "blocking"
        for exchange in filter(is_generation, outcome.exchanges):
            sent = (exchange.request.json or {}).get("response_mode", "blocking")
            if sent != wanted:
                yield Violation(verdict="wrong-error", words=f"asked for {wanted}, it sent response_mode {sent!r}")


def _query(run: Run) -> Iterator[Violation]:
    for exchange in _generations(run):
        sent = (exchange.request.json or {}).get("query")
        if sent != run.last.call.args["query"]:
            yield Violation(
                verdict="corrupt", words=f"the query was {run.last.call.args['query']!r}, the client sent {sent!r}"
            )


# ---------------------------------------------------------------------- agents, stop
def _agent_streamed() -> Case:
    def play(stage: Stage) -> None:
        ask(stage, stage.live("agent"), "chat.streaming", query="What time is it?")

    return Case(mode="chat.streaming", play=play, name="agent")


def _agent_blocking() -> Case:
    def play(stage: Stage) -> None:
        ask(stage, stage.live("agent"), "chat.blocking", query="What time is it?")

    return Case(mode="chat.blocking", play=play, name="agent")


def _stopped() -> Case:
    def play(stage: Stage) -> None:
        stage.call("stop", stage.live("chat"), task_id="7f6e5d4c-3b2a-4190-8f7e-6d5c4b3a2910", user="alice")

    return Case(mode="stop", play=play)


def _stop(run: Run) -> Iterator[Violation]:
    asked = [(exchange.method, exchange.path, exchange.user) for exchange in run.exchanges]
    wanted = ("POST", f"/v1/chat-messages/{run.last.call.args['task_id']}/stop", run.last.call.args["user"])
    if asked != [wanted]:
        yield Violation(verdict="corrupt", words=f"wanted {wanted}, the client sent {asked or 'nothing'}")
    yield from judge_run(run) if not run.last.ok else ()


RULES: tuple[Rule, ...] = (
    Rule(
        id="REQ-AUTH-001",
        severity="must",
        says="The key goes in the header `Authorization: Bearer KEY`, once and unchanged.",
        because="Dify answers 401 `Access token is invalid` to braces, `Bearer Bearer` and keys of another kind alike.",
        threads=("langgenius/dify#15706", "imfangs/dify-java-client#78", "AstrBotDevs/AstrBot#971"),
        fix="Send exactly `Bearer `, one blank and the key; strip white space when the key is read.",
        check=_bearer,
        cases=tuple(map(honest, MODES)),
    ),
    Rule(
        id="REQ-TYPE-001",
        profiles=("1.16", "1.13"),
        severity="must",
        says="A JSON body comes with Content-Type application/json.",
        because="Dify refuses any other type with 415 `unsupported_media_type`.",
        fix="Use your library's JSON argument, or set the header yourself.",
        check=_json_type,
        cases=tuple(map(honest, MODES)),
    ),
    Rule(
        id="REQ-BODY-001",
        severity="must",
        says="A request has every required field, each of its type, and goes to a path that exists.",
        because="`inputs` and `user` are required everywhere, `query` in chat apps; without them Dify answers 400.",
        threads=("langgenius/dify#8795", "langgenius/dify#4291", "strukto-ai/mirage#229"),
        fix="Send `inputs` even when it is empty, and always `user`.",
        check=_on_contract,
        cases=tuple(map(honest, MODES)),
    ),
    Rule(
        id="REQ-MODE-001",
        severity="must",
        says="`response_mode` is what the caller asked for.",
        because="A client that asks for `blocking` behind a streaming call hands everything over "
        "at once and meets gateway timeouts.",
        threads=("langgenius/dify#16012", "langgenius/dify#13699"),
        fix="Pass the caller's choice through.",
        check=_mode,
        cases=tuple(map(honest, MODES)),
    ),
    Rule(
        id="REQ-QUERY-001",
        severity="must",
        says="The query arrives as it was given: quotes, line breaks, emoji, U+2028.",
        because="A query that is put together by hand breaks its JSON or loses characters.",
        fix="Encode the body with a JSON library, as UTF-8.",
        check=_query,
        cases=tuple(honest(mode, query=_QUERY) for mode in _CHAT),
    ),
    Rule(
        id="REQ-USER-001",
        severity="must",
        says="Every request of a call carries the user it was made for.",
        because="Conversations, messages and files belong to (app, user): another user gets 404 "
        "`Conversation Not Exists.` for them.",
        threads=("langgenius/dify#15916", "langgenius/dify#20149", "langgenius/dify#14893"),
        fix="Take `user` from the call, not from the client object or a random value.",
        check=_one_user,
        cases=tuple(map(_turns, _CHAT)),
        bugs=("random-user",),
    ),
    Rule(
        id="REQ-CONV-001",
        severity="must",
        says="A conversation goes on with the id that its first answer gave.",
        because="Without it each turn begins a new conversation, and the app forgets what was said.",
        threads=("langgenius/dify#20401", "langgenius/dify#19766"),
        fix="Read `conversation_id` from the reply (in a stream: from any event) and send it with the next turn.",
        check=_carried,
        cases=tuple(_turns(mode, 3) for mode in _CHAT),
    ),
    Rule(
        id="REQ-INPUTS-001",
        profiles=("1.16", "1.13"),
        severity="must",
        says="`inputs` are sent with every turn, as given.",
        because="Dify validates and uses them in each turn, and answers 400 when they are missing.",
        threads=("langgenius/dify#7846", "langgenius/dify#8050", "langgenius/dify#13588"),
        fix="Send `inputs` with continued turns too.",
        check=_inputs,
        cases=tuple(map(_turns, _CHAT)),
    ),
    Rule(
        id="REQ-KEY-001",
        severity="must",
        says="The key is nowhere but in the header: not in a URL, a body or an error's text.",
        because="URLs and error texts end up in logs, and a key there is a key lost.",
        threads=("canonical/ubuntu.com#16555", "Kludex/cassetter#85"),
        fix="Never put the key in a query string; mask it in messages.",
        check=_key_hidden,
        cases=tuple(map(honest, MODES)),
    ),
    Rule(
        id="REQ-AGENT-001",
        severity="must",
        says="An agent app is asked with streaming, and its answer is the agent's text.",
        because="Agent apps have no blocking mode: 400 `Agent Chat App does not support blocking mode`.",
        threads=("MAyang38/dify-on-dingding-go#1", "baptisteArno/typebot.io#2315", "warmwind/dify-ai-provider#12"),
        fix="Stream from agent apps and join their `agent_message` deltas; hand on the 400 of a blocking call.",
        check=judge_run,
        cases=(_agent_streamed(), _agent_blocking()),
    ),
    Rule(
        id="REQ-STOP-001",
        severity="must",
        says="A stop names the task and the user of the generation it ends.",
        because="Dify answers success to a stop of any id and any user, and the stream goes on.",
        threads=("langgenius/dify#16449", "langgenius/dify#13035", "marsDes/dify-client-plus#1"),
        fix="POST /chat-messages/{task_id}/stop with the `user` that asked; take `task_id` from the stream.",
        check=_stop,
        cases=(_stopped(),),
    ),
)
