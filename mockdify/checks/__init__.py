"""Checks of any Dify client: rules, their cases, and the judge. Nothing here opens a socket; `harness` plays the cases.

A newcomer adds a rule in one place: a `Rule` in a module of `checks/rules`.
"""

from mockdify.checks.model import Case, Check, Failure, Outcome, Rule, Run, Stage, Verdict, Violation

__all__ = ["Case", "Check", "Failure", "Outcome", "Rule", "Run", "Stage", "Verdict", "Violation"]
