"""What a configuration says about apps and nodes that are not there: no mistake, but it will never happen.

The same file may be served with some of its apps, so these are warnings.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mockdify.config import Config
    from mockdify.script import Rule
    from mockdify.shapes import KeyPath
    from mockdify.workspace import Template

__all__ = ["loose_ends"]


def loose_ends(config: Config, template: Template) -> list[str]:
    """One line, with its place, for each name of an app or a node that *template* does not have."""
    found = sorted(
        (config.source.place(*path) if config.source else (0, 0), path, said) for path, said in _ends(config, template)
    )
    return [f"{config.where(*path)}{said}" for _, path, said in found]


def _ends(config: Config, template: Template) -> Iterator[tuple[KeyPath, str]]:
    apps = {app.name for app in template.apps}
    for at, fault in enumerate(config.faults):
        when = fault.get("when") or {}
        yield from _unless_there(when.get("app"), apps, "app", ("faults", at, "when", "app"))
    yield from _of_rules(config.rules, ("answers",), apps)
    scripted = [app for app in config.apps if app.nodes or _nodes_asked(app.rules)]
    nodes: dict[str, set[str]] = {}
    if scripted or _nodes_asked(config.rules):
        nodes = {app.name: _node_ids(app.load().workflow) for app in template.apps}
    if nodes:
        everywhere = set().union(*nodes.values())
        yield from _nodes_of_rules(config.rules, ("answers",), everywhere, "")
    for at, app in enumerate(config.apps):
        yield from _of_rules(app.rules, ("apps", at, "answers"), apps)
        if app in scripted:
            there, of = nodes.get(app.name, set()), f" of app {app.name!r}"
            for k, node in enumerate(app.nodes):
                yield from _unless_there(node.node, there, "node", ("apps", at, "nodes", k, "node"), of)
            yield from _nodes_of_rules(app.rules, ("apps", at, "answers"), there, of)


def _nodes_asked(rules: Iterable[Rule]) -> bool:
    return any(rule.when.node is not None for rule in rules)


def _of_rules(rules: Iterable[Rule], path: KeyPath, apps: set[str]) -> Iterator[tuple[KeyPath, str]]:
    for at, rule in enumerate(rules):
        yield from _unless_there(rule.when.app, apps, "app", (*path, at, "when", "app"))


def _nodes_of_rules(rules: Iterable[Rule], path: KeyPath, there: set[str], of: str) -> Iterator[tuple[KeyPath, str]]:
    for at, rule in enumerate(rules):
        yield from _unless_there(rule.when.node, there, "node", (*path, at, "when", "node"), of)


def _unless_there(name: Any, there: set[str], what: str, path: KeyPath, of: str = "") -> Iterator[tuple[KeyPath, str]]:
    if not isinstance(name, str) or name in there:
        return
    near = get_close_matches(name, there, 1, 0.5)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there {'are' if there else 'is none'}{_some(there)}"
    yield path, f"there is no {what} {name!r}{of}, so this never happens{hint}"


def _some(names: set[str]) -> str:
    shown = sorted(names)[:8]
    return f": {', '.join(shown)}{', …' if len(names) > len(shown) else ''}" if shown else ""


def _node_ids(workflow: Mapping[str, Any] | None) -> set[str]:
    """The ids of all nodes; what is wrong with a graph is told when it is run."""
    graph = workflow.get("graph") if isinstance(workflow, dict) else None
    nodes = graph.get("nodes") if isinstance(graph, dict) else None
    listed = nodes if isinstance(nodes, list) else []
    return {str(node["id"]) for node in listed if isinstance(node, dict) and "id" in node}
