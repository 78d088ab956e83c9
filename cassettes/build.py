"""Cassettes from the exchanges that were recorded from running Dify servers.

    python cassettes/build.py RECORDINGS.jsonl [...] [--into FOLDER]

A recordings file has one JSON object a line: `name`, `app`, `request` (method, path, headers, body), `response`
(status, headers, body or sse, end) and `scored`. What comes of it is one folder a release and one cassette a subject,
scrubbed. The same recordings give the same bytes.
"""
# ruff: noqa: INP001 - a script, not a package

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from mockdify.cassettes.files import save
from mockdify.cassettes.interaction import Interaction
from mockdify.cassettes.scrub import Scrubber, check

HERE = Path(__file__).resolve().parent

# The first part of a recording's name → the cassette it goes to.
SUBJECTS = {
    "chat": ["chat", "setup"],
    "completion": ["completion"],
    "agent": ["agent", "agent_react"],
    "new-agent": ["newagent"],
    "chatflow": ["chatflow", "chatflow_branch", "chatflow_fail"],
    "workflow": ["workflow", "workflow_fail", "workflow_iter", "workflow_llm", "workflow_loop", "workflow_partial"],
    "workflow-runs": ["wf"],
    "human-input": ["human", "form", "timeout"],
    "event-streams": ["events"],
    "reasoning": ["reason"],
    "conversations": ["convs", "rename", "delete", "messages"],
    "conversation-variables": ["convvars", "chatvars"],
    "feedback": ["feedback", "suggested"],
    "files": ["files", "preview"],
    "audio": ["audio", "tts"],
    "annotations": ["annot"],
    "app-information": ["meta"],
    "knowledge": ["kb"],
    "knowledge-datasets": ["dataset"],
    "stopping": ["stop"],
    "unusual-text": ["special", "chat_moderation"],
    "http": ["http"],
    "errors-key": ["auth"],
    "errors-mode": ["mode", "workflow_unpublished"],
    "errors-body": ["body"],
    "errors-inputs": ["inputs"],
    "errors-before-a-run": ["bad", "chat_nomodel", "chat_noprovider"],
    "errors-model": ["provider"],
}
_SUBJECT_OF = {part: subject for subject, parts in SUBJECTS.items() for part in parts}

_HOP = ("connection", "transfer-encoding")
_FRAMING = {"content-length": "length", "no-body": "none"}
_CUTS = {"client-closed": "client", "client-timeout": "client", "eof-mid-chunks": "upstream"}
# No client can be made to send this one: it breaks the request line.
_LEFT_OUT = frozenset({"http.garbage_request"})


def main() -> int:
    """Build what the command line names; the number of secrets left is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--into", type=Path, default=HERE)
    arguments = parser.parse_args()
    for path in arguments.recordings:
        for line in build(path, arguments.into):
            sys.stdout.write(line + "\n")
    left = check([arguments.into])
    for finding in left:
        sys.stderr.write(f"{finding}\n")
    return min(len(left), 1)


def build(recordings: Path, into: Path) -> list[str]:
    """Write the cassettes of one recordings file; a line on each."""
    rows = [json.loads(line) for line in recordings.read_bytes().split(b"\n") if line]
    version = next(value for row in rows if (value := header(row["response"], "x-version")))
    release = ".".join(version.split(".")[:2])
    origin = next(found[0] for row in rows if (found := re.findall(r"http://127\.0\.0\.1:\d{5}", json.dumps(row))))
    groups: dict[str, list[Interaction]] = {}
    for row in rows:
        if row["name"] not in _LEFT_OUT:
            subject = _SUBJECT_OF[row["name"].split(".")[0]]
            groups.setdefault(subject, []).append(interaction(row, origin, version))
    folder = into / release
    folder.mkdir(parents=True, exist_ok=True)
    return [write(folder / f"{subject}.yaml", groups[subject], version) for subject in sorted(groups)]


def write(path: Path, interactions: list[Interaction], version: str) -> str:
    """Write one cassette; what it holds, in a line."""
    days = sorted({str(each.dify["recorded_at"])[:10] for each in interactions})
    note = (
        f"Recorded from a real Dify {version} with a scripted model, {' and '.join(days)}. Made by cassettes/build.py."
    )
    save(path, map(Scrubber(), interactions), notes=[note])
    return f"{path}: {len(interactions)} interactions, {path.stat().st_size} bytes"


def interaction(row: dict[str, Any], origin: str, version: str) -> Interaction:
    """One recorded exchange as a cassette keeps it."""
    request, response = row["request"], row["response"]
    headers = [(name, value) for name, value in response["headers"] if name.lower() not in _HOP]
    return Interaction(
        method=request["method"],
        uri=origin + request["path"],
        request_headers=tuple((n, v) for n, v in request["headers"] if n.lower() not in _HOP),
        request_body=request_body(request),
        status=response["status"],
        reason=HTTPStatus(response["status"]).phrase.upper(),  # as Werkzeug writes them; not in the recordings
        headers=tuple(headers),
        body=content(response.get("body", response.get("sse"))) or b"",
        about=about(row, version),
    )


def about(row: dict[str, Any], version: str) -> dict[str, Any]:
    """Where the exchange comes from, and what vcrpy has no word for. Chunk times were not recorded."""
    response = row["response"]
    date = header(response, "date")
    found: dict[str, Any] = {
        "dify": {
            "version": version,
            "profile": ".".join(version.split(".")[:2]),
            "recorded_at": parsedate_to_datetime(date).isoformat()[:19] + "Z" if date else None,
            "note": f"recorded from a real Dify {version} with a scripted model",
        },
        "case": row["name"],
        "app": row["app"],
        "framing": _FRAMING.get(response["end"], "chunked"),
        "cut": _CUTS.get(response["end"]),
    }
    if not row["scored"]:
        found["repeatable"] = False  # leans on timing, or on what was in the database
    if response.get("spacing") is False:
        found["spacing"] = False  # that server lacked ujson, which official images have: blanks in its JSON say nothing
    return found


def request_body(request: dict[str, Any]) -> bytes | None:
    """The body, without the chunked coding that one recording was sent in."""
    data = content(request["body"])
    if data is None or header(request, "transfer-encoding") != "chunked":
        return data
    plain = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        plain, data = plain + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return plain


def content(text: str | None) -> bytes | None:
    """The bytes of a recorded body."""
    if text is None:
        return None
    return base64.b64decode(text[7:]) if text.startswith("base64:") else text.encode()


def header(message: dict[str, Any], name: str) -> str:
    """A header's value, or nothing."""
    return next((value for each, value in message["headers"] if each.lower() == name), "")


if __name__ == "__main__":
    sys.exit(main())
