"""A key in a front end is noticed, a back end's own `fetch` is none."""

import pytest

from mockdify.assemble import template_of
from mockdify.config import Config, Settings
from mockdify.engine import Engine
from mockdify.exposure import exposed_key
from mockdify.http import Request
from mockdify.serving import request_line

NODE = {"accept-language": "*", "sec-fetch-mode": "cors", "user-agent": "node"}
BROWSER = {
    "Origin": "https://shop.example",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
    "User-Agent": "Mozilla/5.0",
    "Accept-Language": "de",
}


def warning(headers):
    return exposed_key(Request(method="POST", target="/v1/chat-messages", headers=tuple(headers.items())))


@pytest.mark.parametrize("name", [name for name in BROWSER if name.startswith(("Origin", "Sec-"))])
def test_each_header_that_only_browsers_send_is_enough(name):
    assert name in warning({name: BROWSER[name]})


def test_the_warning_is_one_sentence_that_says_what_to_do():
    said = warning(BROWSER)
    assert "Origin and Sec-Fetch-Site" in said
    assert "keep it in a back end" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"User-Agent": "curl/8"},
        NODE,
        {**NODE, "user-agent": "shop/1"},
        {"user-agent": "undici", "sec-fetch-mode": "cors"},
    ],
)
def test_back_ends_are_not_suspected(headers):
    assert warning(headers) is None


@pytest.mark.parametrize("profile", ["1.13", "1.16", "guide"])
def test_it_stands_in_the_journal_and_in_the_request_log(profile):
    engine = Engine(template_of(Config(), Settings(profile=profile)), time=lambda: 0.0)

    def sent(key, **headers):
        pairs = (("Authorization", f"Bearer {key}"), *headers.items())
        handling = engine.open(Request(method="GET", target="/v1/parameters", headers=pairs))
        list(handling.steps)
        return handling

    handling = sent("app-chat-demo", Origin="https://shop.example")
    (said,) = handling.exchange.warnings
    assert "a key in a front end" in said
    assert handling.exchange.as_dict()["warnings"] == [said]
    assert f"! {said}" in request_line(handling)
    assert sent("app-chat-demo").exchange.warnings == []
    assert sent("no key of ours", Origin="https://shop.example").exchange.warnings == []
