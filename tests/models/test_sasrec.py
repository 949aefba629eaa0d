"""SASRec query by query against its plain equations; its blocks, its settings, its dropout."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from gaterec.models.sasrec import ACTIVATIONS, Attention, FeedForward, Residual, SASRec, SASRecSettings

ITEMS, WINDOW = 19, 11
BLOCKS = get_args(SASRecSettings.model_fields["block"].annotation)
each_block = pytest.mark.parametrize("block", BLOCKS)


def make(**values: Any) -> SASRec:
    """A model in evaluation mode whose norms, biases and gates are far from their start."""
    torch.manual_seed(0)
    small = {"hidden_size": 12, "n_heads": 3, "inner_size": 20, "initializer_range": 0.3}
    model = SASRec(5, ITEMS, WINDOW, SASRecSettings.model_validate(small | values)).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "item.weight":
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def histories() -> Tensor:
    items = torch.randint(1, ITEMS, (4, WINDOW), generator=torch.Generator().manual_seed(1))
    return items * (torch.arange(WINDOW) < torch.tensor([11, 1, 6, 9])[:, None])


# The plain form: one query at a time, from the events up to it alone.


def plain_query(model: SASRec, items: list[int]) -> Tensor:
    """(D,) the query after the last of the items."""
    x = torch.stack([model.item.weight[i] + model.position[place] for place, i in enumerate(items)])  # (T, D)
    block = model.settings.block
    if block == "post":
        x = plain_norm(model.norm_inputs, x)
    for residual in model.layers:
        assert isinstance(residual, Residual)
        change = plain_layer(residual.layer, x if block == "post" else plain_norm(residual.norm, x))
        if block == "ligr":
            change = change * torch.sigmoid(x @ residual.gate.weight.T + residual.gate.bias)
        x = plain_norm(residual.norm, x + change) if block == "post" else x + change
    return (plain_norm(model.norm_queries, x) if block == "pre" else x)[-1]


def plain_layer(layer: torch.nn.Module, x: Tensor) -> Tensor:
    if isinstance(layer, FeedForward):
        return plain_feed_forward(layer, x)
    assert isinstance(layer, Attention)
    size, width = x.shape[1], x.shape[1] // layer.heads
    query, key, value = (x @ layer.enter.weight[i * size :][:size].T + layer.enter.bias[i * size :][:size] for i in range(3))
    mixed = torch.zeros_like(x)
    for head in range(layer.heads):
        own = slice(head * width, (head + 1) * width)
        for t in range(len(x)):
            weights = torch.tensor([float(query[t, own] @ key[s, own]) / width**0.5 for s in range(t + 1)], dtype=x.dtype).exp()
            mixed[t, own] = sum(weights[s] / weights.sum() * value[s, own] for s in range(t + 1))
    return mixed @ layer.leave.weight.T + layer.leave.bias


def plain_feed_forward(layer: FeedForward, x: Tensor) -> Tensor:
    inner = x @ layer.enter.weight.T + layer.enter.bias
    inner = layer.activation(inner[:, :20]) * inner[:, 20:] if layer.gated else layer.activation(inner)
    return inner @ layer.leave.weight.T + layer.leave.bias


def plain_norm(norm: torch.nn.Module, x: Tensor) -> Tensor:
    assert isinstance(norm, torch.nn.LayerNorm)
    centred = x - x.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


@torch.no_grad()
@pytest.mark.parametrize(("block", "activation"), [*((block, "gelu") for block in BLOCKS), *(("post", name) for name in ACTIVATIONS)])
def test_every_query_is_the_plain_one_of_the_events_up_to_it(block: str, activation: str) -> None:
    model, items = make(block=block, hidden_act=activation), histories()
    queries = model(torch.arange(4), items)
    for row in range(len(items)):
        for t in range(int((items[row] > 0).sum())):
            torch.testing.assert_close(queries[row, t], plain_query(model, items[row, : t + 1].tolist()), rtol=1e-9, atol=1e-9)


@torch.no_grad()
@each_block
def test_single_precision_is_close_to_double(block: str) -> None:
    model, items = make(block=block), histories()
    exact = model(torch.arange(4), items)
    torch.testing.assert_close(model.float()(torch.arange(4), items), exact.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("gelu", lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2),
        ("relu", lambda x: x.clamp(min=0)),
        ("swish", lambda x: x / (1 + torch.exp(-x))),
        ("tanh", lambda x: (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x))),
        ("sigmoid", lambda x: 1 / (1 + torch.exp(-x))),
    ],
)
def test_activations(name: str, plain: Callable[[Tensor], Tensor]) -> None:
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name](x), plain(x))


def test_the_gated_layer_is_swiglu_unless_another_activation_is_given() -> None:
    assert SASRecSettings(block="ligr").hidden_act == "swish"
    assert SASRecSettings(block="ligr", hidden_act="gelu").hidden_act == "gelu"
    assert {SASRecSettings(block=block).hidden_act for block in ("post", "pre")} == {"gelu"}


def test_heads_must_share_the_vector() -> None:
    with pytest.raises(ValidationError, match="n_heads: expected a divisor of hidden_size, which is 64, found 5"):
        SASRecSettings(n_heads=5)


def test_the_place_in_the_row_counts() -> None:
    model = make()
    queries = model(torch.arange(1), torch.tensor([[3, 3, 3]]))[0]
    assert not torch.allclose(queries[0], queries[1])
    assert not torch.allclose(queries[1], queries[2])
    with torch.no_grad():
        model.position.zero_()
    alike = model(torch.arange(1), torch.tensor([[3, 3, 3]]))[0]
    torch.testing.assert_close(alike, alike[:1].expand(3, -1))


def test_input_and_output_share_a_table_and_a_bias_is_a_choice() -> None:
    model = make()
    assert model.item_table()[0] is model.item.weight
    assert model.item_table()[1] is None
    assert make(item_bias=True).item_table()[1] is not None


def test_untied_tables_are_two() -> None:
    model = make(tied_tables=False)
    assert model.item_table()[0] is model.output.weight
    assert model.output.weight.shape == model.item.weight.shape
    assert not torch.equal(model.output.weight, model.item.weight)
    tied = make()
    tied.load_state_dict({name: value for name, value in model.state_dict().items() if name != "output.weight"})
    items = histories()
    assert torch.equal(tied(torch.arange(4), items), model(torch.arange(4), items))


@each_block
@pytest.mark.parametrize("kind", ["hidden_dropout_prob", "attn_dropout_prob"])
def test_dropout_is_of_training_alone_and_follows_the_seed(block: str, kind: str) -> None:
    none = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
    model, items, users = make(**none | {kind: 0.4, "block": block}), histories(), torch.arange(4)
    plain = make(**none, block=block)
    assert torch.equal(model(users, items), plain(users, items))
    model.train()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(model(users, items))
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
    torch.testing.assert_close(plain.train()(users, items), plain.eval()(users, items))


@torch.no_grad()
def test_the_first_weights() -> None:
    torch.manual_seed(0)
    model = SASRec(5, 4000, 50, SASRecSettings(initializer_range=0.1))
    weights = {name: value for name, value in model.named_parameters() if name.endswith(("enter.weight", "leave.weight"))}
    assert len(weights) == 8
    for weight in (model.item.weight[1:], model.position, *weights.values()):
        assert float(weight.std()) == pytest.approx(0.1, rel=0.05)
    assert not model.item.weight[0].any()
    assert not any(value.any() for name, value in model.named_parameters() if name.endswith("bias"))
