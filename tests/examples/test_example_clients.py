"""The small clients in examples/python: they ask, go on, stream, and see what goes wrong."""

import asyncio

import pytest

from mockdify.faults import CATALOGUE

FILES = ("requests_client", "httpx_client", "aiohttp_client")
FRAMING = [name for name in ("chop", "split-utf8", "merge", "comment", "connection-close") if name in CATALOGUE]


class Blocking:
    """A client without await."""

    def __init__(self, module):
        self.error = module.DifyError
        self._chat = module.Chat

    def run(self, script, *given):
        with self._chat(*given) as chat:
            return script(chat)

    def ask(self, chat, query):
        return chat.ask(query)

    def stream(self, chat, query, pieces):
        for piece in chat.stream(query):
            pieces.append(piece)


class Awaiting(Blocking):
    """The same script for a client with await: each call in a loop that stays."""

    def run(self, script, *given):
        self.loop = asyncio.new_event_loop()
        try:
            return self.loop.run_until_complete(self._run(script, *given))
        finally:
            self.loop.close()

    async def _run(self, script, *given):
        async with self._chat(*given) as chat:
            return await asyncio.to_thread(script, chat)

    def _wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def ask(self, chat, query):
        return self._wait(chat.ask(query))

    def stream(self, chat, query, pieces):
        async def read():
            async for piece in chat.stream(query):
                pieces.append(piece)

        self._wait(read())


@pytest.fixture(params=FILES)
def client(request, load_example):
    module = load_example(f"python/{request.param}.py")
    return (Awaiting if request.param.startswith("aio") else Blocking)(module)


def test_a_conversation_goes_on(client, mockdify):
    app = mockdify.app("chat").answer("{{ turn }}: {{ query }}")

    def script(chat):
        pieces = []
        said = client.ask(chat, "one")
        client.stream(chat, "two", pieces)
        return said, "".join(pieces), client.ask(chat, "three")

    assert client.run(script, mockdify.base_url, app.key, "alice") == ("1: one", "2: two", "3: three")
    conversations = {exchange.request.json["conversation_id"] for exchange in list(mockdify.journal)[1:]}
    assert conversations == {mockdify.journal[0].json["conversation_id"]}


@pytest.mark.parametrize("fault", [None, *FRAMING])
def test_a_stream_is_read_whole_however_it_is_cut(client, mockdify, fault):
    """Also where a line separator of Unicode stands in it, which some libraries end a line at."""
    text = 'Grüße, 你好 👋\u2028 next \x85 and a \\ "quote"\n\nend'
    app = mockdify.app("chat").answer(chunks=[text[:9], text[9:], ""])
    if fault:
        mockdify.inject(fault)
    pieces = []
    client.run(lambda chat: client.stream(chat, "hello", pieces), mockdify.base_url, app.key, "alice")
    assert "".join(pieces) == text


@pytest.mark.mockdify(clock="frozen")
def test_pings_are_no_text(client, mockdify):
    app = mockdify.app("chatflow").answer(chunks=["one ", "two"], pace="25s")
    pieces = []
    client.run(lambda chat: client.stream(chat, "hello", pieces), mockdify.base_url, app.key, "alice")
    assert "".join(pieces) == "one two"


def test_an_error_inside_a_stream_is_raised(client, mockdify):
    app = mockdify.app("chat").answer(chunks=["one ", "two"], fails="rate-limit", after=1)
    pieces = []
    with pytest.raises(client.error) as met:
        client.run(lambda chat: client.stream(chat, "hello", pieces), mockdify.base_url, app.key, "alice")
    assert (met.value.status, met.value.code, pieces) == (429, "rate_limit_error", ["one "])


@pytest.mark.parametrize("streamed", [False, True])
def test_an_http_error_is_raised_with_its_code(client, mockdify, streamed):
    def script(chat):
        return client.stream(chat, "hello", []) if streamed else client.ask(chat, "hello")

    for fault, status, code in (
        ("rate-limit", 429, "too_many_requests"),
        ("server-error", 500, "internal_server_error"),
    ):
        mockdify.inject(fault)
        with pytest.raises(client.error) as met:
            client.run(script, mockdify.base_url, mockdify.app("chat").key, "alice")
        assert (met.value.status, met.value.code) == (status, code)


@pytest.mark.skipif("bad-gateway" not in CATALOGUE, reason="there is no fault of a gateway")
def test_a_page_of_html_is_an_error_too(client, mockdify):
    mockdify.inject("bad-gateway")
    with pytest.raises(client.error) as met:
        client.run(lambda chat: client.ask(chat, "hello"), mockdify.base_url, mockdify.app("chat").key, "alice")
    assert (met.value.status, met.value.code) == (502, "unknown")
