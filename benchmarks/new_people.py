"""How good recommendations are for people who were not there when the model was trained, beside the same people when they were."""

import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

import gaterec
from benchmarks.harness import Benchmark, Options, Row, Skipped
from benchmarks.quality import PAPER_FLAGS
from gaterec.recommend import Person, Recommender


class Case(NamedTuple):
    """What is trained, and into how many groups people are parted, of which so many are withheld, one after the other."""

    name: str
    dataset: str
    flags: dict[str, Any]
    groups: int
    withheld: int


OWN = {name: value for name, value in PAPER_FLAGS.items() if name != "eval_args"}
CASES = [
    Case("ml-100k, all defaults", "ml-100k", {}, 5, 5),
    Case("ml-100k, hgn-best", "ml-100k", {"recipe": "hgn-best"}, 5, 5),
    Case("amazon-cds, the paper's settings", "amazon-cds", OWN, 5, 1),
]


def measure(options: Options) -> Iterator[Row | Skipped]:
    """One row per case."""
    for case in CASES:
        if missing := options.missing(case.dataset):
            yield missing
            continue
        log = _log(options, case.dataset)
        groups = log["user_id"].unique().sort().shuffle(seed=1).to_list()
        options.tell(f"new_people: {case.name}, trained on everybody ...")
        everybody = _trained(options, case, log)
        hits: dict[str, list[bool]] = {"known": [], "new": []}
        for group in range(case.withheld):
            people = groups[group :: case.groups]
            options.tell(f"new_people: {case.name}, without {len(people):,} people ...")
            without = _trained(options, case, log.filter(~pl.col("user_id").is_in(people)))
            hits["known"] += _hits(everybody, everybody, people)
            hits["new"] += _hits(without, everybody, people)
        known, new = (float(np.mean(hits[name])) for name in ("known", "new"))
        yield {
            "test": case.name,
            "people": len(hits["new"]),
            "trained on": known,
            "withheld": new,
            "withheld / trained on": new / known if known else None,
        }


def _log(options: Options, dataset: str) -> pl.DataFrame:
    log = pl.read_csv(options.data_path / dataset / f"{dataset}.inter", separator="\t")
    return log.rename({name: name.partition(":")[0] for name in log.columns}).with_columns(pl.col("user_id", "item_id").cast(pl.String))


def _trained(options: Options, case: Case, log: pl.DataFrame) -> Recommender:
    limit = {} if options.epochs is None else {"epochs": options.epochs}
    with tempfile.TemporaryDirectory(prefix="gaterec-new-people-") as folder:
        quiet = {"checkpoint_dir": folder, "state": "ERROR", "show_progress": False}
        return gaterec.load(gaterec.run("HGN", log, config_dict={**quiet, **case.flags, **limit})["folder"])


def _hits(recommender: Recommender, everybody: Recommender, people: Sequence[str]) -> list[bool]:
    """Whether each person's last item is among the ten best by all events before it."""
    found = everybody.people(people, None)
    ids = everybody.items.to_series(0).to_list()
    known = {ids[number]: place for number, place in ((n, _number(recommender, ids[n])) for n in range(1, len(ids)))}
    asked = [
        Person(
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


def _person(recommender: Recommender, person: Person) -> int:
    return recommender.people([person.id], None)[0].number


BENCHMARK = Benchmark(
    name="new_people",
    title="People who are new",
    about=(
        "Recall@10 of each person's last event by all events before it, for people whose events the training never saw, beside the same people (and the same queries) "
        "when the model was trained on them too, their last two events left out. A new person is user 0, a vector of zeros. ml-100k: everybody is withheld once, in five groups; "
        "amazon-cds: one fifth of the people is."
    ),
    columns={
        "test": "{}",
        "people": "{:,}",
        "trained on": "{:.4f}",
        "withheld": "{:.4f}",
        "withheld / trained on": "{:.3f}x",
    },
    ratio="withheld / trained on",
    measure=measure,
)
