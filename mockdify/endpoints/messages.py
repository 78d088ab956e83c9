"""Messages: the pages of a conversation, suggested questions, feedback."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mockdify.endpoints.conversations import settle_title
from mockdify.errors import bad_request, invalid_param, not_found
from mockdify.store import Feedback

if TYPE_CHECKING:
    from mockdify.context import Context
    from mockdify.steps import Reply
    from mockdify.store import Message

__all__ = ["feedback", "list_all", "list_feedbacks", "suggested"]

_NO_PARENT = "00000000-0000-0000-0000-000000000000"


def list_all(ctx: Context) -> Reply:
    """A page of a conversation: the newest messages before `first_id`, oldest first."""
    asked = ctx.payload
    limit = asked["limit"]
    if asked["conversation_id"] is None:
        return ctx.json({"limit": limit, "has_more": False, "data": []})
    conversation = ctx.person.conversations.get(asked["conversation_id"])
    if conversation is None:
        msg = "Conversation Not Exists."
        raise not_found(msg)
    settle_title(ctx, conversation)
    end = len(conversation.messages)
    if asked["first_id"] is not None:
        end = next((i for i, m in enumerate(conversation.messages) if m.id == asked["first_id"]), -1)
        if end < 0:
            msg = "First Message Not Exists."
            raise not_found(msg)
    start = max(0, end - limit)
    shown = [as_json(ctx, message) for message in conversation.messages[start:end]]
    return ctx.json({"limit": limit, "has_more": start > 0, "data": shown})


def as_json(ctx: Context, message: Message) -> dict[str, Any]:
    """A message as Dify lists it; since 1.16.0 with what it cost."""
    usage = message.usage or {}
    accounting = ctx.profile.message_accounting
    cost = {
        "message_tokens": usage.get("prompt_tokens", 0),
        "answer_tokens": usage.get("completion_tokens", 0),
        "provider_response_latency": float(message.latency),
        "total_price": usage.get("total_price"),
        "currency": usage.get("currency", "USD"),
    }
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "parent_message_id": _NO_PARENT,
        "inputs": message.inputs,
        "query": message.query,
        "answer": message.answer,
        "feedback": {"rating": message.rating} if message.rating else None,
        "retriever_resources": message.retriever_resources,
        "created_at": int(message.created_at),
        "agent_thoughts": message.thoughts,
        "message_files": message.files,
        **(cost if accounting else {}),
        "status": message.status,
        "error": message.error,
        "extra_contents": message.extra_contents,
        **({"total_tokens": usage.get("total_tokens", 0)} if accounting else {}),
    }


def own(ctx: Context) -> Message:
    """The asker's message named in the path."""
    found = ctx.person.messages.get(ctx.values["message_id"].lower())
    if found is None:
        msg = "Message Not Exists."
        raise not_found(msg)
    return found


def suggested(ctx: Context) -> Reply:
    """Three questions that could follow, when the app offers them."""
    message = own(ctx)
    if not ctx.installed.app.features.suggested_questions_after_answer:
        msg = "Suggested Questions Is Disabled."
        raise bad_request(msg)
    about = " ".join(message.query.split())[:40]
    questions = [f"What else about {about}?", f"Why {about}?", f"Can you give an example of {about}?"]
    return ctx.json({"result": "success", "data": questions})


def feedback(ctx: Context) -> Reply:
    """Rate a message; null takes the rating back."""
    message = own(ctx)
    rating, partition, now = ctx.payload["rating"], ctx.partition, ctx.now()
    known = partition.feedbacks.get(message.id)
    if rating is None:
        if known is None:
            msg = "rating cannot be None when feedback not exists"
            raise invalid_param(msg)
        del partition.feedbacks[message.id]
    elif known is None:
        partition.feedbacks[message.id] = Feedback(
            id=partition.ids.next(),
            conversation_id=message.conversation_id,
            message_id=message.id,
            end_user_id=ctx.person.end_user.id,
            rating=rating,
            content=ctx.payload["content"],
            created_at=now,
            updated_at=now,
        )
    else:
        known.rating, known.content, known.updated_at = rating, ctx.payload["content"], now
    message.rating = rating
    return ctx.json({"result": "success"})


def list_feedbacks(ctx: Context) -> Reply:
    """All ratings of the app's messages, newest first."""
    page, limit = ctx.payload["page"], ctx.payload["limit"]
    newest = sorted(ctx.partition.feedbacks.values(), key=lambda one: one.created_at, reverse=True)
    shown = newest[(page - 1) * limit : page * limit]
    return ctx.json({"data": [_feedback(ctx, one) for one in shown]})


def _feedback(ctx: Context, one: Feedback) -> dict[str, Any]:
    return {
        "id": one.id,
        "app_id": ctx.installed.id,
        "conversation_id": one.conversation_id,
        "message_id": one.message_id,
        "rating": one.rating,
        "content": one.content,
        "from_source": "user",
        "from_end_user_id": one.end_user_id,
        "from_account_id": None,
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
    }


def iso(moment: float) -> str:
    """A time as Dify writes it in lists of feedbacks and end users: ISO, no zone."""
    return datetime.fromtimestamp(int(moment), UTC).replace(tzinfo=None).isoformat()
