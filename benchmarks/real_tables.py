"""Every label table that torchxrayvision's wheel carries, converted: counts, seconds, memory.

    pip download torchxrayvision==1.5.7 --no-deps && unzip torchxrayvision-*.whl
    python benchmarks/real_tables.py torchxrayvision/data

writes the section "Real tables" of benchmarks/RESULTS.md. It downloads and installs nothing.
"""

import argparse
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks.results_file import machine, write_section

TABLES = [
    ("chexpert", "chexpert_train.csv.gz"),
    ("chexpert", "chexpert_train.csv.gz", "--unmentioned", "unknown"),
    ("padchest", "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"),
    ("vindr", "vinbigdata-train.csv.gz"),
    ("vindr", "vinbigdata-train.csv.gz", "--readers", "any"),
    ("openi", "NLMCXR_reports.tgz", "--all-views"),
    ("nih", "Data_Entry_2017_v2020.csv.gz"),
    ("nih-adjudicated", "google2019_nih-chest-xray-labels.csv.gz"),
]


def main(folder):
    parts = ["# Real tables", machine() + ", tables of torchxrayvision 1.5.7."]
    for data_set, name, *options in TABLES:
        printed, seconds = convert(data_set, folder / name, options)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of all so far
        command = " ".join(["labels --from", data_set, name, *options])
        figures = f"{seconds:.1f} s; at most {peak:.0f} MB, the tables above included"
        parts.append(f"`{command}`: {figures}\n\n```\n{printed}```")
        print(parts[-1], flush=True)
    write_section("\n\n".join(parts))


def convert(data_set, table, options):
    """Return what `prepare_data.py labels` prints of a table, and how long it took in seconds."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "prepare_data.py", "labels", table, "--from", data_set]
        command += ["--output", "list.csv", *options]
        command[1] = ROOT / command[1]
        begin = time.perf_counter()
        result = subprocess.run(command, cwd=output, check=True, text=True, stdout=subprocess.PIPE)
        return result.stdout, time.perf_counter() - begin


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=lambda text: pathlib.Path(text).resolve())
    main(parser.parse_args().folder)
