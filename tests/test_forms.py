"""Dify's checks of inputs and files: its texts word for word, and the laws behind them."""

import json
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mockdify.apps import NO_FILES, FileRules, Variable, file_rules, load_app
from mockdify.errors import DifyError
from mockdify.forms import InputFile, check_file, check_files, file_type, input_files, validate

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
RECORDINGS = SHARED / "dify/recordings-1.16.1.jsonl"


@dataclass(frozen=True, kw_only=True)
class Stored:
    id: str = "1dfb8856-0f01-47bc-8c1f-3618bf5142e0"
    name: str = "a.png"
    size: int = 70
    extension: str = "png"
    mime_type: str = "image/png"


PNG = Stored()
LOCAL = {"type": "image", "transfer_method": "local_file", "upload_file_id": PNG.id}
REMOTE = {"type": "image", "transfer_method": "remote_url", "url": "http://host/a.png"}
RULES = FileRules(types=("image",), methods=("remote_url", "local_file"), limit=3, image_limit=3)


def find(upload_id):
    return PNG if upload_id == PNG.id else None


def no_files(variable, mapping):
    raise AssertionError("no file was expected")


def values(form, inputs, files=no_files):
    return validate(form, inputs, files=files)


def refused(call, *arguments, **named):
    with pytest.raises(DifyError) as caught:
        call(*arguments, **named)
    assert (caught.value.status, caught.value.code) == (400, "invalid_param")
    return caught.value.message


def check(rules, files, remote="accept", **named):
    return check_files(rules, files, find_upload=find, remote=remote, **named)


# ---------------------------------------------------------------- as recorded
def generations(area):
    lines = RECORDINGS.read_text("utf-8").split("\n") if RECORDINGS.exists() else []
    for line in filter(None, lines):
        one = json.loads(line)
        export = SHARED / f"dify/apps-1.16/{one['app']}.yml"
        if one["name"].startswith(area) and one["request"]["method"] == "POST" and export.exists():
            try:
                body = json.loads(one["request"].get("body") or "")
            except ValueError:
                continue
            yield one["name"], load_app(export), body, one["response"]


def verdict(response):
    """The text a recorded request was refused with, as an HTTP error or as a run that failed before it began."""
    if "sse" not in response:
        body = json.loads(response["body"])
        return body.get("message") if response["status"] == 400 else None
    last = json.loads(response["sse"].strip().rpartition("data: ")[2])
    return last["data"]["error"] if last["event"] == "workflow_finished" else None


@pytest.mark.skipif(not RECORDINGS.exists(), reason="no recordings of a real Dify beside this checkout")
def test_inputs_and_files_are_refused_as_recorded():
    compared = 0
    for area in (
        "inputs.",
        "chatvars.",
        "files.chat",
        "bad.chatflow.file",
        "bad.chatflow.missing",
        "bad.workflow.missing",
        "wf.files",
    ):
        for name, app, body, response in generations(area):
            met = None
            try:
                values(app.form, body["inputs"])
                check(file_rules(app), body.get("files"), remote="unreachable")
            except DifyError as error:
                met = error.message
            assert met == verdict(response), name
            compared += 1
    assert compared > 30


# ---------------------------------------------------------------- inputs
TOPIC = Variable(name="topic", type="text-input", required=True, max_length=10)
STYLE = Variable(name="style", type="select", options=("formal", "casual"))
COUNT = Variable(name="count", type="number")
FLAG = Variable(name="flag", type="checkbox")
DATA = Variable(name="data", type="json_object")
DOC = Variable(name="doc", type="file", files=RULES)
DOCS = Variable(name="docs", type="file-list", max_length=2, files=RULES)


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        (TOPIC, None, "topic is required in input form"),
        (TOPIC, "x" * 11, "topic in input form must be less than 10 characters"),
        (TOPIC, 5, "(type 'text-input') topic in input form must be a string"),
        (TOPIC, ["x"], "(type 'text-input') topic in input form must be a string"),
        (STYLE, "", "style in input form must be one of the following: ['formal', 'casual']"),
        (STYLE, "zzz", "style in input form must be one of the following: ['formal', 'casual']"),
        (STYLE, 1, "(type 'select') style in input form must be a string"),
        (COUNT, "abc", "count in input form must be a valid number"),
        (COUNT, "1e5", "count in input form must be a valid number"),
        (COUNT, "1.2.3", "count in input form must be a valid number"),
        (FLAG, {"a": 1}, "Invalid input type for ['flag']"),
        (FLAG, [{"a": 1}], "Invalid input type for ['flag']"),
        (DATA, "x", "data in input form must be a dict"),
        (DOC, "x", "doc in input form must be a file"),
        (DOC, {"type": "image"}, "transfer_method is required in file mapping"),
        (DOCS, {}, "docs in input form must be a list of files"),
        (DOCS, ["x"], "docs in input form must be a list of files"),
        (DOCS, [{}, {}, {}], "docs in input form must be less than 2 files"),
    ],
)
def test_a_wrong_input_is_refused_in_difys_words(variable, value, text):
    files = input_files(find_upload=find, remote="accept")
    assert refused(validate, [variable], {variable.name: value}, files=files) == text


@pytest.mark.parametrize(
    ("variable", "value", "kept"),
    [
        (TOPIC, "", ""),
        (TOPIC, "你" * 10, "你" * 10),
        (TOPIC, "a\0b", "ab"),
        (COUNT, "12", 12),
        (COUNT, "1.5", 1.5),
        (COUNT, 1.5, 1.5),
        (COUNT, True, True),
        (COUNT, " ", None),
        (COUNT, None, None),
        (FLAG, "true", True),
        (FLAG, "Off", False),
        (FLAG, 1, True),
        (FLAG, "perhaps", "perhaps"),
        (STYLE, None, None),
        (DATA, {"a": [1]}, {"a": [1]}),
        (DOCS, [], []),
    ],
)
def test_a_right_input_is_kept_as_dify_keeps_it(variable, value, kept):
    met = values([variable], {variable.name: value})
    assert met == {variable.name: kept}
    assert type(met[variable.name]) is type(kept)


def test_a_number_of_another_kind_is_an_unhandled_error():
    with pytest.raises(DifyError) as caught:
        values([COUNT], {"count": []})
    assert (caught.value.status, caught.value.code) == (500, "internal_server_error")


def test_the_first_wrong_variable_of_the_form_is_told_and_files_come_last():
    assert refused(validate, [TOPIC, STYLE], {"style": "zzz"}, files=no_files) == "topic is required in input form"
    assert refused(validate, [DOC, TOPIC], {"doc": {}}, files=no_files) == "topic is required in input form"


def test_an_absent_input_has_its_default_checked_like_any_value():
    number = Variable(name="n", type="number", default="3")
    assert values([number], {}) == {"n": 3}
    assert refused(validate, [Variable(name="s", type="select", default="x")], {}, files=no_files).startswith(
        "s in input form"
    )


def test_file_variables_become_files_and_untold_ones_of_a_list_are_dropped():
    files = input_files(find_upload=find, remote="accept")
    met = validate([DOC, DOCS], {"doc": LOCAL, "docs": [{"type": "image"}, REMOTE]}, files=files)
    assert met["doc"].related_id == PNG.id
    assert [file.url for file in met["docs"]] == ["http://host/a.png"]


# ---------------------------------------------------------------- laws
NAMES = st.sampled_from(["a", "b", "c", "d"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
OPTIONS = st.lists(
    st.text(st.characters(exclude_characters="\0"), min_size=1), min_size=1, max_size=3, unique=True
).map(tuple)
VARIABLES = st.one_of(
    st.builds(
        Variable,
        name=NAMES,
        type=st.sampled_from(["text-input", "paragraph"]),
        required=st.booleans(),
        max_length=st.none() | st.integers(1, 20),
    ),
    st.builds(Variable, name=NAMES, type=st.just("select"), required=st.booleans(), options=OPTIONS),
    st.builds(
        Variable, name=NAMES, type=st.sampled_from(["number", "checkbox", "json_object"]), required=st.booleans()
    ),
)
FORMS = st.lists(VARIABLES, max_size=4, unique_by=lambda variable: variable.name)


def valid(variable):
    match variable.type:
        case "text-input" | "paragraph":
            given_value = st.text(max_size=variable.max_length or 30)
        case "select":
            given_value = st.sampled_from(variable.options)
        case "number":
            given_value = st.integers() | st.floats(allow_nan=False) | st.integers(-9, 9).map(str)
        case "checkbox":
            given_value = st.booleans() | st.text()
        case _:
            given_value = st.dictionaries(st.text(), JSON)
    return given_value if variable.required else st.none() | given_value


@given(st.data(), FORMS)
def test_valid_inputs_always_pass_and_give_exactly_the_form(data, form):
    inputs = {variable.name: data.draw(valid(variable)) for variable in form}
    extra = data.draw(st.dictionaries(st.text(min_size=2), JSON))
    met = values(form, {**extra, **inputs})
    assert list(met) == [variable.name for variable in form]
    assert not any("\0" in value for value in met.values() if isinstance(value, str))


@given(FORMS, st.dictionaries(NAMES, JSON))
def test_any_inputs_are_taken_or_refused_never_more(form, inputs):
    try:
        met = values(form, inputs)
    except DifyError as error:
        assert error.status in (400, 500)  # noqa: PT017
    else:
        assert list(met) == [variable.name for variable in form]
        assert all(
            met[variable.name] is not None for variable in form if variable.required and variable.type != "number"
        )


@given(st.integers(1, 30), st.text(max_size=60))
def test_a_text_is_refused_exactly_when_it_has_more_code_points_than_allowed(limit, text):
    variable = Variable(name="t", max_length=limit)
    if len(text) > limit:
        assert refused(validate, [variable], {"t": text}, files=no_files).endswith(f"less than {limit} characters")
    else:
        assert values([variable], {"t": text}) == {"t": text.replace("\0", "")}


@given(st.data(), FORMS)
def test_checked_values_pass_again_unchanged(data, form):
    optional = [replace(variable, required=False) for variable in form]
    once = values(optional, {variable.name: data.draw(valid(variable)) for variable in optional})
    assert values(optional, once) == once


# ---------------------------------------------------------------- files
@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ({**LOCAL, "upload_file_id": str(uuid.UUID(int=7))}, "Invalid upload file"),
        ({**LOCAL, "upload_file_id": "xyz"}, "Invalid upload file id format"),
        ({**LOCAL, "upload_file_id": None}, "Invalid upload file id"),
        ({**LOCAL, "type": "zzz"}, "'zzz' is not a valid FileType"),
        ({**LOCAL, "type": "document"}, "File validation failed for file: a.png"),
        ({**LOCAL, "transfer_method": "zzz"}, "'zzz' is not a valid FileTransferMethod"),
        ({**LOCAL, "transfer_method": ["zzz"]}, "['zzz'] is not a valid FileTransferMethod"),
        ({**LOCAL, "transfer_method": "tool_file", "tool_file_id": "t"}, "ToolFile t not found"),
        ({"transfer_method": "local_file", "upload_file_id": PNG.id}, "File validation failed for file: a.png"),
    ],
)
def test_a_wrong_file_is_refused_in_difys_words(mapping, text):
    assert refused(check, RULES, [mapping]) == text


def test_a_transfer_method_is_refused_in_the_words_of_its_release():
    wrong = [{**LOCAL, "transfer_method": "zzz"}]
    assert refused(check, RULES, wrong, named_methods=False) == "No matching enum found for value 'zzz'"


def test_entries_without_method_or_address_are_skipped():
    assert (
        check(
            RULES, [{}, {"type": "image", "upload_file_id": PNG.id}, {"type": "image", "transfer_method": "remote_url"}]
        )
        == []
    )


def test_files_are_ignored_by_an_app_that_takes_none():
    assert check(NO_FILES, [{"transfer_method": "zzz"}]) == []
    assert check(RULES, None) == []


@given(st.integers(0, 8), st.integers(0, 5), st.integers(0, 5))
def test_there_are_never_more_files_than_the_limits(count, limit, image_limit):
    rules = FileRules(limit=limit, image_limit=image_limit)
    if image_limit and count > image_limit:
        assert (
            refused(check, rules, [LOCAL] * count) == f"Number of image files exceeds the maximum limit {image_limit}"
        )
    elif limit and count > limit:
        assert refused(check, rules, [LOCAL] * count) == f"Number of files exceeds the maximum limit {limit}"
    else:
        assert len(check(rules, [LOCAL] * count)) == count


def test_an_upload_is_found_by_its_id_in_any_spelling():
    (file,) = check(RULES, [{**LOCAL, "upload_file_id": PNG.id.upper().replace("-", "")}])
    assert (file.type, file.name, file.extension, file.size, file.related_id) == ("image", "a.png", ".png", 70, PNG.id)


def test_a_remote_file_is_named_by_its_address_and_never_fetched():
    (file,) = check(RULES, [{**REMOTE, "url": "http://host/x/%E4%BD%A0.png?a=b"}])
    assert file == InputFile(
        type="image",
        transfer_method="remote_url",
        name="你.png",
        extension=".png",
        mime_type="image/png",
        size=-1,
        url="http://host/x/%E4%BD%A0.png?a=b",
    )


def test_a_remote_file_is_unreachable_where_the_server_has_no_network():
    assert (
        refused(check, RULES, [REMOTE], remote="unreachable") == "Reached maximum retries (3) for URL http://host/a.png"
    )


def test_a_strict_app_wants_the_type_that_it_finds():
    told = "Detected file type does not match the specified type. Please verify the file."
    either = FileRules(types=("image", "document"))
    assert refused(check, either, [{**LOCAL, "type": "document"}], strict=True) == told
    assert refused(check, either, [{**REMOTE, "type": "document"}], strict=True) == told
    assert check(either, [{**LOCAL, "type": "document"}])[0].type == "document"


def test_a_custom_file_needs_its_extension_allowed():
    rules = FileRules(types=("custom",), extensions=(".PNG", "pdf"))
    custom = {**LOCAL, "type": "custom"}
    assert check_file(rules, custom, find_upload=find, remote="accept").type == "image"
    assert refused(check, FileRules(extensions=("pdf",)), [custom]) == "File validation failed for file: a.png"


@pytest.mark.parametrize(
    ("extension", "mime_type", "found"),
    [
        ("png", "", "image"),
        (".PDF", "", "document"),
        ("mp3", "video/mp4", "audio"),
        ("xyz", "video/mp4", "video"),
        ("", "", "custom"),
    ],
)
def test_the_type_of_a_file_is_found_by_extension_then_mime_type(extension, mime_type, found):
    assert file_type(extension, mime_type) == found


def test_an_upload_id_that_is_no_text_is_an_unhandled_error():
    with pytest.raises(DifyError) as caught:
        check(RULES, [{**LOCAL, "upload_file_id": 5}])
    assert caught.value.status == 500


MAPPINGS = st.dictionaries(
    st.sampled_from(["type", "transfer_method", "upload_file_id", "url"]),
    st.sampled_from(["image", "custom", "local_file", "remote_url", "tool_file", PNG.id, "http://[x", "http://h/a.pdf"])
    | JSON,
)


@given(st.lists(MAPPINGS, max_size=4), st.booleans())
def test_any_files_are_taken_or_refused_never_more(mappings, strict):
    try:
        met = check(RULES, mappings, strict=strict)
    except DifyError as error:
        assert error.status in (400, 500)  # noqa: PT017
    else:
        assert len(met) <= min(3, len(mappings))
        assert all(file.type in ("image", "document", "audio", "video", "custom") for file in met)
