"""What workflow and advanced-chat apps share: a run of the graph, with its record and its node doubles."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mockdify.endpoints.generating import ask_model, generation_of, may_not_be_asked
from mockdify.errors import DifyError, bad_request, invalid_param, not_found
from mockdify.events import (
    PING,
    Envelope,
    ErrorEvent,
    NodeFinished,
    NodeStarted,
    TextChunk,
    WorkflowFinished,
    WorkflowStarted,
)
from mockdify.graph import Chunk, Dialect, NodeScript, walk
from mockdify.graph import Run as GraphRun
from mockdify.graph.nodes.llm import failure_text
from mockdify.ids import Ids
from mockdify.model import count_tokens
from mockdify.pacing import with_pings
from mockdify.steps import Emit, Wait
from mockdify.store import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mockdify.context import Context
    from mockdify.events import (
        Event,
    )
    from mockdify.graph import Node, Outcome
    from mockdify.model import Generation
    from mockdify.profiles import Profile
    from mockdify.steps import Reply
    from mockdify.workspace import Task

__all__ = [
    "GraphTurn",
    "check_published",
    "check_workflow_id",
    "finished_event",
    "graph_dialect",
    "late",
    "refused",
    "stream_of_run",
]


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


def failed_before_start(ctx: Context, error: str, *, first: Sequence[Emit] = ()) -> Reply:
    """The stream of a run that never began: a ping, then what the release makes of it (`bad.*` recordings).

    1.13 falls silent for 300 s after the ping and ends without another event; 1.16 invents a start and a failed end.
    """
    yield ctx.stream_head("close")
    run_id = ctx.person.ids.next()
    yield Emit(PING, Envelope())
    yield from first
    now = ctx.now()
    if ctx.profile.bad_stream == "silence":
        silence = ctx.workspace.template.silence
        ctx.exchange.warnings.append(
            f"a stream of Dify {ctx.profile.version} says nothing for {silence:g} s (setting `silence`) where 1.16 "
            f"tells: {error}"
        )
        yield Wait(now + silence)
        return
    envelope = Envelope.unstarted(run_id)
    moment = int(now)
    yield Emit(
        WorkflowStarted(
            id=run_id, workflow_id=ctx.installed.workflow_id, inputs=ctx.payload["inputs"], created_at=moment
        ),
        envelope,
    )
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


def refused(ctx: Context, error: DifyError, envelope: Envelope, *, streamed: bool) -> Reply:
    """What a run answers whose model may not be asked (`nocreds.*`): 400, or an `error` event in a stream."""
    if not streamed or ctx.profile.bad_stream == "refused":
        raise error
    told = ErrorEvent(code=error.code, status=error.status, message=error.message)
    return failed_before_start(ctx, _UNENDED, first=[Emit(told, envelope)])


def late(ctx: Context, error: DifyError, *, streamed: bool) -> Reply:
    """A mistake that Dify finds in its worker: HTTP in blocking mode, after the status line in a stream."""
    if not streamed or ctx.profile.bad_stream == "refused":
        raise error
    return failed_before_start(ctx, error.message)


@dataclass
class _Doubles:
    """The script's side of a graph: what its models say and what its nodes do instead of their work."""

    ctx: Context
    task: Task
    turn: int
    begun: bool = False
    """Whether something of the run was sent: from then on a model that may not be asked fails its node."""

    def generate(
        self, node: Node, *, messages: Sequence[Mapping[str, Any]], query: str, inputs: Mapping[str, Any]
    ) -> Generation:
        choice = ask_model(self.ctx, query, inputs, self.turn, node=node.id)
        if choice.fails is not None and may_not_be_asked(choice) and not self.begun:
            raise invalid_param(failure_text(choice.fails, "", Dialect()))
        return generation_of(self.ctx, choice, count_tokens(*(str(m["text"]) for m in messages)), self.task)

    def script(self, node: Node) -> NodeScript | None:
        said = self.ctx.workspace.script.node(self.ctx.installed.name, node.id)
        if said is None:
            return None
        return NodeScript(outputs=said.outputs or {}, fails=said.fails, takes=said.takes or None)


@dataclass
class GraphTurn:
    """One run of an app's graph: `begin` it, iterate `events`; then the outcome and the run's record are there."""

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
    _held: list[Event | Wait] = field(default_factory=list)
    _walking: Iterator[Event | Wait] = field(default_factory=lambda: iter(()))
    _cut_short: bool = False

    def __post_init__(self) -> None:
        ctx = self.ctx
        self._doubles = _Doubles(ctx, self.task, self.turn)
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
        known = self.system | {
            "sys.app_id": ctx.installed.id,
            "sys.workflow_id": ctx.installed.workflow_id,
            "sys.workflow_run_id": self.run.id,
        }
        self.system = {name: known[name] for name in ctx.profile.system_variables if name in known}

    def _shown(self, *hidden: str) -> dict[str, Any]:
        """The inputs with the `sys.*` variables, as events and records show them."""
        return {**self.inputs, **{name: value for name, value in self.system.items() if name not in hidden}}

    def begin(self) -> None:
        """Walk to the first text, wait or failure, sending nothing yet.

        Dify makes all nodes before it runs the first: a model that may not be asked ends the run before any event.

        Raises:
            DifyError: it may not; the run never was.
        """
        events = self._events()
        try:
            _check_models(self.ctx)
            for event in events:
                self._held.append(event)
                if not isinstance(event, WorkflowStarted | NodeStarted | NodeFinished):
                    break
        except DifyError:
            del self.ctx.partition.runs[self.run.id]
            self.ctx.workspace.end_task(self.task)
            raise
        self._doubles.begun = True
        self._walking = events

    def events(self) -> Iterator[Event | Wait]:
        """workflow_started, the nodes and their chunks; the end is the caller's, after `outcome`."""
        yield from self._held
        yield from self._walking

    def _events(self) -> Iterator[Event | Wait]:
        ctx, run = self.ctx, self.run
        shown = self._shown("sys.conversation_id", "sys.timestamp")
        yield WorkflowStarted(
            id=run.id,
            workflow_id=run.workflow_id,
            inputs={name: value for name, value in shown.items() if value is not None},
            created_at=int(run.created_at),
        )
        run.inputs = self._shown("sys.conversation_id")
        walking = walk(ctx.installed.graph, self._graph_run())
        try:
            while True:
                item = next(walking)
                yield self.to_event(item) if isinstance(item, Chunk) else item
                # Another user's stop reached 1.13's engine alone, which looks at its orders when a node starts.
                self._cut_short = self.task.stopped_late and isinstance(item, NodeStarted)
        except StopIteration as done:
            self.outcome = done.value
        if self._cut_short:
            assert self.outcome is not None
            self.outcome = replace(self.outcome, status="failed", error="Aborted: User requested stop")
        self._record()

    def _graph_run(self) -> GraphRun:
        ctx = self.ctx
        return GraphRun(
            mode="advanced-chat" if self.message_id else "workflow",
            inputs=self.inputs,
            system=self.system,
            conversation=self.conversation,
            now=ctx.now,
            new_id=Ids(self.run.id, "nodes").next,
            doubles=self._doubles,
            stopped=lambda: self.task.stopped or self._cut_short,
            wake=self.task.wake,
            history=self.history,
            message_id=self.message_id,
            dialect=graph_dialect(ctx.profile),
        )

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


def stream_of_run(ctx: Context, envelope: Envelope, turn: Iterator[Event | Wait]) -> Reply:
    """A graph run as a stream: the ping comes first, and a client that leaves does not stop it."""
    return with_pings(_run_steps(ctx, envelope, turn), interval=ctx.workspace.template.ping_interval, now=ctx.now)


def _run_steps(ctx: Context, envelope: Envelope, turn: Iterator[Event | Wait]) -> Reply:
    yield ctx.stream_head("finish")
    yield Emit(PING, envelope)
    for item in turn:
        yield item if isinstance(item, Wait) else Emit(item, envelope)


_UNENDED = "Workflow stream ended without a terminal event"
_NOT_CONFIGURED = "Model is not configured"


def _check_models(ctx: Context) -> None:
    """Raise Dify's 400 when the workspace knows its models and an LLM node's is none of them."""
    models = ctx.workspace.template.models
    if models is None:
        return
    for node in ctx.installed.graph.nodes.values():
        if node.type == "llm":
            model = node.data.get("model") or {}
            if f"{model.get('provider')}/{model.get('name')}" not in models:
                raise invalid_param(_NOT_CONFIGURED)
