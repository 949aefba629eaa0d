"""gaterec tune from end to end: real searches on a small log, with real processes that are really killed."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
import yaml

import gaterec
import gaterec.io.html
from gaterec.config.resolve import parse_flags, resolve
from gaterec.inference.run_folder import read_info
from gaterec.io import processes
from gaterec.models import MODELS, model_class
from tests.support import postgres
from tests.support.commands import CommandResult, write_log
from tests.support.commands import gaterec as command

pytestmark = pytest.mark.slow

LIGHT = "import gaterec.io.html; gaterec.io.html._chart_library = lambda: ''; "  # reading the charts' library takes longer than the rest
CHILD = processes._START.replace("from MODULE", f"{LIGHT}from MODULE")
PROGRAM = f"{LIGHT}import gaterec.io.processes; gaterec.io.processes._START = {CHILD!r}; from gaterec.cli.app import main; main()"
SETTINGS = ("--embedding_size=4", "--MAX_ITEM_LIST_LENGTH=5", "--epochs=4")
SPACE = """
# as RecBole writes it
learning_rate choice [0.01, 0.03,0.1]
pooling_type choice ["average","max"]
reg_weight choice ['[0.00,0.00]','[0.001,0.00001]']
"""


@pytest.fixture(scope="module", autouse=True)
def light() -> Iterator[None]:
    with patch.object(processes, "_START", CHILD), patch.object(gaterec.io.html, "_chart_library", lambda: ""):
        yield


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log and a space."""
    folder = tmp_path_factory.mktemp("tune")
    write_log(folder / "log.csv", people=60)
    (folder / "hyper.test").write_text(SPACE)
    return folder


def tune(here: Path, out: Path, *more: object) -> CommandResult:
    seeds = () if any(str(word).startswith("--seeds") for word in more) else ("--seeds=0",)
    return command("tune", "-d", here / "log.csv", f"--params_file={here / 'hyper.test'}", f"--out={out}", *SETTINGS, *seeds, *more)


@pytest.fixture(scope="module")
def search(here: Path) -> tuple[Path, CommandResult]:
    """The folder of a finished search, and what it printed."""
    extra = (f"--output_file={here / 'my.result'}", f"--display_file={here / 'my.html'}", "--workers=2", "--tool=Hyperopt", "--seeds=1")
    outcome = tune(here, here / "out", *extra)
    assert outcome.code == 0, outcome.err
    return here / "out", outcome


def scores(folder: Path) -> list[tuple[int, str, float]]:
    trials = pl.read_parquet(folder / "trials.parquet")
    return [(number, state, score) for number, state, score in trials.select("number", "state", "score").iter_rows()]


def test_every_point_is_tried_once_and_the_best_wins(search: tuple[Path, CommandResult]) -> None:
    folder, outcome = search
    trials = pl.read_parquet(folder / "trials.parquet")
    assert trials["number"].to_list() == list(range(12))
    assert set(trials["state"]) == {"done"}
    assert len(trials.unique(["learning_rate", "pooling_type", "reg_weight"])) == 12
    best = trials.sort("score", "number", descending=[True, False]).row(0, named=True)
    settings = yaml.safe_load((folder / "best.yaml").read_text())
    assert settings["learning_rate"] == best["learning_rate"]
    assert settings["pooling_type"] == best["pooling_type"]
    assert settings["reg_weight"] == json.loads(best["reg_weight"])
    assert f"trial {best['number']}" in (folder / "best.yaml").read_text().splitlines()[0]
    assert "12 trials: the points of the grid in order" in outcome.out
    assert outcome.err == ""


def test_the_winner_is_trained_again_and_judged_on_test_beside_the_defaults(search: tuple[Path, CommandResult]) -> None:
    folder, outcome = search
    (best, defaults) = json.loads((folder / "winner" / "comparison.json").read_text())["settings"].keys() - {"all"}
    assert {best, defaults} == {"best", "defaults"}
    info = next(
        info
        for run in (folder / "winner" / "runs").glob("HGN-*/run.json")
        if (info := read_info(run.parent))["settings"]["learning_rate"] != 0.001
    )
    winner = pl.read_parquet(folder / "trials.parquet").sort("score", "number", descending=[True, False]).row(0, named=True)
    assert info["valid"]["mrr@10"] == pytest.approx(winner["score"], abs=1e-6)
    assert re.search(r"best: MRR@10 \d\.\d+ on test, 1 seed", (folder / "tune.html").read_text())
    assert "defaults" in outcome.out


def test_only_the_winner_has_test_figures(search: tuple[Path, CommandResult], here: Path) -> None:
    folder, _ = search
    text = (folder / "hyper.result").read_text()
    assert text.count("Valid result:") == 12
    assert text.count("not computed: settings are chosen on validation alone") == 11
    assert (here / "my.result").read_text() == text
    assert (here / "my.html").read_text() == (folder / "tune.html").read_text()


def test_its_settings_are_a_file_that_a_run_takes(search: tuple[Path, CommandResult], tmp_path: Path) -> None:
    folder, _ = search
    outcome = command("run", f"--config_files={folder / 'best.yaml'}", f"--checkpoint_dir={tmp_path}")
    assert outcome.code == 0, outcome.err
    (run,) = tmp_path.glob("HGN-log-*")
    winner = pl.read_parquet(folder / "trials.parquet").sort("score", "number", descending=[True, False]).row(0, named=True)
    assert read_info(run)["best_valid_score"] == pytest.approx(winner["score"], abs=1e-6)


def test_a_finished_search_is_not_made_again(search: tuple[Path, CommandResult], here: Path) -> None:
    folder, _ = search
    before = scores(folder)
    outcome = tune(here, folder, "--seeds=1")
    assert outcome.code == 0
    assert "12 of 12 trials are finished already" in outcome.out
    assert "2 of 2 runs are finished already" in outcome.out
    assert scores(folder) == before


def test_another_search_does_not_get_the_folder(search: tuple[Path, CommandResult], here: Path) -> None:
    folder, _ = search
    before = (folder / "search.json").read_bytes()
    outcome = tune(here, folder, "--loss_type=BPR")
    assert outcome.code == 2
    assert outcome.err.startswith(f"gaterec: {folder}: belongs to another search: loss_type was")
    assert (folder / "search.json").read_bytes() == before


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_the_trials_are_the_same_however_many_workers_there_are(here: Path, tmp_path: Path, sampler: str) -> None:
    for workers in (1, 2):
        assert tune(here, tmp_path / str(workers), f"--workers={workers}", "--trials=4", f"--sampler={sampler}").code == 0
    one, two = (pl.read_parquet(tmp_path / name / "trials.parquet").drop("seconds", "worker") for name in ("1", "2"))
    assert one.select("learning_rate", "pooling_type", "reg_weight").equals(two.select("learning_rate", "pooling_type", "reg_weight"))
    assert one["score"].to_list() == pytest.approx(two["score"].to_list(), abs=1e-6)
    assert set(one["state"]) == {"done"}


def test_more_trials_of_the_same_search(here: Path, tmp_path: Path) -> None:
    assert tune(here, tmp_path, "--trials=2", "--sampler=random").code == 0
    before = scores(tmp_path)
    outcome = tune(here, tmp_path, "--trials=3", "--sampler=random")
    assert "2 of 3 trials are finished already" in outcome.out
    assert scores(tmp_path)[:2] == before
    assert len(scores(tmp_path)) == 3


@pytest.mark.postgres
def test_trials_may_be_kept_on_a_server(here: Path, tmp_path: Path) -> None:
    if postgres.programs() is None:
        pytest.skip("needs PostgreSQL")
    with postgres.server() as address:
        assert tune(here, tmp_path, f"--storage={address}", "--trials=1").code == 0
        outcome = tune(here, tmp_path, f"--storage={address}", "--trials=2")
    assert outcome.code == 0, outcome.err
    assert "1 of 2 trials are finished already" in outcome.out
    assert [row[:2] for row in scores(tmp_path)] == [(0, "done"), (1, "done")]
    assert not list(tmp_path.glob("*.db"))
    for text in (outcome.out, *(file.read_text() for file in tmp_path.iterdir() if file.suffix in {".html", ".json", ".yaml", ".result"})):
        assert "secret" not in text


def test_from_python_with_a_frame(here: Path, tmp_path: Path) -> None:
    frame = pl.read_csv(here / "log.csv")
    result = gaterec.tune(
        dataset=frame,
        config_dict={"embedding_size": 4, "epochs": 2, "checkpoint_dir": str(tmp_path), "state": "WARNING"},
        space={"learning_rate": "loguniform -6, -1", "loss_type": ["CE", "BPR"], "MAX_ITEM_LIST_LENGTH": [3, 5]},
        trials=4,
        sampler="tpe",
        seeds=1,
    )
    assert result["folder"].parent == tmp_path
    assert len(result["trials"]) == 4
    assert result["score"] == max(result["trials"]["score"])
    assert result["best"].keys() == {"learning_rate", "loss_type", "MAX_ITEM_LIST_LENGTH"}
    assert result["run"] is not None
    assert read_info(result["run"])["test"] == result["test"]
    assert gaterec.load(result["run"]).settings.loss_type == result["best"]["loss_type"]
    assert result["settings"]["dataset"] == str(result["folder"] / "data")


def test_quality_against_time(here: Path, tmp_path: Path) -> None:
    outcome = tune(here, tmp_path, "--against=recommendation_time", "--trials=4")
    assert outcome.code == 0, outcome.err
    trials = pl.read_parquet(tmp_path / "trials.parquet")
    assert all(cost > 0 for cost in trials["cost"])
    assert "Trials of which none other is both better and cheaper: " in outcome.out


def test_nothing_is_chosen_on_test(here: Path, tmp_path: Path) -> None:
    """With everything that is held out for test changed, the search finds the same."""
    lines = (here / "log.csv").read_text().splitlines()
    seen: set[str] = set()
    changed = 0
    for number, line in enumerate(lines[1:], 1):
        person, item, moment = line.split(",")
        is_last = number + 1 == len(lines) or not lines[number + 1].startswith(f"{person},")
        if is_last and item in seen:  # so that items keep their numbers, which the first appearance gives
            lines[number] = f"{person},{lines[number - 1].split(',')[1]},{moment}"
            changed += lines[number] != line
        seen.add(item)
    assert changed > 20
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "hyper.test").write_text(SPACE)
    for place in (here, tmp_path):
        assert tune(place, tmp_path / f"out-{place.name}", "--trials=3").code == 0
    one, other = (pl.read_parquet(tmp_path / f"out-{place.name}" / "trials.parquet") for place in (here, tmp_path))
    assert one["score"].to_list() == other["score"].to_list()


def test_a_folder_of_somebody_else_is_not_written_into(here: Path, tmp_path: Path) -> None:
    for name in ("space.yaml", "best.yaml", "trials/mine/epoch-best.safetensors"):
        place = tmp_path / name.partition("/")[0].replace(".", "")
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text("mine")
        outcome = tune(here, place)
        assert outcome.code == 2
        assert (
            outcome.err
            == f"gaterec: out: {place}: expected a new folder, or one of a search, found {name.partition('/')[0]} in it; give another --out\n"
        )
        assert [file.read_text() for file in place.rglob("*.*")] == ["mine"]


def test_files_are_not_written_over(here: Path, tmp_path: Path) -> None:
    space = here / "hyper.test"
    for flags, told in (
        ([f"--output_file={space}"], f"output_file: is the file of params_file too, {space}; give another"),
        ([f"--output_file={'x' * 300}"], f"output_file: {'x' * 300}: can't be written: File name too long"),
        ([f"--output_file={tmp_path / 'x'}", f"--display_file={tmp_path / 'x'}"], "display_file: is the file of output_file too"),
        ([f"--display_file={tmp_path}"], f"display_file: expected a file, found the folder {tmp_path}"),
        ([f"--storage={space}"], f"storage: is the file of params_file too, {space}; give another"),
    ):
        outcome = tune(here, tmp_path / "out", *flags)
        assert outcome.code == 2
        assert outcome.err.startswith(f"gaterec: {told}")
        assert space.read_text() == SPACE
    assert not (tmp_path / "out").exists()


def test_random_order_is_refused_before_anything_is_trained(here: Path, tmp_path: Path) -> None:
    outcome = tune(here, tmp_path, "--eval_args={'order': 'RO', 'split': {'RS': [0.8, 0.1, 0.1]}}")
    assert outcome.code == 2
    assert outcome.err.startswith("gaterec: eval_args.order: trials share a log that is put in order of time (TO) once, found RO")


@pytest.mark.parametrize("bundle", ["recipe", "protocol"])
def test_the_winners_file_means_the_winners_settings(here: Path, tmp_path: Path, bundle: str) -> None:
    """Also where a recipe or protocol is given, and what it says was put back to the usual."""
    given = {"recipe": ["--recipe=hgn-best", "--user_term=True", "--eval_step=1"], "protocol": ["--protocol=paper", "--repeatable=True"]}[
        bundle
    ]
    arguments = [
        f"--params_file={here / 'hyper.test'}",
        f"--out={tmp_path}",
        "--embedding_size=64",
        "--epochs=1",
        "--trials=1",
        "--seeds=0",
        *given,
    ]
    assert command("tune", "-d", here / "log.csv", *arguments).code == 0
    chosen = {"learning_rate": 0.01, "pooling_type": "average", "reg_weight": [0.0, 0.0]}
    flags = parse_flags([flag for flag in arguments if flag.partition("=")[0] not in {"--params_file", "--out", "--trials", "--seeds"}])

    def settings(files: Any, **content: Any) -> dict[str, Any]:
        return resolve(lambda kind: model_class(kind).Settings, None, str(here / "log.csv"), files, content, models=MODELS).as_dict()

    assert settings([tmp_path / "best.yaml"]) == settings([], **flags, **chosen)
    assert chosen.keys() <= yaml.safe_load((tmp_path / "best.yaml").read_text()).keys()  # also what is the usual anyway


def test_a_space_of_one_point_in_recboles_form_under_yamls_name_is_one_trial(here: Path, tmp_path: Path) -> None:
    space = tmp_path / "one.yaml"
    space.write_text("learning_rate choice [0.001]\n")  # which is the default too, so that the winner is the defaults
    outcome = command(
        "tune", "-d", here / "log.csv", f"--params_file={space}", f"--out={tmp_path / 'out'}", *SETTINGS, "--seeds=1", "--sampler=tpe"
    )
    assert outcome.code == 0, outcome.err
    assert "The space has 1 point (learning_rate); 1 trial: " in outcome.out
    assert [row[:2] for row in scores(tmp_path / "out")] == [(0, "done")]


@pytest.mark.parametrize(
    ("text", "number", "message"),
    [
        ("pooling_type choice [max]\nseed choice [1,2]\n", 2, "seed: can't be searched"),
        ("pooling_type: [max]\nembedding_size: [4, 8]\n", 2, "embedding_size: is searched, and given by the command line too"),
        ("dropout: [0.1]\npooling_type: [mean]\n", 2, "pooling_type='mean': "),
        ("learning_rate: {loguniform: [1e-4, 1e-2]}\n", 1, "learning_rate: loguniform takes natural logarithms: "),
    ],
)
def test_what_is_wrong_with_a_space_is_told_with_its_line(here: Path, tmp_path: Path, text: str, number: int, message: str) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(text)
    outcome = command("tune", "-d", here / "log.csv", f"--params_file={space}", f"--out={tmp_path / 'out'}", *SETTINGS)
    assert outcome.code == 2
    assert outcome.err.startswith(f"gaterec: {space}:{number}: {message}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("flag", "name"), [("--eval_step=0", "eval_step"), ("--epochs=0", "epochs")])
def test_a_search_whose_trials_are_never_validated_is_refused_before_any(here: Path, tmp_path: Path, flag: str, name: str) -> None:
    settings = [setting for setting in SETTINGS if not setting.startswith(f"--{name}=")]
    space = f"--params_file={here / 'hyper.test'}"
    outcome = command("tune", "-d", here / "log.csv", space, f"--out={tmp_path / 'out'}", *settings, flag)
    assert outcome.code == 2
    assert outcome.err == f"gaterec: {name}: trials are compared by MRR@10 on the validation part, and 0 never validates; leave it out\n"
    assert not (tmp_path / "out").exists()


# -- killed ----------------------------------------------------------------------------------------------------------------------------

KILLS = int(os.environ.get("GATEREC_KILLS", "2"))
"""How often a search or a worker is killed; 20 with 40 trials is what docs/tuning.md tells of."""


def start(here: Path, out: Path, trials: int) -> "subprocess.Popen[str]":
    arguments = ["tune", "-d", here / "log.csv", f"--params_file={here / 'long.yaml'}", f"--out={out}", f"--trials={trials}"]
    arguments += ["--sampler=random", "--workers=2", *SETTINGS[:-1], "--epochs=400", "--stopping_step=500", "--seeds=0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def workers_of(out: Path) -> list[int]:
    """The processes that train trials of a search."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "gaterec.experiments.tune.workers" in line and str(out) in line:
            found.append(int(entry.parent.name))
    return found


def test_kills_change_nothing(here: Path, tmp_path: Path) -> None:
    """At random moments now the search is killed and begun again, now one of its workers is; in the end every trial is there once."""
    trials, dice = 2 * KILLS, random.Random(1)
    (here / "long.yaml").write_text("learning_rate: {loguniform: [-7, -2]}\ndropout: {uniform: [0, 0.5]}\n")
    undisturbed = start(here, tmp_path / "calm", trials)
    text, _ = undisturbed.communicate(timeout=600)
    assert undisturbed.returncode == 0, text

    out, kills, search, ended = tmp_path / "out", 0, start(here, tmp_path / "out", trials), False
    while kills < KILLS:
        time.sleep(dice.uniform(0.5, 3.0))
        if search.poll() is not None:  # it was through before it could be killed
            break
        workers = workers_of(out)
        if workers and kills % 2:
            os.kill(dice.choice(workers), signal.SIGKILL)
        else:
            search.kill()
            search.communicate()
            search = start(here, out, trials)
        kills += 1
    text, _ = search.communicate(timeout=600)
    ended = search.returncode == 0
    assert ended, text
    assert kills == KILLS
    calm, found = scores(tmp_path / "calm"), scores(out)
    assert [row[:2] for row in found] == [(number, "done") for number in range(trials)]
    assert found == calm
    assert (out / "best.yaml").read_text().splitlines()[0] == (tmp_path / "calm" / "best.yaml").read_text().splitlines()[0]
    assert not (out / "trials").exists()
    assert not workers_of(out)
