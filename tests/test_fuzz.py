"""Mangled files and mangled settings: the outcome is a result or one clear error, never another exception, a hang or a changed file.

GATEREC_FUZZ sets the number of examples over all tests here (300 by default).
"""

import gzip
import hashlib
import io
import string
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gaterec.config.recbole_keys import REFUSED
from gaterec.config.resolve import parse_flags, resolve
from gaterec.config.section import Section
from gaterec.config.settings import Data, Settings
from gaterec.data.filters import apply_filters
from gaterec.data.readers.read import read_log
from gaterec.errors import GaterecError
from tests.support.commands import gaterec, write_log
from tests.support.mangling import Change, a_result_or_a_clear_error, changes, fuzz, mangled, plain, values

pytestmark = pytest.mark.slow

# -- what is mangled --------------------------------------------------------------------------------------------------------------

FRAME = pl.DataFrame(
    {
        "user_id": ["u1", "u1", "u2", "u2", "u3", "u3"],
        "item_id": ["a", "b", "a", "b", "a", "ü"],
        "rating": [5.0, 3.0, 4.5, 1.0, 2.0, 5.0],
        "timestamp": [881250949, 881250950, 3, 2, 1, 7],
    }
)
ATOMIC = FRAME.rename({"user_id": "user_id:token", "item_id": "item_id:token", "rating": "rating:float", "timestamp": "timestamp:float"})


def _csv(frame: pl.DataFrame, separator: str = ",", quotes: bool = False) -> bytes:
    return frame.write_csv(separator=separator, quote_style="always" if quotes else "necessary").encode()


def _parquet(**options: Any) -> bytes:
    stream = io.BytesIO()
    FRAME.write_parquet(stream, **options)
    return stream.getvalue()


SEEDS: dict[str, bytes] = {
    "log.inter": _csv(ATOMIC, "\t"),
    "seq.inter": b"user_id:token\titem_id:token\ttags:token_seq\tv:float_seq\nu1\ta\tx y\t1 2.5\nu2\tb\t\t3\n",
    "log.csv": _csv(FRAME),
    "quoted.csv": _csv(FRAME, quotes=True),
    "dates.csv": b"user_id,item_id,timestamp\r\n1,2,2024-01-01\r\n1,3,2024-01-02T03:04:05.678Z\r\n2,2,2024-01-02 03:04+01:00\r\n",
    "log.tsv": _csv(FRAME, "\t"),
    "log.parquet": _parquet(compression="uncompressed", statistics=False),
    "packed.parquet": _parquet(),
    "log.inter.gz": gzip.compress(_csv(ATOMIC, "\t"), mtime=0),
    "log.csv.gz": gzip.compress(_csv(FRAME), mtime=0),
}
DATA = [
    Data(),
    Data(rm_dup_inter="last", user_inter_num_interval="[2,inf)", item_inter_num_interval="[2,4)"),
    Data(val_interval={"rating": "[2,4];(4,inf)"}, load_col={"inter": "*"}),
    Data(val_interval={"item_id": ["a", "b"]}, unload_col={"inter": ["rating"]}, rm_dup_inter="first"),
]


# -- what must hold ---------------------------------------------------------------------------------------------------------------


def check_file(path: Path, raw: bytes, chosen: Data) -> None:
    path.write_bytes(raw)
    before = hashlib.sha256(raw).digest()
    with a_result_or_a_clear_error():
        log, steps = apply_filters(read_log(path, chosen), chosen)
        assert log.events.height == steps[-1].events > 0
        assert {log.events["user_id"].dtype, log.events["item_id"].dtype} <= {pl.String, pl.Int64}
        assert log.events["user_id"].null_count() == log.events["item_id"].null_count() == 0
        if "timestamp" in log.events.columns:
            times = log.events["timestamp"]
            assert times.dtype in (pl.Int64, pl.Float64)
            assert times.is_finite().all()
    assert hashlib.sha256(path.read_bytes()).digest() == before


# -- files ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEEDS)
@fuzz(0.4 / len(SEEDS))
@given(how=st.lists(changes(), min_size=1, max_size=5), chosen=st.sampled_from(DATA))
def test_mangled_files(tmp_path_factory: pytest.TempPathFactory, name: str, how: list[Change], chosen: Data) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    check_file(folder / name, mangled(SEEDS[name], how), chosen)


@fuzz(0.05)
@given(how=st.lists(changes(), min_size=1, max_size=5), chosen=st.sampled_from(DATA))
def test_mangled_text_inside_gzip(tmp_path_factory: pytest.TempPathFactory, how: list[Change], chosen: Data) -> None:
    raw = gzip.compress(mangled(SEEDS["log.inter"], how), mtime=0)
    check_file(tmp_path_factory.getbasetemp() / "inside.inter.gz", raw, chosen)


@fuzz(0.1)
@given(
    user=st.lists(changes(), max_size=3),
    item=st.lists(changes(), max_size=3),
    separator=st.sampled_from(["\t", " ", ",", '"', "é", "\n", "\r", "\0", "a"]),
)
def test_mangled_features(tmp_path_factory: pytest.TempPathFactory, user: list[Change], item: list[Change], separator: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "features"
    folder.mkdir(exist_ok=True)
    (folder / "x.user").write_bytes(mangled(b"user_id:token\tage:float\nu1\t30\nu2\t\n", user))
    (folder / "x.item").write_bytes(mangled(b"item_id:token\tgenre:token_seq\na\tDrama Comedy\nb\t\n", item))
    chosen = Data(field_separator=separator, val_interval={"age": "[1,inf)"})
    check_file(folder / "x.inter", SEEDS["log.inter"].replace(b"\t", separator.encode()), chosen)
    check_file(folder / "x.inter", SEEDS["log.inter"], Data(val_interval={"genre": ["Drama"]}))


cells: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.dates(),
    st.datetimes(),
    st.lists(st.integers(0, 9), max_size=3),
    st.decimals(-1_000_000, 1_000_000, places=2),
)


@fuzz(0.1)
@given(
    rows=st.lists(st.tuples(cells, cells, cells, cells), max_size=5),
    names=st.permutations(["user_id", "item_id", "timestamp", "rating"]),
    kind=st.sampled_from(["polars", "pandas", "parquet"]),
    chosen=st.sampled_from(DATA),
)
def test_odd_frames(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], names: list[str], kind: str, chosen: Data
) -> None:
    columns = {name: [row[index] for row in rows] for index, name in enumerate(names)}
    source: Any
    if kind == "pandas":
        source = pytest.importorskip("pandas", reason="needs pandas").DataFrame(columns)
    else:
        try:
            source = pl.DataFrame(columns, strict=False)
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError, pl.exceptions.PanicException):
            return
    if kind == "parquet":
        path = tmp_path_factory.getbasetemp() / "odd.parquet"
        try:
            source.write_parquet(path)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return
        source = path
    with a_result_or_a_clear_error():
        apply_filters(read_log(source, chosen), chosen)


# -- settings ---------------------------------------------------------------------------------------------------------------------


class Tiny(Section):
    """A model's own settings, for these tests."""

    embedding_size: int = 64
    pooling_type: str = "average"


KNOWN = [*Settings.model_fields, *Tiny.model_fields, *REFUSED]
names = st.sampled_from(KNOWN) | st.text(max_size=12)


def check_settings(**sources: Any) -> None:
    with a_result_or_a_clear_error():
        found = resolve(lambda model: Tiny, **sources)
        assert isinstance(found, Settings)
        found.as_dict()


@fuzz(0.1)
@given(chosen=st.dictionaries(names, values, max_size=3), flags=st.dictionaries(names, values, max_size=2))
def test_mangled_dictionaries(chosen: dict[str, Any], flags: dict[str, Any]) -> None:
    check_settings(config_dict=chosen, flags=flags)


@pytest.mark.parametrize("name", ["eval_args", "train_neg_sample_args", "load_col", "val_interval", "topk", "metrics", "clip_grad_norm"])
@fuzz(0.1 / 7)
@given(value=values)
def test_mangled_nested_settings(name: str, value: object) -> None:
    check_settings(config_dict={name: value})


@fuzz(0.1)
@given(chosen=st.dictionaries(names, plain, max_size=3), how=st.lists(changes(), max_size=4))
def test_mangled_yaml(tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, Any], how: list[Change]) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    raw = mangled(yaml.safe_dump(chosen, allow_unicode=True).encode("utf-8", "replace"), how)
    path.write_bytes(raw)
    check_settings(config_files=[path])
    assert path.read_bytes() == raw


texts = st.one_of(
    st.text(max_size=20),
    st.text(string.punctuation + "0123456789 eE\n", max_size=30),
    values.map(lambda value: str(value)[:500]),
    st.sampled_from(["9" * 5000, "0x" + "f" * 5000, "[" * 5000, "{" * 200, "1" + "+1" * 3000]),  # too long for Python to print or parse
)


BOMB = "a0: &a0 [1,1]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20)) + "topk: *a19\n"
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 20))


@pytest.mark.parametrize(
    "text", [BOMB, MERGE_BOMB, "topk: &t [*t]\n", "seed: 0x" + "f" * 5000, "topk: " + "[" * 3000 + "]" * 3000, "? [a]\n: 1\n"]
)
def test_known_traps_of_yaml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trap.yaml"
    path.write_text(text)
    with pytest.raises(GaterecError):
        resolve(lambda model: Tiny, config_files=[path])


@fuzz(0.05)
@given(flags=st.lists(st.tuples(names, texts, st.booleans()), max_size=3))
def test_mangled_flags(flags: list[tuple[str, str, bool]]) -> None:
    arguments: list[str] = []
    for name, text, together in flags:
        arguments += [f"--{name}={text}"] if together else [f"--{name}", text]
    with a_result_or_a_clear_error():
        check_settings(flags=parse_flags(arguments))


# -- searches ---------------------------------------------------------------------------------------------------------------------

SPACE = b"""learning_rate choice [0.01,0.001]
pooling_type choice [average,max]  # a remark
reg_weight choice ['[0.0,0.0]',[0.001,0.00001]]
dropout uniform 0,0.5
embedding_size quniform 16,128,16
weight_decay loguniform -12,-4
"""


@fuzz(0.1)
@given(
    raw=st.lists(changes(), max_size=3).map(lambda how: mangled(SPACE, how)) | texts.map(lambda text: text.encode("utf-8", "replace")),
    name=st.sampled_from(["hyper.test", "space.yaml"]),
)
def test_mangled_spaces_through_the_whole_command(tmp_path_factory: pytest.TempPathFactory, raw: bytes, name: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "search"
    folder.mkdir(exist_ok=True)
    path, log = folder / name, folder / "log.csv"
    path.write_bytes(raw)
    write_log(log)
    with (
        a_result_or_a_clear_error(),
        patch("gaterec.experiments.tune.tune.Scheduler.run"),
    ):  # nothing is trained, so even a good space comes to nothing
        found = gaterec("tune", "-d", log, f"--params_file={path}", f"--checkpoint_dir={folder / 'saved'}")
    assert found.code == 2, found
    assert found.err.splitlines()[-1].startswith("gaterec: "), found.err
    assert "Traceback" not in found.err
    assert path.read_bytes() == raw
