"""Paths: which endpoint a request means, and what Dify says where there is none."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mockdify.context import Endpoint

__all__ = ["Match", "Router", "did_you_mean"]

_SLOT = re.compile(r"<(uuid|string):(\w+)>")
_SLOTS = {"uuid": "[A-Fa-f0-9]{8}-[A-Fa-f0-9]{4}-[A-Fa-f0-9]{4}-[A-Fa-f0-9]{4}-[A-Fa-f0-9]{12}", "string": "[^/]+"}


@dataclass(slots=True)
class Match:
    """A known path: its endpoints by method, and the values of its slots."""

    rule: str
    by_method: dict[str, Endpoint]
    values: dict[str, str] = field(default_factory=dict)

    @property
    def allowed(self) -> str:
        """The `Allow` header: the methods served, with those every route has."""
        names = [*self.by_method, "OPTIONS", *(["HEAD"] if "GET" in self.by_method else [])]
        return ", ".join(sorted(names))


class Router:
    """All rules, written as Dify writes them: `/v1/messages/<uuid:message_id>/suggested`."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._fixed: dict[str, Match] = {}
        self._open: list[Match] = []
        for endpoint in endpoints:
            known = self._fixed.get(endpoint.rule) or next((m for m in self._open if m.rule == endpoint.rule), None)
            if known is None:
                known = Match(endpoint.rule, {})
                if "<" in endpoint.rule:
                    self._open.append(known)
                else:
                    self._fixed[endpoint.rule] = known
            known.by_method[endpoint.method] = endpoint
        # As werkzeug: of two rules that a path matches, the one with a word where the other has a slot.
        self._open.sort(key=lambda one: [part.startswith("<") for part in one.rule.split("/")])

    def find(self, path: str) -> Match | None:
        """The rule that *path* matches, exactly: no trailing slash, no other case."""
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed
        for match in self._open:
            found = _compiled(match.rule).fullmatch(path)
            if found is not None:
                return Match(match.rule, match.by_method, found.groupdict())
        return None


@cache
def _compiled(rule: str) -> re.Pattern[str]:
    escaped = re.escape(rule).replace(r"\<", "<").replace(r"\>", ">")
    return re.compile(_SLOT.sub(lambda slot: f"(?P<{slot[2]}>{_SLOTS[slot[1]]})", escaped))


# Dify appends suggestions to the 404s of its handlers: the three rules most alike to the path, among ALL its rules,
# also those of the console and the WebApp. These are the rules that any path of the service API is known to come near
# to (measured per route on 1.13.2, met again on 1.16.1).
_NEIGHBOURS = """
/v1/
/v1/app/feedbacks
/v1/apps/annotation-reply/<string:action>
/v1/apps/annotation-reply/<string:action>/status/<uuid:job_id>
/v1/apps/annotations
/v1/apps/annotations/<uuid:annotation_id>
/v1/audio-to-text
/v1/chat-messages
/v1/chat-messages/<string:task_id>/stop
/v1/completion-messages
/v1/completion-messages/<string:task_id>/stop
/v1/conversations
/v1/conversations/<uuid:c_id>
/v1/conversations/<uuid:c_id>/name
/v1/conversations/<uuid:c_id>/variables
/v1/conversations/<uuid:c_id>/variables/<uuid:variable_id>
/v1/end-users/<uuid:end_user_id>
/v1/files/<uuid:file_id>/preview
/v1/files/upload
/v1/form/human_input/<string:form_token>
/v1/info
/v1/messages
/v1/messages/<uuid:message_id>/feedbacks
/v1/messages/<uuid:message_id>/suggested
/v1/meta
/v1/parameters
/v1/site
/v1/text-to-audio
/v1/workflow/<string:task_id>/events
/v1/workflows/<string:workflow_id>/run
/v1/workflows/logs
/v1/workflows/run
/v1/workflows/run/<string:workflow_run_id>
/v1/workflows/tasks/<string:task_id>/stop
/v1/workspaces/current/models/model-types/<string:model_type>
/api/audio-to-text
/api/chat-messages
/api/completion-messages
/api/conversations
/api/files/upload
/api/form/human_input/<string:form_token>
/api/form/human_input/<string:form_token>/upload-token
/api/messages
/api/meta
/api/parameters
/api/remote-files/upload
/api/site
/api/text-to-audio
/console/api/apps/<uuid:app_id>/audio-to-text
/console/api/apps/<uuid:app_id>/feedbacks
/console/api/apps/<uuid:app_id>/text-to-audio
/console/api/form/human_input/<string:form_token>
/console/api/workspaces/current/models/model-types/<string:model_type>
/v1/datasets
/v1/datasets/<uuid:dataset_id>
/v1/datasets/<uuid:dataset_id>/document/create-by-file
/v1/datasets/<uuid:dataset_id>/document/create-by-text
/v1/datasets/<uuid:dataset_id>/document/create_by_file
/v1/datasets/<uuid:dataset_id>/document/create_by_text
/v1/datasets/<uuid:dataset_id>/documents
/v1/datasets/<uuid:dataset_id>/documents/<string:batch>/indexing-status
/v1/datasets/<uuid:dataset_id>/documents/<uuid:document_id>
/v1/datasets/<uuid:dataset_id>/documents/<uuid:document_id>/download
/v1/datasets/<uuid:dataset_id>/documents/<uuid:document_id>/segments
/v1/datasets/<uuid:dataset_id>/documents/<uuid:document_id>/segments/<uuid:segment_id>
/v1/datasets/<uuid:dataset_id>/documents/<uuid:document_id>/segments/<uuid:segment_id>/child_chunks
/v1/datasets/<uuid:dataset_id>/documents/<uuid:document_id>/update-by-file
/v1/datasets/<uuid:dataset_id>/documents/<uuid:document_id>/update-by-text
/v1/datasets/<uuid:dataset_id>/documents/<uuid:document_id>/update_by_file
/v1/datasets/<uuid:dataset_id>/documents/<uuid:document_id>/update_by_text
/v1/datasets/<uuid:dataset_id>/documents/download-zip
/v1/datasets/<uuid:dataset_id>/documents/metadata
/v1/datasets/<uuid:dataset_id>/documents/status/<string:action>
/v1/datasets/<uuid:dataset_id>/hit-testing
/v1/datasets/<uuid:dataset_id>/metadata
/v1/datasets/<uuid:dataset_id>/metadata/<uuid:metadata_id>
/v1/datasets/<uuid:dataset_id>/metadata/built-in
/v1/datasets/<uuid:dataset_id>/metadata/built-in/<string:action>
/v1/datasets/<uuid:dataset_id>/pipeline/datasource-plugins
/v1/datasets/<uuid:dataset_id>/pipeline/datasource/nodes/<string:node_id>/run
/v1/datasets/<uuid:dataset_id>/pipeline/run
/v1/datasets/<uuid:dataset_id>/retrieve
/v1/datasets/<uuid:dataset_id>/tags
/v1/datasets/pipeline/file-upload
/v1/datasets/tags
/v1/datasets/tags/binding
/v1/datasets/tags/unbinding
/v1/datasets/<uuid:dataset_id>/documents/<uuid:document_id>/segments/<uuid:segment_id>/child_chunks/<uuid:child_chunk_id>
""".split()  # noqa: SIM905 - one rule a line


@lru_cache(maxsize=1)
def _known() -> dict[str, str]:
    # Dify compares with its rules cut at their first slot; of rules that become alike the last stands.
    return {re.sub("<.*>", "", rule): rule for rule in _NEIGHBOURS}


@lru_cache(maxsize=1024)
def did_you_mean(message: str, path: str) -> str:
    """*message* of a 404 with the suggestions that Dify appends for *path*, if any rule is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a 404 needs it

    near = get_close_matches(path, _known())
    if not near:
        return message
    rules = " or ".join(_known()[name] for name in near)
    start = message.rstrip(".") + ". " if message else ""
    return f"{start}You have requested this URI [{path}] but did you mean {rules} ?"


def nearest_rule(path: str) -> Any:
    """The served rule most alike to *path*, for explanations; None when nothing is near."""
    from difflib import get_close_matches  # noqa: PLC0415

    near = get_close_matches(path, _known(), n=1)
    return _known()[near[0]] if near else None
