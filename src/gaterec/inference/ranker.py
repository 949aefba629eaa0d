"""Ranking: queries of users to the top k items, by all scores or by an index, and the similarity of items."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gaterec.errors import RequestError
from gaterec.inference.ann_index import Index, IndexTopK
from gaterec.inference.query_cache import USERS_PER_BATCH, QueryCache
from gaterec.inference.requests import Answer, ExclusionMask, Request
from gaterec.inference.reranking import candidates, diverse
from gaterec.inference.users import Histories, RequestUser
from gaterec.kernels.tiled_topk import TiledTopK, product
from gaterec.models.encoder import SequenceEncoder


class Ranker:
    """Ranks the items of a run.

    Args:
        model: in evaluation mode.
        counts: (V,) the training counts of the items: their scores for users without events.
        seed: of the order of items with equal scores.
        cache: computes the queries.
        index: finds about the best items without scoring all of them; None scores all.
    """

    def __init__(self, model: SequenceEncoder, counts: Tensor, seed: int, cache: QueryCache, index: Index | None = None) -> None:
        self.model, self.counts, self.cache = model, counts, cache
        self._seed, self._index = seed, index

    def queries(self, users: Sequence[RequestUser]) -> Tensor:
        """(C, D) the queries; the rows of users without events are undefined."""
        return self.cache.queries(users, cache=False)

    @torch.inference_mode()
    def scores(self, users: Sequence[RequestUser]) -> Tensor:
        """(C, V) the scores of all items, -inf for padding; the training counts for users without events."""
        without_events = _without_events(users)
        scores = self._catalog.score(self._features(self.queries(users), without_events), slice(None), None)
        scores[without_events] = self.counts
        scores[:, 0] = -torch.inf
        return scores

    @torch.inference_mode()
    def best(self, histories: Histories, k: int, for_all: Tensor | None, *, seen: bool) -> tuple[np.ndarray, np.ndarray]:
        """(C, k) the numbers of the best items, 0 where none is left, and (C, k) their scores.

        Args:
            for_all: (V,) 0 for items that may be recommended and -inf for others; None allows all.
            seen: whether items of the history may be recommended.
        """
        events = histories.items[:0] if seen else histories.events()
        excluded = ExclusionMask(events, np.zeros_like(histories.counts) if seen else histories.counts, for_all=for_all)
        items, scores = self._top_k(self.cache.queries_of(histories), torch.from_numpy(histories.counts == 0), k, excluded)
        return items.numpy(), scores.numpy()

    @torch.inference_mode()
    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """See Recommender.answer."""
        if not requests:
            return []
        filters = [request.filters for request in requests]
        counts = [candidates(one.k) if one.diversity else one.k for one in filters]
        users = [request.user for request in requests]
        # Bulk requests bypass the cache; they would evict interactive users.
        queries = self.cache.queries(users, cache=len(users) <= USERS_PER_BATCH)
        best = self._top_k(queries, _without_events(users), max(counts), ExclusionMask.of(requests))
        answers = []
        for one, count, items, scores in zip(filters, counts, *best, strict=True):
            found = min(int(items.count_nonzero()), count)
            items, scores = items[:found], scores[:found]
            if one.diversity:
                order = diverse(scores, self.vectors[items], one.k, one.diversity)
                items, scores = items[order], scores[order]
            answers.append(Answer(items.numpy(), scores.numpy()))
        return answers

    def similar(self, item: int, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(k,) the items with the most similar vectors (cosine), and (k,) the similarities."""
        similarity = self.vectors @ self.vectors[item] / (self._lengths * self._lengths[item])
        similarity[[0, item]] = -torch.inf
        values, items = similarity.topk(min(k, len(similarity) - 2))
        return items.numpy(), values.numpy()

    def check_vectors(self, where: str, model: str) -> None:
        """Raises RequestError for a model without item vectors."""
        if not self.model.dot_product:
            raise RequestError(f"{where}: {model} has no vectors of items")

    @property
    def vectors(self) -> Tensor:
        """(V, D) the item vectors."""
        return self.model.item_table()[0].detach()

    @cached_property
    def _lengths(self) -> Tensor:
        """(V,) the lengths of the item vectors, above 0."""
        lengths: Tensor = torch.linalg.vector_norm(self.vectors, dim=1)
        return lengths.clamp_(min=1e-12)

    def _top_k(self, queries: Tensor, without_events: Tensor, k: int, excluded: ExclusionMask) -> tuple[Tensor, Tensor]:
        """(C, k) items and scores; the queries of users `without_events` (C,) are ignored, and the training counts are their scores."""
        best = self._exact_top_k if self._index is None else IndexTopK(self._index, self._exact_top_k).best
        return best(queries, without_events, min(k, len(self.counts) - 1), excluded)

    def _exact_top_k(self, queries: Tensor, without_events: Tensor, k: int, excluded: ExclusionMask) -> tuple[Tensor, Tensor]:
        any_without = bool(without_events.any())

        def restrict(scores: Tensor, rows: slice, items: slice) -> None:
            if any_without:
                scores[without_events[rows]] = self.counts[items]
            excluded(scores, rows, items)

        return self._catalog.best(self._features(queries, without_events), k, restrict)

    def _features(self, queries: Tensor, without_events: Tensor) -> Tensor:
        """(C, D) -> (C, F): what `_catalog` scores; the last feature of a dot product is 1, for the bias of the item."""
        queries = queries.masked_fill(without_events[:, None], 0.0)  # they are undefined
        return torch.cat([queries, queries.new_ones(len(queries), 1)], 1) if self.model.dot_product else queries

    @cached_property
    def _catalog(self) -> TiledTopK:
        """All items, with the order of equal scores."""
        model, size = self.model, len(self.counts)
        order = torch.randperm(size, generator=torch.Generator().manual_seed(self._seed))
        if not model.dot_product:
            return TiledTopK(lambda queries, items, memory: model.scores(queries).clone(), order, most=size)
        weight, bias = (part if part is None else part.detach() for part in model.item_table())
        assert weight is not None
        return TiledTopK(product(torch.cat([weight.T, (torch.zeros(size) if bias is None else bias)[None]])), order)


def _without_events(users: Sequence[RequestUser]) -> Tensor:
    """(C,) which users have no events."""
    return torch.tensor([not len(user.items) for user in users], dtype=torch.bool)
