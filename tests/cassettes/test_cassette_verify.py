"""What `mockdify verify` finds in recordings: nothing in ours, and each way in which a Dify could drift."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cassette_kit import recorded

from mockdify.cassettes.files import load, save
from mockdify.cassettes.verify import GRADES, events_of, release_of, verify, verify_one
from mockdify.contracts import Contracts
from mockdify.errors import MockdifyError

FOLDER = Path(__file__).resolve().parents[2] / "cassettes"
FILES = sorted(FOLDER.glob("*/*.yaml"))
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
                    changed = [*frames[:at], b"data: " + json.dumps(value).encode(), *frames[at + 1 :]]
                    yield f"{event['event']}.{field}", replace(one, body=b"\n\n".join(changed), about={**one.about, "chunks": []})
    elif one.media_type == "application/json":
        value = json.loads(one.body)
        if isinstance(value, dict):
            yield from ((field, replace(one, body=json.dumps(each).encode())) for field, each in edited(value, change))


def test_drift():
    tally = Counter(); left = Counter(); n=0
    for path in FILES:
        for one, contracts in under_contract(path):
            for change, grade in CHANGES.items():
                seen = False
                for what, copy in drifted(one, change):
                    got = worst(copy, contracts)
                    n+=1
                    tally[change, got] += 1
                    if got != grade: left[change, got, what, one.method+" "+one.uri.split('/',3)[3].partition('?')[0][:30] if not one.is_stream else '']+=1
    for k,v in sorted(left.items(), key=str): print(v,k)
    print(n, tally)
