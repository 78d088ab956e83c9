"""A world for tests: an engine without sockets, a clock that only waits move, and replies read back.

world = World()                                       # the five demo apps, release 1.16
said = world.chat("hello", user="alice")              # blocking; said.json["answer"]
said = world.chat("hello", stream=True)               # said.names == ["message", …, "message_end"]
said = world.get("/conversations?user=alice", app="chat")

talk = world.open("POST", "/chat-messages", {...})    # a reply that stands still until it is asked on
talk.events(3); world.post(f"/chat-messages/{talk.task_id}/stop", {...}); talk.rest()
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mockdify.apps import DEMO_KEYS, App, default_key, demo_apps, parse_app
from mockdify.assemble import template_of
from mockdify.config import load, merge
from mockdify.engine import Engine
from mockdify.http import Request
from mockdify.profiles import profile_named
from mockdify.script import Script
from mockdify.sse import decode
from mockdify.steps import Abort, Body, Head, Wait
from mockdify.workspace import AppTemplate, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mockdify.script import NodeScript, Rule
    from mockdify.steps import Reply, Step
    from mockdify.workspace import Workspace

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
START = 1_800_000_000.0
"""When every world begins."""
NOBODY = "00000000-0000-4000-8000-000000000000"
"""An id that nothing has."""
BOUNDARY = "----mockdify-test"


@dataclass
class Said:
    """What came back: status, headers, bytes, and what they mean."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    steps: Sequence[Step] = ()
    aborted: str | None = None

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def type(self) -> str:
        return self.headers.get("Content-Type", "")

    @cached_property
    def frames(self) -> list[Any]:
        return decode([self.body])

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """The events with data, in order."""
        return [json.loads(frame.data) for frame in self.frames if frame.data is not None]

    @property
    def names(self) -> list[str]:
        """The events by name, pings too."""
        return [frame.event if frame.data is None else json.loads(frame.data)["event"] for frame in self.frames]

    @property
    def runs(self) -> list[str]:
        """`names`, where a name that repeats stands once."""
        return [name for k, name in enumerate(self.names) if not k or self.names[k - 1] != name]

    @property
    def answer(self) -> str:
        """The deltas joined, or a blocking answer."""
        if not self.type.startswith("text/event-stream"):
            return str(self.json["answer"])
        deltas = {"message": "answer", "agent_message": "answer"}
        return "".join(
            event["data"]["text"] if event["event"] == "text_chunk" else event[deltas[event["event"]]]
            for event in self.events
            if event["event"] in (*deltas, "text_chunk")
        )

    @property
    def error(self) -> tuple[int, str, str]:
        """(status, code, message) of an error."""
        assert list(self.json) in (["code", "message", "status"], ["message", "code", "status"]), self.json
        assert self.json["status"] == self.status
        return self.status, self.json["code"], self.json["message"]

    def event(self, name: str) -> dict[str, Any]:
        """The first event called *name*."""
        return next(event for event in self.events if event["event"] == name)


class Time:
    """Seconds since the epoch that stand still until somebody waits."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_to(self, until: float) -> None:
        self.now = max(self.now, until)


class Talk:
    """A reply under way. It goes on only as far as it is asked to."""

    def __init__(self, steps: Reply, time: Time) -> None:
        self._steps, self._time = steps, time
        self.taken: list[Step] = []

    def step(self) -> Step | None:
        """The next step; a wait moves the world's clock unless it was woken. None at the end."""
        step = next(self._steps, None)
        if step is not None:
            self.taken.append(step)
        if isinstance(step, Wait) and not (step.wake is not None and step.wake.is_set):
            self._time.pass_to(step.until)
        return step

    def until(self, enough: Callable[[Said], bool]) -> Talk:
        """Go on until what was said is *enough*."""
        while not enough(self.said):
            assert self.step() is not None, f"the reply ended first: {self.said.names}"
        return self

    def events(self, count: int) -> Talk:
        """Go on until *count* events with data are out."""
        return self.until(lambda said: len(said.events) >= count)

    def leave(self) -> Said:
        """The client goes: nothing more is asked for."""
        self._steps.close()  # type: ignore[attr-defined]
        return self.said

    def rest(self) -> Said:
        """Everything, to the end."""
        while self.step() is not None:
            pass
        return self.said

    @property
    def task_id(self) -> str:
        return str(self.said.events[0]["task_id"])

    @property
    def said(self) -> Said:
        return said_in(self.taken)


def said_in(steps: Sequence[Step]) -> Said:
    """What *steps* put on the wire."""
    head = next((step for step in steps if isinstance(step, Head)), Head(0))
    return Said(
        status=head.status,
        headers=dict(head.headers),
        body=b"".join(step.data for step in steps if isinstance(step, Body)),
        steps=tuple(steps),
        aborted=next((step.how for step in steps if isinstance(step, Abort)), None),
    )


class World:
    """One engine with one workspace, and the calls that tests make of it.

    Args:
        apps: what is installed: an `App`, or a name with a DSL text; none for the five demo apps.
        profile: the release.
        rules: answers, the first that matches.
        defaults: what is said when none matches.
        nodes: what nodes of graphs do, by app.
        said: what the configuration says about an app, by its name: `published`, `api_enabled`.
        template: further fields of `Template`: `seed`, `models`, `silence`, `ping_interval`, `pace`, ...
    """

    def __init__(
        self,
        *apps: App | tuple[str, str],
        profile: str = "1.16",
        rules: Iterable[Rule] = (),
        defaults: Rule | None = None,
        nodes: Mapping[str, Iterable[NodeScript]] | None = None,
        said: Mapping[str, Mapping[str, Any]] | None = None,
        time: Time | None = None,
        **template: Any,
    ) -> None:
        rules, nodes = tuple(rules), {app: tuple(many) for app, many in (nodes or {}).items()}
        read = [app if isinstance(app, App) else parse_app(app[1], name=app[0], source=app[0]) for app in apps]
        keyed = [(app, default_key(app.name)) for app in read]
        keyed = keyed or [(app, DEMO_KEYS[name]) for name, app in demo_apps().items()]
        made = Template(
            profile=profile_named(profile),
            apps=tuple(installable(app, key, **(said or {}).get(app.name, {})) for app, key in keyed),
            make_script=lambda: Script(rules=rules, defaults=defaults, nodes=nodes),
            **template,
        )
        self._begin(made, time or Time())

    def _begin(self, template: Template, time: Time) -> None:
        self.time = time
        self.engine = Engine(template, time=time)
        self.keys = self.engine.default.keys

    @classmethod
    def of_template(cls, template: Template) -> World:
        """A world of its own, built from *template*."""
        world = cls.__new__(cls)
        world._begin(template, Time())
        return world

    @classmethod
    def of_config(cls, path: Path, **flags: Any) -> World:
        """The world that a configuration file describes."""
        return cls.of_template(template_in(path, **flags))

    @property
    def workspace(self) -> Workspace:
        return self.engine.default

    # ------------------------------------------------------------------ asking
    def open(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        app: str | None = "chat",
        key: str | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        form: bytes | None = None,
    ) -> Talk:
        """A request whose reply is taken step by step.

        *path* is below `/v1` unless it begins with a second slash: `//v1/info` asks for `/v1/info` as it stands.
        *body* is sent as JSON, bytes as they are; *form* as multipart (see `form_of`).
        """
        given = list(headers.items() if isinstance(headers, Mapping) else headers)
        names = {name.lower() for name, _ in given}
        token = key if key is not None else self.keys[app] if app is not None else None
        if token is not None and "authorization" not in names:
            given.append(("Authorization", f"Bearer {token}"))
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if form is not None:
            data = form
            given.append(("Content-Type", f"multipart/form-data; boundary={BOUNDARY}"))
        elif body is not None and "content-type" not in names:
            given.append(("Content-Type", "application/json"))
        target = path[1:] if path.startswith("//") else f"/v1{path}"
        request = Request(method=method, target=target, headers=(("Host", "test"), *given), body=data)
        return Talk(self.engine.handle(request), self.time)

    def call(self, method: str, path: str, body: Any = None, **asked: Any) -> Said:
        """A request and its whole reply; arguments as those of `open`."""
        return self.open(method, path, body, **asked).rest()

    def get(self, path: str, **asked: Any) -> Said:
        return self.call("GET", path, **asked)

    def post(self, path: str, body: Any = None, **asked: Any) -> Said:
        return self.call("POST", path, body, **asked)

    # ------------------------------------------------------------------ the usual questions
    def chat(
        self, query: str = "hi", *, user: str = "alice", stream: bool = False, app: str = "chat", **more: Any
    ) -> Said:
        return self.talk(query, user=user, app=app, stream=stream, **more).rest()

    def talk(
        self, query: str = "hi", *, user: str = "alice", app: str = "chat", stream: bool = True, **more: Any
    ) -> Talk:
        body = {"inputs": {}, "query": query, "user": user, "response_mode": "streaming" if stream else "blocking"}
        return self.open("POST", "/chat-messages", {**body, **more}, app=app)

    def complete(
        self, query: str = "hi", *, user: str = "alice", app: str = "completion", stream: bool = False, **more: Any
    ) -> Said:
        """One completion of an app whose input is called `query`."""
        mode = "streaming" if stream else "blocking"
        body = {"inputs": {"query": query}, "user": user, "response_mode": mode, **more}
        return self.post("/completion-messages", body, app=app)

    def run(
        self, inputs: Any = None, *, user: str = "alice", stream: bool = False, app: str = "workflow", **more: Any
    ) -> Said:
        return self.running(inputs, user=user, stream=stream, app=app, **more).rest()

    def running(
        self, inputs: Any = None, *, user: str = "alice", stream: bool = True, app: str = "workflow", **more: Any
    ) -> Talk:
        mode = "streaming" if stream else "blocking"
        body = {"inputs": {"query": "hi"} if inputs is None else inputs, "user": user, "response_mode": mode, **more}
        return self.open("POST", "/workflows/run", body, app=app)

    def upload(
        self,
        name: str = "a.png",
        data: bytes = b"\x89PNG",
        kind: str | None = "image/png",
        *,
        user: str | None = "alice",
        app: str = "chat",
    ) -> Said:
        fields = [] if user is None else [("user", user)]
        return self.post("/files/upload", app=app, form=form_of(*fields, ("file", name, kind, data)))


def installable(app: App, key: str, **said: Any) -> AppTemplate:
    """*app* as a template has it; *said* are further fields of `AppTemplate`."""
    return AppTemplate(name=app.name, mode=app.mode, load=lambda: app, **{"keys": {"default": key}, **said})


def template_in(path: Path, **flags: Any) -> Template:
    """What the configuration file at *path* describes; any number of worlds can be built from it."""
    found = load(path)
    return template_of(found, merge(flags, {}, found.given))


def form_of(*parts: tuple[str, str] | tuple[str, str, str | None, bytes]) -> bytes:
    """A multipart body: `(name, text)` is a field, `(name, filename, type, data)` a file."""
    return b"".join(_part(*part) for part in parts) + f"--{BOUNDARY}--\r\n".encode()


def _part(name: str, value: str, kind: str | None = None, data: bytes | None = None) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    if data is None:
        return f"{head}\r\n\r\n{value}\r\n".encode()
    typed = "" if kind is None else f"\r\nContent-Type: {kind}"
    return f'{head}; filename="{value}"{typed}\r\n\r\n'.encode() + data + b"\r\n"


MODEL = {"provider": "langgenius/openai/openai", "name": "gpt-4o-mini", "mode": "chat", "completion_params": {}}


def easy_app(name: str = "chat", mode: str = "chat", *, form: Iterable[Mapping[str, Any]] = (), **config: Any) -> App:
    """An app without a graph. *form* has one-key objects as in exports, *config* any section of `model_config`."""
    known = {"model": MODEL, "pre_prompt": "", "prompt_type": "simple", "user_input_form": list(form)}
    return _app(name, mode, {"model_config": known | config})


def graph_app(
    name: str = "workflow",
    mode: str = "workflow",
    *nodes: Mapping[str, Any],
    variables: Iterable[Mapping[str, Any]] = (),
    features: Mapping[str, Any] | None = None,
    conversation_variables: Iterable[Mapping[str, Any]] = (),
) -> App:
    """A chatflow or workflow whose *nodes* (after its start node) stand in a row; without any a model answers."""
    nodes = nodes or (llm_node(), answer_node() if mode == "advanced-chat" else end_node())
    row = [{"id": "start", "data": {"type": "start", "title": "Start", "variables": list(variables)}}, *nodes]
    edges = [
        {"id": f"{one['id']}-{other['id']}", "source": one["id"], "target": other["id"], "sourceHandle": "source"}
        for one, other in itertools.pairwise(row)
    ]
    workflow = {
        "conversation_variables": list(conversation_variables),
        "environment_variables": [],
        "features": dict(features or {}),
        "graph": {"nodes": row, "edges": edges},
    }
    return _app(name, mode, {"workflow": workflow})


def _app(name: str, mode: str, sections: Mapping[str, Any]) -> App:
    export = {"app": {"name": name, "mode": mode, "description": ""}, "kind": "app", "version": "0.7.0", **sections}
    return parse_app(json.dumps(export), name=name, source=f"{name}.yml")


def llm_node(key: str = "llm", prompt: str = "{{#sys.query#}}", **data: Any) -> dict[str, Any]:
    """A model's node; in a workflow let the prompt name an input: `{{#start.query#}}`."""
    template = [{"role": "user", "text": prompt}]
    return {"id": key, "data": {"type": "llm", "title": "LLM", "model": MODEL, "prompt_template": template, **data}}


def code_node(key: str = "code", **outputs: str) -> dict[str, Any]:
    """A code node with outputs of the given types."""
    typed = {name: {"type": kind} for name, kind in (outputs or {"result": "string"}).items()}
    data = {"type": "code", "title": "Code", "code": "", "code_language": "python3", "variables": [], "outputs": typed}
    return {"id": key, "data": data}


def answer_node(text: str = "{{#llm.text#}}", key: str = "answer") -> dict[str, Any]:
    """The answer of a chatflow."""
    return {"id": key, "data": {"type": "answer", "title": "Answer", "answer": text}}


def end_node(*selector: str, key: str = "end", name: str = "text") -> dict[str, Any]:
    """The end of a workflow, with one output."""
    output = {"variable": name, "value_selector": list(selector or ("llm", "text")), "value_type": "string"}
    return {"id": key, "data": {"type": "end", "title": "End", "outputs": [output]}}


def text_input(name: str, kind: str = "text-input", **said: Any) -> dict[str, Any]:
    """An input of an app without a graph."""
    return {kind: {"variable": name, "label": name, "required": False, **said}}


def start_input(name: str, kind: str = "text-input", **said: Any) -> dict[str, Any]:
    """An input of a graph."""
    return {"variable": name, "label": name, "type": kind, "required": False, **said}


def waits(steps: Iterable[Step]) -> Iterator[float]:
    """Until when each wait of *steps* goes, in seconds since the world's start."""
    return (round(step.until - START, 6) for step in steps if isinstance(step, Wait))
