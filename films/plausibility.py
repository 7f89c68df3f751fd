"""Pictures that are no frontal chest films, or inverted ones: a rule, to warn by."""

import numpy as np
from PIL import Image

SIDE = 8
# What speaks for an upright frontal chest film: how bright each eighth by eighth of the picture is
# beside the others. Lungs are dark, spine and belly bright. This is the left half; the right half
# is its mirror image. benchmarks/film_check.py made weights and thresholds of 1,444 films.
WEIGHTS = (
    (-71, -100, -90, 13),
    (-2, 0, -53, 8),
    (39, 39, -54, 31),
    (6, 18, -79, 19),
    (-46, -16, -62, 23),
    (-62, 0, 28, 84),
    (-75, 25, 78, 94),
    (-21, 72, 86, 67),
)
THRESHOLD = 792  # 0.5 % of those films are below
BLANK = 10  # standard deviation of a thumbnail's grey values; that of those films is 22 at least


def doubt(film):
    """Tell why a picture may not be a film as the network knows them.

    Args:
        film: uint8 `[1, H, W]`, of any size.

    Returns:
        The reason as text, "" where there is none. It is a reason to look at the picture: there
        are films that are warned of, and other pictures that are not.
    """
    small = thumbnail(film)
    if small.std() < BLANK:
        return "it is nearly blank"
    weights = np.array(WEIGHTS)
    scaled = (small - small.mean()) / small.std()
    score = (scaled * np.hstack([weights, weights[:, ::-1]])).sum()
    if score >= THRESHOLD:
        return ""
    if score <= -THRESHOLD:
        return "it looks inverted, or is no frontal chest film"
    return "it does not look like an upright frontal chest film"


def thumbnail(film):
    """Return the mean grey values of a film's parts, float64 `[SIDE, SIDE]`."""
    return np.asarray(Image.fromarray(film[0]).resize((SIDE, SIDE), Image.BOX), float)
