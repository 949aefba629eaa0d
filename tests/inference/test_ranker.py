"""Top-k lists: users without events get the training counts, whatever their queries hold."""

from pathlib import Path

import polars as pl
import pytest
import torch

import gaterec
from gaterec.inference.recommender import Recommender, load

SEEN = "u1"


def recommender_of_six_items(folder: Path, model: str = "HGN") -> Recommender:
    rows = [(f"u{user}", f"i{(user + step) % 6}", 10 * user + step) for user in range(12) for step in range(4)]
    file = folder / "log.csv"
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(file)
    settings = {"MAX_ITEM_LIST_LENGTH": 4, "state": "WARNING", "checkpoint_dir": str(folder)}
    return load(gaterec.run(model, str(file), config_dict=settings | ({} if model == "ItemKNN" else {"epochs": 1}))["folder"])


@pytest.mark.parametrize("model", ["HGN", "ItemKNN"])
def test_undefined_queries_change_no_answer_of_users_without_events(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = recommender_of_six_items(tmp_path, model)
    requests = [recommender.request(user, k=6) for user in ("new", SEEN, None)]
    users = [request.user for request in requests]
    expected, scores = recommender.answer(requests), recommender.scores(users)
    queries = recommender.following.queries

    def undefined(*arguments: object, **options: object) -> torch.Tensor:
        found = queries(*arguments, **options).clone()  # type: ignore[arg-type]
        found[[0, 2]] = torch.nan
        return found

    monkeypatch.setattr(recommender.following, "queries", undefined)
    for answer, before in zip(recommender.answer(requests), expected, strict=True):
        assert answer.items.tolist() == before.items.tolist()
        assert answer.scores.tolist() == before.scores.tolist()
    assert torch.equal(recommender.scores(users), scores)
    counts = recommender.items["training_count"].to_list()
    assert scores[0, 1:].tolist() == scores[2, 1:].tolist() == counts[1:]
    assert expected[0].scores.tolist() == sorted(counts[1:], reverse=True)
