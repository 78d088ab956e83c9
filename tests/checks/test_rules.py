"""The table of rules is what it promises to be."""

import re
from pathlib import Path

import pytest
from broken import BROKEN

from mockdify.checks.model import CAPABILITIES
from mockdify.checks.rules import RULES
from mockdify.faults import CATALOGUE

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def test_ids_are_unique_and_of_one_form():
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert [one for one in ids if not re.fullmatch(r"[A-Z]+(-[A-Z0-9]+)+-\d{3}", one)] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_is_one_sentence_with_a_reason_and_a_cure(rule):
    assert rule.says.endswith((".", "!"))
    assert rule.because.endswith(".")
    assert rule.fix.endswith(".")
    assert rule.cases
    needs = {need for case in rule.cases for need in (case.mode, *case.needs)}
    assert needs <= set(CAPABILITIES)


def test_cases_of_one_rule_can_be_told_apart():
    for rule in RULES:
        labels = [case.label for case in rule.cases if case.examples is None]
        assert len(set(labels)) == len(labels), (rule.id, labels)


def test_every_bug_that_a_rule_is_for_has_a_client_that_has_it():
    assert {bug for rule in RULES for bug in rule.bugs} == set(BROKEN)


def test_faults_that_cases_inject_are_in_the_catalogue():
    assert {case.fault for rule in RULES for case in rule.cases if case.fault} <= set(CATALOGUE)


def test_threads_are_ones_that_were_found():
    if not SHARED.is_dir():
        pytest.skip("the collection of threads is not here")
    text = "".join((SHARED / "design" / name).read_text() for name in ("PAINS.md", "ASKS.md"))
    numbers = {number for rule in RULES for thread in rule.threads for number in re.findall(r"#(\d+)$", thread)}
    assert {number for number in numbers if f"#{number}" not in text} == set()
