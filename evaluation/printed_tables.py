"""What eval.py prints of its figures (`measures`): the table on stdout, the rest on stderr."""

import sys

from evaluation.localization import OVERLAPS
from evaluation.operating_points import RATES


def show_aurocs(metrics):
    """Print the table: AUROCs on stdout, as the contract has them; the rest on stderr."""
    aurocs, mean = metrics["auroc"], metrics["auroc_mean"]
    defined = metrics["auroc_mean_over"]
    print("The final AUROCs: ")
    partial = "" if defined == len(aurocs) else f" (over {defined} of {len(aurocs)} classes)"
    print(f"The average AUROC is {shown(mean, '.3f')}{partial}")
    for name, value in aurocs.items():
        print(f"The AUROC of {name} is {shown(value)}", flush=True)
    show_intervals(metrics)


def show_intervals(metrics):
    """Print AUROC and average precision of each class, their intervals, and the prevalence."""
    intervals = "without intervals:"
    if "bootstrap" in metrics:
        resamples, patients = metrics["bootstrap"]["resamples"], metrics["patients"]
        intervals = f"95 % intervals, {resamples} resamples of {patients} patients:"
    say(intervals)
    say(f"  {'':<18} {'AUROC':<28}{'average precision':<28}prevalence")
    for name, positives in metrics["positives"].items():
        cells = [
            shown(metrics[figure][name], ".4f")
            + between(metrics.get(f"{figure}_95_percent", {}).get(name))
            for figure in ("auroc", "average_precision")
        ]
        prevalence = format(positives / metrics["images"], ".4f")
        say(f"  {name:<18} {cells[0]:<28}{cells[1]:<28}{prevalence}")
    cells = [
        shown(metrics[figure], ".4f") + between(metrics.get(f"{figure}_95_percent"))
        for figure in ("auroc_mean", "average_precision_mean")
    ]
    say(f"  {'mean':<18} {cells[0]:<28}{cells[1]}")


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
