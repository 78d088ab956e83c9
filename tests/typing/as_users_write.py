"""Calls that users write, held to `mypy --strict`, never run. Each `type: ignore` is a mistake that must be found."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

import mockdify as package
from mockdify import MockDify, MockdifyError


def ask(base_url: str, key: str, query: str) -> str:
    return f"{base_url} {key} {query}"


@pytest.mark.mockdify(profile="1.13", seed=7, apps=["chat"], strict=False)
@pytest.mark.mockdify_fault("cut", after=2)
def test_with_the_fixture(mockdify: MockDify) -> None:
    chat = mockdify.app("chat").answer("Hi!").answer("a", when={"user": "alice"}, times=2, pace="100ms")
    chat.answer(chunks=["a", "b"], usage={"prompt_tokens": 3}, retriever_resources=[{"document_name": "d"}])
    chat.answer(fails="rate-limit", message="slow down", after=1)
    chat.answer(rounds=[{"tool": "clock", "tool_input": {}, "observation": "noon"}, {"chunks": ["Noon."]}])
    mockdify.app("workflow").node("code", outputs={"result": 1}, takes="2s").node("llm", fails="broken")
    mockdify.inject("rate-limit", times=2, retry_after=0, on="POST /v1/chat-messages", when={"user": "bob"})
    mockdify.inject("error-event", after=1, code="x")
    answer: str = ask(mockdify.base_url, chat.key, "hello")
    statuses: list[int] = [exchange.status for exchange in mockdify.journal]
    last = mockdify.journal.last
    first_two = mockdify.journal[:2]
    texts: tuple[str, str | None, float] = (last.text, last.user, last.ms)
    conversation: str = mockdify.app("chat").webapp_conversation(user="alice")
    environment: dict[str, str] = mockdify.env()
    mockdify.clock.advance("30s")
    mockdify.clock.speed = 100
    with mockdify.workspace() as other:
        other.app("chat").answer("there")
        keys: dict[str, str] = other.keys
        other.reset()
    problems: list[str] = mockdify.problems()
    assert [answer, statuses, first_two, texts, conversation, environment, keys, problems, chat.keys, chat.mode]


def outside_pytest() -> None:
    with MockDify(apps=["chat", Path("support.yml")], config="mockdify.toml", pace=0.1, ping_interval=1) as server:
        server.renew(profile="1.13", clock=datetime(2026, 1, 1, tzinfo=UTC))
        same: MockDify = server
    with pytest.raises(MockdifyError, match=package.__version__):
        same.start().stop()


async def in_a_loop() -> None:
    async with MockDify(seed=1, models=["openai/gpt-4o"]) as server:
        assert server.base_url


def mistakes(server: MockDify) -> None:
    server.app("chat").answer("x", fails="ratelimit")  # type: ignore[arg-type]
    server.app("chat").answer("x", nothing=1)  # type: ignore[call-arg]
    server.inject("cut", times="2")  # type: ignore[arg-type]
    server.journal.append(1)  # type: ignore[attr-defined]
    server.clock.speed = "2x"  # type: ignore[assignment]
    MockDify("chat")  # type: ignore[call-arg]
    MockDify(seed="x")  # type: ignore[arg-type]
    MockDify(remote_files="sometimes")  # type: ignore[arg-type]


def main() -> None:
    asyncio.run(in_a_loop())
