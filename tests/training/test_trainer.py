"""Training: it learns, it stops, it goes on to the same bits, and it says so when it can't."""

import copy
from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils import deterministic

from gaterec.config.loss_names import Loss
from gaterec.data.batches import Batch, TrainingBatches
from gaterec.data.interactions import Interactions
from gaterec.data.split import split_interactions
from gaterec.errors import RunError, SettingsError
from gaterec.training.losses import bpr, bpr_max, cross_entropy, gbce, sampled_softmax, top1_max
from gaterec.training.negative_sampling import NegativeSampler
from gaterec.training.optimizers import rate_factor
from gaterec.training.reproducibility import hash_seed, pick_device, reproducible
from gaterec.training.states import load_state, save_state
from gaterec.training.trainer import Metrics, Trainer, batch_loss, without_effect
from tests.support.histories import histories, random_histories, settings, training_counts
from tests.support.training import CPU, make_model, trainer

SMALL = {"embedding_size": 8, "MAX_ITEM_LIST_LENGTH": 3, "train_batch_size": 100, "learning_rate": 0.01, "epochs": 3}


def noise() -> Interactions:
    return random_histories(30, 20, 12, shortest=4)


def trained(interactions: Interactions, **values: Any) -> Trainer:
    found = trainer(interactions, settings(**SMALL | values))
    for _ in found.epochs():
        pass
    return found


def weights(found: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in found.model.state_dict().items()}


def same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_loss_of_an_epoch_is_the_mean_over_its_targets() -> None:
    """Of a model that can't move, so that the batches don't matter."""
    interactions = noise()
    chosen = settings(**SMALL | {"learning_rate": 1e-30, "learner": "sgd", "epochs": 1})
    found = trainer(interactions, chosen)
    before = copy.deepcopy(found.model)
    seen: list[int] = []
    (entry,) = found.epochs(seen.append)
    whole = TrainingBatches(interactions, split_interactions(interactions, chosen.eval_args), window=3, batch_size=10**6)
    (batch,) = whole.epoch(1)
    weight, bias = before.item_table()
    queries = before(batch.users, batch.items).flatten(0, 1)[batch.positions]
    assert entry["loss"] == pytest.approx(float(cross_entropy(queries, batch.targets, weight, bias).detach()), rel=1e-6)
    assert sum(seen) == whole.targets
    assert len(seen) == len(found.batches)
    assert entry["epoch"] == 1
    assert entry["seconds"] > 0
    assert entry["valid"] is None


def plain_loss(loss: str, queries: Tensor, targets: Tensor, negatives: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    match loss:
        case "CE":
            return cross_entropy(queries, targets, weight, bias)
        case "BPR":
            return bpr(queries, targets, negatives, weight, bias)
        case "SSM":
            return sampled_softmax(queries, targets, negatives, torch.full((4,), np.log(4 / 20)), weight, bias)
        case "BPRmax":
            return bpr_max(queries, targets, negatives, weight, bias, 0.3)
        case "TOP1max":
            return top1_max(queries, targets, negatives, weight, bias)
        case _:
            return gbce(queries, targets, negatives, weight, bias, 0.4)


def test_the_loss_of_a_batch_is_what_the_settings_ask_for_and_the_penalty() -> None:
    interactions = noise()
    split = split_interactions(interactions, settings().eval_args)
    (batch,) = TrainingBatches(interactions, split, window=3, batch_size=10**6).epoch(1)
    sampler = NegativeSampler(training_counts(interactions, split))
    for loss in get_args(Loss):
        negatives_of = {} if loss == "CE" else {"train_neg_sample_args": {"sample_num": 4}}
        chosen = settings(**SMALL, loss_type=loss, reg_weight=[0.1, 0.2], gbce_t=0.4, bprmax_reg=0.3, **negatives_of)
        model = make_model(interactions, chosen)
        queries = model(batch.users, batch.items).flatten(0, 1)[batch.positions]
        torch.manual_seed(5)
        negatives = sampler.draw(batch.target_users, (1, 4)) if loss == "BPR" else torch.randint(1, 21, (4,))
        plain = plain_loss(loss, queries, batch.targets, negatives, *model.item_table())
        penalty = model.penalty(batch.users, batch.items, batch.targets)
        assert penalty is not None
        torch.manual_seed(5)
        torch.testing.assert_close(batch_loss(model, batch, chosen, sampler), plain + penalty)


def test_a_penalty_keeps_weights_small() -> None:
    free, kept = (trained(noise(), reg_weight=[weight, weight]) for weight in (0.0, 0.1))
    assert sum(float(value.norm()) for value in weights(kept).values()) < sum(float(value.norm()) for value in weights(free).values())


def test_the_unknown_person_and_padding_stay_at_zero() -> None:
    for values in ({}, {"loss_type": "BPR", "next_items": 3}, {"weight_decay": 0.1, "learner": "adamw"}):
        found = weights(trained(noise(), **values))
        for name in ("user.weight", "item.weight", "output.weight"):
            assert not found[name][0].any(), (values, name)


# The same bits


def test_the_same_seed_gives_the_same_bits_and_another_one_others() -> None:
    values = {"loss_type": "BPR", "dropout": 0.2}
    first, again, other = (weights(trained(noise(), **values, seed=seed)) for seed in (3, 3, 4))
    assert same_bits(first, again)
    assert not same_bits(first, other)


def test_what_was_drawn_before_does_not_matter() -> None:
    chosen = settings(**SMALL, loss_type="BPR", dropout=0.2)
    first = trainer(noise(), chosen)
    list(first.epochs())
    second = trainer(noise(), chosen)
    for _ in second.epochs():
        torch.rand(17)
    assert same_bits(weights(first), weights(second))


LEARNERS = [
    {"learner": "adam"},
    {"learner": "adam", "weight_decay": 0.01, "clip_grad_norm": {"max_norm": 0.1}},
    {"learner": "adamw", "weight_decay": 0.01},
    {"learner": "sgd", "weight_decay": 0.01},
    {"learner": "adagrad"},
    {"learner": "rmsprop"},
    {"learner": "adam", "loss_type": "BPR", "dropout": 0.3},
    {"learner": "sparse_adam", "loss_type": "BPR"},
    {"learner": "sparse_adam", "loss_type": "BPR", "item_bias": False, "reg_weight": [0.01, 0.01]},
    {"sparse_updates": True, "loss_type": "BPR", "next_items": 3, "train_neg_sample_args": {"sample_num": 3}},
    {"loss_type": "SSM", "train_neg_sample_args": {"sample_num": 5, "distribution": "popularity"}},
    {"loss_type": "SSM", "sparse_updates": True, "next_items": 3},
    {"learning_rate_schedule": "cosine", "warmup_epochs": 1.5},
    {"loss_type": "gBCE"},
    {"loss_type": "BPRmax", "sparse_updates": True, "next_items": 3},
    {"loss_type": "TOP1max"},
    {"loss_type": "gBCE", "sparse_updates": True, "reg_weight": [0.01, 0.01]},
]


def falling(scores: list[float], metric: str = "mrr@10") -> Callable[[], Metrics]:
    """A validation whose figures are known."""
    left = iter(scores)
    return lambda: {metric: next(left)}


@pytest.mark.parametrize("values", LEARNERS, ids=lambda values: "-".join(str(value) for value in values.values()))
def test_a_state_goes_on_to_the_same_bits(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("states")
    chosen, scores = settings(**SMALL | {"epochs": 6} | values), [0.1, 0.2, 0.3, 0.25, 0.2, 0.1]
    whole = trainer(noise(), chosen, validate=falling(scores))
    list(whole.epochs())
    killed = trainer(noise(), chosen, validate=falling(scores))
    course = killed.epochs()
    next(course), next(course)
    save_state(folder, killed.state())
    state, problems = load_state(folder)
    assert problems == []
    resumed = trainer(
        noise(), chosen, state, validate=falling(scores[2:]), model=make_model(noise(), settings(**SMALL | values | {"seed": 99}))
    )
    assert len(list(resumed.epochs())) == 4
    assert same_bits(weights(resumed), weights(whole))
    assert resumed.history.best_epoch == whole.history.best_epoch == 3
    assert [entry["loss"] for entry in resumed.history.epochs] == [entry["loss"] for entry in whole.history.epochs]


def test_a_state_remembers_the_best_weights() -> None:
    chosen = settings(**SMALL | {"epochs": 4})
    whole = trainer(noise(), chosen, validate=falling([0.3, 0.2, 0.1, 0.2]))
    list(whole.epochs())
    killed = trainer(noise(), chosen, validate=falling([0.3, 0.2]))
    course = killed.epochs()
    next(course), next(course)
    resumed = trainer(noise(), chosen, copy.deepcopy(killed.state()), validate=falling([0.1, 0.2]))
    list(resumed.epochs())
    assert resumed.history.best_epoch == 1
    assert same_bits(weights(resumed), weights(whole))


# Stopping


def epochs_until_the_end(scores: list[float], **values: Any) -> tuple[int, Trainer]:
    chosen = settings(**SMALL | {"epochs": 50} | values)
    found = trainer(noise(), chosen, validate=falling(scores, chosen.valid_metric.lower()))
    return len(list(found.epochs())), found


@pytest.mark.parametrize(("stopping_step", "epochs"), [(0, 3), (1, 4), (3, 6)])
def test_training_stops_after_more_than_stopping_step_validations_without_progress(stopping_step: int, epochs: int) -> None:
    ran, found = epochs_until_the_end([0.1, 0.5, *[0.4] * 20], stopping_step=stopping_step)
    assert ran == epochs
    assert found.finished
    assert found.history.best_epoch == 2
    assert found.history.best_score == 0.5
    assert found.history.best_metrics == {"mrr@10": 0.5}


def test_progress_begins_the_count_anew() -> None:
    assert epochs_until_the_end([0.1, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0], stopping_step=2)[0] == 7


def test_early_stopping_compares_full_precision() -> None:
    ran, found = epochs_until_the_end([0.3, 0.3 + 1e-12, 0.3, 0.3], stopping_step=1, metric_decimal_place=2)
    assert (ran, found.history.best_epoch) == (4, 2)


def test_the_first_of_equal_epochs_wins() -> None:
    ran, found = epochs_until_the_end([0.3, 0.3, 0.3], stopping_step=1)
    assert (ran, found.history.best_epoch) == (3, 1)


@pytest.mark.parametrize("metric", ["GiniIndex@10", "AveragePopularity@5"])
def test_of_a_metric_that_is_better_when_smaller_the_smallest_value_wins(metric: str) -> None:
    ran, found = epochs_until_the_end([0.3, 0.2, 0.4, 0.4], stopping_step=1, valid_metric=metric)
    assert (ran, found.history.best_epoch, found.history.best_score) == (4, 2, 0.2)


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    found = trainer(noise(), settings(**SMALL | {"epochs": 4}), validate=falling([0.1, 0.4, 0.2, 0.3]))
    each = [weights(found) for _ in found.epochs()]
    assert same_bits(weights(found), each[1])
    assert not same_bits(each[1], each[3])


def test_validation_comes_every_eval_step_epochs_in_evaluation_mode() -> None:
    modes: list[bool] = []

    def validate() -> Metrics:
        modes.append(found.model.training)
        return {"mrr@10": 0.5}

    found = trainer(noise(), settings(**SMALL | {"epochs": 7, "eval_step": 3}), validate=validate)
    validated = [entry["valid"] is not None for entry in found.epochs()]
    assert validated == [False, False, True, False, False, True, False]
    assert modes == [False, False]
    assert found.history.best_epoch == 3


@pytest.mark.parametrize("eval_step", [0, 1])
def test_without_validation_the_last_epoch_is_kept(eval_step: int) -> None:
    validate = None if eval_step else falling([])
    found = trainer(noise(), settings(**SMALL | {"eval_step": eval_step, "stopping_step": 0}), validate=validate)
    each = [weights(found) for _ in found.epochs()]
    assert len(each) == 3
    assert same_bits(weights(found), each[-1])
    assert found.history.best_epoch == 3
    assert found.history.best_score is None
    assert found.history.best_metrics is None


@pytest.mark.parametrize("eval_step", [3, 4, 1_000_000])
def test_an_eval_step_above_epochs_validates_once_after_the_last_epoch(eval_step: int) -> None:
    found = trainer(noise(), settings(**SMALL | {"epochs": 3, "eval_step": eval_step}), validate=falling([0.3]))
    each = [(entry["valid"], weights(found)) for entry in found.epochs()]
    assert [valid for valid, _ in each] == [None, None, {"mrr@10": 0.3}]
    assert (found.history.best_epoch, found.history.best_score, found.history.best_metrics) == (3, 0.3, {"mrr@10": 0.3})
    assert same_bits(weights(found), each[-1][1])


def test_a_training_that_is_resumed_under_an_eval_step_above_epochs_validates_once_too() -> None:
    chosen = settings(**SMALL | {"epochs": 3, "eval_step": 5})
    killed = trainer(noise(), chosen, validate=falling([]))
    next(killed.epochs())
    resumed = trainer(noise(), chosen, copy.deepcopy(killed.state()), validate=falling([0.3]))
    assert [entry["valid"] for entry in resumed.epochs()] == [None, {"mrr@10": 0.3}]
    assert resumed.history.best_epoch == 3


def test_no_epochs_leave_the_model_as_it_was() -> None:
    found = trainer(noise(), settings(**SMALL | {"epochs": 0}))
    before = weights(found)
    assert list(found.epochs()) == []
    assert same_bits(weights(found), before)
    assert found.history.best_metrics is None


def test_a_model_without_parameters_is_finished_before_it_begins() -> None:
    found = trainer(noise(), settings(model="Pop"))
    assert found.finished
    assert list(found.epochs()) == []


# What changes nothing

CE = "CE compares each target with the whole catalogue and draws no negatives"


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({}, []),
        ({"negatives_may_be_own": True, "gbce_t": 0.75, "stopping_step": 10, "tail_ratio": 0.1}, []),  # the defaults, spelled out
        (
            {"train_neg_sample_args": {"sample_num": 2}, "negatives_may_be_own": False},
            [f"train_neg_sample_args, negatives_may_be_own: no effect: {CE}"],
        ),
        ({"model": "BPR", "loss_type": "CE"}, []),
        ({"model": "BPR"}, []),
        ({"loss_type": "BPR", "negatives_may_be_own": False, "train_neg_sample_args": {"sample_num": 2}}, []),
        (
            {"loss_type": "BPR", "train_neg_sample_args": {"alpha": 0.5}},
            ["train_neg_sample_args.alpha: no effect: negatives are drawn uniformly"],
        ),
        ({"loss_type": "BPR", "train_neg_sample_args": {"alpha": 0.5, "distribution": "popularity"}}, []),
        (
            {"loss_type": "BPR", "train_neg_sample_args": {"candidate_num": 4}},
            ["train_neg_sample_args.candidate_num: no effect: negatives are not dynamic"],
        ),
        ({"loss_type": "BPR", "train_neg_sample_args": {"candidate_num": 4, "dynamic": True}}, []),
        ({"gbce_t": 0.5}, ["gbce_t: no effect: loss_type is CE and not gBCE"]),
        ({"gbce_t": 0.5, "loss_type": "gBCE"}, []),
        ({"bprmax_reg": 0.5, "loss_type": "SSM"}, ["bprmax_reg: no effect: loss_type is SSM and not BPRmax"]),
        ({"bprmax_reg": 0.5, "loss_type": "BPRmax"}, []),
        ({"eval_step": 0, "stopping_step": 3}, ["stopping_step: no effect: eval_step is 0, so nothing is validated"]),
        ({"tail_ratio": 0.2}, ["tail_ratio: no effect: TailPercentage is not among the metrics"]),
        ({"tail_ratio": 0.2, "metrics": ["TailPercentage"]}, []),
        ({"tail_ratio": 0.2, "valid_metric": "TailPercentage@5"}, []),
        ({"model": "Pop", "epochs": 3, "learning_rate": 0.1}, ["epochs, learning_rate: no effect: Pop is counted and not trained"]),
        ({"model": "Pop"}, []),
    ],
)
def test_settings_that_change_nothing_are_told(values: dict[str, Any], lines: list[str]) -> None:
    assert without_effect(settings(**values)) == lines


# What can't go on


@pytest.mark.parametrize("how", ["nan", "diverged"])
def test_a_loss_that_is_no_number_is_an_error_in_one_line(how: str) -> None:
    chosen = settings(**SMALL | {"epochs": 30, "learner": "sgd", "learning_rate": 1000 if how == "diverged" else 0.01})
    found = trainer(noise(), chosen)
    with torch.no_grad():
        next(found.model.parameters())[1:] = torch.nan if how == "nan" else 1e15
    with pytest.raises(RunError, match=r"epoch \d+: the loss is (nan|inf): .*lower learning_rate \(now (0\.01|1000)\)") as error:
        list(found.epochs())
    assert "\n" not in str(error.value)


# The optimizer


def test_sparse_adam_moves_only_the_rows_that_a_step_touches() -> None:
    """Adam moves a row by its moments long after it was last touched."""
    interactions = histories([1, 2, 1, 2, 1], [3, 4, 3, 4, 3])

    def movement(learner: str) -> Tensor:
        chosen = settings(**SMALL | {"learner": learner, "loss_type": "BPR", "train_batch_size": 2, "epochs": 2})
        found = trainer(interactions, chosen)
        before = weights(found)["user.weight"]
        steps: list[Tensor] = []
        for _ in found.epochs(lambda targets: steps.append(weights(found)["user.weight"])):
            pass
        path = torch.stack([before, *steps])
        return (path[1:] != path[:-1]).any(2)[:, 1:]  # (steps, people)

    assert (movement("sparse_adam").sum(1) == 1).all()  # each step holds one person's targets
    assert (movement("adam")[1:].sum(1) == 2).any()


@pytest.mark.parametrize("loss", ["BPR", "SSM", "gBCE"])
def test_by_row_a_step_forms_no_gradient_of_a_whole_table(loss: str) -> None:
    chosen = settings(**SMALL, loss_type=loss, sparse_updates=True, next_items=2, reg_weight=[0.1, 0.1])
    found = trainer(noise(), chosen)
    assert found.plan.by_row
    list(found.epochs())
    for name, parameter in found.model.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.is_sparse == (name in {"user.weight", "item.weight", "output.weight", "bias"}), name


@pytest.mark.parametrize("loss", ["BPR", "SSM", "gBCE"])
def test_gradients_by_row_are_those_of_the_whole_table(loss: str) -> None:
    found = []
    for by_row in (True, False):
        chosen = settings(**SMALL | {"epochs": 1, "train_batch_size": 10**6}, loss_type=loss, sparse_updates=by_row, next_items=2)
        one = trainer(noise(), chosen)
        list(one.epochs())
        found.append({name: parameter.grad for name, parameter in one.model.named_parameters()})
    for name, gradient in found[0].items():
        assert gradient is not None
        torch.testing.assert_close(gradient.to_dense(), found[1][name], rtol=1e-4, atol=1e-8)


def test_weight_decay_makes_weights_smaller() -> None:
    for learner in ("adam", "adamw", "sgd", "adagrad", "rmsprop"):
        free, decayed = (trained(noise(), learner=learner, weight_decay=decay, learning_rate=0.05) for decay in (0.0, 0.5))
        assert float(weights(decayed)["item.weight"].norm()) < float(weights(free)["item.weight"].norm()), learner


def test_a_step_has_the_size_of_its_middle() -> None:
    found = trained(noise(), epochs=2, train_batch_size=1000, learning_rate=0.1, learning_rate_schedule="linear")
    assert len(found.batches) == 1
    assert [group["lr"] for optimizer in found.optimizers for group in optimizer.param_groups] == pytest.approx([0.1 / 4])


def test_long_gradients_are_cut_to_max_norm() -> None:
    chosen = settings(**SMALL | {"learner": "sgd", "learning_rate": 1.0, "epochs": 1, "train_batch_size": 10**6})
    cut = chosen.model_copy(update={"clip_grad_norm": settings(clip_grad_norm={"max_norm": 0.01}).clip_grad_norm})
    steps = []
    for version in (chosen, cut):
        found = trainer(noise(), version)
        before = weights(found)
        list(found.epochs())
        steps.append(sum(float((value - before[name]).square().sum()) for name, value in weights(found).items()) ** 0.5)
    assert steps[0] > 0.02
    assert steps[1] == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("loss", get_args(Loss))
def test_mixed_precision_trains_and_stays_finite(loss: str, pooling: str) -> None:
    exact = trained(noise(), loss_type=loss, pooling_type=pooling)
    mixed = trained(noise(), loss_type=loss, pooling_type=pooling, enable_amp=True)
    for name, value in weights(mixed).items():
        assert value.dtype == torch.float32
        assert value.isfinite().all(), name
    assert not same_bits(weights(exact), weights(mixed))
    assert mixed.history.epochs[-1]["loss"] == pytest.approx(exact.history.epochs[-1]["loss"], rel=0.02)


@pytest.mark.parametrize("loss", ["CE", "SSM"])
def test_mixed_precision_with_several_next_items(loss: str) -> None:
    assert trained(noise(), loss_type=loss, enable_amp=True, next_items=3).history.epochs[-1]["loss"] < np.log(20) + 0.1


# Around it


class Recorded(TrainingBatches):
    """Batches that remember which epochs were asked for."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.asked: list[int] = []

    def epoch(self, number: int) -> Iterator[Batch]:
        self.asked.append(number)
        return super().epoch(number)


def test_epochs_are_numbered_from_one() -> None:
    interactions, chosen = noise(), settings(**SMALL)
    split = split_interactions(interactions, chosen.eval_args)
    batches = Recorded(interactions, split, window=3, batch_size=100)
    found = Trainer(make_model(interactions, chosen), batches, NegativeSampler(training_counts(interactions, split)), None, chosen)
    assert [entry["epoch"] for entry in found.epochs()] == [1, 2, 3]
    assert batches.asked == [1, 2, 3]


def test_seeds_of_epochs_are_all_different_and_fit_into_63_bits() -> None:
    seeds = {hash_seed(seed, epoch) for seed in (0, 1, 2, 2020, 2**63 - 1) for epoch in range(200)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert 0.3 < sum(seed >= 2**62 for seed in seeds) / 1000 < 0.7


def test_inside_reproducible_draws_depend_on_the_seed_alone() -> None:
    def draw(seed: int) -> list[float]:
        with reproducible(settings(seed=seed), CPU):
            found: list[float] = torch.rand(3).tolist()
            return found

    first = draw(7)
    torch.rand(5)
    assert draw(7) == first != draw(8)


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_reproducible_leaves_nothing_behind(wanted: bool, fails: bool) -> None:
    def switches() -> tuple[bool, bool, bool]:
        filled: bool = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(), filled

    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        before, state = switches(), torch.get_rng_state()
        inside: list[tuple[bool, bool, bool]] = []
        draws: list[Tensor] = []
        for _ in range(2):
            try:
                with reproducible(settings(seed=7, reproducibility=wanted), CPU):
                    inside.append(switches())
                    draws.append(torch.rand(3))
                    if fails:
                        raise RuntimeError
            except RuntimeError:
                assert fails
        assert inside[0] == (wanted, False, False)
        assert torch.equal(draws[0], draws[1])
        assert switches() == before
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_device_is_the_cpu_unless_a_gpu_is_wanted_and_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_device(settings(use_gpu=False)) == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device(settings(use_gpu=True)) == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device(settings(gpu_id="1")) == torch.device("cuda", 1)
    with pytest.raises(SettingsError, match="gpu_id: expected at most 1 on this machine, found 2"):
        pick_device(settings(gpu_id="2"))


# Every setting reaches its use


def test_early_stopping_follows_valid_metric_and_no_other() -> None:
    scores = iter([{"recall@5": 0.1 * number, "ndcg@5": abs(number - 2), "mrr@10": 0.0} for number in range(1, 7)])
    chosen = settings(**SMALL | {"epochs": 6, "valid_metric": "NDCG@5", "stopping_step": 9})
    found = trainer(noise(), chosen, validate=lambda: next(scores))
    list(found.epochs())
    assert (found.history.best_epoch, found.history.best_score) == (6, 4)
    scores = iter([{"recall@5": 0.1 * number, "ginidex@5": 0.0, "giniindex@5": abs(number - 2)} for number in range(1, 7)])
    found = trainer(noise(), settings(**SMALL | {"epochs": 6, "valid_metric": "GiniIndex@5"}), validate=lambda: next(scores))
    list(found.epochs())
    assert (found.history.best_epoch, found.history.best_score) == (2, 0)


@pytest.mark.parametrize(
    "values", [{"loss_type": "BPR"}, {"loss_type": "SSM", "train_neg_sample_args": {"sample_num": 5}}, {"dropout": 0.5}]
)
def test_every_epoch_draws_other_negatives_and_dropout(values: dict[str, Any]) -> None:
    """Of a model that can't move, on batches in the same order, the loss changes by what is drawn alone."""
    still = {"learning_rate": 1e-30, "learner": "sgd", "shuffle": False, "epochs": 3}
    losses = [entry["loss"] for entry in trained(noise(), **still | values).history.epochs]
    assert len(set(losses)) == 3
    assert len({entry["loss"] for entry in trained(noise(), **still).history.epochs}) == 1


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 4.0])
def test_gradients_are_cut_by_the_norm_of_norm_type(norm_type: float) -> None:
    how = {"learner": "sgd", "learning_rate": 1.0, "epochs": 1, "train_batch_size": 10**6}
    found = trainer(noise(), settings(**SMALL | how, clip_grad_norm={"max_norm": 0.01, "norm_type": norm_type}))
    before = weights(found)
    list(found.epochs())
    step = torch.cat([(value - before[name]).flatten().double() for name, value in weights(found).items()])
    assert float(step.norm(norm_type)) == pytest.approx(0.01, rel=1e-2)


@pytest.mark.parametrize("schedule", [{"learning_rate_schedule": "linear"}, {"learning_rate_schedule": "cosine", "warmup_epochs": 1.5}])
def test_the_rate_of_each_step_is_that_of_its_middle(schedule: dict[str, Any]) -> None:
    chosen = settings(**SMALL | schedule | {"epochs": 2, "train_batch_size": 50})
    found = trainer(noise(), chosen)
    rates: list[float] = []
    sizes: list[int] = []

    def after(targets: int) -> None:
        sizes.append(targets)
        rates.append(found.optimizers[0].param_groups[0]["lr"])

    list(found.epochs(after))
    before = np.cumsum([0, *sizes])[:-1]
    middles = (before + np.array(sizes) / 2) / found.batches.targets
    assert len(rates) > 4
    assert rates == pytest.approx([0.01 * rate_factor(chosen, middle) for middle in middles])


def test_seeds_of_epochs_are_splitmix64s() -> None:
    """The first two values of the generator's reference implementation from seed 0, without their last bit."""
    assert [hash_seed(0, epoch) << 1 for epoch in (0, 1)] == [0xE220A8397B1DCDAF & ~1, 0x6E789E6AA1B965F4]
