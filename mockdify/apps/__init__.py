"""Apps as Dify describes them itself: what a DSL export says, and what follows from it.

`app` has the types, `dsl` reads an export, `about` is what `/parameters`, `/info`, `/meta` and `/site` answer.
Nothing here knows keys, users or answers.
"""

from typing import TYPE_CHECKING, Any

from mockdify.apps.about import info, meta, parameters, site
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
    file_rules,
)
from mockdify.apps.demo import DEMO_KEYS, DEMO_MODES, demo_app, demo_apps

if TYPE_CHECKING:
    from mockdify.apps.dsl import default_key, load_app, parse_app

__all__ = [
    "DEMO_KEYS",
    "DEMO_MODES",
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
    "default_key",
    "demo_app",
    "demo_apps",
    "file_rules",
    "info",
    "load_app",
    "meta",
    "parameters",
    "parse_app",
    "site",
]


def __getattr__(name: str) -> Any:
    if name in ("default_key", "load_app", "parse_app"):
        from mockdify.apps import dsl  # noqa: PLC0415 - reading exports brings yaml, which a start-up can do without

        return getattr(dsl, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
