"""Run folders of any size that nobody trained, for measuring what happens after training: what serves, indexes and answers.

    python -m benchmarks.made_runs FOLDER --users=1000000 --items=100000

Weights look like trained ones as far as speed and search can tell: items lie in clusters, people near the clusters of their events, and what
many choose has the larger bias. Histories are Zipf's: few items are chosen often.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from gaterec.config.resolve import resolve
from gaterec.data.interactions import PADDING, UNKNOWN, Interactions
from gaterec.inference.run_folder import write_run
from gaterec.io.files import folder_written_whole
from gaterec.models import model_class
from gaterec.models.hgn import HGN

CLUSTERS = 200
KINDS = 20
"""How many values the column `kind` of the items has."""


def made_run(folder: Path, users: int, items: int, d: int = 64, seed: int = 0, *, events: int = 20, window: int = 50) -> Path:
    """Write a run of HGN over so many people and items into a new folder, and answer the folder.

    Ids are u1, u2, ... and i1, i2, ...; items have a title and a kind (kind0 to kind19).

    Args:
        d: the length of all vectors.
        events: how many events each person has on average.
        window: L.
    """
    random = np.random.default_rng(seed)
    settings = resolve(
        lambda name: model_class(name).Settings,
        config_dict={"embedding_size": d, "MAX_ITEM_LIST_LENGTH": window, "seed": seed, "state": "WARNING", "show_progress": False},
    )
    lengths = np.concatenate([[0], 1 + random.poisson(events - 1, users)])
    offsets = np.concatenate([[0], lengths.cumsum()])
    chosen = (items * random.random(int(offsets[-1]), dtype=np.float32) ** 3).astype(np.int32).clip(0, items - 1) + 1
    names = (pl.format("u{}", pl.int_range(1, users + 1)), pl.format("i{}", pl.int_range(1, items + 1)))
    people, things = (pl.select(ids).to_series() for ids in names)
    interactions = Interactions(
        name=f"made-{users}-{items}",
        users=pl.concat([pl.Series([UNKNOWN]), people]).alias(settings.USER_ID_FIELD),
        items=pl.concat([pl.Series([PADDING]), things]).alias(settings.ITEM_ID_FIELD),
        item=chosen,
        offsets=offsets,
        time=np.zeros(0, dtype=np.int64),
    )
    counts = interactions.item_counts()
    table = interactions.items.to_frame().with_columns(
        pl.Series("title", [None, *(f"Thing {number}" for number in range(1, items + 1))]),
        pl.Series("kind", [None, *(f"kind{number % KINDS}" for number in range(1, items + 1))]),
        pl.Series("training_count", counts),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class("HGN")(users + 1, items + 1, window, settings.model_settings)
    assert isinstance(model, HGN)
    _fill(model, counts, seed)
    info: dict[str, Any] = {
        "title": f"HGN on {interactions.name}",
        "settings": settings.as_dict(),
        "data": {"name": interactions.name, "source": "made", "fingerprint": interactions.name, "people": users, "items": items},
        "protocol": [],
        "best_epoch": 0,
        "best_valid_score": None,
        "valid": None,
        "test": None,
        "baselines": {},
        "epochs": [],
    }
    with folder_written_whole(folder) as part:
        write_run(
            part, model, interactions, interactions.users.to_frame(), table, pl.DataFrame({"rank": pl.Series([], dtype=pl.Int64)}), info
        )
    return folder


@torch.no_grad()
def _fill(model: HGN, counts: np.ndarray, seed: int) -> None:
    """Weights that look trained."""
    random = torch.Generator().manual_seed(seed)
    size = model.item.embedding_dim
    clusters = torch.randn(CLUSTERS, size, generator=random) * 1.5 / size**0.5
    for table in (model.user, model.item, model.output):
        where = torch.arange(len(table.weight)) * 7919 % CLUSTERS
        spread = torch.randn(table.weight.shape, generator=random) * 0.7 / size**0.5
        table.weight.copy_(clusters[where] + spread)
        table.weight[0] = 0.0
    assert model.bias is not None
    model.bias.copy_(0.3 * torch.from_numpy(np.log1p(counts)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in (("users", 10_000), ("items", 100_000), ("d", 64), ("seed", 0), ("events", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    print(made_run(chosen.folder, chosen.users, chosen.items, chosen.d, chosen.seed, events=chosen.events))
