"""Request models: what pydantic 2.12 takes, what it makes of it, and its words for what it refuses.

The texts were recorded, and compared with pydantic itself over some hundred thousand values.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import NOBODY

from mockdify import payloads
from mockdify.errors import UNHANDLED, DifyError
from mockdify.payloads import Schema

SCHEMAS = [one for one in vars(payloads).values() if isinstance(one, Schema)]
DOCS = "    For further information visit https://errors.pydantic.dev/2.12/v/"


def refused(schema, raw):
    with pytest.raises(DifyError) as caught:
        schema.take(raw)
    assert (caught.value.status, caught.value.code) == (400, "invalid_param")
    return caught.value.message


def told(schema, raw, field):
    """(type, text) of the one error of *field*."""
    lines = refused(schema, raw).split("\n")
    text, _, rest = lines[lines.index(field) + 1].strip().rpartition(" [type=")
    return rest.partition(",")[0], text


# ---------------------------------------------------------------------- whole texts
def test_one_error_is_told_with_its_field_its_value_and_a_link():
    assert refused(payloads.CHAT, {"query": "hi", "user": "alice", "response_mode": "blocking"}) == (
        "1 validation error for ChatRequestPayload\n"
        "inputs\n"
        "  Field required [type=missing, input_value={'query': 'hi', 'user': '...ponse_mode': 'blocking'}, "
        "input_type=dict]\n"
        f"{DOCS}missing"
    )


def test_all_errors_are_told_at_once_in_the_model_s_order():
    assert refused(payloads.CHAT, {"response_mode": "y", "inputs": "x", "query": "hi"}) == (
        "2 validation errors for ChatRequestPayload\n"
        "inputs\n"
        "  Input should be a valid dictionary [type=dict_type, input_value='x', input_type=str]\n"
        f"{DOCS}dict_type\n"
        "response_mode\n"
        "  Input should be 'blocking' or 'streaming' [type=literal_error, input_value='y', input_type=str]\n"
        f"{DOCS}literal_error"
    )


def test_every_bad_item_of_a_list_is_told_with_its_place():
    assert refused(payloads.CHAT, {"inputs": {}, "query": "hi", "files": [{}, "x", None, {}, [1]]}) == (
        "3 validation errors for ChatRequestPayload\n"
        "files.1\n"
        "  Input should be a valid dictionary [type=dict_type, input_value='x', input_type=str]\n"
        f"{DOCS}dict_type\n"
        "files.2\n"
        "  Input should be a valid dictionary [type=dict_type, input_value=None, input_type=NoneType]\n"
        f"{DOCS}dict_type\n"
        "files.4\n"
        "  Input should be a valid dictionary [type=dict_type, input_value=[1], input_type=list]\n"
        f"{DOCS}dict_type"
    )


def test_an_error_of_the_whole_has_no_field():
    assert refused(payloads.RENAME, {}) == (
        "1 validation error for ConversationRenamePayload\n"
        "  Value error, name is required when auto_generate is false "
        "[type=value_error, input_value={}, input_type=dict]\n"
        f"{DOCS}value_error"
    )


def test_an_error_of_a_field_goes_before_one_of_the_whole():
    assert refused(payloads.RENAME, {"auto_generate": "zzz"}).startswith(
        "1 validation error for ConversationRenamePayload\nauto_generate\n"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 48, repr("x" * 48)),
        ("x" * 49, f"'{'x' * 24}...{'x' * 23}'"),
        ("é" * 24, repr("é" * 24)),
        ("é" * 25, f"'{'é' * 12}...{'é' * 11}'"),
        ("🙂" * 20, f"'{'🙂' * 6}...{'🙂' * 5}'"),
    ],
)
def test_a_long_value_loses_its_middle_beyond_50_bytes_between_characters(value, shown):
    assert f"input_value={shown}, input_type=str" in refused(payloads.CHAT, {"inputs": value, "query": "hi"})


# ---------------------------------------------------------------------- coercions
WHOLE = "Input should be a valid integer, unable to parse string as an integer"


@pytest.mark.parametrize(
    ("given_", "taken"),
    [("5", 5), (" 5\n", 5), ("+5", 5), ("005", 5), ("5.0", 5), ("5.000", 5), ("1_0", 10), (5, 5), (5.0, 5), (True, 1)],
)
def test_these_are_whole_numbers(given_, taken):
    assert payloads.CONVERSATIONS.take({"limit": given_})["limit"] == taken


@pytest.mark.parametrize(
    ("given_", "kind", "text"),
    [
        *[
            (odd, "int_parsing", WHOLE)
            for odd in ("", "abc", "1.5", "5.", ".5", "1e1", "0x5", "1__0", "_1", "1_", "٣", "5 5", "5\x1f", "nan")
        ],
        ("0", "greater_than_equal", "Input should be greater than or equal to 1"),
        ("-1", "greater_than_equal", "Input should be greater than or equal to 1"),
        ("101", "less_than_equal", "Input should be less than or equal to 100"),
        ("9" * 30, "less_than_equal", "Input should be less than or equal to 100"),
        ("9" * 5000, "int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size"),
        (1e19, "int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size"),
        (1.5, "int_from_float", "Input should be a valid integer, got a number with a fractional part"),
        (float("inf"), "finite_number", "Input should be a finite number"),
        (None, "int_type", "Input should be a valid integer"),
        ([], "int_type", "Input should be a valid integer"),
        ({}, "int_type", "Input should be a valid integer"),
    ],
)
def test_these_are_none(given_, kind, text):
    assert told(payloads.CONVERSATIONS, {"limit": given_}, "limit") == (kind, text)


@pytest.mark.parametrize("word", ["1", "on", "t", "true", "y", "yes", "TRUE", "Yes", 1, 1.0, True])
def test_these_are_true(word):
    assert payloads.PREVIEW.take({"as_attachment": word})["as_attachment"] is True


@pytest.mark.parametrize("word", ["0", "off", "f", "false", "n", "no", "False", 0, 0.0, -0.0, False])
def test_these_are_false(word):
    assert payloads.PREVIEW.take({"as_attachment": word})["as_attachment"] is False


@pytest.mark.parametrize("word", ["zzz", "", " true", "2", "1.0", 2, -1, 2.0])
def test_these_are_no_boolean_that_can_be_read(word):
    kind, text = told(payloads.PREVIEW, {"as_attachment": word}, "as_attachment")
    assert (kind, text) == ("bool_parsing", "Input should be a valid boolean, unable to interpret input")


@pytest.mark.parametrize("word", [None, [], {}, 1.5, 1e300, 2**63])
def test_these_are_no_boolean_at_all(word):
    assert told(payloads.PREVIEW, {"as_attachment": word}, "as_attachment") == (
        "bool_type",
        "Input should be a valid boolean",
    )


SETTING = {"embedding_provider_name": "p", "embedding_model_name": "m"}


@pytest.mark.parametrize(
    ("given_", "taken"),
    [("0.5", 0.5), (" 1e-5 ", 1e-5), (".5", 0.5), ("5.", 5.0), ("1_0", 10.0), (1, 1.0), (True, 1.0)],
)
def test_these_are_numbers(given_, taken):
    assert payloads.ANNOTATION_REPLY.take(SETTING | {"score_threshold": given_})["score_threshold"] == taken


@pytest.mark.parametrize(
    ("given_", "kind"),
    [
        ("abc", "float_parsing"),
        ("", "float_parsing"),
        ("٣", "float_parsing"),
        ("1.5\x1f", "float_parsing"),
        (None, "float_type"),
        ([], "float_type"),
    ],
)
def test_these_are_no_numbers(given_, kind):
    assert told(payloads.ANNOTATION_REPLY, SETTING | {"score_threshold": given_}, "score_threshold")[0] == kind


@pytest.mark.parametrize("value", [5, 1.5, True, None, [], {}])
def test_nothing_but_text_is_text(value):
    assert told(payloads.ANNOTATION, {"question": value, "answer": "a"}, "question") == (
        "string_type",
        "Input should be a valid string",
    )


@pytest.mark.parametrize("mode", ["STREAMING", "chunky", "", 1, [], {}, True])
def test_a_closed_set_takes_its_words_alone(mode):
    raw = {"inputs": {}, "query": "hi", "response_mode": mode}
    assert told(payloads.CHAT, raw, "response_mode") == ("literal_error", "Input should be 'blocking' or 'streaming'")


def test_three_words_and_more_are_listed_with_commas():
    text = "Input should be 'created_at', '-created_at', 'updated_at' or '-updated_at'"
    assert told(payloads.CONVERSATIONS, {"sort_by": "name"}, "sort_by") == ("literal_error", text)
    text = "Input should be 'succeeded', 'failed' or 'stopped'"
    assert told(payloads.WORKFLOW_LOGS, {"status": ""}, "status") == ("literal_error", text)


# ---------------------------------------------------------------------- ids
@pytest.mark.parametrize(
    "spelling", [NOBODY, NOBODY.upper(), NOBODY.replace("-", ""), f"{{{NOBODY}}}", f"urn:uuid:{NOBODY}"]
)
def test_an_id_is_taken_in_any_spelling_and_normalised(spelling):
    assert payloads.CONVERSATIONS.take({"last_id": spelling})["last_id"] == NOBODY
    assert (
        payloads.CHAT.take({"inputs": {}, "query": "x", "conversation_id": f" {spelling} "})["conversation_id"]
        == NOBODY
    )


def test_an_empty_id_is_none_and_a_blank_one_only_in_a_chat():
    assert payloads.MESSAGES.take({"conversation_id": "", "first_id": ""})["conversation_id"] is None
    assert payloads.CHAT.take({"inputs": {}, "query": "x", "conversation_id": "  "})["conversation_id"] is None
    assert told(payloads.MESSAGES, {"conversation_id": "  "}, "conversation_id") == (
        "value_error",
        "Value error, must be a valid UUID",
    )


def test_the_chat_names_the_id_that_is_wrong():
    raw = {"inputs": {}, "query": "x", "conversation_id": "xyz"}
    assert told(payloads.CHAT, raw, "conversation_id") == (
        "value_error",
        "Value error, conversation_id must be a valid UUID",
    )


@pytest.mark.parametrize("value", [5, True, [1], {"a": 1}, 1.5])
def test_a_conversation_id_of_another_type_crashes_whatever_else_is_wrong(value):
    with pytest.raises(DifyError) as caught:
        payloads.CHAT.take({"conversation_id": value})
    assert caught.value is UNHANDLED


# ---------------------------------------------------------------------- laws
@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda one: one.name)
def test_every_field_has_its_value_in_the_end_and_unknown_ones_are_dropped(schema):
    needed = {name: _sound(schema, name) for name, field in schema.fields.items() if field.required}
    if schema is payloads.RENAME:
        needed["name"] = "x"
    taken = schema.take({**needed, "user": "alice", "zzz": 1})
    assert list(taken) == list(schema.fields)


def _sound(schema, name):
    for value in ({}, "", 0.5):
        try:
            schema.fields[name].kind(value)
        except Exception:  # noqa: BLE001 - looking for a value that passes
            continue
        return value
    raise AssertionError(name)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(SCHEMAS), st.data())
def test_whatever_comes_is_taken_or_refused_in_order(schema, data):
    values = st.text(max_size=60) if schema.name.endswith("Query") else json_values
    raw = data.draw(st.dictionaries(st.sampled_from([*schema.fields, "user"]), values))
    try:
        schema.take(raw)
    except DifyError as error:
        if error is UNHANDLED:
            return
        first, *lines = error.message.split("\n")
        count = int(first.split()[0])
        assert first == f"{count} validation error{'s' * (count > 1)} for {schema.name}"
        assert sum(line.startswith(DOCS) for line in lines) >= count
        json.dumps(error.message).encode("ascii")
