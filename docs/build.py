# ruff: noqa: INP001 - a script beside the pages that it writes
"""Write the help of every command into docs/cli.md: `python docs/build.py`. A test compares the two."""

from __future__ import annotations

import re
from pathlib import Path

import click

from mockdify.cli import main

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 110
_HELP = re.compile(r"<!-- help: ([a-z]*) -->\n.*?<!-- end -->", re.DOTALL)


def help_of(name: str) -> str:
    """What `mockdify NAME --help` prints, and that of each command under it; no name means `mockdify` itself."""
    root = click.Context(main, info_name="mockdify", **{**main.context_settings, "terminal_width": WIDTH})
    if not name:
        return main.get_help(root)
    command = main.commands[name]
    context = click.Context(command, info_name=name, parent=root)
    shown = [command.get_help(context)]
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            one = command.commands[inner]
            shown.append(one.get_help(click.Context(one, info_name=inner, parent=context)))
    return "\n\n".join(shown)


def with_help(text: str) -> str:
    """*text* with every help as it is now, and an empty section for each command that has none."""
    for name in main.commands:
        if f"<!-- help: {name} -->" not in text:
            text = f"{text.rstrip()}\n\n## `mockdify {name}`\n\n<!-- help: {name} -->\n<!-- end -->\n"
    return _HELP.sub(lambda found: f"<!-- help: {found[1]} -->\n```text\n{help_of(found[1])}\n```\n<!-- end -->", text)


if __name__ == "__main__":
    PAGE.write_text(with_help(PAGE.read_text("utf-8")), "utf-8")
