"""A small Dify client with aiohttp: ask, go on, stream."""

import asyncio
import json
import os

import aiohttp


class DifyError(Exception):
    """Dify said no: as an HTTP error, or as an event in the middle of a stream."""

    def __init__(self, status, code, message):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code = status, code


class Chat:
    """One conversation of one end user."""

    def __init__(self, base_url, key, user, timeout=60):
        self.base_url, self.user = base_url.rstrip("/"), user
        self.conversation_id = ""
        self.http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"}, timeout=aiohttp.ClientTimeout(total=None, sock_read=timeout)
        )

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.http.close()

    async def ask(self, query, **inputs):
        """The whole answer at once."""
        async with self._send(query, inputs, "blocking") as reply:
            await _check(reply)
            answer = await reply.json()
        self.conversation_id = answer["conversation_id"]
        return answer["answer"]

    async def stream(self, query, **inputs):
        """The answer piece by piece, as it is made."""
        async with self._send(query, inputs, "streaming") as reply:
            await _check(reply)
            async for line in reply.content:
                if not line.startswith(b"data:"):  # a ping, or the blank line behind an event
                    continue
                event = json.loads(line.removeprefix(b"data:"))
                self.conversation_id = event.get("conversation_id", self.conversation_id)
                if event["event"] == "error":
                    raise DifyError(event["status"], event["code"], event["message"])
                if event["event"] in ("message", "agent_message"):
                    yield event["answer"]

    def _send(self, query, inputs, mode):
        body = {
            "inputs": inputs,
            "query": query,
            "user": self.user,
            "conversation_id": self.conversation_id,
            "response_mode": mode,
        }
        return self.http.post(f"{self.base_url}/chat-messages", json=body)


async def _check(reply):
    if reply.ok:
        return
    try:
        said = await reply.json()
    except (aiohttp.ContentTypeError, ValueError):  # a proxy in front of Dify speaks HTML
        said = {}
    raise DifyError(reply.status, said.get("code", "unknown"), said.get("message", reply.reason))


async def main():
    async with Chat(os.environ["DIFY_BASE_URL"], os.environ["DIFY_API_KEY"], "alice") as chat:
        print(await chat.ask("Hello!"))
        async for piece in chat.stream("And again?"):
            print(piece, end="", flush=True)
        print()


if __name__ == "__main__":
    asyncio.run(main())
