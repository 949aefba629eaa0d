"""What there is to look up: items by title, users by id, and the run itself. Read from its tables, beside the thread that has the model."""

from typing import Any

import polars as pl

from gaterec.errors import RequestError
from gaterec.inference.recommender import Recommender
from gaterec.serve.schemas import Curve, Item, ItemAnswer, ModelAnswer

CURVES = 6
"""So many curves of validation figures at most."""


def find_items(recommender: Recommender, text: str, limit: int) -> list[Item]:
    """Items whose title or id has the text in it, in whatever case: those that begin with it first, then the most chosen."""
    ids = pl.first().cast(pl.String)
    frame = recommender.items.select(pl.int_range(pl.len()).alias("number"), ids.alias("item"), "training_count").with_columns(
        pl.lit(None, pl.String).alias("title") if recommender.titles is None else recommender.titles.alias("title")
    )
    name = pl.coalesce("title", "item").str.to_lowercase()
    wanted = text.strip().lower()
    found = frame.filter(pl.col("number") > 0, name.str.contains(wanted, literal=True) | (pl.col("item").str.to_lowercase() == wanted))
    best = found.sort([name.str.starts_with(wanted), "training_count", "number"], descending=[True, True, False]).head(limit)
    return [Item(item=item, title=title) for item, title in best.select("item", "title").iter_rows()]


def item_answer(recommender: Recommender, item: str) -> ItemAnswer:
    """All that the run's table says of an item.

    Raises:
        RequestError: the run knows no such item.
    """
    number = recommender.item_number(item)
    row = recommender.items.row(number, named=True)
    name, count = row.pop(recommender.items.columns[0]), row.pop("training_count")
    title = None if recommender.titles is None else recommender.titles[number]
    return ItemAnswer(item=str(name), title=title, columns={key: _plain(value) for key, value in row.items()}, training_count=count)


def find_users(recommender: Recommender, text: str, limit: int) -> list[str]:
    """User ids that begin with the text; without a text, ids at equal distances in the table of users."""
    ids = recommender.users.to_series(0).slice(1).cast(pl.String)
    if text:
        return ids.filter(ids.str.starts_with(text)).head(limit).to_list()
    return ids.gather_every(max(1, len(ids) // limit)).head(limit).to_list()


def model_answer(recommender: Recommender, name: str) -> ModelAnswer:
    """The run's figures and curves."""
    info = recommender.info
    epochs = info["epochs"]
    curves = [Curve(name="loss", values=[_number(epoch.get("loss")) for epoch in epochs])]
    valid = [epoch.get("valid") or {} for epoch in epochs]
    names = list(dict.fromkeys(name for figures in valid for name in figures))[:CURVES]
    curves += [Curve(name=f"validation {name}", values=[_number(figures.get(name)) for figures in valid]) for name in names]
    figures = {str(info["settings"].get("model", "model")): info["test"] or {}, **info["baselines"]}
    return ModelAnswer(
        model=name,
        title=info["title"],
        users=len(recommender.users) - 1,
        people=len(recommender.users) - 1,
        items=len(recommender.items) - 1,
        data=info["data"],
        protocol=info["protocol"],
        figures={name: {key: value for key, value in row.items() if _number(value) is not None} for name, row in figures.items()},
        curves=curves,
        best_epoch=info["best_epoch"],
        settings=info["settings"],
    )


def _number(value: Any) -> float | None:
    """JSON has no infinities."""
    return value if isinstance(value, int | float) and abs(value) < float("inf") else None


def _plain(value: Any) -> str | int | float | bool | None:
    if isinstance(value, float):
        return _number(value)
    return value if isinstance(value, str | int | bool | None) else " ".join(map(str, value)) if isinstance(value, list) else str(value)


def check_text(name: str, text: str) -> str:
    """Raises RequestError for what no title and no id holds."""
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text):
        raise RequestError(f"{name}: expected text without NUL and without halves of surrogate pairs")
    return text
