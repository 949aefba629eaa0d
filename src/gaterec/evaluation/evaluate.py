"""How good a model is: rank the catalogue for every held-out query and look where the right items stand.

Equal scores are put in order by a seeded lot that is drawn anew for every query, so a model that scores everything equal gets the metrics of
chance: its right items are as likely to stand at any rank as at any other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaterec.config.metric_names import split_metric
from gaterec.config.settings import Settings
from gaterec.data.interactions import Interactions
from gaterec.data.split import EvalQueries, Part, ranges, seen_pairs
from gaterec.errors import RunError
from gaterec.evaluation import metrics
from gaterec.evaluation.scorer import EncoderScorer, Scorer
from gaterec.kernels.ranking import Rows, products, rank
from gaterec.models.encoder import masked_bias
from gaterec.training.negative_sampling import NegativeSampler


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found.

    Attributes:
        figures: metric -> value, under RecBole's names: "recall@10".
        cases: the queries and their right items.
        ranks: (R,) int64, the rank of each right item, from 1; metrics.MISSED where it was left out of the ranking as seen.
        candidates: (C,) int64, how many items each query ranked.
    """

    figures: dict[str, float]
    cases: EvalQueries
    ranks: Tensor
    candidates: Tensor


@torch.inference_mode()
def evaluate(
    score: Scorer,
    interactions: Interactions,
    cases: EvalQueries,
    settings: Settings,
    *,
    part: Part,
    counts: Tensor,
) -> EvaluationResult:
    """Rank and measure.

    Args:
        score: the model.
        cases: the queries.
        settings: mode, repeatable, metrics, topk, eval_batch_size, seed, tail_ratio.
        part: which part of eval_args.mode counts, and part of the seed of what is drawn.
        counts: (V,) how often each item was chosen in training.

    Raises:
        RunError: a score is not a number.
    """
    wanted, size, device = wanted_metrics(settings), len(interactions.items), counts.device
    longest = max((k or 0 for name, k in wanted if name in metrics.OF_LISTS), default=0)
    # Queries with many right answers go first: ranks are counted fastest where neighbours have about as many.
    number = np.bincount(cases.case, minlength=len(cases))
    order = np.argsort(-number, kind="stable")
    answers = ranges((np.cumsum(number) - number)[order], number[order])
    asked = EvalQueries(
        cases.user[order], cases.position[order], cases.relevant[answers], np.repeat(np.arange(len(cases)), number[order]), 0
    )
    rows, together = _rows(score, cases, order)
    restrict = _restriction(interactions, cases, asked, order, settings, part, counts)
    candidates = torch.full((len(cases),), size - 1, device=device)

    def restricted(begin: int, end: int) -> Tensor:
        scores = rows(begin, end)
        if restrict is not None:
            candidates[torch.from_numpy(order[begin:end])] = restrict(scores, begin, end)
        return scores

    found, lists = rank(
        restricted,
        (len(cases), size),
        torch.from_numpy(asked.case).to(device),
        torch.from_numpy(asked.relevant).to(device),
        torch.randperm(size, generator=torch.Generator().manual_seed(settings.seed)).to(device),
        (torch.from_numpy(order).to(device) * 2_654_435_761 + settings.seed) % size,
        k=longest,
        step=settings.eval_batch_size,
        together=together,
    )
    ranks, top = torch.empty_like(found), torch.empty_like(lists)
    ranks[torch.from_numpy(answers)] = found.masked_fill_(found == 0, metrics.MISSED)
    top[torch.from_numpy(order)] = lists
    case = torch.from_numpy(cases.case).to(device)
    figures = metrics.measure_all(wanted, ranks, case, candidates, top if longest else None, counts, settings.tail_ratio)
    return EvaluationResult(figures, cases, ranks, candidates)


@dataclass(frozen=True)
class Evaluator:
    """Measures a model on one part of the data as often as it is asked to; the trainer validates with one.

    Attributes: see the arguments of evaluate.
    """

    score: Scorer
    interactions: Interactions
    queries: EvalQueries
    settings: Settings
    part: Part
    counts: Tensor

    def evaluate(self) -> dict[str, float]:
        """The metrics of the model as it is now, under RecBole's names: "recall@10"."""
        return evaluate(self.score, self.interactions, self.queries, self.settings, part=self.part, counts=self.counts).figures


def _rows(score: Scorer, cases: EvalQueries, order: np.ndarray) -> tuple[Rows, bool]:
    """The scores of the queries in that order, and whether several tiles of them may be made at a time."""
    diverged = RunError("the model's scores are not numbers (NaN): it has diverged; a lower learning_rate or clip_grad_norm may help")
    if isinstance(score, EncoderScorer) and score.model.dot_product and len(cases):
        queries = score.queries(cases.user, cases.position)[torch.from_numpy(order).to(score.device)]
        weight, bias = score.model.item_table()
        # Where no sum of products can pass the largest number, no score can be NaN.
        if not (queries.abs().max() * weight.abs().max() * queries.shape[1] + (0 if bias is None else bias.abs().max())).isfinite():
            raise diverged
        return products(queries, weight, masked_bias(weight, bias)), True

    def rows(begin: int, end: int) -> Tensor:
        scores = score(cases.user[order[begin:end]], cases.position[order[begin:end]])
        if scores.amax().isnan():
            raise diverged
        return scores

    return rows, False


def wanted_metrics(settings: Settings) -> list[tuple[str, int | None]]:
    """Metrics and cutoffs in the order of the settings, the one that early stopping follows among them."""
    wanted: list[tuple[str, int | None]] = []
    for name in settings.metrics:
        wanted += [(name, k) for k in settings.topk] if name not in metrics.OF_WHOLE_RANKING else [(name, None)]
    follow = split_metric(settings.valid_metric)
    return list(dict.fromkeys([*wanted, follow]))


def _restriction(
    interactions: Interactions, cases: EvalQueries, asked: EvalQueries, order: np.ndarray, settings: Settings, part: Part, counts: Tensor
) -> Callable[[Tensor, int, int], Tensor] | None:
    """What takes items out of the ranking of queries begin..end, by setting their scores to -inf in place; None takes none.

    It answers how many items are left for each query. `asked` are the cases in that order.
    """
    mode, size, device = settings.eval_args.mode[part], len(interactions.items), counts.device
    if mode == "full" and settings.repeatable:
        return None
    start = interactions.offsets[asked.user]
    past = asked.position - start
    drawn = None if mode == "full" else _drawn(interactions, cases, settings, part, counts)[torch.from_numpy(order)]

    def restrict(scores: Tensor, begin: int, end: int) -> Tensor:
        if not settings.repeatable:
            row = np.repeat(np.arange(end - begin) * size, past[begin:end])
            seen = np.sort(row + interactions.item[ranges(start[begin:end], past[begin:end])])
            scores.view(-1).index_fill_(0, torch.from_numpy(seen).to(device), -torch.inf)
            once = seen[np.diff(seen, prepend=-1) > 0]
            left = size - 1 - np.bincount(once // size, minlength=end - begin)
        if drawn is not None:
            first, last = np.searchsorted(asked.case, [begin, end])
            keep = torch.zeros(scores.shape, dtype=torch.bool, device=device)
            keep.scatter_(1, drawn[begin:end].to(device), True)
            keep[torch.from_numpy(asked.case[first:last] - begin), torch.from_numpy(asked.relevant[first:last])] = True
            return (scores.masked_fill_(~keep, -torch.inf) > -torch.inf).sum(1)
        return torch.from_numpy(left).to(device)

    return restrict


def _drawn(interactions: Interactions, cases: EvalQueries, settings: Settings, part: Part, counts: Tensor) -> Tensor:
    """(C, N): the items that each query's right ones are ranked against, the same for the same seed; never right ones, nor seen ones where those are left out."""
    mode, size = settings.eval_args.mode[part], len(interactions.items)
    excluded = cases.case * size + cases.relevant
    if not settings.repeatable:
        excluded = np.concatenate([excluded, seen_pairs(interactions, cases)])
    sampler = NegativeSampler(counts.cpu(), 1.0 if mode.startswith("pop") else None, torch.from_numpy(np.unique(excluded)))
    random = torch.Generator().manual_seed(settings.seed + (part == "test"))
    return sampler.draw(torch.arange(len(cases)), (int(mode[3:]),), random)
