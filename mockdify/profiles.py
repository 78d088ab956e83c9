"""A profile is the Dify release whose behaviour is served: a table of what differs, and nothing else knows versions.

Each field is one difference. Its `words` say it for `mockdify profiles`, its `since` names the release that has the
default value. A handler asks the profile for the value; it never compares versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, field, fields, replace
from typing import Any, Literal

from mockdify.errors import MockdifyError
from mockdify.values import value

__all__ = ["PROFILES", "Profile", "differences", "profile_named"]


def _row(default: Any, words: str, *, since: str = "1.16.1") -> Any:
    return field(default=default, hash=False, metadata={"words": words, "since": since})


@value
class Profile:
    """One release. The defaults are Dify 1.16.1."""

    name: str
    title: str = ""
    """What is served, when it is no release of Dify."""
    version: str = _row("1.16.1", "`X-Version`")
    env: str = "PRODUCTION"

    # events and metadata
    message_selector: tuple[str, ...] | None = _row((), "`from_variable_selector` of `message` in chat and completion")
    end_files: tuple[Any, ...] | None = _row((), "`message_end.files` in chat, completion and agent apps")
    reasoning: bool = _row(True, "`metadata.reasoning` and `reasoning_chunk`", since="1.15.0")
    lean_stream_metadata: bool = _row(
        True, "a stream's `message_end.metadata` leaves `annotation_reply` out when there is none"
    )
    lean_stop_usage: bool = _row(True, "the usage of a stopped stream leaves `time_to_*` out")
    lean_start_node: bool = _row(True, "the start node shows only the declared variables, not `sys.*`")
    system_variables: tuple[str, ...] = _row(
        (
            "sys.query",
            "sys.files",
            "sys.user_id",
            "sys.conversation_id",
            "sys.dialogue_count",
            "sys.app_id",
            "sys.timestamp",
            "sys.workflow_id",
            "sys.workflow_run_id",
        ),
        "the order of a run's `sys.*` variables",
    )
    model_in_llm_inputs: bool = _row(True, "an LLM node's inputs name `model_provider` and `model_name`")
    eager_answers: bool = _row(True, "an answer that no branch can prevent begins before the start node")
    default_value_chunks_early: bool = _row(True, "a default value streams before its node's `node_finished`")

    # errors
    streamed_rate_limit: tuple[str, int] = _row(
        ("rate_limit_error", 429), "code and status of a model's rate limit in a stream", since="1.16.0"
    )
    provider_label: bool = _row(True, "authorization errors in a graph name the provider's label, not its id")
    early_conversation_check: bool = _row(
        True, "a streaming chatflow checks the conversation before the stream (404)", since="1.16.0"
    )
    blocking_rate_limit: tuple[str, int] = _row(
        ("completion_request_error", 400), "code and status of a model's rate limit in a blocking answer"
    )
    concurrency_error: tuple[str, int] = _row(
        ("invalid_param", 400), "code and status beyond the requests that an app takes at once", since="0.14.2"
    )
    completion_quota: bool = _row(True, "a completion app beyond the plan's quota of runs answers 429; without it 500")
    graph_takes_two_slots: bool = _row(
        True, "a streaming chatflow or workflow takes two of the requests that its app takes at once", since="1.13.0"
    )
    bad_stream: Literal["synthetic", "silence", "refused"] = _row(
        "synthetic", "what follows the ping of a bad streaming chatflow or workflow request", since="1.15.0"
    )
    stop_error: str = _row("Aborted: User requested stop", "the error of a stopped run")
    stop_by_anyone: bool = _row(True, "another user's stop ends a chatflow's or workflow's stream at once")
    file_too_large: str = _row("", "the message of 413 `file_too_large`")
    named_enums: bool = _row(True, "an unknown transfer method is told with the name of its enum")
    speech_disabled: tuple[str, str] = _row(
        ("speech_to_text_disabled", "Speech to text is disabled."), "audio-to-text while speech is off", since="1.16.0"
    )
    no_audio: tuple[str, str] = _row(("no_audio_uploaded", "Please upload your audio."), "audio-to-text without a file")
    audio_before_switch: bool = _row(False, "audio-to-text looks for the file before it looks whether speech is on")

    # isolation
    uploads_by_user: bool = _row(True, "an upload of another user is refused")
    annotations_by_app: bool = _row(True, "an annotation of another app is not found")
    strict_annotation_paging: bool = _row(True, "bad paging values of the annotation list are refused")

    # fields
    message_accounting: bool = _row(
        True, "messages carry `message_tokens`, `answer_tokens`, `total_tokens`, `total_price`, ...", since="1.16.0"
    )
    upload_reference: bool = _row(True, "an upload's answer has `reference`", since="1.15.0")
    site_input_placeholder: bool = _row(True, "/site has `input_placeholder`")
    lean_word_avoidance: bool = _row(
        True, "/parameters of workflow apps shows `sensitive_word_avoidance` as enabled or not"
    )
    broken_swagger: bool = _row(False, "GET /v1/swagger.json is there, and fails")
    run_events: bool = _row(True, "GET /workflow/{run}/events and /form/human_input exist", since="1.14.0")

    # what chat, chatflow and completion apps show of an answer: see `projection`
    answer_key: str = _row("answer", "the key of a blocking answer's text")
    answer_fields: tuple[str, ...] | None = _row(None, "the fields of a blocking answer; none named: all")
    event_fields: Mapping[str, tuple[str, ...]] | None = _row(
        None, "the events of a stream and their fields; none named: all, and pings"
    )
    chunks: Literal["delta", "cumulative"] = _row("delta", "what a `message` event carries: a piece, or all so far")
    usage_fields: tuple[str, ...] | None = _row(None, "the fields of `usage`; none named: all")
    price_unit: str | None = _row(
        None, "the words in `*_price_unit`, whose multiplier is 1; none: a decimal multiplier"
    )

    # what a request may look like
    frozen_inputs: bool = _row(False, "a conversation keeps its first `inputs`; later ones are ignored, none is needed")
    loose_inputs: bool = _row(False, "a required text takes one that came under a name which the form does not know")
    chat_variables: bool = _row(False, "`variables` in a chat request sets the conversation's variables")
    any_content_type: bool = _row(False, "a JSON body is read whatever its Content-Type says")

    # unknown paths
    path_suggestions: bool = _row(True, "404s of handlers suggest similar paths")
    html_404: bool = _row(True, "an unknown path is answered with a page instead of JSON")

    @property
    def is_projected(self) -> bool:
        """Whether answers and streams show less, or other things, than Dify's own."""
        return self.event_fields is not None

    @property
    def serves(self) -> str:
        """What is served, for people."""
        return self.title or f"Dify {self.version}"


_GUIDE = Profile(
    name="guide",
    title="the API of an integration guide, which no release of Dify has (chunks hold all text so far),",
    answer_key="result",
    answer_fields=("result", "conversation_id", "message_id", "created_at", "metadata"),
    # The guide shows no conversation_id in events; without it no streamed conversation could go on.
    event_fields={
        "message": ("event", "task_id", "id", "answer", "conversation_id"),
        "message_end": ("event", "task_id", "id", "metadata", "conversation_id"),
        "error": ("event", "task_id", "message_id", "conversation_id", "code", "status", "message"),
    },
    chunks="cumulative",
    usage_fields=(
        *(f"prompt_{rest}" for rest in ("tokens", "unit_price", "price_unit", "price")),
        *(f"completion_{rest}" for rest in ("tokens", "unit_price", "price_unit", "price")),
        *("total_tokens", "total_price", "currency", "latency"),
    ),
    price_unit="1K tokens",
    frozen_inputs=True,
    loose_inputs=True,
    chat_variables=True,
    any_content_type=True,
    concurrency_error=("too_many_requests", 429),
    blocking_rate_limit=("too_many_requests", 429),
    streamed_rate_limit=("too_many_requests", 429),
    graph_takes_two_slots=False,
    bad_stream="refused",
    path_suggestions=False,
    html_404=False,
)

PROFILES: dict[str, Profile] = {
    "1.16": Profile(name="1.16"),
    "1.13": Profile(
        name="1.13",
        version="1.13.2",
        message_selector=None,
        end_files=None,
        reasoning=False,
        lean_stream_metadata=False,
        lean_stop_usage=False,
        lean_start_node=False,
        system_variables=(
            "sys.files",
            "sys.user_id",
            "sys.app_id",
            "sys.workflow_id",
            "sys.workflow_run_id",
            "sys.timestamp",
            "sys.query",
            "sys.conversation_id",
            "sys.dialogue_count",
        ),
        model_in_llm_inputs=False,
        eager_answers=False,
        default_value_chunks_early=False,
        streamed_rate_limit=("completion_request_error", 400),
        provider_label=False,
        early_conversation_check=False,
        completion_quota=False,  # read in its source: the handler does not map that exception
        bad_stream="silence",
        stop_error="Stopped by user.",
        stop_by_anyone=False,
        file_too_large="File size exceeded. {message}",
        named_enums=False,
        speech_disabled=("invalid_param", "Speech to text is not enabled"),
        no_audio=(
            "bad_request_key_error",
            "The browser (or proxy) sent a request that this server could not understand.",
        ),
        audio_before_switch=True,
        uploads_by_user=False,
        annotations_by_app=False,
        strict_annotation_paging=False,
        message_accounting=False,
        upload_reference=False,
        site_input_placeholder=False,
        lean_word_avoidance=False,
        broken_swagger=True,
        run_events=False,
    ),
    "guide": _GUIDE,
    "guide-delta": replace(
        _GUIDE,
        name="guide-delta",
        title="the API of an integration guide, but with pieces of text for chunks,",
        chunks="delta",
    ),
}


def profile_named(name: str) -> Profile:
    """The profile called *name*; a release such as `1.16.1` is found by its first two numbers."""
    short = ".".join(name.split(".")[:2])
    found = PROFILES.get(name) or PROFILES.get(short)
    if found is None:
        msg = f"there is no profile {name!r}; there are: {', '.join(PROFILES)}"
        raise MockdifyError(msg)
    return found


def differences(one: Profile, other: Profile) -> list[tuple[str, Any, Any]]:
    """What differs between two profiles: (words, value of the one, value of the other)."""
    return [
        (f.metadata["words"], getattr(one, f.name), getattr(other, f.name))
        for f in fields(Profile)
        if f.metadata and f.default is not MISSING and getattr(one, f.name) != getattr(other, f.name)
    ]
