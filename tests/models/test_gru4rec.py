"""GRU4Rec against its equations, step by step; and that it learns what only a state can tell."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gaterec.data.interactions import Interactions
from gaterec.models.gru4rec import GRU4Rec, GRU4RecSettings
from tests.support.histories import histories, settings
from tests.support.training import pop_right_at_first, right_at_first, trainer


def step_by_step(model: GRU4Rec, items: Tensor, layers: int) -> Tensor:
    """(T,) -> (T, D): one history, gate by gate."""
    inputs = model.item.weight[items]
    for layer in range(layers):
        w = getattr(model.states, f"weight_ih_l{layer}").chunk(3)
        u = getattr(model.states, f"weight_hh_l{layer}").chunk(3)
        h, states = torch.zeros(u[0].shape[1], dtype=inputs.dtype), []
        for x in inputs:
            r, z = torch.sigmoid(w[0] @ x + u[0] @ h), torch.sigmoid(w[1] @ x + u[1] @ h)
            n = torch.tanh(w[2] @ x + r * (u[2] @ h))
            h = (1 - z) * n + z * h
            states.append(h)
        inputs = torch.stack(states)
    return inputs @ model.dense.weight.T + model.dense.bias


@pytest.mark.parametrize("layers", [1, 2])
def test_it_equals_its_equations_step_by_step(layers: int) -> None:
    torch.manual_seed(0)
    model = GRU4Rec(9, 12, 8, GRU4RecSettings(embedding_size=4, hidden_size=6, num_layers=layers)).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.8)
    items = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [11, 10, 7, 0, 0, 0, 0, 0]])
    queries = model(torch.tensor([1, 2]), items)
    torch.testing.assert_close(queries[0], step_by_step(model, items[0], layers), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(queries[1, :3], step_by_step(model, items[1, :3], layers), rtol=1e-12, atol=1e-12)


def test_dropout_hides_features_in_training_alone() -> None:
    model, users, items = GRU4Rec(9, 12, 8, GRU4RecSettings(dropout_prob=0.5)), torch.tensor([1]), torch.tensor([[3, 1, 4]])
    assert not torch.equal(model(users, items), model(users, items))
    model.eval()
    assert torch.equal(model(users, items), model(users, items))


def test_it_starts_with_padding_at_zero_and_compares_with_its_input_vectors() -> None:
    model = GRU4Rec(9, 12, 8, GRU4RecSettings())
    assert not model.item.weight[0].any()
    assert model.item_table()[0] is model.item.weight


def both_decide(people: int = 300, items: int = 6, length: int = 8) -> Interactions:
    """The next item is the sum of the last two, round the clock: no last item tells it alone."""
    random, found = np.random.default_rng(0), []
    for _ in range(people):
        history = random.integers(0, items, 2).tolist()
        while len(history) < length:
            history.append((history[-1] + history[-2]) % items)
        found.append([item + 1 for item in history])
    return histories(*found, catalogue=items)


@pytest.mark.slow
def test_it_learns_what_the_last_item_alone_does_not_tell() -> None:
    interactions = both_decide()
    small = {"embedding_size": 16, "hidden_size": 32, "dropout_prob": 0.0, "learning_rate": 0.02, "train_batch_size": 256}
    chosen = settings(model="GRU4Rec", **small, epochs=25, topk=[1], valid_metric="MRR@5")
    found = trainer(interactions, chosen)
    list(found.epochs())
    assert right_at_first(found.model, interactions, chosen) > 0.9
    assert pop_right_at_first(interactions, chosen) < 0.5
