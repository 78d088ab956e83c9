"""Conversations, their messages, variables and ratings."""

import pytest
from support import NOBODY, World, answer_node, easy_app, graph_app, llm_node

from mockdify.script import Rule

CONVERSATION = ["id", "name", "inputs", "status", "introduction", "created_at", "updated_at"]
ACCOUNTING = ["message_tokens", "answer_tokens", "provider_response_latency", "total_price", "currency"]


def world(**more):
    return World(defaults=Rule(chunks=("Hello", "")), **more)


def talk(here, *queries, user="alice", app="chat"):
    """One conversation with these questions, a second apart; its id."""
    known = ""
    for query in queries:
        known = here.chat(query, user=user, app=app, conversation_id=known).json["conversation_id"]
        here.time.now += 1
    return known


# ---------------------------------------------------------------------- lists
def test_a_list_has_limit_has_more_and_data():
    here = world()
    talk(here, "one")
    said = here.get("/conversations?user=alice")
    assert list(said.json) == ["limit", "has_more", "data"]
    assert (said.json["limit"], said.json["has_more"]) == (20, False)
    assert list(said.json["data"][0]) == CONVERSATION
    assert said.type == "application/json"
    assert said.body.endswith(b"\n")
    assert b'": ' not in said.body


def test_the_last_touched_comes_first_and_a_turn_or_a_rename_touches():
    here = world()
    first, second, third = talk(here, "1"), talk(here, "2"), talk(here, "3")

    def listed(sort=""):
        return [one["id"] for one in here.get(f"/conversations?user=alice{sort}").json["data"]]

    assert listed() == [third, second, first]
    here.chat("again", conversation_id=first)
    here.time.now += 1
    assert listed() == [first, third, second]
    here.post(f"/conversations/{second}/name", {"name": "x", "user": "alice"})
    assert listed() == listed("&sort_by=-updated_at") == [second, first, third]
    assert listed("&sort_by=updated_at") == [third, first, second]
    assert listed("&sort_by=created_at") == [first, second, third]
    assert listed("&sort_by=-created_at") == [third, second, first]


def test_an_empty_last_id_is_none_and_an_unknown_one_a_404_with_help():
    here = world()
    made = talk(here, "one")
    assert here.get("/conversations?user=alice&last_id=").json["data"]
    assert here.get(f"/conversations?user=alice&last_id={made.upper()}").json["data"] == []
    for last, user in ((NOBODY, "alice"), (made, "bob")):
        status, code, message = here.get(f"/conversations?user={user}&last_id={last}").error
        assert (status, code) == (404, "not_found")
        assert message.startswith(
            "Last Conversation Not Exists. You have requested this URI [/v1/conversations] but did"
        )


def test_messages_are_oldest_first_and_a_page_holds_the_newest():
    here = world()
    known = talk(here, "a", "b", "c")

    def page(more=""):
        said = here.get(f"/messages?user=alice&conversation_id={known}{more}").json
        return [message["query"] for message in said["data"]], said["has_more"]

    assert page() == (["a", "b", "c"], False)
    assert page("&limit=2") == (["b", "c"], True)
    messages = here.get(f"/messages?user=alice&conversation_id={known}").json["data"]
    assert page(f"&first_id={messages[1]['id']}") == (["a"], False)
    assert page(f"&first_id={messages[0]['id']}") == ([], False)
    assert page("&first_id=") == (["a", "b", "c"], False)


def test_a_message_has_dify_s_keys_and_since_1_16_what_it_cost():
    listed = {}
    for profile in ("1.16", "1.13"):
        here = world(profile=profile)
        known = talk(here, "a")
        listed[profile] = here.get(f"/messages?user=alice&conversation_id={known}").json["data"][0]
    old = [
        "id",
        "conversation_id",
        "parent_message_id",
        "inputs",
        "query",
        "answer",
        "feedback",
        "retriever_resources",
        "created_at",
        "agent_thoughts",
        "message_files",
        "status",
        "error",
        "extra_contents",
    ]
    assert list(listed["1.13"]) == old
    assert list(listed["1.16"]) == [*old[:11], *ACCOUNTING, *old[11:], "total_tokens"]
    assert listed["1.16"]["parent_message_id"] == "00000000-0000-0000-0000-000000000000"
    assert isinstance(listed["1.16"]["total_price"], str)


def test_a_message_can_be_listed_while_it_is_being_said():
    here = world()
    talked = here.talk("hi").events(1)
    known = talked.said.events[0]["conversation_id"]
    (message,) = here.get(f"/messages?user=alice&conversation_id={known}").json["data"]
    assert (message["query"], message["answer"], message["status"]) == ("hi", "", "normal")
    talked.rest()
    assert here.get(f"/messages?user=alice&conversation_id={known}").json["data"][0]["answer"] == "Hello"


def test_a_client_that_leaves_a_chat_leaves_its_message_unanswered():
    here = world()
    known = here.talk("hi").events(1).leave().events[0]["conversation_id"]
    (message,) = here.get(f"/messages?user=alice&conversation_id={known}").json["data"]
    assert (message["answer"], message["status"]) == ("", "normal")
    assert not here.workspace.tasks


def test_no_conversation_id_is_a_400_an_empty_one_an_empty_list_an_unknown_one_a_404():
    here = world()
    known = talk(here, "a")
    assert "conversation_id\n  Field required" in here.get("/messages?user=alice").error[2]
    assert here.get("/messages?user=alice&conversation_id=").json == {"limit": 20, "has_more": False, "data": []}
    other = talk(here, "x")
    (foreign,) = here.get(f"/messages?user=alice&conversation_id={other}").json["data"]
    said = [
        here.get(f"/messages?user=alice&conversation_id={NOBODY}"),
        here.get(f"/messages?conversation_id={known}"),
        here.get(f"/messages?user=alice&conversation_id={known}&first_id={NOBODY}"),
        here.get(f"/messages?user=alice&conversation_id={known}&first_id={foreign['id']}"),
    ]
    assert [one.status for one in said] == [404] * 4
    assert [one.error[2].partition(".")[0] for one in said] == ["Conversation Not Exists"] * 2 + [
        "First Message Not Exists"
    ] * 2


# ---------------------------------------------------------------------- rename and delete
def test_a_rename_answers_with_the_conversation_and_ends_the_wait_for_a_title():
    here = world()
    known = talk(here, "one")
    here.chat("new")
    said = here.post(f"/conversations/{known.upper()}/name", {"name": "Neu / 你", "user": "alice"})
    assert list(said.json) == CONVERSATION
    assert said.json["name"] == "Neu / 你"
    assert b"Neu \\/ \\u4f60" in said.body
    here.time.now += 5
    assert "Neu / 你" in {one["name"] for one in here.get("/conversations?user=alice").json["data"]}


@pytest.mark.parametrize("auto", [True, "true", 1, "yes"])
def test_auto_generate_wins_over_the_name(auto):
    here = world()
    known = talk(here, "hello there")
    said = here.post(f"/conversations/{known}/name", {"name": "mine", "auto_generate": auto, "user": "alice"})
    assert said.json["name"] == "About: hello there"


@pytest.mark.parametrize("name", [{"name": ""}, {"name": "  "}, {"name": None}, {}])
def test_a_name_is_needed_unless_it_is_generated(name):
    here = world()
    known = talk(here, "one")
    said = here.post(f"/conversations/{known}/name", {**name, "user": "alice"})
    assert said.error[2].startswith(
        "1 validation error for ConversationRenamePayload\n"
        "  Value error, name is required when auto_generate is false [type=value_error, "
    )


def test_a_name_of_more_than_255_characters_is_a_500():
    here = world()
    known = talk(here, "one")
    assert here.post(f"/conversations/{known}/name", {"name": "x" * 256, "user": "alice"}).error[1] == "unknown"
    assert here.post(f"/conversations/{known}/name", {"name": "x" * 255, "user": "alice"}).status == 200


def test_a_deleted_conversation_is_gone_with_all_that_was_in_it():
    here = world()
    known = talk(here, "one", "two")
    message = here.get(f"/messages?user=alice&conversation_id={known}").json["data"][0]["id"]
    said = here.call("DELETE", f"/conversations/{known}", {"user": "alice"})
    assert (said.status, said.body, said.type) == (204, b"", "application/json")
    gone = [
        here.call("DELETE", f"/conversations/{known}", {"user": "alice"}),
        here.chat(conversation_id=known),
        here.chat(conversation_id=known, stream=True),
        here.get(f"/messages?user=alice&conversation_id={known}"),
        here.post(f"/conversations/{known}/name", {"name": "x", "user": "alice"}),
        here.get(f"/conversations/{known}/variables?user=alice"),
        here.post(f"/messages/{message}/feedbacks", {"rating": "like", "user": "alice"}),
        here.get(f"/messages/{message}/suggested?user=alice"),
        here.get(f"/conversations?user=alice&last_id={known}"),
    ]
    assert [one.status for one in gone] == [404] * len(gone)
    assert here.get("/conversations?user=alice").json["data"] == []


# ---------------------------------------------------------------------- suggested questions
def test_three_questions_are_suggested_where_the_app_offers_them():
    here = World(easy_app("on", suggested_questions_after_answer={"enabled": True}), easy_app("off"))
    for app, status in (("on", 200), ("off", 400)):
        message = here.chat(app=app).json["message_id"]
        said = here.get(f"/messages/{message}/suggested?user=alice", app=app)
        assert said.status == status
    assert said.error == (400, "bad_request", "Suggested Questions Is Disabled.")
    message = here.chat(app="on").json["message_id"].upper()
    said = here.get(f"/messages/{message}/suggested?user=alice", app="on").json
    assert said["result"] == "success"
    assert len(said["data"]) == 3


# ---------------------------------------------------------------------- ratings
def rate(here, message, rating="absent", *, user="alice", app="chat", **more):
    body = {"user": user, **({} if rating == "absent" else {"rating": rating}), **more}
    return here.post(f"/messages/{message}/feedbacks", body, app=app)


def test_a_rating_is_set_changed_and_taken_back():
    here = world()
    made = here.chat().json
    message, known = made["message_id"], made["conversation_id"]

    def shown():
        return here.get(f"/messages?user=alice&conversation_id={known}").json["data"][0]["feedback"]

    nothing = (400, "invalid_param", "rating cannot be None when feedback not exists")
    assert shown() is None
    assert rate(here, message, None).error == nothing
    assert rate(here, message).error == nothing, "an absent rating is null"
    assert rate(here, message, "like").json == {"result": "success"}
    assert shown() == {"rating": "like"}
    rate(here, message, "dislike", content="bad")
    assert shown() == {"rating": "dislike"}
    assert rate(here, message, None).status == 200
    assert shown() is None
    assert rate(here, message, None).error == nothing


def test_a_message_of_a_completion_can_be_rated():
    here = world()
    message = here.complete().json["message_id"]
    assert rate(here, message, "like", app="completion").status == 200


def test_the_app_lists_its_ratings_newest_first_in_iso_times():
    here = world()
    messages = []
    for content in ("a", "b", "c"):
        messages.append(here.chat(user=content).json["message_id"])
        rate(here, messages[-1], "like", user=content, content=content)
        here.time.now += 1
    said = here.get("/app/feedbacks").json
    assert list(said) == ["data"]
    assert [one["content"] for one in said["data"]] == ["c", "b", "a"]
    assert list(said["data"][0]) == [
        "id",
        "app_id",
        "conversation_id",
        "message_id",
        "rating",
        "content",
        "from_source",
        "from_end_user_id",
        "from_account_id",
        "created_at",
        "updated_at",
    ]
    assert said["data"][-1]["created_at"] == "2027-01-15T08:00:00"
    assert [one["content"] for one in here.get("/app/feedbacks?page=2&limit=2").json["data"]] == ["a"]
    assert here.get("/app/feedbacks?limit=101").status == 200


# ---------------------------------------------------------------------- variables
MEMO = {
    "id": "11111111-1111-4111-8111-111111111111",
    "name": "memo",
    "value_type": "string",
    "value": "init",
    "description": "d",
}
TALLY = {"id": "22222222-2222-4222-8222-222222222222", "name": "tally", "value_type": "number", "value": 1}
TAGS = {"id": "33333333-3333-4333-8333-333333333333", "name": "tags", "value_type": "array[string]", "value": ["a"]}


def chatflow():
    app = graph_app(
        "chatflow",
        "advanced-chat",
        llm_node(),
        answer_node("{{#conversation.memo#}}"),
        conversation_variables=[MEMO, TALLY, TAGS],
    )
    here = World(app)
    return here, here.chat(app="chatflow").json["conversation_id"]


def test_variables_are_listed_with_their_values_as_text():
    here, known = chatflow()
    said = here.get(f"/conversations/{known}/variables?user=alice", app="chatflow").json
    assert (said["limit"], said["has_more"]) == (20, False)
    assert list(said["data"][0]) == ["id", "name", "value_type", "value", "description", "created_at", "updated_at"]
    assert [(one["name"], one["value"]) for one in said["data"]] == [
        ("memo", "init"),
        ("tally", "1"),
        ("tags", '["a"]'),
    ]


def test_a_page_of_variables_follows_the_last_one():
    here, known = chatflow()
    path = f"/conversations/{known}/variables?user=alice&limit=1"
    first = here.get(path, app="chatflow").json
    assert (first["has_more"], first["data"][0]["name"]) == (True, "memo")
    then = here.get(f"{path}&last_id={first['data'][0]['id']}", app="chatflow").json
    assert (then["has_more"], then["data"][0]["name"]) == (True, "tally")
    assert here.get(f"{path}&last_id={NOBODY}", app="chatflow").error == (400, "invalid_param", "")


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("memo", 500, "Internal Server Error"),
        ("zzz", 500, "Internal Server Error"),
        ("a;b", 400, "Variable name can only contain letters"),
        ("", 400, "Variable name can only contain letters"),
        ("a--b", 400, "Variable name contains invalid characters: --"),
        ("sp_who", 400, "Variable name contains invalid characters: sp_"),
        ("x" * 256, 400, "String should have at most 255 characters"),
    ],
)
def test_the_filter_by_name_ends_in_a_500_where_the_name_is_one(name, status, text):
    """Dify's query does not work on PostgreSQL, in both releases."""
    here, known = chatflow()
    said = here.get(f"/conversations/{known}/variables?user=alice&variable_name={name}", app="chatflow")
    assert said.status == status
    assert text in said.error[2]


def test_an_update_takes_a_value_of_the_variable_s_type_and_the_next_turn_reads_it():
    here, known = chatflow()
    path = f"/conversations/{known}/variables/{MEMO['id']}"
    here.time.now += 3
    said = here.call("PUT", path, {"value": "neu", "user": "alice"}, app="chatflow").json
    assert (said["value"], said["updated_at"] - said["created_at"]) == ("neu", 3)
    assert here.chat(app="chatflow", conversation_id=known).answer == "neu"


@pytest.mark.parametrize(
    ("variable", "value", "wanted", "met"),
    [
        (MEMO, 5, "string", "integer"),
        (MEMO, 1.5, "string", "float"),
        (MEMO, True, "string", "boolean"),
        (MEMO, None, "string", "none"),
        (MEMO, {}, "string", "object"),
        (TALLY, "x", "number", "string"),
        (TALLY, True, "number", "boolean"),
    ],
)
def test_an_update_of_another_type_is_refused_by_name(variable, value, wanted, met):
    here, known = chatflow()
    said = here.call(
        "PUT", f"/conversations/{known}/variables/{variable['id']}", {"value": value, "user": "alice"}, app="chatflow"
    )
    name = variable["name"]
    text = f"Type mismatch: variable '{name}' expects {wanted}, but got {met} type"
    assert said.error == (400, "bad_request", text)


def test_an_unknown_variable_and_an_unknown_conversation_are_told_apart():
    here, known = chatflow()
    body = {"value": "x", "user": "alice"}
    said = here.call("PUT", f"/conversations/{known}/variables/{NOBODY}", body, app="chatflow")
    assert said.error == (404, "not_found", "Conversation Variable Not Exists.")
    said = here.call("PUT", f"/conversations/{NOBODY}/variables/{MEMO['id']}", body, app="chatflow")
    assert said.error == (404, "not_found", "Conversation Not Exists.")


def test_a_chat_app_has_no_variables():
    here = world()
    known = talk(here, "a")
    assert here.get(f"/conversations/{known}/variables?user=alice").json["data"] == []
