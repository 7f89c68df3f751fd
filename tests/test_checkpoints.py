import os
import signal
import subprocess
import sys
import types

import numpy as np
import paddle
import pytest
from helpers.folders import tree
from helpers.places import ROOT
from paddle.base.layer_helper import LayerHelper
from paddle.utils import unique_name

from films.label_lists import CLASS_NAMES
from metrics import AUROC
from runtime.files import UserError
from training.callbacks import BestModel
from training.checkpoints import Checkpoints, Run, find_checkpoints
from training.recipe import make_optimizer
from weights.untrusted_files import read_pickle


def small_run(folder, half=False):
    """A network of five layers with Adam, as train.py has them, and their Checkpoints."""
    with unique_name.guard():  # names as in a process of its own
        network = paddle.nn.Sequential(
            paddle.nn.Conv2D(1, 4, 3), paddle.nn.BatchNorm2D(4), paddle.nn.Linear(5, 14)
        )
    optimizer, _ = make_optimizer(network, 0.01, decay_epochs=[1])
    if half:  # as paddle.amp.decorate does on a GPU: batch norm and the head stay
        network[0]._to_impl(dtype="float16", floating_only=True)
        optimizer._multi_precision = True
    checkpoints = Checkpoints(Run(), network, optimizer, AUROC(CLASS_NAMES), str(folder))
    checkpoints.set_model(types.SimpleNamespace(scaler=None))
    return network, optimizer, checkpoints


def make_accumulators(network, optimizer):
    """Make Adam's moments and master weights, as its first step does; float16 has no step here."""
    optimizer.helper = LayerHelper("Adam")  # Paddle 2.6 makes it in the first step
    block = paddle.static.default_main_program().global_block()
    with unique_name.guard():
        optimizer._create_accumulators(block, [p for p in network.parameters() if p.trainable])


def arrays(optimizer):
    """All that an optimiser holds, flat: name -> array or number."""
    state = dict(optimizer.state_dict())
    masters = state.pop("master_weights", {})
    rates = state.pop("LR_Scheduler")
    state |= {tensor.name: tensor for tensor in masters.values()}
    return {name: tensor.numpy() for name, tensor in state.items()} | rates


def test_master_weights_of_half_precision_are_saved_and_restored(tmp_path):
    network, optimizer, checkpoints = small_run(tmp_path, half=True)
    make_accumulators(network, optimizer)
    rng = np.random.default_rng(0)
    masters = optimizer._master_weights.values()
    for tensor in (
        *masters,
        *(t for kind in optimizer._accumulators.values() for t in kind.values()),
    ):
        tensor.set_value(rng.random(tensor.shape, np.float32))
    expected = arrays(optimizer)
    weight = network[0].weight.name
    assert {f"{weight}_fp32_master_0", f"{weight}_fp32_master_0_moment1_0"} <= expected.keys()
    assert f"{network[2].weight.name}_moment1_0" in expected
    checkpoints.save()
    (path,) = find_checkpoints(tmp_path)

    _, optimizer, checkpoints = small_run(tmp_path / "other", half=True)
    checkpoints.restore(path)
    checkpoints.save()  # asked to stop before its first step
    found = arrays(optimizer)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=isinstance(value, np.ndarray))
    checkpoints.save()
    for again in (tmp_path / "other").iterdir():
        both = [read_pickle(os.path.join(at, "optimizer.pdopt")) for at in (path, again)]
        assert both[0].keys() == both[1].keys()
        for state in both:
            state |= state.pop("master_weights")
        for name in both[0].keys() - {"LR_Scheduler", "StructuredToParameterName@@"}:
            np.testing.assert_array_equal(both[0][name], both[1][name], strict=True)


@pytest.mark.parametrize("missing", ["conv2d_0.w_0", "conv2d_0.w_0_fp32_master_0_moment1_0"])
def test_a_checkpoint_without_the_master_weights_of_half_precision_is_refused(tmp_path, missing):
    network, optimizer, checkpoints = small_run(tmp_path, half=True)
    make_accumulators(network, optimizer)
    if "moment" in missing:
        del optimizer._accumulators["moment1"]["conv2d_0.w_0_fp32_master_0"]
    else:
        del optimizer._master_weights[missing]
    checkpoints.save()
    _, _, checkpoints = small_run(tmp_path, half=True)
    kind = "tensor" if "moment" in missing else "master weight of"
    wanted = rf"Adam needs a {kind} {missing} of shape \[4, 1, 3, 3\], there is none; go on with"
    with pytest.raises(UserError, match=wanted):
        checkpoints.restore(find_checkpoints(tmp_path)[-1])


def test_weights_of_half_precision_are_saved_in_float32(tmp_path):
    network, _, checkpoints = small_run(tmp_path, half=True)
    names = {name: tensor.name for name, tensor in network.state_dict().items()}
    checkpoints.save()
    best = BestModel(Run(), network, str(tmp_path / "best.pdparams"))
    best.on_eval_end({"AUROC_avg": 0.5})
    for path in (tmp_path / "best.pdparams", *tmp_path.glob("*/weights.pdparams")):
        state = read_pickle(path)
        assert state.pop("StructuredToParameterName@@") == names
        assert {array.dtype.name for array in state.values()} == {"float32"}
        kept = network[0].weight.numpy()
        assert kept.dtype == np.float16
        np.testing.assert_array_equal(state["0.weight"], kept)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["0.weight", "1._variance"])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, name, value):
    """A gradient may overflow where no loss does."""
    network, _, checkpoints = small_run(tmp_path)
    checkpoints.run.epoch, checkpoints.run.step = 2, 5
    checkpoints.save()
    before = tree(tmp_path)
    tensor = network.state_dict()[name]
    array = tensor.numpy()
    array.flat[1] = value
    tensor.set_value(array)
    checkpoints.run.step = 6
    with pytest.raises(UserError, match="epoch 3, step 6: want finite weights, got NaN or infi"):
        checkpoints.save()
    assert tree(tmp_path) == before


def test_a_run_killed_after_its_last_checkpoint_gets_its_table(tmp_path):
    network, optimizer, checkpoints = small_run(tmp_path)
    make_accumulators(network, optimizer)
    checkpoints.run.history.append({"epoch": 1, "val_loss": 0.5})
    checkpoints.save()
    _, _, checkpoints = small_run(tmp_path)
    checkpoints.restore(find_checkpoints(tmp_path)[-1])
    assert (tmp_path / "metrics.csv").read_text() == "epoch,val_loss\n1,0.5\n"


def test_signals_that_follow_at_once_change_nothing_and_a_later_one_ends_the_process():
    """Paddle's launcher sends three, 0.2 s apart; whoever sends one later has waited enough."""
    code = (
        "import time\n"
        "from training import checkpoints\n"
        "checkpoints.SAME_WISH = 2.0\n"
        "callback = checkpoints.Checkpoints(None, None, None, None, None)\n"
        "callback.on_train_begin()\n"
        "print('ready', flush=True)\n"
        "while True:  # a step that does not end\n"
        "    time.sleep(0.01)\n"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    signals = 0
    while process.poll() is None:
        process.send_signal(signal.SIGTERM)
        signals += 1
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    assert process.returncode == -signal.SIGTERM
    assert signals > 3
