"""How good recommendations are for people who were not there when the model was trained, beside the same people when they were."""

import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

import gaterec
from benchmarks.harness import Benchmark, Options, Row, Skipped
from benchmarks.quality import PAPER_FLAGS
from gaterec.inference.recommender import Recommender, RequestUser, load


class Case(NamedTuple):
    """What is trained, and into how many groups people are parted, of which so many are withheld, one after the other."""

    name: str
    dataset: str
    flags: dict[str, Any]
    groups: int
    withheld: int


OWN = {name: value for name, value in PAPER_FLAGS.items() if name != "eval_args"}
CASES = [
    Case("ml-100k, all defaults", "ml-100k", {}, 10, 10),
    Case("ml-100k, hgn-best", "ml-100k", {"recipe": "hgn-best"}, 10, 10),
    Case("amazon-cds, the paper's settings", "amazon-cds", OWN, 10, 3),
]
TO_THE_END = {"stopping_step": 1_000_000}
"""No training stops early, as that hits one of them at a bad moment and not the other; each gives its epoch that is best by validation."""
RESAMPLES = 10_000


def measure(options: Options) -> Iterator[Row | Skipped]:
    """One row per case."""
    for case in CASES:
        if missing := options.missing(case.dataset):
            yield missing
            continue
        log = _log(options, case.dataset)
        groups = log["user_id"].unique().sort().shuffle(seed=1).to_list()
        options.tell(f"new_people: {case.name}, trained on everybody ...")
        everybody, _ = _trained(options, case, log)
        hits: dict[str, list[bool]] = {"known": [], "new": [], "zeros": []}
        for group in range(case.withheld):
            people = groups[group :: case.groups]
            options.tell(f"new_people: {case.name}, without {len(people):,} people ...")
            without, with_zeros = _trained(options, case, log.filter(~pl.col("user_id").is_in(people)))
            hits["known"] += _hits(everybody, everybody, people)
            hits["new"] += _hits(without, everybody, people)
            hits["zeros"] += _hits(with_zeros, everybody, people)
        known, new, zeros = (np.array(hits[name], dtype=float) for name in ("known", "new", "zeros"))
        low, high = interval(new, known)
        yield {
            "test": case.name,
            "people": len(new),
            "trained on": float(known.mean()),
            "zeros": float(zeros.mean()),
            "withheld": float(new.mean()),
            "±": float((new - known).std() / len(new) ** 0.5),
            "zeros / trained on": float(zeros.mean() / known.mean()) if known.any() else None,
            "withheld / trained on": float(new.mean() / known.mean()) if known.any() else None,
            "from": low,
            "to": high,
        }


def interval(new: np.ndarray, known: np.ndarray, resamples: int = RESAMPLES) -> tuple[float | None, float | None]:
    """The 95 % interval of new.mean() / known.mean(), both (n,) of the same people, by the bootstrap over people; None where nothing is known."""
    # A person counts as often as they are drawn, so the sums over each drawn crowd are a product.
    times = np.random.default_rng(0).multinomial(len(new), np.full(len(new), 1 / len(new)), size=resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (times @ new) / (times @ known)
    if not np.isfinite(ratios).all():
        return None, None
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)


def _log(options: Options, dataset: str) -> pl.DataFrame:
    log = pl.read_csv(options.data_path / dataset / f"{dataset}.inter", separator="\t")
    return log.rename({name: name.partition(":")[0] for name in log.columns}).with_columns(pl.col("user_id", "item_id").cast(pl.String))


def _trained(options: Options, case: Case, log: pl.DataFrame) -> tuple[Recommender, Recommender]:
    """A run that folds in people who are new, and the same one to which they are vectors of zeros."""
    limit = {} if options.epochs is None else {"epochs": options.epochs}
    with tempfile.TemporaryDirectory(prefix="gaterec-new-people-") as folder:
        quiet = {"checkpoint_dir": folder, "state": "ERROR", "show_progress": False}
        run = gaterec.run("HGN", log, config_dict={**quiet, **case.flags, **TO_THE_END, **limit})["folder"]
        return load(run), load(run, fold_in=False)


def _hits(recommender: Recommender, everybody: Recommender, people: Sequence[str]) -> list[bool]:
    """Whether each person's last item is among the ten best by all events before it."""
    found = everybody.request_users(people, None)
    ids = everybody.items.to_series(0).to_list()
    known = {ids[number]: place for number, place in ((n, _number(recommender, ids[n])) for n in range(1, len(ids)))}
    asked = [
        RequestUser(
            person.id, _person(recommender, person), np.array([known[ids[n]] for n in person.items[:-1] if known[ids[n]]], dtype=np.int64)
        )
        for person in found
    ]
    lists, _ = recommender.best(asked, 10, seen=recommender.settings.repeatable)
    return [
        bool(known[ids[person.items[-1]]] in row) and known[ids[person.items[-1]]] > 0 for person, row in zip(found, lists, strict=True)
    ]


def _number(recommender: Recommender, item: str) -> int:
    try:
        return recommender.item_number(item)
    except gaterec.GaterecError:  # the withheld people alone chose it
        return 0


def _person(recommender: Recommender, person: RequestUser) -> int:
    return recommender.request_users([person.id], None)[0].number


BENCHMARK = Benchmark(
    name="new_people",
    title="People who are new",
    about=(
        "Recall@10 of each person's last event by all events before it, for people whose events the training never saw, beside the same people (and the same queries) "
        "when the model was trained on them too, their last two events left out. Their vectors are folded in from their histories (gaterec.inference.fold_in); beside them those of zeros. "
        "A tenth of the people is withheld at a time: on ml-100k everybody once, on amazon-cds three tenths. "
        "From and to: the 95 % interval of the ratio, by the bootstrap over people; ±: the standard error of the difference."
    ),
    columns={
        "test": "{}",
        "people": "{:,}",
        "trained on": "{:.4f}",
        "zeros": "{:.4f}",
        "withheld": "{:.4f}",
        "±": "{:.4f}",
        "zeros / trained on": "{:.3f}x",
        "withheld / trained on": "{:.3f}x",
        "from": "{:.3f}x",
        "to": "{:.3f}x",
    },
    ratio="withheld / trained on",
    measure=measure,
)
