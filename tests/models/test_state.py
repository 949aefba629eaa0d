"""What is kept of people's windows: newer events one by one give what encoding anew gives, for every model and every switch of HGN."""

import pytest
import torch

from gaterec.models import MODELS
from gaterec.models.encoder import SequenceEncoder
from gaterec.models.hgn import HGNState
from gaterec.models.state import SequenceState
from tests.support.models import ITEMS, L, anew, hgn, make

OFF = ("user_term", "feature_gate", "instance_gate", "item_item", "item_bias")


@torch.no_grad()
def follow(model: SequenceEncoder, windows: SequenceState, first: int) -> None:
    """Three people, of whom one is unknown, get events one at a time after the first ones; each query must be that of encoding anew."""
    histories = torch.randint(1, ITEMS, (3, 11), generator=torch.Generator().manual_seed(2))
    places, users = torch.tensor([6, 0, 3]), torch.tensor([2, 0, 4])
    windows.start(places, model.user_vectors(users))
    for count in range(first, 12):
        begin = count - 1 if count > first else max(0, first - L)
        events = torch.arange(begin, count)
        windows.append(places.repeat_interleave(len(events)), events.repeat(3), histories[:, begin:count].flatten())
        found = windows.query(places, torch.tensor([count] * 3))
        for row, user in enumerate(users.tolist()):
            torch.testing.assert_close(found[row], anew(model, user, histories[row, :count].tolist()), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("first", [1, 9])
def test_every_model_follows(name: str, first: int) -> None:
    model = make(name).double()
    follow(model, model.sequence_state(8, L), first)


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("off", [None, *OFF, "tied"])
def test_every_switch_of_hgn(pooling: str, off: str | None) -> None:
    changes: dict[str, object] = {} if off is None else {"tied_tables": True} if off == "tied" else {off: False}
    model = hgn(pooling_type=pooling, **changes)
    windows = model.sequence_state(8, L)
    assert isinstance(windows, HGNState)
    follow(model, windows, 2)


@pytest.mark.parametrize("pooling", ["average", "max"])
@torch.no_grad()
def test_people_of_different_lengths_and_without_events_stand_together(pooling: str) -> None:
    model = hgn(pooling_type=pooling)
    for windows in (model.sequence_state(4, L), SequenceState(model.encode, 6, 4, L, torch.float64)):
        windows.start(torch.arange(3), model.user_vectors(torch.tensor([1, 2, 3])))
        windows.append(torch.tensor([0, 2, 2]), torch.tensor([0, 0, 1]), torch.tensor([7, 8, 9]))
        found = windows.query(torch.arange(3), torch.tensor([1, 0, 2]))
        torch.testing.assert_close(found[0], anew(model, 1, [7]))
        torch.testing.assert_close(found[2], anew(model, 3, [8, 9]))
        assert bool(found[1].isfinite().all())


@torch.no_grad()
def test_someone_may_be_given_by_a_vector() -> None:
    model = hgn()
    windows = model.sequence_state(2, L)
    windows.start(torch.tensor([1]), model.user.weight[3:4])
    windows.append(torch.tensor([1, 1]), torch.tensor([0, 1]), torch.tensor([5, 6]))
    torch.testing.assert_close(windows.query(torch.tensor([1]), torch.tensor([2]))[0], anew(model, 3, [5, 6]))


@torch.no_grad()
def test_gates_that_are_shut_let_nothing_in_and_nothing_breaks() -> None:
    model = hgn()
    model.instance_user.weight.fill_(0.0)
    model.instance_item.weight.fill_(0.0)
    windows = model.sequence_state(1, L)
    windows.start(torch.tensor([0]), model.user_vectors(torch.tensor([1])))
    windows.append(torch.tensor([0]), torch.tensor([0]), torch.tensor([5]))
    windows.logit.fill_(-1e9)
    expected = model.user.weight[1] + model.item.weight[5]
    torch.testing.assert_close(windows.query(torch.tensor([0]), torch.tensor([1]))[0], expected)
