"""Walks without a server: a clock that only waits move, counted ids, and doubles that say what they are told."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockdify.graph import Chunk, Run, parse_graph, walk
from mockdify.model import Generation
from mockdify.steps import Wait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mockdify.graph import Graph, NodeScript, Outcome
    from mockdify.model import ModelFailure

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
HELLO = ("Hello", " from", " mock-llm", "!", " 你好", " 👋", "")


class Clock:
    def __init__(self) -> None:
        self.time = 1_795_000_000.0

    def now(self) -> float:
        return self.time


@dataclass
class Doubles:
    """A scripted world: `chunks` is what every model says, `by_node` what one of them does."""

    clock: Clock = field(default_factory=Clock)
    chunks: Sequence[str] = HELLO
    by_node: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fails: ModelFailure | None = None
    after: int = 0
    prompt_tokens: int = 4
    pace: float = 0.0
    scripts: Mapping[str, NodeScript] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)

    def generate(self, node, *, messages, query, inputs):
        self.calls.append({"node": node.id, "messages": list(messages), "query": query, "inputs": inputs})
        return Generation(
            chunks=self.by_node.get(node.id, self.chunks),
            prompt_tokens=self.prompt_tokens,
            now=self.clock.now,
            pace=self.pace,
            fails=self.fails,
            after=self.after,
        )

    def script(self, node):
        return self.scripts.get(node.id)


@dataclass
class Walked:
    steps: list[Any]
    outcome: Outcome
    doubles: Doubles
    run: Run

    @property
    def names(self) -> list[str]:
        """What happened, tersely: `node_started llm`, `chunk llm.text`, …"""
        return [tell(step) for step in self.steps if not isinstance(step, Wait)]

    @property
    def text(self) -> str:
        return "".join(step.text for step in self.steps if isinstance(step, Chunk))

    def finished(self, node_id: str) -> Any:
        return [s for s in self.steps if getattr(s, "name", "") == "node_finished" and s.node_id == node_id][-1]


def tell(step: Any) -> str:
    if isinstance(step, Chunk):
        return f"chunk {'.'.join(step.selector)}"
    return f"{step.name} {step.node_id}"


def go(
    graph: Graph, *, mode: str = "workflow", doubles: Doubles | None = None, stop_at: int | None = None, **given: Any
):
    """Walk *graph* to its end; waits move the clock. *stop_at*: the user stops after so many events and chunks."""
    doubles = doubles or Doubles()
    ids = itertools.count(1)
    steps: list[Any] = []
    run = Run(
        mode=mode,
        doubles=doubles,
        now=doubles.clock.now,
        new_id=lambda: f"id-{next(ids)}",
        stopped=lambda: stop_at is not None and sum(not isinstance(step, Wait) for step in steps) >= stop_at,
        **given,
    )
    walking = walk(graph, run)
    while True:
        try:
            step = next(walking)
        except StopIteration as end:
            return Walked(steps, end.value, doubles, run)
        steps.append(step)
        if isinstance(step, Wait):
            doubles.clock.time = max(doubles.clock.time, step.until)


def node(key: str, kind: str, parent: str | None = None, **data: Any) -> dict[str, Any]:
    raw = {"id": key, "data": {"type": kind, "title": key.title(), **data}, "type": "custom"}
    return raw if parent is None else {**raw, "parentId": parent}


def edge(source: str, target: str, handle: str = "source") -> dict[str, Any]:
    return {"id": f"{source}-{handle}-{target}", "source": source, "target": target, "sourceHandle": handle}


def chain(*keys: str) -> list[dict[str, Any]]:
    return [edge(a, b) for a, b in itertools.pairwise(keys)]


def graph_of(nodes: list[Any], edges: list[Any], **section: Any) -> Graph:
    return parse_graph({"graph": {"nodes": nodes, "edges": edges}, **section}, source="test.yml")


def llm(key: str, prompt: str = "{{#sys.query#}}", **data: Any) -> dict[str, Any]:
    model = {"provider": "langgenius/mock/mock", "name": "mock-llm", "mode": "chat"}
    return node(key, "llm", model=model, prompt_template=[{"role": "user", "text": prompt}], **data)


CHAT = {"sys.query": "hi", "sys.files": [], "sys.user_id": "alice", "sys.dialogue_count": 1}
