"""What real clients see of a reply: status, events, and how it ended, in the same words for each."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpcore  # noqa: F401 - httpx imports it late; a test that restores sys.modules must not make it anew
import httpx
import requests
from fault_support import names_of

NODE = shutil.which("node")


@dataclass(frozen=True)
class Job:
    """One call: where, with which key, for how long."""

    url: str
    key: str
    stream: bool
    timeout: float

    @property
    def body(self) -> dict[str, Any]:
        return {
            "inputs": {},
            "query": "hello",
            "user": "u-1",
            "response_mode": "streaming" if self.stream else "blocking",
        }

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def address(self) -> str:
        return f"{self.url}/chat-messages"


@dataclass
class Seen:
    """What one client saw. `ended`: complete, broken (in the body), no answer, or timeout."""

    status: int = 0
    body: bytes = b""
    ended: str = "complete"
    error: str = ""
    """The client's own word for what went wrong."""

    @property
    def events(self) -> list[str]:
        return names_of(self.body)

    def failed(self, error: BaseException, *, timed_out: bool) -> Seen:
        self.ended = "timeout" if timed_out else "broken" if self.status else "no answer"
        self.error = type(error).__name__
        return self


def _read(seen: Seen, pieces: Iterable[bytes], job: Job) -> None:
    end = time.monotonic() + job.timeout
    for piece in pieces:
        seen.body += piece
        if time.monotonic() > end:
            raise TimeoutError


def with_requests(job: Job) -> Seen:
    seen = Seen()
    try:
        with (
            requests.Session() as session,
            session.post(job.address, json=job.body, headers=job.headers, stream=True, timeout=job.timeout) as reply,
        ):
            seen.status = reply.status_code
            _read(seen, reply.iter_content(None), job)
    except (requests.RequestException, TimeoutError) as error:
        return seen.failed(
            error, timed_out=isinstance(error, requests.Timeout | TimeoutError) or "Read timed out" in str(error)
        )
    return seen


def with_httpx(job: Job) -> Seen:
    seen = Seen()
    try:
        with (
            httpx.Client(timeout=job.timeout, trust_env=False, verify=False) as client,
            client.stream("POST", job.address, json=job.body, headers=job.headers) as reply,
        ):
            seen.status = reply.status_code
            _read(seen, reply.iter_bytes(), job)
    except (httpx.HTTPError, TimeoutError) as error:
        return seen.failed(error, timed_out=isinstance(error, httpx.TimeoutException | TimeoutError))
    return seen


def with_aiohttp(job: Job) -> Seen:
    seen = Seen()

    async def call() -> None:
        timeout = aiohttp.ClientTimeout(total=job.timeout)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(job.address, json=job.body, headers=job.headers) as reply,
        ):
            seen.status = reply.status
            async for piece in reply.content.iter_any():
                seen.body += piece

    try:
        asyncio.run(call())
    except (aiohttp.ClientError, TimeoutError) as error:
        return seen.failed(error, timed_out=isinstance(error, TimeoutError))
    return seen


CLIENTS: dict[str, Callable[[Job], Seen]] = {"requests": with_requests, "httpx": with_httpx, "aiohttp": with_aiohttp}


def with_node(jobs: Iterable[Job]) -> list[Seen]:
    """What node's fetch saw of each job: one process for all."""
    assert NODE is not None
    said = [{"url": job.address, "headers": job.headers, "body": job.body, "timeout": job.timeout} for job in jobs]
    script = Path(__file__).with_name("fetch.mjs")
    ran = subprocess.run(
        [NODE, str(script)], input=json.dumps(said), capture_output=True, text=True, timeout=60, check=True
    )
    return [Seen(**one | {"body": base64.b64decode(one["body"])}) for one in json.loads(ran.stdout)]
