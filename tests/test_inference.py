import numpy as np
import paddle
import pytest

from inference.cpu_predictor import CPUPredictor, has_bfloat16
from model import AutoCast, CheXNet, TenCrop, load_weights


@pytest.fixture(scope="module")
def network(random_weights):
    network = CheXNet()
    load_weights(network, str(random_weights))
    network.eval()
    return network


def films(count):
    blocks = np.random.default_rng(7).integers(0, 256, (count, 1, 8, 8), np.uint8)
    return paddle.to_tensor(blocks.repeat(16, axis=2).repeat(16, axis=3))


# 5 films: two whole chunks and one that is not.
@pytest.mark.parametrize("layer", [TenCrop, lambda network, size: network])
def test_the_predictor_predicts_what_the_network_does(network, layer):
    predictor = CPUPredictor(network, size=64)
    pixels = films(5) if layer is TenCrop else films(5)[:, :, :64, :64]
    with paddle.no_grad():
        expected = layer(network, size=64)(pixels).numpy()
        difference = np.abs(layer(predictor, size=64)(pixels).numpy() - expected).max()
    print(f"{predictor.engine}: largest difference {difference:.1e}")
    assert difference <= 1e-5
    assert expected.std(axis=0).max() > 1e-4


def test_the_engine_is_openvino_where_paddle_has_it(network):
    has_openvino = paddle.__version__.startswith("3")
    assert CPUPredictor(network, size=64).engine == ("openvino" if has_openvino else "onednn")


@pytest.mark.skipif(not has_bfloat16(), reason="a processor without bfloat16")
def test_bfloat16_takes_effect_and_stays_near(network):
    pixels = films(3)
    with paddle.no_grad():
        expected = TenCrop(network, size=64)(pixels).numpy()
        predictor = CPUPredictor(network, size=64, precision="bf16")
        difference = np.abs(TenCrop(predictor, size=64)(pixels).numpy() - expected).max()
    print(f"{predictor.engine}: largest difference {difference:.1e}")
    assert 1e-5 < difference <= 0.02  # not silently float32, and within the bound


def test_the_network_is_unchanged_by_making_a_predictor(network):
    before = list(network.state_dict())
    network.train()
    CPUPredictor(network, size=64)
    assert list(network.state_dict()) == before
    assert network.training and network.densenet121.training
    network.eval()


def test_autocast_passes_images_and_probabilities_through(network):
    # On a CPU Paddle's auto_cast has no effect and warns so; half precision itself needs a GPU.
    images = paddle.randn([2, 3, 64, 64])
    with paddle.no_grad(), pytest.warns(UserWarning, match="makes no effect"):
        probs = AutoCast(network, "bfloat16")(images).numpy()
        np.testing.assert_array_equal(probs, network(images).numpy())
