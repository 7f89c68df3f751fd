import os
import subprocess
import sys

import numpy as np
import paddle
import pytest
from helpers.torch_checkpoints import FORMATS, rewritten, write

torch = pytest.importorskip("torch")

from benchmarks.torch_densenet import lively_densenet
from model import CheXNet, load_weights
from runtime.files import sha256

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def torch_net():
    return lively_densenet(seed=5).eval()


@pytest.fixture(scope="module")
def films():
    return np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)


@pytest.mark.parametrize("kind", FORMATS)
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
    assert result.stdout.splitlines() == [
        f"converted 606 of {tensors} tensors",
        f"dropped {tensors - 606} num_batches_tracked, which Paddle has no use for",
        "6,968,206 trainable parameters",
        f"wrote {target}, sha256 {sha256(target)}",
    ]
    rounded = lively_densenet(seed=5).half().float().eval()
    reference = rounded if change.get("half") else torch_net
    network = CheXNet()
    load_weights(network, str(target))
    network.eval()
    with torch.no_grad(), paddle.no_grad():
        expected = reference(torch.from_numpy(films)).numpy()
        difference = np.abs(network(paddle.to_tensor(films)).numpy() - expected).max()
    print(f"largest difference: {difference:.1e}")
    assert difference <= 1e-5


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
        "densenet121.out.0.weight, got none",
    ),
    "the same tensor twice": (
        lambda s: s.update({"module.features.conv0.weight": s["features.conv0.weight"]}),
        "the same tensor twice",
    ),
    "a number among the tensors": (lambda s: s.update(epoch=3), "a int under 'epoch'"),
    "a number for a name": (lambda s: s.update({3: torch.zeros(1)}), "a Tensor under 3"),
}


@pytest.mark.parametrize("kind", BAD_STATES)
def test_anything_left_over_is_an_error_that_names_it(fails, tmp_path, torch_net, kind):
    change, message = BAD_STATES[kind]
    state = dict(torch_net.state_dict())
    change(state)
    torch.save(state, tmp_path / "w.pth")
    assert message in fails("convert_torch_weights.py", tmp_path / "w.pth", tmp_path / "w.pdparams")
    assert os.listdir(tmp_path) == ["w.pth"]


def test_a_whole_module_is_refused_with_the_way_out(fails, tmp_path, torch_net):
    torch.save({"model": torch_net}, tmp_path / "w.pth")
    error = fails("convert_torch_weights.py", tmp_path / "w.pth", tmp_path / "w.pdparams")
    assert "DenseNet121, which was not run" in error
    assert "weights_only=False)` and `torch.save(model.state_dict()" in error


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
