"""Another data set's table as a label list: a CSV file with a column for each class it knows."""

import os
import re

from films.csv_rows import write_rows
from films.label_csv import OTHER_FINDINGS
from films.label_lists import CLASS_NAMES
from public_data.label_tables import (
    METADATA_COLUMNS,
    OPTIONS,
    read_chexpert,
    read_mimic,
    read_nih,
    read_nih_adjudicated,
    read_padchest,
)
from public_data.nih_tables import BOX_COLUMNS
from public_data.openi_tables import is_archive, read_openi
from public_data.rsna_tables import read_rsna
from public_data.vindr_tables import read_vindr
from runtime.files import UserError


def write_label_csv(
    data_set,
    table,
    output,
    metadata,
    unmentioned,
    all_views,
    flat,
    readers=None,
    boxes_output=None,
):
    """Write the label list of another data set's published table.

    Args:
        data_set: of `finding_names.DATA_SETS`.
        table: path of its table.
        output: path to write.
        metadata: path of the second table, which `METADATA_COLUMNS` has, or of RSNA's list of NIH
            names; None: there is none.
        unmentioned: "0" or "unknown", for what a report of CheXpert's or MIMIC's does not mention;
            None: "0".
        all_views: whether films that are not frontal are written too.
        flat: whether names are written without folders.
        readers: "most" or "any", whose yes makes a finding of VinDr's present; None: "most".
        boxes_output: path to write RSNA's boxes to, in the form of NIH's BBox_List_2017.csv.

    Raises:
        UserError: an option is not of this data set's, a table is not as it should be, or no film
            is left.
    """
    _check_options(data_set, table, metadata, unmentioned, all_views, readers, boxes_output)
    _check_paths([table, metadata], {"--output": output, "--boxes-output": boxes_output})
    absent = None if unmentioned == "unknown" else 0
    films = {
        "chexpert": lambda: read_chexpert(table, absent),
        "mimic": lambda: read_mimic(table, metadata, absent),
        "padchest": lambda: read_padchest(table),
        "vindr": lambda: read_vindr(table, readers or "most", OPTIONS),
        "openi": lambda: read_openi(table, metadata, OPTIONS),
        "rsna": lambda: read_rsna(table, metadata, OPTIONS),
        "nih": lambda: read_nih(table),
        "nih-adjudicated": lambda: read_nih_adjudicated(table),
    }[data_set]()
    kept, left_out = _choose(films, all_views, flat)
    if not kept:
        raise UserError(
            f"{table}: no labelled film; {left_out['other view']} have another view, "
            f"{left_out['no label']} no label, {left_out['nothing known']} say nothing"
        )
    said = next(iter(kept.values())).labels  # a table knows the same findings of all its films
    known = [name for name in CLASS_NAMES if name in said]
    known += [name for name in OTHER_FINDINGS if name in said and name not in known]
    with_patients = any(film.patient for film in kept.values())
    columns = ["Image Index", *["Patient ID"] * with_patients, *known]
    # csv writes None as an empty cell: unknown.
    rows = (
        [name, *[film.patient] * with_patients, *(film.labels[finding] for finding in known)]
        for name, film in kept.items()
    )
    write_rows(output, columns, rows)
    if boxes_output:
        boxes = [(name, *box) for name, film in kept.items() for box in film.boxes]
        write_rows(boxes_output, BOX_COLUMNS, boxes)
    if data_set == "rsna" and not metadata:
        print(
            "caution: these are films of ChestX-ray14; which of them a network was trained with "
            "can only be told with --metadata, RSNA's list of their NIH names"
        )
    _show(output, kept, left_out, known, "reports" if data_set == "openi" else "patients")
    if boxes_output:
        print(f"wrote {boxes_output}: {len(boxes):,} boxes")


def _check_options(data_set, table, metadata, unmentioned, all_views, readers, boxes_output):
    # Open-i's archive names its films itself; only their views are in the second table.
    names_films = data_set == "openi" and is_archive(table) and all_views
    if data_set in METADATA_COLUMNS and metadata is None and not names_films:
        columns = ", ".join(METADATA_COLUMNS[data_set])
        raise UserError(
            f"--from {data_set}: want --metadata too, got one table; give the one with the "
            f"columns {columns}"
        )
    for option, value, sets in (
        ("--metadata", metadata, [*METADATA_COLUMNS, "rsna"]),
        ("--unmentioned", unmentioned, ["chexpert", "mimic"]),
        ("--readers", readers, ["vindr"]),
        ("--boxes-output", boxes_output, ["rsna"]),
    ):
        if value is not None and data_set not in sets:
            wanted = " or ".join(sets)
            raise UserError(f"{option}: want it with {wanted}, got --from {data_set}; leave it out")


def _check_paths(read, written):
    """Refuse to write into a file that is read, or into one twice."""
    taken = [(path, "the table itself") for path in read if path]
    for option, path in written.items():
        for other, what in taken:
            if path and _is_same_file(path, other):
                raise UserError(f"{path}: want a new file for {option}, got {what}; name another")
        taken += [(path, f"that of {option}")] * bool(path)


def _is_same_file(path, other):
    if os.path.exists(path) and os.path.exists(other):
        return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)


def _choose(films, all_views, flat):
    """Return name -> `Film` of those to write, and how many were left out for which reason."""
    kept, left_out = {}, {"other view": 0, "no label": 0, "nothing known": 0}
    for film in films:
        if not film.frontal and not all_views:
            left_out["other view"] += 1
        elif film.labels is None:
            left_out["no label"] += 1
        elif all(state is None for state in film.labels.values()):
            left_out["nothing known"] += 1
        else:
            name = os.path.basename(film.name) if flat else film.name
            _check_name(film.where, name)
            if name in kept:
                raise UserError(
                    f"{film.where}: want each film once, got {name} again (first: "
                    f"{kept[name].where}); remove one of the two"
                    f"{', or leave out --flat' if flat else ''}"
                )
            kept[name] = film
    return kept, left_out


def _check_name(where, name):
    """Admit only relative paths: letters, digits and `_ . -`, with / between."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", name) or {".", ".."} & {*name.split("/")}:
        raise UserError(
            f"{where}: want the name of a film, with folders at most, got {name[:120]!r}; "
            "correct the line"
        )


def _show(output, kept, left_out, known, whose):
    patients = len({film.patient for film in kept.values()} - {""})
    print(f"{'class':<20}{'positive':>10}{'negative':>10}{'unknown':>10}")
    for name in known:
        states = [film.labels[name] for film in kept.values()]
        counts = "".join(f"{states.count(state):>10,}" for state in (1, 0, None))
        print(f"{name:<20}{counts}")
    others = [name for name in CLASS_NAMES if name not in known]
    if others:
        print(f"not known of any film: {', '.join(others)}")
    reasons = {
        "other view": "not frontal (--all-views keeps them)",
        "no label": "without labels",
        "nothing known": "of which no finding is known",
    }
    for reason, count in left_out.items():
        if count:
            print(f"left out: {count:,} films {reasons[reason]}")
    print(f"wrote {output}: {len(kept):,} films" + (f" of {patients:,} {whose}" * (patients > 0)))
