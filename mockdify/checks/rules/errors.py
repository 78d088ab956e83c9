"""What a client makes of errors: status and code, HTML from an edge, broken replies, silence, and asking again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from mockdify.checks.judge import is_generation, judge, judge_run
from mockdify.checks.model import Case, Rule, Run, Stage, Violation
from mockdify.checks.scenes import ask, blocking, played, reply_in, struck
from mockdify.checks.transcript import WireReply, error, whole
from mockdify.faults import CATALOGUE

__all__ = ["RULES"]

_CHAT = ("chat.blocking", "chat.streaming")
_BLOCKING = ("chat.blocking", "completion.blocking", "workflow.blocking")
_BRIEF = 1.0
_PAGE = (
    b"<html>\r\n<head><title>%b</title></head>\r\n<body>\r\n<center><h1>%b</h1></center>\r\n<hr><center>nginx</center>\r\n"
    b"</body>\r\n</html>\r\n"
)
_HTML = (("Content-Type", "text/html"), ("Server", "nginx"))
_UPLOADS = {"file-too-large", "unsupported-file"}
_AGAIN_NEVER = (
    "unauthorized",
    "forbidden",
    "bad-request",
    "invalid-param",
    "conversation-not-found",
    "completion-error",
)


def _dify_errors() -> tuple[str, ...]:
    """The entries of the catalogue that are errors of Dify's own: whatever is added there is checked from then on."""
    return tuple(
        name
        for name, kind in CATALOGUE.items()
        if kind.when == "before" and kind.words[:3].isdigit() and "`" in kind.words and name not in _UPLOADS
    )


def _page(status: int, words: bytes) -> WireReply:
    text = b"%d %b" % (status, words)
    return whole(_PAGE % (text, text), status=status, headers=_HTML)


def _asked_again(run: Run) -> Iterator[Violation]:
    """How it was asked again, and whether an error came of it: which error is the business of ERR-HTTP-001."""
    yield from (violation for violation in judge_run(run) if violation.verdict != "wrong-error")


def _once_more(run: Run) -> Iterator[Violation]:
    """As ever, and waits that grow."""
    yield from _asked_again(run)
    asked = [exchange.started for exchange in run.exchanges if is_generation(exchange)]
    waits = [after - before for before, after in pairwise(asked)]
    if len(waits) >= 3 and waits[-1] < waits[0] * 1.2:
        shown = ", ".join(f"{wait:.2f} s" for wait in waits[:6])
        yield Violation(verdict="retried-badly", words=f"{len(waits)} retries whose waits do not grow: {shown}")


def _refused_connection(mode: str) -> Case:
    def play(stage: Stage) -> None:
        ask(stage, stage.nowhere(), mode)

    return Case(mode=mode, play=play)


def _not_ok(run: Run) -> Iterator[Violation]:
    """A connection that nobody takes: any error but an HTTP one is right."""
    for outcome in run.outcomes:
        yield from judge(outcome)


RULES: tuple[Rule, ...] = (
    Rule(
        id="ERR-HTTP-001",
        severity="must",
        says="Every error of Dify surfaces with its status and its code.",
        because="`invalid_param`, `provider_quota_exceeded` and `app_unavailable` are all 400 "
        "and need different cures.",
        threads=("langgenius/dify#19355", "langgenius/dify#15706", "langgenius/dify#37313"),
        fix="Read `code` and `message` of the JSON body and put them on the exception, beside the status.",
        check=judge_run,
        cases=tuple(struck(mode, name) for name in _dify_errors() for mode in _CHAT)
        + tuple(
            struck(f"{call}.{how}", name)
            for name in ("unauthorized", "app-unavailable", "server-error")
            for call in ("completion", "workflow")
            for how in ("blocking", "streaming")
        ),
        bugs=("ignores-status",),
    ),
    Rule(
        id="ERR-HTML-001",
        severity="must",
        says="An HTML page from a proxy is an error with its status, not a crash of the JSON parser.",
        because="502, 504 and Cloudflare's 429 come from in front of Dify and are no JSON.",
        threads=("langgenius/dify#15728", "langgenius/dify#25452", "langgenius/dify#33501", "langgenius/dify#19355"),
        fix="Look at the status before the body, and read the body as JSON only if it is.",
        check=judge_run,
        cases=(
            *(
                played(mode, _page(status, words), name=str(status))
                for mode in _CHAT
                for status, words in (
                    (502, b"Bad Gateway"),
                    (504, b"Gateway Time-out"),
                    (429, b"error code: 1015"),
                    (413, b"Request Entity Too Large"),
                )
            ),
            *(struck(mode, name) for name in ("bad-gateway", "gateway-timeout", "edge-rate-limit") for mode in _CHAT),
        ),
        bugs=("ignores-status", "parses-html"),
    ),
    Rule(
        id="ERR-BODY-001",
        severity="must",
        says="A reply that is cut short or is no JSON is reported.",
        because="A connection that breaks in the body looks like a short body to those who do not compare lengths.",
        threads=("langgenius/dify#15912",),
        fix="Let your HTTP library check the length, and wrap the parser's error in one of your own.",
        check=judge_run,
        cases=(
            *(
                played(
                    mode,
                    WireReply(
                        headers=r.headers,
                        pieces=r.cut([60]).pieces[:1],
                        framing="length",
                        extra_length=200,
                        end="close",
                    ),
                    name="cut",
                )
                for mode in _BLOCKING
                for r in (reply_in(mode),)
            ),
            *(
                played(
                    mode, whole(b'{"event": "message", "answer": "half', headers=blocking().headers), name="bad JSON"
                )
                for mode in _BLOCKING
            ),
            *(struck(mode, name) for name in ("truncated-body", "bad-json") for mode in _BLOCKING),
        ),
    ),
    Rule(
        id="ERR-NET-001",
        severity="must",
        says="A connection that breaks before the reply is reported.",
        because="Load balancers drop connections, and a retry helper that reads the missing response falls over.",
        threads=("langgenius/dify#12276",),
        fix="Catch the connection error and report it; there is no response to look at.",
        check=judge_run,
        cases=(
            *(played(mode, WireReply(status=0, end="reset"), name="reset") for mode in _CHAT),
            *(struck(mode, "reset") for mode in _CHAT),
        ),
        bugs=("unbound-response",),
    ),
    Rule(
        id="ERR-NET-002",
        severity="must",
        says="A server that is not there is reported.",
        because="The first thing that goes wrong in every deployment.",
        fix="Catch the connection error and report it.",
        check=_not_ok,
        cases=tuple(map(_refused_connection, _CHAT)),
        bugs=("unbound-response",),
    ),
    Rule(
        id="ERR-HANG-001",
        severity="must",
        says="A server that never answers is given up after the call's limit.",
        because="Without a timeout one lost packet holds a worker for ever.",
        threads=("langgenius/dify#15728", "langgenius/dify#36943"),
        fix="Give every request a timeout.",
        check=judge_run,
        cases=(
            *(played(mode, WireReply(status=0, end="hang"), name="silent", timeout=_BRIEF) for mode in _CHAT),
            struck("chat.blocking", "hang", timeout=_BRIEF),
        ),
        bugs=("no-timeout",),
    ),
    Rule(
        id="RETRY-NEVER-001",
        severity="must",
        says="400, 401, 403 and 404 are not sent again.",
        because="They cannot become right, and a key that is tried again and again gets locked out.",
        threads=("langgenius/dify#15706",),
        fix="Retry only what says that it may pass: 429, 503, and network errors of calls that are safe to repeat.",
        check=_asked_again,
        cases=tuple(struck(mode, name, times=1, timeout=6.0) for name in _AGAIN_NEVER for mode in _CHAT),
        bugs=("retries-401",),
    ),
    Rule(
        id="RETRY-NEVER-002",
        severity="must",
        says="429 `rate_limit_error` is not sent again: the plan's quota is used up.",
        because="Only `too_many_requests` is about speed; the other is about money.",
        threads=("langgenius/dify#37313", "langgenius/dify#19355"),
        fix="Look at `code`, not at the status alone.",
        check=_asked_again,
        cases=tuple(struck(mode, "quota", times=1, timeout=6.0) for mode in _CHAT),
        bugs=("retries-quota",),
    ),
    Rule(
        id="RETRY-AFTER-001",
        severity="must",
        says="A 429 is sent again no sooner than its Retry-After says.",
        because="Coming back sooner keeps the limit closed for everybody.",
        threads=("langgenius/dify#37313", "langgenius/dify#5931"),
        fix="Wait as long as Retry-After says, then once more; or do not retry at all.",
        check=_asked_again,
        cases=tuple(struck(mode, "rate-limit", times=1, retry_after=1, timeout=6.0) for mode in _CHAT),
        bugs=("ignores-retry-after",),
    ),
    Rule(
        id="RETRY-BOUND-001",
        severity="should",
        says="A client that retries 429 or 5xx does it a few times, with waits that grow.",
        because="Retries without a bound turn a short outage into a long one.",
        threads=("langgenius/dify#13657", "langgenius/dify#3491"),
        fix="Three attempts at most, each wait twice the last, with some chance in it.",
        check=_once_more,
        cases=tuple(
            played(mode, error(status, code, "Not now."), name=str(status), timeout=6.0)
            for mode in _CHAT
            for status, code in (
                (429, "too_many_requests"),
                (500, "internal_server_error"),
                (503, "service_unavailable"),
            )
        ),
        bugs=("retries-for-ever",),
    ),
    Rule(
        id="RETRY-LAST-001",
        severity="must",
        says="When retries are used up the error is reported.",
        because="A retry loop that falls through returns nothing, and nothing looks like an empty answer.",
        threads=("langgenius/dify#13657",),
        fix="Raise after the last attempt.",
        check=_asked_again,
        cases=tuple(
            played(
                mode,
                error(429, "too_many_requests", "Too many requests.", headers=[("Retry-After", "0")]),
                name="429",
                timeout=12.0,
            )
            for mode in _CHAT
        )
        + tuple(
            played(mode, error(500, "internal_server_error", "Failed."), name="500", timeout=12.0) for mode in _CHAT
        ),
        bugs=("falls-through",),
    ),
)
