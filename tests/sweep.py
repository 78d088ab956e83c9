"""No canary in anything that the tests wrote: `python tests/sweep.py FOLDER`, the folder that was their `--basetemp`.

What `mockdify scrub --check` finds there: any secret in a cassette, and in all other files (logs, journals, reports,
what pytest printed) the canaries that tests send. Exit 1 when there are any, or when nothing was written at all.
"""

import re
import sys
from pathlib import Path

from mockdify.cassettes.scrub import check

REPOSITORY = Path(__file__).resolve().parents[1]
CANARY = re.compile("(?i)canary")
INPUTS = ("test_no_secret_is_printed*/mockdify.toml",)
"""What a test writes with a canary in it on purpose, for the program to read and not to repeat."""


def main(folder):
    """What is left, a line each; the exit code."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    written = [path for path in files if not any(path.match(each) for each in INPUTS) and not _is_copied(path)]
    found = [each for each in check(written, extra=[CANARY]) if each.kind == "custom" or each.path.suffix == ".yaml"]
    for each in found:
        sys.stdout.write(f"{each}\n")
    sys.stdout.write(f"{len(written)} files that the tests wrote: {len(found)} secrets\n")
    return 1 if found or not written else 0


def _is_copied(path):
    """Whether this is a file of the repository, such as a source whose docstring has a canary."""
    ours = [*REPOSITORY.glob(path.name), *(REPOSITORY / "mockdify").rglob(path.name)]
    return any(each.read_bytes() == path.read_bytes() for each in ours if each.is_file())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
