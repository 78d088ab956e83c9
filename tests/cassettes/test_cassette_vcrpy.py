"""Our files and stock vcrpy: in a client's own process, without us and with us."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
from cassette_kit import event, in_thread, recorded, recording, serving

from mockdify.cassettes import files
from mockdify.cassettes.files import DamagedCassetteError, load, save
from mockdify.cassettes.vcrpy import make_vcr

pytest.importorskip("requests")
vcr = pytest.importorskip("vcr")
FOLDER = Path(__file__).resolve().parents[2] / "cassettes"


@pytest.fixture
def requests():
    import requests

    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.mark.parametrize("name", ["chat", "files", "audio", "http", "event-streams", "errors-model"])
def test_stock_vcrpy_plays_the_recordings_byte_for_byte(name, requests):
    """With its defaults, in order, without any network."""
    path = FOLDER / "1.16" / f"{name}.yaml"
    with vcr.use_cassette(str(path), record_mode="none") as tape:
        for each in load(path):
            headers = {key: value for key, value in each.request_headers if value}
            reply = requests.request(
                each.method, each.uri, data=each.request_body, headers=headers, allow_redirects=False, stream=True
            )
            assert (reply.status_code, reply.content) == (each.status, each.body)
        assert tape.all_played


def test_stock_vcrpy_plays_what_the_proxy_recorded_with_another_client(cassette, requests):
    """Recorded through the proxy by one client, played in the process of others, streamed too."""
    with in_thread(lambda: recording(cassette)) as (upstream, recorder, _):
        upstream.go_on.set()
        live = [requests.post(f"{recorder.url}/{path}", data="{}").content for path in ("stream", "echo", "binary")]
        address = recorder.upstream
    httpx = pytest.importorskip("httpx")
    with vcr.use_cassette(str(cassette), record_mode="none"):
        again = [requests.post(f"{address}/{path}", data="{}").content for path in ("stream", "echo", "binary")]
    with vcr.use_cassette(str(cassette), record_mode="none"), httpx.Client(trust_env=False) as client:
        third = [client.post(f"{address}/{path}", content="{}").content for path in ("stream", "echo", "binary")]
    assert live == again == third
    assert live[0] == event("Hel") + event("lo 你好") + event("")


def test_recording_in_the_client_is_scrubbed_and_whole(cassette, requests):
    with in_thread(serving) as (_, origin):
        for n in range(2):
            with make_vcr(record_mode="new_episodes").use_cassette(str(cassette)):
                headers = {"Authorization": "Bearer app-CANARY0123456789"}
                requests.post(f"{origin}/v1/echo", json={"n": n}, headers=headers)
                requests.post(f"{origin}/v1/echo", json={"n": 0}, headers=headers)
    assert b"CANARY" not in cassette.read_bytes()
    assert [each.request_body for each in load(cassette)] == [b'{"n": 0}', b'{"n": 0}', b'{"n": 1}']
    with make_vcr().use_cassette(str(cassette)):
        assert requests.post(f"{origin}/v1/echo", data='{ "n":1 }').json()["body"] == '{"n": 1}'


def test_a_damaged_file_is_not_overwritten_by_vcrpy_with_our_persister(cassette):
    cassette.write_bytes(b"\xff\xff not a cassette")
    with pytest.raises(DamagedCassetteError), make_vcr(record_mode="all").use_cassette(str(cassette)):
        pass
    assert cassette.read_bytes() == b"\xff\xff not a cassette"


def _record_some(path, first, barrier):
    vcr = make_vcr(record_mode="new_episodes")
    from vcr.request import Request

    with vcr.use_cassette(str(path)) as tape:
        barrier.wait(60)
        for n in range(first, first + 5):
            response = {"status": {"code": n, "message": ""}, "headers": {}, "body": {"string": b"x"}}
            tape.append(Request("GET", f"http://dify.test/v1/{n}", None, {}), response)


def test_processes_that_record_in_the_client_keep_each_others_interactions(cassette):
    """All load first, then all save: with vcrpy's own way of saving the last one wins."""
    save(cassette, [recorded(status=100)])
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=_record_some, args=(cassette, 100 * n, barrier)) for n in (2, 3, 4)]
    for each in processes:
        each.start()
    for each in processes:
        each.join(120)
    statuses = sorted(each.status for each in load(cassette))
    assert statuses == [100, *range(200, 205), *range(300, 305), *range(400, 405)]


def test_nobody_waits_for_vcrpy_who_does_not_use_it():
    """It imports every HTTP client it knows; aiohttp and YAML are not needed to play a file either."""
    code = (
        "import sys, mockdify; from mockdify.cassettes import replay, files, scrub, vcrpy\n"
        f"replay.Player.load({str(FOLDER / '1.16' / 'chat.yaml')!r})\n"
        "print([name for name in ('vcr', 'aiohttp', 'yaml', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_lock_held_too_long_is_said_so(cassette):
    with files.locked(cassette), pytest.raises(files.BusyCassetteError):
        files.append(cassette, [recorded()], wait=0.05)
