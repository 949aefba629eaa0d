"""Learning: every loss, and every kind of model that sees an order, finds a planted pattern that popularity can't tell."""

from typing import Any

import numpy as np
import pytest

from gaterec.evaluation.scorer import EncoderScorer
from tests.support.histories import settings
from tests.support.training import CPU, planted, pop_right_at_first, right_at_first, trainer

pytestmark = pytest.mark.slow

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
LEARNED: list[dict[str, Any]] = [
    {"loss_type": "CE", "epochs": 30},
    {"loss_type": "CE", "epochs": 30, "pooling_type": "max"},
    {"loss_type": "BPR", "epochs": 60},
    {"loss_type": "BPR", "epochs": 60, "pooling_type": "max"},
    {"loss_type": "BPR", "epochs": 60, "sparse_updates": True},
    {"loss_type": "SSM", "epochs": 30},
    {"loss_type": "SSM", "epochs": 40, "train_neg_sample_args": {"sample_num": 8, "distribution": "popularity"}},
    {"loss_type": "SSM", "epochs": 30, "sparse_updates": True},
    {"loss_type": "gBCE", "epochs": 60},
    {"loss_type": "BPRmax", "epochs": 40, "bprmax_reg": 0.0},
    {"loss_type": "BPRmax", "epochs": 40, "bprmax_reg": 0.0, "sparse_updates": True},
    {"loss_type": "gBCE", "epochs": 60, "train_neg_sample_args": {"sample_num": 8}},
    {"loss_type": "gBCE", "epochs": 60, "train_neg_sample_args": {"sample_num": 8}, "sparse_updates": True},
]


@pytest.mark.parametrize("values", LEARNED, ids=lambda values: "-".join(str(value) for value in values.values()))
def test_training_learns_what_popularity_can_not(values: dict[str, Any]) -> None:
    interactions = planted()
    common = {"embedding_size": 16, "MAX_ITEM_LIST_LENGTH": 2, "train_batch_size": 128, "learning_rate": 0.02}
    chosen = settings(**common | values, topk=[1], valid_metric="MRR@5")
    found = trainer(interactions, chosen)
    losses = [entry["loss"] for entry in found.epochs()]
    assert losses[-1] < losses[0] / 4
    assert right_at_first(found.model, interactions, chosen) > 0.9
    assert pop_right_at_first(interactions, chosen) < 0.2


OF_MODELS: list[tuple[dict[str, Any], int]] = [
    *(
        ({"model": "SASRec", "hidden_size": 16, "inner_size": 32, "block": block, "epochs": 30} | NO_DROPOUT, 2)
        for block in ("post", "pre", "ligr")
    ),
    ({"model": "NextItNet", "embedding_size": 16, "block_num": 1, "dilations": [1], "epochs": 30}, 2),
    ({"model": "Caser", "embedding_size": 16, "dropout_prob": 0.0, "epochs": 30}, 2),
]
"""Settings of a model, and how far back the event stands that decides what is next."""


@pytest.mark.parametrize(
    ("values", "apart"), OF_MODELS, ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None
)
def test_each_model_learns_what_popularity_can_not(values: dict[str, Any], apart: int) -> None:
    interactions = planted(apart=apart)
    common = {"MAX_ITEM_LIST_LENGTH": 4, "train_batch_size": 128, "learning_rate": 0.01}
    chosen = settings(**common | values, topk=[1], valid_metric="MRR@5")
    found = trainer(interactions, chosen)
    list(found.epochs())
    assert right_at_first(found.model, interactions, chosen) > 0.9
    assert pop_right_at_first(interactions, chosen) < 0.2


def test_several_next_items_are_learned_together() -> None:
    interactions = planted()
    chosen = settings(next_items=2, embedding_size=16, MAX_ITEM_LIST_LENGTH=2, epochs=30, learning_rate=0.02, train_batch_size=128)
    found = trainer(interactions, chosen)
    list(found.epochs())
    scores = EncoderScorer(found.model.eval(), interactions, 2, CPU)(np.array([1]), np.array([4]))[0]
    last = int(interactions.item[3])
    assert set(scores.topk(2).indices.tolist()) == {last % 20 + 1, (last + 1) % 20 + 1}
