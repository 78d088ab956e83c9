"""An app from its DSL export, versions 0.1.0 to 0.7.0.

Exports are taken as Dify takes them: unknown keys are ignored, missing ones have Dify's defaults. What cannot be an
app is told in one line with file, line and column.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final, get_args

from mockdify.apps.app import (
    NO_FILES,
    Agent,
    App,
    ConversationVariable,
    Features,
    FileRules,
    Mode,
    ModelRef,
    Moderation,
    Tool,
    Variable,
    VariableType,
)
from mockdify.documents import Section, load_yaml, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mockdify.documents import Document

__all__ = ["default_key", "load_app", "parse_app"]

_MODES: Final[Mapping[str, Mode]] = {mode: mode for mode in get_args(Mode)}
_TYPES: Final[Mapping[str, VariableType]] = {kind: kind for kind in get_args(VariableType)}
_GRAPH_MODES: Final = ("advanced-chat", "workflow")
_AGENT_STRATEGIES: Final = ("function_call", "react")
_DEFAULT_IMAGE_LIMIT: Final = 3


def default_key(stem: str) -> str:
    """The key of an app loaded from a file of this *stem*: ASCII, the same every time."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", stem)
    if plain != stem:
        plain += "-" + hashlib.sha256(stem.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"app-{plain}"


def load_app(path: Path) -> App:
    """The app in the DSL file *path*, named by the file's stem."""
    return _app(load_yaml(path), path.stem)


def parse_app(text: str, *, name: str, source: str) -> App:
    """The app in the DSL *text*; *source* is what errors call it."""
    return _app(parse_yaml(text, source=source), name)


def _app(document: Document, name: str) -> App:
    root = document.root("a Dify DSL export")
    kind = root.text("kind", "app")
    if kind != "app":
        raise root.error(f"{kind!r} is no kind that can be served; export an app (kind: app)", "kind")
    head = root.needed("app", "it holds the app's name and mode, as in every export of Dify's (Studio, Export DSL)")
    mode = head.choice("mode", _MODES, "app mode")
    common: dict[str, Any] = {
        "name": name,
        "title": head.text("name", name),
        "mode": mode,
        "description": head.text("description"),
        "icon": head.optional_text("icon"),
        "icon_type": head.optional_text("icon_type"),
        "icon_background": head.optional_text("icon_background"),
        "use_icon_as_answer_icon": head.flag("use_icon_as_answer_icon"),
        "version": root.optional_text("version"),
        "source": document.source,
    }
    if mode in _GRAPH_MODES:
        workflow = root.needed("workflow", f"{mode} apps have their graph there")
        return App(**common, **_graph(workflow))
    # unverified: no export of a New Agent was seen; whatever it holds beside `model_config` is left alone
    config = (
        root.section("model_config")
        if mode == "agent"
        else root.needed("model_config", f"{mode} apps are set up there")
    )
    return App(**common, **_easy(config))


# ---------------------------------------------------------------- easy-UI apps
def _easy(config: Section) -> dict[str, Any]:
    mode = config.section("agent_mode")
    return {
        "form": tuple(_easy_form(config)),
        "user_input_form": tuple(config.items("user_input_form")),
        "features": _features(config, config.section("file_upload")),
        "model": _model(config.section("model")),
        "pre_prompt": config.text("pre_prompt"),
        "prompt_type": config.text("prompt_type", "simple"),
        "chat_prompt_config": config.section("chat_prompt_config").data,
        "completion_prompt_config": config.section("completion_prompt_config").data,
        "dataset_query_variable": config.text("dataset_query_variable"),
        "dataset_ids": tuple(_datasets(config, mode)),
        "agent": _agent(mode),
    }


def _easy_form(config: Section) -> Iterator[Variable]:
    for item in config.sections("user_input_form"):
        kinds = [key for key in item.data if key in _TYPES]
        if len(item.data) != 1 or not kinds:
            met = ", ".join(map(repr, item.data)) or "nothing"
            raise item.error(f"an item of the form has one key, its type, out of {', '.join(_TYPES)}; met {met}")
        # Data that an external tool fetches is no input: it is shown in the form but never asked for.
        if kinds[0] != "external_data_tool":
            yield _variable(item.section(kinds[0]), _TYPES[kinds[0]], default=False)


def _model(section: Section) -> ModelRef | None:
    if not section.data.get("name"):
        return None
    return ModelRef(
        provider=section.text("provider"),
        name=section.text("name"),
        mode=section.text("mode", "chat"),
        completion_params=section.section("completion_params").data,
    )


def _datasets(config: Section, agent: Section) -> Iterator[str]:
    holders = (*config.section("dataset_configs").section("datasets").sections("datasets"), *agent.sections("tools"))
    for holder in holders:
        dataset = holder.section("dataset")
        if dataset.data.get("id") and dataset.flag("enabled", default=True):
            yield dataset.text("id")


def _agent(section: Section) -> Agent | None:
    strategy = section.text("strategy", "function_call")
    if not section.flag("enabled") or strategy not in _AGENT_STRATEGIES:
        return None
    return Agent(
        strategy=strategy,
        # Tools of the first agents were one-key objects; Dify, too, takes only those that name tool and provider.
        tools=tuple(
            _tool(tool)
            for tool in section.sections("tools")
            if tool.data.get("tool_name") and tool.flag("enabled", default=True)
        ),
        max_iteration=section.number("max_iteration") or 5,
    )


def _tool(section: Section) -> Tool:
    return Tool(
        name=section.text("tool_name"),
        label=section.text("tool_label"),
        provider=section.text("provider_id") or section.text("provider_name"),
        type=section.text("provider_type", "builtin"),
        parameters=section.section("tool_parameters").data,
    )


# ---------------------------------------------------------------- graph apps
def _graph(workflow: Section) -> dict[str, Any]:
    variables = _start_variables(workflow.needed("graph", "the nodes and edges of the app stand there"))
    features = workflow.section("features")
    upload = _renewed(features.section("file_upload"))
    raw = {**features.data, **({"file_upload": upload.data} if "file_upload" in features.data else {})}
    return {
        "form": tuple(
            _variable(item, item.choice("type", _TYPES, "type of input"), default=True) for item in variables
        ),
        "user_input_form": tuple({item.data["type"]: item.data} for item in variables),
        "features": _features(Section(document=features.document, path=features.path, data=raw), upload),
        "workflow": workflow.data,
        "conversation_variables": tuple(map(_conversation_variable, workflow.sections("conversation_variables"))),
    }


def _start_variables(graph: Section) -> tuple[Section, ...]:
    nodes = [node.section("data") for node in graph.sections("nodes")]
    start = next((data for data in nodes if data.data.get("type") == "start"), None)
    return start.sections("variables") if start is not None else ()


def _renewed(upload: Section) -> Section:
    """The old form of a graph's `file_upload`, images only, as Dify rewrites it when it reads one."""
    image = upload.section("image")
    data = dict(upload.data)
    if image.flag("enabled"):
        del data["image"]
        data["enabled"] = True
        data["number_limits"] = image.number("number_limits") or _DEFAULT_IMAGE_LIMIT
        data["allowed_file_upload_methods"] = list(image.texts("transfer_methods")) or ["remote_url", "local_file"]
        data.setdefault("allowed_file_types", ["image"])
        data.setdefault("allowed_file_extensions", [])
    elif "allowed_file_extensions" in data:
        # An export is sorted; the recordings (meta.chatflow.parameters) show the place the rewriting gave it: the last.
        data["allowed_file_extensions"] = data.pop("allowed_file_extensions")
    return Section(document=upload.document, path=upload.path, data=data)


def _conversation_variable(section: Section) -> ConversationVariable:
    if not section.data.get("name"):
        raise section.error("a conversation variable needs a 'name'")
    return ConversationVariable(
        id=section.text("id"),
        name=section.text("name"),
        value_type=section.text("value_type", "string"),
        value=section.data.get("value"),
        description=section.text("description"),
    )


# ---------------------------------------------------------------- both
def _variable(section: Section, kind: VariableType, *, default: bool) -> Variable:
    name = section.text("variable")
    if not name:
        raise section.error("an input needs the key 'variable': the name that requests send it under")
    value = section.data.get("default") if default else None
    return Variable(
        name=name,
        label=section.text("label"),
        type=kind,
        required=section.flag("required"),
        # unverified: the console writes "" for a select without a default, which no option would ever match
        default=None if kind == "select" and value == "" else value,
        max_length=section.number("max_length") or None,
        options=section.texts("options"),
        files=FileRules(
            types=section.texts("allowed_file_types"),
            extensions=section.texts("allowed_file_extensions"),
            methods=section.texts("allowed_file_upload_methods"),
        ),
    )


def _features(section: Section, upload: Section) -> Features:
    def on(key: str) -> bool:
        return section.section(key).flag("enabled")

    return Features(
        opening_statement=section.text("opening_statement"),
        suggested_questions=section.texts("suggested_questions"),
        suggested_questions_after_answer=on("suggested_questions_after_answer"),
        speech_to_text=on("speech_to_text"),
        text_to_speech=on("text_to_speech"),
        retriever_resource=on("retriever_resource"),
        annotation_reply=on("annotation_reply"),
        more_like_this=on("more_like_this"),
        moderation=_moderation(section.section("sensitive_word_avoidance")),
        file_upload=_upload(upload),
        raw=section.data,
    )


def _moderation(section: Section) -> Moderation | None:
    if not section.flag("enabled"):
        return None
    config = section.section("config")

    def response(side: str) -> str | None:
        part = config.section(side)
        return part.text("preset_response") if part.flag("enabled") else None

    return Moderation(
        type=section.text("type"),
        keywords=tuple(line for line in config.text("keywords").split("\n") if line),
        input_response=response("inputs_config"),
        output_response=response("outputs_config"),
    )


def _upload(section: Section) -> FileRules:
    # Dify looks at the outer switch alone: an old easy-UI app with only `image.enabled` takes no files.
    if not section.flag("enabled"):
        return NO_FILES
    limit = section.number("number_limits")
    return FileRules(
        types=section.texts("allowed_file_types"),
        extensions=section.texts("allowed_file_extensions"),
        methods=section.texts("allowed_file_upload_methods"),
        limit=limit or 0,
        image_limit=1 if limit is None else limit,
    )
