"""What eval.py prints of its figures (`figures`): the table on stdout, the rest on stderr."""

import sys

import numpy as np

from evaluation.intervals import FEW_PATIENTS, SIGNIFICANT
from evaluation.localization import OVERLAPS
from evaluation.thresholds import LEAST_POSITIVES, RATES, largest_gaps
from evaluation.written_figures import (
    CALIBRATION_FIGURES,
    FEW_WORDS,
    few_patients,
    figure_text,
    missed_text,
    number_text,
)
from films.label_lists import CLASS_NAMES


def show_aurocs(figures):
    """Print the table: AUROCs on stdout, as the contract has them; the rest on stderr."""
    defined, classes = figures["auroc_mean_over"], len(CLASS_NAMES)
    print("The final AUROCs: ")
    partial = "" if defined == classes else f" (over {defined} of {classes} classes)"
    print(f"The average AUROC is {number_text(figures['auroc_mean'])}{partial}")
    for name, value in zip(CLASS_NAMES, figures["auroc"], strict=True):
        print(f"The AUROC of {name} is {number_text(value, '')}", flush=True)
    show_intervals(figures)


def show_intervals(figures):
    """Print AUROC and average precision of each class, their intervals, and the prevalence."""
    with_intervals = "interval_method" in figures
    of = f"95 % intervals over {figures['patients']} patients:"
    say(of if with_intervals else "without intervals:")
    few = few_patients(figures["positive_patients"]) if with_intervals else []
    say(f"  {'':<20} {'AUROC':<28}{'average precision':<28}prevalence")
    unknown = [name for c, name in enumerate(CLASS_NAMES) if not figures["labelled"][c]]
    for c, name in enumerate(CLASS_NAMES):
        if name in unknown:
            continue
        cells = [_cell(figures, key, c) for key in ("auroc", "average_precision")]
        positives, labelled = figures["positives"][c], figures["labelled"][c]
        prevalence = number_text(positives / labelled if labelled else None, ".4f")
        of = f"  of {labelled} labelled films" if labelled < figures["images"] else ""
        marked = f"{name} *" if name in few else name
        say(f"  {marked:<20} {cells[0]:<28}{cells[1]:<28}{prevalence}{of}")
    cells = [_cell(figures, f"{key}_mean") for key in ("auroc", "average_precision")]
    say(f"  {'mean':<20} {cells[0]:<28}{cells[1]}")
    if unknown:
        say(f"  not known of any film: {', '.join(unknown)}")
    if few:
        say(f"  * {FEW_WORDS}")


def _cell(figures, key, c=None, form=".4f"):
    """Return a figure, of class c if it has one for each, and its interval if it has any."""
    value, bounds = figures[key], figures.get(f"{key}_95_percent")
    if c is not None:
        value, bounds = value[c], None if bounds is None else bounds[c]
    return figure_text(value, bounds, form, "  ")


def show_difference(figures, a, b):
    """Print how two networks differ, class by class, on stdout; what to make of it on stderr.

    Args:
        figures: what `figures.measure_difference` returned.
        a, b: lists of paths, of whose means they are.
    """
    a, b = (f"the mean of {', '.join(paths)}" if paths[1:] else paths[0] for paths in (a, b))
    print(
        f"AUROC of {a} minus AUROC of {b}, {figures['images']} films of {figures['patients']} "
        "patients; 95 % interval and p over patients; Holm: adjusted for all classes; DeLong's p "
        "takes films as independent"
    )
    for c, name in enumerate(CLASS_NAMES):
        print(f"{name:<18} {_difference_text(figures, c)}")
    mean = _cell(figures, "mean_difference", form="+.4f")
    over = f"over {figures['mean_difference_over']} of {len(CLASS_NAMES)} classes"
    p = number_text(figures["mean_patients_p"], ".3g")
    print(f"{'mean':<18} {mean}  {over}  p = {p}")
    show_survivors(figures)


def _difference_text(figures, c):
    """Return what is known of the difference in class c, or why there is none."""
    if np.isnan(figures["difference"][c]):
        positives, labelled = figures["positives"][c], figures["labelled"][c]
        _, missing = min((positives, "positives"), (labelled - positives, "negatives"))
        return f"undefined: no {missing}"
    cells = [_cell(figures, "difference", c, "+.4f")]
    for kind, words in (("patients_p", "p"), ("delong_p", "DeLong's p")):
        p, adjusted = (figures[key][c] for key in (kind, f"{kind}_holm"))
        known = f"{words} = {p:.3g} (Holm {adjusted:.3g})"
        cells.append(f"{words} undefined" if np.isnan(p) else known)
    few = figures["positive_patients"][c]
    if few < FEW_PATIENTS:
        cells.append(f"caution: {few} patient{'s' if few != 1 else ''} with it")
    return "  ".join(cells)


def show_survivors(figures):
    """Print which differences hold though there are many tests."""
    better = {"A": [], "B": []}
    for name in figures["survive"]:
        difference = figures["difference"][CLASS_NAMES.index(name)]
        better["A" if difference > 0 else "B"].append(name)
    words = [f"{who} is better in {', '.join(names)}" for who, names in better.items() if names]
    say(
        f"{len(figures['survive'])} of {figures['mean_difference_over']} differences survive "
        f"Holm's adjustment at {SIGNIFICANT}" + (f": {'; '.join(words)}" if words else "")
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
        bounds = [*found[f"{classes}_95_percent"].values(), found[f"{mean}_95_percent"]]
        pairs = zip(values, bounds, strict=True)
        columns.append([figure_text(*pair, form, "  ") for pair in pairs])
    rows = [("", "published", "published, here", "own", "own minus published, here")]
    rows += [(name, *texts, "") for name, texts in counts.items()]
    names = [*theirs["auroc"], f"mean of {theirs['auroc_mean_over']}"]
    known = [*(number_text(value, ".4f") for value in published[0]), number_text(published[1], "")]
    rows += zip(names, known, *columns, strict=True)
    return [f"{a:<20}{b:<14}{c:<30}{d:<30}{e}".rstrip() for a, b, c, d, e in rows]


def show_thresholds(figures):
    """Print what the thresholds give."""
    say(f"at thresholds from {figures['from']['path']} ({figures['rule']}):")
    say(f"  {'':<18} threshold" + "".join(f"  {rate:<24}" for rate in RATES))
    for c, name in enumerate(CLASS_NAMES):
        cells = "".join(f"  {_cell(figures, rate, c, '.3f'):<24}" for rate in RATES)
        say(f"  {name:<18} {figures['threshold'][c]:9.6f}{cells}")


def show_unions(unions):
    """Print AUROC and average precision of unions of findings."""
    say("unions of findings, by the largest of their probabilities:")
    for name, figures in unions.items():
        cells = [_cell(figures, key) for key in ("auroc", "average_precision")]
        counts = f"{figures['positives']} of {figures['labelled']} films"
        say(f"  {name:<20} {cells[0]:<28}{cells[1]:<28}{counts}")


def show_other_labels(figures):
    """Print AUROCs by two sets of labels, and how far the labels agree."""
    say(f"AUROC by the labels of the test list and by {figures['list']['path']}, same films:")
    for name, found in figures["by_finding"].items():
        if np.isnan(found["difference"]):
            continue
        cells = [_cell(found, key) for key in ("auroc", "auroc_by_others")]
        counts = [found[f"positive_{kind}"] for kind in ("in_both", "here_only", "there_only")]
        say(f"  {name:<20} {cells[0]:<28}{cells[1]:<28}{_cell(found, 'difference', form='+.4f')}")
        say(
            f"  {'':<20} positive in both {counts[0]}, here only {counts[1]}, there only "
            f"{counts[2]}, of {found['labelled_by_both']} films"
        )


def show_calibration(figures):
    """Print how far probabilities are from the truth before and after they are calibrated."""
    say(f"raw -> calibrated on validation films ({figures['method']}); best: 0, 0, 1 and 0:")
    say(f"  {'':<18} " + "".join(f"{words:<20}" for words in CALIBRATION_FIGURES.values()))
    before, after = figures["before"], figures["after"]
    for c, name in enumerate(CLASS_NAMES):
        cells = [f"{before[key][c]:.4f} -> {after[key][c]:.4f}" for key in CALIBRATION_FIGURES]
        say(f"  {name:<18} " + "".join(f"{cell:<20}" for cell in cells))


def show_subgroups(figures):
    """Print the mean AUROC of each group; with thresholds also who is missed, and the gaps."""
    say("average AUROC by group (each over the classes that are defined there):")
    groups = {
        f"{kind} {group}": of_group
        for kind, members in figures["subgroups"].items()
        for group, of_group in members.items()
    }
    for name, of_group in groups.items():
        over = f"{of_group['auroc_mean_over']} classes, {of_group['images']} films"
        say(f"  {name:<20} {_cell(of_group, 'auroc_mean')}  {over}")
    if "subgroup_gaps" not in figures:
        return
    say("called healthy though ill: films with a finding none of whose thresholds is reached")
    for name, of_group in {"all": figures["thresholds"], **groups}.items():
        say(f"  {name:<20} {missed_text(of_group)}")
    show_gaps(figures["subgroup_gaps"])


def show_gaps(gaps):
    """Print where each rate differs most between two groups."""
    say(
        f"largest gaps between groups with {LEAST_POSITIVES} positives of a class; the intervals "
        "do not know that these gaps were chosen for being the largest"
    )
    for gap in largest_gaps(gaps):
        where = f"{gap['class']}: " if gap["class"] else ""
        rate = gap["rate"].replace("_", " ")
        say(
            f"  {gap['kind']:<12} {rate:<26} {_cell(gap, 'gap')}  {where}"
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
