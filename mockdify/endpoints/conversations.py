"""Conversations: list, rename, delete, and the variables of a chatflow's conversation."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from mockdify.apps import ConversationVariable
from mockdify.errors import INTERNAL, UNHANDLED, bad_request, invalid_param, not_found
from mockdify.ids import fixed_id
from mockdify.model import cut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockdify.context import Context
    from mockdify.steps import Reply
    from mockdify.store import Conversation

__all__ = ["delete", "list_all", "list_variables", "rename", "take_variables", "update_variable"]

NAME_LIMIT = 255


def list_all(ctx: Context) -> Reply:
    """The asker's conversations made over the API, a page of them."""
    asked, person = ctx.payload, ctx.person
    order = person.by_created if asked["sort_by"].endswith("created_at") else person.by_updated
    last = asked["last_id"]
    if last is not None and last not in order:
        msg = "Last Conversation Not Exists."
        raise not_found(msg)
    following = order.after(last, newest_first=asked["sort_by"].startswith("-"))
    page = list(islice(following, asked["limit"] + 1))
    shown = [as_json(ctx, person.conversations[key]) for key in page[: asked["limit"]]]
    return ctx.json({"limit": asked["limit"], "has_more": len(page) > asked["limit"], "data": shown})


def as_json(ctx: Context, conversation: Conversation) -> dict[str, Any]:
    """A conversation as Dify lists it. Its name is the query at first, a title a second later."""
    settle_title(ctx, conversation)
    return {
        "id": conversation.id,
        "name": conversation.name,
        "inputs": conversation.inputs,
        "status": conversation.status,
        "introduction": conversation.introduction,
        "created_at": int(conversation.created_at),
        "updated_at": int(conversation.updated_at),
    }


def settle_title(ctx: Context, conversation: Conversation) -> None:
    """Give the conversation its generated title once the model had time to think of one."""
    if conversation.title_due is not None and ctx.now() >= conversation.title_due:
        conversation.name, conversation.title_due = title_of(conversation), None


def title_of(conversation: Conversation) -> str:
    """The title a model would give: the first words of the first question."""
    query = conversation.messages[0].query if conversation.messages else ""
    words = " ".join("".join(cut(query)[:6]).split())
    return f"About: {words}" if words else "New conversation"


def own(ctx: Context) -> Conversation:
    """The asker's conversation named in the path."""
    found = ctx.person.conversations.get(ctx.values["c_id"].lower())
    if found is None:
        msg = "Conversation Not Exists."
        raise not_found(msg)
    return found


def rename(ctx: Context) -> Reply:
    """Give a conversation a name, or have one generated; `auto_generate` wins."""
    asked = ctx.payload
    conversation = own(ctx)
    if asked["auto_generate"]:
        if not conversation.messages:
            raise invalid_param("")  # Dify's exception carries no text
        conversation.name = title_of(conversation)
    else:
        if len(asked["name"]) > NAME_LIMIT:
            raise UNHANDLED  # the database refuses the long text
        conversation.name = asked["name"]
    conversation.title_due = None
    ctx.person.touch(conversation, ctx.now())
    return ctx.json(as_json(ctx, conversation))


def delete(ctx: Context) -> Reply:
    """Delete a conversation with its messages: 204 without a body."""
    ctx.person.delete_conversation(own(ctx).id)
    return ctx.empty()


# ---------------------------------------------------------------------- variables
def list_variables(ctx: Context) -> Reply:
    """The variables of a conversation; apps without any have an empty list."""
    conversation = own(ctx)
    asked = ctx.payload
    if asked["variable_name"] is not None:
        raise UNHANDLED  # on PostgreSQL the filter ends in a 500 (`convvars.by_name`, both releases)
    shown = [variable_json(conversation, variable) for variable in variables_of(ctx, conversation)]
    if asked["last_id"] is not None:
        ids = [one["id"] for one in shown]
        if asked["last_id"] not in ids:
            raise invalid_param("")
        shown = shown[ids.index(asked["last_id"]) + 1 :]
    limit = asked["limit"]
    return ctx.json({"limit": limit, "has_more": len(shown) > limit, "data": shown[:limit]})


def variables_of(ctx: Context, conversation: Conversation) -> list[ConversationVariable]:
    """The app's variables, then what else was set in this conversation (profiles that take `variables`)."""
    declared = ctx.installed.app.conversation_variables
    known = {variable.name for variable in declared}
    return [
        *declared,
        *(
            ConversationVariable(
                id=fixed_id(conversation.id, "variable", name), name=name, value_type=_KINDS.get(type(value), "string")
            )
            for name, value in conversation.variables.items()
            if name not in known
        ),
    ]


def check_type(variable: ConversationVariable, value: Any) -> None:
    """Raise Dify's 400 for a value that is not of the variable's type."""
    kinds = _TYPES.get(variable.value_type.partition("[")[0])
    if kinds is None:
        raise INTERNAL
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        met = _WORDS.get(type(value), type(value).__name__)
        msg = f"Type mismatch: variable '{variable.name}' expects {variable.value_type}, but got {met} type"
        raise bad_request(msg)


def take_variables(ctx: Context) -> dict[str, Any]:
    """The `variables` of a chat request; those that the app declares must have their type."""
    said = ctx.raw.get("variables")
    if said is None:
        return {}
    if not isinstance(said, dict):
        msg = "variables must be an object"
        raise invalid_param(msg)
    for variable in ctx.installed.app.conversation_variables:
        if variable.name in said:
            check_type(variable, said[variable.name])
    return said


def variable_json(conversation: Conversation, variable: Any) -> dict[str, Any]:
    """A conversation variable as Dify lists it: the value is always text."""
    value = conversation.variables.get(variable.name)
    return {
        "id": variable.id,
        "name": variable.name,
        "value_type": variable.value_type,
        "value": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
        "description": variable.description,
        "created_at": int(conversation.created_at),
        "updated_at": int(conversation.variables_updated.get(variable.name, conversation.created_at)),
    }


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "float": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}
_KINDS = {str: "string", bool: "boolean", int: "number", float: "number", dict: "object", list: "array[any]"}
_WORDS = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "float",
    dict: "object",
    list: "array[any]",
    type(None): "none",
}


def update_variable(ctx: Context) -> Reply:
    """Set a variable's value; it must have the variable's type."""
    conversation = own(ctx)
    wanted = ctx.values["variable_id"].lower()
    variable = next((one for one in variables_of(ctx, conversation) if one.id == wanted), None)
    if variable is None:
        msg = "Conversation Variable Not Exists."
        raise not_found(msg)
    value = ctx.payload["value"]
    check_type(variable, value)
    conversation.variables[variable.name] = value
    conversation.variables_updated[variable.name] = ctx.now()
    return ctx.json(variable_json(conversation, variable))
