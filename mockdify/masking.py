"""Secrets are never shown: keys stand as `app-...last4` in journals, logs and reports."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["mask_headers", "mask_key", "mask_text"]

_TOKEN = re.compile(r"\b(?:app|dataset|ds|sk)-[A-Za-z0-9_\-]{4,}")
_SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"}


def mask_key(key: str) -> str:
    """*key* as it may be shown: its kind and its last four characters; a fault suffix stays."""
    bare, bang, suffix = key.partition("!")
    head = next((kind for kind in ("app-", "dataset-", "ds-", "sk-") if bare.startswith(kind)), "")
    return f"{head}…{bare[-4:] if len(bare) > len(head) + 4 else ''}{bang}{suffix}"


def mask_text(text: str) -> str:
    """*text* with every key in it masked."""
    return _TOKEN.sub(lambda found: mask_key(found.group()), text) if "-" in text else text


def mask_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name, with the values of secret ones masked."""
    shown = {}
    for name, value in headers:
        if name.lower() in _SECRET_HEADERS:
            scheme, blank, token = value.partition(" ")
            shown[name] = f"{scheme} {mask_key(token)}" if blank else mask_key(value)
        else:
            shown[name] = value
    return shown
