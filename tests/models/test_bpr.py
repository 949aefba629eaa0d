"""BPR: its scores written out, and what it can learn: tastes, but no order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaterec.data.interactions import Interactions
from gaterec.data.split import training_events
from gaterec.errors import SettingsError
from gaterec.experiments.setup import make_trainer, prepare
from gaterec.models.bpr import BPR, BPRSettings
from gaterec.models.pop import Pop, PopSettings
from gaterec.training.negative_sampling import draw_negatives
from tests.support.commands import write_log
from tests.support.histories import histories, no_events, settings
from tests.support.training import trainer


def two_tastes(people: int = 60, items: int = 10) -> Interactions:
    """Half of the people choose all of the first half of the items, twice, half the others, in any order."""
    random = np.random.default_rng(0)
    return histories(*((random.permutation(items // 2) + 1 + (person % 2) * items // 2).tolist() * 2 for person in range(people)))


def test_scores_are_products_of_people_and_items_at_every_event() -> None:
    torch.manual_seed(0)
    model = BPR(4, 6, 3, BPRSettings(embedding_size=5))
    scores = model.scores(model(torch.tensor([1, 3]), torch.tensor([[1, 2, 5], [4, 0, 0]]))).detach()
    person, thing = model.user.weight.detach(), model.item.weight.detach()
    for row, user in enumerate((1, 3)):
        for t in range(3):
            for item in range(1, 6):
                expected = sum(float(person[user, d] * thing[item, d]) for d in range(5))
                assert abs(float(scores[row, t, item]) - expected) < 1e-6


def test_someone_unknown_likes_all_items_alike() -> None:
    model = BPR(4, 6, 3, BPRSettings())
    assert not model.scores(model(torch.tensor([0]), torch.tensor([[1, 2]])))[..., 1:].any()


def test_its_own_default_loss_is_bpr() -> None:
    assert settings(model="BPR").loss_type == "BPR"
    assert settings(model="BPR", loss_type="CE").loss_type == "CE"


@pytest.mark.parametrize(
    ("values", "may_be_own"),
    [
        ({"model": "BPR"}, False),
        ({"model": "BPR", "loss_type": "BPR"}, False),
        ({"model": "BPR", "negatives_may_be_own": True}, True),
        ({"model": "BPR", "loss_type": "SSM"}, True),
        ({"model": "BPR", "loss_type": "CE"}, True),
        ({"model": "BPR", "loss_type": "TOP1max"}, True),
        ({"model": "FPMC"}, True),
        ({"model": "GRU4RecPlus"}, True),
        ({"model": "HGN", "loss_type": "BPR"}, True),
    ],
)
def test_own_items_are_excluded_from_the_negatives_of_bpr_alone(values: dict[str, Any], may_be_own: bool) -> None:
    assert settings(**values).negatives_may_be_own is may_be_own


def test_a_setting_that_is_given_is_not_overruled_by_the_loss() -> None:
    with pytest.raises(SettingsError, match="negatives_may_be_own: SSM draws its negatives once for all targets of a step"):
        settings(model="BPR", loss_type="SSM", negatives_may_be_own=False)


@pytest.mark.slow
def test_no_negative_of_a_training_step_is_an_item_of_its_user(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", items=20)
    chosen = settings(model="BPR", dataset=str(log), train_neg_sample_args={"sample_num": 50})
    prepared = prepare(chosen, None)
    trainer = make_trainer(chosen, prepared, torch.device("cpu"))
    users, items = training_events(prepared.interactions, prepared.split)
    own = set(zip(users.tolist(), items.tolist(), strict=True))
    for batch in trainer.batches.epoch(1):
        queries = torch.zeros(len(batch.targets), 64)
        negatives = draw_negatives(queries, batch, chosen.negatives, trainer.sampler, trainer.model).flatten(1)
        drawn = {(user, item) for user, row in zip(batch.target_users.tolist(), negatives.tolist(), strict=True) for item in row}
        assert len({item for _, item in drawn}) > 10
        assert not drawn & own


def test_it_learns_tastes() -> None:
    interactions = two_tastes()
    chosen = settings(model="BPR", embedding_size=8, epochs=20, learning_rate=0.05, train_batch_size=128)
    found = trainer(interactions, chosen)
    list(found.epochs())
    own = torch.arange(1, 61) % 2 == 0  # p1 is of the first half's people, p2 of the others', ...
    model, pop = found.model.eval(), Pop(61, 11, 3, PopSettings())
    pop.fit_counts(torch.ones(11), no_events)
    best = [scorer.scores(scorer(torch.arange(1, 61), torch.ones(60, 1, dtype=torch.int64)))[:, 0] for scorer in (model, pop)]
    right = [((scores[:, 6:].mean(1) > scores[:, 1:6].mean(1)) == own).float().mean().item() for scores in best]
    assert right[0] > 0.95
    assert right[1] < 0.6
