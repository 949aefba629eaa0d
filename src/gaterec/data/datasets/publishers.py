"""The layouts in which publishers give out their logs, read into tables; and tables written as RecBole's atomic files.

Each reader takes the publisher's file and an empty folder for what it must unpack, and returns tables with RecBole's column names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars as pl

from gaterec.data.readers.unpack import extract_member, gzip_blocks

ATOMIC_TYPES = {
    "rating": "float",
    "timestamp": "float",
    "movie_title": "token_seq",
    "class": "token_seq",
}
"""The type that stands behind a column's name in an atomic file; every other column is a token."""

ML_100K_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""The last columns of u.item, a 0 or 1 each, in the order of u.genre."""

TITLE = r"^(.*?)\s*\((\d{4})(?:[-–]\d{0,4})?\)(?:\s*\(V\))?\s*$"
""" "Toy Story (1995)": the title and the year; a video has "(V)" behind it, a series "(1975-1979)"."""

GOODREADS_TIME = "%a %b %d %H:%M:%S %z %Y"
""" "Fri Aug 25 13:55:02 -0700 2017"."""


@dataclass(frozen=True)
class Tables:
    """What a publisher's file says.

    Attributes:
        events: user_id, item_id, rating, timestamp (seconds since 1970), in the order of the file.
        users: one row per person, where the publisher tells something about people.
        items: one row per item, the same.
    """

    events: pl.DataFrame
    users: pl.DataFrame | None = None
    items: pl.DataFrame | None = None


Reader = Callable[[Path, Path], Tables]


def read_ml_100k(archive: Path, scratch: Path) -> Tables:
    """ml-100k.zip: u.data with tabs, u.user and u.item with bars, in Latin-1."""
    events = _separated(_latin1(archive, "ml-100k/u.data", scratch), "\t", ("user_id", "item_id", "rating", "timestamp"))
    users = _separated(_latin1(archive, "ml-100k/u.user", scratch), "|", ("user_id", "age", "gender", "occupation", "zip_code"))
    columns = ("item_id", "title", "release_date", "video_release_date", "url", *ML_100K_GENRES)
    films = _separated(_latin1(archive, "ml-100k/u.item", scratch), "|", columns)
    genres = pl.concat_list(pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in ML_100K_GENRES)
    return Tables(events, users, _films(films, genres.list.drop_nulls()))


def read_ml_1m(archive: Path, scratch: Path) -> Tables:
    """ml-1m.zip: three .dat files with "::" between the fields, in Latin-1."""

    def dat(member: str, columns: tuple[str, ...]) -> pl.DataFrame:
        return _separated(_latin1(archive, f"ml-1m/{member}", scratch).replace("::", "\t"), "\t", columns)

    events = dat("ratings.dat", ("user_id", "item_id", "rating", "timestamp"))
    users = dat("users.dat", ("user_id", "gender", "age", "occupation", "zip_code"))
    films = dat("movies.dat", ("item_id", "title", "genres"))
    users = users.select("user_id", "age", "gender", "occupation", "zip_code")
    return Tables(events, users, _films(films, pl.col("genres").str.split("|")))


def read_ml_20m(archive: Path, scratch: Path) -> Tables:
    """ml-20m.zip: CSV files with a header, in UTF-8; nothing is told about people."""
    ratings = extract_member(archive, "ml-20m/ratings.csv", scratch / "ratings.csv")
    schema = {"userId": pl.Int32, "movieId": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int64}
    events = pl.read_csv(ratings, glob=False, schema=schema).rename({"userId": "user_id", "movieId": "item_id"})
    movies = extract_member(archive, "ml-20m/movies.csv", scratch / "movies.csv")
    films = pl.read_csv(movies, glob=False, schema={"movieId": pl.String, "title": pl.String, "genres": pl.String}).rename(
        {"movieId": "item_id"}
    )
    genres = pl.col("genres").str.replace("(no genres listed)", "", literal=True).str.split("|")
    return Tables(events, None, _films(films, genres))


def read_amazon_ratings(ratings: Path, _scratch: Path) -> Tables:
    """A "ratings only" CSV of the 2014 Amazon data: user, item, rating, timestamp, without a header."""
    schema = {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float64, "timestamp": pl.Int64}
    return Tables(pl.read_csv(ratings, glob=False, has_header=False, schema=schema))


def read_goodreads(interactions: Path, _scratch: Path) -> Tables:
    """Goodreads interactions by genre: one JSON object per line, packed with gzip.

    The time is `date_added`, when the book was put on a shelf: the one date that every line has. Lines whose date says nothing are
    left out, as they have no place in an order. A rating of 0 means "not rated".
    """
    schema = {"user_id": pl.String, "book_id": pl.String, "rating": pl.Float64, "date_added": pl.String}
    time = pl.col("date_added").str.to_datetime(GOODREADS_TIME, strict=False).dt.epoch("s")
    blocks = [
        pl.read_ndjson(BytesIO(block), schema=schema)
        .select("user_id", pl.col("book_id").alias("item_id"), "rating", time.alias("timestamp"))
        .drop_nulls()
        for block in gzip_blocks(interactions)
    ]
    return Tables(pl.concat(blocks) if blocks else _no_events())


def write_atomic_files(tables: Tables, folder: Path, name: str) -> None:
    """Write NAME.inter, and NAME.user and NAME.item where there is something to say, into `folder`."""
    _write_atomic(tables.events, folder / f"{name}.inter")
    if tables.users is not None:
        _write_atomic(tables.users, folder / f"{name}.user")
    if tables.items is not None:
        _write_atomic(tables.items, folder / f"{name}.item")


def _write_atomic(frame: pl.DataFrame, path: Path) -> None:
    """Tabs between the fields and no quotes around them: whitespace that would break a row becomes a space."""
    text = pl.col(pl.String).str.replace_all(r"[\t\r\n]+", " ")
    header = {column: f"{column}:{ATOMIC_TYPES.get(column, 'token')}" for column in frame.columns}
    frame.with_columns(text).rename(header).write_csv(path, separator="\t", quote_style="never")


def _latin1(archive: Path, member: str, scratch: Path) -> str:
    return extract_member(archive, member, scratch / Path(member).name).read_text(encoding="latin-1")


def _separated(text: str, separator: str, columns: tuple[str, ...]) -> pl.DataFrame:
    """Rows of text without a header or quotes; ratings and times become numbers."""
    numbers = {"rating": pl.Int64, "timestamp": pl.Int64}
    schema = {column: numbers.get(column, pl.String) for column in columns}
    return pl.read_csv(BytesIO(text.encode()), has_header=False, separator=separator, quote_char=None, schema=schema)


def _films(films: pl.DataFrame, genres: pl.Expr) -> pl.DataFrame:
    """Films as RecBole has them.

    Args:
        films: item_id and title, as "Toy Story (1995)", and what `genres` needs.
        genres: gives a list of genres per film.
    """
    title, year = pl.col("title").str.extract(TITLE, 1), pl.col("title").str.extract(TITLE, 2)
    return films.select(
        "item_id",
        pl.coalesce(title, "title").str.strip_chars().alias("movie_title"),
        year.alias("release_year"),
        genres.list.join(" ").alias("class"),
    )


def _no_events() -> pl.DataFrame:
    return pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String, "rating": pl.Float64, "timestamp": pl.Int64})
