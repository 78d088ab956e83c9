"""The one place of the back end that speaks to Dify."""

import requests
from keys import settings


def ask(query, *, user, conversation_id="", inputs=None, timeout=60):
    """Dify's whole answer to one question; an `HTTPError` carries the reply that refused it."""
    base_url, key = settings()
    reply = requests.post(
        f"{base_url}/chat-messages",
        headers={"Authorization": f"Bearer {key}"},
        json={
            "inputs": inputs or {},
            "query": query,
            "user": user,
            "conversation_id": conversation_id,
            "response_mode": "blocking",
        },
        timeout=timeout,
    )
    reply.raise_for_status()
    return reply.json()
