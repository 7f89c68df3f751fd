"""NIH's own split as label lists."""

import os

import numpy as np

from films.label_lists import CLASS_NAMES, patient
from public_data.finding_names import NIH_FINDINGS
from public_data.nih_tables import read_data_entry, read_names
from runtime.files import UserError, write_whole


def split_officially(data_dir, nih_lists, seed):
    """Write the label lists of NIH's own split: labels/official/{train,val,test}_list.txt.

    An eighth of the patients of train_val_list.txt, drawn by seed, are for validation: the share
    of films that the reference project has there.

    Args:
        data_dir: its labels/ has Data_Entry_2017_v2020.csv, and gets official/.
        nih_lists: folder with train_val_list.txt and test_list.txt.
        seed: whole number.

    Raises:
        UserError: a file is missing or broken, a film is not in the table, or a patient in both.
    """
    unlabelled = [name for name in CLASS_NAMES if name not in NIH_FINDINGS]
    if unlabelled:  # a flag of 0 would say that no film has it
        raise UserError(
            f"split: NIH's tables do not label {unlabelled[0]}; make a CSV list with "
            "prepare_data.py labels --from nih, where it is unknown"
        )
    table = os.path.join(data_dir, "labels", "Data_Entry_2017_v2020.csv")
    entries = read_data_entry(table)
    train_val, test = (
        read_names(os.path.join(nih_lists, name), entries, table)
        for name in ("train_val_list.txt", "test_list.txt")
    )
    both = {patient(name) for name in train_val} & {patient(name) for name in test}
    if both:
        raise UserError(
            f"{nih_lists}: want no patient in train_val_list.txt and test_list.txt, got {len(both)}"
            f", {min(both)} among them; get NIH's own lists"
        )
    patients = sorted({patient(name) for name in train_val})
    held_out = set(np.random.default_rng(seed).permutation(patients)[: round(len(patients) / 8)])
    parts = {
        "train": [name for name in train_val if patient(name) not in held_out],
        "val": [name for name in train_val if patient(name) in held_out],
        "test": test,
    }
    for part, names in parts.items():
        path = os.path.join(data_dir, "labels", "official", f"{part}_list.txt")
        with write_whole(path, "w") as file:
            for name in names:
                findings = entries[name].findings
                flags = " ".join(str(int(finding in findings)) for finding in CLASS_NAMES)
                file.write(f"{name} {flags}\n")
        count = len({patient(name) for name in names})
        print(f"wrote {path}: {len(names):,} films of {count:,} patients")
