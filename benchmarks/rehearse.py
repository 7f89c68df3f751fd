"""Run the commands on as many films as ChestX-ray14 has: a few real ones under all its names.

    python benchmarks/rehearse.py

links 112,120 names to a few films of ../shared/sample_256 and runs `prepare_data.py` `check` and
`cache`, `train.py` to its first step, `eval.py` to its first batch, and `eval.py --predictions`,
each as a user does. It prints a table of time and peak memory and writes it to
benchmarks/RESULTS.md. Linux alone: memory is read from /proc.
"""

import concurrent.futures
import contextlib
import gzip
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import numpy as np
from ours import SHARED, random_weights
from PIL import Image
from results_file import add_output_argument, machine, table, write_section

from runtime import command_line  # before Paddle
from runtime.files import UserError

SOURCES = 32  # films that share all the names
TABLE = "Data_Entry_2017_v2020.csv"
HEADS = ["what", "time", "processor time", "all processes", "of it anonymous", "largest process"]
LOOK = 0.5  # seconds between two looks at the memory: five times a second took 7 % of a core


def parse_args():
    parser = command_line.ArgumentParser(__doc__)
    parser.add_argument(
        "--films", metavar="DIR", default=SHARED / "sample_256" / "images", help="PNG films"
    )
    parser.add_argument(
        "--labels", metavar="DIR", default=SHARED / "labels", help="the three lists, NIH's table"
    )
    parser.add_argument("--batch-size", type=command_line.positive_int, default=128)
    command_line.add_size_arguments(parser, 256, 224)
    add_output_argument(parser)
    return parser.parse_args()


def main(args):
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        folder = pathlib.Path(folder)
        # In a process of its own: Paddle's libraries, loaded here too, would count half there.
        with concurrent.futures.ProcessPoolExecutor(1) as pool:
            about = pool.submit(lay_out, args, folder).result()
        rows = []
        for stage in stages(args, folder):
            rows += rehearse(folder, *stage)
            print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    load = os.getloadavg()[2]  # of a quarter of an hour
    text = (
        f"# Results of `make rehearse`\n\n{machine()}, on average {load:.1f} processes that "
        f"wanted one in the last quarter of an hour, ours and others'. {about}\n\n"
        "Processor time is that of all processes of a command, on all cores; where it is far below "
        "the time times the cores, other work had them, or the command waited. "
        "Memory is the peak, looked at twice a second: all processes of a command together "
        "(Pss), the part of it that is in no file (Pss_Anon), and the largest process alone as "
        "`top` shows it (Rss). Pages of files that the system keeps as long as nobody else wants "
        "the memory are not in it.\n\n" + table(HEADS, rows)
    )
    write_section(text, args.output)


def lay_out(args, folder):
    """Make a data folder of the lists' names, weights and predictions; say what films it has."""
    films = sorted(pathlib.Path(args.films).glob("*.png"))[:SOURCES]
    if not films:
        raise UserError(f"{args.films}: no PNG films in it; give their folder with --films")
    from evaluation.predictions_csv import write_predictions
    from films.label_lists import read_label_list

    labels, data = pathlib.Path(args.labels), folder / "data"
    lists = {
        part: read_label_list(labels / f"{part}_list.txt") for part in ("train", "val", "test")
    }
    names = [name for part, _ in lists.values() for name in part]
    need, free = len(names) * args.resize**2, shutil.disk_usage(folder).free
    if free < 1.1 * need:
        raise UserError(
            f"{folder}: want {need / 1e9:.1f} GB for the cache and some more, got "
            f"{free / 1e9:.1f} GB free; set TMPDIR to a folder of a larger disk"
        )
    for part in ("images", "labels"):
        (data / part).mkdir(parents=True)
    for part in lists:
        shutil.copy(labels / f"{part}_list.txt", data / "labels")
    if (labels / TABLE).exists():
        shutil.copy(labels / TABLE, data / "labels")
    elif (labels / f"{TABLE}.gz").exists():
        (data / "labels" / TABLE).write_bytes(
            gzip.decompress((labels / f"{TABLE}.gz").read_bytes())
        )
    for n, name in enumerate(names):
        os.symlink(films[n % len(films)].resolve(), data / "images" / name)
    for part in ("val", "test"):
        names_of_part, flags = lists[part]
        made_up = np.random.default_rng(0).random(flags.shape) * 0.9 + 0.1 * flags
        path = folder / f"made_up_{part}.csv"
        write_predictions(path, names_of_part, made_up.astype(np.float32))
    random_weights(folder)
    with Image.open(films[0]) as film:
        width, height = film.size
    about = f"{len(films)} films of {width} x {height} pixels"
    return f"{sum(len(part) for part, _ in lists.values()):,} names of {about}."


def stages(args, folder):
    """Yield what is run: a name, a command, what it prints, and the signal to end it with then."""
    data = ["--data-dir", folder / "data"]
    sizes = ["--resize", args.resize, "--crop-size", args.crop_size]
    sizes += ["--batch-size", args.batch_size]
    save = ["--save-dir", folder / "save", "--log-dir", folder / "logs", "--log-freq", 1]
    train = ["train.py", *data, *sizes, *save, "--pretrained", "none"]
    made_up = [folder / f"made_up_{part}.csv" for part in ("val", "test")]
    saved = ["eval.py", "--predictions", made_up[1], "--output-dir", folder / "result"]
    test_list = ["--test-list", folder / "data" / "labels" / "test_list.txt"]
    report = r"films: ([\d,]+) found, [\d,]+ listed, 0 do not decode"
    yield "`prepare_data.py check`, {} films", ["prepare_data.py", "check", *data], report, None
    cache = ["prepare_data.py", "cache", *data, "--resize", args.resize]
    yield "`prepare_data.py cache`, {} films", cache, r"wrote .*: (\d+) films", None
    yield "`train.py`, to step {}", train, r"(?m)^step +(\S+) - loss", signal.SIGTERM
    evaluate = ["eval.py", *data, *sizes, "--weights", folder / "random.pdparams"]
    # Not SIGTERM: Paddle's handler asks for memory, and waits for ever if it came in a `free`.
    yield "`eval.py`, to batch {}", evaluate, r"\| ([1-9]\d*/\d+) \[", signal.SIGKILL
    words = "`eval.py --predictions`, intervals and page"
    yield words, [*saved, *test_list], "open .*report.html", None
    if (folder / "data" / "labels" / TABLE).exists():
        more = [*data, "--reference-from", made_up[0]]
        what = f"{words}, by sex, age and view, thresholds, error rates, calibration"
        yield what, [*saved, *more], "open .*report.html", None


def rehearse(folder, what, words, pattern, stop):
    """Run a command until it has ended, or printed what it is to be stopped at.

    Args:
        folder: where it runs; no ChestX-ray14/ is there for it to find.
        what: a name, with a place for what `pattern` catches.
        words: a script of this project and its arguments.
        pattern: regular expression of what it has to print.
        stop: signal that ends it then, or None.

    Returns:
        Rows of the table: the command's, and if it took SIGTERM as a wish, that of its end.

    Raises:
        UserError: it ended in another way.
    """
    output, peak, match = folder / "output.txt", np.zeros(4), None
    command = [sys.executable, ROOT / words[0], *words[1:]]
    start = time.perf_counter()
    with open(output, "wb") as file:
        child = subprocess.Popen(
            list(map(str, command)),
            stdout=file,
            stderr=file,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        while child.poll() is None and not (stop and match):
            peak = np.maximum(peak, usage(child.pid))
            time.sleep(LOOK)
            match = re.search(pattern, output.read_text(encoding="utf-8"))
    finally:
        took = time.perf_counter() - start
        child.send_signal(stop or signal.SIGKILL)
        status = child.wait()
    text = output.read_text(encoding="utf-8")
    match = re.search(pattern, text)
    ends = (0, -stop, 128 + stop) if stop else (0,)
    if words[1] == "check":  # which finds that one picture has many names
        ends = (0, 1)
    if not match or status not in ends:
        last = (text.splitlines() or ["no output"])[-1]
        raise UserError(
            f"{words[0]}: want {pattern!r}, got status {status} and {last}; run it alone"
        )
    *sizes, processor = peak
    sizes = [f"{size / 2**20:,.0f} MiB" for size in sizes]
    rows = [[what.format(*match.groups()), f"{took:.1f} s", f"{processor:.1f} s", *sizes]]
    if status == 128 + signal.SIGTERM:
        took = time.perf_counter() - start - took
        end = "the same, from SIGTERM to its end with a checkpoint"
        rows.append([end, f"{took:.1f} s", *[""] * 4])
    return rows


def usage(session):
    """Return what the processes of a session take, in an array of four.

    Returns:
        Bytes of all processes together (Pss), of them in no file (Pss_Anon), and of the largest
        process alone (Rss); seconds of processor time.
    """
    pss, anonymous, largest, ticks = 0, 0, 0, 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended since
            if os.getsid(int(pid)) != session:
                continue
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
            # utime, stime, and those of children that have ended: 14 to 17 in proc(5).
            ticks += sum(map(int, stat.rpartition(")")[2].split()[11:15]))
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
            kib = dict(re.findall(r"^(\w+): +(\d+) kB$", rollup, re.M))
            pss += int(kib["Pss"]) * 1024
            anonymous += int(kib["Pss_Anon"]) * 1024
            largest = max(largest, int(kib["Rss"]) * 1024)
    return np.array([pss, anonymous, largest, ticks / os.sysconf("SC_CLK_TCK")])


if __name__ == "__main__":
    command_line.run(main, parse_args())
