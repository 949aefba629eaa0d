"""Figures of docs/recbole-differences.md that need no RecBole: what its arithmetic makes of a log and of a split.

python -m benchmarks.recbole_differences --data_path ../shared/datasets
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Options
from benchmarks.training import settings_for
from gaterec.data.interactions import Interactions
from gaterec.data.prepared import prepare_log
from gaterec.data.split import _by_share
from gaterec.experiments.setup import make_batches, prepare

SHARES = ([0.8, 0.1, 0.1], [0.7, 0.1, 0.2], [0.6, 0.2, 0.2], [1.0, 1.0, 1.0])


def main() -> None:
    """Print all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_path", type=Path, default=Options().data_path)
    options = Options(parser.parse_args().data_path)
    settings = settings_for(options, "ml-100k", {"MAX_ITEM_LIST_LENGTH": 50})
    interactions = prepare_log("ml-100k", settings, keep_rows=True).interactions
    users = len(interactions.users) - 1
    for normalized in (True, False):
        wrong = users_in_another_order(interactions, normalized)
        print(f"ml-100k: with times as float32, normalize_all {normalized}, {wrong} of {users} users have their events in another order")
    for shares in SHARES:
        train, valid = zip(*(later_cuts(length, shares) for length in range(2, 401)), strict=True)
        print(
            f"RS {shares}, histories of 2 to 400 events: RecBole's cut before validation falls {min(train)} to {max(train)} events later, "
            f"its cut before test {min(valid)} to {max(valid)}"
        )
    batches = make_batches(settings, prepare(settings, None), torch.device("cpu"))
    steps = [(len(batch.users), int((batch.items > 0).sum()), len(batch.targets)) for batch in batches.epoch(1)]
    rows, events, targets = np.sqrt(np.array(steps)).mean(0)
    recbole = np.sqrt(np.array([[count, 50 * count, count] for *_, count in steps])).mean(0).sum()
    print(
        f"ml-100k, 50 events: if all vectors have norm 1, RecBole's second penalty of a step is {recbole / (rows + events + targets):.1f} times ours"
    )


def users_in_another_order(interactions: Interactions, normalized: bool) -> int:
    """How many users have their items in another order when times are 32-bit numbers, as in RecBole.

    Args:
        normalized: whether times are first brought into 0 to 1 (normalize_all, which RecBole's file for ml-100k sets).
    """
    time = interactions.time.astype(np.float64)
    if normalized:
        time = (time - time.min()) / (time.max() - time.min())
    user, row = interactions.user, interactions.row
    assert row is not None
    order = np.lexsort((row, time.astype(np.float32), user))
    return len(np.unique(user[interactions.item[order] != interactions.item]))


def later_cuts(length: int, shares: list[float]) -> tuple[int, int]:
    """How many events later RecBole 1.2.1 cuts a history of this length before validation and before test.

    RecBole shares out the windows (Dataset._calcu_split_ids); a history of n events has n - 1, as its first event is no target.
    """
    windows, total = length - 1, sum(shares)
    counts = [int(share / total * windows) for share in shares]
    counts[0] = windows - sum(counts[1:])
    for last in (-1, -2):
        if counts[0] > 1 and 0 < shares[last] / total * windows < 1:
            counts[last] += 1
            counts[0] -= 1
    (train,), (valid,) = _by_share(np.array([length]), shares)
    return 1 + counts[0] - int(train), 1 + counts[0] + counts[1] - int(train + valid)


if __name__ == "__main__":
    main()
