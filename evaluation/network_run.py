"""A network asked for the probabilities of a data set, with a bar over the batches."""

import contextlib
import sys

import numpy as np
import paddle

from films.film_loader import FilmLoader
from films.label_lists import CLASS_NAMES
from metrics import Predictions
from runtime.devices import is_first_rank
from runtime.progress import progress_bar


class BatchBar(paddle.callbacks.Callback):
    """A tqdm bar over the batches of an evaluation. Close it, also after an error.

    On a terminal it also says which crop of a batch is being computed: a batch of 128 films takes
    most of a minute on a CPU.

    Args:
        network: the layer that is called once a crop.
        crops: how often it is called for a batch.
    """

    def __init__(self, network, crops):
        super().__init__()
        self.bar, self.crops, self.crop = None, crops, 0
        self.hook = network.register_forward_post_hook(self._count)

    def _count(self, layer, inputs, output):
        self.crop = self.crop % self.crops + 1
        if self.bar is not None and self.crops > 1 and sys.stderr.isatty():
            self.bar.set_postfix_str(f"crop {self.crop} of {self.crops}")

    def on_eval_begin(self, logs=None):
        self.bar = progress_bar(total=logs["steps"], unit="batch", disable=not is_first_rank())

    def on_eval_batch_end(self, step, logs=None):
        self.bar.update()

    def close(self):
        self.hook.remove()
        if self.bar is not None:
            self.bar.close()


def predict(ten_crop, films, crops, batch_size, num_workers):
    """Return the probabilities of all films, float32 `[N, C]`.

    Args:
        ten_crop: a `TenCrop`; of one crop only its network is asked.
        films: a `ChestXray14`.
        crops: 10 or 1.
        batch_size, num_workers: of the loader.
    """
    model = paddle.Model(
        ten_crop if crops == 10 else ten_crop.network,
        inputs=[paddle.static.InputSpec([None, None, None, None], "uint8", "films")],
        labels=[paddle.static.InputSpec([None, len(CLASS_NAMES)], "float32", "labels")],
    )
    collected = Predictions()
    model.prepare(metrics=collected)
    sampler = paddle.io.DistributedBatchSampler(films, batch_size)
    loader = FilmLoader(films, batch_sampler=sampler, num_workers=num_workers)
    with paddle.no_grad(), contextlib.closing(BatchBar(ten_crop.network, crops)) as bar:
        model.evaluate(loader, verbose=0, callbacks=[bar])
    return np.concatenate(collected.probs)
