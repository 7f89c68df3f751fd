"""Prepare ChestX-ray14: fetch it, check it, resize every film once, make NIH's split.

    python prepare_data.py download --data-dir ChestX-ray14 --weights
    python prepare_data.py check --data-dir ChestX-ray14
    python prepare_data.py cache --data-dir ChestX-ray14
    python prepare_data.py split --data-dir ChestX-ray14

Each can be stopped and started again at any point. `cache` ends with

    wrote ChestX-ray14/cache_256: 112120 films, 7.3 GB; train.py and eval.py use it from now on
"""

import concurrent.futures
import hashlib
import json
import os
import sys

import cli  # before Paddle

import numpy as np
from tqdm import tqdm

from dataset import (
    CLASS_NAMES,
    FilmCache,
    film_state,
    list_films,
    patient,
    read_film,
    read_label_list,
)
from download import LABELS, download
from files import UserError, sha256, write_whole
from loader import end_with_parent
from nih_tables import read_data_entry, read_names

FILM_EXTENSIONS = (".png", ".jpg", ".jpeg")
# Rows between two notes of how far it has come; what is lost when it is stopped.
ROWS_A_NOTE = 256

# The reference project's lists: films, patients, and films on which Data_Entry_2017_v2020.csv
# adds a finding to the labels of 2017.
REFERENCE = {
    "train": (78_468, 21_528, 127),
    "val": (11_219, 3_090, 18),
    "test": (22_433, 6_187, 36),
}
# SHA-256 of the sorted names of NIH's own split, with newlines between.
OFFICIAL = {
    "train_val": "61fbe896321c1c1c8b75f3e4f3a08e4fef6486d95ef8a667c31d4d60dca6cb81",
    "test": "38ca5ef7f756092946f57c1a59faca882ed589a1ab1f72590b45dc06c6d5e1cc",
}


def parse_args():
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument("action", choices=["download", "check", "cache", "split"])
    parser.add_argument("--data-dir", default="ChestX-ray14", help="has images/ and labels/")
    # download
    parser.add_argument("--weights", action="store_true", help="published checkpoints as well")
    parser.add_argument("--weights-dir", default="pretrained_models", help="where they go")
    parser.add_argument("--skip-films", action="store_true", help="the small files alone")
    parser.add_argument("--url-base", help="a mirror: all files by name below this address")
    parser.add_argument(
        "--no-verify", action="store_true", help="take a file whose digest is another"
    )
    # split
    parser.add_argument("--nih-lists", help="folder of NIH's two lists; default: --data-dir")
    parser.add_argument("--seed", type=cli.natural_int, default=0, help="picks the val patients")
    # check
    cli.add_split_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    # check and cache
    parser.add_argument("--resize", type=cli.positive_int, default=256, help="side of the films")
    parser.add_argument(
        "--num-workers", type=cli.positive_int, default=os.cpu_count(), help="processes"
    )
    return parser.parse_args()


def main():
    args = parse_args()
    if args.action == "download":
        download(
            args.data_dir,
            args.weights_dir if args.weights else None,
            films=not args.skip_films,
            url_base=args.url_base,
            verify=not args.no_verify,
        )
    elif args.action == "check":
        lists = {split: cli.label_list(args, split) for split in REFERENCE}
        report = check(args.data_dir, lists, args.num_workers)
        show_check(report, args.json)
        sys.exit(1 if report["problems"] else 0)
    elif args.action == "split":
        split_officially(args.data_dir, args.nih_lists or args.data_dir, args.seed)
    else:
        films = sorted_films(args.data_dir)
        if not films:
            raise UserError(f"{args.data_dir}: want films in images/, got none; download them")
        write_cache(args.data_dir, list(films.values()), args.resize, args.num_workers)


def sorted_films(data_dir):
    """Return all films of a data folder, listed or not: dict from name to path, by name."""
    return {
        name: path
        for name, path in sorted(list_films(data_dir).items())
        if name.lower().endswith(FILM_EXTENSIONS)
    }


def split_officially(data_dir, nih_lists, seed):
    """Write the label lists of NIH's own split: labels/official/{train,val,test}_list.txt.

    An eighth of the patients of train_val_list.txt, drawn by seed, are for validation: the share
    of films that the reference project has there.

    Args:
        data_dir: its labels/ has Data_Entry_2017_v2020.csv, and gets official/.
        nih_lists: folder with train_val_list.txt and test_list.txt.
        seed: whole number.

    Raises:
        UserError: a file is missing or broken, a film is not in the table, or a patient in both.
    """
    table = os.path.join(data_dir, "labels", "Data_Entry_2017_v2020.csv")
    entries = read_data_entry(table)
    train_val, test = (
        read_names(os.path.join(nih_lists, name), entries, table)
        for name in ("train_val_list.txt", "test_list.txt")
    )
    both = {patient(name) for name in train_val} & {patient(name) for name in test}
    if both:
        raise UserError(
            f"{nih_lists}: want no patient in train_val_list.txt and test_list.txt, got {len(both)}"
            f", {min(both)} among them; get NIH's own lists"
        )
    patients = sorted({patient(name) for name in train_val})
    held_out = set(np.random.default_rng(seed).permutation(patients)[: round(len(patients) / 8)])
    parts = {
        "train": [name for name in train_val if patient(name) not in held_out],
        "val": [name for name in train_val if patient(name) in held_out],
        "test": test,
    }
    for part, names in parts.items():
        path = os.path.join(data_dir, "labels", "official", f"{part}_list.txt")
        with write_whole(path, "w") as file:
            for name in names:
                findings = entries[name].findings
                flags = " ".join(str(int(finding in findings)) for finding in CLASS_NAMES)
                file.write(f"{name} {flags}\n")
        count = len({patient(name) for name in names})
        print(f"wrote {path}: {len(names):,} films of {count:,} patients")


def check(data_dir, paths, workers):
    """Compare a data folder with what is known of ChestX-ray14.

    Args:
        data_dir: with images/ and labels/.
        paths: of the lists: dict from "train", "val" and "test".
        workers: number of processes that decode the films.

    Returns:
        dict for JSON: "lists", "split", "label_release", "films" and "problems", a list of texts.

    Raises:
        UserError: a list is missing or broken.
    """
    films = sorted_films(data_dir)
    lists, problems = {}, []
    read = {split: read_label_list(path) for split, path in paths.items()}
    for split, (names, _) in read.items():
        path = paths[split]
        lists[split] = {
            "films": len(names),
            "patients": len({patient(name) for name in names}),
            "sha256": sha256(path),
        }
        lists[split]["is_reference"] = lists[split]["sha256"] == LABELS[f"{split}_list.txt"][1][1]
        missing = [name for name in names if name not in films]
        if missing:
            problems.append(
                f"{split}_list.txt: {len(missing)} films are missing, the first is {missing[0]}"
            )
    splits = list(read)
    for n, one in enumerate(splits):
        for other in splits[n + 1 :]:
            both = {patient(x) for x in read[one][0]} & {patient(x) for x in read[other][0]}
            if both:
                problems.append(
                    f"{len(both)} patients are in {one}_list.txt and {other}_list.txt, "
                    f"{min(both)} among them"
                )
    listed = {name for names, _ in read.values() for name in names}
    paths = [films[name] for name in sorted(listed) if name in films]
    broken = _broken(paths, workers)
    problems += broken
    return {
        "lists": lists,
        "split": _split(read, lists),
        "label_release": _label_release(data_dir, read),
        "films": {"found": len(films), "listed": len(listed), "do_not_decode": len(broken)},
        "problems": problems,
    }


def _broken(paths, workers):
    """Return an error text for each film that cannot be read."""
    with (
        concurrent.futures.ProcessPoolExecutor(
            workers, initializer=end_with_parent, initargs=(os.getpid(),)
        ) as pool,
        tqdm(pool.map(_problem, paths, chunksize=16), total=len(paths), unit="film") as bar,
    ):
        return [problem for problem in bar if problem]


def _problem(path):
    try:
        read_film(path)
    except (UserError, OSError) as error:
        return str(error)
    return None


def _split(read, lists):
    """Name the split that the lists make: of the reference project, NIH's own, or neither."""
    if all(facts["is_reference"] for facts in lists.values()):
        return "reference"
    digests = {
        "train_val": _names_digest(read["train"][0] + read["val"][0]),
        "test": _names_digest(read["test"][0]),
    }
    return "official" if digests == OFFICIAL else "own"


def _names_digest(names):
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def _label_release(data_dir, read):
    """Tell which release of the labels the lists follow, by NIH's table where it is at hand."""
    path = os.path.join(data_dir, "labels", "Data_Entry_2017_v2020.csv")
    if not os.path.exists(path):
        return f"not known: no {path}"
    entries = read_data_entry(path)
    differ = {split: 0 for split in read}
    for split, (names, labels) in read.items():
        for name, flags in zip(names, labels, strict=True):
            ours = {CLASS_NAMES[c] for c in np.flatnonzero(flags)}
            differ[split] += name not in entries or ours != entries[name].findings
    total = sum(differ.values())
    if total == 0:
        return "2020"
    if differ == {split: films for split, (_, _, films) in REFERENCE.items()}:
        return "2017: the release of 2020 adds findings on 181 films (127 train, 18 val, 36 test)"
    return f"neither is certain: {total} films differ from the release of 2020"


def show_check(report, as_json):
    """Print what `check` found."""
    if as_json:
        print(json.dumps(report, indent=2))
        return
    for split, facts in report["lists"].items():
        films, patients, _ = REFERENCE[split]
        known = "the reference project's list"
        if not facts["is_reference"]:
            known += f" has {films:,} of {patients:,}; this is another"
        print(f"{split}: {facts['films']:,} films of {facts['patients']:,} patients ({known})")
    print(f"split: {report['split']}")
    print(f"labels: {report['label_release']}")
    films = report["films"]
    print(
        f"films: {films['found']:,} found, {films['listed']:,} listed, "
        f"{films['do_not_decode']:,} do not decode"
    )
    for problem in report["problems"][:20]:
        print(f"problem: {problem}")
    count = len(report["problems"])
    print(f"{count} problems" if count else "all is well")


def write_cache(data_dir, paths, resize, workers):
    """Write films into the cache of a data folder, or go on where an earlier run was stopped.

    Rows go to `films.npy.tmp`; `progress.json` notes which films that file is for and how many of
    them it holds. When all are there it becomes `films.npy`, and `index.json` completes the cache.

    Args:
        data_dir: the data folder.
        paths: of N square films.
        resize: side of the resized films, pixels.
        workers: number of processes.

    Raises:
        UserError: a film is broken or not square.
    """
    cache = FilmCache(data_dir, resize)
    folder = cache.folder
    size = len(paths) * resize * resize / 1e9
    if cache.rows(paths)[0] is not None:
        print(f"{folder} is up to date: {len(paths)} films, {size:.1f} GB")
        return
    os.makedirs(folder, exist_ok=True)
    index = {
        "version": FilmCache.VERSION,
        "resize": resize,
        "films": [list(film_state(path)) for path in paths],
    }
    partial, progress = os.path.join(folder, "films.npy.tmp"), os.path.join(folder, "progress.json")
    digest = hashlib.sha256(json.dumps(index).encode()).hexdigest()
    done = _rows_done(progress, partial, digest)
    shape = (len(paths), resize, resize)
    if done:
        print(f"going on with {folder} after {done} films")
        films = np.lib.format.open_memmap(partial, mode="r+")
    else:
        films = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    with (
        concurrent.futures.ProcessPoolExecutor(
            workers, initializer=end_with_parent, initargs=(os.getpid(),)
        ) as pool,
        tqdm(total=len(paths), initial=done, unit="film") as bar,
    ):
        for start in range(done, len(paths), ROWS_A_NOTE):
            jobs = [(path, resize) for path in paths[start : start + ROWS_A_NOTE]]
            for row, film in enumerate(pool.map(_resized, jobs, chunksize=4), start):
                films[row] = film
                bar.update()
            films.flush()
            with write_whole(progress, "w") as file:
                json.dump({"index_sha256": digest, "done": start + len(jobs)}, file)
    del films
    # An index of before would speak of rows that are no longer there.
    if os.path.exists(os.path.join(folder, "index.json")):
        os.remove(os.path.join(folder, "index.json"))
    os.replace(partial, os.path.join(folder, "films.npy"))
    with write_whole(os.path.join(folder, "index.json"), "w") as file:
        json.dump(index, file)
    os.remove(progress)
    print(
        f"wrote {folder}: {len(paths)} films, {size:.1f} GB; "
        "train.py and eval.py use it from now on"
    )


def _rows_done(progress, partial, digest):
    """Return how many rows an earlier run left in `partial`, 0 if they are of other films."""
    try:
        with open(progress, encoding="utf-8") as file:
            note = json.load(file)
    except (FileNotFoundError, json.JSONDecodeError):
        return 0
    return note["done"] if note["index_sha256"] == digest and os.path.exists(partial) else 0


def _resized(job):
    """Read and resize one film, in a worker process; a job is (path, side)."""
    path, resize = job
    film = read_film(path, resize)
    if film.shape != (1, resize, resize):
        raise UserError(
            f"{path}: want a square film, got one of {film.shape[1]} x {film.shape[2]} pixels "
            "when resized; move it out of the folder"
        )
    return film[0]


if __name__ == "__main__":
    cli.run(main)
