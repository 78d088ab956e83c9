"""mockdify: a mock Dify server and a contract-testing harness for its clients."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mockdify.api import MockDify
    from mockdify.errors import MockdifyError
    from mockdify.harness.testing import mockdify_check

__all__ = ["MockDify", "MockdifyError", "__version__", "mockdify_check"]
__version__ = "0.1.0"

_LAZY = {"MockDify": "mockdify.api", "MockdifyError": "mockdify.errors", "mockdify_check": "mockdify.harness.testing"}
"""Public names that cost something to import, with their modules."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module  # noqa: PLC0415 - not for `import mockdify`

    found = globals()[name] = getattr(import_module(_LAZY[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
