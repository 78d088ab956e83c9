"""The stage: the mock and the player in a thread of their own, and what a scene may do with them."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Self, TypeVar

from mockdify.assemble import template_of
from mockdify.checks.judge import is_generation
from mockdify.checks.model import Call, Case, Outcome, Place, Run
from mockdify.checks.transcript import WireReply
from mockdify.config import Config, Settings
from mockdify.harness.adapters import Adapter, AdapterError
from mockdify.harness.player import Booking, Player
from mockdify.harness.tape import TapingEngine
from mockdify.journal import Exchange
from mockdify.profiles import profile_named
from mockdify.script import Rule as Answer
from mockdify.server import Edge
from mockdify.workspace import Workspace

__all__ = ["Scene", "Theatre"]

T = TypeVar("T")


def _given(reply: WireReply) -> WireReply:
    return reply


_MOMENT, _LONG_MOMENT = 0.001, 0.02
_SLOW = 0.03
"""Seconds a call takes at least to a client that is slow to take up what has come: it joins what it finds waiting."""
_NOBODY = "app-nobody-listens"
_KEY = "app-{app}-check-{number:06x}"


class Theatre:
    """The servers, in one thread. A context manager; one is enough for a whole run of checks."""

    def __init__(self, *, seed: int = 0, profile: str = "1.16") -> None:
        self.profile = profile
        self.template = template_of(Config(), Settings(seed=seed, profile=profile))
        self.engine = TapingEngine(self.template, time=time.time)
        self.edge = Edge(self.engine)
        serving = profile_named(profile)
        self.player = Player(serving if serving.is_projected else None)
        self._numbers = itertools.count(1)
        self.quickest: dict[str, float] = {}
        """Seconds of the quickest call of each adapter."""
        self._loop = asyncio.new_event_loop()
        self.pool = ThreadPoolExecutor(8, "adapter calls")
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="mockdify stage")

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self.edge.start("127.0.0.1", 0))
        self.do(self.player.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self.player.stop())
        self.do(self.edge.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)
        self.pool.shutdown(wait=False)
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* in the servers' thread and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def quickly(self, call: Callable[[], T]) -> T:
        """Have *call* done in the servers' thread and wait for it."""

        async def work() -> T:
            return call()

        return self.do(work())

    def soon(self, call: Callable[[], object]) -> None:
        """Have *call* done in the servers' thread, whenever it comes to it."""
        self._loop.call_soon_threadsafe(call)

    def number(self) -> int:
        """A number that was not used before."""
        return next(self._numbers)


class Scene:
    """One playing of one case: what `checks.model.Stage` promises."""

    def __init__(self, theatre: Theatre, adapter: Adapter, case: Case, *, patience: float = 60.0) -> None:
        self.patience = patience
        self.parallel = "parallel" in adapter.capabilities()
        self._theatre, self._adapter = theatre, adapter
        self.run = Run(case=case)
        self._workspace: Workspace | None = None
        self._booked: list[tuple[str, Booking]] = []
        self._sockets: list[socket.socket] = []

    # ------------------------------------------------------------------ the server
    def live(self, app: str = "chat") -> Place:
        """The app called *app* of this scene's own workspace."""
        workspace = self._world()
        installed = workspace.apps[app]
        return Place(base_url=self._theatre.edge.url, api_key=installed.keys[0].token, app=app, mode=installed.mode)

    def _world(self) -> Workspace:
        if self._workspace is None:
            theatre, number = self._theatre, self._theatre.number()
            self._workspace = theatre.quickly(
                lambda: theatre.engine.create(f"check-{number}", theatre.template, key_suffix=f"-{number:06x}")
            )
        return self._workspace

    def play(self, *replies: WireReply, mode: str = "chat", others: Sequence[tuple[str, str, WireReply]] = ()) -> Place:
        """A place that plays *replies*, and *others* (method, path, reply) to what does not generate."""
        key = _KEY.format(app=mode, number=self._theatre.number())
        booking = Booking(replies, others)
        self._theatre.player.book(key, booking)  # one assignment: no need to change threads
        self._booked.append((key, booking))
        return Place(base_url=self._theatre.player.url, api_key=key, app=mode, mode=mode)

    def nowhere(self) -> Place:
        """A port that was free a moment ago."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        return Place(base_url=f"http://127.0.0.1:{port}/v1", api_key=_NOBODY, app="chat", mode="chat")

    def full(self) -> Place:
        """A port whose queue of connections is full: the next one hears nothing."""
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        self._sockets.append(listening)
        self.run.notes["full"] = True
        for _ in range(2):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
            self._sockets.append(one)
        port = listening.getsockname()[1]
        return Place(base_url=f"http://127.0.0.1:{port}/v1", api_key=_NOBODY, app="chat", mode="chat")

    def inject(self, fault: str, **options: Any) -> None:
        """Let *fault* strike this scene's workspace."""
        workspace = self._world()
        self._theatre.quickly(lambda: workspace.faults.inject(fault, **options))

    def say(self, app: str, **rule: Any) -> None:
        """Script an answer."""
        workspace = self._world()
        self._theatre.quickly(lambda: workspace.script.add(Answer(**rule), app=app))

    # ------------------------------------------------------------------ the client
    @property
    def moment(self) -> float:
        """Seconds between two pieces that this client sees as two."""
        return _MOMENT if self._theatre.quickest.get(self._adapter.name, 0.0) < _SLOW else _LONG_MOMENT

    def _timed(self, outcome: Outcome) -> None:
        if outcome.ok:
            known = self._theatre.quickest
            known[self._adapter.name] = min(outcome.seconds, known.get(self._adapter.name, outcome.seconds))

    def call(self, call: str, place: Place, /, *, timeout: float = 10.0, **args: Any) -> Outcome:
        """One call."""
        return self._called(Call(name=call, place=place, args=args, timeout=timeout))

    def abandon(self, call: str, place: Place, /, *, timeout: float = 10.0, **args: Any) -> Outcome:
        """One call that is given up at its first delta."""
        return self._called(Call(name=call, place=place, args=args, timeout=timeout), abandon=True)

    def watch(self, call: str, place: Place, /, **args: Any) -> Outcome:
        """One call without a limit, watched for as long as there is patience."""
        return self._called(Call(name=call, place=place, args=args, timeout=100 * self.patience), watched=self.patience)

    def _called(self, call: Call, *, abandon: bool = False, watched: float | None = None) -> Outcome:
        before = len(self.exchanges())
        for _ in range(2):
            outcome = self._adapter.call(call, abandon=abandon, watched=watched)
            outcome.exchanges = self.exchanges()[before:]
            if outcome.ok or outcome.hung or outcome.exchanges or call.place.api_key == _NOBODY:
                break  # else it had kept a connection from an earlier scene that is gone: that is not what is asked
        if outcome.hung and not outcome.exchanges and call.place.api_key != _NOBODY:
            raise AdapterError(
                f"adapter {self._adapter.name} neither answered {call.name!r} within {call.timeout:g} s "
                "nor sent a request"
            )
        self._timed(outcome)
        outcome.abandon, outcome.watched = abandon, watched
        self.run.outcomes.append(outcome)
        return outcome

    def together(self, calls: Sequence[Call]) -> list[Outcome]:
        """All *calls* at once, or one by one where the client cannot; an exchange belongs to its key or user."""
        if not self.parallel:
            return [self._called(call) for call in calls]
        before = {id(exchange) for exchange in self.exchanges()}
        outcomes = list(self._theatre.pool.map(self._adapter.call, calls))
        new = [exchange for exchange in self.exchanges() if id(exchange) not in before]
        booked = {key: booking.exchanges for key, booking in self._booked}
        for outcome in outcomes:
            call = outcome.call
            mine = booked.get(call.place.api_key)
            user = call.args.get("user")
            outcome.exchanges = [x for x in new if (x in mine if mine is not None else x.user == user)]
        for outcome in outcomes:
            self._timed(outcome)
        self.run.together.append((len(self.run.outcomes), len(self.run.outcomes) + len(outcomes)))
        self.run.outcomes += outcomes
        return outcomes

    def wait_until(self, holds: Callable[[], bool], seconds: float = 2.0) -> bool:
        """Whether *holds* becomes true in time."""
        until = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > until:
                return False
            time.sleep(0.002)
        return True

    # ------------------------------------------------------------------ afterwards
    def exchanges(self) -> list[Exchange]:
        """Everything that reached this scene's servers, in the order of the places."""
        found = [exchange for _, booking in self._booked for exchange in booking.exchanges]
        return [*found, *(self._workspace.journal if self._workspace is not None else ())]

    def end(self) -> Run:
        """Take the set down: break off what is open, keep what happened."""
        self.wait_until(lambda: all(x.ended != "open" or not is_generation(x) for x in self.exchanges()), 0.05)
        self.run.exchanges = self.exchanges()
        for exchange in self.run.exchanges:
            tape = self._theatre.engine.tapes.pop(id(exchange), None)
            if tape is not None:
                self.run.sent[id(exchange)] = tape.reply
        for _, booking in self._booked:
            self.run.sent |= {one: partial(_given, reply) for one, reply in booking.sent.items()}
        for key, _ in self._booked:
            self._theatre.soon(lambda key=key: self._theatre.player.drop(key))  # type: ignore[misc]
        if self._workspace is not None:
            workspace = self._workspace
            self._theatre.soon(lambda: self._theatre.engine.forget(workspace))
        for one in self._sockets:
            one.close()
        self._adapter.settle()
        return self.run
