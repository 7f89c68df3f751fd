"""Every kind of bad input, through the command line: status 2, one `error:` line, nothing left."""

import json
import os
import shutil

import numpy as np
import paddle
import pytest
from helpers.folders import link_films, tree

from model import CheXNet
from weights.weight_files import save_state

# Small enough that a run that should not have started is soon over.
SMALL = ["--resize", 72, "--crop-size", 64, "--batch-size", 4, "--epochs", 1]
HAS_GPU = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0


@pytest.fixture
def data(phantoms, tmp_path):
    return link_films(phantoms, tmp_path / "data")


@pytest.fixture
def evaluate_fails(fails, random_weights, tmp_path):
    """eval.py must fail and leave no output folder's file behind."""

    def run(data, *words, weights=random_weights):
        output = tmp_path / "out"
        words = ["--data-dir", data, "--weights", weights, "--output-dir", output, *words]
        error = fails("eval.py", *words, *SMALL[:6])
        assert not output.exists() or tree(output) == []
        return error

    return run


@pytest.fixture
def train_fails(fails, tmp_path):
    """train.py must fail; returns its error line."""

    def run(data, *words):
        words = ["--save-dir", tmp_path / "save", "--log-dir", tmp_path / "logs", *words]
        return fails("train.py", "--data-dir", data, *words, *SMALL, "--pretrained", "none")

    return run


def test_a_missing_folder(evaluate_fails, train_fails, tmp_path):
    missing = f"error: {tmp_path / 'nowhere'}: no such data folder; give the one with images/ and"
    assert evaluate_fails(tmp_path / "nowhere").startswith(missing)
    assert train_fails(tmp_path / "nowhere").startswith(missing)


def test_a_data_folder_without_lists_or_the_folder_of_films_in_it(
    evaluate_fails, train_fails, data, tmp_path
):
    (tmp_path / "empty").mkdir()
    want = ": no such label list; fetch the lists with prepare_data.py download"
    assert "labels/test_list.txt" + want in evaluate_fails(tmp_path / "empty")
    assert "labels/train_list.txt" + want in train_fails(tmp_path / "empty")
    remedy = f"images: no folder labels in it, but beside it; --data-dir {data}"
    assert remedy in evaluate_fails(data / "images")
    assert remedy in train_fails(data / "images")


def test_a_missing_list(evaluate_fails, data):
    assert "other.txt" in evaluate_fails(data, "--test-list", data / "other.txt")


@pytest.mark.parametrize("flags", ["0 " * 13, "0 " * 13 + "2"])
def test_a_line_with_13_flags_or_a_2(evaluate_fails, train_fails, data, flags):
    for split in ("test", "val"):
        path = data / "labels" / f"{split}_list.txt"
        path.write_text(path.read_text() + f"x.png {flags}\n")
    assert "test_list.txt:13: want a file name and 14 flags" in evaluate_fails(data)
    assert "val_list.txt:9: want a file name and 14 flags" in train_fails(data)


def test_a_missing_film(evaluate_fails, train_fails, data):
    for split in ("test", "train"):
        name = (data / "labels" / f"{split}_list.txt").read_text().split()[0]
        (data / "images" / name).unlink()
        fail = evaluate_fails if split == "test" else train_fails
        assert f"{name}: no such film" in fail(data)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_truncated_film(evaluate_fails, train_fails, data, workers):
    for split in ("test", "train"):
        name = (data / "labels" / f"{split}_list.txt").read_text().split()[0]
        film = data / "images" / name
        content = film.read_bytes()
        film.unlink()
        film.write_bytes(content[: len(content) // 2])
        fail = evaluate_fails if split == "test" else train_fails
        error = fail(data, "--num-workers", workers)
        assert str(film) in error and "does not decode" in error


def test_a_missing_checkpoint_is_never_a_random_network(evaluate_fails, train_fails, data):
    assert "none.pdparams: no such weight file" in evaluate_fails(data, weights="none.pdparams")
    assert "none.pdparams: no such weight file" in train_fails(data, "--weights", "none.pdparams")


def test_a_folder_for_weights_is_told_which_file_in_it(evaluate_fails, data, tmp_path):
    (tmp_path / "save").mkdir()
    error = evaluate_fails(data, weights=tmp_path / "save")
    assert "save: this is a folder; give a .pdparams or .safetensors file" in error
    (tmp_path / "save" / "best_model.pdparams").touch()
    error = evaluate_fails(data, weights=tmp_path / "save")
    assert f"this is a folder; give {tmp_path / 'save' / 'best_model.pdparams'}" in error


def test_a_pytorch_checkpoint_is_named_with_the_command_that_converts_it(
    evaluate_fails, train_fails, data, tmp_path
):
    torch = pytest.importorskip("torch")
    for name, zipped in (("zip.pth", True), ("model.pth.tar", False)):
        path = tmp_path / name
        torch.save(
            {"state_dict": {"a": torch.zeros(1)}}, path, _use_new_zipfile_serialization=zipped
        )
        remedy = f"python convert_torch_weights.py {path} {tmp_path / name.split('.')[0]}.pdparams"
        assert remedy in evaluate_fails(data, weights=path)
    assert remedy in train_fails(data, "--weights", path)


def test_what_is_missing_is_told_before_what_is_in_the_way(train_fails, evaluate_fails, tmp_path):
    (tmp_path / "save" / "epoch_1").mkdir(parents=True)
    assert "no such data folder" in train_fails(tmp_path / "nowhere")
    assert "no such data folder" in evaluate_fails(tmp_path / "nowhere", weights="none.pdparams")


def test_a_checkpoint_that_does_not_fit(evaluate_fails, train_fails, data, tmp_path):
    path = tmp_path / "18.pdparams"
    save_state(CheXNet(num_classes=18).state_dict(), str(path))
    expected = "want densenet121.out.0.weight of shape [1024, 14], got [1024, 18]"
    assert expected in evaluate_fails(data, weights=path)
    assert expected in train_fails(data, "--weights", path)


@pytest.mark.parametrize("extension", ["pdparams", "safetensors"])
def test_a_checkpoint_that_is_something_else(evaluate_fails, data, tmp_path, extension):
    path = tmp_path / f"w.{extension}"
    path.write_bytes(b"<html>404</html>")
    assert str(path) in evaluate_fails(data, weights=path)


@pytest.mark.slow
def test_a_nan_loss_stops_training_and_keeps_what_was_good(train_fails, data, tmp_path):
    network = CheXNet()
    # Normalised features times the largest float are infinite wherever they are above 1.2, one by
    # one, whatever is added first; half of them less the other half is NaN.
    network.densenet121.batch_norm.weight.set_value(np.full(1024, 3e38, np.float32))
    head = np.ones((1024, 14), np.float32)
    head[::2] *= -1
    network.densenet121.out[0].weight.set_value(head)
    path = tmp_path / "huge.pdparams"
    save_state(network.state_dict(), str(path))
    error = train_fails(data, "--weights", path)
    assert "epoch 1, step 1: want a finite loss, got nan" in error
    assert tree(tmp_path / "save") == ["config.json"]


@pytest.mark.slow
def test_imagenet_weights_that_cannot_be_had(fails, data, tmp_path):
    # An empty home: no weights of an earlier download; no route for a new one.
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    words = ["--data-dir", data, "--save-dir", tmp_path / "save", "--log-dir", tmp_path / "logs"]
    environment = {**os.environ, **nowhere, "HOME": str(tmp_path)}
    error = fails("train.py", *words, *SMALL, env=environment)
    assert "could not download them" in error and "--pretrained none" in error
    assert not (tmp_path / "save").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--batch-size", "0"],
        ["--batch_size", "many"],
        ["--crop-size", "300"],
        ["--crops", "5"],
        ["--no-such-option"],
        ["--device", "gpu"],
    ],
)
def test_bad_options(fails, random_weights, phantoms, words):
    if words[1:] == ["gpu"] and HAS_GPU:
        pytest.skip("this machine has a GPU")
    error = fails("eval.py", "--data-dir", phantoms, "--weights", random_weights, *words)
    assert words[0].lstrip("-").replace("_", "-") in error


@pytest.mark.skipif(
    HAS_GPU or not paddle.is_compiled_with_cuda(), reason="for `make test-paddle26-gpu`"
)
def test_a_paddle_for_cuda_that_finds_no_gpu_says_so(
    script, fails, phantoms, random_weights, tmp_path
):
    words = ["eval.py", "--data-dir", phantoms, "--weights", random_weights, *SMALL[:6]]
    error = fails(*words, "--device", "gpu")
    assert "--device gpu: " in error and "this Paddle is built for CUDA" in error
    result = script(*words, "--output-dir", tmp_path)
    assert result.returncode == 0, result.stderr
    # Besides, Paddle's C++ side warns that it finds no libcudnn.
    said = "this Paddle is built for CUDA but finds no GPU: computing on the CPU"
    assert result.stderr.count(said) == 1 and "You are using GPU version" not in result.stderr
    assert json.loads((tmp_path / "metrics.json").read_text())["device"] == "cpu"
    assert said not in script(*words, "--device", "cpu").stderr


def test_folders_that_cannot_be_written(fails, random_weights, data, tmp_path, heeding_modes):
    (tmp_path / "out").mkdir(mode=0o500)
    words = ["--data-dir", data, *SMALL[:6]]
    error = fails(
        *("eval.py", *words, "--weights", random_weights, "--output-dir", tmp_path / "out"),
        prefix=heeding_modes,
    )
    assert str(tmp_path / "out") in error and "Permission denied" in error
    words += ["--log-dir", tmp_path / "logs", "--pretrained", "none"]
    error = fails("train.py", *words, "--save-dir", tmp_path / "out" / "s", prefix=heeding_modes)
    assert str(tmp_path / "out") in error and "Permission denied" in error


def test_an_output_folder_that_is_a_file(fails, random_weights, data, tmp_path):
    (tmp_path / "out").write_text("precious")
    words = ["--data-dir", data, "--weights", random_weights, "--output-dir", tmp_path / "out"]
    assert "want a folder for the results, got a file" in fails("eval.py", *words)
    film = next((data / "images").iterdir())
    words = [film, "--weights", random_weights, *SMALL[:4], "--output-dir", tmp_path / "out"]
    in_the_way = "a file is where a folder is wanted: move it away, or give another folder"
    assert in_the_way in fails("predict.py", *words)
    assert in_the_way in fails("export.py", *words, "--format", "safetensors")
    assert (tmp_path / "out").read_text() == "precious"


def test_a_full_disk_leaves_the_last_file_whole(fails, random_weights, small_disk):
    disk = small_disk(40)  # room for one checkpoint of 28 MB and not for two
    target = disk / "w.pdparams"
    shutil.copy(random_weights, target)
    before = target.read_bytes()
    torch = pytest.importorskip("torch")
    from benchmarks.torch_densenet import lively_densenet

    torch.save(lively_densenet().state_dict(), disk.parent / "w.pth")
    error = fails("convert_torch_weights.py", disk.parent / "w.pth", target)
    assert "No space left on device" in error and str(target) in error
    assert target.read_bytes() == before
    assert os.listdir(disk) == ["w.pdparams"]
