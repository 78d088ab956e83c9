"""What `mockdify verify` finds in recordings: nothing in ours, and each way in which a Dify could drift."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from cassette_kit import recorded

from mockdify.cassettes.files import load
from mockdify.cassettes.verify import GRADES, events_of, release_of, verify, verify_one
from mockdify.contracts import Contracts

FOLDER = Path(__file__).resolve().parents[2] / "cassettes"
FILES = sorted(FOLDER.glob("*/*.yaml"))
PLACED = {"workflow_started", "workflow_finished", "workflow_paused", "message_end", "error"}
"""Events that have their place; the others of parallel branches, thoughts and chunks come this way or that."""
CHANGES = {"field gone": "warn", "type changed": "error", "new field": "info"}


def name(path):
    return f"{path.parent.name}/{path.stem}"


def under_contract(path):
    """The interactions with something in their reply that a contract speaks of."""
    for one in load(path):
        contracts = Contracts.load(release_of(one))
        covered = contracts.covers("/" + one.uri.split("/", 3)[3].partition("?")[0])
        if covered and one.method != "HEAD" and one.body and one.status != 204:
            yield one, contracts


def worst(one, contracts):
    grades = [breach.violation.drift for breach in verify_one(one, contracts)]
    return max(grades, key=GRADES.index, default=None)


# ---------------------------------------------------------------------- no drift
@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_contracts_accept_what_a_real_dify_said(path):
    assert [str(drift) for drift in verify([path]).drifts] == []


def test_an_error_that_a_stream_ends_with_makes_its_request_the_clients_mistake():
    body = b'{"inputs": {}, "query": 3, "user": "u", "response_mode": "streaming"}'
    sse = (("Content-Type", "text/event-stream; charset=utf-8"),)
    said = b'data: {"event":"error","code":"invalid_param","status":400,"message":"no"}\n\n'
    contracts = Contracts.load("1.16")
    refused = verify_one(recorded(request_body=body, headers=sse, body=said), contracts)
    assert "request" not in {breach.where for breach in refused}
    taken = verify_one(recorded(request_body=body, body=b"{}"), contracts)
    assert "request" in {breach.where for breach in taken}


# ---------------------------------------------------------------------- drift
def edited(value, change):
    """*value* (a reply or an event) drifted in one way, once for each field that can: (field, value)."""
    if change == "new field":
        yield "brand_new", value | {"brand_new": 1}
        return
    for field in value:
        if field == "event":  # that is another event, and told as such
            continue
        if change == "field gone":
            yield field, {key: each for key, each in value.items() if key != field}
        elif value[field] is not None:
            yield field, value | {field: [[value[field]]]}


def drifted(one, change):
    """Copies of *one*, each with one difference: (what, copy)."""
    if one.is_stream:
        frames = one.body.split(b"\n\n")
        for at, frame in enumerate(frames):
            if frame.startswith(b"data: "):
                event = json.loads(frame[6:])
                for field, value in edited(event, change):
                    body = b"\n\n".join([*frames[:at], b"data: " + json.dumps(value).encode(), *frames[at + 1 :]])
                    yield f"{event['event']}.{field}", replace(one, body=body)
    elif one.media_type == "application/json" and isinstance(value := json.loads(one.body), dict):
        yield from ((field, replace(one, body=json.dumps(each).encode())) for field, each in edited(value, change))


def renamed(one):
    """Copies of a stream, an event of it by another name: (what, copy)."""
    for at, event in enumerate(events_of(one.body)):
        if event["event"] != "ping":
            old = json.dumps(event["event"]).encode()
            frames = one.body.split(b"\n\n")
            frames[at] = frames[at].replace(old, old[:-1] + b'_v2"', 1)
            yield event["event"], replace(one, body=b"\n\n".join(frames))


def swapped(one):
    """Copies of a stream, an event that has its place and a neighbour of it in the other order: (what, copy)."""
    frames = [each for each in one.body.split(b"\n\n") if each]
    names = [each["event"] for each in events_of(one.body)]
    for at, (first, second) in enumerate(itertools.pairwise(names)):
        if first != second and "ping" not in (first, second) and PLACED & {first, second}:
            changed = [*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]]
            yield f"{first} {second}", replace(one, body=b"".join(each + b"\n\n" for each in changed))


WAYS = {
    **{change: (lambda one, change=change: drifted(one, change), grade) for change, grade in CHANGES.items()},
    "event renamed": (lambda one: renamed(one) if one.is_stream else (), "error"),
    "order swapped": (lambda one: swapped(one) if one.is_stream else (), "error"),
}


def graded(path, way, pick):
    """How the drifted copies of the interactions of *path* are graded; (as said, all the others)."""
    make, grade = WAYS[way]
    right, wrong = 0, []
    for number, (one, contracts) in enumerate(under_contract(path)):
        for what, copy in pick(list(make(one)), number):
            got = worst(copy, contracts)
            if got == grade:
                right += 1
            else:
                wrong.append((one.about["case"], what, got))
    return right, wrong


def one_of(copies, number):
    return copies[number % len(copies) :][:1] if copies else []


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_drifting_is_graded_in_each_recording(way):
    """One drifted copy of each interaction, another field of another event each time."""
    results = [graded(path, way, one_of) for path in FILES]
    assert [each for _, wrong in results for each in wrong] == []
    assert sum(right for right, _ in results) > 100


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_field_and_event_that_drifts_is_graded(way):
    results = [graded(path, way, lambda copies, _: copies) for path in FILES]
    assert [each for _, wrong in results for each in wrong] == []
    assert sum(right for right, _ in results) > 190
