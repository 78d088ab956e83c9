"""What a client says is taken as it is; what goes wrong with the adapter is never blamed on a client."""

import sys
import textwrap

import pytest

from mockdify.checks.model import Call, Place
from mockdify.harness import adapters
from mockdify.harness.adapters import AdapterError, ExecAdapter, HttpAdapter, PythonAdapter, load

PLACE = Place(base_url="http://127.0.0.1:1/v1", api_key="app-x", app="chat", mode="chat")
CALL = Call(name="chat", place=PLACE, args={"query": "Hello", "user": "alice", "stream": False}, timeout=0.3)
HELLO = '{"id": call["id"], "capabilities": ["chat.blocking", "incremental", "abandon"]}'


@pytest.fixture
def program(tmp_path):
    """An adapter whose answer to a call is the given statements."""
    made = []

    def make(statements, hello=HELLO):
        path = tmp_path / "client.py"
        body = textwrap.indent(textwrap.dedent(statements), "        ")
        path.write_text(
            "import json, sys, time, os\n"
            "say = lambda said: print(json.dumps(said), flush=True)\n"
            "for line in sys.stdin:\n"
            "    call = json.loads(line)\n"
            f"    if call['call'] == 'hello':\n        say({hello})\n    else:\n{body}\n"
        )
        made.append(ExecAdapter([sys.executable, str(path)]))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_one_process_answers_all_calls(program):
    one = program("say({'id': call['id'], 'ok': True, 'text': str(os.getpid())})")
    assert one.capabilities() == {"chat.blocking", "incremental", "abandon"}
    assert one.call(CALL).text == one.call(CALL).text != ""


def test_deltas_are_kept_with_their_time(program):
    one = program("""
        say({'id': call['id'], 'delta': 'a'})
        say({'id': call['id'], 'delta': 'b'})
        say({'id': call['id'], 'ok': True, 'text': 'ab'})
    """)
    assert [text for _, text in one.call(CALL).deltas] == ["a", "b"]


def test_a_call_is_abandoned_at_its_first_delta(program):
    one = program("""
        if call['call'] == 'abandon':
            say({'id': call['of'], 'ok': True, 'text': 'left'})
        else:
            say({'id': call['id'], 'delta': 'a'})
    """)
    assert one.call(CALL, abandon=True).text == "left"


def test_a_call_that_is_never_answered_is_hung_and_the_next_has_a_fresh_process(program, monkeypatch):
    monkeypatch.setattr(adapters, "GRACE", 0.1)
    one = program("""
        if call['query'] == 'Hello':
            time.sleep(60)
        say({'id': call['id'], 'ok': True, 'text': 'fresh'})
    """)
    assert one.call(CALL).hung
    one.settle()
    assert one.call(Call(name="chat", place=PLACE, args={"query": "x"}, timeout=5)).text == "fresh"


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ("print('debug: hello', flush=True)", "is not its protocol"),
        ("print('[1]', flush=True)", "is not its protocol"),
        (
            "sys.stderr.write('boom'); sys.stderr.flush(); time.sleep(0.1); os._exit(3)",
            "ended with code 3 during 'chat'; it said: boom",
        ),
    ],
)
def test_what_the_adapter_does_wrong_is_an_error_of_the_harness(program, statements, words):
    one = program(statements)
    with pytest.raises(AdapterError, match=words):
        one.call(CALL)


def test_hello_must_name_capabilities(program):
    with pytest.raises(AdapterError, match="capabilities"):
        program("pass", hello='{"id": call["id"]}').capabilities()
    with pytest.raises(AdapterError, match="needs one of"):
        program("pass", hello='{"id": call["id"], "capabilities": ["stop"]}').capabilities()


def test_a_program_that_is_not_there_is_told():
    with pytest.raises(AdapterError, match="cannot start adapter 'no-such-program'"):
        ExecAdapter("no-such-program").capabilities()
    with pytest.raises(AdapterError, match="could not be asked"):
        HttpAdapter("http://127.0.0.1:1/").capabilities()


class Answers:
    """Something with a `chat` that does as told."""

    def __init__(self, result):
        self.result = result

    def chat(self, query, emit):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class DifyError(Exception):
    status_code, code = 429, "too_many_requests"


class ReadTimeout(Exception):
    pass


class ChunkedEncodingError(Exception):
    pass


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("Hi", (True, "Hi", None)),
        ({"text": "Hi", "ok": True}, (True, "Hi", None)),
        ({"ok": False, "error": {"kind": "stream", "code": "x"}, "text": "half"}, (False, "half", "stream")),
        ({"ok": False, "error": {"kind": "protocol", "message": "TypeError: x is undefined"}}, (False, "", "crash")),
        ({"ok": False, "error": {"kind": "network", "message": "TypeError: fetch failed"}}, (False, "", "network")),
        ({"ok": False, "error": "no"}, (False, "", "protocol")),
        (None, (True, "", None)),
        (DifyError("no"), (False, "", "http")),
        (ReadTimeout("no"), (False, "", "timeout")),
        (ConnectionResetError("no"), (False, "", "network")),
        (ChunkedEncodingError("no"), (False, "", "network")),
        (UnboundLocalError("x"), (False, "", "crash")),
        (KeyError("answer"), (False, "", "crash")),
        (ValueError("no end event"), (False, "", "protocol")),
    ],
)
def test_what_a_python_client_returns_or_raises_is_its_answer(result, said):
    one = PythonAdapter(Answers(result))
    outcome = one.call(CALL)
    one.close()
    assert (outcome.ok, outcome.text, outcome.error and outcome.error.kind) == said


def test_capabilities_of_a_python_client_follow_from_its_parameters():
    def chat(query, stream, emit): ...

    assert PythonAdapter(chat).capabilities() == {
        "chat.blocking",
        "chat.streaming",
        "incremental",
        "abandon",
        "parallel",
    }
    assert PythonAdapter({"chat": lambda query: query}).capabilities() == {"chat.blocking", "parallel"}
    with pytest.raises(AdapterError, match="none of the methods"):
        PythonAdapter(object())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no_such_module:x", "cannot import 'no_such_module'"),
        ("no_such_file.py", "there is no file 'no_such_file.py'"),
        ("json:nothing", "has no 'nothing'"),
    ],
)
def test_an_adapter_that_cannot_be_found_is_told(text, words):
    with pytest.raises(AdapterError, match=words):
        load(text)


def test_adapters_are_found_by_file_and_by_module(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from beside import x\ndef chat(query): return query + x\n")
    (tmp_path / "beside.py").write_text("x = '!'\n")
    for text in (str(path), f"{path}:chat"):
        one = load(text)
        assert one.call(CALL).text == "Hello!"
        one.close()
    assert load("mockdify.reference:ReferenceAdapter").capabilities() >= {"chat.streaming", "workflow.blocking"}
