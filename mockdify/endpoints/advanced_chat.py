"""POST /chat-messages for advanced-chat apps: a turn of a chat whose answer a graph gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mockdify.endpoints import chat
from mockdify.endpoints.generating import blocking, file_value, metadata, take_files, take_inputs
from mockdify.endpoints.graphs import (
    GraphTurn,
    check_published,
    check_workflow_id,
    late,
    refused,
    stream_of_run,
)
from mockdify.errors import DifyError, invalid_param
from mockdify.events import Envelope, Message, MessageEnd
from mockdify.model import zero_usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mockdify.context import Context
    from mockdify.events import Event
    from mockdify.forms import InputFile
    from mockdify.graph import Chunk
    from mockdify.steps import Reply, Wait
    from mockdify.store import Conversation
    from mockdify.store import Message as Stored
    from mockdify.workspace import Task

__all__ = ["send"]


def send(ctx: Context) -> Reply:
    """One turn. What Dify checks in its worker comes after the status line of a stream."""
    payload = ctx.payload
    streamed = payload["response_mode"] == "streaming"
    if payload["workflow_id"]:
        check_workflow_id(ctx, payload["workflow_id"])
    check_published(ctx)
    try:
        conversation = chat.known_conversation(ctx, payload["conversation_id"])
    except DifyError as error:
        if ctx.profile.early_conversation_check or not streamed:
            raise
        yield from late(ctx, error, streamed=True)
        return
    try:
        query = chat.take_query(payload["query"])
        files = take_files(ctx)
        inputs = take_inputs(ctx, conversation)
    except DifyError as error:
        yield from late(ctx, error, streamed=streamed)
        return
    yield from _answer(ctx, conversation, inputs, query, files, streamed=streamed)


def _answer(
    ctx: Context,
    conversation: Conversation | None,
    inputs: dict[str, Any],
    query: str,
    files: Sequence[InputFile],
    *,
    streamed: bool,
) -> Reply:
    past = [(m.query, m.answer) for m in conversation.messages] if conversation else []
    conversation, message = chat.open_turn(ctx, conversation, inputs, query, files)
    task = ctx.workspace.new_task(ctx.installed.name, ctx.user, ctx.person.ids, graph=True)
    selector_of = _as_message(message.id)
    run = GraphTurn(
        ctx,
        task,
        inputs,
        {
            "sys.query": query,
            "sys.files": [file_value(ctx, file) for file in files],
            "sys.user_id": ctx.user,
            "sys.conversation_id": conversation.id,
            "sys.dialogue_count": len(conversation.messages),
        },
        turn=len(conversation.messages),
        history=past,
        conversation=conversation.variables,
        message_id=message.id,
        to_event=selector_of,
    )
    envelope = Envelope.chat(
        conversation_id=conversation.id,
        message_id=message.id,
        created_at=int(message.created_at),
        task_id=task.id,
        run_id=run.run.id,
    )
    try:
        run.begin()
    except DifyError as error:
        message.status, message.error = "error", error.message
        chat.forget_title(ctx, message)
        yield from refused(ctx, error, envelope, streamed=streamed)
        return
    turn = _turn(ctx, run, conversation, message, task)
    if streamed:
        yield from stream_of_run(ctx, envelope, turn)
        return

    def answer() -> dict[str, Any]:
        if run.run.status in ("failed", "stopped"):
            msg = f"Run failed: {run.run.error}"
            raise invalid_param(msg)
        outcome = run.outcome
        assert outcome is not None
        return {
            "event": "message",
            "task_id": task.id,
            "id": message.id,
            "message_id": message.id,
            "conversation_id": conversation.id,
            "mode": "advanced-chat",
            "answer": message.answer,
            "metadata": metadata(
                ctx.profile,
                message.usage or zero_usage(),
                streamed=False,
                resources=message.retriever_resources,
                reasoning=outcome.reasoning,
            ),
            "created_at": int(message.created_at),
        }

    yield from blocking(ctx, turn, answer)


def _as_message(message_id: str) -> Any:
    def event(chunk: Chunk) -> Event:
        return Message(id=message_id, answer=chunk.text, from_variable_selector=list(chunk.selector))

    return event


def _turn(
    ctx: Context, run: GraphTurn, conversation: Conversation, message: Stored, task: Task
) -> Iterator[Event | Wait]:
    message.run_id = run.run.id
    before = dict(conversation.variables)
    try:
        first: float | None = None
        for event in run.events():
            if first is None and isinstance(event, Message):
                first = ctx.now()
            yield event
        outcome = run.outcome
        assert outcome is not None
        now = ctx.now()
        for name, value in conversation.variables.items():
            if before.get(name) != value:
                conversation.variables_updated[name] = now
        message.latency = now - message.created_at
        message.retriever_resources = [dict(r) for r in outcome.retriever_resources]
        message.answer = outcome.answer
        if outcome.status in ("succeeded", "partial-succeeded"):
            usage = outcome.usage or zero_usage()
            if first is not None:  # of the whole answer, not of one model's call
                usage |= {
                    "time_to_first_token": round(first - message.created_at, 3),
                    "time_to_generate": round(now - first, 3),
                }
            message.usage = usage
            said = metadata(
                ctx.profile,
                usage,
                streamed=True,
                resources=message.retriever_resources,
                reasoning=outcome.reasoning,
            )
            yield MessageEnd(id=message.id, metadata={"annotation_reply": None} | said, files=list(outcome.files))
        elif outcome.status == "failed":
            message.status, message.error = "error", outcome.error
            chat.forget_title(ctx, message)
        yield run.finished()
    finally:
        ctx.workspace.end_task(task)
