"""Train three steps with batch norm in eval mode, on one process or several: run by a test.

python tests/helpers/fit_frozen_statistics.py DATA_DIR BATCH_SIZE START_WEIGHTS OUTPUT
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from runtime import environment  # noqa: F401, I001  (before Paddle)

import paddle

from dataset import ChestXray14, RandomCropFlip
from films.film_loader import EpochSampler, FilmLoader
from model import CheXNet, LogLoss, load_weights
from weights.weight_files import save_state

data_dir, batch_size, start, end = sys.argv[1:]
rank, ranks = paddle.distributed.get_rank(), paddle.distributed.get_world_size()
films = ChestXray14(data_dir, f"{data_dir}/labels/train_list.txt", RandomCropFlip(64), 72)
sampler = EpochSampler(films, int(batch_size), 0, rank, ranks)
network = CheXNet()
load_weights(network, start)
for layer in network.sublayers():
    if isinstance(layer, paddle.nn.BatchNorm):
        layer._use_global_stats = True  # a rank's own batch statistics would differ
model = paddle.Model(network)
model.prepare(paddle.optimizer.SGD(0.01, network.parameters()), LogLoss())
model._inputs = [None]  # a batch is one input and its labels
model.fit(FilmLoader(films, batch_sampler=sampler), verbose=0)
if rank == 0:
    save_state(network.state_dict(), end)
