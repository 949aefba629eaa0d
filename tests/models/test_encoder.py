"""What every registered model must do (see gaterec.models.encoder)."""

import inspect

import pytest
import torch

from gaterec.errors import SettingsError
from gaterec.io.files import read_tensors, write_tensors
from gaterec.models import MODELS, model_class
from gaterec.models.encoder import SequenceEncoder, masked_bias
from gaterec.training.losses import bpr, bpr_max, cross_entropy, gbce, sampled_softmax, top1_max
from tests.support.models import ITEMS, LENGTH, USERS, histories, make, window_of

each_model = pytest.mark.parametrize("name", MODELS)
each_product = pytest.mark.parametrize("name", [name for name in MODELS if model_class(name).dot_product])


@each_model
def test_the_registry_names_a_model_and_says_what_it_is(name: str) -> None:
    kind = model_class(name)
    assert kind.__name__ == name
    assert issubclass(kind, SequenceEncoder)
    assert not inspect.isabstract(kind)
    assert len(MODELS[name][1]) > 20


@each_model
def test_shapes(name: str) -> None:
    model, (users, items) = make(name), histories()
    queries = model(users, items)
    assert queries.dtype == torch.float32
    assert model(users, items[:, :1]).shape == (5, 1, queries.shape[2])
    assert model(users, items.int()).equal(queries)
    assert model.scores(queries).shape == (5, LENGTH, ITEMS)
    if model.dot_product:
        weight, bias = model.item_table()
        assert queries.shape == (5, LENGTH, weight.shape[1])
        assert weight.shape[0] == ITEMS
        assert bias is None or bias.shape == (ITEMS,)


@each_model
@pytest.mark.parametrize("t", [0, 1, 17, 38])
def test_later_events_change_no_query(name: str, t: int) -> None:
    model, (users, items) = make(name), histories()
    changed = items.clone()
    changed[:, t + 1 :] = items[:, t + 1 :] % (ITEMS - 1) + 1
    assert (changed != items)[:, t + 1 :].all()
    torch.testing.assert_close(model(users, changed)[:, : t + 1], model(users, items)[:, : t + 1], rtol=0, atol=1e-6)


@each_model
def test_no_gradient_comes_from_later_events(name: str) -> None:
    """An item that stands nowhere but after t gets no gradient from the queries up to t."""
    model, (users, items) = make(name), histories()
    if not list(model.parameters()):
        return
    items = items.where(items != ITEMS - 1, 1)
    items[:, 20:] = ITEMS - 1
    model(users, items)[:, :20].square().sum().backward()
    for name, parameter in model.named_parameters():
        if len(parameter) == ITEMS and parameter.grad is not None:
            assert not parameter.grad[ITEMS - 1].any(), name


@each_model
def test_padding_after_the_events_changes_no_query(name: str) -> None:
    model, (users, items) = make(name), histories()
    queries = model(users, items)
    short = items[:, :31]
    padded = torch.cat([short, torch.zeros(5, 9, dtype=items.dtype)], 1)
    torch.testing.assert_close(model(users, padded)[:, :31], queries[:, :31], rtol=0, atol=1e-6)


@each_model
def test_a_query_depends_on_its_own_row_alone(name: str) -> None:
    model, (users, items) = make(name).double(), histories()  # as how a batch is cut rounds a little otherwise
    together = model(users, items)
    for row in range(5):
        torch.testing.assert_close(model(users[row : row + 1], items[row : row + 1])[0], together[row], rtol=0, atol=1e-6)


@each_model
def test_a_query_sees_the_last_events_of_the_window_alone(name: str) -> None:
    model, (users, items) = make(name), histories()
    torch.testing.assert_close(model(users, items[:, -window_of(name) :])[:, -1], model(users, items)[:, -1], rtol=0, atol=1e-6)


@each_model
def test_every_dropout_of_a_model_acts_in_training(name: str) -> None:
    """One at a time, as one would hide that another is gone."""
    model, (users, items) = make(name), histories()
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    expected = model(users, items)
    assert len(layers) == {"HGN": 1, "SASRec": 1 + 2 * 2, "GRU4Rec": 1, "GRU4RecPlus": 1, "Caser": 1}.get(name, 0)
    model.train()
    for layer in layers:
        for other in layers:
            other.p = 0.0
        for module in model.modules():  # the dropout of attention's weights
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0  # type: ignore[assignment]
        torch.testing.assert_close(model(users, items), expected)
        layer.p = 0.9
        assert not torch.allclose(model(users, items), expected)


@each_model
def test_someone_unknown_gets_finite_scores(name: str) -> None:
    model, (_, items) = make(name), histories()
    scores = model.scores(model(torch.zeros(5, dtype=torch.int64), items))
    assert scores[..., 1:].isfinite().all()


@each_model
def test_padding_scores_minus_infinity_and_nothing_else_does(name: str) -> None:
    model, (users, items) = make(name), histories()
    scores = model.scores(model(users, items))
    assert (scores[..., 0] == -torch.inf).all()
    assert scores[..., 1:].isfinite().all()


@pytest.mark.parametrize("name", [name for name in MODELS if not model_class(name).dot_product])
def test_a_model_that_is_no_product_has_no_item_table_and_nothing_to_train(name: str) -> None:
    model = make(name)
    with pytest.raises(TypeError, match=f"{name} has no item table"):
        model.item_table()
    assert not list(model.parameters())
    assert not model_class(name).Settings.trained


@each_product
def test_padding_scores_minus_infinity_and_all_else_as_written(name: str) -> None:
    model, (users, items) = make(name), histories()
    queries, (weight, bias) = model(users, items), model.item_table()
    scores = model.scores(queries)
    assert scores.shape == (5, 40, ITEMS)
    assert (scores[..., 0] == -torch.inf).all()
    plain = torch.einsum("btd,vd->btv", queries, weight) + (0 if bias is None else bias)
    torch.testing.assert_close(scores[..., 1:], plain[..., 1:])


@each_product
def test_the_item_table_is_finite_and_its_padding_bias_is_hidden(name: str) -> None:
    weight, bias = make(name).item_table()
    assert weight.isfinite().all()
    hidden = masked_bias(weight, bias)
    assert hidden[0] == -torch.inf
    assert torch.equal(hidden[1:], torch.zeros(ITEMS - 1) if bias is None else bias[1:])


@each_model
@pytest.mark.parametrize("loss", ["CE", "BPR", "SSM", "gBCE", "BPRmax", "TOP1max"])
def test_gradients_are_finite_also_with_rows_of_padding(name: str, loss: str) -> None:
    model, (users, items) = make(name).train(), histories()
    if not list(model.parameters()):
        return
    items[1] = 0
    items[2, 3:] = 0
    items[3, :-1] = 0
    queries = model(users, items).flatten(0, 1)
    targets = torch.arange(200)[:, None] % (ITEMS - 1) + 1
    weight, bias = model.item_table()
    shared = torch.arange(1, 6)
    value = {
        "CE": lambda: cross_entropy(queries, targets, weight, bias),
        "BPR": lambda: bpr(queries, targets, targets[:, :, None] % (ITEMS - 1) + 1, weight, bias),
        "SSM": lambda: sampled_softmax(queries, targets, shared, torch.zeros(5), weight, bias),
        "gBCE": lambda: gbce(queries, targets, shared, weight, bias),
        "BPRmax": lambda: bpr_max(queries, targets, shared, weight, bias),
        "TOP1max": lambda: top1_max(queries, targets, shared, weight, bias),
    }[loss]()
    value.backward()  # type: ignore[no-untyped-call]
    moved = [parameter for parameter in model.parameters() if parameter.grad is not None and parameter.grad.any()]
    assert moved
    for parameter in moved:
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@each_model
def test_what_is_saved_and_loaded_is_the_same_to_the_bit(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    model, (users, items) = make(name), histories()
    file = tmp_path_factory.mktemp(name) / "weights.safetensors"
    write_tensors(file, model.state_dict(), {})
    other = type(model)(USERS, ITEMS, window_of(name), type(model).Settings()).eval()
    other.load_state_dict(read_tensors(file)[0])
    assert torch.equal(other(users, items), model(users, items))
    assert torch.equal(other.scores(other(users, items)), model.scores(model(users, items)))


@each_model
def test_encoding_changes_neither_the_input_nor_the_model(name: str) -> None:
    model, (users, items) = make(name), histories()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    seen = items.clone()
    first = model(users, items)
    assert torch.equal(items, seen)
    assert torch.equal(model(users, items), first)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("wrong", "line"), [("hng", "did you mean HGN?"), ("Popp", "did you mean Pop?"), ("xyzzy", "known: HGN, ")])
def test_a_model_that_is_not_there_names_its_neighbour(wrong: str, line: str) -> None:
    with pytest.raises(SettingsError, match="there is no model") as found:
        model_class(wrong)
    assert line in str(found.value)
