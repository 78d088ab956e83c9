"""Bare aiohttp doing the same honest work: key, JSON in, ids, JSON out, one write per event, absolute deadlines.

python bare.py PORT
"""

import asyncio
import json
import sys
import time
import uuid

from aiohttp import web

KEY = "Bearer app-chat-demo"
WORDS = [f" word{k:02d}" for k in range(50)]


async def chat(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Authorization") != KEY:
        return web.json_response({"code": "unauthorized"}, status=401)
    asked = await request.json()
    task, message, conversation = str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4())
    if asked["response_mode"] == "blocking":
        return web.json_response(_answer(task, message, conversation))
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    words, pace = (WORDS * 2, 0.05) if "paced" in asked["query"] else (WORDS, 0.0)
    started = asyncio.get_running_loop().time()
    for k, word in enumerate(words):
        if pace and k:
            await asyncio.sleep(started + k * pace - asyncio.get_running_loop().time())
        event = {
            "event": "message", "conversation_id": conversation, "message_id": message, "created_at": int(time.time()),
            "task_id": task, "id": message, "answer": word, "from_variable_selector": [],
        }  # fmt: skip
        await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
    await response.write_eof()
    return response


def _answer(task: str, message: str, conversation: str) -> dict:
    price = "0.0010330"
    usage = {
        "prompt_tokens": 1033, "prompt_unit_price": "0.001", "prompt_price_unit": "0.001", "prompt_price": price,
        "completion_tokens": 128, "completion_unit_price": "0.002", "completion_price_unit": "0.001",
        "completion_price": "0.0002560", "total_tokens": 1161, "total_price": "0.0012890", "currency": "USD",
        "latency": 0.76, "time_to_first_token": 0.1, "time_to_generate": 0.6,
    }  # fmt: skip
    return {
        "event": "message", "task_id": task, "id": message, "message_id": message, "conversation_id": conversation,
        "mode": "chat", "answer": "The order has shipped and should arrive on Thursday. Reply here to change the address.",
        "metadata": {"annotation_reply": None, "retriever_resources": [], "usage": usage, "reasoning": {}},
        "created_at": int(time.time()),
    }  # fmt: skip


async def main(port: int) -> None:
    app = web.Application()
    app.router.add_post("/v1/chat-messages", chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
