"""What the figures of an evaluation can be trusted for, seen from the data and the protocol alone, before anything is trained.

    test answers never seen in training    12 of 943 (1.3 %)    A model with a row per item ranks them by what it started with ...

Each finding counts something and says in one sentence what it does to the figures. A finding whose question the log can't answer, for it has no real
times, say, is of nothing (`of` is 0) and says why, instead of a number that would mislead.
"""

import math
from dataclasses import dataclass

import numpy as np

from gaterec.config.settings import Settings
from gaterec.data.interactions import Interactions
from gaterec.data.split import EvalQueries, Split, chosen_before, ranges


@dataclass(frozen=True)
class Finding:
    """One thing that the data or the protocol does to the figures.

    Attributes:
        name: what is counted, in the plural.
        count: how many there are.
        of: of how many; 0 where it can't be judged.
        meaning: one sentence: what it does to the figures, or why it can't be judged.
    """

    name: str
    count: int
    of: int
    meaning: str

    @property
    def share(self) -> float | None:
        """count / of, in 0..1; None where it can't be judged."""
        return self.count / self.of if self.of else None


def audit(
    interactions: Interactions, split: Split, valid: EvalQueries, test: EvalQueries, settings: Settings, counts: np.ndarray
) -> list[Finding]:
    """All findings, those that count nothing among them; always the same names in the same order.

    Args:
        valid, test: the queries that the split and eval_args.target give.
        settings: eval_args, repeatable.
        counts: (V,) how often each item was chosen in training.
    """
    untimed = _untimed(interactions, settings)
    return [
        *_order(interactions, untimed),
        _future(interactions, split, untimed),
        *_people(interactions, valid, test),
        _new_items(test, counts),
        _repeats(interactions, test, settings),
    ]


def _finding(name: str, count: int, of: int, meaning: str, nothing: str) -> Finding:
    """A finding, which says `nothing` where there is nothing to count among."""
    return Finding(name, count, of, nothing if not of else meaning if count else "There are none, so this does nothing to the figures.")


def _untimed(interactions: Interactions, settings: Settings) -> str | None:
    """Why the log's times say nothing of when; None where they do."""
    if settings.eval_args.order == "RO":
        return "eval_args.order RO shuffled the events, so it is not known here when each one was"
    time, events = interactions.time, len(interactions.item)
    if not events:
        return "there are no events"
    if not interactions.timed:
        return "the log has no times"
    # Row numbers, which may stand in the column of times, have this range and this sum.
    if time.min() == 0 and time.max() == events - 1 and time.sum() == events * (events - 1) // 2:
        return "the log has no times, or only the numbers of its rows"
    if all(_positions(interactions, people, events) for people, events in interactions.blocks()):
        return "the times are no more than positions in each person's history, 0, 1, 2 or 1, 2, 3"
    return None


def _positions(interactions: Interactions, people: slice, events: slice) -> bool:
    """Whether the times of all these people run 0, 1, 2, ... or 1, 2, 3, ..."""
    past = np.arange(events.start, events.stop) - np.repeat(interactions.offsets[people], interactions.lengths[people])
    first = interactions.time[events] - past
    return bool(((first == 0) | (first == 1)).all() and (first[1:] == first[:-1])[past[1:] > 0].all())


def _order(interactions: Interactions, untimed: str | None) -> list[Finding]:
    """Events of one person at one time: some repeat one another, and the file alone puts the others in order."""
    repeats = ties = 0
    if untimed is None:
        for people, events in interactions.blocks():
            time, item = interactions.time[events], interactions.item[events]
            same = np.zeros(len(time) + 1, dtype=bool)  # whether an event and the one before it are one person's at one time
            same[1:-1] = time[1:] == time[:-1]
            same[interactions.offsets[people] - events.start] = False
            tied = same[1:] | same[:-1]
            moment = np.cumsum(~same[:-1])
            pairs = moment[tied] * len(interactions.items) + item[tied]
            ties += len(pairs)
            repeats += len(pairs) - len(np.unique(pairs))
    of = 0 if untimed else len(interactions.item)
    nothing = f"This can't be judged: {untimed}."
    return [
        _finding(
            "events that repeat another of the same person, item and time",
            repeats,
            of,
            "They are trained on and asked for again, so what is logged twice counts twice; rm_dup_inter keeps one of each person and item.",
            nothing,
        ),
        _finding(
            "events at the same time as another of the same person",
            ties,
            of,
            "The order of the file decides which of them comes next or is held out, so figures change when the file is sorted otherwise.",
            nothing,
        ),
    ]


def _future(interactions: Interactions, split: Split, untimed: str | None) -> Finding:
    """How far training looks past the moment at which it is tested."""
    name = "test events earlier than some event of training"
    if untimed:
        return Finding(name, 0, 0, f"This can't be judged: {untimed}; so it is not known whether training looks into the future.")
    begin, end = split.held_out(interactions, "test")
    parts = [interactions.time[ranges(begin[people], (end - begin)[people])] for people, _ in interactions.blocks()]
    tests = np.sort(np.concatenate(parts))
    earlier = pairs = trained = 0
    for people, _ in interactions.blocks():
        training = ranges(interactions.offsets[:-1][people], (split.train_end - interactions.offsets[:-1])[people])
        before = np.searchsorted(tests, interactions.time[training])  # how many test events come before each event of training
        earlier = max(earlier, int(before.max(initial=0)))
        pairs += int(before.sum())
        trained += len(training)
    later = pairs / max(trained * len(tests), 1)
    return _finding(
        name,
        earlier,
        len(tests),
        f"On average {_percent(later)} of training is later than the test event, so models know trends that nobody can know at that moment, and "
        "figures may promise too much; split TS, or RS with group_by none, cuts at one moment for all.",
        "There are no test events.",
    )


def _people(interactions: Interactions, valid: EvalQueries, test: EvalQueries) -> list[Finding]:
    """Whom the figures speak of, and how finely."""
    people = len(interactions.users) - 1
    answers = np.bincount(test.user[test.case], minlength=people + 1)
    asked, alone = int((answers > 0).sum()), int((answers == 1).sum())
    left_out = [
        _finding(f"people without a {part} query", people - len(np.unique(cases.user)), people, meaning, "There are no people.")
        for part, cases, meaning in (
            ("validation", valid, "Early stopping and the choice of settings don't look at them."),
            ("test", test, "No figure says anything of them: their histories are too short, or hold nothing late enough."),
        )
    ]
    return [
        *left_out,
        _finding(
            "people judged by one test answer",
            alone,
            asked,
            f"Recall and Hit are 0 or 1 for each of them, so it takes many to tell models apart: a Recall over {alone:,} such people is known "
            f"to within ±{0.98 / math.sqrt(max(alone, 1)):.3f} at worst (95 %).",
            "There are no test queries.",
        ),
    ]


def _new_items(test: EvalQueries, counts: np.ndarray) -> Finding:
    known = counts[test.relevant] > 0
    return _finding(
        "test answers never seen in training",
        int((~known).sum()),
        len(known),
        f"A model with a row per item ranks them by what it started with, so, but for luck, Recall can't pass {_ceiling(test, known):.4f} "
        "at any cutoff short of the catalogue.",
        "There are no test answers.",
    )


def _repeats(interactions: Interactions, test: EvalQueries, settings: Settings) -> Finding:
    again = chosen_before(interactions, test)
    if settings.repeatable:
        meaning = "Seen items stay in the ranking (repeatable true), so these can be won by showing people what they chose already."
    else:
        meaning = (
            f"Seen items are left out (repeatable false), so these are always missed, and Recall can't pass {_ceiling(test, ~again):.4f}."
        )
    return _finding("test answers that the person chose before", int(again.sum()), len(again), meaning, "There are no test answers.")


def _ceiling(test: EvalQueries, within_reach: np.ndarray) -> float:
    """The mean Recall of a ranking that finds all answers within reach and no other; (R,) whether each one is."""
    found = np.bincount(test.case, within_reach, minlength=len(test))
    return float((found / np.bincount(test.case, minlength=len(test))).mean()) if len(test) else math.nan


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
