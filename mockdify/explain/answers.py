"""What was answered: by which scripted rule, or by which it nearly was; and how streams ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mockdify.errors import MockdifyError
from mockdify.explain.case import Case, Finding
from mockdify.faults import rule_of_text
from mockdify.script import Ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mockdify.faults import Spec
    from mockdify.script import Explained, Rule

__all__ = [
    "answered",
    "ended",
    "fault_struck",
    "fault_unknown",
    "faults_unmet",
    "model_failed",
    "model_unknown",
    "not_recorded",
    "run_failed",
]

_SHOWN = 5
_GENERATING = (
    "/v1/chat-messages",
    "/v1/completion-messages",
    "/v1/workflows/run",
    "/v1/workflows/<string:workflow_id>/run",
)


# ---------------------------------------------------------------------- faults
def fault_struck(case: Case) -> Finding | None:
    """The faults that struck, and who injected them."""
    if not case.exchange.struck:
        return None
    evidence, fix = [], []
    for spec in case.exchange.struck:
        said, how = _injected(case, spec)
        evidence.append(f"{spec.name}: {spec.kind.words}")
        evidence.append(f"{spec.name} {said}")
        fix.append(how)
    before = any(spec.kind.when == "before" for spec in case.exchange.struck)
    if before:
        evidence.append("it came before the reply: no answer was used up and no conversation made")
    return Finding(
        rule=f"the fault {case.exchange.fault} was injected into this exchange",
        evidence=tuple(evidence),
        fix=tuple(dict.fromkeys(fix)),
    )


def _injected(case: Case, spec: Spec) -> tuple[str, str]:
    """Who injected a fault, and how it is taken back."""
    rule = case.workspace.faults.owner(spec)
    if rule is not None:
        origin = case.workspace.fault_origins.get(rule.id, "in Python or by the configuration")
        conditions = [f"on {rule.on}" if rule.on else "", *(f"{key} = {value!r}" for key, value in rule.when.items())]
        about = ", ".join(filter(None, conditions)) or "every request"
        times = f"{rule.struck} times so far" if rule.times is None else f"{rule.struck} of {rule.times} times so far"
        said = f"was injected as rule {rule.id} ({origin}; {about}); it struck {times}"
        return case.mask.text(said), f"DELETE /_mockdify/faults/{rule.id} takes it back"
    named = case.request.header("x-mockdify-fault")
    if named is not None and _names(named, spec.name):
        return f"was named by the request's header X-Mockdify-Fault: {named}", "leave the header X-Mockdify-Fault out"
    suffix = (case.request.header("authorization") or "").partition("!")[2]
    if suffix and _names(suffix, spec.name):
        return f"is written into the API key, behind the '!': {suffix}", "send the key without the '!' and what follows"
    return "was injected by a rule that is not there any more", "nothing: the rule is gone"


def _names(text: str, name: str) -> bool:
    """Whether *text* of a header or a key names that fault, or a preset that it is a part of."""
    try:
        rule = rule_of_text(text)
    except MockdifyError:
        return False
    return any(one.spec.name == name for one in (rule, *rule.parts))


def faults_unmet(case: Case) -> list[str]:
    """What the request named in its header or key that did not strike, and why not."""
    if any(spec.kind.when == "before" for spec in case.exchange.struck) or case.code == "mockdify_fault":
        return []
    header = case.request.header("x-mockdify-fault")
    suffix = (case.request.header("authorization") or "").partition("!")[2]
    struck = {spec.name for spec in case.exchange.struck}
    return [line for text in (header, suffix) if text for line in _unmet(case, text, struck)]


def _unmet(case: Case, text: str, struck: set[str]) -> Iterator[str]:
    try:
        rule = rule_of_text(text)
    except MockdifyError:
        return
    if struck & {one.spec.name for one in (rule, *rule.parts)}:
        return
    about = case.mask.text(f"the fault {text!r} did not strike:")
    if case.app is None or case.match is None:
        yield f"{about} faults strike what an app's key and a known path let in"
    elif rule.spec.kind.when in ("stream", "framing") and not case.exchange.is_stream:
        yield f"{about} it concerns streams, and this answer is none"
    else:
        yield f"{about} its times are used up, or its other conditions (after, on, probability) did not hold"


def fault_unknown(case: Case) -> Finding:
    """400: the header or the key names a fault that does not exist."""
    return Finding(
        rule="a fault is named as `mockdify faults` lists it",
        evidence=(case.message,),
        fix=("correct the header X-Mockdify-Fault, or what follows the '!' in the key",),
    )


def not_recorded(case: Case) -> Finding:
    """The server plays a recording that has no answer to this."""
    told = case.told
    near = told.get("closest") if isinstance(told.get("closest"), list) else []
    nearest = [f"{one.get('interaction')}: {'; '.join(map(str, one.get('differences') or ()))}" for one in near or ()]
    routes = told.get("routes")
    return Finding(
        rule="a server that plays a recording answers what was recorded, and nothing else",
        evidence=(case.message,),
        nearest=tuple(nearest) or tuple(map(str, routes if isinstance(routes, list) else ())),
        fix=(
            "record it too: mockdify record --upstream URL --cassette FILE",
            "or ask as it was recorded; `repeat` says what a sequence that is used up answers",
        ),
    )


# ---------------------------------------------------------------------- the model
def model_failed(case: Case) -> Finding | None:
    """The scripted model failed, as its rule says."""
    rule = case.exchange.answer
    if rule is None or rule.fails is None:
        return None
    after = f", after {rule.after} chunks" if rule.after else ""
    return Finding(
        rule="when the model fails, the app reports it as Dify does in its mode and release",
        evidence=(f"the scripted answer {_label(rule)} makes the model fail: {rule.fails!r}{after}", *_met(case, rule)),
        fix=(f"take `fails` out of {_label(rule)}, or give it a `when` that this request does not meet",),
    )


def run_failed(case: Case, error: str) -> Finding:
    """A graph's run failed in one of its nodes."""
    nodes = [one.get("data") for one in case.exchange.events if one.get("event") == "node_finished"]
    failed = [node for node in nodes if isinstance(node, dict) and node.get("status") in ("failed", "exception")]
    evidence, fix = [f"the run's error is {error!r}"], []
    for node in failed:
        name = f"node {node.get('node_id')!r} ({node.get('node_type')})"
        script = case.workspace.script.node(case.exchange.app or "", str(node.get("node_id")))
        evidence.append(f"{name} failed: {node.get('error')!r}")
        if script is not None and script.fails is not None:
            evidence.append(f"a script says that {name} fails with {script.fails!r}")
            fix.append(f"take `fails` out of what is scripted for {name}")
    return Finding(
        rule="when a node fails, the run fails with it, inside a reply that says 200",
        evidence=tuple(evidence),
        fix=tuple(fix) or ("look at the node's inputs in the events, or script its outputs with [[apps.nodes]]",),
    )


def model_unknown(case: Case) -> Finding:
    """400: the app's model is not among the workspace's."""
    model = case.app.app.model if case.app is not None else None
    named = f"{model.provider}/{model.name}" if model is not None else "?"
    models = ", ".join(sorted(case.workspace.template.models or ())) or "none"
    return Finding(
        rule="with `models` in the configuration, only those exist",
        evidence=(f"app {case.exchange.app!r} uses {named}", f"`models` has: {models}"),
        fix=(f"add {named!r} to `models`, or leave `models` out",),
    )


def answered(case: Case) -> Finding:
    """A request that was served: which scripted answer it got."""
    if case.match is None or case.match.rule not in _GENERATING or case.exchange.method != "POST":
        return Finding(
            rule="the request was served as Dify serves it", evidence=(f"it answered {case.exchange.status}",)
        )
    rule = case.exchange.answer
    if rule is not None and rule is not case.workspace.script.defaults:
        evidence = (f"the scripted answer {_label(rule)} was used", *_met(case, rule))
        return Finding(rule="the first scripted answer that matches is given", evidence=evidence)
    closest = _closest(case)
    what = "the `[defaults]` answer" if rule is not None else "a text that quotes the query"
    why = "no scripted answer matched" if closest else f"nothing is scripted for app {case.exchange.app!r}"
    return Finding(
        rule="the first scripted answer that matches is given; when none does, the default",
        evidence=(f"{why}, so that {what} was given",),
        nearest=tuple(closest),
        fix=(
            "add an answer: [[apps.answers]] in the file or .answer(…) in Python",
            f"or over HTTP: POST /_mockdify/apps/{case.exchange.app}/answers",
        ),
    )


def _label(rule: Rule) -> str:
    return rule.label or "without a name"


def _ask(case: Case, node: str | None = None) -> Ask | None:
    """The question as the script saw it, as far as the request tells."""
    app = case.app
    if app is None:
        return None
    inputs = case.asked.get("inputs")
    inputs = inputs if isinstance(inputs, dict) else {}
    query = str(case.asked.get("query") or "")
    if app.mode == "completion":
        from mockdify.endpoints.chat import fill  # noqa: PLC0415 - endpoints bring much along

        query = fill(app.app.pre_prompt, inputs) or query
    return Ask(app=app.name, user=case.user, query=query, inputs=inputs, turn=_turn(case), node=node)


def _turn(case: Case) -> int:
    """The how-manieth question of its conversation this was."""
    shown = next(iter(case.exchange.events), {}) if case.exchange.is_stream else case.exchange.json
    shown = shown if isinstance(shown, dict) else {}
    conversation_id = shown.get("conversation_id") or case.asked.get("conversation_id")
    partition = case.workspace.store.users.get((case.exchange.app or "", case.user))
    conversation = partition.conversations.get(str(conversation_id)) if partition is not None else None
    if conversation is None:
        return 1
    ids = [message.id for message in conversation.messages]
    message_id = shown.get("message_id")
    return ids.index(message_id) + 1 if message_id in ids else len(ids) + 1


def _explained(case: Case) -> list[Explained]:
    ask = _ask(case)
    if ask is None:
        return []
    return [one for one in case.workspace.script.explain(ask) if _concerns(one, ask.app)]


def _concerns(explained: Explained, app: str) -> bool:
    """Whether a rule is about this app at all: those of others are no near misses."""
    return all(one.ok or one.condition != "app" or one.wanted == app for one in explained.conditions)


def _met(case: Case, rule: Rule) -> tuple[str, ...]:
    if rule.when.is_empty:
        return ("it has no conditions",)
    found = next((one for one in _explained(case) if one.rule is rule), None)
    # What a node was asked is not in the request: those conditions held, or the rule had not answered.
    return tuple(case.mask.text(str(one)) for one in found.conditions if one.ok) if found is not None else ()


def _closest(case: Case) -> list[str]:
    """The scripted answers that came nearest, with a mark for each condition."""
    lines = []
    for one in _explained(case)[:_SHOWN]:
        marks = "  ".join(map(str, one.conditions)) or "no conditions"
        lines.append(case.mask.text(f"{_label(one.rule)}: {marks}"))
    return lines


# ---------------------------------------------------------------------- how it ended
def ended(case: Case) -> Finding | None:
    """An end that is not the usual one."""
    exchange = case.exchange
    sent = (
        f"{len(exchange.events)} events, {exchange.sent_bytes} bytes"
        if exchange.is_stream
        else f"{exchange.sent_bytes} bytes"
    )
    how = {
        "open": ("the reply is still under way", f"so far {sent} were sent", "look again later"),
        "client gone": (
            "the client closed the connection before the reply was over",
            f"it had been sent {sent}, the last of them after {exchange.ms:g} ms",
            "look at the client's timeout; a stream is read until its last event",
        ),
        "reset": (
            "the workspace was reset or deleted while the reply was under way",
            f"{sent} had been sent",
            "read a stream to its end before the test ends",
        ),
    }.get(exchange.ended)
    if how is None:
        return None
    rule, evidence, fix = how
    return Finding(rule=rule, evidence=(evidence,), fix=(fix,))
