"""What eval.py prints of its figures (`measures`): the table on stdout, the rest on stderr."""

import sys

from evaluation.intervals import FEW, FEWEST
from evaluation.localization import OVERLAPS
from evaluation.operating_points import RATES
from evaluation.significance import LEVEL
from evaluation.subgroup_rates import ENOUGH, MISSED, largest_gaps

CALIBRATION_FIGURES = {
    "brier": "Brier score",
    "expected_calibration_error_equal_mass": "Calibration error",
    "slope": "Slope",
    "intercept": "Intercept",
}


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
    with_intervals = "interval_method" in metrics
    of = f"95 % intervals over {metrics['patients']} patients:"
    say(of if with_intervals else "without intervals:")
    few = few_patients(metrics)
    say(f"  {'':<20} {'AUROC':<28}{'average precision':<28}prevalence")
    for name, positives in metrics["positives"].items():
        cells = [
            shown(metrics[figure][name], ".4f")
            + between(metrics.get(f"{figure}_95_percent", {}).get(name))
            for figure in ("auroc", "average_precision")
        ]
        labelled = metrics["labelled"][name]
        prevalence = shown(positives / labelled if labelled else None, ".4f")
        of = f"  of {labelled} labelled films" if labelled < metrics["images"] else ""
        marked = f"{name} *" if with_intervals and name in few else name
        say(f"  {marked:<20} {cells[0]:<28}{cells[1]:<28}{prevalence}{of}")
    cells = [
        shown(metrics[figure], ".4f") + between(metrics.get(f"{figure}_95_percent"))
        for figure in ("auroc_mean", "average_precision_mean")
    ]
    say(f"  {'mean':<20} {cells[0]:<28}{cells[1]}")
    if with_intervals and few:
        say(f"  * {FEW_WORDS}")


FEW_WORDS = (
    f"fewer than {FEW} patients with the finding: such an interval is less sure, and fewer than "
    f"{FEWEST} have none"
)


def few_patients(metrics):
    """Return the classes that some patients have, but too few for a sure interval."""
    return [name for name, count in metrics["positive_patients"].items() if 0 < count < FEW]


def show_difference(figures, a, b):
    """Print how two networks differ, class by class, on stdout; what to make of it on stderr.

    Args:
        figures: what `measures.measure_difference` returned.
        a, b: lists of paths, of whose means they are.
    """
    a, b = (f"the mean of {', '.join(paths)}" if paths[1:] else paths[0] for paths in (a, b))
    print(
        f"AUROC of {a} minus AUROC of {b}, {figures['images']} films of {figures['patients']} "
        "patients; 95 % interval and p over patients; Holm: adjusted for all classes; DeLong's p "
        "takes films as independent"
    )
    for name, value in figures["difference"].items():
        positives, labelled = figures["positives"][name], figures["labelled"][name]
        fewer = min((positives, "positives"), (labelled - positives, "negatives"))
        few = figures["positive_patients"][name]
        if value is None:
            print(f"{name:<18} undefined: no {fewer[1]}")
            continue
        cells = [f"{value:+.4f}{between(figures['difference_95_percent'][name], '+.4f')}"]
        for kind, words in (("patients_p", "p"), ("delong_p", "DeLong's p")):
            p, adjusted = (figures[key][name] for key in (kind, f"{kind}_holm"))
            known = f"{words} = {shown(p, '.3g')} (Holm {shown(adjusted, '.3g')})"
            cells.append(f"{words} undefined" if p is None else known)
        if few < FEW:
            cells.append(f"caution: {few} patient{'s' if few != 1 else ''} with it")
        print(f"{name:<18} " + "  ".join(cells))
    mean = shown(figures["mean_difference"], "+.4f")
    interval = between(figures.get("mean_difference_95_percent"), "+.4f")
    over = f"over {figures['mean_difference_over']} of {len(figures['difference'])} classes"
    over += f"  p = {shown(figures['mean_patients_p'], '.3g')}"
    print(f"{'mean':<18} {mean}{interval}  {over}")
    show_survivors(figures)


def show_survivors(figures):
    """Print which differences hold though there are many tests."""
    differences = figures["difference"]
    better = {
        "A": [name for name in figures["survive"] if differences[name] > 0],
        "B": [name for name in figures["survive"] if differences[name] < 0],
    }
    words = [f"{who} is better in {', '.join(names)}" for who, names in better.items() if names]
    say(
        f"{len(figures['survive'])} of {figures['mean_difference_over']} differences survive "
        f"Holm's adjustment at {LEVEL}" + (f": {'; '.join(words)}" if words else "")
    )


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


def show_calibration(figures):
    """Print how far probabilities are from the truth before and after they are calibrated."""
    say(f"raw -> calibrated on validation films ({figures['method']}); best: 0, 0, 1 and 0:")
    say(f"  {'':<18} " + "".join(f"{words:<20}" for words in CALIBRATION_FIGURES.values()))
    before, after = figures["before"], figures["after"]
    for name in before["brier"]:
        cells = []
        for key in CALIBRATION_FIGURES:
            pair = [shown(kind[key][name], ".4f") for kind in (before, after)]
            cells.append(f"{' -> '.join(pair):<20}")
        say(f"  {name:<18} " + "".join(cells))


def show_subgroups(metrics):
    """Print the mean AUROC of each group; with thresholds also who is missed, and the gaps."""
    say("average AUROC by group (each over the classes that are defined there):")
    groups = [
        (f"{kind} {group}", figures)
        for kind, members in metrics["subgroups"].items()
        for group, figures in members.items()
    ]
    for name, figures in groups:
        of = f"{figures['auroc_mean_over']} classes, {figures['images']} films"
        mean = shown(figures["auroc_mean"], ".4f")
        interval = between(figures.get("auroc_mean_95_percent"))
        say(f"  {name:<20} {mean}{interval}  {of}")
    if "subgroup_gaps" not in metrics:
        return
    say("called healthy though ill: films with a finding none of whose thresholds is reached")
    for name, figures in [("all", metrics["thresholds"]), *groups]:
        say(f"  {name:<20} {missed_text(figures)}")
    show_gaps(metrics["subgroup_gaps"])


def missed_text(figures):
    """Return the share that is called healthy though ill, or why there is none, as text."""
    if figures["ill"] < ENOUGH:
        return f"{figures['ill']} films with a finding: fewer than {ENOUGH}"
    interval = between(figures.get(f"{MISSED}_95_percent"))
    return f"{shown(figures[MISSED], '.4f')}{interval}  of {figures['ill']} films"


def show_gaps(gaps):
    """Print where each rate differs most between two groups."""
    say(
        f"largest gaps between groups with {ENOUGH} positives of a class; the intervals do not "
        "know that these gaps were chosen for being the largest"
    )
    for gap in largest_gaps(gaps):
        where = f"{gap['class']}: " if gap["class"] else ""
        rate, interval = gap["rate"].replace("_", " "), between(gap.get("gap_95_percent"))
        say(
            f"  {gap['kind']:<12} {rate:<26} {gap['gap']:.4f}{interval}  {where}"
            f"{gap['highest']} above {gap['lowest']}"
        )


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
    if low is None:
        return "  (no interval)"
    return f"  ({shown(low, form)} to {shown(high, form)})"
