"""The catalogue of faults and how one is named: in Python, over HTTP, in a header, in an API key.

A new fault is a function or class in the module of its kind and a row in that module's `KINDS`.
"""

from mockdify.faults.base import Fault, FaultContext, Kind, Option, Spec
from mockdify.faults.catalogue import CATALOGUE, COMMON, listing, spec_of
from mockdify.faults.plan import FaultPlan, Strike
from mockdify.faults.presets import PRESETS
from mockdify.faults.rules import Asked, FaultRule, check_faults, rule_of, rule_of_text

__all__ = [
    "CATALOGUE",
    "COMMON",
    "PRESETS",
    "Asked",
    "Fault",
    "FaultContext",
    "FaultPlan",
    "FaultRule",
    "Kind",
    "Option",
    "Spec",
    "Strike",
    "check_faults",
    "listing",
    "rule_of",
    "rule_of_text",
    "spec_of",
]
