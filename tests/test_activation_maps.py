import numpy as np
import paddle
import pytest
from paddle import nn

from evaluation.heat_maps import MapSource
from inference.activation_maps import (
    KeepingTenCrop,
    TenCropMaps,
    _stretcher,
    caption_height,
    heat_map,
    join_crops,
    resize_map,
)
from inference.cpu_predictor import CPUPredictor
from model import CheXNet, TenCrop, load_weights
from runtime.files import UserError


class Brightness(nn.Layer):
    """A network whose maps are known: it speaks for a finding where the film is bright."""

    def features(self, images):
        return nn.functional.avg_pool2d(images[:, :1], kernel_size=8)

    def classify(self, features):
        return nn.functional.sigmoid(features.mean(axis=[2, 3]))

    def class_maps(self, features):
        return features

    def forward(self, images):
        return self.classify(self.features(images))


@pytest.fixture(scope="module")
def network(random_weights):
    network = CheXNet()
    load_weights(network, str(random_weights))
    network.eval()
    return network


@pytest.fixture(scope="module")
def films():
    blocks = np.random.default_rng(7).integers(0, 256, (2, 1, 9, 9), np.uint8)
    return paddle.to_tensor(blocks.repeat(8, axis=2).repeat(8, axis=3))  # [2, 1, 72, 72]


def test_a_map_s_mean_and_the_bias_are_the_logit(network):
    paddle.seed(1)
    images = paddle.randn([2, 3, 64, 64])
    with paddle.no_grad():
        features = network.features(images)
        assert features.shape == [2, 1024, 2, 2]
        maps = network.class_maps(features).numpy()
        probs = network(images).numpy()
        np.testing.assert_array_equal(network.classify(features).numpy(), probs)
    logits = maps.mean(axis=(2, 3)) + network.densenet121.out[0].bias.numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), probs, atol=1e-6)
    assert probs.std(axis=0).max() > 1e-4


def test_probabilities_are_ten_crop_s(network, films):
    with paddle.no_grad():
        expected = TenCrop(network, 64)(films).numpy()
        probs, maps = TenCropMaps(network, 64)(films)
    # All crops at once or one at a time: sums may be taken in another order.
    np.testing.assert_allclose(probs.numpy(), expected, atol=1e-6)
    assert maps.shape == [2, 14, 72, 72]


def test_the_predictor_draws_the_network_s_maps(network, films):
    with paddle.no_grad():
        expected = TenCropMaps(network, 64)(films)[1].numpy()
        maps = TenCropMaps(CPUPredictor(network, 64), 64)(films)[1].numpy()
    assert np.abs(maps - expected).max() <= 1e-4 * np.abs(expected).max()


# Near each corner, left of the middle and right of it: a crop or mirror image that is put back in
# the wrong place leaves light where there is none.
@pytest.mark.parametrize("top, left", [(0, 0), (0, 56), (56, 0), (56, 56), (24, 8), (24, 40)])
def test_what_is_bright_on_the_film_is_bright_on_the_map(top, left):
    film = np.zeros((1, 1, 72, 72), np.uint8)
    film[:, :, top : top + 16, left : left + 16] = 255
    _, maps = TenCropMaps(Brightness(), 64)(paddle.to_tensor(film))
    activation = maps.numpy()[0, 0]
    y, x = np.unravel_index(np.argmax(activation), activation.shape)
    assert top <= y < top + 16 and left <= x < left + 16
    # Where no cell of 8 pixels, of any crop, has seen it, nor its neighbour: as dark as can be.
    far = np.ones((72, 72), bool)
    far[max(0, top - 16) : top + 32, max(0, left - 16) : left + 32] = False
    assert activation[far].max() == pytest.approx(activation.min(), abs=1e-5)


def test_a_stretched_map_has_no_kink_and_stays_within_its_values():
    drawn = _stretcher(3, 96) @ np.array([0, 1, 0], np.float32)
    assert drawn.min() == 0 and 0.99 < drawn.max() <= 1
    # 6 / 32^2 at a value; the straight line has 2 / 32 = 0.06 there.
    assert np.abs(np.diff(drawn, 2)).max() == pytest.approx(6 / 32**2, rel=0.05)


def test_a_film_that_is_the_same_everywhere_has_such_a_map():
    film = paddle.full([1, 1, 73, 72], 90, "uint8")  # and a centre that is off by half a pixel
    activation = TenCropMaps(Brightness(), 64)(film)[1].numpy()
    np.testing.assert_allclose(activation, activation.flat[0], rtol=1e-5)


def test_crops_that_leave_a_part_out_are_refused():
    with pytest.raises(UserError, match="want crops that cover a film of 72 x 72 pixels, got 30"):
        TenCropMaps(Brightness(), 30)(paddle.zeros([1, 1, 72, 72], "uint8"))


def test_a_map_stretched_to_the_film_keeps_its_values_in_place():
    activation = np.array([[0, 1], [2, 3]], np.float32)
    stretched = resize_map(activation, 8, 4)
    assert stretched.shape == (4, 8)
    assert [stretched[0, 0], stretched[0, -1], stretched[-1, 0], stretched[-1, -1]] == [0, 1, 2, 3]


def test_where_a_crop_ends_there_is_no_seam():
    # Crops that disagree as much as they can: without weights their borders are steps of 0.2.
    ten_crop = TenCrop(nn.Identity(), 224)
    crop_maps = [paddle.full([1, 1, 7, 7], float(n % 2)) for n in range(10)]
    joined = join_crops(ten_crop, crop_maps, 256, 256).numpy()[0, 0]
    assert joined.std() > 0.1
    assert max(np.abs(np.diff(joined, axis=axis)).max() for axis in (0, 1)) < 0.04


def test_maps_kept_in_evaluation_are_those_of_a_second_look(network, films):
    keeping = KeepingTenCrop(network, 64)
    with paddle.no_grad():
        probs = TenCrop(network, 64)(films).numpy()
        maps = TenCropMaps(network, 64)(films)[1].numpy()
        found = [keeping(films[n : n + 1]).numpy() for n in range(2)]  # two batches
    np.testing.assert_allclose(np.concatenate(found), probs, atol=1e-6)  # batches of 1 and 2
    for kept, expected in zip(keeping.kept, maps, strict=True):
        assert kept.shape == (10, 14, 2, 2)
        crop_maps = [paddle.to_tensor(each[np.newaxis]) for each in kept]
        joined = join_crops(keeping, crop_maps, 72, 72).numpy()[0]
        assert np.abs(joined - expected).max() <= 1e-5 * np.abs(expected).max()


def test_maps_kept_in_evaluation_are_drawn_without_reading_a_film_again(network, films):
    keeping = KeepingTenCrop(network, 64)
    with paddle.no_grad():
        keeping(films)
        maps = TenCropMaps(network, 64)(films)[1].numpy()
    found = MapSource(network, None, 64, keeping).of([(1, 3), (0, 5), (1, 0)])  # None reads no film
    assert list(found) == [(1, 3), (0, 5), (1, 0)]
    for index, drawn in found.items():
        np.testing.assert_allclose(drawn, maps[index], atol=1e-5 * np.abs(maps[index]).max())


def test_the_picture_is_the_film_beside_its_map():
    film = np.random.default_rng(0).integers(0, 200, (240, 240), np.uint8)
    picture = np.asarray(heat_map(film, np.eye(5), "Mass", 0.25))
    assert picture.shape == (240 + caption_height(240), 480, 3)
    left, right = picture[:240, :240], picture[:240, 240:]
    np.testing.assert_array_equal(left, film[:, :, np.newaxis].repeat(3, axis=2))
    red_over_blue = right[:, :, 0].astype(int) - right[:, :, 2]
    assert red_over_blue[0, 0] > 50  # bright on the map: yellow
    # Where the map is low the film is as it is, and so it is under a map without any height.
    np.testing.assert_array_equal(right[:40, -40:], left[:40, -40:])
    flat = np.asarray(heat_map(film, np.zeros((5, 5)), "Mass", 0.25))
    np.testing.assert_array_equal(flat[:240, 240:], left)
    # The line below: black text on white, half of it the same for another film; colours.
    line = picture[240:].astype(int)
    assert line[:, :240].min() < 100 and line[:, 240:].max(axis=2).std() > 0
    other = np.asarray(heat_map(film, np.eye(5), "Mass", 0.75))[240:].astype(int)
    assert (line[:, :240] != other[:, :240]).any() and (line[:, 240:] == other[:, 240:]).all()
    saturation = line.max(axis=2) - line.min(axis=2)
    assert saturation[:, 240:].max() > 100 and saturation[:, :240].max() == 0


def test_boxes_are_framed_on_both_halves():
    film = np.zeros((40, 48), np.uint8)
    picture = np.asarray(heat_map(film, np.zeros((5, 5)), "Mass", 0.5, [(10, 5, 20, 15.0)]))[:40]
    framed = np.zeros((40, 48), bool)
    framed[5:15, 10:20] = True
    framed[6:14, 11:19] = False
    np.testing.assert_array_equal(picture.any(axis=2), np.concatenate([framed] * 2, axis=1))
