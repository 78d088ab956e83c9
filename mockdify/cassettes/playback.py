"""A workspace that plays recordings: in the place of the endpoints' answers come recorded ones. No socket, no clock.

Everything around the answer stays: faults, journal, masking, clock. Bodies go out byte for byte; under a fault a stream
goes out as events, since faults count events and may end a stream with one of their own.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from mockdify import wire
from mockdify.cassettes.replay import Miss, Player, steps
from mockdify.errors import MockdifyError
from mockdify.events import PING, Envelope, Event, MessageEnd, WorkflowFinished
from mockdify.steps import Body, Emit, Head

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from mockdify.cassettes.interaction import Interaction
    from mockdify.cassettes.replay import Pace, Play, Repeat
    from mockdify.durations import Pace as Speed
    from mockdify.http import Request
    from mockdify.journal import Exchange
    from mockdify.settings import Settings
    from mockdify.steps import Reply
    from mockdify.workspace import Template

__all__ = ["Playback", "playback_of", "playing", "speed_of"]

NOT_RECORDED = "mockdify_not_recorded"
STATUS = 404
"""Of a miss. Not 5xx: clients would ask again and again, and hide what is missing."""


class Playback:
    """What a workspace plays, and how far it is.

    Args:
        player: Finds the recorded reply; this workspace's own.
        pace: How fast.
    """

    def __init__(self, player: Player, *, pace: Pace = "instant") -> None:
        self.player = player
        self.pace: Pace = pace
        self.misses: list[Miss] = []

    def fresh(self) -> Playback:
        """The same for another workspace, from the start."""
        return Playback(self.player.fresh(), pace=self.pace)

    @property
    def name(self) -> str:
        """The files."""
        return self.player.name

    @property
    def left(self) -> tuple[int, int]:
        """How many interactions nobody has asked for, and how many there are."""
        return len(self.player.unplayed), len(self.player.interactions)

    @property
    def unplayed(self) -> Sequence[Interaction]:
        """What nobody asked for so far."""
        return [self.player.interactions[index] for index in self.player.unplayed]

    def reply(self, request: Request, exchange: Exchange, *, in_events: bool = False) -> Reply:
        """The recorded reply to *request*, or an error that says what comes nearest. It is looked for when iterated.

        Args:
            in_events: whether a stream is played event by event, as faults want it, instead of as it was cut.
        """
        found = self.player.find(_whole(request))
        if isinstance(found, Miss):
            self.misses.append(found)
            exchange.warnings.append(f"not recorded: {found}")
            yield from _missed(found)
            return
        app = found.interaction.about.get("app")
        if isinstance(app, str):
            exchange.app = app
        start = exchange.started
        if in_events and found.interaction.is_stream:
            yield from _as_events(found, self.pace, start)
            return
        yield from _lengthless(steps(found, pace=self.pace, start=start), found)


def _whole(request: Request) -> Request:
    """*request* with all of its body in memory: a large upload comes as a file."""
    if request.file is None:
        return request
    request.file.seek(0)
    return replace(request, body=request.file.read(), file=None)


def _lengthless(reply: Reply, play: Play) -> Reply:
    """*reply*; one that was cut goes out in chunks, since a promised length could not be kept."""
    for step in reply:
        if play.interaction.cut and isinstance(step, Head):
            yield Head(step.status, step.headers)
        else:
            yield step


# ---------------------------------------------------------------------- as events
def _recorded(base: type[Event]) -> type[Event]:
    """A kind of event that says what was recorded, and is a *base* for whoever looks for that."""

    def keep(self: Any, said: Mapping[str, Any]) -> None:
        object.__setattr__(self, "said", said)

    made = {"__slots__": ("said",), "__init__": keep, "payload": lambda self, _: self.said, "name": base.__name__}
    return type(f"Recorded{base.__name__}", (base,), made)


_PLAIN = _recorded(Event)
_ENDS = {"message_end": _recorded(MessageEnd), "workflow_finished": _recorded(WorkflowFinished)}
_RUN = ("conversation_id", "message_id", "created_at", "task_id", "workflow_run_id")
_ERROR = ("conversation_id", "message_id", "created_at")


def _as_events(play: Play, pace: Pace, start: float) -> Reply:
    """The steps of a stream with its events structured, as far as they are events."""
    for step in steps(play, pace=pace, start=start, recut=True):
        yield _event(step.data) or step if isinstance(step, Body) else step


def _event(data: bytes) -> Emit | None:
    if data == b"event: ping\n\n":
        return Emit(PING, Envelope())
    if not (data.startswith(b"data: {") and data.endswith(b"}\n\n")):
        return None
    try:
        said = orjson.loads(data[6:-2])
    except ValueError:
        return None
    kind: Any = _ENDS.get(said.get("event"), _PLAIN)
    common = {name: said[name] for name in _RUN if name in said}
    error = {name: said[name] for name in _ERROR if name in said}
    return Emit(kind(said), Envelope(message=common, run=common, error=error))


# ---------------------------------------------------------------------- a miss
def _missed(miss: Miss) -> Reply:
    near = [{"interaction": each.place, "differences": [str(one) for one in each.differences]} for each in miss.near]
    said = {
        "code": NOT_RECORDED,
        "message": str(miss),
        "status": STATUS,
        "reason": miss.reason,
        "closest": near,
        "routes": list(miss.routes),
    }
    data = json.dumps(said, ensure_ascii=False).encode()
    yield Head(STATUS, (("Content-Type", wire.JSON), ("X-Mockdify", "not-recorded")), len(data))
    yield Body(data)


# ---------------------------------------------------------------------- from settings
def speed_of(pace: Speed) -> Pace:
    """A server's pace as a recording's: instant, or a multiple of the recorded speed."""
    if pace.speed is not None:
        return "recorded" if pace.speed == 1 else pace.speed
    if pace.seconds:
        raise MockdifyError(
            f"a pace of {pace.seconds:g} s a chunk: a cassette plays at 'recorded', 'instant' or a factor such as '2x'"
        )
    return "instant"


def playback_of(
    paths: Iterable[Path], pace: Speed, *, repeat: Repeat = "again", extra: Iterable[str | re.Pattern[str]] = ()
) -> Callable[[], Playback]:
    """What makes the playback of each workspace. The files are read now, so that mistakes are told at once.

    Args:
        paths: Cassettes, one after the other.
        pace: The server's.
        repeat: `again` starts a used-up sequence anew, so that the next client finds what the last one did.
        extra: What was scrubbed besides the usual secrets.
    """
    playback = Playback(Player.load(*paths, extra=extra, repeat=repeat), pace=speed_of(pace))
    return playback.fresh


def playing(template: Template, settings: Settings) -> Template:
    """*template*, whose workspaces play the recordings that *settings* name."""
    return replace(template, make_playback=playback_of(settings.cassette, settings.pace, repeat=settings.repeat))
