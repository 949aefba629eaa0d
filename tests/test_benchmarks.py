"""The benchmarks' own arithmetic and bookkeeping; the figures themselves are for `make bench`."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import catalogue, index, new_people, recbole_differences, tune, tune_overhead, tune_workers
from benchmarks.harness import (
    PAGE,
    RESULTS,
    Benchmark,
    Options,
    Row,
    Skipped,
    as_markdown,
    in_turns,
    page,
    ratio,
    read_results,
    run_benchmark,
    save,
    timed,
    written,
)
from benchmarks.made_runs import made_run
from benchmarks.padding import windows_cut_out
from benchmarks.peer import peer_python
from benchmarks.searches import Searched
from benchmarks.simulated import alone, write_csv
from benchmarks.startup import write_simulated
from gaterec.config.settings import Data
from gaterec.data.interactions import Interactions
from gaterec.data.prepared import open_prepared, prepare_log
from gaterec.data.readers.read import read_log
from gaterec.data.split import Split
from gaterec.inference.recommender import load
from tests.support.commands import write_log
from tests.support.histories import settings

pytestmark = pytest.mark.slow


def two_rows(options: Options) -> Iterator[Row | Skipped]:
    yield {"what": "a|b", "peer": 12.0, "ours": 2.0, "peer / ours": 6.0}
    yield Skipped("the other", "it is not here")
    yield {"what": "c", "ours": 3.0}


SAMPLE = Benchmark(
    "sample",
    "A sample",
    "Two rows.",
    {"what": "{}", "peer": "{:.1f} s", "ours": "{:.2f} s", "peer / ours": "{:.1f}x"},
    "peer / ours",
    two_rows,
)


def test_a_ratio_is_the_median_within_rounds() -> None:
    assert ratio([10.0, 40.0, 11.0], [1.0, 4.0, 1.0]) == 10.0
    assert ratio([2.0, 9.0], [1.0, 3.0]) == 2.5
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0], [1.0, 2.0])


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []

    def contender(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    found = in_turns({"a": lambda: contender("a"), "b": lambda: contender("b")}, 2)
    assert "".join(calls) == "abbaab"
    assert found == {"a": [4.0, 5.0], "b": [3.0, 6.0]}


def test_timed_measures_the_work_it_did() -> None:
    done: list[int] = []
    assert timed(lambda: done.append(1))() >= 0
    assert done == [1]


def test_a_table_needs_a_ratio_and_rows_of_its_columns() -> None:
    with pytest.raises(AssertionError, match="without a ratio"):
        Benchmark("bad", "", "", {"ours": "{}"}, "peer / ours", two_rows)
    with pytest.raises(AssertionError, match="no columns"):
        run_benchmark(Benchmark("bad", "", "", {"ours": "{}"}, "ours", lambda options: [{"theirs": 1}]), Options(tell=lambda text: None))


def test_a_result_says_what_was_skipped_and_on_what_machine(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_benchmark(SAMPLE, Options(repeats=3))
    assert "sample: skipped the other: it is not here" in capsys.readouterr().out
    assert [row["what"] for row in result["rows"]] == ["a|b", "c"]
    assert result["machine"]["cores"] >= 1
    assert {"cpu", "torch", "threads", "date"} <= set(result["machine"])


def test_the_page_of_a_result(tmp_path: Path) -> None:
    result = run_benchmark(SAMPLE, Options(repeats=3, tell=lambda text: None))
    host = {"cores": 2, "cpu": "A CPU", "gpu": None, "threads": 2, "load": 0.1, "torch": "2.13.0", "gaterec": "1", "date": "2026-01-02"}
    save({**result, "machine": host}, tmp_path)
    (read,) = read_results(tmp_path, ["none", "sample"])
    assert as_markdown(read) == (
        "## A sample\n\nTwo rows.\n\n"
        "| what | peer | ours | peer / ours |\n| --- | ---: | ---: | ---: |\n"
        "| a\\|b | 12.0 s | 2.00 s | 6.0x |\n| c | - | 3.00 s | - |\n\n"
        "Not measured: the other: it is not here.\n\n"
        "Made by `python -m benchmarks sample` on 2 cores (A CPU, 2 threads, load before: 0.1), torch 2.13.0, gaterec 1, 3 rounds, 2026-01-02.\n"
    )


def test_values_are_written_in_their_columns_form() -> None:
    assert written(0.1234, "{:.1%}") == "12.3%"
    assert written(None, "{:.1%}") == "-"


def test_the_page_is_made_from_the_results() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(read_results(RESULTS, command.NAMES))


SIMULATED = {"recommending", "index", "scaling", "catalogue", "prepare", "startup", "events"} | {
    name for name in command.NAMES if name.startswith("serving")
}
"""Benchmarks that make their own data."""


def test_simulated_logs_are_what_they_say(tmp_path: Path) -> None:
    for text in (False, True):
        write_csv(tmp_path / "log.csv", 5000, text=text)
        log = read_log(tmp_path / "log.csv", Data())
        assert log.events.height == 5000
        assert log.events["timestamp"].is_sorted()
        assert log.events["user_id"].dtype == (pl.String if text else pl.Int64)


def test_a_simulated_folder_opens(tmp_path: Path) -> None:
    write_simulated(tmp_path / "ready", 5000)
    interactions = open_prepared(tmp_path / "ready").interactions
    assert (len(interactions.item), len(interactions.users)) == (5000, 126)
    assert interactions.fingerprint() == replace(interactions, digest=None).fingerprint()


def test_a_program_of_its_own_tells_its_memory() -> None:
    assert alone("print(json.dumps({'peak': memory()['VmHWM'], 'said': sys.argv[1]}))", "this")["said"] == "this"


def test_without_data_every_benchmark_says_so_and_leaves_its_results_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [name for name in command.NAMES if name not in SIMULATED]
    assert command.main([*names, "--data_path", str(tmp_path / "nowhere"), "--results", str(tmp_path / "results")]) == 0
    said = capsys.readouterr().out
    for name in names:
        assert f"{name}: skipped " in said
    assert "there is no" in said
    assert not (tmp_path / "results").exists()


def test_list_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == list(command.NAMES)
    for name in command.NAMES:
        assert command.load(name).name == name


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["epoc"])
    assert "there is no benchmark epoc" in capsys.readouterr().err


def test_a_peer_that_is_not_there_is_skipped_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GATEREC_PEER_PYTHON", str(tmp_path / "python"))
    found = peer_python.__wrapped__()
    assert isinstance(found, Skipped)
    assert "GATEREC_PEER_PYTHON" in found.why


def test_an_index_is_measured_on_a_log_that_holds_every_item(monkeypatch: pytest.MonkeyPatch) -> None:
    log = index.log(2_000)
    assert log["item_id"].n_unique() == 2_000
    assert set(log["user_id"].value_counts()["count"]) == {index.HISTORY}
    table = index.Table(torch.randn(3_001, 8), torch.randn(3_001), torch.randn(60, 8))
    monkeypatch.setattr(index, "trained", lambda items, options: table)
    rows = list(index.measure(Options(repeats=1, events=100_000, tell=lambda text: None)))
    assert [row["index"] for row in rows if isinstance(row, dict)] == ["ivf, by equal lengths", "hnsw, by equal lengths"]
    for row in rows:
        assert isinstance(row, dict)
        assert set(row) <= set(index.BENCHMARK.columns)
        found = row["recall@10"]
        assert isinstance(found, float)
        assert 0.5 < found <= 1


def test_the_cases_of_the_catalogue_step_and_know_their_memory() -> None:
    for name in catalogue.CASES:
        found = catalogue.alone(name, items=3000, negatives=2, steps=1)
        assert found["seconds"] > 0
        assert found["needed"] == {"whole": 4, "sampled": 3}.get(name, 2) * 3000 * 64 * 4


def test_the_floor_of_the_catalogue_is_all_three_products(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.Tensor] = []

    def kept(draw: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def draw_and_keep(*shape: Any) -> torch.Tensor:
            made.append(draw(*shape))
            return made[-1]

        return draw_and_keep

    monkeypatch.setattr(catalogue, "TARGETS", 700)
    monkeypatch.setattr(torch, "randn", kept(torch.randn))
    monkeypatch.setattr(torch, "zeros_like", kept(torch.zeros_like))
    catalogue.products(3000, 0)[0]()
    queries, table, of_queries, of_table = made
    scores = queries @ table.T
    torch.testing.assert_close(of_queries, scores @ table, rtol=1e-3, atol=0.1)
    torch.testing.assert_close(of_table, scores.T @ queries, rtol=1e-3, atol=0.1)


def test_windows_cut_out_are_counted_as_they_would_be_copied() -> None:
    lengths = [0, 1, 2, 5, 9]
    offsets = np.cumsum([0, *lengths])
    interactions = Interactions("x", pl.Series(["u"] * 5), pl.Series(["i"]), np.ones(17, np.int32), offsets, np.arange(17))
    split = Split(offsets[1:], offsets[1:])
    for window in (1, 3, 20):
        events = sum(min(t, window) for n in lengths for t in range(1, n))
        assert windows_cut_out(interactions, split, window) == (events, window * sum(max(n - 1, 0) for n in lengths))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A folder of data in which every data set of these benchmarks is a small log."""
    for name in ("ml-100k", "amazon-cds"):
        (tmp_path / name).mkdir()
        lines = write_log(tmp_path / "log.csv").read_text().replace(",", "\t").splitlines()
        (tmp_path / name / f"{name}.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *lines[1:]]) + "\n")
    return tmp_path


def test_bare_trainings_find_what_the_search_finds(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_round(contenders: Any, rounds: int) -> dict[str, list[float]]:
        return {name: [contender()] for name, contender in contenders.items()}

    monkeypatch.setattr(tune_overhead, "in_turns", one_round)
    (row,) = tune_overhead.measure(Options(log, 1, 1, lambda text: None))
    assert isinstance(row, dict)
    bare, search = row["bare"], row["gaterec tune"]
    assert isinstance(bare, float)
    assert isinstance(search, float)
    assert row["gaterec tune / bare"] == search / bare


def fake_search(begun: float, step: float, workers: int, number: int) -> Searched:
    """As many trials as asked for, each as long as the other."""
    trials = [(begun + step * (i // workers), begun + step * (i // workers + 1)) for i in range(number)]
    return Searched(trials, whole=trials[-1][1] + 50, best=0.5)


@pytest.mark.parametrize(("whole", "asked"), [(False, [1, 2]), (True, [20])])
def test_the_search_of_recbole_is_reckoned_unless_all_of_it_is_asked_for(
    log: Path, whole: bool, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs_of_peer: list[int] = []

    def peer(python: Path, options: Options, epochs: int) -> float:
        epochs_of_peer.append(epochs)
        return 20.0 + 80.0 * epochs

    monkeypatch.setattr(tune, "peer_python", lambda: Path("python"))
    monkeypatch.setattr(tune, "recbole_search", peer)
    monkeypatch.setattr(tune, "searched", lambda options, settings, space, workers, seeds: fake_search(2.0, 10.0, workers, 8))
    rows = list(tune.measure(Options(log, 1, tell=lambda text: None, whole=whole)))
    assert epochs_of_peer == asked
    assert [row["RecBole"] for row in rows if isinstance(row, dict)] == [1620.0] * 4
    assert [row["gaterec"] for row in rows if isinstance(row, dict)] == [82.0, 132.0, 42.0, 92.0]
    assert [row["RecBole / gaterec"] for row in rows if isinstance(row, dict)] == [1620 / 82, 1620 / 132, 1620 / 42, 1620 / 92]


def test_a_peer_that_searches_is_waited_for_and_its_last_words_are_told(log: Path) -> None:
    peer = log / "peer"
    peer.write_text(f"#!/bin/sh\necho noise\nexec {sys.executable} -c 'import time; print(dict)'\n")
    peer.chmod(0o755)
    with pytest.raises(RuntimeError, match="RecBole broke down"):
        tune.recbole_search(peer, Options(log), 1)
    told = 'import json, time; print(json.dumps({"ended": time.time(), "points": 8}))'
    peer.write_text(f"#!/bin/sh\necho noise\nexec {sys.executable} -c '{told}'\n")
    assert 0 < tune.recbole_search(peer, Options(log), 1) < 60


def test_new_people_are_compared_with_themselves(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_people, "CASES", [new_people.Case("small", "ml-100k", {"embedding_size": 4}, 4, 2)])
    (row,) = new_people.measure(Options(log, 1, 2, lambda text: None))
    assert isinstance(row, dict)
    assert row["people"] == 20  # two of four groups of 40
    assert set(row) == {*new_people.BENCHMARK.columns}
    known, new = row["trained on"], row["withheld"]
    assert isinstance(known, float)
    assert isinstance(new, float)
    assert row["withheld / trained on"] == pytest.approx(new / known)


def test_the_interval_of_a_ratio_of_the_same_people() -> None:
    known = np.array([1.0, 0.0] * 500)
    assert new_people.interval(known, known) == (1.0, 1.0)
    low, high = new_people.interval(np.roll(known, 1), known)
    assert low is not None
    assert high is not None
    assert 0.8 < low < 1 < high < 1.25
    assert new_people.interval(np.zeros(3), np.zeros(3)) == (None, None)


def test_workers_are_compared_with_and_without_the_start(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_workers, "searched", lambda options, settings, space, workers, seeds: fake_search(6.0, 10.0, workers, 6))
    rows = list(tune_workers.measure(Options(log, 2, tell=lambda text: None)))
    found = [(row["1 worker"], row["2 workers"], row["2 workers / 1"]) for row in rows if isinstance(row, dict)]
    assert found == [(6.0, 12.0, 2.0), (360 / 66, 10.0, 66 / 36)]


def test_results_are_whole() -> None:
    for file in RESULTS.glob("*.json"):
        result = json.loads(file.read_text(encoding="utf-8"))
        assert result["name"] == file.stem
        assert result["rows"]


def test_a_made_run_is_one_that_recommends(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "made", users=30, items=200, d=8, seed=3, events=5)
    assert (folder / "weights.safetensors").read_bytes() == (
        made_run(tmp_path / "again", 30, 200, 8, 3, events=5) / "weights.safetensors"
    ).read_bytes()
    recommender = load(folder)
    assert (len(recommender.users), len(recommender.items)) == (31, 201)
    frame = recommender.recommend(["u1", "u30"], k=4, where={"kind": "kind3"})
    assert frame["item"].to_list() == [f"i{title.removeprefix('Thing ')}" for title in frame["title"]]
    assert len(frame) == 8
    assert set(frame["title"].str.split(" ").list[1].cast(pl.Int64) % 20) == {3}


def test_recboles_times_as_float32_change_the_order_of_a_users_events() -> None:
    day = 1_600_000_000  # neighbors of float32 lie 128 s apart here
    frame = pl.DataFrame({"user_id": ["a", "a", "b", "b"], "item_id": ["x", "y", "x", "y"], "timestamp": [day + 9, day, day, day + 300]})
    interactions = prepare_log(frame, settings(), keep_rows=True).interactions
    assert recbole_differences.users_in_another_order(interactions, normalized=False) == 1
    assert recbole_differences.users_in_another_order(interactions, normalized=True) == 0


@pytest.mark.parametrize(("length", "later"), [(3, (1, 0)), (10, (0, 0)), (20, (2, 1)), (31, (0, 0))])
def test_recboles_cuts_by_share_fall_up_to_two_events_later(length: int, later: tuple[int, int]) -> None:
    assert recbole_differences.later_cuts(length, [0.8, 0.1, 0.1]) == later
