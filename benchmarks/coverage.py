"""How often do 95 % intervals hold the truth? Measured on samples of real predictions.

    python prepare_data.py download --predictions --data-dir ChestX-ray14
    python benchmarks/coverage.py --data-dir ChestX-ray14 --predictions PREDICTIONS.csv

prints a table in Markdown. The population is the 22,433 test films of 6,187 patients with the
predictions that jrzech/reproduce-chexnet published; its figures are the truth. Patients are drawn
from it with replacement, with all their films or one film each. Of each class a cell counts the
samples with 10 or more (or 3 to 9) patients with the finding, if most samples have that many.
"""

import argparse
import os
import pathlib
import sys
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from runtime import environment  # noqa: F401  (before Paddle)

# isort: split
import numpy as np
from coverage_table import ANY, SIZES, cells_of, print_table, write_cells
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score, roc_auc_score

from evaluation import intervals as ours
from evaluation.calibration import equal_mass, share_intervals
from evaluation.intervals import delong, holm
from evaluation.predictions_csv import read_predictions
from evaluation.thresholds import choose_thresholds
from films.label_lists import CLASS_NAMES, read_labels
from public_data.nih_tables import read_data_entry, subgroups

NOISE = 0.5  # standard deviation, on the logit: makes a second network of the first
RATES = ("sensitivity", "specificity", "precision", "F1")
GAPS = {"sex": ("F", "M"), "view": ("AP", "PA"), "age": ("40-59", "60-79")}
ENOUGH = 30  # positive films of a class in a group, for a rate to be given


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="its labels/ has NIH's table")
    parser.add_argument("--test-list", help="default: labels/test_list.txt in --data-dir")
    parser.add_argument("--predictions", required=True, help="predictions.csv of these films")
    parser.add_argument("--samples", type=int, default=400, help="of each size and kind")
    parser.add_argument("--by-class", metavar="CSV", help="write every cell there")
    args = parser.parse_args()
    population = read_population(args)
    np.seterr(invalid="ignore", divide="ignore")
    warnings.simplefilter("ignore", RuntimeWarning)  # resamples without a class: NaN, as it should
    cells = []
    for size in SIZES:
        for one_film in (False, True):
            rows = study(population, size, one_film, args.samples)
            cells += cells_of(rows, size, one_film)
            print(f"{size} patients, one film {one_film}: done", file=sys.stderr, flush=True)
    print_table(cells, args.samples)
    if args.by_class:
        write_cells(args.by_class, cells)


def read_population(args):
    """Return dict of arrays, films of a patient side by side: see its keys."""
    path = args.test_list or os.path.join(args.data_dir, "labels", "test_list.txt")
    listed = read_labels(path)
    probs = read_predictions(args.predictions, listed.names, "--test-list").astype(np.float64)
    entries = read_data_entry(os.path.join(args.data_dir, "labels", "Data_Entry_2017_v2020.csv"))
    groups = subgroups(listed.names, entries)
    members = np.zeros((2 * len(GAPS), len(probs)), bool)
    for place, (kind, pair) in enumerate(GAPS.items()):
        for side, name in enumerate(pair):
            members[2 * place + side, groups[kind][name]] = True
    labels = np.asarray(listed.labels, np.float64)
    patient_of = np.unique([name[:8] for name in listed.names], return_inverse=True)[1]
    order = np.argsort(patient_of, kind="stable")
    noise = np.random.default_rng(0).normal(0, NOISE, probs.shape)
    logits = logit(np.clip(probs, 1e-9, 1 - 1e-9))
    population = {
        "labels": labels,
        "probs": probs,
        "logits": logits,
        "second": expit(logits + noise),
        "called": (probs >= choose_thresholds(labels, probs)).astype(np.float64),
        "members": members.T,
        "patient": patient_of,
    }
    return {key: values[order] for key, values in population.items()}


def study(population, size, one_film, samples):
    """Return dict from figure to float64 `[samples, K, 4]`: patients, low, high, truth.

    For p-values, low is the p-value and high NaN.
    """
    rng = np.random.default_rng([size, one_film])
    first = np.flatnonzero(np.diff(population["patient"], prepend=-1))
    films = np.diff(first, append=len(population["patient"]))
    weights = 1 / films[population["patient"]] if one_film else np.ones(len(population["patient"]))
    truth = truths(population, weights)
    found = {}
    for _ in range(samples):
        drawn = rng.integers(len(first), size=size)
        if one_film:
            rows, counts = first[drawn] + rng.integers(films[drawn]), np.ones(size, int)
        else:
            counts = films[drawn]
            rows = np.repeat(first[drawn] - np.cumsum(counts) + counts, counts)
            rows += np.arange(len(rows))
        sample = {key: values[rows] for key, values in population.items()}
        sample["patient"] = np.repeat(np.arange(size), counts)
        noise = rng.normal(0, NOISE, (2, *sample["logits"].shape))
        sample["twins"] = expit(sample["logits"] + noise)
        for figure, values in intervals_of(sample, truth, population, weights).items():
            found.setdefault(figure, []).append(values)
    return {figure: np.stack(values) for figure, values in found.items()}


def truths(population, weights):
    """Return dict from figure to `[K]`, of all, by scikit-learn and by counting."""
    labels = population["labels"]

    def each(figure, scores):
        columns = zip(labels.T, scores.T, strict=True)
        return np.array([figure(*column, sample_weight=weights) for column in columns])

    a, b = (each(roc_auc_score, population[key]) for key in ("probs", "second"))
    sums = (outcomes(labels, population["called"]) * weights[:, None, None]).sum(axis=0)
    truth = {
        "AUROC": a,
        "average precision": each(average_precision_score, population["probs"]),
        "difference of AUROCs": a - b,
        **dict(zip(RATES, rates_of(sums), strict=True)),
        "called healthy though ill": 1 - sums[0, -1:] / sums[1, -1:],
    }
    for place, kind in enumerate(GAPS):
        high, low = (
            (
                outcomes(labels, population["called"])
                * (weights * population["members"][:, 2 * place + side])[:, None, None]
            ).sum(axis=0)
            for side in (0, 1)
        )
        truth[f"gap by {kind}"] = rates_of(high)[0] - rates_of(low)[0]
    return truth


def outcomes(labels, called):
    """Return of each film what is counted, `[N, 6, C + 1]`; the last class is any finding.

    Called and positive; positive; not called and negative; negative; called; called or positive.
    """
    labels = np.column_stack([labels, labels.any(axis=1)])
    called = np.column_stack([called, called.any(axis=1)])
    either = np.maximum(called, labels)
    return np.stack([called * labels, labels, 1 - either, 1 - labels, called, either], axis=1)


PARTS = ((0, 1), (2, 3), (0, 4), (0, 5))  # RATES; F1 is of the share of what is either


def rates_of(sums):
    """Return RATES, each `[C]`, from counts `[6, C + 1]`."""
    rates = [sums[part, :-1] / sums[whole, :-1] for part, whole in PARTS]
    return [*rates[:3], as_f1(rates[3])]


def as_f1(share):
    return 2 * share / (1 + share)


def rows_of(patients, bounds, truth):
    """Return `[K, 4]` of what `study` keeps."""
    return np.column_stack([np.broadcast_to(patients, np.shape(truth)), bounds, truth])


def intervals_of(sample, truth, population, weights):
    """Return dict from figure to `[K, 4]` (see `study`), by evaluation/intervals.py."""
    labels, patient = sample["labels"], sample["patient"]
    a, b, *twins = (
        ours.auroc_estimate(labels, probs, patient)
        for probs in (sample["probs"], sample["second"], *sample["twins"])
    )
    precision, biases = ours.average_precision_estimate(labels, sample["probs"], patient)
    with_finding, defined = precision.patients, ~np.isnan(a.value)
    found = {}
    for name, estimate, bias in (("AUROC", a, 0.0), ("average precision", precision, biases)):
        found[name] = rows_of(with_finding, ours.intervals(estimate), truth[name])
        mean = ours.intervals(ours.mean_estimate(estimate, bias))
        found[f"mean {name}"] = rows_of(ANY, mean, truth[name][defined].mean(keepdims=True))
    name, difference = "difference of AUROCs", ours.difference_estimate(a, b)
    found[name] = rows_of(with_finding, ours.difference_intervals(difference), truth[name])
    found[f"mean {name}"] = rows_of(
        ANY,
        ours.difference_intervals(ours.mean_estimate(difference)),
        truth[name][defined].mean(keepdims=True),
    )
    null = ours.difference_estimate(*twins)
    p = ours.p_values(null)
    found |= p_rows(with_finding, p, ours.p_values(ours.mean_estimate(null))[0], "")
    columns = zip(labels.T, sample["twins"][0].T, sample["twins"][1].T, strict=True)
    by_film = np.array([delong(*column)[1] for column in columns])
    found |= p_rows(with_finding, by_film, np.nan, " by DeLong's test")
    return found | rates_in(sample, truth, with_finding) | bins_of(sample, population, weights)


def p_rows(with_finding, p, of_mean, words):
    nothing = np.full((len(p), 2), np.nan)
    family = np.nanmin(holm(p), initial=1)
    return {
        f"p{words}": np.column_stack([with_finding, p, nothing]),
        f"p of the mean{words}": np.array([[ANY, of_mean, np.nan, np.nan]]),
        f"smallest p after Holm{words}": np.array([[ANY, family, np.nan, np.nan]]),
    }


def rates_in(sample, truth, with_finding):
    first = np.flatnonzero(np.diff(sample["patient"], prepend=-1))
    of_films = outcomes(sample["labels"], sample["called"])
    sums = np.add.reduceat(of_films, first)  # [P, 6, C + 1]
    found = {}
    for name, (part, whole) in zip(RATES, PARTS, strict=True):
        bounds = ours.intervals(ours.ratio_estimate(sums[:, part, :-1], sums[:, whole, :-1]))
        bounds = as_f1(bounds) if name == "F1" else bounds
        found[name] = rows_of(with_finding, bounds, truth[name])
    ill = sums[:, 1, -1:]
    bounds = ours.intervals(ours.ratio_estimate(ill - sums[:, 0, -1:], ill))
    name = "called healthy though ill"
    found[name] = rows_of(np.count_nonzero(ill), bounds, truth[name])
    for place, kind in enumerate(GAPS):
        estimates, positives = [], []
        for side in (0, 1):
            inside = sample["members"][:, 2 * place + side, None, None]
            sums = np.add.reduceat(of_films[..., :-1] * inside, first)
            estimates.append(ours.ratio_estimate(sums[:, 0], sums[:, 1]))
            positives.append(sums[:, 1].sum(axis=0))
        gap = ours.difference_estimate(*estimates)
        bounds = ours.difference_intervals(gap)
        patients = np.where(np.minimum(*positives) < ENOUGH, 0, gap.patients)
        found[f"gap by {kind}"] = rows_of(patients, bounds, truth[f"gap by {kind}"])
    return found


def bins_of(sample, population, weights):
    """Return the calibration curve's shares of positives: `[10 C, 4]`, NaN for a missing bin.

    Their intervals are Wilson's, by the effective number of films.
    """
    rows = np.full((len(CLASS_NAMES), 10, 4), np.nan)
    for c in range(len(CLASS_NAMES)):
        probs, labels = sample["probs"][:, c], sample["labels"][:, c]
        edges = np.quantile(probs, np.linspace(0, 1, 11)[1:-1])
        of_all = np.searchsorted(edges, population["probs"][:, c])
        truth = np.bincount(of_all, weights * population["labels"][:, c], 10)
        truth /= np.maximum(np.bincount(of_all, weights, 10), 1e-9)
        bin_of = equal_mass(probs)
        bounds = np.stack(share_intervals(labels, bin_of, sample["patient"]), axis=-1)
        some = np.unique(bin_of)
        rows[c, some] = rows_of(ANY, bounds, truth[some])
    return {"calibration curve": rows.reshape(-1, 4)}


if __name__ == "__main__":
    main()
