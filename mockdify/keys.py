"""API keys as an operator handles them: created for an environment, rotated, revoked, expired, counted.

Dify's keys have no name, environment or end; here they do, so that a team can rehearse what it does with credentials.
To a client a key that was revoked, replaced or is past its time is Dify's 401, as it would be there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from mockdify.errors import DifyError, MockdifyError, unauthorized
from mockdify.ids import fixed_id
from mockdify.masking import mask_key, mask_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mockdify.http import Request
    from mockdify.workspace import Installed, Workspace

__all__ = ["DATASET", "ENVIRONMENTS", "Environment", "Key", "Keyring", "State", "report", "split_key", "token_of"]

Environment: TypeAlias = Literal["development", "testing", "production"]
State: TypeAlias = Literal["active", "expired", "revoked"]

ENVIRONMENTS: tuple[Environment, ...] = ("development", "testing", "production")
DATASET = "dataset"
"""What the knowledge API's keys are found under, beside the names of the apps."""
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_LENGTH = 24
_TOKEN = re.compile(r"[!-~]+")


@dataclass(slots=True)
class Key:
    """One API key. Times are seconds on the workspace's clock."""

    token: str
    name: str = "default"
    environment: str = "development"
    id: str = ""
    created_at: float = 0.0
    expires_at: float | None = None
    rotation_period: float | None = None
    """How long it should be in use at most. Past it a key still works; the report says that it is overdue."""
    revoked_at: float | None = None
    replaced_by: str | None = None
    """The id of the key that a rotation put in its place."""
    last_used: float | None = None
    uses: int = 0

    def state(self, now: float) -> State:
        """Whether it opens anything at *now*."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "active"

    def use(self, now: float) -> bool:
        """Whether it opens its app at *now*; a use is counted."""
        if self.revoked_at is not None or (self.expires_at is not None and now >= self.expires_at):
            return False
        self.last_used = now
        self.uses += 1
        return True

    @property
    def rotation_due_at(self) -> float | None:
        """When it should be replaced; None when nobody said."""
        return None if self.rotation_period is None else self.created_at + self.rotation_period

    def as_dict(self, now: float, *, reveal: bool = False) -> dict[str, Any]:
        """The key as JSON. Its token is masked unless it is to be *revealed*: to whoever just made it."""
        due = self.rotation_due_at
        state = self.state(now)
        return {
            "id": self.id,
            "name": self.name,
            "environment": self.environment,
            "token": self.token if reveal else mask_key(self.token),
            "state": state,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "rotation_period": self.rotation_period,
            "rotation_due_at": due,
            "overdue": state == "active" and due is not None and now >= due,
            "revoked_at": self.revoked_at,
            "replaced_by": self.replaced_by,
            "last_used": self.last_used,
            "never_used": self.last_used is None,
            "uses": self.uses,
        }


class Doors(Protocol):
    """Whoever finds a workspace by a token: the engine."""

    def learn_keys(self, workspace: Workspace) -> None:
        """Make every key of *workspace* lead to it."""

    def knows_key(self, token: str) -> bool:
        """Whether *token* leads anywhere, or ever did."""


class Keyring:
    """The keys of one app of a workspace, or of its knowledge API (`DATASET`).

    Args:
        doors: the engine, which is told of new tokens.
    """

    def __init__(self, doors: Doors, workspace: Workspace, app: str) -> None:
        self._doors, self._workspace = doors, workspace
        self.app = app
        self._installed: Installed | None = workspace.apps.get(app)
        if self._installed is None and app != DATASET:
            msg = f"there is no app {app!r}; there are: {', '.join([*workspace.apps, DATASET])}"
            raise MockdifyError(msg)

    @property
    def keys(self) -> list[Key]:
        """All keys, revoked and expired ones too; a rotated key stands behind the one that replaced it."""
        return self._workspace.dataset_keys if self._installed is None else self._installed.keys

    def __iter__(self) -> Iterator[Key]:
        return iter(self.keys)

    @property
    def _now(self) -> float:
        return self._workspace.clock.now()

    def create(
        self,
        name: str = "default",
        *,
        environment: str = "development",
        token: str | None = None,
        expires_in: float | None = None,
        rotation_period: float | None = None,
    ) -> Key:
        """A new key that opens the app at once.

        Args:
            name: what it is for; several keys may share one.
            environment: one of `ENVIRONMENTS`.
            token: the key itself; None makes one from the workspace's seed.
            expires_in: seconds until it stops working.
            rotation_period: seconds after which it counts as overdue.
        """
        if environment not in ENVIRONMENTS:
            msg = f"{environment!r} is not an environment; there are: {', '.join(ENVIRONMENTS)}"
            raise MockdifyError(msg)
        now = self._now
        key = Key(
            self._free(token) if token is not None else self._fresh(),
            name=name,
            environment=environment,
            id=self._id(len(self.keys) + 1),
            created_at=now,
            expires_at=None if expires_in is None else now + expires_in,
            rotation_period=rotation_period,
        )
        self.keys.append(key)
        self._doors.learn_keys(self._workspace)
        return key

    def rotate(self, which: str | Key, *, grace: float = 0.0) -> Key:
        """A new key in the place of *which*, for the same purpose.

        Args:
            which: a key, or its id, token or name.
            grace: seconds that the old one goes on working; 0 ends it at once.
        """
        old = self.find(which)
        now = self._now
        if old.state(now) != "active":
            msg = f"key {old.name!r} ({mask_key(old.token)}) is {old.state(now)} already; create a new one instead"
            raise MockdifyError(msg)
        new = self.create(old.name, environment=old.environment, rotation_period=old.rotation_period)
        keys = self.keys
        keys.remove(new)
        keys.insert(next(k for k, key in enumerate(keys) if key is old), new)
        old.replaced_by = new.id
        if grace > 0:
            old.expires_at = now + grace if old.expires_at is None else min(old.expires_at, now + grace)
        else:
            old.revoked_at = now
        return new

    def revoke(self, which: str | Key) -> Key:
        """End a key: the next call with it gets Dify's 401. Revoking twice changes nothing."""
        key = self.find(which)
        if key.revoked_at is None:
            key.revoked_at = self._now
        return key

    def find(self, which: str | Key) -> Key:
        """The key with this id, token or name; of several with one name the one that works and was not replaced."""
        if isinstance(which, Key):
            which = which.token
        exact = [key for key in self.keys if which in (key.id, key.token)]
        named = [key for key in self.keys if key.name == which]
        live = [key for key in named if key.state(self._now) == "active" and key.replaced_by is None]
        found = exact or live or named
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(f"{key.id} ({key.environment})" for key in found)
            msg = f"app {self.app!r} has {len(found)} keys called {which!r}; say which by its id: {ids}"
        else:
            known = ", ".join(f"{key.name!r} ({key.id})" for key in self.keys) or "none"
            msg = f"app {self.app!r} has no key {mask_text(which)!r}; it has: {known}"
        raise MockdifyError(msg)

    def _id(self, number: int) -> str:
        return key_id(self._workspace, self.app, number)

    def _fresh(self) -> str:
        """A token nobody has, shaped like Dify's own; the same for the same seed, workspace and count."""
        kind = "dataset-" if self._installed is None else "app-"
        workspace, number = self._workspace, len(self.keys) + 1
        while True:
            scope = f"{workspace.template.seed}\0{workspace.id}\0{self.app}\0token\0{number}"
            digest = blake2b(scope.encode(), digest_size=_LENGTH).digest()
            token = kind + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest)
            if not self._doors.knows_key(token):
                return token
            number += 1

    def _free(self, token: str) -> str:
        if not _TOKEN.fullmatch(token) or "!" in token:
            msg = "a key has ASCII characters without blanks and '!', because it is sent in a header"
            raise MockdifyError(msg)
        if self._doors.knows_key(token):
            msg = f"the key {mask_key(token)} is taken; a key leads to one app of one workspace"
            raise MockdifyError(msg)
        return token


def key_id(workspace: Workspace, app: str, number: int) -> str:
    """The id of an app's *number*-th key: what logs and calls may name, since it opens nothing."""
    return fixed_id(workspace.template.seed, workspace.id, app, "key", number)


def first_keys(workspace: Workspace, app: str, tokens: Mapping[str, str]) -> list[Key]:
    """The keys that a configuration gives an app: *tokens* by their names."""
    now = workspace.clock.now()
    return [
        Key(
            token,
            name=name,
            environment=name if name in ENVIRONMENTS else "development",
            id=key_id(workspace, app, number),
            created_at=now,
        )
        for number, (name, token) in enumerate(tokens.items(), start=1)
    ]


def current(keys: Sequence[Key]) -> Key:
    """The key to use: the first that was not revoked, else the first."""
    return next((key for key in keys if key.revoked_at is None), keys[0])


def report(workspace: Workspace) -> list[dict[str, Any]]:
    """Every key of every app with when it was last used: what is unused, overdue, expired or revoked."""
    now = workspace.clock.now()
    rings = {**{name: app.keys for name, app in workspace.apps.items()}, DATASET: workspace.dataset_keys}
    return [{"app": app, **key.as_dict(now)} for app, keys in rings.items() for key in keys]


def split_key(token: str) -> tuple[str, str]:
    """An API key and the fault written into it: `app-x!cut;after=2` -> (`app-x`, `cut;after=2`)."""
    key, _, suffix = token.partition("!")
    return key, suffix


_NO_HEADER = unauthorized("Authorization header must be provided and start with 'Bearer'")
_NOT_BEARER = unauthorized("Authorization scheme must be 'Bearer'")


def token_of(request: Request) -> tuple[str, DifyError | None]:
    """The bearer token, or what Dify says to a header that has none."""
    header = request.header("authorization")
    if not header or " " not in header.strip():
        return "", _NO_HEADER
    scheme, token = header.split(None, 1)
    if scheme.lower() != "bearer":
        return "", _NOT_BEARER
    return token.strip(), None
