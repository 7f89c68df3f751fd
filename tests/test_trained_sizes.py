"""The sizes and the window that weights were trained with, by the file beside each kind."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from weights.trained_sizes import check_window, choose_window, trained_sizes, trained_window

FACTS = {"resize": "72", "crop_size": "64", "window": "8192,16384"}  # as export.py writes them


def of_training(folder):
    (folder / "config.json").write_text(json.dumps(FACTS | {"window": [8192.0, 16384.0]}))
    return folder / "best_model.pdparams", folder / "config.json"


def of_checkpoint(folder):
    _, config = of_training(folder)
    return folder / "epoch_3" / "weights.pdparams", config


def of_safetensors(folder):
    path = folder / "w.safetensors"
    save_file({"a": np.zeros(1, np.float32)}, path, FACTS)
    return path, path


def of_torch(folder):
    (folder / "w.torch.metadata.json").write_text(json.dumps(FACTS))
    return folder / "w.pth", folder / "w.torch.metadata.json"


KINDS = [of_training, of_checkpoint, of_safetensors, of_torch]


@pytest.mark.parametrize("make", KINDS)
def test_each_kind_says_sizes_and_window_and_another_window_is_told(tmp_path, capsys, make):
    path, source = map(str, make(tmp_path))
    assert trained_sizes(path) == ({"resize": 72, "crop_size": 64}, source)
    assert trained_window(path) == ([8192.0, 16384.0], source)
    check_window(path, [8192.0, 16384.0])
    assert capsys.readouterr().err == ""
    check_window(path, None)
    told = f"but the weights were trained with --window 8192,16384 ({source}): films"
    assert capsys.readouterr().err.startswith(f"warning: no --window, {told}")
    assert choose_window(path, [1.0, 5.0]) == [1.0, 5.0]
    assert capsys.readouterr().err.startswith(f"warning: --window 1,5, {told}")
    assert choose_window(path) == [8192.0, 16384.0]
    assert capsys.readouterr().err == f"{source}: trained with --window 8192,16384\n"


@pytest.mark.parametrize("window", [None, "", "8192", "a,b", [1], [1, "b"], [1, 0], 7, {"a": 1}])
def test_what_is_no_window_is_none(tmp_path, capsys, window):
    (tmp_path / "config.json").write_text(json.dumps({"window": window}))
    path = str(tmp_path / "w.pdparams")
    assert trained_window(path)[0] is None
    assert trained_sizes(path) == ({}, None)
    assert choose_window(path) is None and choose_window(path, [1.0, 5.0]) == [1.0, 5.0]
    assert capsys.readouterr().err == ""
