"""What the ranks of a training tell one another. With one rank nothing is sent."""

import os

import numpy as np
import paddle

from runtime.files import UserError, sha256


def largest(number):
    """Return the largest of the ranks' whole numbers, the same on each.

    All ranks must call this, and what else is below, at the same place.
    """
    if paddle.distributed.get_world_size() == 1:
        return int(number)
    tensor = paddle.to_tensor([int(number)], "int32")
    paddle.distributed.all_reduce(tensor, paddle.distributed.ReduceOp.MAX)
    return int(tensor[0])


def check_same_checkpoint(path, folder):
    """Raise UserError unless all ranks go on from the same checkpoint.

    They do not where machines each have a folder of their own: each would train something else.

    Args:
        path: this rank's last checkpoint, or None.
        folder: --save-dir, for the message.
    """
    if paddle.distributed.get_world_size() == 1:
        return
    paddle.distributed.init_parallel_env()
    seen = []
    files = sorted(os.listdir(path)) if path else []
    digests = [sha256(os.path.join(path, name)) for name in files]
    paddle.distributed.all_gather_object(seen, (path and os.path.basename(path), digests))
    for rank, theirs in enumerate(seen):
        if theirs != seen[0]:
            names = [
                f"{name or 'none'} on rank {at}" for at, (name, _) in ((0, seen[0]), (rank, theirs))
            ]
            raise UserError(
                f"{folder}: want the same last checkpoint on all ranks, got {' and '.join(names)}"
                f"{' with other content' * (theirs[0] == seen[0][0])}; "
                "give a --save-dir that all machines share, or copy it to each"
            )


def _statistics(network):
    """Return the tensors of batch norm's running statistics, which no gradient changes."""
    state = network.state_dict()
    return [state[name] for name in state if name.endswith(("._mean", "._variance"))]


def gather_statistics(network):
    """Return all ranks' running statistics, float32 `[ranks, S]`; None with one rank.

    Each rank's follow its own films: `paddle.DataParallel` averages only gradients.
    """
    if paddle.distributed.get_world_size() == 1:
        return None
    gathered = []
    own = paddle.concat([tensor.flatten() for tensor in _statistics(network)])
    paddle.distributed.all_gather(gathered, own)
    return np.stack([tensor.numpy() for tensor in gathered])


def set_statistics(network, values):
    """Set the running statistics of this rank's network to values, float32 `[S]`."""
    for tensor in _statistics(network):
        tensor.set_value(values[: tensor.size].reshape(tensor.shape))
        values = values[tensor.size :]


def mean_statistics(statistics):
    """Return the mean over ranks, `[ranks, S]` -> `[S]`; of equal values it is that value."""
    return statistics.mean(axis=0, dtype=np.float64).astype(np.float32)
