"""Downloads from a server on 127.0.0.1 that misbehaves, and the check of what came."""

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import paddle
import pytest
from helpers.folders import link_films, tables_of, tree
from helpers.mirror import Huge, archive, fill
from helpers.places import ROOT

from evaluation.predictions_csv import read_predictions
from films.label_lists import CLASS_NAMES, read_label_list
from model import CheXNet
from public_data import download
from public_data.demographics import demographics_rows
from public_data.download import fetch
from runtime.files import UserError
from weights.weight_files import read_weights

CONTENT = np.random.default_rng(0).bytes(3_000_000)


def sha256(content):
    return "sha256", hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "tricks",
    [
        [],
        ["cut", "cut", "503", "cut"],
        ["503", "503"],
        ["claims more"],
        ["cut", "no range"],
        ["no length"],
    ],
)
def test_a_file_comes_whole_whatever_the_server_does(server, tmp_path, tricks):
    server.files["film"], server.tricks["film"] = CONTENT, list(tricks)
    path = tmp_path / "folder" / "film"
    fetch(f"{server.base}/film", str(path), sha256(CONTENT), wait=0.01)
    assert path.read_bytes() == CONTENT and tree(tmp_path) == ["folder", "folder/film"]
    if tricks[:1] == ["cut"]:
        assert ("GET", "film", "bytes=1000000-") in server.requests  # went on, not anew


def test_git_s_blob_id_and_md5_are_digests_too(server, tmp_path):
    server.files["film"] = b"hello\n"
    # What `printf 'hello\n' | git hash-object --stdin` and `md5sum` print.
    git = ("git", "ce013625030ba8dba906f756967f9e9ca394464a")
    fetch(f"{server.base}/film", str(tmp_path / "a"), git)
    fetch(f"{server.base}/film", str(tmp_path / "b"), ("md5", "b1946ac92492d2347c6235b4d2611184"))
    server.files["film"] = b"hello"
    with pytest.raises(UserError, match="want git ce01"):
        fetch(f"{server.base}/film", str(tmp_path / "c"), git)


@pytest.mark.parametrize("trick", ["", "claims less"])
def test_a_wrong_file_is_kept_aside_and_fetched_again(server, tmp_path, trick):
    server.files["film"], server.tricks["film"] = CONTENT if trick else b"other", [trick]
    path = str(tmp_path / "film")
    with pytest.raises(UserError, match=r"film\.wrong: want sha256"):
        fetch(f"{server.base}/film", path, sha256(CONTENT))
    assert tree(tmp_path) == ["film.wrong"]
    server.files["film"] = CONTENT
    fetch(f"{server.base}/film", path, sha256(CONTENT))
    assert tree(tmp_path) == ["film", "film.wrong"]


def test_a_wrong_digest_can_be_let_pass(server, tmp_path, capsys):
    server.files["film"] = b"other"
    fetch(f"{server.base}/film", str(tmp_path / "film"), sha256(CONTENT), verify=False)
    assert (tmp_path / "film").read_bytes() == b"other"
    assert "warning" in capsys.readouterr().out


def test_a_packed_file_is_unpacked_and_its_content_checked(server, tmp_path):
    server.files["table.csv.gz"] = gzip.compress(CONTENT)
    fetch(f"{server.base}/table.csv.gz", str(tmp_path / "table.csv"), sha256(CONTENT))
    assert (tmp_path / "table.csv").read_bytes() == CONTENT
    server.files["broken.csv.gz"] = b"<html>not a gzip file</html>"
    with pytest.raises(UserError, match=r"broken\.csv\.part\.wrong: not a complete gzip file"):
        fetch(f"{server.base}/broken.csv.gz", str(tmp_path / "broken.csv"))


def test_no_such_file_is_told_at_once_and_a_dead_server_after_some_attempts(
    server, tmp_path, capsys
):
    with pytest.raises(UserError, match="got HTTP 404"):
        fetch(f"{server.base}/nothing", str(tmp_path / "film"))
    assert len(server.requests) == 1
    server.files["film"], server.tricks["film"] = CONTENT, ["503"] * 100
    with pytest.raises(UserError, match=r"nothing came in 8 attempts \(HTTP 503\)"):
        fetch(f"{server.base}/film", str(tmp_path / "film"), wait=0.001)
    with pytest.raises(UserError, match=r"refused.*--mirror"):
        fetch("http://127.0.0.1:9/film", str(tmp_path / "film"), wait=0.001)
    lines = capsys.readouterr().err.splitlines()  # seven for each of the two: one for each pause
    assert len(lines) == 14 and lines[0].startswith("film: HTTP 503; attempt 2 of 8 in ")


def test_a_name_without_an_address_is_told_in_seconds_with_what_a_mirror_needs(tmp_path, capsys):
    # RFC 6761: a name in .invalid never means an address.
    with pytest.raises(UserError, match="nothing came in 3 attempts") as error:
        fetch("http://films.invalid/a/train_list.txt", str(tmp_path / "list.txt"), wait=0.001)
    assert "urlopen" not in str(error.value) and "--mirror: docs/data.md" in str(error.value)
    assert len(capsys.readouterr().err.splitlines()) == 2  # pauses


def test_a_killed_download_goes_on(server, tmp_path):
    server.files["film"], server.tricks["film"] = CONTENT, ["slow"]
    code = "import sys; from public_data.download import fetch; fetch(*sys.argv[1:])"
    command = [sys.executable, "-c", code, f"{server.base}/film", str(tmp_path / "film")]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    part = tmp_path / "film.part"
    while not (part.exists() and part.stat().st_size > 300_000):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    came = part.stat().st_size
    fetch(f"{server.base}/film", str(tmp_path / "film"), sha256(CONTENT))
    assert server.requests[-1] == ("GET", "film", f"bytes={came}-")


@pytest.fixture
def mirror(server, phantoms):
    fill(server, phantoms)
    return server


@pytest.mark.slow
def test_download_then_check_from_a_mirror(script, mirror, phantoms, tmp_path):
    data = tmp_path / "data"
    words = ["download", "--data-dir", data, "--weights", "--weights-dir", tmp_path / "weights"]
    words += ["--url-base", f"{mirror.base}/", "--no-verify"]
    mirror.tricks["images_003.tar.gz"] = ["cut", "503"]
    result = script("prepare_data.py", *words)
    assert result.returncode == 0, result.stderr
    assert "12 archives" in result.stdout and "100%" in result.stderr
    assert sorted(os.listdir(tmp_path / "weights")) == sorted(download.WEIGHTS)
    assert sorted(os.listdir(data)) == sorted(["labels", *download.ARCHIVES])
    films = sorted((phantoms / "images").iterdir())
    assert (data / "images_001" / "images" / films[0].name).read_bytes() == films[0].read_bytes()

    before = len(mirror.requests)
    assert script("prepare_data.py", *words).returncode == 0
    assert len(mirror.requests) == before  # all is there

    (data / "labels" / "Data_Entry_2017_v2020.csv").unlink()
    result = script("prepare_data.py", "check", "--data-dir", data)
    assert result.returncode == 0, result.stdout
    assert result.stdout.splitlines()[-1] == "all is well"
    assert "films: 44 found, 44 listed, 0 do not decode" in result.stdout


def test_a_wrong_list_from_a_mirror_is_an_error(fails, mirror, tmp_path):
    words = ["download", "--data-dir", tmp_path / "data", "--url-base", mirror.base]
    error = fails("prepare_data.py", *words)
    assert "train_list.txt.wrong: want sha256 332d49fb" in error and "--no-verify" in error


def test_films_in_one_folder_are_not_fetched_again(mirror, phantoms, tmp_path, monkeypatch, capsys):
    data = link_films(phantoms, tmp_path / "data")
    for name in download.LABELS:
        (data / "labels" / name).touch()
    monkeypatch.setattr(download, "FILMS", 44)
    download.download(str(data), url_base=mirror.base)
    assert f"all 44 films are in {data}" in capsys.readouterr().out
    assert mirror.requests == []


@pytest.mark.slow
def test_published_predictions_are_evaluated_without_films(
    script, fails, server, phantoms, evaluated, tmp_path
):
    """Files of the form that jrzech/reproduce-chexnet publishes: columns and rows by name."""
    names, _ = read_label_list(phantoms / "labels" / "test_list.txt")
    probs = read_predictions(evaluated / "predictions.csv", names)
    order = sorted(range(14), key=CLASS_NAMES.__getitem__)
    rows = ["Image Index," + ",".join(f"prob_{CLASS_NAMES[c]}" for c in order)]
    for name, row in zip(names, probs, strict=True):
        rows.append(f"{name}," + ",".join(str(row[c]) for c in order))
    server.files["jrzech_predictions.csv"] = "\n".join(rows).encode() + b"\n"
    aurocs = dict.fromkeys(CLASS_NAMES, 0.83827)
    table = "label,auc\n" + "".join(f"{name},{value}\n" for name, value in aurocs.items())
    server.files["jrzech_aurocs.csv"] = table.replace("0.83827", "0.93827", 1).encode()
    data = link_films(phantoms, tmp_path / "data")
    for name in download.LABELS:
        (data / "labels" / name).touch()  # not fetched again
    words = ["--data-dir", data]
    options = ["--skip-films", "--predictions", "--url-base", server.base]
    error = fails("prepare_data.py", "download", *words, *options)
    assert "jrzech_predictions.csv.wrong: want git 6fb80bbf5fee53aa" in error

    # With its digest let pass, the table is still checked: by its content, as no digest is known.
    result = script("prepare_data.py", "download", *words, *options, "--no-verify")
    assert result.returncode == 0
    assert "jrzech_aurocs.csv: want 14 AUROCs with the mean 0.83827, got 14" in result.stdout
    (data / "predictions" / "jrzech_aurocs.csv").unlink()
    wrong = server.files.pop("jrzech_aurocs.csv")
    result = script("prepare_data.py", "download", *words, *options)
    assert result.returncode == 0 and "going on without this file" in result.stderr  # optional
    server.files["jrzech_aurocs.csv"] = wrong
    error = fails("prepare_data.py", "download", *words, *options)
    assert "jrzech_aurocs.csv.wrong: want 14 AUROCs" in error
    server.files["jrzech_aurocs.csv"] = table.encode()
    assert script("prepare_data.py", "download", *words, *options).returncode == 0

    (data / "labels" / "Data_Entry_2017_v2020.csv").unlink()
    path = data / "predictions" / "jrzech_predictions.csv"
    result = script("eval.py", *words, "--predictions", path, "--no-intervals")
    own = script(
        "eval.py", *words, "--predictions", evaluated / "predictions.csv", "--no-intervals"
    )
    assert result.returncode == 0 and result.stdout == own.stdout


def test_the_real_lists_pass_the_real_digests(script, server, shared, tmp_path):
    for name in ("train_list.txt", "val_list.txt", "test_list.txt"):
        server.files[name] = (shared / "labels" / name).read_bytes()
    server.files["Data_Entry_2017_v2020.csv.gz"] = (
        shared / "labels" / "Data_Entry_2017_v2020.csv.gz"
    ).read_bytes()
    server.files["BBox_List_2017.csv.gz"] = gzip.compress(
        (shared / "labels" / "BBox_List_2017.csv").read_bytes()
    )
    words = ["--data-dir", tmp_path]
    result = script(
        "prepare_data.py", "download", *words, "--url-base", server.base, "--skip-films"
    )
    assert result.returncode == 0, result.stderr
    (tmp_path / "images").mkdir()
    result = script("prepare_data.py", "check", *words, "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 1  # no films
    assert report["split"] == "reference" and report["label_release"].startswith("2017")
    assert report["lists"]["test"]["films"] == 22_433
    assert report["lists"]["test"]["patients"] == 6_187
    assert "22433 films are missing" in report["problems"][2]
    rows = tables_of((ROOT / "DATA_CARD.md").read_text())[("reference", "train", "val", "test")]
    assert rows == demographics_rows(report["demographics"])[1:]


@pytest.mark.parametrize(
    "member",
    [
        ("../evil.png", b"x"),
        ("/tmp/evil-of-a-test.png", b"x"),
        ("images/evil.sh", b"x"),
        ("images/link.png", tarfile.SYMTYPE, "/etc/passwd"),
        ("images/device.png", tarfile.CHRTYPE, ""),
    ],
)
def test_a_hostile_archive_leaves_nothing(tmp_path, member):
    path = tmp_path / "images_001.tar.gz"
    path.write_bytes(archive([("images/a.png", b"film"), member]))
    with pytest.raises(UserError, match="want only PNG films"):
        download.extract(str(path), str(tmp_path / "images_001"))
    assert tree(tmp_path) == ["images_001.tar.gz"]
    assert not os.path.exists("/tmp/evil-of-a-test.png")


def test_a_truncated_archive_is_an_error(tmp_path):
    path = tmp_path / "images_001.tar.gz"
    content = np.random.default_rng(0).bytes(100_000)
    path.write_bytes(archive([("images/a.png", content)])[:50_000])
    with pytest.raises(UserError, match="broken or cut off"):
        download.extract(str(path), str(tmp_path / "images_001"))
    assert tree(tmp_path) == ["images_001.tar.gz"]


def test_a_disk_that_is_too_small_is_told_before(fails, mirror, tmp_path):
    for name in download.ARCHIVES:
        mirror.files[f"{name}.tar.gz"] = Huge(b"")
    words = ["download", "--data-dir", tmp_path / "data", "--url-base", mirror.base, "--no-verify"]
    assert "GB of free disk" in fails("prepare_data.py", *words)


def test_check_finds_what_is_wrong(script, phantoms, tmp_path):
    data = link_films(phantoms, tmp_path / "data")
    train, test = (data / "labels" / f"{split}_list.txt" for split in ("train", "test"))
    lines = test.read_text().splitlines()
    missing, broken, shared_patient = (line.split()[0] for line in lines[:3])
    (data / "images" / missing).unlink()
    (data / "images" / broken).unlink()
    (data / "images" / broken).write_bytes(b"not a film")
    other = f"{shared_patient[:8]}_999.png"
    os.symlink(phantoms / "images" / shared_patient, data / "images" / other)
    train.write_text(train.read_text().rstrip("\n") + f"\n{other}{' 0' * 14}\n")
    result = script("prepare_data.py", "check", "--data-dir", data)
    assert result.returncode == 1
    problems = [line for line in result.stdout.splitlines() if line.startswith("problem: ")]
    assert problems == [
        f"problem: test_list.txt: 1 films are missing, the first is {missing}",
        f"problem: 1 patients are in train_list.txt and test_list.txt, {other[:8]} among them",
        problems[2],
        "problem: 1 films of train_list.txt have the picture of another film of test_list.txt: "
        f"{other} that of {shared_patient}",
    ]
    assert broken in problems[2] and "does not decode" in problems[2]
    assert result.stdout.splitlines()[-1] == "4 problems"


WEIGHTS = "DenseNet121_pretrained.pdparams"


@pytest.fixture(scope="module")
def imagenet():
    """A file of the form of Paddle's ImageNet weights: its content, and its tensors by name."""
    paddle.seed(11)
    network = paddle.vision.models.densenet121()
    for tensor in network.state_dict().values():
        tensor.set_value(tensor.numpy() + 0.01)  # no batch norm at its start, 0 or 1
    buffer = io.BytesIO()
    paddle.save(network.state_dict(), buffer)
    return buffer.getvalue(), {k: t.numpy() for k, t in network.state_dict().items()}


@pytest.fixture
def from_imagenet(server, imagenet, phantoms, tmp_path):
    """The words that make train.py fetch its start from the server, with an empty home."""
    server.files[WEIGHTS] = imagenet[0]
    words = ["train.py", "--data-dir", phantoms, "--resize", 72, "--crop-size", 64, "--epochs", 1]
    words += ["--batch-size", 12, "--save-dir", tmp_path / "save", "--log-dir", tmp_path / "logs"]
    md5 = hashlib.md5(imagenet[0]).hexdigest()
    env = {**os.environ, "HOME": str(tmp_path), "no_proxy": "127.0.0.1"}
    return ["tests/helpers/imagenet_from.py", f"{server.base}/{WEIGHTS}", md5, *words], env


def test_a_backbone_from_imagenet_is_the_file_s_and_its_head_is_new(
    server, imagenet, tmp_path, monkeypatch
):
    content, tensors = imagenet
    server.files[WEIGHTS] = content
    address = f"{server.base}/{WEIGHTS}", hashlib.md5(content).hexdigest()
    monkeypatch.setitem(paddle.vision.models.densenet.model_urls, "densenet121", address)
    monkeypatch.setattr(paddle.utils.download, "WEIGHTS_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = CheXNet(pretrained=True).state_dict()
    head = {"out.weight", "out.bias"}
    assert len(tensors.keys() - head) == 604 and head < tensors.keys()
    for name in tensors.keys() - head:
        np.testing.assert_array_equal(state[f"densenet121.{name}"].numpy(), tensors[name])
    assert state["densenet121.out.0.weight"].shape == [1024, 14]
    assert (tmp_path / WEIGHTS).read_bytes() == content


@pytest.mark.slow
def test_training_starts_from_imagenet_and_fetches_it_once(
    script, server, imagenet, from_imagenet, tmp_path
):
    words, env = from_imagenet
    # Adam moves no parameter by more than about its rate in a step: they stay the file's.
    result = script(*words, "--learning-rate", 1e-12, env=env)
    assert result.returncode == 0, result.stderr
    state = read_weights(str(tmp_path / "save" / "best_model.pdparams"))
    for name, expected in imagenet[1].items():
        if not name.startswith("out.") and not name.endswith(("_mean", "_variance")):
            np.testing.assert_allclose(state[f"densenet121.{name}"], expected, atol=1e-9)
    assert state["densenet121.out.0.weight"].shape == (1024, 14)
    assert len(server.requests) == 1
    result = script(*words, "--save-dir", tmp_path / "again", env=env)
    assert result.returncode == 0 and len(server.requests) == 1, result.stderr


def test_imagenet_weights_are_fetched_where_paddle_looks_for_them(
    server, phantoms, tmp_path, monkeypatch
):
    data = link_films(phantoms, tmp_path / "data")
    for name in download.LABELS:
        (data / "labels" / name).touch()
    address, folder = f"https://elsewhere/{WEIGHTS}", str(tmp_path / "weights")
    md5 = hashlib.md5(CONTENT).hexdigest()
    monkeypatch.setitem(paddle.vision.models.densenet.model_urls, "densenet121", (address, md5))
    monkeypatch.setattr(paddle.utils.download, "WEIGHTS_HOME", folder)
    server.files[WEIGHTS] = b"other"
    words = {"imagenet": True, "films": False, "url_base": server.base, "verify": False}
    with pytest.raises(UserError, match=rf"{WEIGHTS}\.wrong: want md5"):
        download.download(str(data), **words)  # Paddle would not take it either
    server.files[WEIGHTS] = CONTENT
    download.download(str(data), **words)
    found = paddle.utils.download.get_weights_path_from_url(address, md5)
    assert found == os.path.join(folder, WEIGHTS)
    with open(found, "rb") as file:
        assert file.read() == CONTENT


def test_what_has_come_of_an_archive_needs_no_more_room(mirror, tmp_path):
    missing = download.missing_archives(str(tmp_path), mirror.base)
    sizes = [len(mirror.files[f"{name}.tar.gz"]) for name in missing]
    whole = 1.02 * sum(sizes) + max(sizes)
    assert download.archives_size(str(tmp_path), missing) == (sum(sizes), pytest.approx(whole))
    (tmp_path / "images_002.tar.gz.part").write_bytes(b"x" * 1000)
    (tmp_path / "images_001.tmp" / "images").mkdir(parents=True)
    (tmp_path / "images_001.tmp" / "images" / "a.png").write_bytes(b"x" * 500)
    _, need = download.archives_size(str(tmp_path), missing)
    assert need == pytest.approx(whole - 1500)


@pytest.mark.slow
@pytest.mark.parametrize("trick", ["cut", "wrong digest"])
def test_imagenet_weights_that_come_cut_or_wrong_are_one_error_line(
    fails, server, from_imagenet, tmp_path, trick
):
    words, env = from_imagenet
    if trick == "cut":
        server.tricks[WEIGHTS] = ["cut"] * 9
    else:
        server.files[WEIGHTS] = b"<html>log in to the network first</html>"
    error = fails(*words, env=env)
    assert "error: --pretrained imagenet: want Paddle's ImageNet weights, could not " in error
    path = tmp_path / ".cache" / "paddle" / "hapi" / "weights" / WEIGHTS
    assert (f"{path} has another MD5" in error) == (trick == "wrong digest")
    assert len(server.requests) == 3  # Paddle's attempts
    assert not (tmp_path / "save").exists()
