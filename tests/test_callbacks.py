import math
import os
import subprocess
import sys
import types

import numpy as np
import paddle
import pytest
from helpers.places import ROOT
from sklearn.metrics import log_loss

from films.label_lists import CLASS_NAMES
from metrics import AUROC, MeanLogLoss
from training.callbacks import BestModel, EpochSchedule, SkippedSteps, Upkeep
from training.checkpoints import Run
from training.recipe import LossScaler
from weights.untrusted_files import read_pickle

NAN = float("nan")


def watched(tmp_path, monitor, values, patience=2):
    """Feed BestModel evaluations; return which of them it kept, and after which it stopped."""
    network = paddle.nn.Linear(1, 1)
    path = str(tmp_path / "best.pdparams")
    callback = BestModel(Run(), network, path, monitor, patience)
    callback.set_model(types.SimpleNamespace(stop_training=False))
    kept, stopped = [], None
    for n, value in enumerate(values):
        network.bias.set_value(paddle.to_tensor([float(n)]))
        callback.on_eval_end({monitor: value})
        kept.append(int(read_pickle(path)["bias"][0]) if os.path.exists(path) else -1)
        if callback.model.stop_training:
            stopped = n
            break
    return kept, stopped


def test_the_best_auroc_is_the_highest_and_never_nan(tmp_path):
    values = [NAN, 0.5, NAN, 0.7, 0.7, 0.6]  # an equal one is no better
    assert watched(tmp_path, "AUROC_avg", values) == ([-1, 1, 1, 3, 3, 3], 5)


def test_the_best_loss_is_the_lowest(tmp_path):
    assert watched(tmp_path, "loss", [0.3, 0.2, 0.25, 0.1, NAN, 0.4]) == ([0, 1, 1, 3, 3, 3], 5)


def test_plateau_lowers_the_rate_when_the_loss_stops_falling():
    schedule = paddle.optimizer.lr.ReduceOnPlateau(0.1, factor=0.1, patience=0, threshold=0.0)
    callback, rates = EpochSchedule(schedule), []
    for loss in (1.0, 0.9, 0.95, 0.8, 0.8):
        callback.on_eval_end({"loss": loss})
        rates.append(schedule())
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])


def test_an_evaluation_s_loss_is_the_mean_over_all_films_and_is_what_is_monitored(capsys):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (10, 14))
    probs = rng.random((10, 14)).astype(np.float32)
    labels[:, 3] = 0
    mean = MeanLogLoss()
    mean.update(rng.random((4, 14)), labels[:4])  # of a training epoch, over
    mean.reset()
    for part in (slice(0, 8), slice(8, 10)):  # the last batch is smaller
        mean.update(probs[part], labels[part])
    mean.reset()  # as paddle.Model does before on_eval_end
    assert mean.value == pytest.approx(log_loss(labels.ravel(), probs.ravel().astype(float)))

    auroc = AUROC(CLASS_NAMES)
    auroc.update(probs, labels)
    run = Run()
    run.step = 1
    callback = Upkeep(run, None, mean)
    callback.set_model(
        types.SimpleNamespace(
            _optimizer=paddle.optimizer.SGD(0.5, paddle.nn.Linear(1, 1).parameters())
        )
    )
    logs = {"loss": 123.0, **dict(zip(auroc.name(), auroc.accumulate(), strict=True))}
    for _ in range(2):
        callback.on_eval_end(logs)
    assert logs["loss"] == mean.value == run.history[0]["val_loss"]
    assert run.history[0]["learning_rate"] == 0.5
    assert math.isnan(run.history[0]["val_AUROC_Infiltration"])
    assert capsys.readouterr().out.count("warning: AUROC_avg is not over AUROC_Infiltration") == 1


def test_auroc_goes_on_from_its_state():
    rng = np.random.default_rng(0)
    labels, probs = rng.integers(0, 2, (60, 14)), rng.random((60, 14)).astype(np.float32).round(1)
    whole, first, second = (AUROC(CLASS_NAMES) for _ in range(3))
    whole.update(probs, labels)
    for start in range(0, 40, 10):
        first.update(probs[start : start + 10], labels[start : start + 10])
    second.set_state_dict(first.state_dict())
    second.update(probs[40:], labels[40:])
    assert second.accumulate() == whole.accumulate()


def test_skipped_steps_are_counted_and_told(capsys):
    """What Paddle's scaler documents: a step whose gradients overflow halves the scale."""
    scaler, run, found = LossScaler.__new__(LossScaler), Run(), []
    scaler._enable, scaler._scale = True, paddle.to_tensor([1024.0])  # on a CPU it is switched off
    scaler._incr_count, scaler._incr_every_n_steps = 0, 2000
    scaler._decr_count, scaler._decr_every_n_nan_or_inf, scaler._decr_ratio = 0, 1, 0.5
    for overflows in (True, False, False, True, False):
        scaler._cache_found_inf = scaler._cache_founf_inf = paddle.to_tensor([overflows])
        scaler._update()  # as Paddle's `minimize` calls it
        run.step += 1
        run.skipped += scaler.skipped
        found.append(scaler._scale.item())
    assert found == [512, 512, 512, 256, 256]
    capsys.readouterr()
    SkippedSteps(run).on_epoch_end(0)
    assert capsys.readouterr().out == "the loss scaler skipped 2 of 5 steps\n"


def test_what_the_loss_scaler_prints_is_shown_once(tmp_path):
    """Paddle's scaler prints at each skipped step, in every rank; it computes on a GPU alone."""
    code = (
        "import sys, paddle\n"
        "from training.log_file import log_file\n"
        "scaler = paddle.amp.GradScaler.__new__(paddle.amp.GradScaler)\n"
        "scaler._enable = scaler._cache_found_inf = True\n"
        "scaler._cache_founf_inf = True  # so in Paddle 2.6\n"
        "scaler._incr_count, scaler._decr_count, scaler._decr_every_n_nan_or_inf = 5, 0, 1\n"
        "scaler._scale, scaler._decr_ratio = 1024.0, 0.5\n"
        "with log_file(sys.argv[1]):\n"
        "    scaler._update()\n"
        "assert scaler._scale == 512\n"
    )
    outputs = []
    for rank in ("0", "1"):
        result = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "logs"],
            cwd=ROOT,
            env={**os.environ, "PADDLE_TRAINER_ID": rank, "PADDLE_TRAINERS_NUM": "2"},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        outputs.append(result.stdout)
    assert outputs[0].startswith("Found inf or nan, current scale is: 1024.0")
    assert outputs[1] == ""
    assert [path.read_text() for path in (tmp_path / "logs").iterdir()] == outputs[:1]


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_gets_short_lines_and_the_log_file_all(tmp_path):
    line = "step 10/614 - loss: 0.1650 - AUROC_Mass: 0.5343 - AUROC_Hernia: nan - AUROC_avg: 0.5401"
    code = (
        "import sys\n"
        "from training.log_file import log_file\n"
        "with log_file(sys.argv[1], sys.argv[2] == 'verbose'):\n"
        f"    print({line!r})"
    )
    printed = []
    for kind in ("short", "verbose"):
        terminal, end = os.openpty()
        words = [sys.executable, "-c", code, tmp_path / kind, kind]
        subprocess.run(words, cwd=ROOT, stdout=end, check=True)
        printed.append(os.read(terminal, 1000).decode())
        os.close(end)
        os.close(terminal)
        [log] = (tmp_path / kind).iterdir()
        assert log.read_text() == f"{line}\n"
    assert printed == ["step 10/614 - loss: 0.1650 - AUROC_avg: 0.5401\r\n", f"{line}\r\n"]
