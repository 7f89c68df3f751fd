"""Environment variables that Paddle's libraries read once, as they load: import this before Paddle.

What the user has set stays.
"""

import contextlib
import ctypes
import glob
import importlib.metadata
import os
import sys
import warnings

# Paddle 2.6 brings a zlib of its own: what loads after it cannot decode PNG with Pillow 13's.
with contextlib.suppress(ImportError):  # said in time, by `command_line`
    import PIL.Image  # noqa: F401

# What the user has set: for processes that this one starts, which choose for themselves.
OF_USER = dict(os.environ)
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # options of mallopt(3)


def _of_first_processor(key):
    """Return what /proc/cpuinfo says of the first processor, or None where it cannot be told."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        values = (line.split(":", 1)[1].strip() for line in file if line.startswith(key))
        return next(values, None)


def processor_name():
    """Return the name of the first processor, or None where it cannot be told."""
    return _of_first_processor("model name")


def ranks_here():
    """Return how many processes of a job share this machine, as Paddle's launchers tell them."""
    if "PADDLE_LOCAL_SIZE" in os.environ:
        return int(os.environ["PADDLE_LOCAL_SIZE"])
    # The older launcher, which `--backend gloo` brings, tells only the addresses of all processes.
    own = os.environ.get("PADDLE_CURRENT_ENDPOINT", "").rpartition(":")[0]
    all_ranks = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")
    return max(1, [address.rpartition(":")[0] for address in all_ranks].count(own))


def cores_of_rank():
    """Return this rank's share of the machine's cores, at least one."""
    return max(1, os.cpu_count() // ranks_here())


def has_gpu():
    """Tell whether Paddle will find an NVIDIA card, without importing it.

    It needs a build for CUDA, and a card: /dev/nvidia0, or only /dev/nvidia3 in a container that
    was given that one; /dev/dxg in WSL2.
    """
    try:
        importlib.metadata.version("paddlepaddle-gpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return bool(glob.glob("/dev/nvidia[0-9]*")) or os.path.exists("/dev/dxg")


def compute_on_cores():
    """Let Paddle compute with this rank's share of the cores; call it before Paddle is imported.

    `import paddle` sets OMP_NUM_THREADS to 1 unless it is set. With a GPU that is right. And let
    this process keep memory that it has freed: an array of fresh pages takes ten times as long to
    write as one of pages that were there.

    Paddle is imported here, to leave out its warning of every number of threads but 1.
    """
    if has_gpu():
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(cores_of_rank()))
    with contextlib.suppress(OSError, AttributeError, TypeError):  # only glibc has it
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    with contextlib.redirect_stderr(_WithoutThreadsWarning(sys.stderr)):
        import paddle  # noqa: F401


class _WithoutThreadsWarning:
    """Standard error without Paddle's two lines; what logs keep it, and write to it later."""

    def __init__(self, stream):
        self._stream, self._ends_line = stream, False

    def write(self, text):
        is_left_out = "OMP_NUM_THREADS" in text or (self._ends_line and text == "\n")
        self._ends_line = "OMP_NUM_THREADS" in text
        return len(text) if is_left_out else self._stream.write(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)


# Paddle's CPU convolutions end in Intel's MKL, which takes its slow path on AMD processors unless
# told to use the AVX2 one. On Intel the variable would slow it down, so it is not set there.
if _of_first_processor("vendor_id") == "AuthenticAMD":
    os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")

# Paddle Inference's OpenVINO engine works only on the older program format (see cpu_predictor).
os.environ.setdefault("FLAGS_enable_pir_api", "0")

# On Ampere and later, NVIDIA's libraries compute float32 in TF32 unless told not to.
_TF32_OF_USER = os.environ.get("NVIDIA_TF32_OVERRIDE")
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")


def allow_tf32():
    """Leave TF32 to NVIDIA's libraries; return False where the user has switched it off."""
    if _TF32_OF_USER is None:
        os.environ.pop("NVIDIA_TF32_OVERRIDE", None)
    return _TF32_OF_USER != "0"


def compute_deterministically():
    """Have cuDNN give the same bits each time; call it before Paddle is imported."""
    os.environ["FLAGS_cudnn_deterministic"] = "1"  # noqa: SIM112


# Hide the notes of Paddle's C++ side; warnings and errors still show.
os.environ.setdefault("GLOG_minloglevel", "1")

# Paddle looks for a compiler cache that only custom C++ operators need.
warnings.filterwarnings("ignore", message="No ccache found")
# paddle.Model makes tensors of what its loader has already made tensors of.
warnings.filterwarnings("ignore", message="To copy construct from a tensor")
# runtime.devices says it in a line of its own, where it matters.
warnings.filterwarnings("ignore", message="You are using GPU version Paddle")
