"""What Paddle's errors of a device, and of the processes that read films, say in one line."""

import re

# (External) is an error of CUDA, cuDNN, NCCL or a plugged-in device. The other spelling comes with
# FLAGS_call_stack_level above 1, below a trace.
_KIND = re.compile(r"\((External|ResourceExhausted)\)|(External|ResourceExhausted)Error:")
_MEMORY = (
    "give a smaller --batch-size; --amp O1 and --recompute of train.py take less as well "
    "(docs/gpus.md, Memory)"
)
_WORKER = (
    "a process that read films was killed, perhaps for the memory that it took; give a smaller "
    "--num-workers, or 0; train.py goes on with --resume"
)


def paddle_error(error):
    """Return an exception's message and remedy in one line; None where it is none of these.

    Paddle raises `MemoryError` where memory is full, `OSError` without `strerror` for errors of
    CUDA, cuDNN and NCCL; where a reading process was killed `SystemError`, `RuntimeError`, or
    `OSError` if that was during a backward pass. Their texts have many lines.
    """
    text = str(error)
    if re.search(r"DataLoader process .* killed by signal|DataLoader .* exit unexpectedly", text):
        return _WORKER
    kind = _KIND.search(text)
    if kind is None:
        return f"out of memory; {_MEMORY}" if isinstance(error, MemoryError) else None
    lines = (line.strip() for line in text[kind.end() :].splitlines())
    line = next(filter(None, lines), "no reason given")
    line = " ".join(re.sub(r"\(at [^)]*\)", "", line).split()).rstrip(". ")
    if "ResourceExhausted" in kind[0]:
        return f"{line}; {_MEMORY}"
    return f"the device failed: {line}; if its memory is full, {_MEMORY}; else see Errors there"
