"""Caser window by window against its plain equations, values and gradients; its first weights, its penalty."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gaterec.models.caser import Caser, CaserSettings

USERS, ITEMS = 5, 19


def make(window: int, **values: Any) -> Caser:
    """A model in evaluation mode whose queries are far from zero."""
    torch.manual_seed(0)
    small = {"embedding_size": 6, "nv": 2, "nh": 3}
    model = Caser(USERS, ITEMS, window, CaserSettings.model_validate(small | values)).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
            if name in ("user.weight", "item.weight"):
                parameter[0] = 0.0
    return model.eval()


def histories(length: int) -> Tensor:
    items = torch.randint(1, ITEMS, (4, length), generator=torch.Generator().manual_seed(1))
    return items * (torch.arange(length) < torch.tensor([length, 1, (length + 1) // 2, length])[:, None])


# The plain form: one window of one row at a time.


def plain_query(model: Caser, user: int, items: list[int]) -> Tensor:
    """(D,) what the person wants after the last of the items."""
    window = [0] * model.window + items
    e = torch.stack([model.item.weight[i] for i in window[-model.window :]])  # (L, D)
    assert model.vertical.bias is not None
    found = [model.vertical.weight[k, 0] @ e + model.vertical.bias[k] for k in range(len(model.vertical.weight))]
    for height, conv in enumerate(model.horizontal, 1):
        assert isinstance(conv, torch.nn.Conv1d)
        assert conv.bias is not None
        places = [(conv.weight * e[begin : begin + height].T).sum((1, 2)) + conv.bias for begin in range(model.window - height + 1)]
        found.append(torch.stack(places).max(0).values.clamp(min=0))
    z = (model.found.weight @ torch.cat(found) + model.found.bias).clamp(min=0)
    return (model.query.weight @ torch.cat([z, model.user.weight[user]]) + model.query.bias).clamp(min=0)


@pytest.mark.parametrize(("window", "length"), [(1, 3), (4, 1), (4, 3), (4, 9), (5, 5), (13, 17), (23, 6)])
def test_every_query_and_all_gradients_are_those_of_the_plain_window(window: int, length: int) -> None:
    model, items, users = make(window), histories(length), torch.tensor([0, 1, 2, 3])
    places = [(row, t) for row in range(len(items)) for t in range(int((items[row] > 0).sum()))]
    mix = torch.randn(len(places), 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    queries = model(users, items)
    fast = torch.stack([queries[place] for place in places])
    plain = torch.stack([plain_query(model, int(users[row]), items[row, : t + 1].tolist()) for row, t in places])
    torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)
    assert (plain > 0).any()
    gradients = []
    for found in (fast, plain):
        model.zero_grad()
        (found * mix).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append({name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None})
    for name, gradient in gradients[1].items():
        if name in ("user.weight", "item.weight"):
            gradient[0] = 0.0  # padding and the unknown person are never trained
        torch.testing.assert_close(gradients[0][name], gradient, rtol=1e-9, atol=1e-9, msg=f"gradient of {name}")
    single = model.float()(users, items).double()
    torch.testing.assert_close(torch.stack([single[place] for place in places]), plain, rtol=1e-5, atol=1e-5)


def test_the_person_counts() -> None:
    model, items = make(4), histories(6)[:1]
    assert not torch.equal(model(torch.tensor([1]), items), model(torch.tensor([2]), items))


def test_dropout_is_of_training_alone() -> None:
    model, items, users = make(4, dropout_prob=0.5), histories(6), torch.arange(4)
    assert torch.equal(model(users, items), model(users, items))
    model.train()
    assert not torch.equal(model(users, items), model(users, items))
    without = make(4, dropout_prob=0.0)
    torch.testing.assert_close(without.train()(users, items), model.eval()(users, items))


def test_the_first_weights() -> None:
    torch.manual_seed(0)
    model = Caser(2000, 3000, 5, CaserSettings(embedding_size=32))
    for table in (model.user.weight, model.item.weight):
        assert not table[0].any()
        assert float(table[1:].detach().std()) == pytest.approx(1 / 32, rel=0.05)
    assert [conv.weight.shape for conv in model.horizontal if isinstance(conv, torch.nn.Conv1d)] == [(8, 32, n) for n in range(1, 6)]
    assert not model.found.bias.any()


def test_the_penalty_is_the_norm_of_every_weight_and_of_what_was_looked_up() -> None:
    model, items, users, targets = make(3, reg_weight=0.1), histories(4), torch.arange(4), torch.tensor([[3, 4], [5, 0]])
    of_layers = [model.vertical.weight, model.found.weight, model.query.weight]
    of_layers += [conv.weight for conv in model.horizontal if isinstance(conv, torch.nn.Conv1d)]
    assert len(of_layers) == 6
    looked_up = [model.user.weight[users], model.item.weight[items], model.item.weight[targets]]
    penalty = model.penalty(users, items, targets)
    assert penalty is not None
    torch.testing.assert_close(penalty, 0.1 * torch.stack([part.norm() for part in (*of_layers, *looked_up)]).sum())
    assert make(3, reg_weight=0.0).penalty(users, items, targets) is None
