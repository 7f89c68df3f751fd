"""Progress bars that stay readable where standard error is not a terminal."""

import sys

from tqdm import tqdm

LOG_INTERVAL = 30  # seconds between two lines in a log


def progress_bar(iterable=None, **options):
    """Return a tqdm bar on standard error.

    On a terminal it is redrawn in place. In a log or a pipe it is a line at the start, one every
    `LOG_INTERVAL` seconds, and one at the end.

    Args:
        iterable: what to go through, or None to call `update` by hand.
        options: those of `tqdm.tqdm`.
    """
    if sys.stderr.isatty():
        return tqdm(iterable, **options)
    return tqdm(
        iterable,
        file=_Lines(sys.stderr),
        mininterval=LOG_INTERVAL,
        maxinterval=LOG_INTERVAL,
        ncols=80,
        **options,
    )


class _Lines:
    """A text file in which every state of a bar is a line of its own."""

    def __init__(self, file):
        self.file = file

    def write(self, text):
        text = text.strip()  # the bar's carriage return, the line end after its last state
        if text:
            self.file.write(f"{text}\n")

    def flush(self):
        self.file.flush()
