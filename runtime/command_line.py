"""What every script's command line shares: the parser, option types, and how errors are shown.

Neither Paddle nor NumPy is imported here, so that `--help` and a mistyped option answer at once.
"""

import argparse
import contextlib
import difflib
import importlib.util
import os
import signal
import sys

from runtime import environment  # before Paddle
from runtime.files import UserError, remedy_of
from runtime.paddle_errors import paddle_error

# What the requirements files install, by the names they are imported by.
PACKAGES = ("paddle", "numpy", "PIL", "safetensors", "scipy", "sklearn", "tqdm", "matplotlib")
PACKAGES += ("jinja2",)

# How other projects name options of this one; by its letters --lr is nearest to --log-dir.
NAMES_ELSEWHERE = {
    "--lr": "--learning-rate",
    "--gpu": "--device",
    "--gpus": "--device",
    "--checkpoint": "--weights",
}


def missing_package():
    """Return the first of `PACKAGES` that is not installed, or None."""
    return next((name for name in PACKAGES if importlib.util.find_spec(name) is None), None)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps line ends, and adds each option's default where the help does not name it."""

    def _get_default_metavar_for_optional(self, action):
        if action.type in METAVARS:
            return METAVARS[action.type]
        return "DIR" if action.dest.endswith(("_dir", "visualdl")) else "FILE"

    def _get_help_string(self, action):
        help_text = action.help or ""
        is_switch = action.default is None or action.default is False
        if is_switch or action.default == argparse.SUPPRESS or "default" in help_text:
            return help_text
        return f"{help_text} (default: %(default)s)"


class ArgumentParser(argparse.ArgumentParser):
    """argparse as this project uses it: `--data_dir` is `--data-dir`; an error is one line.

    Args:
        doc: the script's docstring.
        examples: command lines to show below the options, or "".
        options: of argparse.ArgumentParser, which makes the parsers of subcommands with them.
    """

    def __init__(self, doc=None, examples="", **options):
        options.setdefault("description", doc)
        options.setdefault("epilog", f"examples:\n{examples}" if examples else None)
        super().__init__(formatter_class=_HelpFormatter, allow_abbrev=False, **options)

    def parse_args(self, args=None, namespace=None):
        """Parse the command line, then make sure that the packages are there."""
        namespace = self.parse_words(args, namespace)
        self.check_packages()
        return namespace

    def parse_words(self, args=None, namespace=None):
        """Parse the command line, for a script that has something to say without the packages."""
        namespace, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"no such option or argument: {unknown[0]}{self._suggestion(unknown[0])}")
        return namespace

    def check_packages(self):
        """End with one `error:` line where a package is not installed."""
        if package := missing_package():
            self.exit(
                2,
                f"error: {self.prog}: the package {package} is not installed in {sys.prefix}; "
                "run `source .venv/bin/activate` if `make` has made .venv, or "
                "`pip install -r requirements-cpu.txt` (requirements.txt with a GPU, "
                "requirements-base.txt where Paddle is there)\n",
            )

    def parse_known_args(self, args=None, namespace=None):
        def dashes(word):
            name, equals, value = word.partition("=")
            return name.replace("_", "-") + equals + value if name.startswith("--") else word

        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([dashes(word) for word in words], namespace)

    def error(self, message):
        self.exit(2, f"error: {self.prog}: {message}; see {self.prog} --help\n")

    def _suggestion(self, word):
        known = {*self._option_string_actions}
        for action in self._subparsers._group_actions if self._subparsers else []:
            chosen = [word for word in sys.argv[1:] if word in action.choices]
            for name in chosen[:1] or action.choices:
                known |= {*action.choices[name]._option_string_actions}
        name = word.partition("=")[0]
        near = [option for option in [NAMES_ELSEWHERE.get(name)] if option in known]
        near = near or difflib.get_close_matches(name, sorted(known), n=1)
        return f" (did you mean {near[0]}?)" if near else ""


def _number(kind, good, description):
    """Return an argparse type that reads an int or float and refuses those that are not `good`."""

    def parse(text):
        with contextlib.suppress(ValueError):
            if good(number := kind(text)):
                return number
        raise argparse.ArgumentTypeError(f"want {description}, got {text!r}")

    return parse


positive_int = _number(int, lambda n: n > 0, "a whole number above 0")
natural_int = _number(int, lambda n: n >= 0, "a whole number, 0 or more")
positive_float = _number(float, lambda x: 0 < x < float("inf"), "a number above 0")


def int_list(text):
    """argparse type: rising whole numbers above 0 with commas between, or nothing."""
    numbers = [positive_int(part) for part in text.split(",") if part]
    if numbers != sorted(set(numbers)):
        raise argparse.ArgumentTypeError(f"want rising whole numbers, got {text!r}")
    return numbers


def window(text):
    """argparse type: centre and width of a window of grey values, with a comma between."""
    with contextlib.suppress(ValueError):
        center, width = map(float, text.split(","))
        if abs(center) < float("inf") and 1 <= width < float("inf"):
            return [center, width]
    raise argparse.ArgumentTypeError(f"want CENTER,WIDTH and a width of 1 or more, got {text!r}")


# Placeholders for values in --help.
METAVARS = {positive_int: "N", natural_int: "N", positive_float: "X", int_list: "N,N,..."}
METAVARS |= {window: "CENTER,WIDTH"}


def default_workers():
    """Return how many processes read films by default: one for each core this process may use.

    The ranks of a job on this machine share its cores.
    """
    if not hasattr(os, "sched_getaffinity"):
        return 0  # macOS, Windows: Paddle reads in the main process there
    cores = len(os.sched_getaffinity(0))
    return min(8, max(1, cores // environment.ranks_here()))


def add_data_arguments(parser):
    """Add the options that train.py and eval.py share: where the films are and how to read them."""
    parser.add_argument(
        "--data-dir", default="ChestX-ray14", help="folder with images/ and labels/"
    )
    add_split_argument(parser)
    add_loading_arguments(parser)
    add_reading_arguments(parser)


def add_loading_arguments(parser):
    """Add --batch-size and --num-workers."""
    add_batch_argument(parser, 128)
    add_workers_argument(parser)


def add_batch_argument(parser, default):
    """Add --batch-size."""
    parser.add_argument("--batch-size", type=positive_int, default=default, help="films in a batch")


def add_workers_argument(parser, work="read films"):
    """Add --num-workers."""
    parser.add_argument(
        "--num-workers",
        type=natural_int,
        default=default_workers(),
        help=f"processes that {work}; 0: the main process does it",
    )


def add_weights_argument(parser, **options):
    """Add --weights, with a default or required."""
    parser.add_argument("--weights", help=".pdparams or .safetensors file", **options)


def add_meaning_arguments(parser, thresholds, reference):
    """Add --thresholds and --reference, for `check_meaning_arguments`; both words are for help."""
    parser.add_argument(
        "--thresholds",
        metavar="JSON",
        help=f"metrics.json of eval.py --thresholds-from: {thresholds}",
    )
    parser.add_argument(
        "--reference",
        metavar="JSON",
        help=f"operating_points.json of eval.py --reference-from: {reference}",
    )


def check_meaning_arguments(parser, args):
    """End with an error where both --thresholds and --reference are given."""
    if args.thresholds and args.reference:
        parser.error("--reference has thresholds: leave --thresholds out")


def add_reading_arguments(parser):
    """Add the options of `films.film_pixels.Reading`, wherever films are read."""
    parser.add_argument(
        "--window",
        type=window,
        help="grey values that become 0 to 255, of DICOM films and those of 16 bits "
        "(default: a DICOM film's own, else the full range)",
    )
    parser.add_argument(
        "--any-modality",
        action="store_true",
        help="read DICOM films that are not of modality CR, DX, RG or SC too",
    )
    parser.add_argument(
        "--any-colours",
        action="store_true",
        help="read films with colours too, as a mark has, by their luminance",
    )


def reading_options(args):
    """Return what was given for `films.film_pixels.Reading`, in its order."""
    return args.window, args.any_modality, args.any_colours


def add_size_arguments(parser, resize=None, crop_size=None):
    """Add --resize and --crop-size; without defaults, those that the weights were trained with."""
    for name, default, usual, what in (
        ("--resize", resize, 256, "pixels of a film's short side after resizing"),
        ("--crop-size", crop_size, 224, "pixels of a crop's side"),
    ):
        source = "" if default else f" (default: as in training, else {usual})"
        parser.add_argument(name, type=positive_int, default=default, help=what + source)


def add_device_argument(parser):
    """Add --device."""
    parser.add_argument(
        "--device",
        metavar="NAME",
        default="auto",
        help="cpu, gpu, gpu:1, xpu, npu or a plugged-in device; auto: a GPU, another, or cpu",
    )


def allow_tf32(parser, option):
    """Let a GPU compute in TF32, for an option that says so: call it before Paddle is imported."""
    if not environment.allow_tf32():
        parser.error(f"{option}: NVIDIA_TF32_OVERRIDE=0 in the environment forbids it; unset it")


def add_split_argument(parser):
    """Add --split: which label lists are taken where none are given (see `label_list`)."""
    parser.add_argument(
        "--split",
        choices=["default", "official"],
        default="default",
        help="label lists to use: the reference project's, or NIH's own (prepare_data.py split)",
    )


LISTS = {"train": "films to learn from", "val": "validation films", "test": "test films"}


def add_list_arguments(parser, parts, split=True):
    """Add --train-list, --val-list or --test-list, for a parser with --split or without."""
    for part in parts:
        default = f"labels/{part}_list.txt" + (", or that of --split" if split else "")
        parser.add_argument(
            f"--{part}-list",
            help=f"label list of the {LISTS[part]}, or CSV (default: {default})",
        )


def add_pretrained_argument(parser):
    """Add --pretrained."""
    parser.add_argument(
        "--pretrained",
        choices=["imagenet", "none"],
        default="imagenet",
        help="start from Paddle's ImageNet weights, which it downloads, or from random ones",
    )


def add_crops_argument(parser):
    """Add --crops."""
    parser.add_argument(
        "--crops", type=int, choices=[10, 1], default=10, help="ten crops, or the centre crop"
    )


def add_source_arguments(parser):
    """Add --url-base and --no-verify."""
    parser.add_argument(
        "--url-base",
        "--mirror",
        metavar="URL",
        help="a mirror that has all files by name below this address (docs/data.md lists them)",
    )
    parser.add_argument(
        "--no-verify",
        action="store_true",
        help="accept files with another digest",
    )


def label_list(data_dir, split, part):
    """Return the path of the list of "train", "val" or "test" films of --split.

    Raises:
        UserError: there is no data folder, or the official lists are not made yet.
    """
    if not os.path.isdir(data_dir):
        raise UserError(
            f"{data_dir}: no such data folder; give the one with images/ and labels/ by --data-dir"
        )
    labels = os.path.join(data_dir, "labels")
    above = os.path.dirname(os.path.abspath(data_dir))
    if not os.path.isdir(labels) and os.path.isdir(os.path.join(above, "labels")):
        raise UserError(f"{data_dir}: no folder labels in it, but beside it; --data-dir {above}")
    if split == "default":
        return os.path.join(labels, f"{part}_list.txt")
    path = os.path.join(labels, "official", f"{part}_list.txt")
    if not os.path.exists(path):
        raise UserError(
            f"{path}: no such list of the official split; "
            f"run python prepare_data.py split --data-dir {data_dir}"
        )
    return path


def check_sizes(resize, crop_size):
    """Raise UserError unless a crop fits into a resized film."""
    if crop_size > resize:
        raise UserError(
            f"--crop-size: want at most --resize {resize}, got {crop_size}; "
            "make one larger or the other smaller"
        )


def run(function, *arguments):
    """Call a script's function and return its result; turn a user's mistake into one error line.

    A `UserError`, an error of the file system, or one of the device (its memory is full, say) ends
    the process with status 2 and one `error:` line on stderr. SIGTERM ends it at once, unless the
    function says otherwise.
    """
    # Paddle's own handler prints a C++ trace, for which it allocates memory: where the signal has
    # interrupted an allocation, the process hangs.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        return function(*arguments)
    except UserError as error:
        message = error
    except BrokenPipeError:  # `eval.py ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (MemoryError, RuntimeError, SystemError) as error:
        message = paddle_error(error)
        if message is None:
            raise
    except OSError as error:
        message = paddle_error(error)
        if message is None and not error.strerror:
            raise
        where = f"{error.filename}: " if error.filename else ""
        message = message or f"{where}{error.strerror}; {remedy_of(error)}"
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
