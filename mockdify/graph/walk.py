"""A run of a graph: nodes are started when their edges say so, played by their doubles, and told of in Dify's events.

Nothing here reads a clock or rolls dice: `Run` brings both. Nodes that are ready at the same time run side by side: all
are started, each goes on until it waits, and the one whose wait ends first goes on next.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from mockdify.events import NodeFinished, NodeStarted, ReasoningChunk
from mockdify.graph.nodes import kind_of
from mockdify.graph.nodes.base import Inner, NodeFailure, Paused, Result, Say, Think, Work
from mockdify.graph.plan import plan_of
from mockdify.graph.run import Chunk, Outcome
from mockdify.graph.streams import Streams
from mockdify.graph.usage import add_usage
from mockdify.graph.variables import MISSING, Pool, files_in
from mockdify.model import zero_usage
from mockdify.steps import Wait

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from mockdify.graph.nodes import Kind
    from mockdify.graph.nodes.base import Acting
    from mockdify.graph.plan import Plan, Scope
    from mockdify.graph.run import Run, RunStatus, Step
    from mockdify.graph.spec import Edge, Graph, Node

__all__ = ["MAX_STEPS", "walk"]

Json: TypeAlias = Any

MAX_STEPS = 500
"""How many nodes a run may start, those inside containers included: Dify's default."""


class _Aborted(Exception):
    """The run is ended from within."""


def walk(graph: Graph, run: Run) -> Generator[Step, None, Outcome]:
    """The events, chunks and waits of one run of *graph*; returns how it ended.

    `workflow_started` before and `workflow_finished` after it are the caller's, as are ids of messages and tasks.
    """
    tally = _Tally()
    steps = _Frame(graph, plan_of(graph), run, tally, _pool(graph, run)).walk()
    try:
        while True:
            step = next(steps)
            yield step
            if isinstance(step, Chunk):
                tally.said.append(step.text)
            if run.stopped():
                steps.close()
                return tally.outcome(run, "stopped", run.dialect.stop_error)
    except StopIteration as end:
        inner: Inner = end.value
    except _Aborted as aborted:
        return tally.outcome(run, "stopped", f"Aborted: {aborted}")
    if inner.error is not None:
        return tally.outcome(run, "failed", inner.error)
    if tally.paused:
        return tally.outcome(run, "paused", None)
    return tally.outcome(run, "partial-succeeded" if tally.exceptions else "succeeded", None)


def _pool(graph: Graph, run: Run) -> Pool:
    return Pool(
        system={name.removeprefix("sys."): value for name, value in run.system.items()},
        environment={**{name: variable.value for name, variable in graph.environment.items()}, **run.environment},
        conversation=run.conversation,
        defaults={name: variable.value for name, variable in graph.conversation.items()},
    )


@dataclass(slots=True)
class _Tally:
    """What a run adds up, over all its frames."""

    steps: int = 0
    starts: int = 0
    exceptions: int = 0
    usage: Mapping[str, Json] | None = None
    outputs: dict[str, Json] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    reasoning: dict[str, str] = field(default_factory=dict)
    resources: list[Json] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)

    def count_start(self) -> None:
        """One more node, or one more round, was started."""
        self.starts += 1

    def check(self) -> None:
        """Raise `_Aborted` when the run has started more nodes than a run may."""
        if self.starts > MAX_STEPS:
            # unverified: the words are the source's; no run this long was recorded
            raise _Aborted(f"Maximum execution steps exceeded: {self.starts} > {MAX_STEPS}")

    def keep(self, node: Node, result: Result) -> None:
        """Add what *node* came to."""
        if result.reasoning:
            self.reasoning[node.id] = result.reasoning
        self.resources.extend(result.resources)
        for name, value in result.outputs.items() if node.type in ("answer", "end") else ():
            earlier = self.outputs.get(name) if name == "answer" and node.type == "answer" else None
            self.outputs[name] = f"{earlier}{value}" if earlier else value

    def outcome(self, run: Run, status: RunStatus, error: str | None) -> Outcome:
        """The whole, as an `Outcome`."""
        return Outcome(
            status=status,
            outputs={} if status == "paused" else self.outputs,  # recorded so, whatever was answered before
            error=error,
            total_tokens=self.usage["total_tokens"] if self.usage else 0,
            total_steps=self.steps,
            exceptions_count=self.exceptions,
            usage=dict(self.usage) if self.usage else zero_usage(),
            answer="".join(self.said) if run.mode == "advanced-chat" else "",
            reasoning=self.reasoning,
            files=list(files_in(self.outputs)),
            retriever_resources=self.resources,
            paused_nodes=tuple(self.paused),
        )


@dataclass(slots=True, kw_only=True)
class _Task:
    """A node that runs. `until` is set while it waits."""

    node: Node
    kind: Kind
    id: str
    began: float
    steps: Acting
    until: float | None = None


class _Frame:
    """One walk over one scope: the top level once, the inside of a container once a round."""

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        run: Run,
        tally: _Tally,
        pool: Pool,
        *,
        container: str | None = None,
        marks: Mapping[str, Json] | None = None,
    ) -> None:
        self._graph, self._plan, self._run, self._tally, self._pool = graph, plan, run, tally, pool
        self._scope: Scope = plan.scopes[container or graph.start.id]
        self._marks = marks or {}
        self._is_root = container is None
        self._ready: deque[str] = deque()
        self._tasks: list[_Task] = []
        self._edges: dict[str, bool] = {}
        """Edges that are decided: taken or not."""
        self._skipped: set[str] = set()
        self._streams = Streams(self._scope, pool, self._skipped.__contains__, run.dialect.eager_answers)
        self._inner = Inner()

    def walk(self) -> Generator[Step, None, Inner]:
        """Run to the end of the scope, or to the failure that ends it."""
        yield from self._streams.begin()
        self._ready.append(self._scope.root)
        while self._ready or self._tasks:
            while self._ready:
                yield from self._start(self._scope.nodes[self._ready.popleft()])
            if self._tasks:
                yield from self._advance(self._next())
            if self._inner.error is not None:
                break
            if self._tally.paused:
                self._ready.clear()
        return self._inner

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _start(self, node: Node) -> Iterator[Step]:
        kind = kind_of(node)
        self._tally.count_start()
        if kind.silent:
            yield from self._leave(node, kind, "source")
            self._tally.check()
            return
        began, key = self._run.now(), self._run.new_id()
        self._tally.steps += self._is_root
        if kind.shape != "container":
            yield NodeStarted(
                id=key,
                node_id=node.id,
                node_type=node.type,
                title=node.title,
                created_at=int(began),
                iteration_id=self._marks.get("iteration_id"),
                loop_id=self._marks.get("loop_id"),
            )
        work = Work(
            node=node,
            graph=self._graph,
            pool=self._pool,
            run=self._run,
            script=self._run.doubles.script(node),
            enter=lambda pool, marks: self._enter(node, pool, marks),
        )
        self._tasks.append(_Task(node=node, kind=kind, id=key, began=began, steps=_play(work, kind)))

    def _enter(self, node: Node, pool: Pool, marks: Mapping[str, Json]) -> Generator[Step, None, Inner]:
        if node.id not in self._plan.scopes:
            self._tally.count_start()
            self._tally.check()
            return Inner()
        marks = {**marks, **{key: value for key, value in self._marks.items() if key not in marks}}
        frame = _Frame(self._graph, self._plan, self._run, self._tally, pool, container=node.id, marks=marks)
        return (yield from frame.walk())

    def _next(self) -> _Task:
        """The first task that need not wait, else the one whose wait ends first."""
        return next((task for task in self._tasks if task.until is None), None) or min(self._tasks, key=_until)

    def _advance(self, task: _Task) -> Iterator[Step]:
        """Let *task* go on until it waits again or is done."""
        if task.until is not None:
            yield Wait(task.until, self._run.wake)
            task.until = None
        try:
            while True:
                step = next(task.steps)
                if isinstance(step, Say):
                    yield from self._streams.said(step.selector, step.text, final=step.final)
                elif isinstance(step, Wait):
                    task.until = step.until
                    return
                elif isinstance(step, Think):
                    yield from self._thought(task.node, step)
                else:
                    yield step
        except StopIteration as end:
            self._tasks.remove(task)
            yield from self._succeeded(task, end.value)
        except NodeFailure as failure:
            self._tasks.remove(task)
            yield from self._failed(task, failure)
        except Paused:
            self._tasks.remove(task)
            self._tally.paused.append(task.node.id)

    def _thought(self, node: Node, step: Think) -> Iterator[Step]:
        if self._run.dialect.reasoning_chunks and self._streams.shows(node.id):
            yield ReasoningChunk(
                message_id=self._run.message_id, reasoning=step.text, node_id=node.id, is_final=step.final
            )

    def _succeeded(self, task: _Task, result: Result) -> Iterator[Step]:
        node, kind = task.node, task.kind
        self._pool.add(node.id, result.outputs)
        self._spend(result.usage)
        self._inner.breaks = self._inner.breaks or result.breaks
        yield from self._streams.flush()
        yield from self._leave(node, kind, result.handle)
        self._tally.keep(node, result)
        if kind.shape != "container":
            yield self._finished(
                task,
                status="succeeded",
                inputs=result.inputs,
                process_data=result.process_data,
                outputs=result.outputs,
                metadata=result.metadata,
            )
        self._tally.check()

    def _failed(self, task: _Task, failure: NodeFailure) -> Iterator[Step]:
        node, strategy = task.node, task.node.error_strategy
        if self._is_root or strategy:
            self._tally.exceptions += 1
        if strategy is None:
            self._inner.error = failure.error
            if task.kind.shape != "container":
                yield self._finished(
                    task,
                    status="failed",
                    inputs=failure.inputs,
                    process_data=failure.process_data,
                    outputs={},
                    metadata={},
                    error=failure.error,
                )
            return
        outputs = {**_defaults(node), "error_message": failure.error, "error_type": failure.type}
        self._pool.add(node.id, outputs)
        if self._run.dialect.flush_exceptions:
            yield from self._streams.flush()
        yield from self._leave(node, task.kind, "fail-branch" if strategy == "fail-branch" else "source")
        if task.kind.shape != "container":
            yield self._finished(
                task,
                status="exception",
                inputs=failure.inputs,
                process_data=failure.process_data,
                outputs=outputs,
                metadata={"error_strategy": strategy},
                error="Unknown error",  # recorded so for default values; unverified: fail-branch
            )
        self._tally.check()

    def _spend(self, usage: Mapping[str, Json] | None) -> None:
        self._inner.usage = add_usage(self._inner.usage, usage)
        if self._is_root:
            self._tally.usage = self._inner.usage

    def _finished(
        self,
        task: _Task,
        *,
        status: str,
        inputs: Mapping[str, Json],
        process_data: Mapping[str, Json],
        outputs: Mapping[str, Json],
        metadata: Mapping[str, Json],
        error: str | None = None,
    ) -> NodeFinished:
        now = self._run.now()
        return NodeFinished(
            id=task.id,
            node_id=task.node.id,
            node_type=task.node.type,
            title=task.node.title,
            inputs=inputs,
            process_data=process_data,
            outputs=outputs,
            status=status,
            error=error,
            elapsed_time=round(now - task.began, 6),
            execution_metadata={**metadata, **self._marks} or None,
            created_at=int(task.began),
            finished_at=int(now),
            files=list(files_in(outputs)),
            iteration_id=self._marks.get("iteration_id"),
            loop_id=self._marks.get("loop_id"),
        )

    # -- edges -------------------------------------------------------------------------------------------------------

    def _leave(self, node: Node, kind: Kind, handle: str) -> Iterator[Chunk]:
        """Take the edges of *node* that hang on *handle*, all of them unless the node branches."""
        edges = self._scope.leaving.get(node.id, ())
        if kind.shape == "branch" or node.error_strategy == "fail-branch":
            handles = {handle, "success-branch"} if handle == "source" else {handle}
            for edge in edges:
                if edge.handle not in handles:
                    self._skip(edge)
            edges = tuple(edge for edge in edges if edge.handle in handles)
        for edge in edges:
            self._edges[edge.id] = True
            yield from self._streams.took(edge.id)
            self._look_at(edge.target)

    def _skip(self, edge: Edge) -> None:
        """Nothing comes along *edge*; a node to which nothing can come is skipped, and what hangs on it."""
        todo = [edge]
        while todo:
            edge = todo.pop()
            self._edges[edge.id] = False
            if self._look_at(edge.target):
                self._skipped.add(edge.target)
                todo.extend(self._scope.leaving.get(edge.target, ()))

    def _look_at(self, node_id: str) -> bool:
        """Ready the node once all its edges are decided; returns whether it is to be skipped instead."""
        decided = [self._edges.get(edge.id) for edge in self._scope.entering.get(node_id, ())]
        if None in decided:
            return False
        if any(decided):
            self._ready.append(node_id)
            return False
        return True


def _until(task: _Task) -> float:
    return task.until or 0.0


def _play(work: Work, kind: Kind) -> Acting:
    """The node's double, between the delay and under the outputs that the user's script asks for."""
    script = work.script
    if script is not None and script.takes:
        yield Wait(work.run.now() + script.takes, work.run.wake)
    if script is not None and script.fails is not None:
        raise NodeFailure(script.fails, kind.failure, work.stated_inputs())
    acted = kind.act(work)
    result = acted if isinstance(acted, Result) else (yield from acted)
    if script is not None and script.outputs:
        scripted = work.scripted(result.inputs)
        result.outputs |= {name: _as(result.outputs.get(name), value) for name, value in scripted.items()}
        if kind.picks in scripted:
            result.handle = str(scripted[kind.picks])
    return result


def _as(usual: Json, value: Json) -> Json:
    """A scripted text as the type that the output usually has: templates make texts, nodes make numbers and lists."""
    if not isinstance(value, str) or isinstance(usual, (str, type(None))):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _defaults(node: Node) -> dict[str, Json]:
    """The default values a node has for the case that it fails."""
    if node.error_strategy != "default-value":
        return {}
    values = [item for item in node.data.get("default_value") or () if isinstance(item, Mapping)]
    return {
        str(item.get("key")): _as("" if item.get("type") in ("string", "secret") else MISSING, item.get("value"))
        for item in values
    }
