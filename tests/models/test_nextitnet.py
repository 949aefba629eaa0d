"""NextItNet tap by tap against its plain equations; its reach, its first weights, its penalty."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gaterec.models.nextitnet import Convolution, NextItNet, NextItNetSettings

ITEMS, WINDOW = 19, 23


def make(**values: Any) -> NextItNet:
    """A model whose norms and biases are far from their start."""
    torch.manual_seed(0)
    small = {"embedding_size": 6, "block_num": 2, "dilations": [1, 3]}
    model = NextItNet(5, ITEMS, WINDOW, NextItNetSettings.model_validate(small | values)).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "item.weight":
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def histories() -> Tensor:
    items = torch.randint(1, ITEMS, (3, WINDOW), generator=torch.Generator().manual_seed(1))
    return items * (torch.arange(WINDOW) < torch.tensor([23, 1, 9])[:, None])


# The plain form: one event of one row at a time.


def plain_queries(model: NextItNet, items: list[int], kernel: int, dilations: list[int]) -> Tensor:
    """(T, D) the queries after each of the items."""
    x = [model.item.weight[i] for i in items]
    for block, dilation in zip(model.blocks, dilations, strict=True):
        assert isinstance(block, torch.nn.Sequential)
        inner = plain_layer(block[0], x, kernel, dilation)
        change = plain_layer(block[1], inner, kernel, 2 * dilation)
        x = [before + after for before, after in zip(x, change, strict=True)]
    return torch.stack([model.leave.weight @ vector + model.leave.bias for vector in x])


def plain_layer(layer: torch.nn.Module, x: list[Tensor], kernel: int, dilation: int) -> list[Tensor]:
    assert isinstance(layer, Convolution)
    found = []
    for t in range(len(x)):
        assert layer.conv.bias is not None
        total = layer.conv.bias
        for tap in range(kernel):
            place = t - tap * dilation
            if place >= 0:
                total = total + layer.conv.weight[:, :, kernel - 1 - tap] @ x[place]
        centred = total - total.mean()
        normed = centred / (centred.square().mean() + 1e-8).sqrt() * layer.norm.weight + layer.norm.bias
        found.append(normed.clamp(min=0))
    return found


@torch.no_grad()
@pytest.mark.parametrize(
    ("kernel", "blocks", "dilations"), [(3, 2, [1, 3]), (1, 1, [1]), (2, 3, [2]), (4, 1, [1, 2, 4]), (3, 1, [30])], ids=str
)
def test_all_queries_equal_the_plain_ones(kernel: int, blocks: int, dilations: list[int]) -> None:
    model, items = make(kernel_size=kernel, block_num=blocks, dilations=dilations), histories()
    for kind, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        queries = model.to(kind)(torch.arange(3), items)
        for row, length in enumerate((items > 0).sum(1).tolist()):
            plain = plain_queries(model, items[row, :length].tolist(), kernel, dilations * blocks)
            torch.testing.assert_close(queries[row, :length], plain, rtol=tolerance, atol=tolerance)


@torch.no_grad()
def test_a_query_reaches_back_as_far_as_its_convolutions_together() -> None:
    """One block of dilation 2: a convolution reaches back 4 events and the next one 8."""
    model = make(block_num=1, dilations=[2])
    items = torch.full((1, WINDOW), 1)
    usual = model(torch.arange(1), items)[0, -1]
    for distance in range(WINDOW):
        other = items.clone()
        other[0, -1 - distance] = 2
        changed = not torch.equal(model(torch.arange(1), other)[0, -1], usual)
        assert changed == (distance <= 12 and distance % 2 == 0)


@torch.no_grad()
def test_the_first_weights() -> None:
    torch.manual_seed(0)
    model = NextItNet(5, 2500, WINDOW, NextItNetSettings())
    assert len(model.blocks) == 10
    assert not model.item.weight[0].any()
    assert 0.019 < float(model.item.weight.abs().max()) <= 0.02
    assert (model.leave.bias == 0.1).all()


def test_the_penalty_is_the_norm_of_every_weight_and_of_what_was_looked_up() -> None:
    model, items, targets = make(reg_weight=0.1), histories(), torch.tensor([[3, 4], [5, 0]])
    norms = [model.leave.weight.norm(), model.item.weight[items].norm(), model.item.weight[targets].norm()]
    for block in model.blocks:
        assert isinstance(block, torch.nn.Sequential)
        for layer in block:
            assert isinstance(layer, Convolution)
            norms += [layer.conv.weight.norm(), layer.norm.weight.norm()]
    penalty = model.penalty(torch.arange(3), items, targets)
    assert penalty is not None
    torch.testing.assert_close(penalty, 0.1 * sum(norms, torch.zeros((), dtype=torch.float64)))
    assert make(reg_weight=0.0).penalty(torch.arange(3), items, targets) is None
