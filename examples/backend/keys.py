"""Where Dify is and which key opens it: from the environment, one key per stage, never from code."""

import os


def settings(environ=os.environ):
    """Base URL and key of the stage that this process runs in."""
    name = f"DIFY_{environ.get('APP_STAGE', 'DEV').upper()}_API_KEY"
    key = environ.get(name)
    if not key:
        raise RuntimeError(f"{name} is not set: put the key of this stage into the environment of the back end")
    return environ.get("DIFY_BASE_URL", "https://api.dify.ai/v1"), key
