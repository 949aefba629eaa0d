"""An approximate index: that it finds what it should, says how good it is, keeps to the filters, and is refused where it doesn't belong."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import gaterec as library
from gaterec.errors import GaterecError, RunError, SettingsError
from gaterec.inference.ann_index import (
    Index,
    _milliseconds,
    build,
    equally_long,
    exact_best,
    exact_scores,
    in_words,
    read_index,
    recall,
    write_index,
)
from gaterec.inference.recommender import Recommender, load
from gaterec.inference.run_folder import load_run
from gaterec.models.encoder import masked_bias
from tests.support.commands import TINY, gaterec, write_log

ITEMS = 1_200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained HGN over enough items, and an index that was built with it."""
    place = tmp_path_factory.mktemp("index")
    random = np.random.default_rng(0)
    chosen = np.concatenate([np.arange(ITEMS), (ITEMS * random.random(3_000) ** 2).astype(int)])
    person = np.concatenate([random.integers(1, 300, len(chosen) - 600), np.zeros(600, dtype=int)])  # u0 has seen a lot
    events = pl.DataFrame({"user_id": person, "item_id": random.permutation(chosen), "timestamp": np.arange(len(chosen))})
    events = events.with_columns(pl.format("u{}", "user_id").alias("user_id"), pl.format("i{}", "item_id").alias("item_id"))
    (place / "log").mkdir()
    names = {"user_id": "user_id:token", "item_id": "item_id:token", "timestamp": "timestamp:float"}
    events.rename(names).write_csv(place / "log" / "log.inter", separator="\t")
    lines = ["item_id:token\tkind:token", *(f"i{number}\t{'rare' if number % 100 == 0 else 'usual'}" for number in range(ITEMS))]
    (place / "log" / "log.item").write_text("\n".join(lines) + "\n")
    settings = {"embedding_size": 8, "MAX_ITEM_LIST_LENGTH": 5, "epochs": 3, "learning_rate": 0.01}
    where = {"data_path": str(place), "checkpoint_dir": str(place / "saved")}
    return library.run("HGN", "log", config_dict={**settings, **where, "index": "hnsw"})["folder"]


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def near(folder: Path) -> Recommender:
    return load(folder)


@pytest.fixture(scope="module")
def exact(folder: Path) -> Recommender:
    return load(folder, index=False)


def by_user(frame: pl.DataFrame) -> dict[str, list[str]]:
    return {str(user): part["item"].to_list() for (user,), part in frame.group_by("user", maintain_order=True)}


@pytest.mark.slow
def test_a_graph_goes_by_products_where_equal_lengths_hide_what_tells_items_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, queries = torch.randn(20_001, 16, generator=generator), torch.randn(200, 16, generator=generator)
    evenly = build("hnsw", weight, None, queries)
    assert (evenly.about["products"], evenly.about["recall"] >= 0.95) == (False, True)
    weight[1:4] *= 3_000
    odd = build("hnsw", weight, None, queries)
    assert odd.about["products"]
    found, scores = odd.search(queries, 10)
    assert odd.about["recall"] >= 0.9
    torch.testing.assert_close(scores, exact_scores(queries, found, weight, torch.zeros(len(weight))))


def test_distances_of_equally_long_vectors_go_by_inner_product() -> None:
    torch.manual_seed(0)
    weight, bias, query = torch.randn(50, 6) * torch.rand(50, 1) * 5, torch.randn(50), torch.randn(6)
    vectors = equally_long(weight, bias)
    torch.testing.assert_close(vectors.norm(dim=1), torch.cat([weight, bias[:, None]], 1).norm(dim=1).max().expand(50))
    asked = torch.cat([query, torch.tensor([1.0, 0.0])])
    assert torch.equal((vectors - asked).norm(dim=1).argsort(), (weight @ query + bias).argsort(descending=True))
    assert equally_long(weight, None)[:, 6].eq(0).all()


def test_exact_search_is_what_it_says() -> None:
    torch.manual_seed(0)
    weight, bias, queries = torch.randn(40, 3), torch.randn(40), torch.randn(7, 3)
    mask = masked_bias(weight, bias)
    scores = queries @ weight.T + mask
    best = exact_best(queries, weight, mask, 5)
    assert torch.equal(best, scores.topk(5)[1])
    torch.testing.assert_close(exact_scores(queries, best, weight, mask), scores.topk(5)[0])


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_it_searches_as_hard_as_its_recall_needs_and_scores_exactly(kind: str, with_bias: bool) -> None:
    torch.manual_seed(0)
    weight, queries = torch.randn(3_000, 16) * torch.rand(3_000, 1) ** 4 * 5, torch.randn(200, 16)
    bias = torch.randn(3_000) if with_bias else None
    index = build(kind, weight, bias, queries)
    mask = masked_bias(weight, bias)
    assert index.about["recall"] >= 0.95
    assert recall(index, queries, exact_best(queries, weight, mask, 10)) == pytest.approx(index.about["recall"], abs=0.01)
    numbers, scores = index.search(queries, 10)
    assert (numbers.dtype, numbers.shape, scores.shape) == (torch.int64, (200, 10), (200, 10))
    torch.testing.assert_close(scores, (queries @ weight.T + mask).gather(1, numbers))
    assert (scores[:, :-1] >= scores[:, 1:]).all()
    found = [len(set(row.tolist()) & set(best.tolist())) for row, best in zip(numbers, exact_best(queries, weight, mask, 10), strict=True)]
    assert np.mean(found) / 10 == pytest.approx(index.about["recall"], abs=1e-6)


def test_the_effort_is_the_least_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    weight, queries = torch.randn(3_000, 16), torch.randn(100, 16)
    efforts = []
    for wanted in (0.3, 0.99):
        monkeypatch.setattr("gaterec.inference.ann_index.RECALL", wanted)
        index = build("ivf", weight, None, queries)
        efforts.append(index.about["effort"])
        index.about["effort"] //= 2
        assert recall(index, queries, exact_best(queries, weight, masked_bias(weight, None), 10)) < wanted
    assert efforts[0] < efforts[1]


def test_where_less_is_found_than_wanted_there_is_nothing() -> None:
    torch.manual_seed(0)
    weight, queries = torch.randn(3_000, 4), torch.randn(5, 4)
    index = build("ivf", weight, None, queries)
    index.about["effort"] = 1
    numbers, scores = index.search(queries, 2_999)
    assert (numbers[:, -1] == 0).all()
    assert scores[:, -1].isneginf().all()
    assert (scores[numbers > 0] > -torch.inf).all()


def test_a_run_recommends_by_its_index(near: Recommender, exact: Recommender) -> None:
    assert isinstance(near.index, Index)
    assert exact.index is None
    assert near.index.about["recall"] >= 0.95
    users = [f"u{number}" for number in range(1, 100)]
    found, right = by_user(near.recommend(users, k=10)), by_user(exact.recommend(users, k=10))
    assert np.mean([len(set(found[user]) & set(right[user])) / 10 for user in users]) > 0.9
    assert near.recommend(["nobody"], k=5).equals(exact.recommend(["nobody"], k=5))  # popular items are counted, not searched
    scores = near.recommend(["u5"], k=5)
    assert near.score("u5", scores["item"]) == pytest.approx(scores["score"].to_list(), abs=1e-5)


def test_it_is_asked_and_only_where_it_may_be(near: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    assert near.index is not None
    asked: list[int] = []
    search = near.index.search

    def counted(queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(len(queries))
        return search(queries, k)

    monkeypatch.setattr(near.index, "search", counted)
    near.recommend(["u1", "u2", "nobody"], k=3)
    assert sum(asked) == 2
    near.recommend(["u1"], k=3, allow=["i3"])
    near.recommend(["u1"], k=3, where={"kind": "rare"})
    assert sum(asked) == 2


def test_nothing_barred_comes_and_as_many_as_are_left(near: Recommender, exact: Recommender) -> None:
    everybody = near.users.to_series(0).to_list()[1:]
    histories = {person.id: set(near.items.to_series(0).gather(person.items)) for person in near.request_users(everybody, None)}
    first = by_user(exact.recommend(everybody, k=10))
    deny = sorted({item for items in first.values() for item in items})[:400]
    for user, items in by_user(near.recommend(everybody, k=20, deny=deny)).items():
        assert len(set(items)) == 20
        assert not set(items) & (histories[user] | set(deny))
    for user, items in by_user(near.recommend(["u0", "u1"], k=ITEMS, deny=deny)).items():
        assert set(items) == {f"i{number}" for number in range(ITEMS)} - histories[user] - set(deny)
    rare = {f"i{number}" for number in range(0, ITEMS, 100)}
    for user, items in by_user(near.recommend(["u1", "u2"], k=20, where={"kind": "rare"}, deny=["i0"])).items():
        assert set(items) == rare - histories[user] - {"i0"}
    assert set(by_user(near.recommend(["u1"], k=20, seen=True, allow=["i1", "i2", "i3"], deny=["i2"]))["u1"]) == {"i1", "i3"}
    assert near.recommend(["u1"], allow=[]).is_empty()


def test_lists_for_everybody_go_by_it_too(near: Recommender, exact: Recommender, tmp_path: Path) -> None:
    denied = exact.recommend(["u1"], k=3)["item"].to_list()
    near.recommend_to(tmp_path / "lists", k=5, deny=denied)
    frame = pl.read_parquet(tmp_path / "lists" / "*.parquet")
    assert len(frame) == 5 * frame["user"].n_unique() == 5 * (len(near.users) - 1)
    assert not frame["item"].is_in(denied).any()


def test_the_command_says_how_good_it_is(copy: Path) -> None:
    outcome = gaterec("index", copy, "--index=ivf")
    about = json.loads((copy / "index" / "index.json").read_text())
    words = f"index ivf of 1,200 items, built in {about['seconds_to_build']:.1f} s; recall@10 {about['recall']:.3f} over 300 people's queries (nprobe "
    assert (outcome.code, outcome.err) == (0, "")
    assert words in outcome.out
    assert about["milliseconds"] > 0
    assert about["milliseconds_exact"] > 0
    assert gaterec("recommend", copy, "--users=u1", "-k", 2, "--index=ivf").code == 0
    assert gaterec("recommend", copy, "--users=u1", "-k", 2, "--index=none").code == 0
    refused = gaterec("recommend", copy, "--users=u1", "--index=hnsw")
    assert refused.err == f"gaterec: index: {copy} has no such index; gaterec index {copy} --index=hnsw\n"


def test_a_finished_run_gets_its_index_when_it_is_asked_for(folder: Path) -> None:
    settings = json.loads((folder / "run.json").read_text())["settings"]
    written = (folder / "index" / "index.faiss").read_bytes()
    shutil.rmtree(folder / "index")
    assert library.run(config_dict={**settings, "index": "hnsw"}, resume=True)["folder"] == folder
    assert read_index(load_run(folder)) is not None
    assert len((folder / "index" / "index.faiss").read_bytes()) == len(written)


def test_an_index_that_fails_leaves_the_one_before(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(index: object, path: str) -> None:
        Path(path).write_bytes(b"half")
        raise RuntimeError("write error: No space left on device")

    before = (copy / "index" / "index.json").read_text()
    monkeypatch.setattr("faiss.write_index", full)
    with pytest.raises(RunError, match="index: can't be written"):
        write_index(load_run(copy), "ivf")
    assert (copy / "index" / "index.json").read_text() == before
    assert sorted(file.name for file in copy.iterdir() if "index" in file.name) == ["index"]


def change(**values: object) -> Callable[[Path], object]:
    """What puts other values into index.json."""

    def put(index: Path) -> None:
        about = json.loads((index / "index.json").read_text())
        (index / "index.json").write_text(json.dumps({**about, **values}))

    return put


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (change(weights="0"), "index: belongs to other weights than the run's; build it again: gaterec index "),
        (change(format=99), "index: was written by a newer gaterec, in format 99; upgrade it, or build it again"),
        (change(kind="ivf"), "index: is damaged: its files don't fit together; build it again"),
        (change(effort="many"), "index: is not whole: "),
        (change(effort=0), "index: is damaged: its files don't fit together; build it again"),
        (lambda index: os.truncate(index / "index.faiss", 1000), "index: is damaged: index.faiss is not the file that was written with it"),
        (lambda index: (index / "index.faiss").unlink(), "index: is damaged: "),
        (lambda index: (index / "index.json").unlink(), "index: is not whole: "),
        (lambda index: (index / "index.json").write_text("[" * 100_000), "index: is not whole: "),
    ],
)
def test_an_index_that_does_not_belong_or_is_damaged_is_refused(copy: Path, damage: Callable[[Path], object], told: str) -> None:
    damage(copy / "index")
    outcome = gaterec("recommend", copy, "--users=u1")
    assert outcome.code == 2
    assert told in outcome.err
    assert outcome.err.count("\n") == 1
    assert gaterec("recommend", copy, "--users=u1", "--index=none").code == 0


def test_the_least_effort_is_read(copy: Path) -> None:
    change(effort=1)(copy / "index")
    index = load(copy).index
    assert index is not None
    assert index.about["effort"] == 1


def test_bytes_that_faiss_can_not_read_are_refused(copy: Path) -> None:
    from gaterec.inference.ann_index import _digest

    (copy / "index" / "index.faiss").write_bytes(b"no index at all")
    change(bytes=15, digest=_digest(b"no index at all"))(copy / "index")
    with pytest.raises(RunError, match=r"index: is damaged: .*; build it again"):
        load(copy)


def test_what_can_have_no_index_is_told(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = write_log(tmp_path / "log.csv")
    small = gaterec("run", "-d", log, f"--checkpoint_dir={tmp_path}", "--index=hnsw", *TINY)
    assert small.err == "gaterec: index: expected at least 1,000 items, found 20, which are scored faster than an index is asked\n"
    counted = gaterec("run", "--model=ItemKNN", "-d", log, f"--checkpoint_dir={tmp_path}", "--index=ivf")
    assert counted.err == "gaterec: index: ItemKNN has no vectors of items, and its scores are no products that an index could search\n"
    assert gaterec("index", copy, "--index=hnws").err == "gaterec: index: there is no index 'hnws'; did you mean hnsw?\n"
    assert gaterec("run", "--index=tree").err == "gaterec: command line: index: expected 'none', 'hnsw' or 'ivf', found 'tree'\n"
    monkeypatch.setitem(sys.modules, "faiss", None)
    for arguments in (("index", copy), ("recommend", copy, "--users=u1")):
        assert gaterec(*arguments).err == "gaterec: index: FAISS is not installed; pip install 'gaterec[index]'\n"
    with pytest.raises(SettingsError):
        load(copy)
    assert load(copy, index=False).index is None


@pytest.mark.slow
@pytest.mark.parametrize("first", ["torch", "faiss", "onnxruntime"])
def test_threads_of_several_libraries_get_on(folder: Path, first: str) -> None:
    program = (
        f"import {first}, sys, torch, gaterec\n"
        "torch.set_num_threads(2)\n"
        "(torch.randn(300, 300) @ torch.randn(300, 300)).sum()\n"
        "run = gaterec.load(sys.argv[1])\n"
        "found = run.recommend(run.users.to_series(0)[1:50], k=3)\n"
        "(torch.randn(300, 300) @ torch.randn(300, 300)).sum()\n"
        "print(len(found))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=120, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "147\n", "")


def test_errors_are_gaterecs(copy: Path) -> None:
    for nothing in (copy / "weights.safetensors", copy / "histories.safetensors"):
        nothing.unlink()
        with pytest.raises(GaterecError):
            write_index(load_run(copy), "hnsw")


def test_a_graph_keeps_twice_as_many_candidates_as_are_wanted() -> None:
    torch.manual_seed(0)
    weight, queries = torch.randn(5_000, 16), torch.randn(200, 16)
    index = build("hnsw", weight, None, queries)
    index.about["effort"] = 1

    def found(asked: int) -> float:
        best = exact_best(queries, weight, masked_bias(weight, None), 100)
        numbers = index.search(queries, asked)[0][:, :100]
        return float(np.mean([len(set(a) & set(b)) for a, b in zip(numbers.tolist(), best.tolist(), strict=True)])) / 100

    half = found(50)
    assert found(100) > 0.9
    assert found(200) == pytest.approx(found(100), abs=0.05)
    assert half <= 0.5


def test_a_run_of_just_enough_items_gets_an_index_and_one_of_an_item_less_does_not(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaterec.inference.ann_index.SMALLEST", ITEMS + 1)
    with pytest.raises(SettingsError, match=f"expected at least {ITEMS + 1:,} items, found {ITEMS:,}"):
        write_index(load_run(copy), "ivf")
    monkeypatch.setattr("gaterec.inference.ann_index.SMALLEST", ITEMS)
    write_index(load_run(copy), "ivf")


def test_the_time_of_a_query_is_that_of_searches_which_were_made() -> None:
    asked: list[torch.Tensor] = []
    queries = list(torch.randn(3, 4))
    assert _milliseconds(asked.append, queries) >= 0
    assert all(found is query for found, query in zip(asked, queries, strict=True))


@pytest.mark.parametrize(("recall", "short"), [(0.949, True), (0.95, False), (0.951, False)])
def test_a_recall_of_exactly_what_it_should_be_is_not_called_less(recall: float, short: bool) -> None:
    about = {"kind": "ivf", "effort": 3, "recall": recall, "items": 1, "queries": 1, "seconds_to_build": 1.0}
    told = in_words({**about, "milliseconds": 1.0, "milliseconds_exact": 1.0})
    assert ("less than the 95% that it should have" in told) == short
