"""Losses against plain lines, their level at equal scores, and their gradients."""

import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import gaterec
from gaterec.config import loss_names
from gaterec.config.loss_names import FULL_LOSSES, SHARED_NEGATIVES, Loss
from gaterec.errors import SettingsError
from gaterec.training.losses import LOSSES, bpr, bpr_max, cross_entropy, gbce, loss, sampled_softmax, top1_max
from gaterec.training.negative_sampling import NegativeSampler
from tests.support.commands import write_log
from tests.support.histories import settings

N, V, D = 6, 9, 4


def table(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, weight with a padding row that would win if it were let, and bias."""
    random = torch.Generator().manual_seed(seed)
    queries, weight, bias = (torch.randn(*shape, dtype=torch.float64, generator=random) for shape in ((N, D), (V, D), (V,)))
    bias[0] = 50.0
    return queries, weight, bias


def items(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(1, V, shape, generator=torch.Generator().manual_seed(seed))


ONE = items(N, 1)
SEVERAL = torch.tensor([[1, 2, 3], [4, 0, 0], [5, 5, 0], [8, 7, 6], [2, 0, 0], [3, 1, 0]])


def plain_cross_entropy(queries: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> float:
    losses: list[float] = []
    for query, row in zip(queries, targets.tolist(), strict=True):
        scores = [float(query @ weight[j]) + (0.0 if bias is None else float(bias[j])) for j in range(V)]
        total = sum(math.exp(score) for score in scores[1:])
        losses += [math.log(total) - scores[target] for target in row if target]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_cross_entropy_equals_its_plain_line(targets: Tensor, with_bias: bool) -> None:
    queries, weight, bias = table()
    parts = queries, targets, weight, bias if with_bias else None
    assert float(cross_entropy(*parts)) == pytest.approx(plain_cross_entropy(*parts), rel=1e-12)


def test_cross_entropy_of_one_target_equals_torch() -> None:
    queries, weight, bias = table()
    expected = F.cross_entropy((queries @ weight.T + bias)[:, 1:], ONE[:, 0] - 1)
    torch.testing.assert_close(cross_entropy(queries, ONE, weight, bias), expected)


def test_cross_entropy_of_several_equals_torch_over_all_pairs() -> None:
    queries, weight, bias = table()
    query, place = SEVERAL.nonzero(as_tuple=True)
    expected = F.cross_entropy((queries @ weight.T + bias)[query, 1:], SEVERAL[query, place] - 1)
    torch.testing.assert_close(cross_entropy(queries, SEVERAL, weight, bias), expected)


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
def test_padding_gets_no_probability_and_no_gradient(targets: Tensor) -> None:
    queries, weight, bias = (part.requires_grad_() for part in table())
    loss = cross_entropy(queries, targets, weight, bias)
    assert float(loss.detach()) < 20  # its bias of 50 is not in the sum
    loss.backward()  # type: ignore[no-untyped-call]
    for part in (weight, bias):
        assert part.grad is not None
        assert not part.grad[0].any()
        assert part.grad[1:].any()


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
def test_equal_scores_have_the_losses_of_chance(targets: Tensor) -> None:
    queries, weight, bias = torch.zeros(N, D), torch.ones(V, D), torch.full((V,), 3.0)
    assert float(cross_entropy(queries, targets, weight, bias)) == pytest.approx(math.log(V - 1), rel=1e-6)
    assert float(bpr(queries, targets, items(*targets.shape, 4), weight, bias)) == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("sample_num", [1, 3])
def test_bpr_equals_its_plain_line(targets: Tensor, with_bias: bool, sample_num: int) -> None:
    queries, weight, bias = table()
    negatives = items(*targets.shape, sample_num, seed=2)

    def score(n: int, item: int) -> float:
        return float(queries[n] @ weight[item]) + (float(bias[item]) if with_bias else 0.0)

    losses = [
        math.log(1 + math.exp(score(n, int(negative)) - score(n, int(target))))
        for n in range(N)
        for k, target in enumerate(targets[n])
        if target
        for negative in negatives[n, k]
    ]
    found = bpr(queries, targets, negatives, weight, bias if with_bias else None)
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-12)


# Negatives that a step shares

SHARED = torch.tensor([3, 5, 5, 8, 1])
"""Some are targets, one comes twice."""
SHARING = ["SSM", "gBCE", "BPRmax", "TOP1max"]
EACH_ONCE = torch.tensor([4, 2, 8, 1, 7, 3, 6, 5])


def plain_scores(queries: Tensor, weight: Tensor, bias: Tensor | None) -> list[list[float]]:
    return [[float(query @ weight[j]) + (0.0 if bias is None else float(bias[j])) for j in range(V)] for query in queries]


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_sampled_softmax_equals_its_plain_line(targets: Tensor, with_bias: bool) -> None:
    queries, weight, bias = table()
    log_expected = torch.tensor([0.3, -1.0, -1.0, 0.0, -2.0], dtype=torch.float64)
    losses: list[float] = []
    for scores, row in zip(plain_scores(queries, weight, bias if with_bias else None), targets.tolist(), strict=True):
        right = {item for item in row if item}
        total = sum(math.exp(scores[item]) for item in right)
        drawn = zip(SHARED.tolist(), log_expected.tolist(), strict=True)
        total += sum(math.exp(scores[item] - expected) for item, expected in drawn if item not in right)
        losses += [math.log(total) - scores[item] for item in row if item]
    found = sampled_softmax(queries, targets, SHARED, log_expected, weight, bias if with_bias else None)
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-12)


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_sampled_softmax_of_every_item_once_is_cross_entropy(targets: Tensor, with_bias: bool) -> None:
    queries, weight, bias = (part.requires_grad_() for part in table())
    inputs = (queries, weight, bias) if with_bias else (queries, weight)
    ours = sampled_softmax(queries, targets, EACH_ONCE, torch.zeros(V - 1, dtype=torch.float64), weight, bias if with_bias else None)
    whole = cross_entropy(queries, targets, weight, bias if with_bias else None)
    torch.testing.assert_close(ours, whole, rtol=1e-12, atol=1e-12)
    for mine, other in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(whole, inputs), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("alpha", [None, 1.0, 0.5])
def test_many_draws_of_any_distribution_come_to_cross_entropy(alpha: float | None) -> None:
    queries, weight, bias = table()
    torch.manual_seed(0)
    sampler = NegativeSampler(torch.tensor([0, 1, 9, 2, 5, 3, 1, 4, 2]), alpha)
    found = sampled_softmax(queries, SEVERAL, *sampler.draw_shared(200_000), weight, bias)
    assert float(found) == pytest.approx(float(cross_entropy(queries, SEVERAL, weight, bias)), rel=0.01)


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("calibration", [0.0, 0.75, 1.0])
def test_gbce_equals_its_plain_line(targets: Tensor, calibration: float) -> None:
    queries, weight, bias = table()
    alpha = len(SHARED) / (V - 2)
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    losses: list[float] = []
    for scores, row in zip(plain_scores(queries, weight, bias), targets.tolist(), strict=True):
        of_wrong = sum(math.log(1 + math.exp(scores[item])) for item in SHARED.tolist() if item not in row)
        losses += [(beta * math.log(1 + math.exp(-scores[item])) + of_wrong) / (len(SHARED) + 1) for item in row if item]
    found = gbce(queries, targets, SHARED, weight, bias, calibration)
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-12)


def test_more_negatives_than_wrong_items_calibrate_nothing() -> None:
    queries, weight, bias = table()
    many = SHARED.repeat(4)
    torch.testing.assert_close(gbce(queries, ONE, many, weight, bias, 1.0), gbce(queries, ONE, many, weight, bias, 0.0))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("regularization", [0.0, 0.7])
def test_bpr_max_equals_its_plain_line(targets: Tensor, with_bias: bool, regularization: float) -> None:
    queries, weight, bias = table()
    losses: list[float] = []
    for scores, row in zip(plain_scores(queries, weight, bias if with_bias else None), targets.tolist(), strict=True):
        wrong = [scores[item] for item in SHARED.tolist() if item not in row]
        total = sum(math.exp(score) for score in wrong)
        for item in filter(None, row):
            above = sum(math.exp(score) / total * sigmoid(scores[item] - score) for score in wrong)
            losses.append(-math.log(above) + regularization * sum(math.exp(score) / total * score**2 for score in wrong))
    found = bpr_max(queries, targets, SHARED, weight, bias if with_bias else None, regularization)
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-12)


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_top1_max_equals_its_plain_line(targets: Tensor, with_bias: bool) -> None:
    queries, weight, bias = table()
    losses: list[float] = []
    for scores, row in zip(plain_scores(queries, weight, bias if with_bias else None), targets.tolist(), strict=True):
        wrong = [scores[item] for item in SHARED.tolist() if item not in row]
        total = sum(math.exp(score) for score in wrong)
        losses += [
            sum(math.exp(score) / total * (sigmoid(score - scores[item]) + sigmoid(score**2)) for score in wrong) for item in row if item
        ]
    found = top1_max(queries, targets, SHARED, weight, bias if with_bias else None)
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-12)


def test_the_ranking_losses_at_scores_of_zero() -> None:
    queries, weight = torch.zeros(N, D), torch.ones(V, D)
    assert float(bpr_max(queries, ONE, SHARED, weight, None)) == pytest.approx(math.log(2), rel=1e-6)
    assert float(top1_max(queries, ONE, SHARED, weight, None)) == pytest.approx(1, rel=1e-6)


def test_bpr_max_stays_finite_at_scores_far_apart() -> None:
    queries, weight = torch.full((1, D), 1e3), torch.zeros(V, D)
    weight[1], weight[2] = 1.0, -1.0
    right, wrong = torch.tensor([[1]]), torch.tensor([[2]])
    assert float(bpr_max(queries, right, wrong[0], weight, None, 0.0)) == 0
    assert float(bpr_max(queries, wrong, right[0], weight, None, 0.0)) == pytest.approx(8e3)


def test_shared_losses_at_equal_scores() -> None:
    queries, weight, bias = torch.zeros(N, D), torch.ones(V, D), torch.zeros(V)
    right, wrong = torch.full((N, 1), 4), torch.tensor([1, 2, 3])
    softmax = sampled_softmax(queries, right, wrong, torch.full((3,), math.log(3 / (V - 2))), weight, bias)
    assert float(softmax) == pytest.approx(math.log(V - 1), rel=1e-6)
    beta = 1 - 0.75 * (1 - 3 / (V - 2))
    assert float(gbce(queries, right, wrong, weight, bias)) == pytest.approx((beta + 3) / 4 * math.log(2), rel=1e-6)


@pytest.mark.parametrize("loss", SHARING)
def test_a_query_whose_negatives_are_all_its_own_targets_gives_numbers(loss: str) -> None:
    queries, weight, bias = (part.float().requires_grad_() for part in (part.detach() for part in table()))
    right, wrong = torch.full((N, 1), 4), torch.tensor([4, 4])
    found = {
        "SSM": lambda: sampled_softmax(queries, right, wrong, torch.zeros(2), weight, bias),
        "gBCE": lambda: gbce(queries, right, wrong, weight, bias),
        "BPRmax": lambda: bpr_max(queries, right, wrong, weight, bias),
        "TOP1max": lambda: top1_max(queries, right, wrong, weight, bias),
    }[loss]()
    found.backward()  # type: ignore[no-untyped-call]
    if loss in ("BPRmax", "TOP1max"):  # nothing is compared
        assert not any(part.grad is not None and part.grad.any() for part in (queries, weight, bias))
    if loss != "gBCE":
        assert float(found.detach()) == 0
    for part in (queries, weight, bias):
        assert part.grad is not None
        assert part.grad.isfinite().all()


def shared_loss(loss: str, queries: Tensor, weight: Tensor, bias: Tensor | None, sparse: bool = False) -> Tensor:
    if loss == "SSM":
        return sampled_softmax(queries, SEVERAL, SHARED, torch.linspace(-1, 1, 5, dtype=weight.dtype), weight, bias, sparse)
    if loss == "BPRmax":
        return bpr_max(queries, SEVERAL, SHARED, weight, bias, 0.3, sparse)
    if loss == "TOP1max":
        return top1_max(queries, SEVERAL, SHARED, weight, bias, sparse)
    return gbce(queries, SEVERAL, SHARED, weight, bias, 0.5, sparse)


@pytest.mark.parametrize("loss", SHARING)
def test_shared_losses_give_padding_no_gradient_and_sparse_gradients_are_the_dense_ones(loss: str) -> None:
    found = []
    for sparse in (False, True):
        queries, weight, bias = (part.requires_grad_() for part in table())
        shared_loss(loss, queries, weight, bias, sparse).backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None
        assert bias.grad is not None
        assert (weight.grad.is_sparse, bias.grad.is_sparse) == (sparse, sparse)
        found.append((weight.grad.to_dense(), bias.grad.to_dense()))
        assert not found[-1][0][0].any()
        assert not found[-1][1][0].any()
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("loss", SHARING)
def test_gradients_of_shared_losses_are_those_of_finite_differences(loss: str) -> None:
    inputs = tuple(part.requires_grad_() for part in table())
    assert torch.autograd.gradcheck(lambda q, w, b: shared_loss(loss, q, w, b), inputs)


def test_bpr_gives_padding_no_gradient() -> None:
    queries, weight, bias = (part.requires_grad_() for part in table())
    bpr(queries, SEVERAL, items(N, 3, 2), weight, bias).backward()  # type: ignore[no-untyped-call]
    for part in (weight, bias):
        assert part.grad is not None
        assert not part.grad[0].any()


def test_bpr_stays_finite_at_scores_far_apart() -> None:
    queries, weight = torch.full((1, D), 1e4), torch.zeros(V, D)
    weight[1], weight[2] = 1.0, -1.0
    right, wrong = torch.tensor([[1]]), torch.tensor([[2]])
    assert float(bpr(queries, right, wrong[:, :, None], weight, None)) == 0
    assert float(bpr(queries, wrong, right[:, :, None], weight, None)) == pytest.approx(8e4)


def test_the_sparse_gradient_of_bpr_is_the_dense_one() -> None:
    queries, weight, bias = table()
    found = []
    for sparse in (False, True):
        rows = weight.clone().requires_grad_()
        bpr(queries, SEVERAL, items(N, 3, 2), rows, bias, sparse=sparse).backward()  # type: ignore[no-untyped-call]
        assert rows.grad is not None
        assert rows.grad.is_sparse == sparse
        found.append(rows.grad.to_dense())
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
def test_gradients_are_those_of_finite_differences(targets: Tensor) -> None:
    inputs = tuple(part.requires_grad_() for part in table())
    negatives = items(*targets.shape, 2, seed=4)
    assert torch.autograd.gradcheck(lambda q, w, b: cross_entropy(q, targets, w, b), inputs)
    assert torch.autograd.gradcheck(lambda q, w, b: bpr(q, targets, negatives, w, b), inputs)


# The registry


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    monkeypatch.setattr(loss_names, "LOSS_NAMES", list(loss_names.LOSS_NAMES))
    tables: tuple[Any, ...] = (LOSSES, FULL_LOSSES, SHARED_NEGATIVES)
    before = [table.copy() for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


def run_tiny(tmp_path: Path, **chosen: Any) -> Any:
    tiny = {"epochs": 2, "embedding_size": 4, "MAX_ITEM_LIST_LENGTH": 5, "learning_rate": 0.05, "state": "ERROR", "show_progress": False}
    log = write_log(tmp_path / "a.csv", people=20)
    return gaterec.run(dataset=log, config_dict={**tiny, "checkpoint_dir": str(tmp_path / "saved"), **chosen})


def test_the_names_in_the_settings_are_those_of_the_registry() -> None:
    assert list(LOSSES) == list(get_args(Loss)) == loss_names.LOSS_NAMES
    assert {name for name, found in LOSSES.items() if found.negatives == "none"} == FULL_LOSSES
    assert {name for name, found in LOSSES.items() if found.negatives == "shared"} == set(SHARED_NEGATIVES)


def test_a_loss_from_outside_trains_a_run(tmp_path: Path, registry: None) -> None:
    shapes, stacks = set(), []

    @loss("hinge", shared_negatives=7)
    def hinge(queries: Tensor, targets: Tensor, negatives: Tensor, weight: Tensor) -> Tensor:
        shapes.add(tuple(negatives.shape))
        stacks.append([(Path(frame.filename).name, frame.function) for frame in inspect.stack(context=0)])
        right = (queries[:, None] * weight[targets]).sum(2)  # (N, K)
        wrong = queries @ weight[negatives].T  # (N, S)
        real = targets > 0
        return ((1 - right[:, :, None] + wrong[:, None]).relu().mean(2) * real).sum() / real.sum()

    found = run_tiny(tmp_path, loss_type="hinge")
    assert found["settings"]["loss_type"] == "hinge"
    assert found["epochs"][1]["loss"] < found["epochs"][0]["loss"]
    assert shapes == {(7,)}
    calls = stacks[0][: [function for _, function in stacks[0]].index("run")]  # from run to the loss
    assert len(calls) <= 5, calls
    assert {file for file, _ in calls[1:]} == {"run.py", "trainer.py"}
    given = [settings(loss_type="hinge", train_neg_sample_args=how).negatives for how in ({"alpha": 0.5}, {"sample_num": 3})]
    assert [negatives.sample_num for negatives in given] == [7, 3]
    with pytest.raises(SettingsError, match="hinge draws its negatives once for all targets of a step, so nobody's own items"):
        settings(loss_type="hinge", negatives_may_be_own=False)
    with pytest.raises(SettingsError, match="expected 'CE', 'BPR', 'SSM', 'gBCE', 'BPRmax', 'TOP1max' or 'hinge', found 'hing'"):
        settings(loss_type="hing")


@pytest.mark.parametrize("own_negatives", [False, True])
def test_a_loss_gets_what_its_parameters_name(own_negatives: bool, tmp_path: Path, registry: None) -> None:
    """A copy of one of gaterec's own under another name, with the parameters in another order, ends with the same metrics."""
    model, copied = ("BPR", bpr) if own_negatives else ("CE", cross_entropy)

    def mine(weight: Tensor, bias: Tensor | None, targets: Tensor, queries: Tensor, **others: Any) -> Tensor:
        return copied(queries=queries, targets=targets, weight=weight, bias=bias, **others)

    parameters = [*inspect.signature(mine).parameters.values()][:-1]
    parameters += [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("negatives", "sparse") if own_negatives]
    mine.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    loss("mine", own_negatives=own_negatives)(mine)
    by_name = {name: run_tiny(tmp_path, loss_type=name, train_neg_sample_args={"sample_num": 2}) for name in ("mine", model)}
    assert by_name["mine"]["test_result"] == by_name[model]["test_result"]
    assert [epoch["loss"] for epoch in by_name["mine"]["epochs"]] == [epoch["loss"] for epoch in by_name[model]["epochs"]]


def test_a_name_means_one_loss(registry: None) -> None:
    def mine(queries: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        raise NotImplementedError

    with pytest.raises(
        ValueError, match=r"loss 'CE': is registered already, by gaterec\.training\.losses\.cross_entropy; choose another name"
    ):
        loss("CE")(mine)
    with pytest.raises(ValueError, match=r"loss 'SSM': draws its negatives otherwise than gaterec\.config\.loss_names says"):
        loss("SSM", shared_negatives=5)(sampled_softmax)
    with pytest.raises(ValueError, match="loss 'mine': expected own_negatives or shared_negatives, found both"):
        loss("mine", own_negatives=True, shared_negatives=5)
    assert "mine" not in LOSSES
    for count in (5, 6):  # the cell of a notebook is run again
        loss("mine", shared_negatives=count)(mine)
        assert SHARED_NEGATIVES["mine"] == count
    assert loss_names.LOSS_NAMES.count("mine") == 1
