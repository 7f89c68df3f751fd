"""Turn a PyTorch CheXNet checkpoint into a Paddle one that predicts the same.

    python convert_torch_weights.py model.pth.tar pretrained_models/model_from_torch.pdparams

ends with

    wrote pretrained_models/model_from_torch.pdparams, sha256 <64 hex digits>

Pickled checkpoints (.pth, .pt, .pth.tar) need torch (a CPU wheel will do: requirements-dev.txt) and
are read with `weights_only=True`, in a process without Paddle; .safetensors files need no torch.
"""

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
    args = parser.parse_args()
    if not args.output.endswith(".pdparams"):
        parser.error(f"{args.output}: the output's name must end in .pdparams")
    return args


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once

import numpy as np
import paddle

from films.label_lists import CLASS_NAMES
from model import CheXNet
from runtime.files import UserError, sha256
from weights.torch_checkpoint import read_torch
from weights.torch_names import paddle_name
from weights.untrusted_files import read_safetensors
from weights.weight_files import save_state


def main(args):
    torch_state = read_checkpoint(args.checkpoint)
    paddle.seed(0)  # a fresh head is the same each time
    network = CheXNet(len(CLASS_NAMES))
    state, dropped = convert(torch_state, network, args.checkpoint, args.backbone_only)
    tensors = network.state_dict()
    for name, array in state.items():
        tensors[name].set_value(array)
    save_state(tensors, args.output)

    parameters = sum(p.size for p in network.parameters() if not p.stop_gradient)
    print(f"converted {len(state)} of {len(torch_state)} tensors")
    print(f"dropped {dropped['counters']} num_batches_tracked, which Paddle has no use for")
    if args.backbone_only:
        print(f"dropped {dropped['head']} tensors of the head; the network's is fresh")
    print(f"{parameters:,} trainable parameters")
    print(f"wrote {args.output}, sha256 {sha256(args.output)}")


def read_checkpoint(path):
    """Read the state dict of a checkpoint without running code from it.

    Args:
        path: what torch.save wrote (zip or legacy form), or a .safetensors file.

    Returns:
        dict from name to NumPy array; float16 and bfloat16 are widened to float32.

    Raises:
        UserError: the file is missing, broken, or no state dict.
    """
    with open(path, "rb"):  # a missing file is reported before torch is asked for
        pass
    if path.endswith(".pdparams"):
        raise UserError(f"{path}: this is a Paddle file already; give it to --weights as it is")
    arrays = read_safetensors(path) if path.endswith(".safetensors") else read_torch(path)
    return {name: _widen(array) for name, array in arrays.items()}


def _widen(array):
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def convert(torch_state, network, path, backbone_only=False):
    """Map every tensor of a torch state dict to one of the network's, and the other way round.

    Args:
        torch_state: dict from torch's name to array.
        network: the CheXNet whose tensors are wanted.
        path: the checkpoint's, for messages.
        backbone_only: take no head from the checkpoint.

    Returns:
        state: dict from Paddle's name to float32 array.
        dropped: {"counters": number of num_batches_tracked, "head": number of head tensors}.

    Raises:
        UserError: naming a tensor that is left over on either side, or of another shape.
    """
    wanted = network.state_dict()
    state, dropped = {}, {"counters": 0, "head": 0}
    # Biases last: of a head that does not fit, the weight's shape says more.
    for torch_name, array in sorted(torch_state.items(), key=lambda item: "bias" in item[0]):
        if torch_name.endswith("num_batches_tracked"):
            dropped["counters"] += 1
            continue
        name = paddle_name(torch_name)
        is_head = name is not None and name.startswith("densenet121.out.")
        if backbone_only and is_head:
            dropped["head"] += 1
            continue
        if name not in wanted or name in state:
            why = "the same tensor twice" if name in state else f"{list(array.shape)} of its own"
            raise UserError(
                f"{path}: want DenseNet-121 and its head alone, got {torch_name!r}, {why}; "
                "this network has another architecture"
            )
        if name == "densenet121.out.0.weight":
            array = array.T  # torch's Linear keeps [out, in], Paddle's [in, out]
        if list(array.shape) != list(wanted[name].shape):
            raise UserError(_wrong_shape(path, torch_name, array, wanted[name], is_head))
        state[name] = np.ascontiguousarray(array, np.float32)
    for name in wanted:
        if name not in state and not (backbone_only and name.startswith("densenet121.out.")):
            raise UserError(
                f"{path}: want a tensor for {name}, got none; the checkpoint is not a complete "
                "DenseNet-121" + (" (without its head: --backbone-only)" if ".out." in name else "")
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
