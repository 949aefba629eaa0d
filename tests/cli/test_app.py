"""The command line: what it imports, prints and returns."""

import inspect
import re
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer

from gaterec.cli.settings_table import rows_for
from gaterec.config.presets import Kind, bundles
from gaterec.config.settings import Settings
from gaterec.data.datasets.registry import known_datasets
from gaterec.models import MODELS
from tests.support.commands import TINY, gaterec, gaterec_alone, write_log

COMMANDS = ["run", "compare", "evaluate", "prepare", "datasets", "models", "recipes", "protocols", "settings"]
HEAVY = {"torch", "polars", "numpy", "pydantic", "yaml", "safetensors", "httpx"}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("log") / "tiny.csv")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], HEAVY),
        (["run", "--help"], HEAVY - {"pydantic"}),
        (["compare", "--help"], HEAVY - {"pydantic"}),
        (["evaluate", "--help"], HEAVY - {"pydantic"}),
        (["prepare", "--help"], HEAVY - {"pydantic"}),
    ],  # Typer needs it there
)
def test_help_imports_nothing_heavy(arguments: list[str], heavy: set[str]) -> None:
    program = (
        "import sys\nfrom gaterec.cli.app import main\ntry:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    found = gaterec_alone(*arguments, program=program)
    assert found.code == 0
    assert "Usage: " in found.out
    assert not heavy & set(found.err.split())


def test_help_is_quick() -> None:
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "from gaterec.cli.app import main; main()", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.5


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help(command: str) -> None:
    found = gaterec(command, "--help")
    assert found.code == 0
    assert f"gaterec {command}" in found.out
    assert "--help" in found.out
    assert found.err == ""


def test_all_commands_are_listed() -> None:
    found = gaterec("--help")
    assert found.code == 0
    assert all(f"\n  {command} " in found.out for command in COMMANDS)


def test_the_installed_command() -> None:
    script = Path(sys.executable).with_name("gaterec")
    if not script.exists():
        pytest.skip("needs gaterec installed with its script")
    assert "Usage: gaterec" in subprocess.run([script, "--help"], check=True, capture_output=True, text=True).stdout


def test_models() -> None:
    found = gaterec("models")
    assert found.code == 0
    assert all(f" {model} " in found.out for model in MODELS)


@pytest.mark.parametrize("kind", ["recipe", "protocol"])
def test_recipes_and_protocols(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    found = gaterec(f"{kind}s")
    assert found.code == 0
    assert all(f" {name} " in found.out and bundle.meaning in found.out for name, bundle in bundles(kind).items())


def test_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("GATEREC_CACHE", str(tmp_path / "none"))
    known = ["demo", "ml-100k", "ml-1m", "ml-20m", "amazon-cds", "amazon-books", "goodreads-children", "goodreads-comics"]
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "ml-1m.inter").write_text("")
    found = gaterec("datasets", f"--data_path={tmp_path}")
    assert found.code == 0
    assert all(f" {name} " in found.out for name in known)
    assert found.out.count("no: downloaded on first use") == len(known) - 2


def test_nothing_of_the_datasets_is_cut_off_on_narrow_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = gaterec("datasets").out
    assert " goodreads-children " in out
    assert "…" not in out


@pytest.mark.parametrize("width", [1, 20, 60, 80, 119, 120, 200])
def test_no_name_is_ever_cut_or_folded(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    names = {
        ("settings",): [row[0] for row in rows_for(None)],
        ("settings", "SASRec"): [row[0] for row in rows_for("SASRec")],
        ("models",): list(MODELS),
        ("datasets",): [known.name for known in known_datasets("none")],
        ("recipes",): list(bundles("recipe")),
        ("protocols",): list(bundles("protocol")),
    }
    for command, expected in names.items():
        found = gaterec(*command)
        words = found.out.replace("│", " ").split()
        assert found.code == 0
        assert not set(expected) - set(words), command
        assert "…" not in found.out, command


def test_settings_are_a_list_on_a_narrow_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.rstrip() for line in gaterec("settings", "eval_args.order").out.splitlines()]
    assert lines == ["eval_args.order  (TO | RO; default 'TO')", "    order of events: by time (TO), or random (RO)"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--dataset=a", "--dataset=b"], "--dataset is there twice, with 'a' and with 'b'"),
        (["run", "-m", "HGN", "--model=Pop"], "--model is there twice, with 'HGN' and with 'Pop'"),
        (["run", "--epochs=1", "--epochs", "2"], "--epochs is there twice, with 1 and with 2"),
        (["compare", "--models=HGN", "--model_list", "Pop"], "--models is there twice, with 'HGN' and with 'Pop'"),
        (["compare", "--topk=[5]", "--topk=5"], "--topk is there twice, with [5] and with 5"),
        (["tune", "--params_file=a", "--params_file=b"], "--params_file is there twice, with 'a' and with 'b'"),
        (["tune", "--params_file=a", "--seed=1", "--seed=2"], "--seed is there twice, with 1 and with 2"),
        (["evaluate", "x", "--topk=5", "--topk=6"], "--topk is there twice, with 5 and with 6"),
        (["prepare", "demo", "x", "--config_files=a", "--config_files=b"], "--config_files is there twice, with 'a' and with 'b'"),
        (["prepare", "demo", "x", "--data_path=a", "--data_path=b"], "--data_path is there twice, with 'a' and with 'b'"),
        (["recommend", "x", "-k", "5", "--k=6"], "--k is there twice, with '5' and with '6'"),
    ],
)
def test_an_option_twice_with_two_values_is_refused(arguments: list[str], told: str) -> None:
    found = gaterec(*arguments)
    assert (found.code, found.err) == (2, f"gaterec: command line: {told}; leave one out\n")


def test_an_option_twice_with_one_value_and_one_that_takes_several_are_read() -> None:
    assert "is there twice" not in gaterec("run", "--dataset=no-such", "-d", "no-such").err
    assert "is there twice" not in gaterec("recommend", "no-such", "--where", "a=1", "--where=b=2", "--why", "--why").err


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    found = gaterec("settings")
    assert found.code == 0
    assert all(f" {name} " in found.out for name in Settings.model_fields if name != "model_settings")
    assert "embedding_size" not in found.out


@pytest.mark.parametrize(("name", "shown"), [("HGN", "embedding_size"), ("eval_args", "eval_args.split"), ("learning_rate", "0.001")])
def test_settings_by_name(monkeypatch: pytest.MonkeyPatch, name: str, shown: str) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    found = gaterec("settings", name)
    assert found.code == 0
    assert shown in found.out
    assert " epochs " not in found.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["settings", "epoch"], "gaterec: settings: there is no model or setting 'epoch'; did you mean epochs?"),
        (["run", "--epochs"], "gaterec: command line: --epochs has no value; write --epochs=VALUE"),
        (["run", "fast"], "gaterec: command line: expected --name=value, found 'fast'"),
        (["runn"], "No such command 'runn'"),
        (["evaluate"], "Missing argument 'folder'"),
        (["prepare", "demo"], "Missing argument 'out'"),
        (["prepare", "demo", "out", "--epochs=3"], "gaterec: epochs: is no setting of the data, but of a run"),
        (["prepare", "demo", "out", "--epoch=3"], "gaterec: command line: epoch: there is no such setting; did you mean epochs?"),
        (["prepare", "nothing.csv", "out"], "gaterec: nothing.csv: there is no such file or folder"),
        (["models", "--fast"], "No such option"),
    ],
)
def test_wrong_use(arguments: list[str], told: str) -> None:
    found = gaterec(*arguments)
    assert found.code == 2
    assert told.lower() in found.err.lower()
    assert "Traceback" not in found.err


@pytest.mark.parametrize(
    ("command", "function", "words"),
    [
        ("run", "experiments.run.run", {}),
        ("compare", "experiments.compare.compare.compare", {"seeds": [4, 5]}),
        ("tune", "experiments.tune.tune.tune", {}),
        ("evaluate", "experiments.run.evaluate_run", {"folder": Path("x")}),
        ("recommend", "cli.recommend.recommend", {"folder": Path("x")}),
        ("index", "inference.ann_index.index", {"folder": Path("x")}),
        ("export", "inference.export.export", {"folder": Path("x")}),
        ("explain", "cli.recommend.explain", {"folder": Path("x")}),
        ("serve", "serve.server.serve", {"folder": Path("x")}),
        ("prepare", "experiments.run.prepare_folder", {"source": "demo", "out": Path("y")}),
    ],
)
def test_every_option_of_a_command_reaches_its_function(
    command: str, function: str, words: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _, name = function.rpartition(".")
    module, calls = import_module(f"gaterec.{place}"), list[dict[str, Any]]()
    signature = inspect.signature(getattr(module, name))

    def record(*given: object, **named: object) -> dict[str, bool]:
        bound = signature.bind(*given, **named).arguments
        filters = bound.pop("filters", None)
        calls.append(bound | bound.pop("plan", {}) | ({} if filters is None else vars(filters)))
        return {"failed": False}

    monkeypatch.setattr(module, name, record)
    hints = get_type_hints(getattr(import_module("gaterec.cli.app"), command), include_extras=True)
    arguments, expected = [], dict(words)
    for option, (kind, info) in ((option, get_args(hint)) for option, hint in hints.items() if get_origin(hint) is Annotated):
        value: Any = words.get(option)
        if kind is bool:
            value = True
        elif value is None:
            first = get_args(kind)[0] if get_args(kind) else kind
            value = {int: 7, float: 0.5, list[str]: ["a=1"]}.get(first) or first(f"of-{option}")
        if isinstance(info, typer.models.ArgumentInfo):
            arguments.append(str(value))
        else:
            text = value[0] if value == ["a=1"] else value
            flag = next(
                name for name in (info.default, *info.param_decls) if name.startswith("--")
            )  # Typer takes the first one for a default
            arguments.append(flag if value is True else f"{flag}={text}")
        expected[{"params_file": "space", "config_files": "config_file_list"}.get(option, option)] = (
            [value] if option == "config_files" else value
        )
    if "flags" in signature.parameters:
        arguments.append("--epochs=3")
        expected["flags"] = {"epochs": 3}
    if "filters" in signature.parameters:
        expected |= {"history": ["of-history"], "deny": ["of-deny"], "allow": ["of-allow"], "where": {"a": ["1"]}}
    assert gaterec(command, *arguments) == (0, "", "")
    assert calls == [expected]


@pytest.mark.slow
def test_a_run_says_what_it_does(log: Path, tmp_path: Path) -> None:
    found = gaterec("run", f"--dataset={log}", "--model=HGN", f"--checkpoint_dir={tmp_path}", *TINY)
    assert found[::2] == (0, "")
    (folder,) = tmp_path.iterdir()
    for text in (
        "tiny: 40 people, 20 items, 296 events; 216 for training, 40 for validation, 40 for test",
        "epoch 1/2  loss ",
        "HGN on tiny, test, weights of epoch ",
        "│ HGN │",
        "│ Pop │",
        "Split: leave-one-out (valid_and_test), each user's events by time.",
        "Ranked: full: the whole catalogue of 20 items; items seen before are kept.",
        f"Run folder: {folder}",
    ):
        assert text in found.out


def test_evaluating_a_run(log: Path, tmp_path: Path) -> None:
    first = gaterec("run", "-d", log, f"--checkpoint_dir={tmp_path}", *TINY)
    (folder,) = tmp_path.iterdir()
    again = gaterec("evaluate", folder)
    assert again[::2] == (0, "")
    table = first.out[first.out.index("HGN on tiny") : first.out.index("Run folder")]
    assert again.out == table
    other = gaterec("evaluate", folder, "--topk=[3]", "--repeatable", "False", "--valid_metric=recall@3")
    assert other.code == 0
    assert "recall@3" in other.out
    assert "items seen before are left out" in other.out


def test_preparing_a_log_and_running_on_it(log: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    (tmp_path / "a.yaml").write_text("epochs: 2\nuser_inter_num_interval: '[2,inf)'\n")
    found = gaterec("prepare", log, ready, f"--config_files={tmp_path}/a.yaml", "--item_inter_num_interval=[15,inf)")
    assert found[::2] == (0, "")
    assert "Filters: what each one left" in found.out
    assert "tiny: 25 people, 7 items, 135 events, prepared in " in found.out
    assert found.out.rstrip().endswith(f"gaterec run --dataset={ready}")
    ran = gaterec("run", "-d", ready, f"--checkpoint_dir={tmp_path}/saved", *TINY)
    assert ran[::2] == (0, "")
    assert "tiny: 25 people, 7 items, 135 events; " in ran.out
    (folder,) = (tmp_path / "saved").iterdir()
    assert gaterec("evaluate", folder).out in ran.out
    quiet = gaterec("prepare", log, ready, "--state=CRITICAL")
    assert quiet[::2] == (0, "")
    assert re.fullmatch(r"tiny: .* prepared in .*\n", quiet.out)
    assert f"user_inter_num_interval: {ready} was prepared with '[0,inf)', found '[2,inf)'" in gaterec("evaluate", folder).err


def test_short_flags_and_files(log: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("epochs: 1\nembedding_size: 4\nstate: WARNING\nseed: 5\n")
    (tmp_path / "b.yaml").write_text("epochs: 2\nseed: 6\n")
    files = f"--config_files={tmp_path}/a.yaml {tmp_path}/b.yaml"
    found = gaterec("run", "-m", "Pop", "-d", log, "--config_files", "", f"--checkpoint_dir={tmp_path}/saved", "--state=WARNING")
    assert found[::2] == (0, "")
    found = gaterec("run", "-m", "HGN", "-d", log, files, f"--checkpoint_dir={tmp_path}/saved", "--seed=7")
    assert found[::2] == (0, "")
    (folder,) = (tmp_path / "saved").glob("HGN-*")
    text = (folder / "run.json").read_text()
    assert all(said in text for said in ('"epochs": 2', '"embedding_size": 4', '"seed": 7'))


def test_a_finished_run_with_resume(log: Path, tmp_path: Path) -> None:
    command = ("run", "-d", log, f"--checkpoint_dir={tmp_path}", *TINY)
    assert gaterec(*command).code == 0
    (folder,) = tmp_path.iterdir()
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    again = gaterec(*command, "--resume")
    assert again.code == 0
    assert f"{folder}: this run is finished already" in again.out
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_notes_go_to_standard_error(log: Path, tmp_path: Path) -> None:
    found = gaterec("run", "-d", log, f"--checkpoint_dir={tmp_path}", "--train_neg_sample_args={'sample_num': 2}", *TINY)
    assert found.code == 0
    assert found.err == "note: train_neg_sample_args: no effect: CE compares each target with the whole catalogue and draws no negatives\n"


def test_an_interrupted_run_says_how_to_go_on(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["gaterec.experiments.run"], "_train", interrupted)
    found = gaterec("run", "-d", log, f"--checkpoint_dir={tmp_path}", *TINY)
    assert found.code == 130
    assert "--resume" in found.err


@pytest.mark.slow
def test_a_closed_pipe_is_no_error(log: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from gaterec.cli.app import main; main()", "settings"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
