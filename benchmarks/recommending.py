"""How long recommendations take, for one request, for a batch of them and for everybody, beside the bare products that they can't do without."""

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from statistics import median

import numpy as np
import torch

import gaterec
from benchmarks.harness import Benchmark, Options, Row, Skipped, in_turns, ratio, timed
from benchmarks.made_runs import made_run
from benchmarks.quality import PAPER_FLAGS
from benchmarks.ranking import TILES, bare_product
from benchmarks.simulated import alone
from gaterec.inference.recommender import Recommender, RequestUser

ITEMS, D, PEOPLE, MANY = 100_000, 64, 10_000, 1_000_000
CALLS, BATCH, K = 300, 64, 10
"""Requests per round; and in a batch; and items in a list."""

LOAD = """
begin = time.perf_counter()
import torch, polars
if sys.argv[1:]:
    import gaterec
    gaterec.load(sys.argv[1])
print(json.dumps({"seconds": time.perf_counter() - begin}))
"""


def measure(options: Options) -> Iterator[Row | Skipped]:
    """One row per kind of work."""
    with tempfile.TemporaryDirectory(prefix="gaterec-recommending-") as place:
        yield missing if (missing := options.missing("amazon-cds")) else _everybody(options, Path(place))
        people = options.events or PEOPLE
        options.tell(f"recommending: {ITEMS:,} items ...")
        folder = made_run(Path(place) / "made", people, ITEMS, D)
        recommender = gaterec.load(folder)
        yield from _one(options, recommender)
        yield _batch(options, recommender)
        yield _update(options, recommender)
        many = options.events or MANY
        options.tell(f"recommending: loading a run of {many:,} people ...")
        for number, run in ((people, folder), (many, made_run(Path(place) / "many", many, ITEMS, D))):
            yield _load(options, number, run)


def _everybody(options: Options, place: Path) -> Row:
    options.tell("recommending: everybody in amazon-cds ...")
    quiet = {"state": "ERROR", "show_progress": False, "data_path": str(options.data_path), "checkpoint_dir": str(place)}
    folder = gaterec.run("HGN", "amazon-cds", config_dict={**PAPER_FLAGS, **quiet, "epochs": 1, "eval_step": 0})["folder"]
    recommender = gaterec.load(folder)
    ids = recommender.users.to_series(0)[1:].to_list()
    queries, table = recommender.following.queries_of(recommender.histories(ids)), recommender.model.item_table()[0].detach()
    contenders: dict[str, Callable[[], object]] = {
        "gaterec": lambda: recommender.recommend_to(place / "lists", k=K),
        **{f"floor {rows}": bare_product(queries, table, rows) for rows in TILES},
    }
    seconds = in_turns({name: timed(work) for name, work in contenders.items()}, options.repeats)
    floor = min((seconds[f"floor {rows}"] for rows in TILES), key=median)
    name = f"{len(ids):,} people, {len(table) - 1:,} items, top {K}, to Parquet"
    return _row(name, "bare product, fastest tile", seconds["gaterec"], floor)


def _one(options: Options, recommender: Recommender) -> Iterator[Row]:
    """One request at a time, of people who are remembered."""
    ids = recommender.users.to_series(0)[1:].to_list()
    waiting, table, query = cycle(ids[:CALLS]), recommender.model.item_table()[0].detach(), torch.randn(D)
    worst: dict[str, list[float]] = {"gaterec": [], "bare": []}

    def one() -> None:
        recommender.answer([recommender.request(next(waiting), k=K)])

    @torch.inference_mode()
    def bare() -> None:
        torch.mv(table, query)

    def turn(name: str, work: Callable[[], None]) -> float:
        half, most = np.percentile([timed(work)() for _ in range(CALLS)], [50, 99])
        worst[name].append(float(most))
        return float(half)

    seconds = in_turns({"gaterec": lambda: turn("gaterec", one), "bare": lambda: turn("bare", bare)}, options.repeats)
    yield _row(f"one request, {ITEMS:,} items, top {K}, median", "bare product", seconds["gaterec"], seconds["bare"])
    yield _row("the same, 99 of 100", "bare product", worst["gaterec"][1:], worst["bare"][1:])


def _batch(options: Options, recommender: Recommender) -> Row:
    """Requests with filters of their own, together and one after the other."""
    ids = recommender.users.to_series(0)[1 : BATCH + 1].to_list()
    requests = [
        recommender.request(user, k=1 + n % K, deny=[f"i{n + 1}"], where={"kind": f"kind{n % 5}"} if n % 2 else None)
        for n, user in enumerate(ids)
    ]
    work = {"together": lambda: recommender.answer(requests), "alone": lambda: [recommender.answer([request]) for request in requests]}
    seconds = in_turns({name: timed(part) for name, part in work.items()}, 4 * options.repeats)
    return _row(f"{BATCH} requests, each with its own filters", "one after the other", seconds["together"], seconds["alone"])


def _update(options: Options, recommender: Recommender) -> Row:
    """The query after one more event, of somebody remembered, and by encoding their window anew."""
    window, random = recommender.settings.MAX_ITEM_LIST_LENGTH, np.random.default_rng(0)
    items = random.integers(1, ITEMS, window + CALLS).astype(np.int32)

    def followed() -> float:
        recommender.following.queries([RequestUser("visitor", 1, items[:window])])
        begin = time.perf_counter()
        for count in range(window + 1, window + CALLS):
            recommender.following.queries([RequestUser("visitor", 1, items[:count])])
        return (time.perf_counter() - begin) / (CALLS - 1)

    @torch.inference_mode()
    def anew() -> float:
        user = torch.tensor([1])
        begin = time.perf_counter()
        for count in range(window + 1, window + CALLS):
            recommender.model(user, torch.from_numpy(items[None, count - window : count].astype(np.int64)))[:, -1]
        return (time.perf_counter() - begin) / (CALLS - 1)

    seconds = in_turns({"followed": followed, "anew": anew}, options.repeats)
    return _row(f"the query after one more event, L = {window}", "encoding the window anew", seconds["followed"], seconds["anew"])


def _load(options: Options, people: int, run: Path) -> Row:
    contenders = {"load": lambda: float(alone(LOAD, run)["seconds"]), "bare": lambda: float(alone(LOAD)["seconds"])}
    seconds = in_turns(contenders, options.repeats)
    return _row(f"load a run of {people:,} people, {ITEMS:,} items", "import torch, polars", seconds["load"], seconds["bare"])


def _row(what: str, beside: str, seconds: list[float], others: list[float]) -> Row:
    return {
        "work": what,
        "gaterec": 1000 * median(seconds),
        "beside": beside,
        "takes": 1000 * median(others),
        "gaterec / beside": ratio(seconds, others),
    }


BENCHMARK = Benchmark(
    name="recommending",
    title="Milliseconds to recommend",
    about=(
        f"Exact lists from whole catalogues by HGN. Everybody in amazon-cds: from the histories in memory to Parquet files, beside the bare product of queries and item "
        f"table in the fastest of three tile sizes (the floor of `ranking`). One request: from ids to item numbers and scores, seen items left out, {ITEMS:,} items of {D} "
        f"features, people with 20 events who were here before, beside the bare matrix-vector product of that table; one after the other in one process. A batch: {BATCH} requests with a k, a deny list "
        "and, every other one, a condition of their own. Loading is a fresh process up to a Recommender that can answer, beside one that imports torch and Polars and does nothing. Weights are made up or hardly trained: the time doesn't depend on it."
    ),
    columns={"work": "{}", "gaterec": "{:.2f} ms", "beside": "{}", "takes": "{:.2f} ms", "gaterec / beside": "{:.2f}x"},
    ratio="gaterec / beside",
    measure=measure,
)
