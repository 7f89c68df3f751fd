"""Processes: commands that may not be there, and waiting for what they do."""

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
