"""What benchmarks share: a process that is measured, tables, and the sections of RESULTS.md."""

import datetime
import os
import pathlib
import re
import subprocess
import sys

from runtime import environment
from runtime.files import write_whole

RESULTS = pathlib.Path(__file__).resolve().parent / "RESULTS.md"


def run(command, **variables):
    """Run a command in a process of its own, with some environment variables besides.

    Returns:
        The last line that it prints, and its peak memory in MiB.
    """
    words = list(map(str, command))
    child = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env={**os.environ, **variables}
    )
    lines = child.stdout.read().splitlines()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{' '.join(words)} failed")
    return lines[-1], usage.ru_maxrss // 1024


def table(head, rows):
    """Return a Markdown table of its columns' names and of rows, lists of as many texts."""
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(head)}", *lines[1:]])


def machine():
    """Return day, processor and cores, to begin a section with."""
    return f"{datetime.date.today()}, {environment.processor_name()}, {os.cpu_count()} cores"


def add_output_argument(parser):
    """Add --output, for `write_section`."""
    parser.add_argument(
        "--output", default=RESULTS, help="file with the section (default: benchmarks/RESULTS.md)"
    )


def write_section(text, path=RESULTS):
    """Print a section and write it in place of the one with the same heading; others stay.

    Args:
        text: Markdown; its first line is the heading, `# ...`, and no other line begins so.
        path: the file.
    """
    text = text.strip()
    print(text)
    path = pathlib.Path(path)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    sections = [part.strip() for part in re.split(r"^(?=# )", before, flags=re.M) if part.strip()]
    of_heading = {part.partition("\n")[0]: part for part in (*sections, text)}
    with write_whole(path, "w") as file:
        file.write("\n\n".join(of_heading.values()) + "\n")
