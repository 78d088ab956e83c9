"""Isolation as a state machine: users who talk in any order never hear each other.

```python
Machine = isolation_machine(my_ask)          # my_ask(user, query, conversation_id) -> (text, conversation_id)
TestIsolation = Machine.TestCase
```
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

__all__ = ["Ask", "isolation_machine"]

Ask = Callable[[str, str, str], tuple[str, str]]
"""User, query and conversation id (empty for a new one); the answer's text and its conversation id."""


def isolation_machine(
    ask: Ask, *, users: tuple[str, ...] = ("alice", "bob", "carol"), begin: Callable[[], object] = lambda: None
) -> type[RuleBasedStateMachine]:
    """A machine whose rules are turns of *users* through *ask*, each with a canary that only its own user may hear.

    The app must quote the query, as the mock does when nothing is scripted. *begin* is called before each program.
    """

    class Isolation(RuleBasedStateMachine):
        talks = Bundle("talks")

        def __init__(self) -> None:
            super().__init__()
            begin()
            self.owners: dict[str, str] = {}
            self.turns = 0

        def turn(self, user: str, conversation: str) -> str:
            self.turns += 1
            canary = f"canary-{user}-{self.turns}"
            text, found = ask(user, f"Say {canary}", conversation)
            assert canary in text, f"{user} asked with {canary} and was told {text!r}"
            others = [other for other in users if other != user and f"canary-{other}-" in text]
            assert not others, f"{user} was given what {others[0]} had said"
            owner = self.owners.setdefault(found, user)
            assert owner == user, f"{user} was given a conversation of {owner}"
            assert not conversation or found == conversation, f"{user} went on with {conversation} and got {found}"
            return found

        @rule(target=talks, user=st.sampled_from(users))
        def begin_a_conversation(self, user: str) -> Any:
            """A first turn."""
            known = set(self.owners)
            found = self.turn(user, "")
            assert found not in known, f"{user} began a conversation and was given an old one"
            return multiple((user, found))

        @rule(talk=talks)
        def go_on(self, talk: tuple[str, str]) -> None:
            """A further turn of somebody's own conversation."""
            self.turn(*talk)

        @rule(talk=talks, user=st.sampled_from(users))
        def intrude(self, talk: tuple[str, str], user: str) -> None:
            """A turn in another's conversation: an error, and never an answer in it."""
            owner, conversation = talk
            if owner == user:
                return
            try:
                _, found = ask(user, "Whose is this?", conversation)
            except Exception:  # noqa: BLE001 - any error is right
                return
            message = f"{user} was answered in a conversation of {owner}"
            raise AssertionError(message if found == conversation else f"{message}, in a new one and without a word")

        @invariant()
        def every_conversation_has_one_owner(self) -> None:
            """What was found in passing stays so."""
            assert set(self.owners.values()) <= set(users)

    return Isolation
