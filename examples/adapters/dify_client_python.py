"""dify-client-python 1.0.3: pydantic models, httpx and httpx-sse.

pip install dify-client-python==1.0.3
mockdify check --exec "python examples/adapters/dify_client_python.py"
"""

from dify_client import Client, errors, models
from joined import joined, whole
from lines import Reported, run

MODES = {True: models.ResponseMode.STREAMING, False: models.ResponseMode.BLOCKING}


def caller(method, request):
    def call(call, emit):
        fields = {key: call[key] for key in ("query", "conversation_id") if key in call}
        asked = request(inputs=call["inputs"], user=call["user"], response_mode=MODES[call["stream"]], **fields)
        client = Client(api_key=call["api_key"], api_base=call["base_url"])
        try:
            came = getattr(client, method)(asked, timeout=call["timeout"])
            if call["stream"]:
                return joined((event.model_dump(mode="json") for event in came), emit)
            return whole(came.model_dump(mode="json"))
        except errors.DifyAPIError as error:
            raise Reported("http", error.message, error.status, error.code) from error

    return call


run(
    *(f"{name}.{mode.value}" for name in ("chat", "completion", "workflow") for mode in MODES.values()), "incremental",
    chat=caller("chat_messages", models.ChatRequest),
    completion=caller("completion_messages", models.CompletionRequest),
    workflow=caller("run_workflows", models.WorkflowsRunRequest),
)  # fmt: skip
