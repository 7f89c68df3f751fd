"""Build the stand-in accelerator: Paddle's device type "standin", with no card.

    environment = standin.build(folder)

and in a process started with those variables `paddle.set_device("standin")` works, and
`--device standin` with it. The device's memory is the host's, but a copy whose addresses are on the
wrong side ends the process (status 86, one line on stderr), and copies are counted: `Traffic`.
Half precision has kernels in standin_kernels.cc; all else runs on the CPU, copied there and back.
"""

import ctypes
import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = "standin.cc", "standin_kernels.cc"
# No -ffast-math: float16 training needs infinity and NaN to be told from numbers.
OPTIONS = ["-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-w"]


class Unavailable(Exception):
    """The stand-in cannot be built here; the text says why."""


def build(cache, device_type="standin", compiler="g++"):
    """Compile the stand-in, unless `cache` has it from the same sources, wheel and compiler.

    Args:
        cache: folder for the libraries, some hundred kilobytes.
        device_type: its name in Paddle. "intel_hpu" is one of those few for which `auto_cast`
            takes bfloat16; nothing else in Paddle asks for that name.
        compiler: name or path of GCC's or Clang's C++ compiler.

    Returns:
        dict of the environment variables that a process needs.

    Raises:
        Unavailable: no compiler, no Paddle with its headers, or an error of the compiler.
    """
    if not shutil.which(compiler):
        raise Unavailable(f"no {compiler}: apt-get install g++")
    spec = importlib.util.find_spec("paddle")  # not imported: that would load its libraries
    if spec is None:
        raise Unavailable("no Paddle in this Python")
    paddle = pathlib.Path(spec.origin).parent
    if not (paddle / "include/paddle/phi/backends/device_ext.h").exists():
        raise Unavailable(f"no headers for custom devices in {paddle}/include")
    options = [*OPTIONS, f"-DSTANDIN_TYPE={device_type}"]
    version = subprocess.run([compiler, "--version"], capture_output=True).stdout
    wheel = (paddle / "version" / "__init__.py").read_bytes()
    parts = [version, wheel, str(paddle).encode(), " ".join(options).encode(), _processor()]
    parts += [(HERE / name).read_bytes() for name in SOURCES]
    folder = pathlib.Path(cache) / hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    if not folder.exists():
        partial = folder.with_suffix(f".{os.getpid()}.tmp")
        partial.mkdir(parents=True)
        _compile([compiler, *options], paddle, partial)
        try:
            partial.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(partial)
    return {
        "CUSTOM_DEVICE_ROOT": str(folder),
        # Views would ask for a kernel that makes them contiguous, which the CPU's cannot stand for.
        "FLAGS_use_stride_kernel": "0",
        "GLOG_minloglevel": "1",
    }


def _compile(command, paddle, folder):
    """Make one library of both sources: Paddle loads each that is in the folder."""
    command = [*command, f"-I{paddle / 'include'}"]
    command += [str(HERE / name) for name in SOURCES]
    command += [f"-L{paddle / 'base'}", "-l:libpaddle.so", f"-L{paddle / 'libs'}"]
    command += [f"-Wl,-rpath,{paddle / 'base'}:{paddle / 'libs'}"]
    command += ["-Wl,--allow-shlib-undefined", "-o", str(folder / "libstandin.so")]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        shutil.rmtree(folder)
        raise Unavailable(f"{command[0]} failed: {result.stderr[-2000:]}")


def _processor():
    """Return what -march=native depends on, where /proc tells it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return b""
    return next((line for line in lines if line.startswith((b"flags", b"Features"))), b"")


class Traffic:
    """The counters of the device, for a process that runs on it."""

    def __init__(self):
        self.library = ctypes.CDLL(os.path.join(os.environ["CUSTOM_DEVICE_ROOT"], "libstandin.so"))
        self.library.standin_bytes.restype = self.library.standin_calls.restype = ctypes.c_int64

    def read(self):
        """Return {name: {"bytes": …, "calls": …}} of all copies since the start or `reset`.

        Names are "to_device", "to_host" and "within", and with "loader_" before them for copies
        that another thread than the main one asked for: Paddle's loader hands over batches there.
        Kernels that the stand-in lacks copy too, in the main thread.
        """
        return {
            f"{prefix}{name}": {
                "bytes": self.library.standin_bytes(kind, loader),
                "calls": self.library.standin_calls(kind, loader),
            }
            for loader, prefix in enumerate(("", "loader_"))
            for kind, name in enumerate(("to_device", "to_host", "within"))
        }

    def reset(self):
        """Start from 0."""
        self.library.standin_reset()
