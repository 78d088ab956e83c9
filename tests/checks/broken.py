"""Clients with one mistake each: the reference client, spoiled. `BROKEN` names the mistake."""

import codecs
import json
import threading

from mockdify.reference import Answer, Client, Failed, Reader, ReferenceAdapter


def adapter(reader=None, **client):
    """An adapter of the reference client with another reader or other methods of the client."""
    made = type("BrokenClient", (Client,), {**client, **({"reader": reader} if reader else {})})
    return type("BrokenAdapter", (ReferenceAdapter,), {"client": made})


# ---------------------------------------------------------------------- readers of streams
class AppendsPing(Reader):
    def feed(self, decoder, piece):
        for frame in decoder.feed(piece):
            if frame.data is None:
                self.delta(frame.event)
            else:
                self.take(frame.data)


class IgnoresErrorEvents(Reader):
    def on_error(self, event):
        self.ended = True


class SplitsOnChunks(Reader):
    """A line is what a read gives: the guide's JavaScript sample."""

    def feed(self, decoder, piece):
        for line in piece.decode("utf-8", "replace").split("\n"):
            if line.startswith("data: "):
                self.take(line[6:])


class DecodesEachChunk(Reader):
    def feed(self, decoder, piece):
        super().feed(decoder, piece.decode("utf-8", "replace").encode())


class AcceptsTruncation(Reader):
    def read(self, response):
        try:
            return super().read(response)
        except Failed as failed:
            if failed.kind in ("stream", "network") and failed.code is None:
                return self.said
            raise


class AppendsReplace(Reader):
    def on_replace(self, event):
        self.delta(event["answer"])


class IgnoresAgents(Reader):
    def on_agent(self, event):
        pass


class AppendsClosing(Reader):
    def on_agent(self, event):
        self.delta(event["answer"])


class Cumulative(Reader):
    """Takes each delta for the whole answer so far, as the guide shows it."""

    def delta(self, text):
        if text:
            self.said.text = text
            self.emit(text)


class StrictModel(Reader):
    KNOWN = (
        "message agent_message agent_thought message_end message_replace "
        "workflow_started workflow_finished text_chunk error"
    ).split()

    def take(self, data):
        event = json.loads(data)
        if event["event"] not in self.KNOWN or "invented_later" in event:
            raise KeyError(f"unknown in {data[:60]}")
        super().take(data)


class Latin1(Reader):
    def take(self, data):
        super().take(data.encode().decode("latin-1"))


class SplitLines(Reader):
    """`str.splitlines` and the like: eleven characters end a line."""

    def __init__(self, emit):
        super().__init__(emit)
        self.rest, self.text = "", codecs.getincrementaldecoder("utf-8")()

    def feed(self, decoder, piece):
        *lines, self.rest = (self.rest + self.text.decode(piece) + "|").splitlines()
        self.rest = self.rest[:-1]
        for line in lines:
            if line.startswith("data: "):
                self.take(line[6:])


class OneEventAChunk(Reader):
    def feed(self, decoder, piece):
        for frame in list(decoder.feed(piece))[:1]:
            if frame.data is not None:
                self.take(frame.data)


class LfOnly(Reader):
    def __init__(self, emit):
        super().__init__(emit)
        self.rest = b""

    def feed(self, decoder, piece):
        *frames, self.rest = (self.rest + piece).split(b"\n\n")
        for frame in frames:
            if frame.startswith(b"data:"):
                self.take(frame[5:].decode())


class Collects(Reader):
    """Reads all, then hands on all."""

    def read(self, response):
        emit, held = self.emit, []
        self.emit = held.append
        said = super().read(response)
        for text in held:
            emit(text)
        return said


class ReadsOn(Reader):
    """A reading thread that nobody tells to stop."""

    def read(self, response):
        emit, failed = self.emit, []

        def heard(text):
            if not failed:
                try:
                    emit(text)
                except Exception as error:  # noqa: BLE001 - told when the stream is over
                    failed.append(error)

        self.emit = heard
        said = super().read(response)
        if failed:
            raise failed[0]
        return said


# ---------------------------------------------------------------------- clients
def _wait_for(*statuses, quota=False, seconds=0.05):
    def wait(self, failed, attempt):
        if failed.status in statuses and (quota or failed.code != "rate_limit_error"):
            return seconds
        return Client.wait(self, failed, attempt)

    return wait


def _retries_streams(self, failed, attempt):
    return 0.05 if failed.kind in ("stream", "network") and failed.code is None else Client.wait(self, failed, attempt)


def _begins_anew(self, query, *, conversation_id="", **more):
    try:
        return Client.chat(self, query, conversation_id=conversation_id, **more)
    except Failed as failed:
        if failed.status != 404:
            raise
        return Client.chat(self, query, conversation_id="", **more)


def _swallows(*kinds, statuses=()):
    """A call whose failures of some kinds come back as an empty answer."""

    def chat(self, query, **more):
        try:
            return Client.chat(self, query, **more)
        except Failed as failed:
            if failed.kind in kinds or failed.status in statuses:
                return Answer()
            raise

    return chat


def _no_timeout(self, query, **more):
    self.timeout = 3600.0
    return Client.chat(self, query, **more)


def _unbound_response(self, query, **more):
    try:
        return Client.chat(self, query, **more)
    except Failed as failed:
        if failed.kind == "network":
            raise UnboundLocalError("cannot access local variable 'response'") from failed
        raise


def _parses_html(self, query, **more):
    try:
        return Client.chat(self, query, **more)
    except Failed as failed:
        if failed.kind == "http" and failed.code is None:
            raise json.JSONDecodeError("Expecting value", "<html>", 0) from failed
        raise


def _ignores_status(self, *args, **more):
    try:
        return Client._json(self, *args, **more)
    except Failed:
        return {"data": []}


class SharesConversation(ReferenceAdapter):
    """The last conversation is kept on the client, whoever asks."""

    last = ""

    def chat(self, **call):
        answer = super().chat(**{**call, "conversation_id": call["conversation_id"] or type(self).last})
        type(self).last = answer.conversation_id
        return answer


class ForgetsConversation(ReferenceAdapter):
    def chat(self, **call):
        return super().chat(**{**call, "conversation_id": ""})


class RandomUser(ReferenceAdapter):
    made = iter(range(10**9))
    lock = threading.Lock()

    def chat(self, **call):
        with self.lock:
            user = f"{call['user']}-{next(self.made)}"
        return super().chat(**{**call, "user": user, "conversation_id": ""})


class Parses204(ReferenceAdapter):
    def delete(self, *, base_url, api_key, timeout, user, conversation_id):
        super().delete(base_url=base_url, api_key=api_key, timeout=timeout, user=user, conversation_id=conversation_id)
        json.loads("")


class ForEver(ReferenceAdapter):
    client = type("ForEver", (Client,), {"wait": _wait_for(429, 500, 502, 503, 504, seconds=0.02)})

    def __init__(self):
        super().__init__(retries=10_000)


class AppendsThought(Reader):
    def take(self, data):
        super().take(data)
        event = json.loads(data)
        if event["event"] == "agent_thought" and event["thought"]:
            self.delta(event["thought"])


BROKEN = {
    "appends-ping": adapter(AppendsPing),
    "ignores-error-events": adapter(IgnoresErrorEvents),
    "splits-on-chunks": adapter(SplitsOnChunks),
    "decodes-each-chunk": adapter(DecodesEachChunk),
    "retries-401": adapter(wait=_wait_for(400, 401, 403, 404)),
    "ignores-retry-after": adapter(wait=_wait_for(429)),
    "shares-conversation": SharesConversation,
    "accepts-truncation": adapter(AcceptsTruncation),
    "appends-replace": adapter(AppendsReplace),
    "ignores-agents": adapter(IgnoresAgents),
    "appends-thought": adapter(AppendsThought),
    "appends-closing": adapter(AppendsClosing),
    "cumulative": adapter(Cumulative),
    "strict-model": adapter(StrictModel),
    "latin-1": adapter(Latin1),
    "splitlines": adapter(SplitLines),
    "one-event-a-chunk": adapter(OneEventAChunk),
    "lf-only": adapter(LfOnly),
    "collects": adapter(Collects),
    "reads-on": adapter(ReadsOn),
    "retries-quota": adapter(wait=_wait_for(429, quota=True)),
    "retries-streams": adapter(wait=_retries_streams),
    "retries-for-ever": ForEver,
    "falls-through": adapter(chat=_swallows(statuses=(429, 500, 503))),
    "begins-anew": adapter(chat=_begins_anew),
    "no-timeout": adapter(chat=_no_timeout),
    "unbound-response": adapter(chat=_unbound_response),
    "parses-html": adapter(chat=_parses_html),
    "ignores-status": adapter(chat=_swallows("http"), _json=_ignores_status),
    "forgets-conversation": ForgetsConversation,
    "random-user": RandomUser,
    "parses-204": Parses204,
}
