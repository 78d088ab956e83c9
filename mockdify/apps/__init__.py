"""Apps as Dify describes them itself: what a DSL export says, and what follows from it.

`app` has the types, `dsl` reads an export, `about` is what `/parameters`, `/info`, `/meta` and `/site` answer.
Nothing here knows keys, users or answers.
"""

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
from mockdify.apps.demo import DEMO_KEYS, demo_apps
from mockdify.apps.dsl import default_key, load_app, parse_app

__all__ = [
    "DEMO_KEYS",
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
    "demo_apps",
    "file_rules",
    "info",
    "load_app",
    "meta",
    "parameters",
    "parse_app",
    "site",
]
