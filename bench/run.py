"""Start the servers, check their answers, run interleaved rounds, print and write the table. See README.md."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from servers import SERVERS, Asked

HERE = Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
WORKLOADS = {
    "blocking": "blocking answer, 16 connections",
    "stream": "event of an unpaced stream of 50, 16 connections",
    "paced": "event of 1,000 streams paced at 20 events/s",
    "start": "start-up to the first accepted connection",
    "memory": "idle memory",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(session: int) -> float:
    """User and system time of every process of the session, the dead children included."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                total += sum(map(int, fields[11:15]))
    return total / TICK


def memory(session: int) -> float:
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return total / 1e6


class Running:
    """A server under way: its process is a session of its own, on core 0."""

    def __init__(self, name: str, scratch: Path) -> None:
        self.name, self.port = name, free_port()
        command = SERVERS[name].command(self.port, scratch)
        if command is None:
            raise LookupError(name)
        started = time.monotonic()
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                break
            if time.monotonic() - started > 60 or self.process.poll() is not None:
                self.stop()
                raise LookupError(f"{name} did not start")
            time.sleep(0.002)
        self.started_ms = (time.monotonic() - started) * 1000
        self.start_cpu_ms = cpu_seconds(self.process.pid) * 1000

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)


def load(server: Running, kind: str, asked: Asked, scratch: Path, seconds: float, streams: int) -> dict:
    request = scratch / "request.bin"
    request.write_bytes(asked.raw)
    numbers = [str(streams), str(asked.events)] if kind == "paced" else [str(seconds), "16"]
    words = ["paced" if kind == "paced" else "closed", str(server.port), *numbers, str(request)]
    before = cpu_seconds(server.process.pid)
    out = subprocess.run(
        ["taskset", "-c", "1", sys.executable, str(HERE / "load.py"), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(out.stdout)
    spent = cpu_seconds(server.process.pid) - before
    count = found["answers"] * (asked.events if kind == "stream" else 1)
    return found | {"cpu_us": spent / max(1, count) * 1e6}


def rounds(names: list[str], kinds: list[str], count: int, seconds: float, streams: int) -> dict:
    """Figures by (workload, server): one number per round."""
    figures: dict[tuple[str, str], list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = {name: Path(folder, name.replace(" ", "_")) for name in names}
        for path in scratch.values():
            path.mkdir()
        for turn in range(count):
            for name in names:
                try:
                    server = Running(name, scratch[name])
                except LookupError as missing:
                    if not turn:
                        print(f"left out: {missing}")
                    continue
                try:
                    figures.setdefault(("start", name), []).append(
                        {"cpu_us": server.start_cpu_ms * 1000, "ms": server.started_ms}
                    )
                    time.sleep(0.3)
                    figures.setdefault(("memory", name), []).append({"cpu_us": memory(server.process.pid)})
                    for kind in kinds:
                        asked = SERVERS[name].asked.get(kind)
                        if asked is None or (kind == "paced" and turn >= 2):
                            continue
                        if kind != "paced":
                            load(server, kind, asked, scratch[name], 0.5, streams)  # warm
                        found = load(server, kind, asked, scratch[name], seconds, streams)
                        figures.setdefault((kind, name), []).append(found)
                        print(f"{turn + 1}/{count} {kind:9} {name:20} {found}", flush=True)
                finally:
                    server.stop()
    return figures


def table(figures: dict, names: list[str]) -> str:
    lines = ["| workload | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for kind, words in WORKLOADS.items():
        base = figures.get((kind, "bare"))
        if not base:
            continue
        cells = []
        for name in names:
            mine = figures.get((kind, name))
            if not mine:
                cells.append("")
                continue
            ratio = statistics.median(
                a["cpu_us"] / b["cpu_us"] for a, b in zip(mine, base, strict=False) if b["cpu_us"]
            )
            unit = {"start": "ms", "memory": "MB"}.get(kind, "us")
            value = statistics.median(one["cpu_us"] for one in mine) / (1000 if kind == "start" else 1)
            cell = f"{ratio:.2f} ({value:.0f} {unit})"
            if kind == "paced":
                late = statistics.median(one["late_p99_ms"] for one in mine)
                lost = 100_000 - min(one["answers"] for one in mine)
                cell += f", p99 late {late:.0f} ms, lost {max(0, lost)}"
            cells.append(cell)
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def versions() -> str:
    found = [f"Python {platform.python_version()}", f"Linux {platform.release()}", f"{os.cpu_count()} cores"]
    for name in ("mockdify", "aiohttp", "orjson", "pytest-httpserver"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--workloads", default="blocking,stream,paced")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--write", type=Path, help="replace the table in this Markdown file")
    args = parser.parse_args()
    names = [name for name in args.servers.split(",") if name in SERVERS]
    figures = rounds(names, args.workloads.split(","), args.rounds, args.seconds, args.streams)
    shown = [name for name in names if any((kind, name) in figures for kind in WORKLOADS)]
    stamp = f"{datetime.date.today()}, {versions()}, {args.rounds} rounds of {args.seconds:g} s"
    text = (
        f"{stamp}.\nCells: median ratio to bare aiohttp in the same round (median figure).\n\n{table(figures, shown)}\n"
    )
    print("\n" + text)
    if args.write:
        page = args.write.read_text() if args.write.exists() else "<!-- table -->\n<!-- end -->\n"
        head, _, rest = page.partition("<!-- table -->")
        args.write.write_text(f"{head}<!-- table -->\n{text}<!-- end -->{rest.partition('<!-- end -->')[2]}")


if __name__ == "__main__":
    main()
