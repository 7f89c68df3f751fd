"""The folder that `export.py --format web` writes: static files for any host."""

import contextlib
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np

from evaluation.eval_folder import why_of_others
from evaluation.heat_maps import too_coarse
from evaluation.intervals import FEW_PATIENTS
from evaluation.operating_points import read_figures, read_reference, read_thresholds
from films import plausibility
from films.label_lists import CLASS_NAMES
from inference.activation_maps import colours_of
from runtime.files import UserError, sha256, write_json, write_whole
from web.npm_packages import INSTALL_NODE, PACKAGES, fetch_packages

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.join(HERE, "page")
UNLISTED = ("service_worker.js", "files.js")  # what a service worker does not keep itself


def read_known(thresholds, reference, metrics, ours):
    """Read what is known of a network, to be shown with it.

    Args:
        thresholds, reference, metrics: paths of the files that export.py's options name, or None.
        ours: dict with `NETWORK_FACTS` of what is exported. Figures of another window, as of films
            of other kinds, warn.

    Returns:
        dict for the page's settings, None where a file is not given: "thresholds", by class, None
        for a class without one; "reference", of operating_points.json; "evaluation", the mean
        AUROC, its interval, [] for none, and how many films and patients.

    Raises:
        UserError: a file is broken, or of another network: nobody could tell it from the page.
    """
    found = values = evaluation = None
    if thresholds:
        found, content = read_thresholds(thresholds)
        _refuse_others(thresholds, content, ours)
        found = {name: None if np.isnan(t) else t for name, t in found.items()}
    if reference:
        values = read_reference(reference)
        _refuse_others(reference, values, ours)
        # Not all of it: its paths are of the machine that it was made on.
        values = {key: values.get(key) for key in ("films", "patients", "by_class", "source")}
    if metrics:
        what = "a metrics.json of eval.py --weights"
        evaluation, content = read_figures(metrics, lambda held: (_evaluation(held), held), what)
        _refuse_others(metrics, content, ours)
    return {"thresholds": found, "reference": values, "evaluation": evaluation}


def _refuse_others(path, content, ours):
    """Raise UserError if a file's figures are not those of our weights, crops and sizes."""
    other = why_of_others(content, {key: ours[key] for key in ours if key != "window"})
    if not isinstance(content.get("weights"), dict):
        other = "it does not say whose they are"
    if other:
        raise UserError(f"{path}: want figures of these weights, but {other}; make it anew")
    if other := why_of_others(content, ours):
        print(f"warning: {path}: {other}; make it anew", file=sys.stderr)


def _evaluation(metrics):
    """Return what the page says of how good the network is."""
    return {
        "mean": _finite(metrics["auroc_mean"]),
        "interval": [
            _finite(bound)
            for bound in metrics.get("auroc_mean_95_percent") or ()
            if bound is not None  # too few patients for an interval
        ],
        "classes": int(metrics["auroc_mean_over"]),
        "films": int(metrics["images"]),
        "patients": int(metrics["patients"]),
        "source": metrics.get("data", {}).get("source"),
    }


def _finite(value):
    if not math.isfinite(value):
        raise ValueError(f"{value} for a figure")
    return float(value)


def check_target(folder):
    """Raise UserError if there is a folder with files that no export has written."""
    if not os.path.lexists(folder):
        return
    ours = {*_listed(folder), *UNLISTED}
    other = next((path for path in _files(folder) if path not in ours), None)
    if other or not os.path.isdir(folder) or not _listed(folder):
        raise UserError(
            f"{folder}: {f'{other} in it' if other else 'it'} was not written by export.py; "
            "move it away, or give another --output-dir"
        )


def _listed(folder):
    """Return the paths that a page's files.js lists; none where there is none."""
    path = os.path.join(folder, "files.js")
    with contextlib.suppress(OSError, ValueError, IndexError), open(path, encoding="utf-8") as file:
        return json.loads(file.read().split("self.FILES = ")[1].rstrip().rstrip(";"))
    return []


def _files(folder):
    """Return the paths of all files below a folder, relative to it, with "/"."""
    found = (os.path.join(top, name) for top, _, names in os.walk(folder) for name in names)
    return sorted(os.path.relpath(path, folder).replace(os.sep, "/") for path in found)


def replace_page(source, target):
    """Put a new page in the place of an earlier one, if there is one; it is there or the other."""
    earlier = f"{source}-earlier"
    if os.path.isdir(target):  # a folder, which no other can replace in one step
        os.replace(target, earlier)
    try:
        os.replace(source, target)
    except OSError:
        if os.path.isdir(earlier):
            os.replace(earlier, target)
        raise


def write_site(folder, onnx_file, network, preparation, known):
    """Write the page, ready to be served.

    Args:
        folder: to make.
        onnx_file: whose crops are uint8 `[N, 1, size, size]`; it is moved.
        network: dict with the name of its "weights" and their "sha256".
        preparation: dict with "crop_size" and "resize", pixels, and "window", [centre, width] or
            None, by which the page reads films.
        known: what `read_known` returned.

    Raises:
        UserError: npm or a package of it cannot be had.
    """
    shutil.copytree(PAGE, folder)
    packages = os.path.join(folder, "packages")
    fetch_packages(packages)
    programs = {
        "runtime": "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
        "jpeg": "jsquash-jpeg/codec/dec/mozjpeg_dec.wasm",
        "charls": "cornerstonejs-codec-charls/dist/charlswasm_decode.wasm",
        "openjpeg": "cornerstonejs-codec-openjpeg/dist/openjpegwasm_decode.wasm",
    }
    files = {
        key: _named_by_content(folder, os.path.join(packages, path), os.path.basename(path))
        for key, path in programs.items()
    }
    files["model"] = _named_by_content(folder, onnx_file, "network.onnx")
    # Loaded with the first film that needs them.
    codecs = {key: files.pop(key) for key in ("charls", "openjpeg")}
    halves = np.array(plausibility.WEIGHTS)
    settings = {
        "classes": CLASS_NAMES,
        **preparation,
        "has_maps": too_coarse(preparation["crop_size"]) is None,
        "network": network,
        "files": files,
        "codecs": codecs,
        **known,
        "few": FEW_PATIENTS,
        "film_check": {
            "side": plausibility.SIDE,
            "weights": np.hstack([halves, halves[:, ::-1]]).ravel().tolist(),
            "threshold": plausibility.THRESHOLD,
            "blank": plausibility.BLANK,
            "dark": plausibility.DARK,
            "parts": plausibility.PARTS,
        },
        "colours": colours_of(np.arange(256) / 255).round().astype(int).tolist(),
        "packages": [
            {
                "name": package.name,
                "version": package.version,
                "licences": [f"packages/{package.folder}/{path}" for path in package.licences],
            }
            for package in PACKAGES
        ],
    }
    write_json(os.path.join(folder, "settings.json"), settings)
    write_files_js(folder)


def write_files_js(folder):
    """Write what the service worker keeps, and a version that changes with any of it."""
    files = [path for path in _files(folder) if path not in UNLISTED]
    digests = [sha256(os.path.join(folder, path)) for path in [*files, "service_worker.js"]]
    version = hashlib.sha256("".join([*files, *digests]).encode()).hexdigest()
    with write_whole(os.path.join(folder, "files.js"), "w") as file:
        file.write(
            "// What the service worker keeps; written by export.py.\n"
            f'self.VERSION = "{version[:12]}";\nself.FILES = {json.dumps(files, indent=2)};\n'
        )


def _named_by_content(folder, source, name):
    """Move a file to the folder; its name there changes with what it holds."""
    stem, extension = os.path.splitext(name)
    path = f"{stem}-{sha256(source)[:12]}{extension}"
    target = os.path.join(folder, path)
    os.replace(source, target)
    return {"path": path, "size": os.path.getsize(target)}


def predict_in_node(folder, films):
    """Return what the page's own scripts predict of films, in Node: float32 `[N, C]`.

    Args:
        folder: of the page.
        films: paths.

    Raises:
        UserError: Node.js is missing or too old, or the page refuses a film.
    """
    node = shutil.which("node")
    if node is None:
        raise UserError(
            f"--format web: Node.js, which tries the page, is not installed; {INSTALL_NODE}"
        )
    module = os.path.join(folder, "package.json")  # .js files are ES modules
    write_json(module, {"type": "module"})
    command = [node, os.path.join(HERE, "check.mjs"), folder, *films]
    result = subprocess.run(command, capture_output=True, text=True)
    os.remove(module)
    if result.returncode:
        reasons = [line for line in result.stderr.splitlines() if "rror" in line] or ["no reason"]
        raise UserError(
            f"--format web: want Node.js to try the page, got status {result.returncode} "
            f"({reasons[0][:160]}); {INSTALL_NODE}"
        )
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    for path, row in zip(films, rows, strict=True):
        if "problem" in row:
            raise UserError(
                f"{path}: the page does not read this film ({row['problem']}); give PNG, JPEG or "
                "DICOM films that it reads (docs/web_page.md)"
            )
    return np.array([row["probs"] for row in rows], np.float32)
