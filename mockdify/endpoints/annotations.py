"""Annotations: prepared answers, and the setting that lets them answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mockdify.errors import UNHANDLED, DifyError, invalid_param, not_found
from mockdify.payloads import ANNOTATIONS
from mockdify.store import Annotation, Job

if TYPE_CHECKING:
    from mockdify.context import Context
    from mockdify.steps import Reply

__all__ = ["create", "delete", "list_all", "reply_action", "reply_status", "update"]

_PAGE_CAP = 100


def _json(one: Annotation) -> dict[str, Any]:
    return {
        "id": one.id,
        "question": one.question,
        "answer": one.answer,
        "hit_count": one.hit_count,
        "created_at": int(one.created_at),
    }


def list_all(ctx: Context) -> Reply:
    """The app's annotations, newest first; `limit` echoes the request although a page holds at most 100."""
    try:
        asked = ANNOTATIONS.take(ctx.request.query)
    except DifyError:
        if ctx.profile.strict_annotation_paging:
            raise
        asked = _lenient(ctx.request.query)
    page, limit, keyword = asked["page"], asked["limit"], asked["keyword"] or ""
    found = [
        one
        for one in sorted(ctx.partition.annotations.values(), key=lambda one: -int(one.created_at))
        if not keyword or keyword.lower() in f"{one.question}\n{one.answer}".lower()
    ]
    size = min(limit, _PAGE_CAP)
    shown = found[(page - 1) * size : page * size]
    return ctx.json(
        {
            "data": [_json(one) for one in shown],
            "has_more": len(shown) == limit,
            "limit": limit,
            "total": len(found),
            "page": page,
        }
    )


def _lenient(query: Any) -> dict[str, Any]:
    def number(name: str, default: int) -> int:
        value = query.get(name, "")
        return max(1, int(value)) if value.isdigit() else default

    return {"page": number("page", 1), "limit": number("limit", 20), "keyword": query.get("keyword", "")}


def create(ctx: Context) -> Reply:
    """Add an annotation: 201."""
    made = Annotation(
        id=ctx.partition.ids.next(),
        app=ctx.installed.name,
        question=ctx.payload["question"],
        answer=ctx.payload["answer"],
        created_at=ctx.now(),
    )
    ctx.partition.annotations[made.id] = made
    return ctx.json(_json(made), 201)


def _known(ctx: Context) -> tuple[dict[str, Annotation], Annotation]:
    """The annotation named in the path and where it is kept; 1.13 looks in every app."""
    wanted = ctx.values["annotation_id"].lower()
    places = [ctx.partition] if ctx.profile.annotations_by_app else [ctx.partition, *ctx.workspace.store.apps.values()]
    for place in places:
        if wanted in place.annotations:
            return place.annotations, place.annotations[wanted]
    msg = "Annotation not found"
    raise not_found(msg)


def update(ctx: Context) -> Reply:
    """Change an annotation's question and answer."""
    _, known = _known(ctx)
    known.question, known.answer = ctx.payload["question"], ctx.payload["answer"]
    return ctx.json(_json(known))


def delete(ctx: Context) -> Reply:
    """Delete an annotation: 204."""
    place, known = _known(ctx)
    del place[known.id]
    return ctx.empty()


def reply_action(ctx: Context) -> Reply:
    """Switch annotation replies on or off, as a job. It waits when it is made and is done when somebody looks."""
    action = ctx.values["action"]
    if action not in ("enable", "disable"):
        raise UNHANDLED
    partition = ctx.partition
    job = Job(id=partition.ids.next(), action=action, created_at=ctx.now())
    partition.jobs[job.id] = job
    partition.annotation_reply_on = action == "enable"
    return ctx.json({"job_id": job.id, "job_status": "waiting"})


_KEPT_FOR = 600.0
"""Seconds until Dify forgets a job."""


def reply_status(ctx: Context) -> Reply:
    """How far a job is."""
    job = ctx.partition.jobs.get(ctx.values["job_id"].lower())
    if job is None or job.action != ctx.values["action"] or ctx.now() > job.created_at + _KEPT_FOR:
        msg = "The job does not exist."
        raise invalid_param(msg)
    return ctx.json({"job_id": job.id, "job_status": "completed", "error_msg": ""})
