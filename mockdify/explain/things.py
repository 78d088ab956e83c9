"""Not found: whose the thing is that somebody asked for, or what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mockdify.explain.case import Case, Finding, ago

if TYPE_CHECKING:
    from mockdify.store import UserPartition
    from mockdify.workspace import Workspace

__all__ = ["file_refused", "thing_missing", "whereabouts", "workflow_unknown"]

_LOOK_BACK = 2000
"""How many exchanges are looked through for an id that is gone."""
_RULES = (
    ("Last Conversation", "`last_id` is a conversation of the same list: this end user's, of this app"),
    ("First Message", "`first_id` is a message of the same conversation"),
    ("Conversation Variable", "a conversation has the variables that its app declares"),
    ("Conversation", "a conversation belongs to one end user of one app; for anybody else it does not exist"),
    ("Message", "a message belongs to one end user of one app; for anybody else it does not exist"),
    ("End user", "an end user belongs to one app"),
    (
        "File not found in message",
        "a file can be previewed once a message of the app uses it, and then by any user of it",
    ),
    ("File access denied", "a file is previewed with the key of an app whose messages use it"),
    ("Workflow run", "a workflow run belongs to one app"),
    ("Annotation", "an annotation belongs to one app"),
)


_KINDS: Mapping[str, str] = {
    "conversation_id": "conversation",
    "c_id": "conversation",
    "message_id": "message",
    "first_id": "message",
    "workflow_run_id": "workflow run",
    "annotation_id": "annotation",
}
"""What an id must be the id of, by where it stands; `last_id` goes by the list."""


def _other_kind(name: str, found: Iterable[tuple[str, str]]) -> str | None:
    """What to say when an id is one of another kind of thing."""
    wanted, kinds = _KINDS.get(name), [what.rpartition(" ")[0] or what for what, _ in found]
    if wanted is None or not kinds or any(kind.startswith(wanted) for kind in kinds):
        return None
    return (
        f"send the id of a {wanted} as {name}; this is the id of {'an' if kinds[0][0] in 'aeiou' else 'a'} {kinds[0]}"
    )


def thing_missing(case: Case) -> Finding:
    """404 (or 403) of a handler: what the ids in the request stand for."""
    rule = next((said for start, said in _RULES if start in case.message), "what is asked for by id must be there")
    evidence, nearest, fix, owners = [], [], [], []
    for name, given in case.ids:
        found = list(whereabouts(case.workspace, given))
        evidence += [f"{name}: {what} exists, but {whose}" for what, whose in found] or _gone(case, name, given)
        if not found:
            nearest += [f"{name}: {one}" for one in _near(case, given)]
        other = _other_kind(name, found)
        if other is not None:
            fix.append(other)
        else:
            owners += list(_owners(case.workspace, given))
    evidence.append(f"the request came from user {case.user or 'DEFAULT-USER'!r} of app {case.exchange.app!r}")
    if not (case.asked.get("user") or case.request.query.get("user")):
        evidence.append("it names no user, so that it came from the user DEFAULT-USER, whom all such requests share")
    for app, user in dict.fromkeys(owners):
        if app != case.exchange.app:
            fix.append(f"use the key of app {app!r}")
        if user != case.user:
            fix.append(f"send user={user!r}, the one who made it")
    if case.exchange.method == "POST" and "conversation_id" in dict(case.ids):
        fix.append("leave conversation_id out (or send '') to begin a new conversation")
    return Finding(
        rule=rule,
        evidence=tuple(dict.fromkeys(evidence)),
        nearest=tuple(nearest),
        fix=tuple(dict.fromkeys(fix))
        or ("take the id from an answer of this server, asked by the same user with the same key",),
    )


# ---------------------------------------------------------------------- who has what
def _held(partition: UserPartition) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "conversation", partition.conversations
    yield "message", partition.messages
    yield "upload", partition.uploads


def _owners(workspace: Workspace, given: str) -> Iterator[tuple[str, str]]:
    for (app, user), partition in workspace.store.users.items():
        if any(given in held for _, held in _held(partition)):
            yield app, user


def whereabouts(workspace: Workspace, given: str) -> Iterator[tuple[str, str]]:
    """What *given* is the id of in this workspace, and whose it is: ("conversation 3f…", "belongs to …")."""
    yield from _of_users(workspace, given)
    yield from _of_apps(workspace, given)
    task = workspace.tasks.get(given)
    if task is not None:
        yield f"task {given}", f"belongs to user {task.user!r} of app {task.app!r}, and still runs"


def _of_users(workspace: Workspace, given: str) -> Iterator[tuple[str, str]]:
    for (app, user), partition in workspace.store.users.items():
        for kind, held in _held(partition):
            if given in held:
                webapp = ", and was made in the WebApp, so that lists leave it out"
                origin = webapp if getattr(held[given], "origin", "api") == "webapp" else ""
                yield f"{kind} {given}", f"belongs to user {user!r} of app {app!r}{origin}"
        if partition.end_user.id == given:
            yield f"end user {given}", f"is {user!r} of app {app!r}"


def _of_apps(workspace: Workspace, given: str) -> Iterator[tuple[str, str]]:
    for app, shelf in workspace.store.apps.items():
        for kind, held in (("workflow run", shelf.runs), ("annotation", shelf.annotations), ("job", shelf.jobs)):
            if given in held:
                yield f"{kind} {given}", f"belongs to app {app!r}"
        if given in shelf.webapp:
            whose = f"was made in the WebApp by {shelf.webapp[given]!r}: the API does not see it"
            yield f"conversation {given} of app {app!r}", whose
    for installed in workspace.apps.values():
        if given == installed.id:
            yield f"app {given}", f"is the id of the app {installed.name!r} itself"
        if given == installed.workflow_id:
            yield f"workflow {given}", f"is the published workflow of app {installed.name!r}"


def _gone(case: Case, name: str, given: str) -> list[str]:
    """What the journal knows of an id that nothing has any more."""
    needle, journal = given.encode(), case.workspace.journal
    past = [one for one in journal.since(case.exchange.id - _LOOK_BACK) if one.id < case.exchange.id]
    for exchange in reversed(past):
        if exchange.method == "DELETE" and given in exchange.path.lower() and exchange.status == 204:
            when = ago(exchange.started, case.exchange.started)
            who = f"user {exchange.user!r} of app {exchange.app!r}"
            return [f"{name}: {given} was deleted {when} by exchange {exchange.id}, {who}"]
    for exchange in past:
        if needle in exchange.body:
            who = f"user {exchange.user!r} of app {exchange.app!r}"
            return [f"{name}: {given} is nothing any more; exchange {exchange.id} answered it to {who}"]
    return [f"{name}: {given} was never given out by this workspace (since its last reset)"]


def _near(case: Case, given: str) -> list[str]:
    """Ids of the asker's own that are one slip away."""
    partition = case.workspace.store.users.get((case.exchange.app or "", case.user))
    own = {one: kind for kind, held in _held(partition) for one in held} if partition is not None else {}
    return [f"{own[one]} {one}" for one in get_close_matches(given, own, n=1, cutoff=0.85)]


# ---------------------------------------------------------------------- files and workflows
def file_refused(case: Case) -> Finding:
    """400: an upload that cannot be used."""
    evidence = []
    for name, given in case.ids:
        if name.endswith(("upload_file_id", "file_id", "related_id")):
            found = list(whereabouts(case.workspace, given))
            evidence += [f"{what} exists, but {whose}" for what, whose in found] or _gone(case, name, given)
    known = {given for _, given in case.ids}
    files = [*_files(case.asked.get("files")), *(one for value in _inputs(case) for one in _files(value))]
    evidence += [
        f"upload_file_id is {one.get('upload_file_id')!r}, the id of no upload"
        for one in files
        if one.get("transfer_method") == "local_file" and one.get("upload_file_id") not in known
    ]
    evidence.append(f"the request came from user {case.user!r} of app {case.exchange.app!r}")
    return Finding(
        rule="a file is named by the id that POST /v1/files/upload answered, and by the user who sent it",
        evidence=tuple(dict.fromkeys(evidence)),
        fix=(
            "upload with the same `user` and the same key as the request, and send the answer's `id` as upload_file_id",
        ),
    )


def _inputs(case: Case) -> list[Any]:
    inputs = case.asked.get("inputs")
    return list(inputs.values()) if isinstance(inputs, dict) else []


def _files(value: Any) -> list[dict[str, Any]]:
    many = value if isinstance(value, list) else [value]
    return [one for one in many if isinstance(one, dict)]


def workflow_unknown(case: Case) -> Finding:
    """404: a workflow's version that is not the published one."""
    published = case.app.workflow_id if case.app is not None else "?"
    return Finding(
        rule="a workflow is run by the id of its published version, or without one",
        evidence=(f"the published version of app {case.exchange.app!r} is {published}",),
        nearest=(published,),
        fix=("leave the id out: POST /v1/workflows/run",),
    )
