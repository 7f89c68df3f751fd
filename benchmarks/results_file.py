"""RESULTS.md: a section for each program that measures, and the machine that it was measured on."""

import datetime
import os
import pathlib
import re

from runtime.files import write_whole

RESULTS = pathlib.Path(__file__).resolve().parent / "RESULTS.md"


def machine():
    """Return day, processor and cores, to begin a section with."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = (line.split(":")[1].strip() for line in file if line.startswith("model name"))
        return f"{datetime.date.today()}, {next(names)}, {os.cpu_count()} cores"


def write_section(text, path=RESULTS):
    """Write a section in place of the one with the same heading; other sections stay.

    Args:
        text: Markdown; its first line is the heading, `# ...`, and no other line begins so.
        path: the file.
    """
    path = pathlib.Path(path)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    sections = [part.strip() for part in re.split(r"^(?=# )", before, flags=re.M) if part.strip()]
    headings = [part.splitlines()[0] for part in sections]
    text = text.strip()
    place = headings.index(text.splitlines()[0]) if text.splitlines()[0] in headings else None
    if place is None:
        sections.append(text)
    else:
        sections[place] = text
    with write_whole(path, "w") as file:
        file.write("\n\n".join(sections) + "\n")
