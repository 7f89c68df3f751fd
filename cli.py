"""What every script shares: set-up before Paddle is imported, options, and how errors are shown.

Import this module before Paddle: it sets environment variables that Paddle's libraries read once.
"""

import argparse
import os
import sys
import warnings


def _processor_vendor():
    """Return the x86 vendor string of the first processor, or "" where it cannot be told."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            vendors = (line.split(":")[1].strip() for line in file if line.startswith("vendor_id"))
            return next(vendors, "")
    except OSError:
        return ""


# Paddle's CPU convolutions end in Intel's MKL, which takes its slow path on AMD processors unless
# told to use the AVX2 one. On Intel the variable would hold it back, so it is not set there; what
# the user has set stays.
if _processor_vendor() == "AuthenticAMD":
    os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")

# Paddle Inference's OpenVINO engine takes effect on the older program format alone (inference.py).
os.environ.setdefault("FLAGS_enable_pir_api", "0")

# Notes of Paddle's C++ side on what it does; warnings and errors still show.
os.environ.setdefault("GLOG_minloglevel", "1")

# Paddle looks for a compiler cache that only custom C++ operators need.
warnings.filterwarnings("ignore", message="No ccache found")
# paddle.Model makes tensors of what its loader has already made tensors of.
warnings.filterwarnings("ignore", message="To copy construct from a tensor")

from files import UserError  # noqa: E402  (the set-up above comes first)


class ArgumentParser(argparse.ArgumentParser):
    """argparse in this project's manner: `--data_dir` is `--data-dir`, an error is one line."""

    def __init__(self, doc):
        super().__init__(
            description=doc,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse_known_args(self, args=None, namespace=None):
        def dashes(word):
            name, equals, value = word.partition("=")
            return name.replace("_", "-") + equals + value if name.startswith("--") else word

        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([dashes(word) for word in words], namespace)

    def error(self, message):
        self.exit(2, f"error: {self.prog}: {message}; see {self.prog} --help\n")


def _number(kind, good, description):
    """Return an argparse type that reads an int or float and refuses those that are not `good`."""

    def parse(text):
        number = kind(text)
        if not good(number):
            raise ValueError
        return number

    parse.__name__ = description  # argparse says "invalid <description> value: 'x'"
    return parse


positive_int = _number(int, lambda n: n > 0, "whole number above 0")
natural_int = _number(int, lambda n: n >= 0, "whole number")
positive_float = _number(float, lambda x: 0 < x < float("inf"), "number above 0")


def int_list(text):
    """argparse type: rising whole numbers above 0 with commas between, or nothing."""
    numbers = [positive_int(part) for part in text.split(",") if part]
    if numbers != sorted(set(numbers)):
        raise ValueError
    return numbers


int_list.__name__ = "list of rising whole numbers"


def default_workers():
    """Return how many processes read films by default: one a core that this process may use."""
    return min(8, len(os.sched_getaffinity(0)))


def add_data_arguments(parser):
    """Add the options that train.py and eval.py share: films, how to read them, the device."""
    parser.add_argument("--data-dir", default="ChestX-ray14", help="has images/ and labels/")
    add_split_argument(parser)
    parser.add_argument("--batch-size", type=positive_int, default=128)
    parser.add_argument("--resize", type=positive_int, default=256, help="short side of a film")
    parser.add_argument(
        "--crop-size", type=positive_int, default=224, help="side of a crop, pixels"
    )
    parser.add_argument(
        "--num-workers",
        type=natural_int,
        default=default_workers(),
        help="processes that read films; 0: the main process",
    )
    parser.add_argument("--device", choices=["auto", "gpu", "cpu"], default="auto")
    parser.add_argument(
        "--autotune",
        action="store_true",
        help="let Paddle try out cuDNN's algorithms and data layouts in the first steps",
    )


def add_split_argument(parser):
    """Add --split: which label lists are taken where none are given (see `label_list`)."""
    parser.add_argument(
        "--split",
        choices=["default", "official"],
        default="default",
        help="the reference project's lists, or NIH's own (see prepare_data.py split)",
    )


def label_list(args, part):
    """Return the path of the list of "train", "val" or "test" films of --split.

    Raises:
        UserError: the official lists are not made yet.
    """
    labels = os.path.join(args.data_dir, "labels")
    if args.split == "default":
        return os.path.join(labels, f"{part}_list.txt")
    path = os.path.join(labels, "official", f"{part}_list.txt")
    if not os.path.exists(path):
        raise UserError(
            f"{path}: want a list of the official split, got no such file; "
            f"python prepare_data.py split --data-dir {args.data_dir}"
        )
    return path


def check_sizes(args):
    """Raise UserError unless a crop fits into a resized film."""
    if args.crop_size > args.resize:
        raise UserError(
            f"--crop-size: want at most --resize {args.resize}, got {args.crop_size}; "
            "make one larger or the other smaller"
        )


def set_device(name, autotune=False):
    """Point Paddle at a device and return its name, "cpu" or "gpu:0".

    Args:
        name: "cpu", "gpu", or "auto": a GPU where this Paddle and this machine have one.
        autotune: turn on `paddle.incubate.autotune` for kernels and layout.

    Raises:
        UserError: a GPU was asked for and there is none.
    """
    import paddle

    has_gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if name == "gpu" and not has_gpu:
        raise UserError(
            "--device: want gpu, got a Paddle or a machine without one; "
            "install paddlepaddle-gpu (README, 'Which Paddle wheel') or use --device cpu"
        )
    paddle.set_device("gpu" if has_gpu and name != "cpu" else "cpu")
    if autotune:
        paddle.incubate.autotune.set_config(
            {"kernel": {"enable": True}, "layout": {"enable": True}}
        )
    return paddle.get_device()


def run(main):
    """Run a script's `main`; end with status 2 and one `error:` line for what the user can mend."""
    try:
        main()
    except UserError as error:
        message = error
    except OSError as error:
        if not error.strerror:
            raise
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror}; check the path and the free space"
    except KeyboardInterrupt:
        sys.exit(130)
    else:
        return
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
