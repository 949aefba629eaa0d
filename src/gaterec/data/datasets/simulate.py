"""A simulated log whose true next-item distribution is known, so that the best possible score stands beside a model's.

The catalogue is made of series ("Quiet Harbour I", "II", ...) that belong to genres. What a person u takes next, after the
events e_1 (the latest), e_2, ..., is drawn from a mixture of four parts:

    P(j | u, e) ~ w_taste  * taste[u, genre(j)] * pop(j)                    long-term taste
                + w_intent * sum_k r_k [genre(e_k) = genre(j)] * pop(j)     short-term intent
                + w_sequel * sum_k r_k [sequel(e_k) = j]                    item to item
                + w_noise  / number of items                                chance

for every j not taken before; nobody takes an item twice, as nobody rates a film twice. pop(j) is the popularity of j within its
genre, and r_k says how much the k-th latest event still counts: proportional to decay^(k-1) for k <= reach, and 0 beyond.
The three parts are what HGN's score adds up: the person, the gated average of the recent events, the item-item sum.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gaterec.data.log import Log
from gaterec.errors import DataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SERIES_LENGTH = 4
NUMERALS = ("I", "II", "III", "IV")
ADJECTIVES = (
    *("Quiet", "Golden", "Distant", "Broken", "Hidden", "Silver", "Restless", "Frozen", "Burning", "Gentle", "Hollow", "Wandering"),
    *("Crimson", "Forgotten", "Little", "Endless", "Velvet", "Stubborn", "Borrowed", "Electric", "Northern", "Patient", "Wild"),
)
NOUNS = {
    "Sea": ("Harbour", "Tide", "Lighthouse", "Anchor", "Reef", "Sailor"),
    "Crime": ("Alibi", "Witness", "Verdict", "Inspector", "Ransom", "Motive"),
    "Space": ("Comet", "Orbit", "Nebula", "Moon", "Signal", "Pilot"),
    "Fantasy": ("Dragon", "Wizard", "Crown", "Tower", "Prophecy", "Sword"),
    "Romance": ("Kiss", "Letter", "Promise", "Wedding", "Heart", "Summer"),
    "Western": ("Saddle", "Canyon", "Sheriff", "Stagecoach", "Prairie", "Outlaw"),
    "Horror": ("Crypt", "Scream", "Attic", "Shadow", "Grave", "Mirror"),
    "Comedy": ("Uncle", "Parrot", "Holiday", "Neighbour", "Pyjamas", "Pudding"),
    "War": ("Trench", "Medal", "Bugle", "Convoy", "Siege", "Truce"),
    "History": ("Empire", "Castle", "Emperor", "Chronicle", "Dynasty", "Treaty"),
    "Nature": ("Forest", "River", "Heron", "Meadow", "Glacier", "Fox"),
    "Music": ("Sonata", "Drummer", "Violin", "Chorus", "Ballad", "Encore"),
    "Sport": ("Marathon", "Goalkeeper", "Rally", "Champion", "Regatta", "Sprint"),
    "Food": ("Kitchen", "Orchard", "Pepper", "Bakery", "Banquet", "Lemon"),
    "Travel": ("Road", "Station", "Passport", "Desert", "Caravan", "Island"),
    "Spies": ("Cipher", "Agent", "Embassy", "Dossier", "Courier", "Mole"),
    "Family": ("Cousin", "Garden", "Birthday", "Grandmother", "Cradle", "Picnic"),
    "Science": ("Atom", "Theorem", "Fossil", "Telescope", "Molecule", "Paradox"),
    "Magic": ("Conjuror", "Spell", "Lantern", "Cauldron", "Raven", "Charm"),
    "School": ("Teacher", "Blackboard", "Recess", "Exam", "Dormitory", "Library"),
}


class Weights(NamedTuple):
    """How much each part of the mixture counts; they add up to 1."""

    taste: float = 0.34
    intent: float = 0.18
    sequel: float = 0.45
    noise: float = 0.03


@dataclass(frozen=True)
class World:
    """The truth behind a simulated log.

    Attributes:
        taste: each person's lasting liking for each genre, (U, G); rows add up to 1.
        genre: each item's genre, (I,), in 0..G-1.
        popularity: each item's share of its own genre, (I,); the items of a genre add up to 1.
        sequel: the one item that follows each item, (I,); a permutation.
        weights: of taste, intent, sequel and noise.
        reach: how many of the latest events count.
        decay: how much less each earlier event counts than the one after it, in (0, 1].
    """

    taste: Floats
    genre: Ints
    popularity: Floats
    sequel: Ints
    weights: Weights = field(default_factory=Weights)
    reach: int = 4
    decay: float = 0.25

    def next_distribution(self, people: Ints, recent: Ints) -> Floats:
        """The probability of every item to be the next one.

        Args:
            people: row numbers of `taste`, (N,).
            recent: the items that each person has taken so far, (N, m), the latest LAST, -1 where there is none.
                Only the last `reach` columns call for anything; the others say what won't be taken again.

        Returns:
            (N, I); rows add up to 1. Someone without events has taste (and chance) alone.
        """
        latest = recent[:, -self.reach :]  # (N, k)
        count, width = latest.shape
        rows = np.arange(count)
        share = np.where(latest >= 0, self.decay ** np.arange(width)[::-1], 0.0)  # (N, k)
        total = share.sum(axis=1, keepdims=True)  # (N, 1)
        share /= np.where(total > 0, total, 1.0)

        # One column at a time: within a column no row occurs twice, so that += adds every event. Where there is none, it adds 0.
        intent = np.zeros((count, self.taste.shape[1]))  # (N, G)
        for column in range(width):
            intent[rows, self.genre[latest[:, column]]] += share[:, column]

        weights, taste = self.weights, self.taste[people]
        genres = np.where(total > 0, weights.taste * taste + weights.intent * intent, (1 - weights.noise) * taste)  # (N, G)
        result = genres @ self._popularity_by_genre() + weights.noise / len(self.genre)  # (N, I)
        for column in range(width):
            result[rows, self.sequel[latest[:, column]]] += weights.sequel * share[:, column]

        taken_by, position = np.nonzero(recent >= 0)
        result[taken_by, recent[taken_by, position]] = 0.0
        return np.asarray(result / result.sum(axis=1, keepdims=True), dtype=np.float64)

    def _popularity_by_genre(self) -> Floats:
        """P(item | genre), (G, I)."""
        return np.where(self.genre == np.arange(self.taste.shape[1])[:, None], self.popularity, 0.0)


@dataclass(frozen=True)
class Simulation:
    """A log and the world that it was drawn from; `user_ids[r]` is row r of `world.taste`, `item_ids[i]` is item i."""

    log: Log
    world: World
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]

    def person_index(self, ids: Iterable[str]) -> Ints:
        """Row numbers in `world.taste`, (N,); a KeyError names an id that isn't there."""
        return _positions(self.user_ids, ids)

    def item_index(self, ids: Iterable[str]) -> Ints:
        """Item numbers in the world, (N,); a KeyError names an id that isn't there."""
        return _positions(self.item_ids, ids)


def simulate(seed: int = 2020, people: int = 2000, items: int = 480) -> Simulation:
    """Draw a world and its log of 12 to 80 events per person, in the order of time. The same arguments give the same log:

    user_id  item_id  timestamp
    u1541    i0437    1577850654
    u1541    i0438    1577851000
    u1016    i0004    1577893732
    u1016    i0105    1577893820
    u1541    i0439    1577900217
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    world = make_world(rng, people, items)
    lengths = np.clip(np.rint(35 * np.exp(0.5 * rng.standard_normal(people))), 12, 80).astype(np.int64)
    histories = draw_histories(rng, world, lengths)  # (U, T)
    times = draw_times(rng, *histories.shape)  # (U, T)

    user_ids, item_ids = _ids("u", people), _ids("i", items)
    person, step = np.nonzero(histories >= 0)
    events = pl.DataFrame(
        {
            "user_id": np.array(user_ids)[person],
            "item_id": np.array(item_ids)[histories[person, step]],
            "timestamp": times[person, step],
        }
    ).sort("timestamp", "user_id")
    genres = np.array(list(NOUNS))
    users = pl.DataFrame({"user_id": user_ids, "favourite_genre": genres[world.taste.argmax(axis=1)]})
    catalogue = pl.DataFrame({"item_id": item_ids, "title": titles(items), "genre": genres[world.genre]})
    return Simulation(Log("demo", f"simulate(seed={seed})", events, users, catalogue), world, user_ids, item_ids)


def make_world(rng: np.random.Generator, people: int, items: int) -> World:
    """Tastes in two or three genres each, a Zipf-like popularity within each genre, and sequels that form one long cycle.

    Item i is instalment i % 4 of series i // 4, and the series go round the genres. An instalment leads to the next one, the
    last to the first of some other series, so that one thing leads to another within a genre and beyond.
    """
    genres = len(NOUNS)
    if people < 1 or items < genres * SERIES_LENGTH:
        raise DataError(f"simulate: expected people >= 1 and items >= {genres * SERIES_LENGTH}, found {people} and {items}")
    series = np.arange(items) // SERIES_LENGTH
    genre = series % genres
    popularity = np.empty(items)
    for number in range(genres):
        members = genre == number
        zipf = 1.0 / (1 + rng.permutation(members.sum()))
        popularity[members] = zipf / zipf.sum()

    order = rng.permutation(series[-1] + 1)  # the cycle: order[k] leads to order[k + 1]
    following = np.empty_like(order)
    following[order] = np.roll(order, -1)
    last_of_series = np.append(series[1:] != series[:-1], True)
    sequel = np.where(last_of_series, following[series] * SERIES_LENGTH, np.arange(items) + 1)
    return World(rng.dirichlet(np.full(genres, 0.08), people), genre, popularity, sequel)


def draw_histories(rng: np.random.Generator, world: World, lengths: Ints) -> Ints:
    """Draw `lengths[u]` events for every person u from the true distribution; (U, longest), -1 after the end.

    All people take their t-th step together: the loop is over steps, never over people.
    """
    histories = np.full((len(lengths), lengths.max(initial=0)), -1, dtype=np.int64)
    for step in range(histories.shape[1]):
        people = np.flatnonzero(lengths > step)
        histories[people, step] = _draw(rng, world.next_distribution(people, histories[people, :step]))
    return histories


def draw_times(rng: np.random.Generator, people: int, steps: int) -> Ints:
    """Seconds since 1970, (people, steps), rising along each row: minutes within a session, days between two sessions."""
    day = 86_400
    start = 1_577_836_800 + rng.integers(0, 365 * day, (people, 1))  # some time in 2020
    pause = rng.random((people, steps)) < 0.15
    gap = np.where(pause, 4 * day, 300) * rng.standard_exponential((people, steps))
    return np.asarray(start + np.cumsum(1 + gap.astype(np.int64), axis=1), dtype=np.int64)


def titles(items: int) -> list[str]:
    """One title per item, all different while a genre has fewer than 138 series: "Quiet Harbour I", "Quiet Harbour II", ..."""
    genres = list(NOUNS.values())
    result = []
    for item in range(items):
        series, instalment = divmod(item, SERIES_LENGTH)
        turn, genre = divmod(series, len(genres))
        # 6 nouns and 23 adjectives have no common divisor: turning both wheels by one meets every pair once
        adjective = ADJECTIVES[(turn + 5 * genre) % len(ADJECTIVES)]
        noun = genres[genre][turn % len(genres[genre])]
        result.append(f"{adjective} {noun} {NUMERALS[instalment]}")
    return result


def _draw(rng: np.random.Generator, probability: Floats) -> Ints:
    """One column number per row of `probability` (N, I), by inverting the cumulative distribution: (N,)."""
    cumulative = probability.cumsum(axis=1)
    threshold = rng.random((len(probability), 1)) * cumulative[:, -1:]
    return np.asarray((cumulative <= threshold).sum(axis=1), dtype=np.int64)


def _ids(letter: str, count: int) -> tuple[str, ...]:
    """("u0001", "u0002", ...)."""
    return tuple(f"{letter}{number:04d}" for number in range(1, count + 1))


def _positions(vocabulary: tuple[str, ...], ids: Iterable[str]) -> Ints:
    place = {name: number for number, name in enumerate(vocabulary)}
    return np.array([place[name] for name in ids], dtype=np.int64)
