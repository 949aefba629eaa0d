"""Negatives: which items come, how often, and for whom."""

import pytest
import torch
from torch import Tensor

from gaterec.config.settings import NegativeSampling
from gaterec.data.batches import Batch
from gaterec.errors import DataError
from gaterec.models.hgn import HGN, HGNSettings
from gaterec.training.negative_sampling import NegativeSampler, draw_negatives, own_items
from tests.support.histories import all_for_training, histories, training_counts

COUNTS = torch.tensor([99, 5, 0, 20, 1, 74])  # padding's own count is not looked at


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_drawn_as(drawn: Tensor, expected: list[float]) -> None:
    """A chi-square test at one in a thousand, with five degrees of freedom at most; what can't come does not come at all."""
    counts = torch.bincount(drawn.flatten(), minlength=len(expected)).double()
    wanted = torch.tensor(expected, dtype=torch.float64) * drawn.numel()
    possible = wanted > 0
    assert not counts[~possible].any()
    assert float(((counts - wanted)[possible] ** 2 / wanted[possible]).sum()) < 20.5


def test_uniform_draws_every_item_alike_and_never_padding() -> None:
    drawn = NegativeSampler(COUNTS).draw(torch.zeros(5000, dtype=torch.int64), (2, 3), random())
    assert drawn.shape == (5000, 2, 3)
    assert drawn.dtype == torch.int64
    assert_drawn_as(drawn, [0, 0.2, 0.2, 0.2, 0.2, 0.2])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_popularity_draws_by_the_counts_to_a_power(alpha: float) -> None:
    drawn = NegativeSampler(COUNTS, alpha).draw(torch.zeros(30_000, dtype=torch.int64), (1,), random())
    weights = [0.0, 5**alpha, 0.0, 20**alpha, 1.0, 74**alpha]
    assert_drawn_as(drawn, [weight / sum(weights) for weight in weights])


@pytest.mark.parametrize(
    ("alpha", "weights"), [(None, [0, 1, 1, 1, 1, 1]), (1.0, [0, 5, 0, 20, 1, 74]), (0.5, [0, 5**0.5, 0, 20**0.5, 1, 74**0.5])]
)
def test_shared_draws_know_how_often_they_were_to_be_expected(alpha: float | None, weights: list[float]) -> None:
    torch.manual_seed(0)
    drawn, log_expected = NegativeSampler(COUNTS, alpha).draw_shared(20_000)
    share = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    assert_drawn_as(drawn, share.tolist())
    torch.testing.assert_close(log_expected.double(), (20_000 * share[drawn]).log(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("alpha", "weights"), [(None, [0, 1, 1, 0, 1, 1]), (1.0, [0, 5, 0, 0, 1, 74])])
def test_own_items_are_left_out_and_the_others_keep_their_proportions(alpha: float | None, weights: list[float]) -> None:
    own = torch.tensor([1 * 6 + 3, 2 * 6 + 5])  # user 1 owns item 3, user 2 item 5
    users = torch.tensor([1, 2, 3]).repeat(10_000)
    drawn = NegativeSampler(COUNTS, alpha, own).draw(users, (2,), random())
    assert not (drawn[users == 2] == 5).any()
    assert (drawn[users == 3] == 3).any()
    assert_drawn_as(drawn[users == 1], [weight / sum(weights) for weight in weights])


def test_who_owns_nearly_all_that_is_ever_drawn_still_gets_the_rest_in_proportion() -> None:
    """At the tenth power item 5 is drawn nearly always, and the one who owns it would wait for the others for ever."""
    counts = torch.tensor([0, 3, 0, 3, 6, 10**6])
    users = torch.ones(30_000, dtype=torch.int64)
    drawn = NegativeSampler(counts, 10.0, torch.tensor([6 + 5])).draw(users, (1,), random())
    total = 3**10 + 3**10 + 6**10
    assert_drawn_as(drawn, [0, 3**10 / total, 0, 3**10 / total, 6**10 / total, 0])


def test_the_same_generator_draws_the_same() -> None:
    sampler, users = NegativeSampler(COUNTS, 1.0, torch.tensor([6 + 5])), torch.ones(100, dtype=torch.int64)
    assert torch.equal(sampler.draw(users, (4,), random(3)), sampler.draw(users, (4,), random(3)))
    assert not torch.equal(sampler.draw(users, (4,), random(3)), sampler.draw(users, (4,), random(4)))


@pytest.mark.parametrize("alpha", [None, 1.0])
def test_no_item_left_to_draw_is_an_error_and_no_endless_loop(alpha: float | None) -> None:
    own = torch.tensor([6 + 1, 6 + 2, 6 + 3, 6 + 4, 6 + 5] if alpha is None else [6 + 1, 6 + 3, 6 + 4, 6 + 5])
    with pytest.raises(DataError, match="no negative to draw"):
        NegativeSampler(COUNTS, alpha, own).draw(torch.tensor([1]), (1,), random())


def test_own_items_are_those_of_training() -> None:
    interactions = histories([3, 1, 3, 4], [2], [1, 2, 4], catalogue=5)
    split = all_for_training(interactions)
    split.train_end[1] -= 1  # person 1's item 4 is held out
    assert own_items(interactions, split).tolist() == [1 * 6 + 1, 1 * 6 + 3, 2 * 6 + 2, 3 * 6 + 1, 3 * 6 + 2, 3 * 6 + 4]


def test_someone_who_chose_everything_is_named() -> None:
    interactions = histories([1, 2], [3, 1, 2])
    with pytest.raises(DataError, match="user 'p2' chose all 3 items"):
        own_items(interactions, all_for_training(interactions))


def test_own_items_of_the_whole_way_are_never_drawn() -> None:
    interactions = histories([1, 2, 3, 4, 5], [6, 7, 6], [8, 1])
    split = all_for_training(interactions)
    sampler = NegativeSampler(training_counts(interactions, split), 1.0, own_items(interactions, split))
    drawn = sampler.draw(torch.tensor([1, 2, 3]), (500,), random())
    assert set(drawn[0].tolist()) == {6, 7, 8}
    assert set(drawn[1].tolist()) == {1, 2, 3, 4, 5, 8}
    assert set(drawn[2].tolist()) == {2, 3, 4, 5, 6, 7}


class Planned(NegativeSampler):
    """A sampler whose draws are known."""

    def __init__(self, drawn: Tensor) -> None:
        super().__init__(torch.ones(30))
        self.drawn = drawn

    def draw(self, users: Tensor, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        assert self.drawn.shape == (len(users), *shape)
        return self.drawn


@pytest.mark.parametrize("item_bias", [True, False])
def test_dynamic_negatives_are_the_best_scored_of_the_candidates(item_bias: bool) -> None:
    torch.manual_seed(0)
    model = HGN(4, 30, 3, HGNSettings.model_validate({"embedding_size": 8, "item_bias": item_bias}))
    if model.bias is not None:
        torch.nn.init.normal_(model.bias)
    batch = Batch(
        torch.tensor([1, 2]), torch.tensor([[3, 4, 5], [6, 7, 0]]), torch.tensor([0, 1, 2, 3]), torch.ones(4, 2, dtype=torch.int64)
    )
    queries = torch.randn(4, 8)
    how = NegativeSampling.model_validate({"sample_num": 3, "dynamic": True, "candidate_num": 5})
    drawn = torch.randint(1, 30, (4, 2, 3, 5), generator=random())
    negatives = draw_negatives(queries, batch, how, Planned(drawn), model)
    assert negatives.shape == (4, 2, 3)
    scores = model.scores(queries)
    for n, k, s in torch.cartesian_prod(torch.arange(4), torch.arange(2), torch.arange(3)).tolist():
        candidates = drawn[n, k, s].tolist()
        assert int(negatives[n, k, s]) == max(candidates, key=lambda item: float(scores[n, item].detach()))


def test_plain_negatives_are_drawn_for_the_person_of_each_target() -> None:
    counts = torch.ones(4)
    own = torch.tensor([1 * 4 + 1, 1 * 4 + 2, 2 * 4 + 2, 2 * 4 + 3])  # 3 is left for person 1, 1 for person 2
    batch = Batch(
        torch.tensor([1, 2]), torch.tensor([[1, 2, 1], [2, 3, 0]]), torch.tensor([0, 1, 3, 4]), torch.ones(4, 1, dtype=torch.int64)
    )
    model = HGN(3, 4, 2, HGNSettings.model_validate({"embedding_size": 2}))
    how = NegativeSampling.model_validate({"sample_num": 2})
    negatives = draw_negatives(torch.zeros(4, 2), batch, how, NegativeSampler(counts, None, own), model)
    assert negatives.tolist() == [[[3, 3]], [[3, 3]], [[1, 1]], [[1, 1]]]


@pytest.mark.parametrize("counts", [[99, 5, 0, 20], [99, 0, 5, 20]])
def test_a_draw_of_exactly_0_is_no_padding_and_no_item_that_was_never_chosen(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.rand gives 0 once in 2^53 draws."""
    monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.zeros(shape, dtype=options["dtype"]))
    drawn = NegativeSampler(torch.tensor(counts), 1.0).draw(torch.tensor([1]), (3,))
    assert drawn.tolist() == [[counts.index(5)] * 3]


def test_a_user_who_chose_all_items_but_one_draws_that_one() -> None:
    interactions = histories([1, 2], [3, 1], [2, 1], catalogue=3)
    split = all_for_training(interactions)
    sampler = NegativeSampler(training_counts(interactions, split), None, own_items(interactions, split))
    assert sampler.draw(torch.tensor([1, 2, 3]), (20,), random()).tolist() == [[3] * 20, [2] * 20, [3] * 20]
