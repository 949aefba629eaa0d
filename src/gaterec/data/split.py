"""Which events are for training, validation and test: two cut points in each person's history.

    ann's history      rye tea jam ham      {'LS': 'valid_and_test'}: train rye tea | validate jam | test ham

Every way of splitting comes down to this, for events are put in order first (by time, or at random).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gaterec.config.settings import EvalArgs
from gaterec.data.interactions import AT_A_TIME, Interactions
from gaterec.errors import DataError

Part = Literal["valid", "test"]


@dataclass(frozen=True)
class Split:
    """Person p's training events are `item[offsets[p]:train_end[p]]`, validation `item[train_end[p]:valid_end[p]]`, test the rest.

    Attributes:
        train_end: (U,) int64 positions in the flat array of events.
        valid_end: (U,) int64 positions in the flat array of events.
    """

    train_end: np.ndarray
    valid_end: np.ndarray

    def held_out(self, interactions: Interactions, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """(U,), (U,): where each person's held-out events of this part begin and end."""
        if part == "valid":
            return self.train_end, self.valid_end
        return self.valid_end, interactions.offsets[1:]


@dataclass(frozen=True)
class EvalQueries:
    """What an evaluation asks: C queries, and the items that would be right answers.

    Attributes:
        user: (C,) int64, who is asked for, non-decreasing.
        position: (C,) int64, the query sees the person's events before this position of the flat array, at least one.
        relevant: (R,) int64, the right items, those of one query side by side, each once.
        case: (R,) int64, the query that each right item belongs to.
        skipped: how many held-out events can't be asked for, because nothing stands before them in the person's history.
    """

    user: np.ndarray
    position: np.ndarray
    relevant: np.ndarray
    case: np.ndarray
    skipped: int

    def __len__(self) -> int:
        return len(self.user)


def split_interactions(interactions: Interactions, protocol: EvalArgs) -> Split:
    """The cut points that eval_args asks for.

    Raises:
        DataError: when nothing is left for training, or nothing is held out although a share for it was asked for.
    """
    ((kind, how),) = protocol.split.items()
    lengths = interactions.lengths
    if kind == "LS":
        train, valid = _leave_out(lengths, how)
    elif kind == "TS":
        train, valid = _by_moment(interactions, how)
    elif protocol.group_by == "user":
        train, valid = _by_share(lengths, how)
    else:
        train, valid = _by_share_of_all(interactions, how)
    split = Split(interactions.offsets[:-1] + train, interactions.offsets[:-1] + train + valid)
    if train.max(initial=0) < 2:
        raise DataError(
            f"{interactions.name}: nobody has two training events under eval_args.split {protocol.split}{_remaining(lengths, train, valid)}; "
            "it takes longer histories, or a larger share for training"
        )
    if train.sum() == lengths.sum() and (kind == "LS" or sum(how[1:]) > 0):
        raise DataError(
            f"{interactions.name}: all histories are too short to hold anything out under eval_args.split {protocol.split}"
            f"{_remaining(lengths, train, valid)}; it takes three events of one person; "
            "{'RS': [1, 0, 0]} trains on everything and judges nothing"
        )
    return split


def _remaining(lengths: np.ndarray, train: np.ndarray, valid: np.ndarray) -> str:
    there, trained, validated, tested = (np.count_nonzero(part) for part in (lengths, train, valid, lengths - train - valid))
    return f": of {there:,} people, {trained:,} would have training events, {validated:,} validation events, {tested:,} test events"


def _leave_out(lengths: np.ndarray, which: str) -> tuple[np.ndarray, np.ndarray]:
    """The last event for test, the one before for validation, as long as two events stay for training (RecBole's rule).

    >>> _leave_out(np.array([1, 2, 3, 4]), "valid_and_test")  # a history of three has a test event, one of four has both
    (array([1, 2, 2, 2]), array([0, 0, 0, 1]))
    """
    spare = np.maximum(lengths - 2, 0)
    held = np.minimum(spare, 2 if which == "valid_and_test" else 1)
    valid = {"valid_and_test": (held == 2).astype(np.int64), "valid_only": held, "test_only": np.zeros_like(held)}[which]
    return lengths - held, valid


def _by_share(lengths: np.ndarray, shares: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Shares of each history, rounded down but never to nothing while training keeps an event (RecBole's rule).

    >>> _by_share(np.array([1, 2, 3, 10]), [0.8, 0.1, 0.1])
    (array([1, 1, 1, 8]), array([0, 0, 1, 1]))
    """
    total = sum(shares)
    wanted = [share / total * lengths for share in shares]
    valid, test = (np.floor(part + 1e-9).astype(np.int64) for part in wanted[1:])
    train = lengths - valid - test
    for held, part in ((test, wanted[2]), (valid, wanted[1])):
        lift = (train > 1) & (part > 0) & (held == 0)
        held += lift
        train -= lift
    return train, valid


def _by_share_of_all(interactions: Interactions, shares: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Shares of all events in their common order, by time and then by row of the log."""
    (train,), (valid,) = _by_share(np.array([len(interactions.item)]), shares)
    trained, before_test = (_earliest(interactions, int(number)) for number in (train, train + valid))
    return trained, before_test - trained


def _earliest(interactions: Interactions, number: int) -> np.ndarray:
    """(U,) how many of the earliest events of all, this number of them, belong to each user.

    Raises:
        DataError: events of several users happen at the time of the cut, and the order of the log was not kept.
    """
    time, user = interactions.time, interactions.user
    if number == 0:
        return np.zeros(len(interactions.users), dtype=np.int64)
    cut = np.partition(time, number - 1)[number - 1]
    counts = np.bincount(user[time < cut], minlength=len(interactions.users))
    tied = np.flatnonzero(time == cut)
    wanted = number - int(counts.sum())
    if wanted < len(tied) and len(np.unique(user[tied])) > 1:
        if interactions.row is None:
            raise DataError(
                f"{interactions.name}: {len(tied):,} events of several users happen at the time {cut} of a cut, and the order of the log, which "
                "decides between them under eval_args.group_by none, was not kept; prepare the log again with `gaterec prepare`, or run on the log itself"
            )
        tied = tied[np.argsort(interactions.row[tied])]
    counts += np.bincount(user[tied[:wanted]], minlength=len(interactions.users))
    return counts


def _by_moment(interactions: Interactions, shares: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """RecBole's TS: test is what comes after one moment for all (the last share of all times); before it, each history by share."""
    total = sum(shares)
    first, _, last = (share / total for share in shares)
    moment = np.percentile(interactions.time, 100 * (1 - last))
    before = np.bincount(interactions.user[interactions.time <= moment], minlength=len(interactions.users))
    train = np.floor(before * (first / (1 - last)) + 1e-9).astype(np.int64)
    return train, before - train


def training_counts(interactions: Interactions, split: Split) -> np.ndarray:
    """(V,) int64, how often each item was chosen in training: of all events those that are not held out."""
    counts = interactions.item_counts().copy()
    ends, step = interactions.offsets[1:], AT_A_TIME // 16
    for people in (slice(begin, begin + step) for begin in range(0, len(ends), step)):
        held_out = ranges(split.train_end[people], ends[people] - split.train_end[people])
        counts -= np.bincount(interactions.item[held_out], minlength=len(counts))
    return counts


def training_events(interactions: Interactions, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """(M,) int64 people and (M,) int64 items of all training events, in order of person, then time."""
    lengths = split.train_end - interactions.offsets[:-1]
    people = np.repeat(np.arange(len(lengths)), lengths)
    return people, interactions.item[ranges(interactions.offsets[:-1], lengths)].astype(np.int64)


def make_eval_queries(interactions: Interactions, split: Split, part: Part, target: Literal["next", "all"]) -> EvalQueries:
    """The queries of an evaluation.

    next: one query before each held-out event, which is its one right answer (RecBole's protocol).
    all: one query per person at the end of the history before the held-out part, all of which is right (the HGN paper's protocol).
    """
    begin, end = split.held_out(interactions, part)
    counts = end - begin
    user = np.repeat(np.arange(len(counts)), counts)
    held_out = ranges(begin, counts)
    position = held_out if target == "next" else begin[user]
    asked = position > interactions.offsets[user]
    user, position, relevant = user[asked], position[asked], interactions.item[held_out[asked]].astype(np.int64)
    if target == "all":
        # A right item counts once however often it comes.
        pairs = np.unique(user * len(interactions.items) + relevant)
        user, relevant = np.divmod(pairs, len(interactions.items))
        position = begin[user]
    first = np.ones(len(user), dtype=bool)
    first[1:] = (user[1:] != user[:-1]) | (position[1:] != position[:-1])
    return EvalQueries(
        user[first],
        position[first],
        relevant,
        np.cumsum(first) - 1,
        int((~asked).sum()),
    )


def seen_pairs(interactions: Interactions, cases: EvalQueries) -> np.ndarray:
    """(M,) int64: `query * V + item` of every event that stands before a query in its person's history."""
    begin = interactions.offsets[cases.user]
    past = cases.position - begin
    pairs: np.ndarray = np.repeat(np.arange(len(cases)), past) * len(interactions.items) + interactions.item[ranges(begin, past)]
    return pairs


def chosen_before(interactions: Interactions, cases: EvalQueries) -> np.ndarray:
    """(R,) whether the same person chose each right item before its query too."""
    size, before = len(interactions.items), np.zeros(len(cases.relevant), dtype=bool)
    for people, events in interactions.blocks():
        theirs = slice(*np.searchsorted(cases.case, np.searchsorted(cases.user, [people.start, people.stop])))
        person = np.repeat(np.arange(people.start, people.stop), interactions.lengths[people])
        pairs, first = np.unique(person * size + interactions.item[events], return_index=True)
        case = cases.case[theirs]
        place = np.searchsorted(pairs, cases.user[case] * size + cases.relevant[theirs])
        before[theirs] = events.start + first[place] < cases.position[case]
    return before


def ranges(begin: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """All of begin[i], begin[i] + 1, ... (counts[i] of them), for each i in turn.

    >>> ranges(np.array([10, 20]), np.array([2, 3]))
    array([10, 11, 20, 21, 22])
    """
    ends = np.cumsum(counts)
    ranges: np.ndarray = np.arange(ends[-1] if len(ends) else 0) + np.repeat(begin - (ends - counts), counts)
    return ranges
