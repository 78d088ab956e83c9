"""The key in front of every endpoint: what counts as one, and what is checked before and after it."""

import pytest
from support import NOBODY, World, easy_app, form_of

ABSENT = (401, "unauthorized", "Authorization header must be provided and start with 'Bearer'")
NOT_BEARER = (401, "unauthorized", "Authorization scheme must be 'Bearer'")
UNKNOWN = (401, "unauthorized", "Access token is invalid")


def header(value):
    return {"Authorization": value}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("", ABSENT),
        ("Bearer", ABSENT),
        ("Bearer ", ABSENT),
        ("app-chat-demo", ABSENT),
        ("Bearer\tapp-chat-demo", ABSENT),
        ("Basic abc", NOT_BEARER),
        ("Bearer nope", UNKNOWN),
        ("Bearer app-chat-demo garbage", UNKNOWN),
        ("Bearer dataset-demo", UNKNOWN),
        ("Bearer APP-CHAT-DEMO", UNKNOWN),
    ],
)
def test_a_header_that_is_no_key_is_a_401_with_its_own_text(value, error):
    said = World().get("/info", app=None, headers=header(value))
    assert said.error == error
    assert said.headers["WWW-Authenticate"] == 'Bearer realm="api"'


@pytest.mark.parametrize("value", ["Bearer app-chat-demo", "bearer app-chat-demo", "BEARER   app-chat-demo"])
def test_the_scheme_is_taken_in_any_case_with_any_number_of_blanks(value):
    assert World().get("/info", app=None, headers=header(value)).status == 200


@pytest.mark.parametrize("query", ["api_key=app-chat-demo", "token=app-chat-demo", "user=alice"])
def test_a_key_in_the_query_is_no_key(query):
    assert World().get(f"/info?{query}", app=None).error == ABSENT


def test_an_app_key_does_not_open_the_knowledge_api_nor_the_other_way_round():
    world = World()
    assert world.get("/datasets", app="chat").error == UNKNOWN
    assert world.get("/info", app="dataset").error == UNKNOWN
    assert world.get("/workspaces/current/models/model-types/llm", app="chat").error == UNKNOWN


def test_a_switched_off_api_is_a_403_for_every_request_of_that_key():
    world = World(easy_app("off"), said={"off": {"api_enabled": False}})
    error = (403, "forbidden", "The app's API service has been disabled.")
    assert world.get("/info", app="off").error == error
    assert world.chat(app="off").error == error
    assert world.post("/chat-messages", b"{", app="off").error == error, "before the body is read"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nope", None, 404),
        ("GET", "/chat-messages", None, 405),
        ("POST", "/chat-messages", b"{", 401),
        ("POST", "/messages/xyz/feedbacks", {}, 404),
        ("GET", "/conversations?limit=0", None, 401),
    ],
)
def test_route_and_method_are_checked_before_the_key_and_the_body_after_it(method, path, body, status):
    assert World().call(method, path, body, key="nope").status == status


def test_all_keys_of_an_app_open_the_same_app():
    world = World(easy_app("chat"), said={"chat": {"keys": {"development": "app-dev", "production": "app-prod"}}})
    made = world.post(
        "/chat-messages", {"inputs": {}, "query": "hi", "user": "alice", "response_mode": "blocking"}, key="app-dev"
    ).json
    found = world.get("/conversations?user=alice", key="app-prod").json["data"]
    assert [one["id"] for one in found] == [made["conversation_id"]]


# ---------------------------------------------------------------------- the end user
WITH_USER_IN_JSON = [
    ("POST", "/chat-messages", "chat"),
    ("POST", "/completion-messages", "completion"),
    ("POST", "/workflows/run", "workflow"),
    ("POST", f"/workflows/{NOBODY}/run", "workflow"),
    ("POST", "/chat-messages/x/stop", "chat"),
    ("POST", "/completion-messages/x/stop", "completion"),
    ("POST", "/workflows/tasks/x/stop", "workflow"),
    ("POST", f"/messages/{NOBODY}/feedbacks", "chat"),
]


@pytest.mark.parametrize(("method", "path", "app"), WITH_USER_IN_JSON)
@pytest.mark.parametrize("user", [None, "", 0, False, [], {}, "absent"])
def test_where_a_user_is_required_nothing_and_what_is_false_are_no_user(method, path, app, user):
    body = {} if user == "absent" else {"user": user}
    said = World().call(method, f"{path}?user=alice", body, app=app)
    assert said.error == (400, "invalid_param", "Arg user must be provided."), "a user in the query does not count"


@pytest.mark.parametrize(("user", "name"), [(42, "42"), (True, "True"), (["a"], "['a']"), ({"a": 1}, "{'a': 1}")])
def test_a_user_that_is_no_text_is_made_one(user, name):
    world = World()
    made = world.chat(user=user).json["conversation_id"]
    assert [one["id"] for one in world.get(f"/conversations?user={name}").json["data"]] == [made]


@pytest.mark.parametrize("user", ["   ", "Alice ", "用户", "a" * 255])
def test_users_are_taken_as_they_stand(user):
    world = World()
    made = world.chat(user=user).json["conversation_id"]
    assert made in world.workspace.store.user("chat", user, 0).conversations
    assert not world.workspace.store.user("chat", user.strip().lower() + "?", 0).conversations


def test_a_user_of_more_than_255_characters_is_a_500_and_one_with_nul_a_400():
    world = World()
    assert world.chat(user="a" * 256).error == (500, "unknown", "Internal Server Error")
    assert world.chat(user="a\0").error[2] == "A string literal cannot contain NUL (0x00) characters."


def test_the_end_user_is_known_from_the_first_request_even_one_that_fails():
    """Dify makes the end user before it looks at the app's mode and the body."""
    world = World()
    assert world.complete(app="chat", user="early").status == 400
    assert world.chat(query=5, user="late").status == 400
    sessions = {one.session_id: one.id for one in world.workspace.store.end_users.values()}
    assert {"early", "late"} <= sessions.keys()
    assert world.get(f"/end-users/{sessions['early']}").json["session_id"] == "early"


@pytest.mark.parametrize("query", ["", "user="])
def test_a_list_without_a_user_is_the_one_of_the_shared_default_user(query):
    world = World()
    world.chat(user="alice")
    mine = world.chat(user="DEFAULT-USER").json["conversation_id"]
    assert [one["id"] for one in world.get(f"/conversations?{query}").json["data"]] == [mine]


def test_the_default_user_is_anonymous():
    world = World()
    made = world.post("/files/upload", form=form_of(("file", "a.txt", "text/plain", b"x"))).json
    shown = world.get(f"/end-users/{made['created_by']}").json
    assert (shown["is_anonymous"], shown["session_id"], shown["external_user_id"]) == (True, "DEFAULT-USER", None)
