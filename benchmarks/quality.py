"""How good a trained HGN is, beside what RecBole and the paper's authors reached."""

import tempfile
from collections.abc import Iterator
from statistics import mean, stdev
from typing import Any, NamedTuple

import gaterec
from benchmarks.harness import Benchmark, Options, Row, Skipped

SEEDS = (2020, 2021, 2022)

RECBOLE = {"recall@10": 0.0951, "ndcg@10": 0.0452}
"""RecBole 1.2.1, HGN on ml-100k with the same settings and protocol, the mean of the same three seeds (Recall@10 0.0997, 0.0859 and 0.0997, NDCG@10
0.0473, 0.0404 and 0.0479), each measured once on RecBole's own copy of ml-100k, in its own order of the events, which is wrong for 83 users
(`python -m benchmarks.recbole_differences`)."""

PAPER = {"recall@10": 0.0426}
"""Ma, Kang and Liu: Hierarchical Gating Networks for Sequential Recommendation, KDD 2019, HGN on Amazon-CDs."""

PAPER_FLAGS: dict[str, Any] = {
    "eval_args": {"split": {"RS": [0.7, 0.1, 0.2]}, "target": "all"},
    "repeatable": False,
    "MAX_ITEM_LIST_LENGTH": 5,
    "embedding_size": 50,
    "loss_type": "BPR",
    "train_neg_sample_args": {"sample_num": 3},
    "negatives_may_be_own": False,
    "next_items": 3,
    "train_batch_size": 4096,
    "valid_metric": "Recall@10",
    "eval_step": 5,
    "stopping_step": 2,
}
"""The paper's protocol and settings on amazon-cds."""


class Case(NamedTuple):
    """What is trained, and the figures to hold it against."""

    name: str
    dataset: str
    flags: dict[str, Any]
    source: str
    reference: dict[str, float]
    seeds: int


CASES = [
    Case("ml-100k, all defaults", "ml-100k", {}, "RecBole 1.2.1, three seeds", RECBOLE, 3),
    Case("amazon-cds, paper's protocol", "amazon-cds", PAPER_FLAGS, "the paper", PAPER, 1),
]


def measure(options: Options) -> Iterator[Row | Skipped]:
    """One row per case and metric."""
    for case in CASES:
        if missing := options.missing(case.dataset):
            yield missing
            continue
        seeds = SEEDS[: min(case.seeds, options.repeats)]
        found: list[dict[str, float]] = []
        best: list[int] = []
        for seed in seeds:
            result = _run(options, case, seed)
            assert result["test_result"] is not None
            found.append(result["test_result"])
            best.append(result["best_epoch"])
            figures = ", ".join(f"{name} {found[-1][name]:.4f}" for name in ("recall@10", "ndcg@10"))
            options.tell(f"quality: {case.name}, seed {seed}, best epoch {best[-1]} of {len(result['epochs'])}: {figures}")
        for metric, name in (("recall@10", "Recall@10"), ("ndcg@10", "NDCG@10")):
            values = [figures[metric] for figures in found]
            peer = case.reference.get(metric)
            yield {
                "test": f"{case.name}, {name}",
                "gaterec": mean(values),
                "spread": stdev(values) if len(values) > 1 else None,
                "seeds": len(seeds),
                "best epochs": ", ".join(map(str, best)),
                "reference": peer,
                "of": case.source if peer else None,
                "gaterec / reference": mean(values) / peer if peer else None,
            }


def _run(options: Options, case: Case, seed: int) -> Any:
    limit = {} if options.epochs is None else {"epochs": options.epochs}
    with tempfile.TemporaryDirectory(prefix="gaterec-quality-") as folder:
        quiet = {"data_path": str(options.data_path), "checkpoint_dir": folder, "state": "ERROR", "show_progress": False}
        return gaterec.run(model="HGN", dataset=case.dataset, config_dict={**quiet, **case.flags, "seed": seed, **limit})


BENCHMARK = Benchmark(
    name="quality",
    title="Test figures of HGN",
    about=(
        "Mean and standard deviation over seeds, weights of the epoch that validation liked best. ml-100k: all defaults (CE, leave-one-out, the "
        "whole catalogue ranked, seen items kept), beside RecBole 1.2.1 with the same settings and seeds (its default seed 2020 alone: Recall@10 0.0997, NDCG@10 0.0473). "
        "amazon-cds: the protocol and settings of the HGN paper (each person's events split 70/10/20 by time, all held-out items asked for at once, "
        "seen items left out; L=5, d=50, BPR with 3 negatives that are not the person's own, 3 next items), beside the paper's Recall@10. "
        "These references were not measured in the same run: they are figures to reach."
    ),
    columns={
        "test": "{}",
        "gaterec": "{:.4f}",
        "spread": "{:.4f}",
        "seeds": "{}",
        "best epochs": "{}",
        "reference": "{:.4f}",
        "of": "{}",
        "gaterec / reference": "{:.3f}x",
    },
    ratio="gaterec / reference",
    measure=measure,
)
