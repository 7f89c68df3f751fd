"""A network on the CPU through Paddle Inference: the same predictions in a fraction of the time."""

import os
import tempfile

import numpy as np
import paddle
from paddle import nn

from model import normalize
from runtime.environment import cores_of_rank


class NoEngine(Exception):
    """An engine of Paddle Inference cannot be used here; the text says why."""


class CPUPredictor(nn.Layer):
    """CheXNet through a Paddle Inference predictor: OpenVINO or oneDNN.

    A layer like the network it was made from, so that `TenCrop` and `paddle.Model` take it.

    Args:
        network: a `CheXNet`; later changes of its weights are not seen.
        size: side of the images, pixels.
        precision: "fp32", or "bf16" on a processor that `has_bfloat16`.
        engine: "openvino" or "onednn"; None: OpenVINO where this Paddle says that it has it.

    Raises:
        NoEngine: this Paddle lacks the engine.
        Exception: of any type, from Paddle's C++ side, where the engine does not run.
    """

    # Images at a time: few enough for the largest activations to stay in the cache (measured by
    # `make bench`).
    chunk = 2

    def __init__(self, network, size=224, precision="fp32", engine=None):
        super().__init__()
        from paddle import inference

        self.network = network
        self.engine = engine or ("openvino" if _may_have_openvino() else "onednn")
        # Windows removes no file that is in use.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            _save(network, os.path.join(folder, "network"), size)
            (program,) = (
                os.path.join(folder, name)
                for name in os.listdir(folder)
                if name.endswith((".json", ".pdmodel"))
            )
            config = inference.Config(program, os.path.join(folder, "network.pdiparams"))
            config.disable_gpu()
            config.disable_glog_info()
            config.set_optim_cache_dir(folder)  # OpenVINO's, else ./__cache__ of 28 MB a run
            config.set_cpu_math_library_num_threads(cores_of_rank())
            (_set_openvino if self.engine == "openvino" else _set_onednn)(config, precision)
            self._predictor = inference.create_predictor(config)
        predictor = self._predictor
        self._input = predictor.get_input_handle(predictor.get_input_names()[0])
        self._output = predictor.get_output_handle(predictor.get_output_names()[0])
        # What does not run is found out here, not at the first film.
        self.features(paddle.zeros([self.chunk, 3, size, size]))

    def forward(self, images):
        """Return probabilities float32 `[N, C]`, for images as `CheXNet.forward` takes them."""
        return self.classify(self.features(images))

    def features(self, images):
        """Return the final feature maps, as `CheXNet.features` does."""
        if images.dtype == paddle.uint8:
            images = normalize(images)
        pixels = images.numpy()
        features = []
        for start in range(0, len(pixels), self.chunk):
            self._input.copy_from_cpu(np.ascontiguousarray(pixels[start : start + self.chunk]))
            self._predictor.run()
            features.append(self._output.copy_to_cpu())
        return paddle.to_tensor(np.concatenate(features))

    def classify(self, features):
        """Return probabilities, as `CheXNet.classify` does: in float32, whatever the precision."""
        # One at a time: of several, how many there are decides how the head's product is rounded.
        each = [self.network.classify(features[n : n + 1]) for n in range(len(features))]
        return paddle.concat(each)

    def class_maps(self, features):
        """Return class activation maps, as `CheXNet.class_maps` does."""
        return self.network.class_maps(features)


class _Features(nn.Layer):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network.features(images)


def _save(network, path, size):
    """Save a network up to its features; the older format has no sigmoid for the head."""
    training = network.training
    spec = [paddle.static.InputSpec([None, 3, size, size], "float32", "images")]
    features = _Features(network)
    features.eval()  # and the network with it
    try:
        paddle.jit.save(features, path, input_spec=spec)
    finally:
        if training:
            network.train()


def _may_have_openvino():
    """Tell whether OpenVINO may run here. The wheels for macOS and Windows claim it and lack it.

    It takes effect only on programs saved as Paddle 2 did (`runtime.environment` asks for that);
    with the newer format Paddle falls back in silence.
    """
    flag = "FLAGS_enable_pir_api"
    saves_older_programs = flag in paddle.base.core.globals() and not paddle.get_flags([flag])[flag]
    return saves_older_programs and hasattr(paddle.inference.Config, "enable_openvino_engine")


def _set_openvino(config, precision):
    if not _may_have_openvino():
        has = hasattr(paddle.inference.Config, "enable_openvino_engine")
        raise NoEngine(
            "OpenVINO takes only programs of Paddle 2's format"
            if has
            else "this Paddle has no OpenVINO engine"
        )
    kind = paddle.inference.PrecisionType
    config.enable_openvino_engine(kind.Bfloat16 if precision == "bf16" else kind.Float32)
    if not config.openvino_engine_enabled():
        raise NoEngine("this Paddle has no OpenVINO engine")


def _set_onednn(config, precision):
    config.enable_mkldnn()
    if not config.mkldnn_enabled():
        raise NoEngine("this Paddle has no oneDNN engine")
    if hasattr(config, "set_mkldnn_cache_capacity"):  # not on macOS
        config.set_mkldnn_cache_capacity(4)  # a whole chunk and a last one, and some
    if precision == "bf16":
        config.enable_mkldnn_bfloat16()


def has_bfloat16():
    """Tell whether this processor computes in bfloat16 (AVX512-BF16, which those with AMX have)."""
    return paddle.base.core.supports_bfloat16_fast_performance()
