"""What is told before a long run."""

import pytest
import torch

from gaterec.experiments.setup import make_trainer, prepare
from gaterec.training import estimate as preflight
from gaterec.training.estimate import TrainingEstimate, held, lines
from gaterec.training.losses import form
from gaterec.training.trainer import Trainer
from tests.support.histories import settings


def trainer(**changed: object) -> Trainer:
    chosen = settings(show_progress=False, eval_step=0, **changed)
    return make_trainer(chosen, prepare(chosen, None), torch.device("cpu"))


@pytest.fixture
def small() -> Trainer:
    return trainer(epochs=7, embedding_size=4)


def test_it_tells_what_there_is_to_do(small: Trainer) -> None:
    todo, choice = lines(small, 90.0)
    parameters = sum(parameter.numel() for parameter in small.model.parameters())
    for part in (f"{len(small.batches.user):,} rows", f"{small.batches.targets:,} targets", f"{parameters:,} parameters", "90 s an epoch"):
        assert part in todo
    assert "10 min for 7 epochs" in todo
    assert "CE over all 480 items in one sweep" in choice
    assert "CE touches every row" in choice


def test_it_speaks_once_and_only_before_a_long_run(small: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    for long, expected in ((0.0, 2), (1e9, 0)):
        monkeypatch.setattr(preflight, "LONG", long)
        said: list[str] = []
        watch = TrainingEstimate(small, said.append)
        for _ in range(3 * preflight.STEPS):
            watch.step(2048)
        assert len(said) == expected


def test_where_an_epoch_is_one_step_that_step_is_measured() -> None:
    said: list[str] = []
    watch = TrainingEstimate(trainer(epochs=10**6, train_batch_size=10**6), said.append)
    watch.begin -= 100
    watch.step(71_349)
    assert "about 100 s an epoch" in said[0]


def test_memory_is_weights_twice_gradients_and_two_moments(small: Trainer) -> None:
    next(small.epochs())
    weights = 4 * sum(parameter.numel() for parameter in small.model.parameters())
    assert 5 * weights <= held(small) < 5.1 * weights  # and a step count for each


def test_rows_alone_have_gradients_where_tables_are_updated_by_row() -> None:
    by_row, whole = (trainer(epochs=1, loss_type="BPR", train_batch_size=200, sparse_updates=choice) for choice in (True, False))
    for each in (by_row, whole):
        next(each.epochs())
    assert held(by_row) < held(whole)


@pytest.mark.parametrize(
    ("loss", "items", "words"),
    [
        ("CE", 100_001, "two sweeps"),
        ("CE", 1_000, "one sweep"),
        ("BPR", 1_000, "BPR against 5 of 1,000 items for each target"),
        ("SSM", 1_000, "SSM against 5 of 1,000 items, the same for a whole step"),
    ],
)
def test_the_form_of_a_loss_in_words(loss: str, items: int, words: str) -> None:
    assert words in form(loss, items, 5)
