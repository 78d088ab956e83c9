"""Uploads, previews, files of questions, speech."""

import pytest
from support import NOBODY, START, World, easy_app, form_of, graph_app, start_input, text_input

MB = 1024 * 1024
IMAGES = {
    "enabled": True,
    "allowed_file_types": ["image"],
    "allowed_file_upload_methods": ["local_file", "remote_url"],
    "number_limits": 3,
}
ALICE = ("user", "alice")


def file(name="a.png", kind="image/png", data=b"\x89PNG", field="file"):
    return (field, name, kind, data)


def upload(here, *parts, app="chat"):
    return here.post("/files/upload", form=form_of(*parts), app=app)


# ---------------------------------------------------------------------- upload
def test_an_upload_is_a_201_with_its_record():
    here = World()
    said = upload(here, ALICE, file("ü 你.PNG"))
    assert said.status == 201
    assert list(said.json) == [
        "id",
        "reference",
        "name",
        "size",
        "extension",
        "mime_type",
        "created_by",
        "created_at",
        "preview_url",
        "source_url",
        "original_url",
        "user_id",
        "tenant_id",
        "conversation_id",
        "file_key",
    ]
    shown = said.json
    assert (shown["name"], shown["size"], shown["extension"], shown["mime_type"]) == ("ü 你.PNG", 4, "png", "image/png")
    assert (shown["created_at"], shown["tenant_id"]) == (int(START), here.workspace.tenant_id)
    assert here.get(f"/end-users/{shown['created_by']}").json["session_id"] == "alice"
    assert "reference" not in upload(World(profile="1.13"), ALICE, file()).json


@pytest.mark.parametrize(
    "part",
    [
        file("a.xyz", "application/x-xyz"),
        file("setup.exe", "application/octet-stream"),
        file("README", "text/plain"),
        file("a.svg", "image/svg+xml"),
        file("a.png", "text/plain"),
        file("a.txt", "text/plain", b""),
        file("archive.tar.gz", "application/gzip"),
    ],
)
def test_any_kind_of_file_is_kept_by_any_app(part):
    for app in ("chat", "completion", "workflow"):
        said = upload(World(), ALICE, part, app=app)
        assert said.status == 201
        assert said.json["size"] == len(part[3])
        assert said.json["extension"] == (part[1].rpartition(".")[2] if "." in part[1] else "")


def test_parameters_of_a_part_s_type_are_dropped():
    assert upload(World(), ALICE, file("a.txt", "Text/Plain; charset=utf-8")).json["mime_type"] == "text/plain"


@pytest.mark.parametrize(
    ("parts", "status", "code", "message"),
    [
        ([ALICE], 400, "no_file_uploaded", "Please upload your file."),
        ([ALICE, file(field="upload")], 400, "no_file_uploaded", "Please upload your file."),
        ([ALICE, ("file", "only text")], 400, "no_file_uploaded", "Please upload your file."),
        ([file(), file(field="other")], 400, "too_many_files", "Only one file is allowed."),
        ([file(kind=None)], 415, "unsupported_file_type", "File type not allowed."),
        ([file(kind="")], 415, "unsupported_file_type", "File type not allowed."),
        ([file("", None)], 415, "unsupported_file_type", "File type not allowed."),
        ([file("")], 400, "filename_not_exists_error", "The specified filename does not exist."),
        ([file("a/b.png")], 400, "invalid_param", "Filename contains invalid characters"),
        ([file("a\\\\b.png")], 400, "invalid_param", "Filename contains invalid characters"),
    ],
)
def test_a_form_without_one_good_file_is_refused_in_this_order(parts, status, code, message):
    assert upload(World(), *parts).error == (status, code, message)


def test_of_two_parts_of_one_name_the_first_is_kept():
    assert upload(World(), file("first.png"), file("second.png")).json["name"] == "first.png"


@pytest.mark.parametrize("body", [None, {"user": "alice"}, b""])
def test_what_is_no_form_has_no_file(body):
    assert World().post("/files/upload", body).error == (400, "no_file_uploaded", "Please upload your file.")


@pytest.mark.parametrize(("name", "limit"), [("a.png", 10), ("a.mp3", 50), ("a.txt", 15), ("a.zip", 15), ("none", 15)])
def test_each_kind_of_file_has_its_limit(name, limit):
    here = World()
    assert upload(here, file(name, "x/y", bytes(limit * MB))).status == 201
    assert upload(here, file(name, "x/y", bytes(limit * MB + 1))).error == (413, "file_too_large", "")


def test_the_text_of_a_file_too_large_differs_by_release():
    here = World(profile="1.13")
    assert upload(here, file("a.txt", "x/y", bytes(15 * MB + 1))).error[2] == "File size exceeded. {message}"


def test_without_a_user_the_shared_one_owns_the_file():
    here = World()
    owners = [
        upload(here, *user, file()).json["created_by"] for user in ([], [("user", "")], [("user", "DEFAULT-USER")])
    ]
    assert len(set(owners)) == 1


def test_the_source_url_serves_the_file_to_whoever_has_it():
    here = World()
    url = upload(here, ALICE, file()).json["source_url"]
    path = url.removeprefix("http://test")
    said = here.get(f"/{path}", app=None)
    assert (said.status, said.body, said.type) == (200, b"\x89PNG", "image/png")
    assert here.get(f"/{path[:-4]}AAAA", app=None).status == 404


# ---------------------------------------------------------------------- files of a question
def chat_with_images():
    here = World(easy_app(file_upload=IMAGES), easy_app("other", file_upload=IMAGES))
    made = here.upload().json["id"]
    return here, {"type": "image", "transfer_method": "local_file", "upload_file_id": made}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upload_file_id": NOBODY}, "Invalid upload file"),
        ({"upload_file_id": "xyz"}, "Invalid upload file id format"),
        ({"upload_file_id": None}, "Invalid upload file id"),
        ({"upload_file_id": ""}, "Invalid upload file id"),
        ({"type": "zzz"}, "'zzz' is not a valid FileType"),
        ({"type": "document"}, "File validation failed for file: a.png"),
        ({"type": None}, "File validation failed for file: a.png"),
        ({"transfer_method": "zzz"}, "'zzz' is not a valid FileTransferMethod"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_file_that_the_app_does_not_take_is_a_400(change, message, stream):
    here, good = chat_with_images()
    assert here.chat(files=[good | change], stream=stream).error == (400, "invalid_param", message)


def test_1_13_names_an_unknown_method_otherwise():
    here = World(easy_app(file_upload=IMAGES), profile="1.13")
    said = here.chat(files=[{"type": "image", "transfer_method": "zzz"}])
    assert said.error[2] == "No matching enum found for value 'zzz'"


def test_more_images_than_allowed_are_refused():
    here, good = chat_with_images()
    assert here.chat(files=[good] * 3).status == 200
    assert here.chat(files=[good] * 4).error[2] == "Number of image files exceeds the maximum limit 3"


@pytest.mark.parametrize(
    "ignored",
    [
        {"type": "image", "upload_file_id": NOBODY},
        {"type": "image", "transfer_method": "remote_url"},
        {"type": "image", "transfer_method": "remote_url", "url": ""},
        {},
    ],
)
def test_a_file_without_a_method_or_an_address_is_dropped(ignored):
    here, _ = chat_with_images()
    assert here.chat(files=[ignored]).status == 200


def test_an_app_without_uploads_ignores_files():
    assert World(easy_app()).chat(files=[{"type": "zzz", "transfer_method": "zzz"}]).status == 200


@pytest.mark.parametrize(("remote", "status"), [("accept", 200), ("unreachable", 400)])
def test_remote_files_are_taken_or_out_of_reach(remote, status):
    here = World(easy_app(file_upload=IMAGES), remote_files=remote)
    said = here.chat(files=[{"type": "image", "transfer_method": "remote_url", "url": "http://x.invalid/a.png"}])
    assert said.status == status
    if status == 400:
        assert said.error[2] == "Reached maximum retries (3) for URL http://x.invalid/a.png"


def test_a_message_lists_its_files():
    here, good = chat_with_images()
    known = here.chat(files=[good]).json["conversation_id"]
    (message,) = here.get(f"/messages?user=alice&conversation_id={known}").json["data"]
    (shown,) = message["message_files"]
    assert list(shown) == [
        "id",
        "filename",
        "type",
        "url",
        "mime_type",
        "size",
        "transfer_method",
        "belongs_to",
        "upload_file_id",
    ]
    assert (shown["filename"], shown["belongs_to"], shown["upload_file_id"]) == (
        "a.png",
        "user",
        good["upload_file_id"],
    )


def test_a_workflow_s_files_must_be_what_they_say():
    app = graph_app(variables=[start_input("doc", "file", allowed_file_types=["image", "document"], required=True)])
    here = World(app)
    made = here.upload(app="workflow").json["id"]
    doc = {"type": "document", "transfer_method": "local_file", "upload_file_id": made}
    said = here.run({"doc": doc})
    assert said.error[2] == "Detected file type does not match the specified type. Please verify the file."
    assert here.run({"doc": doc | {"type": "image"}}).status == 200
    assert here.run({"doc": "x"}).error[2] == "doc in input form must be a file"
    assert here.run({}).error[2] == "doc is required in input form"


# ---------------------------------------------------------------------- preview
def test_a_file_is_previewed_once_a_message_of_the_app_uses_it():
    here, good = chat_with_images()
    path = f"/files/{good['upload_file_id']}/preview"
    unused = (404, "file_not_found", "File not found in message context")
    assert here.get(path).error == unused
    assert here.get(f"/files/{NOBODY}/preview").error == unused
    here.chat(files=[good])
    for asked in (path, f"{path}?user=bob", path.upper().replace("/FILES", "/files").replace("/PREVIEW", "/preview")):
        said = here.get(asked)
        assert (said.status, said.body, said.type) == (200, b"\x89PNG", "image/png")
        assert said.headers["Cache-Control"] == "public, max-age=3600"
    denied = (403, "file_access_denied", "File access denied: not owned by requesting app")
    assert here.get(path, app="other").error == denied


@pytest.mark.parametrize("flag", ["true", "1", "yes", "on", "T"])
def test_as_attachment_makes_a_download_of_it(flag):
    here, good = chat_with_images()
    here.chat(files=[good])
    said = here.get(f"/files/{good['upload_file_id']}/preview?as_attachment={flag}")
    assert said.type == "application/octet-stream"
    assert said.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.png"


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        ("a.txt", "text/plain", "text/plain; charset=utf-8"),
        ("a.html", "text/html", "application/octet-stream"),
        ("a.htm", "text/plain", "application/octet-stream"),
        ("a.svg", "image/svg+xml", "image/svg+xml; charset=utf-8"),
        ("a.pdf", "application/pdf", "application/pdf"),
    ],
)
def test_a_preview_has_the_file_s_type_but_html_is_only_downloaded(name, kind, shown):
    here = World(easy_app(file_upload=IMAGES | {"allowed_file_types": ["image", "document"]}))
    made = upload(here, ALICE, file(name, kind)).json["id"]
    what = "image" if name.endswith("svg") else "document"
    said = here.chat(files=[{"type": what, "transfer_method": "local_file", "upload_file_id": made}])
    assert said.status == 200
    assert here.get(f"/files/{made}/preview").type == shown


# ---------------------------------------------------------------------- speech
WAV = file("a.wav", "audio/wav", b"RIFF")


def speak(here, *parts, app="chat"):
    return here.post("/audio-to-text", form=form_of(*parts), app=app)


def test_speech_becomes_text():
    said = speak(World(), ALICE, WAV)
    assert (said.status, list(said.json)) == (200, ["text"])
    assert said.json["text"]


@pytest.mark.parametrize(
    "kind", ["audio/mp3", "audio/m4a", "audio/wav", "audio/amr", "audio/mpga", "audio/wav; codecs=1"]
)
def test_these_types_are_speech(kind):
    assert speak(World(), file("a.wav", kind, b"x")).status == 200


@pytest.mark.parametrize("kind", ["audio/mpeg", "audio/ogg", "text/plain", None])
def test_other_types_are_not(kind):
    error = (415, "unsupported_audio_type", "Audio type not allowed.")
    assert speak(World(), file("a.wav", kind, b"x")).error == error


def test_speech_is_at_most_30_mb():
    here = World()
    assert speak(here, file("a.wav", "audio/wav", bytes(30 * MB))).status == 200
    assert speak(here, file("a.wav", "audio/wav", bytes(30 * MB + 1))).error[:2] == (413, "audio_too_large")


def test_where_speech_is_off_1_16_says_so_before_it_looks_for_the_file_and_1_13_after():
    new, old = World(easy_app()), World(easy_app(), profile="1.13")
    assert speak(new, ALICE).error == (400, "speech_to_text_disabled", "Speech to text is disabled.")
    assert speak(new, ALICE, file("a.txt", "text/plain")).error[1] == "speech_to_text_disabled"
    assert speak(old, ALICE, WAV).error == (400, "invalid_param", "Speech to text is not enabled")
    assert speak(old, ALICE).error[1] == "bad_request_key_error"


def test_no_speech_at_all_is_told_by_release():
    assert speak(World(), ALICE).error == (400, "no_audio_uploaded", "Please upload your audio.")
    said = speak(World(profile="1.13"), ALICE)
    text = "The browser (or proxy) sent a request that this server could not understand."
    assert said.error == (400, "bad_request_key_error", text)


def test_text_becomes_speech_in_chunks():
    said = World().post("/text-to-audio", {"text": "hello", "user": "alice", "voice": "nope"})
    assert (said.status, said.type) == (200, "audio/mpeg")
    assert said.steps[0].length is None, "chunked"
    assert said.body.startswith(b"\xff\xfb")


def test_a_message_s_answer_becomes_speech_and_an_unknown_one_null():
    here = World()
    message = here.chat().json["message_id"]

    def spoken(**asked):
        return here.post("/text-to-audio", {"user": "alice", **asked})

    assert spoken(message_id=message).type == "audio/mpeg"
    assert spoken(message_id=message, text="ignored").type == "audio/mpeg"
    for unknown in (NOBODY, "xyz"):
        said = spoken(message_id=unknown, text="ignored")
        assert (said.status, said.body, said.type) == (200, b"null\n", "application/json")


def test_neither_text_nor_message_is_told_before_speech_is_off():
    here = World(easy_app())
    assert here.post("/text-to-audio", {"user": "alice"}).error == (400, "invalid_param", "Text is required")
    assert here.post("/text-to-audio", {"user": "alice", "text": ""}).error[2] == "TTS is not enabled"


def test_inputs_of_forms_are_checked_alike_in_every_kind_of_app():
    easy = [text_input("topic", max_length=3, required=True)]
    start = [start_input("topic", max_length=3, required=True)]
    here = World(
        easy_app("chat", form=easy),
        easy_app("completion", "completion", form=easy),
        graph_app("chatflow", "advanced-chat", variables=start),
        graph_app("workflow", variables=start),
    )
    for inputs, message in (
        ({}, "topic is required in input form"),
        ({"topic": None}, "topic is required in input form"),
        ({"topic": "字字字字"}, "topic in input form must be less than 3 characters"),
        ({"topic": 5}, "(type 'text-input') topic in input form must be a string"),
    ):
        said = [
            here.chat(inputs=inputs),
            here.complete(inputs=inputs),
            here.chat(inputs=inputs, app="chatflow"),
            here.run(inputs),
        ]
        assert [one.error for one in said] == [(400, "invalid_param", message)] * 4
    for inputs in ({"topic": ""}, {"topic": "字字字", "unknown": {"a": [1]}}):
        assert here.chat(inputs=inputs).status == here.run(inputs).status == here.complete(inputs=inputs).status == 200
