"""A recording asked again of a live server: cassette, contract and server compared, and the odd one out named.

Ids that a server makes up stand for each other: what the recording calls a conversation is, from the first reply that
names it, what the live server calls it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from mockdify.cassettes.files import load
from mockdify.cassettes.interaction import Interaction
from mockdify.cassettes.match import is_id
from mockdify.cassettes.proxy import sendable
from mockdify.cassettes.verify import (
    Drift,
    Grade,
    Report,
    aged,
    cassettes_in,
    events_of,
    is_of_dify,
    release_of,
    request_line,
    told,
    verify_one,
)
from mockdify.contracts import Contracts
from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mockdify.contracts import Violation

__all__ = ["Keys", "verify_live"]

_NOT_SENT = frozenset(
    {"host", "content-length", "connection", "transfer-encoding", "accept-encoding", "expect", "keep-alive", "te"}
)
_PLACEHOLDER = re.compile(r"<key(?:-\d+)?>")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{9,}")
_ROOT = re.compile(r"/v1(?=/|\?|\Z)")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STOP = re.compile(r"/([^/]+)/stop(?:\?|\Z)")
_PLACE = re.compile(r"\[\d+\]")
_LIMIT = 60.0  # seconds for one exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of the live server: one for all, and those of single apps."""

    default: str | None = None
    of_app: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, said: Iterable[str]) -> Keys:
        """From `KEY` and `APP=KEY`."""
        default, of_app = None, {}
        for each in said:
            app, equals, key = each.partition("=")
            if equals and app and key:
                of_app[app] = key
            elif not equals and default is None:
                default = each
            else:
                raise MockdifyError(f"--key {each}: write one KEY, and APP=KEY for each app that has another")
        return cls(default=default, of_app=of_app)

    def key_for(self, one: Interaction) -> str:
        """The key for what *one* asked."""
        app = one.about.get("app")
        key = self.of_app.get(str(app), self.default)
        if key is None:
            raise MockdifyError(
                f"no key for {f'app {app!r}' if app else 'the app'}: give --key KEY, or --key {app}=KEY"
            )
        return key


def verify_live(
    paths: Iterable[Path], url: str, keys: Keys, *, release: str | None = None, max_age_days: float | None = None
) -> Report:
    """Ask the server at *url* what the cassettes at *paths* asked, and compare recording, contract and server.

    Left out is what leans on timing or on an earlier state (`repeatable: false`, an id that nothing recorded here has
    made, a stream that another call stopped), what was cut, and what never reached the recorded server.
    """
    return asyncio.run(_verify_live(list(cassettes_in(paths)), url, keys, release, max_age_days))


async def _verify_live(
    paths: Sequence[Path], url: str, keys: Keys, release: str | None, max_age_days: float | None
) -> Report:
    drifts: list[Drift] = []
    everything: list[tuple[str, str, int, Interaction]] = []
    for path in paths:
        interactions = load(path)
        everything += ((_moment(one), str(path), n, one) for n, one in enumerate(interactions, start=1))
        if max_age_days is not None:
            drifts += aged(path, interactions, max_age_days, datetime.now(UTC))
    # In the order of the recording, whichever file it stands in: what one made the next may use.
    everything.sort(key=lambda each: each[0])
    stopped = {match[1] for _, _, _, one in everything if (match := _STOP.search(one.uri)) is not None}
    asked, outside = 0, 0
    releases: set[str] = set()
    async with _Server(url) as server:
        for _, where, number, one in everything:
            contracts = Contracts.load(release or release_of(one))
            if not contracts.covers(urlsplit(one.uri).path):
                outside += 1
            elif _can_be_asked(one, stopped) and server.has_what_it_needs(one):
                releases.add(release or release_of(one))
                live = await server.ask(one, keys)
                asked += 1
                drift = partial(Drift, cassette=where, interaction=number, request=request_line(one), where="live")
                drifts += (drift(**each._asdict()) for each in _compared(one, live, contracts))
    return Report(
        drifts=tuple(drifts),
        cassettes=len(paths),
        interactions=len(everything),
        outside=outside,
        releases=tuple(sorted(releases)),
        asked=asked,
    )


def _can_be_asked(one: Interaction, stopped: set[str]) -> bool:
    if one.is_stream and stopped & set(_UUID.findall(one.body[:2000].decode("latin-1"))):
        return False  # its end came from another call, in the middle of it
    return not one.cut and one.about.get("repeatable") is not False and is_of_dify(one)


def _moment(one: Interaction) -> str:
    return str(one.about.get("at") or one.dify.get("recorded_at") or "")


# ---------------------------------------------------------------------- asking
class _Server:
    """The live server, and what it calls the recorded ids."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MockdifyError(f"--live {url}: a base URL such as https://api.dify.ai/v1 is expected")
        self._base = url.rstrip("/").removesuffix("/v1")
        self._root = "/v1" if url.rstrip("/").endswith("/v1") else ""
        self.ids: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=_LIMIT)
        self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, one: Interaction, keys: Keys) -> Interaction:
        """What the server answers to the request of *one*."""
        try:
            async with self._session.request(
                one.method,
                URL(self._address(one.uri), encoded=True),
                headers=self._headers(one, keys),
                data=sendable(self._body(one.request_body)),
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            ) as answer:
                body = await answer.read()
                headers = tuple(answer.headers.items())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            told = str(error) or type(error).__name__
            raise MockdifyError(f"{self._base}: no whole reply to {request_line(one)}: {told}") from None
        live = replace(one, status=answer.status, headers=headers, body=body)
        self._learn(_said(one), _said(live))
        return live

    def has_what_it_needs(self, one: Interaction) -> bool:
        """Whether the ids that *one* names, and that were found, stand for something that was made here."""
        if one.status >= 400:
            return True
        named = one.uri + " " + (one.request_body or b"").decode("latin-1")
        return all(each in self.ids for each in _UUID.findall(named))

    def _address(self, uri: str) -> str:
        parts = urlsplit(self._translated(uri))
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        root = _ROOT.search(target)
        if root is None:
            return self._base + target
        return self._base + self._root + target[root.end() :]

    def _headers(self, one: Interaction, keys: Keys) -> CIMultiDict[str]:
        sent: CIMultiDict[str] = CIMultiDict()
        for name, value in one.request_headers:
            if name.lower() not in _NOT_SENT:
                has_key = name.lower() == "authorization" and _PLACEHOLDER.search(value)
                sent.add(name, _PLACEHOLDER.sub(lambda _: keys.key_for(one), value) if has_key else value)
        return sent

    def _body(self, body: bytes | None) -> bytes | None:
        try:
            return None if body is None else self._translated(body.decode()).encode()
        except UnicodeDecodeError:
            return body

    def _translated(self, text: str) -> str:
        return _TOKEN.sub(lambda match: self.ids.get(match[0], match[0]), text)

    def _learn(self, recorded: Any, live: Any) -> None:
        """Note the ids that stand at the same place."""
        if isinstance(recorded, dict) and isinstance(live, dict):
            for name in recorded.keys() & live.keys():
                self._learn(recorded[name], live[name])
        elif isinstance(recorded, list) and isinstance(live, list):
            for one, other in zip(recorded, live, strict=False):
                self._learn(one, other)
        elif isinstance(recorded, str) and isinstance(live, str) and is_id(recorded) and is_id(live):
            self.ids.setdefault(recorded, live)
            self.ids.setdefault(recorded.replace("-", ""), live.replace("-", ""))  # a way to write a UUID


def _said(one: Interaction) -> Any:
    """The reply as JSON; of a stream, its events by their names."""
    if one.is_stream:
        events = defaultdict(list)
        for event in events_of(one.body):
            if isinstance(event, dict):
                events[str(event.get("event"))].append(event)
        return dict(events)
    try:
        return json.loads(one.body)
    except ValueError:
        return None


# ---------------------------------------------------------------------- comparing
class _Difference(NamedTuple):
    """What differs between the three, and who stands alone with it."""

    grade: Grade
    message: str
    odd: str = ""
    contract: str = ""


def _compared(one: Interaction, live: Interaction, contracts: Contracts) -> list[_Difference]:
    recorded, answered = _broken(one, contracts), _broken(live, contracts)
    found = [*_seen(one, live)]
    for place in recorded.keys() | answered.keys():
        violation = (answered.get(place) or recorded[place])[0]
        both = place in recorded and place in answered
        odd = "contract" if both else "live" if place in answered else "cassette"
        message = f"{told(violation)} ({_ODD[odd]})"
        found.append(_Difference(violation.drift, message, odd, violation.contract))
    if found:  # of what was not even alike, the single fields say nothing
        return found
    return list(_allowed(one, live))


_ODD = {
    "contract": "the odd one is the contract: recording and live server agree",
    "live": "the odd one is the live server: the recording is on contract",
    "cassette": "the odd one is the cassette: the live server is on contract",
}


_Place: TypeAlias = tuple[str, str, str]
"""The event ("" for a plain reply), the kind of breach, and the path."""


def _broken(one: Interaction, contracts: Contracts) -> dict[_Place, list[Violation]]:
    """The breaches of one side by what they are about, wherever in a list or a stream they came."""
    events = events_of(one.body) if one.is_stream else []
    found: defaultdict[_Place, list[Violation]] = defaultdict(list)
    for where, violation in verify_one(one, contracts):
        if where != "request":
            at = violation.at
            event = str(events[at].get("event")) if at is not None and at < len(events) else ""
            found[event, violation.kind, _PLACE.sub("[]", violation.path)].append(violation)
    return found


def _seen(one: Interaction, live: Interaction) -> Iterator[_Difference]:
    """What any client would notice first. The contract may know both; the recording is what clients were made for."""
    for what, recorded, answered in (
        ("status", one.status, live.status),
        ("media type", one.media_type, live.media_type),
        ("error code", _code(one), _code(live)),
        ("events", _order(one), _order(live)),
    ):
        if recorded != answered:
            yield _Difference("error", f"{what}: recorded {recorded or 'none'}, live {answered or 'none'}", "live")
            return  # all others follow from the first


def _code(one: Interaction) -> Any:
    said = _said(one)
    return said.get("code") if one.status >= 400 and isinstance(said, dict) else None


def _order(one: Interaction) -> str:
    """The events of a stream by name, several of one kind as one, pings apart."""
    if not one.is_stream:
        return ""
    names = [str(event.get("event")) for event in events_of(one.body) if isinstance(event, dict)]
    return ", ".join(name for name, _ in groupby(name for name in names if name != "ping"))


def _allowed(one: Interaction, live: Interaction) -> Iterator[_Difference]:
    """Fields that only one side has, or with another type, though the contract allows both."""
    recorded, answered = _shape("", _said(one)), _shape("", _said(live))
    for path in sorted(recorded.keys() | answered.keys()):
        ours, theirs = recorded.get(path), answered.get(path)
        if ours == theirs or any(
            path != other and path.startswith(other) for other in recorded.keys() ^ answered.keys()
        ):
            continue
        message = f"{path}: recorded {_types(ours)}, live {_types(theirs)}; the contract allows both"
        yield _Difference("info", message)


def _types(types: Iterable[str] | None) -> str:
    return " or ".join(sorted(types)) if types else "none"


_NAMES = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
    list: "list",
}


def _shape(path: str, value: Any) -> dict[str, set[str]]:
    """The types at every path, items of a list as one."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    _walk(path or "$", value, found)
    return found


def _walk(path: str, value: Any, found: defaultdict[str, set[str]]) -> None:
    found[path].add(_NAMES[type(value)])
    if isinstance(value, dict):
        for name, each in value.items():
            _walk(f"{path}.{name}", each, found)
    elif isinstance(value, list):
        for each in value:
            _walk(f"{path}[]", each, found)
