"""One run, from end to end: settings -> log -> histories -> split -> training -> metrics -> run folder."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import polars as pl
import torch

from gaterec.config.paths import expanded
from gaterec.config.resolve import Source, check_dictionary, read_settings_file, resolve, resolve_sources
from gaterec.config.settings import Data, Evaluation, Settings
from gaterec.data.interactions import Interactions, item_columns
from gaterec.data.prepared import PreparedLog, check_target, prepare_log, prepared_folder, with_prepared_settings, write_prepared
from gaterec.errors import DataError, RunError, SettingsError
from gaterec.evaluation.evaluate import EvaluationResult, evaluate
from gaterec.evaluation.protocol import describe_protocol
from gaterec.evaluation.slices import slice_rows
from gaterec.experiments.resume import best_valid, epoch_recorder, resumed
from gaterec.experiments.run_page import Epoch, Report, write_report
from gaterec.experiments.setup import Prepared, prepare, scorer_for, truth_scorer
from gaterec.inference.ann_index import check, in_words, write_index
from gaterec.inference.run_folder import LoadedRun, environment, left_beside, load_run, read_info, run_name, write_run
from gaterec.io.console import Terminal
from gaterec.io.files import check_writable, folder_written_whole, sweep
from gaterec.models import MODELS, model_class
from gaterec.models.encoder import SequenceEncoder
from gaterec.models.pop import Pop, PopSettings
from gaterec.training.estimate import TrainingEstimate
from gaterec.training.loggers import make_loggers
from gaterec.training.reproducibility import pick_device, reproducible
from gaterec.training.states import clear_states
from gaterec.training.trainer import Metrics, TrainingHistory, without_effect


class Result(TypedDict):
    """The results of a run: RecBole's four keys, and more. Metrics are in full precision and named as in "recall@10"."""

    best_valid_score: float | None
    valid_score_bigger: bool
    best_valid_result: Metrics | None
    test_result: Metrics | None
    folder: Path
    best_epoch: int
    epochs: list[dict[str, Any]]
    baselines: dict[str, Metrics]
    protocol: list[str]
    settings: dict[str, Any]


def run(
    model: str | None = None,
    dataset: Any = None,
    config_file_list: str | Path | Iterable[str | Path] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    resume: bool = False,
    on_epoch: Callable[[Mapping[str, Any]], object] = lambda entry: None,
) -> Result:
    """Train a model on a log, evaluate it, and write a run folder.

    Args:
        model: its name; `gaterec models` lists them. HGN by default.
        dataset: a known name, a path, or a pandas or Polars frame. The simulated `demo` by default.
        config_file_list: YAML files of settings; a later one wins over an earlier one.
        config_dict: settings; wins over the files.
        flags: settings from the command line; win over all.
        resume: continue a killed run of the same settings, with the same bits; a finished run is not trained again.
        on_epoch: told of every epoch (see gaterec.training.trainer.TrainingHistory.epochs), when a state of it may be saved.

    Returns:
        The results and the run's folder, checkpoint_dir/MODEL-DATASET-digest.

    Raises:
        GaterecError: bad settings, bad data, or a folder that can't be written, in one line each.
    """
    if isinstance(config_file_list, str | Path):
        config_file_list = [config_file_list]
    check_dictionary(config_dict)
    frame = None if dataset is None or isinstance(dataset, str | Path) else dataset
    name = "DataFrame" if frame is not None else dataset and str(dataset)
    settings = resolve(lambda kind: model_class(kind).Settings, model, name, config_file_list or (), config_dict, flags, MODELS)
    settings = settings if frame is not None else with_prepared_settings(settings)
    display = Terminal(settings)
    device = pick_device(settings)
    saved = expanded(settings.checkpoint_dir, "checkpoint_dir")
    check_writable(saved)
    for line in sweep(saved):
        display.warn(line)
    source = None if frame is not None else prepared_folder(settings.dataset, settings.data_path)
    mark = _mark(source)
    with display.stages() as tell:
        prepared = prepare(settings, frame, tell)
    _tell_data(display, prepared, device)
    if settings.index != "none":
        check(settings.index, settings.model, len(prepared.interactions.items) - 1)
    fingerprint = prepared.interactions.fingerprint()
    folder = saved / run_name(settings, prepared.interactions.name, fingerprint)
    if resume and folder.exists():
        display.line(f"{folder}: this run is finished already")
        clear_states(_states(folder))
        if settings.index != "none" and not (folder / "index").exists():
            display.line(in_words(write_index(load_run(folder), settings.index)))
        show(display, read_info(folder))
        return _finished_result(folder)
    with reproducible(settings, device):
        encoder, history, valid = _train(settings, prepared, device, display, folder, resume, on_epoch)
        figures, result = judge(settings, prepared, encoder, device)
    figures["valid"] = valid
    _check_unchanged(source, mark)
    protocol = describe_protocol(settings, prepared.interactions, prepared.test)
    info = _info(settings, prepared, history, figures, protocol, fingerprint, device)
    about = _write_folder(folder, settings, prepared, encoder, result, info)
    clear_states(_states(folder))
    show(display, info)
    if about is not None:
        display.line(in_words(about))
    display.line(f"Run folder: {folder} (report.html shows the curves)")
    return _finished_result(folder)


def evaluate_run(
    folder: str | Path,
    flags: Mapping[str, Any] | None = None,
    *,
    dataset: Any = None,
    config_file_list: Iterable[str | Path] | None = None,
) -> Result:
    """Evaluate a trained run again, also with other metrics or another ranking.

    Args:
        folder: a run folder.
        flags: settings of the evaluation to change (JUDGING): topk, metrics, repeatable, eval_args.mode, eval_args.target, data_path, ...
        dataset: the log, where it is not where it was: a path, a name, or the frame that the run was trained on.
        config_file_list: YAML files of the same settings; flags win over them.

    Raises:
        SettingsError: a setting that was fixed by the training, the split above all, for its test would be of training events.
        RunError: the folder is no run, or the data is not what the run was trained on.
    """
    loaded = load_run(folder)
    frame = None if dataset is None or isinstance(dataset, str | Path) else dataset
    # This evaluation may print more or less than the training did, and may follow a metric of the other direction.
    left_out = {"state", "show_progress", "valid_metric_bigger"}
    trained = {name: value for name, value in loaded.info["settings"].items() if name not in left_out}
    sources: list[Source] = [(str(Path(folder) / "run.json"), trained)]
    sources += [(str(file), read_settings_file(file)) for file in config_file_list or ()]
    sources += [("command line", flags or {}), ("arguments", {} if dataset is None or frame is not None else {"dataset": str(dataset)})]
    settings = resolve_sources(lambda kind: model_class(kind).Settings, sources, MODELS)
    settings = settings if frame is not None else with_prepared_settings(settings)
    _check_only_judging_changes(loaded, settings)
    display, device = Terminal(settings), pick_device(settings)
    for line in left_beside(Path(folder)):
        display.warn(line)
    try:
        with display.stages() as tell:
            prepared = prepare(settings, frame, tell)
    except DataError as error:
        what = (
            "a frame: pass it as dataset="
            if settings.dataset == "DataFrame"
            else f"{settings.dataset}: say where it is now with --dataset or --data_path"
        )
        raise DataError(f"{error}\n{folder} was trained on {what}") from None
    _check_same_ids(loaded, prepared.interactions)
    if prepared.interactions.fingerprint() != loaded.info["data"]["fingerprint"]:
        display.warn("the people and items are those of the training, but their events are not: these figures are of other data")
    with reproducible(settings, device):
        figures, _ = judge(settings, prepared, loaded.model.to(device), device)
    info = loaded.info | {"protocol": describe_protocol(settings, prepared.interactions, prepared.test), **figures}
    show(display, info)
    return _result(info, Path(folder), settings.as_dict())


def prepare_folder(
    source: Any,
    out: str | Path,
    config_file_list: str | Path | Iterable[str | Path] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
) -> Path:
    """Read, filter and order a log once, and keep it as a folder from which any run starts at once, whatever its size.

    Args:
        source: a known name, a path, or a pandas or Polars frame.
        out: the folder; an earlier prepared folder of that name is replaced, anything else is refused.
        config_file_list: YAML files of settings; those that are not about the data are for the runs and change nothing here.
        config_dict: settings of the data: columns, separators, filters; and data_path, state, show_progress. Wins over the files.
        flags: the same, from the command line; win over all.

    Returns:
        The folder, which any run and evaluation takes as its dataset.

    Raises:
        GaterecError: bad settings, bad data, or a folder that can't be written, in one line.
    """
    files = [config_file_list] if isinstance(config_file_list, str | Path) else config_file_list or ()
    check_dictionary(config_dict)
    for name in {**(config_dict or {}), **(flags or {})}:
        if name in Settings.model_fields and name not in PREPARING:
            raise SettingsError(f"{name}: is no setting of the data, but of a run; give it to the run on the prepared folder")
    frame = None if isinstance(source, str | Path) else source
    dataset = "DataFrame" if frame is not None else str(source)
    settings = resolve(lambda kind: model_class(kind).Settings, None, dataset, files, config_dict, flags, MODELS)
    if settings.eval_args.order != "TO":
        raise SettingsError("eval_args.order: logs are prepared in order of time (TO), found RO; run on the log itself")
    folder = expanded(out, "out").absolute()
    check_target(folder)
    if frame is None and prepared_folder(source, settings.data_path) is not None:
        raise DataError(f"{source}: is prepared already; expected a log")
    display, begin = Terminal(settings), time.monotonic()
    with display.stages() as tell:
        log = prepare_log(settings.dataset if frame is None else frame, settings, tell, keep_rows=True)
        tell("writing")
        write_prepared(log, settings, folder)
    _tell_log(display, log)
    interactions = log.interactions
    display.answer(
        f"{interactions.name}: {len(interactions.users) - 1:,} people, {len(interactions.items) - 1:,} items, {len(interactions.item):,} events, "
        f"prepared in {time.monotonic() - begin:.1f} s: gaterec run --dataset={_quoted(out)}"
    )
    return Path(out)


PREPARING = frozenset(Data.model_fields) - {"MAX_ITEM_LIST_LENGTH"} | {"data_path", "state", "show_progress"}
"""Settings that `gaterec prepare` takes."""


JUDGING = frozenset(Evaluation.model_fields) | {"dataset", "data_path", "checkpoint_dir", "use_gpu", "gpu_id", "state", "show_progress"}
"""Settings that `gaterec evaluate` may change; all others were fixed by the training."""


def _check_only_judging_changes(loaded: LoadedRun, settings: Settings) -> None:
    before, after = loaded.settings.as_dict(), settings.as_dict()
    fixed = [name for name in after if before.get(name) != after[name] and name not in JUDGING]
    old, new = loaded.settings.eval_args, settings.eval_args
    fixed += [f"eval_args.{name}" for name in ("split", "group_by", "order") if getattr(old, name) != getattr(new, name)]
    if fixed:
        raise SettingsError(f"{fixed[0]}: was fixed when {loaded.folder} was trained; train a new run to change it")


def _mark(folder: Path | None) -> dict[str, tuple[int, int, int]]:
    """The number, size and time of each file of a prepared folder, whose arrays are mapped while they are used; empty without a folder."""
    found = {file.name: file.stat() for file in folder.iterdir()} if folder is not None else {}
    return {name: (about.st_ino, about.st_size, about.st_mtime_ns) for name, about in found.items()}


def _check_unchanged(folder: Path | None, before: Mapping[str, tuple[int, int, int]]) -> None:
    """Raise RunError where a file of a prepared folder was written over in place; one that was replaced as a whole was read to the end."""
    after = _mark(folder) if folder is not None and folder.is_dir() else {}
    for name, mark in after.items():
        if name in before and mark[0] == before[name][0] and mark != before[name]:
            raise RunError(f"{folder}: {name} was written over during the training, so the run was not written; run again without --resume")


def judge(settings: Settings, prepared: Prepared, model: SequenceEncoder, device: torch.device) -> tuple[dict[str, Any], EvaluationResult]:
    """The test figures of a model, of Pop beside it, and of the best possible where the truth is known."""
    counts = prepared.counts.to(device)
    pop = Pop(len(prepared.interactions.users), len(prepared.interactions.items), settings.MAX_ITEM_LIST_LENGTH, PopSettings()).to(device)
    pop.fit_counts(counts, lambda: (counts, counts))
    scorers = {settings.model: scorer_for(model, settings, prepared, device), "Pop": scorer_for(pop, settings, prepared, device)}
    if prepared.truth is not None:
        scorers["best possible"] = truth_scorer(prepared.truth, prepared.interactions, device)
    results = {
        name: evaluate(score, prepared.interactions, prepared.test, settings, part="test", counts=counts) for name, score in scorers.items()
    }
    own = results[settings.model]
    baselines = {name: result.figures for name, result in results.items() if result is not own}
    return {"test": own.figures if len(prepared.test) else None, "baselines": baselines if len(prepared.test) else {}}, own


def show(display: Terminal, info: Mapping[str, Any]) -> None:
    """The figures of a run with the protocol that they were made under."""
    if info["test"] is None:
        display.answer("Nothing is held out for test, so there are no test figures.")
        return
    rows = [(info["settings"]["model"], info["test"]), *info["baselines"].items()]
    display.figures(f"{info['title']}, test, weights of epoch {info['best_epoch']}", rows)
    for sentence in info["protocol"]:
        display.answer(sentence)


def _train(
    settings: Settings,
    prepared: Prepared,
    device: torch.device,
    display: Terminal,
    folder: Path,
    resume: bool,
    on_epoch: Callable[[Mapping[str, Any]], object],
) -> tuple[SequenceEncoder, TrainingHistory, Metrics | None]:
    """The trained model, what its training was like, and its validation figures; saves a state after epochs on the way."""
    for line in without_effect(settings):
        display.warn(line)
    if model_class(settings.model).Settings.trained and settings.epochs and not (settings.eval_step and len(prepared.valid)):
        display.line(f"Nothing is validated: all epochs ({settings.epochs:,}) are trained, and the weights of the last one are kept.")
    trainer, problems = resumed(settings, prepared, device, _states(folder), resume)
    for problem in problems:
        display.warn(problem)
    done = len(trainer.history.epochs)
    if done:
        display.line(f"Going on after epoch {done}")
    loggers = make_loggers(settings, folder.with_name(folder.name + ".tensorboard"))
    with display.training(trainer.batches.targets, done) as progress:
        preflight = TrainingEstimate(trainer, display.line)

        def on_step(targets: int) -> None:
            preflight.step(targets)
            progress.step(targets)

        with epoch_recorder(trainer, _states(folder), loggers) as record:
            for entry in trainer.epochs(on_step):
                record(entry)
                progress.epoch(entry, trainer.history.best_epoch)
                on_epoch(entry)
        progress.end(trainer.history.epochs_without_improvement)
    return trainer.model.eval(), trainer.history, best_valid(trainer, prepared, device)


def _states(folder: Path) -> Path:
    return folder.with_name(folder.name + ".training")


def _check_same_ids(loaded: LoadedRun, interactions: Interactions) -> None:
    same = loaded.users.to_series(0).equals(interactions.users) and loaded.items.to_series(0).equals(interactions.items)
    if not same:
        raise RunError(
            f"{loaded.folder}: was trained on other data: {len(loaded.users) - 1:,} people and {len(loaded.items) - 1:,} items, "
            f"found {len(interactions.users) - 1:,} and {len(interactions.items) - 1:,}; give the same log with --dataset and --data_path"
        )


def _info(
    settings: Settings,
    prepared: Prepared,
    history: TrainingHistory,
    figures: Mapping[str, Any],
    protocol: list[str],
    fingerprint: str,
    device: torch.device,
) -> dict[str, Any]:
    """What run.json says."""
    interactions = prepared.interactions
    return {
        "title": f"{settings.model} on {interactions.name}",
        "settings": settings.as_dict(),
        "data": {
            "name": interactions.name,
            "source": prepared.log.source,
            "fingerprint": fingerprint,
            "people": len(interactions.users) - 1,
            "items": len(interactions.items) - 1,
            "events": len(interactions.item),
            "times": [interactions.time.min().item(), interactions.time.max().item()],
        },
        "protocol": protocol,
        "best_epoch": history.best_epoch,
        "best_valid_score": figures["valid"] and figures["valid"][settings.valid_metric.lower()],
        **figures,
        "epochs": history.epochs,
        "environment": environment(device),
    }


def _write_folder(
    folder: Path, settings: Settings, prepared: Prepared, model: SequenceEncoder, result: EvaluationResult, info: dict[str, Any]
) -> dict[str, Any] | None:
    """Write the run's folder, whole or not at all; what its index is, where it has one."""
    interactions, cases = prepared.interactions, prepared.test
    items = item_columns(interactions, prepared.log.items, settings.ITEM_ID_FIELD)
    items = items.with_columns(pl.Series("training_count", prepared.counts.numpy()))
    events = (prepared.split.train_end - interactions.offsets[:-1]).tolist()
    users = pl.DataFrame({settings.USER_ID_FIELD: interactions.users, "training_count": events})
    ranks = result.ranks.cpu().numpy()
    per_answer = pl.DataFrame(
        {
            settings.USER_ID_FIELD: interactions.users.gather(cases.user[cases.case]),
            settings.ITEM_ID_FIELD: interactions.items.gather(cases.relevant),
            "history_length": (cases.position - interactions.offsets[cases.user])[cases.case],
            "rank": pl.Series(ranks).set(pl.Series(ranks > len(interactions.items)), None),
        }
    )
    with folder_written_whole(folder) as part:
        write_run(part, model, interactions, users, items, per_answer, info)
        write_report(_report(settings, prepared, result, info), part / "report.html")
        return None if settings.index == "none" else write_index(load_run(part, finished=False), settings.index)


def _report(settings: Settings, prepared: Prepared, result: EvaluationResult, info: dict[str, Any]) -> Report:
    cutoff = min(settings.topk, key=lambda k: abs(k - 10))
    command = f"gaterec run --model={settings.model} --dataset={_quoted(settings.dataset)}"
    defaults = resolve(lambda kind: model_class(kind).Settings, settings.model).as_dict()
    changed = {name: value for name, value in settings.as_dict().items() if name not in {"model", "dataset"} and value != defaults[name]}
    return Report(
        title=info["title"],
        headline=[] if info["test"] is None else [(settings.model, info["test"]), *info["baselines"].items()],
        protocol=info["protocol"],
        epochs=[Epoch(epoch=e["epoch"], loss=e["loss"], seconds=e["seconds"], valid=e["valid"]) for e in info["epochs"]],
        best_epoch=info["best_epoch"] or None,
        slices=slice_rows(result, prepared.interactions, prepared.counts.numpy(), cutoff) if len(prepared.test) else {},
        settings=info["settings"],
        environment=info["environment"],
        notes=list(prepared.log.notes),
        commands=[" ".join([command, *(f"--{name}={_quoted(value)}" for name, value in changed.items())])],
    )


def _quoted(value: Any) -> str:
    import shlex

    return shlex.quote(str(value))


def _tell_log(display: Terminal, log: PreparedLog) -> None:
    for note in log.notes:
        display.warn(note)
    if len({step.events for step in log.steps}) > 1:
        rows = [(step.name, f"{step.events:,}", f"{step.users:,}", f"{step.items:,}") for step in log.steps]
        display.table("Filters: what each one left", ["filter", "events", "people", "items"], rows, progress=True)


def _tell_data(display: Terminal, prepared: Prepared, device: torch.device) -> None:
    interactions = prepared.interactions
    _tell_log(display, prepared.log)
    display.line(
        f"{interactions.name}: {len(interactions.users) - 1:,} people, {len(interactions.items) - 1:,} items, {len(interactions.item):,} events; "
        f"{int(prepared.counts.sum()):,} for training, {len(prepared.valid.relevant):,} for validation, "
        f"{len(prepared.test.relevant):,} for test; on {device}"
    )


def _finished_result(folder: Path) -> Result:
    info = read_info(folder)
    return _result(info, folder, info["settings"])


def _result(info: Mapping[str, Any], folder: Path, settings: dict[str, Any]) -> Result:
    return Result(
        best_valid_score=info["best_valid_score"],
        valid_score_bigger=settings["valid_metric_bigger"],
        best_valid_result=info["valid"],
        test_result=info["test"],
        folder=folder,
        best_epoch=info["best_epoch"],
        epochs=info["epochs"],
        baselines=info["baselines"],
        protocol=info["protocol"],
        settings=settings,
    )
