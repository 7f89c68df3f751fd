"""Prepare ChestX-ray14: fetch it, check it, resize every film once, make NIH's split.

    python prepare_data.py download --data-dir ChestX-ray14 --weights
    python prepare_data.py check --data-dir ChestX-ray14
    python prepare_data.py cache --data-dir ChestX-ray14
    python prepare_data.py split --data-dir ChestX-ray14
    python prepare_data.py labels --from chexpert valid.csv --output chexpert.csv

The last makes a label list of another data set's table. The others can be stopped and started
again at any point. `cache` ends with

    wrote ChestX-ray14/cache_256: 112120 films, 7.3 GB; train.py and eval.py use it from now on
"""

import os
import sys

from public_data.finding_names import DATA_SETS
from public_data.sources import WEIGHTS
from runtime import command_line
from runtime.command_line import natural_int, positive_int

EXAMPLES = """\
  python prepare_data.py download --data-dir ChestX-ray14 --weights
  python prepare_data.py download --skip-films --predictions    # enough for eval.py --predictions
"""


def parse_args():
    parser = command_line.ArgumentParser(__doc__, EXAMPLES)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add_action(name, text):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument(
            "--data-dir", default="ChestX-ray14", help="folder with images/ and labels/"
        )
        return action

    def add_film_options(action):
        action.add_argument(
            "--num-workers",
            type=positive_int,
            default=os.cpu_count(),
            help="processes that read films",
        )
        command_line.add_reading_arguments(action)

    download = add_action("download", "fetch films (45 GB), label lists, and more where asked for")
    what = download.add_argument_group("what")
    what.add_argument("--skip-films", action="store_true", help="leave out the 45 GB of films")
    what.add_argument(
        "--weights",
        nargs="*",
        choices=WEIGHTS,
        metavar="FILE",
        help=f"add these published checkpoints, or all: {', '.join(WEIGHTS)}",
    )
    what.add_argument("--weights-dir", default="pretrained_models", help="folder for them")
    what.add_argument(
        "--imagenet",
        action="store_true",
        help="add Paddle's ImageNet weights, to ~/.cache/paddle: train.py then needs no network",
    )
    what.add_argument(
        "--predictions",
        action="store_true",
        help="add predictions that jrzech/reproduce-chexnet published (4 MB)",
    )
    command_line.add_source_arguments(download.add_argument_group("from where"))

    check = add_action("check", "count and decode the films, compare the lists with the published")
    command_line.add_split_argument(check)
    command_line.add_list_arguments(check, ("train", "val", "test"))
    check.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_film_options(check)

    cache = add_action("cache", "resize every film once; train.py and eval.py then start faster")
    cache.add_argument(
        "--resize", type=positive_int, default=256, help="side of the resized films, pixels"
    )
    add_film_options(cache)

    split = add_action("split", "make label lists of NIH's own split")
    split.add_argument(
        "--nih-lists",
        metavar="DIR",
        help="folder of train_val_list.txt and test_list.txt (default: --data-dir)",
    )
    split.add_argument(
        "--seed", type=natural_int, default=0, help="decides which patients are for validation"
    )
    add_labels(actions)
    return parser.parse_args()


def add_labels(actions):
    text = "make a label list of another data set's published table, for eval.py --test-list"
    labels = actions.add_parser("labels", help=text, description=text)
    labels.add_argument(
        "table", metavar="TABLE", help="CSV file, or one in .gz or .zip; .tgz of openi"
    )
    labels.add_argument(
        "--from", dest="data_set", choices=DATA_SETS, required=True, help="whose table it is"
    )
    labels.add_argument("--output", required=True, help="label list to write")
    labels.add_argument(
        "--metadata", help="second table, which names the films: of mimic, openi and rsna"
    )
    labels.add_argument(
        "--unmentioned",
        choices=("0", "unknown"),
        help="what a finding is that a report does not mention: of chexpert and mimic (default: 0)",
    )
    labels.add_argument(
        "--readers",
        choices=("most", "any"),
        help="whose yes makes a finding present, of vindr's three radiologists (default: most)",
    )
    labels.add_argument(
        "--boxes-output", metavar="CSV", help="write rsna's boxes too, for eval.py --boxes"
    )
    labels.add_argument("--all-views", action="store_true", help="keep films that are not frontal")
    labels.add_argument(
        "--flat", action="store_true", help="write the names of the films without their folders"
    )


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once

from films.film_cache import write_cache
from films.film_pixels import Reading
from public_data.convert_labels import write_label_csv
from public_data.download import download
from public_data.folder_check import check, show_check, sorted_films
from public_data.official_split import split_officially
from runtime.files import UserError


def main(args):
    if args.action == "download":
        download(
            args.data_dir,
            args.weights_dir,
            [*WEIGHTS] if args.weights == [] else args.weights or [],
            imagenet=args.imagenet,
            predictions=args.predictions,
            films=not args.skip_films,
            url_base=args.url_base,
            verify=not args.no_verify,
        )
    elif args.action == "check":
        report = check(args.data_dir, lists_to_check(args), args.num_workers, reading(args))
        show_check(report, args.json)
        sys.exit(1 if report["problems"] else 0)
    elif args.action == "split":
        split_officially(args.data_dir, args.nih_lists or args.data_dir, args.seed)
    elif args.action == "labels":
        write_label_csv(
            args.data_set,
            args.table,
            args.output,
            args.metadata,
            args.unmentioned,
            args.all_views,
            args.flat,
            args.readers,
            args.boxes_output,
        )
    else:
        films = sorted_films(args.data_dir)
        if not films:
            raise UserError(
                f"{args.data_dir}: no films in images/; download them with prepare_data.py download"
            )
        write_cache(args.data_dir, films, args.resize, args.num_workers, reading(args))


def lists_to_check(args):
    """Return a dict from part to path: lists that are given, and default ones beside them."""
    given = {"train": args.train_list, "val": args.val_list, "test": args.test_list}
    lists = {
        part: path or command_line.label_list(args.data_dir, args.split, part)
        for part, path in given.items()
    }
    if any(given.values()):  # films of another hospital may have only a test list
        lists = {part: path for part, path in lists.items() if given[part] or os.path.exists(path)}
    return lists


def reading(args):
    """Return how films are read."""
    return Reading(*command_line.reading_options(args))


if __name__ == "__main__":
    command_line.run(main, ARGS)
