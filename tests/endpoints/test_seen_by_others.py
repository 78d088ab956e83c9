"""What belongs to somebody else is as if it were not there: another user's, app's, workspace's, a WebApp's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import NOBODY, World

from mockdify.store import Conversation

STRANGERS = ["another user", "another app", "the webapp", "deleted", "nobody"]


def world_with(stranger: str) -> tuple[World, dict[str, str]]:
    """A world, and the ids of what *alice* of the app `chat` may not see."""
    here = World()
    if stranger == "nobody":
        return here, {"conversation_id": NOBODY, "message_id": NOBODY}
    if stranger == "the webapp":
        return here, {"conversation_id": webapp_conversation(here), "message_id": NOBODY}
    user, app = {"another user": ("bob", "chat"), "another app": ("alice", "chatflow"), "deleted": ("alice", "chat")}[
        stranger
    ]
    made = here.chat(user=user, app=app).json
    if stranger == "deleted":
        here.call("DELETE", f"/conversations/{made['conversation_id']}", {"user": user}, app=app)
    return here, made


def webapp_conversation(here: World, user: str = "visitor") -> str:
    """A conversation that a visitor of the app's WebApp began."""
    person = here.workspace.store.user("chat", user, here.time())
    made = Conversation(
        id=person.ids.next(),
        app="chat",
        user=user,
        name="from the web",
        inputs={},
        introduction="",
        created_at=here.time(),
        updated_at=here.time(),
        number=person.number(),
        origin="webapp",
    )
    person.add_conversation(made)
    return made.id


def attempts(here, ids):
    known, message = ids["conversation_id"], ids["message_id"]
    yield here.chat(conversation_id=known)
    yield here.chat(conversation_id=known, stream=True)
    yield here.get(f"/messages?user=alice&conversation_id={known}")
    yield here.get(f"/conversations?user=alice&last_id={known}")
    yield here.get(f"/conversations/{known}/variables?user=alice")
    yield here.call("PUT", f"/conversations/{known}/variables/{NOBODY}", {"value": 1, "user": "alice"})
    yield here.post(f"/conversations/{known}/name", {"name": "x", "user": "alice"})
    yield here.call("DELETE", f"/conversations/{known}", {"user": "alice"})
    yield here.get(f"/messages/{message}/suggested?user=alice")
    yield here.post(f"/messages/{message}/feedbacks", {"rating": "like", "user": "alice"})


@pytest.mark.parametrize("stranger", STRANGERS)
def test_every_attempt_is_answered_as_for_something_that_never_existed(stranger):
    here, ids = world_with(stranger)
    answers = [(said.status, said.text.replace(ids["conversation_id"], "…")) for said in attempts(here, ids)]
    nowhere = [(said.status, said.text.replace(NOBODY, "…")) for said in attempts(*world_with("nobody"))]
    assert answers == nowhere
    assert {status for status, _ in answers} == {404}
    assert here.get("/conversations?user=alice").json["data"] == []


def test_a_webapp_conversation_is_not_listed_but_goes_on_under_its_session_id():
    here = World()
    known = webapp_conversation(here)
    assert here.get("/conversations?user=visitor").json["data"] == []
    assert here.chat(user="visitor", conversation_id=known).status == 200
    assert len(here.get(f"/messages?user=visitor&conversation_id={known}").json["data"]) == 1
    assert here.get("/conversations?user=visitor").json["data"] == []
    assert here.get(f"/conversations?user=visitor&last_id={known}").status == 404


def test_uploads_are_their_user_s_own_since_1_16():
    from support import easy_app

    upload = {
        "enabled": True,
        "allowed_file_types": ["image"],
        "number_limits": 3,
        "allowed_file_upload_methods": ["local_file"],
    }
    for profile, status in (("1.16", 400), ("1.13", 200)):
        here = World(easy_app(file_upload=upload), profile=profile)
        made = here.upload(user="bob").json["id"]
        files = [{"type": "image", "transfer_method": "local_file", "upload_file_id": made}]
        assert here.chat(files=files).status == status
        assert here.chat(files=files, user="bob").status == 200


def test_annotations_belong_to_an_app_since_1_16():
    for profile, status in (("1.16", 404), ("1.13", 200)):
        here = World(profile=profile)
        made = here.post("/apps/annotations", {"question": "q", "answer": "a"}).json["id"]
        body = {"question": "x", "answer": "y"}
        assert here.call("PUT", f"/apps/annotations/{made}", body, app="completion").status == status
        assert here.get("/apps/annotations", app="completion").json["total"] == 0


def test_runs_belong_to_an_app_and_their_events_to_a_user():
    here = World()
    run = here.run().json["workflow_run_id"]
    assert here.get(f"/workflows/run/{run}", app="workflow").status == 200
    assert here.get(f"/workflows/run/{run}", app="chatflow").error == (404, "not_found", "Workflow run not found.")
    assert here.get(f"/workflow/{run}/events?user=alice", app="workflow").status == 200
    for user, app in (("bob", "workflow"), ("alice", "chatflow")):
        said = here.get(f"/workflow/{run}/events?user={user}", app=app)
        assert said.error == (404, "not_found", "Workflow run not found")


def test_workspaces_share_nothing():
    here = World()
    other = here.engine.create("other", here.workspace.template, key_suffix="-other")
    known = here.chat().json["conversation_id"]
    upload = here.upload().json["id"]
    run = here.run().json["workflow_run_id"]
    key = other.keys["chat"]
    assert here.get("/conversations?user=alice", key=key).json["data"] == []
    assert here.get(f"/messages?user=alice&conversation_id={known}", key=key).status == 404
    assert here.get(f"/files/{upload}/preview", key=key).status == 404
    assert here.get(f"/workflows/run/{run}", key=other.keys["workflow"]).status == 404
    assert len(other.journal) == 4
    assert len(here.workspace.journal) == 3


def test_a_reset_workspace_is_as_it_was_at_first():
    here = World()
    first = here.chat().json
    here.engine.reset(here.workspace)
    assert here.get("/conversations?user=alice").json["data"] == []
    assert here.chat().json == first


users = st.sampled_from(["alice", "bob", "Alice", "eve "])
apps = st.sampled_from(["chat", "chatflow"])


@given(st.lists(st.tuples(users, apps, st.booleans()), max_size=12))
def test_a_word_is_only_ever_seen_by_whoever_said_it(turns):
    """Each (user, app) says a word of its own; no list that anybody can ask for holds another's."""
    here = World()
    last: dict[tuple[str, str], str] = {}
    words: dict[tuple[str, str], set[str]] = {}
    for k, (user, app, goes_on) in enumerate(turns):
        word = f"canary{k}x"
        known = last.get((user, app), "") if goes_on else ""
        last[user, app] = here.chat(word, user=user, app=app, conversation_id=known).json["conversation_id"]
        words.setdefault((user, app), set()).add(word)
    for asker in [(user, app) for user in ("alice", "bob", "Alice", "eve ") for app in ("chat", "chatflow")]:
        user, app = asker
        seen = here.get(f"/conversations?user={user.replace(' ', '%20')}&limit=100", app=app)
        texts = seen.text + "".join(
            here.get(f"/messages?user={user.replace(' ', '%20')}&limit=100&conversation_id={one['id']}", app=app).text
            for one in seen.json["data"]
        )
        assert {word for many in words.values() for word in many if word in texts} == words.get(asker, set())
