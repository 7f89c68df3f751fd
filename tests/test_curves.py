import io
from types import SimpleNamespace

import pytest
from PIL import Image

from films.label_lists import CLASS_NAMES
from training import curves
from training.curves import Curves, best_epoch, draw_curves

NAN = float("nan")


def history(aurocs, losses):
    """Return the rows of metrics.csv of a run with these validation figures."""
    classes = {f"val_AUROC_{name}": 0.6 for name in CLASS_NAMES} | {"val_AUROC_Hernia": NAN}
    return [
        {"epoch": n, "learning_rate": 0.001, "train_loss": 0.2, "val_loss": loss}
        | {"val_AUROC_avg": auroc}
        | classes
        for n, (auroc, loss) in enumerate(zip(aurocs, losses, strict=True), 1)
    ]


@pytest.mark.parametrize(
    ("monitor", "expected"),
    [
        ("AUROC_avg", 2),  # the first of two equals
        ("loss", 4),
    ],
)
def test_the_best_epoch_is_that_whose_weights_were_kept(monitor, expected):
    rows = history([NAN, 0.7, 0.7, 0.6], [0.3, 0.3, 0.3, 0.2])
    assert best_epoch(rows, monitor) == expected


def test_no_epoch_is_best_where_no_auroc_is_defined():
    assert best_epoch(history([NAN, NAN], [0.3, 0.3])) is None


@pytest.mark.parametrize("aurocs", [[0.61], [0.61, 0.6283, 0.62], [NAN, NAN]])
def test_curves_show_every_class_and_the_best_epoch(aurocs, tmp_path):
    draw_curves(history(aurocs, [0.3] * len(aurocs)), tmp_path)
    drawn = (tmp_path / "curves.svg").read_text()
    for name in CLASS_NAMES:
        assert f">{name.replace('_', ' ')}<" in drawn
    assert (": 0.6283 at epoch 2<" in drawn) == (len(aurocs) == 3)
    assert Image.open(io.BytesIO((tmp_path / "curves.png").read_bytes())).size == (1500, 840)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "curves.svg"]


def test_curves_are_drawn_when_a_minute_has_passed(tmp_path, monkeypatch):
    run = SimpleNamespace(history=history([0.6, 0.7], [0.4, 0.3]))
    drawing = Curves(run, tmp_path)
    drawing.on_eval_end()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(curves, "SECONDS_BETWEEN", 0)
    drawing.on_eval_end()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "curves.svg"]
