"""What runs a network on a device: Paddle Inference on a CPU, dygraph elsewhere."""

import sys

import paddle

from films.label_lists import CLASS_NAMES
from inference.cpu_predictor import CPUPredictor, NoEngine, has_bfloat16
from model import AutoCast, CheXNet, load_weights
from runtime.devices import print_on_first_rank
from runtime.files import UserError, first_line
from runtime.precision import check_precision, current_float32_kind

HALF_PRECISION = {"bf16": "bfloat16", "fp16": "float16"}


def load_network(path, size=224):
    """Return CheXNet with weights, as fast as Paddle's current device runs it in float32.

    Args:
        path: of the weights.
        size: side of the images, pixels.

    Returns:
        A `CheXNet`, or on a CPU a `CPUPredictor` of one; both have `features`, `classify` and
        `class_maps`.

    Raises:
        UserError: as `model.load_weights`.
    """
    network = read_network(path)
    return run_on_cpu(network, size)[0] if paddle.get_device() == "cpu" else network


def read_network(path):
    """Return a `CheXNet` with weights, in eval mode.

    Raises:
        UserError: as `model.load_weights`.
    """
    network = CheXNet(len(CLASS_NAMES))
    load_weights(network, path)
    network.eval()
    return network


def choose_engine(network, size, precision="fp32"):
    """Return a network as fast as Paddle's current device runs it.

    Args:
        network: a `CheXNet`.
        size: side of the images, pixels.
        precision: "fp32", "tf32", "bf16" or "fp16".

    Returns:
        layer: takes what `network` takes.
        precision: what it computes in: "fp32" where a processor has no bfloat16, "tf32" where
            NVIDIA_TF32_OVERRIDE is set otherwise than `runtime.environment` does.
        engine: "dygraph", "openvino" or "onednn".

    Raises:
        UserError: the device lacks the precision.
    """
    if paddle.get_device() != "cpu":
        dtype = HALF_PRECISION.get(precision)
        if precision != "fp32":
            check_precision(f"--precision {precision}", dtype or precision)
        if dtype:
            return AutoCast(network, dtype), precision, "dygraph"
        return network, current_float32_kind(), "dygraph"
    if precision in ("fp16", "tf32"):
        raise UserError(
            f"--precision {precision}: a CPU has only fp32 and bf16; use one of them or a GPU"
        )
    if precision == "bf16" and not has_bfloat16():
        print("this processor has no AVX512-BF16 or AMX: computing in fp32", file=sys.stderr)
        precision = "fp32"
    layer, engine = run_on_cpu(network, size, precision)
    return layer, "fp32" if engine == "dygraph" else precision, engine


def run_on_cpu(network, size, precision="fp32"):
    """Return a network as fast as this Paddle runs it on a CPU, and the engine's name.

    Each engine that is tried in vain is a line on stderr; dygraph computes only in fp32.

    Args:
        network, size, precision: as `CPUPredictor`.
    """
    for engine, name, instead in (
        ("openvino", "OpenVINO", "oneDNN"),
        ("onednn", "oneDNN", "dygraph in fp32, which is slower"),
    ):
        try:
            return CPUPredictor(network, size, precision, engine), engine
        except NoEngine as reason:
            print_on_first_rank(f"{reason}: using {instead}", file=sys.stderr)
        except Exception as error:  # Paddle's C++ side raises what it likes
            print_on_first_rank(
                f"the {name} engine does not run ({first_line(error)}): using {instead}",
                file=sys.stderr,
            )
    return network, "dygraph"
