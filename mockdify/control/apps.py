"""What is done to one app over HTTP: answers are scripted, WebApp conversations made, keys handled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mockdify import shapes
from mockdify.config import rule_from
from mockdify.control.table import Answer, ControlError, Param, missing
from mockdify.keys import DATASET, ENVIRONMENTS, Keyring, report
from mockdify.store import Conversation, Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockdify.control.table import Call
    from mockdify.store import Origin
    from mockdify.workspace import Installed

__all__ = [
    "ANSWERED",
    "CONVERSATION",
    "CREATE_KEY",
    "KEY",
    "KEYS",
    "MAKE_CONVERSATION",
    "ROTATE",
    "RULE",
    "WHICH",
    "answer",
    "change_keys",
    "converse",
    "list_keys",
    "report_keys",
    "revoke",
    "revoke_one",
    "rotate_one",
]

CHATS = ("chat", "agent-chat", "advanced-chat", "agent")


def _app(call: Call) -> Installed:
    name = call.values["app"]
    found = call.workspace.apps.get(name)
    if found is None:
        raise missing("app", name, call.workspace.apps)
    return found


# ---------------------------------------------------------------------- answers
def _documented(words: Mapping[str, tuple[Any, str]]) -> dict[str, Param]:
    return {name: Param(shape=shapes.anything, schema=schema, words=said) for name, (schema, said) in words.items()}


RULE = _documented(
    {
        "when": ({"type": "object"}, "What must hold: query, query_matches, user, inputs, `inputs.x`, turn, node."),
        "answer": ({"type": "string"}, "What is said: a text, or a template over query, inputs, user, turn."),
        "chunks": ({"type": "array", "items": {"type": "string"}}, "The deltas, exactly as they are sent."),
        "usage": ({"type": "object"}, "Keys of Dify's usage object that are fixed."),
        "pace": ({"type": ["string", "number"]}, "The time of one chunk."),
        "retriever_resources": ({"type": "array", "items": {"type": "object"}}, "What was retrieved."),
        "rounds": ({"type": "array", "items": {"type": "object"}}, "The rounds of an agent."),
        "fails": ({"type": "string"}, "How the model fails."),
        "message": ({"type": "string"}, "What the failing model says."),
        "after": ({"type": "integer"}, "How many chunks are out before it fails."),
        "times": ({"type": "integer"}, "How often it answers before it is used up."),
    }
)
ANSWERED = {
    "type": "object",
    "required": ["app", "label"],
    "properties": {
        "app": {"type": "string"},
        "label": {"type": "string", "description": "What journal and explanations call it."},
    },
}


def answer(call: Call) -> Answer:
    """Script an answer of the app; it is tried before those of the configuration."""
    app = _app(call)
    label = f"POST /_mockdify/apps/{app.name}/answers #{call.next_number()}"
    rule = rule_from(call.body, label=label)
    call.workspace.script.add(rule, app=app.name)
    return Answer(status=201, value={"app": app.name, "label": label})


# ---------------------------------------------------------------------- conversations
MAKE_CONVERSATION = {
    "origin": Param(
        shape=shapes.one_of(("webapp", "api"), "origin"),
        schema={"enum": ["webapp", "api"]},
        words="`webapp`, the default: to the API it does not exist. `api`: as if it had been made over the API.",
    ),
    "user": Param(shape=shapes.text, schema={"type": "string"}, words="The end user it belongs to.", required=True),
    "shared_session": Param(
        shape=shapes.flag,
        schema={"type": "boolean"},
        words=(
            "Whether the WebApp's session id is the API's `user`, which makes them one end user in Dify since 1.10.1: "
            "then lists leave the conversation out, but its id works."
        ),
    ),
    "query": Param(shape=shapes.text, schema={"type": "string"}, words="What was asked in its first turn."),
    "answer": Param(shape=shapes.text, schema={"type": "string"}, words="What was answered."),
    "name": Param(shape=shapes.text, schema={"type": "string"}, words="Its name; else the query."),
    "inputs": Param(shape=shapes.mapping(shapes.anything), schema={"type": "object"}, words="Its inputs."),
}
CONVERSATION = {
    "type": "object",
    "required": ["id", "conversation_id", "app", "user", "origin"],
    "properties": {
        "id": {"type": "string"},
        "conversation_id": {"type": "string", "description": "The id again, by the name that requests use."},
        "app": {"type": "string"},
        "user": {"type": "string"},
        "origin": {"enum": ["webapp", "api"]},
    },
}


def converse(call: Call) -> Answer:
    """A conversation with one turn, as if the user had held it in the WebApp."""
    app, said = _app(call), call.body
    if app.mode not in CHATS:
        chats = ", ".join(one.name for one in call.workspace.apps.values() if one.mode in CHATS) or "none"
        msg = f"app {app.name!r} is a {app.mode} app and has no conversations; chat apps are: {chats}"
        raise ControlError(400, "bad_request", msg)
    if not said["user"]:
        raise ControlError(400, "bad_request", "in the body: user: the end user's name is empty")
    origin = said.get("origin", "webapp")
    if origin == "webapp" and not said.get("shared_session", False):
        made = call.workspace.webapp_conversation(app.name, said["user"])
    else:
        made = _held(call, app, origin)
    value = {"id": made, "conversation_id": made, "app": app.name, "user": said["user"], "origin": origin}
    return Answer(status=201, value=value)


def _held(call: Call, app: Installed, origin: Origin) -> str:
    """A conversation that its user has: its id works for them, and lists show it when its origin is the API."""
    said, now = call.body, call.workspace.clock.now()
    person = call.workspace.store.user(app.name, said["user"], now)
    query = said.get("query", "Hello from the WebApp")
    conversation = Conversation(
        id=person.ids.next(),
        app=app.name,
        user=said["user"],
        name=said.get("name", query[:20]),
        inputs=said.get("inputs", {}),
        introduction=app.app.features.opening_statement,
        created_at=now,
        updated_at=now,
        number=person.number(),
        origin=origin,
        variables={one.name: one.value for one in app.app.conversation_variables},
    )
    message = Message(
        id=person.ids.next(),
        conversation_id=conversation.id,
        app=app.name,
        user=said["user"],
        inputs=conversation.inputs,
        query=query,
        answer=said.get("answer", "Hello!"),
        created_at=now,
    )
    conversation.messages.append(message)
    person.messages[message.id] = message
    person.add_conversation(conversation)
    return conversation.id


# ---------------------------------------------------------------------- keys
_WORD, _SECONDS = {"type": "string"}, {"type": ["string", "number"], "examples": ["90d"]}
WHICH = {
    "key": Param(shape=shapes.text, schema=_WORD, words="Its id, token or name."),
    "id": Param(shape=shapes.text, schema=_WORD, words="Its id."),
    "name": Param(shape=shapes.text, schema=_WORD, words="Its name."),
    "token": Param(shape=shapes.text, schema=_WORD, words="Its token."),
}
_GRACE = Param(
    shape=shapes.duration, schema=_SECONDS, words="How long the old key goes on working; left out, it ends at once."
)
ROTATE = {"grace": _GRACE}


def _which_to_rotate(value: Any, path: shapes.KeyPath, problems: shapes.Problems) -> str | bool:
    return value if value is True else shapes.text(value, path, problems)


CREATE_KEY = {
    "name": Param(shape=shapes.text, schema=_WORD, words="What it is for. `default`."),
    "environment": Param(
        shape=shapes.one_of(ENVIRONMENTS, "environment"),
        schema={"enum": [*ENVIRONMENTS]},
        words="Where it is used. `development`.",
    ),
    "token": Param(shape=shapes.text, schema=_WORD, words="The key itself; left out, one is made from the seed."),
    "expires_in": Param(shape=shapes.duration_above_zero, schema=_SECONDS, words="How long it works."),
    "rotation_period": Param(
        shape=shapes.duration_above_zero, schema=_SECONDS, words="After how long the report calls it overdue."
    ),
    "rotate": Param(
        shape=_which_to_rotate,
        schema={"type": ["string", "boolean"]},
        words="Instead of making one more: put a new key in the place of this one (its id, token or name).",
    ),
    "grace": _GRACE,
}
_TIME = {"type": ["number", "null"], "description": "Seconds since the epoch, by the workspace's clock."}
KEY = {
    "type": "object",
    "required": ["app", "id", "name", "environment", "token", "state", "last_used", "never_used", "uses"],
    "properties": {
        "app": {"type": "string"},
        "id": {"type": "string"},
        "name": {"type": "string"},
        "environment": {"enum": [*ENVIRONMENTS]},
        "token": {"type": "string", "description": "In full only in the answer that makes it, else masked."},
        "state": {"enum": ["active", "expired", "revoked"]},
        "created_at": _TIME,
        "expires_at": _TIME,
        "rotation_period": {"type": ["number", "null"], "description": "Seconds."},
        "rotation_due_at": _TIME,
        "overdue": {"type": "boolean"},
        "revoked_at": _TIME,
        "replaced_by": {"type": ["string", "null"]},
        "last_used": _TIME,
        "never_used": {"type": "boolean"},
        "uses": {"type": "integer"},
        "replaces": {"type": "object", "description": "The key that a rotation replaced."},
    },
}
KEYS = {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": KEY}}}


def _ring(call: Call) -> Keyring:
    name = call.values["app"]
    if name not in call.workspace.apps and name != DATASET:
        raise missing("app", name, [*call.workspace.apps, DATASET])
    return Keyring(call.engine, call.workspace, name)


def _listed(call: Call, ring: Keyring) -> list[dict[str, Any]]:
    now = call.workspace.clock.now()
    return [{"app": ring.app, **key.as_dict(now)} for key in ring]


def list_keys(call: Call) -> Answer:
    """The keys of an app, revoked ones too: for what, until when, when last used. Tokens are masked."""
    return Answer(value={"items": _listed(call, _ring(call))})


def report_keys(call: Call) -> Answer:
    """All keys of the workspace: which are unused, overdue, expired or revoked."""
    return Answer(value={"items": report(call.workspace)})


def change_keys(call: Call) -> Answer:
    """A new key, or with `rotate` a new one in the place of another. The answer has its token in full."""
    ring, said = _ring(call), dict(call.body)
    which, grace = said.pop("rotate", None), said.pop("grace", 0.0)
    if which is None:
        made = ring.create(**said)
        return Answer(status=201, value={"app": ring.app, **made.as_dict(call.workspace.clock.now(), reveal=True)})
    if which is True:
        which = said.get("token") or said.get("name") or "default"
    return _rotated(call, ring, which, grace)


def rotate_one(call: Call) -> Answer:
    """A new key in the place of this one. The answer has its token in full."""
    return _rotated(call, _ring(call), call.values["key"], call.body.get("grace", 0.0))


def _rotated(call: Call, ring: Keyring, which: str, grace: float) -> Answer:
    old = ring.find(which)
    made = ring.rotate(old, grace=grace)
    now = call.workspace.clock.now()
    shown = {"app": ring.app, **made.as_dict(now, reveal=True), "replaces": old.as_dict(now)}
    return Answer(status=201, value=shown)


def revoke(call: Call) -> Answer:
    """End a key, named in the query or the body: the next call with it gets Dify's 401."""
    said = {**call.query, **call.body}
    if len(said) != 1:
        keys = ", ".join(WHICH)
        raise ControlError(400, "bad_request", f"say which key to revoke, with one of: {keys}")
    return _revoked(call, next(iter(said.values())))


def revoke_one(call: Call) -> Answer:
    """End this key: the next call with it gets Dify's 401."""
    return _revoked(call, call.values["key"])


def _revoked(call: Call, which: str) -> Answer:
    ring = _ring(call)
    key = ring.revoke(which)
    return Answer(value={"app": ring.app, **key.as_dict(call.workspace.clock.now())})
