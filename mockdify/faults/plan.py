"""When a fault strikes: the rules of one workspace, in the order they were given, and how often each was met.

The order: the request's own header, then its key's suffix, then the workspace's rules as they were given. Of the
faults before the reply the first that strikes is the only one, and counts for no other rule. Otherwise every fault in
the stream strikes, the first given nearest to the honest reply, and the faults of framing around them. They are asked
once the reply has turned out to be a stream, so that a refusal or a blocking answer leaves them unmet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, TypeAlias

from mockdify.faults.base import Fault, FaultContext, Kind, Spec, close, is_stream, lead
from mockdify.faults.rules import Asked, FaultRule, rule_of, rule_of_text
from mockdify.steps import Head, Reply

__all__ = ["Asked", "FaultPlan", "FaultRule", "Strike"]

Note: TypeAlias = Callable[[Sequence[Spec]], object]
"""Told of the faults that strike, in the order they are applied."""


class FaultPlan:
    """The fault rules of one workspace.

    Args:
        scope: what chance depends on, e.g. seed and workspace. A draw comes from the scope, the rule, the app, the
            user and how often that user drew, so that the order of parallel users changes nothing.
    """

    def __init__(self, *scope: object) -> None:
        self._scope = "\0".join(map(str, scope))
        self._draws: dict[tuple[str, str, str], int] = {}
        self._of_keys: dict[str, FaultRule] = {}
        self._made = 0
        self._cleared_at = 0
        self.rules: list[FaultRule] = []

    # ------------------------------------------------------------------ rules
    def inject(self, fault: str | Fault, **said: Any) -> FaultRule:
        """Let *fault* strike matching requests from now on.

        Args:
            fault: a name of the catalogue, a preset, or any object with `apply`.
            said: `on`, `when`, `times` (0 or None is always, 1 the default), `after`, `probability` and the fault's own
                options, as `[[faults]]` writes them.
        """
        if isinstance(fault, str):
            return self.add(rule_of({"fault": fault, **said}))
        rule = rule_of({"fault": "reset", **said})
        return self.add(replace(rule, spec=Spec(kind=_kind_of(fault))))

    def add(self, rule: FaultRule) -> FaultRule:
        """Let *rule* strike from now on, after those that are there."""
        self._made += 1
        rule.id = self._made
        for part in rule.parts:
            part.id = self._made
        self.rules.append(rule)
        return rule

    def remove(self, number: int) -> bool:
        """Forget the rule with this id; whether there was one."""
        before = len(self.rules)
        self.rules = [rule for rule in self.rules if rule.id != number]
        return len(self.rules) < before

    def clear(self) -> None:
        """Forget all rules, what keys with faults in them have counted, and every draw: chance begins anew."""
        self.rules.clear()
        self._of_keys.clear()
        self._draws.clear()
        self._cleared_at = self._made

    def owner(self, spec: Spec) -> FaultRule | None:
        """The rule that *spec* struck for: the one it stands in, or the preset of that one."""
        return next((rule for rule in self.rules if any(one.spec is spec for one in (rule, *rule.parts))), None)

    def unmet(self) -> list[FaultRule]:
        """Rules that still wait for a request."""
        return [rule for rule in self.rules if rule.is_unmet]

    # ------------------------------------------------------------------ a request
    def strike(self, asked: Asked, *, header: str | None = None, token: str = "", suffix: str = "") -> Strike:
        """What the rules will do to this request; nothing is counted yet.

        Args:
            asked: the request.
            header: what `X-Mockdify-Fault` says.
            token: the whole key, with its suffix: what the suffix counts by.
            suffix: the fault written into the key.
        """
        given: list[tuple[str, FaultRule]] = []
        if header is not None:
            given.append((f"header {header}", rule_of_text(header)))
        if suffix:
            given.append((f"key {suffix}", self._of_key(token, suffix)))
        # Rules are told apart by their place since the last `clear`, so that the same rules draw the same again.
        given += [(str(rule.id - self._cleared_at), rule) for rule in self.rules]
        rules = [(f"{name}.{at}", part) for name, rule in given for at, part in enumerate(rule.parts or (rule,))]
        return Strike(plan=self, asked=asked, rules=rules)

    def draw(self, name: str, asked: Asked) -> float:
        """A number from 0 to 1 for the rule called *name*; each draw of an app's user is the next one."""
        who = (name, asked.app, asked.user)
        count = self._draws[who] = self._draws.get(who, 0) + 1
        digest = blake2b("\0".join((self._scope, *who, str(count))).encode(), digest_size=8).digest()
        return int.from_bytes(digest) / 2**64

    def _of_key(self, token: str, suffix: str) -> FaultRule:
        """The rule of a key with a fault in it; each such key counts for itself."""
        rule = self._of_keys.get(token)
        if rule is None:
            rule = self._of_keys[token] = rule_of_text(suffix)
        return rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """What the rules of a plan do to one request. Counts are taken as its methods are called."""

    plan: FaultPlan
    asked: Asked
    rules: Sequence[tuple[str, FaultRule]]

    @property
    def may_damage(self) -> bool:
        """Whether a fault in the stream could strike the reply; nothing is counted."""
        return any(not _is_before(rule) and not rule.spent and rule.matches(self.asked) for _, rule in self.rules)

    def before(self) -> Spec | None:
        """The fault that pre-empts the reply, if one does."""
        struck = (rule.spec for name, rule in self.rules if _is_before(rule) and self._strikes(name, rule))
        return next(struck, None)

    def in_stream(self) -> list[Spec]:
        """The faults of a reply that is a stream, in the order they are applied."""
        struck = [rule.spec for name, rule in self.rules if not _is_before(rule) and self._strikes(name, rule)]
        return sorted(struck, key=lambda spec: (spec.kind.when == "framing", spec.kind.stage))

    def _strikes(self, name: str, rule: FaultRule) -> bool:
        return rule.strikes(self.asked, lambda: self.plan.draw(name, self.asked))

    def around(self, ctx: FaultContext, reply: Reply, note: Note) -> Reply:
        """The honest *reply* with the faults around it that strike it."""
        first = self.before()
        if first is not None:
            note((first,))
            yield from first.make().apply(ctx, reply)
            return
        head = yield from lead(reply)
        if head is None:
            return
        damaged = _from(head, reply)
        struck = self.in_stream() if is_stream(head) else ()
        if struck:
            note(struck)
        for spec in struck:
            damaged = spec.make().apply(ctx, damaged)
        yield from damaged


def _is_before(rule: FaultRule) -> bool:
    return rule.spec.kind.when == "before"


def _from(head: Head, reply: Reply) -> Reply:
    """*reply* once more, from its *head* on."""
    try:
        yield head
        yield from reply
    finally:
        close(reply)


def _kind_of(fault: Fault) -> Kind:
    """The row of a fault that is not in the catalogue: its own `name` and `when` count, where it has them."""
    return Kind(
        name=getattr(fault, "name", type(fault).__name__),
        when=getattr(fault, "when", "before"),
        words=(type(fault).__doc__ or "a fault of your own").partition("\n")[0],
        make=lambda _: fault,
        real="no: a fault of your own",
        advice="",
    )
