"""The copy of what train.py prints."""

import contextlib
import datetime
import os
import re
import sys

from runtime.devices import is_first_rank

# An AUROC of one class in a line of paddle.Model.
CLASS_AUROC = re.compile(r" - AUROC_(?!avg:)[^:]+: \S+")


@contextlib.contextmanager
def log_file(folder, verbose=True):
    """Copy all that is printed into a new dated file in `folder`; yield its path.

    Unless `verbose`, a terminal gets lines without the AUROCs of single classes: they fit its
    width. The file, and whatever reads a pipe, get them.

    Of several ranks the first prints; what Paddle prints in the others is dropped. Errors are not.
    """
    if not is_first_rank():
        with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
            yield None
        return
    os.makedirs(folder, exist_ok=True)
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    path = os.path.join(folder, f"train_{now}_{os.getpid()}.log")
    with (
        open(path, "w", encoding="utf-8") as log,
        contextlib.redirect_stdout(_Tee(sys.stdout, log, verbose)),
    ):
        yield path


class _Tee:
    """A standard output that also goes into a file, line by line."""

    def __init__(self, terminal, log, verbose):
        self.terminal, self.log = terminal, log
        self.shortens = terminal.isatty() and not verbose

    def write(self, text):
        self.terminal.write(CLASS_AUROC.sub("", text) if self.shortens else text)
        self.log.write(text)

    def flush(self):
        self.terminal.flush()
        self.log.flush()

    def isatty(self):
        return self.terminal.isatty()
