"""Whether the result of a step is there, whole, and of these inputs: by what the scripts write."""

import hashlib
import json
import os

from films.film_cache import FilmCache, film_state
from films.film_paths import find_films, locate_films
from films.label_lists import read_label_list
from public_data.download import imagenet_weights
from public_data.folder_check import sorted_films
from runtime.files import UserError, read_json, sha256
from training.checkpoints import find_checkpoints
from weights.untrusted_files import read_pickle


def films_there(data_dir, lists):
    """Tell whether a data folder has all films of some lists (dict from part to path)."""
    if not os.path.isdir(data_dir) or not all(map(os.path.exists, lists.values())):
        return False
    names = {name for path in lists.values() for name in read_label_list(path)[0]}
    return len(locate_films(data_dir, names)) == len(names)


def downloaded(args, lists, checkpoint):
    """Tell whether films, lists and the weights to start from are there."""
    start = [imagenet_weights()[0]] if args.pretrained == "imagenet" else []
    return all(map(os.path.exists, [checkpoint, *start])) and films_there(args.data_dir, lists)


def film_facts(data_dir, lists):
    """Return a dict from list to digest, and a digest of the size and time of each film's file.

    None where a list or a film is missing.
    """
    if not films_there(data_dir, lists):
        return None
    names = {name for path in lists.values() for name in read_label_list(path)[0]}
    states = [film_state(path) for path in find_films(data_dir, sorted(names))]
    films = hashlib.sha256(json.dumps(states).encode()).hexdigest()
    return {**digests(*lists.values()), "state of the films": films}


def digests(*paths):
    """Return a dict from path to SHA-256; None where a file is missing."""
    if not all(map(os.path.isfile, paths)):
        return None
    return {path: sha256(path) for path in paths}


def marked(marker, facts):
    """Tell whether a step ended well with these inputs and outputs, or None.

    `check` and `convert_torch_weights.py` leave nothing that tells: reproduce.py writes markers.
    """
    return facts is not None and read_json(marker).get("sha256") == facts


def cached(data_dir, resize):
    """Tell whether all films of a data folder are in its cache."""
    if not os.path.isdir(data_dir):
        return False
    films = sorted_films(data_dir)
    return bool(films) and FilmCache(data_dir, resize).rows(films, films.values())[0] is not None


def evaluated(folder, weights, args, test_list):
    """Tell whether eval.py's results for these weights, films and crops are in a folder."""
    found = read_json(os.path.join(folder, "metrics.json"))
    predictions = os.path.join(folder, "predictions.csv")
    now = digests(weights, test_list, predictions)
    return (
        now is not None
        and os.path.exists(os.path.join(folder, "report.html"))  # comes last
        and found.get("weights", {}).get("sha256") == now[weights]
        and found.get("test_list", {}).get("sha256") == now[test_list]
        and found.get("predictions_sha256") == now[predictions]
        and all(found.get(key) == getattr(args, key) for key in ("crops", "crop_size", "resize"))
    )


def trained(args, lists):
    """Tell whether the training run is over.

    Raises:
        UserError: it began from other weights. (train.py tells of its other options.)
    """
    checkpoints = find_checkpoints(args.save_dir)
    path = os.path.join(args.save_dir, "config.json")
    config, now = read_json(path), digests(lists["train"], lists["val"])
    if not checkpoints or not config or now is None:
        return False
    if config.get("pretrained") != args.pretrained:
        raise UserError(
            f"{path}: want --pretrained {args.pretrained}, got a run from "
            f"{config.get('pretrained')}; give that, or another --save-dir"
        )
    wanted = {
        "train_sha256": now[lists["train"]],
        "val_sha256": now[lists["val"]],
        **{key: getattr(args, key) for key in ("batch_size", "resize", "crop_size")},
    }
    run = read_pickle(os.path.join(checkpoints[-1], "run.pdstate"))["run"]
    return (
        all(config.get(key) == value for key, value in wanted.items())
        and (run["epoch"] >= args.epochs or run["waited"] >= config["patience"])
        and os.path.exists(os.path.join(args.save_dir, "best_model.pdparams"))
    )


def compared(folder, a, b, test_list):
    """Tell whether `eval.py --compare` of these predictions and this list is in a folder."""
    found, now = read_json(os.path.join(folder, "comparison.json")), digests(a, b, test_list)
    sources = {"a": a, "b": b, "test_list": test_list}
    return now is not None and all(
        found.get(key, {}).get("sha256") == now[path] for key, path in sources.items()
    )
