"""From settings to a trainer: every setting reaches the part that it is for."""

import json
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from gaterec.config.settings import Settings
from gaterec.data.batches import TrainingBatches
from gaterec.data.datasets.simulate import simulate
from gaterec.data.interactions import Interactions
from gaterec.data.split import make_eval_queries, split_interactions, training_events
from gaterec.evaluation.evaluate import evaluate
from gaterec.evaluation.scorer import EncoderScorer
from gaterec.experiments.setup import Prepared, make_batches, make_model, make_trainer, prepare, scorer_for, truth_scorer
from gaterec.models.item_knn import ItemKNN
from gaterec.training.negative_sampling import own_items
from gaterec.training.reproducibility import reproducible
from tests.support.histories import histories, settings

CPU = torch.device("cpu")
BASE: dict[str, Any] = {
    "embedding_size": 4,
    "MAX_ITEM_LIST_LENGTH": 4,
    "train_batch_size": 60,
    "epochs": 2,
    "learning_rate": 0.01,
    "eval_args": {"split": {"RS": [6, 2, 2]}},
}
BPR = {"loss_type": "BPR", "train_neg_sample_args": {"sample_num": 2}}
SHARED = {"train_neg_sample_args": {"sample_num": 8}}


@cache
def frame() -> pl.DataFrame:
    """Twenty users with five to fifteen events each among thirty items, the low numbers chosen most."""
    random = np.random.default_rng(0)
    user = np.repeat(np.arange(20), random.integers(5, 16, 20))
    item = (30 * random.random(len(user)) ** 2).astype(int)
    return pl.DataFrame({"user_id": user, "item_id": item, "timestamp": random.permutation(len(user))}).cast(
        {"user_id": pl.String, "item_id": pl.String}
    )


def ready(**values: Any) -> tuple[Settings, Prepared]:
    chosen = settings(**BASE | values)
    return chosen, prepare(chosen, frame())


@cache
def trained_weights(values: str) -> dict[str, Tensor]:
    """The weights after training with settings that JSON says, beside those of BASE."""
    chosen, prepared = ready(**json.loads(values))
    with reproducible(chosen, CPU):
        trainer = make_trainer(chosen, prepared, CPU)
        list(trainer.epochs())
    return trainer.model.state_dict()


# What is prepared


@pytest.mark.parametrize("target", ["next", "all"])
@pytest.mark.parametrize("split", [{"LS": "valid_and_test"}, {"RS": [6, 2, 2]}, {"TS": [6, 2, 2]}])
def test_the_split_and_the_cases_are_those_that_eval_args_asks_for(split: dict[str, Any], target: str) -> None:
    chosen, prepared = ready(eval_args={"split": split, "target": target})
    expected = split_interactions(prepared.interactions, chosen.eval_args)
    np.testing.assert_array_equal(prepared.split.train_end, expected.train_end)
    np.testing.assert_array_equal(prepared.split.valid_end, expected.valid_end)
    for cases, part in ((prepared.valid, "valid"), (prepared.test, "test")):
        wanted = make_eval_queries(prepared.interactions, expected, part, chosen.eval_args.target)  # type: ignore[arg-type]
        for name in ("user", "position", "relevant", "case"):
            np.testing.assert_array_equal(getattr(cases, name), getattr(wanted, name))
    _, items = training_events(prepared.interactions, expected)
    assert prepared.counts.tolist() == np.bincount(items, minlength=len(prepared.interactions.items)).tolist()
    assert prepared.truth is None


def test_a_frame_comes_before_the_dataset_and_each_step_is_told() -> None:
    told: list[str] = []
    prepared = prepare(settings(**BASE), frame(), told.append)
    assert len(prepared.interactions.item) == len(frame())
    assert told[-1] == "splitting"
    assert len(told) > 1


# What a trainer is made of


OTHERS = {"MAX_ITEM_LIST_LENGTH": 3, "train_batch_size": 4, "next_items": 3, "shuffle": False, "seed": 7}
"""Batches so small that histories are cut, and a row shows how far back a query sees."""


@pytest.mark.parametrize("model", ["HGN", "SASRec"])
def test_the_batches_are_those_of_the_training_part_as_the_settings_ask_for(model: str) -> None:
    own = {} if model == "HGN" else {"hidden_size": 4, "inner_size": 4, "embedding_size": None}
    for shuffle in (True, False):
        values = {name: value for name, value in (BASE | OTHERS | own | {"model": model, "shuffle": shuffle}).items() if value is not None}
        chosen = settings(**values)
        prepared = prepare(chosen, frame())
        expected = TrainingBatches(
            prepared.interactions,
            prepared.split,
            window=3,
            full_context=model == "SASRec",
            batch_size=4,
            next_items=3,
            shuffle=shuffle,
            seed=7,
        )
        found = make_trainer(chosen, prepared, CPU).batches
        assert len(found) == len(expected) > 2
        for batch, wanted in zip(found.epoch(1), expected.epoch(1), strict=True):
            for part in ("users", "items", "positions", "targets"):
                assert torch.equal(getattr(batch, part), getattr(wanted, part)), part


@pytest.mark.parametrize("name", OTHERS)
def test_every_setting_of_the_batches_changes_them(name: str) -> None:
    def contents(chosen: Settings) -> list[list[Any]]:
        return [[batch.items.tolist(), batch.targets.tolist()] for batch in make_batches(chosen, prepared, CPU).epoch(1)]

    chosen, prepared = ready(seed=1, train_batch_size=5)
    assert contents(chosen) == contents(chosen)
    assert contents(chosen) != contents(chosen.model_copy(update={name: OTHERS[name]}))


@pytest.mark.parametrize("may_be_own", [True, False])
@pytest.mark.parametrize("how", [{}, {"distribution": "popularity"}, {"distribution": "popularity", "alpha": 0.5}])
def test_the_sampler_draws_as_the_settings_ask_for(how: dict[str, Any], may_be_own: bool) -> None:
    chosen, prepared = ready(loss_type="BPR", negatives_may_be_own=may_be_own, train_neg_sample_args={"sample_num": 2, **how})
    sampler = make_trainer(chosen, prepared, CPU).sampler
    power = how.get("alpha", 1.0) if how else 0.0
    expected = prepared.counts.double() ** power
    expected[0] = 0
    if how:
        expected[prepared.counts == 0] = 0
    torch.testing.assert_close(sampler.likelihood, expected)
    if may_be_own:
        assert sampler.own is None
    else:
        assert sampler.own is not None
        assert torch.equal(sampler.own, own_items(prepared.interactions, prepared.split))


def test_cross_entropy_looks_for_no_own_items() -> None:
    """It draws no negatives, so a user who chose every item is no error."""
    chosen = settings(**BASE | {"loss_type": "CE", "negatives_may_be_own": False})
    everything = pl.DataFrame({"user_id": ["a"] * 20, "item_id": ["x", "y"] * 10, "timestamp": range(20)})
    assert make_trainer(chosen, prepare(chosen, everything), CPU).sampler.own is None


@pytest.mark.parametrize(
    "changes", [{}, {"repeatable": False}, {"eval_args": {"split": {"RS": [6, 2, 2]}, "mode": {"valid": "uni5", "test": "full"}}}]
)
def test_the_trainer_validates_on_the_validation_part(changes: dict[str, Any]) -> None:
    chosen, prepared = ready(metrics=["NDCG", "AveragePopularity"], topk=[3, 5], **changes)
    trainer = make_trainer(chosen, prepared, CPU)
    trainer.model.eval()
    assert trainer.evaluator is not None
    score = EncoderScorer(trainer.model, prepared.interactions, 4, CPU)
    expected = evaluate(score, prepared.interactions, prepared.valid, chosen, part="valid", counts=prepared.counts)
    assert trainer.evaluator.evaluate() == expected.figures
    assert set(expected.figures) == {"ndcg@3", "ndcg@5", "averagepopularity@3", "averagepopularity@5", "mrr@10"}


def test_without_validation_events_nothing_is_validated() -> None:
    chosen, prepared = ready(eval_args={"split": {"LS": "test_only"}})
    assert make_trainer(chosen, prepared, CPU).evaluator is None


def test_a_scorer_sees_as_many_events_as_the_settings_say() -> None:
    chosen, prepared = ready(MAX_ITEM_LIST_LENGTH=3)
    model = make_model(chosen, prepared, CPU)
    assert scorer_for(model, chosen, prepared, CPU) == EncoderScorer(model, prepared.interactions, 3, CPU)


def test_models_that_count_see_the_training_events_alone() -> None:
    values = {name: value for name, value in BASE.items() if name != "embedding_size"}
    chosen = settings(**values, model="Pop")
    prepared = prepare(chosen, frame())
    _, counts = make_model(chosen, prepared, CPU).item_table()
    assert counts is not None
    assert torch.equal(counts.long(), prepared.counts)
    assert counts.long().tolist() != prepared.interactions.item_counts().tolist()

    chosen = settings(**values, model="ItemKNN", k=5, shrink=1.0)
    expected = ItemKNN(len(prepared.interactions.users), len(prepared.interactions.items), 4, chosen.model_settings)
    expected.fit_counts(prepared.counts, lambda: tuple(map(torch.from_numpy, training_events(prepared.interactions, prepared.split))))  # type: ignore[arg-type,return-value]
    found = make_model(chosen, prepared, CPU)
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_a_model_has_a_row_for_each_user_and_item_and_the_window_of_the_settings() -> None:
    chosen, prepared = ready(MAX_ITEM_LIST_LENGTH=3)
    model = make_model(chosen, prepared, CPU)
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    users, items = len(prepared.interactions.users), len(prepared.interactions.items)
    assert users != items
    assert (shapes["user.weight"], shapes["item.weight"], shapes["instance_user.weight"]) == ((users, 4), (items, 4), (3, 4))


def test_training_goes_on_from_a_state() -> None:
    chosen, prepared = ready()
    with reproducible(chosen, CPU):
        first = make_trainer(chosen, prepared, CPU)
        list(first.epochs())
    again = make_trainer(chosen, prepared, CPU, first.state())
    assert again.finished
    assert all(torch.equal(value, again.model.state_dict()[name]) for name, value in first.model.state_dict().items())


# What training makes of the settings


CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"seed": 5}),
    ({}, {"shuffle": False}),
    ({}, {"epochs": 3}),
    ({}, {"train_batch_size": 30}),
    ({}, {"MAX_ITEM_LIST_LENGTH": 2}),
    ({}, {"next_items": 2}),
    ({}, {"embedding_size": 8}),
    ({}, {"dropout": 0.5}),
    ({}, {"pooling_type": "max"}),
    ({}, {"reg_weight": [0.1, 0.0]}),
    ({}, {"reg_weight": [0.0, 0.1]}),
    ({}, {"learning_rate": 0.02}),
    ({}, {"weight_decay": 0.1}),
    ({}, {"learner": "sgd"}),
    ({}, {"learning_rate_schedule": "linear"}),
    ({"learning_rate_schedule": "linear"}, {"learning_rate_schedule": "cosine"}),
    ({}, {"warmup_epochs": 1.0}),
    ({}, {"clip_grad_norm": {"max_norm": 0.01}}),
    ({"clip_grad_norm": {"max_norm": 0.01}}, {"clip_grad_norm": {"max_norm": 0.01, "norm_type": 1.0}}),
    ({}, {"enable_amp": True}),
    ({}, BPR),
    (BPR, {"train_neg_sample_args": {"sample_num": 3}}),
    (BPR, {"train_neg_sample_args": {"sample_num": 2, "distribution": "popularity"}}),
    (BPR, {"train_neg_sample_args": {"sample_num": 2, "dynamic": True, "candidate_num": 3}}),
    (BPR, {"negatives_may_be_own": False}),
    (BPR, {"sparse_updates": True}),
    ({"loss_type": "SSM", **SHARED}, {"train_neg_sample_args": {"sample_num": 9}}),
    ({"loss_type": "gBCE", **SHARED}, {"gbce_t": 0.1}),
    ({"loss_type": "BPRmax", **SHARED}, {"bprmax_reg": 0.1}),
    ({"loss_type": "BPRmax", **SHARED}, {"loss_type": "TOP1max"}),
]


@pytest.mark.parametrize(("base", "change"), CHANGES, ids=lambda values: ",".join(map(str, values.values())) or "default")
def test_every_setting_of_training_changes_the_trained_model(base: dict[str, Any], change: dict[str, Any]) -> None:
    before, after = (trained_weights(json.dumps(values)) for values in (base, base | change))
    assert any(before[name].shape != value.shape or not torch.equal(before[name], value) for name, value in after.items())


# The best possible scores


def test_the_true_scores_are_those_of_the_history_in_its_order() -> None:
    truth = simulate(people=6, items=80)
    user_ids, item_ids = list(truth.user_ids), list(truth.item_ids)
    random = np.random.default_rng(0)
    taken = [random.permutation(80)[:length].tolist() for length in (3, 9, 5, 2, 7, 4)]
    shuffled = [int(number) for number in random.permutation(80)]
    place = {item: number + 1 for number, item in enumerate(shuffled)}
    plain = histories(*([place[item] for item in history] for history in taken), catalogue=80)
    interactions = Interactions(
        "truth",
        pl.Series(["[unknown]", *reversed(user_ids)]),
        pl.Series(["[padding]", *(item_ids[item] for item in shuffled)]),
        plain.item,
        plain.offsets,
        plain.time,
    )
    score = truth_scorer(truth, interactions, CPU)
    user, position = (
        np.array([1, 2, 2, 5]),
        np.array([plain.offsets[1] + 2, plain.offsets[2] + 8, plain.offsets[2] + 1, plain.offsets[5] + 4]),
    )
    found = score(user, position)
    assert found.shape == (4, 81)
    assert (found[:, 0] == -torch.inf).all()
    for row, (number, at) in enumerate(zip(user.tolist(), position.tolist(), strict=True)):
        before = np.array([taken[number - 1][: at - int(plain.offsets[number])]])
        (expected,) = truth.world.next_distribution(np.array([6 - number]), before)
        assert found[row, 1:].tolist() == pytest.approx(expected[shuffled].tolist(), rel=1e-12)
        (backwards,) = truth.world.next_distribution(np.array([6 - number]), before[:, ::-1])
        assert before.size == 1 or not np.allclose(expected, backwards)
