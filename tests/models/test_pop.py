"""Pop: everyone gets what most people chose."""

import torch

from gaterec.models.pop import Pop, PopSettings
from tests.support.histories import no_events


def test_scores_are_the_counts_for_everyone() -> None:
    model = Pop(5, 4, 3, PopSettings())
    model.fit_counts(torch.tensor([0, 7, 2, 9]), no_events)
    scores = model.scores(model(torch.tensor([0, 3]), torch.tensor([[1, 2], [3, 0]])))
    assert scores.tolist() == [[[-torch.inf, 7, 2, 9]] * 2] * 2


def test_the_counts_are_part_of_what_is_saved() -> None:
    model, other = Pop(5, 4, 3, PopSettings()), Pop(5, 4, 3, PopSettings())
    model.fit_counts(torch.tensor([0, 7, 2, 9]), no_events)
    other.load_state_dict(model.state_dict())
    assert other.item_table()[1] is not None
    assert torch.equal(other.counts, model.counts)
