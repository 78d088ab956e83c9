"""Which answer a scripted model gives next.

Answers are rules: the first that matches answers. A `Rule` is a value that many workspaces share; how often it was
used is known to each workspace's own `Script` alone. Nothing here does I/O, reads a clock or rolls dice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from mockdify import templates
from mockdify.errors import MockdifyError
from mockdify.model import FAILURES, ModelFailure, Prices, cut
from mockdify.values import value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mockdify.model import Failure

__all__ = [
    "VARIABLES",
    "Ask",
    "Checked",
    "Choice",
    "Explained",
    "NodeScript",
    "Round",
    "Rule",
    "Script",
    "When",
]

VARIABLES = ("query", "inputs", "user", "turn", "app", "node", "history")
"""What the template of an answer may use."""

_PRICE_KEYS = frozenset(Prices.__dataclass_fields__)
_MOST_PLANS = 10_000
_SHORT = 500
"""Texts up to this many characters are worth keeping or comparing."""
_ABSENT = object()


@dataclass(slots=True, kw_only=True)
class Ask:
    """One call of a model: what rules look at and templates may use.

    Not frozen, although nobody changes it: one is made for each call, and freezing triples the cost.
    """

    app: str
    user: str = ""
    query: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    turn: int = 1
    """The how-manieth question of its conversation this is, from 1."""
    node: str | None = None
    """The id of the LLM node that asks; None in apps without a graph."""
    history: Sequence[Any] = ()


@value
class When:
    """What must hold for a rule to answer; None and an empty table ask for nothing."""

    query: str | None = None
    query_matches: re.Pattern[str] | None = None
    user: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    turn: int | None = None
    node: str | None = None
    app: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every call matches."""
        return not self.conditions()

    def conditions(self) -> tuple[Condition, ...]:
        """The conditions that are set, in a fixed order."""
        plain = [
            Condition(name, getattr(self, name), _getter(name), _equal)
            for name in ("app", "node", "user", "turn", "query")
            if getattr(self, name) is not None
        ]
        if self.query_matches is not None:
            plain.append(Condition("query_matches", self.query_matches, _getter("query"), _found))
        plain += [Condition(f"inputs.{key}", wanted, _input(key), _equal) for key, wanted in self.inputs.items()]
        return tuple(plain)


class Condition(NamedTuple):
    """One condition: its name, what it wants, where it looks and how it compares."""

    name: str
    wanted: Any
    get: Callable[[Ask], Any]
    holds: Callable[[Any, Any], bool]

    def check(self, ask: Ask) -> Checked:
        """How this condition meets *ask*."""
        got = self.get(ask)
        wanted = self.wanted.pattern if isinstance(self.wanted, re.Pattern) else self.wanted
        return Checked(self.name, wanted, None if got is _ABSENT else got, self.holds(self.wanted, got))


def _getter(name: str) -> Callable[[Ask], Any]:
    return lambda ask: getattr(ask, name)


def _input(key: str) -> Callable[[Ask], Any]:
    return lambda ask: ask.inputs.get(key, _ABSENT)


def _equal(wanted: Any, got: Any) -> bool:
    return bool(wanted == got) and isinstance(wanted, bool) == isinstance(got, bool)  # True is not 1


def _found(wanted: re.Pattern[str], got: str) -> bool:
    return wanted.search(got) is not None


@value
class Round:
    """One round of an agent: a tool that it uses, or (without `tool`) what it says at the end."""

    thought: str = ""
    tool: str = ""
    tool_input: Any = None
    observation: str = ""
    chunks: tuple[str, ...] | None = None
    answer: str | None = None


@value
class Rule:
    """A scripted answer and when it is given. What it says is the first it has of `rounds`, `chunks` and `answer`."""

    when: When = field(default_factory=When)
    answer: str | None = None
    """A text or a Jinja2 template over `VARIABLES`."""
    chunks: tuple[str, ...] | None = None
    """The deltas, exactly as they are sent."""
    usage: Mapping[str, Any] = field(default_factory=dict)
    """Keys of Dify's usage object that are fixed, prices among them."""
    pace: float | None = None
    """Seconds between chunks; None leaves it to the workspace."""
    retriever_resources: tuple[Mapping[str, Any], ...] = ()
    rounds: tuple[Round, ...] = ()
    fails: Failure | None = None
    message: str | None = None
    """What the failing model says; None for the text its kind usually has."""
    after: int = 0
    """How many chunks are out before it fails."""
    times: int | None = None
    """How often it answers before it is used up; None for ever."""
    label: str = ""
    """Where it was written, for messages: `apps[0].answers[1]`."""


class Choice(NamedTuple):
    """What the model says this time. `rule` is None when nothing was scripted.

    `rounds` is empty unless the rule has some; then `chunks` are those of the last round.
    A named tuple, since one is made for each call and a frozen dataclass of nine fields costs 3 µs.
    """

    rule: Rule | None
    chunks: tuple[str, ...]
    prices: Prices = Prices()  # noqa: RUF100, B008 - frozen
    overrides: Mapping[str, Any] = MappingProxyType({})
    pace: float | None = None
    fails: ModelFailure | None = None
    after: int = 0
    rounds: tuple[Round, ...] = ()
    retriever_resources: tuple[Mapping[str, Any], ...] = ()


@value
class NodeScript:
    """What a node of a graph does instead of its work."""

    node: str
    outputs: Mapping[str, Any] | None = None
    """Values, whose texts may be templates over the node's inputs; None leaves the node its own way."""
    fails: str | None = None
    takes: float = 0.0

    def outputs_for(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs with *inputs* filled in."""
        filled: dict[str, Any] = templates.rendered(self.outputs or {}, inputs)
        return filled


class Checked(NamedTuple):
    """How one condition met one call."""

    condition: str
    wanted: Any
    got: Any
    ok: bool

    def __str__(self) -> str:
        if self.condition == "times":
            left = self.wanted - self.got
            return f"✓ times {self.wanted}, {left} left" if self.ok else f"✗ times: used up, all {self.wanted}"
        if self.ok:
            return f"✓ {self.condition} {self.wanted!r}"
        return f"✗ {self.condition}: wanted {self.wanted!r}, got {self.got!r}"


class Explained(NamedTuple):
    """One rule and how each of its conditions met one call."""

    rule: Rule
    conditions: list[Checked]

    @property
    def matches(self) -> bool:
        """Whether the rule would have answered, had none before it."""
        return all(checked.ok for checked in self.conditions)


class _Entry:
    """A rule at its place in one workspace's script, and how often it was used there."""

    __slots__ = ("app", "fixed", "in_sequence", "limit", "rule", "tests", "used")

    def __init__(self, rule: Rule, app: str | None, *, in_sequence: bool = False) -> None:
        self.rule = rule
        self.app = app
        self.in_sequence = in_sequence
        self.used = 0
        self.limit = rule.times
        self.tests = tuple((c.get, c.holds, c.wanted) for c in rule.when.conditions())
        self.fixed: Choice | None = None

    def matches(self, ask: Ask) -> bool:
        if self.limit is not None and self.used >= self.limit:
            return False
        for get, holds, wanted in self.tests:  # noqa: SIM110 - a generator costs more than the tests
            if not holds(wanted, get(ask)):
                return False
        return True


Rules: TypeAlias = Iterable[Rule]


class Script:
    """The answers of one workspace: its rules in order, and how often each was used.

    Args:
        rules: those of the whole workspace.
        apps: those of single apps, by the app's name; they go before the workspace's.
        defaults: what is said when no rule matches, and whatever a rule leaves open of text and prices.
        nodes: what nodes of graphs do, by the app's name.
    """

    def __init__(
        self,
        *,
        rules: Rules = (),
        apps: Mapping[str, Rules] | None = None,
        defaults: Rule | None = None,
        nodes: Mapping[str, Iterable[NodeScript]] | None = None,
    ) -> None:
        self._given = [_Entry(rule, app) for app, many in (apps or {}).items() for rule in many]
        self._given += [_Entry(rule, None) for rule in rules]
        self._given_nodes = {(app, one.node): one for app, many in (nodes or {}).items() for one in many}
        self.defaults = defaults
        self.used = 0
        """How many answers were given, default ones too."""
        self._default = self._fixed(defaults)
        self.reset()

    def reset(self) -> None:
        """Forget what was added since and how often anything was used."""
        self._added: list[_Entry] = []
        self._nodes = dict(self._given_nodes)
        self._plans: dict[str, tuple[_Entry, ...]] = {}
        self.used = 0
        for entry in self._given:
            entry.used = 0

    def add(self, rule: Rule, *, app: str | None = None, in_sequence: bool = False) -> None:
        """Add *rule* for *app* (None: every app), before all that was given, behind what was added earlier.

        Rules added *in_sequence* that have neither conditions nor `times` answer once each, the last for ever.
        """
        self._added.append(_Entry(rule, app, in_sequence=in_sequence and rule.times is None and rule.when.is_empty))
        for scope in {entry.app for entry in self._added}:
            chain = [entry for entry in self._added if entry.in_sequence and entry.app == scope]
            for k, entry in enumerate(chain, 1):
                entry.limit = None if k == len(chain) else 1
        self._plans.clear()

    def take_over(self, other: Script) -> None:
        """Let everything that was added to *other* since it was made hold here too."""
        self._added = list(other._added)
        given = other._given_nodes
        self._nodes |= {place: node for place, node in other._nodes.items() if given.get(place) is not node}
        self.used = other.used
        self._plans.clear()

    def set_node(self, app: str, node: NodeScript) -> None:
        """Let a node of *app* do as *node* says from now on."""
        self._nodes[app, node.node] = node

    def node(self, app: str, node: str) -> NodeScript | None:
        """What the node of that id does in *app*; None when nothing was said."""
        return self._nodes.get((app, node))

    def choose(self, ask: Ask) -> Choice:
        """What the model says to *ask*, counted as said."""
        self.used += 1
        plan = self._plans.get(ask.app)
        for entry in self._plan(ask.app) if plan is None else plan:
            if entry.matches(ask):
                entry.used += 1
                return self._said(entry, ask)
        if self._default is not None:
            return self._default
        return self._choice(self.defaults, ask) if self.defaults is not None else _echo(ask.query)

    def unused(self) -> list[Rule]:
        """The rules that have answered nothing so far, in order."""
        return [entry.rule for entry in (*self._added, *self._given) if not entry.used]

    def explain(self, ask: Ask) -> list[Explained]:
        """How every rule's conditions meet *ask*, the closest rules first. Nothing is counted."""
        return sorted((_explained(entry, ask) for entry in (*self._added, *self._given)), key=_distance)

    def _plan(self, app: str) -> tuple[_Entry, ...]:
        """The rules that *app* tries: added ones first; in each part its own before the workspace's, as written."""
        parts = [(many, scope) for many in (self._added, self._given) for scope in (app, None)]
        plan = tuple(entry for many, scope in parts for entry in many if entry.app == scope)
        if len(self._plans) < _MOST_PLANS:  # whoever asks for ever new names makes no more than this many
            self._plans[app] = plan
        return plan

    def _said(self, entry: _Entry, ask: Ask) -> Choice:
        if entry.fixed is None:
            entry.fixed = self._fixed(entry.rule)
        return entry.fixed or self._choice(entry.rule, ask)

    def _fixed(self, rule: Rule | None) -> Choice | None:
        """The choice that *rule* always gives; None when it depends on the call, or fails with a fresh error."""
        speaker = self._speaker(rule)
        if rule is None or speaker is None or rule.fails is not None or _depends_on_call(speaker):
            return None
        return self._choice(rule, Ask(app=""))

    def _speaker(self, rule: Rule | None) -> Rule | None:
        """Whose words are said: the rule's, else the defaults', else nobody's."""
        return next((one for one in (rule, self.defaults) if one is not None and _has_words(one)), None)

    def _choice(self, rule: Rule, ask: Ask) -> Choice:
        rounds, chunks = _spoken(self._speaker(rule), ask)
        usage = rule.usage
        if self.defaults is not None:  # a price is the model's, not the answer's
            usage = {key: one for key, one in self.defaults.usage.items() if key in _PRICE_KEYS} | dict(usage)
        return Choice(
            rule=rule,
            chunks=chunks,
            prices=Prices(**{key: one for key, one in usage.items() if key in _PRICE_KEYS}),
            overrides={key: one for key, one in usage.items() if key not in _PRICE_KEYS},
            pace=rule.pace,
            # A new one each time: a raised exception collects tracebacks.
            fails=None if rule.fails is None else _failure(rule.fails, rule.message),
            after=rule.after,
            rounds=rounds,
            retriever_resources=rule.retriever_resources,
        )


def _failure(kind: Failure, message: str | None) -> ModelFailure:
    return ModelFailure(kind, FAILURES[kind] if message is None else message)


def _has_words(rule: Rule) -> bool:
    return bool(rule.rounds) or rule.chunks is not None or rule.answer is not None


def _depends_on_call(rule: Rule) -> bool:
    if rule.rounds:
        return bool(rule.rounds[-1].tool) or any(templates.is_template(repr(one)) for one in rule.rounds)
    return rule.chunks is None and templates.is_template(rule.answer or "")


def _spoken(rule: Rule | None, ask: Ask) -> tuple[tuple[Round, ...], tuple[str, ...]]:
    """The rounds and the (last) chunks that *rule* says to *ask*."""
    if rule is None:
        return (), _quoted(ask.query)
    if rule.chunks is not None and not rule.rounds:
        return (), rule.chunks
    variables = {name: getattr(ask, name) for name in VARIABLES}
    try:
        if not rule.rounds:
            return (), cut(templates.render(rule.answer or "", variables))
        rounds = [_round(one, variables) for one in rule.rounds]
    except MockdifyError as err:
        raise MockdifyError(f"{rule.label or 'answer'}: {err}") from None
    if rounds[-1].tool:  # an agent that only uses tools still has to say something
        rounds.append(Round(chunks=_quoted(ask.query)))
    return tuple(rounds), rounds[-1].chunks or ()


def _round(one: Round, variables: Mapping[str, Any]) -> Round:
    fill = partial(templates.rendered, variables=variables)
    chunks = one.chunks
    if chunks is None:
        chunks = () if one.answer is None else cut(fill(one.answer))
    return replace(
        one,
        thought=fill(one.thought),
        tool_input=fill(one.tool_input),
        observation=fill(one.observation),
        chunks=chunks,
        answer=None,
    )


def _echo(query: str) -> Choice:
    """What an app without a script says: something of its own that quotes the query."""
    return _kept_echo(query) if len(query) <= _SHORT else Choice(rule=None, chunks=_quoted(query))


def _quoted(query: str) -> tuple[str, ...]:
    return cut(f"The mock heard: {query}")


@lru_cache(maxsize=1024)
def _kept_echo(query: str) -> Choice:
    return Choice(rule=None, chunks=_quoted(query))


def _explained(entry: _Entry, ask: Ask) -> Explained:
    checked = [condition.check(ask) for condition in entry.rule.when.conditions()]
    if entry.app is not None:
        checked.insert(0, Checked("app", entry.app, ask.app, entry.app == ask.app))
    if entry.limit is not None:
        left = entry.limit - entry.used
        checked.append(Checked("times", entry.limit, entry.used, left > 0))
    return Explained(entry.rule, checked)


def _distance(explained: Explained) -> tuple[int, float]:
    failed = [one for one in explained.conditions if not one.ok]
    return len(failed), -sum(_likeness(one) for one in failed)


def _likeness(checked: Checked) -> float:
    """How near a text that differs comes: the typing error before the stranger."""
    if not isinstance(checked.wanted, str) or not isinstance(checked.got, str):
        return 0.0
    from difflib import SequenceMatcher  # noqa: PLC0415 - only to explain

    return SequenceMatcher(None, checked.wanted[:_SHORT], checked.got[:_SHORT], autojunk=False).ratio()
