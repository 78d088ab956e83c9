"""The load: closed loops over raw sockets, and paced streams with their lateness. Bounded in count and time.

    python load.py closed PORT SECONDS CONNECTIONS FILE-WITH-REQUEST
    python load.py paced  PORT STREAMS EVENTS FILE-WITH-REQUEST
Prints one JSON line.
"""

import asyncio
import json
import re
import sys
import time
from pathlib import Path

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Client(asyncio.Protocol):
    """One connection that asks again as soon as an answer is complete."""

    def __init__(self, request: bytes, deadline: float) -> None:
        self.request, self.deadline = request, deadline
        self.answers = self.errors = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport) -> None:
        self.transport = transport
        self._ask()

    def _ask(self) -> None:
        self.buffer, self.need = b"", None
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.need is None:
            head, found, _ = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            length = _LENGTH.search(head)
            self.need = len(head) + 4 + int(length[1]) if length else -1
            self.errors += not head.startswith(b"HTTP/1.1 200")
        complete = self.buffer.endswith(b"0\r\n\r\n") if self.need < 0 else len(self.buffer) >= self.need
        if complete:
            self.answers += 1
            if time.monotonic() < self.deadline:
                self._ask()
            else:
                self.transport.close()

    def connection_lost(self, error) -> None:
        self.errors += time.monotonic() < self.deadline
        if not self.done.done():
            self.done.set_result(None)


async def closed(port: int, seconds: float, connections: int, request: bytes) -> dict:
    deadline = time.monotonic() + seconds
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: Client(request, deadline), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.wait([client.done for client in clients], timeout=seconds + 10)
    return {"answers": sum(c.answers for c in clients), "errors": sum(c.errors for c in clients)}


async def stream(port: int, request: bytes, delay: float, pace: float) -> tuple[int, list[float]]:
    """Events received, and how late each was against the first event plus k paces."""
    await asyncio.sleep(delay)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    first, late, count, rest = 0.0, [], 0, b""
    while data := await reader.read(65536):
        now = time.monotonic()
        rest += data
        met = rest.count(b'"event":"message"') + rest.count(b'"event": "message"')
        rest = rest[-20:] if met else rest[-400:]
        for _ in range(met):
            first = first or now
            late.append(now - first - count * pace)
            count += 1
        if data.endswith(b"0\r\n\r\n"):
            break
    writer.close()
    return count, late


async def paced(port: int, streams: int, events: int, request: bytes) -> dict:
    jobs = [stream(port, request, k / streams, 0.05) for k in range(streams)]
    found = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), events * 0.05 + 60)
    good = [one for one in found if not isinstance(one, BaseException)]
    late = sorted(x for _, many in good for x in many)
    last = sorted(many[-1] for _, many in good if many)
    return {
        "answers": sum(count for count, _ in good),
        "errors": len(found) - len(good),
        "late_p99_ms": round(late[int(len(late) * 0.99)] * 1000, 1) if late else None,
        "last_median_ms": round(last[len(last) // 2] * 1000, 1) if last else None,
    }


if __name__ == "__main__":
    kind, port, first, second, file = sys.argv[1:]
    asked = Path(file).read_bytes()
    job = (
        closed(int(port), float(first), int(second), asked)
        if kind == "closed"
        else paced(int(port), int(first), int(second), asked)
    )
    print(json.dumps(asyncio.run(job)))
