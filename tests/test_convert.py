import argparse
import collections
import os
import pathlib
import subprocess
import sys

import numpy as np
import paddle
import pytest
from helpers.folders import tree

torch = pytest.importorskip("torch")

from helpers.torch_checkpoints import (
    FORMATS,
    channels_last,
    expanded,
    monai_spelling,
    rewritten,
    scattered,
    write,
)

from benchmarks.torch_densenet import lively_densenet
from convert_torch_weights import convert, prove_film, prove_tensors
from model import CheXNet, load_weights
from runtime.files import UserError, sha256
from weights.array_pipe import check_held, digest, pack, unpack
from weights.torch_checkpoint import Checkpoint, load_torch
from weights.torch_names import paddle_name
from weights.untrusted_files import read_pickle, read_safetensors
from weights.weight_files import read_weights, save_safetensors, save_state

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def torch_net():
    return lively_densenet(seed=5).eval()


@pytest.fixture(scope="module")
def films():
    return np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)


# Each is another form of two that are tried.
RARE = {"another prefix", "a head called fc", "half safetensors"}
RARE |= {"reference in half precision", "channels last in half precision"}
assert {*FORMATS} > RARE


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[pytest.mark.rare] * (k in RARE)) for k in FORMATS]
)
def test_every_known_format_predicts_the_same_after_conversion(
    forked, tmp_path, torch_net, films, kind
):
    change, form = FORMATS[kind]
    source = tmp_path / ("w.safetensors" if form.get("safetensors") else "w.pth.tar")
    write(rewritten(torch_net.state_dict(), **change), str(source), **form)
    target = tmp_path / "out" / "w.pdparams"
    result = forked("convert_torch_weights.py", source, target)
    assert result.returncode == 0, result.stderr

    tensors = 606 if change.get("counters", True) is False else 606 + 121
    *lines, last = result.stdout.splitlines()
    assert lines == [
        f"converted 606 of {tensors} tensors",
        f"dropped {tensors - 606} num_batches_tracked, which Paddle has no use for",
        "6,968,206 trainable parameters",
    ]
    last, said = last.split("; largest difference from PyTorch on a phantom film: ")
    assert last == f"wrote {target}, sha256 {sha256(target)}" and float(said) <= 1e-5
    precision = torch.bfloat16 if change.get("half") is torch.bfloat16 else torch.float16
    rounded = lively_densenet(seed=5).to(precision).float().eval()
    reference = rounded if change.get("half") else torch_net
    network = CheXNet()
    load_weights(network, str(target))
    network.eval()
    with torch.no_grad(), paddle.no_grad():
        expected = reference(torch.from_numpy(films)).numpy()
        difference = np.abs(network(paddle.to_tensor(films)).numpy() - expected).max()
    print(f"largest difference: {difference:.1e}")
    assert difference <= 1e-5


@pytest.fixture(scope="module")
def plain(forked, tmp_path_factory, torch_net):
    """The file that the network of `torch_net` becomes."""
    folder = tmp_path_factory.mktemp("plain")
    write(torch_net.state_dict(), str(folder / "w.pth"))
    result = forked("convert_torch_weights.py", folder / "w.pth", folder / "w.pdparams")
    assert result.returncode == 0, result.stderr
    return folder / "w.pdparams"


@pytest.mark.parametrize("layout", [channels_last, scattered])
def test_strides_change_no_byte(forked, tmp_path, torch_net, plain, layout):
    write(rewritten(torch_net.state_dict(), layout=layout), str(tmp_path / "w.pth"))
    result = forked("convert_torch_weights.py", tmp_path / "w.pth", tmp_path / "w.pdparams")
    assert result.returncode == 0, result.stderr
    assert sha256(tmp_path / "w.pdparams") == sha256(plain)


def test_one_number_in_memory_is_a_tensor_of_it(forked, tmp_path, torch_net):
    state = torch_net.state_dict()
    name = "features.denseblock2.denselayer3.norm1.weight"
    one = expanded(state[name])
    write(state | {name: one}, str(tmp_path / "w.pth"))
    result = forked("convert_torch_weights.py", tmp_path / "w.pth", tmp_path / "w.pdparams")
    assert result.returncode == 0, result.stderr
    found = read_weights(str(tmp_path / "w.pdparams"))[paddle_name(name)]
    np.testing.assert_array_equal(found, one.numpy())


def test_the_reference_in_channels_last_is_the_reference(
    forked, tmp_path, shared, reference_weights
):
    checkpoint = torch.load(shared / "reference" / "model.pth.tar", weights_only=True)
    state = rewritten(checkpoint["state_dict"], layout=channels_last)
    write(state, str(tmp_path / "w.pth"), wrap="state_dict")
    result = forked("convert_torch_weights.py", tmp_path / "w.pth", tmp_path / "w.pdparams")
    assert result.returncode == 0, result.stderr
    assert sha256(tmp_path / "w.pdparams") == sha256(reference_weights)


def strided(dtype=np.float32):
    """Arrays whose memory is in another order than their values, and one of no dimension."""
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    return {
        "transposed": values.T,
        "channels last": values.transpose(0, 2, 1).copy().transpose(0, 2, 1),
        "sliced": values[:, ::2, 1:],
        "backwards": values[..., ::-1],
        "expanded": np.broadcast_to(values[:1], (5, 3, 4)),
        "Fortran's": np.asfortranarray(values),
        "a counter": np.array(7, np.int64),
        "file": values,  # np.savez has a parameter of this name
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_arrays_of_any_strides_go_through_pipes_and_files(tmp_path, dtype):
    arrays = strided(dtype)
    save_safetensors(arrays, tmp_path / "a.safetensors", {"what": "arrays"})
    save_state(arrays, str(tmp_path / "a.pdparams"))
    for name, array in arrays.items():
        whole = np.array(array.tolist(), array.dtype)  # value by value
        assert np.array_equal(digest(array), digest(whole)), name
    for found in (
        unpack(pack(arrays)),
        read_safetensors(str(tmp_path / "a.safetensors")),
        read_pickle(str(tmp_path / "a.pdparams")),
    ):
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype and found[name].shape == array.shape, name
            assert found[name].tolist() == array.tolist(), name


def test_what_comes_out_of_a_pipe_is_in_row_major_order():
    """PyTorch keeps other strides in its file, and safetensors.torch refuses such a tensor."""
    assert all(array.flags.c_contiguous for array in unpack(pack(strided())).values())


def test_paddle_s_transposed_tensors_are_written_in_order(tmp_path):
    tensor = paddle.arange(24, dtype="float32").reshape([2, 3, 4]).transpose([2, 0, 1])
    save_safetensors({"t": tensor.numpy()}, tmp_path / "t.safetensors", {})
    save_state({"t": tensor}, str(tmp_path / "t.pdparams"))
    for found in (
        read_safetensors(str(tmp_path / "t.safetensors")),
        read_pickle(str(tmp_path / "t.pdparams")),
    ):
        assert found["t"].tolist() == np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1).tolist()


def test_a_network_of_swapped_films_takes_upright_ones(forked, tmp_path, torch_net):
    """MONAI's LoadImage gives films with rows and columns swapped; ours are upright."""
    write(rewritten(torch_net.state_dict(), spelling=monai_spelling), str(tmp_path / "w.pth"))
    result = forked("convert_torch_weights.py", tmp_path / "w.pth", tmp_path / "plain.pdparams")
    assert "was trained on such films, convert it with --transposed" in result.stderr
    target = tmp_path / "w.pdparams"
    result = forked("convert_torch_weights.py", tmp_path / "w.pth", target, "--transposed")
    assert result.returncode == 0
    # The GPU wheel warns where CUDA's libraries are missing.
    assert result.stderr == "" or paddle.is_compiled_with_cuda()
    network = CheXNet()
    load_weights(network, str(target))
    network.eval()
    films = np.random.default_rng(1).normal(size=(2, 3, 96, 64)).astype(np.float32)
    with torch.no_grad(), paddle.no_grad():
        found = network(paddle.to_tensor(films)).numpy()
        expected = torch_net(torch.from_numpy(films).transpose(2, 3)).numpy()
        of_upright = torch_net(torch.from_numpy(films)).numpy()
    print(f"largest difference: {np.abs(found - expected).max():.1e}")
    assert np.abs(found - expected).max() <= 1e-5 < 1e-3 < np.abs(found - of_upright).max()


def test_a_copy_that_differs_is_refused(torch_net):
    crops = np.zeros((1, 3, 64, 64), np.float32)
    network = CheXNet()
    network.eval()
    name = "densenet121.conv1_func._conv.weight"
    right = network.state_dict()[name].numpy()
    checkpoint = Checkpoint({}, {"features.conv0.weight": digest(right)}, None)
    prove_tensors("w.pth", checkpoint, network.state_dict(), False)
    scrambled = Checkpoint({}, {"features.conv0.weight": digest(right[..., ::-1])}, None)
    with pytest.raises(UserError, match=r"w\.pth: features\.conv0\.weight has other values"):
        prove_tensors("w.pth", scrambled, network.state_dict(), False)
    with paddle.no_grad():
        probs = network(paddle.to_tensor(crops)).numpy()
    assert prove_film("w.pth", probs, network, paddle.to_tensor(crops)).endswith(": 0.0e+00")
    with pytest.raises(UserError, match=r"got 2\.0e-05; nothing is written"):
        prove_film("w.pth", probs + np.float32(2e-5), network, paddle.to_tensor(crops))


def test_an_export_that_holds_another_tensor_is_refused():
    values = np.arange(9, dtype=np.float32).reshape(3, 3)
    state = {"kernel": paddle.to_tensor(values), "bias": paddle.to_tensor(values[0])}
    check_held(state, [values[0], np.asfortranarray(values)], "folder/w.onnx")
    for arrays in ([values.T, values[0]], [values], [values.ravel(), values[0]]):
        with pytest.raises(UserError, match=r"^w\.onnx: does not hold (kernel|bias) as"):
            check_held(state, arrays, "folder/w.onnx")


def test_a_checkpoint_with_nan_is_refused(fails, tmp_path, torch_net):
    state = torch_net.state_dict()
    state["features.norm5.weight"] = torch.full((1024,), float("nan"))
    write(state, str(tmp_path / "w.pth"))
    error = fails("convert_torch_weights.py", tmp_path / "w.pth", tmp_path / "w.pdparams")
    assert "w.pth: features.norm5.weight has NaN or infinity in it" in error
    assert tree(tmp_path) == ["w.pth"]


# The second of the two fails where both are built for CUDA (Paddle issue 56812).
NEVER_BOTH = """
import sys

class NeverBoth:
    def find_spec(name, path=None, target=None):
        if {"paddle": "torch", "torch": "paddle"}.get(name) in sys.modules:
            raise ImportError('generic_type: type "_gpuDeviceProperties" is already registered!')

sys.meta_path.insert(0, NeverBoth)
"""


def test_paddle_and_torch_are_never_in_one_process(script, tmp_path, torch_net):
    (tmp_path / "sitecustomize.py").write_text(NEVER_BOTH)
    torch.save(torch_net.state_dict(), tmp_path / "w.pth")
    words = tmp_path / "w.pth", tmp_path / "w.pdparams"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    together = [sys.executable, "-c", "import paddle, torch"]
    result = subprocess.run(together, env=environment, capture_output=True, text=True)
    assert "_gpuDeviceProperties" in result.stderr
    result = script("convert_torch_weights.py", *words, env=environment)
    assert result.returncode == 0, result.stderr
    assert "converted 606 of 727 tensors" in result.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("raise ImportError('libcudart.so.12: no such file')", "does not load (libcudart.so.12"),
        ("import os; os._exit(9)", "the process that reads it with torch ended with status 9"),
    ],
)
def test_a_torch_that_does_not_load_is_not_a_missing_one(fails, tmp_path, content, message):
    (tmp_path / "torch.py").write_text(content)
    (tmp_path / "w.pth").touch()
    error = fails(
        *("convert_torch_weights.py", tmp_path / "w.pth", tmp_path / "w.pdparams"),
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert message in error


def test_a_square_head_is_transposed_by_rule_and_not_by_shape():
    from convert_torch_weights import convert

    network = CheXNet(num_classes=1024)
    net = lively_densenet(classes=1024)
    arrays = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    state, _ = convert(arrays, network, "square")
    head = state["densenet121.out.0.weight"]
    np.testing.assert_array_equal(head, arrays["classifier.0.weight"].T)
    assert (head != head.T).any()


def test_an_imagenet_backbone_gets_a_fresh_head(forked, fails, tmp_path):
    net = lively_densenet(classes=1000)
    source, target = tmp_path / "imagenet.pth", tmp_path / "backbone.pdparams"
    write(rewritten(net.state_dict(), plain_head=True), str(source))
    error = fails("convert_torch_weights.py", source, target)
    assert "[1024, 14], got [1024, 1000]" in error and "--backbone-only" in error
    assert not target.exists()

    result = forked("convert_torch_weights.py", source, target, "--backbone-only")
    assert result.returncode == 0, result.stderr
    assert "converted 604 of 727 tensors" in result.stdout
    assert "dropped 2 tensors of the head" in result.stdout
    network = CheXNet()
    load_weights(network, str(target))
    np.testing.assert_array_equal(
        network.densenet121.batch_norm._mean.numpy(), net.features.norm5.running_mean.numpy()
    )


BAD_STATES = {
    "one input channel": (
        lambda s: s.update({"features.conv0.weight": torch.zeros(64, 1, 7, 7)}),
        "features.conv0.weight of shape [64, 3, 7, 7], got [64, 1, 7, 7]",
    ),
    "18 classes": (
        lambda s: s.update(
            {"classifier.0.weight": torch.zeros(18, 1024), "classifier.0.bias": torch.zeros(18)}
        ),
        "[1024, 14], got [1024, 18]",
    ),
    "a tensor too many": (
        lambda s: s.update({"features.denseblock1.denselayer7.conv1.weight": torch.zeros(1)}),
        "features.denseblock1.denselayer7.conv1.weight",
    ),
    "a tensor missing": (lambda s: s.pop("features.norm5.bias"), "densenet121.batch_norm.bias"),
    "the head missing": (
        lambda s: [s.pop("classifier.0.bias"), s.pop("classifier.0.weight")],
        "no tensor for densenet121.out.0.weight in it",
    ),
    "the same tensor twice": (
        lambda s: s.update({"module.features.conv0.weight": s["features.conv0.weight"]}),
        "the same tensor twice; of two networks (student and teacher, say) save one",
    ),
    "a layer of its own": (
        lambda s: s.update({"attention.weight": torch.zeros(3, 2)}),
        "got 'attention.weight', [3, 2] of its own; this network has another architecture, or it is"
        " of a loss or a metric: save the state dict without it then",
    ),
    "a number among the tensors": (lambda s: s.update(epoch=3), "a int under 'epoch'"),
    "a number for a name": (lambda s: s.update({3: torch.zeros(1)}), "a Tensor under 3"),
}


@pytest.fixture
def changed(torch_net, tmp_path):
    """A function that saves the network's state dict with a change of `BAD_STATES`."""

    def save(kind):
        change, message = BAD_STATES[kind]
        state = dict(torch_net.state_dict())
        change(state)
        torch.save(state, tmp_path / "w.pth")
        return tmp_path / "w.pth", message

    return save


@pytest.mark.parametrize("kind", BAD_STATES)
def test_anything_left_over_is_an_error_that_names_it(changed, kind):
    path, message = changed(kind)
    with pytest.raises(UserError) as caught:
        arrays = {name: tensor.numpy() for name, tensor in load_torch(str(path)).items()}
        convert(arrays, CheXNet(), path)
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", ["a tensor too many", "a number among the tensors"])
def test_what_is_left_over_ends_the_command(fails, changed, kind):
    path, message = changed(kind)
    assert message in fails("convert_torch_weights.py", path, path.with_suffix(".pdparams"))
    assert os.listdir(path.parent) == ["w.pth"]


def test_a_whole_module_is_refused_with_the_way_out(fails, tmp_path, torch_net):
    torch.save({"model": torch_net}, tmp_path / "w.pth")
    error = fails("convert_torch_weights.py", tmp_path / "w.pth", tmp_path / "w.pdparams")
    assert "DenseNet121, which was not run" in error
    assert "weights_only=False)` and `torch.save(model.state_dict()" in error


class Settings:
    """Of a class of one's own."""

    def __init__(self):
        self.rate = 0.1


def test_what_lies_beside_the_tensors_does_not_matter(forked, tmp_path, torch_net, plain):
    beside = {
        "best_auroc": np.float64(0.84),
        "history": np.linspace(0, 1, 5),
        "args": argparse.Namespace(lr=1e-3, data=pathlib.Path("/data")),
        "counts": collections.defaultdict(list, a=[1]),
        "settings": Settings(),
        "seen": {1, 2},
        "epoch": 7,
    }
    for legacy in (False, True):
        state = collections.defaultdict(int, torch_net.state_dict())
        checkpoint = {"state_dict": state, **beside}
        path = tmp_path / "w.pth"
        torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
        result = forked("convert_torch_weights.py", path, tmp_path / "w.pdparams")
        assert result.returncode == 0, result.stderr
        assert sha256(tmp_path / "w.pdparams") == sha256(plain)


# Lightning-AI/pytorch-lightning 2617 (pos_weight), pytorch/pytorch 101107 (_orig_mod); n_averaged
# is torch.optim.swa_utils.AveragedModel's.
def test_what_lies_among_the_tensors_is_dropped_by_name(forked, tmp_path, torch_net, plain):
    state = rewritten(torch_net.state_dict(), prefix="model._orig_mod.module.")
    state |= {"criterion.pos_weight": torch.ones(14), "model.n_averaged": torch.tensor(3)}
    torch.save({"state_dict": state, "pytorch-lightning_version": "2.5"}, tmp_path / "w.ckpt")
    result = forked("convert_torch_weights.py", tmp_path / "w.ckpt", tmp_path / "w.pdparams")
    assert result.returncode == 0, result.stderr
    for name in ("criterion.pos_weight", "model.n_averaged"):
        assert f"dropped {name}, which is no part of the network\n" in result.stdout
    assert sha256(tmp_path / "w.pdparams") == sha256(plain)


# Sense-X/UniFormer 87, zhuyu-cs/MeanFlow 12: which of the two was it?
def test_a_checkpoint_with_averaged_weights_too_says_which_are_converted(
    forked, tmp_path, torch_net, plain
):
    state = torch_net.state_dict()
    averaged = {name: tensor / 2 for name, tensor in state.items()}
    path = tmp_path / "w.pth"
    torch.save({"model_ema": averaged, "model": state, "optimizer": {"state": {}}}, path)
    result = forked("convert_torch_weights.py", path, tmp_path / "w.pdparams")
    assert f"note: {path} has weights under 'model' and under 'model_ema': the first" in (
        result.stderr
    )
    assert sha256(tmp_path / "w.pdparams") == sha256(plain)


class Owned:
    def __reduce__(self):
        return os.mkdir, ("owned",)


def test_a_hostile_checkpoint_does_not_run(fails, tmp_path):
    torch.save({"state_dict": Owned()}, tmp_path / "w.pth.tar")
    error = fails("convert_torch_weights.py", "w.pth.tar", "w.pdparams", cwd=tmp_path)
    assert "w.pth.tar" in error and "mkdir" in error
    assert os.listdir(tmp_path) == ["w.pth.tar"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", "truncated"])
def test_a_broken_checkpoint_is_named(fails, tmp_path, torch_net, content):
    path = tmp_path / "w.pth"
    torch.save(torch_net.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-5000] if content == "truncated" else content)
    assert str(path) in fails("convert_torch_weights.py", path, tmp_path / "w.pdparams")


def test_a_missing_checkpoint_and_a_wrong_name_are_named(fails, tmp_path):
    assert "none.pth" in fails("convert_torch_weights.py", tmp_path / "none.pth", "w.pdparams")
    assert ".pdparams" in fails("convert_torch_weights.py", tmp_path / "none.pth", "w.pth")
    (tmp_path / "w.pdparams").touch()
    error = fails("convert_torch_weights.py", tmp_path / "w.pdparams", "v.pdparams")
    assert "w.pdparams: this is a Paddle file already; give it to --weights" in error
