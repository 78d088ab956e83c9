from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mockdify import config
from mockdify.config import Config, discover, load, locate, merge, rule_from, with_apps, write_starter
from mockdify.durations import Pace
from mockdify.errors import MockdifyError
from mockdify.model import FAILURES
from mockdify.script import Ask, NodeScript, Round, When
from mockdify.settings import FROZEN_START, SETTINGS, Clock, Settings

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder with recordings is not beside this checkout")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "apps").mkdir()
    for name in ("support", "sales"):
        (tmp_path / "apps" / f"{name}.yml").write_text("")
    return tmp_path


def read(folder, text, name="mockdify.toml"):
    (folder / name).write_text(text, encoding="utf-8")
    return load(folder / name)


def mistakes(folder, text, name="mockdify.toml"):
    with pytest.raises(MockdifyError) as caught:
        read(folder, text, name)
    return str(caught.value).splitlines()


# --- what a file says ------------------------------------------------------------------------------------------------

EXAMPLE = """
seed = 7
profile = "1.16"
models = ["openai/gpt-4", "a/b/c"]
remote_files = "fetch"
silence = "5s"
keepalive = 2
connections = 10
pace = "30ms"
ping_interval = "1s"
clock = "frozen"
host = "0.0.0.0"
port = 0
coalesce = true
limits = { anything = "goes" }

[defaults]
answer = "nothing for {{ query }}"

[[answers]]
when = { query_matches = "^h", turn = 2, node = "llm", app = "sales" }
chunks = ["a", ""]
pace = "100ms"
usage = { prompt_tokens = 3, prompt_unit_price = 0.00001 }
retriever_resources = [{ position = 1, content = "x" }]
times = 2
[[answers]]
fails = "rate-limit"
message = "slow down"
after = 2
[[answers]]
rounds = [{ thought = "t", tool = "clock", tool_input = { zone = "UTC" }, observation = "noon" }, { chunks = ["x"] }]

[[apps]]
dsl = "apps/support.yml"
keys = { development = "app-dev", testing = "app-test", production = "app-prod" }
api_enabled = false
  [[apps.answers]]
  when = { query = "hello", user = "alice", inputs.x = 1, inputs."a b" = "c" }
  answer = "Hi! How can I help?"
  [[apps.nodes]]
  node = "code"
  outputs = { result = "{{ x | upper }}", items = ["a", 1] }
  takes = "2s"
  [[apps.nodes]]
  node = "http"
  fails = "boom"
[[apps]]
dsl = "apps/sales.yml"
keys = "app-one"
published = false

[[faults]]
fault = "rate-limit"
on = "POST /v1/chat-messages"
when = { user = "bob" }
times = 2
retry_after = 1
[[faults]]
fault = "chop"
bytes = 3
probability = 0.5
after = 1
retry_after = "Wed, 21 Oct 2026 07:28:00 GMT"
"""


def test_a_file_says_everything_that_is_promised(folder):
    got = read(folder, EXAMPLE)
    assert got.settings == Settings(
        seed=7,
        models=("openai/gpt-4", "a/b/c"),
        remote_files="fetch",
        silence=5.0,
        keepalive=2.0,
        connections=10,
        pace=Pace(seconds=0.03),
        ping_interval=1.0,
        clock=Clock(frozen=True, at=FROZEN_START),
        host="0.0.0.0",
        port=0,
        coalesce=True,
    )
    assert got.limits == {"anything": "goes"}
    assert got.defaults.answer == "nothing for {{ query }}"
    first, second, third = got.rules
    assert (first.when.query_matches.pattern, first.when.turn, first.when.node, first.when.app) == (
        "^h",
        2,
        "llm",
        "sales",
    )
    assert (first.chunks, first.pace, first.times) == (("a", ""), 0.1, 2)
    assert first.usage == {"prompt_tokens": 3, "prompt_unit_price": "0.00001"}
    assert first.retriever_resources == ({"position": 1, "content": "x"},)
    assert (second.fails, second.message, second.after) == ("rate-limit", "slow down", 2)
    assert third.rounds == (
        Round(thought="t", tool="clock", tool_input={"zone": "UTC"}, observation="noon"),
        Round(chunks=("x",)),
    )
    support, sales = got.apps
    assert (support.name, support.dsl, support.api_enabled) == ("support", folder / "apps" / "support.yml", False)
    assert support.keys == {"development": "app-dev", "testing": "app-test", "production": "app-prod"}
    assert support.rules[0].when == When(query="hello", user="alice", inputs={"x": 1, "a b": "c"})
    assert support.rules[0].label == "apps[0].answers[0]"
    assert support.nodes == (
        NodeScript(node="code", outputs={"result": "{{ x | upper }}", "items": ["a", 1]}, takes=2.0),
        NodeScript(node="http", fails="boom"),
    )
    assert (sales.keys, sales.published) == ({"default": "app-one"}, False)
    assert got.faults[0] == {
        "fault": "rate-limit",
        "on": "POST /v1/chat-messages",
        "when": {"user": "bob"},
        "times": 2,
        "retry_after": 1,
    }
    assert got.faults[1]["bytes"] == 3
    assert got.where("faults", 1, "bytes") == f"mockdify.toml:{line_of('bytes = 3')}:9: "


def line_of(text):
    return EXAMPLE[: EXAMPLE.index(text)].count("\n") + 1


def test_an_empty_file_says_nothing(folder):
    got = read(folder, "")
    assert (got.settings, got.apps, got.rules, got.defaults, got.faults) == (Settings(), (), (), None, ())


def test_every_setting_can_be_in_the_file_and_is_one_of_settings():
    assert set(SETTINGS) == set(Settings.__dataclass_fields__)


def test_a_section_of_pyproject_is_a_configuration(folder):
    got = read(
        folder,
        '[project]\nname = "x"\n[tool.mockdify]\nseed = 3\n[[tool.mockdify.answers]]\nanswer = "x"\n',
        "pyproject.toml",
    )
    assert (got.settings.seed, got.rules[0].answer) == (3, "x")


def test_places_in_pyproject_count_from_its_top(folder):
    told = mistakes(folder, '[project]\nname = "x"\n[[tool.mockdify.answers]]\nanwser = "x"\n', "pyproject.toml")
    assert told[0].startswith("pyproject.toml:4:1: answers[0]: unknown key 'anwser'")


def test_the_script_of_a_configuration_knows_its_rules(folder):
    script = read(folder, EXAMPLE).script()
    assert script.choose(Ask(app="support", query="hello", user="alice", inputs={"x": 1, "a b": "c"})).rule.label == (
        "apps[0].answers[0]"
    )
    assert script.choose(Ask(app="support", query="hello")).fails.kind == "rate-limit"
    assert script.node("support", "code").takes == 2.0


def test_windows_line_ends_and_a_bom_are_read_alike(folder):
    (folder / "a.toml").write_bytes(b"\xef\xbb\xbfseed = 1\r\nport = 'x'\r\n")
    with pytest.raises(MockdifyError, match=r"^a\.toml:2:8: port:"):
        load(folder / "a.toml")


@shared
@pytest.mark.parametrize("name", ["dify/oracle-1.16.toml", "dify/oracle-1.13.toml", "clients/workspace.toml"])
def test_the_configurations_of_the_recordings_load(name):
    got = load(SHARED / name)
    assert got.rules
    assert all(app.dsl.is_file() for app in got.apps)


# --- mistakes --------------------------------------------------------------------------------------------------------

APP = '[[apps]]\ndsl = "apps/support.yml"\n'
MISTAKES = [
    # a key, with the nearest name and what is allowed
    ("sede = 1", "1:1: unknown key 'sede'; allowed: profile, seed, ", "did you mean 'seed'?"),
    ("ping-interval = 1", "1:1: unknown key 'ping-interval'", "did you mean 'ping_interval'?"),
    (APP + '[[apps.answers]]\nanwser = "x"', "4:1: apps[0].answers[0]: unknown key 'anwser'; allowed: when, answer, chunks", "did you mean 'answer'?"),
    ('answers = [{ answer = "a", when = { query_match = "x" } }]', "1:37: answers[0].when: unknown key 'query_match'", "'query_matches'"),
    ('[[answers]]\nanswer = "x"\nusage.prompt_token = 1', "3:7: answers[0].usage: unknown key 'prompt_token'", "'prompt_tokens'"),
    ('[[answers]]\nrounds = [\n  { tool = "t" },\n  { answr = "x", answer = "" },\n]', "4:5: answers[0].rounds[1]: unknown key 'answr'", "'answer'"),
    (APP + '[[apps.nodes]]\nnod = "x"\ntakes = 1', "4:1: apps[0].nodes[0]: unknown key 'nod'", "'node'"),
    ('[defaults]\nanswer = "x"\nwhen = {}', "3:1: defaults: unknown key 'when'", "allowed: answer, chunks"),
    # a kind of value
    ('seed = "x"', "1:8: seed: a whole number is needed, got 'x'", ""),
    ("seed = true", "1:8: seed: a whole number is needed, got true", ""),
    ("port = 70000", "1:8: port: a whole number from 0 to 65535 is needed, got 70000", ""),
    ("coalesce = 1", "1:12: coalesce: true or false is needed, got 1", ""),
    ("host = 1", "1:8: host: a text (in quotes) is needed, got 1", ""),
    ('models = "openai/gpt"', '1:10: models: a list of "provider/model" is needed', ""),
    ('models = ["a/b",\n "gpt"]', '2:2: models[1]: a model like "provider/model" is needed', ""),
    ("answers = 1", "1:11: answers: a list of tables is needed, got 1", ""),
    ("[answers]\nanswer = 'x'", "1:1: answers: a list of tables is needed", ""),
    ("answers = ['x']", "1:12: answers[0]: a table with when, answer, ", ""),
    ("[[answers]]\nchunks = 'x'", "2:10: answers[0].chunks: a list of texts is needed", ""),
    ("[[answers]]\nrounds = []", "2:10: answers[0].rounds: a list of tables with at least 1 item is needed", ""),
    ("[[answers]]\nchunks = ['a',\n  1]", "3:3: answers[0].chunks[1]: a text (in quotes) is needed, got 1", ""),
    # a word
    ('profile = "1.15"', "1:11: profile: unknown profile '1.15'; allowed: 1.16, 1.13, guide", "did you mean"),
    ('remote_files = "acept"', "1:16: remote_files: unknown way with remote files 'acept'", "did you mean 'accept'?"),
    ('[[answers]]\nfails = "ratelimit"', "2:9: answers[0].fails: unknown failure 'ratelimit'", "did you mean 'rate-limit'?"),
    # times
    ('pace = "-1s"', "1:8: pace: '-1s' is not a pace", 'allowed: "instant"'),
    ("[[answers]]\npace = -1", "2:8: answers[0].pace: -1 is not a pace", ""),
    ('silence = "long"', "1:11: silence: 'long' is not a duration", "allowed: a number with a unit"),
    ("ping_interval = 0", "1:17: ping_interval: a duration above zero is needed, got 0", ""),
    ('clock = "noon"', "1:9: clock: 'noon' is not a clock", '"frozen"'),
    ("clock = 07:32:00", "1:9: clock: ", "is not a clock"),
    # rules
    ("[[answers]]\nanswer = 'a'\ntimes = 0", "3:9: answers[0].times: a whole number, 1 or more, is needed, got 0", "leave 'times' out"),
    ("[[answers]]\nanswer = 'a'\nwhen = { query_matches = '(' }", "3:26: answers[0].when.query_matches: '(' is not a regular expression", "unterminated"),
    ("[[answers]]\nanswer = '{% if %}'", "2:10: answers[0].answer: the template is not Jinja2", ""),
    ("[[answers]]\nanswer = '{{ qury }}'", "2:10: answers[0].answer: unknown variable 'qury'", "did you mean 'query'?"),
    (APP + "[[apps.nodes]]\nnode='n'\noutputs = { a = [{ b = '{{' }] }", "5:24: apps[0].nodes[0].outputs.a[0].b: the template is not Jinja2", ""),
    ("[[answers]]\nwhen = { query = 'x' }", "1:1: answers[0]: a rule that says nothing", "answer, chunks"),
    ("[[answers]]\nanswer = 'a'\nafter = 1", "3:1: answers[0]: 'after' needs 'fails' beside it", ""),
    ("[[answers]]\nanswer = 'a'\nmessage = 'm'", "3:1: answers[0]: 'message' needs 'fails' beside it", ""),
    ("[[answers]]\nanswer = 'a'\nrounds = [{ answer = 'b' }]", "2:1: answers[0]: 'answer' cannot stand beside 'rounds'", ""),
    ("[[answers]]\nrounds = [{ thought = 'b' }]", "2:11: answers[0].rounds[0]: a round needs a 'tool'", ""),
    ("[[answers]]\nrounds = [{ answer = 'b', observation = 'o' }]", "2:27: answers[0].rounds[0]: 'observation' needs a 'tool'", ""),
    ("[[answers]]\nanswer = 'a'\nusage = { price_unit = 'dear' }", "3:24: answers[0].usage.price_unit: a price such as", "got 'dear'"),
    ("[[answers]]\nanswer = 'a'\nwhen = { turn = 0 }", "3:17: answers[0].when.turn: a whole number, 1 or more,", ""),
    # apps
    ("[[apps]]\npublished = true", "1:1: apps[0]: the key 'dsl' is missing", ""),
    ('[[apps]]\ndsl = ""', "2:7: apps[0].dsl: a path to a file is needed", ""),
    ('[[apps]]\ndsl = "apps/suport.yml"', "2:7: apps[0].dsl: there is no file 'apps/suport.yml' in apps; there is: sales.yml, support.yml", "did you mean 'support.yml'?"),
    ('[[apps]]\ndsl = "app/support.yml"', "2:7: apps[0].dsl: there is no file 'app/support.yml': the folder app does not exist", ""),
    ('[[apps]]\ndsl = "apps"', "2:7: apps[0].dsl: 'apps' is a folder", ""),
    (APP + 'keys = { a = "k", b = "k" }', "3:23: apps[0].keys.b: the key '…' is taken already by apps[0].keys.a", ""),
    (APP + 'keys = "ключ"', "3:8: apps[0].keys: a key of ASCII characters", ""),
    (APP + 'keys = "app!cut"', "3:8: apps[0].keys: a key of ASCII characters without blanks and '!'", ""),
    (APP + "[[apps.nodes]]\nnode = 'n'\nfails = 'x'\n[[apps.nodes]]\nnode = 'n'\nfails = 'y'", "6:1: apps[0].nodes[1]: the node 'n' is taken already by apps[0].nodes[0]", ""),
    (APP + "[[apps.nodes]]\nnode = 'n'", "3:1: apps[0].nodes[0]: a node needs 'outputs', 'fails' or 'takes'", ""),
    (APP + "[[apps.nodes]]\nnode = 'n'\nfails = 'x'\noutputs = {}", "6:1: apps[0].nodes[0]: a node gives 'outputs' or 'fails', not both", ""),
    # faults
    ("[[faults]]\non = 'x'", "1:1: faults[0]: the key 'fault' is missing", ""),
    ("[[faults]]\nfault = 'cut'\nprobability = 2", "3:15: faults[0].probability: a number from 0 to 1 is needed, got 2", ""),
    ("[[faults]]\nfault = 'cut'\ntimes = -1", "3:9: faults[0].times: a whole number, 0 or more, is needed, got -1", ""),
    ("[[faults]]\nfault = 'cut'\nretry_after = -1", "3:15: faults[0].retry_after: a number, 0 or more, is needed, got -1", ""),
    # not TOML
    ("seed = ", "1:8: not TOML: Invalid value", ""),
    ("a = 1\na = 2", "2:6: not TOML: Cannot overwrite a value", ""),
    ("[[answers]\n", "1:10: not TOML: ", ""),
    ("a = [1,\n2", "2:2: not TOML: ", ""),
    ("a = " + "[" * 5000, "1:5005: not TOML: nested too deeply", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "beginning", "within"), MISTAKES)
def test_a_mistake_is_one_line_with_its_place_and_what_is_allowed(folder, text, beginning, within):
    told = mistakes(folder, text)
    assert len(told) == 1
    assert told[0].startswith(f"mockdify.toml:{beginning}")
    assert within in told[0]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(folder):
    told = mistakes(
        folder, 'port = "x"\nseed = "y"\n[[answers]]\ntimes = 0\nanswer = "x"\n[[apps]]\ndsl = "nowhere.yml"\n'
    )
    assert [line.split(": ")[0] for line in told] == [f"mockdify.toml:{n}" for n in ("1:8", "2:8", "4:9", "7:7")]


def test_two_files_of_one_stem_are_an_error_that_names_both(folder):
    (folder / "support.yaml").write_text("")
    told = mistakes(folder, APP + '[[apps]]\ndsl = "support.yaml"\n')
    assert told == [
        "mockdify.toml:4:7: apps[1].dsl: apps/support.yml and support.yaml would both be the app 'support'; rename one of the files"
    ]


def test_a_key_belongs_to_one_app(folder):
    told = mistakes(folder, APP + 'keys = "k"\n[[apps]]\ndsl = "apps/sales.yml"\nkeys = { a = "k" }\n')
    assert told == ["mockdify.toml:6:14: apps[1].keys.a: the key '…' is taken already by apps[0].keys.default"]


def test_a_file_that_is_not_there_says_how_to_get_one(folder):
    with pytest.raises(MockdifyError, match=r"nowhere\.toml: cannot be read: .*`mockdify init`"):
        load(folder / "nowhere.toml")


def test_a_file_that_is_not_utf_8_is_told(folder):
    (folder / "a.toml").write_bytes(b'host = "\xff"')
    with pytest.raises(MockdifyError, match=r"a\.toml: not UTF-8 \(byte 8\)"):
        load(folder / "a.toml")


def test_a_pyproject_without_our_section_is_told(folder):
    assert mistakes(folder, "[tool.ruff]\n", "pyproject.toml") == [
        "pyproject.toml: there is no [tool.mockdify] in it; add one, or use mockdify.toml"
    ]


@given(st.dictionaries(st.sampled_from([*config._TOP, "x"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["{{", "1s", "("]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([*config._RULE_FIELDS, *config._APP_FIELDS, "node", "outputs", "fault", "tool", "query", "inputs.x"]),
        inner, max_size=3,
    ),
    max_leaves=8,
)))  # fmt: skip
def test_any_data_is_either_read_or_told_about(data):
    problems = config.Problems()
    config.table(config._TOP)(data, (), problems)
    assert all(str(one) for one in problems.items)


@given(
    st.integers(0, len(EXAMPLE)),
    st.integers(0, 40),
    st.sampled_from(["", "x", '"', "]", "}", "=", "\n", "[[", "#", "0"]),
)
def test_a_damaged_file_is_either_read_or_told_about_with_places(start, length, put):
    text = EXAMPLE[:start] + put + EXAMPLE[start + length :]
    source = config.Source(path=Path("damaged.toml"), text=text)
    try:
        problems = config.Problems()
        config.table(config._TOP)(config._parsed(source), (), problems)
        config._tell(source, problems)
    except MockdifyError as err:
        lines = text.split("\n")
        for told in str(err).splitlines():
            _, line, column, _ = told.split(":", 3)
            assert 1 <= int(column) <= len(lines[int(line) - 1]) + 1


# --- rules from elsewhere --------------------------------------------------------------------------------------------


def test_a_rule_comes_from_json_with_the_keys_of_the_file():
    rule = rule_from({"when": {"inputs.x": 1, "inputs": {"y": 2}}, "answer": "a", "times": 2}, label="added")
    assert (rule.when.inputs, rule.answer, rule.times, rule.label) == ({"x": 1, "y": 2}, "a", 2, "added")


@pytest.mark.parametrize("data", [None, [], {}, {"answer": 1}, {"when": {"inputs": 1, "inputs.x": 2}, "answer": "a"}])
def test_a_bad_rule_from_elsewhere_is_told(data):
    with pytest.raises(MockdifyError, match=r"^answer"):
        rule_from(data)


@pytest.mark.parametrize("kind", FAILURES)
def test_every_failure_of_a_model_can_be_scripted(kind):
    assert rule_from({"fails": kind}).fails == kind


def test_a_regex_with_odd_brackets_is_taken_as_python_takes_it():
    assert rule_from({"when": {"query_matches": "[[x]"}, "answer": "a"}).when.query_matches.search("[")


# --- precedence ------------------------------------------------------------------------------------------------------


def test_a_flag_goes_before_the_environment_before_the_file():
    environ = {"MOCKDIFY_SEED": "2", "MOCKDIFY_PORT": "22"}
    got = merge({"seed": 3, "port": None}, environ, {"seed": 1, "port": 11, "host": "h"})
    assert (got.seed, got.port, got.host, got.profile) == (3, 22, "h", "1.16")


def test_the_environment_is_read_by_kind():
    environ = {
        "MOCKDIFY_COALESCE": "yes",
        "MOCKDIFY_ADMIN": "0",
        "MOCKDIFY_MODELS": "a/b, c/d",
        "MOCKDIFY_PACE": "2x",
        "MOCKDIFY_PING_INTERVAL": "3",
        "MOCKDIFY_CLOCK": "2026-01-02T00:00:00Z",
        "MOCKDIFY_CASSETTE": "a.yaml,b.yaml",
        "MOCKDIFY_PROFILE": "",
        "OTHER": "x",
    }
    assert merge({}, environ, {}) == Settings(
        coalesce=True,
        admin=False,
        models=("a/b", "c/d"),
        pace=Pace(seconds=0.015, speed=2.0),
        ping_interval=3.0,
        clock=Clock(frozen=True, at=FROZEN_START + 86400),
        cassette=(Path("a.yaml"), Path("b.yaml")),
    )


def test_mistakes_of_flags_and_environment_name_them():
    with pytest.raises(MockdifyError) as caught:
        merge({"ping_interval": "x", "seed": "x"}, {"MOCKDIFY_PORT": "x", "MOCKDIFY_WATCH": "perhaps"}, {})
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        "--seed",
        "MOCKDIFY_PORT",
        "--ping-interval",
        "MOCKDIFY_WATCH",
    ]


def test_strict_http_has_dify_s_own_limits_unless_given():
    got = merge({"strict_http": True}, {}, {"connections": 3})
    assert (got.keepalive, got.connections) == (2.0, 3)


def test_a_clock_can_be_real_frozen_or_a_time(folder):
    assert read(folder, 'clock = "real"').settings.clock == Clock()
    assert read(folder, "clock = 2026-01-01T01:00:00+01:00").settings.clock == Clock(frozen=True, at=FROZEN_START)
    assert read(folder, 'clock = "2026-01-01"').settings.clock == Clock(frozen=True, at=FROZEN_START)


def test_paths_in_a_file_are_relative_to_it(folder):
    (folder / "sub").mkdir()
    got = read(folder, 'cassette = "a.yaml"\n[[apps]]\ndsl = "../apps/support.yml"\n', "sub/mockdify.toml")
    assert got.settings.cassette == (folder / "sub" / "a.yaml",)
    assert got.apps[0].dsl.samefile(folder / "apps" / "support.yml")


# --- which file, which apps ------------------------------------------------------------------------------------------


def test_the_nearest_configuration_up_to_the_project_s_root_holds(folder):
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    (folder / ".git").mkdir()
    assert discover(deep) is None
    (folder / "pyproject.toml").write_text("[tool.mockdify]\n")
    assert discover(deep) == (folder / "pyproject.toml").resolve()
    (folder / "mockdify.toml").write_text("")
    assert discover(deep) == (folder / "mockdify.toml").resolve()
    (folder / "a" / "pyproject.toml").write_text("[project]\n")  # a project of its own
    assert discover(deep) is None


def test_a_pyproject_of_others_is_left_alone(folder):
    (folder / "pyproject.toml").write_text("mockdify = [")
    assert discover(folder) is None


def test_a_configuration_outside_any_project_holds_in_its_folder_alone(folder, monkeypatch):
    monkeypatch.setattr(config, "PYPROJECT", "no such file")
    (folder / "mockdify.toml").write_text("")
    (folder / "a").mkdir()
    assert discover(folder) == (folder / "mockdify.toml").resolve()
    if not any((one / ".git").exists() for one in folder.resolve().parents):
        assert discover(folder / "a") is None


def test_the_flag_goes_before_the_variable_before_what_is_found(folder):
    (folder / "mockdify.toml").write_text("")
    environ = {"MOCKDIFY_CONFIG": "env.toml"}
    assert locate("flag.toml", environ, folder) == folder / "flag.toml"
    assert locate(None, environ, folder) == folder / "env.toml"
    assert locate(None, {}, folder).name == "mockdify.toml"


def test_apps_of_the_command_line_join_those_of_the_file(folder):
    base = read(folder, APP + 'keys = "k"\n')
    got = with_apps(base, ["apps"])
    assert [(app.name, dict(app.keys)) for app in got.apps] == [("support", {"default": "k"}), ("sales", {})]
    assert [app.name for app in with_apps(Config(), ["apps/sales.yml", "apps/sales.yml"]).apps] == ["sales"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "apps/suport.yml",
            "there is no file 'apps/suport.yml' in apps; there is: sales.yml, support.yml; did you mean",
        ),
        ("empty", "empty: no app in this folder"),
        ("other/support.yml", "apps/support.yml and other/support.yml would both be the app 'support'"),
    ],
)
def test_a_bad_app_of_the_command_line_is_told(folder, path, told):
    for name in ("empty", "other"):
        (folder / name).mkdir()
    (folder / "other" / "support.yml").write_text("")
    with pytest.raises(MockdifyError) as caught:
        with_apps(read(folder, APP), [path])
    assert told in str(caught.value)


# --- the file to begin with ------------------------------------------------------------------------------------------


def test_the_starter_loads_as_it_stands_and_shows_each_part(folder):
    got = load(write_starter(folder / "mockdify.toml"))
    assert got.rules
    assert got.defaults
    for part in ("[[apps]]", "[[apps.answers]]", "[[apps.nodes]]", "[[answers]]", "[defaults]", "[[faults]]"):
        assert part in config.STARTER


def test_what_the_starter_shows_as_a_comment_loads_too(folder):
    """A line that is a comment from its first column, and is not prose, is an example."""
    lines = [line.removeprefix("# ") for line in config.STARTER.splitlines()]
    examples = [line for line in lines if "=" in line.split("#")[0] or line.lstrip().startswith("[")]
    got = read(folder, "\n".join(examples))
    assert (got.apps[0].name, got.apps[0].nodes[0].node, got.faults[0]["fault"]) == ("support", "code", "rate-limit")


def test_the_starter_replaces_nothing(folder):
    (folder / "mockdify.toml").write_text("mine")
    with pytest.raises(MockdifyError, match="is there already"):
        write_starter(folder / "mockdify.toml")
    assert (folder / "mockdify.toml").read_text() == "mine"


def test_the_starter_is_written_whole_or_not_at_all(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(MockdifyError, match="cannot be written: No space left"):
        write_starter(folder / "mockdify.toml")
    assert [one.name for one in folder.iterdir()] == ["apps"]


def test_a_starter_in_no_folder_is_told(folder):
    with pytest.raises(MockdifyError, match="cannot be written: No such file or directory"):
        write_starter(folder / "nowhere" / "mockdify.toml")
