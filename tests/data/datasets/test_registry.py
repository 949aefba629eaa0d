"""From a name to a log: lookup order, publishers' layouts (from a server on this machine), the cache, and what is said when all fails."""

import gzip
import io
import json
import os
import re
import socket
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from gaterec.config.settings import Data
from gaterec.data.datasets import download
from gaterec.data.datasets import registry as catalog
from gaterec.data.datasets.preprocessing import apply_steps
from gaterec.data.datasets.publishers import Tables, write_atomic_files
from gaterec.data.datasets.registry import DATASETS, Dataset, known_datasets, load_dataset
from gaterec.data.log import Log
from gaterec.data.prepared import prepared_folder
from gaterec.errors import DataError, SettingsError
from tests.support.histories import event_rows
from tests.support.web import Site, serving

SHARED = Path(__file__).parents[4] / "shared" / "datasets"
INTER = "user_id:token\titem_id:token\ttimestamp:float\nann\tx\t1\nann\ty\t2\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, an empty folder to work in, quick failures and no proxy."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GATEREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "BACKOFF_SECONDS", (0.0,))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "cache"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def load(dataset: str | Path | pl.DataFrame, data_path: str | Path = "dataset/") -> Log:
    return load_dataset(dataset, data_path, Data.model_validate({}), show_progress=False)


def written(path: Path, text: str = INTER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def published(monkeypatch: pytest.MonkeyPatch, site: Site, name: str, content: bytes) -> Dataset:
    """Let the publisher of `name` be `site`, with `content` for its file."""
    known = DATASETS[name]
    urls = tuple(f"{site.base}/{number}/{known.file_name}" for number in range(len(known.urls)))
    local = replace(known, urls=urls, size=None, md5=None, sha256=None)
    monkeypatch.setitem(DATASETS, name, local)
    site.files[urls[0].removeprefix(site.base)] = content
    return local


def zipped(members: dict[str, str], encoding: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text.encode(encoding))
    return buffer.getvalue()


# -- the publishers' layouts, small -------------------------------------------------------------------------------------------------

ML_100K = zipped(
    {
        "ml-100k/u.data": "196\t242\t3\t881250949\n186\t302\t3\t891717742\n196\t267\t1\t878887116\n",
        "ml-100k/u.user": "186|39|F|executive|00000\n196|49|M|writer|55105\n",
        "ml-100k/u.item": (
            "242|Kolya (1996)|24-Jan-1997||http://x/?Kolya%20(1996)|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
            '302|L\'été "1" (V.O.) (1997)|01-Jan-1997||http://x/|0|1|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|1\n'
            "267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        ),
        "ml-100k/ua.base": "not asked for",
    },
    "latin-1",
)
ML_1M = zipped(
    {
        "ml-1m/ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n",
        "ml-1m/users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
        "ml-1m/movies.dat": "661::James and the Giant Peach (1996)::Animation|Children's\n1193::Nénette: Part 1 (1975)::Drama\n",
    },
    "latin-1",
)
ML_20M = zipped(
    {
        "ml-20m/ratings.csv": "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n7,29,4.0,1112484676\n",
        "ml-20m/movies.csv": (
            'movieId,title,genres\n2,Jumanji (1995),Adventure|Children\n29,"Cité, ""La"" (1995–)",Sci-Fi\n30,Rien,(no genres listed)\n'
        ),
    },
    "utf-8",
)


def ratings_that_stay(people: int, items: int) -> list[tuple[str, str, float, int]]:
    """Everybody likes everything, at falling times: the passes leave all of it, in the opposite order."""
    return [(f"A{u:03}", f"B{i:03}", 5.0, 1_400_000_000 - i) for u in range(people) for i in range(items)]


def amazon(rows: list[tuple[str, str, float, int]]) -> bytes:
    return "".join(f"{user},{item},{rating},{time}\n" for user, item, rating, time in rows).encode()


def goodreads(rows: list[tuple[str, str, int, str]]) -> bytes:
    names = ("user_id", "book_id", "rating", "date_added")
    lines = [json.dumps(dict(zip(names, row, strict=True)) | {"is_read": True, "review_id": "r", "read_at": ""}) for row in rows]
    return gzip.compress("\n".join(lines).encode(), mtime=0)


def test_ml_100k(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(monkeypatch, site, "ml-100k", ML_100K)
    log = load("ml-100k")
    assert (log.name, log.source) == ("ml-100k", str(cache / "ml-100k" / "ml-100k.inter"))
    assert event_rows(log) == [("196", "242", 3.0, 881250949), ("186", "302", 3.0, 891717742), ("196", "267", 1.0, 878887116)]
    assert (
        (cache / "ml-100k" / "ml-100k.inter")
        .read_text()
        .startswith("user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t")
    )
    assert (cache / "ml-100k" / "ml-100k.item").read_text() == (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        '242\tKolya\t1996\tComedy\n302\tL\'été "1" (V.O.)\t1997\tAction Animation Western\n267\tunknown\t\tunknown\n'
    )
    assert (cache / "ml-100k" / "ml-100k.user").read_text() == (
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n186\t39\tF\texecutive\t00000\n196\t49\tM\twriter\t55105\n"
    )
    assert log.users is not None
    assert log.items is not None


def test_ml_1m(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(monkeypatch, site, "ml-1m", ML_1M)
    log = load("ml-1m")
    assert event_rows(log) == [("1", "1193", 5.0, 978300760), ("2", "661", 3.0, 978302109)]
    assert (cache / "ml-1m" / "ml-1m.user").read_text().splitlines()[1] == "1\t1\tF\t10\t48067"
    items = (cache / "ml-1m" / "ml-1m.item").read_text().splitlines()
    assert items[1:] == ["661\tJames and the Giant Peach\t1996\tAnimation Children's", "1193\tNénette: Part 1\t1975\tDrama"]


def test_ml_20m(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(monkeypatch, site, "ml-20m", ML_20M)
    log = load("ml-20m")
    assert event_rows(log) == [("1", "2", 3.5, 1112486027), ("7", "29", 4.0, 1112484676)]
    assert log.users is None
    items = (cache / "ml-20m" / "ml-20m.item").read_text().splitlines()
    assert items[1:] == ["2\tJumanji\t1995\tAdventure Children", '29\tCité, "La"\t1995\tSci-Fi', "30\tRien\t\t"]


@pytest.mark.parametrize(("name", "size"), [("amazon-cds", 12), ("amazon-books", 21)])
def test_amazon(site: Site, monkeypatch: pytest.MonkeyPatch, name: str, size: int) -> None:
    stay = ratings_that_stay(size, size)
    disliked = [(user, "B999", 3.0, 1) for user, *_ in stay]
    rare = [("A000", "B998", 5.0, 1)]
    idle = [("A998", "B000", 5.0, 1)]
    published(monkeypatch, site, name, amazon(disliked + stay + rare + idle))
    assert event_rows(load(name)) == sorted(stay, key=lambda row: (row[0], row[3]))


@pytest.mark.parametrize("name", ["goodreads-children", "goodreads-comics"])
def test_goodreads(site: Site, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    stay = [(f"u{u:02}", f"{i}", 4, f"Fri Aug 25 13:55:{59 - i:02} -0700 2017") for u in range(10) for i in range(10)]
    unrated = [("u00", "77", 0, "Fri Aug 25 13:55:02 -0700 2017")]
    dateless = [("u00", "5", 5, "")]
    published(monkeypatch, site, name, goodreads(unrated + stay + dateless))
    events = event_rows(load(name))
    assert len(events) == 100
    assert events[0] == ("u00", "9", 4.0, 1503694550)
    assert [event[1] for event in events[:10]] == list("9876543210")


def test_the_written_files_read_back_as_they_were(tmp_path: Path) -> None:
    """The shared ml-100k, written by us, is byte for byte RecBole's file."""
    source = SHARED / "ml-100k" / "ml-100k.inter"
    if not source.exists():
        pytest.skip("needs shared/datasets/ml-100k")
    events = pl.read_csv(source, separator="\t", new_columns=["user_id", "item_id", "rating", "timestamp"])
    write_atomic_files(Tables(events), tmp_path, "copy")
    assert (tmp_path / "copy.inter").read_bytes() == source.read_bytes()


def test_the_passes_for_cds_leave_the_authors_own_log_as_it_is() -> None:
    """Their result is a fixed point of the last pass; ratings and thresholds have done their work before."""
    source = SHARED / "amazon-cds" / "amazon-cds.inter"
    if not source.exists():
        pytest.skip("needs shared/datasets/amazon-cds")
    events = load(source).events
    entry = DATASETS["amazon-cds"]
    assert (events["user_id"].n_unique(), events["item_id"].n_unique(), events.height) == (entry.users, entry.items, entry.events)
    assert apply_steps(entry.passes[-2:], events).height == events.height


# -- where a name is looked for -----------------------------------------------------------------------------------------------------


def test_a_frame_is_taken_as_it_is() -> None:
    assert load(pl.DataFrame({"user_id": ["a"], "item_id": ["b"], "timestamp": [1]})).events.height == 1


def test_the_demo_needs_nothing() -> None:
    assert load("demo").events.height > 0


@pytest.mark.parametrize("name", ["mine.inter", "mine.csv", "mine.tsv", "folder/mine.inter"])
def test_a_path_of_a_file(name: str) -> None:
    separator = "," if name.endswith(".csv") else "\t"
    text = INTER if name.endswith(".inter") else INTER.replace(":token", "").replace(":float", "").replace("\t", separator)
    path = written(Path(name), text)
    assert load(name).events.height == load(path).events.height == 2
    assert load(name).name == "mine"


def test_a_path_of_a_folder_that_holds_its_log() -> None:
    written(Path("somewhere/mine/mine.inter"))
    assert load("somewhere/mine").name == load(Path("somewhere/mine")).name == "mine"


@pytest.mark.parametrize("suffix", [".inter", ".inter.gz", ".csv", ".tsv", ".parquet"])
def test_a_name_in_data_path(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "data" / "mine" / f"mine{suffix}"
    path.parent.mkdir(parents=True)
    frame = pl.DataFrame({"user_id": ["ann"], "item_id": ["x"], "timestamp": [1]})
    match suffix:
        case ".parquet":
            frame.write_parquet(path)
        case ".inter":
            path.write_text(INTER)
        case ".inter.gz":
            path.write_bytes(gzip.compress(INTER.encode(), mtime=0))
        case _:
            frame.write_csv(path, separator="," if suffix == ".csv" else "\t")
    log = load("mine", tmp_path / "data")
    assert (log.name, log.source) == ("mine", str(path))


def test_data_path_comes_before_the_cache_and_the_cache_before_the_publisher(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(monkeypatch, site, "ml-100k", ML_100K)
    written(cache / "ml-100k" / "ml-100k.inter")
    assert load("ml-100k").source == str(cache / "ml-100k" / "ml-100k.inter")
    written(Path("dataset/ml-100k/ml-100k.inter"))
    assert load("ml-100k").source == "dataset/ml-100k/ml-100k.inter"
    assert site.requests == []


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert catalog.cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("GATEREC_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert catalog.cache_folder() == tmp_path / "xdg" / "gaterec"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert catalog.cache_folder() == tmp_path / "home" / ".cache" / "gaterec"


# -- fetching -----------------------------------------------------------------------------------------------------------------------


def test_it_is_fetched_once(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(monkeypatch, site, "ml-1m", ML_1M)
    assert load("ml-1m").events.equals(load("ml-1m").events)
    assert len(site.requests) == 1
    assert sorted(path.name for path in cache.iterdir()) == ["downloads", "ml-1m", "ml-1m.lock"]


def test_a_file_put_into_downloads_by_hand_needs_no_network(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(monkeypatch, site, "ml-1m", ML_1M)
    site.files = {}
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / "ml-1m.zip").write_bytes(ML_1M)
    assert load("ml-1m").events.height == 2
    assert site.requests == []


def test_several_at_once_convert_once(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(monkeypatch, site, "ml-1m", ML_1M)
    heights: list[int] = []
    threads = [threading.Thread(target=lambda: heights.append(load("ml-1m").events.height)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heights == [2] * 4
    assert len(site.requests) == 1


def test_the_second_address_is_tried(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    stay = [(f"u{u:02}", f"{i}", 4, "Fri Aug 25 13:55:02 -0700 2017") for u in range(10) for i in range(10)]
    published(monkeypatch, site, "goodreads-comics", goodreads(stay))
    site.files = {path.replace("/0/", "/1/"): content for path, content in site.files.items()}
    assert load("goodreads-comics").events.height == 100
    assert len(site.requests) == 2


def one_line(told: pytest.ExceptionInfo[DataError]) -> str:
    assert "\n" not in str(told.value)
    return str(told.value)


def test_without_a_network_one_line_says_what_to_put_where(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound and not listening: a port where certainly nobody answers
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/ml-100k.zip"
        monkeypatch.setitem(DATASETS, "ml-100k", replace(DATASETS["ml-100k"], urls=(url,)))
        with pytest.raises(DataError) as told:
            load("ml-100k")
    message = one_line(told)
    assert message.startswith(
        f"ml-100k: not in dataset/ml-100k, not in the cache {cache}, and it can't be fetched from its publisher: {url}: "
    )
    assert message.endswith(
        f"By hand: put ml-100k.zip from {url} (https://grouplens.org/datasets/movielens/100k/) into {cache}/downloads/, "
        "or ml-100k.inter into dataset/ml-100k/"
    )


def test_a_wrong_checksum_is_not_taken_for_a_missing_network(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = published(monkeypatch, site, "ml-100k", ML_100K)
    monkeypatch.setitem(DATASETS, "ml-100k", replace(entry, md5="0" * 32))
    with pytest.raises(DataError, match=r"ml-100k\.zip: expected md5 0+, found [0-9a-f]+; what came is removed") as told:
        load("ml-100k")
    one_line(told)
    assert not (cache / "ml-100k").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ml-100k", b"<html>log in</html>", "expected a sound zip file"),
        ("ml-100k", zipped({"ml-100k/u.data": "1\t2\n"}, "utf-8"), "as its publisher lays it out|expected one such file"),
        ("ml-1m", zipped({"../ml-1m/ratings.dat": "1::2::3::4"}, "utf-8"), "expected a name inside the archive's folder"),
        ("ml-20m", zipped({"ml-20m/ratings.csv": "a,b\nx,y\n"}, "utf-8"), "expected ml-20m as its publisher lays it out"),
        ("amazon-cds", b"u,i,good,1\n", "expected amazon-cds as its publisher lays it out"),
        ("amazon-cds", b"u,i,5.0,1\n", "expected events, found none that the passes of amazon-cds leave"),
        ("amazon-books", b"", "amazon-books"),
        ("goodreads-comics", b"not gzip", "expected a whole gzip file"),
        ("goodreads-comics", gzip.compress(b"<html>", mtime=0), "expected goodreads-comics as its publisher lays it out"),
        ("goodreads-children", gzip.compress(b"", mtime=0), "expected events, found none"),
    ],
)
def test_another_content_than_the_publishers(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, message: str
) -> None:
    published(monkeypatch, site, name, content)
    with pytest.raises(DataError, match=message) as told:
        load(name)
    one_line(told)
    assert sorted(path.name for path in cache.iterdir()) == sorted(["downloads", f"{name}.lock"]), "nothing half converted is left"


def test_a_cache_that_cannot_be_written(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(monkeypatch, site, "ml-1m", ML_1M)
    cache.write_text("a file where a folder is needed")
    with pytest.raises(DataError, match=r"the cache can't be written .* set GATEREC_CACHE") as told:
        load("ml-1m")
    one_line(told)


# -- mistakes -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "near"), [("ml100k", "ml-100k"), ("ML-1M", "ml-1m"), ("amazon_books", "amazon-books"), ("demos", "demo")])
def test_a_misspelt_name(name: str, near: str) -> None:
    with pytest.raises(DataError, match=f"did you mean {near}.*known are demo, ml-100k, ml-1m") as told:
        load(name)
    one_line(told)


def test_a_misspelt_name_of_an_own_folder() -> None:
    written(Path("dataset/holidays/holidays.inter"))
    with pytest.raises(DataError, match=r"no dataset/holiday/holiday\.inter, and no known dataset; did you mean holidays\?"):
        load("holiday")


def test_a_name_like_nothing() -> None:
    with pytest.raises(DataError, match=r"no known dataset \(known are demo, "):
        load("qqqqqqqq")


def test_a_folder_without_its_log_says_what_it_holds() -> None:
    written(Path("dataset/ml-100k/u.data"))
    for dataset in ("ml-100k", "dataset/ml-100k", Path("dataset/ml-100k")):
        with pytest.raises(DataError, match=r"dataset/ml-100k: expected ml-100k\.inter .* in this folder, found u\.data"):
            load(dataset)


@pytest.mark.parametrize("dataset", ["no/such/file.csv", "nothing.inter", Path("nothing"), "../nothing", "", "x" * 5_000])
def test_a_path_that_leads_nowhere(dataset: str | Path) -> None:
    with pytest.raises(DataError) as told:
        load(dataset)
    one_line(told)


# -- the table ----------------------------------------------------------------------------------------------------------------------


def test_the_table_says_what_is_here(cache: Path) -> None:
    written(Path("dataset/ml-1m/ml-1m.inter"))
    written(cache / "ml-100k" / "ml-100k.inter")
    places = {row.name: row.place for row in known_datasets("dataset")}
    assert list(places) == list(DATASETS)
    assert places.pop("ml-1m") == Path("dataset/ml-1m/ml-1m.inter")
    assert places.pop("ml-100k") == cache / "ml-100k" / "ml-100k.inter"
    assert set(places.values()) == {None}


@pytest.mark.parametrize("entry", DATASETS.values(), ids=lambda entry: entry.name)
def test_every_entry_is_complete(entry: Dataset) -> None:
    assert entry.md5 or entry.sha256
    assert entry.terms
    assert all(url.startswith("https://") and url.endswith(entry.file_name) for url in entry.urls)


def test_the_page_for_people_tells_of_every_dataset_and_pass() -> None:
    page = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text()
    for entry in DATASETS.values():
        for said in (f"`{entry.name}`", f"{entry.users:,}", f"{entry.items:,}", f"{entry.events:,}", *map(str, entry.passes)):
            assert said in page, f"{entry.name}: {said}"


def test_each_dataset_makes_the_passes_of_its_column_in_the_order_of_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if re.match(r"\| (pass|\d) \|", line)]
    told: dict[str, list[str]] = {}
    for names, *cells in zip(*(row[1:] for row in rows), strict=True):
        told |= {name: [cell for cell in cells if cell and not cell.startswith("(")] for name in re.findall(r"`(.+?)`", names)}
    assert told == {entry.name: list(map(str, entry.passes)) for entry in DATASETS.values() if entry.passes}


@pytest.mark.parametrize("name", ["[v1]", "a?b", "file:", "~"])
def test_a_dataset_of_any_name_is_read_literally(tmp_path: Path, name: str) -> None:
    decoy = pl.DataFrame({"user_id": ["no"], "item_id": ["no"]})
    for ending in (".parquet", ".csv", ".inter"):
        folder = tmp_path / ending / name
        folder.mkdir(parents=True)
        for other in ("v", "axb"):
            (tmp_path / ending / other).mkdir()
            decoy.write_parquet(tmp_path / ending / other / f"{name}.parquet")
        frame = pl.DataFrame({"user_id": ["ann"], "item_id": ["x"]})
        if ending == ".parquet":
            frame.write_parquet(folder / f"{name}.parquet")
        else:
            text = "user_id,item_id\nann,x\n" if ending == ".csv" else "user_id:token\titem_id:token\nann\tx\n"
            (folder / f"{name}{ending}").write_text(text)
        assert event_rows(load(folder)) == event_rows(load(name, tmp_path / ending)) == [("ann", "x")]


def test_publishers_files_lie_in_a_cache_of_any_name(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GATEREC_CACHE", str(tmp_path / "[c]"))
    rows = "".join(f"u{user},i{item},5.0,{item}\n" for user in range(12) for item in range(12))
    published(monkeypatch, site, "amazon-cds", rows.encode())
    assert load("amazon-cds").events.height == 144


@pytest.mark.parametrize("ending", [".inter", ".csv", ".parquet", ".user"])
def test_a_pipe_in_a_dataset_folder_is_refused(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    if ending == ".user":
        written(folder / "shop.inter")
    os.mkfifo(folder / f"shop{ending}")
    for dataset, data_path in (
        (folder, "nowhere"),
        (folder / "shop.inter" if ending == ".user" else folder / f"shop{ending}", "nowhere"),
        ("shop", tmp_path),
    ):
        with pytest.raises(DataError, match=rf"shop\{ending}: can't be read: expected a regular file, found a named pipe"):
            load(dataset, data_path)


def test_paths_that_lead_nowhere_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for dataset, data_path, setting in (("~nosuch/x", "nowhere", "dataset"), ("shop", "~nosuch/x", "data_path")):
        with pytest.raises(SettingsError, match=rf"^{setting}: ~nosuch/x: there is no home folder ~nosuch; write \./~nosuch/x"):
            load(dataset, data_path)
        assert prepared_folder(dataset, data_path) is None
    with pytest.raises(SettingsError, match=r"^data_path: x+: can't be looked into: File name too long$"):
        known_datasets("x" * 300)
    monkeypatch.setenv("GATEREC_CACHE", "~nosuch/x")
    with pytest.raises(SettingsError, match=r"^GATEREC_CACHE: ~nosuch/x: there is no home folder"):
        load("ml-100k")
    with pytest.raises(SettingsError, match=r"no file can have this name$"):
        load("a\0b.csv")
    with pytest.raises(DataError, match="device"):
        load("/dev/zero")
