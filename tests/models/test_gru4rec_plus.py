"""GRU4Rec+: GRU4Rec with other defaults of training, which any source changes."""

from typing import Any

import pytest
import torch

from gaterec.models.gru4rec import GRU4Rec, GRU4RecSettings
from gaterec.models.gru4rec_plus import GRU4RecPlus, GRU4RecPlusSettings
from tests.support.histories import settings
from tests.support.training import planted, pop_right_at_first, right_at_first, trainer


def test_the_network_is_gru4recs() -> None:
    models = []
    for kind, own in ((GRU4Rec, GRU4RecSettings()), (GRU4RecPlus, GRU4RecPlusSettings())):
        torch.manual_seed(0)
        models.append(kind(5, 9, 4, own).eval())
    users, items = torch.tensor([1]), torch.tensor([[3, 1, 4]])
    assert torch.equal(models[0](users, items), models[1](users, items))


def test_its_defaults_are_a_ranking_loss_and_many_negatives() -> None:
    chosen = settings(model="GRU4RecPlus")
    assert chosen.loss_type == "BPRmax"
    assert (chosen.negatives.sample_num, chosen.negatives.distribution, chosen.negatives.alpha) == (2048, "popularity", 0.5)


def test_any_source_wins_over_them() -> None:
    assert settings(model="GRU4RecPlus", loss_type="TOP1max").loss_type == "TOP1max"
    assert settings(model="GRU4RecPlus", train_neg_sample_args={"sample_num": 7}).negatives.sample_num == 7


@pytest.mark.slow
@pytest.mark.parametrize("loss", [{}, {"loss_type": "TOP1max"}])
def test_it_learns_what_follows(loss: dict[str, Any]) -> None:
    interactions = planted()
    small = {
        "embedding_size": 16,
        "hidden_size": 32,
        "dropout_prob": 0.0,
        "learning_rate": 0.02,
        "train_batch_size": 128,
        "train_neg_sample_args": {"sample_num": 64},
    }
    chosen = settings(model="GRU4RecPlus", **small | loss, MAX_ITEM_LIST_LENGTH=4, epochs=40, topk=[1], valid_metric="MRR@5")
    found = trainer(interactions, chosen)
    list(found.epochs())
    assert right_at_first(found.model, interactions, chosen) > 0.9
    assert pop_right_at_first(interactions, chosen) < 0.5
