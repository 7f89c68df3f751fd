"""Reproduce the published AUROC table, then train a network and put its table beside it.

    python reproduce.py --data-dir ChestX-ray14 --dry-run
    python reproduce.py --data-dir ChestX-ray14

downloads, checks and caches the films, converts the published checkpoint and evaluates it, trains,
evaluates that, and compares. Each step is a command of this project, printed, that is left out
where its result is there. After a kill, an error or a power cut the same command goes on. It ends
with both tables side by side and

    pages: result/reproduce/published/report.html, result/reproduce/own/report.html
"""

import csv
import importlib.util
import os
import shlex
import shutil
import sys

from runtime import child_process, command_line
from runtime.command_line import positive_int

ROOT = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = """\
  python reproduce.py --data-dir ChestX-ray14 --dry-run     # steps, disk, time; does nothing
  python reproduce.py --epochs 1 --test-list some_films.txt  # smaller
"""


def parse_args():
    parser = command_line.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--dry-run", action="store_true", help="show the steps and end")
    data = parser.add_argument_group("data and machine")
    data.add_argument("--data-dir", default="ChestX-ray14", help="folder for films and lists")
    command_line.add_list_arguments(data, ("train", "val", "test"), split=False)
    command_line.add_size_arguments(data, 256, 224)
    command_line.add_loading_arguments(data)
    command_line.add_device_argument(data)
    recipe = parser.add_argument_group("training and evaluation")
    recipe.add_argument("--epochs", type=positive_int, default=20, help="at most")
    command_line.add_pretrained_argument(recipe)
    command_line.add_crops_argument(recipe)
    output = parser.add_argument_group("output")
    output.add_argument("--weights-dir", default="pretrained_models", help="published checkpoint")
    output.add_argument("--save-dir", default="save/reproduce", help="training run")
    output.add_argument("--result-dir", default="result/reproduce", help="tables and pages")
    command_line.add_source_arguments(parser.add_argument_group("where to download from"))
    return parser.parse_args()


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once

from evaluation.printed_tables import side_by_side
from films.label_lists import read_label_list
from metrics import PUBLISHED
from public_data.folder_check import REFERENCE
from public_data.sources import LABELS, WEIGHTS
from public_data.transfer import file_digest
from reproduction.steps import find_places, make_steps
from runtime.devices import find_device
from runtime.files import UserError, read_json, sha256, write_json, write_whole


def main(args):
    command_line.check_sizes(args)
    places = find_places(args)
    for part in places.lists:
        if getattr(args, f"{part}_list"):
            read_label_list(places.lists[part])  # a mistyped one is told now
    steps = make_steps(args, places, find_device(args.device) == "cpu")
    there = {step.name: step.is_there() for step in steps}
    show_plan(steps, there)
    if not there["convert"] and importlib.util.find_spec("torch") is None:
        raise UserError(
            f"{places.checkpoint}: the package torch, which reads it, is not installed; "
            "pip install torch --index-url https://download.pytorch.org/whl/cpu"
        )
    check_disk([step for step in steps if not there[step.name]])
    if args.dry_run:
        return
    with child_process.lock(os.path.join(args.result_dir, "lock")) as held:
        for number, step in enumerate(steps, 1):
            run_step(step, f"[{number}/{len(steps)}] {step.name}", held)
    table = "\n".join(report(args, places))
    with write_whole(os.path.join(args.result_dir, "table.txt"), "w") as file:
        file.write(f"{table}\n")
    print(f"\n{table}")


def show_plan(steps, there):
    """Print what is to do, what disk it takes and how long it takes."""
    print(f"{'step':<18}{'':<10}{'disk':>10}{'time':>14}")
    for step in steps:
        if there[step.name]:
            print(f"{step.name:<18}is there")
        else:
            size = f"{step.size / 1e9:.2f} GB" if step.size else "-"
            print(f"{step.name:<18}{'to do':<10}{size:>10}{duration(step.seconds):>14}")
            print(f"    {shown(step)}")
    print(
        "Disk: at most. Times: scaled from a machine of two cores without a GPU "
        "(benchmarks/RESULTS.md); nothing was measured on a GPU.",
        flush=True,
    )


def shown(step):
    """Return a step's command as one would type it."""
    script, *words = map(str, step.words)
    return shlex.join(["python", os.path.relpath(os.path.join(ROOT, script)), *words])


def duration(seconds):
    """Return a time as text, in a unit that suits it."""
    if seconds is None:
        return "unknown"
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def check_disk(steps):
    """Raise UserError where steps that are to do find too little disk."""
    need, folders = {}, {}
    for step in steps:
        folder = os.path.abspath(step.folder)
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        device = os.stat(folder).st_dev
        need[device] = need.get(device, 0) + step.size
        folders.setdefault(device, (folder, step.folder))
    for device, (existing, folder) in folders.items():
        free = shutil.disk_usage(existing).free
        if need[device] > free:
            raise UserError(
                f"{folder}: want {need[device] / 1e9:.1f} GB of free disk, got {free / 1e9:.1f}; "
                "make room, or give folders on another disk"
            )


def run_step(step, title, held):
    """Run a step's command, unless its result is there; end this process if it fails."""
    if step.is_there():
        print(f"{title}: is there", flush=True)
        return
    print(f"{title}: {shown(step)}", flush=True)
    script, *words = map(str, step.words)
    path = os.path.join(ROOT, script)
    status, asked = child_process.run_child([sys.executable, path, *words], held)
    if asked:
        print(f"stopped in {step.name}; the same command goes on from there")
        sys.exit(status if status > 0 else 128 + asked)
    if status == 2:  # it has said why
        sys.exit(2)
    if status:
        raise UserError(
            f"{step.name}: want exit status 0, got {status}; see the lines above, and run the "
            "same command again to go on from there"
        )
    if step.marker:
        write_json(step.marker, {"command": [script, *words], "sha256": step.facts()})
    if not step.is_there():
        raise UserError(
            f"{step.name}: want its result in {step.folder}, got none that is whole; "
            "has another program changed the files?"
        )


def report(args, places):
    """Return the lines that are printed in the end and kept in table.txt."""
    published, own, comparison = (
        read_json(os.path.join(folder, name))
        for folder, name in (
            (places.published, "metrics.json"),
            (places.own, "metrics.json"),
            (args.result_dir, "comparison.json"),
        )
    )
    with open(os.path.join(args.save_dir, "metrics.csv"), newline="", encoding="utf-8") as file:
        epochs = sum(1 for _ in csv.DictReader(file))
    films, training = published["images"], len(read_label_list(places.lists["train"])[0])
    counts = {
        "test films": [f"{n:,}" for n in (REFERENCE["test"][0], films, films)],
        "training films": [f"{n:,}" for n in (REFERENCE["train"][0],) * 2 + (training,)],
    }
    begin = "ImageNet weights" if args.pretrained == "imagenet" else "random weights"
    lines = [
        "AUROCs, in brackets 95 % intervals over patients.",
        "published: by arnoweng/CheXNet of its checkpoint. published, here: that checkpoint, "
        "evaluated here.",
        f"own: trained here, {epochs} epoch{'s' * (epochs > 1)} from {begin}.",
    ]
    if sha256(places.lists["test"]) != LABELS["test_list.txt"][1][1]:
        lines.append(
            f"The {films:,} films are not the published test list: the first column is of other "
            "films and does not compare."
        )
    kind, digest = WEIGHTS["model.pth.tar"][1]
    if file_digest(places.checkpoint, kind) != digest:
        lines.append(
            f"'published, here' is NOT of the published checkpoint: {places.checkpoint} has "
            "another digest."
        )
        counts["training films"][1] = "unknown"
    pages = [os.path.join(folder, "report.html") for folder in (places.published, places.own)]
    table = side_by_side(PUBLISHED["arnoweng/CheXNet"], published, own, comparison, counts)
    return [*lines, "", *table, "", f"pages: {', '.join(pages)}"]


if __name__ == "__main__":
    command_line.run(main, ARGS)
