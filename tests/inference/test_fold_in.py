"""Vectors of people who are new: they are what the formula says, and the same wherever somebody new is answered."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import gaterec
from gaterec.inference import fold_in
from gaterec.inference.fold_in import FoldIn
from gaterec.inference.recommender import Recommender, load
from gaterec.models import MODELS, model_class
from gaterec.models.encoder import SequenceEncoder
from gaterec.training.losses import sampled_softmax
from tests.support.commands import write_log
from tests.support.models import ITEMS, histories, make

KNOWING = [name for name in MODELS if type(make(name)).user_table is not SequenceEncoder.user_table]
"""The models that know people by vectors which may be given."""


def events(*lengths: int) -> list[np.ndarray]:
    dice = np.random.default_rng(0)
    return [dice.integers(1, ITEMS, length).astype(np.int32) for length in lengths]


def plain(model: SequenceEncoder, history: np.ndarray) -> Tensor:
    """(D,) the formula, for one person."""
    table, (weight, bias) = model.user_table(), model.item_table()
    assert table is not None
    people, recent = table.detach()[1:], torch.from_numpy(history[-fold_in.EVENTS - 1 :]).long()
    person = people.mean(0).requires_grad_()
    queries = model.encode(person[None], recent[None, :-1])[0]
    scores = queries @ weight.T + (0.0 if bias is None else bias)
    loss = -scores[:, 1:].log_softmax(1).gather(1, recent[1:, None] - 1).sum()
    (gradient,) = torch.autograd.grad(loss, person)
    prior = fold_in.PRIOR / people.var(0, correction=0)
    return person.detach() - gradient / (prior + len(queries) * weight[1:].var(0, correction=0))


def test_hgn_is_among_those_who_know_people() -> None:
    assert "HGN" in KNOWING


@pytest.mark.parametrize("name", KNOWING)
def test_given_vectors_stand_for_numbers(name: str) -> None:
    model, (users, items) = make(name), histories()
    table = model.user_table()
    assert table is not None
    torch.testing.assert_close(model.encode(table[users], items), model(users, items))
    torch.testing.assert_close(model.user_vectors(users), table[users])


@pytest.mark.parametrize("name", KNOWING)
def test_the_vector_is_one_step_from_the_mean(name: str) -> None:
    model = make(name).double()
    people = events(2, 9, 30, 80)
    found = FoldIn(model, 0)(people)
    for row, history in zip(found, people, strict=True):
        torch.testing.assert_close(row, plain(model, history), rtol=1e-9, atol=1e-9)


def test_without_a_next_item_it_is_the_mean() -> None:
    model = make("HGN")
    table = model.user_table()
    assert table is not None
    for people in (events(1), events(1, 0), events(0)):
        torch.testing.assert_close(FoldIn(model, 0)(people), table[1:].mean(0).expand(len(people), -1))
    with_another = FoldIn(model, 0)(events(1, 9))
    torch.testing.assert_close(with_another[0], table[1:].mean(0))


def test_nobody_depends_on_who_else_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_in, "AT_A_TIME", 3)
    model = make("HGN").double()
    people = events(5, 60, 2, 1, 17, 33, 8)
    one_by_one = torch.cat([FoldIn(model, 0)([history]) for history in people])
    torch.testing.assert_close(FoldIn(model, 0)(people), one_by_one, rtol=1e-9, atol=1e-9)
    with torch.inference_mode():
        torch.testing.assert_close(FoldIn(model, 0)(people), one_by_one, rtol=1e-9, atol=1e-9)


def test_of_a_large_catalogue_some_items_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("HGN")
    people = events(30)
    whole = FoldIn(model, 0)(people)[0]
    monkeypatch.setattr(fold_in, "DRAWN", ITEMS - 1)
    found = torch.stack([FoldIn(model, seed)(people)[0] for seed in range(20)])
    assert found[0].equal(FoldIn(model, 0)(people)[0])
    assert not found[0].equal(found[1])
    start = FoldIn(model, 0).mean
    assert torch.cosine_similarity(found.mean(0) - start, whole - start, dim=0) > 0.95


def test_a_lonely_person_in_training_teaches_nothing_of_others() -> None:
    kind = model_class("HGN")
    for users in (1, 2):
        model = kind(users, ITEMS, 4, kind.Settings()).eval()
        assert FoldIn(model, 0)(events(9)).isfinite().all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fold_in")
    small = {"embedding_size": 8, "MAX_ITEM_LIST_LENGTH": 4, "epochs": 3, "state": "WARNING", "checkpoint_dir": str(place)}
    return Path(gaterec.run("HGN", write_log(place / "log.csv"), config_dict=small)["folder"])


def test_somebody_new_is_the_same_to_recommend_score_and_explain(folder: Path) -> None:
    recommender = load(folder)
    history = ["i3", "i5", "i4", "i7", "i6", "i3", "i8"]
    frame = recommender.recommend(["somebody new"], k=3, histories=[history])
    assert recommender.score("somebody new", frame["item"], history) == pytest.approx(frame["score"].to_list(), abs=1e-6)
    (answer,) = recommender.answer([recommender.request("somebody new", history, k=3)])
    assert answer.scores.tolist() == pytest.approx(frame["score"].to_list(), abs=1e-6)
    for item, score in frame.select("item", "score").iter_rows():
        found = recommender.explain("somebody new", item, history)
        assert found.score == pytest.approx(score, abs=1e-6)
        assert found.as_frame()["value"].sum() == pytest.approx(score, abs=1e-5)
        assert found.lasting
    (person,) = recommender.request_users(None, [history])
    assert recommender.fold_in is not None
    expected = recommender.model.encode(recommender.fold_in([person.items]), torch.from_numpy(person.items[-4:])[None])
    torch.testing.assert_close(recommender.queries([person])[0], expected[0, -1], rtol=1e-5, atol=1e-6)


def test_it_can_be_turned_off_and_changes_nobody_known(folder: Path) -> None:
    folded, plain_run = load(folder), load(folder, fold_in=False)
    assert plain_run.fold_in is None
    history = ["i3", "i5", "i4"]
    (person,) = plain_run.request_users(None, [history])
    zeros = plain_run.model(torch.tensor([0]), torch.from_numpy(person.items)[None])[0, -1]
    torch.testing.assert_close(plain_run.queries([person])[0], zeros, rtol=1e-5, atol=1e-6)
    assert not folded.queries([person]).allclose(plain_run.queries([person]), atol=1e-4)
    assert plain_run.explain(None, "i1", history).lasting == 0
    known = folded.users["user_id"][1:].to_list()
    assert folded.recommend(known).equals(plain_run.recommend(known))


def test_people_at_once_are_those_one_by_one(folder: Path) -> None:
    recommender = load(folder)
    users, asked = ["u1", None, "u2", "new", None], [[], ["i1", "i2"], [], ["i3", "i4", "i5", "i6", "i7"], ["i9"]]
    people = [recommender.request_users(None if user is None else [user], [history])[0] for user, history in zip(users, asked, strict=True)]
    alone = torch.cat([recommender.queries([person]) for person in people])
    torch.testing.assert_close(recommender.queries(people), alone, rtol=1e-5, atol=1e-6)
    lists, _ = recommender.best(people, 5, seen=False)
    assert lists.tolist() == [recommender.best([person], 5, seen=False)[0][0].tolist() for person in people]


def test_a_model_that_knows_nobody_folds_nobody_in(tmp_path: Path) -> None:
    small = {"MAX_ITEM_LIST_LENGTH": 4, "epochs": 1, "state": "WARNING", "checkpoint_dir": str(tmp_path)}
    recommender: Recommender = load(gaterec.run("SASRec", write_log(tmp_path / "log.csv"), config_dict=small)["folder"])
    assert recommender.fold_in is None
    assert len(recommender.recommend(histories=[["i1"]], k=3)) == 3


@pytest.mark.parametrize("drawn", [3, 11])
def test_of_a_large_catalogue_the_vector_is_what_sampled_softmax_leads_to(drawn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_in, "DRAWN", drawn)
    model, (history,) = make("HGN").double(), events(9)
    table, (weight, bias) = model.user_table(), model.item_table()
    assert table is not None
    fold = FoldIn(model, 5)
    assert fold.drawn is not None
    assert fold.drawn.shape == (drawn,)
    user, items = table.detach()[1:].mean(0).requires_grad_(), torch.from_numpy(history).long()
    queries = model.encode(user[None], items[None, :-1])[0]
    expected = torch.full((drawn,), drawn / (ITEMS - 1), dtype=torch.float64).log()  # how often each item is drawn, padding never
    loss = 8 * sampled_softmax(queries, items[1:, None], fold.drawn, expected, weight, bias)
    (gradient,) = torch.autograd.grad(loss, user)
    plain = user.detach() - gradient / (fold.prior + 8 * fold.curvature)
    torch.testing.assert_close(fold([history])[0], plain, rtol=1e-6, atol=1e-6)
