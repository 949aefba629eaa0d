"""How good a model is: rank the catalogue for every held-out query and look where the right items stand.

Equal scores are put in order by a seeded lot that is drawn anew for every query, so a model that scores everything equal gets the metrics of
chance: its right items are as likely to stand at any rank as at any other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaterec import metrics
from gaterec.data.interactions import Interactions
from gaterec.data.split import Cases, Part, ranges, seen_pairs
from gaterec.errors import RunError
from gaterec.kernels.counting import count_above
from gaterec.models.encoder import SequenceEncoder
from gaterec.sampling import NegativeSampler
from gaterec.settings import Settings, split_metric

Scorer = Callable[[np.ndarray, np.ndarray], Tensor]
"""(C,) people and (C,) positions in the flat array of events -> (C, V) scores of all items given what stands before; padding -inf."""

SCORES_AT_A_TIME = 2_000_000
"""How many scores are held at a time; larger tiles leave the cache and are no faster."""


@dataclass(frozen=True)
class Judgement:
    """What an evaluation found.

    Attributes:
        figures: metric -> value, under RecBole's names: "recall@10".
        cases: the queries and their right items.
        ranks: (R,) int64, the rank of each right item, from 1; metrics.MISSED where it was left out of the ranking as seen.
        candidates: (C,) int64, how many items each query ranked.
    """

    figures: dict[str, float]
    cases: Cases
    ranks: Tensor
    candidates: Tensor


def encoder_scorer(model: SequenceEncoder, interactions: Interactions, window: int, device: torch.device) -> Scorer:
    """Scores by a model: every query sees at least `window` events before its position, where there are so many."""
    item = torch.from_numpy(interactions.item).to(device)

    @torch.inference_mode()
    def score(user: np.ndarray, position: np.ndarray) -> Tensor:
        # Queries of one person share a row: events from `window` before the first of them up to the last.
        starts_row = np.concatenate([[True], user[1:] != user[:-1]])
        row = np.cumsum(starts_row) - 1
        begin = np.maximum(position[starts_row] - window, interactions.offsets[user[starts_row]])
        end = np.append(position[:-1][starts_row[1:]], position[-1])
        at = begin[:, None] + np.arange((end - begin).max())
        inside = torch.from_numpy(at < end[:, None]).to(device)
        items = torch.where(inside, item[torch.from_numpy(np.minimum(at, len(item) - 1)).to(device)], 0)
        queries = model.encode(torch.from_numpy(user[starts_row]).to(device), items)
        asked = torch.from_numpy(row).to(device), torch.from_numpy(position - 1 - begin[row]).to(device)
        return model.scores(queries[asked])

    return score


@torch.inference_mode()
def evaluate(
    score: Scorer,
    interactions: Interactions,
    cases: Cases,
    settings: Settings,
    *,
    part: Part,
    counts: Tensor,
) -> Judgement:
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
    wanted = wanted_metrics(settings)
    longest = max((k or 0 for name, k in wanted if name in metrics.OF_LISTS), default=0)
    size = len(interactions.items)
    step = max(1, min(settings.eval_batch_size, SCORES_AT_A_TIME // size))
    restrict = _restriction(interactions, cases, settings, part, counts)
    lot = torch.randperm(size, generator=torch.Generator().manual_seed(settings.seed)).to(counts.device)
    ranks, candidates, lists = [], [], []
    for begin in range(0, len(cases), step):
        end = min(begin + step, len(cases))
        scores = score(cases.user[begin:end], cases.position[begin:end])
        if restrict is None:
            candidates.append(torch.full((end - begin,), size - 1, device=scores.device))
        else:
            restrict(scores, begin, end)
            candidates.append((scores > -torch.inf).sum(1))
        first, last = np.searchsorted(cases.case, [begin, end])
        row = torch.from_numpy(cases.case[first:last] - begin).to(scores.device)
        right = torch.from_numpy(cases.relevant[first:last]).to(scores.device)
        draw = (torch.arange(begin, end, device=scores.device) * 2_654_435_761 + settings.seed) % size
        ranks.append(_ranks(scores, row, right, lot, draw))
        if longest:
            lists.append(top_items(scores, longest, lot, draw))
    empty = torch.zeros(0, dtype=torch.int64, device=counts.device)
    all_ranks, all_candidates = torch.cat(ranks or [empty]), torch.cat(candidates or [empty])
    case = torch.from_numpy(cases.case).to(all_ranks.device)
    top = torch.cat(lists or [empty.view(0, 0)]) if longest else None
    figures: dict[str, float] = {}
    for name, k in wanted:
        figures |= metrics.measure([name], [k] if k else [], all_ranks, case, all_candidates, top, counts, settings.tail_ratio)
    return Judgement(figures, cases, all_ranks, all_candidates)


def wanted_metrics(settings: Settings) -> list[tuple[str, int | None]]:
    """Metrics and cutoffs in the order of the settings, the one that early stopping follows among them."""
    wanted: list[tuple[str, int | None]] = []
    for name in settings.metrics:
        wanted += [(name, k) for k in settings.topk] if name not in metrics.OF_WHOLE_RANKING else [(name, None)]
    follow = split_metric(settings.valid_metric)
    return list(dict.fromkeys([*wanted, follow]))


def _restriction(
    interactions: Interactions, cases: Cases, settings: Settings, part: Part, counts: Tensor
) -> Callable[[Tensor, int, int], None] | None:
    """What takes items out of the ranking of queries begin..end, by setting their scores to -inf in place; None takes none."""
    mode, size = settings.eval_args.mode[part], len(interactions.items)
    if mode == "full" and settings.repeatable:
        return None
    past = cases.position - interactions.offsets[cases.user]
    if mode != "full":
        drawn = _drawn(interactions, cases, settings, part, counts)

    def restrict(scores: Tensor, begin: int, end: int) -> None:
        if mode != "full":
            first, last = np.searchsorted(cases.case, [begin, end])
            keep = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
            keep.scatter_(1, drawn[begin:end].to(scores.device), True)
            keep[torch.from_numpy(cases.case[first:last] - begin), torch.from_numpy(cases.relevant[first:last])] = True
            scores.masked_fill_(~keep, -torch.inf)
        if not settings.repeatable:
            seen = interactions.item[ranges(interactions.offsets[cases.user[begin:end]], past[begin:end])]
            row = np.repeat(np.arange(end - begin), past[begin:end])
            flat = torch.from_numpy(row * size + seen).to(scores.device)
            scores.view(-1).index_fill_(0, flat, -torch.inf)

    return restrict


def _drawn(interactions: Interactions, cases: Cases, settings: Settings, part: Part, counts: Tensor) -> Tensor:
    """(C, N): the items that each query's right ones are ranked against, the same for the same seed; never right ones, nor seen ones where those are left out."""
    mode, size = settings.eval_args.mode[part], len(interactions.items)
    excluded = cases.case * size + cases.relevant
    if not settings.repeatable:
        excluded = np.concatenate([excluded, seen_pairs(interactions, cases)])
    sampler = NegativeSampler(counts.cpu(), 1.0 if mode.startswith("pop") else None, torch.from_numpy(np.unique(excluded)))
    random = torch.Generator().manual_seed(settings.seed + (part == "test"))
    return sampler.draw(torch.arange(len(cases)), (int(mode[3:]),), random)


def _ranks(scores: Tensor, row: Tensor, right: Tensor, lot: Tensor, draw: Tensor) -> Tensor:
    """(R,) the rank of item right[i] in row row[i] of scores (C, V).

    lot (V,) and draw (C,) put equal scores in order: of two the one with the smaller (lot[item] + draw[row]) % V comes first.

    Raises:
        RunError: a score is not a number.
    """
    own = scores[row, right]
    if scores.amax().isnan():
        raise RunError("the model's scores are not numbers (NaN): it has diverged; a lower learning_rate or clip_grad_norm may help")
    ranks = torch.empty_like(right)
    # The first right item of every row at once, then the second of those that have one, ...
    place = torch.arange(len(row), device=row.device) - torch.searchsorted(row, row)
    for j in range(int(place.max()) + 1 if len(place) else 0):
        at = (place == j).nonzero().squeeze(1)
        rows = scores if len(at) == len(scores) else scores[row[at]]
        mine = own[at, None]
        above, upto = count_above(rows, mine[:, 0])
        tied = (upto - above > 1).nonzero().squeeze(1)
        if len(tied):
            order = (lot + draw[row[at[tied]], None]) % len(lot)  # (ties, V)
            before = order < order.gather(1, right[at[tied], None])
            above[tied] += ((rows[tied] == mine[tied]) & before).sum(1)
        ranks[at] = above + 1
    return ranks.masked_fill(own == -torch.inf, metrics.MISSED)


def top_items(scores: Tensor, k: int, lot: Tensor, draw: Tensor) -> Tensor:
    """(C, min(k, V - 1)) the best items of each row of scores (C, V), best first, equal scores as in _ranks; 0 where none is left."""
    k = min(k, scores.shape[1] - 1)
    values, items = scores.topk(k + 1, dim=1)
    tied = ((values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -torch.inf)).any(1).nonzero().squeeze(1)
    if len(tied):
        by_lot = ((lot + draw[tied, None]) % len(lot)).argsort(1)
        by_score = scores[tied].gather(1, by_lot).argsort(stable=True, dim=1, descending=True)
        items[tied] = by_lot.gather(1, by_score)[:, : k + 1]
        values[tied] = scores[tied].gather(1, items[tied])
    return items[:, :k].masked_fill(values[:, :k] == -torch.inf, 0)


def describe_protocol(settings: Settings, interactions: Interactions, cases: Cases) -> list[str]:
    """How the test figures were made, in sentences that stand beside them."""
    protocol = settings.eval_args
    ((kind, how),) = protocol.split.items()
    shares = "" if kind == "LS" else "/".join(f"{100 * share / sum(how):g}" for share in how)
    order = "by time" if protocol.order == "TO" else "in random order"
    cut = {
        "LS": f"leave-one-out ({how}), each person's events {order}",
        "RS": f"{shares} {order}, " + ("of each person's events" if protocol.group_by else "of all events together"),
        "TS": f"{shares} by time, test is what came after one moment for all",
    }[kind]
    mode = protocol.mode["test"]
    ranked = f"the whole catalogue of {len(interactions.items) - 1:,} items" if mode == "full" else f"{mode[3:]} drawn items ({mode})"
    asked = (
        "the next item before each held-out event" if protocol.target == "next" else "all held-out items, once at the end of the history"
    )
    people = len(np.unique(cases.user))
    lines = [
        f"Split: {cut}.",
        f"Asked: {asked}; {len(cases):,} queries of {people:,} people, {len(cases.relevant):,} right answers.",
        f"Ranked: {'full: ' if mode == 'full' else ''}{ranked}; items seen before are {'kept' if settings.repeatable else 'left out'}.",
    ]
    if mode != "full":
        lines.append("Warning: metrics on drawn items mislead; they can put models in another order than the full ranking does.")
    if cases.skipped:
        lines.append(f"Left out: {cases.skipped:,} held-out events with no earlier event of the same person.")
    return lines
