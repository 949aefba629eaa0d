"""What `gaterec recommend` and `gaterec explain` print and write."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import polars as pl

from gaterec.checkpoint import newest_run
from gaterec.display import Display
from gaterec.errors import SettingsError
from gaterec.explain import EXACT
from gaterec.explain import explain as explanation
from gaterec.files import folder_written_whole
from gaterec.recommend import Recommender, load

PARTS = "part-*.parquet"
AT_A_TIME = 20_000
"""So many people are answered at a time, and go into one file."""


def recommend(
    folder: Path,
    *,
    users: str | None,
    history: str,
    k: int,
    seen: bool,
    deny: str,
    allow: str | None,
    where: Sequence[str],
    why: bool,
    strict: bool,
    out: Path | None,
    index: str | None = None,
) -> None:
    """Recommend from the command line; see gaterec.recommend.Recommender.recommend.

    Args:
        index: the kind of the run's index, none to score all items; None takes what there is.

    Raises:
        GaterecError: a run that can't be read, or a request that can't be answered, in one line.
    """
    recommender = load(newest_run(folder), index=index != "none")
    if index not in (None, "none", recommender.index and recommender.index.kind):
        raise SettingsError(f"index: {recommender.run.folder} has no such index; gaterec index {recommender.run.folder} --index={index}")
    columns = dict(_pair(text) for text in where)
    asked = recommender.users.to_series(0).to_list()[1:] if users == "all" else None if users is None else _ids(users)
    if asked is None and not history:
        raise SettingsError("recommend: for whom? give --users=ID,ID or --users=all, or --history=ITEM,ITEM for somebody without an id")
    if history and asked is not None and len(asked) != 1:
        raise SettingsError(f"history: belongs to one user, found {len(asked):,}")
    if why and out is not None:
        raise SettingsError("why: reasons are for the screen; leave --out or --why out")
    filters: dict[str, Any] = {
        "seen": seen,
        "deny": _ids(deny),
        "allow": None if allow is None else _ids(allow),
        "where": columns,
        "strict": strict,
    }
    if out is not None:
        _write(recommender, asked or [], k, filters, out)
        return
    frame = recommender.recommend(asked, k, histories=[_ids(history)] if history else None, **filters)
    display = Display(recommender.settings)
    title = f"{recommender.info['title']}: recommended"
    if why:
        display.line(title)
        _tell_reasons(display, recommender, frame, _ids(history))
    else:
        names = [name for name in ("title",) if name in frame.columns]
        rows = [
            [row["user"] or "(no id)", str(row["rank"]), row["item"], *(row[name] or "" for name in names), f"{row['score']:.4f}"]
            for row in frame.iter_rows(named=True)
        ]
        display.table(title, ["user", "rank", "item", *names, "score"], rows)
    nobody = frame.filter(pl.col("based_on") == "popularity")["user"].unique(maintain_order=True).to_list()
    if nobody:
        display.warn(
            f"nothing is known of {', '.join(map(str, nobody[:5]))}{' and others' if len(nobody) > 5 else ''}: these are popular items"
        )


def _tell_reasons(display: Display, recommender: Recommender, frame: pl.DataFrame, history: Sequence[str]) -> None:
    for row in frame.iter_rows(named=True):
        if row["rank"] == 1:
            display.line(f"\n{row['user'] or 'Somebody with this history'}")
        known = row["based_on"] != "popularity"
        reason = explanation(recommender, row["user"], row["item"], history) if known else "because many choose it"
        name = f"{row['title']} ({row['item']})" if row.get("title") else row["item"]
        display.line(f"{row['rank']:3}. {name}, {row['score']:.4f}: {reason}")


def _write(recommender: Recommender, users: Sequence[str], k: int, filters: Mapping[str, Any], out: Path) -> None:
    strange = [file.name for file in out.iterdir() if not fnmatch(file.name, PARTS)] if out.is_dir() else []
    if strange:
        raise SettingsError(f"out: {out}: expected a new folder, or one of such lists, found {strange[0]} in it; nothing was written")
    display = Display(recommender.settings)
    with folder_written_whole(out) as part, display.stages() as tell:
        for begin in range(0, len(users), AT_A_TIME):
            tell(f"{begin:,} of {len(users):,} people")
            frame = recommender.recommend(users[begin : begin + AT_A_TIME], k, **filters)
            frame.write_parquet(part / f"part-{begin // AT_A_TIME:05d}.parquet")
    display.line(f"{len(users):,} people, {k} items each: {out}/*.parquet")


def explain(folder: Path, user: str | None, item: str, history: str) -> None:
    """Explain from the command line; see gaterec.explain.explain.

    Raises:
        GaterecError: a run that can't be read, or a request that can't be answered, in one line.
    """
    recommender = load(newest_run(folder), index=False)
    if user is None and not history:
        raise SettingsError("explain: for whom? give --user=ID, or --history=ITEM,ITEM for somebody without an id")
    found = explanation(recommender, user, item, _ids(history))
    display = Display(recommender.settings)
    names = [name for name in ("title",) if name in found.events.columns]
    rows = [
        [
            row["item"],
            *(row[name] or "" for name in names),
            *(_number(row[part]) for part in ("gated", "direct", "total")),
            *(_number(row[part], "") for part in ("instance_gate", "what_if")),
        ]
        for row in reversed(found.events.to_dicts())
    ]
    head = ["event", *names, "through the gates", "directly", "together", "gate", "score without it"]
    display.table(
        f"Item {found.item} for {found.user or 'this history'}: score {found.score:.4f} ({found.method}); the latest event first",
        head,
        rows,
    )
    if found.method == EXACT:
        events = found.events["total"].sum()
        display.line(
            f"lasting taste {found.lasting:+.4f}, item by itself {found.bias:+.4f}, events {events:+.4f}: together {found.score:.4f}"
        )
    else:
        display.line("This model's score is no sum over events: together is how far the score falls when that event alone is left out.")
    display.line(f"In words: {found}.")


def _number(value: float | None, sign: str = "+") -> str:
    return "–" if value is None else f"{value:{sign}.4f}"


def _ids(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"where: expected COLUMN=VALUE, found {text!r}")
    return name, value
