"""What Paddle's errors of a device say, in one line."""

import re

# (External) is an error of CUDA, cuDNN, NCCL or of a plugged-in device; the other form comes with
# FLAGS_call_stack_level above 1, below a trace.
_KIND = re.compile(r"\((External|ResourceExhausted)\)|(External|ResourceExhausted)Error:")
_MEMORY = (
    "give a smaller --batch-size; --amp O1 and --recompute of train.py take less as well "
    "(docs/gpus.md, Memory)"
)
_OTHER = "if its memory is full, " + _MEMORY + "; for other causes see docs/gpus.md, Errors"


def device_error(error):
    """Return an exception's message and remedy in one line; None where it is not of a device.

    Paddle raises `MemoryError` where memory is full, and `OSError` without `strerror` for errors of
    CUDA, cuDNN and NCCL; the text has many lines.
    """
    text = str(error)
    kind = _KIND.search(text)
    if kind is None:
        return f"out of memory; {_MEMORY}" if isinstance(error, MemoryError) else None
    lines = (line.strip() for line in text[kind.end() :].splitlines())
    line = next(filter(None, lines), "no reason given")
    line = " ".join(re.sub(r"\(at [^)]*\)", "", line).split()).rstrip(". ")
    if kind[1] == "ResourceExhausted" or kind[2] == "ResourceExhausted":
        return f"{line}; {_MEMORY}"
    return f"the device failed: {line}; {_OTHER}"
