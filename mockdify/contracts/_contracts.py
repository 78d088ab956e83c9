"""The contracts of one release, and what breaks them: requests, replies, events and whole streams."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from mockdify.contracts._files import names, nearest, read
from mockdify.contracts._operations import Reply, table
from mockdify.contracts._orders import OrderChecker
from mockdify.contracts._requests import Unreadable, form, lower, media_type, query, read_json
from mockdify.contracts._resolve import Context, applies, parse_profile, resolve
from mockdify.contracts._validators import build
from mockdify.contracts._violations import Violation
from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mockdify.contracts._files import Json
    from mockdify.contracts._operations import Operation
    from mockdify.contracts._requests import Body, Headers
    from mockdify.contracts._resolve import Schema, View
    from mockdify.contracts._validators import Backend, Check
    from mockdify.contracts._violations import Kind, Severity

__all__ = ["MODES", "Contracts"]

MODES = ("completion", "chat", "agent-chat", "agent", "advanced-chat", "workflow")

_BEARER = re.compile(r"\s*bearer +\S", re.IGNORECASE)  # Why a space: a tab was seen to be refused.
_JSON_MEDIA = re.compile(r"application/(json|.+\+json)")
_HTML = re.compile(rb"\s*<(!doctype )?html", re.IGNORECASE)


class Contracts:
    """What a release of Dify promises, from `Contracts.load`; validators are made when first needed, and kept."""

    def __init__(self, release: tuple[int, int], *, backend: Backend = "jsonschema", guide: bool = False) -> None:
        self.release, self.guide = release, guide
        self.backend: Backend = backend
        self._table = table(release, guide=guide)
        self._checks: dict[tuple[object, ...], Check | None] = {}

    @classmethod
    def load(cls, release: str = "1.16", *, backend: Backend = "jsonschema") -> Contracts:
        """The contracts of *release* (`1.16` and `1.16.1` are one) or of `guide`, kept for the next who asks."""
        return _load(*parse_profile(release), backend)

    def __repr__(self) -> str:
        return f"Contracts({self.name})"

    # ------------------------------------------------------------ what there is
    @property
    def name(self) -> str:
        """The release, `1.16`, or `guide`."""
        return "guide" if self.guide else ".".join(map(str, self.release))

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations of this release."""
        return self._table.operations

    @property
    def everywhere(self) -> tuple[Reply, ...]:
        """What any request may be answered: pages of the edge, of unknown paths, faults inside."""
        return self._table.everywhere

    def operation(self, method: str, path: str) -> Operation | None:
        """The operation that a request means, or None: then Dify answers 404 or 405."""
        return self._table.find(method, path)

    def covers(self, path: str) -> bool:
        """Is this path under contract? The knowledge API is not."""
        return not self._table.is_elsewhere(path)

    @property
    def modes(self) -> tuple[str, ...]:
        """The app modes of this release."""
        context = Context(release=self.release)
        return tuple(mode for mode in MODES if applies(read(f"orders/{mode}"), context))

    def error_status(self, code: str) -> int:
        """The HTTP status that an error code comes with."""
        return self._table.codes[code].status

    def events(self, mode: str) -> tuple[str, ...]:
        """The events that an app of that mode may send."""
        context = self._context(mode)
        return tuple(n.partition("/")[2] for n in names("events") if _holds(n, context))

    def schema(self, name: str, *, mode: str | None = None, view: View = "run", should: bool = False) -> Schema:
        """The plain JSON Schema of a contract; *should* narrows a request to what a client ought to send."""
        family, _, code = name.partition("#")
        schema = resolve(family, self._context(mode, view, should=should))
        return _of_code(schema, family, code) if code else schema

    def order(self, mode: str, *, view: View = "run", pings: bool = True) -> OrderChecker:
        """A fresh checker of the order of one stream's events."""
        context = self._context(_known(mode), view)
        name = "guide" if context.is_projected else mode
        return OrderChecker(read(f"orders/{name}"), context, pings=pings)

    # ------------------------------------------------------------ requests
    def check_request(self, method: str, path: str, headers: Headers, body: Body) -> list[Violation]:
        """What is wrong with a request: `error` Dify refuses, `warn` it takes though a client should not send it.

        Args:
            method: As sent.
            path: As sent, with its query.
            headers: As sent.
            body: Bytes, text, or JSON (or form parts) parsed already.
        """
        operation = self.operation(method, path)
        if operation is None:
            return [self._unknown_path(method, path)]
        given = lower(headers)
        found = [] if not operation.key or _BEARER.match(given.get("authorization", "")) else [_NO_KEY]
        if operation.request is None:
            return found
        contract = f"contracts/{operation.request}"
        if operation.where == "json" and not self.guide and not _JSON_MEDIA.fullmatch(media_type(given)):
            media = media_type(given) or "nothing"
            found.append(
                Violation(kind="media", path="headers.content-type", message=f"{media} is not JSON", contract=contract)
            )
        try:
            value = self._asked(operation, path, given, body)
        except Unreadable as error:
            return [*found, Violation(kind="body", message=f"the body {error}", contract=contract)]
        refused = self._run(operation.request, value, contract)
        told = {v.path for v in refused}
        should = self._run(operation.request, value, contract, should=True, severity="warn")
        return [*found, *refused, *(v for v in should if v.path not in told)]

    def _asked(self, operation: Operation, path: str, headers: Mapping[str, str], body: Body) -> Json:
        match operation.where:
            case "query":
                return query(path, self.schema(str(operation.request), should=True))
            case "form":
                return form(headers, body)
        return read_json(b"" if body is None else body)

    def _unknown_path(self, method: str, path: str) -> Violation:
        clean = path.partition("?")[0]
        methods = self._table.methods(clean)
        if methods:
            message = f"{method} is no method of this path; it knows {', '.join(methods)}"
        else:
            message = f"there is no such path.{nearest(clean, [o.path for o in self.operations])}"
        return Violation(
            kind="unknown-path", path=f"{method} {clean}", message=message, contract="contracts/operations"
        )

    # ------------------------------------------------------------ replies
    def check_response(self, operation: Operation | None, status: int, headers: Headers, body: Body) -> list[Violation]:
        """What is wrong with a reply: its status, media type, headers and body.

        A stream's events are not looked at here: `check_stream` does that.

        Args:
            operation: What was asked; None for a path or method that Dify does not know.
            status: The HTTP status.
            headers: As received.
            body: Bytes, text, or parsed JSON; None when there is none to look at, as after HEAD.
        """
        given = lower(headers)
        media = media_type(given)
        contract = f"contracts/operations/{operation.id}" if operation else "contracts/operations"
        reply = self._reply(operation, status, media)
        if isinstance(reply, Violation):
            return [reply]
        found = _header_violations(reply.headers, given, contract)
        if reply.events and "content-length" in given:
            found.append(
                Violation(kind="header", path="headers.content-length", message="a stream has none", contract=contract)
            )
        return [*found, *self._body(operation, reply, status, given, body)]

    def _reply(self, operation: Operation | None, status: int, media: str) -> Reply | Violation:
        """The allowed reply that fits, or what does not."""
        own = operation.replies if operation else ()
        codes = {self._table.codes[c].status for c in operation.errors} if operation else set()
        everywhere = [r for r in self._table.everywhere if operation is None or r.status != 404 or not r.html]
        rows = [r for r in (*own, *everywhere) if r.status == status]
        if status in codes:
            rows.append(Reply(status=status, media="application/json", code="*", headers={}))
        what = str(operation) if operation else "an unknown path"
        contract = f"contracts/operations/{operation.id}" if operation else "contracts/operations"
        if not rows:
            return Violation(
                kind="status", path="status", message=f"{status} is no answer to {what}", contract=contract
            )
        fits = [r for r in rows if r.carries(media)]
        if not fits:
            wanted = " or ".join(dict.fromkeys(r.media for r in rows))
            message = f"{media or 'nothing'} is not {wanted}, which {status} comes as"
            return Violation(kind="media", path="headers.content-type", message=message, contract=contract)
        return next((r for r in fits if r.code == "*"), fits[0])

    def _body(
        self, operation: Operation | None, reply: Reply, status: int, headers: Mapping[str, str], body: Body
    ) -> list[Violation]:
        contract = f"contracts/{reply.schema}" if reply.schema else "contracts/operations"
        if reply.empty or (operation and operation.method == "HEAD"):
            told = "the body should be empty"
            return [Violation(kind="body", message=told, contract=contract)] if body else []
        if reply.html:
            raw = body.encode() if isinstance(body, str) else body
            page = not isinstance(raw, bytes) or _HTML.match(raw)
            return [] if page else [Violation(kind="body", message="the body is no HTML page", contract=contract)]
        if reply.events or reply.binary or body is None:
            return []
        try:
            value = read_json(body)
        except Unreadable as error:
            return [Violation(kind="body", message=f"the body {error}", contract=contract)]
        if reply.schema:
            return self._run(reply.schema, value, contract)
        return self._error(operation, status, headers, value)

    def _error(
        self, operation: Operation | None, status: int, headers: Mapping[str, str], body: Json
    ) -> list[Violation]:
        code = body.get("code") if isinstance(body, dict) else None
        known = self._table.codes.get(code) if isinstance(code, str) else None
        if known is None:
            missing = [] if not isinstance(code, str) else [self._code(f"{code!r} is no error code of Dify's")]
            return missing or self._run("errors/parameter", body, "contracts/errors/parameter")
        contract = f"contracts/{known.family}"
        found = self._run(f"{known.family}#{code}", body, contract)
        if known.status != status:
            told = f"{status} came with {code}, whose status is {known.status}"
            found.append(Violation(kind="status", path="status", message=told, contract=contract))
        everywhere = {r.code for r in self._table.everywhere}
        if code not in everywhere and (operation is None or code not in operation.errors):
            told = f"{code} is no answer to {operation}" if operation else f"{code} is no answer to an unknown path"
            found.append(self._code(told))
        return [*found, *_header_violations(known.headers, headers, contract)]

    @staticmethod
    def _code(message: str) -> Violation:
        return Violation(kind="code", path="$.code", message=message, contract="contracts/operations")

    # ------------------------------------------------------------ events
    def check_event(self, mode: str, event: Json, *, view: View = "run") -> list[Violation]:
        """What is wrong with one event of an app of that mode, told by that event's own contract.

        Args:
            mode: The app's mode.
            event: The JSON behind `data: `; a ping is `{"event": "ping"}`.
            view: `events` for a stream joined with GET /v1/workflow/{id}/events.
        """
        name = event.get("event") if isinstance(event, Mapping) else None
        contract = f"events/{name}"
        if not isinstance(name, str) or contract not in names("events"):
            known = nearest(name, list(self.events(mode))) if isinstance(name, str) else ""
            kind: Kind = "unknown-event" if isinstance(name, str) else "missing"
            return [
                Violation(
                    kind=kind,
                    path="$.event",
                    message=f"{name!r} is no event of Dify's.{known}",
                    contract="contracts/events",
                )
            ]
        check = self._check(contract, mode=_known(mode), view=view)
        if check is None:
            told = f"{name} is no event of {mode} apps in {'.'.join(map(str, self.release))}"
            return [Violation(kind="unknown-event", path="$.event", message=told, contract=f"contracts/{contract}")]
        return [
            Violation(kind=f.kind, path=f.path, message=f.message, contract=f"contracts/{contract}")
            for f in check(event)
        ]

    def check_stream(
        self,
        mode: str,
        events: Iterable[Json],
        *,
        view: View = "run",
        pings: bool = True,
        complete: bool = True,
    ) -> list[Violation]:
        """What is wrong with a whole stream: each event, and their order.

        Args:
            mode: The app's mode.
            events: All events, pings as `{"event": "ping"}`.
            view: `events` for a stream joined with GET /v1/workflow/{id}/events.
            pings: False when *events* leaves pings out.
            complete: False when the stream was cut: then nothing is missed at its end.
        """
        order = self.order(mode, view=view, pings=pings)
        found: list[Violation] = []
        number = -1
        for number, event in enumerate(events):
            found.extend(v.numbered(number) for v in (*self.check_event(mode, event, view=view), *order.feed(event)))
        if complete:
            found.extend(v.numbered(number + 1) for v in order.finish())
        return found

    # ------------------------------------------------------------ validators
    def _context(self, mode: str | None = None, view: View = "run", *, should: bool = False) -> Context:
        return Context(release=self.release, mode=mode and _known(mode), view=view, should=should, guide=self.guide)

    def _check(self, name: str, *, mode: str | None = None, view: View = "run", should: bool = False) -> Check | None:
        """The kept validator of a contract; None where the contract does not hold in this release or mode."""
        key = (name, mode, view, should)
        if key not in self._checks:
            holds = _holds(name.partition("#")[0], self._context(mode, view))
            schema = self.schema(name, mode=mode, view=view, should=should) if holds else None
            self._checks[key] = None if schema is None else build(schema, self.backend)
        return self._checks[key]

    def _run(
        self, name: str, value: Json, contract: str, *, should: bool = False, severity: Severity = "error"
    ) -> list[Violation]:
        check = self._check(name, should=should)
        findings = check(value) if check else []
        return [
            Violation(severity=severity, kind=f.kind, path=f.path, message=f.message, contract=contract)
            for f in findings
        ]


_NO_KEY = Violation(
    kind="header", path="headers.authorization", message="there is no `Bearer KEY`", contract="contracts/operations"
)


@cache
def _load(release: tuple[int, int], guide: bool, backend: Backend) -> Contracts:
    return Contracts(release, backend=backend, guide=guide)


def _holds(name: str, context: Context) -> bool:
    """Does a contract hold there? Of events the guide has those alone that say so."""
    data = read(name)
    shown = not name.startswith("events/") or not context.is_projected or context.mode is None or "x-guide" in data
    return shown and applies(data, context)


def _known(mode: str) -> str:
    if mode not in MODES:
        raise MockdifyError(f"there is no app mode {mode!r}.{nearest(mode, list(MODES))} There are {', '.join(MODES)}.")
    return mode


def _of_code(schema: Schema, family: str, code: str) -> Schema:
    """An error family's schema, narrowed to one of its codes."""
    row = read(family)["x-codes"][code]
    own = {
        "code": {"const": code},
        "message": {"type": "string", **row.get("message", {})},
        "status": {"const": row["status"]},
    }
    return {**{k: v for k, v in schema.items() if k != "x-codes"}, "properties": {**schema["properties"], **own}}


def _header_violations(wanted: Mapping[str, str], given: Mapping[str, str], contract: str) -> list[Violation]:
    return [
        Violation(
            kind="header",
            path=f"headers.{name}",
            message=f"{given.get(name)!r} is not like {pattern}",
            contract=contract,
        )
        for name, pattern in wanted.items()
        if not re.search(pattern, given.get(name, ""))
    ]
