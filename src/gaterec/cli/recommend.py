"""What `gaterec recommend` and `gaterec explain` print and write."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from gaterec.config.paths import read_bytes, read_text
from gaterec.errors import SettingsError
from gaterec.inference.bulk import USERS_PER_FILE, values
from gaterec.inference.explain import explain as explanation
from gaterec.inference.explanation import EXACT
from gaterec.inference.filters import Filters
from gaterec.inference.notes import empty_note
from gaterec.inference.recommender import Recommender, load
from gaterec.inference.run_folder import left_beside, newest_run
from gaterec.io.console import Terminal
from gaterec.io.files import read_table, reason


def recommend(
    folder: Path,
    filters: Filters,
    *,
    users: str | None,
    history: Sequence[str] | None,
    why: bool,
    out: Path | None,
    index: str | None = None,
) -> None:
    """Recommend from the command line; see gaterec.inference.recommender.Recommender.recommend.

    Args:
        index: the kind of the run's index, none to score all items; None takes what there is.

    Raises:
        GaterecError: a run that can't be read, or a request that can't be answered, in one line.
    """
    recommender = load(newest_run(folder), index=index != "none")
    if index not in (None, "none", recommender.index and recommender.index.kind):
        raise SettingsError(f"index: {recommender.run.folder} has no such index; gaterec index {recommender.run.folder} --index={index}")
    asked = None if users is None else _people(recommender, users)
    if asked is None and history is None:
        raise SettingsError("recommend: for whom? give --users=ID,ID or --users=all, or --history=ITEM,ITEM for somebody without an id")
    if history is not None and asked is not None and len(asked) != 1:
        raise SettingsError(f"history: belongs to one user, found {len(asked):,}")
    if why and out is not None:
        raise SettingsError("why: reasons are for the screen; leave --out or --why out")
    if history is not None and out is not None:
        raise SettingsError("history: --out takes the histories of the log alone; leave --history or --out out")
    if filters.allow is not None and not filters.allow:
        raise SettingsError("allow: expected item ids, found none; leave it out where all items may come")
    display = Terminal(recommender.settings, "INFO")
    for line in left_beside(folder):
        display.warn(line)
    if out is not None:
        ids = [] if asked is None else asked
        with display.users(len(ids)) as tell:
            count = recommender.recommend_to(
                out,
                values(ids) if isinstance(ids, pl.Series) else ids,
                filters=filters,
                tell=tell,
                per_file=USERS_PER_FILE,
                note=display.warn,
            )
        k = filters.k
        display.answer(f"{count:,} {'user' if count == 1 else 'users'}, at most {k} {'item' if k == 1 else 'items'} each: {out}/*.parquet")
        return
    frame = recommender.recommend(asked, histories=None if history is None else [history], filters=filters, note=display.warn)
    title = f"{recommender.info['title']}: recommended"
    if why:
        display.answer(title)
        _tell_reasons(display, recommender, frame, history or [])
    else:
        names = [name for name in ("title",) if name in frame.columns]
        rows = [
            [row["user"] or "(no id)", str(row["rank"]), row["item"], *(row[name] or "" for name in names), f"{row['score']:.4f}"]
            for row in frame.iter_rows(named=True)
        ]
        display.table(title, ["user", "rank", "item", *names, "score"], rows)
    request_users = recommender.request_users(asked, None if history is None else [history])
    if cold := [user.id for user in request_users if not len(user.items)]:
        whom = "the user" if cold[0] is None else ", ".join(map(str, cold[:5])) + (" and others" if len(cold) > 5 else "")
        display.warn(f"nothing is known of {whom}: these are popular items")
    got = set(frame["user"])
    if empty := [user.id for user in request_users if user.id not in got]:
        display.warn(empty_note(empty))


def _tell_reasons(display: Terminal, recommender: Recommender, frame: pl.DataFrame, history: Sequence[str]) -> None:
    for row in frame.iter_rows(named=True):
        if row["rank"] == 1:
            (user,) = recommender.request_users([row["user"]], [history])
            display.answer(f"\n{row['user'] or 'User with this history'}")
        reason = explanation(recommender, row["user"], row["item"], history) if len(user.items) else "because many choose it"
        name = f"{row['title']} ({row['item']})" if row.get("title") else row["item"]
        display.answer(f"{row['rank']:3}. {name}, {row['score']:.4f}: {reason}")


def _people(recommender: Recommender, text: str) -> Sequence[str] | pl.Series:
    """ids, all, or @FILE: one id a line, or the first column of a CSV, TSV or Parquet file; a header line is passed over."""
    if text == "all":
        return recommender.users.to_series(0)[1:]
    if not text.startswith("@"):
        if not (names := item_ids(text)):
            raise SettingsError("users: expected ids, found none; give --users=ID,ID or --users=all")
        return names
    file = Path(text[1:])
    try:
        if file.suffix == ".parquet":
            ids = read_table(file, columns=[0]).to_series(0)
        elif file.suffix in {".csv", ".tsv"}:
            separator, quote = ("\t", None) if file.suffix == ".tsv" else (",", '"')
            table = pl.read_csv(read_bytes(file), columns=[0], has_header=False, infer_schema=False, separator=separator, quote_char=quote)
            ids = table.to_series(0)
            ids = ids if ids[0] in recommender.users.to_series(0) else ids[1:]  # a file without a header line begins with an id
        else:
            ids = pl.Series([line.strip() for line in read_text(file).splitlines()], dtype=pl.String)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise SettingsError(f"users: {file}: can't be read: {reason(error)}") from None
    ids = ids.cast(pl.String)
    ids = ids.filter(ids != "")
    if ids.is_empty():
        raise SettingsError(f"users: {file}: expected ids, found none in it")
    return ids


def explain(folder: Path, user: str | None, item: str, history: str, out: Path | None = None) -> None:
    """Explain from the command line, on the screen or in a file; see gaterec.inference.explain.explain.

    Raises:
        GaterecError: a run that can't be read, or a request that can't be answered, in one line.
    """
    recommender = load(newest_run(folder), index=False)
    if user is None and not history:
        raise SettingsError("explain: for whom? give --user=ID, or --history=ITEM,ITEM for somebody without an id")
    found, display = explanation(recommender, user, item, item_ids(history)), Terminal(recommender.settings, "INFO")
    for note in found.notes:
        display.warn(note)
    if out is not None:
        from gaterec.inference.explanation import write

        write(found, out)
        display.answer(f"{out}: why {found.name} for {found.user or 'this history'}, score {found.score:.4f}")
        return
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
        f"Item {found.name} for {found.user or 'this history'}: score {found.score:.4f} ({found.method}); the latest event first",
        head,
        rows,
    )
    if found.method == EXACT:
        events = found.events["total"].sum()
        display.answer(
            f"lasting taste {found.lasting:+.4f}, item by itself {found.bias:+.4f}, events {events:+.4f}: together {found.score:.4f}"
        )
    else:
        display.answer("This model's score is no sum over events: together is how far the score falls when that event alone is left out.")
    display.answer(f"In words: {found}.")


def _number(value: float | None, sign: str = "+") -> str:
    return "–" if value is None else f"{value:{sign}.4f}"


def item_ids(text: str) -> list[str]:
    """Ids that are separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def columns_and_values(conditions: Sequence[str]) -> dict[str, list[str]]:
    """Column -> values, of conditions COLUMN=VALUE.

    Raises:
        SettingsError: a condition without an equals sign.
    """
    columns: dict[str, list[str]] = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            raise SettingsError(f"where: expected COLUMN=VALUE, found {condition!r}")
        columns.setdefault(name, []).append(value)
    return columns
