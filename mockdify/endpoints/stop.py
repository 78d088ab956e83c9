"""The three stop endpoints: they always succeed; what they do depends on the mode and on who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mockdify.context import Context
    from mockdify.steps import Reply

__all__ = ["stop"]


def stop(ctx: Context) -> Reply:
    """Ask a generation to end.

    Chat, completion and agent streams end only for the end user who started them. A graph's run is stopped by its
    task id alone; before 1.16 another user's stop showed only when the run was over.
    """
    task = ctx.workspace.tasks.get(ctx.values["task_id"])
    if task is not None:
        same = (task.app, task.user) == (ctx.installed.name, ctx.user)
        if same or (task.graph and ctx.profile.stop_by_anyone):
            task.stop()
        elif task.graph:
            task.stopped_late = True
    return ctx.json({"result": "success"})
