"""Annotations and the setting that lets them answer."""

import pytest
from support import NOBODY, World

SETTING = {"score_threshold": 0.9, "embedding_provider_name": "p", "embedding_model_name": "m"}


def annotate(here, question="What?", answer="That."):
    return here.post("/apps/annotations", {"question": question, "answer": answer}).json["id"]


def listed(here, query=""):
    return here.get(f"/apps/annotations?{query}").json


def test_an_annotation_is_made_changed_and_deleted():
    here = World()
    said = here.post("/apps/annotations", {"question": "What?", "answer": "That."})
    assert said.status == 201
    assert list(said.json) == ["id", "question", "answer", "hit_count", "created_at"]
    path = f"/apps/annotations/{said.json['id']}"
    changed = here.call(
        "PUT", path.upper().replace("/APPS/ANNOTATIONS", "/apps/annotations"), {"question": "Q", "answer": "A"}
    )
    assert (changed.status, changed.json["question"], changed.json["id"]) == (200, "Q", said.json["id"])
    gone = here.call("DELETE", path)
    assert (gone.status, gone.body) == (204, b"")
    missing = (404, "not_found", "Annotation not found")
    assert here.call("DELETE", path).error == missing
    assert here.call("PUT", path, {"question": "Q", "answer": "A"}).error == missing
    assert here.call("DELETE", f"/apps/annotations/{NOBODY}").error == missing


def test_empty_texts_are_texts():
    assert World().post("/apps/annotations", {"question": "", "answer": ""}).status == 201


def test_the_list_is_newest_first_with_its_page_and_total():
    here = World()
    for question in ("a", "b", "c"):
        annotate(here, question)
        here.time.now += 1
    said = listed(here)
    assert list(said) == ["data", "has_more", "limit", "total", "page"]
    assert [one["question"] for one in said["data"]] == ["c", "b", "a"]
    assert (said["has_more"], said["limit"], said["total"], said["page"]) == (False, 20, 3, 1)
    second = listed(here, "page=2&limit=2")
    assert ([one["question"] for one in second["data"]], second["has_more"], second["total"]) == (["a"], False, 3)


def test_there_is_more_whenever_the_page_is_full():
    here = World()
    annotate(here, "a")
    annotate(here, "b")
    assert listed(here, "limit=2")["has_more"] is True


def test_a_page_holds_100_while_the_limit_echoes_the_request():
    here = World()
    for k in range(101):
        annotate(here, str(k))
    said = listed(here, "limit=1000")
    assert (len(said["data"]), said["limit"], said["total"], said["has_more"]) == (100, 1000, 101, False)
    assert len(listed(here, "limit=1000&page=2")["data"]) == 1


@pytest.mark.parametrize(("keyword", "found"), [("what", 1), ("THAT", 1), ("zzz", 0), ("", 2)])
def test_a_keyword_is_looked_for_in_questions_and_answers_in_any_case(keyword, found):
    here = World()
    annotate(here, "What?", "That.")
    annotate(here, "Who?", "Me.")
    assert listed(here, f"keyword={keyword}")["total"] == found


@pytest.mark.parametrize("query", ["page=abc", "page=0&limit=0", "limit=-1", "page="])
def test_bad_paging_is_refused_since_1_16_and_forgiven_before(query):
    assert "for AnnotationListQuery" in World().get(f"/apps/annotations?{query}").error[2]
    said = World(profile="1.13").get(f"/apps/annotations?{query}").json
    assert said["page"] == 1


def test_a_job_waits_when_it_is_made_and_is_done_when_it_is_looked_at():
    here = World()
    for action in ("enable", "disable"):
        made = here.post(f"/apps/annotation-reply/{action}", SETTING).json
        assert (list(made), made["job_status"]) == (["job_id", "job_status"], "waiting")
        status = here.get(f"/apps/annotation-reply/{action}/status/{made['job_id']}").json
        assert status == {"job_id": made["job_id"], "job_status": "completed", "error_msg": ""}
    unknown = (400, "invalid_param", "The job does not exist.")
    assert here.get(f"/apps/annotation-reply/enable/status/{made['job_id']}").error == unknown, (
        "it was the other action"
    )
    assert here.get(f"/apps/annotation-reply/enable/status/{NOBODY}").error == unknown
    here.time.now += 601
    assert here.get(f"/apps/annotation-reply/disable/status/{made['job_id']}").error == unknown


def test_the_setting_is_needed_whole_even_to_switch_it_off():
    said = World().post("/apps/annotation-reply/disable", {})
    assert said.error[2].startswith("3 validation errors for AnnotationReplyActionPayload\nscore_threshold\n")
    assert World().post("/apps/annotation-reply/enable", SETTING | {"score_threshold": "0.5"}).status == 200


def test_an_unknown_action_crashes():
    assert World().post("/apps/annotation-reply/zzz", SETTING).error == (500, "unknown", "Internal Server Error")


def test_annotations_answer_once_they_are_switched_on():
    here = World()
    annotate(here, "What is it?", "That.")
    assert here.chat("what is  IT?").answer != "That."
    here.post("/apps/annotation-reply/enable", SETTING)
    said = here.chat("what is  IT?", stream=True)
    assert said.names == ["message"] * 5 + ["message_end"]
    assert said.answer == "That."
    assert said.events[-1]["metadata"]["annotation_reply"]["id"] == listed(here)["data"][0]["id"]
    assert listed(here)["data"][0]["hit_count"] == 1
    here.post("/apps/annotation-reply/disable", SETTING)
    assert here.chat("what is it?").answer != "That."
