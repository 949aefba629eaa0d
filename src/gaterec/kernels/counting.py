"""How many numbers of a row are above, or not below, a threshold."""

import numpy as np
import torch
from torch import Tensor


def count_above(rows: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """(C, V), (C,) -> (C,), (C,) int64: how many of each row are > its threshold, and how many are >=.

    Equals `(rows > threshold[:, None]).sum(1), (rows >= threshold[:, None]).sum(1)`. On a CPU torch turns the truth values into 64-bit
    numbers before it adds them; NumPy counts them as they are, several times faster.
    """
    limit = threshold[:, None]
    if rows.device.type != "cpu":
        return (rows > limit).sum(1), (rows >= limit).sum(1)
    values, limits = rows.numpy(), limit.numpy()
    above, upto = np.count_nonzero(values > limits, axis=1), np.count_nonzero(values >= limits, axis=1)
    return torch.from_numpy(above), torch.from_numpy(upto)
