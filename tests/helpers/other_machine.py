"""Run a script on a machine that lacks what Windows or macOS lack.

    python tests/helpers/other_machine.py windows eval.py --data-dir ...

The functions are taken away from this process, and where Paddle and Python ask for the system they
are told its name; everything else is real.
"""

import builtins
import concurrent.futures.process
import contextlib
import glob
import io
import multiprocessing
import os
import pathlib
import runpy
import sys
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)


def no_proc(path, *words, **options):
    if str(path).startswith("/proc/"):
        raise FileNotFoundError(2, "No such file or directory", path)
    return io.open(path, *words, **options)  # noqa: UP020 (builtins.open is this function)


def replace_closed(source, target, replace=os.replace):
    """As on Windows: a file that a process has open cannot be replaced."""
    in_use = set()
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it has been closed since
            in_use.add(os.readlink(link))
    if in_use & {os.path.realpath(path) for path in (source, target)}:
        raise PermissionError(13, "Access is denied", source, None, target)
    replace(source, target)


def fail(*words):
    raise RuntimeError("(Unavailable) Not compiled with it. (at analysis_config.cc:1)")


def take_away(system):
    for name in ("sched_getaffinity", "statvfs", "fork", "geteuid", "wait4"):
        delattr(os, name)
    if system == "windows":
        del os.pread
    builtins.open = no_proc
    os.replace = replace_closed
    multiprocessing.set_start_method("spawn")

    from runtime import environment  # noqa: F401  (before Paddle)

    # isort: split
    import paddle

    platform = {"windows": "win32"}.get(system, "darwin")
    named = types.SimpleNamespace(**{**vars(sys), "platform": platform})
    paddle.io.reader.sys = concurrent.futures.process.sys = named
    config = paddle.inference.Config
    if hasattr(config, "enable_openvino_engine"):  # Paddle 3
        config.enable_openvino_engine = fail if system == "windows" else lambda *words: None
    if system != "windows":
        del config.set_mkldnn_cache_capacity
    if system == "macos without oneDNN":
        paddle.inference.create_predictor = fail


if __name__ == "__main__":
    system, script, *sys.argv[1:] = sys.argv[1:]
    take_away(system)
    sys.argv[0] = script
    runpy.run_path(str(ROOT / script), run_name="__main__")
