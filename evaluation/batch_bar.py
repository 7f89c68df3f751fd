"""The bar that eval.py shows."""

import sys

import paddle

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
