"""State and isolation: what a workspace remembers, in partitions.

One partition per (app, end user) holds that user's conversations, messages and uploads; one per app holds what belongs
to nobody in particular (runs, feedbacks, annotations). A lookup goes to the asker's own partition, so another user's
conversation, another app's and one that never existed are the same thing: not there.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mockdify.ids import Ids, fixed_id
from mockdify.values import record

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Annotation",
    "AppPartition",
    "Conversation",
    "EndUser",
    "Feedback",
    "Job",
    "Message",
    "Ordered",
    "Run",
    "Store",
    "Upload",
    "UserPartition",
]

Origin: TypeAlias = Literal["api", "webapp"]


class Ordered:
    """Ids kept in the order of a moving sort key: a page costs the same among ten thousand as among ten."""

    __slots__ = ("_keys", "_of")

    def __init__(self) -> None:
        self._keys: list[tuple[float, int, str]] = []
        self._of: dict[str, tuple[float, int, str]] = {}

    def put(self, key: str, at: float, tie: int) -> None:
        """Place *key* at *at*; equal times keep the order of *tie*. A key that is there already moves."""
        self.drop(key)
        entry = self._of[key] = (at, tie, key)
        if not self._keys or self._keys[-1] < entry:
            self._keys.append(entry)
        else:
            insort(self._keys, entry)

    def drop(self, key: str) -> None:
        """Take *key* out; not an error when it is not there."""
        entry = self._of.pop(key, None)
        if entry is not None:
            del self._keys[bisect_left(self._keys, entry)]

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._of

    def after(self, key: str | None, *, newest_first: bool) -> Iterator[str]:
        """The keys that follow *key* (all when None) in the asked direction."""
        if newest_first:
            stop = bisect_left(self._keys, self._of[key]) if key else len(self._keys)
            return (self._keys[i][2] for i in range(stop - 1, -1, -1))
        start = bisect_left(self._keys, self._of[key]) + 1 if key else 0
        return (self._keys[i][2] for i in range(start, len(self._keys)))


@record
class EndUser:
    """Who asks, as Dify knows them: (app, session id)."""

    id: str
    app: str
    session_id: str
    created_at: float


@record
class Message:
    """One turn: the question, and the answer once it is there."""

    id: str
    conversation_id: str | None
    app: str
    user: str
    inputs: dict[str, Any]
    query: str
    created_at: float
    answer: str = ""
    status: str = "normal"
    error: str | None = None
    usage: dict[str, Any] | None = None
    latency: float = 0.0
    rating: str | None = None
    thoughts: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    retriever_resources: list[dict[str, Any]] = field(default_factory=list)
    extra_contents: list[dict[str, Any]] = field(default_factory=list)
    run_id: str | None = None


@record
class Conversation:
    """A thread of messages of one end user of one app."""

    id: str
    app: str
    user: str
    name: str
    inputs: dict[str, Any]
    introduction: str
    created_at: float
    updated_at: float
    number: int
    origin: Origin = "api"
    status: str = "normal"
    title_due: float | None = None
    """When the model's title replaces the query as the name; None when it does not."""
    messages: list[Message] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    variables_updated: dict[str, float] = field(default_factory=dict)


@record
class Upload:
    """A file somebody sent."""

    id: str
    app: str
    user: str
    owner_id: str
    name: str
    data: Any
    size: int
    extension: str
    mime_type: str
    type: str
    created_at: float
    conversation_apps: set[str] = field(default_factory=set)
    """The apps in whose messages it was used: only those may preview it."""


@record
class Run:
    """One run of a graph."""

    id: str
    workflow_id: str
    app: str
    user: str
    end_user: EndUser
    inputs: dict[str, Any]
    created_at: float
    status: str = "running"
    outputs: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    elapsed_time: float = 0.0
    total_tokens: int = 0
    total_steps: int = 0
    exceptions_count: int = 0
    finished_at: float | None = None
    log_id: str | None = None


@record
class Feedback:
    """A rating of a message, as the app's owner lists it."""

    id: str
    conversation_id: str | None
    message_id: str
    end_user_id: str
    rating: str
    content: str | None
    created_at: float
    updated_at: float


@record
class Annotation:
    """A question with its prepared answer."""

    id: str
    app: str
    question: str
    answer: str
    created_at: float
    hit_count: int = 0


@record
class Job:
    """A background job of the annotation reply setting."""

    id: str
    action: str
    created_at: float


@dataclass(slots=True)
class UserPartition:
    """What belongs to one end user of one app."""

    end_user: EndUser
    ids: Ids
    conversations: dict[str, Conversation] = field(default_factory=dict)
    by_updated: Ordered = field(default_factory=Ordered)
    by_created: Ordered = field(default_factory=Ordered)
    messages: dict[str, Message] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    numbered: int = 0

    def number(self) -> int:
        """The next place in this user's order of making things."""
        self.numbered += 1
        return self.numbered

    def add_conversation(self, conversation: Conversation) -> None:
        """Keep *conversation*; only those made over the API are listed."""
        self.conversations[conversation.id] = conversation
        if conversation.origin == "api":
            self.by_created.put(conversation.id, conversation.created_at, conversation.number)
            self.by_updated.put(conversation.id, conversation.updated_at, self.number())

    def touch(self, conversation: Conversation, now: float) -> None:
        """A turn or a rename: the conversation moves to the front."""
        conversation.updated_at = now
        if conversation.origin == "api" and conversation.id in self.conversations:
            self.by_updated.put(conversation.id, now, self.number())

    def delete_conversation(self, conversation_id: str) -> None:
        """Forget a conversation and its messages."""
        conversation = self.conversations.pop(conversation_id)
        self.by_updated.drop(conversation_id)
        self.by_created.drop(conversation_id)
        for message in conversation.messages:
            self.messages.pop(message.id, None)


@dataclass(slots=True)
class AppPartition:
    """What belongs to one app as a whole."""

    ids: Ids
    runs: dict[str, Run] = field(default_factory=dict)
    logs: list[Run] = field(default_factory=list)
    feedbacks: dict[str, Feedback] = field(default_factory=dict)
    annotations: dict[str, Annotation] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    annotation_reply_on: bool = False
    webapp: dict[str, str] = field(default_factory=dict)
    """Conversations of the WebApp, with their users: kept apart, since no endpoint of the API may find one."""


class Store:
    """All partitions of one workspace."""

    __slots__ = ("_scope", "apps", "end_users", "uploads", "users")

    def __init__(self, *scope: object) -> None:
        self._scope = scope
        self.users: dict[tuple[str, str], UserPartition] = {}
        self.apps: dict[str, AppPartition] = {}
        self.end_users: dict[str, EndUser] = {}
        self.uploads: dict[str, Upload] = {}

    def user(self, app: str, session_id: str, now: float) -> UserPartition:
        """The partition of one end user; who asks for the first time is made known."""
        found = self.users.get((app, session_id))
        if found is None:
            end_user = EndUser(
                id=fixed_id(*self._scope, app, session_id), app=app, session_id=session_id, created_at=now
            )
            self.end_users[end_user.id] = end_user
            found = self.users[(app, session_id)] = UserPartition(end_user, Ids(*self._scope, app, session_id, "made"))
        return found

    def app(self, app: str) -> AppPartition:
        """The partition of one app."""
        found = self.apps.get(app)
        if found is None:
            found = self.apps[app] = AppPartition(Ids(*self._scope, app, "app"))
        return found
