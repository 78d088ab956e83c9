"""Keys as an operator handles them, over Python objects, the control API and the command line."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner
from engines import KEYS, Time, ask, chat, control, engine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mockdify.cli import main
from mockdify.errors import MockdifyError
from mockdify.keys import DATASET, Key, Keyring, report

DAY = 86400.0


@pytest.fixture
def now():
    return Time()


@pytest.fixture
def server(now):
    return engine(time=now)


def ring(server, app="chat"):
    return Keyring(server, server.default, app)


def info(server, token):
    return ask(server, "GET", "/v1/info", key=token).status


REFUSED = {"code": "unauthorized", "message": "Access token is invalid", "status": 401}


# --- a key's life ----------------------------------------------------------------------------------------------------


def test_a_created_key_opens_its_app_at_once_and_no_other(server):
    key = ring(server).create("ci", environment="testing")
    assert ask(server, "GET", "/v1/info", key=key.token).json["mode"] == "chat"
    assert (key.name, key.environment, key.created_at) == ("ci", "testing", server.default.clock.now())
    assert len(key.token) == len("app-") + 24


def test_a_key_is_made_from_the_seed(server):
    again = engine()
    other = engine(seed=1)
    tokens = [ring(one).create().token for one in (server, again, other)]
    assert tokens[0] == tokens[1] != tokens[2]


def test_a_revoked_key_gets_difys_401_from_the_next_call_on(server):
    keys = ring(server)
    key = keys.create()
    assert info(server, key.token) == 200
    keys.revoke(key)
    got = ask(server, "GET", "/v1/info", key=key.token)
    assert (got.status, got.json) == (401, REFUSED)
    assert info(server, KEYS["chat"]) == 200


def test_a_stream_that_runs_when_its_key_is_revoked_runs_on(server):
    from engines import request

    body = {"inputs": {}, "query": "a b c", "user": "u", "response_mode": "streaming"}
    steps = server.handle(request("POST", "/v1/chat-messages", body, key=KEYS["chat"]))
    next(steps)
    ring(server).revoke(KEYS["chat"])
    assert len(list(steps)) > 3
    assert info(server, KEYS["chat"]) == 401


def test_revoking_twice_changes_nothing(server, now):
    keys = ring(server)
    first = keys.revoke("default").revoked_at
    now.now += 5
    assert keys.revoke("default").revoked_at == first


def test_a_key_expires_on_the_workspaces_clock(server):
    key = ring(server).create(expires_in=30.0)
    server.default.clock.advance(29.9)
    assert info(server, key.token) == 200
    server.default.clock.advance(0.1)
    got = ask(server, "GET", "/v1/info", key=key.token)
    assert (got.status, got.json) == (401, REFUSED)
    assert key.state(server.default.clock.now()) == "expired"


def test_rotating_ends_the_old_key_at_once(server):
    keys = ring(server)
    new = keys.rotate("default")
    assert info(server, KEYS["chat"]) == 401
    assert info(server, new.token) == 200
    assert server.default.keys["chat"] == new.token


def test_rotating_with_grace_lets_both_work_for_a_while(server):
    new = ring(server).rotate("default", grace=60)
    assert (info(server, KEYS["chat"]), info(server, new.token)) == (200, 200)
    assert server.default.keys["chat"] == new.token
    server.default.clock.advance(60)
    assert (info(server, KEYS["chat"]), info(server, new.token)) == (401, 200)


def test_grace_never_lengthens_a_keys_life(server):
    keys = ring(server)
    key = keys.create("short", expires_in=10)
    keys.rotate(key, grace=60)
    server.default.clock.advance(10)
    assert info(server, key.token) == 401


def test_a_rotated_key_keeps_its_name_environment_and_period(server):
    keys = ring(server)
    old = keys.create("ci", environment="production", rotation_period=90 * DAY)
    new = keys.rotate(old)
    assert (new.name, new.environment, new.rotation_period) == ("ci", "production", 90 * DAY)
    assert old.replaced_by == new.id


def test_what_is_over_cannot_be_rotated(server):
    keys = ring(server)
    keys.revoke("default")
    with pytest.raises(MockdifyError, match="is revoked already; create a new one instead"):
        keys.rotate(KEYS["chat"])


def test_conversations_outlive_the_key_that_began_them(server):
    began = chat(server).json
    new = ring(server).rotate("default")
    assert chat(server, "again", key=new.token, conversation_id=began["conversation_id"]).status == 200


def test_knowledge_keys_are_handled_alike(server):
    keys = ring(server, DATASET)
    old = server.default.dataset_key
    new = keys.rotate("default")
    assert new.token.startswith("dataset-")
    assert server.default.keys["dataset"] == new.token
    assert ask(server, "GET", "/v1/datasets", key=old).status == 401
    assert ask(server, "GET", "/v1/datasets", key=new.token).status != 401


# --- last used -------------------------------------------------------------------------------------------------------


def test_uses_are_counted_with_their_moment(server):
    key = ring(server).create()
    assert (key.uses, key.last_used) == (0, None)
    info(server, key.token)
    server.default.clock.advance(5)
    info(server, key.token)
    assert (key.uses, key.last_used) == (2, server.default.clock.now())


def test_a_fault_suffix_uses_the_key_behind_it(server):
    assert ask(server, "GET", "/v1/info", key=f"{KEYS['chat']}!server-error").status == 500
    assert ring(server).find(KEYS["chat"]).uses == 1


def test_a_refused_key_is_not_used(server):
    keys = ring(server)
    keys.revoke("default")
    info(server, KEYS["chat"])
    assert keys.find("default").last_used is None


def test_the_report_has_every_key_and_names_the_unused_and_the_overdue(server):
    ring(server).create("old", rotation_period=90 * DAY)
    info(server, KEYS["agent"])
    server.default.clock.advance(90 * DAY)
    found = {(one["app"], one["name"]): one for one in report(server.default)}
    assert len(found) == len(server.default.apps) + 2
    assert found["agent", "default"]["never_used"] is False
    assert found["chat", "default"]["never_used"] is True
    assert [one["name"] for one in found.values() if one["overdue"]] == ["old"]
    assert not any(one["token"] in server._keys for one in found.values())


# --- finding and refusing --------------------------------------------------------------------------------------------


def test_a_key_is_found_by_id_token_or_name(server):
    keys = ring(server)
    key = keys.create("ci")
    assert keys.find(key.id) is keys.find(key.token) is keys.find("ci") is key


def test_of_several_with_one_name_the_one_that_works_is_meant(server):
    keys = ring(server)
    keys.revoke(keys.create("ci"))
    live = keys.create("ci")
    assert keys.find("ci") is live
    keys.create("ci")
    with pytest.raises(MockdifyError, match="has 2 keys called 'ci'; say which by its id"):
        keys.find("ci")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"environment": "prod"}, "'prod' is not an environment; there are: development, testing, production"),
        ({"token": "has blank"}, "without blanks and '!'"),
        ({"token": "app-x!cut"}, "without blanks and '!'"),
        ({"token": "ключ"}, "ASCII"),
        ({"token": "app-agent-demo"}, "the key app-…demo is taken"),
    ],
)
def test_a_key_that_cannot_be_is_refused(server, said, message):
    with pytest.raises(MockdifyError) as told:
        ring(server).create("x", **said)
    assert message in str(told.value)
    assert "app-agent-demo" not in str(told.value)


def test_an_unknown_app_is_told_with_those_there_are(server):
    with pytest.raises(MockdifyError, match="there is no app 'chatt'; there are: completion, chat"):
        ring(server, "chatt")


def test_a_configured_key_has_the_environment_of_its_name():
    from dataclasses import replace

    from engines import template

    base = template()
    chat_app = next(app for app in base.apps if app.name == "chat")
    named = replace(chat_app, keys={"production": "app-p", "testing": "app-t", "mine": "app-m"})
    server = engine(apps=(named,))
    assert [key.environment for key in ring(server)] == ["production", "testing", "development"]
    assert len({key.id for key in ring(server)}) == 3


def test_a_reload_keeps_the_keys_that_were_made(server):
    keys = ring(server)
    made = keys.create("ci")
    info(server, KEYS["chat"])
    app = next(one for one in server.default.template.apps if one.name == "chat")
    server.default.install(app)
    server.learn_keys(server.default)
    assert (info(server, made.token), info(server, KEYS["chat"])) == (200, 200)
    assert ring(server).find(KEYS["chat"]).uses == 2


def test_a_reset_makes_the_first_keys_again_and_forgets_the_others(server):
    made = ring(server).create("more")
    ring(server).revoke("default")
    server.reset(server.default)
    assert (info(server, KEYS["chat"]), info(server, made.token)) == (200, 401)


def test_the_lookup_of_a_token_does_not_look_through_the_keys(server):
    """A thousand keys later the engine still finds one in its table, by the token itself."""
    keys = ring(server)
    made = [keys.create(f"k{n}") for n in range(1000)]
    assert server._keys[made[500].token][2] is made[500]


# --- a law -----------------------------------------------------------------------------------------------------------


class Operator(RuleBasedStateMachine):
    """Whatever an operator does, a token opens its app exactly when it is neither revoked nor past its time."""

    @initialize()
    def begin(self):
        self.now = Time()
        self.server = engine(time=self.now)
        self.keys = ring(self.server)
        self.model = {KEYS["chat"]: [None, False]}  # token: [expires, revoked]

    def works(self, token):
        expires, revoked = self.model[token]
        return not revoked and (expires is None or self.now.now < expires)

    @rule(life=st.none() | st.integers(1, 50))
    def create(self, life):
        key = self.keys.create("k", expires_in=life)
        self.model[key.token] = [None if life is None else self.now.now + life, False]

    @rule(data=st.data(), grace=st.sampled_from([0, 7, 30]))
    def rotate(self, data, grace):
        token = data.draw(st.sampled_from(sorted(self.model)))
        if not self.works(token):
            with pytest.raises(MockdifyError):
                self.keys.rotate(token, grace=grace)
            return
        new = self.keys.rotate(token, grace=grace)
        assert new.token not in self.model
        self.model[new.token] = [None, False]
        old = self.model[token]
        if grace:
            old[0] = min(filter(None, [old[0], self.now.now + grace]))
        else:
            old[1] = True

    @rule(data=st.data())
    def revoke(self, data):
        token = data.draw(st.sampled_from(sorted(self.model)))
        self.keys.revoke(token)
        self.model[token][1] = True

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds):
        self.now.now += seconds

    @invariant()
    def tokens_open_what_they_should(self):
        for token in getattr(self, "model", {}):
            assert (info(self.server, token) == 200) == self.works(token)


Operator.TestCase.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
TestOperator = Operator.TestCase


@given(st.floats(0, 1e9), st.none() | st.floats(0, 1e9), st.none() | st.floats(0, 1e9))
def test_a_key_is_in_one_state(now, expires, revoked):
    key = Key("t", expires_at=expires, revoked_at=revoked)
    assert key.use(now) == (key.state(now) == "active")


# --- over the control API --------------------------------------------------------------------------------------------


def test_over_http_a_key_is_shown_in_full_once(server):
    made = control(
        server, "POST", "/apps/chat/keys", {"name": "ci", "environment": "testing", "rotation_period": "90d"}
    )
    assert made.status == 201
    token = made.json["token"]
    assert info(server, token) == 200
    listed = control(server, "GET", "/apps/chat/keys").json["items"]
    assert [one["name"] for one in listed] == ["default", "ci"]
    assert listed[1]["token"] == f"app-…{token[-4:]}"
    assert listed[1]["rotation_period"] == 90 * DAY
    assert listed[1]["last_used"] == server.default.clock.now()


@pytest.mark.parametrize("how", ["id", "name", "token"])
def test_over_http_keys_are_rotated_and_revoked(server, how):
    made = control(server, "POST", "/apps/chat/keys", {"name": "ci"}).json
    rotated = control(server, "POST", f"/apps/chat/keys/{made[how]}/rotate", {"grace": "1h"})
    assert rotated.status == 201
    assert rotated.json["replaces"]["id"] == made["id"]
    assert (info(server, made["token"]), info(server, rotated.json["token"])) == (200, 200)
    gone = control(server, "DELETE", f"/apps/chat/keys/{rotated.json[how]}")
    assert gone.json["state"] == "revoked"
    assert info(server, rotated.json["token"]) == 401


@pytest.mark.parametrize("rotate", ["default", KEYS["chat"], True])
def test_over_http_a_post_with_rotate_rotates(server, rotate):
    made = control(server, "POST", "/apps/chat/keys", {"rotate": rotate}).json
    assert (info(server, KEYS["chat"]), info(server, made["token"])) == (401, 200)


@pytest.mark.parametrize("said", [{"name": "default"}, {"token": KEYS["chat"]}, {"key": KEYS["chat"]}])
def test_over_http_a_key_is_revoked_by_query_or_body(said):
    for given_ in ({"query": said}, {"body": said}):
        server = engine()
        assert control(server, "DELETE", "/apps/chat/keys", **given_).json["state"] == "revoked"
        assert info(server, KEYS["chat"]) == 401


def test_over_http_revoking_nothing_in_particular_is_refused(server):
    got = control(server, "DELETE", "/apps/chat/keys")
    assert (got.status, got.json["message"]) == (400, "say which key to revoke, with one of: key, id, name, token")
    assert info(server, KEYS["chat"]) == 200


def test_the_report_over_http(server):
    info(server, KEYS["agent"])
    found = control(server, "GET", "/keys").json["items"]
    assert {one["app"] for one in found if not one["never_used"]} == {"agent"}


# --- on the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def admin():
    """A server on a real socket that hands what it is asked to an engine."""
    server = engine(token="hush")

    class Handler(BaseHTTPRequestHandler):
        def do(self):
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = [(k, v) for k, v in self.headers.items() if k.lower() != "host"]
            got = ask(server, self.command, self.path, data, headers=headers)
            self.send_response(got.status)
            self.send_header("Content-Length", str(len(got.body)))
            self.end_headers()
            self.wfile.write(got.body)

        do_GET = do_POST = do_DELETE = do  # noqa: N815 - so http.server wants it

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server, f"http://127.0.0.1:{http.server_port}/_mockdify"
    http.shutdown()
    thread.join()
    http.server_close()


def cli(url, *words, token="hush"):
    return CliRunner().invoke(main, ["keys", "--admin", url, "--admin-token", token, *words])


def test_on_the_command_line_keys_are_made_rotated_revoked_and_reported(admin):
    server, url = admin
    made = json.loads(cli(url, "create", "chat", "--name", "ci", "--environment", "testing", "--json").output)
    assert info(server, made["token"]) == 200
    rotated = cli(url, "rotate", "chat", "ci", "--grace", "1h").output
    assert rotated.startswith("app-")
    assert f"in the place of app-…{made['token'][-4:]}, which works until" in rotated
    listed = cli(url, "list", "chat").output
    assert made["token"] not in listed
    assert len(listed.splitlines()) == 4
    assert "revoked" in cli(url, "revoke", "chat", "default").output
    assert info(server, KEYS["chat"]) == 401
    unused = cli(url, "report", "--unused").output
    assert "agent" in unused
    assert "never" in unused


@pytest.mark.parametrize(
    ("words", "token", "message"),
    [
        (("list", "chatt"), "hush", "there is no app 'chatt'"),
        (("revoke", "chat", "nope"), "hush", "app 'chat' has no key 'nope'; it has: 'default'"),
        (("list", "chat"), "wrong", "this is not the admin token of this server"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_code_2(admin, words, token, message):
    got = cli(admin[1], *words, token=token)
    assert got.exit_code == 2
    assert got.output.startswith("mockdify: ")
    assert message in got.output
    assert len(got.output.splitlines()) == 1


def test_a_server_that_is_not_there_is_told():
    got = cli("http://127.0.0.1:9/v1", "list", "chat")
    assert got.exit_code == 2
    assert "no server answers at http://127.0.0.1:9/_mockdify" in got.output
