"""What workflow and advanced-chat apps share: a run of the graph, with its record and its node doubles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mockdify.endpoints.generating import ask_model, generation_of
from mockdify.errors import DifyError, bad_request, invalid_param, not_found
from mockdify.events import (
    PING,
    Envelope,
    ErrorEvent,
    Event,
    TextChunk,
    WorkflowFinished,
    WorkflowStarted,
)
from mockdify.graph import Chunk, Dialect, NodeScript, Outcome
from mockdify.graph import Run as GraphRun
from mockdify.graph import walk
from mockdify.ids import Ids
from mockdify.model import Generation, ModelFailure, count_tokens
from mockdify.pacing import with_pings
from mockdify.steps import Emit, Reply, Wait
from mockdify.store import Run

if TYPE_CHECKING:
    from mockdify.context import Context
    from mockdify.graph import Node
    from mockdify.profiles import Profile
    from mockdify.workspace import Task

__all__ = ["GraphTurn", "check_published", "check_workflow_id", "failed_before_start", "finished_event", "graph_dialect", "stream_of_run"]


def check_published(ctx: Context) -> None:
    """Raise Dify's 400 for an app whose workflow was never published."""
    if not ctx.installed.published:
        msg = "Workflow not published"
        raise invalid_param(msg)


def check_workflow_id(ctx: Context, workflow_id: str) -> None:
    """Raise what Dify says to a workflow id that is malformed, a draft's or unknown."""
    try:
        UUID(workflow_id)
    except ValueError:
        msg = f"Invalid workflow_id format: '{workflow_id}'. "
        raise bad_request(msg) from None
    if workflow_id.lower() != ctx.installed.workflow_id:
        msg = f"Workflow not found with id: {workflow_id}"
        raise not_found(msg)


def graph_dialect(profile: Profile) -> Dialect:
    """How the graph of this release differs, from the profile's table."""
    return Dialect(
        start_shows_system=not profile.lean_start_node,
        model_in_inputs=profile.model_in_llm_inputs,
        eager_answers=profile.eager_answers,
        flush_exceptions=profile.default_value_chunks_early,
        provider_label=profile.provider_label,
        reasoning_chunks=profile.reasoning,
        stop_error=profile.stop_error,
    )


def failed_before_start(ctx: Context, error: str, *, first: Sequence[Event] = (), task_id: str | None = None) -> Reply:
    """The stream of a run that never began: a ping, then what the release makes of it (`bad.*` recordings).

    1.13 falls silent for 300 s after the ping and ends without an event; 1.16 invents a start and a failed end.
    """
    yield ctx.stream_head("close")
    run_id = task_id or ctx.person.ids.next()
    yield Emit(PING, Envelope())
    now = ctx.now()
    if ctx.profile.bad_stream == "silence":
        ctx.exchange.warnings.append(
            f"{ctx.profile.version} says nothing for {ctx.workspace.template.silence:g} s to a bad streaming request: {error}"
        )
        for event in first:
            yield Emit(event, Envelope.workflow(run_id=None, task_id=run_id))
        yield Wait(now + ctx.workspace.template.silence)
        return
    envelope = Envelope.unstarted(run_id)
    for event in first:
        yield Emit(event, envelope)
    moment = int(now)
    yield Emit(WorkflowStarted(id=run_id, workflow_id=ctx.installed.workflow_id, inputs=ctx.payload["inputs"], created_at=moment), envelope)
    yield Emit(
        WorkflowFinished(
            id=run_id,
            workflow_id=ctx.installed.workflow_id,
            status="failed",
            outputs=None,
            error=error,
            elapsed_time=0.0,
            total_tokens=0,
            total_steps=0,
            created_by={},
            created_at=moment,
            finished_at=moment,
            exceptions_count=1,
        ),
        envelope,
    )


@dataclass
class _Doubles:
    """The script's side of a graph: what its models say and what its nodes do instead of their work."""

    ctx: Context
    task: Task
    turn: int

    def generate(
        self, node: Node, *, messages: Sequence[Mapping[str, Any]], query: str, inputs: Mapping[str, Any]
    ) -> Generation:
        choice = ask_model(self.ctx, query, inputs, self.turn, node=node.id)
        return generation_of(self.ctx, choice, count_tokens(*(str(m["text"]) for m in messages)), self.task)

    def script(self, node: Node) -> NodeScript | None:
        said = self.ctx.workspace.script.node(self.ctx.installed.name, node.id)
        if said is None:
            return None
        return NodeScript(outputs=said.outputs or {}, fails=said.fails, takes=said.takes or None)


@dataclass
class GraphTurn:
    """One run of an app's graph. Iterate `events`; the outcome and the run's record are there afterwards."""

    ctx: Context
    task: Task
    inputs: dict[str, Any]
    system: dict[str, Any]
    turn: int = 1
    history: Sequence[tuple[str, str]] = ()
    conversation: dict[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    to_event: Callable[[Chunk], Event] = lambda chunk: TextChunk(
        text=chunk.text, from_variable_selector=list(chunk.selector)
    )
    outcome: Outcome | None = None

    def __post_init__(self) -> None:
        ctx = self.ctx
        self.run = Run(
            id=ctx.person.ids.next(),
            workflow_id=ctx.installed.workflow_id,
            app=ctx.installed.name,
            user=ctx.user,
            end_user=ctx.person.end_user,
            inputs=self.inputs,
            created_at=ctx.now(),
        )
        ctx.partition.runs[self.run.id] = self.run
        self.system |= {
            "sys.app_id": ctx.installed.id,
            "sys.workflow_id": ctx.installed.workflow_id,
            "sys.workflow_run_id": self.run.id,
        }

    @property
    def shown(self) -> dict[str, Any]:
        """The `sys.*` variables that events and records show."""
        return {name: value for name, value in self.system.items() if name != "sys.conversation_id"}

    def events(self) -> Iterator[Event | Wait]:
        """workflow_started, the nodes and their chunks; the end is the caller's, after `outcome`."""
        ctx, run = self.ctx, self.run
        given = {name: value for name, value in self.inputs.items() if value is not None}
        yield WorkflowStarted(
            id=run.id,
            workflow_id=run.workflow_id,
            inputs={**given, **self.shown},
            created_at=int(run.created_at),
        )
        run.inputs = _with_timestamp({**self.inputs, **self.shown}, int(run.created_at))
        node_ids = Ids(run.id, "nodes")
        graph_run = GraphRun(
            mode="advanced-chat" if self.message_id else "workflow",
            inputs=self.inputs,
            system=self.system,
            conversation=self.conversation,
            now=ctx.now,
            new_id=node_ids.next,
            doubles=_Doubles(ctx, self.task, self.turn),
            stopped=lambda: self.task.stopped,
            wake=self.task.wake,
            history=self.history,
            message_id=self.message_id,
            dialect=graph_dialect(ctx.profile),
        )
        walking = walk(ctx.installed.graph, graph_run)
        try:
            while True:
                item = next(walking)
                yield self.to_event(item) if isinstance(item, Chunk) else item
        except StopIteration as done:
            self.outcome = done.value
        self._record()

    def _record(self) -> None:
        run, outcome = self.run, self.outcome
        assert outcome is not None
        now = self.ctx.now()
        run.status, run.outputs, run.error = outcome.status, dict(outcome.outputs or {}), outcome.error
        run.total_tokens, run.total_steps = outcome.total_tokens, outcome.total_steps
        run.exceptions_count = outcome.exceptions_count
        run.elapsed_time = round(now - run.created_at, 6)
        run.finished_at = None if outcome.status == "paused" else now

    def finished(self) -> WorkflowFinished:
        """The last event of the run."""
        return finished_event(self.run)


def finished_event(run: Run) -> WorkflowFinished:
    """`workflow_finished` of a run's record."""
    return WorkflowFinished(
        id=run.id,
        workflow_id=run.workflow_id,
        status=run.status,
        outputs=run.outputs,
        error=run.error,
        elapsed_time=run.elapsed_time,
        total_tokens=run.total_tokens,
        total_steps=run.total_steps,
        created_by={"id": run.end_user.id, "user": run.user},
        created_at=int(run.created_at),
        finished_at=int(run.finished_at or run.created_at),
        exceptions_count=run.exceptions_count,
        files=[],
    )


def _with_timestamp(inputs: dict[str, Any], at: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in inputs.items():
        if name == "sys.workflow_id":
            found["sys.timestamp"] = at
        found[name] = value
    return found


def stream_of_run(ctx: Context, envelope: Envelope, turn: Iterator[Event | Wait]) -> Reply:
    """A graph run as a stream: the ping comes first, and a client that leaves does not stop it."""
    return with_pings(_run_steps(ctx, envelope, turn), interval=ctx.workspace.template.ping_interval, now=ctx.now)


def _run_steps(ctx: Context, envelope: Envelope, turn: Iterator[Event | Wait]) -> Reply:
    yield ctx.stream_head("finish")
    yield Emit(PING, envelope)
    for item in turn:
        yield item if isinstance(item, Wait) else Emit(item, envelope)


def model_missing(ctx: Context) -> ModelFailure | None:
    """Why the graph's models may not be asked, when the workspace knows its models and this app's is none of them."""
    models = ctx.workspace.template.models
    if models is None:
        return None
    for node in ctx.installed.graph.nodes.values():
        if node.type == "llm":
            model = node.data.get("model") or {}
            if f"{model.get('provider')}/{model.get('name')}" not in models:
                return ModelFailure("not-initialized", "Model is not configured")
    return None


NOT_CONFIGURED = "Model is not configured"
UNENDED = "Workflow stream ended without a terminal event"


def refused_models(ctx: Context, *, streamed: bool) -> Reply | None:
    """What a run answers whose model is not configured (`nocreds.*`): an error in blocking mode, events in a stream."""
    if model_missing(ctx) is None:
        return None
    if not streamed or ctx.profile.bad_stream == "refused":
        raise invalid_param(NOT_CONFIGURED)
    error = ErrorEvent(code="invalid_param", status=400, message=NOT_CONFIGURED)
    return failed_before_start(ctx, UNENDED, first=[error])


def late(ctx: Context, error: DifyError, *, streamed: bool) -> Reply:
    """A mistake that Dify finds in its worker: HTTP in blocking mode, after the status line in a stream."""
    if not streamed or ctx.profile.bad_stream == "refused":
        raise error
    return failed_before_start(ctx, error.message)


