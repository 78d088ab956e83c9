"""docs/backend.md shows the files of examples/backend as they are, and all of them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "backend"
PAGE = (ROOT / "docs" / "backend.md").read_text("utf-8")
BLOCKS = re.findall(r"<!-- examples/backend/(\S+) -->\n```python\n(.*?)```\n", PAGE, re.DOTALL)


def text_of(spec):
    name, _, function = spec.partition("::")
    text = (EXAMPLES / name).read_text("utf-8")
    if not function:
        return text
    node = next(one for one in ast.parse(text).body if getattr(one, "name", "") == function)
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno]) + "\n"


@pytest.mark.parametrize(("spec", "shown"), BLOCKS, ids=[spec for spec, _ in BLOCKS])
def test_a_block_is_the_file_or_the_function_that_it_names(spec, shown):
    assert shown == text_of(spec)


def test_every_block_names_its_source_and_every_piece_is_shown():
    assert PAGE.count("```python") == len(BLOCKS)
    named = {spec for spec, _ in BLOCKS}
    tests = ast.parse((EXAMPLES / "test_backend.py").read_text("utf-8")).body
    pieces = {path.name for path in EXAMPLES.glob("*.py")} - {"test_backend.py"}
    assert named >= pieces | {
        f"test_backend.py::{one.name}" for one in tests if getattr(one, "name", "").startswith("test_")
    }


def test_the_guides_table_names_every_sample():
    samples = {path.name for path in (ROOT / "examples" / "guide").iterdir() if path.suffix in {".py", ".mjs"}}
    table = (ROOT / "examples" / "guide" / "README.md").read_text("utf-8")
    assert samples <= set(re.findall(r"`([\w.]+\.m?[jp]ys?|[\w.]+\.mjs)`", table))
