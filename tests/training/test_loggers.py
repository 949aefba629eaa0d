"""Optional loggers: they write when asked, and are not even imported when not."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gaterec.config.resolve import resolve
from gaterec.config.settings import Settings
from gaterec.errors import SettingsError
from gaterec.models import model_class
from gaterec.training.loggers import make_loggers
from tests.support.commands import TINY, gaterec, gaterec_alone, write_log

ENTRY = {"epoch": 1, "loss": 3.5, "seconds": 0.25, "valid": {"mrr@10": 0.125}}
UNVALIDATED = {"epoch": 2, "loss": 3.25, "seconds": 0.5, "valid": None}


def resolved(**chosen: Any) -> Settings:
    return resolve(lambda name: model_class(name).Settings, config_dict=chosen)


def test_none_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    assert make_loggers(resolved(), tmp_path / "x") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_nothing_is_imported_that_is_not_used(tmp_path: Path) -> None:
    program = (
        "import sys; from gaterec.cli.app import app; app(standalone_mode=False)\n"
        "print([name for name in sys.modules if name.split('.')[0] in {'wandb', 'tensorboard', 'pandas'} or name == 'torch.utils.tensorboard'])"
    )
    log = write_log(tmp_path / "a.csv")
    found = gaterec_alone("run", "-d", log, f"--checkpoint_dir={tmp_path}", "--epochs=0", "--state=ERROR", program=program)
    assert found == (0, "[]\n", "")


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs TensorBoard")
    accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")

    (logger,) = make_loggers(resolved(log_tensorboard=True), tmp_path / "x")
    logger.epoch(ENTRY)
    logger.epoch(UNVALIDATED)
    logger.close()
    written = accumulator.EventAccumulator(str(tmp_path / "x"))
    written.Reload()
    seen = {name: [(event.step, event.value) for event in written.Scalars(name)] for name in written.Tags()["scalars"]}
    assert seen == {
        "train/loss": [(1, 3.5), (2, 3.25)],
        "train/seconds": [(1, 0.25), (2, 0.5)],
        "valid/mrr@10": [(1, 0.125)],
    }  # fmt: skip


def test_tensorboard_beside_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs TensorBoard")
    found = gaterec("run", "-d", write_log(tmp_path / "a.csv"), f"--checkpoint_dir={tmp_path}/saved", "--log_tensorboard=True", *TINY)
    assert found.code == 0, found.err
    (events,) = (tmp_path / "saved").glob("HGN-a-*.tensorboard/events.out.tfevents.*")
    assert events.stat().st_size > 0


@pytest.mark.parametrize(
    ("setting", "module", "line"),
    [
        ("log_wandb", "wandb", "log_wandb: Weights & Biases is not installed; pip install 'gaterec[wandb]'"),
        (
            "log_tensorboard",
            "torch.utils.tensorboard",
            "log_tensorboard: TensorBoard is not installed; pip install 'gaterec[tensorboard]'",
        ),
    ],
)
def test_what_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, module: str, line: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingsError) as caught:
        make_loggers(resolved(**{setting: True}), tmp_path / "x")
    assert str(caught.value) == line
    found = gaterec("run", "-d", write_log(tmp_path / "a.csv"), f"--checkpoint_dir={tmp_path}/saved", f"--{setting}=True", *TINY)
    assert (found.code, found.err) == (2, f"gaterec: {line}\n")


def test_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    run = SimpleNamespace(log=lambda values, step: told.append((step, values)), finish=lambda: told.append("finished"))

    def init(project: str, name: str, config: dict[str, Any]) -> SimpleNamespace:
        told.append((project, name, config["log_wandb"]))
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    (logger,) = make_loggers(resolved(log_wandb=True, wandb_project="mine"), tmp_path / "x")
    logger.epoch(ENTRY)
    logger.close()
    assert told == [("mine", "x", True), (1, {"train/loss": 3.5, "train/seconds": 0.25, "valid/mrr@10": 0.125}), "finished"]
