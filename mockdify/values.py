"""Classes that only hold values, made as cheaply as a start-up of a hundred of them needs.

The type checker sees dataclasses. What `dataclasses` adds beyond the constructor is code that is compiled for each
class at each start: freezing is half of what a class costs, comparing and showing are half of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

__all__ = ["record", "value"]

Made = TypeVar("Made")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def value(made: type[Made]) -> type[Made]:
    """A class whose objects are not changed, which the type checker alone sees to."""
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(made)


@dataclass_transform(kw_only_default=True)
def record(made: type[Made]) -> type[Made]:
    """A class whose objects are equal to themselves only."""
    return dataclass(slots=True, kw_only=True, eq=False, repr=False)(made)
