"""The steps from nothing to two AUROC tables: commands, disk, time."""

import os
from collections.abc import Callable
from typing import NamedTuple

from films.label_lists import read_label_list
from public_data.download import FILMS, archives_size, imagenet_weights, missing_archives
from public_data.folder_check import REFERENCE, sorted_films
from reproduction import results

# Seconds on two cores of an AMD EPYC without a GPU (benchmarks/RESULTS.md; logs/README.md,
# 2026-11-24): of films of 1024 pixels, crops of 224. Nothing was measured on a GPU.
READ = 0.0122  # decode and resize a film, one core
EVALUATE = 0.366  # ten crops of a film
EVALUATE_START = 18  # load the network, draw the page
TRAIN = 4.4 / 16  # a step of 16 films
VALIDATE = 0.15  # a crop of a film, as training validates
CONVERT = 10
COMPARE = 2.4 / 22_433  # a film
WEIGHT_FILE = 0.1e9  # bytes at most: 28 MB, or 84 with Adam's moments


class Step(NamedTuple):
    """A command and what it leaves.

    Attributes:
        name: in a word or two.
        words: the script and its options.
        is_there: tells whether the result is there, whole, and of these inputs.
        folder: where the result goes.
        size: bytes that it takes there, at most.
        seconds: about how long it takes; None: unknown.
        marker: file that notes `facts` once the step is done, for scripts that leave no such note.
        facts: returns a dict from what it depends on and made to digests.
    """

    name: str
    words: list
    is_there: Callable
    folder: str
    size: float
    seconds: float | None
    marker: str | None = None
    facts: Callable | None = None


class Places(NamedTuple):
    """Files that steps pass on to one another."""

    lists: dict
    checkpoint: str
    converted: str
    best: str
    published: str
    own: str


def find_places(args):
    """Return the `Places` of a run, by the options of reproduce.py."""
    labels = os.path.join(args.data_dir, "labels")
    return Places(
        {
            part: getattr(args, f"{part}_list") or os.path.join(labels, f"{part}_list.txt")
            for part in REFERENCE
        },
        os.path.join(args.weights_dir, "model.pth.tar"),
        os.path.join(args.weights_dir, "model_from_torch.pdparams"),
        os.path.join(args.save_dir, "best_model.pdparams"),
        os.path.join(args.result_dir, "published"),
        os.path.join(args.result_dir, "own"),
    )


def make_steps(args, places, on_cpu):
    """Return the list of `Step`, in their order."""
    films = _count_films(args, places.lists)
    data = ["--data-dir", args.data_dir]
    machine = ["--device", args.device, "--num-workers", args.num_workers]
    machine += ["--batch-size", args.batch_size]
    return [
        *_data_steps(args, places, data, films),
        _convert(args, places),
        _evaluate("evaluate theirs", args, places, data + machine, films, on_cpu),
        _train(args, places, data + machine, films, on_cpu),
        _evaluate("evaluate own", args, places, data + machine, films, on_cpu),
        _compare(args, places, data, films),
    ]


def _count_films(args, lists):
    """Return how many films each list has, and the folder ("all"); NIH's number if not there."""
    counts = {
        part: len(read_label_list(path)[0]) if os.path.exists(path) else REFERENCE[part][0]
        for part, path in lists.items()
    }
    there = results.films_there(args.data_dir, lists)
    return counts | {"all": len(sorted_films(args.data_dir)) if there else FILMS}


def _data_steps(args, places, data, films):
    """Download, check, cache."""
    lists = places.lists
    marker = os.path.join(args.result_dir, "check.json")
    named = [word for part in lists for word in (f"--{part}-list", lists[part])]
    listed = sum(films[part] for part in lists)
    cache = os.path.join(args.data_dir, f"cache_{args.resize}")
    return [
        _download(args, places, data),
        Step(
            "check",
            ["prepare_data.py", "check", *data, *named],
            lambda: results.marked(marker, results.film_facts(args.data_dir, lists)),
            args.result_dir,
            0,
            READ * listed / os.cpu_count(),
            marker,
            lambda: results.film_facts(args.data_dir, lists),
        ),
        Step(
            "cache",
            ["prepare_data.py", "cache", *data, "--resize", args.resize],
            lambda: results.cached(args.data_dir, args.resize),
            cache,
            films["all"] * args.resize**2,
            READ * films["all"] / os.cpu_count(),
        ),
    ]


def _download(args, places, data):
    name = os.path.basename(places.checkpoint)
    words = [*data, "--weights", name, "--weights-dir", args.weights_dir]
    size = WEIGHT_FILE * (not os.path.exists(places.checkpoint))
    if args.pretrained == "imagenet":
        words.append("--imagenet")
        size += WEIGHT_FILE * (not os.path.exists(imagenet_weights()[0]))
    archives = missing_archives(args.data_dir, args.url_base)
    if results.films_there(args.data_dir, places.lists):
        words.append("--skip-films")
    elif archives:
        size += archives_size(args.data_dir, archives)[1]
    words += ["--url-base", args.url_base] if args.url_base else []
    words += ["--no-verify"] if args.no_verify else []
    return Step(
        "download",
        ["prepare_data.py", "download", *words],
        lambda: results.downloaded(args, places.lists, places.checkpoint),
        args.data_dir,
        size,
        None,
    )


def _convert(args, places):
    marker = os.path.join(args.result_dir, "convert.json")

    def facts():
        return results.digests(places.checkpoint, places.converted)

    return Step(
        "convert",
        ["convert_torch_weights.py", places.checkpoint, places.converted],
        lambda: results.marked(marker, facts()),
        args.weights_dir,
        WEIGHT_FILE,
        CONVERT,
        marker,
        facts,
    )


def _evaluate(name, args, places, words, films, on_cpu):
    weights, folder = places.converted, places.published
    if name == "evaluate own":
        weights, folder = places.best, places.own
    test_list = places.lists["test"]
    sizes = ["--resize", args.resize, "--crop-size", args.crop_size]
    words = [*words, "--test-list", test_list, *sizes, "--crops", args.crops]
    known = on_cpu and args.crop_size == 224 and args.crops == 10
    return Step(
        name,
        ["eval.py", *words, "--weights", weights, "--output-dir", folder],
        lambda: results.evaluated(folder, weights, args, test_list),
        folder,
        0.02e9,
        EVALUATE_START + EVALUATE * films["test"] if known else None,
    )


def _train(args, places, words, films, on_cpu):
    words = [*words, "--train-list", places.lists["train"], "--val-list", places.lists["val"]]
    words += ["--resize", args.resize, "--crop-size", args.crop_size]
    words += ["--pretrained", args.pretrained, "--epochs", args.epochs]
    seconds = args.epochs * (TRAIN * films["train"] + VALIDATE * films["val"])
    return Step(
        "train",
        # Every 100 steps: on a CPU an epoch takes hours.
        ["train.py", *words, "--save-dir", args.save_dir, "--save-steps", 100, "--resume"],
        lambda: results.trained(args, places.lists),
        args.save_dir,
        6 * WEIGHT_FILE,  # three epochs' checkpoints, one within an epoch, one being written; best
        seconds if on_cpu and args.crop_size == 224 else None,
    )


def _compare(args, places, data, films):
    both = [os.path.join(folder, "predictions.csv") for folder in (places.own, places.published)]
    test_list = places.lists["test"]
    words = [*data, "--test-list", test_list, "--compare", *both, "--output-dir", args.result_dir]
    return Step(
        "compare",
        ["eval.py", *words],
        lambda: results.compared(args.result_dir, *both, test_list),
        args.result_dir,
        0,
        5 + COMPARE * films["test"],
    )
