"""POST /chat-messages for chat and agent-chat apps, and the way to the graph for advanced-chat apps."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from mockdify.endpoints.conversations import take_variables
from mockdify.endpoints.files import source_url
from mockdify.endpoints.generating import (
    ask_model,
    blocking,
    check_model,
    failure_of,
    generation_of,
    metadata,
    refuse_early,
    streaming,
    take_files,
    take_inputs,
)
from mockdify.errors import invalid_param, not_found
from mockdify.events import AgentMessage, AgentThought, Envelope, Message, MessageEnd, MessageReplace
from mockdify.model import ModelFailure, count_tokens, usage_of, zero_usage
from mockdify.script import Round
from mockdify.steps import Wait
from mockdify.store import Conversation
from mockdify.store import Message as Stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mockdify.apps import Tool
    from mockdify.context import Context
    from mockdify.endpoints.generating import Turn
    from mockdify.events import Event
    from mockdify.forms import InputFile
    from mockdify.model import Generation
    from mockdify.script import Choice
    from mockdify.steps import Reply
    from mockdify.workspace import Task

__all__ = ["Saying", "chat_turn", "fill", "kept", "message_file", "open_conversation", "send"]

_SLOT = re.compile(r"\{\{\s*(#?[\w.]+#?)\s*\}\}")
_NAME_LIMIT = 20
TITLE_AFTER = 1.0
"""Seconds after which the model's title replaces the query as a conversation's name."""


def fill(template: str, inputs: Mapping[str, Any]) -> str:
    """A prompt or opening statement with its `{{variables}}` filled in; unknown ones stay as they are."""
    if "{{" not in template:
        return template
    return _SLOT.sub(lambda slot: _shown(inputs[slot[1]]) if slot[1] in inputs else slot[0], template)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def send(ctx: Context) -> Reply:
    """One turn of a chat, in Dify's order of checks."""
    if ctx.profile.chat_variables:
        ctx.payload["variables"] = take_variables(ctx)
    if ctx.installed.mode == "advanced-chat":
        from mockdify.endpoints import advanced_chat  # noqa: PLC0415 - it imports this module, and brings graphs

        return advanced_chat.send(ctx)
    return _send(ctx)


def _send(ctx: Context) -> Reply:
    payload, app = ctx.payload, ctx.installed.app
    streamed = payload["response_mode"] == "streaming"
    if app.is_agent and not streamed:
        msg = "Agent Chat App does not support blocking mode"
        raise invalid_param(msg)
    query = take_query(payload["query"])
    conversation = known_conversation(ctx, payload["conversation_id"])
    files = take_files(ctx)
    check_model(ctx)
    inputs = take_inputs(ctx, conversation)
    turn_number = len(conversation.messages) + 1 if conversation else 1
    choice = ask_model(ctx, query, inputs, turn_number)
    refuse_early(choice, ctx)

    conversation, message = open_turn(ctx, conversation, inputs, query, files)
    task = ctx.workspace.new_task(app.name, ctx.user, ctx.person.ids, graph=False)
    prompt_tokens = _prompt_tokens(app.pre_prompt, inputs, conversation, query)
    body = _agent_turn if app.is_agent else chat_turn
    turn = kept(ctx, message, task, body(Saying(ctx, message, task, choice, prompt_tokens, streamed)))
    if streamed:
        envelope = Envelope.chat(
            conversation_id=conversation.id, message_id=message.id, created_at=int(message.created_at), task_id=task.id
        )
        return streaming(ctx, envelope, turn, leaving="close")

    def answer() -> dict[str, Any]:
        return {
            "event": "message",
            "task_id": task.id,
            "id": message.id,
            "message_id": message.id,
            "conversation_id": conversation.id,
            "mode": app.mode,
            "answer": message.answer,
            "metadata": metadata(
                ctx.profile, message.usage or zero_usage(), streamed=False, resources=message.retriever_resources
            ),
            "created_at": int(message.created_at),
        }

    return blocking(ctx, turn, answer)


# ---------------------------------------------------------------------- before the turn
def take_query(query: str) -> str:
    """The query without NULs; Dify refuses an empty one, but not a blank one."""
    if not query:
        msg = "query is required"
        raise invalid_param(msg)
    return query.replace("\0", "")


def known_conversation(ctx: Context, conversation_id: str | None) -> Conversation | None:
    """The asker's conversation of that id, None for a new one; whatever is not the asker's does not exist."""
    if conversation_id is None:
        return None
    found = ctx.person.conversations.get(conversation_id)
    if found is None:
        msg = "Conversation Not Exists."
        raise not_found(msg)
    return found


def open_conversation(ctx: Context, inputs: dict[str, Any], query: str) -> Conversation:
    """A new conversation, named after its first query until the model's title arrives."""
    now = ctx.now()
    name = query if len(query) <= _NAME_LIMIT else query[:_NAME_LIMIT] + "…"
    app = ctx.installed.app
    conversation = Conversation(
        id=ctx.person.ids.next(),
        app=app.name,
        user=ctx.user,
        name=name,
        inputs=inputs,
        introduction=fill(app.features.opening_statement, inputs),
        created_at=now,
        updated_at=now,
        number=ctx.person.number(),
        title_due=now + TITLE_AFTER if ctx.payload.get("auto_generate_name", True) else None,
        variables={variable.name: variable.value for variable in app.conversation_variables},
    )
    ctx.person.add_conversation(conversation)
    return conversation


def open_turn(
    ctx: Context, conversation: Conversation | None, inputs: dict[str, Any], query: str, files: Sequence[InputFile]
) -> tuple[Conversation, Stored]:
    """The conversation (made if need be) with a new message in it, not answered yet."""
    now = ctx.now()
    if conversation is None:
        conversation = open_conversation(ctx, inputs, query)
    else:
        ctx.person.touch(conversation, now)
    message = Stored(
        id=ctx.person.ids.next(),
        conversation_id=conversation.id,
        app=ctx.installed.name,
        user=ctx.user,
        inputs=inputs,
        query=query,
        created_at=now,
        files=[message_file(ctx, file) for file in files],
    )
    conversation.messages.append(message)
    ctx.person.messages[message.id] = message
    if said := ctx.payload.get("variables"):  # only where the profile takes them
        conversation.variables |= said
        conversation.variables_updated |= dict.fromkeys(said, now)
    return conversation, message


def message_file(ctx: Context, file: InputFile) -> dict[str, Any]:
    """A file of a question as GET /messages lists it; from now on the app may preview it."""
    upload = ctx.workspace.store.uploads.get(file.related_id or "")
    if upload is not None:
        upload.conversation_apps.add(ctx.installed.name)
    return {
        "id": ctx.person.ids.next(),
        "filename": file.name,
        "type": file.type,
        "url": source_url(ctx.request, ctx.workspace, upload) if upload else file.url,
        "mime_type": file.mime_type,
        "size": file.size,
        "transfer_method": file.transfer_method,
        "belongs_to": "user",
        "upload_file_id": upload.id if upload else None,
    }


def _prompt_tokens(prompt: str, inputs: Mapping[str, Any], conversation: Conversation, query: str) -> int:
    past = conversation.messages[-2].usage if len(conversation.messages) > 1 else None
    return count_tokens(fill(prompt, inputs), query) + (past["total_tokens"] if past else 0)


# ---------------------------------------------------------------------- the turn
def kept(ctx: Context, message: Stored, task: Task, turn: Turn) -> Turn:
    """The turn with its bookkeeping: the failed message, the title that does not come, the task that ends."""
    try:
        yield from turn
    except ModelFailure as failure:
        message.status = "error"
        message.error = failure_of(ctx.profile, failure, streamed=True, req_id="").message
        forget_title(ctx, message)
        raise
    finally:
        message.latency = ctx.now() - message.created_at
        ctx.workspace.end_task(task)


def forget_title(ctx: Context, message: Stored) -> None:
    """A conversation whose first turn failed keeps the query as its name."""
    conversation = ctx.person.conversations.get(message.conversation_id or "")
    if conversation is not None and len(conversation.messages) == 1:
        conversation.title_due = None


class Saying(NamedTuple):
    """What a turn needs to say its answer."""

    ctx: Context
    message: Stored
    task: Task
    choice: Choice
    prompt_tokens: int
    streamed: bool


def chat_turn(turn: Saying) -> Turn:
    """What a chat app says: moderation and annotations first, else the model."""
    ctx, message, task, choice = turn.ctx, turn.message, turn.task, turn.choice
    canned, annotation = canned_answer(ctx, message.query, message.inputs)
    if canned is not None:
        yield from _canned(ctx, message, canned, annotation)
        return
    generation = generation_of(ctx, choice, turn.prompt_tokens, task)
    if turn.streamed or generation.pace:
        message_id, selector = message.id, ctx.profile.message_selector
        for item in generation.stream():
            if isinstance(item, Wait):
                yield item
            else:
                yield Message(id=message_id, answer=item, from_variable_selector=selector)
            if task.stopped:
                break
    else:
        generation.at_once()
    usage = stopped_usage(ctx, generation.usage, turn.streamed) if task.stopped else generation.usage
    message.retriever_resources = [dict(r) for r in choice.retriever_resources]
    yield from _closed(turn, generation.text, usage)


def _closed(turn: Saying, text: str, usage: dict[str, Any]) -> Turn:
    """The end of an answer; output moderation may replace it first. Where nothing streams it is only kept."""
    ctx, message = turn.ctx, turn.message
    replacement = moderated(ctx, text)
    message.answer, message.usage = text if replacement is None else replacement, usage
    if turn.streamed:
        if replacement is not None:
            yield MessageReplace(answer=replacement, reason="")
        yield end_of_message(ctx, message, message.answer, usage)


def end_of_message(
    ctx: Context, message: Stored, text: str, usage: dict[str, Any], annotation: dict[str, Any] | None = None
) -> Event:
    """Keep the finished answer and say that it is complete."""
    message.answer, message.usage = text, usage
    said = metadata(ctx.profile, usage, streamed=True, annotation=annotation, resources=message.retriever_resources)
    files = ctx.profile.end_files
    return MessageEnd(id=message.id, metadata=said, files=None if files is None else list(files))


def stopped_usage(ctx: Context, usage: dict[str, Any], streamed: bool) -> dict[str, Any]:
    """A stopped answer was not counted: no tokens, prices of `0E-7`, no times but the latency."""
    none = usage | {
        "prompt_tokens": 0,
        "prompt_price": "0E-7",
        "completion_tokens": 0,
        "completion_price": "0E-7",
        "total_tokens": 0,
        "total_price": "0E-7",
        "time_to_first_token": None,
        "time_to_generate": None,
    }
    if streamed and ctx.profile.lean_stop_usage:
        del none["time_to_first_token"], none["time_to_generate"]
    return none


# ---------------------------------------------------------------------- answers that no model gives
def canned_answer(ctx: Context, query: str, inputs: Mapping[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
    """What input moderation or an annotation answers instead of the model: (text, annotation_reply)."""
    rule = ctx.installed.app.features.moderation
    blocked = _blocked(ctx, rule.input_response, " ".join([query, *map(_shown, inputs.values())])) if rule else None
    if blocked is not None:
        return blocked, None
    annotation = annotation_for(ctx, query)
    if annotation is None:
        return None, None
    return annotation.answer, {"id": annotation.id, "account": {"id": ctx.workspace.tenant_id, "name": "mockdify"}}


def annotation_for(ctx: Context, query: str) -> Any:
    """The annotation that answers *query*, when annotation replies are on.

    # unverified: Dify compares embeddings; here a question matches when it is the same but for case and blanks.
    """
    partition = ctx.partition
    if not partition.annotation_reply_on or not partition.annotations:
        return None
    asked = " ".join(query.lower().split())
    for annotation in partition.annotations.values():
        if " ".join(annotation.question.lower().split()) == asked:
            annotation.hit_count += 1
            return annotation
    return None


def _blocked(ctx: Context, response: str | None, text: str) -> str | None:
    """*response* when *text* holds a keyword that the app's moderation watches for."""
    rule = ctx.installed.app.features.moderation
    if rule is None or response is None or not any(word.lower() in text.lower() for word in rule.keywords):
        return None
    return response


def moderated(ctx: Context, text: str) -> str | None:
    """What replaces the answer when output moderation refuses it."""
    rule = ctx.installed.app.features.moderation
    return _blocked(ctx, rule.output_response, text) if rule else None


def _canned(ctx: Context, message: Stored, text: str, annotation: dict[str, Any] | None) -> Turn:
    """*text* one character at a time. An agent's, too, comes as `message` (unverified: recorded for chat only)."""
    for char in text:
        yield Message(id=message.id, answer=char, from_variable_selector=ctx.profile.message_selector)
    usage = zero_usage()
    if ctx.profile.lean_stop_usage:
        del usage["time_to_first_token"], usage["time_to_generate"]
    yield end_of_message(ctx, message, text, usage, annotation)
    message.usage = zero_usage()


# ---------------------------------------------------------------------- agents
def _agent_turn(turn: Saying) -> Turn:
    """An agent's rounds. The closing one has words only; the saved answer joins what was said in all of them."""
    ctx, message, choice = turn.ctx, turn.message, turn.choice
    canned, annotation = canned_answer(ctx, message.query, message.inputs)
    if canned is not None:
        yield from _canned(ctx, message, canned, annotation)
        return
    rounds = choice.rounds or (*default_rounds(ctx, message.query), Round(chunks=choice.chunks))
    said: list[str] = []
    spoken = 0
    usage = zero_usage()
    for position, one in enumerate(rounds, start=1):
        last = position == len(rounds)
        chunks = one.chunks or ((one.thought, "", "") if one.tool else choice.chunks)
        asked = choice if last else choice._replace(fails=None)
        generation = generation_of(ctx, asked, turn.prompt_tokens, turn.task, chunks)
        yield from _round(turn, one, position, generation)
        usage = generation.usage
        spoken += usage["completion_tokens"]
        said.append(generation.text)
        if turn.task.stopped:
            usage = stopped_usage(ctx, usage, turn.streamed)
            break
        if last and position > 1:
            times = {
                "latency": usage["latency"],
                "first": usage["time_to_first_token"],
                "rest": usage["time_to_generate"],
            }
            usage |= usage_of(choice.prices, usage["prompt_tokens"], spoken, **times)
    yield from _closed(turn, "\n".join(filter(None, said)), usage)


def _round(turn: Saying, one: Round, position: int, generation: Generation) -> Turn:
    """One round: a thought opens, its words stream, the tool is named, its observation comes."""
    ctx, message = turn.ctx, turn.message
    thought_id = ctx.person.ids.next()
    opened = False
    for item in generation.stream():
        if isinstance(item, Wait):
            yield item
        else:
            if not opened:
                opened = True
                yield AgentThought(id=thought_id, position=position)
            yield AgentMessage(id=message.id, answer=item)
        if turn.task.stopped:
            return
    if one.tool:
        shown = thought_of(ctx, one, thought_id, position, generation.text)
        yield AgentThought(**(shown | {"observation": ""}))
    else:
        shown = {"id": thought_id, "position": position, "thought": generation.text}
    yield AgentThought(**shown)
    message.thoughts.append(stored_thought(ctx, message, shown))


def _tools(ctx: Context) -> tuple[Tool, ...]:
    agent = ctx.installed.app.agent
    return agent.tools if agent else ()


def default_rounds(ctx: Context, query: str) -> tuple[Round, ...]:
    """Without a script an agent uses the first tool whose name the query mentions: `current_time` for "time"."""
    words = set(re.findall(r"\w+", query.lower()))
    for tool in _tools(ctx):
        if words & set(re.findall(r"[a-z]{3,}", tool.name.lower().replace("_", " "))):
            return (
                Round(
                    thought="I will look. ",
                    tool=tool.name,
                    tool_input={tool.name: {}},
                    observation=json.dumps({tool.name: f"a result of {tool.name}"}),
                ),
            )
    return ()


def thought_of(ctx: Context, one: Round, thought_id: str, position: int, text: str) -> dict[str, Any]:
    """The fields of a finished tool round."""
    tool = next((tool for tool in _tools(ctx) if tool.name == one.tool), None)
    label = tool.label or tool.name if tool else one.tool
    tool_input = one.tool_input if isinstance(one.tool_input, str) else json.dumps(one.tool_input or {one.tool: {}})
    return {
        "id": thought_id,
        "position": position,
        "thought": text or one.thought,
        "observation": one.observation,
        "tool": one.tool,
        # Dify translates its own tools' labels; only the DSL's one is known here.
        "tool_labels": {one.tool: {"zh_Hans": label, "en_US": label, "pt_BR": label, "ja_JP": label}},
        "tool_input": tool_input,
    }


def stored_thought(ctx: Context, message: Stored, shown: Mapping[str, Any]) -> dict[str, Any]:
    """A thought as GET /messages lists it."""
    return {
        "id": shown["id"],
        "chain_id": None,
        "message_id": message.id,
        "position": shown["position"],
        "thought": shown["thought"],
        "tool": shown.get("tool", ""),
        "tool_labels": shown.get("tool_labels", {}),
        "tool_input": shown.get("tool_input", ""),
        "created_at": int(ctx.now()),
        "observation": shown.get("observation", ""),
        "files": [],
        **({"answer": shown["thought"]} if ctx.profile.message_accounting else {}),  # unverified: its place
    }
