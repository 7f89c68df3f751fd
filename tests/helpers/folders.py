"""Folders of files: what is in them, copies that may be changed, and tables of pages."""

import os
import pathlib
import re


def tree(folder):
    """All files below a folder, to see that nothing was left there."""
    return sorted(str(p.relative_to(folder)) for p in pathlib.Path(folder).rglob("*"))


def tables_of(text):
    """The tables of a page in Markdown: dict from heading to rows, each a list of cells."""
    tables = {}
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        heading, line, *rows = (
            [cell.strip() for cell in row[1:-1].split("|")] for row in table.splitlines()
        )
        assert set("".join(line)) == {"-"} and {len(row) for row in rows} == {len(heading)}
        tables[tuple(heading)] = rows
    return tables


def link_films(source, target):
    """Make a data folder whose films and lists can be changed without touching the original."""
    for part in ("images", "labels"):
        (target / part).mkdir(parents=True)
        for file in (source / part).iterdir():
            if part == "images":
                os.symlink(file, target / part / file.name)
            else:
                (target / part / file.name).write_bytes(file.read_bytes())
    return target
