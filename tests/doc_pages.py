"""The pages of the documentation: their code blocks, links and headings, and the runs they are put through."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")])
TEXTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("examples/*/README.md")]
)
"""Everything with links in it."""

_BLOCK = re.compile(
    r"^(?:<!-- (?:(?P<word>file|fails|not run): *)?(?P<said>[^\n]*?) *-->\n)?"
    r"^(?P<indent> *)```(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^ *```.*?^ *```[ ]*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. A comment above it may say what it is:

    `<!-- examples/x.py -->` (or `<!-- examples/x.py::name -->`) that file, or a piece of it, which has its own tests;
    `<!-- file: name -->` a file beside the page's tests; `<!-- fails: text -->` a module that fails with that text;
    `<!-- not run: why -->` one that needs what a test has not.
    """

    page: Path
    line: int
    language: str
    code: str
    word: str = ""
    said: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of *page*, those in *languages* if any are named."""
    text = page.read_text("utf-8")
    found = [
        Block(
            page,
            text.count("\n", 0, match.start("code")) + 1,
            match["language"],
            textwrap.dedent(match["code"]),
            match["word"] or ("from" if (match["said"] or "").startswith("examples/") else ""),
            match["said"] or "",
        )
        for match in _BLOCK.finditer(text)
    ]
    return [one for one in found if not languages or one.language in languages]


def as_module(some: list[Block]) -> str:
    """The code of *some* blocks of one page, each line where it stands in the page."""
    lines: list[str] = []
    for block in some:
        lines += [""] * (block.line - 1 - len(lines))
        lines += block.code.splitlines()
    return "\n".join(lines) + "\n"


def commands(block: Block) -> list[str]:
    """The commands of a console block: one a line, continued lines joined, prompts and comments dropped."""
    joined = re.sub(r"\\\n\s*", " ", block.code)
    lines = (line.strip().removeprefix("$ ") for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def links(page: Path) -> list[str]:
    """The targets of the links of *page*, those in code left out."""
    return _LINK.findall(_FENCED.sub("", page.read_text("utf-8")))


def anchors(page: Path) -> set[str]:
    """What a link into *page* may name after `#`, made of its headings as GitHub does."""
    text = _FENCED.sub("", page.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", head.replace("`", "").lower()).replace(" ", "-") for head in _HEADING.findall(text)}


def table(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table under *heading*, without its head."""
    text = page.read_text("utf-8")
    below = text.split(f"\n{heading}\n", 1)[1]
    below = re.split(r"^#+ ", below, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]
