"""Refused at the door: keys, switched-off apps, paths, methods."""

from __future__ import annotations

import re
from difflib import SequenceMatcher, get_close_matches
from typing import TYPE_CHECKING

from mockdify.errors import INTERNAL
from mockdify.explain.case import UUID, Case, Finding, ago, router
from mockdify.keys import DATASET, Key, split_key
from mockdify.limits import COMPLETION
from mockdify.masking import mask_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mockdify.limits import Limit, LimitKind

__all__ = ["app_switched_off", "key_refused", "limit_reached", "method_refused", "moved", "path_unknown"]

_SEND = "send the header `Authorization: Bearer KEY`"
_HAVE = "the ready line and the banner of `mockdify serve` have the keys in full; GET /_mockdify/keys lists them masked"
_ELSEWHERE = ("x-api-key", "api-key", "apikey", "x-dify-key", "token", "x-auth-token")
_PLACEHOLDER = re.compile(r"your|<.*>|\$|xxx|\{.*\}|api[_-]?key$", re.IGNORECASE)


# ---------------------------------------------------------------------- keys
def key_refused(case: Case) -> Finding:
    """401: no key, a header that is none, or a key that opens nothing."""
    header = case.request.header("authorization")
    if header is None or not header.strip():
        return _no_header(case, given=header is not None)
    scheme, _, token = header.strip().partition(" ")
    if not token:
        known = _opens(case, scheme)
        what = f"the bare key {mask_key(scheme)}" if known else "a single word"
        return _not_bearer(f"the Authorization header is {what}, without a scheme before it")
    if scheme.lower() != "bearer":
        return _not_bearer(f"the Authorization header's scheme is {scheme!r}")
    return _key_unknown(case, token.strip())


def _no_header(case: Case, *, given: bool) -> Finding:
    evidence = ["the Authorization header is empty" if given else "the request has no Authorization header"]
    for name in _ELSEWHERE:
        value = case.request.header(name)
        if value is not None:
            what = "a key that would open" if _opens(case, value.strip()) else "something"
            evidence.append(f"the header {name} carries {what}, but Dify does not look there")
    if any(_opens(case, value) for value in case.request.query.values()):
        evidence.append("the query carries a key, but Dify does not look there")
    return Finding(
        rule="every call needs an app's API key in the Authorization header",
        evidence=tuple(evidence),
        fix=(_SEND, _HAVE),
    )


def _not_bearer(evidence: str) -> Finding:
    return Finding(
        rule="the Authorization header is `Bearer KEY`; no other scheme is taken", evidence=(evidence,), fix=(_SEND,)
    )


def _keys(case: Case) -> Iterator[tuple[str, Key]]:
    for app in case.workspace.apps.values():
        yield from ((app.name, key) for key in app.keys)
    yield from ((DATASET, key) for key in case.workspace.dataset_keys)


def _opens(case: Case, token: str) -> tuple[str, Key] | None:
    bare = split_key(token)[0]
    return next(((app, key) for app, key in _keys(case) if key.token in (token, bare)), None)


def _key_unknown(case: Case, token: str) -> Finding:
    known = _opens(case, token)
    if known is not None:
        return _key_known(case, *known)
    shown = mask_key(token)
    rule = "an API key opens one app of one workspace; any other text is refused"
    inner = re.sub(r"(?i)^bearer\s+", "", token).strip("\"'`<>{}[]() ")
    if inner != token and (found := _opens(case, inner)) is not None:
        around = "the word Bearer twice" if token.lower().startswith("bearer") else "quotes or brackets around it"
        inside = f"the header has {around}; inside is the key of app {found[0]!r}"
        return Finding(rule=rule, evidence=(inside,), fix=("send `Bearer`, one blank and the bare key",))
    evidence = [f"the key {shown} is unknown here"]
    if _PLACEHOLDER.search(token):
        evidence.append("it looks like a placeholder that was never filled in")
    near = get_close_matches(token, [key.token for _, key in _keys(case)], n=1, cutoff=0.7)
    nearest = tuple(
        f"{mask_key(key.token)}, the key {key.name!r} of app {app!r}: {_difference(token, key.token)}"
        for app, key in _keys(case)
        if key.token in near
    )
    apps = ", ".join(f"{app} {mask_key(key.token)}" for app, key in _keys(case) if key.revoked_at is None)
    fix = (
        f"use one of this workspace's keys: {apps}",
        _HAVE,
        "a key of a deleted workspace, or of another server, is unknown",
    )
    return Finding(rule=rule, evidence=tuple(evidence), nearest=nearest, fix=fix)


def _difference(given: str, known: str) -> str:
    """How two keys differ, without showing either."""
    if given.lower() == known.lower():
        return "only upper and lower case differ"
    if len(given) != len(known):
        return f"{len(given)} characters instead of {len(known)}"
    wrong = sum(a != b for a, b in zip(given, known, strict=True))
    return f"{wrong} of its {len(known)} characters {'is' if wrong == 1 else 'are'} another"


def _key_known(case: Case, app: str, key: Key) -> Finding:
    now, shown = case.exchange.started, f"the key {key.name!r} ({mask_key(key.token)}) of app {app!r}"
    if key.revoked_at is not None and now >= key.revoked_at:
        evidence = [f"{shown} was revoked {ago(key.revoked_at, now)} this request"]
        return _ended(case, app, key, "a revoked key opens nothing, from the next call on", evidence)
    if key.expires_at is not None and now >= key.expires_at:
        evidence = [f"{shown} expired {ago(key.expires_at, now)} this request, by the workspace's clock"]
        return _ended(case, app, key, "a key past its time opens nothing", evidence)
    if app == DATASET:
        return Finding(
            rule="a knowledge key opens the knowledge API only",
            evidence=(f"{shown} is for /v1/datasets; this path belongs to an app",),
            fix=("use the app's key, which begins with app-",),
        )
    if case.match is not None and "/datasets" in case.match.rule:
        return Finding(
            rule="the knowledge API wants a knowledge key",
            evidence=(f"{shown} is an app's",),
            fix=("use the key called `dataset`, which begins with dataset-",),
        )
    # It works now: it was made, or made to work, after this request.
    return Finding(
        rule="an API key works from when it is made",
        evidence=(f"{shown} works now, but did not then",),
        fix=("ask again",),
    )


def _ended(case: Case, app: str, key: Key, rule: str, evidence: list[str]) -> Finding:
    successor = next((one for _, one in _keys(case) if one.id == key.replaced_by), None)
    nearest: tuple[str, ...] = ()
    if successor is not None:
        evidence.append("it was rotated")
        nearest = (f"its successor is {mask_key(successor.token)} ({successor.id})",)
    fix = (f"use the app's current key, or create one: POST /_mockdify/apps/{app}/keys",)
    return Finding(rule=rule, evidence=tuple(evidence), nearest=nearest, fix=fix)


def app_switched_off(case: Case) -> Finding:
    """403: the app's API is off."""
    name = case.exchange.app or "?"
    token = mask_key(split_key((case.request.header("authorization") or "").partition(" ")[2].strip())[0])
    return Finding(
        rule="an app whose API is switched off answers nobody",
        evidence=(f"the key {token} is known, but the API of its app {name!r} is switched off",),
        fix=(
            f"set `api_enabled = true` for {name!r} in mockdify.toml, or leave it out",
            "or use the key of another app",
        ),
    )


# ---------------------------------------------------------------------- paths and methods
def path_unknown(case: Case) -> Finding:
    """404 as an HTML page: no route has this path."""
    path = case.request.path
    rule = "Dify's service API has exactly its own paths, under /v1, without a slash at the end"
    fixed, changes = _repaired(path)
    if fixed is not None:
        said = f"the path {case.mask.text(path)} differs from {fixed} by {' and '.join(changes)}"
        return Finding(rule=rule, evidence=(said,), nearest=(fixed,), fix=(f"ask for {fixed}",))
    near = _nearest_rule(path)
    evidence = [f"there is no route for {case.mask.text(path)}"]
    nearest: tuple[str, ...] = ()
    if near is not None:
        nearest = (near,)
        evidence += _segments(path, near)
    return Finding(
        rule=rule,
        evidence=tuple(evidence),
        nearest=nearest,
        fix=(f"ask for {near}" if near else "see `mockdify contracts` for all paths",),
    )


_REPAIRS: tuple[tuple[Callable[[str], str], str], ...] = (
    (lambda path: path.strip(), "blanks around it"),
    (lambda path: path.lower(), "upper case letters"),
    (lambda path: re.sub("/{2,}", "/", path), "doubled slashes"),
    (lambda path: path.rstrip("/") or "/", "a slash at the end"),
    (
        lambda path: re.sub(r"^/(?:console/)?api/", "/v1/", path),
        "the prefix /api, which is the WebApp's, instead of /v1",
    ),
    (
        lambda path: re.sub(r"^(?:/v1)+/v1/", "/v1/", path),
        "the prefix /v1 twice, as a base URL that has it already gives",
    ),
    (lambda path: path if path.startswith("/v1") else f"/v1{path}", "the missing prefix /v1"),
    (lambda path: path.replace("_", "-"), "underscores instead of hyphens"),
)


def _repaired(path: str) -> tuple[str | None, list[str]]:
    """A path that is served, and by what *path* differs from it; None when the usual mistakes do not explain it."""
    changes = []
    for repair, words in _REPAIRS:
        better = repair(path)
        if better != path:
            path = better
            changes.append(words)
            if router().find(path) is not None:
                return path, changes
    return None, []


def _rules() -> list[str]:
    from mockdify.endpoints import ENDPOINTS  # noqa: PLC0415 - endpoints bring much along

    return list(dict.fromkeys(row.rule for row in ENDPOINTS))


def _nearest_rule(path: str) -> str | None:
    plain = {re.sub(r"<\w+:\w+>", "*", rule): rule for rule in _rules()}
    near = get_close_matches(UUID.sub("*", path), plain, n=1, cutoff=0.6)
    return plain[near[0]] if near else None


def _segments(path: str, rule: str) -> list[str]:
    """What differs, part by part, when both have as many."""
    given, wanted = path.strip("/").split("/"), rule.strip("/").split("/")
    if len(given) != len(wanted):
        return [f"it has {len(given)} parts, {rule} has {len(wanted)}"]
    told = []
    for one, other in zip(given, wanted, strict=True):
        if other.startswith("<uuid:") and not UUID.fullmatch(one):
            told.append(f"{one!r} is no UUID, which {other} wants")
        elif not other.startswith("<") and one != other:
            told.append(f"{one!r} instead of {other!r}{_letters(one, other)}")
    return told


def _letters(given: str, wanted: str) -> str:
    """The letters that are missing or too many, when they are few."""
    changed = [op for op in SequenceMatcher(None, given, wanted, autojunk=False).get_opcodes() if op[0] != "equal"]
    if len(changed) != 1:
        return ""
    kind, i1, i2, j1, j2 = changed[0]
    if kind == "insert":
        return f" ({wanted[j1:j2]!r} is missing)"
    return f" ({given[i1:i2]!r} is too much)" if kind == "delete" else ""


def method_refused(case: Case) -> Finding:
    """405: the path is known, the method is not one of its."""
    allowed = case.match.allowed if case.match else ""
    rule = case.match.rule if case.match else case.request.path
    return Finding(
        rule="a path is served with its own methods only",
        evidence=(f"{case.request.method} was sent to {rule}, which has {allowed}",),
        fix=(f"use one of {allowed}",),
    )


def limit_reached(case: Case) -> Finding | None:
    """429, Dify's 400 of it, or the 500 of a release that does not know it: beyond a limit of the workspace."""
    kind = _limit_kind(case)
    limits = case.workspace.limits.limits if case.workspace.limits is not None else ()
    told = [limit for limit in limits if limit.kind == kind]
    if kind is None or not told:
        return None
    again = next((value for name, value in case.exchange.headers if name.lower() == "retry-after"), None)
    wait = (f"wait {again} s, as Retry-After says, or let time pass: POST /_mockdify/clock",) if again else ()
    return Finding(
        rule=_LIMIT_RULES[kind],
        evidence=tuple(f"there is a limit: {_limit_in_words(limit)}" for limit in told),
        fix=(*wait, "ask more slowly, or change [limits] in the configuration"),
    )


_LIMIT_RULES: Mapping[LimitKind, str] = {
    "concurrency": "an app answers so many requests at once; Dify answers the others with a 400, its documents say 429",
    "quota": "the plan allows so many runs; 1.13 fails with a 500 where a completion app is beyond it",
    "edge": "a proxy in front of Dify lets so many requests through",
}


def _limit_kind(case: Case) -> LimitKind | None:
    if case.status == INTERNAL.status and case.request.path != COMPLETION:
        return None
    if "maximum concurrent requests" in case.message:
        return "concurrency"
    return "quota" if case.told else "edge"


def _limit_in_words(limit: Limit) -> str:
    how_many = " and ".join(f"{rate.count} in {rate.seconds:g} s" for rate in limit.rate) or f"{limit.max} at once"
    about = "".join(f", of {name} {value!r}" for name in ("app", "user") if (value := getattr(limit, name)))
    return f"{limit.kind}, {how_many} per {limit.per}{about}{f', on {limit.on}' if limit.on else ''}"


def moved(case: Case) -> Finding:
    """308: the path is written otherwise."""
    location = next((value for name, value in case.exchange.headers if name.lower() == "location"), "")
    return Finding(
        rule="a path with doubled slashes is sent on to the clean one; so is /v1 to /v1/",
        evidence=(f"the answer's Location is {case.mask.text(location)}",),
        fix=("look at the base URL: it should end in /v1 without a slash, and paths should begin with one",),
    )
