"""Whether the result of a step is there, whole, and of these inputs: by what the scripts write."""

import functools
import hashlib
import json
import os

from films.film_cache import FilmCache, film_state
from films.film_paths import find_films, locate_films
from films.label_lists import read_label_list
from public_data.download import archives_size, imagenet_weights, missing_archives
from public_data.folder_check import sorted_films
from reproduction.plan import NOTHING, WEIGHT_FILE, Found
from runtime.files import UserError, read_json, sha256
from training.checkpoints import find_checkpoints
from weights.untrusted_files import read_pickle


def listed_films(path):
    """Return the names that a label list has; it is parsed anew only once it has changed."""
    state = os.stat(path)
    return _names(path, state.st_mtime_ns, state.st_size)


@functools.cache
def _names(path, modified, size):
    return read_label_list(path)[0]


def look(data_dir, lists, starts):
    """Return what is there before the first step, a `Found`.

    Args:
        data_dir: the data folder.
        lists: dict from part to path.
        starts: paths of the weight files that are downloaded.
    """
    counts = {
        part: len(listed_films(path)) if os.path.exists(path) else NOTHING.counts[part]
        for part, path in lists.items()
    }
    has_films = films_there(data_dir, lists)
    counts["all"] = len(sorted_films(data_dir)) if has_films else NOTHING.counts["all"]
    download = WEIGHT_FILE * sum(not os.path.exists(path) for path in starts)
    archives = missing_archives(data_dir)
    if archives and not has_films:
        download += archives_size(data_dir, archives, ask=False)[1]
    return Found(counts, has_films, download)


def starting_weights(checkpoint, pretrained):
    """Return the paths of the weight files that are downloaded."""
    return [checkpoint, imagenet_weights()[0]] if pretrained == "imagenet" else [checkpoint]


def downloaded(data_dir, lists, starts):
    """Tell whether films, lists and the weights to start from are there."""
    return all(map(os.path.exists, starts)) and films_there(data_dir, lists)


def films_there(data_dir, lists):
    """Tell whether a data folder has all films of some lists (dict from part to path)."""
    if not os.path.isdir(data_dir) or not all(map(os.path.exists, lists.values())):
        return False
    names = {name for path in lists.values() for name in listed_films(path)}
    return len(locate_films(data_dir, names)) == len(names)


def film_facts(data_dir, lists):
    """Return a dict from list to digest, and a digest of the size and time of each film's file.

    None where a list or a film is missing.
    """
    if not films_there(data_dir, lists):
        return None
    names = {name for path in lists.values() for name in listed_films(path)}
    states = [film_state(path) for path in find_films(data_dir, sorted(names))]
    films = hashlib.sha256(json.dumps(states).encode()).hexdigest()
    return {**digests(*lists.values()), "state of the films": films}


def digests(*paths):
    """Return a dict from path to SHA-256; None where a file is missing."""
    if not all(map(os.path.isfile, paths)):
        return None
    return {path: sha256(path) for path in paths}


def cached(data_dir, resize):
    """Tell whether all films of a data folder are in its cache."""
    if not os.path.isdir(data_dir):
        return False
    films = sorted_films(data_dir)
    return bool(films) and FilmCache(data_dir, resize).rows(films, films.values())[0] is not None


def evaluated(folder, weights, test_list, settings):
    """Tell whether eval.py's results for these weights, films and settings are in a folder.

    Args:
        folder: --output-dir.
        weights, test_list: paths.
        settings: dict from key of metrics.json to value.
    """
    found = read_json(os.path.join(folder, "metrics.json"))
    predictions = os.path.join(folder, "predictions.csv")
    now = digests(weights, test_list, predictions)
    return (
        now is not None
        and os.path.exists(os.path.join(folder, "report.html"))  # comes last
        and found.get("weights", {}).get("sha256") == now[weights]
        and found.get("test_list", {}).get("sha256") == now[test_list]
        and found.get("predictions_sha256") == now[predictions]
        and all(found.get(key) == value for key, value in settings.items())
    )


def trained(save_dir, lists, pretrained, epochs, settings):
    """Tell whether the training run is over.

    Args:
        save_dir, pretrained, epochs: as options of train.py.
        lists: dict from part to path.
        settings: dict from key of config.json to value.

    Raises:
        UserError: it began from other weights. (train.py tells of its other options.)
    """
    checkpoints = find_checkpoints(save_dir)
    path = os.path.join(save_dir, "config.json")
    config = read_json(path)
    if not checkpoints or not config:
        return False
    if config.get("pretrained") != pretrained:
        raise UserError(
            f"{path}: want --pretrained {pretrained}, got a run from "
            f"{config.get('pretrained')}; give that, or another --save-dir"
        )
    now = digests(lists["train"], lists["val"])
    if now is None:
        return False
    settings = settings | {"train_sha256": now[lists["train"]], "val_sha256": now[lists["val"]]}
    run = read_pickle(os.path.join(checkpoints[-1], "run.pdstate"))["run"]
    return (
        all(config.get(key) == value for key, value in settings.items())
        and (run["epoch"] >= epochs or run["waited"] >= config["patience"])
        and os.path.exists(os.path.join(save_dir, "best_model.pdparams"))
    )


def compared(folder, a, b, test_list):
    """Tell whether `eval.py --compare` of these predictions and this list is in a folder."""
    found, now = read_json(os.path.join(folder, "comparison.json")), digests(a, b, test_list)
    sources = {"a": a, "b": b, "test_list": test_list}
    return now is not None and all(
        found.get(key, {}).get("sha256") == now[path] for key, path in sources.items()
    )
