"""What a run of checks is told as: a grid, JSON, JUnit, HTML, a badge."""

from mockdify.harness.reports.files import FORMATS, write

__all__ = ["FORMATS", "write"]
