"""POST /completion-messages: one prompt, one answer, no conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mockdify.endpoints.chat import Saying, chat_turn, fill, kept, message_file
from mockdify.endpoints.generating import (
    ask_model,
    blocking,
    check_model,
    metadata,
    refuse_early,
    streaming,
    take_files,
    take_inputs,
)
from mockdify.events import Envelope
from mockdify.model import count_tokens, zero_usage
from mockdify.store import Message

if TYPE_CHECKING:
    from mockdify.context import Context
    from mockdify.steps import Reply

__all__ = ["send"]


def send(ctx: Context) -> Reply:
    """One completion: `query` for the script is the app's prompt with its variables filled in."""
    payload, app = ctx.payload, ctx.installed.app
    streamed = payload["response_mode"] == "streaming"
    files = take_files(ctx)
    check_model(ctx)
    inputs = take_inputs(ctx)
    prompt = fill(app.pre_prompt, inputs) or payload["query"]
    choice = ask_model(ctx, prompt, inputs, 1)
    refuse_early(choice, ctx)

    now = ctx.now()
    message = Message(
        id=ctx.person.ids.next(),
        conversation_id=None,
        app=app.name,
        user=ctx.user,
        inputs=inputs,
        query=payload["query"].replace("\0", ""),
        created_at=now,
    )
    message.files = [message_file(ctx, file) for file in files]
    ctx.person.messages[message.id] = message
    task = ctx.workspace.new_task(app.name, ctx.user, ctx.person.ids, graph=False)
    envelope = Envelope.completion(message_id=message.id, created_at=int(now), task_id=task.id)
    turn = kept(ctx, message, task, chat_turn(Saying(ctx, message, task, choice, count_tokens(prompt), streamed)))
    if streamed:
        yield from streaming(ctx, envelope, turn, leaving="close")
        return

    def answer() -> dict[str, Any]:
        return {
            "event": "message",
            "task_id": task.id,
            "id": message.id,
            "message_id": message.id,
            "mode": app.mode,
            "answer": message.answer,
            "metadata": metadata(
                ctx.profile, message.usage or zero_usage(), streamed=False, resources=message.retriever_resources
            ),
            "created_at": int(message.created_at),
        }

    yield from blocking(ctx, turn, answer)
