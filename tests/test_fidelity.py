"""What a real Dify was recorded to answer, asked again of the engine without a socket.

The recordings and the comparing tool lie beside the checkout; without them there is nothing to compare. Chunked
request bodies and broken HTTP are the edge's business and have tests of their own.
"""

from __future__ import annotations

import importlib.util
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from support import SHARED, Talk, World

from mockdify.http import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

    from support import Said

SKIPPED = re.compile(
    r"^(setup|dataset|kb|human|form|events|newagent|timeout|reason|meta\.models|chat_audio|workflow_parallel)"
    r"|^http\.(garbage_request|chunked_request)$"
)
"""Areas that other issues bring, and what is said to the edge alone."""
ENOUGH = ("message", "agent_message", "text_chunk")
FLOORS = {"1.16": ("recordings-1.16.1.jsonl", 98.3), "1.13": ("recordings-1.13.2.jsonl", 98.3)}


def the_tool() -> ModuleType:
    path = SHARED / "tools" / "fidelity.py"
    if not path.exists():
        pytest.skip("the recordings are not beside this checkout")
    spec = importlib.util.spec_from_file_location("fidelity", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Replay:
    """One set of recordings against one world."""

    def __init__(self, recordings: Path, config: Path, **flags: Any) -> None:
        self.tool = the_tool()
        self.world = World.of_config(config, **flags)
        self.records = [json.loads(line) for line in recordings.read_bytes().splitlines()]
        self.by_name = {record["name"]: record for record in self.records}
        self.ids: dict[str, str] = {}

    def differences(self) -> Iterator[tuple[dict[str, Any], list[tuple[str, str]]]]:
        """Each recording with how the answer differs, in the order they were recorded."""
        for record in self.records:
            for each, said in self._play(record):
                yield each, self.tool.compare(each["response"], self._as_answer(each, said), self.ids)

    def _play(self, record: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Said]]:
        name = record["name"]
        stop = self.by_name.get(name.replace(".stream", ".stop_call")) if name.endswith(".stream") else None
        stream = self.by_name.get(name.replace(".stop_call", ".stream")) if name.endswith(".stop_call") else None
        if stop is not None:
            return  # comes with its stop call
        if stream is None:
            yield record, self._ask(record).rest()
            return
        talk = self._ask(stream)
        while sum(name in ENOUGH for name in talk.said.names) < 3 and talk.step() is not None:
            pass
        recorded, _ = self.tool.events_of(stream["response"].get("sse", ""))
        if recorded and recorded[0].get("task_id"):
            self.ids[recorded[0]["task_id"]] = talk.task_id
        yield record, self._ask(record).rest()
        yield stream, talk.rest()

    def _ask(self, record: dict[str, Any]) -> Talk:
        method, target, headers, body = self.tool.request_of(record, self.ids, self.world.keys)
        self.world.time.pass_to(self.world.time() + 0.05)
        lines = (("Host", "test"), *((name, value.strip()) for name, value in headers))
        request = Request(method=method, target=target, headers=lines, body=body)
        return Talk(self.world.engine.handle(request), self.world.time)

    def _as_answer(self, record: dict[str, Any], said: Said) -> Any:
        answer = self.tool.Answer()
        answer.status, answer.headers, answer.end = said.status, list(said.headers.items()), "complete"
        answer.body = b"" if record["request"]["method"] == "HEAD" else said.body
        return answer


def scored(replay: Replay, report: Callable[[str], None] = print) -> tuple[int, int]:
    """How many recordings are the same, of how many; those that differ are told."""
    same = total = 0
    for record, differences in replay.differences():
        if SKIPPED.search(record["name"]) or not record.get("scored", True):
            continue
        real = [(aspect, detail) for aspect, detail in differences if aspect != "value"]
        total += 1
        same += not real
        for aspect, detail in real[:4]:
            report(f"{record['name']}: {aspect}: {detail[:600]}")
    return same, total


@pytest.mark.parametrize("profile", FLOORS)
def test_the_recordings_are_answered_as_recorded(profile):
    recordings, floor = FLOORS[profile]
    the_tool()
    told: list[str] = []
    replay = Replay(SHARED / "dify" / recordings, SHARED / "dify" / f"oracle-{profile}.toml")
    same, total = scored(replay, told.append)
    assert 100 * same / total >= floor, "\n".join([f"{same} of {total} the same", *told])
