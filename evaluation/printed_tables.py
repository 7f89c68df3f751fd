"""What eval.py prints of its figures (`measures`): the table on stdout, the rest on stderr."""

import sys

from evaluation.localization import OVERLAPS
from evaluation.operating_points import RATES


def show_aurocs(metrics):
    """Print the table: AUROCs on stdout, as the contract has them, then intervals on stderr."""
    aurocs, mean = metrics["auroc"], metrics["auroc_mean"]
    defined = metrics["auroc_mean_over"]
    print("The final AUROCs: ")
    partial = "" if defined == len(aurocs) else f" (over {defined} of {len(aurocs)} classes)"
    print(f"The average AUROC is {shown(mean, '.3f')}{partial}")
    for name, value in aurocs.items():
        print(f"The AUROC of {name} is {shown(value)}", flush=True)
    if "bootstrap" in metrics:
        say(
            f"95 % intervals, {metrics['bootstrap']['resamples']} resamples of "
            f"{metrics['patients']} patients:"
        )
        for name, value in aurocs.items():
            say(f"  {name:<18} {shown(value, '.4f')}{between(metrics['auroc_95_percent'][name])}")
        say(f"  {'mean':<18} {shown(mean, '.4f')}{between(metrics['auroc_mean_95_percent'])}")


def show_difference(figures, a, b):
    """Print how two networks differ, class by class, on stdout."""
    resamples = figures.get("bootstrap", {}).get("resamples", 0)
    print(
        f"AUROC of {a} minus AUROC of {b}, {figures['images']} films of {figures['patients']} "
        f"patients; 95 % interval by {resamples} resamples; DeLong's p"
    )
    intervals = figures.get("difference_95_percent", {})
    for name, value in figures["difference"].items():
        p = shown(figures["delong_p"][name], ".3g")
        print(f"{name:<18} {shown(value, '+.4f')}{between(intervals.get(name), '+.4f')}  p = {p}")
    mean = shown(figures["mean_difference"], "+.4f")
    print(f"{'mean':<18} {mean}{between(figures.get('mean_difference_95_percent'), '+.4f')}")


def side_by_side(published, theirs, ours, comparison, counts):
    """Return lines: published AUROCs beside those of two evaluations and their difference.

    Args:
        published: (14 AUROCs, mean), as in `metrics.PUBLISHED`.
        theirs, ours: what metrics.json holds of two evaluations of the same films.
        comparison: what comparison.json holds: ours minus theirs.
        counts: dict from the name of a further row to three texts, of the first columns.
    """
    sources = [(found, "auroc", "auroc_mean", ".4f") for found in (theirs, ours)]
    sources.append((comparison, "difference", "mean_difference", "+.4f"))
    columns = []
    for found, classes, mean, form in sources:
        values = [*found[classes].values(), found[mean]]
        intervals = [*found[f"{classes}_95_percent"].values(), found[f"{mean}_95_percent"]]
        pairs = zip(values, intervals, strict=True)
        columns.append([shown(value, form) + between(pair, form) for value, pair in pairs])
    rows = [("", "published", "published, here", "own", "own minus published, here")]
    rows += [(name, *texts, "") for name, texts in counts.items()]
    names = [*theirs["auroc"], f"mean of {theirs['auroc_mean_over']}"]
    known = [*(shown(value, ".4f") for value in published[0]), shown(published[1])]
    rows += zip(names, known, *columns, strict=True)
    return [f"{a:<20}{b:<14}{c:<30}{d:<30}{e}".rstrip() for a, b, c, d, e in rows]


def show_thresholds(figures):
    """Print what the thresholds give."""
    say(f"at thresholds from {figures['from']['path']} ({figures['rule']}):")
    say(f"  {'':<18} threshold" + "".join(f"  {rate:<24}" for rate in RATES))
    for name, threshold in figures["threshold"].items():
        cells = [
            f"{shown(figures[rate][name], '.3f')}"
            f"{between(figures.get(f'{rate}_95_percent', {}).get(name), '.3f')}"
            for rate in RATES
        ]
        say(f"  {name:<18} {shown(threshold, '9.6f')}" + "".join(f"  {c:<24}" for c in cells))


def show_subgroups(figures):
    """Print the mean AUROC of each group."""
    say("average AUROC by group (each over the classes that are defined there):")
    for kind, groups in figures.items():
        for group, metrics in groups.items():
            of = f"{metrics['auroc_mean_over']} classes, {metrics['images']} films"
            mean = shown(metrics["auroc_mean"], ".4f")
            interval = between(metrics.get("auroc_mean_95_percent"))
            name = f"{kind} {group}"
            say(f"  {name:<14} {mean}{interval}  {of}")


def show_localization(figures):
    """Print pointing game and accuracies, class by class."""
    table = figures["by_class"]
    say(
        f"heat maps against {table['all']['boxes']} boxes of {figures['boxes']['path']}, on "
        f"{figures['films']} test films:"
    )
    say(
        f"  {'':<18} boxes  pointing game (by chance)"
        + "".join(f"  IoU>{t}" for t in OVERLAPS)
        + "".join(f"  IoBB>{t}" for t in OVERLAPS)
    )
    for name, row in table.items():
        cells = [f"  {row['iou']['accuracy'][str(t)]:7.3f}" for t in OVERLAPS]
        cells += [f"  {row['iobb']['accuracy'][str(t)]:8.3f}" for t in OVERLAPS]
        pointing = f"{row['pointing_game']:.3f} ({row['pointing_by_chance']:.3f})"
        say(f"  {name:<18} {row['boxes']:5}  {pointing:<25}" + "".join(cells))


def say(line):
    """Print what is not the table itself: on stderr."""
    print(line, file=sys.stderr)


def shown(value, form=""):
    """Return a number as text; what is not defined is nan."""
    return format(float("nan") if value is None else value, form)


def between(interval, form=".4f"):
    """Return an interval as text in brackets; nothing where none was asked for."""
    if interval is None:
        return ""
    low, high = interval
    return f"  ({shown(low, form)} to {shown(high, form)})"
