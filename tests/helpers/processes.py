"""Processes: commands that may not be there, waiting for what they do, and their memory."""

import contextlib
import os
import subprocess
import time


def can_run(command):
    """Tell whether a command is there and ends well."""
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def wait_for(found, seconds=300):
    """Ask until something is found, and return it."""
    end = time.monotonic() + seconds
    while not (result := found()) and time.monotonic() < end:
        time.sleep(0.1)
    assert result
    return result


def memory_below(pid):
    """Bytes of a process and all that it started, each page shared by several counted once."""
    below, size = {pid}, 0
    for process in sorted(map(int, filter(str.isdigit, os.listdir("/proc")))):
        with contextlib.suppress(OSError):
            with open(f"/proc/{process}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            if process in below or parent in below:
                below.add(process)
                with open(f"/proc/{process}/smaps_rollup") as file:
                    size += 1024 * next(int(x.split()[1]) for x in file if x.startswith("Pss:"))
    return size
