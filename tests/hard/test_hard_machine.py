"""Conversations of several users, apps and workspaces at once, against a plain model of them.

Every text that a client sends carries a canary of its own; no canary may ever stand in an answer to anybody else.
"""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from live import PATHS, Live, make_engine, request

from mockdify.sse import decode
from mockdify.steps import Body, Head, Wait

NOBODY = "00000000-0000-4000-8000-000000000000"
APPS = ("chat", "agent", "chatflow", "completion", "workflow")
CHATS = ("chat", "agent", "chatflow")
USERS = ("alice", "bob")
CANARY = re.compile(r"canary(\d+)x")
PICK = st.integers(min_value=0, max_value=6)
"""Who or which, counted round: few at first, so that much happens to the same."""


@dataclass
class Turn:
    id: str
    query: str
    answer: str | None
    """None: what is stored of it is not ours to say (a graph that was stopped)."""
    rating: str | None = None


@dataclass
class Talk:
    id: str
    turns: list[Turn] = field(default_factory=list)
    name: str | None = None
    memo: str | None = None


@dataclass(eq=False)
class Asker:
    """One end user of one app of one workspace, and what he must see."""

    workspace: str
    app: str
    user: str
    key: str
    talks: list[Talk] = field(default_factory=list)
    """Newest first, as they are listed."""
    deleted: list[Talk] = field(default_factory=list)
    alone: list[Turn] = field(default_factory=list)
    """Messages without a conversation: those of a completion app."""
    runs: list[str] = field(default_factory=list)
    files: list[tuple[str, bytes, bool]] = field(default_factory=list)
    """Id, content, whether it is used in a message."""

    @property
    def turns(self) -> list[Turn]:
        return [turn for talk in self.talks for turn in talk.turns] + self.alone


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(frame.data) for frame in decode([self.body]) if frame.data is not None]


def said(events: list[dict[str, Any]]) -> str:
    return "".join(event["answer"] for event in events if event["event"] in ("message", "agent_message"))


class Clock:
    """Time that passes with each request and each wait."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Conversations(RuleBasedStateMachine):
    """The model, in process: a request is its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.engine = make_engine(now=self.clock, seed=9)
        self.engine.further()
        self.owners: list[Asker] = []
        self.askers: list[Asker] = []

    @initialize()
    def world(self) -> None:
        for app in APPS:
            for workspace in self.engine.workspaces.values():
                for user in USERS:
                    self.askers.append(Asker(workspace.id, app, user, workspace.keys[app]))

    # ------------------------------------------------------------------ asking
    def ask(
        self,
        asker: Asker,
        method: str,
        target: str,
        body: Any = None,
        *,
        shared: bool = False,
        kind: str = "application/json",
    ) -> Reply:
        """The reply, in which every canary is the asker's own (of his app, where an answer is the app's as a whole)."""
        self.clock.now += 1
        reply = self.carry(asker, method, target, body, kind)
        self.scan(asker, reply, shared=shared)
        return reply

    def carry(self, asker: Asker, method: str, target: str, body: Any, kind: str) -> Reply:
        status, headers, data = 0, (), b""
        for step in self.engine.handle(request(method, target, body, asker.key, kind)):
            if isinstance(step, Head):
                status, headers = step.status, step.headers
            elif isinstance(step, Body):
                data += step.data
            elif isinstance(step, Wait):
                self.clock.now = max(self.clock.now, step.until)
        return Reply(status, dict(headers), data)

    def scan(self, asker: Asker, reply: Reply, *, shared: bool) -> None:
        for number in CANARY.findall(reply.body.decode("utf-8", "replace") + repr(reply.headers)):
            owner = self.owners[int(number)]
            assert (owner.workspace, owner.app) == (asker.workspace, asker.app), (
                f"canary{number} of {owner} met by {asker}"
            )
            assert shared or owner is asker, f"canary{number} of {owner.user} met by {asker.user}"

    def canary(self, asker: Asker) -> str:
        self.owners.append(asker)
        return f"canary{len(self.owners) - 1}x"

    def one(self, pick: int, *apps: str) -> Asker:
        """Somebody who uses one of *apps*: mostly the few who did before."""
        fit = [asker for asker in self.askers if asker.app in (apps or APPS)]
        busy = [asker for asker in fit if asker.talks or asker.alone or asker.runs]
        return (busy or fit)[pick % len(busy or fit)] if pick % 3 else fit[pick * 3 % len(fit)]

    def having(self, pick: int, what: str, *apps: str) -> Asker | None:
        fit = [asker for asker in self.askers if getattr(asker, what) and asker.app in (apps or APPS)]
        return fit[pick % len(fit)] if fit else None

    def other(self, asker: Asker, pick: int) -> Asker:
        """Somebody else of the same kind: another user, another app or another workspace."""
        others = [one for one in self.askers if one is not asker and one.app in CHATS]
        return others[pick % len(others)]

    # ------------------------------------------------------------------ sending
    def body_of(self, asker: Asker, mode: str, talk: Talk | None) -> tuple[str, dict[str, Any]]:
        query = f"tell me about {self.canary(asker)} please"
        body: dict[str, Any] = {"inputs": {}, "user": asker.user, "response_mode": mode}
        if asker.app in CHATS:
            body |= {"query": query, "conversation_id": talk.id if talk else ""}
        else:
            body["inputs"] = {"query": query}
        return query, body

    def keep(self, asker: Asker, conversation: str | None, message: str, query: str, answer: str | None) -> None:
        turn = Turn(message, query, answer)
        if conversation is None:
            asker.alone.append(turn)
            return
        talk = next((one for one in asker.talks if one.id == conversation), None)
        if talk is None:
            assert all(conversation not in [t.id for t in (*one.talks, *one.deleted)] for one in self.askers), (
                "an id came twice"
            )
            talk = Talk(conversation)
        else:
            asker.talks.remove(talk)
        talk.turns.append(turn)
        asker.talks.insert(0, talk)

    def a_talk(self, asker: Asker, pick: int) -> Talk | None:
        """A conversation to go on with, or None for a new one."""
        return asker.talks[pick % len(asker.talks)] if asker.talks and pick % 3 else None

    @rule(pick=PICK, which=PICK)
    def send_blocking(self, pick, which):
        asker = self.one(pick)
        talk = self.a_talk(asker, which)
        query, body = self.body_of(asker, "blocking", talk)
        reply = self.ask(asker, "POST", PATHS[asker.app], body)
        if asker.app == "agent":
            assert reply.status == 400
            return
        assert reply.status == 200, reply
        if asker.app == "workflow":
            asker.runs.append(reply.json["workflow_run_id"])
            assert reply.json["data"]["status"] == "succeeded"
            return
        conversation = reply.json.get("conversation_id")
        assert talk is None or conversation == talk.id
        self.keep(asker, conversation, reply.json["message_id"], query, reply.json["answer"])

    @rule(pick=PICK, which=PICK)
    def send_streaming(self, pick, which):
        asker = self.one(pick)
        talk = self.a_talk(asker, which)
        query, body = self.body_of(asker, "streaming", talk)
        reply = self.ask(asker, "POST", PATHS[asker.app], body)
        assert reply.status == 200, reply
        events = reply.events
        if asker.app == "workflow":
            assert events[-1]["event"] == "workflow_finished"
            asker.runs.append(events[-1]["workflow_run_id"])
            return
        assert events[-1]["event"] == ("workflow_finished" if asker.app == "chatflow" else "message_end")
        conversation = events[0].get("conversation_id")
        assert talk is None or conversation == talk.id
        self.keep(asker, conversation, events[0]["message_id"], query, self.stored_text(asker, events))

    def stored_text(self, asker: Asker, events: list[dict[str, Any]]) -> str | None:
        return None if asker.app == "agent" else said(events)  # an agent's answer joins its rounds in its own way

    @rule(pick=PICK, which=PICK, stranger=PICK)
    def send_to_what_is_not_ones_own(self, pick, which, stranger):
        asker = self.one(pick, *CHATS)
        other = self.other(asker, stranger)
        theirs = [*other.talks, *asker.deleted]
        conversation = theirs[which % len(theirs)].id if theirs else NOBODY
        for mode in ("blocking", "streaming"):
            if asker.app == "agent" and mode == "blocking":
                continue
            _, body = self.body_of(asker, mode, Talk(conversation))
            _, unknown = self.body_of(asker, mode, Talk(NOBODY))
            reply = self.ask(asker, "POST", PATHS[asker.app], body)
            assert reply.status == 404
            assert reply.body == self.ask(asker, "POST", PATHS[asker.app], unknown).body

    # ------------------------------------------------------------------ reading
    @rule(pick=PICK, limit=st.integers(min_value=1, max_value=4))
    def list_conversations(self, pick, limit):
        asker = self.one(pick, *CHATS)
        seen: list[dict[str, Any]] = []
        last = ""
        while True:
            page = self.ask(asker, "GET", f"/v1/conversations?user={asker.user}&limit={limit}&last_id={last}").json
            seen += page["data"]
            assert len(page["data"]) <= limit
            if not page["has_more"]:
                break
            last = page["data"][-1]["id"]
        assert [one["id"] for one in seen] == [talk.id for talk in asker.talks]
        for shown, talk in zip(seen, asker.talks, strict=True):
            assert talk.name is None or shown["name"] == talk.name

    @rule(pick=PICK, which=PICK)
    def list_messages(self, pick, which):
        asker = self.having(pick, "talks")
        if asker is None:
            return
        talk = asker.talks[which % len(asker.talks)]
        shown = self.ask(asker, "GET", f"/v1/messages?user={asker.user}&conversation_id={talk.id}&limit=100").json[
            "data"
        ]
        assert [one["id"] for one in shown] == [turn.id for turn in talk.turns]
        for one, turn in zip(shown, talk.turns, strict=True):
            assert one["query"] == turn.query
            assert turn.answer is None or one["answer"] == turn.answer
            assert (one["feedback"] or {}).get("rating") == turn.rating

    @rule(pick=PICK, which=PICK)
    def suggested(self, pick, which):
        asker = self.having(pick, "talks", "chat")
        if asker is not None:
            turn = asker.turns[which % len(asker.turns)]
            assert self.ask(asker, "GET", f"/v1/messages/{turn.id}/suggested?user={asker.user}").status == 200

    @rule(pick=PICK, which=PICK, stranger=PICK)
    def read_what_is_not_ones_own(self, pick, which, stranger):
        """Another's, a deleted and an unknown thing are told apart by nothing but the id that was asked for."""
        asker = self.one(pick, *CHATS)
        other = self.other(asker, stranger)
        theirs = [talk.id for talk in (*other.talks, *asker.deleted)]
        conversation = theirs[which % len(theirs)] if theirs else NOBODY
        messages = [turn.id for turn in other.turns]
        message = messages[which % len(messages)] if messages else NOBODY
        who = {"user": asker.user}
        for method, target, body in (
            ("GET", "/v1/messages?user={user}&conversation_id={conversation}", None),
            ("GET", "/v1/conversations?user={user}&last_id={conversation}", None),
            ("GET", "/v1/conversations/{conversation}/variables?user={user}", None),
            ("GET", "/v1/messages/{message}/suggested?user={user}", None),
            ("POST", "/v1/conversations/{conversation}/name", who | {"name": "mine"}),
            ("DELETE", "/v1/conversations/{conversation}", who),
            ("POST", "/v1/messages/{message}/feedbacks", who | {"rating": "like"}),
        ):
            replies = []
            for ids in ((conversation, message), (NOBODY, NOBODY)):
                path = target.format(conversation=ids[0], message=ids[1], user=asker.user)
                reply = self.ask(asker, method, path, body)
                text = reply.body.decode()
                for one in ids:
                    text = text.replace(one, "ID")
                replies.append((reply.status, text))
            assert replies[0] == replies[1], (target, replies)
            assert replies[0][0] in (404, 400), (target, replies)

    # ------------------------------------------------------------------ changing
    @rule(pick=PICK, which=PICK, generate=st.booleans())
    def rename(self, pick, which, generate):
        asker = self.having(pick, "talks")
        if asker is None:
            return
        talk = asker.talks[which % len(asker.talks)]
        name = f"name {self.canary(asker)}"
        body = {"user": asker.user, "name": name, "auto_generate": generate}
        reply = self.ask(asker, "POST", f"/v1/conversations/{talk.id}/name", body)
        assert (reply.status, reply.json["id"]) == (200, talk.id)
        talk.name = reply.json["name"] if generate else name
        assert reply.json["name"] == talk.name
        asker.talks.remove(talk)
        asker.talks.insert(0, talk)

    @rule(pick=PICK, which=PICK)
    def delete(self, pick, which):
        asker = self.having(pick, "talks")
        if asker is None:
            return
        talk = asker.talks.pop(which % len(asker.talks))
        asker.deleted.append(talk)
        for status in (204, 404):
            assert self.ask(asker, "DELETE", f"/v1/conversations/{talk.id}", {"user": asker.user}).status == status
        assert self.ask(asker, "GET", f"/v1/messages?user={asker.user}&conversation_id={talk.id}").status == 404

    @rule(pick=PICK, which=PICK, rating=st.sampled_from(["like", "dislike", None]))
    def rate(self, pick, which, rating):
        fit = [asker for asker in self.askers if asker.turns]
        if not fit:
            return
        asker = fit[pick % len(fit)]
        turn = asker.turns[which % len(asker.turns)]
        body = {"user": asker.user, "rating": rating, "content": f"because {self.canary(asker)}"}
        reply = self.ask(asker, "POST", f"/v1/messages/{turn.id}/feedbacks", body)
        if rating is None and turn.rating is None:
            assert reply.status == 400
        else:
            assert reply.status == 200
            turn.rating = rating

    @rule(pick=PICK)
    def list_feedbacks(self, pick):
        asker = self.one(pick)
        listed = self.ask(asker, "GET", "/v1/app/feedbacks?limit=100", shared=True).json["data"]
        rated = {
            turn.id: turn.rating
            for one in self.askers
            if (one.workspace, one.app) == (asker.workspace, asker.app)
            for turn in one.turns
            if turn.rating
        }
        shown = {one["message_id"]: one["rating"] for one in listed}
        assert rated.items() <= shown.items()

    @rule(pick=PICK, which=PICK, read=st.booleans())
    def variables(self, pick, which, read):
        asker = self.having(pick, "talks", "chatflow")
        if asker is None:
            return
        talk = asker.talks[which % len(asker.talks)]
        target = f"/v1/conversations/{talk.id}/variables"
        (variable,) = self.ask(asker, "GET", f"{target}?user={asker.user}").json["data"]
        if talk.memo is not None:
            assert variable["value"] == talk.memo
        if not read:
            talk.memo = f"remember {self.canary(asker)}"
            body = {"user": asker.user, "value": talk.memo}
            assert self.ask(asker, "PUT", f"{target}/{variable['id']}", body).json["value"] == talk.memo

    # ------------------------------------------------------------------ files
    @rule(pick=PICK)
    def upload(self, pick):
        asker = self.one(pick, "chat", "completion")
        content = self.canary(asker).encode()
        field = f'Content-Disposition: form-data; name="user"\r\n\r\n{asker.user}'
        file = 'Content-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        form = f"--b\r\n{field}\r\n--b\r\n{file}".encode() + content + b"\r\n--b--\r\n"
        reply = self.ask(asker, "POST", "/v1/files/upload", form, kind="multipart/form-data; boundary=b")
        assert reply.status == 201
        asker.files.append((reply.json["id"], content, False))

    @rule(pick=PICK, which=PICK, stranger=PICK)
    def use_a_file(self, pick, which, stranger):
        asker = self.having(pick, "files", "chat")
        if asker is None:
            return
        place = which % len(asker.files)
        file, content, used = asker.files[place]
        entry = [{"type": "image", "transfer_method": "local_file", "upload_file_id": file}]
        others = [one for one in self.askers if one is not asker and one.app == "chat"]
        other = others[stranger % len(others)]
        _, body = self.body_of(other, "blocking", None)
        assert self.ask(other, "POST", PATHS["chat"], body | {"files": entry}).status == 400
        target = f"/v1/files/{file}/preview"
        if not used:
            assert self.ask(asker, "GET", target).status == 404
        query, body = self.body_of(asker, "blocking", None)
        reply = self.ask(asker, "POST", PATHS["chat"], body | {"files": entry})
        assert reply.status == 200
        self.keep(asker, reply.json["conversation_id"], reply.json["message_id"], query, reply.json["answer"])
        asker.files[place] = (file, content, True)
        assert self.ask(asker, "GET", target).body == content
        if other.workspace != asker.workspace:
            assert self.ask(other, "GET", target).status == 404

    # ------------------------------------------------------------------ runs
    @rule(pick=PICK, which=PICK, stranger=PICK)
    def look_at_a_run(self, pick, which, stranger):
        """A run's record is the app's, whoever started it; to another app or workspace it does not exist."""
        asker = self.having(pick, "runs", "workflow")
        if asker is None:
            return
        run = asker.runs[which % len(asker.runs)]
        other = self.one(stranger, "workflow", "chatflow")
        same = (other.workspace, other.app) == (asker.workspace, asker.app)
        reply = self.ask(other, "GET", f"/v1/workflows/run/{run}", shared=True)
        assert reply.status == (200 if same else 404)
        logs = self.ask(other, "GET", "/v1/workflows/logs?limit=100", shared=True).json["data"]
        assert (run in [one["workflow_run"]["id"] for one in logs]) == same

    # ------------------------------------------------------------------ always
    @invariant()
    def nothing_stays(self):
        for workspace in self.engine.workspaces.values():
            assert not workspace.tasks
            for exchange in list(workspace.journal)[-1:]:
                assert not [warning for warning in exchange.warnings if "mockdify failed" in warning]


class Interrupted(Conversations):
    """The same with streams that are left, stopped and reset in the middle."""

    def start(self, asker: Asker, talk: Talk | None) -> tuple[str, Any, bytes, str]:
        """A stream after its first message or text: the query, the rest of its steps, what came, what leaving means."""
        query, body = self.body_of(asker, "streaming", talk)
        self.clock.now += 1
        steps = self.engine.handle(request("POST", PATHS[asker.app], body, asker.key))
        data, leaving = b"", "close"
        for step in steps:
            leaving = step.leaving if isinstance(step, Head) else leaving
            if isinstance(step, Body):
                data += step.data
                if re.search(rb'"(agent_)?message"|text_chunk', step.data):
                    break
        return query, steps, data, leaving

    def rest(self, steps: Any) -> bytes:
        data = b""
        for step in steps:
            if isinstance(step, Wait):
                self.clock.now = max(self.clock.now, step.until)
            elif isinstance(step, Body):
                data += step.data
        return data

    @rule(pick=PICK, which=PICK)
    def leave(self, pick, which):
        asker = self.one(pick)
        talk = self.a_talk(asker, which)
        query, steps, data, leaving = self.start(asker, talk)
        assert leaving == ("finish" if asker.app in ("chatflow", "workflow") else "close")
        if leaving == "finish":
            data += self.rest(steps)
        steps.close()
        self.scan(asker, Reply(200, {}, data), shared=False)
        events = Reply(200, {}, data).events
        if asker.app == "workflow":
            asker.runs.append(events[-1]["workflow_run_id"])
            return
        conversation = events[0].get("conversation_id")
        answer = said(events) if leaving == "finish" else ""
        self.keep(asker, conversation, events[0]["message_id"], query, answer)

    @rule(pick=PICK, which=PICK, stranger=PICK, by_oneself=st.booleans())
    def stop(self, pick, which, stranger, by_oneself):
        asker = self.one(pick)
        talk = self.a_talk(asker, which)
        query, steps, data, _ = self.start(asker, talk)
        events = Reply(200, {}, data).events
        task = events[0]["task_id"]
        stopper = asker if by_oneself else self.askers[stranger % len(self.askers)]
        if stopper.workspace == asker.workspace and stopper is not asker and asker.app in ("chatflow", "workflow"):
            stopper = asker  # within a workspace a graph's run is stopped by its task alone
        target = {"completion": "/v1/completion-messages/", "workflow": "/v1/workflows/tasks/"}.get(
            stopper.app, "/v1/chat-messages/"
        )
        reply = self.ask(stopper, "POST", f"{target}{task}/stop", {"user": stopper.user})
        assert (reply.status, reply.json) == (200, {"result": "success"})
        tail = self.rest(steps)
        events = Reply(200, {}, data + tail).events
        stopped = stopper is asker
        if asker.app in ("chatflow", "workflow"):
            assert (events[-1]["data"]["status"] == "stopped") == stopped
        else:
            assert events[-1]["event"] == "message_end"
            assert (events[-1]["metadata"]["usage"]["total_tokens"] == 0) == stopped
        if asker.app == "workflow":
            asker.runs.append(events[-1]["workflow_run_id"])
            return
        answer = None if stopped and asker.app == "chatflow" else self.stored_text(asker, events)
        self.keep(asker, events[0].get("conversation_id"), events[0]["message_id"], query, answer)

    @precondition(lambda self: len(self.owners) > 5)
    @rule(pick=PICK, streams=st.booleans())
    def reset(self, pick, streams):
        """A reset forgets everything of its workspace, and nothing of the other."""
        workspace = list(self.engine.workspaces.values())[pick % 2]
        if streams:
            asker = next(asker for asker in self.askers if asker.workspace == workspace.id and asker.app == "chat")
            _, steps, _, _ = self.start(asker, None)
            self.engine.reset(workspace)
            steps.close()
        else:
            self.engine.reset(workspace)
        self.askers = [
            Asker(asker.workspace, asker.app, asker.user, asker.key) if asker.workspace == workspace.id else asker
            for asker in self.askers
        ]


class OverSockets(Conversations):
    """The same over HTTP, on one connection that is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.live = Live(self.engine).__enter__()
        self.connection = http.client.HTTPConnection("127.0.0.1", self.live.port, timeout=10)

    def carry(self, asker: Asker, method: str, target: str, body: Any, kind: str) -> Reply:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {asker.key}"} | ({} if body is None else {"Content-Type": kind})
        self.connection.request(method, target, data, headers)
        answer = self.connection.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())

    @invariant()
    def nothing_stays(self):
        """Looked at in the end: the server's thread may be a step behind."""

    def teardown(self) -> None:
        self.connection.close()
        self.live.assert_at_rest()
        self.live.__exit__()


_HEALTH = [HealthCheck.too_slow, HealthCheck.filter_too_much]
TestConversations = Interrupted.TestCase
TestConversations.settings = settings(
    max_examples=100, stateful_step_count=60, deadline=None, suppress_health_check=_HEALTH
)
TestOverSockets = OverSockets.TestCase
TestOverSockets.settings = settings(
    max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=_HEALTH
)
