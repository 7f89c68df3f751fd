"""The network for other programs: films of 256 x 256 bytes in, 14 probabilities out.

    python export.py film.png --weights pretrained_models/model_from_torch.pdparams --format onnx

Scaling, normalisation and the ten crops are inside. The films are what it is checked on before it
is written; it ends with

    wrote exported/model_from_torch.onnx; largest difference from eval.py on 1 films: <number>
"""

import importlib.util
import os
import tempfile

# Programs are saved in Paddle 3's own format; the older one, which `environment` asks for, has no
# sigmoid.
os.environ["FLAGS_enable_pir_api"] = "1"  # noqa: SIM112

from runtime import command_line

EXAMPLES = """\
  python export.py film.png --weights save/best_model.pdparams --format onnx
  python export.py film.png --weights save/best_model.pdparams --format torch
"""


def parse_args():
    parser = command_line.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument(
        "films",
        nargs="+",
        metavar="FILM",
        help="real films, to check the export on before it is written",
    )
    parser.add_argument("--weights", required=True, help=".pdparams or .safetensors file")
    parser.add_argument(
        "--format",
        choices=["paddle", "onnx", "safetensors", "torch"],
        required=True,
        help="paddle: for Paddle Inference; safetensors: the weights alone; "
        "torch: a state dict for torchvision's densenet121",
    )
    parser.add_argument("--output-dir", default="exported", help="folder for the files")
    command_line.add_size_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once

import numpy as np
import paddle
import safetensors.numpy

from dataset import CLASS_NAMES, read_film
from inference.engine import load_network
from inference.film_sizes import set_sizes
from inference.torch_file import write_torch
from model import CheXNet, TenCrop, load_weights
from runtime.devices import set_device
from runtime.files import UserError, sha256, write_json
from runtime.torch_checkpoint import INSTALL_TORCH

IS_PADDLE_2 = paddle.__version__.startswith("2")
TOLERANCE = 1e-5
PACKAGES = {
    "onnx": (
        ["paddle2onnx", "onnx", "onnxruntime"],
        "pip install paddle2onnx==2.1.0 onnx onnxruntime",
    ),
    "torch": (["torch"], INSTALL_TORCH),
}
# What paddle2onnx 2.1 writes and ONNX Runtime 1.17 and later reads.
OPSET = 17


class BatchedTenCrop(TenCrop):
    """`TenCrop` with the crops in one batch: the network is in the program once, not ten times."""

    def forward(self, films):
        """Return the mean of the ten probabilities, as `TenCrop` does."""
        probs = self.network(paddle.concat(self.crops(films)))  # [10 N, C]
        return paddle.reshape(probs, [10, -1, probs.shape[1]]).mean(axis=0)


def main(args):
    set_sizes(args)
    wanted, remedy = PACKAGES.get(args.format, ([], None))
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--format {args.format}: the package {missing[0]} is not installed; {remedy}"
        )
    if args.format in ("paddle", "onnx") and IS_PADDLE_2:
        raise UserError(
            f"--format {args.format}: want Paddle 3, got {paddle.__version__}, which cannot save "
            "the crops; install another, or export safetensors"
        )
    set_device("cpu")
    pixels = np.stack([read_square(path, args.resize) for path in args.films])
    network = CheXNet()
    load_weights(network, args.weights)
    network.eval()
    with paddle.no_grad():
        # As eval.py computes it; Paddle 2.6 fails on the program that it would do so with.
        fast = network if IS_PADDLE_2 else load_network(args.weights, args.crop_size)
        expected = TenCrop(fast, args.crop_size)(paddle.to_tensor(pixels)).numpy()

    metadata = {
        "classes": ",".join(CLASS_NAMES),
        "weights_sha256": sha256(args.weights),
        "preprocessing": f"grey plane of the film, short side {args.resize} pixels (PIL, bilinear)",
        "input": f"uint8 [N, 1, {args.resize}, {args.resize}]",
        "output": f"float32 [N, 14], probabilities, mean of ten crops of {args.crop_size} pixels",
        "resize": str(args.resize),
        "crop_size": str(args.crop_size),
        "notice": "not for clinical use",
    }
    if args.format in ("safetensors", "torch"):  # the weights alone
        metadata["input"] = f"float32 [N, 3, {args.crop_size}, {args.crop_size}], normalised"
        metadata["output"] = "float32 [N, 14], probabilities"
    stem = os.path.splitext(os.path.basename(args.weights))[0]
    os.makedirs(args.output_dir, exist_ok=True)
    # On the same disk, so that what has passed takes its name in one step.
    with tempfile.TemporaryDirectory(dir=args.output_dir) as folder:
        path = os.path.join(folder, stem)
        layer = BatchedTenCrop(network, args.crop_size)
        layer.eval()
        written, probs = EXPORTS[args.format](layer, path, pixels, metadata)
        difference = float(np.abs(probs - expected).max())
        if not difference <= TOLERANCE:
            raise UserError(
                f"{args.format}: want predictions within {TOLERANCE} of eval.py's, got "
                f"{difference:.1e}; nothing is written, please report it"
            )
        for name in written:
            os.replace(os.path.join(folder, name), os.path.join(args.output_dir, name))
    print(
        f"wrote {os.path.join(args.output_dir, written[0])}; largest difference from eval.py on "
        f"{len(pixels)} films: {difference:.1e}"
    )


def read_square(path, side):
    """Read a film that is square, as all of this data set are: uint8 `[1, side, side]`."""
    film = read_film(path, side)
    if film.shape != (1, side, side):
        height, width = film.shape[1:]
        raise UserError(f"{path}: want a square film, got {width} x {height}; give another")
    return film


def export_paddle(layer, path, pixels, metadata):
    """Save a program for Paddle Inference; return the files' names and what it predicts."""
    spec = paddle.static.InputSpec([None, *pixels.shape[1:]], "uint8", "films")
    paddle.jit.save(layer, path, input_spec=[spec])
    write_json(f"{path}.metadata.json", metadata)
    config = paddle.inference.Config(f"{path}.json", f"{path}.pdiparams")
    config.disable_glog_info()
    config.disable_gpu()
    predictor = paddle.inference.create_predictor(config)
    films = predictor.get_input_handle(predictor.get_input_names()[0])
    films.copy_from_cpu(pixels)
    predictor.run()
    probs = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
    stem = os.path.basename(path)
    return [f"{stem}.json", f"{stem}.pdiparams", f"{stem}.metadata.json"], probs


def export_onnx(layer, path, pixels, metadata):
    """Save an ONNX model; return the file's name and what ONNX Runtime predicts with it."""
    import onnx
    import onnxruntime
    import paddle2onnx

    export_paddle(layer, path, pixels, metadata)
    target = f"{path}.onnx"
    paddle2onnx.export(
        f"{path}.json", f"{path}.pdiparams", target, opset_version=OPSET, optimize_tool="None"
    )
    model = onnx.load(target)
    graph = model.graph
    old = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["probabilities" if name == old else name for name in node.output]
    graph.output[0].name = "probabilities"
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    # Constants that nothing reads, of which ONNX Runtime would warn one by one.
    read = {name for node in graph.node for name in node.input}
    kept = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in read]
    del graph.node[:]
    graph.node.extend(kept)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    (probs,) = session.run(["probabilities"], {"films": pixels})
    return [os.path.basename(target)], probs


def export_safetensors(layer, path, pixels, metadata):
    """Save the weights alone; return the file's name and what the network predicts with them."""
    target = f"{path}.safetensors"
    state = {name: tensor.numpy() for name, tensor in layer.network.state_dict().items()}
    with open(target, "wb") as file:
        file.write(safetensors.numpy.save(state, metadata))
    network = CheXNet()
    load_weights(network, target)
    network.eval()
    with paddle.no_grad():
        probs = TenCrop(network, layer.size)(paddle.to_tensor(pixels)).numpy()
    return [os.path.basename(target)], probs


def export_torch(layer, path, pixels, metadata):
    """Save a PyTorch state dict; return the files' names and what PyTorch predicts with it."""
    write_json(f"{path}.metadata.json", metadata)
    state = {name: tensor.numpy() for name, tensor in layer.network.state_dict().items()}
    crops = paddle.concat(layer.crops(paddle.to_tensor(pixels))).numpy()
    probs = write_torch(state, crops, f"{path}.pth")  # [10 N, C]
    stem = os.path.basename(path)
    probs = probs.reshape(10, len(pixels), -1).mean(axis=0)
    return [f"{stem}.pth", f"{stem}.metadata.json"], probs


EXPORTS = {
    "paddle": export_paddle,
    "onnx": export_onnx,
    "safetensors": export_safetensors,
    "torch": export_torch,
}

if __name__ == "__main__":
    command_line.run(main, ARGS)
