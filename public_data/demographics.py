"""Who is on the films of a label list: by the list itself, and by NIH's table."""

import numpy as np

from films.label_lists import CLASS_NAMES
from public_data.nih_tables import entry_of, subgroups

KINDS = ("sex", "age", "view")


def demographics(listed, entries):
    """Count the people, views and findings of a label list.

    Args:
        listed: a `LabelList`; its labels are counted, not those of the table.
        entries: what `nih_tables.read_data_entry` returned.

    Returns:
        dict for JSON: "films", "patients"; "films_per_patient"; "sex", "age" and "view", each a
        dict from group to films and patients (a patient with films in two groups counts in both);
        "age_quartiles" over the films whose age is known, None without any; "no_finding", the films
        whose 14 labels are all 0; "findings", of each class the films that have it and those of
        which it is known.
    """
    names, labels, patients = listed
    people = np.asarray(patients)
    _, counts = np.unique(people, return_counts=True)
    groups = subgroups(names, entries)
    ages = [entry.age for name in names if (entry := entry_of(name, entries))]
    ages = [age for age in ages if age is not None]
    return {
        "films": len(names),
        "patients": len(counts),
        "films_per_patient": {
            "mean": float(counts.mean()),
            "median": float(np.median(counts)),
            "most": int(counts.max()),
            "patients_with_one": int((counts == 1).sum()),
        },
        **{
            kind: {
                group: {"films": len(index), "patients": len(set(people[index]))}
                for group, index in groups[kind].items()
            }
            for kind in KINDS
        },
        "age_quartiles": np.percentile(ages, (25, 50, 75)).tolist() if ages else None,
        "no_finding": int((labels == 0).all(axis=1).sum()),
        "findings": {
            name: {"films": int((flags == 1).sum()), "labelled": int((~np.isnan(flags)).sum())}
            for name, flags in zip(CLASS_NAMES, labels.T, strict=True)
        },
    }


def demographics_rows(parts):
    """Return the table that people read: a heading, then a row for each figure.

    Args:
        parts: dict from the name of a list to what `demographics` returned.

    Returns:
        list of rows, each a list of texts: what, then one of each list.
    """
    found = list(parts.values())
    rows = [["", *parts]]

    def add(what, text):
        rows.append([what, *map(text, found)])

    add("films", lambda part: f"{part['films']:,}")
    add("patients", lambda part: f"{part['patients']:,}")
    add("films a patient, mean", lambda part: f"{part['films_per_patient']['mean']:.2f}")
    add("films a patient, median", lambda part: f"{part['films_per_patient']['median']:g}")
    add("films a patient, most", lambda part: f"{part['films_per_patient']['most']:,}")
    add("patients with one film", _share("films_per_patient", "patients_with_one", "patients"))
    for kind in KINDS:
        if kind == "age":
            add("age, median (quartiles)", _quartiles)
        groups = {group for part in found for group in part[kind]}
        for group in sorted(groups, key=lambda group: (group == "not known", group)):
            for unit in ("films", "patients"):
                add(f"{kind} {group}, {unit}", _share(kind, group, unit))
    add("no finding, films", lambda part: _of(part["no_finding"], part["films"]))
    for name in CLASS_NAMES:
        add(f"{name}, films", lambda part, name=name: _of(*part["findings"][name].values()))
    return rows


def _share(kind, group, unit):
    """Return a function that shows a group's part of a list's films or patients."""

    def text(part):
        count = part[kind].get(group, 0)
        return _of(count[unit] if isinstance(count, dict) else count, part[unit])

    return text


def _of(count, whole):
    return f"{count:,} ({count / whole:.1%})" if whole else "not known"


def _quartiles(part):
    if part["age_quartiles"] is None:
        return "not known"
    low, median, high = part["age_quartiles"]
    return f"{median:g} ({low:g} to {high:g})"
