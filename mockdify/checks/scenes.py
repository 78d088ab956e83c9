"""Streams and replies for scenes: Dify's events with fixed ids, as frames of bytes or as whole replies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from mockdify.checks.model import Case, Outcome, Place, Stage
from mockdify.checks.transcript import Pause, WireReply, stream, whole
from mockdify.events import (
    AgentMessage,
    AgentThought,
    Envelope,
    ErrorEvent,
    Event,
    Message,
    MessageEnd,
    MessageReplace,
    TextChunk,
    WorkflowFinished,
    WorkflowStarted,
)
from mockdify.sse import PING_FRAME, encode

__all__ = [
    "ANSWER",
    "CONVERSATION",
    "MESSAGE",
    "MODES",
    "PING_FRAME",
    "TASK",
    "USAGE",
    "agent",
    "args_for",
    "ask",
    "blocking",
    "closing",
    "deltas",
    "end",
    "failed",
    "finished",
    "replaced",
    "rounds",
    "started",
    "streamed",
    "thought",
]

CONVERSATION = "4a7c2b1e-0f3d-4c59-8e21-6b9d0f1a2c3d"
MESSAGE = "b0e1d2c3-a4f5-4687-9901-23456789abcd"
TASK = "7f6e5d4c-3b2a-4190-8f7e-6d5c4b3a2910"
_RUN = "1d2e3f40-5162-4738-94a5-b6c7d8e9f001"
_WHEN = 1_767_225_600
ANSWER = ("Hello", " from", " the", " mock", "! ", "你好", " 👋", ".")
"""The deltas of a plain answer: texts of one to four bytes a character."""
MODES = (
    "chat.blocking",
    "chat.streaming",
    "completion.blocking",
    "completion.streaming",
    "workflow.blocking",
    "workflow.streaming",
)

USAGE: dict[str, Any] = {
    "prompt_tokens": 8,
    "prompt_unit_price": "0.001",
    "prompt_price_unit": "0.001",
    "prompt_price": "0.0000080",
    "completion_tokens": 9,
    "completion_unit_price": "0.002",
    "completion_price_unit": "0.001",
    "completion_price": "0.0000180",
    "total_tokens": 17,
    "total_price": "0.0000260",
    "currency": "USD",
    "latency": 0.25,
    "time_to_first_token": 0.05,
    "time_to_generate": 0.2,
}

_CHAT = Envelope.chat(conversation_id=CONVERSATION, message_id=MESSAGE, created_at=_WHEN, task_id=TASK, run_id=_RUN)
_COMPLETION = Envelope.completion(message_id=MESSAGE, created_at=_WHEN, task_id=TASK)
_WORKFLOW = Envelope.workflow(run_id=_RUN, task_id=TASK)
_ENVELOPES = {"completion": _COMPLETION, "workflow": _WORKFLOW}


def frame(event: Event, mode: str = "chat") -> bytes:
    """One event as bytes."""
    return encode(event, _ENVELOPES.get(mode, _CHAT))


def deltas(texts: Iterable[str], mode: str = "chat") -> list[bytes]:
    """The answer in deltas: `message` events, or `text_chunk` in a workflow."""
    if mode == "workflow":
        return [frame(TextChunk(text=text, from_variable_selector=["llm", "text"]), mode) for text in texts]
    return [frame(Message(id=MESSAGE, answer=text, from_variable_selector=None), mode) for text in texts]


def agent(texts: Iterable[str]) -> list[bytes]:
    """The deltas of an agent."""
    return [frame(AgentMessage(id=MESSAGE, answer=text)) for text in texts]


def thought(position: int, *, said: str = "", tool: str = "", observation: str = "") -> bytes:
    """One round of an agent, as far as it has come."""
    return frame(
        AgentThought(
            id=f"00000000-0000-4000-8000-{position:012d}",
            position=position,
            thought=said,
            tool=tool,
            tool_labels={tool: {"en_US": tool}} if tool else {},
            tool_input=json.dumps({tool: {}}) if tool else "",
            observation=observation,
        )
    )


def rounds() -> list[bytes]:
    """An agent that uses a tool between two texts."""
    return [
        thought(1),
        *agent(["I will ", "look. "]),
        thought(1, said="I will look. ", tool="current_time"),
        thought(1, said="I will look. ", tool="current_time", observation='{"current_time": "12:00"}'),
        thought(2),
        *agent(["It is ", "noon."]),
        thought(2, said="It is noon."),
        end(),
    ]


def closing(text: str) -> bytes:
    """The `message` with which New Agent repeats its whole answer."""
    return frame(Message(id=MESSAGE, answer=text, from_variable_selector=[]))


def replaced(text: str, mode: str = "chat") -> bytes:
    """Everything so far is to be replaced by *text*."""
    return frame(MessageReplace(answer=text, reason="output_moderation"), mode)


def end(mode: str = "chat") -> bytes:
    """The end event."""
    if mode == "workflow":
        return finished({"text": "".join(ANSWER)}, mode)
    return frame(MessageEnd(id=MESSAGE, metadata={"retriever_resources": [], "usage": USAGE}, files=[]), mode)


def started(mode: str = "workflow") -> bytes:
    """The graph began."""
    return frame(WorkflowStarted(id=_RUN, workflow_id=TASK, inputs={}, created_at=_WHEN), mode)


def finished(outputs: Any, mode: str = "workflow", *, status: str = "succeeded", error: str | None = None) -> bytes:
    """The graph ended."""
    return frame(
        WorkflowFinished(
            id=_RUN,
            workflow_id=TASK,
            status=status,
            outputs=outputs,
            error=error,
            elapsed_time=0.25,
            total_tokens=17,
            total_steps=3,
            created_by={"id": TASK, "user": "alice"},
            created_at=_WHEN,
            finished_at=_WHEN,
            exceptions_count=0,
        ),
        mode,
    )


def failed(mode: str = "chat", *, code: str = "completion_request_error", status: int = 400) -> bytes:
    """An error event."""
    message = "[openai] Error: the model is overloaded"
    return frame(ErrorEvent(code=code, status=status, message=message), mode)


def streamed(
    mode: str = "chat", texts: Sequence[str] = ANSWER, *, before: Sequence[bytes | Pause] = ()
) -> list[bytes | Pause]:
    """All frames of a plain answer."""
    if mode == "workflow":
        return [*before, started(), *deltas(texts, mode), finished({"text": "".join(texts)})]
    return [*before, *deltas(texts, mode), end(mode)]


def blocking(mode: str = "chat", text: str = "".join(ANSWER), **more: Any) -> WireReply:
    """A blocking reply."""
    if mode == "workflow":
        data = {
            "id": _RUN,
            "workflow_id": TASK,
            "status": "succeeded",
            "outputs": {"text": text},
            "error": None,
            "elapsed_time": 0.25,
            "total_tokens": 17,
            "total_steps": 3,
            "created_at": _WHEN,
            "finished_at": _WHEN,
        }
        return whole({"task_id": TASK, "workflow_run_id": _RUN, "data": {**data, **more}})
    body = {
        "event": "message",
        "task_id": TASK,
        "id": MESSAGE,
        "message_id": MESSAGE,
        **({"conversation_id": CONVERSATION} if mode == "chat" else {}),
        "mode": mode,
        "answer": text,
        "metadata": {"annotation_reply": None, "retriever_resources": [], "usage": USAGE},
        "created_at": _WHEN,
    }
    return whole({**body, **more})


# ---------------------------------------------------------------------- asking
_INPUTS = {"chat": {}, "completion": {"query": "Hello"}, "workflow": {"name": "Ada", "query": "Hello", "text": "Hello"}}


def args_for(mode: str, *, query: str = "Hello", user: str = "alice", conversation_id: str = "") -> dict[str, Any]:
    """The arguments of a call in the column *mode*."""
    call, _, how = mode.partition(".")
    inputs = dict(_INPUTS[call])
    args: dict[str, Any] = {"user": user, "inputs": inputs, "stream": how == "streaming"}
    if call == "chat":
        return {**args, "query": query, "conversation_id": conversation_id}
    if query != "Hello":
        inputs["query"] = query
    return args


def ask(stage: Stage, place: Place, mode: str, *, timeout: float = 10.0, **more: Any) -> Outcome:
    """Ask the app at *place* as the column *mode* does."""
    return stage.call(mode.partition(".")[0], place, timeout=timeout, **args_for(mode, **more))


def reply_in(mode: str, texts: Sequence[str] = ANSWER) -> WireReply:
    """A plain answer in the column *mode*."""
    call, _, how = mode.partition(".")
    return stream(streamed(call, texts)) if how == "streaming" else blocking(call, "".join(texts))


def played(mode: str, *replies: WireReply, name: str = "", timeout: float = 10.0, **more: Any) -> Case:
    """A case in which *replies* are played to one call."""
    call = mode.partition(".")[0]

    def play(stage: Stage) -> None:
        ask(stage, stage.play(*replies, mode=call), mode, timeout=timeout)

    in_dify = any(reply.status == 200 for reply in replies)  # an error is the same in every profile
    return Case(mode=mode, play=play, name=name, in_dify=in_dify, **more)


def honest(mode: str, *, name: str = "", **more: Any) -> Case:
    """One plain call to the live mock."""

    def play(stage: Stage) -> None:
        ask(stage, stage.live(mode.partition(".")[0]), mode, **more)

    return Case(mode=mode, play=play, name=name)


def struck(
    mode: str,
    fault: str,
    *,
    name: str = "",
    query: str = "Hello",
    timeout: float = 10.0,
    times: int = 0,
    **options: Any,
) -> Case:
    """A case in which a fault of the catalogue strikes one call to the live mock."""
    app = mode.partition(".")[0]

    def play(stage: Stage) -> None:
        stage.inject(fault, times=times, **options)
        ask(stage, stage.live(app), mode, timeout=timeout, query=query)

    return Case(mode=mode, play=play, name=name or f"fault {fault}", fault=fault)
