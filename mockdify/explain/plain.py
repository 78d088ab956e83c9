"""Refusals that need few words: by their code or text, the rule, what was sent, and how to fix it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mockdify.errors import DifyError
from mockdify.explain.case import Case, Finding
from mockdify.multipart import parse_multipart

__all__ = ["PLAIN", "plain"]


# ---------------------------------------------------------------------- what was sent
def _form(case: Case) -> Iterable[str]:
    """The parts of the form."""
    given = case.request.header("content-type") or ""
    if not given.startswith("multipart/form-data"):
        yield f"the Content-Type is {given!r}" if given else "there is no Content-Type"
        return
    try:
        parts = parse_multipart(case.request)
    except DifyError as error:
        yield error.message
        return
    for part in parts:
        what = f"the file {part.filename!r} of {len(part.data):,} bytes" if part.filename is not None else "a text"
        yield f"the form's {part.name!r} is {what}"
    if not parts:
        yield "the form has no parts"


def _files(case: Case) -> Iterable[str]:
    """What the request says of files, and what the app takes."""
    inputs = case.asked.get("inputs")
    told = {"files": case.asked.get("files"), **(inputs if isinstance(inputs, dict) else {})}
    for name, value in told.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                shown = {key: one[key] for key in ("type", "transfer_method", "url", "remote_url") if key in one}
                yield f"{name} has {shown or 'a table without type and transfer_method'}"
    if case.app is not None and case.app.file_rules.enabled:
        rules = case.app.file_rules
        most = f", at most {rules.limit}" if rules.limit else ""
        yield f"app {case.exchange.app!r} takes {_or(rules.types)} by {_or(rules.methods)}{most}"


def _or(names: Iterable[str]) -> str:
    return " or ".join(names) or "anything"


def _body(*names: str) -> Callable[[Case], Iterable[str]]:
    def said(case: Case) -> Iterable[str]:
        source: dict[str, Any] = {**case.request.query, **case.asked}
        return [f"`{name}` is {source[name]!r}" if name in source else f"there is no `{name}`" for name in names]

    return said


def _app(case: Case) -> Iterable[str]:
    mode = f", a {case.app.mode} app" if case.app is not None else ""
    yield f"the key opens app {case.exchange.app!r}{mode}"


def _nothing(case: Case) -> Iterable[str]:
    return (case.message,) if case.message else ()


# ---------------------------------------------------------------------- the table
@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """One kind of refusal. What is left open fits all."""

    rule: str
    fix: str
    code: str | None = None
    says: str = ""
    on: str = ""
    """A regular expression for the route."""
    evidence: Callable[[Case], Iterable[str]] = _nothing

    def fits(self, case: Case) -> bool:
        """Whether this is about the case."""
        route = case.match.rule if case.match is not None else ""
        return (
            (self.code is None or self.code == case.code)
            and (not self.says or re.search(self.says, case.message) is not None)
            and (not self.on or re.search(self.on, route) is not None)
        )


_ONE_FILE = "a file is sent as multipart/form-data, in one part called `file` with a file name"
_FORM = "send one part called `file` with a file name and a Content-Type, and `user` beside it"
_SPEECH = "speech is switched on in the app's features"
_SWITCH = "switch it on in the app's DSL (workflow.features or model_config), or use an app that has it"

PLAIN: tuple[Plain, ...] = (
    # uploads and speech
    Plain(code="no_file_uploaded", rule=_ONE_FILE, fix=_FORM, evidence=_form),
    Plain(code="too_many_files", rule=_ONE_FILE, fix="send one file a request", evidence=_form),
    Plain(code="filename_not_exists_error", rule=_ONE_FILE, fix="give the part a file name", evidence=_form),
    Plain(says="^Filename contains", rule="a file's name has no slashes", fix="send the bare name", evidence=_form),
    Plain(
        code="unsupported_file_type",
        rule="an upload's part says its Content-Type",
        fix="give the part a Content-Type",
        evidence=_form,
    ),
    Plain(code="no_audio_uploaded", rule=_ONE_FILE, fix=_FORM, evidence=_form),
    Plain(code="bad_request_key_error", rule=_ONE_FILE, fix=_FORM, evidence=_form),
    Plain(
        code="unsupported_audio_type",
        rule="audio is mp3, m4a, wav, amr or mpga, by the part's Content-Type",
        fix="give the part the Content-Type of its audio",
        evidence=_form,
    ),
    Plain(code="speech_to_text_disabled", rule=_SPEECH, fix=_SWITCH, evidence=_app),
    Plain(says="Speech to text is not enabled", rule=_SPEECH, fix=_SWITCH, evidence=_app),
    Plain(says="TTS is not enabled", rule=_SPEECH, fix=_SWITCH, evidence=_app),
    Plain(
        says="^Text is required",
        rule="speech is made of a `text`, or of the answer with a `message_id`",
        fix="send one of the two",
        evidence=_body("text", "message_id"),
    ),
    # files of a question
    Plain(
        says="Invalid file url|maximum retries",
        rule="a remote file is given by a `url` that its server answers",
        fix='correct the address; `remote_files = "accept"` in the configuration takes it unseen',
        evidence=_files,
    ),
    Plain(
        says="FileTransferMethod|matching enum|transfer_method is required",
        rule="a file says how it comes: transfer_method is local_file (an upload) or remote_url (an address)",
        fix="send one of the two",
        evidence=_files,
    ),
    Plain(
        says="FileType$|Detected file type|File validation failed",
        rule="a file's `type` is one the app takes, and in a workflow the one that its name and content tell",
        fix="send the right type: image, document, audio, video or custom; GET /v1/parameters tells what the app takes",
        evidence=_files,
    ),
    Plain(
        says="Number of (image )?files exceeds",
        rule="an app takes so many files at once",
        fix="send fewer; GET /v1/parameters tells the limit",
        evidence=_files,
    ),
    Plain(
        says="(Tool|Data[sS]ource)[fF]ile .+ not found",
        rule="files made by tools are named by ids that nobody but Dify itself gives out",
        fix="send an upload (local_file) or an address (remote_url)",
        evidence=_files,
    ),
    Plain(
        says="^Invalid input type for",
        rule="an input that is no file, list of files or JSON object holds no objects",
        fix="send a text, number or truth value; GET /v1/parameters shows the form",
        evidence=_body("inputs"),
    ),
    # conversations and messages
    Plain(
        says="Suggested Questions Is Disabled",
        rule="an app suggests questions when its feature `suggested_questions_after_answer` is on",
        fix=_SWITCH,
        evidence=_app,
    ),
    Plain(
        says="rating cannot be None",
        rule="a rating is taken back with null, once there is one",
        fix="send like or dislike first",
        evidence=_body("rating"),
    ),
    Plain(
        code="bad_request",
        says="^Type mismatch",
        rule="a conversation variable keeps its type",
        fix="send a value of the type that the text names",
        evidence=_body("value"),
    ),
    Plain(
        says="^variables must be an object",
        rule="`variables` is an object of names and values",
        fix="send a JSON object",
        evidence=_body("variables"),
    ),
    Plain(
        code="invalid_param",
        says="^$",
        on="/name$",
        rule="a name is generated from a conversation's first message",
        fix="send a `name`, or ask something first",
        evidence=_body("auto_generate", "name"),
    ),
    Plain(
        code="invalid_param",
        says="^$",
        on="/variables$",
        rule="`last_id` is a variable of the same conversation: the last of the page before",
        fix="take it from the page before, or leave it out",
        evidence=_body("last_id"),
    ),
    # workflows, logs, annotations
    Plain(
        says="^Invalid workflow_id format",
        rule="a workflow's version is named by a UUID",
        fix="leave the id out: POST /v1/workflows/run",
    ),
    Plain(
        says="^Account not found",
        rule="logs are filtered by an account's e-mail address; the mock has no accounts",
        fix="leave created_by_account out, or filter by created_by_end_user_session_id",
        evidence=_body("created_by_account"),
    ),
    Plain(
        says="ISO string too short|isoformat",
        rule="times are ISO 8601, e.g. 2026-01-01T00:00:00Z",
        fix="write them so",
        evidence=_body("created_at__before", "created_at__after"),
    ),
    Plain(
        says="^The job does not exist",
        rule="a job belongs to one app and one action, and is forgotten after ten minutes",
        fix="ask with the id and the action that POST /v1/apps/annotation-reply/… answered, soon enough",
    ),
    # what mockdify itself does not do
    Plain(
        code="not_implemented",
        rule="mockdify serves the app API, not the knowledge API",
        fix="play a recording of it: mockdify serve --cassette FILE",
    ),
)
"""Tried in order."""


def plain(case: Case) -> Finding | None:
    """What the table says of the refusal, if it says anything."""
    row = next((row for row in PLAIN if row.fits(case)), None)
    if row is None:
        return None
    return Finding(rule=row.rule, evidence=tuple(row.evidence(case)), fix=(row.fix,))
