"""How well a heat map finds what a radiologist has boxed: pointing game, IoU and IoBB."""

import numpy as np

from films.label_lists import CLASS_NAMES

# X. Wang et al., CVPR 2017: the map, scaled to [0, 255], is cut at both of these
# levels, and every connected region of either is boxed.
MAP_LEVELS = (60, 180)
# A finding is found when a box overlaps by more than this much.
OVERLAPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def detected_boxes(activation):
    """Box the bright regions of a map, as Wang et al. do.

    Args:
        activation: float `[H, W]`.

    Returns:
        int `[K, 4]`: left, top, right and bottom of each, pixels, the last two exclusive; none for
        a map that is the same everywhere.
    """
    return np.concatenate([boxes_at(activation, level) for level in MAP_LEVELS])


def boxes_at(activation, level):
    """Box the regions of a map that reach one of `MAP_LEVELS`; the rest as `detected_boxes`."""
    from scipy import ndimage  # here, as below: it takes a while to load, and boxes are rare

    low, high = activation.min(), activation.max()
    boxes = []
    if high > low:
        scaled = (activation - low) / (high - low) * 255
        regions, _ = ndimage.label(scaled >= level, structure=np.ones((3, 3)))
        boxes = [
            (columns.start, rows.start, columns.stop, rows.stop)
            for rows, columns in ndimage.find_objects(regions)
        ]
    return np.array(boxes, int).reshape(-1, 4)


def overlaps(boxes, truth):
    """Return intersection over union, and over the detected box's own area (IoBB).

    Args:
        boxes: `[K, 4]`: left, top, right, bottom.
        truth: `[4]`, likewise.

    Returns:
        iou, iobb: float64 `[K]` each.
    """
    boxes, truth = np.asarray(boxes, float), np.asarray(truth, float)
    corner = np.minimum(boxes[:, 2:], truth[2:]) - np.maximum(boxes[:, :2], truth[:2])
    shared = np.prod(np.maximum(corner, 0), axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return shared / (area + np.prod(truth[2:] - truth[:2]) - shared), shared / area


def points_inside(activation, truth):
    """Tell whether the brightest pixel's centre is in a box: left, top, right, bottom.

    The pointing game of J. Zhang et al., ECCV 2016, without its margin of 15 pixels.
    """
    y, x = np.unravel_index(np.argmax(activation), activation.shape)
    left, top, right, bottom = truth
    return bool(left <= x + 0.5 <= right and top <= y + 0.5 <= bottom)


def score_map(activation, truth):
    """Score one map against one box.

    Args:
        activation: float `[H, W]`.
        truth: left, top, right and bottom, pixels of the map.

    Returns:
        dict: "points_inside", bool; "chance", the box's share of the film, which is what a random
        point would give; "iou" and "iobb", float, the best of the boxes detected; "iou_others" and
        "iobb_others", int `[7]`: how many of them overlap by no more than each of `OVERLAPS`.
    """
    boxes = detected_boxes(activation)
    left, top, right, bottom = truth
    scores = {
        "points_inside": points_inside(activation, truth),
        "chance": (right - left) * (bottom - top) / activation.size,
    }
    for name, values in zip(("iou", "iobb"), overlaps(boxes, truth), strict=True):
        scores[name] = float(values.max(initial=0))
        scores[f"{name}_others"] = [int((values <= least).sum()) for least in OVERLAPS]
    return scores


def summarize(scores):
    """Summarise the scores of several boxes.

    Args:
        scores: list of what `score_map` returned.

    Returns:
        dict for JSON: "boxes", how many; "pointing_game", the share that was hit, its 95 % interval
        (E. B. Wilson, 1927; it takes boxes as independent) and "pointing_by_chance"; for "iou" and
        "iobb" the "accuracy" at each of `OVERLAPS` and the "false_positives" a map.
    """
    from scipy.stats import binomtest

    hits = sum(score["points_inside"] for score in scores)
    low, high = binomtest(hits, len(scores)).proportion_ci(method="wilson")
    summary = {
        "boxes": len(scores),
        "pointing_game": hits / len(scores),
        "pointing_game_95_percent": [float(low), float(high)],
        "pointing_by_chance": float(np.mean([score["chance"] for score in scores])),
    }
    for name in ("iou", "iobb"):
        best = np.array([score[name] for score in scores])
        summary[name] = {
            "accuracy": {str(least): float((best > least).mean()) for least in OVERLAPS},
            "false_positives": {
                str(least): float(np.mean([score[f"{name}_others"][n] for score in scores]))
                for n, least in enumerate(OVERLAPS)
            },
        }
    return summary


def measure_localization(boxes, maps):
    """Return how well maps find boxes.

    Args:
        boxes: list of K `nih_tables.Box`.
        maps: iterable of K float `[H, W]`, each of a box's film and finding, in its pixels.

    Returns:
        dict from each class that has boxes, and "all" to what `localization.summarize`
        returns.
    """
    scores = {}
    for box, activation in zip(boxes, maps, strict=True):
        score = score_map(activation, (box.left, box.top, box.right, box.bottom))
        scores.setdefault(box.finding, []).append(score)
    figures = {name: summarize(scores[name]) for name in CLASS_NAMES if name in scores}
    return figures | {"all": summarize([score for each in scores.values() for score in each])}
