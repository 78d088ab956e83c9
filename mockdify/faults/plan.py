"""When a fault strikes: the rules of one workspace, in the order they were given, and how often each was met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mockdify.errors import MockdifyError
from mockdify.faults import Spec, spec_of

__all__ = ["Asked", "FaultPlan", "FaultRule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What rules look at."""

    method: str
    path: str
    rule: str
    app: str
    user: str
    query: str
    key: str
    headers: Mapping[str, str]
    streamed: bool


_CONDITIONS: Mapping[str, Callable[[Asked, Any], bool]] = {
    "user": lambda asked, wanted: asked.user == wanted,
    "query": lambda asked, wanted: asked.query == wanted,
    "key": lambda asked, wanted: asked.key == wanted,
    "app": lambda asked, wanted: asked.app == wanted,
    "header": lambda asked, wanted: all(asked.headers.get(k.lower()) == v for k, v in wanted.items()),
}


@dataclass(slots=True, kw_only=True)
class FaultRule:
    """One injected fault: for which requests, how often, how often so far."""

    id: int
    spec: Spec
    on: str | None = None
    when: Mapping[str, Any] = field(default_factory=dict)
    times: int | None = 1
    """None: every time."""
    after: int = 0
    probability: float = 1.0
    passed: int = 0
    met: int = 0

    def matches(self, asked: Asked) -> bool:
        """Whether this rule is about the request at all."""
        if self.spec.kind.when != "before" and not asked.streamed:
            return False
        if self.on is not None and not _on(self.on, asked):
            return False
        return all(_CONDITIONS[name](asked, wanted) for name, wanted in self.when.items() if name in _CONDITIONS)

    @property
    def spent(self) -> bool:
        """Whether it struck as often as it should."""
        return self.times is not None and self.met >= self.times

    def as_dict(self) -> dict[str, Any]:
        """The rule as JSON."""
        return {
            "id": self.id,
            "fault": self.spec.name,
            "on": self.on,
            "when": dict(self.when),
            "times": self.times or 0,
            "after": self.after,
            "probability": self.probability,
            "options": dict(self.spec.options),
            "met": self.met,
        }


def _on(on: str, asked: Asked) -> bool:
    method, _, path = on.rpartition(" ")
    return (not method or method.upper() == asked.method) and path in (asked.path, asked.rule, "*")


class FaultPlan:
    """The fault rules of one workspace. `pick` says which strike a request; the first given strikes first."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self.rules: list[FaultRule] = []
        self._made = 0
        self._key_counts: dict[str, int] = {}

    def inject(
        self,
        name: str,
        *,
        on: str | None = None,
        when: Mapping[str, Any] | None = None,
        times: int | None = 1,
        after: int = 0,
        probability: float = 1.0,
        **options: Any,
    ) -> FaultRule:
        """Let *name* strike matching requests from now on.

        Args:
            times: how often; 0 or None means always.
            after: for a fault in a stream, how many events pass first; for any other, how many matching requests.
        """
        unknown = set(when or {}) - {*_CONDITIONS, "nth"}
        if unknown:
            msg = f"`when` has no condition {sorted(unknown)[0]!r}; there are: {', '.join([*_CONDITIONS, 'nth'])}"
            raise MockdifyError(msg)
        spec = spec_of(name, options)
        if spec.kind.when == "stream":
            spec = spec_of(name, {**options, "after": after})
            after = 0
        self._made += 1
        rule = FaultRule(
            id=self._made,
            spec=spec,
            on=on,
            when=dict(when or {}),
            times=times or None,
            after=after,
            probability=probability,
        )
        self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget all rules."""
        self.rules.clear()
        self._key_counts.clear()

    def pick(self, asked: Asked) -> list[Spec]:
        """The faults that strike this request, pre-empting ones first; counts are taken."""
        struck: list[Spec] = []
        for rule in self.rules:
            if rule.spent or not rule.matches(asked):
                continue
            rule.passed += 1
            if rule.passed <= rule.after:
                continue
            if (nth := rule.when.get("nth")) is not None and rule.passed != nth:
                continue
            if rule.probability < 1 and self._chance() >= rule.probability:
                continue
            rule.met += 1
            struck.append(rule.spec)
            if rule.spec.kind.when == "before":
                break
        return sorted(struck, key=lambda spec: spec.kind.when != "before")

    def from_key(self, token: str, spec: Spec, times: int | None) -> bool:
        """Whether the fault written into *token* strikes this request of it; each key counts for itself."""
        passes = 0 if spec.kind.when == "stream" else int(spec.options.get("after", 0))
        count = self._key_counts[token] = self._key_counts.get(token, 0) + 1
        return count > passes and (times is None or count <= passes + times)

    def unmet(self) -> list[FaultRule]:
        """Rules that never struck, or not as often as asked."""
        return [rule for rule in self.rules if rule.met == 0 or (rule.times is not None and rule.met < rule.times)]
