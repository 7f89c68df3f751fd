"""Reproduce the published AUROC table, then train a network and put its table beside it.

    python reproduce.py --data-dir ChestX-ray14 --dry-run
    python reproduce.py --data-dir ChestX-ray14

downloads, checks and caches the films, converts the published checkpoint and evaluates it, trains,
evaluates that, and compares. Each step is a command of this project, printed, that is left out
where its result is there. After a kill, an error or a power cut the same command goes on. It ends
with both tables side by side and

    pages: result/reproduce/published/report.html, result/reproduce/own/report.html
"""

import importlib.util
import os
import shutil
import sys

from runtime import child_process, command_line
from runtime.command_line import positive_int

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
    recipe.add_argument("--epochs", type=positive_int, default=20, help="epochs at most")
    command_line.add_pretrained_argument(recipe)
    command_line.add_crops_argument(recipe)
    output = parser.add_argument_group("output")
    output.add_argument("--weights-dir", default="pretrained_models", help="folder for weights")
    output.add_argument("--save-dir", default="save/reproduce", help="folder for the training run")
    output.add_argument("--result-dir", default="result/reproduce", help="folder for tables")
    command_line.add_source_arguments(parser.add_argument_group("where to download from"))
    args = parser.parse_words()
    if not args.dry_run:  # which has something to say without packages
        parser.check_packages()
    return args


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once

from reproduction import plan
from reproduction.plan import WEIGHT_FILE, Places, Step
from runtime.files import UserError, write_json, write_whole

PACKAGE = command_line.missing_package()
if PACKAGE is None:  # else --dry-run shows the plan of a run that begins with nothing
    from reproduction import results
    from reproduction.table import final_table
    from runtime.devices import find_device
    from weights.torch_checkpoint import INSTALL_TORCH


def main(args):
    command_line.check_sizes(args.resize, args.crop_size)
    places = find_places(args)
    if PACKAGE:
        on_cpu = shutil.which("nvidia-smi") is None
        steps = make_steps(args, places, [], plan.NOTHING, on_cpu)
        plan.show_plan(steps, done=())
        print(f"The package {PACKAGE} is not installed: this is the plan where nothing is there.")
        if lacking := plan.lacking_disk(steps):
            print(f"warning: {lacking}", file=sys.stderr)
        return
    for path in filter(None, (args.train_list, args.val_list, args.test_list)):
        results.listed_films(path)  # a mistyped one is told now
    starts = results.starting_weights(places.checkpoint, args.pretrained)
    found = results.look(args.data_dir, places.lists, starts)
    steps = make_steps(args, places, starts, found, find_device(args.device) == "cpu")
    done = {step.name for step in steps if step.is_there()}
    plan.show_plan(steps, done)
    problems = obstacles([step for step in steps if step.name not in done], places.checkpoint)
    if args.dry_run:
        for problem in problems:
            print(f"warning: {problem}", file=sys.stderr)
        return
    if problems:
        raise UserError(problems[0])
    with child_process.lock(os.path.join(args.result_dir, "lock")) as held:
        for number, step in enumerate(steps, 1):
            run_step(step, f"[{number}/{len(steps)}] {step.name}", held)
    lines = final_table(places, args.result_dir, args.save_dir, args.pretrained)
    table = "\n".join(lines)
    with write_whole(os.path.join(args.result_dir, "table.txt"), "w") as file:
        file.write(f"{table}\n")
    print(f"\n{table}")


def find_places(args):
    """Return the `Places` of a run."""
    labels = os.path.join(args.data_dir, "labels")
    given = {"train": args.train_list, "val": args.val_list, "test": args.test_list}
    return Places(
        {part: path or os.path.join(labels, f"{part}_list.txt") for part, path in given.items()},
        os.path.join(args.weights_dir, "model.pth.tar"),
        os.path.join(args.weights_dir, "model_from_torch.pdparams"),
        os.path.join(args.save_dir, "best_model.pdparams"),
        os.path.join(args.result_dir, "published"),
        os.path.join(args.result_dir, "own"),
    )


def make_steps(args, places, starts, found, on_cpu):
    """Return the list of `Step`, in their order.

    Args:
        places: `Places`.
        starts: paths of the weight files that are downloaded.
        found: a `plan.Found`.
        on_cpu: times are known.
    """
    theirs, own = places.published, places.own
    return [
        *data_steps(args, places, starts, found),
        convert(args, places),
        evaluate("evaluate theirs", places.converted, theirs, args, places, found.counts, on_cpu),
        train(args, places, found.counts, on_cpu),
        evaluate("evaluate own", places.best, own, args, places, found.counts, on_cpu),
        compare(args, places, found.counts),
    ]


def data_steps(args, places, starts, found):
    """Return the steps download, check and cache."""
    data_dir, lists, count = args.data_dir, places.lists, found.counts
    data = ["--data-dir", data_dir]
    words = ["--weights", os.path.basename(places.checkpoint), "--weights-dir", args.weights_dir]
    words += ["--imagenet"] if args.pretrained == "imagenet" else []
    words += ["--skip-films"] if found.has_films else []
    words += ["--url-base", args.url_base] if args.url_base else []
    words += ["--no-verify"] if args.no_verify else []
    download = ["prepare_data.py", "download", *data, *words]
    listed = [word for part in lists for word in (f"--{part}-list", lists[part])]
    check = ["prepare_data.py", "check", *data, *listed]
    marker = os.path.join(args.result_dir, "check.json")
    checking = plan.READ * sum(count[part] for part in lists) / os.cpu_count()
    cache = ["prepare_data.py", "cache", *data, "--resize", args.resize]
    folder, size = os.path.join(data_dir, f"cache_{args.resize}"), count["all"] * args.resize**2
    caching = plan.READ * count["all"] / os.cpu_count()

    def films():
        return results.film_facts(data_dir, lists)

    def are_downloaded():
        return results.downloaded(data_dir, lists, starts)

    def are_cached():
        return results.cached(data_dir, args.resize)

    return [
        Step("download", download, data_dir, found.download, None, there=are_downloaded),
        Step("check", check, args.result_dir, 0, checking, marker=marker, facts=films),
        Step("cache", cache, folder, size, caching, there=are_cached),
    ]


def convert(args, places):
    """Return the step that converts the published checkpoint."""
    words = ["convert_torch_weights.py", places.checkpoint, places.converted]
    marker = os.path.join(args.result_dir, "convert.json")
    folder, size, seconds = args.weights_dir, WEIGHT_FILE, plan.CONVERT

    def both_files():
        return results.digests(places.checkpoint, places.converted)

    return Step("convert", words, folder, size, seconds, marker=marker, facts=both_files)


def machine_words(args):
    """Return the options that training and evaluation share."""
    words = ["--data-dir", args.data_dir, "--device", args.device]
    words += ["--num-workers", args.num_workers, "--batch-size", args.batch_size]
    return [*words, "--resize", args.resize, "--crop-size", args.crop_size]


def evaluate(name, weights, folder, args, places, counts, on_cpu):
    """Return the step that evaluates weights into a folder."""
    test_list = places.lists["test"]
    words = ["eval.py", *machine_words(args), "--test-list", test_list, "--crops", args.crops]
    words += ["--weights", weights, "--output-dir", folder]
    known = on_cpu and args.crop_size == 224 and args.crops == 10
    seconds = plan.EVALUATE_START + plan.EVALUATE * counts["test"] if known else None
    settings = {"crops": args.crops, "crop_size": args.crop_size, "resize": args.resize}

    def is_there():
        return results.evaluated(folder, weights, test_list, settings)

    return Step(name, words, folder, 0.02e9, seconds, there=is_there)


def train(args, places, counts, on_cpu):
    """Return the step that trains."""
    lists, save_dir = places.lists, args.save_dir
    words = ["train.py", *machine_words(args)]
    words += ["--train-list", lists["train"], "--val-list", lists["val"]]
    words += ["--pretrained", args.pretrained, "--epochs", args.epochs, "--save-dir", save_dir]
    words += ["--save-steps", 100, "--resume"]  # on a CPU an epoch takes hours
    seconds = args.epochs * (plan.TRAIN * counts["train"] + plan.VALIDATE * counts["val"])
    known = seconds if on_cpu and args.crop_size == 224 else None
    size = 6 * WEIGHT_FILE  # checkpoints of three epochs, one within, one being written; the best
    settings = {key: getattr(args, key) for key in ("batch_size", "resize", "crop_size")}

    def is_over():
        return results.trained(save_dir, lists, args.pretrained, args.epochs, settings)

    return Step("train", words, save_dir, size, known, there=is_over)


def compare(args, places, counts):
    """Return the step that compares both evaluations."""
    test_list, folder = places.lists["test"], args.result_dir
    own, published = (os.path.join(p, "predictions.csv") for p in (places.own, places.published))
    words = ["eval.py", "--data-dir", args.data_dir, "--test-list", test_list]
    words += ["--compare", own, published, "--output-dir", folder]
    seconds = 5 + plan.COMPARE * counts["test"]

    def is_there():
        return results.compared(folder, own, published, test_list)

    return Step("compare", words, folder, 0, seconds, there=is_there)


def obstacles(steps, checkpoint):
    """Return texts: what stands in the way of steps that are to do."""
    problems = []
    if "convert" in [step.name for step in steps] and importlib.util.find_spec("torch") is None:
        problems.append(
            f"{checkpoint}: the package torch, which reads it, is not installed; {INSTALL_TORCH}"
        )
    if lacking := plan.lacking_disk(steps):
        problems.append(lacking)
    return problems


def run_step(step, title, held):
    """Run a step's command, unless its result is there; end this process if it fails."""
    if step.is_there():
        print(f"{title}: is there", flush=True)
        return
    print(f"{title}: {plan.shown(step)}", flush=True)
    script, *words = map(str, step.words)
    path = os.path.join(plan.ROOT, script)
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
            f"{step.name}: no whole result in {step.folder} after it; "
            "has another program changed the files?"
        )


if __name__ == "__main__":
    command_line.run(main, ARGS)
