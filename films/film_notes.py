"""What is noted of films while they are read: which to look at, and what decoded lossy ones."""

import collections
import re
import sys

from films.csv_rows import write_rows
from films.plausibility import Doubt, doubt, unused_bits


class FilmNotes:
    """Doubts of films by name, and decoders by how many films they read.

    Attributes:
        count: how many films were looked at.
        doubts: dict from name to `Doubt`.
        decoders: `collections.Counter` of what decoded films that are compressed with loss.
    """

    def __init__(self, count=0, doubts=(), decoders=()):
        self.count = count
        self.doubts = {name: Doubt(*found) for name, found in dict(doubts).items()}
        self.decoders = collections.Counter(dict(decoders))
        self._is_said = False

    def add(self, name, film, facts):
        """Note a film, uint8 `[1, H, W]`, and its `FilmFacts`; return the `Doubt`, or None."""
        self.count += 1
        if facts.decoder:
            self.decoders[facts.decoder] += 1
        found = doubt(film, facts.span, facts.of_header)
        if found:
            self.doubts[name] = found
        return found

    def warn(self):
        """Print what there is to say, once."""
        if not self._is_said:
            for line in self.lines():
                print(f"warning: {line}", file=sys.stderr)
        self._is_said = True

    def merge(self, other):
        """Take over what was noted elsewhere."""
        self.count += other.count
        self.doubts |= other.doubts
        self.decoders += other.decoders

    def as_json(self):
        """Return what `FilmNotes(**...)` makes the same notes of."""
        return {"count": self.count, "doubts": self.doubts, "decoders": self.decoders}

    def as_figures(self):
        """Return what metrics.json says: how many films are doubted, and decoders if there are."""
        figures = {"doubted_films": len(self.doubts)}
        return figures | ({"decoders": dict(self.decoders)} if self.decoders else {})

    def lines(self):
        """Return a line for each kind of doubt: how many films, which is the first, what to do."""
        lines = [depth] if (depth := self.depth()) else []
        kinds = {}
        for name, found in self.doubts.items():
            if not found.bits:
                kinds.setdefault(re.sub(r"[\d.]+", "", found.text), []).append(name)
        for names in kinds.values():
            count = f"{len(names):,} of {self.count:,} films"
            lines.append(f"{count} look doubtful, {names[0]} first: {self.doubts[names[0]].text}")
        return lines

    def depth(self):
        """Return a line on films that leave upper bits unused, or None."""
        deep = {name: found for name, found in self.doubts.items() if found.bits}
        if not deep:
            return None
        bits, highest = (max(found[n] for found in deep.values()) for n in (1, 2))
        text = unused_bits(bits, highest)
        return f"{len(deep):,} of {self.count:,} films use {text}; {next(iter(deep))} first"

    def write(self, path):
        """Write the doubted films into a CSV file."""
        rows = ((name, found.text) for name, found in self.doubts.items())
        write_rows(path, ["Image Index", "doubt"], rows)
