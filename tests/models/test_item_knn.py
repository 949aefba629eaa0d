"""ItemKNN against dense cosines in NumPy; what it refuses; that it finds tastes."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from gaterec.errors import DataError, SettingsError
from gaterec.models import item_knn
from gaterec.models.item_knn import EXACT, ItemKNN, ItemKNNSettings, nearest
from tests.support.histories import settings

PEOPLE, ITEMS = 30, 25


def events(seed: int = 0, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Who chose what, some of it twice; the last two items are chosen by nobody."""
    random = np.random.default_rng(seed)
    return np.sort(random.integers(1, PEOPLE, count)), random.integers(1, ITEMS - 2, count)


def cosines(people: np.ndarray, items: np.ndarray, shrink: float = 0.0) -> np.ndarray:
    """(V, V), 0 on the diagonal."""
    chose = np.zeros((PEOPLE, ITEMS))
    chose[people, items] = 1
    norm = np.sqrt(chose.sum(0))
    found: np.ndarray = (chose.T @ chose) / np.maximum(norm[:, None] * norm + shrink, 1e-12)
    np.fill_diagonal(found, 0)
    return found


@pytest.fixture(params=[1, 60, 10**6], ids=["an item at a time", "some at a time", "all at once"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_knn, "PAIRS_AT_A_TIME", request.param)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("shrink", [0.0, 5.0])
@pytest.mark.parametrize("k", [1, 4, 23])
def test_the_nearest_are_those_of_dense_cosines(k: int, shrink: float) -> None:
    people, items = events()
    dense = cosines(people, items, shrink).astype(np.float32)
    neighbours, similarity = nearest(people, items, ITEMS, k, shrink)
    for item in range(ITEMS):
        order = np.argsort(-dense[item], kind="stable")[:k]
        expected = dense[item, order]
        np.testing.assert_allclose(similarity[item], expected, rtol=1e-6)
        assert neighbours[item].tolist() == np.where(expected > 0, order, 0).tolist()


def make(k: int = 5, window: int = 6) -> tuple[ItemKNN, np.ndarray]:
    """A model that has counted, and (V, V): what each event of a column adds to the score of a row."""
    people, items = events()
    model = ItemKNN(PEOPLE, ITEMS, window, ItemKNNSettings(k=k))
    model.fit_counts(torch.zeros(ITEMS), lambda: (torch.from_numpy(people), torch.from_numpy(items)))
    adds = np.zeros((ITEMS, ITEMS))
    for item, row in enumerate(cosines(people, items)):
        kept = np.argsort(-row.astype(np.float32), kind="stable")[:k]
        adds[item, kept] = row[kept]
    return model, adds


def histories() -> Tensor:
    items = torch.from_numpy(np.random.default_rng(3).integers(1, ITEMS, (4, 15)))
    items[:, 7] = items[:, 6]  # something comes twice in a window
    items[3, 9:] = 0
    return items


@pytest.mark.parametrize("k", [1, 5, 100])
def test_scores_are_sums_of_similarities_over_the_distinct_events_of_the_window(k: int) -> None:
    (model, adds), items = make(k), histories()
    scores = model.scores(model(torch.arange(4), items))
    assert (scores[..., 0] == -torch.inf).all()
    for row in range(4):
        for t in range(15 if row < 3 else 9):
            window = sorted(set(items[row, max(t - 5, 0) : t + 1].tolist()))
            np.testing.assert_allclose(scores[row, t, 1:].numpy(), adds[1:, window].sum(1), rtol=1e-5, atol=1e-7)


def test_the_counted_is_saved_and_copied() -> None:
    model, _ = make()
    assert set(model.state_dict()) == {"neighbours", "similarity"}
    loaded = ItemKNN(PEOPLE, ITEMS, 6, ItemKNNSettings(k=5))
    loaded.load_state_dict(model.state_dict())
    queries = model(torch.arange(4), histories())
    for other in (loaded, copy.deepcopy(loaded)):
        assert torch.equal(other.scores(queries), model.scores(queries))


def test_a_copy_that_is_loaded_anew_leaves_the_first_alone() -> None:
    model, _ = make()
    queries = model(torch.arange(4), histories())
    before = model.scores(queries)
    other = copy.deepcopy(model)
    other.load_state_dict({name: torch.zeros_like(value) for name, value in model.state_dict().items()})
    assert not other.scores(queries)[..., 1:].any()
    assert torch.equal(model.scores(queries), before)


def test_nothing_counted_scores_all_alike() -> None:
    model = ItemKNN(2, 2, 3, ItemKNNSettings())
    model.fit_counts(torch.zeros(2), lambda: (torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)))
    assert model.scores(model(torch.tensor([1]), torch.tensor([[1, 1]]))).tolist() == [[[-torch.inf, 0.0]] * 2]


def test_it_finds_tastes() -> None:
    """Two groups of people with no item in common: what the others chose never comes up, however popular it is."""
    people = np.repeat(np.arange(1, 21), 4)
    items = np.concatenate([np.random.default_rng(person).permutation(6)[:4] + 1 + 6 * (person % 4 > 0) for person in range(1, 21)])
    model = ItemKNN(21, 13, 4, ItemKNNSettings())
    model.fit_counts(torch.zeros(13), lambda: (torch.from_numpy(people), torch.from_numpy(items)))
    scores = model.scores(model(torch.tensor([0, 0]), torch.tensor([[1, 2], [8, 9]])))[:, 1, 1:]
    assert scores[0, :6].min() > 0
    assert scores[1, 6:].min() > 0
    assert not scores[0, 6:].any()
    assert not scores[1, :6].any()


def test_a_catalogue_whose_numbers_are_not_exact_is_refused() -> None:
    with torch.device("meta"), pytest.raises(DataError, match="ItemKNN: expected at most 16,777,215 items, found 16,777,216"):
        ItemKNN(2, EXACT + 1, 3, ItemKNNSettings())


def test_it_is_counted_and_takes_no_loss_and_no_user_neighbours() -> None:
    assert settings(model="ItemKNN").model_settings == ItemKNNSettings(k=100, shrink=0.0, knn_method="item")
    with pytest.raises(SettingsError, match="loss_type: ItemKNN is counted and not trained, so no loss fits it"):
        settings(model="ItemKNN", loss_type="BPR")
    with pytest.raises(SettingsError, match="config_dict: knn_method: expected item, found user: "):
        settings(model="ItemKNN", knn_method="user")
