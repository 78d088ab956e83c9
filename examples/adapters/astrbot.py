"""AstrBot 4.29's Dify client: aiohttp and a parser of its own; errors are plain exceptions with the status in their text.

pip install --no-deps astrbot==4.29.3 && pip install aiohttp
mockdify check --exec "python examples/adapters/astrbot.py"
"""
# ruff: noqa: E501, RUF001

import importlib.util
import json
import logging
import re
import sys
import types
from importlib.metadata import distribution

from joined import as_they_come, joined
from lines import Reported, run

for name in ("astrbot", "astrbot.core"):  # one module of the platform is enough
    sys.modules[name] = types.ModuleType(name)
sys.modules["astrbot.core"].logger = logging.getLogger("astrbot")
place = distribution("astrbot").locate_file("astrbot/core/agent/runners/dify/dify_api_client.py")
spec = importlib.util.spec_from_file_location("client", place)
spec.loader.exec_module(module := importlib.util.module_from_spec(spec))


async def asked(call, ask):
    client = module.DifyAPIClient(call["api_key"], call["base_url"])
    try:
        async for event in ask(client):
            yield event
    except Exception as error:
        if found := re.search(r"：(\d{3})\. (.*)", str(error), re.DOTALL):
            code = json.loads(found[2]).get("code") if found[2].startswith("{") else None
            raise Reported("http", str(error), int(found[1]), code) from error
        raise
    finally:
        await client.close()


def events(call, ask):
    return as_they_come(asked(call, ask))


def chat(call, emit):
    more = {"conversation_id": call["conversation_id"], "timeout": call["timeout"]}
    return joined(events(call, lambda c: c.chat_messages(call["inputs"], call["query"], call["user"], **more)), emit)


def workflow(call, emit):
    return joined(events(call, lambda c: c.workflow_run(call["inputs"], call["user"], timeout=call["timeout"])), emit)


run("chat.streaming", "workflow.streaming", "incremental", chat=chat, workflow=workflow)
