"""Looking up items, users and the run."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from gaterec.inference.recommender import Recommender, load
from gaterec.serve.lookups import find_items, find_users, item_answer, model_answer
from gaterec.serve.reloading import read


@pytest.fixture(scope="module")
def recommender(run_folder: Path) -> Recommender:
    return load(run_folder)


def test_titles_that_begin_with_the_words_come_first_then_the_most_chosen(recommender: Recommender) -> None:
    found = [item.item for item in find_items(recommender, "film 1", 20)]
    counts = dict(recommender.items.select("item_id", "training_count").iter_rows())
    assert len(found) == 11
    assert [counts[item] for item in found] == sorted((counts[item] for item in found), reverse=True)


def test_padding_is_never_found(recommender: Recommender) -> None:
    assert "[padding]" not in [item.item for item in find_items(recommender, "", 100)]
    assert find_items(recommender, "padding", 100) == []
    assert "[unknown]" not in find_users(recommender, "[", 100)
    assert len(find_users(recommender, "", 100)) == 60


def test_without_titles_ids_are_looked_through(run_folder: Path) -> None:
    bare = load(run_folder)
    bare.titles = None
    assert {item.item for item in find_items(bare, "I1", 20)} == {"i1", *(f"i1{number}" for number in range(10))}


def test_columns_of_items_may_have_any_name(run_folder: Path) -> None:
    run = load(run_folder)
    expected = find_items(run, "film 1", 20)
    named = run.run.items.with_columns(pl.lit(7).alias(name) for name in ("number", "item"))
    assert find_items(Recommender(replace(run.run, items=named)), "film 1", 20) == expected


def test_an_item_with_all_that_is_known_of_it(recommender: Recommender) -> None:
    found = item_answer(recommender, "i3")
    assert (found.item, found.title, found.columns) == ("i3", "Film 3", {"title": "Film 3", "kind": "funny sad", "year": 1993.0})
    assert found.training_count == recommender.items.filter(pl.col("item_id") == "i3")["training_count"][0] > 0


def test_the_run(run_folder: Path) -> None:
    loaded = read(run_folder)
    info = loaded.recommender.info
    found = model_answer(loaded.recommender, loaded.name)
    assert found.figures["HGN"] == info["test"]
    assert found.curves[0].values == [epoch["loss"] for epoch in info["epochs"]]
    assert found.curves[1].name.startswith("validation ")
    assert (found.title, found.best_epoch) == (info["title"], info["best_epoch"])
