"""`MockDify` as a test uses it: over real sockets, with a client in other threads and loops."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mockdify
from mockdify import MockDify, MockdifyError
from mockdify.apps import demo_app
from mockdify.handles import environment
from mockdify.profiles import PROFILES
from mockdify.script import Script
from mockdify.workspace import AppTemplate, Template, Workspace

CLIENT = httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
"""One for all, since making one takes longer than a test."""


@pytest.fixture
def server():
    with MockDify() as running:
        yield running


def headers(key):
    return {"Authorization": f"Bearer {key}"}


def body(query="hello", *, user="u1", stream=False, **more):
    mode = "streaming" if stream else "blocking"
    return {"query": query, "user": user, "inputs": {"query": query}, "response_mode": mode, **more}


def post(world, query="hello", *, app="chat", path="/chat-messages", **more):
    return CLIENT.post(world.base_url + path, headers=headers(world.app(app).key), json=body(query, **more))


def ask(world, query="hello", **more):
    reply = post(world, query, **more)
    assert reply.status_code == 200, reply.text
    return reply.json()["answer"]


def events(world, query="hello", **more):
    lines = post(world, query, stream=True, **more).text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def deltas(found):
    return [event["answer"] for event in found if event["event"] == "message"]


def read_until(sock, words):
    got = b""
    while words not in got:
        piece = sock.recv(65536)
        assert piece, got
        got += piece
    return got


def read_all(sock):
    return b"".join(iter(lambda: sock.recv(65536), b""))


def open_stream(world, query="hello", **more):
    """A socket on which the answer is under way; nothing more is read than what is asked for."""
    address = re.fullmatch(r"http://([\d.]+):(\d+)/v1", world.base_url)
    sock = socket.create_connection((address[1], int(address[2])), timeout=60)
    data = json.dumps(body(query, stream=True, **more)).encode()
    head = (
        f"POST /v1/chat-messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.app('chat').key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    sock.sendall(head.encode() + data)
    return sock


# --- the package -----------------------------------------------------------------------------------------------------


def test_the_public_names_are_these_and_all_are_there():
    assert mockdify.__all__ == ["MockDify", "MockdifyError", "__version__", "mockdify_check"]
    assert all(getattr(mockdify, name) for name in mockdify.__all__)
    assert set(mockdify.__all__) <= set(dir(mockdify))
    with pytest.raises(AttributeError, match="no attribute 'Mockdify'"):
        _ = mockdify.Mockdify


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import mockdify", ["aiohttp", "asyncio", "yaml", "jinja2", "click", "orjson", "mockdify.api"]),
        ("import mockdify.pytest_plugin", ["aiohttp", "asyncio", "yaml", "jinja2", "orjson", "mockdify.api"]),
        ("import mockdify; mockdify.MockDify()", ["aiohttp", "jsonschema", "hypothesis", "vcr", "rich"]),
        ("import mockdify; mockdify.MockDify().start().stop()", ["jsonschema", "hypothesis", "vcr", "rich", "click"]),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code, unwanted):
    # pytest imports a few of them itself, so it is there first.
    script = f"import sys, pytest; before = set(sys.modules); {code}; print(*(set(sys.modules) - before))"
    if "pytest_plugin" not in code:
        script = script.replace(", pytest", "")
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert [name for name in unwanted if name in loaded] == []


# --- life ------------------------------------------------------------------------------------------------------------


def test_with_serves_the_demo_apps_and_stops_at_the_end():
    with MockDify() as server:
        assert server.keys["chat"] == "app-chat-demo"
        assert "hello" in ask(server)
        url = server.base_url
    with pytest.raises(httpx.ConnectError):
        CLIENT.get(url)
    with pytest.raises(MockdifyError, match="does not run"):
        assert server.base_url


def test_async_with_holds_up_neither_async_clients_nor_blocking_ones():
    async def main():
        async with MockDify() as server:
            server.app("chat").answer("Hi!")
            async with httpx.AsyncClient(headers=headers(server.app("chat").key)) as client:
                url = server.base_url + "/chat-messages"
                replies = await asyncio.gather(*(client.post(url, json=body(user=str(k))) for k in range(8)))
            assert [reply.json()["answer"] for reply in replies] == ["Hi!"] * 8
            assert ask(server) == "Hi!"  # on the loop's own thread: a server on this loop would wait for itself
            assert len(server.journal) == 9
            return server

    server = asyncio.run(main())
    assert repr(server) == "<MockDify, not running>"


def test_async_with_works_where_the_loop_is_not_asyncios():
    server = MockDify()
    entering = server.__aenter__()
    with pytest.raises(StopIteration) as entered:  # driven by hand, as another library's loop would
        entering.send(None)
    assert entered.value.value is server
    assert ask(server)
    with pytest.raises(StopIteration):
        server.__aexit__(None, None, None).send(None)


def test_an_error_inside_with_stops_the_server_and_goes_on():
    with pytest.raises(ZeroDivisionError), MockDify() as server:
        raise ZeroDivisionError
    assert repr(server) == "<MockDify, not running>"


def test_a_server_can_be_started_again_but_not_twice():
    server = MockDify()
    for _ in range(2):
        with server:
            assert ask(server)
            with pytest.raises(MockdifyError, match="runs already"):
                server.start()
    server.stop()


def test_a_stop_during_the_start_is_not_lost():
    """Whenever the stop comes, the thread ends; the conftest looks for threads that stay."""
    from mockdify.assemble import template_of
    from mockdify.background import Background
    from mockdify.config import Config, Settings

    settings = Settings(port=0)
    template = template_of(Config(), settings)
    for _ in range(30):
        server = Background(template, settings)
        starting = threading.Thread(target=server.start)
        starting.start()
        while not server._thread.ident:
            pass
        server.stop()
        starting.join()
        assert not server._thread.is_alive()


def test_it_stops_at_once_while_streams_are_open():
    server = MockDify(pace="60s").start()
    streams = [open_stream(server, user=str(k)) for k in range(20)]
    for stream in streams:
        read_until(stream, b"data: ")
    begun = time.perf_counter()
    server.stop()
    assert time.perf_counter() - begun < 1
    for stream in streams:
        with stream:
            assert b"message_end" not in stream.recv(65536)


def test_many_servers_do_not_know_each_other():
    with MockDify(seed=1) as one, MockDify(seed=2) as other:
        one.app("chat").answer("one")
        other.app("chat").answer("other")
        assert (ask(one), ask(other)) == ("one", "other")
        assert len(one.journal) == len(other.journal) == 1


def test_a_port_in_use_is_told():
    with MockDify() as server:
        port = int(server.base_url.split(":")[2].split("/")[0])
        with pytest.raises(MockdifyError, match=rf"cannot listen on 127.0.0.1:{port}: .*in use.* another port"):
            MockDify(port=port).start()
        with pytest.raises(MockdifyError, match=r"cannot listen on 203\.0\.113\.1:0"):
            MockDify(host="203.0.113.1").start()


def test_calls_after_the_stop_are_refused_and_never_wait():
    with MockDify() as server:
        chat, journal, clock, further = server.app("chat"), server.journal, server.clock, server.workspace()
    for call in (
        lambda: chat.answer("x"),
        lambda: chat.key,
        lambda: len(journal),
        lambda: clock.now,
        lambda: further.keys,
    ):
        with pytest.raises(MockdifyError, match="does not run"):
            call()
    further.close()


# --- options ---------------------------------------------------------------------------------------------------------


def test_options_are_those_of_serve(tmp_path):
    clock = "2026-01-01T00:00:00Z"
    with MockDify(profile="1.13", seed=3, clock=clock, ping_interval="1s", models=["x/y"], root=tmp_path) as server:
        assert (server.profile, server.seed) == ("1.13", 3)
        assert server.clock.now == 1767225600.0
        assert post(server).headers["x-version"] == "1.13.2"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"profile": "1.61"}, "profile: unknown profile '1.61'; allowed: .*did you mean '1.16'"),
        ({"seed": "x"}, "seed: a whole number is needed, got 'x'"),
        ({"pace": "quick"}, "pace: 'quick' is not a pace; allowed"),
        ({"clock": "yesterday"}, "clock: 'yesterday' is not a clock"),
        ({"ping_interval": 0}, "ping_interval: a duration above zero"),
        ({"connections": -1}, "connections: a whole number"),
        ({"models": ["gpt"]}, 'models.*a model like "provider/model"'),
        ({"apps": ["chta"]}, "apps: there is no app 'chta'.*did you mean 'chat'.*named with its ending"),
        ({"apps": ["nowhere.yml"]}, "there is no file '.*nowhere.yml'"),
        ({"config": "nowhere.toml"}, "nowhere.toml: cannot be read"),
    ],
)
def test_a_wrong_option_is_told_when_the_server_is_made(options, told, tmp_path):
    with pytest.raises(MockdifyError, match=told):
        MockDify(**options, root=tmp_path)


def test_a_file_is_found_in_the_root_and_an_option_goes_before_it(tmp_path):
    (tmp_path / "mockdify.toml").write_text(
        'seed = 7\nprofile = "1.13"\nport = 1\n[defaults]\nanswer = "from the file"\n'
    )
    with MockDify(root=tmp_path, seed=8) as server:
        assert (server.seed, server.profile, ask(server)) == (8, "1.13", "from the file")
    (tmp_path / "mockdify.toml").write_text("seed = 'x'\n")
    with pytest.raises(MockdifyError, match=r"mockdify.toml:1:8: seed: a whole number"):
        MockDify(root=tmp_path)


def test_a_variable_goes_before_the_file_but_never_moves_the_port(tmp_path, monkeypatch):
    monkeypatch.setenv("MOCKDIFY_SEED", "9")
    monkeypatch.setenv("MOCKDIFY_PORT", "1")
    (tmp_path / "mockdify.toml").write_text("seed = 7\n")
    with MockDify(root=tmp_path) as server:
        assert server.seed == 9


@pytest.fixture
def exports(tmp_path):
    folder = tmp_path / "exports"
    folder.mkdir()
    text = (Path(mockdify.__file__).parent / "demo" / "chat.yml").read_text("utf-8")
    for name in ("support", "sales"):
        (folder / f"{name}.yml").write_text(text, "utf-8")
    return folder


def test_apps_are_named_or_given_as_files_and_folders(exports, tmp_path):
    def apps(*chosen, **more):
        with MockDify(apps=chosen, root=tmp_path, **more) as server:
            return list(server.keys)

    assert apps() == ["dataset"]
    assert apps("workflow", "chat") == ["workflow", "chat", "dataset"]
    assert apps(exports / "support.yml") == ["support", "dataset"]
    assert apps("exports/support.yml", "chat") == ["chat", "support", "dataset"]
    assert apps(exports) == apps("./exports") == ["sales", "support", "dataset"]
    with MockDify(apps="chat") as server:  # one is a list of one
        assert server.keys == {"chat": "app-chat-demo", "dataset": "dataset-demo"}


def test_names_of_the_configuration_keep_what_it_says_of_them(exports, tmp_path):
    (tmp_path / "mockdify.toml").write_text(
        '[[apps]]\ndsl = "exports/support.yml"\nkeys = "app-one"\nanswers = [{ answer = "configured" }]\n'
        '[[apps]]\ndsl = "exports/sales.yml"\n'
    )
    with MockDify(root=tmp_path) as server:
        assert list(server.keys) == ["support", "sales", "dataset"]
    with MockDify(root=tmp_path, apps=["support", "chat"]) as server:
        assert server.keys == {"chat": "app-chat-demo", "support": "app-one", "dataset": "dataset-demo"}
        assert ask(server, app="support") == "configured"


def test_two_apps_of_one_name_are_refused(exports):
    (exports / "chat.yml").write_text((exports / "support.yml").read_text("utf-8"), "utf-8")
    with pytest.raises(MockdifyError, match="a second app 'chat'"):
        MockDify(apps=["chat", exports / "chat.yml"])


def test_renew_changes_the_world_and_reset_keeps_the_change(server):
    server.renew(profile="1.13", seed=5, apps=["chat"], clock="frozen", pace="1s")
    for _ in range(2):
        assert (server.profile, server.seed, list(server.keys)) == ("1.13", 5, ["chat", "dataset"])
        assert server.clock.now == 1767225600.0
        server.reset()
    server.renew()
    assert (server.profile, server.seed, len(server.keys)) == ("1.16", 0, 6)
    with pytest.raises(MockdifyError, match="seed: a whole number"):
        server.renew(seed="x")
    assert ask(server)


def test_an_export_that_changed_is_read_again(exports):
    with MockDify() as server:
        server.renew(apps=[exports / "sales.yml"])
        assert server.app("sales").mode == "chat"
        (exports / "sales.yml").write_text(
            (Path(mockdify.__file__).parent / "demo" / "workflow.yml").read_text("utf-8"), "utf-8"
        )
        server.renew(apps=[exports / "sales.yml"])
        assert server.app("sales").mode == "workflow"


# --- answers ---------------------------------------------------------------------------------------------------------


def test_answers_without_conditions_are_a_sequence_whose_last_one_stays(server):
    server.app("chat").answer("a").answer("b")
    assert [ask(server) for _ in range(4)] == ["a", "b", "b", "b"]


def test_conditions_choose_and_times_run_out(server):
    chat = server.app("chat")
    chat.answer("to alice", when={"user": "alice"}).answer("once", when={"query_matches": "^on"}, times=1)
    chat.answer("{{ query }} from {{ user }}, turn {{ turn }}")
    assert ask(server, user="alice") == "to alice"
    assert [ask(server, "once"), ask(server, "once")] == ["once", "once from u1, turn 1"]


def test_chunks_are_sent_as_they_stand(server):
    server.app("chat").answer(chunks=["Hi", "", " ", "你好"])
    assert deltas(events(server)) == ["Hi", "", " ", "你好"]
    assert server.journal.last.text == "Hi 你好"


def test_usage_resources_and_failures_reach_the_client(server):
    server.app("chat").answer("a", usage={"prompt_tokens": 77}, retriever_resources=[{"document_name": "d"}])
    metadata = post(server).json()["metadata"]
    assert metadata["usage"]["prompt_tokens"] == 77
    assert metadata["retriever_resources"][0]["document_name"] == "d"
    server.app("completion").answer(fails="connection", message="boom")
    failed = post(server, app="completion", path="/completion-messages")
    assert (failed.status_code, failed.json()["code"]) == (400, "completion_request_error")
    assert "boom" in failed.json()["message"]


def test_a_model_may_fail_in_mid_stream(server):
    server.app("chat").answer(chunks=["a", "b", "c"], fails="connection", after=2)
    found = events(server)
    assert deltas(found) == ["a", "b"]
    assert found[-1]["event"] == "error"


def test_rounds_are_an_agents_thoughts(server):
    rounds = [
        {"thought": "hm", "tool": "clock", "tool_input": {"tz": "UTC"}, "observation": "noon"},
        {"answer": "Noon."},
    ]
    server.app("agent").answer(rounds=rounds)
    found = events(server, app="agent")
    thoughts = [event["thought"] for event in found if event["event"] == "agent_thought"]
    assert "hm" in thoughts
    assert "".join(event["answer"] for event in found if event["event"] == "agent_message").endswith("Noon.")


def test_a_node_does_as_it_is_told(server):
    workflow = server.app("workflow")
    node = next(node["id"] for node in demo_app("workflow").workflow["graph"]["nodes"] if node["data"]["type"] == "llm")
    assert workflow.node(node, fails="out of order") is workflow
    run = post(server, app="workflow", path="/workflows/run").json()["data"]
    assert run["status"] == "failed"
    assert "out of order" in run["error"]


def test_a_scripted_pace_holds_whatever_the_server_was_told():
    with MockDify(clock="frozen") as server:
        server.app("chat").answer(chunks=["a", "b", "c"], pace="30s")
        begun = server.clock.now
        assert ask(server) == "abc"
        assert server.clock.now - begun == 60


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda s: s.app("chatt"), "no app 'chatt' here; allowed: completion, chat.*did you mean 'chat'"),
        (lambda s: s.app("chat").answer(), "answer: a rule that says nothing"),
        (lambda s: s.app("chat").answer("{{ qurey }}"), "qurey"),
        (lambda s: s.app("chat").answer(7), "a text .* is needed, got 7"),
        (lambda s: s.app("chat").answer("x", when={"usr": "u"}), "unknown key 'usr'.*did you mean 'user'"),
        (
            lambda s: s.app("chat").answer("x", fails="ratelimit"),
            "unknown failure 'ratelimit'.*did you mean 'rate-limit'",
        ),
        (lambda s: s.app("chat").answer("x", times=0), "a whole number, 1 or more"),
        (lambda s: s.app("chat").answer("x", pace="fast"), "'fast' is not a pace"),
        (lambda s: s.app("chat").answer("x", message="m"), "'message' needs 'fails'"),
        (lambda s: s.app("chat").node("llm", outputs={}), "app 'chat' has no node 'llm': it has no graph"),
        (lambda s: s.app("workflow").node("lm", outputs={}), "app 'workflow' has no node 'lm'; allowed"),
        (lambda s: s.app("workflow").node("llm"), "needs 'outputs', 'fails' or 'takes'"),
        (lambda s: s.inject("rate-limt"), "no fault 'rate-limt'; did you mean 'rate-limit'"),
        (lambda s: s.inject("cut", afterwards=2), "fault 'cut' has no option 'afterwards'"),
        (lambda s: s.inject("cut", times=-1), "times: a whole number"),
        (lambda s: s.inject("cut", times="2"), "times: a whole number"),
        (lambda s: s.inject("cut", probability=2), "probability: a number from 0 to 1"),
        (lambda s: s.inject("cut", when={"usr": "u"}), "unknown key 'usr'"),
        (lambda s: s.clock.advance("soon"), "'soon' is not a duration"),
        (lambda s: s.clock.advance(-1), "not below zero"),
        (lambda s: setattr(s.clock, "speed", 0), "speed is a number above 0, got 0"),
        (lambda s: setattr(s.clock, "speed", "2x"), "speed is a number above 0, got '2x'"),
        (lambda s: s.journal.last, "no last exchange: no requests reached"),
    ],
)
def test_every_mistake_is_told_in_one_message(server, call, told):
    with pytest.raises(MockdifyError, match=told):
        call(server)
    assert ask(server)  # and nothing is broken by it


def test_keys_of_an_app_by_name(exports, tmp_path):
    (tmp_path / "mockdify.toml").write_text(
        '[[apps]]\ndsl = "exports/support.yml"\nkeys = { development = "app-dev", production = "app-prod" }\n'
    )
    with MockDify(root=tmp_path) as server:
        support = server.app("support")
        assert support.keys == {"development": "app-dev", "production": "app-prod"}
        assert support.key == server.keys["support"] == "app-dev"


# --- what the API must not see ---------------------------------------------------------------------------------------


def test_a_conversation_of_the_webapp_is_as_if_it_did_not_exist(server):
    theirs = server.app("chat").webapp_conversation(user="u1")
    again = server.app("chat").webapp_conversation(user="u1")
    unknown = "00000000-0000-4000-8000-000000000000"
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", theirs)
    assert theirs != again
    for path in ("/messages?user=u1&conversation_id={}", "/conversations/{}/variables?user=u1"):
        met = [
            CLIENT.get(server.base_url + path.format(one), headers=headers(server.app("chat").key))
            for one in (theirs, unknown)
        ]
        assert [one.status_code for one in met] == [404, 404]
        assert met[0].text.replace(theirs, unknown) == met[1].text
    assert post(server, conversation_id=theirs).json() == post(server, conversation_id=unknown).json()
    ask(server)
    listed = CLIENT.get(server.base_url + "/conversations?user=u1", headers=headers(server.app("chat").key)).json()
    assert len(listed["data"]) == 1


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_client_that_waits_and_asks_again_is_seen_to(server):
    """The walk: two refusals, the pause they ask for, the answer; the refusals made no conversation."""
    server.app("chat").answer("Hi!")
    server.inject("rate-limit", times=2, retry_after=1)
    pauses = []
    while (reply := post(server)).status_code == 429:
        pauses.append(reply.headers["retry-after"])
    assert reply.json()["answer"] == "Hi!"
    assert pauses == ["1", "1"]
    assert [(x.status, x.fault) for x in server.journal] == [(429, "rate-limit"), (429, "rate-limit"), (200, None)]
    listed = CLIENT.get(server.base_url + "/conversations?user=u1", headers=headers(server.app("chat").key)).json()
    assert len(listed["data"]) == 1


def test_faults_strike_whom_and_where_they_are_told(server):
    server.inject("server-error", when={"user": "bob"}, times=0)
    server.inject("forbidden", on="GET /v1/parameters", after=1)
    assert post(server, user="bob").status_code == post(server, user="bob").status_code == 500
    assert post(server, user="alice").status_code == 200
    parameters = [
        CLIENT.get(server.base_url + "/parameters", headers=headers(server.app("chat").key)).status_code for _ in "123"
    ]
    assert parameters == [200, 403, 200]


def test_a_fault_in_a_stream_comes_after_its_events(server):
    server.app("chat").answer(chunks=["a", "b", "c"])
    server.inject("cut", after=2)
    assert [event["event"] for event in events(server)] == ["message", "message"]
    assert server.journal.last.fault == "cut"


def test_problems_are_told_by_name(server):
    ask(server)
    assert server.problems() == []
    server.inject("rate-limit", times=2, on="POST /v1/chat-messages")
    server.inject("cut")
    server.inject("server-error", probability=0.5, when={"user": "nobody"})
    post(server)
    for _ in range(2):
        CLIENT.get(server.base_url + "/chat-message")
    assert server.problems() == [
        "unknown path: GET /v1/chat-message; did you mean /v1/chat-messages? (2 times)",
        "injected fault 'rate-limit' was met 1 of 2 times (on POST /v1/chat-messages)",
        "injected fault 'cut' was never met (it strikes streams only)",
        "injected fault 'server-error' was never met (on any request, user='nobody')",
    ]


def test_refusals_that_may_be_meant_are_no_problem(server):
    post(server, conversation_id="00000000-0000-4000-8000-000000000000")
    CLIENT.get(server.base_url + "/info")
    assert [x.status for x in server.journal] == [404, 401]
    assert server.problems() == []


# --- the journal -----------------------------------------------------------------------------------------------------


def test_an_exchange_says_all_of_it(server):
    server.app("chat").answer(chunks=["Hi", "!"])
    post(server, stream=True)
    exchange = server.journal.last
    assert (exchange.id, exchange.app, exchange.user, exchange.status) == (1, "chat", "u1", 200)
    assert exchange.request.json["query"] == "hello"
    assert exchange.request.headers["Authorization"] == "Bearer app-…demo"
    assert [event["event"] for event in exchange.events] == ["message", "message", "message_end"]
    assert (exchange.text, exchange.fault, exchange.ended) == ("Hi!", None, "complete")
    assert exchange.ms >= 0


def test_the_journal_is_a_list(server):
    journal = server.journal
    assert (len(journal), list(journal), repr(journal)) == (0, [], "<journal: empty>")
    for k in range(3):
        post(server, user=str(k))
    assert [x.user for x in journal] == ["0", "1", "2"]
    assert [x.user for x in journal[1:]] == ["1", "2"]
    assert [x.user for x in reversed(journal)] == ["2", "1", "0"]
    assert (journal[-1].user, journal.last.user) == ("2", "2")
    assert "Exchange 3 POST /v1/chat-messages 200 complete" in repr(journal)
    with pytest.raises(IndexError, match=r"no exchange \[3\]: 3 requests reached"):
        journal[3]


def test_whoever_has_the_last_event_finds_the_exchange_complete(server):
    """A client may stop reading at the last event, before the body's end."""
    server.app("chat").answer(chunks=["word "] * 31)  # the end event is the 32nd: there the loop may turn to others
    for _ in range(20):
        with open_stream(server) as stream:
            read_until(stream, b"message_end")
            assert server.journal.last.ended == "complete"


def test_a_client_that_has_left_is_seen_to_have_left(server):
    server.app("chat").answer(chunks=["a", "b"], pace="60s")
    for _ in range(20):
        with open_stream(server) as stream:
            read_until(stream, b'"answer":"a"')
            assert server.journal.last.ended == "open"
        assert server.journal.last.ended == "client gone"


# --- reset -----------------------------------------------------------------------------------------------------------


def test_a_reset_forgets_everything_but_the_keys(server):
    def first_ids():
        reply = post(server).json()
        return reply["id"], reply["conversation_id"]

    ids, key = first_ids(), server.app("chat").key
    server.app("chat").answer("scripted")
    server.inject("server-error", times=0)
    server.clock.advance("1h")
    server.reset()
    assert (len(server.journal), server.problems(), server.app("chat").key) == (0, [], key)
    assert abs(server.clock.now - time.time()) < 60
    assert first_ids() == ids  # the same world makes the same ids
    assert server.journal[0].text != "scripted"


def test_a_reset_in_mid_stream_loses_nothing_of_the_next_test(server):
    """The old stream breaks off, and neither its end nor anything of the new world gets lost or mixed up."""
    for k in range(25):
        server.app("chat").answer(chunks=["old"] * 50, pace="20ms")
        old = open_stream(server, user="old")
        read_until(old, b'"answer":"old"')
        server.reset()
        server.app("chat").answer(chunks=["n", "e", "w"])
        assert deltas(events(server, user=f"new {k}")) == ["n", "e", "w"]
        assert ask(server, user=f"new {k}") == "new"
        with old:
            assert b"message_end" not in read_all(old)
        assert [(x.id, x.user, x.ended, x.text) for x in server.journal] == [
            (1, f"new {k}", "complete", "new"),
            (2, f"new {k}", "complete", "new"),
        ]
        server.reset()


def test_clients_that_keep_asking_are_not_disturbed_by_calls_from_another_thread(server):
    answers = set()

    def client(k):
        with httpx.Client(headers=headers("app-chat-demo")) as session:
            for _ in range(15):
                answers.add(session.post(server.base_url + "/chat-messages", json=body(user=str(k))).status_code)

    threads = [threading.Thread(target=client, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        server.reset()
        server.app("chat").answer("x")
        len(server.journal)
    for thread in threads:
        thread.join()
    assert answers == {200}


# --- time ------------------------------------------------------------------------------------------------------------


def test_an_hour_passes_at_a_word(server):
    server.app("chat").answer(chunks=["a", "b"], pace="1h")
    with open_stream(server) as stream:
        read_until(stream, b'"answer":"a"')
        server.clock.advance("61m")
        read_until(stream, b"message_end")


def test_a_faster_clock_makes_waits_shorter(server):
    server.clock.speed = 36_000
    assert server.clock.speed == 36_000
    server.app("chat").answer(chunks=["a", "b"], pace="1h")
    assert deltas(events(server)) == ["a", "b"]


# --- further workspaces ----------------------------------------------------------------------------------------------


def test_a_further_workspace_is_a_world_of_its_own(server):
    with server.workspace() as one, server.workspace() as two:
        worlds = [server, one, two]
        assert len({world.id for world in worlds}) == 3
        assert len({world.base_url for world in worlds}) == 1
        assert len({key for world in worlds for key in world.keys.values()}) == 3 * len(server.keys)
        for world in worlds:
            world.app("chat").answer(f"I am {world.id}")
        one.inject("server-error", when={"user": "bob"}, times=0)
        assert [ask(world) for world in worlds] == ["I am default", "I am w1", "I am w2"]
        assert [post(world, user="bob").status_code for world in worlds] == [200, 500, 200]
        conversation = post(one).json()["conversation_id"]
        assert [post(world, conversation_id=conversation).status_code for world in worlds] == [404, 200, 404]
        one.reset()
        assert [len(world.journal) for world in worlds] == [3, 0, 3]
        assert one.app("chat").key == "app-chat-demo-w1"
        assert one.env()["DIFY_CHAT_KEY"] == "app-chat-demo-w1"
        assert server.workspaces == (one, two)
    assert server.workspaces == ()
    assert CLIENT.get(server.base_url + "/info", headers=headers("app-chat-demo-w1")).status_code == 401
    with pytest.raises(MockdifyError, match="workspace 'w1' was closed"):
        one.keys  # noqa: B018
    one.close()
    assert server.workspace().id == "w1"


def test_a_further_workspace_never_takes_the_key_of_another(exports, tmp_path):
    (exports / "support-w1.yml").write_text((exports / "support.yml").read_text("utf-8"), "utf-8")
    with MockDify(apps=[exports], root=tmp_path) as server, server.workspace() as other:
        assert set(server.keys.values()).isdisjoint(other.keys.values())


# --- the environment of clients --------------------------------------------------------------------------------------


def test_the_variables_name_every_app(server):
    assert server.env() == {
        "DIFY_BASE_URL": server.base_url,
        "DIFY_API_KEY": "app-chat-demo",
        "DIFY_COMPLETION_KEY": "app-completion-demo",
        "DIFY_CHAT_KEY": "app-chat-demo",
        "DIFY_AGENT_KEY": "app-agent-demo",
        "DIFY_CHATFLOW_KEY": "app-chatflow-demo",
        "DIFY_WORKFLOW_KEY": "app-workflow-demo",
        "DIFY_DATASET_KEY": "dataset-demo",
    }


def workspace_of(*apps):
    made = (
        AppTemplate(name=name, mode=mode, load=lambda: None, keys={"default": f"app-{name}"}) for name, mode in apps
    )
    return Workspace("w", Template(profile=PROFILES["1.16"], apps=tuple(made), make_script=Script), time=lambda: 0.0)


@given(st.lists(st.text(min_size=1, max_size=8), max_size=6, unique=True).filter(lambda names: "dataset" not in names))
def test_every_app_has_a_variable_of_its_own_that_a_shell_can_read(names):
    found = environment(workspace_of(*((name, "chat") for name in names)), "http://x/v1")
    assert all(re.fullmatch(r"DIFY_[A-Z0-9_]+", name) for name in found)
    assert sorted(value for name, value in found.items() if name.endswith("_KEY") and name != "DIFY_API_KEY") == sorted(
        [*(f"app-{name}" for name in names), "dataset-demo"]
    )


@pytest.mark.parametrize(
    ("apps", "main"),
    [
        ([("flow", "workflow"), ("bot", "agent-chat"), ("chat", "completion")], "chat"),
        ([("flow", "workflow"), ("bot", "advanced-chat"), ("other", "chat")], "bot"),
        ([("flow", "workflow"), ("text", "completion")], "flow"),
        ([("api", "workflow"), ("base url", "chat")], "base url"),
    ],
)
def test_the_main_key_is_the_chat_apps(apps, main):
    assert environment(workspace_of(*apps), "x")["DIFY_API_KEY"] == f"app-{main}"
    assert "DIFY_API_KEY" not in environment(workspace_of(), "x")
