"""The page about faults, made from the catalogue: `python -m mockdify.faults.docs > docs/faults.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import assert_never

from mockdify.events import Envelope, Message, MessageEnd
from mockdify.faults.base import FaultContext, Kind, Option, Spec
from mockdify.faults.catalogue import CATALOGUE, COMMON
from mockdify.faults.http import KINDS
from mockdify.faults.presets import PRESETS
from mockdify.http import Request
from mockdify.profiles import PROFILES
from mockdify.sse import encode
from mockdify.steps import Abort, Body, Emit, Head, Raw, Reply, Step, Wait
from mockdify.wire import REASONS, SSE

__all__ = ["as_lines", "example", "page"]

_NOW = 1_767_225_600.0
"""2026-01-01, the time of all examples."""
_ENVELOPE = Envelope.chat(conversation_id="c-1", message_id="m-1", created_at=int(_NOW), task_id="t-1")
_MOST_LINES = 22

_INTRO = """\
# Faults

<!-- Made by `python -m mockdify.faults.docs`; a test compares. -->

Each fault is a damage with a name. What it does is the same by whichever way it comes in:

| way | example |
|---|---|
| Python | `mockdify.inject("rate-limit", times=2, retry_after=1)` |
| over HTTP | `POST /_mockdify/faults` with `{"fault": "rate-limit", "when": {"user": "bob"}, "times": 2}` |
| the configuration | `[[faults]]` with the same keys; every fresh workspace begins with them |
| a header, for that request alone | `X-Mockdify-Fault: cut; after=2` |
| the API key | `app-chat-demo!rate-limit*2;retry_after=1`: `KEY!fault[*N][;option=value…]`, every time without `*N` |

In a key `;tag=WORD` does nothing but make another key, so that counters are not shared. A name or an option that does
not exist is refused with what is near.

## When one strikes

"""

_WHEN = """
`on` is a method and a path as the endpoint has it (`POST /v1/chat-messages`), with `*` and `{slots}` where you like.
`when` holds for every condition in it: `user`, `query`, `key` and `app` are compared as texts, `header` is a table of
names and values, `nth` is the number of a matching request, a list of numbers, or `"every 3"`.

Order: the header's fault, then the key's, then the rules of the workspace as they were given. Of the faults before the
reply the first that strikes is the only one; the request counts for no other rule, uses up no answer and makes no
conversation. Otherwise all faults in the stream strike, the first given nearest to the honest reply, and the framing
faults around them (texts, then chunks, then the connection).

Faults in a stream and of framing concern streams only: a blocking answer and a refusal pass untouched and leave the
fault unmet, so that it strikes the next stream. `after` and `byte` count what the honest stream sends; a stream that
ends sooner is struck at its end. A chatflow's or workflow's run goes on when its stream is damaged, as it does when a
client leaves; a chat's message stays as it was.

Chance comes from the seed, the workspace, the rule, the app, the user and how often that user drew: parallel users
change nothing, and a run with the same seed repeats it.

## Presets

"""

_LIMITS = """
## Limits

A limit is no fault: it refuses what is beyond it and lets the rest through. Three kinds, as clients meet three kinds
of refusal:

```toml
[limits]
concurrency = 1                        # an app's max_active_requests
quota = "100 per day"                  # the plan's runs
edge = "20 per minute; 100 per hour"   # a proxy in front of Dify
```

Or one by one:

```toml
[[limits]]
kind = "concurrency"
max = 2
app = "chat"              # also user, key: only for this one; on = "POST /v1/chat-messages": only these requests
per = "user"              # who shares it: workspace, app, key or user
answer = "documented"     # 429 as Dify's documents have it; "real" (default) is what it answers since 0.14.2
retry_after = true        # the seconds until there is room, or a number
```

| kind | counts | the answer beyond it | without `per` | `Retry-After` |
|---|---|---|---|---|
| `concurrency` | generations at once | 400 `invalid_param` `Too many requests. Please try again later. The current \
maximum concurrent requests allowed for <app id> is <n>.`; 429 `too_many_requests` with `answer = "documented"`, and \
in the guide's profiles | `app` | no |
| `quota` | generations in a window | 429 `rate_limit_error`; in 1.13 a completion app answers 500 \
`internal_server_error` | `workspace` | no |
| `edge` | all requests in a window | 429 with Cloudflare's page 1015 | `key` | yes |

Windows slide on the workspace's clock. A slot is taken after the request's form is checked and before its conversation
and inputs are, and freed however the answer ends. Dify takes the slot of a *streaming* chatflow or workflow twice and
frees both before the stream begins (1.13 to 1.16): with a limit of 1 such a request is always refused, with a higher
one its stream does not count. mockdify does the same, but not in the guide's profiles.

## What the client sees

The examples are answers to `POST /v1/chat-messages`, streaming where the fault needs a stream. The honest stream has
two `message` events (`Hi`, ` é`) and a `message_end`. Below the head each line is one HTTP chunk, bytes as they are,
with `\\n`, `\\r` and `\\xNN` for what does not print; `Date` and
`Connection: keep-alive` are left out.
"""

_SHARED = {**KINDS[0].options}
"""Options that most faults before the reply have; told once."""
_PARTS = {
    "before": (
        "Before the reply",
        "Options of Dify's own errors; proxies' pages have all but `message`, the rest has `delay`.\n\n",
    ),
    "stream": ("In the stream", ""),
    "framing": ("Framing", ""),
}


# ---------------------------------------------------------------------- examples
def _honest() -> Reply:
    """The stream that the examples damage."""
    yield Head(200, (("Content-Type", SSE),))
    for text in ("Hi", " é"):
        yield Emit(Message(id="m-1", answer=text, from_variable_selector=[]), _ENVELOPE)
    yield Emit(MessageEnd(id="m-1", metadata={"usage": {"total_tokens": 2}}, files=[]), _ENVELOPE)


def example(kind: Kind) -> Reply:
    """The steps of an example of *kind*: faults in a stream strike after the first event."""
    context = FaultContext(
        Request(method="POST", target="/v1/chat-messages"),
        PROFILES["1.16"],
        lambda: _NOW,
        tenant_id="2a1c7a5c-0000-4000-8000-000000000000",
        app_id="5b3d4f2a-0000-4000-8000-000000000000",
        model="gpt-4o-mini",
    )
    return Spec(kind=kind, options=_example_options(kind)).make().apply(context, _honest())


def _example_options(kind: Kind) -> dict[str, object]:
    if kind.when == "stream":
        return {"after": 1}
    if kind.name == "chop":
        return {"bytes": 40}
    return {"retry_after": 2} if kind.name in ("rate-limit", "edge-rate-limit") else {}


def as_lines(steps: Iterable[Step]) -> Iterator[str]:
    """What *steps* put on the wire, a line per header and per write."""
    head: Head | None = None
    for step in steps:
        if isinstance(step, Head):
            head = step
            yield from _head_lines(step)
        elif isinstance(step, Abort):
            yield _ENDINGS[step.how]
            return
        else:
            yield _line(step)
            if isinstance(step, Wait) and step.until == _FOREVER:
                return
    if head is not None and head.wire is not None and head.wire.until_close:
        yield _ENDINGS["close"]
    elif head is not None and head.length is None:
        yield _ENDINGS["end"]


def _line(step: Body | Emit | Raw | Wait) -> str:
    match step:
        case Body():
            return _escaped(step.data)
        case Emit():
            return _escaped(encode(step.event, step.envelope))
        case Raw():
            return f"{_escaped(step.data)}   ← past HTTP's framing"
        case Wait():
            left = step.until - _NOW
            return "(nothing more, until the client leaves)" if left == _FOREVER else f"({round(left, 3):g} s)"
        case _:
            assert_never(step)


_FOREVER = float("inf")
_ENDINGS = {
    "reset": "(the connection is reset: RST)",
    "close": "(the connection ends: FIN)",
    "end": "(the last chunk: the body is complete)",
}


def _head_lines(head: Head) -> Iterator[str]:
    wire = head.wire
    reason = REASONS.get(head.status, "") if wire is None or wire.reason is None else wire.reason
    yield f"HTTP/1.1 {head.status} {reason}".rstrip()
    yield from (f"{name}: {value}" for name, value in head.headers)
    if head.length is not None:
        yield f"Content-Length: {head.length}"
    elif wire is not None and wire.until_close:
        yield "Connection: close"
    else:
        yield "Transfer-Encoding: chunked"
    yield ""


def _escaped(data: bytes) -> str:
    named = {"\n": "\\n", "\r": "\\r"}
    text = data.decode("utf-8", "backslashreplace")
    return "".join(named.get(char) or (char if char.isprintable() else _bytes_of(char)) for char in text)


def _bytes_of(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode())


# ---------------------------------------------------------------------- the page
def page() -> str:
    """The whole page, as Markdown."""
    lines = [_INTRO, *_options({**COMMON}), _WHEN]
    lines += [f"- `{preset.name}`: {preset.words}.\n" for preset in PRESETS.values()]
    lines.append(_LIMITS)
    for when, (title, intro) in _PARTS.items():
        kinds = [kind for kind in CATALOGUE.values() if kind.when == when]
        lines.append(f"\n### {title}\n")
        if intro:
            lines += ["\n", intro, *_options(_SHARED)]
        lines += [_section(kind) for kind in kinds]
    return "".join(lines)


def _options(options: dict[str, Option]) -> Iterator[str]:
    yield "| option | takes | default | what it does |\n|---|---|---|---|\n"
    for name, option in options.items():
        default = "" if option.default is None else f"`{str(option.default).replace('False', 'false')}`"
        yield f"| `{name}` | {option.takes_words} | {default} | {option.words} |\n"


def _section(kind: Kind) -> str:
    lines = [f"\n#### `{kind.name}`\n\n{_capital(kind.words)}.\n\n"]
    lines.append(f"- Does a real Dify do it? {_capital(kind.real)}.\n")
    lines.append(f"- A good client {kind.advice}.\n")
    if kind.threads:
        lines.append("- Met in\n  " + ",\n  ".join(map(_link, kind.threads)) + ".\n")
    own = {name: option for name, option in kind.options.items() if name not in _SHARED or kind.when != "before"}
    if own:
        lines += ["\n", *_options(own)]
    shown = list(_first(as_lines(example(kind)), _MOST_LINES))
    lines.append("\n```text\n" + "\n".join(shown) + "\n```\n")
    return "".join(lines)


def _first(lines: Iterator[str], most: int) -> Iterator[str]:
    for at, line in enumerate(lines):
        if at == most:
            yield "…"
            return
        yield line


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _link(thread: str) -> str:
    repository, _, number = thread.partition("#")
    return f"[{thread}](https://github.com/{repository}/issues/{number})"


if __name__ == "__main__":
    sys.stdout.write(page())
