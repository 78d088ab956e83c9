"""For clients that hand the events on as they come: what their user makes of them."""
# ruff: noqa: ARG005, BLE001

import asyncio
import queue
import threading

from lines import Reported


def joined(events, emit=lambda text: None):
    """An iterable of Dify's events as an answer of the protocol."""
    said, agent, ended = {"text": ""}, False, False
    for event in events:
        name, data = event.get("event"), event.get("data") or {}
        for key in ("conversation_id", "message_id"):
            if event.get(key):
                said[key] = event[key]
        if name == "error":
            raise Reported("stream", event.get("message"), event.get("status"), event.get("code"))
        if name == "message_replace":
            said["text"] = event["answer"]
        delta = data.get("text") if name == "text_chunk" else event.get("answer")
        if delta and (name in ("agent_message", "text_chunk") or (name == "message" and not agent)):
            said["text"] += delta
            emit(delta)
        agent = agent or name == "agent_message"
        ended = ended or name in ("message_end", "workflow_finished")
        if name == "workflow_finished":
            said["outputs"] = data.get("outputs")
            if data.get("status") == "failed":
                raise Reported("stream", data.get("error"))
    if not ended:
        raise Reported("stream", "the stream ended without its end event")
    return said


def as_they_come(stream):
    """The events of an async iterator, each as soon as it is there; an error in its place."""
    heard = queue.SimpleQueue()

    async def listen():
        try:
            async for event in stream:
                heard.put(event)
        except Exception as error:
            heard.put(error)
        heard.put(None)

    threading.Thread(target=lambda: asyncio.run(listen())).start()
    for event in iter(heard.get, None):
        if isinstance(event, Exception):
            raise event
        yield event


def whole(body):
    """A blocking reply as an answer of the protocol."""
    if "answer" not in body:
        if body["data"]["status"] == "failed":
            raise Reported("stream", body["data"]["error"])
        return {"outputs": body["data"]["outputs"]}
    return {"text": body["answer"], "conversation_id": body.get("conversation_id"), "message_id": body["message_id"]}
