"""What the cells of a comparison found, and each entry's figures over its seeds."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import torch

from gaterec.config.metric_names import split_metric
from gaterec.config.paths import read_text
from gaterec.config.settings import Settings
from gaterec.errors import RunError
from gaterec.evaluation import metrics
from gaterec.evaluation.evaluate import EvaluationResult
from gaterec.evaluation.significance import Comparison
from gaterec.evaluation.slices import SliceRow, slice_rows
from gaterec.experiments.compare.run_process import MEASURED, RunSpec
from gaterec.experiments.setup import Prepared
from gaterec.inference.run_folder import read_info
from gaterec.io.files import read_table, reason

DONE, WAITING = "done", "waiting"

Spread = tuple[float, float]
"""Mean and sample standard deviation over seeds; the deviation is nan with one seed."""


@dataclass(frozen=True)
class RunOutcome:
    """What became of a cell.

    Attributes:
        status: DONE, WAITING, or why it failed.
        info: run.json.
        measured: what was measured beside the run (see gaterec.experiments.compare.run_process).
        people: metric ("ndcg@10") -> (P,) the mean over each person's cases.
        slices: rows by question (see gaterec.evaluation.slices).
    """

    cell: RunSpec
    status: str = WAITING
    info: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    people: dict[str, np.ndarray] = field(default_factory=dict)
    slices: dict[str, list[SliceRow]] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether there are figures."""
        return self.status == DONE

    @property
    def seconds(self) -> float:
        """Seconds of all epochs, validation not counted."""
        return float(sum(epoch["seconds"] for epoch in self.info["epochs"]))

    @property
    def seconds_to_best(self) -> float:
        """Seconds of the epochs up to the one whose weights were kept."""
        return float(sum(epoch["seconds"] for epoch in self.info["epochs"][: self.info["best_epoch"]]))


def read_outcome(cell: RunSpec, prepared: Prepared) -> RunOutcome:
    """What a finished cell found.

    Raises:
        RunError: its folder is damaged.
    """
    info, cases = read_info(cell.folder), prepared.test
    try:
        measured = json.loads(read_text(cell.folder / MEASURED))
        table = read_table(cell.folder / "ranks.parquet", len(cases.relevant))
        ranks = torch.from_numpy(table["rank"].fill_null(metrics.MISSED).cast(pl.Int64).to_numpy().copy())
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{cell.folder}: is damaged: {reason(error)}; remove it, and it is trained anew") from None
    result = EvaluationResult({}, cases, ranks, torch.full((len(cases),), len(prepared.interactions.items) - 1))
    cutoff = cutoff_near_ten(cell.settings)
    slices = slice_rows(result, prepared.interactions, prepared.counts.numpy(), cutoff)
    return RunOutcome(cell, DONE, info, measured, _by_person(result, tested_metrics(cell.settings)), slices)


def cutoff_near_ten(settings: Settings) -> int:
    """The cutoff of slices and tests."""
    return min(settings.topk, key=lambda k: abs(k - 10))


def tested_metrics(settings: Settings) -> list[str]:
    """The metrics on which models are held against each other: the one that early stopping follows, NDCG and Recall; those that cases have."""
    k = cutoff_near_ten(settings)
    return list(
        dict.fromkeys(name.lower() for name in (settings.valid_metric, f"NDCG@{k}", f"Recall@{k}") if split_metric(name)[0] in metrics.AT_K)
    )


def _by_person(result: EvaluationResult, names: Sequence[str]) -> dict[str, np.ndarray]:
    cases, case = result.cases, torch.from_numpy(result.cases.case)
    _, person = np.unique(cases.user, return_inverse=True)
    number = np.bincount(person)
    found = {}
    for name in names:
        base, k = split_metric(name)
        each = metrics.per_case(base, k, result.ranks, case, result.candidates).numpy()
        found[name] = np.bincount(person, weights=each) / number
    return found


@dataclass(frozen=True)
class ComparisonResults:
    """All that the tables and the page of a comparison show.

    Attributes:
        title: what was compared on what.
        outcomes: of all cells.
        references: "Pop", "best possible" -> metric -> values.
        protocol: sentences that say how it was measured.
        tests: paired tests between the entries; none before all cells are through.
        audit: what was found in the data and the split.
        notes: sentences that a reader should know.
        settings: those that all entries share, and by entry the others.
        environment, command: to make it again.
    """

    title: str
    outcomes: list[RunOutcome]
    references: dict[str, dict[str, list[float]]]
    protocol: list[str]
    tests: list[Comparison]
    audit: list[str]
    notes: list[str]
    settings: dict[str, Any]
    environment: dict[str, Any]
    command: str

    @property
    def decimals(self) -> int:
        """Of metrics."""
        return self.outcomes[0].cell.settings.metric_decimal_place

    @property
    def entries(self) -> list[str]:
        """The labels of all entries, in order."""
        return list(dict.fromkeys(outcome.cell.label for outcome in self.outcomes))

    @cached_property
    def summaries(self) -> list["Summary"]:
        """One per entry, in order, then the references that are no entries."""
        labels = self.entries
        entries = [Summary(label, tuple(outcome for outcome in self.outcomes if outcome.cell.label == label)) for label in labels]
        return entries + [Summary(name, reference=figures) for name, figures in self.references.items() if name not in labels]

    @property
    def best(self) -> str | None:
        """The entry that is best on the metric that early stopping follows; None before any is done."""
        settings = self.outcomes[0].cell.settings
        name, sign = settings.valid_metric.lower(), 1 if settings.valid_metric_bigger else -1
        means = {one.label: sign * one.figures("test")[name][0] for one in self.summaries if one.done and name in one.figures("test")}
        return max(means, key=lambda label: means[label]) if means else None

    @property
    def primary_tests(self) -> list[Comparison]:
        """The tests of the first entry, and of the best one, against each other one; on the first metric."""
        chief = {self.entries[0], self.best}
        return [test for test in self.tests if test.metric == self.tests[0].metric and chief & {test.a, test.b}]

    @property
    def status(self) -> list[str]:
        """A line about each cell without figures."""
        return [f"{o.cell.label}, seed {o.cell.settings.seed}: {o.status}" for o in self.outcomes if not o.done]


@dataclass(frozen=True)
class Summary:
    """An entry's figures over its seeds; of a reference ("Pop", "best possible") test figures alone."""

    label: str
    outcomes: tuple[RunOutcome, ...] = ()
    reference: Mapping[str, Sequence[float]] | None = None

    @cached_property
    def done(self) -> list[RunOutcome]:
        """The cells that have figures."""
        return [outcome for outcome in self.outcomes if outcome.done]

    def figures(self, part: str) -> dict[str, Spread]:
        """Metric -> mean and standard deviation on "valid" or "test"."""
        if self.reference is not None:
            return {name: spread(values) for name, values in self.reference.items()} if part == "test" else {}
        each = [outcome.info[part] for outcome in self.done if outcome.info[part] is not None]
        return {name: spread([figures[name] for figures in each]) for name in (each[0] if each else ())}

    @property
    def seconds(self) -> Spread:
        """Training time of all epochs."""
        return spread([outcome.seconds for outcome in self.done])

    @property
    def seconds_to_best(self) -> Spread:
        """Training time up to the best epoch."""
        return spread([outcome.seconds_to_best for outcome in self.done])

    @property
    def seconds_per_1000(self) -> Spread:
        """Time of 1,000 recommendations."""
        return spread([outcome.measured["seconds_per_1000"] for outcome in self.done])

    @property
    def parameters(self) -> int | None:
        """How many numbers were learned."""
        return next((int(outcome.measured["parameters"]) for outcome in self.done), None)

    @property
    def peak_memory(self) -> int | None:
        """The most bytes that any of its processes had."""
        return max((int(peak) for outcome in self.done if (peak := outcome.measured["peak_memory"]) is not None), default=None)

    @property
    def people(self) -> dict[str, np.ndarray]:
        """Metric -> (P,) each person's figure, the mean over seeds."""
        return {
            name: np.mean([outcome.people[name] for outcome in self.done], axis=0) for name in (self.done[0].people if self.done else ())
        }

    def slices(self, question: str) -> list[SliceRow]:
        """The rows that answer a question, the mean over seeds."""
        each = [outcome.slices.get(question, []) for outcome in self.done]
        return [
            SliceRow(rows[0].label, rows[0].cases, {name: float(np.mean([row.metrics[name] for row in rows])) for name in rows[0].metrics})
            for rows in zip(*each, strict=True)
        ]


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation.

    >>> spread([1.0, 3.0]), spread([2.0])
    ((2.0, 1.4142135623730951), (2.0, nan))
    """
    if not values:
        return math.nan, math.nan
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
