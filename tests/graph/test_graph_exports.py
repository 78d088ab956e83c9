"""Exports of real users walk to an end."""

from __future__ import annotations

import pytest
import yaml
from graph_walking import CHAT, SHARED, Doubles, go

from mockdify.graph import NodeScript, parse_graph

FILES = sorted([*(SHARED / "dsl").glob("*.yml"), *(SHARED / "dify" / "apps-1.16").glob("*.yml")])
PLAUSIBLE = {"number": 1, "checkbox": True, "file": None, "file-list": [], "json_object": {}}


def graphs():
    for path in FILES:
        app = yaml.safe_load(path.read_text(encoding="utf-8"))
        if app["app"]["mode"] in ("advanced-chat", "workflow"):
            yield pytest.param(app, path.stem, id=path.stem)


def plausible(variable):
    options = variable.get("options") or []
    return options[0] if options else PLAUSIBLE.get(variable["type"], "some text")


@pytest.mark.skipif(not FILES, reason="the exports are not beside this checkout")
@pytest.mark.parametrize(("app", "name"), list(graphs()))
def test_an_export_walks_to_an_end(app, name):
    graph = parse_graph(app["workflow"], source=name)
    inputs = {v["variable"]: plausible(v) for v in graph.start.data.get("variables", [])}
    humans = {n.id: NodeScript(outputs={"note": "ok"}) for n in graph.nodes.values() if n.type == "human-input"}
    walked = go(graph, mode=app["app"]["mode"], doubles=Doubles(scripts=humans), inputs=inputs, system=CHAT)
    assert walked.outcome.status in ("succeeded", "partial-succeeded"), walked.outcome.error
    if app["app"]["mode"] == "advanced-chat":
        assert walked.outcome.answer == walked.text
