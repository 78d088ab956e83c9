"""Nodes that call a model: prompts are built as Dify builds them, the answer is streamed, reasoning split off."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mockdify import templates
from mockdify.errors import MockdifyError
from mockdify.graph.nodes.base import NodeFailure, Result, Say, Think
from mockdify.graph.variables import MISSING, plain_text, zero_of
from mockdify.model import ModelFailure, zero_usage
from mockdify.steps import Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mockdify.graph.nodes.base import Acting, Work
    from mockdify.graph.run import Dialect
    from mockdify.model import Failure

__all__ = ["agent", "failure_text", "llm", "split_reasoning"]

Json: TypeAlias = Any
Prompt: TypeAlias = dict[str, str]

_NO_PROMPT = (
    "No prompt found in the LLM configuration. Please ensure a prompt is properly configured before proceeding."
)

_ERROR_TYPES: Mapping[Failure, str] = {
    "rate-limit": "InvokeRateLimitError",
    "authorization": "InvokeAuthorizationError",
    "bad-request": "InvokeBadRequestError",
    "connection": "InvokeConnectionError",
    "server-unavailable": "InvokeServerUnavailableError",
    "credentials": "CredentialsValidateFailedError",
    "quota": "ModelNotExistError",
    "not-initialized": "ModelNotExistError",
    "model-unsupported": "ModelNotExistError",
    "dropped": "PluginDaemonInnerError",
    "other": "PluginInvokeError",
}


def failure_text(failure: ModelFailure, provider: str, dialect: Dialect) -> str:
    """What a node says whose model failed; *provider* is its id, as in `langgenius/openai/openai`."""
    name = provider.rsplit("/", 1)[-1]
    match failure.kind:
        case "authorization":
            # The provider's own words are replaced, whatever they are.
            label = name.capitalize() if dialect.provider_label else name
            return f"[{label}] Incorrect model credentials provided, please check and try again."
        case "dropped":
            return "Request to Plugin Daemon Service failed-500"
        case "quota":
            return "Model quota has been exceeded"
        case "not-initialized":
            return "Model is not configured"
        case "model-unsupported":
            return "No permission to use this model"
        case _:
            return failure.message.strip()


# -- prompts ---------------------------------------------------------------------------------------------------------


def _prompts(work: Work) -> list[Prompt]:
    """The messages of the call, empty ones left out."""
    template = work.data.get("prompt_template")
    context = _context(work)
    if isinstance(template, Mapping):
        text = (
            _text(work, template, context).replace("{{#histories#}}", _told(work)).replace("#histories#", _told(work))
        )
        prompts = [{"role": "user", "text": text.replace("#sys.query#", _query(work))}]
    else:
        items = [item for item in template or () if isinstance(item, Mapping)]
        prompts = [{"role": str(item.get("role") or "user"), "text": _text(work, item, context)} for item in items]
        prompts += _memory(work)
    prompts = [prompt for prompt in prompts if prompt["text"]]
    if not prompts:
        raise NodeFailure(_NO_PROMPT, "NoPromptFoundError", work.model)
    return prompts


def _text(work: Work, item: Mapping[str, Json], context: str) -> str:
    if item.get("edition_type") != "jinja2":
        return work.pool.text(str(item.get("text") or "").replace("{{#context#}}", context))
    config = work.data.get("prompt_config")
    variables = work.pool.fill(config.get("jinja2_variables") if isinstance(config, Mapping) else None)
    try:
        return templates.render(str(item.get("jinja2_text") or item.get("text") or ""), variables, strict=False)
    except MockdifyError as mistake:
        raise NodeFailure(str(mistake), "LLMNodeError", work.model) from mistake


def _context(work: Work) -> str:
    settings = work.data.get("context")
    if not isinstance(settings, Mapping) or not settings.get("enabled"):
        return ""
    value = work.pool.get(settings.get("variable_selector") or ())
    if not isinstance(value, list):
        return plain_text(value)
    return "\n".join(
        str(item.get("content") or "") if isinstance(item, Mapping) else str(item) for item in value
    ).strip()


def _remembered(work: Work) -> Sequence[tuple[str, str]]:
    memory = work.data.get("memory")
    if work.run.mode != "advanced-chat" or not isinstance(memory, Mapping):
        return ()
    window = memory.get("window")
    if isinstance(window, Mapping) and window.get("enabled"):
        return work.run.history[-max(int(window.get("size") or 1), 1) :]
    return work.run.history


def _memory(work: Work) -> list[Prompt]:
    """Earlier turns and the query, for a node with a memory in a chatflow."""
    if work.run.mode != "advanced-chat" or not isinstance(work.data.get("memory"), Mapping):
        return []
    turns = [
        {"role": role, "text": text}
        for turn in _remembered(work)
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    return [*turns, {"role": "user", "text": _query(work)}]


def _query(work: Work) -> str:
    memory = work.data.get("memory")
    template = memory.get("query_prompt_template") if isinstance(memory, Mapping) else None
    return work.pool.text(template) if template else plain_text(work.pool.get(("sys", "query")))


def _told(work: Work) -> str:
    return "\n".join(f"Human: {query}\nAssistant: {answer}" for query, answer in _remembered(work))


def _last_user(prompts: Sequence[Prompt]) -> str:
    users = [prompt["text"] for prompt in prompts if prompt["role"] == "user"]
    return users[-1] if users else prompts[-1]["text"]


# -- reasoning -------------------------------------------------------------------------------------------------------

_OPEN = re.compile(r"<think(?:\s[^<>]*)?>", re.IGNORECASE)
_CLOSE = re.compile(r"</think>", re.IGNORECASE)
_BLOCK = re.compile(r"<think(?:\s[^<>]*)?>(.*?)(?:</think>|\Z)", re.IGNORECASE | re.DOTALL)
_LONGEST_TAG = 512


def split_reasoning(text: str) -> tuple[str, str]:
    """*text* without what stands in `<think>`, and that: what `reasoning_format: separated` makes of an answer."""
    reasoning = [part.strip() for part in _BLOCK.findall(text)]
    rest = re.sub(r"\n\s*\n", "\n\n", _BLOCK.sub("", text)).strip()
    return rest, "\n".join(part for part in reasoning if part)


@dataclass(slots=True)
class _Splitter:
    """Splits a stream: a tag may be cut anywhere, so what may still become one is held back."""

    thinking: bool = False
    held: str = ""
    begun: bool = False

    def feed(self, chunk: str) -> Iterator[Say | str]:
        """Reasoning as `Say` without a selector, answer text as str."""
        work, self.held = self.held + chunk, ""
        while work:
            tag = (_CLOSE if self.thinking else _OPEN).search(work)
            ready = work[: tag.start()] if tag else work[: len(work) - self._held_back(work)]
            yield from self._out(ready)
            if tag is None:
                self.held = work[len(ready) :]
                return
            self.thinking = not self.thinking
            work = work[tag.end() :]

    def close(self) -> Iterator[Say | str]:
        """What was held back turned out to be no tag."""
        rest, self.held = self.held, ""
        yield from self._out(rest)

    def _out(self, text: str) -> Iterator[Say | str]:
        if self.thinking:
            if text:
                yield Say((), text)
            return
        text = text if self.begun else text.lstrip()
        if text:
            self.begun = True
            yield text

    def _held_back(self, text: str) -> int:
        at = text.rfind("<")
        tail = text[at:].lower() if at >= 0 else ""
        if not tail or ">" in tail or len(tail) > _LONGEST_TAG:
            return 0
        if self.thinking:
            return len(tail) if "</think>".startswith(tail) else 0
        may_open = "<think".startswith(tail) or (tail.startswith("<think") and tail[6:7].isspace())
        return len(tail) if may_open else 0


# -- the nodes -------------------------------------------------------------------------------------------------------


def _model(work: Work) -> tuple[str, str, str]:
    model = work.data.get("model")
    model = model if isinstance(model, Mapping) else {}
    return str(model.get("provider") or ""), str(model.get("name") or ""), str(model.get("mode") or "chat")


def llm(work: Work) -> Acting:
    """An LLM node: its text goes out as the model says it, if some answer shows it."""
    provider, name, mode = _model(work)
    inputs = work.model
    context = _context(work)
    if context:
        inputs = {"#context#": context, **inputs}
    scripted = work.scripted(inputs).get("text")
    prompts = _prompts(work)
    if scripted is None:
        text, usage, resources = yield from _speak(work, prompts, provider, inputs)
    else:
        text, usage, resources = str(scripted), zero_usage(), ()
        yield Say((work.id, "text"), text)
        yield Say((work.id, "text"), "", final=True)
    reasoning = ""
    if work.data.get("reasoning_format") == "separated":
        text, reasoning = split_reasoning(text)
    outputs = {"text": text, "reasoning_content": reasoning, "usage": usage, "finish_reason": "stop"}
    if _wants_structure(work):
        outputs["structured_output"] = _structured(work, text)
    return Result(
        inputs=inputs,
        process_data={
            "model_mode": mode,
            "prompts": [{**prompt, "files": []} for prompt in prompts],
            "usage": dict(usage),
            "finish_reason": "stop",
            "model_provider": provider,
            "model_name": name,
        },
        outputs=outputs,
        metadata=_billed(usage),
        usage=usage,
        reasoning=reasoning,
        resources=resources,
    )


def _billed(usage: Mapping[str, Json]) -> dict[str, Json]:
    return {key: usage[key] for key in ("total_tokens", "total_price", "currency")}


Spoken: TypeAlias = tuple[str, dict[str, Json], Sequence[Mapping[str, Json]]]


def _speak(work: Work, prompts: list[Prompt], provider: str, inputs: Mapping[str, Json]) -> Any:
    """Call the model and stream what it says. Returns a `Spoken`."""
    generation = work.run.doubles.generate(
        work.node, messages=prompts, query=_last_user(prompts), inputs=work.run.inputs
    )
    selector = (work.id, "text")
    splitter = _Splitter() if work.data.get("reasoning_format") == "separated" else None
    thought = False
    try:
        for step in generation.stream():
            if isinstance(step, Wait):
                yield step
            elif splitter is None:
                yield Say(selector, step)
            else:
                for part in splitter.feed(step):
                    thought = thought or not isinstance(part, str)
                    yield Say(selector, part) if isinstance(part, str) else Think(part.text)
    except ModelFailure as failure:
        text = failure_text(failure, provider, work.run.dialect)
        raise NodeFailure(text, _ERROR_TYPES[failure.kind], inputs) from failure
    if splitter is not None:
        for part in splitter.close():
            thought = thought or not isinstance(part, str)
            yield Say(selector, part) if isinstance(part, str) else Think(part.text)
    if thought:
        yield Think("", final=True)
    # Dify closes the stream with one more, empty, chunk.
    yield Say(selector, "", final=True)
    return generation.text, generation.usage, generation.retriever_resources


def _wants_structure(work: Work) -> bool:
    return bool(work.data.get("structured_output_enabled")) and isinstance(work.data.get("structured_output"), Mapping)


def _structured(work: Work, text: str) -> Json:
    """The JSON in *text*, else an empty value of each property: a scripted model need not speak JSON."""
    found = re.search(r"\{.*\}", text, re.DOTALL)
    try:
        if found:
            return json.loads(found.group())
    except ValueError:
        pass
    schema = work.data["structured_output"].get("schema")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return {
        name: zero_of(str(item.get("type") or "string") if isinstance(item, Mapping) else "string")
        for name, item in (properties.items() if isinstance(properties, Mapping) else ())
    }


def agent(work: Work) -> Acting:
    """An agent node: its strategy is not played, its model answers the query."""
    inputs = {name: _parameter(work, item) for name, item in _agent_parameters(work).items()}
    instruction, query = plain_text(inputs.get("instruction")), plain_text(inputs.get("query"))
    prompts = [{"role": role, "text": text} for role, text in (("system", instruction), ("user", query)) if text]
    model = inputs.get("model")
    provider = str(model.get("provider") or "") if isinstance(model, Mapping) else ""
    scripted = work.scripted(inputs).get("text")
    if scripted is None:
        speaking = _speak(work, prompts or [{"role": "user", "text": ""}], provider, inputs)
        text, usage, resources = yield from speaking
    else:
        text, usage, resources = str(scripted), zero_usage(), ()
        yield Say((work.id, "text"), text)
        yield Say((work.id, "text"), "", final=True)
    return Result(
        inputs=inputs,
        outputs={"text": text, "usage": usage, "files": [], "json": []},
        metadata=_billed(usage),
        usage=usage,
        resources=resources,
    )


def _agent_parameters(work: Work) -> Mapping[str, Json]:
    parameters = work.data.get("agent_parameters")
    return parameters if isinstance(parameters, Mapping) else {}


def _parameter(work: Work, item: Json) -> Json:
    if not isinstance(item, Mapping):
        return item
    value = item.get("value")
    if item.get("type") == "variable":
        found = work.pool.get(value if isinstance(value, (list, tuple)) else ())
        return None if found is MISSING else found
    return work.pool.text(value) if isinstance(value, str) else value
