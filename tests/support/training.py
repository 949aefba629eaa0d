"""Trainers of small models, and a log with a pattern that a model can learn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from gaterec.config.settings import Settings
from gaterec.data.batches import TrainingBatches
from gaterec.data.interactions import Interactions
from gaterec.data.split import make_eval_queries, split_interactions
from gaterec.evaluation.evaluate import evaluate
from gaterec.evaluation.scorer import EncoderScorer
from gaterec.models import model_class
from gaterec.models.encoder import SequenceEncoder
from gaterec.models.pop import Pop, PopSettings
from gaterec.training.negative_sampling import NegativeSampler
from gaterec.training.trainer import Metrics, Trainer, TrainingState
from tests.support.histories import histories, no_events, training_counts

CPU = torch.device("cpu")


def planted(people: int = 150, items: int = 20, length: int = 9, apart: int = 1) -> Interactions:
    """Of events so far apart the later is the next item, after the last item the first; all items are equally popular."""
    starts = np.random.default_rng(0).integers(0, items, (people, apart))
    place, step = np.arange(length) % apart, np.arange(length) // apart
    return histories(*(((start[place] + step) % items + 1).tolist() for start in starts), catalogue=items)


def make_model(interactions: Interactions, chosen: Settings) -> SequenceEncoder:
    torch.manual_seed(chosen.seed % 2**63)
    kind = model_class(chosen.model)
    return kind(len(interactions.users), len(interactions.items), chosen.MAX_ITEM_LIST_LENGTH, chosen.model_settings)


@dataclass(frozen=True)
class Known:
    """An evaluator that calls a function."""

    evaluate: Callable[[], Metrics]


def trainer(
    interactions: Interactions,
    chosen: Settings,
    state: TrainingState | None = None,
    validate: Callable[[], Metrics] | None = None,
    model: SequenceEncoder | None = None,
) -> Trainer:
    split = split_interactions(interactions, chosen.eval_args)
    batches = TrainingBatches(
        interactions,
        split,
        window=chosen.MAX_ITEM_LIST_LENGTH,
        full_context=model_class(chosen.model).full_context,
        batch_size=chosen.train_batch_size,
        next_items=chosen.next_items,
        shuffle=chosen.shuffle,
        seed=chosen.seed,
    )
    how = chosen.negatives
    sampler = NegativeSampler(training_counts(interactions, split), how.alpha if how.distribution == "popularity" else None)
    evaluator = None if validate is None else Known(validate)
    return Trainer(model or make_model(interactions, chosen), batches, sampler, evaluator, chosen, state)


def right_at_first(model: SequenceEncoder, interactions: Interactions, chosen: Settings) -> float:
    split = split_interactions(interactions, chosen.eval_args)
    cases = make_eval_queries(interactions, split, "test", "next")
    score = EncoderScorer(model.eval(), interactions, chosen.MAX_ITEM_LIST_LENGTH, CPU)
    figures = evaluate(score, interactions, cases, chosen, part="test", counts=training_counts(interactions, split)).figures
    return figures["recall@1"]


def pop_right_at_first(interactions: Interactions, chosen: Settings) -> float:
    pop = Pop(len(interactions.users), len(interactions.items), 2, PopSettings())
    pop.fit_counts(training_counts(interactions, split_interactions(interactions, chosen.eval_args)), no_events)
    return right_at_first(pop, interactions, chosen)
