"""What a search has found: one record per trial, whichever process or machine made it, and all of them together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

State = Literal["done", "pruned", "failed", "running"]


@dataclass(frozen=True)
class Trial:
    """One point of the space, and what a training with it came to.

    Attributes:
        number: from 0 on, in the order in which trials were begun.
        state: done; pruned (ended early as hopeless); failed (see reason); running.
        chosen: setting -> value, of the searched settings.
        score: valid_metric of the best epoch; of a pruned trial too; None where nothing was validated.
        cost: what is weighed against the score (seconds), in a search with two objectives.
        valid: all figures of the best epoch on the validation part, metrics named as in "recall@10".
        best_epoch: whose weights were the best; 0 for none.
        curve: (epoch, valid_metric) after every epoch that was validated.
        seconds: from begin to end, all attempts of a trial that was killed and run again.
        reason: why it failed or was pruned.
        worker: where it ran.
    """

    number: int
    state: State
    chosen: Mapping[str, Any]
    score: float | None = None
    cost: float | None = None
    valid: Mapping[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    curve: Sequence[tuple[int, float]] = ()
    seconds: float = 0.0
    reason: str = ""
    worker: str = ""


@dataclass(frozen=True)
class Search:
    """All that is known of a search.

    Attributes:
        title: what is tuned on what.
        metric: what trials are chosen by, on the validation part, as in "MRR@10".
        bigger: whether more of it is better.
        cost: what is weighed against it, in words with its unit; None in a search with one objective.
        names: the searched settings, in the order of the space.
        logarithmic: those of them that are searched on a logarithmic scale.
        trials: in the order of their numbers.
        total: how many there are to be.
        how: sentences: the sampler, the pruner, the seed, what the figures are of.
        importance: setting -> its share of what makes the difference, 0 to 1; empty with too few trials.
        settings: of every trial, but for the searched ones.
        environment, command: to make it again.
        confirmed: sentences about the winner beside the defaults, trained with several seeds and judged on test.
    """

    title: str
    metric: str
    bigger: bool
    names: Sequence[str]
    trials: Sequence[Trial]
    total: int
    cost: str | None = None
    logarithmic: frozenset[str] = frozenset()
    how: Sequence[str] = ()
    importance: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    confirmed: Sequence[str] = ()

    def of(self, *states: State) -> list[Trial]:
        """The trials in any of these states."""
        return [trial for trial in self.trials if trial.state in states]

    @cached_property
    def ranked(self) -> list[Trial]:
        """Those that are done and have a score, the best first; of equal ones the earlier first, whichever was done first."""
        scored = [(trial.score, trial) for trial in self.of("done") if trial.score is not None and math.isfinite(trial.score)]
        return [trial for _, trial in sorted(scored, key=lambda pair: (-pair[0] if self.bigger else pair[0], pair[1].number))]

    @property
    def best(self) -> Trial | None:
        """The winner so far: the best score, whatever it cost."""
        return self.ranked[0] if self.ranked else None

    @property
    def front(self) -> list[Trial]:
        """Those of which none other is both better and cheaper (Pareto), the best score first; all there is with one objective is the winner."""
        if self.cost is None:
            return self.ranked[:1]
        found: list[Trial] = []
        for trial in self.ranked:
            if found and _price(trial) >= _price(found[-1]):
                continue
            if found and trial.score == found[-1].score:
                found.pop()
            found.append(trial)
        return found


def _price(trial: Trial) -> float:
    return trial.cost if trial.cost is not None and math.isfinite(trial.cost) else math.inf
