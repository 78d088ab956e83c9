"""Apps from Dify's exports: everything loads, and says about itself what the real Dify said."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mockdify.apps import (
    NO_FILES,
    ConversationVariable,
    FileRules,
    ModelRef,
    Moderation,
    Tool,
    default_key,
    file_rules,
    info,
    load_app,
    meta,
    parameters,
    parse_app,
    site,
)
from mockdify.apps.about import SYSTEM_LIMITS
from mockdify.documents import parse_yaml
from mockdify.errors import MockdifyError

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
EXPORTS = sorted(SHARED.glob("dsl/*.yml")) + sorted(SHARED.glob("dify/apps-*/*.yml"))
needs_shared = pytest.mark.skipif(not EXPORTS, reason="no exports of a real Dify beside this checkout")

CHAT = """\
app: {mode: chat, name: Title}
model_config: {}
"""
FLOW = """\
app: {mode: workflow, name: Flow}
workflow:
  features: {}
  graph:
    nodes:
    - data: {type: start, variables: []}
"""


def app(text, name="x"):
    return parse_app(text, name=name, source="x.yml")


def mistake(text):
    with pytest.raises(MockdifyError) as caught:
        app(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- real exports
@needs_shared
def test_every_export_of_a_real_dify_loads():
    for path in EXPORTS:
        loaded = load_app(path)
        assert loaded.name == path.stem
        assert loaded.is_graph == (loaded.workflow is not None)
        assert next(iter(parameters(loaded))) == "opening_statement"
        assert info(loaded)["mode"] == loaded.mode
        assert isinstance(meta(loaded)["tool_icons"], dict)
        assert site(loaded)["title"] == loaded.title


def recorded(release):
    path = SHARED / f"dify/recordings-{release}.jsonl"
    folder = SHARED / f"dify/apps-{release.rpartition('.')[0]}"
    lines = path.read_text("utf-8").split("\n") if path.exists() else []
    for line in filter(None, lines):
        one = json.loads(line)
        aspect = re.fullmatch(r"/v1/(parameters|info|meta|site)", one["request"]["path"])
        export = folder / f"{one['app']}.yml"
        if aspect and one["request"]["method"] == "GET" and one["response"]["status"] == 200 and export.exists():
            yield one["name"], aspect[1], export, json.loads(one["response"]["body"])


def answer(aspect, loaded, *, is_new):
    # The recorded server's own settings: who owned its apps, and how large a file it took.
    match aspect:
        case "parameters":
            return parameters(loaded, limits={**SYSTEM_LIMITS, "file_size_limit": 1}, bare_moderation=is_new)
        case "info":
            return info(loaded, author="oracle")
        case "site":
            return site(loaded, input_placeholder=is_new)
        case _:
            return meta(loaded)


@needs_shared
@pytest.mark.parametrize("release", ["1.16.1", "1.13.2"])
def test_an_app_says_about_itself_what_the_real_dify_said(release):
    compared = 0
    for name, aspect, export, body in recorded(release):
        met = answer(aspect, load_app(export), is_new=release == "1.16.1")
        assert json.dumps(met) == json.dumps(body), name  # as text: the order of keys counts
        compared += 1
    assert compared > 10


# ---------------------------------------------------------------- keys
def test_a_plain_stem_is_its_key():
    assert default_key("chat-kb_2") == "app-chat-kb_2"


def test_a_changed_stem_gets_six_digits_of_its_hash():
    digits = hashlib.sha256("标题 党".encode()).hexdigest()[:6]
    assert default_key("标题 党") == f"app---{digits}".replace("---", "---", 1)
    assert default_key("a b") != default_key("a.b")


@given(st.text(min_size=1))
def test_a_key_can_always_stand_in_a_header(stem):
    assert re.fullmatch(r"app-[A-Za-z0-9_-]+", default_key(stem.encode("utf-8", "replace").decode()))


# ---------------------------------------------------------------- what is read
def test_the_least_export_has_difys_defaults():
    least = app(CHAT, name="stem")
    assert (least.name, least.title, least.version, least.model, least.agent, least.form) == (
        "stem",
        "Title",
        None,
        None,
        None,
        (),
    )
    assert file_rules(least) == NO_FILES
    body = parameters(least)
    assert body["opening_statement"] is None
    assert body["speech_to_text"] == {"enabled": False}
    assert body["file_upload"]["image"]["number_limits"] == 3
    assert body["system_parameters"]["file_size_limit"] == 15
    assert meta(least) == {"tool_icons": {}}


EASY = """\
version: 0.1.5
app: {mode: chat, name: T, description: D, icon: x, icon_type: emoji, icon_background: '#fff', use_icon_as_answer_icon: true}
model_config:
  agent_mode:
    enabled: true
    strategy: react
    max_iteration: 9
    tools:
    - {tool_name: current_time, tool_label: Time, provider_type: builtin, provider_id: time, enabled: true}
    - {tool_name: pets, tool_label: Pets, provider_type: api, provider_id: 12, enabled: true}
    - {dataset: {enabled: true, id: d2}}
  dataset_configs: {datasets: {datasets: [{dataset: {enabled: true, id: d1}}, {dataset: {enabled: false, id: d0}}]}}
  dataset_query_variable: topic
  model: {provider: openai, name: gpt, mode: chat, completion_params: {temperature: 0}}
  opening_statement: Hi
  suggested_questions: [A?]
  suggested_questions_after_answer: {enabled: true}
  speech_to_text: {enabled: true}
  prompt_type: advanced
  chat_prompt_config: {prompt: [{role: system, text: Be}, {role: user, text: "{{#query#}}"}]}
  sensitive_word_avoidance:
    enabled: true
    type: keywords
    config: {keywords: "bad\\nworse", inputs_config: {enabled: true, preset_response: "no!"}, outputs_config: {enabled: false}}
  file_upload: {enabled: true, allowed_file_types: [image], allowed_file_upload_methods: [local_file], number_limits: 4}
  user_input_form:
  - text-input: {variable: topic, label: Topic, required: true, max_length: 10, default: cats}
  - external_data_tool: {variable: weather, label: Weather}
  - select: {variable: style, options: [yes, no, 3]}
"""


def test_an_easy_app_is_read_whole():
    easy = app(EASY)
    assert (easy.description, easy.icon_background, easy.use_icon_as_answer_icon, easy.version) == (
        "D",
        "#fff",
        True,
        "0.1.5",
    )
    assert easy.model == ModelRef(provider="openai", name="gpt", mode="chat")
    assert easy.is_agent
    assert easy.agent.tools == (
        Tool(name="current_time", label="Time", provider="time"),
        Tool(name="pets", label="Pets", provider="12", type="api"),
    )
    assert (easy.agent.strategy, easy.agent.max_iteration) == ("react", 9)
    assert (easy.dataset_ids, easy.dataset_query_variable) == (("d1", "d2"), "topic")
    assert [prompt["role"] for prompt in easy.prompts] == ["system", "user"]
    assert easy.features.moderation == Moderation(type="keywords", keywords=("bad", "worse"), input_response="no!")
    assert easy.features.suggested_questions_after_answer
    assert easy.features.speech_to_text
    assert not easy.features.text_to_speech
    assert file_rules(easy) == FileRules(types=("image",), methods=("local_file",), limit=4, image_limit=4)
    assert list(meta(easy)["tool_icons"]) == ["current_time", "pets"]


def test_the_form_of_an_easy_app_never_fills_in_its_defaults():
    topic, style = app(EASY).form
    assert (topic.name, topic.default, topic.max_length, topic.required) == ("topic", None, 10, True)
    assert style.options == ("yes", "no", "3")


def test_external_data_is_shown_in_the_form_but_is_no_input():
    easy = app(EASY)
    assert [variable.name for variable in easy.form] == ["topic", "style"]
    assert [next(iter(item)) for item in parameters(easy)["user_input_form"]] == [
        "text-input",
        "external_data_tool",
        "select",
    ]


GRAPH = """\
app: {mode: advanced-chat, name: T}
workflow:
  conversation_variables:
  - {id: v1, name: memo, value_type: string, value: init, description: d}
  features:
    file_upload: {image: {enabled: true, number_limits: 2, transfer_methods: [local_file]}}
    sensitive_word_avoidance: {enabled: false, type: '', configs: []}
  graph:
    nodes:
    - data: {type: tool, provider_type: builtin, provider_id: time, tool_name: now}
    - data:
        type: start
        variables:
        - {variable: n, type: number, label: N, default: 3, max_length: 48, options: []}
        - {variable: pick, type: select, default: '', options: [a]}
        - {variable: doc, type: file, required: true, allowed_file_types: [custom], allowed_file_extensions: [.PDF], allowed_file_upload_methods: [local_file]}
"""


def test_a_graph_app_is_read_whole():
    flow = app(GRAPH)
    number, pick, doc = flow.form
    assert (number.default, pick.default, doc.required) == (3, None, True)
    assert doc.files == FileRules(types=("custom",), extensions=(".PDF",), methods=("local_file",))
    assert flow.conversation_variables == (
        ConversationVariable(id="v1", name="memo", value_type="string", description="d"),
    )
    assert flow.conversation_variables[0].value == "init"
    assert flow.workflow["graph"]["nodes"]
    assert flow.model is None
    assert list(meta(flow, console_url="http://x")["tool_icons"].values()) == [
        "http://x/console/api/workspaces/current/tool-provider/builtin/time/icon"
    ]


def test_a_graph_form_shows_the_whole_variable_under_its_type():
    first = parameters(app(GRAPH))["user_input_form"][0]
    assert first == {
        "number": {"variable": "n", "type": "number", "label": "N", "default": 3, "max_length": 48, "options": []}
    }


def test_the_old_form_of_a_graphs_uploads_is_renewed():
    flow = app(GRAPH)
    assert file_rules(flow) == FileRules(types=("image",), methods=("local_file",), limit=2, image_limit=2)
    assert parameters(flow)["file_upload"] == {
        "enabled": True,
        "number_limits": 2,
        "allowed_file_upload_methods": ["local_file"],
        "allowed_file_types": ["image"],
        "allowed_file_extensions": [],
    }


def test_a_graph_without_moderation_says_so_as_its_release_does():
    flow = app(GRAPH)
    assert parameters(flow)["sensitive_word_avoidance"] == {"enabled": False}
    assert list(parameters(flow, bare_moderation=False)["sensitive_word_avoidance"]) == ["configs", "enabled", "type"]


def test_a_placeholder_of_the_site_is_a_matter_of_release():
    assert "input_placeholder" in site(app(CHAT))
    assert "input_placeholder" not in site(app(CHAT), input_placeholder=False)


def test_a_new_agent_needs_no_model_config():
    assert app("app: {mode: agent, name: A}").mode == "agent"


# ---------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "x.yml:1:1: a Dify DSL export is a mapping of keys to values, but this is a list"),
        (
            "kind: rag_pipeline",
            "x.yml:1:7: kind: 'rag_pipeline' is no kind that can be served; export an app (kind: app)",
        ),
        (
            "appp: {}",
            "x.yml:1:1: the key 'app' is missing: it holds the app's name and mode, as in every export of Dify's (Studio, Export DSL); did you mean 'appp'?",
        ),
        (
            "app:\n  mode: chta",
            "x.yml:2:9: app.mode: 'chta' is no app mode; allowed are completion, chat, agent-chat, advanced-chat, workflow, agent; did you mean 'chat'?",
        ),
        (
            "app:\n  name: x",
            "x.yml:2:3: app: the key 'mode' is missing: app mode is one of completion, chat, agent-chat, advanced-chat, workflow, agent",
        ),
        ("app: {mode: chat}", "x.yml:1:1: the key 'model_config' is missing: chat apps are set up there"),
        (
            "app: {mode: workflow}\nworkflow: {}",
            "x.yml:2:11: workflow: the key 'graph' is missing: the nodes and edges of the app stand there",
        ),
        (
            CHAT.replace("{}", "{opening_statement: [1]}"),
            "x.yml:2:35: model_config.opening_statement: a text belongs here, but this is a list",
        ),
        (
            CHAT.replace("{}", "{user_input_form: [{textinput: {}}]}"),
            "x.yml:2:34: model_config.user_input_form[0]: an item of the form has one key, its type, out of text-input, paragraph, select, number, checkbox, file, file-list, json_object, external_data_tool; met 'textinput'",
        ),
        (
            CHAT.replace("{}", "{user_input_form: [{number: {}}]}"),
            "x.yml:2:43: model_config.user_input_form[0].number: an input needs the key 'variable': the name that requests send it under",
        ),
        (
            FLOW.replace("[]", "[{variable: a, type: txt}]"),
            "x.yml:6:59: workflow.graph.nodes[0].data.variables[0].type: 'txt' is no type of input; allowed are text-input, paragraph, select, number, checkbox, file, file-list, json_object, external_data_tool",
        ),
        (
            FLOW + "  conversation_variables: [{id: a}]\n",
            "x.yml:7:28: workflow.conversation_variables[0]: a conversation variable needs a 'name'",
        ),
    ],
)
def test_a_mistake_is_told_with_place_allowed_and_remedy(text, told):
    assert mistake(text) == told


@given(st.data())
def test_a_damaged_export_loads_or_is_told_in_one_line(data):
    lines = EASY.splitlines() + GRAPH.splitlines()[1:]
    del lines[data.draw(st.integers(0, len(lines) - 1))]
    place = data.draw(st.integers(0, len(lines) - 1))
    lines[place] = lines[place].replace(
        data.draw(st.sampled_from([":", "[", "{", " ", "t"])), data.draw(st.sampled_from(["", "]", "- ", ": "])), 1
    )
    try:
        app("\n".join(lines))
    except MockdifyError as error:
        assert re.match(r"x\.yml:\d+:\d+: ", str(error))  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


WRONG = st.sampled_from([None, True, 3, 0.5, "", "word", [], ["word"], [[]], [{}], {}, {"word": {}}])


def places(value, path=()):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in inner:
        yield from places(item, (*path, step))


@given(st.data(), st.sampled_from([EASY, GRAPH]))
def test_an_export_with_any_wrong_value_answers_or_is_told_with_its_place(data, text):
    export = json.loads(json.dumps(parse_yaml(text, source="x.yml").data))
    *way, last = data.draw(st.sampled_from([path for path in places(export) if path]))
    holder = export
    for step in way:
        holder = holder[step]
    holder[last] = data.draw(WRONG)
    try:
        loaded = app(yaml.safe_dump(export))
    except MockdifyError as error:
        assert re.match(r"x\.yml:\d+:\d+: ", str(error))  # noqa: PT017
    else:
        for body in (parameters(loaded), info(loaded), meta(loaded), site(loaded)):
            json.dumps(body)
