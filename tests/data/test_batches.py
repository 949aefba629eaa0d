"""Training rows: every target once with the right events before it, in every epoch, whatever the order."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from gaterec.data.batches import Batch, TrainingBatches
from gaterec.data.interactions import Interactions, build_interactions
from gaterec.data.readers.read import read_log
from gaterec.data.split import Split, split_interactions
from tests.support.histories import all_for_training, histories, random_histories, settings, training_items

Target = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Whose it is, the window of events that the query sees, the items that follow."""


def found_targets(batches: list[Batch], window: int) -> list[Target]:
    targets: list[Target] = []
    for batch in batches:
        assert batch.items.dtype == torch.int32
        assert len(batch.positions) == len(batch.targets) == len(batch.target_users)
        for place, following, person in zip(batch.positions.tolist(), batch.targets.tolist(), batch.target_users.tolist(), strict=True):
            row, t = divmod(place, batch.items.shape[1])
            assert person == int(batch.users[row])
            events = batch.items[row, : t + 1].tolist()
            assert 0 not in events  # rows are filled from the left
            targets.append((person, tuple(events[-window:]), tuple(following)))
    return targets


def plain_targets(interactions: Interactions, split: Split, window: int, next_items: int = 1) -> list[Target]:
    targets: list[Target] = []
    for person in range(len(interactions.users)):
        items = training_items(interactions, split, person)
        for t in range(len(items) - 1):
            following = (items[t + 1 : t + 1 + next_items] + [0] * next_items)[:next_items]
            targets.append((person, tuple(items[max(0, t + 1 - window) : t + 1]), tuple(following)))
    return targets


def test_the_example_of_the_docstring() -> None:
    interactions = histories([1, 2, 3], [2, 4])
    (batch,) = TrainingBatches(interactions, all_for_training(interactions), window=5, batch_size=9, shuffle=False).epoch(0)
    assert batch.items.tolist() == [[1, 2], [2, 0]]
    assert batch.users.tolist() == [1, 2]
    assert batch.positions.tolist() == [0, 1, 2]
    assert batch.targets.tolist() == [[2], [3], [4]]
    assert batch.target_users.tolist() == [1, 1, 2]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("next_items", [1, 3])
@pytest.mark.parametrize(("window", "batch_size"), [(1, 1), (3, 7), (5, 50), (50, 1000), (200, 300)])
def test_every_target_comes_once_with_the_events_before_it(window: int, batch_size: int, next_items: int, shuffle: bool) -> None:
    interactions = random_histories(25, 40, 30, shortest=0)
    train = np.random.default_rng(1).integers(0, interactions.lengths + 1)
    split = Split(interactions.offsets[:-1] + train, interactions.offsets[1:])
    batches = TrainingBatches(interactions, split, window=window, batch_size=batch_size, next_items=next_items, shuffle=shuffle, seed=5)
    expected = plain_targets(interactions, split, window, next_items)
    for epoch in (1, 2):
        epoch_batches = list(batches.epoch(epoch))
        assert Counter(found_targets(epoch_batches, window)) == Counter(expected)
        assert len(epoch_batches) == len(batches)
    assert batches.targets == len(expected)


def test_long_histories_are_cut_into_pieces_that_still_see_their_window() -> None:
    interactions = random_histories(3, 900, 1000, shortest=700)
    split = all_for_training(interactions)
    batches = TrainingBatches(interactions, split, window=20, batch_size=400, seed=1)
    epoch = list(batches.epoch(1))
    longest = max(batch.items.shape[1] for batch in epoch)
    assert longest <= 128 + 19
    assert Counter(found_targets(epoch, 20)) == Counter(plain_targets(interactions, split, 20))
    pieces = [int((row > 0).sum()) for batch in epoch for row in batch.items]
    assert min(pieces) > 64  # no short stubs


@pytest.mark.parametrize(("window", "batch_size"), [(1, 1), (2, 9), (7, 50), (50, 1000), (50, 20)])
def test_whole_rows_have_at_most_a_window_of_events_and_every_query_sees_half_of_one(window: int, batch_size: int) -> None:
    interactions = random_histories(30, 40, 120, shortest=0)
    split = all_for_training(interactions)
    batches = TrainingBatches(interactions, split, window=window, full_context=True, batch_size=batch_size, seed=1)
    epoch = list(batches.epoch(1))
    assert max(batch.items.shape[1] for batch in epoch) <= window
    half = (window + 1) // 2
    seen = found_targets(epoch, window)
    assert Counter((who, past[-half:], following) for who, past, following in seen) == Counter(plain_targets(interactions, split, half))


def test_a_history_that_fits_into_the_window_is_one_row() -> None:
    interactions = histories([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7])
    batches = TrainingBatches(interactions, all_for_training(interactions), window=5, full_context=True, batch_size=99, shuffle=False)
    (batch,) = batches.epoch(1)
    assert batch.items.tolist() == [[1, 2, 3, 4, 5], [1, 2, 3, 0, 0], [2, 3, 4, 5, 6]]
    assert batch.targets.flatten().tolist() == [2, 3, 4, 5, 6, 2, 3, 4, 5, 6, 7]


def test_the_held_out_events_are_in_no_batch() -> None:
    interactions = histories([1, 2, 3, 9, 8], [4, 5, 7])
    split = Split(np.array([0, 3, 7]), np.array([0, 4, 7]))
    seen = list(TrainingBatches(interactions, split, window=3, batch_size=4, next_items=3).epoch(1))
    assert {item for batch in seen for item in batch.items.flatten().tolist()} == {0, 1, 2, 4}
    assert {item for batch in seen for item in batch.targets.flatten().tolist()} == {0, 2, 3, 5}


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(getattr(a, part), getattr(b, part))
        for a, b in zip(first, second, strict=True)
        for part in ("users", "items", "positions", "targets")
    )


def test_an_epoch_is_the_same_again_and_unlike_the_others() -> None:
    interactions = random_histories(60, 40, 30)

    def make(seed: int) -> TrainingBatches:
        return TrainingBatches(interactions, all_for_training(interactions), window=5, batch_size=40, seed=seed)

    batches = make(3)
    first, second = list(batches.epoch(1)), list(batches.epoch(2))
    assert not same(first, second)
    assert same(first, list(batches.epoch(1)))
    assert same(second, list(make(3).epoch(2)))
    assert not same(first, list(make(4).epoch(1)))


def test_rows_that_share_a_batch_are_other_ones_in_every_epoch() -> None:
    interactions = random_histories(400, 40, 10)
    batches = TrainingBatches(interactions, all_for_training(interactions), window=5, batch_size=40)
    groups = [{frozenset(batch.users.tolist()) for batch in batches.epoch(epoch)} for epoch in (1, 2)]
    assert len(groups[0] & groups[1]) < len(groups[0]) / 4


def test_batches_hold_about_batch_size_targets() -> None:
    interactions = random_histories(300, 40, 60)
    batches = TrainingBatches(interactions, all_for_training(interactions), window=5, batch_size=500)
    sizes = [len(batch.positions) for batch in batches.epoch(1)]
    assert sum(sizes) == batches.targets
    assert sorted(sizes)[1:] == [size for size in sorted(sizes)[1:] if 440 <= size <= 560]  # all but one, which takes what is left
    assert abs(len(sizes) - batches.targets / 500) <= 1


def test_without_shuffle_the_order_of_the_log_stays() -> None:
    interactions = random_histories(50, 40, 20)
    split = all_for_training(interactions)
    batches = TrainingBatches(interactions, split, window=4, batch_size=30, shuffle=False)
    assert found_targets(list(batches.epoch(1)), 4) == plain_targets(interactions, split, 4)
    assert same(list(batches.epoch(1)), list(batches.epoch(2)))


def test_padding_is_the_share_of_cells_without_an_event() -> None:
    interactions = random_histories(200, 40, 60)
    batches = TrainingBatches(interactions, all_for_training(interactions), window=5, batch_size=300, seed=2)
    items = [batch.items for batch in batches.epoch(7)]
    empty, cells = sum(int((item == 0).sum()) for item in items), sum(item.numel() for item in items)
    assert batches.padding(7) == pytest.approx(empty / cells, rel=1e-12)


def test_rows_of_like_length_share_a_batch() -> None:
    """Lengths as uneven as in real logs: most short, some very long."""
    random = np.random.default_rng(0)
    lengths = 3 + random.geometric(0.05, 3000)
    interactions = histories(*([1] * int(length) for length in lengths))
    sorted_rows, in_log_order = (
        TrainingBatches(interactions, all_for_training(interactions), window=5, batch_size=500, shuffle=shuffle)
        for shuffle in (True, False)
    )
    assert 0 < sorted_rows.padding(1) < in_log_order.padding(1) / 5


@pytest.mark.parametrize("window", [5, 50])
def test_padding_is_under_a_tenth_on_amazon_cds(datasets: Path, window: int) -> None:
    chosen = settings()
    interactions = build_interactions(read_log(datasets / "amazon-cds" / "amazon-cds.inter", chosen), chosen)
    split = split_interactions(interactions, chosen.eval_args)
    for batch_size in (2048, 4096):
        batches = TrainingBatches(interactions, split, window=window, batch_size=batch_size)
        assert 0 < batches.padding(1) < 0.1


def test_rows_are_sorted_by_length_within_pools_and_not_throughout() -> None:
    """Sorted throughout, few batches would hold rows of two lengths, and each batch would be of short or of long rows in every epoch."""
    lengths = np.random.default_rng(0).integers(2, 8, 4000)
    interactions = histories(*([1] * int(length) for length in lengths))
    batches = TrainingBatches(interactions, all_for_training(interactions), window=5, batch_size=20)
    mixed = sum(len(set((batch.items > 0).sum(1).tolist())) > 1 for batch in batches.epoch(1))
    pools = len(batches) / TrainingBatches.POOL
    assert pools > 20
    assert 2 * pools < mixed < len(batches) / 3  # six lengths meet five times in each pool


def test_batches_of_short_and_of_long_rows_come_in_no_order() -> None:
    lengths = np.random.default_rng(0).integers(2, 60, 400)
    interactions = histories(*([1] * int(length) for length in lengths))
    widths = [
        batch.items.shape[1] for batch in TrainingBatches(interactions, all_for_training(interactions), window=5, batch_size=500).epoch(1)
    ]
    rises = sum(later > earlier for earlier, later in pairwise(widths))
    assert len(widths) / 4 < rises < 3 * len(widths) / 4


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_batch_is_full_with_exactly_batch_size_targets(shuffle: bool) -> None:
    interactions = histories(*[[1, 2]] * 6)
    batches = TrainingBatches(interactions, all_for_training(interactions), window=5, batch_size=2, shuffle=shuffle)
    assert [len(batch.positions) for batch in batches.epoch(1)] == [2, 2, 2]
