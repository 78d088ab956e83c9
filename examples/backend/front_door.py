"""What the back end checks before it asks: who calls, and what was sent."""

from dify_client import ask

ORIGINS = {"https://shop.example"}
LONGEST = 2000


class Refused(Exception):
    """A request that goes no further; `status` is the answer's."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


def question(headers, body):
    """The question of a good request."""
    if headers.get("Origin") not in ORIGINS:
        raise Refused(403, "unknown origin")
    query = body.get("query") if isinstance(body, dict) else None
    if not isinstance(query, str) or not query.strip():
        raise Refused(400, "query must be a text")
    if len(query) > LONGEST:
        raise Refused(413, f"query is longer than {LONGEST} characters")
    return query


def handle(headers, body, session_user):
    """The answer for a visitor. The user comes from the session: whoever may name another reads another's chats."""
    return ask(question(headers, body), user=session_user)["answer"]
