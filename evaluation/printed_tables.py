"""What eval.py prints of its figures (`figures`): the table on stdout, the rest on stderr."""

import sys
import textwrap

import numpy as np

from evaluation.intervals import FEW_PATIENTS, SIGNIFICANT
from evaluation.thresholds import LEAST_POSITIVES, RATES, largest_gaps
from evaluation.written_figures import (
    CALIBRATION_FIGURES,
    few_patients,
    few_words,
    figure_of,
    figure_text,
    is_mean_unsure,
    missed_text,
    number_text,
    table_text,
)
from films.label_lists import CLASS_NAMES
from public_data.nih_tables import SEX_AND_AGE

SHOWN_OVERLAPS = (0.1, 0.3, 0.5)  # of localization.OVERLAPS


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
    heading = f"95 % intervals over {figures['patients']:,} patients:"
    say(heading if with_intervals else "without intervals:")
    few = few_patients(figures["positive_patients"]) if with_intervals else []
    rows = [("", "AUROC", "average precision", "prevalence", "")]
    unknown = [name for c, name in enumerate(CLASS_NAMES) if not figures["labelled"][c]]
    for c, name in enumerate(CLASS_NAMES):
        if name in unknown:
            continue
        cells = [figure_of(figures, key, c) for key in ("auroc", "average_precision")]
        positives, labelled = figures["positives"][c], figures["labelled"][c]
        prevalence = number_text(positives / labelled if labelled else None, ".4f")
        remark = f"of {labelled:,} labelled films" if labelled < figures["images"] else ""
        rows.append((f"{name} *" if name in few else name, *cells, prevalence, remark))
    cells = [figure_of(figures, f"{key}_mean") for key in ("auroc", "average_precision")]
    of_most = with_intervals and is_mean_unsure(figures["positive_patients"])
    _say_table([*rows, ("mean *" if of_most else "mean", *cells)])
    if unknown:
        say_wrapped(f"  not known of any film: {', '.join(unknown)}")
    if few:
        say_wrapped(f"  * {few_words(figures['positive_patients'])}")


def show_difference(figures, a, b):
    """Print how two networks differ, class by class, on stdout; what to make of it on stderr.

    Args:
        figures: what `figures.measure_difference` returned.
        a, b: lists of paths, of whose means they are.
    """
    a, b = (f"the mean of {', '.join(paths)}" if paths[1:] else paths[0] for paths in (a, b))
    print(f"AUROC of {a}\nminus AUROC of {b}")
    print(
        f"on {figures['images']:,} films of {figures['patients']:,} patients; 95 % interval and p "
        "over patients; Holm: adjusted\nfor all classes; DeLong's p takes films as independent; "
        "patients: with the finding"
    )
    rows = [("", "difference", "p", "Holm", "DeLong's p", "Holm", "patients")]
    for c, name in enumerate(CLASS_NAMES):
        rows.append((name, *_difference_texts(figures, c)))
    mean = f"mean over {figures['mean_difference_over']} of {len(CLASS_NAMES)}"
    p = number_text(figures["mean_patients_p"], ".3g")
    rows.append((mean, figure_of(figures, "mean_difference", form="+.3f"), p))
    print(table_text(rows, ""))
    show_survivors(figures)


def _difference_texts(figures, c):
    """Return what is known of the difference in class c, or why there is none, a text a column."""
    if np.isnan(figures["difference"][c]):
        positives, labelled = figures["positives"][c], figures["labelled"][c]
        _, missing = min((positives, "positives"), (labelled - positives, "negatives"))
        return [f"undefined: no {missing}"]
    texts = [figure_of(figures, "difference", c, "+.3f")]
    for kind in ("patients_p", "delong_p"):
        for p in (figures[key][c] for key in (kind, f"{kind}_holm")):
            texts.append(number_text(p, ".3g"))
    patients = figures["positive_patients"][c]
    return [*texts, f"{patients:,}" + (" (few)" if patients < FEW_PATIENTS else "")]


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
    """Return a table: published AUROCs beside those of two evaluations and their difference.

    Args:
        published: (14 AUROCs, mean), as in `metrics.PUBLISHED`.
        theirs, ours: what metrics.json holds of two evaluations of the same films.
        comparison: what comparison.json holds: ours minus theirs.
        counts: dict from the name of a further row to three texts, of the first columns.
    """
    sources = [(found, "auroc", "auroc_mean", ".3f") for found in (theirs, ours)]
    sources.append((comparison, "difference", "mean_difference", "+.3f"))
    columns = []
    for found, classes, mean, form in sources:
        values = [*found[classes].values(), found[mean]]
        bounds = [*found[f"{classes}_95_percent"].values(), found[f"{mean}_95_percent"]]
        pairs = zip(values, bounds, strict=True)
        columns.append([figure_text(*pair, form) for pair in pairs])
    rows = [("", "published", "published, here", "own", "own minus published, here")]
    rows += [(name, *texts) for name, texts in counts.items()]
    names = [*theirs["auroc"], f"mean of {theirs['auroc_mean_over']}"]
    known = [*(number_text(value, ".4f") for value in published[0]), number_text(published[1], "")]
    rows += zip(names, known, *columns, strict=True)
    return table_text(rows, "", " ")


def show_thresholds(figures):
    """Print what the thresholds give."""
    say(f"at thresholds from {figures['from']['path']} ({figures['rule']}):")
    rows = [("", "threshold", *RATES)]
    for c, name in enumerate(CLASS_NAMES):
        threshold = number_text(figures["threshold"][c], ".4f")
        # Rates of some hundred films: a third digit means nothing, and F1's interval has no room.
        rates = [figure_of(figures, rate, c, ".2f") for rate in RATES[:-1]]
        rows.append((name, threshold, *rates, number_text(figures[RATES[-1]][c], ".2f")))
    _say_table(rows)


def show_unions(unions):
    """Print AUROC and average precision of unions of findings."""
    say("unions of findings, by the largest of their probabilities:")
    rows = [("", "AUROC", "average precision", "positive films")]
    for name, figures in unions.items():
        cells = [figure_of(figures, key) for key in ("auroc", "average_precision")]
        rows.append((name, *cells, f"{figures['positives']:,} of {figures['labelled']:,}"))
    _say_table(rows)


def show_other_labels(figures):
    """Print AUROCs by two sets of labels, and how far the labels agree."""
    say(f"AUROC by the labels of the test list and by {figures['list']['path']}, same films:")
    known = {k: v for k, v in figures["by_finding"].items() if not np.isnan(v["difference"])}
    rows = [("", "by the test list", "by the other", "difference")]
    for name, found in known.items():
        cells = [figure_of(found, key) for key in ("auroc", "auroc_by_others")]
        rows.append((name, *cells, figure_of(found, "difference", form="+.3f")))
    _say_table(rows)
    rows = [("positive films", "in both", "test list only", "other only", "labelled by both")]
    for name, found in known.items():
        counts = [found[f"positive_{kind}"] for kind in ("in_both", "here_only", "there_only")]
        rows.append((name, *(f"{count:,}" for count in (*counts, found["labelled_by_both"]))))
    _say_table(rows)


def show_calibration(figures):
    """Print how far probabilities are from the truth before and after they are calibrated."""
    say(f"raw -> calibrated on validation films ({figures['method']}); best: 0, 0, 1 and 0:")
    before, after = figures["before"], figures["after"]
    rows = [("", *CALIBRATION_FIGURES.values())]
    for c, name in enumerate(CLASS_NAMES):
        cells = (f"{before[key][c]:.3f} -> {after[key][c]:.3f}" for key in CALIBRATION_FIGURES)
        rows.append((name, *cells))
    _say_table(rows)


def show_subgroups(figures):
    """Print the mean AUROC of each group; with thresholds also who is missed, and the gaps.

    Groups by two properties at once are left to metrics.json and the report.
    """
    groups = {
        f"{kind} {group}": of_group
        for kind, members in figures["subgroups"].items()
        for group, of_group in members.items()
        if kind != SEX_AND_AGE
    }
    say("average AUROC by group (each over the classes that are defined there):")
    rows = [("", "AUROC", "classes", "films")]
    for name, of_group in groups.items():
        counts = of_group["auroc_mean_over"], of_group["images"]
        rows.append((name, figure_of(of_group, "auroc_mean"), *(f"{count:,}" for count in counts)))
    _say_table(rows)
    if "subgroup_gaps" not in figures:
        return
    say("called healthy though ill: films with a finding none of whose thresholds is reached:")
    _say_table([(k, missed_text(v)) for k, v in {"all": figures["thresholds"], **groups}.items()])
    show_gaps(figures["subgroup_gaps"])


def show_without_films(figures):
    """Print the AUROCs of what the table says of the films, if anything, and the network's."""
    facts = figures["auroc_without_films"]
    if not facts:
        return
    say(
        "AUROC of what the table says without a look at the film; 0.5 says nothing, below it the\n"
        "fact speaks against the finding:"
    )
    rows = [("", "network", *facts)]
    for c, name in enumerate(CLASS_NAMES):
        if not np.isnan(figures["auroc"][c]):
            values = (figures["auroc"][c], *(of_fact[c] for of_fact in facts.values()))
            rows.append((name, *map(number_text, values)))
    _say_table(rows)


def show_gaps(gaps):
    """Print where each rate differs most between two groups, if any two can be compared."""
    rows = [
        (
            gap["kind"],
            gap["rate"].replace("_", " "),
            figure_of(gap, "gap"),
            gap["class"] or "",
            f"{gap['highest']} above {gap['lowest']}",
        )
        for gap in largest_gaps(gaps)
        if gap["kind"] != SEX_AND_AGE
    ]
    if not rows:
        return
    say(
        f"largest gaps between groups with {LEAST_POSITIVES} positives of a class; the intervals "
        "do not know that\nthese gaps were chosen for being the largest:"
    )
    _say_table(rows)


def show_localization(figures):
    """Print pointing game and accuracies, class by class; metrics.json has more overlaps."""
    table = figures["by_class"]
    say(
        f"heat maps against {table['all']['boxes']} boxes of {figures['boxes']['path']}, on "
        f"{figures['films']} test films:"
    )
    columns = [(kind, overlap) for kind in ("IoU", "IoBB") for overlap in SHOWN_OVERLAPS]
    accuracies = (f"{kind}>{overlap}" for kind, overlap in columns)
    rows = [("", "boxes", "pointing (chance)", *accuracies)]
    for name, row in table.items():
        pointing = f"{row['pointing_game']:.3f} ({row['pointing_by_chance']:.3f})"
        cells = (f"{row[kind.lower()]['accuracy'][str(least)]:.3f}" for kind, least in columns)
        rows.append((name, f"{row['boxes']}", pointing, *cells))
    _say_table(rows)


def say(line):
    """Print what is not the table itself: on stderr."""
    print(line, file=sys.stderr)


def say_wrapped(text):
    """Print text on stderr in lines of at most 100 columns."""
    say(textwrap.fill(text, 100, subsequent_indent="    "))


def _say_table(rows):
    say(table_text(rows))
