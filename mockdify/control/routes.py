"""The table of the control API. A new route is a row here and a handler in the module of its family.

The document at `/_mockdify/openapi.json` is made of this table, so it cannot say anything else.
"""

from __future__ import annotations

from mockdify.control import apps, clock, faults, inspector, journal, openapi, workspaces
from mockdify.control.table import Route

__all__ = ["ROUTES"]

_DELETED = {"type": "object", "required": ["removed"], "properties": {"removed": {"type": "array"}}}
_DONE = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}

ROUTES: tuple[Route, ...] = (
    # the server
    Route(
        method="GET", path="/", name="inspect", scope="server", handler=inspector.page, is_open=True,
        words="The inspector: a page that shows workspaces and exchanges as they come.",
        media="text/html; charset=utf-8",
    ),
    Route(
        method="GET", path="/health", name="health", scope="server", handler=workspaces.health, is_open=True,
        words="That the server is up. Needs no token.", reply=workspaces.HEALTH,
    ),
    Route(
        method="GET", path="/openapi.json", name="document", scope="server",
        handler=lambda call: openapi.show(call, ROUTES), words="This document.",
    ),
    Route(
        method="GET", path="/workspaces", name="listWorkspaces", scope="server", handler=workspaces.list_all,
        words="All workspaces, the default one first.", reply=workspaces.LIST,
    ),
    Route(
        method="POST", path="/workspaces", name="createWorkspace", scope="server", handler=workspaces.create,
        words="Make a workspace with keys of its own; nothing in it is shared with another.",
        body=workspaces.CREATE, status=201, reply=workspaces.CREATED,
    ),
    Route(
        method="GET", path="/workspaces/{workspace}", name="showWorkspace", scope="server", handler=workspaces.show,
        words="One workspace.", reply=workspaces.ONE,
    ),
    Route(
        method="DELETE", path="/workspaces/{workspace}", name="deleteWorkspace", scope="server",
        handler=workspaces.delete, words="Close a workspace; its open streams are cut off.", reply=_DONE,
    ),
    # a workspace
    Route(
        method="POST", path="/reset", name="reset", handler=workspaces.reset, body={},
        words="Make the workspace new: as at the start, with the same keys. Open streams are cut off.", reply=_DONE,
    ),
    Route(
        method="GET", path="/journal", name="listExchanges", handler=journal.list_all, query=journal.FILTERS,
        words="Every request with what was sent back, newest last.", reply=journal.PAGE,
    ),
    Route(
        method="GET", path="/journal/{exchange}", name="showExchange", handler=journal.show,
        words="One exchange, by its id or as `last`.", reply=journal.EXCHANGE,
    ),
    Route(
        method="GET", path="/journal/{exchange}/why", name="explainExchange", handler=journal.why,
        words="Why it ended as it did: the rule, the evidence, the nearest thing, how to fix it.", reply=journal.WHY,
    ),
    Route(
        method="GET", path="/faults", name="listFaults", handler=faults.list_all,
        words="The fault rules, in the order they are tried.", reply=faults.LIST,
    ),
    Route(
        method="POST", path="/faults", name="injectFault", handler=faults.inject, body=faults.INJECT,
        others="An option of the fault's own, e.g. `retry_after`.", status=201, reply=faults.RULE,
        words="Let a fault strike matching requests from now on.",
    ),
    Route(
        method="DELETE", path="/faults", name="removeFaults", handler=faults.remove_all, reply=_DELETED,
        query=faults.WHICH, body=faults.WHICH, words="Take back all rules, or those that the query or the body names.",
    ),
    Route(
        method="GET", path="/faults/{fault}", name="showFault", handler=faults.show, words="One rule.",
        reply=faults.RULE,
    ),
    Route(
        method="DELETE", path="/faults/{fault}", name="removeFault", handler=faults.remove, words="Take one rule back.",
        reply=_DELETED,
    ),
    Route(
        method="GET", path="/clock", name="showClock", handler=clock.show, words="What time it is.", reply=clock.CLOCK,
    ),
    Route(
        method="POST", path="/clock", name="moveClock", handler=clock.move, body=clock.MOVE, reply=clock.CLOCK,
        words="Move the time: waits end, pings come, windows pass, keys expire.",
    ),
    Route(
        method="GET", path="/keys", name="reportKeys", handler=apps.report_keys, reply=apps.KEYS,
        words="All keys of the workspace: which are unused, overdue, expired or revoked.",
    ),
    # an app
    Route(
        method="POST", path="/apps/{app}/answers", name="scriptAnswer", handler=apps.answer, body=apps.RULE,
        read=lambda data: data, status=201, reply=apps.ANSWERED,
        words="Script an answer, with the keys of `[[apps.answers]]`. It is tried before those of the configuration.",
    ),
    Route(
        method="POST", path="/apps/{app}/conversations", name="makeConversation", handler=apps.converse,
        body=apps.MAKE_CONVERSATION, status=201, reply=apps.CONVERSATION,
        words="A conversation that the WebApp made: to the API it does not exist.",
    ),
    Route(
        method="GET", path="/apps/{app}/keys", name="listKeys", handler=apps.list_keys, reply=apps.KEYS,
        words="The app's keys. `dataset` stands for the knowledge API.",
    ),
    Route(
        method="POST", path="/apps/{app}/keys", name="createKey", handler=apps.change_keys, body=apps.CREATE_KEY,
        status=201, reply=apps.KEY, words="Make a key, or rotate one.",
    ),
    Route(
        method="DELETE", path="/apps/{app}/keys", name="revokeKeyNamed", handler=apps.revoke, query=apps.WHICH,
        body=apps.WHICH, reply=apps.KEY, words="Revoke the key that the query or the body names.",
    ),
    Route(
        method="POST", path="/apps/{app}/keys/{key}/rotate", name="rotateKey", handler=apps.rotate_one,
        body=apps.ROTATE, status=201, reply=apps.KEY,
        words="Put a new key in the place of this one (id, token or name).",
    ),
    Route(
        method="DELETE", path="/apps/{app}/keys/{key}", name="revokeKey", handler=apps.revoke_one,
        reply=apps.KEY, words="Revoke this key (id, token or name).",
    ),
)  # fmt: skip
