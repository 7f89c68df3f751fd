import signal
import subprocess
import sys
import types

import numpy as np
import paddle
import pytest
from conftest import ROOT, tree
from paddle.utils import unique_name

from dataset import CLASS_NAMES
from metrics import AUROC
from runtime.files import UserError
from training.checkpoints import Checkpoints, Run
from training.recipe import make_optimizer


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
    checkpoints.set_model(types.SimpleNamespace(_scaler=None))
    return network, optimizer, checkpoints


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


def test_signals_that_follow_at_once_change_nothing_and_a_later_one_ends_the_process():
    """Paddle's launcher sends three, 0.2 s apart; whoever sends one later has waited enough."""
    code = (
        "import time\n"
        "from training import checkpoints\n"
        "checkpoints.SAME_WISH = 1.0\n"
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
