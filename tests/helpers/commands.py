"""The commands that a page of Markdown gives, and what the scripts say of them before they run."""

import contextlib
import functools
import io
import os
import re
import shlex
import sys
from typing import NamedTuple
from unittest import mock

from helpers.places import ROOT
from runtime import environment

PROGRAMS = "python|pip|make|jupyter|git|source|docker|uv|ruff|cd|ln|export"
# As a user types it: perhaps after a prompt, with variables before it.
COMMAND = re.compile(rf"(?:\$ )?(?:[A-Z]+=\S+ )*(?:\.venv/bin/)?(?:{PROGRAMS}) ")
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)


class Command(NamedTuple):
    """A command line; `near` is the text around it, where a page may say what it needs."""

    text: str
    line: int
    near: str

    def words(self):
        """Return its words, without prompt, variables and comment; scripts run by `python`."""
        words = shlex.split(self.text.removeprefix("$ "), comments=True)
        while re.match(r"[A-Z]+=", words[0]):
            words.pop(0)
        words[0] = words[0].removeprefix(".venv/bin/")
        return words

    def plain(self):
        """Return it as one line without prompt, variables and comment."""
        return " ".join(self.words())

    def script(self):
        """Return the name of the project's script that it runs and the words after, or None."""
        words = self.words()
        if words[0] == "python" and (ROOT / words[1]).is_file():
            return words[1], words[2:]
        return None


def code_in(text):
    """The text in a page's code blocks and between its single backquotes."""
    outside = FENCED.sub("", text)
    return [block for _, block in FENCED.findall(text)] + re.findall(r"`([^`\n]+)`", outside)


def commands_of(text):
    """Return the `Command`s of a page: lines of its shell blocks and whole commands in its text.

    A block without a language is one of commands if its first line is one; then all lines are.
    What has an ellipsis is no whole command, nor is a script's name with an option (`eval.py -h`).
    """
    found = []
    for block in FENCED.finditer(text):
        lines = re.sub(r"\\\n\s*", "", block[2]).splitlines()
        if block[1] or not COMMAND.match(lines[0]):
            assert not block[1] or block[1] == "python", block[1]
            continue
        before = text[: block.start()].rstrip().rpartition("\n\n")[2]
        near = before + block[0] + text[block.end() :].lstrip().partition("\n\n")[0]
        for line in lines:
            assert COMMAND.match(line), line
            found += [(block.start(), part, near) for part in re.split(r" && ", line)]
    outside = FENCED.sub(lambda block: " " * len(block[0]), text)
    for code in re.finditer(r"`([^`\n]+)`", outside):
        if COMMAND.match(code[1]):
            start = max(
                outside.rfind("\n\n", 0, code.start()), outside.rfind("\n|", 0, code.start())
            )
            ends = [outside.find(end, code.end()) for end in ("\n\n", "\n|")]
            near = outside[start : min((end for end in ends if end > 0), default=None)]
            found += [(code.start(), part, near) for part in re.split(r" && ", code[1])]
    return [
        Command(part, text.count("\n", 0, start) + 1, near)
        for start, part, near in sorted(found, key=lambda one: one[0])
        if "…" not in part
    ]


@functools.cache
def _before_main(script):
    """A script up to where it starts to work, compiled: it parses its options before that."""
    text = (ROOT / script).read_text().partition('\nif __name__ == "__main__":\n')[0]
    return compile(text, ROOT / script, "exec")


def parsed(script, words):
    """Have a script parse a command line.

    Returns:
        its arguments, None where it ends there; and what it prints.
    """
    printed, args = io.StringIO(), None
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ))  # some options set variables for Paddle
        # A worker of pytest-xdist begins with what its parent has set for Paddle.
        stack.enter_context(mock.patch.object(environment, "_TF32_OF_USER", None))
        stack.enter_context(mock.patch.object(sys, "argv", [script, *words]))
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(contextlib.redirect_stderr(printed))
        names = {"__name__": "parsed", "__file__": str(ROOT / script)}
        exec(_before_main(script), names)
        with contextlib.suppress(SystemExit):
            args = names["parse_args"]()
    return args, printed.getvalue()


def options_of(script, *words):
    """The options that a command's --help lists."""
    return set(re.findall(r"--[a-z][\w-]*", parsed(script, [*words, "--help"])[1]))
