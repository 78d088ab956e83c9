"""Ids come from (seed, workspace, app, user, how many that user made), never from one global counter."""

import re

from hypothesis import given
from hypothesis import strategies as st
from support import World

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def ids_in(value):
    """All ids under a value, in order."""
    if isinstance(value, dict):
        return [found for inner in value.values() for found in ids_in(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in ids_in(inner)]
    return [value] if isinstance(value, str) and UUID4.fullmatch(value) else []


def deeds(here, user):
    """What a user does, and every id it is answered with."""
    return [
        *ids_in(here.chat(user=user).json),
        *ids_in(here.chat(user=user, app="chatflow", stream=True).events),
        *ids_in(here.complete(user=user).json),
        *ids_in(here.run(user=user, stream=True).events),
        *ids_in(here.upload(user=user).json),
    ]


def test_the_same_world_makes_the_same_ids():
    assert deeds(World(), "alice") == deeds(World(), "alice")


def test_seed_user_and_workspace_each_make_other_ids():
    here = World()
    other = here.engine.create("other", here.workspace.template, key_suffix="-o")
    body = {"inputs": {}, "query": "hi", "user": "alice", "response_mode": "blocking"}
    made = [
        ids_in(World().chat().json),
        ids_in(World(seed=1).chat().json),
        ids_in(World().chat(user="bob").json),
        ids_in(here.post("/chat-messages", body, key=other.keys["chat"]).json),
        ids_in(World().chat(app="chatflow").json),
    ]
    assert len({found for one in made for found in one}) == sum(len(set(one)) for one in made)


def test_no_id_is_made_twice():
    here = World()
    made = [set(deeds(here, user)) for user in ("alice", "bob", "alice")]
    shared = {one.id for one in here.workspace.apps.values()} | {
        one.workflow_id for one in here.workspace.apps.values()
    }
    shared |= {here.workspace.tenant_id, *here.workspace.store.end_users}
    assert not (made[0] & made[1]) - shared
    assert not (made[0] & made[2]) - shared


@given(st.permutations(["alice"] * 3 + ["bob"] * 3 + ["eve"] * 2))
def test_the_order_of_other_users_changes_nothing(order):
    here, made = World(), {}
    for user in order:
        made.setdefault(user, []).append(ids_in(here.chat(user=user).json))
    for user, found in made.items():
        alone = World()
        assert found == [ids_in(alone.chat(user=user).json) for _ in found]
