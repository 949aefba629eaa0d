"""Lists of recommendations as frames: one row per recommended item."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from gaterec.inference.ids import as_series
from gaterec.inference.items import Items
from gaterec.inference.requests import Answer
from gaterec.inference.users import Histories, RequestUser


def frame_of_answers(
    items: Items, bases: Sequence[str], users: Sequence[RequestUser], answers: Sequence[Answer]
) -> tuple[pl.DataFrame, np.ndarray]:
    """The answers to requests of these users, with ids as text; and (N,) the position of the user of each row."""
    row = np.repeat(np.arange(len(users)), [len(answer.items) for answer in answers])
    ranks, numbers, scores = (
        np.concatenate([np.zeros(0, dtype), *arrays])
        for dtype, arrays in (
            (np.int64, [np.arange(1, len(answer.items) + 1) for answer in answers]),
            (np.int64, [answer.items for answer in answers]),
            (np.float32, [answer.scores for answer in answers]),
        )
    )
    ids = as_series([user.id for user in users]).gather(row)
    return _frame(items, bases, ids, ranks, numbers, scores, Histories.of(users).basis()[row] if users else row), row


def frame_of_best(
    items: Items, bases: Sequence[str], ids: Sequence[str | None], histories: Histories, best: np.ndarray, scores: np.ndarray
) -> pl.DataFrame:
    """The best items (C, k) of C users with these ids and histories, 0 where none is left, and their scores (C, k)."""
    row, column = np.nonzero(best)
    return _frame(items, bases, as_series(ids).gather(row), column + 1, best[row, column], scores[row, column], histories.basis()[row])


def _frame(
    items: Items, bases: Sequence[str], ids: pl.Series, ranks: np.ndarray, numbers: np.ndarray, scores: np.ndarray, basis: np.ndarray
) -> pl.DataFrame:
    columns = {
        "user": ids,
        "rank": ranks,
        "item": items.ids.gather(numbers),
        "score": scores,
        "based_on": pl.Series(bases).gather(basis),
    }
    return items.with_titles(pl.DataFrame(columns), numbers)
