"""From settings to something that can be trained and judged: a log made ready, and a trainer for it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaterec.config.loss_names import FULL_LOSSES
from gaterec.config.settings import Settings
from gaterec.data.batches import TrainingBatches
from gaterec.data.datasets.simulate import Simulation, simulate
from gaterec.data.interactions import Interactions
from gaterec.data.prepared import PreparedLog, Tell, prepare_log
from gaterec.data.split import EvalQueries, Part, Split, make_eval_queries, split_interactions, training_counts, training_events
from gaterec.evaluation.evaluate import Evaluator
from gaterec.evaluation.scorer import EncoderScorer, Scorer
from gaterec.models import model_class
from gaterec.models.encoder import SequenceEncoder
from gaterec.training.negative_sampling import NegativeSampler, own_items
from gaterec.training.trainer import Trainer, TrainingState


@dataclass(frozen=True)
class Prepared:
    """A log made ready for training and judging.

    Attributes:
        log: what was read and is left after filtering, in order.
        counts: (V,) how often each item was chosen in training.
        truth: the simulated world, for the demo dataset.
    """

    log: PreparedLog
    split: Split
    valid: EvalQueries
    test: EvalQueries
    counts: Tensor
    truth: Simulation | None

    @property
    def interactions(self) -> Interactions:
        """The histories."""
        return self.log.interactions


def prepare(settings: Settings, frame: Any, tell: Tell = lambda text: None) -> Prepared:
    """Read, filter, order and split a log; or open a prepared one, and split it.

    Args:
        frame: a frame in place of the dataset that the settings name.
        tell: told what is being done.

    Raises:
        DataError: the log can't be read, or nothing is left of it, or it is too small for the protocol.
    """
    truth = simulate() if frame is None and settings.dataset == "demo" else None
    source = truth.log if truth else settings.dataset if frame is None else frame
    log = prepare_log(source, settings, tell)
    interactions = log.interactions
    tell("splitting")
    split = split_interactions(interactions, settings.eval_args)
    valid, test = (make_eval_queries(interactions, split, part, settings.eval_args.target) for part in ("valid", "test"))
    return Prepared(log, split, valid, test, torch.from_numpy(training_counts(interactions, split)), truth)


def make_trainer(settings: Settings, prepared: Prepared, device: torch.device, state: TrainingState | None = None) -> Trainer:
    """A trainer for what was prepared; its model is drawn from torch's seed, so call it inside gaterec.training.reproducibility.reproducible.

    Args:
        state: where an earlier training of the same settings stopped; None begins.
    """
    interactions, split = prepared.interactions, prepared.split
    model = make_model(settings, prepared, device)
    counts = prepared.counts.to(device)
    negatives = settings.negatives
    own = None if settings.negatives_may_be_own or settings.loss_type in FULL_LOSSES else own_items(interactions, split).to(device)
    sampler = NegativeSampler(counts, negatives.alpha if negatives.distribution == "popularity" else None, own)
    evaluator = make_evaluator(model, settings, prepared, "valid", device) if len(prepared.valid) else None
    return Trainer(model, make_batches(settings, prepared, device), sampler, evaluator, settings, state)


def make_model(settings: Settings, prepared: Prepared, device: torch.device) -> SequenceEncoder:
    """The model that the settings name, freshly drawn."""
    people, things = len(prepared.interactions.users), len(prepared.interactions.items)
    model = model_class(settings.model)(people, things, settings.MAX_ITEM_LIST_LENGTH, settings.model_settings).to(device)

    def events() -> tuple[Tensor, Tensor]:
        people, items = training_events(prepared.interactions, prepared.split)
        return torch.from_numpy(people).to(device), torch.from_numpy(items).to(device)

    model.fit_counts(prepared.counts.to(device), events)
    return model


def make_batches(settings: Settings, prepared: Prepared, device: torch.device) -> TrainingBatches:
    """The batches of the training part."""
    return TrainingBatches(
        prepared.interactions,
        prepared.split,
        window=settings.MAX_ITEM_LIST_LENGTH,
        full_context=model_class(settings.model).full_context,
        batch_size=settings.train_batch_size,
        next_items=settings.next_items,
        shuffle=settings.shuffle,
        seed=settings.seed,
        device=device,
    )


def make_evaluator(model: SequenceEncoder, settings: Settings, prepared: Prepared, part: Part, device: torch.device) -> Evaluator:
    """Measures a model on the validation or the test part of what was prepared."""
    queries = prepared.valid if part == "valid" else prepared.test
    score = scorer_for(model, settings, prepared, device)
    return Evaluator(score, prepared.interactions, queries, settings, part, prepared.counts.to(device))


def scorer_for(model: SequenceEncoder, settings: Settings, prepared: Prepared, device: torch.device) -> Scorer:
    """The scores of a model for queries of what was prepared."""
    return EncoderScorer(model, prepared.interactions, settings.MAX_ITEM_LIST_LENGTH, device)


def truth_scorer(truth: Simulation, interactions: Interactions, device: torch.device) -> Scorer:
    """Scores that nobody can beat: the true probabilities."""
    person = truth.person_index(interactions.users[1:])
    thing = np.concatenate([[-1], truth.item_index(interactions.items[1:])])

    def score(user: np.ndarray, position: np.ndarray) -> Tensor:
        length = position - interactions.offsets[user]
        at = position[:, None] - np.arange(length.max(), 0, -1)
        history = np.where(at >= interactions.offsets[user][:, None], thing[interactions.item[np.maximum(at, 0)]], -1)
        likely = np.ascontiguousarray(truth.world.next_distribution(person[user - 1], history)[:, thing])
        likely[:, 0] = -np.inf
        return torch.from_numpy(likely).to(device)

    return score
