"""Films in, probabilities and heat maps out. Not for clinical use.

    python predict.py film.png folder --weights pretrained_models/model_from_torch.pdparams

prints a table for each film and writes predictions.csv and, for its three likeliest findings, a
picture of the film beside the film under its heat map. `--serve` opens a page to drop films on.
"""

import difflib
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
        help="go on after a film that cannot be read; list it in failed.csv, end with status 1",
    )
    command_line.add_batch_argument(reading, 8)
    command_line.add_workers_argument(reading, "read films and draw pictures")
    network = parser.add_argument_group("network")
    command_line.add_weights_argument(
        network, default="pretrained_models/best_model_via_this_project.pdparams"
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
        help="draw heat maps of the N likeliest findings; 0: none",
    )
    output.add_argument(
        "--classes", metavar="NAME,NAME", help="draw heat maps of these findings, instead of --top"
    )
    command_line.add_meaning_arguments(
        output,
        "add a decision to each probability",
        "say what each probability means, and write findings.csv",
    )
    page = parser.add_argument_group("page")
    page.add_argument(
        "--serve", action="store_true", help="open a page to drop films on (pip install streamlit)"
    )
    page.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="address of the page")
    page.add_argument("--port", type=positive_int, default=8501, help="port of the page")
    args = parser.parse_args()
    args.classes = args.classes.split(",") if args.classes else []
    command_line.check_meaning_arguments(parser, args)
    if bool(args.films) == args.serve:
        parser.error("give films, or --serve")
    return args


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once

import numpy as np

from evaluation.eval_folder import why_of_others
from evaluation.heat_maps import too_coarse
from evaluation.operating_points import meanings, none_above, read_reference, read_thresholds
from evaluation.predict_folder import (
    check_picture_names,
    draw_pictures,
    finding_rows,
    unfinished,
    write_tables,
)
from evaluation.written_figures import table_text
from films.film_loader import film_pool, in_order
from films.film_notes import FilmNotes
from films.film_paths import films_below
from films.film_pixels import Reading, read_both_sizes, read_film_with_facts
from films.label_lists import CLASS_NAMES
from inference.activation_maps import TenCropMaps, look
from inference.engine import load_network
from model import TenCrop
from runtime.devices import set_device
from runtime.files import UserError, sha256
from runtime.progress import progress_bar
from serving.server import Page, check_server, serve
from weights.trained_sizes import check_window, choose_sizes

COLUMNS = ("calibrated", "base rate", "above", "threshold", "decision", "caution")  # of meanings


def main(args):
    for name in args.classes:
        if name not in CLASS_NAMES:
            near = difflib.get_close_matches(name, CLASS_NAMES, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"--classes: want some of {','.join(CLASS_NAMES)}, got {name!r}{meant}")
    thresholds = values = known = None
    if args.thresholds:
        thresholds, known = read_thresholds(args.thresholds)
    if args.reference:
        values = known = read_reference(args.reference)
        if values.get("source"):
            print(f"note: {args.reference} is of these films: {values['source']}", file=sys.stderr)
    args.resize, args.crop_size = choose_sizes(args.weights, args.resize, args.crop_size)
    check_window(args.weights, args.window)
    reading = Reading(*command_line.reading_options(args))
    other = None
    if known and os.path.exists(args.weights):
        ours = {key: getattr(args, key) for key in ("crop_size", "resize", "window")}
        other = why_of_others(known, {"weights": sha256(args.weights), "crops": 10, **ours})
    if other:
        print(
            f"warning: {args.thresholds or args.reference}: {other}; make it anew", file=sys.stderr
        )
    if args.serve:
        check_server(args.host, args.port)
        layer = load_layer(args, draws=True)
        page = Page(layer, args.crop_size, args.resize, reading, thresholds, values, other)
        return serve(page, args.host, args.port)
    paths = films_below(args.films)
    draws = will_draw(args, paths)
    layer = load_layer(args, draws)
    failed = predict_films(args, paths, reading, layer, draws, thresholds, values)
    if failed:
        count = f"{len(failed)} of {len(paths)} films failed"
        print(f"{count}: see {os.path.join(args.output_dir, 'failed.csv')}", file=sys.stderr)
        sys.exit(1)


def will_draw(args, paths):
    """Tell whether there will be pictures; say why not where they were asked for."""
    if not args.top and not args.classes:
        return False
    if reason := too_coarse(args.crop_size):
        print(f"no heat maps: {reason}", file=sys.stderr)
        return False
    check_picture_names(paths)
    return True


def load_layer(args, draws):
    """Return the network as a layer that averages over ten crops, with maps or without."""
    set_device(args.device)
    network = load_network(args.weights, args.crop_size)
    layer = (TenCropMaps if draws else TenCrop)(network, args.crop_size)
    layer.eval()
    return layer


def predict_films(args, paths, reading, layer, draws, thresholds, values):
    """Predict films, print and write what is found; return dict from film to what is wrong."""
    probs, boxes, findings, failed, notes = {}, [], [], {}, FilmNotes()
    with (
        unfinished(args.output_dir) as folder,
        film_pool(args.num_workers) as pool,
        progress_bar(total=len(paths), unit="film") as bar,
    ):
        for names, films, wholes in batches(pool, paths, args, reading, draws, failed, notes):
            try:
                rows, maps = look(layer, films)
            except UserError as error:
                refuse(names, error, args, failed)
                continue
            for name, row in zip(names, rows, strict=True):
                known = meanings(row, thresholds, values)
                show(bar, paths[name], notes.doubts.get(name), row, known)
                probs[name] = row
                findings += finding_rows(name, row, known) if values else []
            if draws and maps is None:
                say_no_maps([paths[name] for name in names], films, args.crop_size)
            elif draws:
                jobs = [
                    (folder, name, whole[0], wanted(row, map_of, args))
                    for name, whole, row, map_of in zip(names, wholes, rows, maps, strict=True)
                ]
                for drawn in in_order(pool, draw_pictures, jobs, len(jobs)):
                    boxes += drawn()
            bar.update(len(probs) + len(failed) - bar.n)
        bar.update(len(paths) - bar.n)
        write_tables(folder, probs, boxes, findings, failed)
    table = os.path.join(args.output_dir, "predictions.csv")
    beside = ", and pictures beside it" if boxes else ""
    if values:
        print(
            "above: the share of validation films without the finding that got a lower probability",
            file=sys.stderr,
        )
    print(f"wrote {table}{beside}; not for clinical use", file=sys.stderr)
    for decoder, count in notes.decoders.items():
        print(f"note: {count} films are compressed with loss, {decoder}", file=sys.stderr)
    return failed


def batches(pool, paths, args, reading, draws, failed, notes):
    """Yield lists of names, films resized, uint8 `[N, 1, H, W]` of one size, and a list of them as
    they are; note doubts in `notes`, and in `failed` what cannot be read."""
    read = read_both_sizes if draws else read_film_with_facts
    read = functools.partial(read, resize=args.resize, reading=reading)
    ahead = 2 * args.batch_size + args.num_workers
    batch = []
    for name, result in zip(paths, in_order(pool, read, paths.values(), ahead), strict=True):
        try:
            film, *wholes, facts = result()
        except UserError as error:
            refuse([name], error, args, failed)
            continue
        if batch and (len(batch) == args.batch_size or film.shape != batch[0][1].shape):
            yield stacked(batch)
            batch = []
        batch.append((name, film, wholes[0] if wholes else None))
        notes.add(name, film, facts)
    if batch:
        yield stacked(batch)


def stacked(batch):
    """Return what `batches` yields of a list of (name, film, film as it is)."""
    names, films, wholes = zip(*batch, strict=True)
    return names, np.stack(films), wholes


def refuse(names, error, args, failed):
    """Raise what is wrong with films or, with --keep-going, note it in `failed`."""
    if not args.keep_going:
        raise error
    print(f"failed: {error}", file=sys.stderr)
    failed.update(dict.fromkeys(names, str(error)))


def say_no_maps(paths, films, crop_size):
    """Say of each film of a batch that it gets no heat map."""
    height, width = films.shape[2:]
    for path in paths:
        print(
            f"no heat map: {path}: crops of {crop_size} pixels leave out a part of "
            f"{width} x {height}",
            file=sys.stderr,
        )


def wanted(probs, maps, args):
    """Return the maps to draw of a film: dict from finding to probability and float32 `[H, W]`."""
    likeliest = np.argsort(-probs, kind="stable")[: args.top]
    shown = [CLASS_NAMES.index(name) for name in args.classes] or likeliest
    return {CLASS_NAMES[c]: (probs[c], maps[c]) for c in shown}


def show(bar, path, found, probs, known):
    """Print what is doubted of a film, and its probabilities, the likeliest first, and meanings."""
    bar.clear()
    if found:
        print(f"warning: {path}: {found.text}: look at it before its figures", file=sys.stderr)
    print(path)
    order = np.argsort(-probs, kind="stable")
    rows = [(CLASS_NAMES[c], f"{probs[c]:.4f}") for c in order]
    if known:
        texts = [in_words(known.get(CLASS_NAMES[c]), probs[c]) for c in order]
        used = [n for n in range(len(COLUMNS)) if any(row[n] for row in texts)]
        rows = [(*row, *(text[n] for n in used)) for row, text in zip(rows, texts, strict=True)]
        rows.insert(0, ("", "probability", *(COLUMNS[n] for n in used)))
    print(table_text(rows), flush=True)
    if text := none_above(probs, known):
        print(f"  {text}", flush=True)


def in_words(known, prob):
    """Return what is known of a probability, a `Meaning`, as a text for each of `COLUMNS`."""
    if known is None:
        return [""] * len(COLUMNS)
    by_reference = ["", "", ""]
    if known.above is not None:
        by_reference = [f"{known.calibrated:.4f}", f"{known.base_rate:.4f}", f"{known.above} %"]
    return [*by_reference, f"{known.threshold:.4f}", known.decision(prob), known.few()]


if __name__ == "__main__":
    command_line.run(main, ARGS)
