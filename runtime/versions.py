"""What a result depends on besides options and data: versions of packages and of this project."""

import contextlib
import os
import platform
import subprocess

import numpy as np
import paddle
import PIL


def versions():
    """Return a dict from package to version."""
    return {
        "python": platform.python_version(),
        "paddle": paddle.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }


def commit():
    """Return this project's git commit, "-dirty" behind it after a change; None without git."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.check_output(
            ["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=40"],
            text=True,
            stderr=subprocess.DEVNULL,
        ).strip()
    return None
