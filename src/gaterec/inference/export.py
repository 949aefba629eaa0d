"""A run for other programs: its encoder for ONNX Runtime, checked against PyTorch, or its items' vectors for a vector store.

    onnx      encoder.onnx (users, items -> query), items.parquet, table.npy, bias.npy, users.parquet, reference.safetensors, export.json, README.txt
    parquet   items.parquet with the bias as the vector's last number, export.json, README.txt
    numpy     vectors.npy likewise, items.csv, export.json, README.txt

A vector store knows dot products alone, so there the bias is one more number of the vector, and a query ends with a 1. The encoder returns the
query after the last event of each row.
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from gaterec._version import __version__
from gaterec.config.paths import check_regular, read_bytes, read_text
from gaterec.errors import RunError, SettingsError, nearest
from gaterec.inference.recommender import Recommender, RequestUser, load
from gaterec.inference.run_folder import LoadedRun, newest_run
from gaterec.io.console import Terminal
from gaterec.io.files import folder_written_whole, in_the_way, read_table, read_tensors, write_table, write_tensors
from gaterec.models.encoder import SequenceEncoder, masked_bias

FORMATS = ("onnx", "parquet", "numpy")
FILES = {
    "encoder.onnx", "encoder.onnx.data", "items.parquet", "users.parquet", "items.csv", "table.npy", "bias.npy", "vectors.npy",
    "reference.safetensors", "export.json", "README.txt",
}  # fmt: skip
"""What an export may hold; a folder with anything else is not written over."""
ASKED, BATCHES = 256, (256, 1, 7)
"""ONNX Runtime and PyTorch are compared on the queries of so many people, in batches of these sizes."""
TOLERANCE = 1e-4
"""How far apart they may be, relative to the largest number of the queries."""


class LastQuery(nn.Module):
    """The query after the last event of each row, as ONNX can hold it (see SequenceEncoder.last_query).

    Args:
        model: any encoder.
    """

    def __init__(self, model: SequenceEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """(B,) and (B, T), padding to the right of the events -> (B, D)"""
        return self.model.last_query(self.model.user_vectors(users), items)


def export(folder: Path, kind: str, out: Path) -> None:
    """What `gaterec export` does.

    Args:
        folder: a run folder, or a folder of them.
        kind: onnx, parquet or numpy.
        out: the folder to make, whole or not at all; an earlier export is replaced, anything else is refused.

    Raises:
        SettingsError: there is no such kind, a package is missing, or something else stands at `out`.
        RunError: the run can't be read, has no vectors, can't be exported, or its export gives other queries than PyTorch.
    """
    if kind not in FORMATS:
        raise SettingsError(f"format: there is no format {kind!r}; {nearest(kind, FORMATS)}")
    if kind == "onnx":
        _packages("onnx", "onnxscript", "onnxruntime")
    found = in_the_way(out, lambda names: FILES & names if "export.json" in names else set())
    if found:
        raise SettingsError(f"out: {out}: expected a new folder, or an earlier export, found {found}; nothing was written")
    recommender = load(newest_run(folder), index=False, fold_in=False)
    run = recommender.run
    if not run.model.dot_product:
        raise RunError(f"{run.folder}: {run.settings.model} has no vectors of items: its scores are no products of a query and an item")
    display, said = Terminal(run.settings, "INFO"), ""
    with folder_written_whole(out) as part, display.stages() as tell:
        tell("writing the items")
        about = _items(recommender, kind, part)
        if kind == "onnx":
            tell("exporting the encoder")
            about["any_length"] = _encoder(run, part)
            tell("checking it with ONNX Runtime")
            error = _check(recommender, about, part)
            said = f"; its queries are PyTorch's within {error:.1e} of the largest"
        (part / "export.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (part / "README.txt").write_text(_readme(about), encoding="utf-8")
    display.answer(f"{out}: {run.info['title']} as {kind}, {about['items']:,} items{said}; README.txt says how to use it")


class OnnxEncoder:
    """An exported encoder in ONNX Runtime.

    Attributes:
        about: what export.json says.
        items, users: the ids, and more columns of the items; a row for each item from number 1 on, and for each user whose vector was trained.
        table, bias: (V, D) and (V,), a row for each number from 0, the padding, whose bias is -inf.
    """

    def __init__(self, folder: Path, session: Any, about: dict[str, Any]) -> None:
        self.folder, self.about, self._session = folder, about, session
        self.items = read_table(folder / "items.parquet", about["items"])
        self.users = read_table(folder / "users.parquet")
        self.table, self.bias = (np.load(io.BytesIO(read_bytes(folder / f"{name}.npy")), allow_pickle=False) for name in ("table", "bias"))

    def queries(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(B,) int64 numbers of people, 0 for somebody unknown, and (B, T) int64 of at most L events, 0 to the right of them -> (B, D) float32."""
        if not self.about["any_length"]:
            items = np.pad(items, ((0, 0), (0, self.about["window"] - items.shape[1])))
        found: np.ndarray = self._session.run(["query"], {"users": users, "items": items})[0]
        return found


def load_onnx(folder: str | Path) -> OnnxEncoder:
    """An exported encoder, after it gave the queries that PyTorch gave when it was exported.

    Raises:
        SettingsError: ONNX Runtime is not installed.
        RunError: the folder is no such export, is damaged, or gives other queries here.
    """
    (runtime,) = _packages("onnxruntime")
    folder = Path(folder)
    try:
        about = json.loads(read_text(folder / "export.json"))
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        for file in folder.glob("encoder.onnx*"):  # with its data, which may be in a file of its own
            check_regular(file)
        encoder = OnnxEncoder(folder, runtime.InferenceSession(str(folder / "encoder.onnx"), options, ["CPUExecutionProvider"]), about)
        reference, _ = read_tensors(folder / "reference.safetensors")
        users, items, queries = (reference[name].numpy() for name in ("users", "items", "queries"))
        far = _difference(encoder, users, items, queries)
    except RunError:
        raise
    except Exception as error:  # ONNX Runtime has many, and a damaged file may raise any
        raise RunError(f"{folder}: expected an export of gaterec, found none that can be read: {str(error).splitlines()[0]}") from None
    if not far <= TOLERANCE:
        raise RunError(f"{folder}: gives other queries than PyTorch did: they differ by {far:.1e} of the largest; export it again")
    return encoder


# -- what is written ------------------------------------------------------------------------------------------------------------------


def _items(recommender: Recommender, kind: str, part: Path) -> dict[str, Any]:
    """Write the items, and for the encoder people and the whole table; what export.json says."""
    run = recommender.run
    weight, bias = (None if tensor is None else tensor.detach() for tensor in run.model.item_table())
    assert weight is not None
    whole = masked_bias(weight, bias)
    vectors = (weight if kind == "onnx" else torch.cat([weight, whole[:, None]], 1))[1:].numpy()
    ids = pl.DataFrame({"number": np.arange(1, len(weight)), "id": run.items.to_series(0)[1:]})
    if recommender.titles is not None:
        ids = ids.with_columns(recommender.titles[1:].alias("title"))
    if kind == "numpy":
        np.save(part / "vectors.npy", vectors, allow_pickle=False)
        (part / "items.csv").write_text(ids.write_csv(), encoding="utf-8")
    else:
        columns = [pl.Series("vector", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1]))]
        columns += [pl.Series("bias", whole[1:].numpy())] if kind == "onnx" else []
        write_table(ids.with_columns(columns), part / "items.parquet")
    if kind == "onnx":
        np.save(part / "table.npy", weight.numpy(), allow_pickle=False)
        np.save(part / "bias.npy", whole.numpy(), allow_pickle=False)
        users = pl.DataFrame({"number": np.arange(len(run.users)), "id": run.users.to_series(0)})
        write_table(users.filter(pl.Series(recommender.trained)), part / "users.parquet")
    return {
        "format": kind,
        "gaterec": __version__,
        "title": run.info["title"],
        "items": len(weight) - 1,
        "people": int(recommender.trained.sum()),
        "dimension": weight.shape[1],
        "window": run.settings.MAX_ITEM_LIST_LENGTH,
        "repeatable": run.settings.repeatable,
    }


def _encoder(run: LoadedRun, part: Path) -> bool:
    """Write encoder.onnx; whether its rows may be of any length up to L, and not of L alone, as where a recurrence is written out step by step."""
    model, window = LastQuery(run.model).eval(), run.settings.MAX_ITEM_LIST_LENGTH
    example = (torch.tensor([0, min(1, len(run.users) - 1)]), torch.ones(2, window, dtype=torch.int64))
    batch = torch.export.Dim("batch")
    anything: list[Any] = [{0: batch, 1: torch.export.Dim("length", max=window)}] if window > 1 else []
    for of_items in (*anything, {0: batch}):
        shapes = {"users": {0: batch}, "items": of_items}
        try:
            with _quiet():
                graph = torch.export.export(model, example, dynamic_shapes=shapes, strict=False)
                program = torch.onnx.export(
                    graph, dynamo=True, verbose=False, input_names=["users", "items"], output_names=["query"], dynamic_shapes=shapes
                )
                assert program is not None
                program.save(part / "encoder.onnx")
            return 1 in of_items
        except OSError:
            raise
        except Exception as error:  # the exporter has many
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    raise RunError(f"{run.folder}: {run.settings.model} can't be exported to ONNX: {reason[:200]}")


def _check(recommender: Recommender, about: dict[str, Any], part: Path) -> float:
    """Keep the queries of people in the run, as PyTorch gives them, beside the encoder; how far ONNX Runtime is from them.

    Raises:
        RunError: too far.
    """
    users, items, queries = _reference(recommender)
    write_tensors(part / "reference.safetensors", {"users": users, "items": items, "queries": queries}, {})
    (part / "export.json").write_text(json.dumps(about), encoding="utf-8")
    encoder = load_onnx(part)
    worst = 0.0
    for size in BATCHES:
        for begin in range(0, len(users), size):
            rows = slice(begin, begin + size)
            longest = int((items[rows] != 0).sum(1).max())  # other lengths of rows than the example's
            worst = max(worst, _difference(encoder, users[rows].numpy(), items[rows, :longest].contiguous().numpy(), queries[rows].numpy()))
    if not worst <= TOLERANCE:
        raise RunError(
            f"{part}: ONNX Runtime gives other queries than PyTorch: they differ by {worst:.1e} of the largest; nothing was written"
        )
    return worst


def _reference(recommender: Recommender) -> tuple[Tensor, Tensor, Tensor]:
    """(C,), (C, L) and (C, D): users of the run and a new user with the history of the first, their last events, their queries."""
    window = recommender.settings.MAX_ITEM_LIST_LENGTH
    ids = recommender.users.to_series(0)[1:]
    known = [user for user in recommender.request_users(ids.gather_every(max(1, len(ids) // ASKED))[: ASKED - 1], None) if len(user.items)]
    users = [RequestUser(None, 0, known[0].items), *known] if known else [RequestUser(None, 0, np.ones(1, dtype=np.int32))]
    items = np.zeros((len(users), window), dtype=np.int64)
    for row, user in enumerate(users):
        recent = user.items[-window:]
        items[row, : len(recent)] = recent
    return torch.tensor([user.number for user in users]), torch.from_numpy(items), recommender.queries(users)


def _difference(encoder: OnnxEncoder, users: np.ndarray, items: np.ndarray, queries: np.ndarray) -> float:
    found = encoder.queries(users, items)
    if found.shape != queries.shape:
        return float("inf")
    return float(np.abs(found - queries).max() / max(float(np.abs(queries).max()), 1e-30))


def _readme(about: dict[str, Any]) -> str:
    head = (
        f"{about['title']}, exported by gaterec {about['gaterec']}: {about['items']:,} items, vectors of {about['dimension']} numbers.\n\n"
    )
    if about["format"] != "onnx":
        last = about["dimension"] + 1
        where = (
            "items.parquet has number, id, title where there is one, and vector"
            if about["format"] == "parquet"
            else "Row i of vectors.npy is the item in row i of items.csv"
        )
        return head + (
            f"{where}; {last} numbers each, the last of which is the item's bias.\n"
            f"Let the store compare by inner product (not cosine), and append a 1 to each query: score = [query, 1] . vector.\n"
            "Queries come from `gaterec export RUN --format=onnx`, or in Python from gaterec.load(RUN).queries(...).\n"
        )
    window, any_length = about["window"], about["any_length"]
    pad = (
        "" if any_length else f"  history += [0] * ({window} - len(history))                        # this encoder's rows are all so long\n"
    )
    length = "as long as the longest" if any_length else f"{window} long"
    return head + (
        "  import numpy as np, onnxruntime as ort, polars as pl\n"
        "  encoder = ort.InferenceSession('encoder.onnx')\n"
        "  items, users = pl.read_parquet('items.parquet'), pl.read_parquet('users.parquet')\n"
        "  number = dict(zip(items['id'], items['number']))            # ids of items -> numbers; of people likewise\n"
        "  person = dict(zip(users['id'], users['number'])).get('ID', 0)   # 0: a user without a trained vector\n"
        f"  history = [number[id] for id in ['ID', 'ID']][-{window}:]      # item ids, the latest last, at most {window}\n"
        f"{pad}"
        "  query = encoder.run(['query'], {'users': np.array([person]), 'items': np.array([history])})[0]   # int64 in, (B, D) float32 out\n"
        "  scores = query @ np.load('table.npy').T + np.load('bias.npy')   # (B, items + 1); number 0 is padding and scores -inf\n"
        "  best = np.argsort(-scores[0])[:10]                          # numbers; those of the history may be left out\n"
        "  print(items['id'].gather(best - 1))\n\n"
        f"Rows of a batch are {length}, padded with 0 to the right of the events; a row needs at least one event.\n"
        "score = query . vector + bias. In gaterec: gaterec.export.load_onnx(FOLDER) checks the encoder against reference.safetensors.\n"
    )


def _packages(*names: str) -> list[Any]:
    """The packages of the extra.

    Raises:
        SettingsError: one is not installed.
    """
    import importlib

    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise SettingsError(f"export: {error.name or names[0]} is not installed; pip install 'gaterec[onnx]'") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about itself, and about packages that nothing here needs."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for kind in (DeprecationWarning, FutureWarning, UserWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        log.setLevel(before)
