"""Comparing a data folder with what is known of ChestX-ray14."""

import hashlib
import itertools
import json
import os

import numpy as np

from films.film_loader import read_all
from films.film_paths import is_film, list_films, locate_films, similar_film
from films.film_pixels import AS_STORED
from films.label_lists import CLASS_NAMES, films_shared, read_labels
from public_data.demographics import demographics, demographics_rows
from public_data.finding_names import NIH_FINDINGS
from public_data.nih_tables import entry_of, read_data_entry
from public_data.sources import LABELS, REFERENCE
from runtime.files import sha256

# SHA-256 of the sorted names of NIH's own split, with newlines between.
OFFICIAL = {
    "train_val": "61fbe896321c1c1c8b75f3e4f3a08e4fef6486d95ef8a667c31d4d60dca6cb81",
    "test": "38ca5ef7f756092946f57c1a59faca882ed589a1ab1f72590b45dc06c6d5e1cc",
}
DOUBTED = 0.05  # a larger share of films that look doubtful is a problem of the folder


def sorted_films(data_dir):
    """Return all films of a data folder, listed or not: dict from name to path, by name."""
    return {name: path for name, path in sorted(list_films(data_dir).items()) if is_film(path)}


def check(data_dir, paths, workers, reading=AS_STORED):
    """Compare a data folder with what is known of ChestX-ray14.

    Args:
        data_dir: with images/ and labels/.
        paths: of the lists: dict from "train", "val" and "test", or some of these.
        workers: number of processes that decode the films.
        reading: how values of more than 8 bits are read.

    Returns:
        dict for JSON: "lists", "split", "label_release", "demographics" (of each list; or a text,
        why they are not known), "films", and "remarks" and "problems", lists of texts.

    Raises:
        UserError: a list is missing or broken.
    """
    films = sorted_films(data_dir)
    lists, problems, remarks = {}, [], []
    file_of = {split: os.path.basename(path) for split, path in paths.items()}
    read = {split: read_labels(path) for split, path in paths.items()}
    listed = {name for names, _, _ in read.values() for name in names}
    there = {n: path for n, path in locate_films(data_dir, sorted(listed)).items() if is_film(path)}
    for split, (names, _, patients) in read.items():
        path = paths[split]
        digest = sha256(path)
        lists[split] = {"films": len(names), "patients": len({*patients}), "sha256": digest}
        lists[split]["is_reference"] = digest == LABELS[f"{split}_list.txt"][1][1]
        missing = [name for name in names if name not in there]
        if missing:
            similar = similar_film(data_dir, missing[0])
            problems.append(
                f"{file_of[split]}: {len(missing)} films are missing, the first is {missing[0]}"
                + (f"; there is {similar!a}: write names as the files have them" if similar else "")
            )
    problems += _shared_patients(read, file_of)
    split_of_lists = _split(read, lists)
    digests = {}
    broken, notes = read_all(there, workers, reading, digests)
    problems += broken.values()
    for one, other, pairs in same_pictures(read, digests):
        text = f"{len(pairs)} films of {file_of[one]} have the picture of another film"
        text += f" of {file_of[other]}: {pairs[0][0]} that of {pairs[0][1]}"
        # Published lists are as they are: what they share is no fault of this folder.
        is_remark = one == other or split_of_lists != "own"
        (remarks if is_remark else problems).append(text)
    # About one film in a hundred is doubted of any good data set.
    is_problem = notes.depth() or len(notes.doubts) > DOUBTED * notes.count
    (problems if is_problem else remarks).extend(notes.lines())
    return {
        "lists": lists,
        "split": split_of_lists,
        **_by_table(os.path.join(data_dir, "labels", "Data_Entry_2017_v2020.csv"), read),
        "films": {
            "found": len({*films.values(), *there.values()}),
            "listed": len(listed),
            "do_not_decode": len(broken),
            "doubted": {name: found.text for name, found in notes.doubts.items()},
        },
        "remarks": remarks,
        "problems": problems,
    }


def _shared_patients(read, file_of):
    """Yield texts: which two lists share patients."""
    for one, other in itertools.combinations(read, 2):
        patients = {*read[other].patients}
        if both := patients.intersection(read[one].patients):
            yield (
                f"{len(both)} patients are in {file_of[one]} and {file_of[other]}, "
                f"{min(both)} among them"
            )
        # Patients that the two lists write differently: 100, 100.0 and 00000100.
        written = dict(zip(read[one].names, read[one].patients, strict=True))
        shared = films_shared(read[one], read[other])
        if shared := [name for name in shared if written[name] not in patients]:
            yield (
                f"{len(shared)} films of {file_of[one]} are of patients in {file_of[other]} "
                f"who are written differently there, {shared[0]} first"
            )


def same_pictures(read, digests):
    """Find films of different names that have the same pixels.

    Args:
        read: dict from "train", "val" and "test", or some of these, to `LabelList`.
        digests: dict from film to the digest of its pixels.

    Yields:
        Two lists, which may be the same, and pairs of films, the first of the one list with one of
        the other; for those lists that have any.
    """
    for one, other in itertools.combinations_with_replacement(read, 2):
        first = {}
        for name in filter(digests.__contains__, read[other].names):
            first.setdefault(digests[name], name)
        pairs = ((name, first.get(digests.get(name))) for name in read[one].names)
        pairs = [(name, same) for name, same in pairs if same not in (None, name)]
        if pairs:
            yield one, other, pairs


def _split(read, lists):
    """Name the split that the lists make: of the reference project, NIH's own, or neither."""
    if len(lists) < len(REFERENCE):
        return "own"
    if all(facts["is_reference"] for facts in lists.values()):
        return "reference"
    digests = {
        "train_val": names_digest(read["train"][0] + read["val"][0]),
        "test": names_digest(read["test"][0]),
    }
    return "official" if digests == OFFICIAL else "own"


def names_digest(names):
    """Return the SHA-256 of films' names, sorted, as in `OFFICIAL`."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def _by_table(path, read):
    """Return what NIH's table tells of the lists, where it is at hand."""
    if not os.path.exists(path):
        return dict.fromkeys(("label_release", "demographics"), f"not known: no {path}")
    entries = read_data_entry(path)
    return {
        "label_release": _label_release(entries, read),
        "demographics": {split: demographics(listed, entries) for split, listed in read.items()},
    }


def _label_release(entries, read):
    """Tell which release of the labels the lists follow, by NIH's table."""
    differ = {split: 0 for split in read}
    for split, (names, labels, _) in read.items():
        for name, flags in zip(names, labels, strict=True):
            known = {CLASS_NAMES[c]: flags[c] for c in np.flatnonzero(~np.isnan(flags))}
            ours = {
                finding for finding, flag in known.items() if flag == 1 and finding in NIH_FINDINGS
            }
            entry = entry_of(name, entries)
            differ[split] += entry is None or ours != entry.findings & known.keys()
    total = sum(differ.values())
    if total == 0:
        return "2020"
    if differ == {split: films for split, (_, _, films) in REFERENCE.items()}:
        return "2017: the release of 2020 adds findings on 181 films (127 train, 18 val, 36 test)"
    return f"neither is certain: {total} films differ from the release of 2020"


def show_check(report, as_json):
    """Print what `check` found."""
    if as_json:
        print(json.dumps(report, indent=2))
        return
    for split, facts in report["lists"].items():
        films, patients, _ = REFERENCE[split]
        known = "NIH's split" if report["split"] == "official" else "the reference project's list"
        if report["split"] != "official" and not facts["is_reference"]:
            known += f" has {films:,} of {patients:,}; this is another"
        print(f"{split}: {facts['films']:,} films of {facts['patients']:,} patients ({known})")
    print(f"split: {report['split']}")
    print(f"labels: {report['label_release']}")
    films = report["films"]
    print(
        f"films: {films['found']:,} found, {films['listed']:,} listed, "
        f"{films['do_not_decode']:,} do not decode, {len(films['doubted']):,} look doubtful"
    )
    _show_demographics(report["demographics"])
    for remark in report["remarks"]:
        print(f"note: {remark}")
    for problem in report["problems"][:20]:
        print(f"problem: {problem}")
    count = len(report["problems"])
    print(f"{count} problems" if count else "all is well")


def _show_demographics(found):
    """Print who is on the films, or why that is not known."""
    if isinstance(found, str):
        print(f"demographics: {found}")
        return
    print("demographics, by labels/Data_Entry_2017_v2020.csv; findings by the lists:")
    for what, *texts in demographics_rows(found):
        print(f"  {what:<28}" + "".join(f"{text:>18}" for text in texts))
