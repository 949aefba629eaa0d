"""How long it takes to judge a model on the whole catalogue, beside the bare product of its scores and beside the usual plain way."""

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Benchmark, Options, Row, Skipped, in_turns, ratio, timed
from benchmarks.quality import PAPER_FLAGS
from benchmarks.training import settings_for
from gaterec.config.settings import Settings
from gaterec.data.split import EvalQueries, Part
from gaterec.evaluation.evaluate import evaluate
from gaterec.evaluation.scorer import EncoderScorer
from gaterec.experiments.setup import Prepared, make_model, prepare, scorer_for
from gaterec.training.reproducibility import pick_device, reproducible

TILES = (64, 128, 1024)
"""Queries per tile of the bare product; the fastest counts."""

PLAIN_BATCH, PLAIN_LIST = 1000, 20
"""The plain way: so many people at a time, and so many items in their lists."""


class Case(NamedTuple):
    """What is judged."""

    name: str
    dataset: str
    flags: dict[str, Any]
    part: Part


CASES = [
    Case("amazon-cds, paper's protocol, test", "amazon-cds", PAPER_FLAGS, "test"),
    Case("ml-100k, leave-one-out, validation", "ml-100k", {}, "valid"),
    Case("amazon-sports, leave-one-out, test", "amazon-sports", {}, "test"),
]


def measure(options: Options) -> Iterator[Row | Skipped]:
    """One row per case."""
    for case in CASES:
        if missing := options.missing(case.dataset):
            yield missing
            continue
        options.tell(f"ranking: {case.name} ...")
        settings = settings_for(options, case.dataset, {**case.flags, "topk": [5, 10, 20], "metrics": ["Recall", "NDCG"]})
        yield _row(options, case, settings, prepare(settings, None))


def _row(options: Options, case: Case, settings: Settings, prepared: Prepared) -> Row:
    device = pick_device(settings)
    cases = prepared.test if case.part == "test" else prepared.valid
    with reproducible(settings, device):
        model = make_model(settings, prepared, device).eval()
    score = scorer_for(model, settings, prepared, device)
    assert isinstance(score, EncoderScorer)
    counts = prepared.counts.to(device)

    def judged() -> dict[str, float]:
        return evaluate(score, prepared.interactions, cases, settings, part=case.part, counts=counts).figures

    figures, plain = judged(), plain_way(score, prepared, cases, settings.repeatable)
    assert abs(figures["recall@20"] - plain["recall@20"]) < 1e-3, "the plain way finds other figures, so the times can't be compared"
    contenders: dict[str, Callable[[], object]] = {
        "gaterec": judged,
        "plain": lambda: plain_way(score, prepared, cases, settings.repeatable),
        **{
            f"floor {rows}": bare_product(score.queries(cases.user, cases.position), model.item_table()[0].detach(), rows) for rows in TILES
        },
    }
    seconds = in_turns({name: timed(work) for name, work in contenders.items()}, options.repeats)
    floor = min((seconds[f"floor {rows}"] for rows in TILES), key=median)
    return {
        "evaluation": case.name,
        "queries": len(cases),
        "right answers": len(cases.relevant),
        "plain": median(seconds["plain"]),
        "gaterec": median(seconds["gaterec"]),
        "floor": median(floor),
        "plain / gaterec": ratio(seconds["plain"], seconds["gaterec"]),
        "gaterec / floor": ratio(seconds["gaterec"], floor),
    }


def bare_product(queries: Tensor, table: Tensor, rows: int) -> Callable[[], None]:
    """All scores, tile after tile into the same memory, and nothing else."""
    tile = torch.empty(min(rows, len(queries)), len(table), device=queries.device)

    @torch.inference_mode()
    def product() -> None:
        for begin in range(0, len(queries), len(tile)):
            part = queries[begin : begin + len(tile)]
            torch.mm(part, table.T, out=tile[: len(part)])
        if queries.device.type == "cuda":
            torch.cuda.synchronize(queries.device)

    return product


def plain_way(score: EncoderScorer, prepared: Prepared, cases: EvalQueries, repeatable: bool) -> dict[str, float]:
    """Recall and NDCG at 5, 10 and 20 as they are usually reckoned: a matrix of scores per thousand queries, seen items set to 0 one query after
    another, the first twenty by argpartition, then a loop over queries for the metrics.

    Scores are shifted above 0, so that 0 leaves an item out, as it is meant to.
    """
    offsets, item = prepared.interactions.offsets, prepared.interactions.item
    bounds = np.searchsorted(cases.case, np.arange(len(cases) + 1))
    cutoffs = (5, 10, 20)
    recall, ndcg = dict.fromkeys(cutoffs, 0.0), dict.fromkeys(cutoffs, 0.0)
    for begin in range(0, len(cases), PLAIN_BATCH):
        end = min(begin + PLAIN_BATCH, len(cases))
        scores = score(cases.user[begin:end], cases.position[begin:end]).cpu().numpy()
        scores[:, 0] = scores[:, 1:].min() - 1
        scores -= scores.min()
        if not repeatable:
            for i in range(begin, end):
                scores[i - begin, item[offsets[cases.user[i]] : cases.position[i]]] = 0
        best = np.argpartition(scores, -PLAIN_LIST)[:, -PLAIN_LIST:]
        order = np.argsort(np.take_along_axis(scores, best, 1))[:, ::-1]
        top = np.take_along_axis(best, order, 1)
        for i in range(begin, end):
            right = set(cases.relevant[bounds[i] : bounds[i + 1]].tolist())
            listed = top[i - begin].tolist()
            for k in cutoffs:
                found = [place for place, candidate in enumerate(listed[:k]) if candidate in right]
                recall[k] += len(found) / len(right)
                most = sum(1 / np.log2(place + 2) for place in range(min(k, len(right))))
                ndcg[k] += sum(1 / np.log2(place + 2) for place in found) / most
    return {f"{name}@{k}": total[k] / len(cases) for name, total in (("recall", recall), ("ndcg", ndcg)) for k in cutoffs}


BENCHMARK = Benchmark(
    name="ranking",
    title="Seconds to judge HGN on the whole catalogue",
    about=(
        "gaterec: all of it, from encoding the histories to Recall and NDCG at 5, 10 and 20, with the exact rank of every right answer among all "
        "items, equal scores in an order drawn by lot, seen items left out where the protocol says so. The floor is the bare product of queries and "
        "item table, tile after tile into the same memory, in the fastest of three tile sizes. The plain way is how published code mostly does it: "
        "scores of 1,000 queries as one matrix, seen items set to 0, the first twenty by argpartition, and a Python loop over queries for the "
        "metrics; it finds no ranks behind the twentieth. Models are untrained: the time doesn't depend on it."
    ),
    columns={
        "evaluation": "{}",
        "queries": "{:,}",
        "right answers": "{:,}",
        "plain": "{:.3f} s",
        "gaterec": "{:.4f} s",
        "floor": "{:.4f} s",
        "plain / gaterec": "{:.1f}x",
        "gaterec / floor": "{:.2f}x",
    },
    ratio="gaterec / floor",
    measure=measure,
)
