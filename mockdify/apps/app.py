"""What an app is: values read from its DSL export once, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mockdify.values import value

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "NO_FILES",
    "Agent",
    "App",
    "ConversationVariable",
    "Features",
    "FileRules",
    "Mode",
    "ModelRef",
    "Moderation",
    "Tool",
    "Variable",
    "VariableType",
    "file_rules",
]

Mode: TypeAlias = Literal["completion", "chat", "agent-chat", "advanced-chat", "workflow", "agent"]
VariableType: TypeAlias = Literal[
    "text-input",
    "paragraph",
    "select",
    "number",
    "checkbox",
    "file",
    "file-list",
    "json_object",
    "external_data_tool",
]


@value
class FileRules:
    """Which files are taken, and how many. Empty `types` and `methods` allow all; a limit of 0 is none."""

    enabled: bool = True
    types: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    """For files of type `custom`, which are otherwise refused."""
    methods: tuple[str, ...] = ()
    limit: int = 0
    image_limit: int = 0


NO_FILES = FileRules(enabled=False)


@value
class Variable:
    """One input of an app: an item of `user_input_form`, or a variable of the start node."""

    name: str
    label: str = ""
    type: VariableType = "text-input"
    required: bool = False
    default: Any = None
    """Taken when the input is absent. Easy-UI apps have none: what their form shows as default is never filled in."""
    max_length: int | None = None
    """Code points of a text, files of a file-list; None is no limit."""
    options: tuple[str, ...] = ()
    files: FileRules = NO_FILES


@value
class ModelRef:
    """The model an app calls."""

    provider: str
    name: str
    mode: str = "chat"
    completion_params: Mapping[str, Any] = field(default_factory=dict, compare=False)


@value
class Moderation:
    """`sensitive_word_avoidance`: the keywords and what is answered instead; None where that side is off."""

    type: str
    keywords: tuple[str, ...] = ()
    input_response: str | None = None
    output_response: str | None = None


@value
class Features:
    """What is switched on. `raw` is the section as the DSL has it, for `/parameters`."""

    opening_statement: str = ""
    suggested_questions: tuple[str, ...] = ()
    suggested_questions_after_answer: bool = False
    speech_to_text: bool = False
    text_to_speech: bool = False
    retriever_resource: bool = False
    annotation_reply: bool = False
    more_like_this: bool = False
    moderation: Moderation | None = None
    file_upload: FileRules = NO_FILES
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@value
class Tool:
    """A tool that an agent may use."""

    name: str
    label: str = ""
    provider: str = ""
    """The provider's id, as `/meta` names it in the icon's address."""
    type: str = "builtin"
    parameters: Mapping[str, Any] = field(default_factory=dict, compare=False)


@value
class Agent:
    """How an agent works: its strategy, its tools, how many rounds it may take."""

    strategy: str = "function_call"
    tools: tuple[Tool, ...] = ()
    max_iteration: int = 5


@value
class ConversationVariable:
    """A variable that a chatflow keeps for each conversation."""

    id: str
    name: str
    value_type: str
    value: Any = field(default=None, compare=False)
    description: str = ""


@value
class App:
    """An app. Two apps are the same only when they are one object; a changed file makes a new one."""

    name: str
    """What mockdify calls it: the stem of its file."""
    title: str
    """What Dify calls it: `app.name` of the DSL."""
    mode: Mode
    description: str = ""
    icon: str | None = None
    icon_type: str | None = None
    icon_background: str | None = None
    use_icon_as_answer_icon: bool = False
    form: tuple[Variable, ...] = ()
    user_input_form: tuple[Mapping[str, Any], ...] = ()
    """The form as `/parameters` shows it: one-key objects, in the DSL's own key order."""
    features: Features = field(default_factory=Features)
    model: ModelRef | None = None
    pre_prompt: str = ""
    prompt_type: str = "simple"
    chat_prompt_config: Mapping[str, Any] = field(default_factory=dict)
    completion_prompt_config: Mapping[str, Any] = field(default_factory=dict)
    dataset_query_variable: str = ""
    dataset_ids: tuple[str, ...] = ()
    agent: Agent | None = None
    """How the agent works; None unless agent mode is on."""
    workflow: Mapping[str, Any] | None = field(default=None, repr=False)
    """The raw `workflow` section: graph, conversation and environment variables, features."""
    conversation_variables: tuple[ConversationVariable, ...] = ()
    version: str | None = None
    """The DSL's version; None in the oldest exports."""
    source: str = ""
    """Where it was read from, for messages."""

    @property
    def is_graph(self) -> bool:
        """A chatflow or a workflow."""
        return self.mode in ("advanced-chat", "workflow")

    @property
    def is_agent(self) -> bool:
        """An agent app, also one whose mode still says `chat`, as the oldest agents' does."""
        return self.mode == "agent-chat" or (self.mode == "chat" and self.agent is not None)

    @property
    def prompts(self) -> Sequence[Mapping[str, Any]]:
        """The messages of an advanced prompt (`role`, `text`), in order; none when the prompt is simple."""
        if self.prompt_type != "advanced":
            return ()
        prompt: Any = self.chat_prompt_config.get("prompt") or self.completion_prompt_config.get("prompt") or ()
        return [one for one in (prompt if isinstance(prompt, list) else [prompt]) if isinstance(one, Mapping)]


def file_rules(app: App) -> FileRules:
    """What the `files` of a generate request may be; `enabled` is false where they are ignored."""
    return app.features.file_upload
