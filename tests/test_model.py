import os
import pickle

import numpy as np
import paddle
import pytest

torch = pytest.importorskip("torch")

from benchmarks.torch_densenet import lively_densenet, normalized, ten_crops
from convert_torch_weights import convert
from model import CheXNet, LogLoss, TenCrop, load_weights, normalize
from runtime.files import UserError
from training.recipe import make_optimizer
from weights.untrusted_files import read_pickle
from weights.weight_files import save_state


@pytest.fixture(scope="module")
def twins():
    """The same weights in both frameworks."""
    theirs = lively_densenet().eval()
    ours = CheXNet()
    arrays = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    state, _ = convert(arrays, ours, "twin")
    ours.set_state_dict(state)
    ours.eval()
    return ours, theirs


def grey_films(count, seed=0):
    """Films of 32-pixel blocks: plain noise would look alike to the network."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), np.uint8)
    return blocks.repeat(32, axis=2).repeat(32, axis=3)


def test_state_dict_is_the_one_published_weights_have():
    network = CheXNet()
    names = list(network.state_dict())
    assert len(names) == 606
    assert names[0] == "densenet121.conv1_func._conv.weight"
    assert names[-2:] == ["densenet121.out.0.weight", "densenet121.out.0.bias"]
    trainable = sum(p.size for p in network.parameters() if not p.stop_gradient)
    assert trainable == 6_968_206  # 6,953,856 of the backbone and 1024 * 14 + 14


def test_normalize_equals_torchvision_to_the_bit():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    ours = normalize(paddle.to_tensor(pixels)).numpy()[0]
    theirs = normalized(np.repeat(pixels[0, 0, :, :, None], 3, axis=2)).numpy()
    assert ours.tobytes() == theirs.tobytes()


def test_single_crop_predictions_match_pytorch(twins):
    ours, theirs = twins
    films = grey_films(3)[:, :, 16:240, 16:240]
    images = torch.stack([normalized(np.repeat(film[0, :, :, None], 3, 2)) for film in films])
    with torch.no_grad(), paddle.no_grad():
        expected = theirs(images).numpy()
        difference = np.abs(ours(paddle.to_tensor(films)).numpy() - expected).max()
        from_floats = np.abs(ours(paddle.to_tensor(images.numpy())).numpy() - expected).max()
    print(f"largest difference: {difference:.1e}, from normalised floats {from_floats:.1e}")
    assert max(difference, from_floats) <= 1e-5
    assert expected.std(axis=0).mean() > 1e-3  # the films are told apart, so this can fail


def test_ten_crop_predictions_match_pytorch(twins):
    ours, theirs = twins
    films = grey_films(2, seed=1)
    expected = []
    for film in films:
        crops = [normalized(crop) for crop in ten_crops(np.repeat(film[0, :, :, None], 3, 2))]
        with torch.no_grad():
            expected.append(theirs(torch.stack(crops)).mean(0).numpy())
    with paddle.no_grad():
        difference = np.abs(TenCrop(ours)(paddle.to_tensor(films)).numpy() - expected).max()
    print(f"largest difference: {difference:.1e}")
    assert difference <= 1e-5


def test_ten_crop_cuts_where_torchvision_does():
    films = np.arange(6 * 7, dtype=np.uint8).reshape(1, 1, 6, 7)
    crops = TenCrop(paddle.nn.Identity(), size=4).crops(paddle.to_tensor(films))
    expected = ten_crops(np.repeat(films[0, 0, :, :, None], 3, 2), size=4)
    assert len(crops) == 10
    for ours, theirs in zip(crops, expected, strict=True):
        np.testing.assert_array_equal(ours.numpy()[0], normalized(theirs).numpy())


@pytest.mark.slow
def test_five_adam_steps_match_pytorch():
    theirs = lively_densenet(seed=2).train()
    ours = CheXNet()
    start = {name: tensor.numpy().copy() for name, tensor in theirs.state_dict().items()}
    ours.set_state_dict(convert(start, ours, "twin")[0])
    ours.train()
    # A small rate: Adam's first step is rate * sign(gradient), and where a gradient is all rounding
    # error its sign is chance in either framework.
    rate, steps, batch, side = 1e-5, 5, 8, 96
    their_adam = torch.optim.Adam(theirs.parameters(), rate)
    our_adam, _ = make_optimizer(ours, rate)
    our_log_loss = LogLoss()
    rng = np.random.default_rng(4)
    worst = 0.0
    for _ in range(steps):
        images = rng.normal(size=(batch, 3, side, side)).astype(np.float32)
        labels = rng.integers(0, 2, (batch, 14)).astype(np.float32)
        their_loss = torch.nn.functional.binary_cross_entropy(
            theirs(torch.from_numpy(images)), torch.from_numpy(labels)
        )
        their_adam.zero_grad()
        their_loss.backward()
        their_adam.step()
        our_loss = our_log_loss(ours(paddle.to_tensor(images)), paddle.to_tensor(labels))
        our_loss.backward()
        our_adam.step()
        our_adam.clear_grad()
        worst = max(worst, abs(float(our_loss) / their_loss.item() - 1))
    print(f"largest relative difference of the loss: {worst:.1e}")
    assert worst <= 1e-4

    # Running statistics. PyTorch keeps the unbiased variance of a batch, n/(n-1) of the one that
    # Paddle keeps; n is the same each step, so the one follows from the other exactly.
    after = {name: tensor.numpy().copy() for name, tensor in theirs.state_dict().items()}
    kept = 0.9**steps
    pixels = {"0": (side // 2) ** 2, "1": (side // 4) ** 2, "2": (side // 8) ** 2}
    pixels |= {"3": (side // 16) ** 2, "4": (side // 32) ** 2, "5": (side // 32) ** 2}
    for name in after:
        if name.endswith("running_var"):
            block = name.split(".")[1]  # norm0, denseblock2, transition2, norm5
            n = batch * pixels[block[-1]]
            after[name] = kept * start[name] + (after[name] - kept * start[name]) * (n - 1) / n
    expected, _ = convert(after, ours, "twin")
    statistics = {
        n: t.numpy() for n, t in ours.state_dict().items() if n.endswith(("_mean", "ance"))
    }
    assert len(statistics) == 242  # 121 batch norms
    worst = max(np.abs(array - expected[name]).max() for name, array in statistics.items())
    print(f"largest difference of running statistics: {worst:.1e}")
    assert worst <= 1e-4


def test_log_loss_is_pytorch_s_and_nan_for_nan():
    probs = np.array([[0.0, 0.3, 1.0], [1.0, 0.9, 0.5]], np.float32)
    labels = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]], np.float32)
    expected = torch.nn.functional.binary_cross_entropy(
        torch.from_numpy(probs), torch.from_numpy(labels)
    )
    ours = LogLoss()(paddle.to_tensor(probs), paddle.to_tensor(labels))
    assert float(ours) == pytest.approx(expected.item(), rel=1e-6)
    probs[0, 0] = np.nan
    assert np.isnan(float(LogLoss()(paddle.to_tensor(probs), paddle.to_tensor(labels))))


def test_features_run_no_head_and_what_classify_makes_of_them_is_forward():
    paddle.seed(5)
    network = CheXNet()
    network.eval()
    films = paddle.randint(0, 256, [2, 1, 64, 64]).astype("uint8")
    ran = []
    hook = network.densenet121.out.register_forward_post_hook(lambda *of: ran.append(1))
    with paddle.no_grad():
        features = network.features(films)
        assert not ran and list(features.shape) == [2, 1024, 2, 2]
        hook.remove()
        np.testing.assert_array_equal(network.classify(features), network(films))


def test_head_computes_in_float32_whatever_it_is_given():
    head = CheXNet().densenet121.out
    features = paddle.rand([2, 1024]).astype("bfloat16")
    probs = head(features)
    assert probs.dtype == paddle.float32
    np.testing.assert_array_equal(probs.numpy(), head(features.astype("float32")).numpy())


@pytest.mark.parametrize("extension", ["pdparams", "safetensors"])
def test_weights_survive_a_round_trip(tmp_path, extension):
    first, second = CheXNet(), CheXNet()
    path = str(tmp_path / f"w.{extension}")
    if extension == "pdparams":
        save_state(first.state_dict(), path)
    else:
        from safetensors.numpy import save_file

        save_file({name: t.numpy() for name, t in first.state_dict().items()}, path)
    load_weights(second, path)
    for name, tensor in first.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), second.state_dict()[name].numpy())
    assert os.listdir(tmp_path) == [f"w.{extension}"]


def broken_state(change):
    state = {name: t.numpy() for name, t in CheXNet().state_dict().items()}
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("densenet121.out.0.bias"),
            "no tensor densenet121.out.0.bias in it",
        ),
        (lambda s: s.update(extra=np.zeros(3, "f4")), "extra is no tensor of the network"),
        (
            lambda s: s.update({"densenet121.out.0.bias": np.zeros(18, "f4")}),
            "want densenet121.out.0.bias of shape [14], got [18]",
        ),
        (lambda s: s.update({"densenet121.out.0.bias": np.zeros(14, "i8")}), "float tensor"),
        (
            lambda s: s.update({"densenet121.out.0.bias": np.full(14, np.nan, "f4")}),
            "densenet121.out.0.bias to be finite",
        ),
    ],
)
def test_load_weights_is_strict(tmp_path, change, message):
    path = str(tmp_path / "w.pdparams")
    paddle.save(broken_state(change), path)
    network = CheXNet()
    before = network.densenet121.out[0].bias.numpy().copy()
    with pytest.raises(UserError) as caught:
        load_weights(network, path)
    assert message in str(caught.value)
    np.testing.assert_array_equal(before, network.densenet121.out[0].bias.numpy())


class Malicious:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ((os.mkdir, "owned"), "posix.mkdir"),
        ((eval, "1"), "builtins.eval"),
        ((np.memmap, "x"), "numpy.memmap"),
        ((np.ndarray, (1,), np.dtype("O")), "numpy.dtype('O"),
    ],
)
def test_a_pickle_cannot_run_code(tmp_path, monkeypatch, call, name):
    monkeypatch.chdir(tmp_path)
    with open("w.pdparams", "wb") as file:
        pickle.dump({"densenet121.out.0.bias": Malicious(*call)}, file, protocol=4)
    with pytest.raises(UserError) as caught:
        read_pickle("w.pdparams")
    assert name in str(caught.value)
    assert os.listdir() == ["w.pdparams"]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_every_pickle_protocol_of_paddle_reads_back(tmp_path, protocol):
    value = {
        "half": np.float16([[1, 2, 3]]),
        "columns": np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)),
        "nested": {"step": 3, "list": [np.int64(7), (1.5, "text", None, True)]},
    }
    path = str(tmp_path / "x.pdopt")
    paddle.save(value, path, protocol=protocol)
    read = read_pickle(path)
    np.testing.assert_array_equal(read["half"], value["half"])
    np.testing.assert_array_equal(read["columns"], value["columns"])
    assert read["nested"] == {"step": 3, "list": [7, (1.5, "text", None, True)]}
