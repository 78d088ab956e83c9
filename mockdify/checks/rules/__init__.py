"""All rules, by what they are about. A new rule is a row in one of these modules."""

from mockdify.checks.rules import conversations, errors, replies, requests, streams, timeouts

__all__ = ["RULES"]

RULES = (*requests.RULES, *replies.RULES, *streams.RULES, *errors.RULES, *conversations.RULES, *timeouts.RULES)
