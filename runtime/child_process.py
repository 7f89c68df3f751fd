"""A script run in a process of its own, which gets this one's signals and does not outlive it."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys

from runtime import environment


@contextlib.contextmanager
def lock(path):
    """Wait until no other process holds the lock file; hold it meanwhile.

    Processes that are started with `run_child` hold it too, so it is free once all have ended.
    Windows has no such locks: there it does nothing.

    Yields:
        The open file.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another run to end, which holds {path}", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def run_child(command, held):
    """Run a command to its end; SIGTERM and SIGINT to this process are passed on to it.

    It has a session of its own, so that Ctrl-C reaches it once. Linux sends it SIGTERM when this
    process is killed.

    Args:
        command: list of words.
        held: a file of `lock`.

    Returns:
        status: exit status; negative: the signal that ended it.
        asked: the signal that this process got meanwhile, or 0.
    """
    asked, child = [], None

    def pass_on(number, frame):
        asked.append(number)
        if child and os.name != "nt":  # there Ctrl-C reaches both
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        child = subprocess.Popen(
            command,
            env=environment.OF_USER,
            start_new_session=True,
            preexec_fn=_end_with_parent(),
            **({} if os.name == "nt" else {"pass_fds": [held.fileno()]}),
        )
        for number in asked[:1]:  # before `child` was there
            child.send_signal(number)
        return child.wait(), asked[0] if asked else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_parent():
    """Return a function for the child to call first, or None where the system has no such call."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask():
        prctl(1, int(signal.SIGTERM))  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # killed already
            os._exit(1)

    return ask
