"""Runs for other programs: every model's encoder in ONNX Runtime, items for vector stores, and what is refused."""

import io
import json
import logging
import os
import shutil
import sys
import warnings
from contextlib import redirect_stdout, suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import gaterec as library
from gaterec.errors import GaterecError, RunError
from gaterec.inference.export import LastQuery, OnnxEncoder, _quiet, export, load_onnx
from gaterec.inference.recommender import load
from gaterec.io.files import read_tensors, write_tensors
from gaterec.models import MODELS, model_class
from gaterec.models.encoder import SequenceEncoder
from gaterec.models.hgn import HGN, HGNSettings
from tests.support.commands import gaterec, write_log

pytestmark = pytest.mark.slow


def trained(place: Path, model: str = "HGN", **settings: object) -> Path:
    quiet = {"state": "WARNING", "MAX_ITEM_LIST_LENGTH": 5, "checkpoint_dir": str(place), **settings}
    if model_class(model).Settings.trained:
        quiet["epochs"] = 1
    return library.run(model, write_log(place / "log.csv"), config_dict=quiet)["folder"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained HGN on a log whose items have titles."""
    place = tmp_path_factory.mktemp("export")
    (place / "log").mkdir()
    events = pl.read_csv(write_log(place / "log.csv")).rename(
        {"user_id": "user_id:token", "item_id": "item_id:token", "timestamp": "timestamp:float"}
    )
    events.write_csv(place / "log" / "log.inter", separator="\t")
    lines = ["item_id:token\ttitle:token_seq", *(f"i{number}\tFilm {number}" for number in range(20))]
    (place / "log" / "log.item").write_text("\n".join(lines) + "\n")
    settings = {"data_path": str(place), "checkpoint_dir": str(place / "saved"), "state": "WARNING", "repeatable": False}
    return library.run("HGN", "log", config_dict={**settings, "embedding_size": 4, "MAX_ITEM_LIST_LENGTH": 5, "epochs": 2})["folder"]


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    export(run, "onnx", run.parent / "onnx")
    return run.parent / "onnx"


@pytest.mark.parametrize("model", [name for name in MODELS if model_class(name).dot_product])
def test_every_model_with_vectors_exports(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path, model)
    assert gaterec("export", run, f"--out={tmp_path / 'onnx'}").err == ""
    assert capfd.readouterr().err == ""  # the exporter's own noise
    encoder, recommender = load_onnx(tmp_path / "onnx"), load(run)
    for number in (1, 2):
        ids = encoder.users["id"].gather([number - 1]).to_list()
        (person,) = recommender.request_users(ids, None)
        found = encoder.queries(np.array([number]), person.items[None, -4:].astype(np.int64))
        expected = recommender.queries(recommender.request_users(None, [recommender.items.to_series(0).gather(person.items[-4:])]))
        if model not in {"HGN", "BPR", "FPMC", "Caser"}:  # in which a person counts
            assert found == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-6)
        scores = found @ encoder.table.T + encoder.bias
        assert scores.shape == (1, 21)
        assert scores[0, 0] == -np.inf


def test_a_model_without_vectors_is_refused(tmp_path: Path) -> None:
    run = trained(tmp_path, "ItemKNN")
    with pytest.raises(RunError, match="ItemKNN has no vectors of items: its scores are no products of a query and an item"):
        export(run, "onnx", tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"pooling_type": "max"},
        {"feature_gate": False, "item_bias": False},
        {"instance_gate": False},
        {"instance_gate": False, "pooling_type": "max"},
        {"item_item": False, "tied_tables": True},
        {"user_term": False},
    ],
)
@pytest.mark.parametrize("length", [1, 4, 9])
def test_last_query_of_hgn_equals_its_encoder(changed: dict[str, object], length: int) -> None:
    torch.manual_seed(length)
    model = HGN(8, 30, 4, HGNSettings(embedding_size=6, **changed)).double().eval()
    items = torch.randint(1, 30, (5, length))
    items[torch.arange(length) >= torch.tensor([length, 1, 2, 3, 1])[:, None]] = 0
    users = torch.tensor([0, 1, 2, 3, 7])
    vectors = model.user_vectors(users)
    torch.testing.assert_close(LastQuery(model)(users, items), SequenceEncoder.last_query(model, vectors, items))


def test_what_the_readme_of_an_export_says_runs_and_recommends_what_the_run_does(
    run: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender = load(run)
    text = (exported / "README.txt").read_text()
    program = "\n".join(line[2:] for line in text.splitlines() if line.startswith("  "))
    program = program.replace("get('ID'", "get('u3'").replace("['ID', 'ID']", "['i1', 'i2', 'i4']")
    monkeypatch.chdir(exported)
    names: dict[str, np.ndarray] = {}
    with redirect_stdout(io.StringIO()):
        exec(compile(program, "README.txt", "exec"), names)
    known = recommender._users._numbers["u3"]
    history = np.array([recommender.item_number(item) for item in ("i1", "i2", "i4")])
    with torch.inference_mode():
        query = recommender.model(torch.tensor([known]), torch.from_numpy(history)[None])[:, -1]
        scores = recommender.model.scores(query).numpy()
    assert names["scores"][:, 1:] == pytest.approx(scores[:, 1:], rel=1e-4)
    assert names["best"][0] == scores[0].argmax()


@pytest.mark.parametrize("kind", ["parquet", "numpy"])
def test_a_vector_store_needs_inner_products_alone(run: Path, tmp_path: Path, kind: str) -> None:
    assert gaterec("export", run, f"--format={kind}", f"--out={tmp_path / 'items'}").code == 0
    recommender = load(run)
    if kind == "parquet":
        frame = pl.read_parquet(tmp_path / "items" / "items.parquet")
        vectors = frame["vector"].to_numpy()
    else:
        frame, vectors = pl.read_csv(tmp_path / "items" / "items.csv"), np.load(tmp_path / "items" / "vectors.npy")
    assert frame["title"].to_list() == [f"Film {item[1:]}" for item in frame["id"]]
    query = recommender.queries(recommender.request_users(["u1"], None))[0].numpy()
    scores = recommender.score("u1", frame["id"])
    assert vectors @ np.append(query, 1.0) == pytest.approx(scores, rel=1e-5)


def test_an_encoder_that_gives_other_queries_is_not_written(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(LastQuery):
        def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
            return super().forward(users, items) * 1.01

    monkeypatch.setattr("gaterec.inference.export.LastQuery", Wrong)
    with pytest.raises(RunError, match="gives other queries than PyTorch"):
        export(run, "onnx", tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_or_changed_export_is_refused_when_it_is_read(exported: Path, tmp_path: Path) -> None:
    assert isinstance(load_onnx(exported), OnnxEncoder)
    shutil.copytree(exported, tmp_path / "onnx")
    tensors, _ = read_tensors(tmp_path / "onnx" / "reference.safetensors")
    tensors["queries"] = tensors["queries"] + 0.1
    write_tensors(tmp_path / "onnx" / "reference.safetensors", tensors, {})
    with pytest.raises(RunError, match=r"gives other queries than PyTorch did: they differ by .* of the largest; export it again"):
        load_onnx(tmp_path / "onnx")
    os.truncate(tmp_path / "onnx" / "encoder.onnx", 100)
    with pytest.raises(RunError, match="expected an export of gaterec, found none that can be read"):
        load_onnx(tmp_path / "onnx")
    with pytest.raises(RunError, match="nowhere: expected an export"):
        load_onnx(tmp_path / "nowhere")


def test_only_an_earlier_export_is_written_over(run: Path, tmp_path: Path) -> None:
    for kind in ("numpy", "parquet"):
        export(run, kind, tmp_path / "items")
    assert {file.name for file in (tmp_path / "items").iterdir()} == {"items.parquet", "export.json", "README.txt"}
    assert json.loads((tmp_path / "items" / "export.json").read_text())["items"] == 20
    (tmp_path / "items" / "letter.txt").write_text("dear")
    (tmp_path / "file").write_text("")
    for place, found in (("items", "letter.txt in it"), ("file", "a file")):
        outcome = gaterec("export", run, "--format=numpy", f"--out={tmp_path / place}")
        assert outcome.code == 2
        assert (
            outcome.err
            == f"gaterec: out: {tmp_path / place}: expected a new folder, or an earlier export, found {found}; nothing was written\n"
        )
    assert (tmp_path / "items" / "letter.txt").read_text() == "dear"


def test_a_format_or_a_package_that_is_not_there_is_told(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        gaterec("export", run, "--format=onx", f"--out={tmp_path}/x").err
        == "gaterec: format: there is no format 'onx'; did you mean onnx?\n"
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    told = "export: onnxruntime is not installed; pip install 'gaterec[onnx]'"
    assert gaterec("export", run, f"--out={tmp_path}/x").err == f"gaterec: {told}\n"
    with pytest.raises(GaterecError, match="onnxruntime is not installed"):
        load_onnx(tmp_path)


def test_rows_of_one_event_export(tmp_path: Path) -> None:
    run = trained(tmp_path, "SASRec", MAX_ITEM_LIST_LENGTH=1, hidden_size=4)
    export(run, "onnx", tmp_path / "onnx")
    assert load_onnx(tmp_path / "onnx").queries(np.array([1]), np.array([[3]])).shape == (1, 4)


def test_what_is_quiet_for_the_exporter_speaks_again_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("torch.onnx")
    with caplog.at_level(logging.INFO, "torch.onnx"):
        with suppress(ValueError), _quiet():
            log.warning("of the exporter")
            warnings.warn("of the exporter", UserWarning, stacklevel=1)
            raise ValueError("bad")
        log.info("of others")
        with pytest.warns(UserWarning, match="of others"):
            warnings.warn("of others", UserWarning, stacklevel=1)
    assert caplog.messages == ["of others"]
