"""Pictures that are no frontal chest films, or badly exported ones: rules, to warn by."""

from typing import NamedTuple

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
DARK = 133  # the brightest part of a thumbnail; that of those films is 139 at least
# Parts of the body that a DICOM file may name in place of the chest (PS3.16, annex L), in the order
# in which they are looked for. By six letters: EXTREMETY is written too.
PARTS = (
    *("CSPINE", "LSPINE", "TSPINE", "SPINE", "SHOULDER", "EXTREMITY", "ABDOMEN", "PELVIS"),
    *("SKULL", "HEAD", "NECK", "BREAST", "FOREARM", "FINGER", "HAND", "WRIST", "ELBOW", "HUMERUS"),
    *("FOOT", "ANKLE", "KNEE", "FEMUR", "HIP", "LEG", "ARM"),
)
BLANK = 10  # standard deviation of a thumbnail's grey values; that of those films is 22 at least


class Doubt(NamedTuple):
    """Why a picture may not be a film as the network knows them: a reason to look at it.

    Attributes:
        text: the reason.
        bits, highest: of a film whose upper bits are unused, those that its values may have and
            its highest value; else None.
    """

    text: str
    bits: int | None = None
    highest: int | None = None


def header_doubt(header):
    """Tell why a DICOM file says that it is no frontal chest film; "" if it does not.

    Of Open-i's 7,469 radiographs View Position says that 867 are lateral (LL, RL, LATERAL), and is
    missing from 2,586; Patient Orientation agrees with it in all that have both.

    Args:
        header: a pydicom data set.
    """
    # Spaces around a coded text do not count (PS3.5, table 6.2-1); pydicom keeps those before it.
    names = ("ViewPosition", "BodyPartExamined", "PresentationIntentType")
    view, part, intent = (str(header.get(name) or "").strip() for name in names)
    # Two texts, of which the first is the row's; a broken file may have anything.
    along_row = str(np.ravel(header.get("PatientOrientation") or "")[0]).strip()
    is_decubitus = "DECUB" in view  # a frontal view of a patient who lies on a side
    if view in ("LL", "RL") or ("LAT" in view and not is_decubitus) or along_row[:1] in ("A", "P"):
        return "its header says a lateral view"
    if intent == "FOR PROCESSING":
        return "its header says a raw film, FOR PROCESSING"
    if "CHEST" not in part and "THORAX" not in part:
        for other in PARTS:
            if other[:6] in part:
                return f"its header says {other}, not CHEST"
    return ""


def doubt(film, span=None, of_header=""):
    """Tell why a picture may not be a film as the network knows them.

    Args:
        film: uint8 `[1, H, W]`, of any size.
        span, of_header: of its `FilmFacts`.

    Returns:
        A `Doubt`, or None. There are films that are doubted, and other pictures that are not.
    """
    if span and (found := _unused(*span)):
        return found
    if of_header:
        return Doubt(of_header)
    small = thumbnail(film)
    if small.std() < BLANK:
        return Doubt("it is nearly blank")
    weights = np.array(WEIGHTS)
    scaled = (small - small.mean()) / small.std()
    score = (scaled * np.hstack([weights, weights[:, ::-1]])).sum()
    if score <= -THRESHOLD:
        return Doubt("it looks inverted, or is no frontal chest film")
    if small.max() < DARK:
        return Doubt("it is dark: the upper half of its grey values is hardly used")
    if score < THRESHOLD:
        return Doubt("it does not look like an upright frontal chest film")
    return None


def unused_bits(bits, highest):
    """Say how much of its bits a film uses, or several do, and the window that shows them."""
    used = max(int(highest).bit_length(), 1)
    return (
        f"at most {used} of {bits} bits (highest value {highest:,}): "
        f"give --window {2 ** (used - 1)},{2**used}"
    )


def _unused(low, high, least, most):
    """Return a `Doubt` where nothing chose a range of values and much of it is not used."""
    bits = int(most).bit_length()
    begins_at_0 = least == 0 and most == 2**bits - 1 and low <= high / 2
    if begins_at_0 and int(high).bit_length() < bits:
        return Doubt(f"it uses {unused_bits(bits, int(high))}", bits, int(high))
    if high - low < (most - least) / 4:
        center, width = (low + high + 1) / 2, max(high - low + 1, 1)
        return Doubt(
            f"its values lie between {low:g} and {high:g} of {least:g} to {most:g}: "
            f"give --window {center:g},{width:g}"
        )
    return None


def thumbnail(film):
    """Return the mean grey values of a film's parts, float64 `[SIDE, SIDE]`."""
    return np.asarray(Image.fromarray(film[0]).resize((SIDE, SIDE), Image.BOX), float)
