"""The machine finds a client that shares conversations and lets a good one be."""

import pytest
from broken import BROKEN
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from mockdify.checks.model import Case
from mockdify.harness.adapters import PythonAdapter
from mockdify.harness.stage import Scene
from mockdify.reference import ReferenceAdapter
from mockdify.strategies import isolation_machine

SETTINGS = settings(
    max_examples=8, stateful_step_count=8, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def machine(theatre, target):
    client = target()
    place = Scene(theatre, PythonAdapter(client), Case(mode="chat.blocking", play=lambda _: None)).live("chat")

    def ask(user, query, conversation_id):
        said = {"query": query, "user": user, "conversation_id": conversation_id, "inputs": {}, "stream": True}
        answer = client.chat(base_url=place.base_url, api_key=place.api_key, timeout=5, emit=lambda _: None, **said)
        return answer.text, answer.conversation_id

    return isolation_machine(ask)


def test_the_reference_client_keeps_users_apart(theatre):
    run_state_machine_as_test(machine(theatre, ReferenceAdapter), settings=SETTINGS)


@pytest.mark.parametrize("bug", ["shares-conversation", "begins-anew"])
def test_a_client_that_mixes_users_is_found(bug, theatre):
    with pytest.raises(Exception):  # noqa: B017 - the assertion, or the 404 it runs into
        run_state_machine_as_test(machine(theatre, BROKEN[bug]), settings=SETTINGS)
