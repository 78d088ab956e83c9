"""Kill -9 the recorder at any moment: whoever had a whole reply finds it in the file, and the file loads."""

import http.client
import os
import random
import signal
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest
import yaml
from cassette_kit import in_thread, serving

from mockdify.cassettes.files import load

RECORDER = """
import asyncio, sys
from mockdify.cassettes.proxy import Recorder
async def main():
    recorder = Recorder(sys.argv[1], sys.argv[2], wait=5)
    await recorder.start()
    print(recorder.url, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


class Load:
    """Clients that ask without a pause, and know which of their calls ended properly."""

    def __init__(self, url, first):
        self.parts = urlsplit(url)
        self.next = first
        self.lock = threading.Lock()
        self.ended = set()
        self.enough = threading.Event()
        self.threads = [threading.Thread(target=self._run) for _ in range(4)]

    def _run(self):
        connection = http.client.HTTPConnection(self.parts.hostname, self.parts.port, timeout=10)
        while True:
            with self.lock:
                n, self.next = self.next, self.next + 1
            path = f"{self.parts.path}/{('echo', 'stream', 'binary', 'nothing')[n % 4]}?n={n}"
            try:
                connection.request("POST", path, body=b"x" * (n % 3) * 20_000)
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()
                return
            with self.lock:
                self.ended.add(f"n={n}")
            if len(self.ended) > 5:
                self.enough.set()


def kill_once(upstream, cassette, chance, first):
    """One life of a recorder; what its clients had in whole, and the next free number."""
    process = subprocess.Popen(
        [sys.executable, "-c", RECORDER, upstream, str(cassette)], stdout=subprocess.PIPE, text=True
    )
    load = Load(process.stdout.readline().strip(), first)
    for thread in load.threads:
        thread.start()
    load.enough.wait(20)
    threading.Event().wait(chance.uniform(0, 0.3))  # the moment is the test's input, not something it waits for
    os.kill(process.pid, signal.SIGKILL)
    for thread in load.threads:
        thread.join(20)
    process.wait(10)
    process.stdout.close()
    return load.ended, load.next


def kill_many(cassette, times):
    """Always the same file: each recorder goes on where the last was killed."""
    chance, ended, first = random.Random(7), set(), 0
    with in_thread(serving) as (upstream, origin):
        upstream.go_on.set()
        for n in range(times):
            new, first = kill_once(origin + "/v1", cassette, chance, first)
            ended |= new
            kept = [each.uri.partition("?")[2] for each in load(cassette)]
            assert ended <= set(kept), f"lost in life {n}: {ended - set(kept)}"
            assert len(kept) == len(set(kept))
            if n % 10 == 0:
                assert len(yaml.load(cassette.read_bytes(), Loader=yaml.CSafeLoader)["interactions"]) == len(kept)
    assert len(ended) > 5 * times
    from vcr.serialize import deserialize
    from vcr.serializers import yamlserializer

    assert len(deserialize(cassette.read_text(), yamlserializer)[0]) == len(kept)


def test_a_killed_recorder_loses_nothing_that_had_ended(cassette):
    kill_many(cassette, 3)


@pytest.mark.slow
def test_a_recorder_killed_fifty_times_loses_nothing_that_had_ended(cassette):
    kill_many(cassette, 50)
