"""Windows and macOS, as far as Linux can be made to lack what they lack (other_machine.py)."""

import csv
import json

import numpy as np
import paddle
import pytest
from helpers.folders import link_films

from films.film_cache import FilmCache
from films.film_loader import film_pool

pytestmark = pytest.mark.slow

SMALL = ["--resize", 72, "--crop-size", 64]
NO_OPENVINO = "this Paddle has no OpenVINO engine: using oneDNN"
FAILS = "engine does not run ((Unavailable) Not compiled with it. (at analysis_config.cc:1)): using"


def table(folder):
    with open(folder / "predictions.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return np.array([row[1:] for row in rows], np.float32)


@pytest.mark.parametrize(
    ("system", "engine", "lines"),
    [
        ("windows", "onednn", [f"the OpenVINO {FAILS} oneDNN"]),
        pytest.param("macos", "onednn", [NO_OPENVINO], marks=pytest.mark.rare),
        (
            "macos without oneDNN",
            "dygraph",
            [NO_OPENVINO, f"the oneDNN {FAILS} dygraph in fp32, which is slower"],
        ),
    ],
)
def test_evaluation_goes_on_with_the_next_best_engine_and_predicts_the_same(
    script, phantoms, random_weights, evaluated, tmp_path, system, engine, lines
):
    words = ["eval.py", "--data-dir", phantoms, "--weights", random_weights, *SMALL]
    result = script(
        "tests/helpers/other_machine.py", system, *words, "--no-report", "--output-dir", tmp_path
    )
    assert result.returncode == 0, result.stderr
    said = [line for line in result.stderr.splitlines() if "engine" in line or "note" in line]
    if paddle.__version__.startswith("2"):  # does not claim to have OpenVINO
        lines = [NO_OPENVINO, *lines[1:]]
    assert said == lines
    assert json.loads((tmp_path / "metrics.json").read_text())["engine"] == engine
    # The largest difference between engines that tests/test_inference.py allows.
    np.testing.assert_allclose(table(tmp_path), table(evaluated), atol=1e-5)


@pytest.mark.slow
def test_training_reads_in_the_main_process_where_paddle_has_no_workers(script, phantoms, tmp_path):
    words = ["train.py", "--data-dir", phantoms, *SMALL, "--pretrained", "none", "--epochs", 1]
    words += ["--batch-size", 12, "--save-dir", tmp_path / "save", "--log-dir", tmp_path / "logs"]
    result = script("tests/helpers/other_machine.py", "windows", *words)
    assert result.returncode == 0, result.stderr
    assert "num_workers=0" in result.stdout and "DataLoader" not in result.stderr
    assert (tmp_path / "save" / "best_model.pdparams").exists()


@pytest.mark.slow
def test_a_cache_in_use_is_not_replaced_and_one_of_its_own_is(script, fails, phantoms, tmp_path):
    data = link_films(phantoms, tmp_path / "data")
    words = ["prepare_data.py", "cache", "--data-dir", data, "--num-workers"]
    assert script(words[0], *words[1:], 2).returncode == 0
    film = sorted((data / "images").iterdir())[0]
    content = film.read_bytes()
    film.unlink()
    film.write_bytes(content)

    target = data / "cache_256" / "films.npy"
    in_use = FilmCache(data)
    error = fails("tests/helpers/other_machine.py", "windows", *words, 2)
    assert f"{target}: want to replace it, but another process has it open" in error
    del in_use
    result = script("tests/helpers/other_machine.py", "windows", *words, 2)
    assert result.returncode == 0, result.stderr
    assert f"going on with {data / 'cache_256'} after 44 films" in result.stdout
    assert "wrote" in result.stdout


def test_no_more_processes_than_windows_can_wait_for():
    # Python's limit there, beyond which it raises ValueError.
    with film_pool(100) as pool:
        assert pool._max_workers == 61
