"""Small streams and replies of our own making, one per app mode, for checkouts without recordings."""

from typing import Any

CONVERSATION = "33333333-3333-4333-8333-333333333333"
MESSAGE = "22222222-2222-4222-8222-222222222222"
TASK = "11111111-1111-4111-8111-111111111111"
RUN = "44444444-4444-4444-8444-444444444444"
FLOW = "55555555-5555-4555-8555-555555555555"
NOW = 1_767_225_600
PRICES = {
    "prompt_unit_price": "0.001",
    "prompt_price_unit": "0.001",
    "prompt_price": "0.0000040",
    "completion_unit_price": "0.002",
    "completion_price_unit": "0.001",
    "completion_price": "0E-7",
    "total_price": "1E-7",
}
USAGE: dict[str, Any] = {
    **PRICES,
    "prompt_tokens": 4,
    "completion_tokens": 6,
    "total_tokens": 10,
    "currency": "USD",
    "latency": 0.25,
    "time_to_first_token": 0.05,
    "time_to_generate": 0.2,
}
CHAT_METADATA: dict[str, Any] = {"retriever_resources": [], "usage": USAGE, "reasoning": {}}
METADATA: dict[str, Any] = {"annotation_reply": None, **CHAT_METADATA}
PING: dict[str, Any] = {"event": "ping"}


def _envelope(mode: str) -> dict[str, Any]:
    match mode:
        case "completion":
            return {"message_id": MESSAGE, "created_at": NOW, "task_id": TASK}
        case "workflow":
            return {"workflow_run_id": RUN, "task_id": TASK}
    run = {"workflow_run_id": RUN} if mode == "advanced-chat" else {}
    return {"conversation_id": CONVERSATION, "message_id": MESSAGE, "created_at": NOW, "task_id": TASK, **run}


def message(mode: str, answer: str) -> dict[str, Any]:
    envelope = {k: v for k, v in _envelope(mode).items() if k != "workflow_run_id"}
    selector = ["llm", "text"] if mode == "advanced-chat" else []
    return {"event": "message", **envelope, "id": MESSAGE, "answer": answer, "from_variable_selector": selector}


def message_end(mode: str) -> dict[str, Any]:
    envelope = {k: v for k, v in _envelope(mode).items() if k != "workflow_run_id"}
    metadata = METADATA if mode == "advanced-chat" else CHAT_METADATA
    return {"event": "message_end", **envelope, "id": MESSAGE, "metadata": metadata, "files": []}


def thought(number: int, text: str = "") -> dict[str, Any]:
    own = {
        "id": f"{number:08d}-6666-4666-8666-666666666666",
        "position": number,
        "thought": text,
        "observation": "",
        "tool": "",
        "tool_labels": {},
        "tool_input": "",
        "message_files": [],
    }
    return {"event": "agent_thought", **_envelope("chat"), **own}


def agent_message(answer: str) -> dict[str, Any]:
    return {"event": "agent_message", **_envelope("chat"), "id": MESSAGE, "answer": answer}


def error(mode: str, code: str = "completion_request_error", status: int = 400) -> dict[str, Any]:
    own = {k: v for k, v in _envelope(mode).items() if k not in ("task_id", "workflow_run_id")}
    envelope = {"workflow_run_id": None} if mode == "workflow" else own
    return {"event": "error", **envelope, "code": code, "status": status, "message": "no"}


def started(mode: str, reason: str = "initial") -> dict[str, Any]:
    data = {"id": RUN, "workflow_id": FLOW, "inputs": {"sys.user_id": "alice"}, "created_at": NOW, "reason": reason}
    return {"event": "workflow_started", **_envelope(mode), "data": data}


def _node(number: int, kind: str) -> dict[str, Any]:
    return {
        "id": f"{number:08d}-7777-4777-8777-777777777777",
        "node_id": kind,
        "node_type": kind,
        "title": kind.title(),
        "index": 1,
        "predecessor_node_id": None,
    }


def node_started(mode: str, number: int, kind: str) -> dict[str, Any]:
    data = {
        **_node(number, kind),
        "inputs": None,
        "inputs_truncated": False,
        "created_at": NOW,
        "extras": {},
        "iteration_id": None,
        "loop_id": None,
        "agent_strategy": None,
    }
    return {"event": "node_started", **_envelope(mode), "data": data}


def node_finished(mode: str, number: int, kind: str, status: str = "succeeded") -> dict[str, Any]:
    data = {
        **_node(number, kind),
        "inputs": {},
        "inputs_truncated": False,
        "process_data": {},
        "process_data_truncated": False,
        "outputs": {},
        "outputs_truncated": False,
        "status": status,
        "error": None,
        "elapsed_time": 0.1,
        "execution_metadata": None,
        "created_at": NOW,
        "finished_at": NOW,
        "files": [],
        "iteration_id": None,
        "loop_id": None,
    }
    return {"event": "node_finished", **_envelope(mode), "data": data}


def finished(mode: str, status: str = "succeeded", steps: int = 3) -> dict[str, Any]:
    told = "no" if status in ("failed", "stopped") else None
    data = {
        "id": RUN,
        "workflow_id": FLOW,
        "status": status,
        "outputs": {},
        "error": told,
        "elapsed_time": 0.3,
        "total_tokens": 10,
        "total_steps": steps,
        "created_by": {"id": MESSAGE, "user": "alice"},
        "created_at": NOW,
        "finished_at": NOW,
        "exceptions_count": 0,
        "files": [],
    }
    return {"event": "workflow_finished", **_envelope(mode), "data": data}


def refused(event: str) -> dict[str, Any]:
    """The two events of a run that the worker refused, the same in both modes."""
    data = {"id": RUN, "workflow_id": FLOW, "inputs": {}, "created_at": NOW, "reason": "initial"}
    if event == "workflow_finished":
        data = {
            **finished("workflow", "failed", 0)["data"],
            "outputs": None,
            "elapsed_time": 0.0,
            "total_tokens": 0,
            "created_by": {},
            "exceptions_count": 1,
        }
    return {"event": event, "task_id": RUN, "workflow_run_id": RUN, "data": data}


def text_chunk(text: str) -> dict[str, Any]:
    data = {"text": text, "from_variable_selector": ["llm", "text"]}
    return {"event": "text_chunk", **_envelope("workflow"), "data": data}


def _graph(mode: str, pieces: list[dict[str, Any]], last: str) -> list[dict[str, Any]]:
    end = [message_end(mode)] if mode == "advanced-chat" else []
    return [
        PING,
        started(mode),
        node_started(mode, 1, "start"),
        node_finished(mode, 1, "start"),
        node_started(mode, 2, "llm"),
        *pieces,
        node_finished(mode, 2, "llm"),
        node_started(mode, 3, last),
        node_finished(mode, 3, last),
        *end,
        finished(mode),
    ]


STREAMS: dict[str, list[dict[str, Any]]] = {
    "completion": [message("completion", "Hel"), message("completion", "lo"), message_end("completion")],
    "chat": [message("chat", "Hel"), message("chat", "lo"), message_end("chat")],
    "agent-chat": [
        thought(1),
        agent_message("Hel"),
        agent_message("lo"),
        thought(1, "Hello"),
        message_end("agent-chat"),
    ],
    "agent": [thought(1), agent_message("Hello"), message("agent", "Hello"), message_end("agent")],
    "advanced-chat": _graph(
        "advanced-chat", [message("advanced-chat", "Hel"), message("advanced-chat", "lo")], "answer"
    ),
    "workflow": _graph("workflow", [text_chunk("Hel"), text_chunk("lo")], "end"),
}

ANSWER: dict[str, Any] = {
    "event": "message",
    "task_id": TASK,
    "id": MESSAGE,
    "message_id": MESSAGE,
    "conversation_id": CONVERSATION,
    "mode": "chat",
    "answer": "Hello",
    "metadata": METADATA,
    "created_at": NOW,
}
JSON = {"Content-Type": "application/json"}
SSE = {"Content-Type": "text/event-stream; charset=utf-8"}
ASK = {"Authorization": "Bearer app-chat-demo", **JSON}
