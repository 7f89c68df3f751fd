"""Fit the rule of films/plausibility.py on real films, and count what it warns of.

    python benchmarks/film_check.py --data-dir ../shared/sample_256 --others DIR

prints weights and threshold, made of train_all_list.txt, and then the share of films warned of: of
all lists, of those that the rule was not made of, and of the latter changed in ways that make them
another picture. `--others` is a folder of pictures that are no films, of which squares are cut.
"""

import argparse
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from runtime import environment  # noqa: F401  (before Paddle)

# isort: split
import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression

from films.film_paths import find_films
from films.film_pixels import read_film
from films.label_lists import read_label_list
from films.plausibility import BLANK, DARK, SIDE, THRESHOLD, WEIGHTS, doubt, thumbnail

# A film that is turned or inverted is none as this network knows them.
CHANGES = {
    "inverted": lambda film: 255 - film,
    "a quarter turn to the left": lambda film: np.rot90(film, 1, (1, 2)),
    "a quarter turn to the right": lambda film: np.rot90(film, 3, (1, 2)),
    "upside down": lambda film: film[:, ::-1],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--others", help="folder of pictures that are no films")
    args = parser.parse_args()
    films = {}
    for part in ("train", "val", "test"):
        names, _ = read_label_list(os.path.join(args.data_dir, "labels", f"{part}_all_list.txt"))
        films[part] = [read_film(path) for path in find_films(args.data_dir, names)]
    fit(films["train"])
    unseen = films["val"] + films["test"]
    rows = {
        "films of all lists": (every := films["train"] + unseen),
        "inverted, of all lists": [255 - film for film in every],
        "films of val and test": unseen,
        "mirrored": [film[:, :, ::-1] for film in unseen],
        **{name: [change(film) for film in unseen] for name, change in CHANGES.items()},
        "half of the contrast": [film // 2 for film in every],
        "a quarter of the contrast": [film // 4 for film in every],
        "an eighth of the contrast": [film // 8 for film in every],
        "a tenth of the contrast": [film // 10 + 100 for film in unseen],
        "noise": noise(1000, 2),
        "blank": [np.full((1, 256, 256), grey, np.uint8) for grey in range(0, 256, 15)],
    }
    if args.others:
        rows["squares of other pictures"] = squares(args.others, 1000)
    for name, some in rows.items():
        found = [doubt(film) for film in some]
        inverted = sum("inverted" in one.text for one in found if one)
        count = sum(map(bool, found))
        print(
            f"{name}: {count} of {len(some)}, {count / len(some):.2%}; "
            f"{inverted} said to be inverted"
        )


def fit(films):
    """Print weights, threshold and the least contrast of films, beside those in use."""
    good = np.stack([scaled(film) for film in films])
    bad = [scaled(change(film)) for change in CHANGES.values() for film in films]
    bad = np.stack([*bad, *(sign * scaled(film) for film in noise(2000, 1) for sign in (1, -1))])
    both = np.concatenate([good, bad])
    both = both + both[:, :, ::-1]  # a heart on the right is no reason
    halves = both[:, :, : SIDE // 2].reshape(len(both), -1)
    labels = np.arange(len(both)) < len(good)
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=5000)
    weights = model.fit(halves / 2, labels).coef_[0].reshape(SIDE, SIDE // 2)
    weights = np.rint(100 * weights / np.abs(weights).max()).astype(int)
    scores = (good * np.hstack([weights, weights[:, ::-1]])).sum((1, 2))
    small = [thumbnail(film) for film in films]
    print("weights, left half:", *weights.tolist(), sep="\n  ")
    print(f"score that 0.5 % of the films are below: {np.quantile(scores, 0.005):.0f}")
    for name, of in (("contrasts", np.std), ("brightest parts", np.max)):
        print(f"least {name} of the films: {np.sort([of(film) for film in small])[:5].round(1)}")
    same = np.array_equal(weights, np.array(WEIGHTS))
    print(f"in use: {'these' if same else 'other'} weights, {THRESHOLD}, {BLANK}, {DARK}")


def scaled(film):
    """Return a film's thumbnail with mean 0 and standard deviation 1."""
    small = thumbnail(film)
    return (small - small.mean()) / max(small.std(), 1e-9)


def noise(count, seed):
    """Return pictures of noise, from fine to as smooth as clouds."""
    draw = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    frequency[0, 0] = 1
    pictures = []
    for _ in range(count):
        waves = np.fft.fft2(draw.normal(size=(64, 64))) / frequency ** draw.uniform(0.5, 2.5)
        values = np.fft.ifft2(waves).real
        values = (values - values.min()) / np.ptp(values) * 255
        pictures.append(values.astype(np.uint8)[np.newaxis])
    return pictures


def squares(folder, count):
    """Cut squares of pictures in a folder."""
    draw, pictures, found = np.random.default_rng(3), [], []
    for path in sorted(pathlib.Path(folder).iterdir()):
        if path.suffix in (".png", ".jpg") and min(Image.open(path).size) >= 200:
            pictures.append(Image.open(path).convert("L"))
    print(f"{len(pictures)} other pictures")
    for n in range(count):
        picture = pictures[n % len(pictures)]
        side = int(draw.uniform(0.4, 1) * min(picture.size))
        left, top = (draw.integers(0, whole - side + 1) for whole in picture.size)
        square = picture.crop((left, top, left + side, top + side)).resize((256, 256))
        found.append(np.asarray(square)[np.newaxis])
    return found


if __name__ == "__main__":
    main()
