import numpy as np
import pytest

from evaluation.localization import (
    OVERLAPS,
    detected_boxes,
    overlaps,
    points_inside,
    score_map,
    summarize,
)


def bright(*rectangles, size=(100, 100)):
    """A map that is 1 in rectangles (left, top, right, bottom) and 0 elsewhere."""
    activation = np.zeros(size, np.float32)
    for left, top, right, bottom in rectangles:
        activation[top:bottom, left:right] = 1
    return activation


def test_overlaps_of_known_answer():
    boxes = [(0, 0, 10, 10), (5, 5, 15, 15), (0, 0, 20, 20), (50, 50, 60, 60)]
    iou, iobb = overlaps(boxes, (0, 0, 10, 10))
    # The same; a quarter of either: 25 / 175; all of it in one four times as large; apart.
    assert iou == pytest.approx([1, 1 / 7, 0.25, 0])
    assert iobb == pytest.approx([1, 0.25, 0.25, 0])


def test_every_bright_region_is_boxed_at_both_levels():
    boxes = detected_boxes(bright((10, 20, 30, 50), (60, 60, 61, 90)))
    expected = [[10, 20, 30, 50], [60, 60, 61, 90]]
    assert sorted(boxes.tolist()) == sorted(expected * 2)
    # Half as bright: above 60 of 255, below 180, so that it is boxed once.
    half = bright((10, 20, 30, 50)) + bright((60, 60, 61, 90)) / 2
    assert sorted(detected_boxes(half).tolist()) == sorted([*expected, expected[0]])
    # Regions that touch at a corner are one.
    assert detected_boxes(bright((0, 0, 5, 5), (5, 5, 9, 9))).tolist() == [[0, 0, 9, 9]] * 2
    assert len(detected_boxes(bright())) == 0


def test_negative_maps_are_scaled_too():
    activation = bright((10, 20, 30, 50)) - 7
    assert detected_boxes(activation).tolist() == [[10, 20, 30, 50]] * 2


@pytest.mark.parametrize(
    "truth, hit", [((10, 20, 30, 50), True), ((0, 0, 10, 20), False), ((10.4, 20, 11, 21), True)]
)
def test_pointing(truth, hit):
    activation = bright((10, 20, 11, 21))  # one pixel, whose centre is (10.5, 20.5)
    assert points_inside(activation, truth) is hit


def test_the_score_of_a_map():
    # Two regions, each boxed twice; the first covers half of the box, the second none of it.
    score = score_map(bright((10, 10, 20, 20), (70, 70, 80, 80)), (10, 10, 20, 30))
    assert score["points_inside"] and score["chance"] == 200 / 10_000
    assert score["iou"] == 0.5 and score["iobb"] == 1
    # At 0.5 and above, the first is no hit by IoU either.
    assert score["iou_others"] == [2, 2, 2, 2, 4, 4, 4]
    assert score["iobb_others"] == [2] * len(OVERLAPS)


def test_a_map_without_regions_finds_nothing():
    score = score_map(bright(), (10, 10, 20, 30))
    assert (score["iou"], score["iobb"], score["points_inside"]) == (0, 0, False)


def test_the_summary_of_scores():
    truth = (10, 10, 20, 20)
    maps = [bright(truth), bright((10, 10, 20, 16)), bright((50, 50, 60, 60)), bright()]
    summary = summarize([score_map(activation, truth) for activation in maps])
    assert summary["boxes"] == 4
    assert summary["pointing_game"] == 0.5
    # Wilson's interval of 2 in 4, by hand from its formula with z = 1.96.
    assert summary["pointing_game_95_percent"] == pytest.approx([0.1500, 0.8500], abs=1e-4)
    assert summary["pointing_by_chance"] == pytest.approx(0.01)
    # IoU 1, 0.6, 0 and 0: more than 0.6 is one.
    assert summary["iou"]["accuracy"]["0.5"] == 0.5
    assert summary["iou"]["accuracy"]["0.6"] == 0.25
    assert summary["iobb"]["accuracy"]["0.7"] == 0.5
    # The third map's two boxes are beside; over four maps.
    assert summary["iobb"]["false_positives"]["0.1"] == 0.5
