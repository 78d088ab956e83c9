"""Which text goes out when: the answers of one scope, streamed in Dify's order.

One answer speaks at a time; another one waits until it is complete. An answer may speak once no branch can prevent it
any more. It says its template from left to right and stops at a variable that is not known yet; what a model says in
the meantime is kept. So chunks come early, but never out of order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mockdify.graph.run import Chunk
from mockdify.graph.variables import MISSING, markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockdify.graph.plan import Reply, Scope
    from mockdify.graph.variables import Pool, Selector

__all__ = ["Streams"]


@dataclass(slots=True)
class _Speech:
    """An answer being said: how much of its template is out."""

    reply: Reply
    at: int = 0


@dataclass(slots=True)
class _Flow:
    """What a model said so far under one selector, and how much of it is out."""

    said: list[str] = field(default_factory=list)
    closed: bool = False


@dataclass(slots=True)
class Streams:
    """The texts of one scope. Each call gives the chunks that may go out now."""

    scope: Scope
    pool: Pool
    is_skipped: Callable[[str], bool]
    eager: bool = True
    """Whether answers that nothing can prevent begin at once, or with the first edge."""
    _pending: list[Reply] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _speaking: _Speech | None = None
    _waiting: deque[Reply] = field(default_factory=deque)
    _flows: dict[Selector, _Flow] = field(default_factory=dict)
    _wanted: frozenset[Selector] = frozenset()

    def __post_init__(self) -> None:
        self._pending = list(self.scope.replies)
        self._wanted = frozenset(
            piece for reply in self.scope.replies for piece in reply.template if not isinstance(piece, str)
        )

    def begin(self) -> list[Chunk]:
        """The scope begins."""
        return self._admit() if self.eager else []

    def took(self, edge_id: str) -> list[Chunk]:
        """An edge was taken: some answers may be certain now."""
        if not self._pending:
            return []
        first = not self._taken and not self.eager
        self._taken.add(edge_id)
        is_news = first or any(edge_id in reply.blocking for reply in self._pending)
        return self._admit() if is_news else []

    def said(self, selector: Selector, text: str, *, final: bool = False) -> list[Chunk]:
        """A node streams *text* under *selector*; nothing comes of it unless an answer wants it."""
        if selector not in self._wanted:
            return []
        flow = self._flows.get(selector)
        if flow is None:
            flow = self._flows[selector] = _Flow()
        flow.said.append(text)
        flow.closed = flow.closed or final
        return self.flush()

    def shows(self, node_id: str) -> bool:
        """Whether an answer that is certain by now shows what model node *node_id* says: then its reasoning shows."""
        wanted = ((node_id, "text"), (node_id, "reasoning_content"))
        replies = [*self._waiting] + ([self._speaking.reply] if self._speaking else [])
        return any(piece[:2] in wanted for reply in replies for piece in reply.template if not isinstance(piece, str))

    def flush(self) -> list[Chunk]:
        """Values may have come to be known: go on with the answer that speaks, then with those that wait."""
        chunks: list[Chunk] = []
        while self._speaking is not None and self._is_over(self._speaking, chunks):
            self._speaking = _Speech(self._waiting.popleft()) if self._waiting else None
        return chunks

    def _admit(self) -> list[Chunk]:
        chunks: list[Chunk] = []
        for reply in [reply for reply in self._pending if self.scope.decided(reply, self._taken)]:
            self._pending.remove(reply)
            if self._speaking is None:
                self._speaking = _Speech(reply)
                chunks += self.flush()
            else:
                self._waiting.append(reply)
        return chunks

    def _is_over(self, speech: _Speech, chunks: list[Chunk]) -> bool:
        """Say what can be said of *speech*, into *chunks*; returns whether that was the rest of it."""
        template = speech.reply.template
        while speech.at < len(template):
            piece = template[speech.at]
            if isinstance(piece, str):
                # Dify names the answer this way for end nodes too.
                chunks.append(Chunk(text=piece, selector=(speech.reply.node_id, "answer")))
            elif not self.is_skipped(piece[0]) and not self._is_said(piece, chunks):
                return False
            speech.at += 1
        return True

    def _is_said(self, selector: Selector, chunks: list[Chunk]) -> bool:
        """Say what is new under *selector*; returns whether that was all of it."""
        flow = self._flows.get(selector)
        if flow is not None:
            chunks += [Chunk(text=text, selector=selector) for text in flow.said]
            flow.said.clear()
            return flow.closed
        value = self.pool.get(selector)
        if value is MISSING:
            return False
        chunks.append(Chunk(text=markdown(value), selector=selector))
        return True
