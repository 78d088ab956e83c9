"""What each type of node does.

To add a type: write a function from `Work` to `Result` in the module where its like are (or a generator that yields
`Say`, `Think`, `Wait` and returns a `Result`, if it streams or waits), and add its row to `KINDS`. A type without a row
passes through: it has the outputs its script gives it, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mockdify.graph.nodes import assign, containers, doubles, flow, llm
from mockdify.graph.nodes.base import Kind, NodeFailure, Paused, Result, Say, Think, Work

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockdify.graph.spec import Node

__all__ = ["KINDS", "Kind", "NodeFailure", "Paused", "Result", "Say", "Think", "Work", "kind_of"]

# unverified: the names of failures, CodeExecutionError excepted, which is recorded.
KINDS: Mapping[str, Kind] = {
    "start": Kind(act=flow.start),
    "trigger-webhook": Kind(act=flow.start),
    "trigger-schedule": Kind(act=flow.start),
    "trigger-plugin": Kind(act=flow.start),
    "answer": Kind(act=flow.answer, shape="answer"),
    "end": Kind(act=flow.end, shape="answer"),
    "if-else": Kind(act=flow.if_else, shape="branch", picks="selected_case_id"),
    "variable-aggregator": Kind(act=flow.aggregate),
    "variable-assigner": Kind(act=flow.aggregate),  # the aggregator's name until 0.6.10
    "template-transform": Kind(act=flow.template, failure="TemplateTransformNodeError"),
    "list-operator": Kind(act=flow.list_operator, failure="ListOperatorError"),
    "assigner": Kind(act=assign.assign, writes=assign.written, failure="VariableOperatorNodeError"),
    "llm": Kind(act=llm.llm, failure="LLMNodeError"),
    "agent": Kind(act=llm.agent, failure="AgentNodeError"),
    "iteration": Kind(act=containers.iteration, shape="container"),
    "iteration-start": Kind(act=flow.nothing, silent=True),
    "loop": Kind(act=containers.loop, shape="container"),
    "loop-start": Kind(act=flow.nothing, silent=True),
    "loop-end": Kind(act=containers.loop_end),
    "code": Kind(act=doubles.code, failure="CodeExecutionError"),
    "http-request": Kind(act=doubles.http_request, failure="HttpRequestNodeError"),
    "tool": Kind(act=doubles.tool, failure="ToolNodeError"),
    "knowledge-retrieval": Kind(act=doubles.knowledge_retrieval, failure="KnowledgeRetrievalNodeError"),
    "question-classifier": Kind(
        act=doubles.question_classifier, shape="branch", picks="class_id", failure="QuestionClassifierNodeError"
    ),
    "parameter-extractor": Kind(act=doubles.parameter_extractor, failure="ParameterExtractorNodeError"),
    "document-extractor": Kind(act=doubles.document_extractor, failure="DocumentExtractorError"),
    "human-input": Kind(act=doubles.human_input, shape="branch", picks="__action_id"),
}

UNKNOWN = Kind(act=flow.nothing)


def kind_of(node: Node) -> Kind:
    """The kind of *node*; a type that has no row passes through."""
    return KINDS.get(node.type, UNKNOWN)
