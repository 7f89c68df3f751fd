import numpy as np
import pytest
from scipy.stats import norm

from evaluation.figures import measure_difference
from evaluation.intervals import auroc_estimate, delong, difference_estimate, holm, p_values
from evaluation.printed_tables import show_difference
from evaluation.written_figures import for_json
from films.label_lists import CLASS_NAMES


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


def grouped(seed=0, films=400, patients=90):
    rng = np.random.default_rng(seed)
    labels = rng.random((films, 3)) < [0.3, 0.05, 0.5]
    scores = np.round(rng.random((films, 3)) + 0.3 * labels, 1).astype(np.float32)
    return labels, scores, rng.integers(0, patients, films)


def naive_delong(labels, a, b):
    """DeLong's test by its definition: every pair of a positive and a negative film."""
    columns = []
    for scores in (a, b):
        x, y = scores[labels][:, None], scores[~labels][None]
        columns.append((x > y) + 0.5 * (x == y))
    (m, n), aucs = columns[0].shape, [psi.mean() for psi in columns]
    s10 = np.cov([psi.mean(axis=1) for psi in columns])
    s01 = np.cov([psi.mean(axis=0) for psi in columns])
    covariance = s10 / m + s01 / n
    contrast = np.array([1, -1])
    z = (aucs[0] - aucs[1]) / np.sqrt(contrast @ covariance @ contrast)
    return aucs[0] - aucs[1], 2 * norm.sf(abs(z))


def test_delong_is_its_definition_with_and_without_ties():
    labels, a, _ = grouped(1)
    _, b, _ = grouped(2)
    for c, digits in ((0, 1), (2, 3)):
        ours = delong(labels[:, c], a[:, c].round(digits), b[:, c].round(digits))
        theirs = naive_delong(labels[:, c], a[:, c].round(digits), b[:, c].round(digits))
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_delong_where_nothing_can_be_told():
    labels = [0, 0, 1, 1]
    assert delong(labels, [0.1, 0.4, 0.35, 0.8], [0.1, 0.4, 0.35, 0.8]) == (0.0, 1.0)
    difference, p = delong([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1])
    assert difference == 1.0 and np.isnan(p)  # one positive has no variance
    assert np.isnan(delong([0, 0, 0], [1, 2, 3], [3, 2, 1])).all()


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
    return patients, labels, a, b, measure_difference(labels, a, b, patients)


def test_which_differences_survive(two):
    patients, labels, a, b, found = two
    found = for_json(found)
    assert found["survive"] == [CLASS_NAMES[2]]
    assert found["mean_difference_over"] == 12
    estimates = (auroc_estimate(labels, probs, patients) for probs in (a, b))
    p = p_values(difference_estimate(*estimates))
    assert found["patients_p"][CLASS_NAMES[3]] == p[3]
    assert found["patients_p_holm"][CLASS_NAMES[2]] == 11 * p[2] < 0.05  # of 12, one has no p
    assert found["patients_p"][CLASS_NAMES[5]] is None  # one patient
    defined = [p for p in found["delong_p"].values() if p is not None]
    assert found["delong_p_holm"][CLASS_NAMES[2]] == len(defined) * min(defined)
    assert len(defined) == 11  # of 12: one positive has no variance


def test_what_is_printed_of_a_difference(two, capsys):
    show_difference(two[-1], ["a.csv"], ["b.csv"])
    printed = capsys.readouterr()
    rows = dict(line.split(None, 1) for line in printed.out.splitlines()[4:])
    assert rows["Atelectasis"] == "undefined: no positives"
    assert rows["Cardiomegaly"] == "undefined: no negatives"
    assert rows["Mass"].endswith("  3 (few)") and "few" not in rows["Effusion"]
    assert "nan" in rows["Nodule"] and rows["Nodule"].endswith("  1 (few)")
    assert rows["mean"].startswith("over 12 of 14  ")
    assert printed.err == (
        "1 of 12 differences survive Holm's adjustment at 0.05: A is better in Effusion\n"
    )
