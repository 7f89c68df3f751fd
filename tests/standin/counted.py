"""Run a script on the stand-in and note where Python reads from the device.

    python counted.py OUT.json train.py --device standin …

OUT.json gets the device's own counters ("traffic") and "reads": of each read of a tensor on the
device, for which Python waits until all that was queued before is done, the batch under way, the
method, the shape, the type, and the line that asked.
"""

import collections
import json
import runpy
import sys
import traceback

import standin
from runtime import environment  # noqa: F401  (before Paddle)

# isort: split
import paddle

from training.trainer import Trainer

READS = "numpy", "item", "tolist", "__array__", "__float__", "__int__", "__bool__", "__index__"
READS += "cpu", "_copy_to"


class Reads:
    """The reads since `wrap`, by the batch under way: "train 1", "after eval 2", "" before."""

    def __init__(self):
        self.batch, self.inside, self.counts = "", False, collections.Counter()

    def wrap(self):
        for name in READS:
            setattr(paddle.Tensor, name, self._noting(name, getattr(paddle.Tensor, name)))
        for model, kind in ((Trainer, "train"), (paddle.Model, "eval")):
            name = f"{kind}_batch"
            setattr(model, name, self._during(kind, getattr(model, name)))

    def _noting(self, name, method):
        def noted(tensor, *args, **options):
            # Of a read that is made of others the outermost counts; what is on the host is free.
            stays = name == "_copy_to" and not args[0].is_cpu_place()
            if self.inside or stays or not tensor.place.is_custom_place():
                return method(tensor, *args, **options)
            self.inside = True
            try:
                frame = traceback.extract_stack()[-2]
                where = f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
                dtype = str(tensor.dtype).split(".")[-1]
                self.counts[self.batch, name, str(tensor.shape), dtype, where] += 1
                return method(tensor, *args, **options)
            finally:
                self.inside = False

        return noted

    def _during(self, kind, method):
        number = 0

        def run(*args, **options):
            nonlocal number
            number += 1
            self.batch = f"{kind} {number}"
            try:
                return method(*args, **options)
            finally:
                self.batch = f"after {self.batch}"

        return run

    def rows(self):
        keys = "batch", "method", "shape", "dtype", "where"
        return [{**dict(zip(keys, key, strict=True)), "times": n} for key, n in self.counts.items()]


def main():
    out, script, *words = sys.argv[1:]
    reads = Reads()
    reads.wrap()
    sys.argv = [script, *words]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        with open(out, "w", encoding="utf-8") as file:
            json.dump({"traffic": standin.Traffic().read(), "reads": reads.rows()}, file, indent=1)


if __name__ == "__main__":
    main()
