"""One row per server: how it starts on a port, and what it is asked in each workload."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
BLOCKING, STREAM, PACED = "Where is my order number 1234567?", "stream please", "paced please"


@dataclass(frozen=True)
class Asked:
    """One kind of request, as raw bytes, and how many events its answer has (0: a whole answer)."""

    raw: bytes
    events: int = 0


@dataclass(frozen=True)
class Server:
    command: Callable[[int, Path], list[str] | None]
    """The command for a port and a scratch folder; None when the program is not installed."""
    asked: dict[str, Asked] = field(default_factory=dict)


def post(path: str, body: object, key: str = "app-chat-demo") -> bytes:
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def dify(query: str, mode: str) -> bytes:
    return post("/v1/chat-messages", {"inputs": {}, "query": query, "user": "user-123", "response_mode": mode})


DIFY = {
    "blocking": Asked(dify(BLOCKING, "blocking")),
    "stream": Asked(dify(STREAM, "streaming"), 50),
    "paced": Asked(dify(PACED, "streaming"), 100),
}

SCRIPT = f"""quiet = true
[[answers]]
when = {{ query = "{BLOCKING}" }}
answer = "The order has shipped and should arrive on Thursday. Reply here to change the address."
[[answers]]
when = {{ query = "{STREAM}" }}
chunks = {json.dumps([f" word{k:02d}" for k in range(49)])}
[[answers]]
when = {{ query = "{PACED}" }}
chunks = {json.dumps([f" word{k:02d}" for k in range(100)])}
pace = "50ms"
"""


def mockdify(*flags: str) -> Callable[[int, Path], list[str]]:
    def command(port: int, scratch: Path) -> list[str]:
        config = scratch / "mockdify.toml"
        config.write_text(SCRIPT)
        # uvloop off: figures never need it
        return [sys.executable, "-m", "mockdify", "serve", "--config", str(config), "--port", str(port), *flags]

    return command


def _openai(stream: bool) -> bytes:
    said = [{"role": "user", "content": "benchmark stream" if stream else "benchmark blocking"}]
    return post("/v1/chat/completions", {"model": "gpt-4o", "messages": said, "stream": stream}, "sk-bench")


def aimock(port: int, scratch: Path) -> list[str] | None:
    program = shutil.which("llmock")
    if program is None:
        return None
    words = "".join(f" word{k:02d}" for k in range(50))
    fixtures = [
        {"match": {"userMessage": "benchmark stream"}, "response": {"content": words}, "chunkSize": 7},
        {"match": {"userMessage": "benchmark blocking"}, "response": {"content": "The order has shipped. " * 30}},
    ]
    (scratch / "fixtures.json").write_text(json.dumps({"fixtures": fixtures}))
    return [program, "-p", str(port), "-f", str(scratch / "fixtures.json"), "--log-level", "silent"]


_PREPARED = json.dumps({"event": "message", "answer": "The order has shipped. " * 36})
_EVENTS = "".join(f'data: {{"event":"message","answer":" word{k:02d}","id":"{"x" * 180}"}}\n\n' for k in range(50))


def mockoon(port: int, scratch: Path) -> list[str] | None:
    program = shutil.which("mockoon-cli")
    if program is None:
        return None

    def reply(ident: str, body: str, kind: str, value: str) -> dict:
        rule = {"target": "body", "modifier": "response_mode", "value": value, "invert": False, "operator": "equals"}
        return {
            "uuid": ident, "body": body, "latency": 0, "statusCode": 200, "label": "", "bodyType": "INLINE", "filePath": "",
            "headers": [{"key": "Content-Type", "value": kind}], "databucketID": "", "sendFileAsBody": False,
            "rules": [rule], "rulesOperator": "OR", "disableTemplating": True, "fallbackTo404": False,
            "default": value == "blocking", "crudKey": "id", "callbacks": [],
        }  # fmt: skip

    route = {
        "uuid": "r1", "type": "http", "documentation": "", "method": "post", "endpoint": "v1/chat-messages",
        "responses": [reply("a", _PREPARED, "application/json", "blocking"), reply("b", _EVENTS, "text/event-stream", "streaming")],
        "responseMode": None,
    }  # fmt: skip
    environment = {
        "uuid": "e1", "lastMigration": 32, "name": "bench", "port": port, "hostname": "127.0.0.1", "endpointPrefix": "",
        "latency": 0, "folders": [], "routes": [route], "rootChildren": [{"type": "route", "uuid": "r1"}], "proxyMode": False,
        "proxyHost": "", "proxyRemovePrefix": False, "cors": False, "headers": [], "proxyReqHeaders": [], "proxyResHeaders": [],
        "data": [], "callbacks": [], "tlsOptions": {"enabled": False},
    }  # fmt: skip
    (scratch / "mockoon.json").write_text(json.dumps(environment))
    return [program, "start", "--data", str(scratch / "mockoon.json"), "--port", str(port), "--disable-log-to-file"]


def prism(port: int, scratch: Path) -> list[str] | None:
    program = shutil.which("prism")
    if program is None:
        return None
    answer = {"application/json": {"schema": {"type": "object"}, "example": json.loads(_PREPARED)}}
    operation = {
        "requestBody": {"content": {"application/json": {"schema": {"type": "object", "required": ["query", "user"]}}}},
        "responses": {"200": {"description": "ok", "content": answer}},
    }
    document = {
        "openapi": "3.0.3",
        "info": {"title": "bench", "version": "1"},
        "paths": {"/v1/chat-messages": {"post": operation}},
    }
    (scratch / "openapi.json").write_text(json.dumps(document))
    return [program, "mock", "-h", "127.0.0.1", "-p", str(port), "-v", "silent", str(scratch / "openapi.json")]


def wiremock(port: int, scratch: Path) -> list[str] | None:
    jar = os.environ.get("WIREMOCK_JAR")
    if not jar or shutil.which("java") is None:
        return None
    mappings = scratch / "mappings"
    mappings.mkdir(exist_ok=True)
    for name, mode, kind, body in (
        ("a", "blocking", "application/json", _PREPARED),
        ("b", "streaming", "text/event-stream", _EVENTS),
    ):
        stub = {
            "request": {
                "method": "POST", "url": "/v1/chat-messages",
                "bodyPatterns": [{"matchesJsonPath": f"$[?(@.response_mode == '{mode}')]"}],
            },
            "response": {"status": 200, "headers": {"Content-Type": kind}, "body": body},
        }  # fmt: skip
        (mappings / f"{name}.json").write_text(json.dumps(stub))
    return ["java", "-jar", jar, "--port", str(port), "--root-dir", str(scratch), "--disable-banner"]


def httpserver(port: int, scratch: Path) -> list[str] | None:
    try:
        import pytest_httpserver  # noqa: F401
    except ImportError:
        return None
    program = scratch / "serve.py"
    program.write_text(
        "import signal\nfrom pytest_httpserver import HTTPServer\n"
        f"server = HTTPServer('127.0.0.1', {port})\nserver.start()\n"
        f"server.expect_request('/v1/chat-messages').respond_with_data({_PREPARED!r}, content_type='application/json')\n"
        "signal.pause()\n"
    )
    return [sys.executable, str(program)]


BOTH = {"blocking": DIFY["blocking"], "stream": DIFY["stream"]}
SERVERS: dict[str, Server] = {
    "bare": Server(lambda port, _: [sys.executable, str(HERE / "bare.py"), str(port)], DIFY),
    "mockdify": Server(mockdify(), DIFY),
    "mockdify --coalesce": Server(mockdify("--coalesce"), {"stream": DIFY["stream"]}),
    "aimock": Server(aimock, {"blocking": Asked(_openai(stream=False)), "stream": Asked(_openai(stream=True), 50)}),
    "mockoon": Server(mockoon, BOTH),
    "prism": Server(prism, {"blocking": DIFY["blocking"]}),
    "wiremock": Server(wiremock, BOTH),
    "pytest-httpserver": Server(httpserver, {"blocking": DIFY["blocking"]}),
}
