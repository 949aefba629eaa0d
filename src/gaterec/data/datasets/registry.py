"""The known datasets, and how a name becomes a log: from a file, from data_path, from the cache, or from the publisher.

The data belong to others, so none come with gaterec. A known dataset is fetched from its publisher the first time it is asked for,
checked, brought into RecBole's atomic files, and kept in the cache: $GATEREC_CACHE, else $XDG_CACHE_HOME/gaterec, else
~/.cache/gaterec. Without a network one message says which file to put where. docs/datasets.md says the same for people.
"""

import difflib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from gaterec.config.paths import expanded
from gaterec.config.settings import Data
from gaterec.data.datasets.download import UnreachableError, download, exclusive
from gaterec.data.datasets.preprocessing import (
    KeepRatings,
    MinItemEvents,
    MinUserDistinctItems,
    MinUserEvents,
    OrderByTime,
    PreprocessingStep,
    apply_steps,
)
from gaterec.data.datasets.publishers import (
    Reader,
    read_amazon_ratings,
    read_goodreads,
    read_ml_1m,
    read_ml_20m,
    read_ml_100k,
    write_atomic_files,
)
from gaterec.data.log import Log
from gaterec.data.readers.parts import is_pattern, parts_in
from gaterec.data.readers.read import PandasFrame, read_log
from gaterec.errors import DataError, SettingsError

TEXT = (".inter", ".csv", ".tsv", ".txt", ".dat", ".jsonl", ".ndjson", ".json")
SUFFIXES = (*(ending for suffix in TEXT for ending in (suffix, f"{suffix}.gz")), ".parquet", ".pq")
"""The files that may hold a log, in the order in which NAME/NAME.* is looked for."""

MOVIELENS_TERMS = "research only; no redistribution, no commercial use without permission; cite Harper and Konstan 2015"
AMAZON_TERMS = "for research; cite McAuley et al. 2015 and He and McAuley 2016; no licence is stated"
GOODREADS_TERMS = "academic use only; no redistribution, no commercial use; cite Wan and McAuley 2018"

AMAZON = "https://jmcauley.ucsd.edu/data/amazon/index_2014.html"
AMAZON_FILES = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/"
GOODREADS = "https://sites.google.com/eng.ucsd.edu/ucsdbookgraph/home"
GOODREADS_FILES = (
    "https://mcauleylab.ucsd.edu/public_datasets/gdrive/goodreads/byGenre/",
    "https://datarepo.eng.ucsd.edu/mcauley_group/gdrive/goodreads/byGenre/",  # the older address of the same group
)
GOODREADS_PASSES = (KeepRatings(4), MinUserEvents(10), MinItemEvents(5), MinUserDistinctItems(10), OrderByTime())


@dataclass(frozen=True)
class Dataset:
    """One known dataset.

    Attributes:
        name: what people call it.
        users: how many, after the passes; as counted by `counted_by`.
        items: the same.
        events: the same.
        counted_by: whose numbers these are.
        publisher: the page that says what the data are.
        terms: the terms of use in a few words; the publisher's own words are what counts.
        urls: the publisher's addresses of the file, the best one first.
        read: takes the file to tables.
        passes: what is done to the events, in this order, each once.
        size, md5, sha256: of the file, where they are known.
    """

    name: str
    users: int
    items: int
    events: int
    counted_by: str
    publisher: str
    terms: str
    urls: tuple[str, ...]
    read: Reader
    passes: tuple[PreprocessingStep, ...] = ()
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """The name under which the publisher's file lies in the cache's downloads/."""
        return self.urls[0].rpartition("/")[2]


def _movielens(name: str, users: int, items: int, events: int, page: str, read: Reader, md5: str) -> Dataset:
    urls = (f"https://files.grouplens.org/datasets/movielens/{name}.zip",)
    publisher = f"https://grouplens.org/datasets/movielens/{page}/"
    return Dataset(name, users, items, events, "the publisher", publisher, MOVIELENS_TERMS, urls, read, md5=md5)


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        # The md5 digests of MovieLens are the publisher's own (NAME.zip.md5).
        _movielens("ml-100k", 943, 1_682, 100_000, "100k", read_ml_100k, "0e33842e24a9c977be4e0107933c0723"),
        _movielens("ml-1m", 6_040, 3_706, 1_000_209, "1m", read_ml_1m, "c4d9eecfca2ab87c1945afe126590906"),
        _movielens("ml-20m", 138_493, 26_744, 20_000_263, "20m", read_ml_20m, "cd245b17a1ae2cc31bb14903e1204af3"),
        # The other publishers state none: these are the digests that the library OmniRec pins for the same addresses.
        Dataset(
            name="amazon-cds",
            users=17_052,
            items=35_118,
            events=472_265,
            counted_by="the authors of HGN",
            publisher=AMAZON,
            terms=AMAZON_TERMS,
            urls=(AMAZON_FILES + "ratings_CDs_and_Vinyl.csv",),
            read=read_amazon_ratings,
            passes=(KeepRatings(4), MinUserEvents(5), MinItemEvents(8), MinUserDistinctItems(10), OrderByTime()),
            size=152_336_022,
            sha256="74b503152bc8f92f389a1f841ec00361f903772e5ebb2b664ce678c023dbbceb",
        ),
        Dataset(
            name="amazon-books",
            users=52_406,
            items=41_264,
            events=1_856_747,
            counted_by="the authors of HGN",
            publisher=AMAZON,
            terms=AMAZON_TERMS,
            urls=(AMAZON_FILES + "ratings_Books.csv",),
            read=read_amazon_ratings,
            passes=(KeepRatings(4), MinUserEvents(20), MinItemEvents(20), MinUserDistinctItems(10), OrderByTime()),
            size=916_259_348,
            sha256="87d923ddac2aacf40c1d0e0e056dbf4bf69c9c7d41852c6b434e781e759c0707",
        ),
        Dataset(
            name="goodreads-children",
            users=48_296,
            items=32_871,
            events=2_784_423,
            counted_by="the authors of HGN",
            publisher=GOODREADS,
            terms=GOODREADS_TERMS,
            urls=tuple(base + "goodreads_interactions_children.json.gz" for base in GOODREADS_FILES),
            read=read_goodreads,
            passes=GOODREADS_PASSES,
            sha256="d8ce59259e45262b3322bd87f5c2a13228cd8bb659332414a05660aed7cd7c71",
        ),
        Dataset(
            name="goodreads-comics",
            users=34_445,
            items=33_121,
            events=2_411_314,
            counted_by="the authors of HGN",
            publisher=GOODREADS,
            terms=GOODREADS_TERMS,
            urls=tuple(base + "goodreads_interactions_comics_graphic.json.gz" for base in GOODREADS_FILES),
            read=read_goodreads,
            passes=GOODREADS_PASSES,
            sha256="b55fbe66c2c802cefad5051808724d5074e342d6a4004309595a972702a62f4d",
        ),
    )
}


@dataclass(frozen=True)
class KnownDataset:
    """A row of `gaterec datasets`; `place` is where it lies on this machine, None when it would be fetched."""

    name: str
    users: int
    items: int
    events: int
    publisher: str
    terms: str
    place: Path | None


def known_datasets(data_path: str | Path = "dataset/") -> list[KnownDataset]:
    """The catalogue, with what of it is on this machine: in data_path, or in the cache.

    Raises:
        SettingsError: no folder can have the name in data_path.
    """
    folder = expanded(data_path, "data_path")
    try:
        places = {name: _log_in(folder / name) or _log_in(cache_folder() / name) for name in DATASETS}
    except OSError as error:
        raise SettingsError(f"data_path: {data_path}: can't be looked into: {error.strerror}") from None
    return [
        KnownDataset(
            name=dataset.name,
            users=dataset.users,
            items=dataset.items,
            events=dataset.events,
            publisher=dataset.publisher,
            terms=dataset.terms,
            place=places[dataset.name],
        )
        for dataset in DATASETS.values()
    ]


def cache_folder() -> Path:
    """Where fetched datasets are kept; it need not exist yet. An empty variable counts as none."""
    own, general = os.environ.get("GATEREC_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return expanded(own, "GATEREC_CACHE")
    return (expanded(general, "XDG_CACHE_HOME") if general else Path.home() / ".cache") / "gaterec"


def load_dataset(
    dataset: str | Path | pl.DataFrame | pl.LazyFrame | PandasFrame,
    data_path: str | Path,
    settings: Data,
    *,
    show_progress: bool = True,
) -> Log:
    """The log that `dataset` means, looked for in this order: what it is, data_path, the cache, the publisher.

    Args:
        dataset: a frame; the path of a file, or of a folder F that holds F.inter or numbered parts of one log; a pattern such as
            log/*.parquet; or a name.
        data_path: the folder with NAME/NAME.inter (or .csv, .tsv, .parquet).
        settings: how files are read.
        show_progress: show a bar while fetching, on a terminal.

    Raises:
        DataError: nothing is found; says what was tried and what to put where. Or what is found can't be read.
    """
    if not isinstance(dataset, str | Path):
        return read_log(dataset, settings)
    if dataset == "demo":
        from gaterec.data.datasets.simulate import simulate

        return simulate().log
    if not str(dataset):
        raise DataError("dataset: expected a name or a path, found nothing")
    try:
        folder = expanded(data_path, "data_path")
        file = _given_path(dataset, folder)
        name = None if file else str(dataset)
        source = file or _find(str(dataset), folder, show_progress)
    except (OSError, ValueError) as error:
        raise DataError(f"{dataset}: can't be looked for ({getattr(error, 'strerror', None) or 'no file can have this name'})") from None
    return read_log(source, settings, name)


# -- looking ------------------------------------------------------------------------------------------------------------------------


def _given_path(dataset: str | Path, data_path: Path) -> Path | None:
    """The file, the folder of parts or the pattern that is meant, if `dataset` is a path; None if it can only be a name."""
    if isinstance(dataset, str) and (is_pattern(Path(dataset)) or dataset[0] == "~") and (data_path / dataset).exists():
        return None  # a folder of this very name
    path = expanded(dataset, "dataset")
    if is_pattern(path) or (path.exists() and not path.is_dir()):
        return path
    found = _log_in(path)
    if found is not None:
        return found
    if isinstance(dataset, str) and path.name == dataset and not dataset.endswith(SUFFIXES):
        return None
    if path.is_dir():
        raise DataError(_nothing_in(path))
    raise DataError(f"{dataset}: there is no such file or folder")


def _log_in(folder: Path) -> Path | None:
    """NAME.inter, NAME.csv and so on in a folder NAME; or the folder itself, where it holds the numbered parts of a log."""
    name = folder.resolve().name
    places = (folder / f"{name}{suffix}" for suffix in SUFFIXES)
    file = next((file for file in places if file.exists() and not file.is_dir()), None)
    return file or (folder if folder.is_dir() and parts_in(folder) else None)


def _find(name: str, data_path: Path, show_progress: bool) -> Path:
    folder = data_path / name
    file = _log_in(folder)
    if file is not None:
        return file
    if folder.is_dir():
        raise DataError(_nothing_in(folder))
    if name not in DATASETS and Path(name).is_dir():
        raise DataError(_nothing_in(Path(name)))
    if name not in DATASETS:
        raise DataError(_unknown(name, data_path))
    return _log_in(cache_folder() / name) or _from_publisher(DATASETS[name], data_path, show_progress)


def _nothing_in(folder: Path) -> str:
    files = sorted(file.name for file in folder.iterdir())
    found = ", ".join(files[:8]) + (f" and {len(files) - 8} more" if len(files) > 8 else "")
    name = folder.resolve().name
    formats = {file.suffix for file in folder.iterdir()} & set(SUFFIXES)
    every = f"; to read several files as one log, name them: '{folder}/*{min(formats)}'" if formats else ""
    inner = next((file.name for file in sorted(folder.iterdir()) if file.is_dir() and file.name[0] not in "._"), None)
    every = f"; to read parts in folders below it as one log, name them: '{folder}/**'" if inner and not formats else every
    return (
        f"{folder}: expected {name}.inter (or {name}.csv, .tsv, .jsonl, .parquet), or the numbered parts of one log, in this folder, "
        f"found {found or 'nothing'}{every}"
    )


def _unknown(name: str, data_path: Path) -> str:
    known = ["demo", *DATASETS]
    own = [folder.name for folder in data_path.iterdir() if folder.is_dir()] if data_path.is_dir() else []
    near = difflib.get_close_matches(name.lower(), [*known, *own], n=1)
    return (
        f"{name}: no file of this name, no {data_path / name / name}.inter, and no known dataset"
        f"{f'; did you mean {near[0]}?' if near else ''} (known are {', '.join(known)}; `gaterec datasets` says more)"
    )


# -- fetching -----------------------------------------------------------------------------------------------------------------------


def _from_publisher(dataset: Dataset, data_path: Path, show_progress: bool) -> Path:
    """Fetch and convert into the cache; of several processes that want the same, one works and the others wait for it."""
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with exclusive(cache / f"{dataset.name}.lock"):
            return _log_in(cache / dataset.name) or _convert(dataset, _fetch(dataset, data_path, show_progress), cache)
    except OSError as error:
        raise DataError(
            f"{cache}: the cache can't be written ({error.strerror or error}); set GATEREC_CACHE to a folder that can"
        ) from None


def _fetch(dataset: Dataset, data_path: Path, show_progress: bool) -> Path:
    """The publisher's file in downloads/: the one that is there, or from the first address that gives it."""
    target = cache_folder() / "downloads" / dataset.file_name
    tried = []
    for url in dataset.urls:
        try:
            return download(url, target, size=dataset.size, md5=dataset.md5, sha256=dataset.sha256, progress=show_progress)
        except UnreachableError as error:
            tried.append(str(error))
    name = dataset.name
    raise DataError(
        f"{name}: not in {data_path / name}, not in the cache {cache_folder()}, and it can't be fetched from its publisher: {'; '.join(tried)}. "
        f"By hand: put {dataset.file_name} from {dataset.urls[0]} ({dataset.publisher}) into {target.parent}/, "
        f"or {name}.inter into {data_path / name}/"
    )


def _convert(dataset: Dataset, source: Path, cache: Path) -> Path:
    """Write the atomic files into a folder aside, and rename it when it is whole."""
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{dataset.name}-") as aside:
        whole, scratch = Path(aside) / "whole", Path(aside) / "scratch"
        whole.mkdir()
        scratch.mkdir()
        try:
            tables = dataset.read(source, scratch)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeDecodeError):
            raise DataError(
                f"{source}: expected {dataset.name} as its publisher lays it out, found another layout; remove the file, and the same "
                "command fetches it again"
            ) from None
        events = apply_steps(dataset.passes, tables.events)
        if events.is_empty():
            raise DataError(f"{source}: expected events, found none that the passes of {dataset.name} leave")
        write_atomic_files(replace(tables, events=events), whole, dataset.name)
        whole.replace(cache / dataset.name)
    return cache / dataset.name / f"{dataset.name}.inter"
