"""export.py as a command, what it writes as other programs read it, and hubconf.py."""

import json
import shutil

import numpy as np
import paddle
import pytest
from helpers.folders import tree
from helpers.places import ROOT
from PIL import Image

from evaluation.predictions_csv import read_predictions
from films.film_pixels import Reading, read_film
from films.label_lists import CLASS_NAMES, read_label_list
from runtime.files import UserError, sha256

pytestmark = pytest.mark.slow

SMALL = ["--resize", 72, "--crop-size", 64]
NEEDS_PADDLE_3 = pytest.mark.skipif(
    paddle.__version__.startswith("2"), reason="Paddle 2.6 cannot save the crops"
)


@pytest.fixture(scope="module")
def films(phantoms):
    names, _ = read_label_list(phantoms / "labels" / "test_list.txt")
    return [phantoms / "images" / name for name in names[:3]]


@pytest.fixture(scope="module")
def expected(phantoms, evaluated):
    """The probabilities that eval.py gives these films."""
    names, _ = read_label_list(phantoms / "labels" / "test_list.txt")
    return read_predictions(evaluated / "predictions.csv", names)[:3]


@pytest.fixture
def exported(script, films, random_weights, tmp_path):
    def export(form):
        words = ["--weights", random_weights, "--format", form, "--output-dir", tmp_path, *SMALL]
        result = script("export.py", *films, *words)
        assert result.returncode == 0, result.stderr
        last = result.stdout.splitlines()[-1]
        assert last.startswith(f"wrote {tmp_path}/random.")
        assert "largest difference from eval.py on 3 films: " in last
        return tmp_path

    return export


def check_metadata(metadata, weights):
    assert metadata["classes"].split(",") == list(CLASS_NAMES)
    assert metadata["weights_sha256"] == sha256(weights)
    assert "short side 72" in metadata["preprocessing"]


@NEEDS_PADDLE_3
def test_paddle_inference_gives_eval_s_predictions(exported, films, expected, random_weights):
    folder = exported("paddle")
    names = [f"random.{end}" for end in ("json", "paddle.metadata.json", "pdiparams")]
    assert tree(folder) == sorted(names)
    config = paddle.inference.Config(str(folder / names[0]), str(folder / names[2]))
    config.disable_gpu()
    predictor = paddle.inference.create_predictor(config)
    (name,) = predictor.get_input_names()
    for film, row in zip(films, expected, strict=True):  # one at a time: any batch size goes
        predictor.get_input_handle(name).copy_from_cpu(read_film(film, 72)[np.newaxis])
        predictor.run()
        (output,) = predictor.get_output_names()
        probs = predictor.get_output_handle(output).copy_to_cpu()
        assert np.abs(probs - row).max() <= 1e-5
    check_metadata(json.loads((folder / names[1]).read_text()), random_weights)


@NEEDS_PADDLE_3
def test_onnx_runtime_gives_eval_s_predictions(exported, films, expected, random_weights):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("paddle2onnx")
    folder = exported("onnx")
    assert tree(folder) == ["random.onnx"]
    session = onnxruntime.InferenceSession(folder / "random.onnx")
    (given,), (taken,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("films", "tensor(uint8)", ["N", 1, 72, 72])
    assert (taken.name, taken.shape) == ("probabilities", ["N", 14])
    pixels = np.stack([read_film(film, 72) for film in films])
    for count in (1, 3):
        (probs,) = session.run(None, {"films": pixels[:count]})
        difference = np.abs(probs - expected[:count]).max()
        print(f"{count} films: largest difference {difference:.1e}")
        assert difference <= 1e-5
    props = onnx.load(folder / "random.onnx").metadata_props
    check_metadata({prop.key: prop.value for prop in props}, random_weights)


def test_safetensors_are_the_same_weights(exported, forked, phantoms, expected, random_weights):
    safetensors = pytest.importorskip("safetensors")
    folder = exported("safetensors")
    path = folder / "random.safetensors"
    assert tree(folder) == ["random.safetensors"]
    with safetensors.safe_open(path, "numpy") as file:
        check_metadata(file.metadata(), random_weights)
    words = ["--data-dir", phantoms, "--weights", path, *SMALL, "--no-report"]
    words += ["--output-dir", folder / "result"]
    assert forked("eval.py", *words).returncode == 0
    names, _ = read_label_list(phantoms / "labels" / "test_list.txt")
    probs = read_predictions(folder / "result" / "predictions.csv", names)[:3]
    np.testing.assert_array_equal(probs, expected)


def test_pytorch_gets_the_tensors_that_were_converted_and_predicts_the_same(
    forked, films, tmp_path
):
    """There and back: a PyTorch network, converted and exported, is that network, to the bit."""
    torch = pytest.importorskip("torch")
    from benchmarks import torch_densenet

    net = torch_densenet.lively_densenet().eval()
    torch.save(net.state_dict(), tmp_path / "net.pth.tar")
    weights = tmp_path / "net.pdparams"
    assert forked("convert_torch_weights.py", tmp_path / "net.pth.tar", weights).returncode == 0
    words = ["--weights", weights, "--format", "torch", "--output-dir", tmp_path / "out", *SMALL]
    result = forked("export.py", *films, *words)
    assert result.returncode == 0, result.stderr
    assert tree(tmp_path / "out") == ["net.pth", "net.torch.metadata.json"]
    check_metadata(json.loads((tmp_path / "out" / "net.torch.metadata.json").read_text()), weights)
    state = torch.load(tmp_path / "out" / "net.pth", weights_only=True)
    before = net.state_dict()
    assert list(state) == list(before)  # torchvision's order
    assert all(torch.equal(state[name], before[name]) for name in before)
    assert all(tensor.is_contiguous() for tensor in state.values())  # safetensors.torch wants that
    back = forked("convert_torch_weights.py", tmp_path / "out" / "net.pth", tmp_path / "b.pdparams")
    sizes = f"--resize {SMALL[1]} --crop-size {SMALL[3]}"
    assert f"note: give {tmp_path / 'b.pdparams'} with {sizes}, of " in back.stderr
    difference = float(result.stdout.rsplit(": ", 1)[1])
    print(f"largest difference from eval.py: {difference:.1e}")
    assert difference <= 1e-5


WINDOW = "8192,16384"  # shows all of 14 bits


@pytest.fixture(scope="module")
def deep(forked, films, random_weights, tmp_path_factory):
    """A film of 14 bits in 16, weights that were trained with its window, and what they predict."""
    folder = tmp_path_factory.mktemp("deep")
    with Image.open(films[0]) as image:
        pixels = np.asarray(image.convert("L")).astype(np.uint16) * 64  # 255 becomes 16,320
    Image.fromarray(pixels).save(folder / "film.png")
    shutil.copy(random_weights, folder / "w.pdparams")
    config = {"window": [8192.0, 16384.0], "resize": 72, "crop_size": 64}
    (folder / "config.json").write_text(json.dumps(config))
    probs, _ = predict(forked, folder, folder / "w.pdparams", "--window", WINDOW)
    dark, said = predict(forked, folder, folder / "w.pdparams")
    assert f"no --window, but the weights were trained with --window {WINDOW} (" in said
    assert np.abs(probs - dark).max() > 1e-3  # so that a window that is lost would be seen
    return folder, probs


def predict(forked, folder, weights, *options):
    """What predict.py gives the film, and its stderr."""
    words = ["--weights", weights, *options, "--top", 0, "--output-dir", folder / "predicted"]
    result = forked("predict.py", folder / "film.png", *words)
    assert result.returncode == 0, result.stderr
    path = str(folder / "predicted" / "predictions.csv")
    return read_predictions(path, ["film.png"]), result.stderr


def by_paddle(folder, out):
    config = paddle.inference.Config(str(out / "w.json"), str(out / "w.pdiparams"))
    config.disable_gpu()
    facts = json.loads((out / "w.paddle.metadata.json").read_text())
    pixels = paddle.to_tensor(prepared(folder, facts))
    return paddle.inference.create_predictor(config).run([pixels])[0].numpy()


def by_onnx(folder, out):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(out / "w.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    return session.run(None, {"films": prepared(folder, facts)})[0]


def by_web(folder, out):
    from web.site_folder import predict_in_node

    return predict_in_node(str(out / "w-web"), [str(folder / "film.png")])


def prepared(folder, facts):
    """The film as an export's metadata say: uint8 `[1, 1, H, W]`."""
    reading = Reading([float(number) for number in facts["window"].split(",")])
    return read_film(folder / "film.png", int(facts["resize"]), reading=reading)[np.newaxis]


@NEEDS_PADDLE_3
@pytest.mark.parametrize(
    ("form", "run"),
    [
        ("paddle", by_paddle),
        pytest.param("onnx", by_onnx, marks=pytest.mark.rare),
        pytest.param("web", by_web, marks=pytest.mark.rare),
    ],
)
def test_other_programs_give_a_film_of_14_bits_predict_s_probabilities(
    script, deep, tmp_path, form, run
):
    folder, expected = deep
    if form != "paddle":
        pytest.importorskip("paddle2onnx")
    if form == "web" and not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no Node.js with npm: the page needs both")
    words = ["--weights", folder / "w.pdparams", "--format", form, "--output-dir", tmp_path]
    result = script("export.py", folder / "film.png", *words)
    if "want npm to fetch" in result.stderr:
        pytest.skip("npm's registry cannot be reached")
    assert result.returncode == 0, result.stderr
    assert f"config.json: trained with --window {WINDOW}" in result.stderr
    assert np.abs(run(folder, tmp_path) - expected).max() <= 1e-5


@pytest.mark.rare
def test_weights_in_other_files_give_a_film_of_14_bits_the_same(forked, deep, tmp_path):
    folder, expected = deep
    shutil.copy(folder / "film.png", tmp_path)
    words = [tmp_path / "film.png", "--weights", folder / "w.pdparams", "--output-dir", tmp_path]
    result = forked("export.py", *words, "--format", "safetensors")
    assert result.returncode == 0, result.stderr
    path = tmp_path / "w.safetensors"
    probs, said = predict(forked, tmp_path, path, "--window", WINDOW)
    np.testing.assert_array_equal(probs, expected)
    assert "warning: " not in said
    _, said = predict(forked, tmp_path, path, "--window", "1024,2048")
    warning = f"--window 1024,2048, but the weights were trained with --window {WINDOW} ({path})"
    assert warning in said
    pytest.importorskip("torch")
    words = [tmp_path / "film.png", "--weights", path, "--output-dir", tmp_path]  # once more
    result = forked("export.py", *words, "--format", "torch")
    assert result.returncode == 0, result.stderr
    (tmp_path / "back").mkdir()
    back = tmp_path / "back" / "w.pdparams"
    said = forked("convert_torch_weights.py", tmp_path / "w.pth", back).stderr
    options = said.partition(f"note: give {back} with ")[2].partition(", of ")[0].split()
    assert options == ["--resize", "72", "--crop-size", "64", f"--window={WINDOW}"]
    np.testing.assert_array_equal(predict(forked, tmp_path, back, *options)[0], expected)


def test_a_film_with_a_coloured_mark_is_one_to_check_on(forked, fails, random_weights, tmp_path):
    pixels = np.repeat(np.arange(64, dtype=np.uint8)[:, np.newaxis], 64, axis=1)
    marked = np.stack([pixels, pixels, pixels], axis=2)
    marked[:9, :9] = (255, 0, 0)
    Image.fromarray(marked).save(tmp_path / "film.png")
    words = [tmp_path / "film.png", "--weights", random_weights, "--format", "safetensors"]
    words += ["--output-dir", tmp_path / "out", *SMALL]
    assert "got one with colours" in fails("export.py", *words)
    result = forked("export.py", *words, "--any-colours")
    assert result.returncode == 0, result.stderr
    assert tree(tmp_path / "out") == ["random.safetensors"]


def test_what_cannot_be_exported_leaves_nothing(fails, films, random_weights, tmp_path):
    words = ["--format", "safetensors", "--output-dir", tmp_path / "out", *SMALL]
    error = fails("export.py", films[0], "--weights", tmp_path / "none.pdparams", *words)
    assert "none.pdparams: no such weight file" in error
    error = fails("export.py", "--weights", random_weights, *words)
    assert "give one film or more: the export is checked on them before it is written" in error
    error = fails("export.py", tmp_path / "none.png", "--weights", random_weights, *words)
    assert "none.png: no such film" in error
    assert not (tmp_path / "out").exists()


def test_paddle_hub_gives_the_network(random_weights, films, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # from anywhere
    folder = str(ROOT)
    assert paddle.hub.list(folder, source="local") == ["chexnet"]
    assert "Not for clinical use" in paddle.hub.help(folder, "chexnet", source="local")
    network = paddle.hub.load(folder, "chexnet", source="local", weights=str(random_weights))
    assert not network.training
    probs = network(paddle.zeros([2, 3, 64, 64])).numpy()
    assert probs.shape == (2, 14) and ((probs > 0) & (probs < 1)).all()
    load = {"source": "local", "ten_crop": True, "weights": str(random_weights)}
    network = paddle.hub.load(folder, "chexnet", **load)
    network.size = 64
    pixels = paddle.to_tensor(np.stack([read_film(film, 72) for film in films]))
    with paddle.no_grad():
        assert np.abs(network(pixels).numpy() - expected).max() <= 1e-5
    with pytest.raises(UserError, match="no such weight file"):
        paddle.hub.load(folder, "chexnet", source="local", weights="none.pdparams")


def test_paddle_hub_takes_this_projects_modules_where_the_caller_has_others(script, tmp_path):
    names = ("model", "dataset", "metrics", "films", "runtime")
    for name in names:
        (tmp_path / f"{name}.py").write_text(f"OF = 'the caller: {name}'\n")
    (tmp_path / "own.py").write_text(
        "import paddle\n"
        "import model, runtime\n"  # before; the others only after
        f"load = lambda: paddle.hub.load({str(ROOT)!r}, 'chexnet', source='local')\n"
        "first, second = load(), load()\n"
        "import dataset, films, metrics\n"
        "print(*(list(net(paddle.zeros([1, 3, 64, 64])).shape) for net in (first, second)))\n"
        "print(*(each.OF for each in (model, dataset, metrics, films, runtime)), sep='\\n')\n"
        "import importlib\n"
        "print(importlib.import_module('model') is model)\n"
    )
    result = script(tmp_path / "own.py", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    expected = [f"the caller: {name}" for name in names]
    assert result.stdout.splitlines() == ["[1, 14] [1, 14]", *expected, "True"]
