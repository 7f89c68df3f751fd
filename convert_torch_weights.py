"""Turn a PyTorch CheXNet checkpoint into a Paddle one that predicts the same.

    python convert_torch_weights.py model.pth.tar pretrained_models/model_from_torch.pdparams

ends with

    wrote pretrained_models/model_from_torch.pdparams, sha256 <64 hex digits>; largest difference
    from PyTorch on a phantom film: 8.9e-08

in one line. The file takes its name only once it was read back, each tensor has the checkpoint's
values, and the 14 probabilities of a phantom film are PyTorch's to 1e-5. Pickled checkpoints
(.pth, .pt, .pth.tar) need torch (a CPU wheel will do: requirements-dev.txt) and are read with
`weights_only=True`, in a process without Paddle; .safetensors files need no torch: without it the
tensors are compared, and no film.
"""

import importlib.util
import re
import sys

from runtime import command_line

EXAMPLES = """\
  python convert_torch_weights.py model.pth.tar pretrained_models/model_from_torch.pdparams
  python convert_torch_weights.py densenet121.pth pretrained_models/imagenet_backbone.pdparams \\
      --backbone-only
"""


def parse_args():
    parser = command_line.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("checkpoint", help="PyTorch checkpoint: .pth, .pt, .pth.tar, .safetensors")
    parser.add_argument("output", help="Paddle weights to write: .pdparams")
    parser.add_argument(
        "--backbone-only",
        action="store_true",
        help="leave out the checkpoint's head (of ImageNet's 1000 classes, say); write a fresh one",
    )
    parser.add_argument(
        "--transposed",
        action="store_true",
        help="the network was trained on films with rows and columns swapped, as MONAI's LoadImage "
        "gives them: swap those of its kernels, so that it takes upright films",
    )
    args = parser.parse_args()
    if not args.output.endswith(".pdparams"):
        parser.error(f"{args.output}: the output's name must end in .pdparams")
    return args


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once

import numpy as np
import paddle

from films.label_lists import CLASS_NAMES
from model import CheXNet, load_weights, normalize
from runtime.files import UserError, refuse_placeholder, sha256, write_whole
from weights.array_pipe import digest
from weights.torch_checkpoint import Checkpoint, read_torch
from weights.torch_names import paddle_name
from weights.trained_sizes import USUAL, shown_window, trained_sizes, trained_window
from weights.untrusted_files import read_safetensors
from weights.weight_files import state_bytes

TOLERANCE = 1e-5  # of a probability
MONAI_NOTE = (
    "note: {} names its tensors as MONAI does, whose LoadImage swaps a film's rows and columns: if "
    "the network was trained on such films, convert it with --transposed"
)
# What lies among a network's tensors and is none: of averaged weights, and a loss's weights.
BESIDE = re.compile(r"(?:^|\.)(?:n_averaged|pos_weight)$")
HEAD = "densenet121.out."
HEAD_WEIGHT = f"{HEAD}0.weight"


def main(args):
    paddle.seed(0)  # a fresh head is the same each time
    network = CheXNet(len(CLASS_NAMES))
    network.eval()
    fresh = network.densenet121.out[0]
    head = (fresh.weight.numpy().T, fresh.bias.numpy()) if args.backbone_only else None
    crops = normalize(paddle.to_tensor(phantom()))
    given = swapped(crops.numpy()) if args.transposed else crops.numpy()
    checkpoint = read_checkpoint(args.checkpoint, given, head)
    if not args.transposed and any(".layers.norm1." in name for name in checkpoint.arrays):
        print(MONAI_NOTE.format(args.checkpoint), file=sys.stderr)
    state, dropped = convert(checkpoint.arrays, network, args.checkpoint, args.backbone_only)
    tensors = network.state_dict()
    for name, array in state.items():
        tensors[name].set_value(swapped(array) if args.transposed else array)
    with write_whole(args.output) as file:
        file.write(state_bytes(tensors))
        file.flush()
        load_weights(network, file.name)
        prove_tensors(
            args.checkpoint, checkpoint, network.state_dict(), args.backbone_only, args.transposed
        )
        film = prove_film(args.checkpoint, checkpoint.probs, network, crops)

    parameters = sum(p.size for p in network.parameters() if not p.stop_gradient)
    print(f"converted {len(state)} of {len(checkpoint.arrays)} tensors")
    print(f"dropped {dropped['counters']} num_batches_tracked, which Paddle has no use for")
    for name in dropped["beside"]:
        print(f"dropped {name}, which is no part of the network")
    if args.backbone_only:
        print(f"dropped {dropped['head']} tensors of the head; the network's is fresh")
    print(f"{parameters:,} trainable parameters")
    print(f"wrote {args.output}, sha256 {sha256(args.output)}; {film}")
    say_options(args.checkpoint, args.output)


def say_options(checkpoint, output):
    """Say which options the weights take, where export.py has written others by the checkpoint."""
    sizes, _ = trained_sizes(checkpoint)
    window, source = trained_window(checkpoint)
    options = []
    if sizes and sizes != USUAL:
        options += [f"--resize {sizes['resize']} --crop-size {sizes['crop_size']}"]
    if window:
        options += [f"--window={shown_window(window)}"]  # "=": a centre may be negative
    if options:
        print(f"note: give {output} with {' '.join(options)}, of {source}", file=sys.stderr)


def swapped(array):
    """Swap rows and columns of kernels `[out, in, H, W]` or films `[K, C, H, W]`; others stay.

    A network with swapped kernels gives a film what the network gave the swapped film: convolution,
    pooling and batch normalisation treat both axes alike, and the head sees means over both.
    """
    return np.ascontiguousarray(array.swapaxes(2, 3)) if array.ndim == 4 else array


def phantom(side=224):
    """Draw a crop to try networks on, two dark lungs in a bright chest: uint8 `[1, 1, H, W]`."""
    down, across = np.mgrid[0:side, 0:side] / side
    lungs = sum(np.hypot((across - x) / 0.16, (down - 0.45) / 0.33) < 1 for x in (0.28, 0.72))
    grey = 120 + 90 * np.cos(3 * (across - 0.5)) * (1 - 0.7 * lungs) + 20 * np.sin(40 * down)
    return grey.clip(0, 255).astype(np.uint8)[np.newaxis, np.newaxis]


def read_checkpoint(path, crops, head=None):
    """Read a checkpoint without running code from it, and what PyTorch predicts with it.

    Args:
        path: what torch.save wrote (zip or legacy form), or a .safetensors file.
        crops, head: as `read_torch` has them.

    Returns:
        a `Checkpoint`; float16 and bfloat16 are widened to float32. Without torch a .safetensors
        file has no probabilities.

    Raises:
        UserError: the file is missing, broken, or no state dict.
    """
    with open(path, "rb"):  # a missing file is reported before torch is asked for
        pass
    refuse_placeholder(path)
    if path.endswith(".pdparams"):
        raise UserError(f"{path}: this is a Paddle file already; give it to --weights as it is")
    if path.endswith(".safetensors") and importlib.util.find_spec("torch") is None:
        arrays = {
            name: array.astype(np.float32) if array.dtype.kind == "f" else array
            for name, array in read_safetensors(path).items()
        }
        return Checkpoint(arrays, {name: digest(a) for name, a in arrays.items()}, None)
    return read_torch(path, crops, head)


def prove_tensors(path, checkpoint, state, backbone_only, transposed=False):
    """Raise UserError unless each tensor that was read back has the checkpoint's values.

    Args:
        path: the checkpoint's, for messages.
        checkpoint: a `Checkpoint`.
        state: dict from Paddle's name to tensor, of the file that was written.
        backbone_only: the head is none of the checkpoint's.
        transposed: its kernels are the checkpoint's with rows and columns swapped.
    """
    for torch_name, wanted in checkpoint.digests.items():
        name = paddle_name(torch_name)
        if name not in state or (backbone_only and name.startswith(HEAD)):
            continue
        array = swapped(state[name].numpy()) if transposed else state[name].numpy()
        if not np.array_equal(digest(array.T if name == HEAD_WEIGHT else array), wanted):
            raise UserError(
                f"{path}: {torch_name} has other values after conversion; nothing is written, "
                "please report it"
            )


def prove_film(path, wanted, network, crops):
    """Compare the probabilities of a phantom film with PyTorch's; return what to say of it.

    Args:
        path: the checkpoint's, for messages.
        wanted: float32 `[1, 14]`, PyTorch's, or None.
        network: the converted network.
        crops: tensor `[1, 3, H, W]`, normalised.

    Raises:
        UserError: they differ by more than `TOLERANCE`.
    """
    if wanted is None:
        return "no film was compared: that takes the package torch"
    with paddle.no_grad():
        difference = float(np.abs(network(crops).numpy() - wanted).max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"{path}: want probabilities of a phantom film within {TOLERANCE} of PyTorch's, got "
            f"{difference:.1e}; nothing is written, please report it"
        )
    return f"largest difference from PyTorch on a phantom film: {difference:.1e}"


def convert(torch_state, network, path, backbone_only=False):
    """Map every tensor of a torch state dict to one of the network's, and the other way round.

    Args:
        torch_state: dict from torch's name to array.
        network: the CheXNet whose tensors are wanted.
        path: the checkpoint's, for messages.
        backbone_only: take no head from the checkpoint.

    Returns:
        state: dict from Paddle's name to float32 array.
        dropped: {"counters": number of num_batches_tracked, "head": number of head tensors,
            "beside": names of what is `BESIDE` the network}.

    Raises:
        UserError: naming a tensor that is left over on either side, or of another shape.
    """
    wanted = network.state_dict()
    state, dropped = {}, {"counters": 0, "head": 0, "beside": []}
    # Biases last: of a head that does not fit, the weight's shape says more.
    for torch_name, array in sorted(torch_state.items(), key=lambda item: "bias" in item[0]):
        if torch_name.endswith("num_batches_tracked"):
            dropped["counters"] += 1
            continue
        if BESIDE.search(torch_name):
            dropped["beside"].append(torch_name)
            continue
        name = paddle_name(torch_name)
        is_head = name is not None and name.startswith(HEAD)
        if backbone_only and is_head:
            dropped["head"] += 1
            continue
        if name not in wanted or name in state:
            why = f"{list(array.shape)} of its own; this network has another architecture, or it "
            why += "is of a loss or a metric: save the state dict without it then"
            if name in state:
                why = "the same tensor twice; of two networks (student and teacher, say) save one"
            raise UserError(
                f"{path}: want only DenseNet-121 and its head, got {torch_name!r}, {why}"
            )
        if not np.isfinite(array).all():
            raise UserError(
                f"{path}: {torch_name} has NaN or infinity in it; take an earlier checkpoint"
            )
        if name == HEAD_WEIGHT:
            array = array.T  # torch's Linear keeps [out, in], Paddle's [in, out]
        if list(array.shape) != list(wanted[name].shape):
            raise UserError(_wrong_shape(path, torch_name, array, wanted[name], is_head))
        state[name] = np.ascontiguousarray(array, np.float32)
    for name in wanted:
        if name not in state and not (backbone_only and name.startswith(HEAD)):
            headless = " (without its head: --backbone-only)" if name.startswith(HEAD) else ""
            raise UserError(
                f"{path}: no tensor for {name} in it; the checkpoint is not a complete "
                f"DenseNet-121{headless}"
            )
    return state, dropped


def _wrong_shape(path, torch_name, array, wanted, is_head):
    """Return the message for a tensor of the right name and the wrong shape."""
    message = f"{path}: want {torch_name} of shape {list(wanted.shape)}, got {list(array.shape)}; "
    if is_head:
        head = "in Paddle's order, [features, classes]" if array.ndim == 2 else "a bias a class"
        return (
            f"{message}its head has other classes ({head}): convert with --backbone-only and "
            "train the head"
        )
    if array.ndim == 4 and array.shape[1] == 1:
        return f"{message}it takes one-channel images scaled another way (torchxrayvision's do)"
    return f"{message}this network has another architecture"


if __name__ == "__main__":
    command_line.run(main, ARGS)
