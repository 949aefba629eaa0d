"""HGN against its plain reference, values and gradients; its parts; its penalty."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from gaterec.config.resolve import parse_value
from gaterec.models.hgn import HGN, HGNSettings
from tests.support import reference_hgn

USERS, ITEMS = 6, 15
SWITCHES = ("feature_gate", "instance_gate", "item_item", "user_term", "item_bias")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def make(window: int, kind: torch.dtype = torch.float64, seed: int = 0, **values: Any) -> HGN:
    """A model whose gates are far from their middle, with padding and the unknown person at zero."""
    torch.manual_seed(seed)
    model = HGN(USERS, ITEMS, window, HGNSettings.model_validate({"embedding_size": 8} | values))
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.7)
        if name in ("user.weight", "item.weight", "output.weight"):
            with torch.no_grad():
                parameter[0] = 0.0
    return model.to(kind)


def switches(*on: bool) -> dict[str, Any]:
    return dict(zip(SWITCHES, on, strict=False))


def right_padded(lengths: list[int], seed: int = 0) -> Tensor:
    items = torch.randint(1, ITEMS, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))
    return items * (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


def with_holes(batch: int, length: int, seed: int = 0) -> Tensor:
    """Events with padding at the left, inside and at the right, and one row of padding alone."""
    random = torch.Generator().manual_seed(seed)
    items = torch.randint(1, ITEMS, (batch, length), generator=random)
    items[torch.rand(batch, length, generator=random) < 0.4] = 0
    items[0] = 0
    return items


BATCHES = {  # name -> (window, items)
    "shorter than the window": (7, right_padded([3, 5])),
    "length one": (4, right_padded([1])),
    "window one": (1, right_padded([5, 3])),
    "mixed lengths": (3, right_padded([1, 9, 4, 2])),
    "padding anywhere": (3, with_holes(4, 9)),
    "several blocks": (3, right_padded([75, 40])),
    "several blocks, padding anywhere": (5, with_holes(2, 70)),
    "blocks of the window's length": (40, right_padded([85])),
}


def both(model: HGN, users: Tensor, items: Tensor) -> tuple[tuple[Tensor, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]]:
    """Queries at events, and the gradients of all parameters: of the model and of the reference."""
    real = items > 0
    mix = torch.randn(*items.shape, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    found = []
    for queries in (model(users, items), reference_hgn.encode(model, users, items)):
        model.zero_grad()
        (queries * mix.to(queries.dtype))[real].sum().backward()
        gradients = {
            name: torch.zeros_like(value) if value.grad is None else value.grad.clone() for name, value in model.named_parameters()
        }
        found.append((queries[real].detach(), gradients))
    return found[0], found[1]


def assert_equal_to_reference(model: HGN, items: Tensor) -> None:
    tolerance = TOLERANCE[model.user.weight.dtype]
    users = torch.arange(len(items)) % USERS  # the first is user 0, someone we don't know
    (queries, gradients), (plain, plain_gradients) = both(model, users, items)
    torch.testing.assert_close(queries, plain, rtol=tolerance, atol=tolerance)
    for name, gradient in gradients.items():
        expected = plain_gradients[name].clone()
        if name in ("user.weight", "item.weight"):
            expected[0] = 0.0  # the one row that is never trained
        scale = max(1.0, float(expected.abs().max()))  # a gradient is a sum over all windows
        torch.testing.assert_close(gradient / scale, expected / scale, rtol=tolerance, atol=tolerance, msg=f"gradient of {name}")


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("batch", BATCHES)
def test_hgn_equals_the_reference(batch: str, pooling: str, kind: torch.dtype) -> None:
    window, items = BATCHES[batch]
    assert_equal_to_reference(make(window, kind, pooling_type=pooling), items)


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("seed", range(6))
def test_hgn_equals_the_reference_over_random_shapes(seed: int, pooling: str) -> None:
    random = torch.Generator().manual_seed(seed)
    batch, length, window = (int(torch.randint(1, most, (), generator=random)) for most in (5, 40, 12))
    assert_equal_to_reference(make(window, pooling_type=pooling, seed=seed), with_holes(batch + 1, length, seed))


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("kept", list(itertools.product([True, False], repeat=4)))
def test_every_ablation_equals_the_reference(kept: tuple[bool, ...], pooling: str) -> None:
    model = make(3, pooling_type=pooling, **switches(*kept))
    assert_equal_to_reference(model, with_holes(3, 6))


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_takes_a_term_away(switch: str) -> None:
    whole, without = make(3), make(3, **switches(*(name != switch for name in SWITCHES)))
    without.load_state_dict(whole.state_dict(), strict=False)
    with torch.no_grad():
        for model in (whole, without):
            if model.bias is not None:
                model.bias.copy_(torch.arange(ITEMS) / 10)
    users, items = torch.tensor([1, 2]), right_padded([6, 6])
    scores = [model.scores(model(users, items))[..., 1:] for model in (whole, without)]
    assert not torch.allclose(scores[0], scores[1])


def test_the_feature_gate_depends_on_the_person() -> None:
    model, items = make(3, user_term=False, instance_gate=False), right_padded([6])
    assert not torch.allclose(model(torch.tensor([1]), items), model(torch.tensor([2]), items))


def test_positions_count_from_the_latest_event() -> None:
    """Only the gate of p = 0 is open, so the pool is the event just before the query, whatever the length of the history."""
    model = make(4, user_term=False, item_item=False)
    with torch.no_grad():
        model.user.weight[1] = 1.0
        model.instance_user.weight[:] = -10.0  # times D = 8
        model.instance_user.weight[0] = 10.0
        model.feature_item.weight[:] = 0.0
        model.feature_item.bias[:] = 100.0  # the feature gate is wide open
        model.feature_user.weight[:] = 0.0
    items = right_padded([6])
    torch.testing.assert_close(model(torch.tensor([1]), items), model.item.weight[items].detach())


@pytest.mark.parametrize("instance_gate", [True, False])
def test_all_negative_events_have_a_negative_maximum_beside_padding(instance_gate: bool) -> None:
    model = make(5, pooling_type="max", user_term=False, item_item=False, instance_gate=instance_gate)
    with torch.no_grad():
        model.item.weight[1:] = -model.item.weight[1:].abs() - 0.1
    items = torch.tensor([[0, 0, 3, 0, 4, 0, 5, 0]])
    queries = model(torch.tensor([1]), items)
    assert (queries[items > 0] < 0).all()


def test_dropout_hides_features_in_training_alone() -> None:
    model, users, items = make(3, dropout=0.5), torch.tensor([1]), right_padded([6])
    torch.manual_seed(1)
    first, second = model(users, items), model(users, items)
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(users, items), model(users, items))
    torch.testing.assert_close(model(users, items), reference_hgn.encode(model, users, items))


def test_padding_and_the_unknown_person_begin_at_zero() -> None:
    model = HGN(USERS, ITEMS, 3, HGNSettings.model_validate({}))
    for table in (model.user, model.item, model.output):
        assert not table.weight[0].any()
        assert table.weight[1:].any(1).all()


def test_without_an_item_bias_the_table_has_none() -> None:
    assert make(3, item_bias=False).item_table()[1] is None
    assert make(3).item_table()[1] is not None


def test_no_weight_no_penalty() -> None:
    assert make(3).penalty(torch.tensor([1]), torch.tensor([[1]]), torch.tensor([[1]])) is None


@pytest.mark.parametrize(("gate", "embedding"), [(0.3, 0.07), (0.3, 0.0), (0.0, 0.07)])
def test_penalty_equals_the_plain_sum_of_norms(gate: float, embedding: float) -> None:
    model = make(3, reg_weight=(gate, embedding))
    users, items, targets = torch.tensor([1, 2]), torch.tensor([[1, 2, 0], [3, 3, 4]]), torch.tensor([[2], [5], [6]])
    gates = [model.feature_item.weight, model.feature_user.weight, model.instance_item.weight, model.instance_user.weight]
    looked_up = [
        [model.user.weight[i] for i in (1, 2)],
        [model.item.weight[i] for i in (1, 2, 0, 3, 3, 4)],
        [model.output.weight[i] for i in (2, 5, 6)],
    ]
    expected = gate * sum(float((weight.detach() ** 2).sum()) ** 0.5 for weight in gates)
    expected += embedding * sum(sum(float((vector.detach() ** 2).sum()) for vector in vectors) ** 0.5 for vectors in looked_up)
    penalty = model.penalty(users, items, targets)
    assert penalty is not None
    assert float(penalty.detach()) == pytest.approx(expected, rel=1e-12)


def test_reg_weight_is_written_as_in_recbole() -> None:
    assert HGNSettings.model_validate({"reg_weight": parse_value("[0.00,0.01]")}).reg_weight == (0.0, 0.01)


def test_tied_tables_are_one_table() -> None:
    torch.manual_seed(0)
    plain, tied = make(3), make(3, tied_tables=True)
    assert "output.weight" not in tied.state_dict()
    assert torch.equal(tied.item_table()[0], tied.item.weight)
    plain.load_state_dict({**tied.state_dict(), "output.weight": tied.item.weight})
    users, items = torch.tensor([1, 2]), right_padded([5, 3])
    assert torch.equal(plain.scores(plain(users, items)), tied.scores(tied(users, items)))


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_dropout_hides_the_same_features_of_a_user_and_an_event_in_every_term(pooling: str) -> None:
    """With the features that dropout hid hidden in the tables, HGN without dropout gives the same queries; all items are different ones."""
    model, plain = (make(3, pooling_type=pooling, dropout=dropout) for dropout in (0.5, 0.0))
    plain.load_state_dict(model.state_dict())
    users, items = torch.tensor([1, 2]), torch.arange(1, 13).view(2, 6)
    hidden: dict[int, Tensor] = {}
    model.dropout.register_forward_hook(lambda module, given, found: hidden.update({found.dim(): found.detach()}))
    queries = model(users, items)
    assert set(hidden) == {2, 3}  # (B, D) of the users and (B, T, D) of the events
    for found, table in ((hidden[2], model.user.weight[users]), (hidden[3], model.item.weight[items])):
        shown = found != 0
        assert 0.2 < float(shown.double().mean()) < 0.8
        torch.testing.assert_close(found[shown], 2 * table[shown].detach())
    with torch.no_grad():
        plain.user.weight[users] = hidden[2]
        plain.item.weight[items] = hidden[3]
    torch.testing.assert_close(queries, plain(users, items))


@pytest.mark.parametrize("instance_gate", [True, False])
def test_under_max_pooling_the_latest_of_equal_events_explains_a_feature(instance_gate: bool) -> None:
    model = make(5, pooling_type="max", instance_gate=instance_gate)
    with torch.no_grad():
        model.instance_user.weight[:] = 0.0  # the gates of equal events are equal, however far back these are
    items = torch.tensor([3, 5, 3, 5])
    gated = model.score_terms(model.user.weight[1], items).gated
    assert not gated[:2].any()
    assert gated[2:].any(1).all()
    pooled = model(torch.tensor([1]), items[None])[0, -1] - model.user.weight[1] - model.item.weight[items].sum(0)
    torch.testing.assert_close(gated.sum(0), pooled)


@pytest.mark.parametrize("items", [[5], [3, 5, 3, 7, 1], [3, 5]], ids=str)
@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("off", [None, *SWITCHES[:4]])
def test_the_terms_of_an_explanation_sum_to_the_query(off: str | None, pooling: str, items: list[int]) -> None:
    model = make(5, pooling_type=pooling, **switches(*(name != off for name in SWITCHES)))
    user, events = torch.tensor(2), torch.tensor(items)
    terms = model.score_terms(model.user_vectors(user), events)
    query = model(user[None], events[None])[0, -1]
    torch.testing.assert_close(terms.user + (terms.gated + terms.item_item).sum(0), query)
    nothing, vectors, u = torch.zeros_like(terms.item_item), model.item.weight[events], model.user.weight[user]
    torch.testing.assert_close(terms.user, nothing[0] if off == "user_term" else u)
    torch.testing.assert_close(terms.item_item, nothing if off == "item_item" else vectors)
    opened = torch.sigmoid(model.feature_item(vectors) + model.feature_user(u))
    gated = vectors if off == "feature_gate" else vectors * opened
    distance = torch.tensor([len(items) - 1 - place for place in range(len(items))])
    gate = torch.sigmoid(gated @ model.instance_item.weight[0] + model.instance_user(u)[distance])
    for found, switch, expected in ((terms.feature_gate, "feature_gate", opened), (terms.instance_gate, "instance_gate", gate)):
        assert (found is None) == (off == switch)
        if found is not None:
            torch.testing.assert_close(found, expected)
    if pooling == "average":
        weight = torch.ones(len(items)).double() if off == "instance_gate" else gate
        torch.testing.assert_close(terms.gated, weight[:, None] * gated / weight.sum())


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("equation", [None, "feature_gate", "instance_logit"])
def test_encoding_state_export_and_explanation_call_the_same_equations(
    equation: str | None, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    model = HGN(5, 20, 4, HGNSettings.model_validate({"embedding_size": 6, "pooling_type": pooling})).double().eval()
    users, items = torch.tensor([3]), torch.tensor([[7, 2, 9, 4]])
    user = model.user_vectors(users)
    before = model(users, items)[:, -1]
    if equation is not None:
        original = getattr(HGN, equation)
        monkeypatch.setattr(HGN, equation, lambda *args, **options: original(*args, **options) * 0.5 + 0.1)
    encoded = model(users, items)[:, -1]
    assert torch.equal(encoded, before) == (equation is None)
    state = model.sequence_state(1, 4)
    state.start(torch.tensor([0]), user)
    state.append(torch.zeros(4, dtype=torch.int64), torch.arange(4), items[0])
    terms = model.score_terms(user[0], items[0])
    for query in (
        state.query(torch.tensor([0]), torch.tensor([4])),
        model.last_query(user, items),
        (terms.user + terms.gated.sum(0) + terms.item_item.sum(0))[None],
    ):
        torch.testing.assert_close(query, encoded)
