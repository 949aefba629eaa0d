"""The whole way, from a log to a run folder, on a log so small that it takes no time."""

import json
import math
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

import gaterec
from gaterec import load
from gaterec.errors import DataError, RunError, SettingsError
from gaterec.experiments.run import Result, evaluate_run, prepare_folder, run
from gaterec.inference import run_folder as checkpoint
from gaterec.models.encoder import SequenceEncoder
from tests.support.commands import TINY, gaterec_alone, write_log
from tests.support.commands import gaterec as command

FILES = {"weights.safetensors", "histories.safetensors", "run.json", "users.parquet", "items.parquet", "ranks.parquet", "report.html"}
KEYS = {"best_valid_score", "valid_score_bigger", "best_valid_result", "test_result", "folder", "best_epoch", "epochs", "baselines", "protocol", "settings"}  # fmt: skip
SMALL: dict[str, Any] = {"epochs": 3, "embedding_size": 4, "MAX_ITEM_LIST_LENGTH": 5, "learning_rate": 0.01, "state": "WARNING"}
ITEMS = 20


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("log") / "tiny.csv", items=ITEMS)


@pytest.fixture(scope="module")
def frame(log: Path) -> pl.DataFrame:
    return pl.read_csv(log)


@pytest.fixture(scope="module")
def done(log: Path) -> Result:
    """A run of HGN from a path."""
    return run("HGN", log, config_dict=SMALL | {"checkpoint_dir": str(log.parent / "done")})


def same_run(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in ("weights.safetensors", "histories.safetensors", "ranks.parquet", "users.parquet", "items.parquet"))  # fmt: skip


def figures(result: Result) -> list[object]:
    """All that was measured, but for the times."""
    losses = [(epoch["loss"], epoch["valid"]) for epoch in result["epochs"]]
    return [
        result["best_valid_score"],
        result["best_valid_result"],
        result["test_result"],
        result["baselines"],
        result["best_epoch"],
        losses,
    ]


# -- what comes out ---------------------------------------------------------------------------------------------------------------


def test_the_result(done: Result) -> None:
    assert set(done) == KEYS
    assert done["valid_score_bigger"] is True
    assert list(done["test_result"] or {}) == ["recall@10", "mrr@10", "ndcg@10", "hit@10", "precision@10"]
    assert list(done["baselines"]) == ["Pop"]
    assert [epoch["epoch"] for epoch in done["epochs"]] == [1, 2, 3]
    best = done["epochs"][done["best_epoch"] - 1]["valid"]
    assert best == done["best_valid_result"]
    assert done["best_valid_score"] == best["mrr@10"] == max(epoch["valid"]["mrr@10"] for epoch in done["epochs"])
    assert done["settings"]["embedding_size"] == 4
    assert done["protocol"][0] == "Split: leave-one-out (valid_and_test), each user's events by time."


def test_the_loss_falls(done: Result) -> None:
    losses = [epoch["loss"] for epoch in done["epochs"]]
    assert losses == sorted(losses, reverse=True)


def test_the_folder_is_complete_and_alone(done: Result) -> None:
    assert {file.name for file in done["folder"].iterdir()} == FILES
    assert list(done["folder"].parent.iterdir()) == [done["folder"]]


def test_run_json(done: Result, log: Path) -> None:
    info = json.loads((done["folder"] / "run.json").read_text())
    assert info["format"] == 1
    assert info["title"] == "HGN on tiny"
    assert info["test"] == done["test_result"]
    assert info["epochs"] == done["epochs"]
    assert info["environment"]["torch"] == torch.__version__
    assert info["data"]["source"] == str(log)
    assert len(info["data"]["fingerprint"]) == 64
    assert info["data"]["events"] == len(log.read_text().splitlines()) - 1


def test_vocabularies_and_ranks(done: Result, frame: pl.DataFrame) -> None:
    folder = done["folder"]
    users, items, ranks = (pl.read_parquet(folder / f"{name}.parquet") for name in ("users", "items", "ranks"))
    assert users["user_id"].to_list() == ["[unknown]", *frame["user_id"].unique(maintain_order=True)]
    assert items["item_id"].to_list() == ["[padding]", *frame["item_id"].unique(maintain_order=True)]
    last = frame.group_by("user_id", maintain_order=True).last()
    assert ranks.select("user_id", "item_id").equals(last.select("user_id", "item_id"))
    lengths = frame.group_by("user_id", maintain_order=True).len()["len"] - 1
    assert ranks["history_length"].to_list() == lengths.to_list()
    training = frame.group_by("user_id", maintain_order=True).agg(pl.col("item_id").head(pl.len() - 2)).explode("item_id")
    counts = dict(training.group_by("item_id").len().iter_rows())
    assert items["training_count"].to_list() == [counts.get(item, 0) for item in items["item_id"]]
    hits = ranks.select((pl.col("rank") <= 10).mean()).item()
    assert hits == pytest.approx((done["test_result"] or {})["recall@10"])


def test_the_report(done: Result) -> None:
    page = (done["folder"] / "report.html").read_text()
    assert "<title>HGN on tiny" in page
    assert "--embedding_size=4" in page
    assert "--seed" not in page, "what is as by default need not be said"


def test_the_loaded_model_scores_the_same_bits(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Any] = []

    def write_run(folder: Path, model: SequenceEncoder, *rest: Any) -> None:
        trained.append(model)
        checkpoint.write_run(folder, model, *rest)

    monkeypatch.setattr(sys.modules["gaterec.experiments.run"], "write_run", write_run)
    folder = run("HGN", log, config_dict=SMALL | {"checkpoint_dir": str(tmp_path)})["folder"]
    loaded = load(folder)
    users, items = torch.tensor([1, 2, 0]), torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [0, 0, 7, 8]])
    with torch.inference_mode():
        before, after = (model.scores(model(users, items)) for model in (trained[0], loaded.model))
    assert before.shape == (3, 4, ITEMS + 1)
    assert torch.equal(before, after)
    assert not loaded.model.training
    assert loaded.settings.epochs == 3


def test_the_package_gives_the_function_however_it_was_imported(log: Path) -> None:
    assert gaterec.run is run
    assert gaterec.run is run, "also the second time, when Python has bound the module to the name"
    assert gaterec.load is load


# -- where the log comes from -----------------------------------------------------------------------------------------------------


def test_frames_and_paths_train_the_same_model(done: Result, frame: pl.DataFrame, log: Path, tmp_path: Path) -> None:
    sources: list[Any] = [frame, frame.lazy(), str(log)]
    for number, source in enumerate(sources):
        result = run("HGN", source, config_dict=SMALL | {"checkpoint_dir": str(tmp_path / str(number))})
        assert same_run(result["folder"], done["folder"])
        assert figures(result) == figures(done)


def test_a_pandas_frame(done: Result, log: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    result = run("HGN", pandas.read_csv(log), config_dict=SMALL | {"checkpoint_dir": str(tmp_path)})
    assert same_run(result["folder"], done["folder"])


def test_a_run_from_a_frame_is_judged_again_from_a_file(frame: pl.DataFrame, log: Path, tmp_path: Path) -> None:
    result = run("HGN", frame, config_dict=SMALL | {"checkpoint_dir": str(tmp_path)})
    with pytest.raises(DataError, match="DataFrame: no file of this name"):
        evaluate_run(result["folder"])
    assert evaluate_run(result["folder"], {"dataset": str(log)})["test_result"] == result["test_result"]


@pytest.mark.parametrize("chosen", [{}, {"loss_type": "BPR"}, {"eval_args": {"split": {"TS": [0.6, 0.2, 0.2]}}, "repeatable": False}])
def test_a_prepared_folder_trains_the_same_model(log: Path, tmp_path: Path, chosen: dict[str, Any]) -> None:
    ready = prepare_folder(log, tmp_path / "ready", config_dict={"state": "WARNING"})
    places = [SMALL | chosen | {"checkpoint_dir": str(tmp_path / name)} for name in "ab"]
    one, other = run("HGN", log, config_dict=places[0]), run("HGN", ready, config_dict=places[1])
    assert same_run(one["folder"], other["folder"])
    assert figures(one) == figures(other)
    assert load(one["folder"]).info["data"] == load(other["folder"]).info["data"]
    assert figures(evaluate_run(one["folder"], dataset=ready)) == figures(one)
    assert figures(evaluate_run(other["folder"], dataset=log)) == figures(one)


def test_filters_of_a_prepared_folder_are_those_of_the_run(log: Path, tmp_path: Path) -> None:
    filters = {"rm_dup_inter": "last", "item_inter_num_interval": "[10,inf)"}
    ready = gaterec.prepare(log, tmp_path / "ready", config_dict={"state": "WARNING"} | filters)
    places = [SMALL | {"checkpoint_dir": str(tmp_path / name)} for name in "ab"]
    one, other = run("HGN", log, config_dict=places[0] | filters), run("HGN", ready, config_dict=places[1])
    assert same_run(one["folder"], other["folder"])
    assert other["settings"]["rm_dup_inter"] == "last"
    with pytest.raises(SettingsError, match=r"rm_dup_inter: .*ready was prepared with 'last', found 'first'"):
        run("HGN", ready, config_dict=places[1] | {"rm_dup_inter": "first"})


def test_what_is_no_log_to_prepare(log: Path, frame: pl.DataFrame, tmp_path: Path) -> None:
    quiet = {"state": "WARNING"}
    ready = prepare_folder(frame, tmp_path / "ready", config_dict=quiet)
    with pytest.raises(DataError, match="ready: is prepared already; expected a log"):
        prepare_folder(ready, tmp_path / "again", config_dict=quiet)
    with pytest.raises(DataError, match=r"tiny\.csv: expected a new folder, or one that was prepared before, found a file"):
        prepare_folder(frame, log, config_dict=quiet)
    (tmp_path / "order.yaml").write_text("eval_args: {order: RO}\n")
    with pytest.raises(SettingsError, match=r"logs are prepared in order of time \(TO\), found RO"):
        prepare_folder(log, tmp_path / "again", tmp_path / "order.yaml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["order.yaml", "ready"]


def test_settings_come_from_files_too(log: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("epochs: 2\nembedding_size: 3\n")
    result = run("HGN", log, [tmp_path / "a.yaml"], SMALL | {"checkpoint_dir": str(tmp_path / "saved"), "epochs": 1})
    assert (result["settings"]["epochs"], result["settings"]["embedding_size"], len(result["epochs"])) == (1, 4, 1)


# -- the same again ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [{}, {"loss_type": "BPR", "dropout": 0.3}, {"reproducibility": True, "learner": "adagrad"}])
def test_the_same_settings_give_the_same_bits(log: Path, tmp_path: Path, chosen: dict[str, Any]) -> None:
    one, other = (run("HGN", log, config_dict=SMALL | chosen | {"checkpoint_dir": str(tmp_path / name)}) for name in "ab")
    assert one["folder"].name == other["folder"].name
    assert same_run(one["folder"], other["folder"])
    assert figures(one) == figures(other)


def test_what_was_drawn_before_does_not_matter(done: Result, log: Path, tmp_path: Path) -> None:
    torch.manual_seed(12345)
    torch.rand(7)
    before = torch.random.get_rng_state()
    result = run("HGN", log, config_dict=SMALL | {"checkpoint_dir": str(tmp_path)})
    assert same_run(result["folder"], done["folder"])
    assert torch.equal(torch.random.get_rng_state(), before), "and nothing is left of it"
    assert not torch.are_deterministic_algorithms_enabled()


def test_another_seed_gives_another_model(done: Result, log: Path, tmp_path: Path) -> None:
    result = run("HGN", log, config_dict=SMALL | {"checkpoint_dir": str(tmp_path), "seed": 7})
    assert result["folder"].name != done["folder"].name
    assert (result["folder"] / "weights.safetensors").read_bytes() != (done["folder"] / "weights.safetensors").read_bytes()
    assert figures(result) != figures(done)


@pytest.mark.slow
def test_separate_processes_give_the_same_bits(log: Path, tmp_path: Path) -> None:
    folders: list[Path] = []
    for name in "ab":
        found = gaterec_alone("run", "-d", log, f"--checkpoint_dir={tmp_path / name}", *TINY)
        assert found.code == 0, found.err
        folders += (tmp_path / name).iterdir()
    assert folders[0].name == folders[1].name
    assert same_run(*folders)


@pytest.mark.parametrize("harmless", [{"metric_decimal_place": 2}, {"state": "ERROR"}, {"show_progress": False}])
def test_the_folders_name_is_stable(done: Result, log: Path, tmp_path: Path, harmless: dict[str, Any]) -> None:
    result = run("HGN", log, config_dict=SMALL | {"checkpoint_dir": str(tmp_path)} | harmless)
    assert result["folder"].name == done["folder"].name


def test_the_folders_name_tells_settings_and_data_apart(done: Result, log: Path, tmp_path: Path) -> None:
    chosen = SMALL | {"checkpoint_dir": str(tmp_path), "epochs": 1}
    other = write_log(tmp_path / "tiny.csv", items=ITEMS, seed=1)
    names = {run("HGN", path, config_dict=chosen)["folder"].name for path in (log, other)} | {done["folder"].name}
    assert len(names) == 3
    assert all(name.startswith("HGN-tiny-") for name in names)


def test_a_second_run_takes_the_place_of_the_first(log: Path, tmp_path: Path) -> None:
    chosen = SMALL | {"checkpoint_dir": str(tmp_path), "epochs": 1}
    folder = run("HGN", log, config_dict=chosen)["folder"]
    (folder / "run.json").write_text("broken")
    run("HGN", log, config_dict=chosen)
    assert load(folder).info["title"] == "HGN on tiny"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_finished_run_is_not_trained_again(done: Result, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["gaterec.experiments.run"], "_train", None)
    again = run("HGN", log, config_dict=SMALL | {"checkpoint_dir": str(done["folder"].parent)}, resume=True)
    assert again == done


# -- protocols --------------------------------------------------------------------------------------------------------------------


def judged(log: Path, tmp_path: Path, **chosen: Any) -> tuple[Result, pl.DataFrame]:
    """A run under another protocol, and the ranks that it wrote."""
    result = run("HGN", log, config_dict=SMALL | {"epochs": 1, "checkpoint_dir": str(tmp_path)} | chosen)
    assert all(0 <= value <= 1 for value in (result["test_result"] or {}).values())
    return result, pl.read_parquet(result["folder"] / "ranks.parquet")


def test_nothing_held_out_for_validation(log: Path, tmp_path: Path) -> None:
    result, ranks = judged(log, tmp_path, epochs=3, eval_args={"split": {"LS": "test_only"}})
    assert (result["best_valid_score"], result["best_valid_result"], result["best_epoch"]) == (None, None, 3)
    assert [epoch["valid"] for epoch in result["epochs"]] == [None] * 3
    assert result["test_result"]
    assert len(ranks) == 40


def test_nothing_held_out_for_test(log: Path, tmp_path: Path) -> None:
    result, ranks = judged(log, tmp_path, eval_args={"split": {"LS": "valid_only"}})
    assert (result["test_result"], result["baselines"], len(ranks)) == (None, {}, 0)
    assert result["best_valid_score"] is not None
    assert evaluate_run(result["folder"])["test_result"] is None


def test_a_model_that_is_counted_is_validated_too(log: Path, tmp_path: Path) -> None:
    result = run("Pop", log, config_dict={"checkpoint_dir": str(tmp_path)})
    assert result["epochs"] == []
    assert result["best_valid_result"] is not None
    assert result["best_valid_score"] == result["best_valid_result"]["mrr@10"] > 0


def test_no_validation_at_all_keeps_the_last_epoch(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, _ = judged(log, tmp_path, epochs=3, eval_step=0, state="INFO")
    assert "Nothing is validated: all epochs (3) are trained, and the weights of the last one are kept." in capsys.readouterr().out
    assert (result["best_valid_score"], result["best_epoch"]) == (None, 3)


def test_shares_by_time(log: Path, frame: pl.DataFrame, tmp_path: Path) -> None:
    result, ranks = judged(log, tmp_path, eval_args={"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO"})
    assert result["protocol"][0] == "Split: 80/10/10 by time, of each user's events."
    tests = {person: max(1, number // 10) for person, number in frame.group_by("user_id").len().iter_rows()}
    assert dict(ranks.group_by("user_id").len().iter_rows()) == tests


def test_random_order(log: Path, frame: pl.DataFrame, tmp_path: Path) -> None:
    chosen = {"split": {"LS": "valid_and_test"}, "order": "RO"}
    result, ranks = judged(log, tmp_path, eval_args=chosen)
    assert "in random order" in result["protocol"][0]
    assert ranks["user_id"].to_list() == frame["user_id"].unique(maintain_order=True).to_list()
    last = frame.group_by("user_id", maintain_order=True).last()
    assert 0 < (ranks["item_id"] == last["item_id"]).sum() < len(ranks), "some last events are drawn, but not all"
    _, other = judged(log, tmp_path, eval_args=chosen, seed=1)
    assert other["item_id"].to_list() != ranks["item_id"].to_list()


def test_one_moment_for_all(log: Path, frame: pl.DataFrame, tmp_path: Path) -> None:
    result, ranks = judged(log, tmp_path, eval_args={"split": {"TS": [0.6, 0.2, 0.2]}, "target": "next"})
    moment = frame["timestamp"].quantile(0.8, "linear")
    after = frame.filter(pl.col("timestamp") > moment)
    has_history = frame.filter(pl.col("timestamp") <= moment)["user_id"].unique()
    first = after.group_by("user_id").agg(pl.len())
    # The first event of a person without history can't be asked for, the later ones can.
    expected = {user: count - (user not in has_history) for user, count in first.iter_rows()}
    assert dict(ranks.group_by("user_id").len().iter_rows()) == {user: count for user, count in expected.items() if count}
    assert "after one moment for all" in result["protocol"][0]


def test_all_held_out_items_at_once(log: Path, frame: pl.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, ranks = judged(log, tmp_path, eval_args={"split": {"RS": [0.5, 0, 0.5]}, "target": "all"}, state="INFO")
    assert "Nothing is validated: all epochs (" in capsys.readouterr().out  # no share is for validation
    held_out = frame.group_by("user_id", maintain_order=True).agg(pl.col("item_id").tail(pl.len() // 2).unique(), pl.len()).sort("user_id")
    found = ranks.group_by("user_id").agg(pl.col("item_id"), pl.col("history_length").unique()).sort("user_id")
    assert [set(items) for items in found["item_id"]] == [set(items) for items in held_out["item_id"]]
    assert found["history_length"].to_list() == [[length - length // 2] for length in held_out["len"]]
    assert "all held-out items, once at the end of the history" in result["protocol"][1]


def test_seen_items_left_out(log: Path, frame: pl.DataFrame, tmp_path: Path) -> None:
    result, ranks = judged(log, tmp_path, repeatable=False)
    history = frame.group_by("user_id", maintain_order=True).agg(seen=pl.col("item_id").head(pl.len() - 1), last=pl.col("item_id").last())
    seen_before = [last in seen for seen, last in history.select("seen", "last").iter_rows()]
    assert any(seen_before)
    assert ranks["rank"].is_null().to_list() == seen_before
    assert "items seen before are left out" in result["protocol"][2]


def test_the_protocol_of_recboles_general_models(tmp_path: Path) -> None:
    dice = random.Random(0)
    chosen = {f"u{user}": dice.sample(range(60), dice.randint(5, 40)) for user in range(25)}
    frame = pl.DataFrame(
        [(user, f"i{item}", time) for user, items in chosen.items() for time, item in enumerate(items)],
        ["user_id", "item_id", "timestamp"],
        orient="row",
    )
    result = run(
        "BPR",
        frame,
        config_dict={"protocol": "recbole-general", "checkpoint_dir": str(tmp_path), "topk": [3], "epochs": 2, "state": "WARNING"},
    )
    ranks = pl.read_parquet(result["folder"] / "ranks.parquet")
    tests = {user: max(1, len(items) // 10) for user, items in chosen.items()}
    assert dict(ranks.group_by("user_id").len().iter_rows()) == tests
    assert ranks["history_length"].to_list() == [
        len(chosen[user]) - tests[user] for user in ranks["user_id"]
    ]  # one query, behind training and validation
    recall, ndcg = [], []
    for (user,), answers in ranks.group_by("user_id"):
        found = answers["rank"].to_list()
        assert max(found) <= 60 - len(chosen[str(user)]) + tests[str(user)]  # seen items are left out of the ranking
        recall.append(sum(rank <= 3 for rank in found) / len(found))
        gain = sum(1 / math.log2(rank + 1) for rank in found if rank <= 3)
        ndcg.append(gain / sum(1 / math.log2(rank + 1) for rank in range(1, min(len(found), 3) + 1)))
    assert result["test_result"] is not None
    assert result["test_result"]["recall@3"] == pytest.approx(sum(recall) / len(recall))
    assert result["test_result"]["ndcg@3"] == pytest.approx(sum(ndcg) / len(ndcg))
    assert result["protocol"][0] == "Split: 80/10/10 in random order, of each user's events."
    assert (result["settings"]["negatives_may_be_own"], result["settings"]["repeatable"]) == (False, False)
    again = evaluate_run(result["folder"], dataset=frame)
    assert again["test_result"] == result["test_result"]


@pytest.mark.parametrize("mode", ["uni10", "pop10"])
def test_drawn_items(log: Path, tmp_path: Path, mode: str) -> None:
    result, ranks = judged(log, tmp_path, eval_args={"mode": mode})
    assert 1 < ranks["rank"].max() <= 11  # type: ignore[operator]
    assert any("mislead" in line for line in result["protocol"])


# -- judging again ----------------------------------------------------------------------------------------------------------------


def test_judging_again_gives_the_same_figures(done: Result) -> None:
    again = evaluate_run(done["folder"])
    assert (again["test_result"], again["baselines"], again["protocol"]) == (done["test_result"], done["baselines"], done["protocol"])
    assert again["best_valid_result"] == done["best_valid_result"]


def test_judging_under_another_protocol(done: Result) -> None:
    before = {file: file.read_bytes() for file in done["folder"].iterdir()}
    again = evaluate_run(done["folder"], {"topk": [1, 5, 10], "metrics": ["recall", "gauc"], "valid_metric": "recall@10"})
    figures = again["test_result"] or {}
    assert list(figures) == ["recall@1", "recall@5", "recall@10", "gauc"]
    assert figures["recall@1"] <= figures["recall@5"] <= figures["recall@10"] == (done["test_result"] or {})["recall@10"]
    drawn = evaluate_run(done["folder"], {"eval_args": {"mode": "uni5"}})
    assert (drawn["test_result"] or {})["recall@10"] == 1.0, "of six items all are among the first ten"
    assert {file: file.read_bytes() for file in done["folder"].iterdir()} == before


def test_judging_on_other_data_is_refused(done: Result, tmp_path: Path) -> None:
    other = write_log(tmp_path / "other.csv", people=9, items=ITEMS, seed=3)
    with pytest.raises(RunError, match=r"was trained on other data: 40 people and 20 items, found 9 and .*; give the same log"):
        evaluate_run(done["folder"], {"dataset": str(other)})


# -- other models and the demo ----------------------------------------------------------------------------------------------------


def test_pop(log: Path, tmp_path: Path) -> None:
    chosen = {"checkpoint_dir": str(tmp_path), "state": "WARNING"}
    result = run("Pop", log, config_dict=chosen)
    assert result["epochs"] == []
    assert result["test_result"]
    assert evaluate_run(result["folder"])["test_result"] == result["test_result"]
    beside = run("HGN", log, config_dict=SMALL | chosen)["baselines"]["Pop"]
    assert beside == result["test_result"]


def test_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = {"epochs": 1, "embedding_size": 8, "MAX_ITEM_LIST_LENGTH": 5, "checkpoint_dir": str(tmp_path)}
    result = run(config_dict=chosen)
    assert list(result["baselines"]) == ["Pop", "best possible"]
    recall = {"HGN": result["test_result"] or {}} | result["baselines"]
    assert recall["Pop"]["recall@10"] < recall["best possible"]["recall@10"]
    assert recall["HGN"]["recall@10"] < recall["best possible"]["recall@10"]
    out = capsys.readouterr().out
    for text in ("HGN on demo, test, weights of epoch 1", "│ Pop ", "│ best possible ", "Split: ", "Asked: ", "Ranked: "):
        assert text in out
    assert f"{recall['best possible']['recall@10']:.4f}" in out


def test_no_pandas_is_imported_unasked(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert run("HGN", log, config_dict=SMALL | {"checkpoint_dir": str(tmp_path), "epochs": 0})["best_epoch"] == 0


@pytest.mark.parametrize(
    "flag",
    [{"eval_args": {"split": {"RS": [7, 1, 2]}}}, {"embedding_size": 8}, {"MAX_ITEM_LIST_LENGTH": 2}, {"learning_rate": 3.0}, {"seed": 1}],
    ids=lambda flag: next(iter(flag)),
)
def test_judging_again_refuses_what_the_training_fixed(done: Result, flag: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"was fixed when .* was trained"):
        evaluate_run(done["folder"], flag)


def test_a_run_of_a_frame_is_judged_again_on_the_frame(frame: pl.DataFrame, tmp_path: Path) -> None:
    result = run("HGN", frame, config_dict=SMALL | {"checkpoint_dir": str(tmp_path)})
    assert evaluate_run(result["folder"], dataset=frame)["test_result"] == result["test_result"]
    with pytest.raises(DataError, match="was trained on a frame: pass it as dataset="):
        evaluate_run(result["folder"])


def test_a_log_that_has_moved_is_asked_for(log: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.csv"
    moved.write_bytes(log.read_bytes())
    result = run("HGN", moved, config_dict=SMALL | {"checkpoint_dir": str(tmp_path)})
    moved.rename(tmp_path / "elsewhere.csv")
    with pytest.raises(DataError, match="say where it is now with --dataset"):
        evaluate_run(result["folder"])
    assert evaluate_run(result["folder"], dataset=tmp_path / "elsewhere.csv")["test_result"] == result["test_result"]


def test_a_single_config_file_needs_no_list(log: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("epochs: 1\n")
    rest = {name: value for name, value in SMALL.items() if name != "epochs"} | {"checkpoint_dir": str(tmp_path)}
    assert len(run("HGN", log, file, rest)["epochs"]) == 1
    with pytest.raises(SettingsError, match="config_dict: expected a dictionary"):
        run("HGN", log, config_dict=[1])  # type: ignore[arg-type]


def test_training_on_everything_judges_nothing(log: Path, tmp_path: Path) -> None:
    result = run("HGN", log, config_dict=SMALL | {"checkpoint_dir": str(tmp_path), "eval_args": {"split": {"RS": [1, 0, 0]}}})
    assert result["test_result"] is None
    assert result["best_epoch"] == SMALL["epochs"]


def test_a_counted_model_can_be_judged_again(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv")
    result = run("Pop", log, config_dict={"checkpoint_dir": str(tmp_path / "saved")})
    assert evaluate_run(result["folder"])["test_result"] == result["test_result"]


# -- what others do to the files ----------------------------------------------------------------------------------------------------


def test_what_killed_processes_left_is_named_by_what_reads_and_swept_by_the_next_run(log: Path, tmp_path: Path) -> None:
    saved = tmp_path / "[v1]"
    made = command("run", "-d", log, f"--checkpoint_dir={saved}", *TINY)
    assert made.code == 0, made.err
    (folder,) = saved.iterdir()
    left = saved / f".{folder.name}.0123abcd.part"
    shutil.copytree(folder, left)
    told = f"note: {left}: was left by a process that was stopped, and is not read; the next command that writes there removes it\n"
    for arguments in (("evaluate", folder), ("recommend", saved, "--users=u1"), ("recommend", folder, "--users=u1")):
        found = command(*arguments)
        assert (found.code, found.err) == (0, told)
    again = command("run", "-d", log, f"--checkpoint_dir={saved}", "--resume", *TINY)
    assert f"note: {left}: was left by a process that was stopped; removed\n" in again.err
    assert list(saved.iterdir()) == [folder]
    folder.rename(saved / f".{folder.name}.0123abcd.old")  # a process that was killed between two renames
    again = command("run", "-d", log, f"--checkpoint_dir={saved}", "--resume", *TINY)
    assert "was put back from" in again.err
    assert "this run is finished already" in again.out
    assert list(saved.iterdir()) == [folder]


@pytest.mark.parametrize("place", ["~nosuch/x", "file/x", "x" * 300, "/proc/nothing"])
def test_a_place_for_runs_that_can_not_be_is_told_in_one_line(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for arguments in (("run", f"--checkpoint_dir={place}"), ("compare", f"--out={place}"), ("prepare", log, place)):
        found = command(*arguments, *(["-d", log] if arguments[0] != "prepare" else []))
        assert (found.code, found.err.count("\n")) == (2, 1), found.err
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_prepared_folder_that_is_written_over_during_the_training_makes_no_run(log: Path, tmp_path: Path) -> None:
    data = prepare_folder(log, tmp_path / "data", config_dict={"state": "ERROR"})
    chosen = SMALL | {"checkpoint_dir": str(tmp_path / "saved"), "epochs": 1}

    def replaced(entry: Any) -> None:
        prepare_folder(log, data, config_dict={"state": "ERROR"})

    def written_over(entry: Any) -> None:
        (data / "item.npy").write_bytes((data / "item.npy").read_bytes())

    with pytest.raises(
        RunError, match=r"item\.npy was written over during the training, so the run was not written; run again without --resume"
    ):
        run("HGN", str(data), config_dict=chosen, on_epoch=written_over)
    assert not [*(tmp_path / "saved").glob("*/run.json")]
    assert run("HGN", str(data), config_dict=chosen, on_epoch=replaced)["folder"].exists()


def test_what_is_judged_again_by_other_events_says_so_and_by_another_order_is_refused(done: Result, log: Path, tmp_path: Path) -> None:
    head, *lines = log.read_text().splitlines()
    other = tmp_path / "tiny.csv"
    other.write_text("\n".join([head, *lines[:-2], *reversed([line.rsplit(",", 1)[0] + ",999999" for line in lines[-2:]])]) + "\n")
    told = "the people and items are those of the training, but their events are not"
    found = command("evaluate", done["folder"], f"--dataset={other}")
    assert found.code == 0, found.err
    assert told in found.err
    assert told not in command("evaluate", done["folder"], f"--dataset={log}").err
    refused = command("evaluate", done["folder"], "--eval_args={order: RO}")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "eval_args.order: was fixed when" in refused.err
