"""Workspaces share nothing: no exchange, fault, answer or id of one is ever seen in another."""

from __future__ import annotations

import asyncio
import json
import re
import time

import aiohttp
import pytest
from engines import chat, control, engine
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from mockdify.server import Edge

CANARY = re.compile(r"canary-\d+-")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class Worlds(RuleBasedStateMachine):
    """Whatever is done in one workspace, each shows its own canary and what a model of it alone predicts."""

    made = Bundle("made")

    @initialize()
    def begin(self):
        self.server = engine()
        self.model = {}
        self.number = 0

    @rule(target=made, seed=st.integers(0, 2))
    def create(self, seed):
        self.number += 1
        got = control(self.server, "POST", "/workspaces", {"seed": seed}).json
        canary = f"canary-{self.number}-"
        self.model[got["id"]] = {"keys": got["keys"], "canary": canary, "said": 0, "faults": 0, "conversations": 0}
        self.script(got["id"])
        return got["id"]

    def script(self, name):
        control(self.server, "POST", f"/workspaces/{name}/apps/chat/answers", {"answer": self.model[name]["canary"]})

    @rule(name=made, streaming=st.booleans())
    def ask(self, name, streaming):
        world = self.model.get(name)
        if world is None:
            return
        got = chat(self.server, "hi", key=world["keys"]["chat"], streaming=streaming)
        world["said"] += 1
        if world["faults"]:
            world["faults"] -= 1
            assert got.status == 429
            return
        assert got.status == 200
        world["conversations"] += 1
        assert set(CANARY.findall(got.body.decode())) == {world["canary"]}

    @rule(name=made)
    def inject(self, name):
        if name in self.model:
            control(self.server, "POST", f"/workspaces/{name}/faults", {"fault": "rate-limit"})
            self.model[name]["faults"] += 1

    @rule(name=made)
    def reset(self, name):
        if name in self.model:
            control(self.server, "POST", f"/workspaces/{name}/reset")
            self.model[name].update(said=0, faults=0, conversations=0)
            self.script(name)

    @rule(name=made)
    def delete(self, name):
        world = self.model.pop(name, None)
        if world is not None:
            control(self.server, "DELETE", f"/workspaces/{name}")
            assert chat(self.server, key=world["keys"]["chat"]).status == 401

    @invariant()
    def each_world_is_its_own(self):
        for name, world in getattr(self, "model", {}).items():
            page = control(self.server, "GET", f"/workspaces/{name}/journal")
            assert len(page.json["items"]) == world["said"]
            assert set(CANARY.findall(page.body.decode())) <= {world["canary"]}
            partition = self.server.workspaces[name].store.users.get(("chat", "alice"))
            assert len(partition.conversations if partition else ()) == world["conversations"]


Worlds.TestCase.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)
TestWorlds = Worlds.TestCase

WORLDS = 200


async def client(session, base, number):
    """One client in a world of its own; everything that it ever sees."""
    seen = []
    admin = f"{base}/_mockdify"

    async def ask(method, url, body=None, key=None):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with session.request(method, url, json=body, headers=headers) as reply:
            text = await reply.text()
            return reply.status, text

    _, made = await ask("POST", f"{admin}/workspaces", {"seed": 0})
    world = json.loads(made)
    key, own = world["keys"]["chat"], f"{admin}/workspaces/{world['id']}"
    canary = f"canary-{number}-"
    await ask("POST", f"{own}/apps/chat/answers", {"answer": f"{canary} {{{{ query }}}}"})
    if number % 2:
        await ask("POST", f"{own}/faults", {"fault": "rate-limit", "times": 1})
    statuses = []
    for streaming in ("streaming", "blocking"):
        body = {"inputs": {}, "query": f"{canary}q", "user": "everybody", "response_mode": streaming}
        status, text = await ask("POST", f"{world['url']}/chat-messages", body, key)
        statuses.append(status)
        seen.append(text)
    for url in (f"{world['url']}/conversations?user=everybody",):
        _, text = await ask("GET", url, key=key)
        seen.append(text)
        listed = json.loads(text)["data"]
    _, journal = await ask("GET", f"{own}/journal")
    seen.append(journal)
    return {
        "canary": canary,
        "statuses": statuses,
        "text": "\n".join(seen),
        "exchanges": len(json.loads(journal)["items"]),
        "conversations": len(listed),
    }


def test_two_hundred_workspaces_in_parallel_never_see_each_other():
    """All over real sockets, all at once, all with one seed and one end user's name."""

    async def run():
        edge = Edge(engine(time=time.time))
        await edge.start("127.0.0.1", 0)
        base = edge.url.removesuffix("/v1")
        try:
            connector = aiohttp.TCPConnector(limit=WORLDS)
            async with aiohttp.ClientSession(connector=connector) as session:
                return await asyncio.gather(*(client(session, base, number) for number in range(WORLDS)))
        finally:
            await edge.stop()

    begun = time.monotonic()
    found = asyncio.run(run())
    assert time.monotonic() - begun < 60
    everybodys_ids = []
    for number, one in enumerate(found):
        assert set(CANARY.findall(one["text"])) == {one["canary"]}
        assert one["statuses"] == ([429, 200] if number % 2 else [200, 200])
        assert (one["exchanges"], one["conversations"]) == (3, 1 if number % 2 else 2)
        everybodys_ids.append(set(UUID.findall(one["text"])))
    assert sum(map(len, everybodys_ids)) == len(set().union(*everybodys_ids))


@pytest.mark.parametrize("seed", [0, 1])
def test_ids_of_workspaces_with_one_seed_differ(seed):
    server = engine()
    made = [control(server, "POST", "/workspaces", {"seed": seed}).json for _ in range(3)]
    ids = [chat(server, key=one["keys"]["chat"]).json["conversation_id"] for one in made]
    assert len(set(ids)) == 3
