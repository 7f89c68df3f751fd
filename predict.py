"""Films in, probabilities and heat maps out. Not for clinical use.

    python predict.py film.png folder --weights pretrained_models/model_from_torch.pdparams

prints a table for each film and writes predictions.csv and, for its three likeliest findings, a
picture of the film beside the film under its heat map. `--serve` opens a page to drop films on.
"""

import functools
import os
import sys

from runtime import command_line
from runtime.command_line import natural_int, positive_int

EXAMPLES = """\
  python predict.py folder --top 0 --keep-going --weights save/best_model.pdparams
  python predict.py --serve --weights save/best_model.pdparams    # a page on 127.0.0.1:8501
"""


def parse_args():
    parser = command_line.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument(
        "films",
        nargs="*",
        metavar="FILM",
        help="PNG, JPEG, TIFF or DICOM files, or folders that have them at any depth",
    )
    reading = parser.add_argument_group("reading")
    command_line.add_reading_arguments(reading)
    reading.add_argument(
        "--keep-going",
        action="store_true",
        help="list films that cannot be predicted in failed.csv, and end with status 1",
    )
    reading.add_argument("--batch-size", type=positive_int, default=8, help="films in a batch")
    reading.add_argument(
        "--num-workers",
        type=natural_int,
        default=command_line.default_workers(),
        help="processes that read films and draw pictures; 0: the main process does both",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--weights",
        default="pretrained_models/best_model_via_this_project.pdparams",
        help=".pdparams or .safetensors file",
    )
    command_line.add_size_arguments(network)
    command_line.add_device_argument(network)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output-dir",
        default="predicted",
        help="folder for tables and pictures",
    )
    output.add_argument(
        "--top",
        type=natural_int,
        default=3,
        help="heat maps of how many of the likeliest findings; 0: none",
    )
    output.add_argument(
        "--classes", metavar="NAME,NAME", help="heat maps of these findings, instead of --top"
    )
    output.add_argument(
        "--thresholds",
        metavar="JSON",
        help="metrics.json of eval.py --thresholds-from: add a decision to each probability",
    )
    output.add_argument(
        "--reference",
        metavar="JSON",
        help="operating_points.json of eval.py --reference-from: say what each probability means, "
        "and write findings.csv",
    )
    page = parser.add_argument_group("page")
    page.add_argument(
        "--serve", action="store_true", help="open a page to drop films on (pip install streamlit)"
    )
    page.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="where it listens")
    page.add_argument("--port", type=positive_int, default=8501, help="where it listens")
    args = parser.parse_args()
    args.classes = args.classes.split(",") if args.classes else []
    if args.thresholds and args.reference:
        parser.error("--reference has thresholds: leave --thresholds out")
    if bool(args.films) == args.serve:
        parser.error("give films, or --serve")
    return args


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once

import numpy as np

from evaluation.heat_maps import too_coarse
from evaluation.predicted_folder import (
    check_picture_names,
    draw_pictures,
    finding_rows,
    unfinished,
    write_tables,
)
from evaluation.reference_values import (
    meanings,
    none_above,
    read_reference,
    read_thresholds,
    why_other,
)
from evaluation.significance import FEW
from films.film_loader import film_pool, in_order
from films.film_paths import films_below
from films.film_pixels import Reading, read_film
from films.label_lists import CLASS_NAMES
from films.plausibility import doubt
from inference.activation_maps import TenCropMaps, look
from inference.engine import load_network
from model import TenCrop
from runtime.devices import set_device
from runtime.files import UserError, sha256
from runtime.progress import progress_bar
from serving.server import serve
from weights.trained_sizes import set_sizes


def main(args):
    for name in args.classes:
        if name not in CLASS_NAMES:
            raise UserError(f"--classes: want some of {','.join(CLASS_NAMES)}, got {name!r}")
    thresholds = read_thresholds(args.thresholds) if args.thresholds else None
    values = read_reference(args.reference) if args.reference else None
    set_sizes(args)
    if values and os.path.exists(args.weights):
        other = why_other(values, sha256(args.weights), args.crop_size, args.resize)
        if other:
            print(f"warning: {args.reference}: {other}; make it anew", file=sys.stderr)
    if args.serve:
        return serve(args)
    paths, draws = films_below(args.films), bool(args.top or args.classes)
    if draws and (reason := too_coarse(args.crop_size)):
        print(f"no heat maps: {reason}", file=sys.stderr)
        draws = False
    if draws:
        check_picture_names(paths)
    set_device(args.device)
    network = load_network(args.weights, args.crop_size)
    layer = (TenCropMaps if draws else TenCrop)(network, args.crop_size)
    layer.eval()
    probs, boxes, findings, failed = {}, [], [], {}
    with (
        unfinished(args.output_dir) as folder,
        film_pool(args.num_workers) as pool,
        progress_bar(total=len(paths), unit="film") as bar,
    ):
        for names, films in batches(pool, paths, args, failed):
            try:
                rows, maps = look(layer, films)
            except UserError as error:
                refuse(names, error, args, failed)
                continue
            for name, film, row in zip(names, films, rows, strict=True):
                known = meanings(row, thresholds, values)
                show(bar, paths[name], film, row, known)
                probs[name] = row
                if values:
                    findings += finding_rows(name, row, known)
            if draws and maps is None:
                height, width = films.shape[2:]
                for name in names:
                    print(
                        f"no heat map: {paths[name]}: crops of {args.crop_size} pixels leave out a "
                        f"part of {width} x {height}",
                        file=sys.stderr,
                    )
            elif draws:
                jobs = [
                    (folder, name, paths[name], reading(args), wanted(rows[n], maps[n], args))
                    for n, name in enumerate(names)
                ]
                for found in in_order(pool, draw_pictures, jobs, len(jobs)):
                    if isinstance(found, UserError):
                        raise found
                    boxes += found
            bar.update(len(probs) + len(failed) - bar.n)
        bar.update(len(paths) - bar.n)
        write_tables(folder, probs, boxes, findings, failed)
    table = os.path.join(args.output_dir, "predictions.csv")
    beside = ", and pictures beside it" if boxes else ""
    print(f"wrote {table}{beside}; not for clinical use", file=sys.stderr)
    if failed:
        count = f"{len(failed)} of {len(paths)} films failed"
        print(f"{count}: see {os.path.join(args.output_dir, 'failed.csv')}", file=sys.stderr)
        sys.exit(1)


def reading(args):
    """Return how films are read."""
    return Reading(args.window, args.any_modality)


def batches(pool, paths, args, failed):
    """Yield names and films, uint8 `[N, 1, H, W]`; films of one batch have one size."""
    read = functools.partial(read_film, resize=args.resize, reading=reading(args))
    ahead = 2 * args.batch_size + args.num_workers
    names, films = [], []
    for name, film in zip(paths, in_order(pool, read, paths.values(), ahead), strict=True):
        if isinstance(film, UserError):
            refuse([name], film, args, failed)
            continue
        if films and (len(films) == args.batch_size or film.shape != films[0].shape):
            yield names, np.stack(films)
            names, films = [], []
        names.append(name)
        films.append(film)
    if films:
        yield names, np.stack(films)


def refuse(names, error, args, failed):
    """Raise what is wrong with films or, with --keep-going, note it in `failed`."""
    if not args.keep_going:
        raise error
    print(f"failed: {error}", file=sys.stderr)
    failed.update(dict.fromkeys(names, str(error)))


def wanted(probs, maps, args):
    """Return the maps to draw of a film: dict from finding to probability and float32 `[H, W]`."""
    likeliest = [CLASS_NAMES[c] for c in np.argsort(-probs, kind="stable")[: args.top]]
    shown = args.classes or likeliest
    return {name: (probs[c], maps[c]) for name in shown for c in [CLASS_NAMES.index(name)]}


def show(bar, path, film, probs, known):
    """Print the probabilities of a film, the likeliest first, and what is known of them."""
    bar.clear()
    if reason := doubt(film):
        print(f"warning: {path}: {reason}: look at it before its figures", file=sys.stderr)
    print(path)
    for c in np.argsort(-probs, kind="stable"):
        name = CLASS_NAMES[c]
        words = [f"  {name:<18} {probs[c]:.4f}"]
        if name in known:
            words += in_words(known[name], probs[c])
        print("  ".join(words), flush=True)
    if text := none_above(probs, known):
        print(f"  {text}", flush=True)


def in_words(known, prob):
    """Return texts for a line: what is known of a probability, a `Meaning`."""
    words = []
    if known.above is not None:
        words.append(f"calibrated {known.calibrated:.4f}")
        words.append(f"base rate {known.base_rate:.4f}")
        words.append(f"above {known.above:3} % of films without it")
    words.append(f"threshold {known.threshold:.4f}")
    if decision := known.decision(prob):
        words.append(decision)
    if known.positives is not None and known.positives < FEW:
        words.append(f"caution: by {known.positives} films with it")
    return words


if __name__ == "__main__":
    command_line.run(main, ARGS)
