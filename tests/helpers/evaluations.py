"""eval.py run in this process, on films that are names only."""

import numpy as np

import eval as evaluation_script
from evaluation.predictions_csv import write_predictions

NAMES = [f"{n:08d}_000.png" for n in range(40)]


def run(monkeypatch, *words):
    """Run eval.py's main in this process."""
    monkeypatch.setattr("sys.argv", ["eval.py", *map(str, words)])
    evaluation_script.main(evaluation_script.parse_args())


def write_members(folder):
    """Write a data folder with labels and three folders with a predictions.csv each.

    Returns:
        paths: of the three files.
        labels: uint8 `[40, 14]`.
        folder: the data folder.
    """
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 14)) < 0.4).astype(np.uint8)
    paths = []
    for n in range(3):
        (folder / str(n)).mkdir()
        paths.append(str(folder / str(n) / "predictions.csv"))
        write_predictions(paths[-1], NAMES, rng.random((40, 14)).astype(np.float32))
    (folder / "labels").mkdir()
    lines = [f"{name} {' '.join(map(str, row))}" for name, row in zip(NAMES, labels, strict=True)]
    (folder / "labels" / "test_list.txt").write_text("\n".join(lines))
    return paths, labels, folder
