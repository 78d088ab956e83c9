"""The pytest plugin: a fresh mock Dify for each test, and a word at the end on what its client did wrong.

Loaded with every pytest run of the environment, so it imports nothing heavy until a test asks for a fixture.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from mockdify.errors import MockdifyError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from mockdify.api import MockDify
    from mockdify.handles import FurtherWorkspace, World
    from mockdify.journal import Exchange
    from mockdify.recordings import PlayedCassette, RecordedCassette, Tally

_OPTIONS = {
    "profile": "Dify release to behave as: 1.16, 1.13 or guide.",
    "seed": "Seed of all ids, texts and chances.",
    "config": "mockdify.toml or a pyproject.toml; paths are relative to the root folder.",
    "pace": "How fast models speak: instant, realtime, 30ms or 2x.",
    "clock": "real, frozen, or a time such as 2026-01-01T00:00:00Z.",
    "ping_interval": "Silence before a ping.",
}
_CASSETTE_OPTIONS = {
    "record": "Record the cassettes of tests: none (play them), once (those that are not there), or all (anew).",
    "upstream": "The real Dify to record from, such as https://api.dify.ai/v1. [default: DIFY_UPSTREAM]",
    "played": "Write to this file what tests asked of cassettes, for `mockdify verify --played`.",
    "cassette_dir": "Where cassettes are, relative to the root folder. [default: `cassettes` beside the test's file]",
}
_MARK_ARGUMENTS = ("profile", "seed", "apps", "clock", "pace", "strict")
_MARKS = """\
mockdify(*, profile, seed, apps, clock, pace, strict=True): how the test's mock Dify is made; strict=False: what its \
client did wrong does not fail the test
mockdify_fault(name, *, times=1, after=0, on, when, retry_after, **options): inject a fault before the test; `mockdify \
faults` lists them
mockdify_cassette(name, *, repeat="no", pace, secrets): the recording that the fixture `mockdify_cassette` plays, or \
records with --mockdify-record
"""


class _Watch:
    """What is to be told about one test's mock, also when the test has given it back."""

    def __init__(self, server: MockDify, others: tuple[World, ...]) -> None:
        self._server: MockDify | None = server
        self._others = others
        self._header = f"seed {server.seed}, profile {server.profile}, {server.base_url}"
        self._journals: dict[str, list[Exchange]] = {}
        self._reasons: dict[str, list[str]] = {}
        self.failed = False

    def worlds(self) -> list[World]:
        """The default workspace and those that the test made."""
        if self._server is None:
            return []
        return [self._server, *self._further]

    @property
    def _further(self) -> list[FurtherWorkspace]:
        if self._server is None:
            return []
        return [one for one in self._server.workspaces if one not in self._others]

    def give_back(self, *, strict: bool) -> list[str]:
        """What the test's client did wrong. The journals are kept, and nothing of the test is left in the server.

        Args:
            strict: whether anything is held against the client.
        """
        default, further = self.worlds()[0], self._further
        concluded = {world.id: world.conclude(strict=strict) for world in (*further, default)}
        for world in further:
            world.close()
        self._server = None
        self._journals = {name: one.journal for name, one in reversed(concluded.items())}
        self._reasons = {name: one.reasons for name, one in concluded.items()}
        said = [f"workspace {world.id}: {line}" for world in further for line in concluded[world.id].problems]
        return concluded[default.id].problems + said

    def section(self) -> str:
        """The seed, the journals, and why requests ended as nobody asked for."""
        from mockdify.reports import journal_lines  # noqa: PLC0415 - only for a failure

        lines = [self._header]
        try:
            journals, reasons = self._read(), self._explained()
        except MockdifyError as mistake:  # e.g. the test stopped the server
            return f"{self._header}\nno journal: {mistake}"
        for name, exchanges in journals.items():
            if name != "default":
                lines.append(f"workspace {name}:")
            lines += journal_lines(exchanges) or ["no request arrived"]
            lines += reasons.get(name, ())
        return "\n".join(lines)

    def _read(self) -> dict[str, list[Exchange]]:
        return {world.id: world.journal[:] for world in self.worlds()} or self._journals

    def _explained(self) -> dict[str, list[str]]:
        return {world.id: world.explanations() for world in self.worlds()} or self._reasons


_watched = pytest.StashKey[_Watch]()
_played = pytest.StashKey["Tally"]()


# ---------------------------------------------------------------------- pytest's own hooks
def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, all called --mockdify-something."""
    group = parser.getgroup("mockdify", "mockdify: a mock Dify server")
    for name, words in _OPTIONS.items():
        group.addoption(f"--mockdify-{name.replace('_', '-')}", dest=f"mockdify_{name}", default=None, help=words)
    for name, words in _CASSETTE_OPTIONS.items():
        choices = {"choices": ("none", "once", "all"), "default": "none"} if name == "record" else {}
        group.addoption(f"--mockdify-{name.replace('_', '-')}", dest=f"mockdify_{name}", help=words, **choices)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known, and refuse wrong options before anything runs."""
    for mark in _MARKS.splitlines():
        config.addinivalue_line("markers", mark)
    if any(_options(config).values()) and not hasattr(config, "workerinput"):
        try:
            _new_server(config)
        except MockdifyError as mistake:
            raise pytest.UsageError(f"--mockdify-*: {mistake}") from None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the journal of a test that failed; remember that it did, so that nothing else is held against it."""
    report = yield
    watch = item.stash.get(_watched, None)
    if watch is not None:
        if report.failed:
            report.sections.append(("mockdify", watch.section()))
        if call.when != "teardown" and not report.passed:
            watch.failed = True
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell which recorded interactions were asked for: the process that waits for us, or the file that was named."""
    config = session.config
    path = config.getoption("mockdify_played")
    if path and hasattr(config, "workeroutput"):
        config.workeroutput["mockdify_played"] = _tally(config).as_dict()
    elif path:
        import json  # noqa: PLC0415 - imported with the server, if there was one

        from mockdify.writing import write_whole  # noqa: PLC0415

        write_whole(config.rootpath / path, json.dumps(_tally(config).as_dict(), indent=1) + "\n")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist has played."""
    if played := getattr(node, "workeroutput", {}).get("mockdify_played"):
        _tally(node.config).take(played)


def _told(mistake: MockdifyError) -> BaseException:
    """The failure to raise in the place of *mistake*: the same words without a traceback."""
    return pytest.fail.Exception(f"mockdify: {mistake}", pytrace=False)


# ---------------------------------------------------------------------- fixtures
@pytest.fixture(scope="session")
def mockdify_server(request: pytest.FixtureRequest) -> Iterator[MockDify]:
    """The mock Dify server of this worker, on a free port. It lives as long as the worker; `mockdify` renews it."""
    try:
        server = _new_server(request.config).start()
    except MockdifyError as mistake:
        raise _told(mistake) from None
    yield server
    server.stop()


@pytest.fixture(name="mockdify")
def _mockdify(request: pytest.FixtureRequest, mockdify_server: MockDify) -> Iterator[MockDify]:
    """A mock Dify of this test's own: apps, keys, answers, faults and journal are fresh.

    The test fails at its end when its client asked for an unknown path, sent a request off contract that was answered,
    or left an injected fault unmet; `@pytest.mark.mockdify(strict=False)` lets that pass.
    """
    server = mockdify_server
    others = server.workspaces
    try:
        options = _mark_options(request.node)
        strict = options.pop("strict", True)
        server.renew(**options)
        for name, fault_options in _mark_faults(request.node):
            server.inject(name, **fault_options)
    except MockdifyError as mistake:
        raise _told(mistake) from None
    watch = request.node.stash[_watched] = _Watch(server, others)
    yield server

    try:
        wrong = watch.give_back(strict=strict and not watch.failed)
    except MockdifyError as mistake:  # e.g. the test stopped the server
        raise _told(mistake) from None
    if wrong:
        hint = "@pytest.mark.mockdify(strict=False) lets it pass"
        pytest.fail("\n  ".join([f"mockdify: the test's client did wrong ({hint}):", *wrong]), pytrace=False)


@pytest.fixture
def mock_dify(mockdify: MockDify) -> MockDify:
    """The fixture `mockdify` by another name, for modules where that is the imported package."""
    return mockdify


@pytest.fixture
def mockdify_cassette(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PlayedCassette | RecordedCassette]:
    """The cassette that `@pytest.mark.mockdify_cassette("name")` names: a server that plays it, to any key.

    With --mockdify-record it is recorded through a proxy instead; `base_url` and `key` are then those to record with.
    A played one fails the test at its end when something was asked that it has not.
    """
    from mockdify.api import MockDify  # noqa: PLC0415 - when a test asks for it

    try:
        path, said = _cassette_of(request.node)
        made = _recorder(request.config, tmp_path_factory, path, said) or _player(path, said)
        made.start()
        for name, fault_options in _mark_faults(request.node):  # while recording it warns that nothing will strike
            made.inject(name, **fault_options)
    except MockdifyError as mistake:
        raise _told(mistake) from None
    watch: _Watch | None = None
    wrong: list[str] = []
    if isinstance(made, MockDify):
        watch = _Watch(made, ())
        request.node.stash.setdefault(_watched, watch)
    try:
        yield made
        if isinstance(made, MockDify) and request.config.getoption("mockdify_played"):
            _tally(request.config).add(path, *made.asked)
    finally:
        if watch is not None:
            wrong = watch.give_back(strict=not watch.failed)
        made.stop()
    if wrong:
        pytest.fail("\n  ".join(["mockdify: the cassette and the test do not fit:", *wrong]), pytrace=False)


def _tally(config: pytest.Config) -> Tally:
    from mockdify.recordings import Tally  # noqa: PLC0415 - when somebody wants to know

    return config.stash.setdefault(_played, Tally())


def _cassette_of(item: pytest.Item) -> tuple[Path, dict[str, Any]]:
    """Where the cassette of a test is, and what else its mark says. Without a mark it is called like the test."""
    mark = item.get_closest_marker("mockdify_cassette")
    name = f"{item.path.stem}/{item.name}" if mark is None or not mark.args else str(mark.args[0])
    said = dict(mark.kwargs) if mark is not None else {}
    unknown = set(said) - {"repeat", "pace", "secrets"}
    if unknown or (mark is not None and len(mark.args) > 1):
        wrong = next(iter(unknown), mark.args[1:] if mark is not None else "")
        raise MockdifyError(f"@pytest.mark.mockdify_cassette takes a name, repeat, pace and secrets; got {wrong!r}")
    given = item.config.getoption("mockdify_cassette_dir")
    folder = item.config.rootpath / given if given else item.path.parent / "cassettes"
    clean = "".join(each if each.isalnum() or each in "/._- " else "-" for each in name)
    return folder / (clean if clean.endswith((".yaml", ".yml")) else f"{clean}.yaml"), said


def _recorder(
    config: pytest.Config, factory: pytest.TempPathFactory, path: Path, said: dict[str, Any]
) -> RecordedCassette | None:
    """What records *path* in this run; None when it is to be played."""
    mode = config.getoption("mockdify_record")
    if mode == "none":
        return None
    from mockdify.recordings import RecordedCassette, is_recorded  # noqa: PLC0415 - only when somebody records

    base = factory.getbasetemp()
    run = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "mockdify-cassettes"
    if not is_recorded(mode, path, run):
        return None
    upstream = config.getoption("mockdify_upstream") or os.environ.get("DIFY_UPSTREAM")
    if not upstream:
        raise MockdifyError("--mockdify-record needs a real Dify: give --mockdify-upstream URL, or set DIFY_UPSTREAM")
    return RecordedCassette(path, upstream, secrets=said.get("secrets", ()), fresh=mode == "all", run=run)


def _player(path: Path, said: dict[str, Any]) -> PlayedCassette:
    from mockdify.recordings import PlayedCassette  # noqa: PLC0415 - when the first test asks for it

    return PlayedCassette(path, repeat=said.get("repeat", "no"), pace=said.get("pace"), secrets=said.get("secrets", ()))


def _options(config: pytest.Config) -> dict[str, Any]:
    return {name: config.getoption(f"mockdify_{name}") for name in _OPTIONS}


def _new_server(config: pytest.Config) -> MockDify:
    from mockdify.api import MockDify  # noqa: PLC0415 - when the first test asks for it

    return MockDify(**_options(config), root=config.rootpath)


# ---------------------------------------------------------------------- marks
def _mark_options(item: pytest.Item) -> dict[str, Any]:
    """What the marks `mockdify` of a test say together: the nearest word counts."""
    said: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers("mockdify"))):
        if mark.args:
            raise MockdifyError(f"@pytest.mark.mockdify takes names only, such as seed=7; got {mark.args[0]!r}")
        for name, value in mark.kwargs.items():
            if name not in _MARK_ARGUMENTS:
                from mockdify.shapes import nearest  # noqa: PLC0415 - only for a mistake

                raise MockdifyError(f"@pytest.mark.mockdify has no argument {name!r}{nearest(name, _MARK_ARGUMENTS)}")
            said[name] = value
    if not isinstance(said.get("strict", True), bool):
        raise MockdifyError(f"@pytest.mark.mockdify: strict is True or False, got {said['strict']!r}")
    if said.get("apps") is not None:
        said["apps"] = _placed(item, said["apps"])
    return said


def _placed(item: pytest.Item, apps: Any) -> list[Any]:
    """*apps*, where a path that exists beside the test's file means that one."""
    from mockdify.api import is_path  # noqa: PLC0415 - imported by the server already

    listed = [apps] if isinstance(apps, str) or hasattr(apps, "__fspath__") else list(apps)
    folder = item.path.parent
    return [folder / app if is_path(app) and (folder / app).exists() else app for app in listed]


def _mark_faults(item: pytest.Item) -> Iterator[tuple[str, dict[str, Any]]]:
    """The faults that marks inject, those of the module first and then in the order they are written."""
    for mark in reversed(list(item.iter_markers("mockdify_fault"))):
        if len(mark.args) != 1 or not isinstance(mark.args[0], str):
            raise MockdifyError(f"@pytest.mark.mockdify_fault takes one fault's name, then options; got {mark.args!r}")
        if "fault" in mark.kwargs:
            raise MockdifyError("@pytest.mark.mockdify_fault: the fault's name stands first, without `fault=`")
        yield mark.args[0], dict(mark.kwargs)
