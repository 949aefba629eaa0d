"""Which optimizer, and whether it moves whole tables or the rows that a step touches."""

from typing import Any

import pytest
import torch

from gaterec.errors import SettingsError
from gaterec.models.hgn import HGN
from gaterec.models.pop import Pop, PopSettings
from gaterec.training.optimizers import make_optimizers, rate_factor, tables, update_plan
from tests.support.histories import settings


def model(people: int, items: int, **values: Any) -> HGN:
    """Of any size, for it holds nothing."""
    with torch.device("meta"):
        return HGN(people, items, 5, settings(**values).model_settings)


def plan(people: int, items: int, **values: Any) -> tuple[bool, str]:
    found = update_plan(model(people, items), settings(**values))
    return found.by_row, found.reason


@pytest.mark.parametrize("loss", ["BPR", "SSM", "gBCE", "BPRmax", "TOP1max"])
@pytest.mark.parametrize(("people", "items"), [(1000, 1_000_000), (1_000_000, 1000)])
def test_large_tables_are_updated_by_row(people: int, items: int, loss: str) -> None:
    by_row, reason = plan(people, items, loss_type=loss)
    assert by_row
    assert reason.startswith("the rows that a step touches are updated: a step touches at most about ")
    assert reason.endswith("of the 1,000,000 rows of the largest table")


@pytest.mark.parametrize(
    ("people", "items", "values", "reason"),
    [
        (200_000, 200_000, {"loss_type": "BPR"}, "none has more than 200,000 rows"),
        (9, 10**6, {"loss_type": "CE"}, "CE touches every row"),
        (9, 10**6, {"loss_type": "BPR", "weight_decay": 0.1}, "weight_decay moves every row"),
        (
            9,
            10**6,
            {"loss_type": "BPR", "clip_grad_norm": {"max_norm": 1}},
            "clip_grad_norm needs the norm of all gradients",
        ),
        (9, 10**6, {"loss_type": "BPR", "learner": "sgd"}, "sgd moves whole tables"),
        (9, 10**6, {"loss_type": "BPR", "sparse_updates": False}, "sparse_updates: false"),
        (
            9,
            250_000,
            {"loss_type": "BPR", "train_neg_sample_args": {"sample_num": 20}},
            "a step touches at most about 43,008 of the 250,000 rows of the largest table",
        ),
        (
            9,
            250_000,
            {"loss_type": "BPR", "train_neg_sample_args": {"sample_num": 200}},
            "a step touches at most about 250,000 of the 250,000 rows of the largest table",
        ),
        (
            250_000,
            9,
            {"loss_type": "SSM", "train_batch_size": 30_000},
            "a step touches at most about 30,000 of the 250,000 rows of the largest table",
        ),
    ],
)
def test_otherwise_whole_tables_are_and_the_reason_is_told(people: int, items: int, values: dict[str, Any], reason: str) -> None:
    assert plan(people, items, **values) == (False, f"whole tables are updated: {reason}")


def test_shared_negatives_count_once() -> None:
    values = {"train_neg_sample_args": {"sample_num": 5000}, "next_items": 2}
    assert "about 9,096 of" in plan(9, 10**6, loss_type="SSM", **values)[1]
    assert "about 1,000,000 of" in plan(9, 10**6, loss_type="BPR", **values)[1]


@pytest.mark.parametrize(
    "values", [{"learner": "sparse_adam"}, {"sparse_updates": True}, {"learner": "sparse_adam", "sparse_updates": True}]
)
def test_small_tables_are_updated_by_row_when_one_asks_for_it(values: dict[str, Any]) -> None:
    assert plan(9, 9, loss_type="BPR", **values)[0]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"loss_type": "CE"}, "CE touches every row"),
        ({"loss_type": "BPR", "weight_decay": 0.1}, "weight_decay moves every row"),
        ({"loss_type": "SSM", "clip_grad_norm": {"max_norm": 1}}, "leave clip_grad_norm out"),
    ],
)
@pytest.mark.parametrize("asked", [{"learner": "sparse_adam"}, {"sparse_updates": True}])
def test_what_would_move_every_row_is_refused(values: dict[str, Any], asked: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError, match=line) as error:
        plan(9, 9, **values, **asked)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"learner": "sgd", "sparse_updates": True},
            "sparse_updates: true moves only the rows that a step touches, and sgd moves whole tables",
        ),
        ({"learner": "sparse_adam", "sparse_updates": False}, "use adam, or leave sparse_updates out"),
    ],
)
def test_contradictions_are_refused(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError, match=line):
        plan(9, 9, loss_type="BPR", **values)


@pytest.mark.parametrize(
    ("learner", "kind"),
    [("adam", "Adam"), ("adamw", "AdamW"), ("sgd", "SGD"), ("adagrad", "Adagrad"), ("rmsprop", "RMSprop")],
)
def test_the_learner_is_the_one_named_with_its_rate_and_decay(learner: str, kind: str) -> None:
    chosen = settings(learner=learner, learning_rate=0.03, weight_decay=0.2)
    encoder = HGN(9, 9, 5, chosen.model_settings)
    (optimizer,) = make_optimizers(encoder, chosen)
    assert type(optimizer).__name__ == kind
    assert optimizer.param_groups[0]["lr"] == 0.03
    assert optimizer.param_groups[0]["weight_decay"] == 0.2
    assert {id(parameter) for parameter in optimizer.param_groups[0]["params"]} == {id(parameter) for parameter in encoder.parameters()}


@pytest.mark.parametrize("values", [{"learner": "sparse_adam"}, {"sparse_updates": True}])
def test_by_row_all_parameters_are_held_once(values: dict[str, Any]) -> None:
    chosen = settings(loss_type="BPR", **values)
    encoder = HGN(9, 9, 5, chosen.model_settings)
    optimizers = make_optimizers(encoder, chosen)
    held = [id(parameter) for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in encoder.parameters())
    assert [type(optimizer).__name__ for optimizer in optimizers] == ["RowAdam", "Adam"]


def test_the_items_bias_is_a_table() -> None:
    assert [len(table) for table in tables(model(7, 9))] == [7, 9, 9, 9]
    assert [len(table) for table in tables(model(7, 9, item_bias=False))] == [7, 9, 9]


def test_a_model_without_parameters_has_no_optimizer() -> None:
    pop = Pop(9, 10**6, 5, PopSettings())
    assert make_optimizers(pop, settings(model="Pop")) == []


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0, [1, 1, 1, 1]),
        ("linear", 0, [1, 0.75, 0.5, 0]),
        ("cosine", 0, [1, 0.5 + 0.5**1.5, 0.5, 0]),
        ("constant", 2, [0, 0.5, 1, 1]),
        ("linear", 2, [0, 0.5, 1, 0]),
    ],
)
def test_the_step_size_rises_and_falls_as_scheduled(schedule: str, warmup: float, expected: list[float]) -> None:
    """Behind are 0, 1, 2 and 4 of 4 epochs."""
    chosen = settings(epochs=4, learning_rate_schedule=schedule, warmup_epochs=warmup)
    assert [rate_factor(chosen, epoch) for epoch in (0, 1, 2, 4)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("learner", "kind"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("sgd", torch.optim.SGD),
        ("adagrad", torch.optim.Adagrad),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_a_learner_is_torchs_own_with_its_usual_values_beside_rate_and_decay(learner: str, kind: Any) -> None:
    model = HGN(5, 9, 4, HGN.Settings())
    (found,) = make_optimizers(model, settings(learner=learner, learning_rate=0.03, weight_decay=0.2))
    expected = kind([torch.zeros(1)], lr=0.03, weight_decay=0.2)
    assert type(found) is kind
    assert {name: value for name, value in found.defaults.items() if name != "fused"} == {
        name: value for name, value in expected.defaults.items() if name != "fused"
    }
