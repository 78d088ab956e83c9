"""The recordings of a real Dify, as far as this checkout has them beside it."""

import base64
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

DIFY = Path(__file__).resolve().parents[2].parent / "shared" / "dify"
RELEASES = {"1.16": "recordings-1.16.1.jsonl", "1.13": "recordings-1.13.2.jsonl"}
PRESENT = all((DIFY / name).is_file() for name in RELEASES.values())
ABSENT = f"no recordings at {DIFY}"


@cache
def recordings(release: str) -> tuple[dict[str, Any], ...]:
    with (DIFY / RELEASES[release]).open(encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


@cache
def mode_of(release: str, app: str | None) -> str | None:
    """The app's mode, from its export; New Agent apps have none."""
    if app is None or app.startswith("newagent"):
        return app and "agent"
    export = DIFY / f"apps-{release}" / f"{app}.yml"
    found = (
        re.search(r"^  mode: (\S+)$", export.read_text(encoding="utf-8"), re.MULTILINE) if export.is_file() else None
    )
    return found and found[1]


def raw(text: str | None) -> bytes | None:
    if text is None:
        return None
    return base64.b64decode(text[7:]) if text.startswith("base64:") else text.encode()


def events_of(sse: str) -> list[dict[str, Any]]:
    """Every whole event; a ping as the object that stands for it."""
    blocks = [b for b in sse.split("\n\n") if b.strip()]
    return [{"event": "ping"} if b == "event: ping" else json.loads(b.removeprefix("data: ")) for b in blocks]


def is_whole(recording: dict[str, Any]) -> bool:
    return recording["response"]["end"] == "terminating-chunk"
