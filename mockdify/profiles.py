"""A profile is the Dify release whose behaviour is served: a table of what differs, and nothing else knows versions.

Each field is one difference. Its `words` say it for `mockdify profiles`, its `since` names the release that has the
default value. A handler asks the profile for the value; it never compares versions.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from mockdify.errors import MockdifyError

__all__ = ["PROFILES", "Profile", "differences", "profile_named"]


def _row(default: Any, words: str, *, since: str = "1.16.1") -> Any:
    return field(default=default, metadata={"words": words, "since": since})


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One release. The defaults are Dify 1.16.1."""

    name: str
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
    bad_stream: Literal["synthetic", "silence"] = _row(
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
