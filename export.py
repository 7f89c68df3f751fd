"""The network for other programs, and as a page that runs it in the browser.

    python export.py film.png --weights pretrained_models/model_from_torch.pdparams --format onnx

Films of 256 x 256 bytes in, 14 probabilities out: scaling, normalisation and the ten crops are
inside. The films given are what it is checked on before it is written; it ends with

    wrote exported/model_from_torch.onnx; largest difference from eval.py on 1 films: <number>
"""

import functools
import importlib.util
import os
import sys
import tempfile

# Programs are saved in Paddle 3's own format; the older one, which `environment` asks for, has no
# sigmoid.
os.environ["FLAGS_enable_pir_api"] = "1"  # noqa: SIM112

from runtime import command_line

EXAMPLES = """\
  python export.py film.png --weights save/best_model.pdparams --format onnx
  python export.py film.png --weights save/best_model.pdparams --format web    # a page
"""


def parse_args():
    parser = command_line.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument(
        "films",
        nargs="*",
        metavar="FILM",
        help="real films, to check the export on before it is written; at least one",
    )
    command_line.add_weights_argument(parser, required=True)
    parser.add_argument(
        "--format",
        choices=["paddle", "onnx", "safetensors", "torch", "web"],
        required=True,
        help="paddle: for Paddle Inference; safetensors: only the weights; "
        "torch: a state dict for torchvision's densenet121; "
        "web: a folder of static files, a page that runs the network in the browser",
    )
    parser.add_argument("--output-dir", default="exported", help="folder for the files")
    command_line.add_size_arguments(parser)
    command_line.add_reading_arguments(parser)
    page = parser.add_argument_group("page, with --format web")
    command_line.add_meaning_arguments(
        page, "the page shows decisions", "the page says what a probability means"
    )
    page.add_argument(
        "--metrics",
        metavar="JSON",
        help="metrics.json of eval.py: the page says how good the network is",
    )
    args = parser.parse_args()
    if not args.films:
        parser.error("give one film or more: the export is checked on them before it is written")
    if args.format != "web" and (args.thresholds or args.reference or args.metrics):
        parser.error("--thresholds, --reference and --metrics go with --format web")
    command_line.check_meaning_arguments(parser, args)
    return args


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once

import numpy as np
import paddle

from films.film_pixels import Reading, read_film
from films.label_lists import CLASS_NAMES
from inference.activation_maps import CropNetwork
from inference.engine import read_network, run_on_cpu
from model import TenCrop
from runtime.devices import set_device
from runtime.files import UserError, sha256, write_json
from web.site_folder import (
    check_target,
    predict_in_node,
    read_known,
    replace_page,
    write_site,
)
from weights.array_pipe import check_held
from weights.onnx_file import write_onnx
from weights.torch_checkpoint import INSTALL_TORCH
from weights.torch_file import write_torch
from weights.trained_sizes import choose_sizes, choose_window, shown_window
from weights.weight_files import save_safetensors

IS_PADDLE_2 = paddle.__version__.startswith("2")
TOLERANCE = 1e-5
TOOLS = {
    "onnx": (
        ["paddle2onnx", "onnx", "onnxruntime"],
        "pip install paddle2onnx==2.1.0 onnx onnxruntime",
    ),
    "web": (["paddle2onnx", "onnx"], "pip install paddle2onnx==2.1.0 onnx"),
    "torch": (["torch"], INSTALL_TORCH),
}


class BatchedTenCrop(TenCrop):
    """`TenCrop` with the crops in one batch: the network is in the program once, not ten times."""

    def forward(self, films):
        """Return the mean of the ten probabilities, as `TenCrop` does."""
        probs = self.network(paddle.concat(self.crops(films)))  # [10 N, C]
        return paddle.reshape(probs, [10, -1, probs.shape[1]]).mean(axis=0)


def main(args):
    args.resize, args.crop_size = choose_sizes(args.weights, args.resize, args.crop_size)
    args.window = choose_window(args.weights, args.window)
    check_tools(args.format)
    stem = os.path.splitext(os.path.basename(args.weights))[0]
    export, *endings = EXPORTS[args.format]
    written = [stem + ending for ending in endings]
    set_device("cpu")
    network = read_network(args.weights)
    digest = sha256(args.weights)
    if args.format == "web":
        check_target(os.path.join(args.output_dir, written[0]))
        ours = {key: getattr(args, key) for key in ("crop_size", "resize", "window")}
        ours |= {"weights": digest, "crops": 10}
        known = read_known(args.thresholds, args.reference, args.metrics, ours)
        export = functools.partial(export, args=args, known=known)
    read = read_film if args.format == "web" else read_square
    reading = Reading(*command_line.reading_options(args))
    films = [read(path, args.resize, reading=reading)[np.newaxis] for path in args.films]
    expected = predict_as_eval(network, films, args.crop_size)
    metadata = describe(args.format, digest, args.resize, args.crop_size, args.window)
    os.makedirs(args.output_dir, exist_ok=True)
    # On the same disk, so that what has passed takes its name in one step.
    with tempfile.TemporaryDirectory(dir=args.output_dir) as folder:
        layer = BatchedTenCrop(network, args.crop_size)
        layer.eval()
        probs = export(layer, os.path.join(folder, stem), films, metadata)
        difference = float(np.abs(probs - expected).max())
        if not difference <= TOLERANCE:
            raise UserError(
                f"{args.format}: want predictions within {TOLERANCE} of eval.py's, got "
                f"{difference:.1e}; nothing is written, please report it"
            )
        for name in written:
            replace_page(os.path.join(folder, name), os.path.join(args.output_dir, name))
    target = os.path.join(args.output_dir, written[0])
    print(
        f"wrote {target}; largest difference from eval.py on {len(films)} films: {difference:.1e}"
    )
    if args.format == "web":
        print(
            f"open http://127.0.0.1:8000 after python -m http.server --bind 127.0.0.1 --directory "
            f"{target} 8000",
            file=sys.stderr,
        )


def check_tools(form):
    """Raise UserError where a package that a format needs is missing, or Paddle is too old."""
    packages, remedy = TOOLS.get(form, ([], None))
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--format {form}: the package {missing[0]} is not installed; {remedy}")
    if form in ("paddle", "onnx", "web") and IS_PADDLE_2:
        raise UserError(
            f"--format {form}: want Paddle 3, got {paddle.__version__}, which cannot save the "
            "crops; install another, or export safetensors"
        )


def predict_as_eval(network, films, crop_size):
    """Return what eval.py predicts of films, float32 `[N, C]`."""
    # Paddle 2.6 fails on the program that it would do so with.
    fast = network if IS_PADDLE_2 else run_on_cpu(network, crop_size)[0]
    ten_crop = TenCrop(fast, crop_size)
    with paddle.no_grad():
        return np.concatenate([ten_crop(paddle.to_tensor(film)).numpy() for film in films])


def describe(form, digest, resize, crop_size, window):
    """Return what a file says of itself: a dict from text to text; no "window" if there is none."""
    metadata = {
        "classes": ",".join(CLASS_NAMES),
        "weights_sha256": digest,
        "preprocessing": f"grey plane of the film, short side {resize} pixels (PIL, bilinear)",
        "input": f"uint8 [N, 1, {resize}, {resize}]",
        "output": f"float32 [N, {len(CLASS_NAMES)}], probabilities, mean of ten crops of "
        f"{crop_size} pixels",
        "resize": str(resize),
        "crop_size": str(crop_size),
        "notice": "not for clinical use",
    }
    if window:
        metadata["window"] = shown_window(window)
        metadata["preprocessing"] += "; before, the window's values as 0 to 255 (DICOM, 16 bits)"
    if form in ("safetensors", "torch"):  # no crops, only the weights
        metadata["input"] = f"float32 [N, 3, {crop_size}, {crop_size}], normalised"
        metadata["output"] = f"float32 [N, {len(CLASS_NAMES)}], probabilities"
    if form == "web":
        metadata["input"] = f"crops: uint8 [N, 1, {crop_size}, {crop_size}]"
        metadata["output"] = (
            f"probabilities: float32 [N, {len(CLASS_NAMES)}]; "
            f"maps: float32 [N, {len(CLASS_NAMES)}, h, w]"
        )
    return metadata


def read_square(path, side, reading):
    """Read a film that is square, as all of this data set are: uint8 `[1, side, side]`."""
    film = read_film(path, side, reading=reading)
    if film.shape != (1, side, side):
        height, width = film.shape[1:]
        raise UserError(f"{path}: want a square film, got {width} x {height}; give another")
    return film


def export_paddle(layer, path, films, metadata):
    """Save a program for Paddle Inference; return what it predicts."""
    pixels = np.concatenate(films)
    paddle.jit.save(layer, path, input_spec=[spec_of(pixels)])
    held = paddle.jit.load(path).state_dict()  # under names of Paddle's own
    check_held(
        layer.state_dict(), (tensor.numpy() for tensor in held.values()), f"{path}.pdiparams"
    )
    write_json(f"{path}.paddle.metadata.json", metadata)
    config = paddle.inference.Config(f"{path}.json", f"{path}.pdiparams")
    config.disable_glog_info()
    config.disable_gpu()
    predictor = paddle.inference.create_predictor(config)
    (probs,) = predictor.run([paddle.to_tensor(pixels)])
    return probs.numpy()


def spec_of(pixels):
    """Return what a program takes: as many films as one likes, of these films' size."""
    return paddle.static.InputSpec([None, *pixels.shape[1:]], "uint8", "films")


def export_onnx(layer, path, films, metadata):
    """Save an ONNX model; return what ONNX Runtime predicts with it."""
    import onnxruntime

    pixels = np.concatenate(films)
    target = f"{path}.onnx"
    write_onnx(layer, target, spec_of(pixels), ["probabilities"], metadata)
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"films": pixels})[0]


def export_web(layer, path, films, metadata, args, known):
    """Save a page with the network; return what it predicts, in Node."""
    crops = CropNetwork(layer.network)
    crops.eval()
    entry = paddle.static.InputSpec([None, 1, layer.size, layer.size], "uint8", "crops")
    write_onnx(crops, f"{path}.onnx", entry, ["probabilities", "maps"], metadata)
    folder = f"{path}-web"
    network = {"weights": os.path.basename(args.weights), "sha256": metadata["weights_sha256"]}
    preparation = {key: getattr(args, key) for key in ("crop_size", "resize", "window")}
    write_site(folder, f"{path}.onnx", network, preparation, known)
    return predict_in_node(folder, args.films)


def export_safetensors(layer, path, films, metadata):
    """Save only the weights; return what the network predicts with them."""
    target = f"{path}.safetensors"
    state = {name: tensor.numpy() for name, tensor in layer.network.state_dict().items()}
    save_safetensors(state, target, metadata)
    network = read_network(target)
    for name, tensor in network.state_dict().items():
        if not np.array_equal(tensor.numpy(), state[name]):
            raise UserError(
                f"--format safetensors: the file holds another {name} than the network; nothing is "
                "written, please report it"
            )
    with paddle.no_grad():
        return TenCrop(network, layer.size)(paddle.to_tensor(np.concatenate(films))).numpy()


def export_torch(layer, path, films, metadata):
    """Save a PyTorch state dict; return what PyTorch predicts with it."""
    write_json(f"{path}.torch.metadata.json", metadata)
    state = {name: tensor.numpy() for name, tensor in layer.network.state_dict().items()}
    crops = paddle.concat(layer.crops(paddle.to_tensor(np.concatenate(films)))).numpy()
    probs = write_torch(state, crops, f"{path}.pth")  # [10 N, C]
    return probs.reshape(10, len(films), -1).mean(axis=0)


# What writes a format, and how the names of its files end; the first is the one to name.
EXPORTS = {
    "paddle": (export_paddle, ".json", ".pdiparams", ".paddle.metadata.json"),
    "onnx": (export_onnx, ".onnx"),
    "safetensors": (export_safetensors, ".safetensors"),
    "torch": (export_torch, ".pth", ".torch.metadata.json"),
    "web": (export_web, "-web"),
}

if __name__ == "__main__":
    command_line.run(main, ARGS)
