"""FPMC: its scores written out, and that it learns what follows the last item."""

import pytest
import torch

from gaterec.models.fpmc import FPMC, FPMCSettings
from tests.support.histories import settings
from tests.support.training import planted, pop_right_at_first, right_at_first, trainer


def test_scores_are_taste_and_what_follows_the_last_item() -> None:
    torch.manual_seed(0)
    model = FPMC(4, 6, 3, FPMCSettings(embedding_size=5))
    users, items = torch.tensor([1, 3]), torch.tensor([[1, 2, 5], [4, 0, 0]])
    scores = model.scores(model(users, items)).detach()
    person, last, (iu, il) = model.user.weight.detach(), model.last.weight.detach(), model.item.weight.detach().chunk(2, 1)
    for row, t in ((0, 0), (0, 1), (0, 2), (1, 0)):
        for item in range(1, 6):
            taste = float(person[users[row]] @ iu[item])
            follows = float(last[items[row, t]] @ il[item])
            assert abs(float(scores[row, t, item]) - taste - follows) < 1e-6


def test_rows_of_padding_are_zero_and_all_others_are_not() -> None:
    model = FPMC(4, 6, 3, FPMCSettings())
    for table in (model.user, model.last, model.item):
        assert not table.weight[0].any()
        assert table.weight[1:].any(1).all()
    assert model.item_table()[0].shape == (6, 128)


def test_its_own_default_loss_is_bpr() -> None:
    assert settings(model="FPMC").loss_type == "BPR"


@pytest.mark.slow
def test_it_learns_what_follows_the_last_item() -> None:
    interactions = planted()
    chosen = settings(model="FPMC", embedding_size=16, epochs=40, learning_rate=0.02, train_batch_size=128, topk=[1], valid_metric="MRR@5")
    found = trainer(interactions, chosen)
    list(found.epochs())
    assert right_at_first(found.model, interactions, chosen) > 0.9
    assert pop_right_at_first(interactions, chosen) < 0.5
