"""Releases as data: every difference is one row with words, and each is met in behaviour somewhere."""

from __future__ import annotations

from dataclasses import fields

import pytest
from support import SHARED

from mockdify.errors import MockdifyError
from mockdify.profiles import PROFILES, Profile, differences, profile_named

NEW, OLD = PROFILES["1.16"], PROFILES["1.13"]


def test_the_default_is_the_newest_release():
    assert (NEW.name, NEW.version, OLD.version) == ("1.16", "1.16.1", "1.13.2")
    assert Profile(name="1.16") == NEW


@pytest.mark.parametrize(
    ("asked", "found"), [("1.16", "1.16"), ("1.16.1", "1.16"), ("1.13", "1.13"), ("1.13.0", "1.13")]
)
def test_a_release_is_found_by_its_first_two_numbers(asked, found):
    assert profile_named(asked).name == found


@pytest.mark.parametrize("asked", ["1.12", "2", "", "newest"])
def test_an_unknown_release_is_told_with_those_there_are(asked):
    with pytest.raises(MockdifyError, match=r"there are: 1\.16, 1\.13"):
        profile_named(asked)


def test_every_row_has_words_and_a_release_that_brought_it():
    rows = [one for one in fields(Profile) if one.metadata]
    assert len(rows) > 25
    for row in rows:
        assert row.metadata["words"], row.name
        assert row.metadata["since"].count(".") == 2, row.name
        assert len(row.metadata["words"]) < 100, row.name
    assert [one.name for one in fields(Profile) if not one.metadata] == ["name", "title", "env"]


def test_every_row_differs_between_two_profiles():
    """A row that no profile needs is not a difference."""
    others = [profile for profile in PROFILES.values() if profile is not NEW]
    needed = {words for other in others for words, *_ in differences(NEW, other)}
    assert needed == {one.metadata["words"] for one in fields(Profile) if one.metadata}


def test_the_two_releases_differ_in_more_than_thirty_rows():
    assert len(differences(NEW, OLD)) > 30


def test_differences_run_both_ways_and_a_release_differs_from_itself_in_nothing():
    assert differences(NEW, NEW) == []
    assert [(words, b, a) for words, a, b in differences(NEW, OLD)] == differences(OLD, NEW)


def test_both_releases_order_the_same_system_variables():
    assert sorted(NEW.system_variables) == sorted(OLD.system_variables)


@pytest.mark.skipif(not (SHARED / "dify").exists(), reason="the document of differences is not beside this checkout")
def test_what_is_known_to_differ_in_the_app_api_has_a_row():
    """Words of the document's tables that stand for a difference, and the row that brings each."""
    document = (SHARED / "dify" / "diff-1.16.1-vs-1.13.2.md").read_text("utf-8")
    rows = {
        "from_variable_selector": "message_selector",
        "message_end.files": "end_files",
        "annotation_reply absent": "lean_stream_metadata",
        "start node": "lean_start_node",
        "model_provider": "model_in_llm_inputs",
        "rate_limit_error": "streamed_rate_limit",
        "Aborted: User requested stop": "stop_error",
        "Stop by another user": "stop_by_anyone",
        "Annotation not found": "annotations_by_app",
        "speech_to_text_disabled": "speech_disabled",
        "no_audio_uploaded": "no_audio",
        "is not a valid FileTransferMethod": "named_enums",
        "message_tokens": "message_accounting",
        "input_placeholder": "site_input_placeholder",
        "sensitive_word_avoidance": "lean_word_avoidance",
    }
    for words, row in rows.items():
        assert words in document
        assert getattr(NEW, row) != getattr(OLD, row)
