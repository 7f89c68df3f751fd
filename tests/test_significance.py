import numpy as np
import pytest

from evaluation.measures import measure_difference
from evaluation.printed_tables import show_difference
from evaluation.significance import holm, resampled_p
from films.label_lists import CLASS_NAMES
from metrics import bootstrap


def test_holm_on_literals():
    # In order 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, which is no smaller than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # Where there was no test none is counted; nothing is above 1.
    np.testing.assert_allclose(holm([0.7, np.nan, 0.6]), [1, np.nan, 1])
    assert np.isnan(holm([np.nan])).all() and holm([]).shape == (0,)


def test_holm_rejects_what_holm_s_steps_reject():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p, level = rng.random(14) ** 4, 0.05
        rejected = set()
        for step, n in enumerate(np.argsort(p)):  # the paper's words: stop at the first that is not
            if p[n] > level / (14 - step):
                break
            rejected.add(n)
        assert rejected == set(np.flatnonzero(holm(p) <= level))


def test_p_of_resamples_on_literals():
    assert resampled_p(np.arange(1.0, 1000)) == 2 / 1000  # 999 above 0, none below
    assert resampled_p(np.array([-1.0, 1, 2, 3])) == 2 * 2 / 5
    assert resampled_p(np.zeros(9)) == 1 and np.isnan(resampled_p(np.array([np.nan])))


@pytest.fixture(scope="module")
def two():
    """Labels of 300 films; probabilities; others that are much worse at the third class."""
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 14)) < 0.3).astype(np.uint8)
    labels[:, 0], labels[:, 1] = 0, 1
    labels[:, 4] = np.arange(300) < 6
    labels[:, 5] = np.arange(300) < 1
    a, b = rng.random((300, 14)) + 0.6 * labels + 0.3 * rng.random((2, 300, 14))
    b[:, 2] = rng.random(300)
    patients = [f"{n // 2:08d}" for n in range(300)]
    return patients, labels, a, b, measure_difference(patients, labels, a, b, 600)


def test_which_differences_survive(two):
    patients, labels, a, b, found = two
    assert found["survive"] == [CLASS_NAMES[2]]
    assert found["mean_difference_over"] == 12
    drawn = [bootstrap(labels, p, patients, 600)["auroc"] for p in (a, b)]
    difference = (drawn[0] - drawn[1])[:, 3]
    above, below = (difference > 0).sum(), (difference < 0).sum()
    assert found["bootstrap_p"][CLASS_NAMES[3]] == 2 * (min(above, below) + 1) / 601
    defined = [p for p in found["delong_p"].values() if p is not None]
    assert found["delong_p_holm"][CLASS_NAMES[2]] == len(defined) * min(defined)
    assert len(defined) == 11  # of 12: one positive has no variance


def test_what_is_printed_of_a_difference(two, capsys):
    show_difference(two[-1], ["a.csv"], ["b.csv"])
    printed = capsys.readouterr()
    rows = dict(line.split(None, 1) for line in printed.out.splitlines()[1:])
    assert rows["Atelectasis"] == "undefined: no positives"
    assert rows["Cardiomegaly"] == "undefined: no negatives"
    assert rows["Mass"].endswith("caution: 6 positives") and "caution" not in rows["Effusion"]
    assert "p undefined" in rows["Nodule"] and rows["Nodule"].endswith("caution: 1 positive")
    assert "over 12 of 14 classes" in rows["mean"] and "nan" not in printed.out
    assert printed.err == (
        "1 of 12 differences survive Holm's adjustment at 0.05 (DeLong's p and the patients'): "
        "A is better in Effusion\n"
    )


def test_too_few_resamples_are_told(two, capsys):
    patients, labels, a, b, _ = two
    few = measure_difference(patients, labels, a, b, 20)
    show_difference(few, ["a.csv"], ["b.csv"])
    assert few["survive"] == [] and "20 resamples are too few" in capsys.readouterr().err
    none = measure_difference(patients, labels, a, b, 0)
    show_difference(none, ["a.csv"], ["b.csv"])
    assert none["survive"] == [CLASS_NAMES[2]] and "bootstrap_p" not in none
    assert "(DeLong's p): A is better in Effusion" in capsys.readouterr().err
