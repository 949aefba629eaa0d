"""The simulated log is what it says it is: repeatable, drawn from the distribution it names, and with three parts that each matter."""

import inspect
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from gaterec.data.datasets.simulate import Floats, Ints, Simulation, Weights, World, draw_histories, simulate, titles
from gaterec.errors import DataError


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate()


@pytest.fixture(scope="module")
def histories(simulation: Simulation) -> list[Ints]:
    """Item numbers in the order of time, one array per person."""
    people = simulation.log.events.sort("user_id", "timestamp").group_by("user_id", maintain_order=True).agg("item_id")
    return [simulation.item_index(items) for items in people["item_id"]]


@pytest.fixture
def small_world() -> World:
    """Two genres of three items, four people."""
    return World(
        taste=np.array([[0.9, 0.1], [0.5, 0.5], [0.0, 1.0], [1.0, 0.0]]),
        genre=np.array([0, 0, 0, 1, 1, 1]),
        popularity=np.array([0.5, 0.3, 0.2, 0.6, 0.3, 0.1]),
        sequel=np.array([1, 2, 3, 4, 5, 0]),
        weights=Weights(taste=0.3, intent=0.2, sequel=0.4, noise=0.1),
        reach=3,
        decay=0.5,
    )


def by_definition(world: World, person: int, history: list[int]) -> list[float]:
    """The mixture as the file's first lines write it, one item and one event at a time."""
    latest = history[::-1][: world.reach]
    total = sum(world.decay**k for k in range(len(latest)))
    weights = world.weights if history else Weights(1 - world.weights.noise, 0, 0, world.weights.noise)
    scores = []
    for item, genre in enumerate(world.genre):
        score = weights.taste * world.taste[person, genre] * world.popularity[item] + weights.noise / len(world.genre)
        for k, event in enumerate(latest):
            r = world.decay**k / total
            score += weights.intent * r * (world.genre[event] == genre) * world.popularity[item]
            score += weights.sequel * r * (world.sequel[event] == item)
        scores.append(0.0 if item in history else float(score))
    return [score / sum(scores) for score in scores]


def left_padded(histories: list[Ints], width: int) -> Ints:
    return np.stack([np.append(np.full(width - len(history), -1), history) for history in histories])


def recall_at_10(scores: Floats, target: Ints) -> float:
    own = scores[np.arange(len(target)), target][:, None]
    return float(((scores > own).sum(axis=1) < 10).mean())


def test_same_seed_same_log_other_seed_other_log() -> None:
    first, again, other = (simulate(seed, people=50, items=80) for seed in (1, 1, 2))
    assert first.log.events.equals(again.log.events)
    assert not first.log.events.equals(other.log.events)
    assert first.log.items is not None
    assert again.log.items is not None
    assert first.log.items.equals(again.log.items)


def test_first_rows_are_those_of_the_docstring(simulation: Simulation) -> None:
    shown = (simulate.__doc__ or "").split("timestamp\n")[1].split("\n\n")[0]
    rows = [line.split() for line in inspect.cleandoc(shown).splitlines()][:5]
    assert [[str(value) for value in row] for row in simulation.log.events.head(5).rows()] == rows


def test_sizes_and_types(simulation: Simulation, histories: list[Ints]) -> None:
    log, world = simulation.log, simulation.world
    assert log.events.schema == {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64}
    assert len(simulation.user_ids) == len(world.taste) == len(histories) == 2000
    assert len(simulation.item_ids) == len(world.genre) == 480
    lengths = [len(history) for history in histories]
    assert (min(lengths), max(lengths)) == (12, 80)
    assert 30 <= np.median(lengths) <= 40
    assert np.bincount(np.concatenate(histories), minlength=480).min() >= 40  # every item can be learned


def test_time_rises_within_each_person_and_along_the_log(simulation: Simulation) -> None:
    events = simulation.log.events
    assert events["timestamp"].is_sorted()
    gaps = events.sort("user_id", "timestamp").select(pl.col("timestamp").diff().over("user_id")).to_series().drop_nulls()
    assert gaps.min() == 1
    assert 0.1 < np.mean(gaps.to_numpy() > 3600) < 0.2  # between two sessions


def test_nobody_takes_an_item_twice(simulation: Simulation) -> None:
    assert not simulation.log.events.select("user_id", "item_id").is_duplicated().any()


def test_the_world_is_well_formed(simulation: Simulation) -> None:
    world = simulation.world
    np.testing.assert_allclose(world.taste.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.bincount(world.genre, world.popularity), 1.0)
    assert sum(world.weights) == pytest.approx(1.0)
    item, chain = 0, set()
    while item not in chain:
        chain.add(item)
        item = int(world.sequel[item])
    assert chain == set(range(len(world.genre)))  # one cycle through the whole catalogue


def test_items_and_users_have_words(simulation: Simulation) -> None:
    items, users = simulation.log.items, simulation.log.users
    assert items is not None
    assert users is not None
    assert items["item_id"].to_list() == list(simulation.item_ids)
    assert items.row(0) == ("i0001", "Quiet Harbour I", "Sea")
    assert len(set(titles(10_000))) == 10_000
    assert users["user_id"].to_list() == list(simulation.user_ids)


def test_ids_lead_to_rows(simulation: Simulation) -> None:
    np.testing.assert_array_equal(simulation.person_index(["u0001", "u2000", "u0001"]), [0, 1999, 0])
    np.testing.assert_array_equal(simulation.item_index(pl.Series(["i0480", "i0001"])), [479, 0])
    with pytest.raises(KeyError, match="i9999"):
        simulation.item_index(["i9999"])


def test_a_catalogue_too_small_for_the_genres_is_refused() -> None:
    with pytest.raises(DataError, match="items >= 80, found 5 and 79"):
        simulate(people=5, items=79)


def test_rows_are_distributions(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    people = rng.integers(0, 2000, 300)
    recent = np.stack([rng.permutation(480)[:60] for _ in people])
    recent[np.arange(60) < rng.integers(0, 61, (300, 1))] = -1  # anything from no event to sixty
    probability = simulation.world.next_distribution(people, recent)
    assert probability.shape == (300, 480)
    assert (probability >= 0).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1.0)


@pytest.mark.parametrize("history", [[], [3], [0, 1], [5, 0, 2], [4, 1, 5, 0], [0, 1, 2, 3, 4]])
def test_next_distribution_equals_its_definition(small_world: World, history: list[int]) -> None:
    people = np.arange(4)
    expected = [by_definition(small_world, person, history) for person in range(4)]
    recent = np.tile(np.array(history, dtype=np.int64), (4, 1))
    padded = np.tile(np.array([-1, -1, *history]), (4, 1))
    np.testing.assert_allclose(small_world.next_distribution(people, recent), expected, atol=1e-12)
    np.testing.assert_allclose(small_world.next_distribution(people, padded), expected, atol=1e-12)


def test_draws_follow_the_distribution(small_world: World) -> None:
    """Chi-square of the third event given the first two, summed over all pairs that are common enough."""
    world = replace(small_world, taste=np.tile([0.7, 0.3], (60_000, 1)))
    drawn = draw_histories(np.random.Generator(np.random.PCG64(5)), world, np.full(60_000, 3))
    chi_square, freedom = 0.0, 0
    for pair in np.unique(drawn[:, :2], axis=0):
        third = drawn[(drawn[:, :2] == pair).all(axis=1), 2]
        expected = len(third) * world.next_distribution(np.array([0]), pair[None, :])[0]
        possible = expected > 0
        observed = np.bincount(third, minlength=6)
        assert not observed[~possible].any()
        if expected[possible].min() >= 5:
            chi_square += float((((observed - expected) ** 2)[possible] / expected[possible]).sum())
            freedom += int(possible.sum()) - 1
    assert freedom >= 60
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("part", ["taste", "intent", "sequel"])
def test_each_part_matters(simulation: Simulation, histories: list[Ints], part: str) -> None:
    """Knowing all but one part of the truth costs at least 0.02 of Recall@10 (four standard errors), popularity alone far more."""
    target = np.array([history[-1] for history in histories])
    before = [history[:-1] for history in histories]
    people, recent = np.arange(len(histories)), left_padded(before, 80)
    world = simulation.world
    best = recall_at_10(world.next_distribution(people, recent), target)

    weights = world.weights._replace(**{part: 0.0})
    without = replace(world, weights=Weights(*(weight / sum(weights) for weight in weights)))
    counts = np.bincount(np.concatenate(before), minlength=480).astype(np.float64)
    assert 0.6 < best < 0.75
    assert recall_at_10(without.next_distribution(people, recent), target) < best - 0.02
    assert recall_at_10(np.tile(counts, (len(people), 1)), target) < best / 5
