"""The nearest items without looking at all of them, for very large catalogues: an approximate index by FAISS (Douze et al., 2024; extra `index`).

What is wanted is the largest inner product q . x_j + b_j. The bias is one more feature of the item, and one more makes all items equally long
(Bachrach et al., RecSys 2014); then the nearest item is the one with the largest product, and an index of distances finds it:

    item   [x_j, b_j, sqrt(M^2 - |x_j|^2 - b_j^2)]    with M the length of the longest [x_j, b_j]
    query  [q, 1, 0]

Which is better for a graph depends on the table: where a few items are much longer than the others, equal lengths leave little of the distances
between the others, and where lengths grow evenly, all paths by products lead to the long ones. So a graph that finds too little by equal lengths is
built by the products too, and the better one stays. What an index finds is scored again exactly. How hard it searches is settled when it is built:
as hard as it takes to find 95 % of the ten best items of people in the run.

    RUN/index/index.faiss     vectors and links, or cells
    RUN/index/index.json      kind, effort, measured recall and times, and which weights it belongs to
"""

import hashlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaterec.config.paths import check_regular, read_bytes, read_text
from gaterec.data.interactions import Interactions
from gaterec.errors import RunError, SettingsError, nearest
from gaterec.evaluation.scorer import EncoderScorer
from gaterec.inference.requests import ExclusionMask
from gaterec.inference.run_folder import LoadedRun, load_histories, load_run, newest_run, trained_users
from gaterec.io.console import Terminal
from gaterec.io.files import folder_written_whole, reason
from gaterec.kernels.ranking import products
from gaterec.models import model_class
from gaterec.models.encoder import masked_bias

FORMAT = 1
"""The version of the files' layout; a newer one is refused."""
KINDS = {"hnsw": "a graph of near items (Malkov and Yashunin, 2020)", "ivf": "cells of near items (inverted files), quicker to build"}
SMALLEST = 1_000
"""Fewer items are scored faster than an index is asked."""
K, RECALL, ASKED, TIMED = 10, 0.95, 1_000, 200
"""Recall at K must reach RECALL over the queries of ASKED people, and as many of them are timed one by one."""
LINKS, CARE = 24, 100
"""Of each item in a graph, and how many candidates each is linked among (M and efConstruction)."""
PER_CELL, ROUNDS = 64, 10
"""Of the k-means that finds the cells: how many items of each are looked at, and how often."""
HARD = 512
"""A graph by equal lengths that must search harder than this is tried against one by the products themselves."""
MOST_CANDIDATES = 2048
"""An index that must be asked for more is hardly faster than scoring all items."""
NUMBERS_AT_A_TIME = 2**25
"""So many numbers of memory an exact search, or exact scores, may take at a time."""

Tell = Callable[[str], object]


class Index:
    """An index in memory.

    Args:
        index: FAISS's own.
        about: what index.json says: kind, effort, recall, ...
        weight: (V, D) the table that it was built from.
        bias: (V,) or None.
    """

    def __init__(self, index: Any, about: dict[str, Any], weight: Tensor, bias: Tensor | None) -> None:
        self.about, self.weight, self.bias = about, weight.detach(), masked_bias(weight, bias).detach()
        self._index = index

    @property
    def kind(self) -> str:
        """hnsw or ivf."""
        return str(self.about["kind"])

    @torch.inference_mode()
    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """About the best items of each query.

        Args:
            queries: (C, D).
            k: how many.

        Returns:
            (C, k) int64 numbers of items in order of score, 0 where none was found, and (C, k) their exact scores, -inf where none.
        """
        faiss = _faiss()
        # One query on several threads waits longer for them than it searches; the setting is each thread's own.
        faiss.omp_set_num_threads(min(torch.get_num_threads(), len(queries)) or 1)
        asked = torch.cat([queries, queries.new_ones(len(queries), 1), queries.new_zeros(len(queries), 1)], 1)
        _, found = self._index.search(asked.numpy(), k, params=self._effort(k))
        numbers = torch.from_numpy(found) + 1  # the index lacks padding, and -1 is none
        scores = exact_scores(queries, numbers, self.weight, self.bias)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        return numbers.gather(1, order), scores

    def _effort(self, k: int) -> Any:
        """A graph keeps as many candidates as were needed for K, and always more than are wanted."""
        faiss = _faiss()
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=max(self.about["effort"], 2 * k))
        return faiss.SearchParametersIVF(nprobe=self.about["effort"])


class IndexTopK:
    """The top k items by an index.

    The index is asked for more items than k, and excluded ones are removed. All items are scored for users without events, for queries with
    `allow` or `where`, where too many items are excluded, and where fewer than k are left.

    Args:
        index: of the items.
        exact: scores all items: queries (C, D), which rows are of users without events (C,), k and the excluded items -> items and scores (C, k).
    """

    def __init__(self, index: Index, exact: Callable[[Tensor, Tensor, int, ExclusionMask], tuple[Tensor, Tensor]]) -> None:
        self.index, self.exact = index, exact

    def best(self, queries: Tensor, without_events: Tensor, k: int, exclusions: ExclusionMask) -> tuple[Tensor, Tensor]:
        """(C, D) and (C,) -> (C, k) about the best items, 0 where none is left, and (C, k) their scores, -inf there."""
        counts = k + exclusions.max_excluded
        left = (counts > MOST_CANDIDATES) | without_events.numpy()
        counts = 2 ** np.ceil(np.log2(counts)).astype(np.int64)
        items, scores = np.zeros((len(queries), k), dtype=np.int64), np.zeros((len(queries), k), dtype=np.float32)
        for candidates in np.unique(counts[~left]):  # few, as they are powers of two
            rows = np.flatnonzero((counts == candidates) & ~left)
            found, values = (part.numpy() for part in self.index.search(queries[torch.from_numpy(rows)], int(candidates)))
            excluded = exclusions.excludes(rows, found)
            order = np.argsort(excluded, axis=1, kind="stable")[:, :k]
            items[rows], scores[rows] = (np.take_along_axis(part, order, 1) for part in (found, values))
            left[rows] = (~excluded).sum(1) < k
        if left.any():
            rows = np.flatnonzero(left)
            selected = torch.from_numpy(rows)
            exact = self.exact(queries[selected], without_events[selected], k, exclusions.of_rows(rows))
            items[rows], scores[rows] = (part.numpy() for part in exact)
        return torch.from_numpy(items), torch.from_numpy(scores)


def check(kind: str, model: str, items: int, where: str = "index") -> None:
    """Whether such an index can be made.

    Args:
        items: V - 1, without padding.

    Raises:
        SettingsError: FAISS is not installed, there is no such kind, the model has no vectors, or its items are too few.
    """
    if kind not in KINDS:
        raise SettingsError(f"{where}: there is no index {kind!r}; {nearest(kind, KINDS)}")
    _faiss(where)
    if not model_class(model).dot_product:
        raise SettingsError(f"{where}: {model} has no vectors of items, and its scores are no products that an index could search")
    if items < SMALLEST:
        raise SettingsError(
            f"{where}: expected at least {SMALLEST:,} items, found {items:,}, which are scored faster than an index is asked"
        )


def build(kind: str, weight: Tensor, bias: Tensor | None, queries: Tensor, tell: Tell = lambda text: None) -> Index:
    """An index over a table, as careful as these queries need.

    Args:
        kind: hnsw or ivf.
        weight: (V, D), padding first.
        bias: (V,) or None.
        queries: (C, D) of real people; recall and times are measured on them.
        tell: told what is being done.
    """
    faiss = _faiss()
    weight, mask = weight.detach(), masked_bias(weight, bias).detach()
    best = exact_best(queries, weight, mask, K)
    vectors = equally_long(weight[1:], None if bias is None else bias[1:].detach())  # (V - 1, D + 2)
    faiss.omp_set_num_threads(torch.get_num_threads())

    def made(vectors: Tensor, *, products: bool) -> Index:
        begin = time.perf_counter()
        tell(f"building the index of {len(vectors):,} items")
        index = _empty(faiss, kind, *vectors.shape, products=products)
        if not index.is_trained:
            index.train(vectors.numpy())
        index.add(vectors.numpy())
        seconds = time.perf_counter() - begin
        about = {
            "format": FORMAT,
            "kind": kind,
            "items": len(vectors),
            "size": vectors.shape[1],
            "products": products,
            "seconds_to_build": seconds,
        }
        tell("measuring its recall")
        return _settled(Index(index, about, weight, bias), queries, best)

    index = made(vectors, products=False)
    if kind == "hnsw" and (index.about["recall"] < RECALL or index.about["effort"] > HARD):
        vectors[:, -1] = 0.0
        other = made(vectors, products=True)
        index = max(index, other, key=lambda one: (min(one.about["recall"], RECALL), -one.about["effort"]))
    one_by_one = [query[None] for query in queries[:TIMED]]
    index.about |= {
        "queries": len(queries),
        "milliseconds": _milliseconds(lambda query: index.search(query, K), one_by_one),
        "milliseconds_exact": _milliseconds(lambda query: torch.addmv(mask, weight, query[0]).topk(K), one_by_one),
        "faiss": faiss.__version__,
    }
    return index


def _settled(index: Index, queries: Tensor, best: Tensor) -> Index:
    """With the least effort by which it finds enough of the best items (C, K) of queries (C, D), or the most that there is."""
    hardest = min(index._index.nlist if index.kind == "ivf" else 4096, 4096)
    efforts = [*(2**power for power in range(12) if 2**power < hardest), hardest]
    for effort in efforts[4 if index.kind == "hnsw" else 0 :]:
        index.about |= {"effort": effort}
        index.about |= {"recall": recall(index, queries, best)}
        if index.about["recall"] >= RECALL:
            break
    return index


def equally_long(weight: Tensor, bias: Tensor | None) -> Tensor:
    """(V, D) and (V,) or None -> (V, D + 2), all of the length of the longest: see the equations above."""
    vectors = torch.cat([weight, weight.new_zeros(len(weight), 1) if bias is None else bias[:, None]], 1)
    squares = vectors.square().sum(1, keepdim=True)
    return torch.cat([vectors, (squares.max() - squares).clamp_(min=0.0).sqrt_()], 1)


def exact_scores(queries: Tensor, numbers: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(C, k) the scores of the items `numbers` (C, k) for queries (C, D); -inf for padding, whose bias (V,) is -inf."""
    step = max(1, NUMBERS_AT_A_TIME // max(1, numbers.shape[1] * weight.shape[1]))
    parts = [slice(begin, begin + step) for begin in range(0, max(len(queries), 1), step)]
    return torch.cat([(weight[numbers[part]] @ queries[part, :, None]).squeeze(2) for part in parts]) + bias[numbers]


@torch.inference_mode()
def exact_best(queries: Tensor, weight: Tensor, bias: Tensor, k: int) -> Tensor:
    """(C, k) int64: the best items of each query, by looking at all of them; bias (V,) is -inf for padding."""
    rows, step = products(queries, weight, bias), max(1, NUMBERS_AT_A_TIME // len(weight))
    return torch.cat([rows(begin, min(begin + step, len(queries))).topk(k)[1] for begin in range(0, len(queries), step)])


def recall(index: Index, queries: Tensor, best: Tensor) -> float:
    """The share of the k best items (C, k) of queries (C, D) that the index finds among its k; one that scores as high is as good."""
    _, scores = index.search(queries, best.shape[1])
    least = exact_scores(queries, best, index.weight, index.bias).amin(1, keepdim=True)
    return float((scores >= least - 1e-6 * least.abs()).double().mean())


# -- in run folders -------------------------------------------------------------------------------------------------------------------


def write_index(run: LoadedRun, kind: str, tell: Tell = lambda text: None) -> dict[str, Any]:
    """Build an index over a run's table and write it into the run's folder, in the place of an earlier one; what index.json says.

    Raises:
        SettingsError: it can't be made; see check.
        RunError: it can't be written.
    """
    check(kind, run.settings.model, len(run.items) - 1)
    index = build(kind, *run.model.item_table(), _queries(run), tell)
    about = {**index.about, "weights": run.digest}
    tell("writing")
    with folder_written_whole(run.folder / "index") as part:
        try:
            _faiss().write_index(index._index, str(part / "index.faiss"))
        except RuntimeError as error:
            raise OSError(reason(error)) from None
        content = read_bytes(part / "index.faiss")
        about |= {"bytes": len(content), "digest": _digest(content)}
        (part / "index.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return about


def read_index(run: LoadedRun) -> Index | None:
    """The index in a run's folder; None where there is none. Nothing in it is executed.

    Raises:
        SettingsError: there is one, and FAISS is not installed.
        RunError: it is damaged, of a newer version, or belongs to other weights.
    """
    folder = run.folder / "index"
    if not folder.is_dir():
        return None
    again = f"build it again: gaterec index {run.folder}"
    try:
        about = json.loads(read_text(folder / "index.json"))
        newer, weights, kind = about["format"] > FORMAT, about["weights"], str(about["kind"])
        wanted = [about["bytes"], about["digest"]]
        effort = int(about["effort"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{folder}: is not whole: {reason(error)}; {again}") from None
    if newer:
        raise RunError(f"{folder}: was written by a newer gaterec, in format {about['format']}; upgrade it, or {again}")
    if weights != run.digest:
        raise RunError(f"{folder}: belongs to other weights than the run's; {again}")
    faiss, (weight, bias) = _faiss(), run.model.item_table()
    try:
        if check_regular(folder / "index.faiss").st_size != wanted[0]:
            raise RuntimeError("index.faiss is not the file that was written with it")
        content = read_bytes(folder / "index.faiss")  # FAISS itself would read it a second time, when it may be another file
        if [len(content), _digest(content)] != wanted:
            raise RuntimeError("index.faiss is not the file that was written with it")
        index = faiss.deserialize_index(np.frombuffer(content, dtype=np.uint8))
    except (OSError, RuntimeError) as error:
        raise RunError(f"{folder}: is damaged: {reason(error)}; {again}") from None
    made = {"hnsw": faiss.IndexHNSWFlat, "ivf": faiss.IndexIVFFlat}.get(kind)
    if made is None or not isinstance(index, made) or (index.ntotal, index.d) != (len(weight) - 1, weight.shape[1] + 2) or effort < 1:
        raise RunError(f"{folder}: is damaged: its files don't fit together; {again}")
    return Index(index, about, weight, bias)


def index(folder: Path, kind: str) -> None:
    """What `gaterec index` does: build an index into a run folder, and say how good it is.

    Raises:
        GaterecError: a run that can't be read, or an index that can't be made, in one line.
    """
    run = load_run(newest_run(folder))
    display = Terminal(run.settings, "INFO")
    with display.stages() as tell:
        about = write_index(run, kind, tell)
    display.answer(f"{run.folder}: {in_words(about)}")


def in_words(about: dict[str, Any]) -> str:
    """What an index is and does, in a sentence."""
    effort = f"efSearch {about['effort']}" if about["kind"] == "hnsw" else f"nprobe {about['effort']}"
    short = "" if about["recall"] >= RECALL else f", less than the {RECALL:.0%} that it should have: the other kind may do better"
    return (
        f"index {about['kind']} of {about['items']:,} items, built in {about['seconds_to_build']:.1f} s; recall@{K} {about['recall']:.3f} "
        f"over {about['queries']:,} people's queries ({effort}){short}; a query takes {about['milliseconds']:.3f} ms, exactly {about['milliseconds_exact']:.3f} ms"
    )


def _queries(run: LoadedRun) -> Tensor:
    """(C, D) what so many people in the run want next, drawn by its seed."""
    item, offsets = load_histories(run)
    some = np.diff(offsets) > 0
    trained = some & trained_users(run, offsets)
    people = np.flatnonzero(trained if trained.any() else some)  # a vector that was never trained asks for nothing
    if not len(people):
        raise RunError(f"{run.folder}: has nobody with events, on whose queries an index could be measured")
    people = np.sort(np.random.default_rng(run.settings.seed).permutation(people)[:ASKED])
    histories = Interactions("", run.users.to_series(0), run.items.to_series(0), item, offsets, np.zeros(0))
    scorer = EncoderScorer(run.model, histories, run.settings.MAX_ITEM_LIST_LENGTH, torch.device("cpu"))
    return scorer.queries(people, offsets[people + 1])


def _empty(faiss: Any, kind: str, count: int, size: int, *, products: bool) -> Any:
    """An index with nothing in it, of distances, or of a graph by inner products."""
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(size, LINKS, faiss.METRIC_INNER_PRODUCT if products else faiss.METRIC_L2)
        index.hnsw.efConstruction = CARE
        return index
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(size), size, min(round(4 * math.sqrt(count)), count // 39))  # FAISS wants 39 a cell
    index.cp.niter, index.cp.max_points_per_centroid = ROUNDS, PER_CELL
    return index


def _milliseconds(search: Callable[[Tensor], object], queries: list[Tensor]) -> float:
    """The median time of one query."""
    times = []
    with torch.inference_mode():
        for query in queries:
            begin = time.perf_counter()
            search(query)
            times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _faiss(where: str = "index") -> Any:
    try:
        import faiss
    except ImportError:
        raise SettingsError(f"{where}: FAISS is not installed; pip install 'gaterec[index]'") from None
    return faiss
