import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import precision_score, recall_score

from evaluation.figures import measure_subgroups
from evaluation.printed_tables import show_subgroups
from evaluation.subgroup_plots import draw_group_panels
from evaluation.thresholds import MISSED, largest_gaps, rates_by_group, widest_gaps

THRESHOLDS = np.array([0.5, 0.6, 0.3])


@pytest.fixture(scope="module")
def films():
    """600 films of 200 patients, three classes, the last one rare; three groups."""
    rng = np.random.default_rng(0)
    labels = rng.random((600, 3)) < [0.4, 0.3, 0.04]
    probs = np.clip(rng.random((600, 3)) * 0.8 + 0.2 * labels, 0, 1).astype(np.float32)
    patients = rng.integers(0, 200, 600)
    groups = [np.flatnonzero(patients % 3 == g) for g in range(3)]
    return labels, probs, patients, groups


def naive(labels, probs, films):
    """Sensitivity, specificity and precision of each class, and who is missed, of some films."""
    labels, called = labels[films], probs[films].astype(float) >= THRESHOLDS
    by_class = [
        (
            recall_score(labels[:, c], called[:, c]),
            recall_score(~labels[:, c], ~called[:, c]),
            precision_score(labels[:, c], called[:, c], zero_division=np.nan),
        )
        for c in range(3)
    ]
    ill = labels.any(axis=1)
    return np.array(by_class).T, (ill & ~called.any(axis=1)).sum() / ill.sum()


def test_rates_and_gaps_are_those_of_their_films(films):
    labels, probs, patients, groups = films
    positives, found, estimates = rates_by_group(labels, probs, patients, THRESHOLDS, groups)
    assert positives[:, :3].tolist() == [labels[index].sum(axis=0).tolist() for index in groups]
    for g, index in enumerate(groups):
        rates, missed = naive(labels, probs, index)
        assert found[MISSED][g] == pytest.approx(missed)
        for r, rate in enumerate(("sensitivity", "specificity", "precision")):
            assert found[rate][g, :2] == pytest.approx(rates[r, :2])
    # The gap: the two groups that are farthest apart. No patient is in both: variances add up.
    of_class = [naive(labels, probs, index)[0][0, 1] for index in groups]
    high, low = np.argmax(of_class), np.argmin(of_class)
    gap = widest_gaps("abc", found["sensitivity"], estimates["sensitivity"])[1]
    assert (gap["highest"], gap["lowest"]) == ("abc"[high], "abc"[low])
    assert gap["gap"] == pytest.approx(of_class[high] - of_class[low])
    sides = [estimates["sensitivity"][g] for g in (high, low)]
    error = np.sqrt(sum((side.moves[:, 1] ** 2).sum() for side in sides))
    patients_with_it = min(side.patients[1] for side in sides)
    half = np.diff(gap["gap_95_percent"])[0] / 2
    # All but the patients by chance, whose moves are of the same sign here.
    assert half == pytest.approx(t.ppf(0.975, patients_with_it - 1) * error, rel=0.01)


def test_fewer_than_30_positives_suggest_no_figure(films):
    labels, probs, patients, groups = films
    positives, found, _ = rates_by_group(labels, probs, patients, THRESHOLDS, groups)
    assert (positives[:, 2] < 30).all() and (positives[:, :2] >= 30).all()
    for rate in ("sensitivity", "specificity", "precision"):
        assert np.isnan(found[rate][:, 2]).all()
        assert np.isfinite(found[rate][:, :2]).all()
    assert widest_gaps("abc", found["precision"], None)[2] is None


def test_who_is_missed_on_a_literal():
    labels = np.zeros((100, 2), np.uint8)
    labels[:40, 0], labels[20:50, 1] = 1, 1  # 50 ill
    probs = np.zeros((100, 2))
    probs[:10, 1] = 0.9  # found ill, if of something else
    probs[15:45, 1] = 0.9
    groups, patients = [np.arange(100), np.arange(80, 100)], np.arange(100)
    _, found, _ = rates_by_group(labels, probs, patients, [np.nan, 0.9], groups)
    assert found[MISSED][0] == pytest.approx(10 / 50)  # 10 to 14 and 45 to 49 of the ill
    assert np.isnan(found[MISSED][1])  # nobody there is ill
    assert np.isnan(found["sensitivity"][:, 0]).all()  # no threshold
    assert found["sensitivity"][0, 1] == pytest.approx(25 / 30)


def test_films_of_unknown_groups_are_not_compared():
    found = np.array([[0.9], [0.5], [0.1], [np.nan]])
    names = ["F", "M", "not known", "X"]
    assert widest_gaps(names, found, None) == [
        {"highest": "F", "lowest": "M", "gap": pytest.approx(0.4)}
    ]
    gaps = {"sex": {"precision": dict(zip("ab", widest_gaps(names, found, None) * 2, strict=True))}}
    gaps["sex"]["precision"]["b"] = {"highest": "M", "lowest": "F", "gap": 0.7}
    gaps["age"] = {"precision": {"a": None}, MISSED: None}
    assert largest_gaps(gaps) == [
        {
            "kind": "sex",
            "rate": "precision",
            "class": "b",
            "highest": "M",
            "lowest": "F",
            "gap": 0.7,
        }
    ]


def test_what_is_printed_and_drawn_of_groups(capsys):
    rng = np.random.default_rng(0)
    labels = (rng.random((200, 14)) < 0.4).astype(np.uint8)
    labels[:, 13] = 0
    probs = rng.random((200, 14))
    groups = {
        "sex": {"F": list(range(100)), "M": list(range(100, 190)), "not known": [*range(190, 200)]}
    }
    thresholds = np.append(np.full(13, 0.5), np.nan)
    metrics = measure_subgroups(labels, probs, range(200), groups, thresholds)
    metrics["thresholds"] = {"sensitivity": np.full(14, 0.5)}
    metrics["thresholds"] |= {"specificity": np.full(14, 0.5)}
    metrics["thresholds"] |= {"precision": np.full(14, np.nan), "ill": 200, MISSED: 0.01}
    show_subgroups(metrics)
    printed = capsys.readouterr().err
    assert "  sex not known  10 films with a finding: fewer than 30" in printed
    assert printed.count(" above ") == 4  # a gap of each rate
    assert metrics["subgroups"]["sex"]["F"]["too_few_positives"] == ["Hernia"]
    panels = draw_group_panels(metrics)["sex"]
    text = panels["sensitivity"].decode()
    assert "M (13 of 14 classes)" in text and "under 30 positives in each" in text
