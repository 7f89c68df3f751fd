"""Which films are tested, and by which labels: what leaves the list, and unions of findings."""

import os
from typing import NamedTuple

import numpy as np

from films.film_cache import FilmCache
from films.film_loader import read_all
from films.film_paths import locate_films
from films.label_csv import OTHER_FINDINGS
from films.label_lists import CLASS_NAMES, LabelList, films_shared, read_column, read_labels
from runtime.files import UserError, read_json, sha256


class SeenList(NamedTuple):
    """A list that a network has learnt from or was chosen on, or may have been.

    Attributes:
        path: of it.
        films: names of the tested films whose patients have films in it.
        is_certain: whether train.py's config.json beside the weights says so.
    """

    path: str
    films: list
    is_certain: bool


class Union(NamedTuple):
    """Several findings that count as one: a film with any of them has it.

    Attributes:
        name: of the whole.
        members: columns of `CLASS_NAMES`.
    """

    name: str
    members: list


class LeftOut:
    """What leaves a test list before its films are tested, or would better have left it.

    Attributes:
        flow: dict for `participant_flow`: "listed", and where there are any "seen", "not_listed"
            and "failed"; films and patients.
        seen_films: set of names.
        failed: dict from film to what is wrong with it.
    """

    def __init__(self, listed, seen, leaves_out_seen):
        self.flow, self.failed = {"listed": count_films(listed.patients)}, {}
        self._seen, self.seen_films = seen, {name for each in seen for name in each.films}
        if seen:
            self.flow["seen"] = {
                **count_films(select(listed, self.seen_films.__contains__).patients),
                "lists": {each.path: len(each.films) for each in seen},
                "left_out": leaves_out_seen,
            }

    def count_further(self, predicted, listed):
        """Note how many films there are predictions of beside the tested ones."""
        further = len(predicted) - len(listed.names)
        if further > 0:
            self.flow["not_listed"] = further

    def drop_unreadable(self, listed, data_dir, resize, reading, workers):
        """Read all films, unless a cache has them; return the `LabelList` of those that can be."""
        there = locate_films(data_dir, listed.names)
        missing = [name for name in listed.names if name not in there]
        self.failed = dict.fromkeys(missing, f"no such film in {data_dir}")
        rows, _ = FilmCache(data_dir, resize).rows([*there], [*there.values()], reading)
        if rows is None:
            self.failed |= read_all(there, workers, reading)[0]
        if len(self.failed) == len(listed.names):
            raise UserError(f"no film of the list can be read: {next(iter(self.failed.values()))}")
        if self.failed:
            self.flow["failed"] = count_films(select(listed, self.failed.__contains__).patients)
        return select(listed, lambda name: name not in self.failed)

    def lines(self):
        """Return what to print."""
        lines = [f"failed: {name}: {text}" for name, text in self.failed.items()]
        total = self.flow["listed"]["films"]
        if self.failed:
            lines.append(f"{len(self.failed):,} of {total:,} films failed, and are left out")
        for path, films, is_certain in self._seen:
            count = f"{len(films):,} of {total:,} films are of patients in {path}"
            how = "if the network was trained with that list, it has seen them"
            how = "which the network was trained with" if is_certain else how
            if self.flow["seen"]["left_out"]:
                lines.append(f"note: {count}: left out")
            else:
                lines.append(f"warning: {count}, {how}; --leave-out-seen leaves them out")
        return lines


def choose_tested(test_list, folders, weights=(), leaves_out_seen=False):
    """Return the `LabelList` of the films that are tested, and a `LeftOut`.

    Args:
        test_list, folders, weights: as for `seen_lists`.
        leaves_out_seen: leave out the films that were seen in training.

    Raises:
        UserError: the list is broken, or no film is left.
    """
    listed = read_labels(test_list)
    seen = seen_lists(test_list, listed, folders, weights)
    left_out = LeftOut(listed, seen, leaves_out_seen)
    if seen and leaves_out_seen:
        listed = select(listed, lambda name: name not in left_out.seen_films)
        if not listed.names:
            raise UserError(
                f"{test_list}: all films were seen in training, by "
                f"{' and '.join(each.path for each in seen)}; test others"
            )
    return listed, left_out


def count_films(patients):
    """Return how many films there are, and of how many patients: dict.

    Args:
        patients: `[N]`, the patient of each film.
    """
    return {"films": len(patients), "patients": len(set(patients))}


def select(listed, is_kept):
    """Return the films of a `LabelList` for which a function of the name is true."""
    rows = [n for n, name in enumerate(listed.names) if is_kept(name)]
    names, patients = ([texts[n] for n in rows] for texts in (listed.names, listed.patients))
    return LabelList(names, listed.labels[rows], patients)


def seen_lists(test_list, listed, folders, weights=()):
    """Find the lists that tell which films were seen in training, and those films.

    Args:
        test_list: path of the list that is tested, and the `LabelList` that it holds.
        listed: its films.
        folders: where train_list.txt and val_list.txt may be.
        weights: paths of the networks' weights. Where train.py's config.json lies beside one, the
            lists that it names count, if they are still the same; else all that are found.

    Returns:
        list of `SeenList`; those with which no patient is shared are left out. The validation list
        itself may be tested, which is how predictions for thresholds are made.
    """
    configs = [read_json(os.path.join(os.path.dirname(path), "config.json")) for path in weights]
    configs = [config for config in configs if "train_sha256" in config] or [{}]
    tested, lists = sha256(test_list), {}
    for config in configs:
        for part in ("train", "val"):
            wanted = config.get(f"{part}_sha256")
            paths = [os.path.join(folder, f"{part}_list.txt") for folder in folders]
            for path in [config.get(f"{part}_list") or "", *paths]:
                digest = sha256(path) if os.path.isfile(path) else None
                if digest is None or (wanted and digest != wanted):
                    continue
                if part == "train" or digest != tested:
                    lists.setdefault(digest, (path, bool(wanted)))
    found = (
        SeenList(path, films_shared(listed, read_labels(path)), is_certain)
        for path, is_certain in lists.values()
    )
    return [each for each in found if each.films]


def parse_union(text):
    """Return the `Union` that "NAME=FINDING,FINDING" means.

    Raises:
        UserError: it has no name, or names what is none of the findings.
    """
    name, _, members = text.partition("=")
    findings = [finding.strip() for finding in members.split(",")]
    strange = [finding for finding in findings if finding not in CLASS_NAMES]
    if strange or len(findings) < 2 or not name.strip() or name in CLASS_NAMES:
        raise UserError(
            f"--union {text!r}: want NAME=FINDING,FINDING with findings of {', '.join(CLASS_NAMES)}"
            f" and another name, got {strange[0] if strange else text!r}; correct it"
        )
    return Union(name.strip(), [CLASS_NAMES.index(finding) for finding in findings])


def labels_of_films(label_list, names):
    """Return what another list says of films: a `LabelList` of them, NaN where it lists them not.

    Raises:
        UserError: it has none of them.
    """
    listed = read_labels(label_list)
    rows = dict(zip(listed.names, listed.labels.astype(np.float32), strict=True))
    if rows.keys().isdisjoint(names):
        raise UserError(f"{label_list}: none of the tested films is in it; give another list")
    unknown = np.full(len(CLASS_NAMES), np.nan, np.float32)
    labels = np.stack([rows.get(name, unknown) for name in names])
    return LabelList(names, labels, names)


def union_labels(unions, label_list, listed):
    """Return the labels of unions, float32 `[N, U]`, NaN for unknown.

    A column of the union's name in the list decides. Where there is none, or its cell is empty: 1
    where any of the findings is there, 0 where all are known and none is.

    Args:
        unions: list of U `Union`.
        label_list: path.
        listed: films of it, a `LabelList`.
    """
    columns = []
    for union in unions:
        of_members = listed.labels[:, union.members].astype(np.float32)
        any_of = (of_members == 1).any(axis=1)
        own = np.where(any_of, 1, np.where((of_members == 0).all(axis=1), 0, np.nan))
        if union.name in OTHER_FINDINGS:
            column = read_column(label_list, union.name)
            written = np.array([column.get(name, np.nan) for name in listed.names])
            own = np.where(np.isnan(written), own, written)
        columns.append(own)
    return np.array(columns, np.float32).T.reshape(len(listed.names), len(unions))


def union_probs(unions, probs):
    """Return the probabilities of unions, `[N, U]`: the largest of the findings'."""
    columns = [probs[:, union.members].max(axis=1) for union in unions]
    return np.array(columns, probs.dtype).T.reshape(len(probs), len(unions))
