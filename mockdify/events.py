"""Dify's SSE events and their envelopes.

An `Event` knows its own data, in wire order. What a family of apps adds in front (ids, the message's creation second)
is the `Envelope`, so that chat, completion and workflow apps share their events. Key orders are those of the
recordings of 1.16.1; where a release differs, whoever makes the event asks the profile for the value.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

from mockdify.values import record

__all__ = [
    "PING",
    "AgentMessage",
    "AgentThought",
    "Custom",
    "Envelope",
    "ErrorEvent",
    "Event",
    "IterationCompleted",
    "IterationNext",
    "IterationStarted",
    "LoopCompleted",
    "LoopNext",
    "LoopStarted",
    "Message",
    "MessageEnd",
    "MessageFile",
    "MessageReplace",
    "NodeFinished",
    "NodeStarted",
    "Ping",
    "ReasoningChunk",
    "TextChunk",
    "TtsMessage",
    "TtsMessageEnd",
    "WorkflowFinished",
    "WorkflowStarted",
]

Family: TypeAlias = Literal["message", "run", "error"]
Json: TypeAlias = Any


@dataclass(slots=True)  # not frozen: whoever encodes events keeps here what all deltas of a stream have in common
class Envelope:
    """The keys that stand between `event` and an event's own data, for each family of events."""

    message: dict[str, Json] = field(default_factory=dict)
    run: dict[str, Json] = field(default_factory=dict)
    error: dict[str, Json] = field(default_factory=dict)
    common: tuple[str, Json, bytes, bytes] | None = field(default=None, init=False, repr=False, compare=False)
    """A message's id and selector, and the frame of its deltas before and behind the text."""

    @classmethod
    def chat(
        cls, *, conversation_id: str, message_id: str, created_at: int, task_id: str, run_id: str | None = None
    ) -> Envelope:
        """Chat, agent-chat and advanced-chat apps; *run_id* for the workflow events of the last."""
        error = {"conversation_id": conversation_id, "message_id": message_id, "created_at": created_at}
        message = {**error, "task_id": task_id}
        return cls(message=message, run={**message, "workflow_run_id": run_id}, error=error)

    @classmethod
    def completion(cls, *, message_id: str, created_at: int, task_id: str) -> Envelope:
        """Completion apps: as chat, without a conversation."""
        error = {"message_id": message_id, "created_at": created_at}
        return cls(message={**error, "task_id": task_id}, error=error)

    @classmethod
    def workflow(cls, *, run_id: str | None, task_id: str) -> Envelope:
        """Workflow apps: the run and the task, nothing of a message."""
        both = {"workflow_run_id": run_id, "task_id": task_id}
        return cls(message=both, run=both, error={"workflow_run_id": run_id})

    @classmethod
    def unstarted(cls, run_id: str) -> Envelope:
        """A run that failed before its graph started: the one id stands for task and run (`bad.*` recordings)."""
        return cls(run={"task_id": run_id, "workflow_run_id": run_id})


class Event:
    """One event. `payload` is the JSON object that goes behind `data: `."""

    __slots__ = ()
    name: ClassVar[str]
    family: ClassVar[Family] = "message"
    wrapped: ClassVar[bool] = False

    def own(self) -> dict[str, Json]:
        """This event's own keys, in wire order."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def payload(self, envelope: Envelope) -> dict[str, Json]:
        """The whole object: `event`, the envelope of its family, its own keys (under `data` where Dify wraps them)."""
        common = getattr(envelope, self.family)
        own = self.own()
        return {"event": self.name, **common, "data": own} if self.wrapped else {"event": self.name, **common, **own}


@record
class Ping(Event):
    """A keep-alive: an SSE block without data, exactly `event: ping` and a blank line."""

    name: ClassVar[str] = "ping"


PING = Ping()


@record
class Message(Event):
    """A delta of the answer."""

    name: ClassVar[str] = "message"
    id: str
    answer: str
    from_variable_selector: Json

    def payload(self, envelope: Envelope) -> dict[str, Json]:
        """As `Event.payload`, spelt out: most events of a stream are this one."""
        return {
            "event": "message",
            **envelope.message,
            "id": self.id,
            "answer": self.answer,
            "from_variable_selector": self.from_variable_selector,
        }


@record
class AgentMessage(Event):
    """A delta of an agent's answer."""

    name: ClassVar[str] = "agent_message"
    id: str
    answer: str


@record
class AgentThought(Event):
    """One round of an agent; the same id comes again as the round fills up."""

    name: ClassVar[str] = "agent_thought"
    id: str
    position: int
    thought: str = ""
    observation: str = ""
    tool: str = ""
    tool_labels: dict[str, Json] = field(default_factory=dict)
    tool_input: str = ""
    message_files: list[str] = field(default_factory=list)


@record
class MessageFile(Event):
    """A file that a tool made."""

    name: ClassVar[str] = "message_file"
    id: str
    type: str
    belongs_to: str
    url: str


@record
class MessageReplace(Event):
    """The answer so far is to be thrown away and replaced (output moderation, snapshots)."""

    name: ClassVar[str] = "message_replace"
    answer: str
    reason: str


@record
class MessageEnd(Event):
    """The answer is complete; usage and citations."""

    name: ClassVar[str] = "message_end"
    id: str
    metadata: dict[str, Json]
    files: list[Json] | None


@record
class TtsMessage(Event):
    """A piece of speech, base64."""

    name: ClassVar[str] = "tts_message"
    audio: str


@record
class TtsMessageEnd(Event):
    """The speech is complete; `audio` is empty."""

    name: ClassVar[str] = "tts_message_end"
    audio: str = ""


@record
class ErrorEvent(Event):
    """A failure after the status line was sent: the HTTP status is still 200."""

    name: ClassVar[str] = "error"
    family: ClassVar[Family] = "error"
    code: str
    status: int
    message: str


@record
class _RunEvent(Event):
    """An event of a graph run: its data is wrapped, and its envelope names the run."""

    family: ClassVar[Family] = "run"
    wrapped: ClassVar[bool] = True


@record
class WorkflowStarted(_RunEvent):
    """A run of the graph began."""

    name: ClassVar[str] = "workflow_started"
    id: str
    workflow_id: str
    inputs: dict[str, Json]
    created_at: int
    reason: str = "initial"


@record
class NodeStarted(_RunEvent):
    """A node began. `index` is always 1 and the predecessor always null in live events."""

    name: ClassVar[str] = "node_started"
    id: str
    node_id: str
    node_type: str
    title: str
    index: int = 1
    predecessor_node_id: str | None = None
    inputs: Json = None
    inputs_truncated: bool = False
    created_at: int
    extras: dict[str, Json] = field(default_factory=dict)
    iteration_id: str | None = None
    loop_id: str | None = None
    agent_strategy: Json = None


@record
class NodeFinished(_RunEvent):
    """A node ended: `status` is succeeded, failed or exception (handled by an error strategy)."""

    name: ClassVar[str] = "node_finished"
    id: str
    node_id: str
    node_type: str
    title: str
    index: int = 1
    predecessor_node_id: str | None = None
    inputs: Json
    inputs_truncated: bool = False
    process_data: Json
    process_data_truncated: bool = False
    outputs: Json
    outputs_truncated: bool = False
    status: str
    error: str | None = None
    elapsed_time: float
    execution_metadata: Json = None
    created_at: int
    finished_at: int
    files: list[Json] = field(default_factory=list)
    iteration_id: str | None = None
    loop_id: str | None = None


@record
class IterationStarted(_RunEvent):
    """An iteration node began; it has no node_started of its own."""

    name: ClassVar[str] = "iteration_started"
    id: str
    node_id: str
    node_type: str
    title: str
    created_at: int
    extras: dict[str, Json] = field(default_factory=dict)
    metadata: dict[str, Json]
    inputs: dict[str, Json]
    inputs_truncated: bool = False


@record
class IterationNext(_RunEvent):
    """The next item of an iteration."""

    name: ClassVar[str] = "iteration_next"
    id: str
    node_id: str
    node_type: str
    title: str
    index: int
    created_at: int
    extras: dict[str, Json] = field(default_factory=dict)


@record
class IterationCompleted(_RunEvent):
    """An iteration node ended."""

    name: ClassVar[str] = "iteration_completed"
    id: str
    node_id: str
    node_type: str
    title: str
    outputs: Json
    outputs_truncated: bool = False
    created_at: int
    extras: dict[str, Json] = field(default_factory=dict)
    inputs: dict[str, Json]
    inputs_truncated: bool = False
    status: str
    error: str | None = None
    elapsed_time: float
    total_tokens: int
    execution_metadata: Json
    finished_at: int
    steps: int


@record
class LoopStarted(IterationStarted):
    """A loop node began."""

    name: ClassVar[str] = "loop_started"


@record
class LoopNext(_RunEvent):
    """The next round of a loop."""

    name: ClassVar[str] = "loop_next"
    id: str
    node_id: str
    node_type: str
    title: str
    index: int
    created_at: int
    pre_loop_output: Json = field(default_factory=dict)
    extras: dict[str, Json] = field(default_factory=dict)


@record
class LoopCompleted(IterationCompleted):
    """A loop node ended."""

    name: ClassVar[str] = "loop_completed"


@record
class TextChunk(_RunEvent):
    """A delta of a workflow's streamed output."""

    name: ClassVar[str] = "text_chunk"
    text: str
    from_variable_selector: list[str]


@record
class ReasoningChunk(Event):
    """A delta of a model's reasoning, kept apart from its answer. Without the run's id in a chatflow."""

    name: ClassVar[str] = "reasoning_chunk"
    wrapped: ClassVar[bool] = True
    message_id: str | None
    reasoning: str
    node_id: str
    is_final: bool


@record
class WorkflowFinished(_RunEvent):
    """A run ended: succeeded, failed, stopped or partial-succeeded."""

    name: ClassVar[str] = "workflow_finished"
    id: str
    workflow_id: str
    status: str
    outputs: Json
    error: str | None
    elapsed_time: float
    total_tokens: int
    total_steps: int
    created_by: dict[str, Json]
    created_at: int
    finished_at: int
    exceptions_count: int
    files: list[Json] = field(default_factory=list)


@record
class Custom(Event):
    """An event that Dify does not have, or one already composed: for faults and projections."""

    name: ClassVar[str] = "custom"
    data: dict[str, Json]

    def payload(self, envelope: Envelope) -> dict[str, Json]:  # noqa: ARG002
        """The data as it stands; no envelope."""
        return self.data
