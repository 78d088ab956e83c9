"""Workflow apps: runs, their records and logs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mockdify.endpoints.generating import blocking, file_value, take_files, take_inputs
from mockdify.endpoints.graphs import (
    GraphTurn,
    check_published,
    check_workflow_id,
    finished_event,
    late,
    refused,
    stream_of_run,
)
from mockdify.errors import UNHANDLED, DifyError, invalid_param, not_found
from mockdify.events import Envelope
from mockdify.steps import Body, Head
from mockdify.wire import as_python_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mockdify.context import Context
    from mockdify.events import Event
    from mockdify.steps import Reply, Wait
    from mockdify.store import Run
    from mockdify.workspace import Task

__all__ = ["detail", "events", "logs", "run", "run_by_id"]


def run_by_id(ctx: Context) -> Reply:
    """Run a version of the workflow by its id; only the published one is known."""
    check_workflow_id(ctx, ctx.values["workflow_id"])
    yield from run(ctx)


def run(ctx: Context) -> Reply:
    """Run the app's workflow."""
    payload = ctx.payload
    streamed = payload["response_mode"] == "streaming"
    check_published(ctx)
    try:
        files = take_files(ctx)
        inputs = take_inputs(ctx)
    except DifyError as error:
        yield from late(ctx, error, streamed=streamed)
        return
    task = ctx.workspace.new_task(ctx.installed.name, ctx.user, ctx.person.ids, graph=True)
    system = {
        "sys.files": [file_value(ctx, file) for file in files],
        "sys.user_id": ctx.user,
        "sys.timestamp": int(ctx.now()),
    }
    graph_run = GraphTurn(ctx, task, inputs, system)
    try:
        graph_run.begin()
    except DifyError as error:
        yield from refused(ctx, error, Envelope.workflow(run_id=None, task_id=task.id), streamed=streamed)
        return
    turn = _turn(ctx, graph_run, task)
    if streamed:
        yield from stream_of_run(ctx, Envelope.workflow(run_id=graph_run.run.id, task_id=task.id), turn)
        return

    def answer() -> dict[str, Any]:
        done = graph_run.run
        return {
            "task_id": task.id,
            "workflow_run_id": done.id,
            "data": {
                "id": done.id,
                "workflow_id": done.workflow_id,
                "status": done.status,
                "outputs": done.outputs,
                "error": done.error,
                "elapsed_time": done.elapsed_time,
                "total_tokens": done.total_tokens,
                "total_steps": done.total_steps,
                "created_at": int(done.created_at),
                "finished_at": None if done.finished_at is None else int(done.finished_at),
            },
        }

    yield from blocking(ctx, turn, answer)


def _turn(ctx: Context, graph_run: GraphTurn, task: Task) -> Iterator[Event | Wait]:
    try:
        yield from graph_run.events()
        done = graph_run.run
        done.log_id = ctx.partition.ids.next()
        ctx.partition.logs.append(done)
        yield graph_run.finished()
    finally:
        ctx.workspace.end_task(task)


# ---------------------------------------------------------------------- records
def detail(ctx: Context) -> Reply:
    """One run of this app, whoever started it. `inputs` is JSON text, `outputs` an object."""
    run_id = ctx.values["workflow_run_id"]
    try:
        run_id = str(UUID(run_id))
    except ValueError:
        raise UNHANDLED from None  # Dify's database refuses the malformed id (`wf.detail_malformed`)
    found = ctx.partition.runs.get(run_id)
    if found is None:
        msg = "Workflow run not found."
        raise not_found(msg)
    return ctx.json(
        {
            "id": found.id,
            "workflow_id": found.workflow_id,
            "status": found.status,
            "inputs": json.dumps(found.inputs, ensure_ascii=False),
            "outputs": found.outputs,
            "error": found.error,
            "total_steps": found.total_steps,
            "total_tokens": found.total_tokens,
            "created_at": int(found.created_at),
            "finished_at": None if found.finished_at is None else int(found.finished_at),
            "elapsed_time": found.elapsed_time,
        }
    )


_KEYWORD_LIMIT = 30


def logs(ctx: Context) -> Reply:
    """The app's finished runs, newest first."""
    asked = ctx.payload
    if asked["created_by_account"]:
        msg = f"Account not found: {asked['created_by_account']}"
        raise invalid_param(msg)
    before, after = _moment(asked["created_at__before"]), _moment(asked["created_at__after"])
    keyword = (asked["keyword"] or "")[:_KEYWORD_LIMIT]
    session = asked["created_by_end_user_session_id"]
    found = [
        done
        for done in reversed(ctx.partition.logs)
        if (asked["status"] is None or done.status == asked["status"])
        and (before is None or done.created_at <= before)
        and (after is None or done.created_at >= after)
        and (not session or done.user == session)
        and (not keyword or _mentions(done, keyword))
    ]
    page, limit = asked["page"], asked["limit"]
    shown = found[(page - 1) * limit : page * limit]
    return ctx.json(
        {
            "page": page,
            "limit": limit,
            "total": len(found),
            "has_more": page * limit < len(found),
            "data": [_log(ctx, done) for done in shown],
        }
    )


def _moment(text: str | None) -> float | None:
    if not text:
        return None
    if len(text) < len("2026"):
        msg = "ISO string too short"
        raise invalid_param(msg)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid_param(str(error)) from None  # unverified: the texts of other malformed times
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _mentions(done: Run, keyword: str) -> bool:
    texts = (
        json.dumps(done.inputs, ensure_ascii=False),
        json.dumps(done.outputs, ensure_ascii=False),
        done.user,
        done.id,
    )
    return any(keyword.lower() in text.lower() for text in texts)


def _log(ctx: Context, done: Run) -> dict[str, Any]:
    return {
        "id": done.log_id,
        "workflow_run": {
            "id": done.id,
            "version": ctx.installed.version,
            "status": done.status,
            "triggered_from": "app-run",
            "error": done.error,
            "elapsed_time": done.elapsed_time,
            "total_tokens": done.total_tokens,
            "total_steps": done.total_steps,
            "created_at": int(done.created_at),
            "finished_at": None if done.finished_at is None else int(done.finished_at),
            "exceptions_count": done.exceptions_count,
        },
        "details": None,
        "created_from": "service-api",
        "created_by_role": "end_user",
        "created_by_account": None,
        "created_by_end_user": {
            "id": done.end_user.id,
            "type": "service-api",
            "is_anonymous": done.user == "DEFAULT-USER",
            "session_id": done.user,
        },
        "created_at": int(done.finished_at or done.created_at),
    }


# ---------------------------------------------------------------------- events of a run
def events(ctx: Context) -> Reply:
    """The events of a run by its id: of a finished one a single frame, in Python's JSON style and without a ping."""
    wanted = ctx.values["task_id"]
    try:
        wanted = str(UUID(wanted))
    except ValueError:
        raise UNHANDLED from None
    found = ctx.partition.runs.get(wanted)
    if found is None or found.user != ctx.user:
        raise DifyError(404, "not_found", "Workflow run not found", plain=True)
    # unverified: events of a run that is still going; they belong to the run-events work
    data = finished_event(found).own()
    frame = {"event": "workflow_finished", "task_id": found.id, "workflow_run_id": found.id, "data": data}
    return _one_frame(ctx, b"data: " + as_python_json(frame) + b"\n\n")


def _one_frame(ctx: Context, frame: bytes) -> Reply:
    head = ctx.stream_head("close")
    yield Head(200, (*head.headers, ("Cache-Control", "no-cache")))
    yield Body(frame)
