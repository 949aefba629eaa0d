"""Searches for the best settings, on validation alone; then trains the winner and the defaults with several seeds and judges both on test.

    OUT/trials.db      every trial, in an Optuna study (or wherever --storage says)    OUT/data/      the prepared log
    OUT/search.json    what is searched, and how                                       OUT/space.yaml the space
    OUT/best.yaml      the winner's settings, for --config_files                       OUT/winner/    the comparison at the end
    OUT/trials.parquet, OUT/hyper.result, OUT/tune.html                                OUT/workers/   what workers printed

The same search goes on where it was killed, and takes up more trials when asked for more.
"""

import json
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import polars as pl
import yaml
from pydantic import ValidationError

from gaterec.config.paths import expanded, read_text
from gaterec.config.resolve import Source, check_dictionary, describe, read_settings_file, resolve_sources
from gaterec.config.settings import Environment, Settings
from gaterec.data.prepared import kept_prepared, with_prepared_settings
from gaterec.errors import RunError, SettingsError, nearest
from gaterec.experiments.compare.compare import compare
from gaterec.experiments.compare.entries import COMMON
from gaterec.experiments.setup import Prepared, prepare
from gaterec.experiments.tune.live_table import SearchTable
from gaterec.experiments.tune.options import COSTS, TuneOptions
from gaterec.experiments.tune.page import render
from gaterec.experiments.tune.scheduler import Scheduler
from gaterec.experiments.tune.search_space import HERE, Range, Space, check_space, read_space
from gaterec.experiments.tune.study import Sampler, Study, check_same, storage_address
from gaterec.experiments.tune.tables import chosen_text, frame, hyper_result, text_rows
from gaterec.experiments.tune.trials import Search, Trial
from gaterec.experiments.tune.workers import LocalWorker, Task, Worker, shares
from gaterec.inference.run_folder import SAME_BITS_ANYWAY, environment, folder_name, read_info
from gaterec.io.console import Terminal, counted
from gaterec.io.database_urls import shown
from gaterec.io.files import check_output, check_writable, only_one, write_parquet, write_text
from gaterec.io.html import write_page
from gaterec.models import MODELS, model_class
from gaterec.training.reproducibility import pick_device
from gaterec.training.states import clear_states

TRIALS = 100
"""How many trials there are by default where the space has no end."""
MANY = 10_000
"""A grid of more points than this is tried only when asked for twice."""
OURS = ("trials.db", "trials", "data", "space.yaml", "best.yaml", "trials.parquet", "hyper.result", "tune.html", "winner", "workers")
"""What a search writes into its folder."""
NOT_SEARCHED = (COMMON | SAME_BITS_ANYWAY | set(Environment.model_fields) | {"protocol"}) - {"model", "eval_batch_size"}
"""Settings that decide what is asked, where things are or how they look, and not how good the answer is."""


class TuneResult(TypedDict):
    """What a search found.

    best: setting -> value, of the searched ones; settings: all that differ from the defaults, as in best.yaml; score: valid_metric on validation;
    test: the winner's figures on test, of the first seed; None where nothing is held out for it, or seeds is 0; run: the winner's run folder, likewise;
    folder: the search's; trials: one row per trial.
    """

    best: dict[str, Any]
    settings: dict[str, Any]
    score: float
    test: dict[str, float] | None
    run: Path | None
    folder: Path
    trials: pl.DataFrame


def tune(
    model: str | None = None,
    dataset: Any = None,
    config_file_list: str | Path | Iterable[str | Path] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    *,
    space: str | Path | Mapping[str, Any],
    flags: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    output_file: str | Path | None = None,
    display_file: str | Path | None = None,
    **plan: Any,
) -> TuneResult:
    """Search for the best settings on validation, then judge the winner beside the defaults on test.

    Args:
        model, dataset, config_file_list, config_dict, flags: as gaterec.run takes them; what every trial shares.
        space: what is searched: a file (RecBole's hyper.test, or YAML) or a dictionary; see gaterec.experiments.tune.search_space.read_space.
        out: the folder; checkpoint_dir/tune-MODEL-DATASET-digest by default.
        output_file, display_file: where hyper.result and the page go besides.
        plan: how to search; see gaterec.experiments.tune.options.TuneOptions: trials, sampler, pruner, against, early_stop, workers, tool, storage, seeds, ...

    Returns:
        The winner, its run and all trials.

    Raises:
        GaterecError: bad settings, a bad space, bad data, a storage that can't be used, in one line each, before anything is trained; or every
            trial failed, with the first reason.
    """
    check_dictionary(config_dict)
    how = _plan(plan)
    searched = read_space(space)
    files = [config_file_list] if isinstance(config_file_list, str | Path) else list(config_file_list or ())
    data = None if dataset is None or isinstance(dataset, str | Path) else dataset
    names = {"model": model, "dataset": "DataFrame" if data is not None else dataset and str(dataset)}
    given: list[Source] = [(str(file), read_settings_file(file)) for file in files]
    own: list[Source] = [("config_dict", config_dict or {}), ("command line", flags or {})]
    own.append(("arguments", {name: value for name, value in names.items() if value is not None}))
    _check_searched(searched, own)
    inputs = {f"config_files ({number + 1})": file for number, file in enumerate(files)}
    outputs = {"output_file": output_file, "display_file": display_file}
    _check_files({"params_file": None if isinstance(space, Mapping) else space, **inputs, **_storage_file(how.storage), **outputs})
    asked = _Asked(searched, [*given, *own])
    settings = asked.settings({}) if data is not None else with_prepared_settings(asked.settings({}))
    check_space(searched, asked.settings)
    _check_validated(searched, settings)
    if settings.eval_args.order != "TO":
        raise SettingsError(
            "eval_args.order: trials share a log that is put in order of time (TO) once, found RO, which draws another order with every seed"
        )
    limit = _limit(searched, how)
    display = Terminal(settings)
    for option, path in outputs.items():
        if path is not None:
            check_output(expanded(path, option), option)
    option, saved = ("checkpoint_dir", settings.checkpoint_dir) if out is None else ("out", out)
    parent = expanded(saved, option).absolute()
    check_writable(parent, option)
    with display.stages() as tell:
        prepared = prepare(settings, data, tell)
    if not len(prepared.valid):
        split = settings.eval_args.split
        raise SettingsError(f"eval_args: nothing is held out for validation under split {split}, so there is nothing to choose by")
    identity = _identity(searched, how, settings, prepared)
    name = folder_name(f"tune-{settings.model}", prepared.interactions.name, [identity])
    folder = parent / name if out is None else parent
    _check_place(folder)
    with only_one(folder):
        _remember(folder / "search.json", identity)
        write_text(folder / "space.yaml", yaml.safe_dump(_plain(searched.as_json()), sort_keys=False, allow_unicode=True))
        log = kept_prepared(prepared.log, settings, folder / "data", data is None)
        command = _command(asked.sources, log if data is not None else None, folder / "space.yaml", how, out)
        copies = {"hyper.result": output_file, "tune.html": display_file}
        tuning = _Tuning(display, prepared, asked, how, limit, folder, log, settings, command, copies)
        tuning.search(name, identity)
        tuning.write()
        return tuning.confirm()


@dataclass(frozen=True)
class _Asked:
    """What the trials share, and what is searched."""

    space: Space
    sources: Sequence[Source]

    def settings(self, chosen: Mapping[str, Any]) -> Settings:
        """Of a run with these values of searched settings."""
        return resolve_sources(lambda kind: model_class(kind).Settings, [*self.sources, (HERE, chosen)], MODELS)


class _Tuning:
    """A search, what is written of it, and the comparison at its end."""

    def __init__(
        self,
        display: Terminal,
        prepared: Prepared,
        asked: _Asked,
        how: TuneOptions,
        limit: int,
        folder: Path,
        data: Path,
        settings: Settings,
        command: str,
        copies: Mapping[str, str | Path | None],
    ) -> None:
        self.display, self.prepared, self.asked, self.how, self.limit = display, prepared, asked, how, limit
        self.folder, self.data, self.settings, self.command, self.copies = folder, data, settings, command, copies
        self.sampler: Sampler = how.sampler or _usual_sampler(asked.space)
        self.found = self._findings([], {})

    def search(self, name: str, identity: Mapping[str, Any]) -> None:
        """Try what is not tried yet.

        Raises:
            RunError: no trial came to an end.
        """
        display, settings, how = self.display, self.settings, self.how
        address, alone = storage_address(how.storage, self.folder)
        with ExitStack() as closing:
            study = Study(
                address,
                name,
                identity,
                self.asked.space,
                sampler=self.sampler,
                pruner=how.pruner,
                seed=settings.seed,
                bigger=settings.valid_metric_bigger,
                costs=how.against is not None,
                epochs=settings.epochs,
                alone=alone,
            )
            closing.callback(study.close)
            ended = [trial for trial in study.trials() if trial.state != "running"]
            self._tell_before(len(ended))
            if len(ended) < self.limit:
                hire, workers = self._hiring(closing)
                workers = min(workers, self.limit - len(ended))
                metric, bigger = settings.valid_metric, settings.valid_metric_bigger
                live = closing.enter_context(SearchTable(display, metric, bigger, self.limit, settings.epochs, workers, ended))
                pruning = how.pruner != "none"
                leader = Scheduler(
                    study, self._task, hire, workers, self.limit, metric.lower(), bigger, how.against, pruning, how.early_stop, live
                )
                leader.run()
                if leader.stopped:
                    tried = counted(len(study.trials()), "trial")
                    display.line(f"The search ends early, after {tried}: the last {how.early_stop:,} were no better")
            self.found = self._findings(study.trials(), study.importance())
        self._clear()
        if self.found.best is None:
            failed = self.found.of("failed")
            reason = f"; the first to fail, trial {failed[0].number}: {failed[0].reason}" if failed else ""
            raise RunError(f"{self.folder}: {counted(len(self.found.trials), 'trial')}, and none came to an end{reason}")

    def _hiring(self, closing: ExitStack) -> tuple[Callable[[int], Worker], int]:
        """Who hires a worker by its slot, and how many there are to be."""
        if self.how.tool == "Ray":
            from gaterec.experiments.tune.ray_workers import Cluster

            cluster = Cluster(self.how.ray_address, self.data, self.how.cpus_per_trial, self.how.gpus_per_trial)
            closing.callback(cluster.close)
            return cluster.hire, self.how.workers or cluster.room
        workers = self.how.workers or 1
        cores, threads = shares(workers)

        def hire(slot: int) -> Worker:
            return LocalWorker(slot, cores[slot], threads, self.folder / "workers" / f"{slot + 1}.log")

        return hire, workers

    def _task(self, trial: Trial) -> Task:
        changes = {"dataset": str(self.data), "show_progress": False}
        settings = self.asked.settings(trial.chosen).model_copy(update=changes).as_dict()
        return Task(settings, str(self._states(trial)), self.how.against == "recommendation_time")

    def _states(self, trial: Trial) -> Path:
        return self.folder / "trials" / f"{trial.number:05d}"

    def _clear(self) -> None:
        """Throw states away that killed workers left of trials that are over now."""
        for trial in self.found.trials:
            clear_states(self._states(trial))
        with suppress(OSError):
            (self.folder / "trials").rmdir()

    def _findings(self, trials: Sequence[Trial], importance: Mapping[str, float]) -> Search:
        settings, space = self.settings, self.asked.space
        return Search(
            title=f"{settings.model} on {self.prepared.interactions.name}, tuned",
            metric=settings.valid_metric,
            bigger=settings.valid_metric_bigger,
            cost=COSTS[self.how.against] if self.how.against is not None else None,
            names=space.names,
            logarithmic=frozenset(one.name for one in space.dimensions if isinstance(one, Range) and one.log),
            trials=trials,
            total=self.limit,
            how=self._how(),
            importance=importance,
            settings={name: value for name, value in settings.as_dict().items() if name not in space.names},
            environment=environment(pick_device(settings)),
            command=self.command,
        )

    def _how(self) -> list[str]:
        how, space = self.how, self.asked.space
        points = "no end of points" if space.size is None else counted(space.size, "point")
        chosen = {"grid": "the points of the grid in order", "random": "points at random, all different", "tpe": "points by TPE"}[
            self.sampler
        ]
        return [
            f"The space has {points} ({', '.join(space.names)}); {counted(self.limit, 'trial')}: {chosen}; seed {self.settings.seed}.",
            *[
                f"{one.name} is drawn from {one.low:.5g} to {one.high:.5g}, evenly on the logarithmic scale."
                for one in space.dimensions
                if isinstance(one, Range) and one.log
            ],
            f"Trials are chosen by {self.settings.valid_metric} on the validation part alone; test figures are made once, for the winner.",
            "No trial is ended early."
            if how.pruner == "none"
            else f"Hopeless trials are ended early ({how.pruner}) by their validation curve.",
            *([f"Weighed against quality: {COSTS[how.against]}. The winner is the best in quality."] if how.against is not None else []),
            *([f"The search ends after {counted(how.early_stop, 'trial')} without a better one."] if how.early_stop is not None else []),
        ]

    def _tell_before(self, done: int) -> None:
        display, interactions = self.display, self.prepared.interactions
        for note in self.prepared.log.notes:
            display.warn(note)
        display.line(
            f"{interactions.name}: {len(interactions.users) - 1:,} people, {len(interactions.items) - 1:,} items, "
            f"{len(interactions.item):,} events; search in {self.folder}"
        )
        for sentence in self._how():
            display.line(sentence)
        size = self.asked.space.size
        if self.sampler == "grid" and size is not None and self.limit < size:
            display.warn(f"{self.limit:,} of the grid's {size:,} points are tried, the first ones in order")
        if done:
            display.line(f"{done:,} of {self.limit:,} trials are finished already")

    @property
    def _best(self) -> Trial:
        assert self.found.best is not None
        return self.found.best

    def write(self, test: Mapping[str, float] | None = None) -> None:
        """Write all files, each whole or not at all."""
        best, found, folder = self._best, self.found, self.folder
        write_parquet(folder / "trials.parquet", frame(found))
        result, page = hyper_result(found, test), render(found)
        write_text(folder / "hyper.result", result)
        write_page(page, folder / "tune.html")
        if (copy := self.copies["hyper.result"]) is not None:
            write_text(expanded(copy, "output_file"), result)
        if (copy := self.copies["tune.html"]) is not None:
            write_page(page, expanded(copy, "display_file"))
        score = f"{self.settings.valid_metric} {best.score:.{self.settings.metric_decimal_place}f} on validation"
        head = f"# The winner of {counted(len(found.trials), 'trial')}: trial {best.number}, {score}\n"
        write_text(folder / "best.yaml", head + yaml.safe_dump(_plain(self.best_settings), sort_keys=False, allow_unicode=True))

    @property
    def best_settings(self) -> dict[str, Any]:
        """Model, dataset and all settings of the winner that are not its model's defaults; and the searched ones, whatever they are."""
        settings = self.asked.settings(self._best.chosen)
        own = settings.as_dict()
        bundled = {
            name: own[name] for name in ("model", "recipe", "protocol")
        }  # they come first in the file's effect, so what differs from them is said
        usual = resolve_sources(lambda kind: model_class(kind).Settings, [("arguments", bundled)], MODELS).as_dict()
        changed = {
            name: own[name] for name in own if own[name] != usual[name] or name in self._best.chosen or (name in bundled and own[name])
        }
        dataset = str(self.data) if self.settings.dataset == "DataFrame" else self.settings.dataset
        return {"model": settings.model, **changed, "dataset": dataset}

    def confirm(self) -> TuneResult:
        """Train the winner and the defaults with several seeds, judge both on test, and tell all."""
        display, best = self.display, self._best
        self._tell_trials()
        run, test = None, None
        if not len(self.prepared.test):
            display.warn("nothing is held out for test, so the winner is not judged")
        elif self.how.seeds:
            entries = {"best": _entry(self.settings, best.chosen), "defaults": _entry(self.settings, {})}
            own = {"model", "dataset"}
            shared = {name: value for _, content in self.asked.sources for name, value in content.items() if name not in own}
            seeds = [self.settings.seed + number for number in range(self.how.seeds)]
            result = compare(entries, self.data, config_dict=shared, seeds=seeds, out=self.folder / "winner")
            if result["runs"]["best"]:
                run = result["runs"]["best"][0]
                test = read_info(run)["test"]
            self.found = replace(self.found, confirmed=[*result["means"], *result["sentences"]])
            self.write(test)
        yaml_file = self.folder / "best.yaml"
        display.answer(f"The winner's settings are in {yaml_file}: gaterec run --config_files={shlex.quote(str(yaml_file))}")
        display.line(f"The search: {self.folder} (tune.html shows it)")
        assert best.score is not None
        return TuneResult(
            best=dict(best.chosen),
            settings=self.best_settings,
            score=best.score,
            test=test,
            run=run,
            folder=self.folder,
            trials=frame(self.found),
        )

    def _tell_trials(self) -> None:
        display, found = self.display, self.found
        display.either_way(f"{found.title}: the best of {counted(len(found.trials), 'trial')}, on validation", *text_rows(found))
        if self.how.against is not None:
            front = ", ".join(str(trial.number) for trial in found.front)
            display.answer(f"Trials of which none other is both better and cheaper: {front}")
        for trial in found.of("pruned"):
            display.line(f"pruned: trial {trial.number}: {chosen_text(trial.chosen)}: {trial.reason}")
        for trial in found.of("failed"):
            display.warn(f"failed: trial {trial.number}: {chosen_text(trial.chosen)}: {trial.reason}")


def _plan(content: Mapping[str, Any]) -> TuneOptions:
    for name in content:
        if name not in TuneOptions.model_fields:
            raise SettingsError(f"{name}: there is no such option of a search; {nearest(name, TuneOptions.model_fields)}")
    try:
        return TuneOptions(**content)
    except ValidationError as error:
        raise SettingsError(describe(error, {})) from None


def _check_searched(space: Space, own: Sequence[Source]) -> None:
    """What must not be searched, or is said twice."""
    for name in space.names:
        if name in NOT_SEARCHED:
            raise SettingsError(
                f"{space.where(name)}: can't be searched, as it makes no model better, but decides what is measured, where, or how it looks; "
                f"leave it out, and give it for all trials: --{name}=..."
            )
        for source, content in own:
            if name in content:
                raise SettingsError(f"{space.where(name)}: is searched, and given by the {source} too; leave one of them out")


def _check_validated(space: Space, settings: Settings) -> None:
    """Raise SettingsError when no trial would be validated, so that none could win."""
    if not model_class(settings.model).Settings.trained or "model" in space.names:
        return
    for name in ("eval_step", "epochs"):
        if getattr(settings, name) == 0 and name not in space.names:
            raise SettingsError(
                f"{name}: trials are compared by {settings.valid_metric} on the validation part, and 0 never validates; leave it out"
            )


def _usual_sampler(space: Space) -> Sampler:
    return "grid" if space.size is not None else "tpe"


def _limit(space: Space, how: TuneOptions) -> int:
    """How many trials there are to be."""
    size, sampler = space.size, how.sampler
    if size is None and sampler == "grid":
        endless = next(one.name for one in space.dimensions if isinstance(one, Range) and one.step is None)
        raise SettingsError(
            f"sampler: a grid needs a space that can be counted, and {endless} is a continuous range; give choices or quniform, or --sampler=tpe"
        )
    if size == 1:
        return 1
    if size is None or sampler == "tpe":
        return how.trials or TRIALS
    if size > MANY and how.trials is None and sampler != "random" and not how.yes:
        raise SettingsError(
            f"{HERE}: the grid has {size:,} points, more than {MANY:,}; say --yes to try them all, --trials=N for the first N, or --sampler=tpe"
        )
    return min(how.trials or (TRIALS if sampler == "random" else size), size)


def _identity(space: Space, how: TuneOptions, settings: Settings, prepared: Prepared) -> dict[str, Any]:
    """What makes a search the one that it is, whatever the number of trials and workers; as JSON has it."""
    content = {
        "data": [prepared.interactions.name, prepared.interactions.fingerprint()],
        **{f"space.{name}": value for name, value in space.as_json().items()},
        "sampler": how.sampler or _usual_sampler(space),
        **{name: getattr(how, name) for name in ("pruner", "against")},
        **{name: value for name, value in settings.as_dict().items() if name not in SAME_BITS_ANYWAY | {"dataset"}},
    }
    return dict(_plain(content))


def _check_place(folder: Path) -> None:
    """Nothing of somebody else's is written over: a folder that is no search may hold nothing that a search writes."""
    if not (folder / "search.json").exists():
        for name in OURS:
            if (folder / name).exists():
                raise RunError(f"out: {folder}: expected a new folder, or one of a search, found {name} in it; give another --out")


def _storage_file(storage: str | None) -> dict[str, str | Path | None]:
    return {} if storage is None or "://" in storage else {"storage": storage}


def _check_files(named: Mapping[str, str | Path | None]) -> None:
    """No two options may name one file, and files are no folders."""
    seen: dict[Path, str] = {}
    for option, name in named.items():
        if name is None:
            continue
        place = Path(os.path.realpath(expanded(name, option)))
        if os.path.isdir(place):  # noqa: PTH112, Path.is_dir raises where a name is too long
            raise SettingsError(f"{option}: expected a file, found the folder {name}")
        if place in seen:
            raise SettingsError(f"{option}: is the file of {seen[place]} too, {name}; give another")
        seen[place] = option


def _remember(file: Path, identity: Mapping[str, Any]) -> None:
    """Write what is searched into the folder, or see that it is what was searched there before."""
    try:
        before = json.loads(read_text(file))
    except FileNotFoundError:
        write_text(file, json.dumps(identity, indent=1, ensure_ascii=False) + "\n")
        return
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: can't be read: {error}; give another --out") from None
    check_same(str(file.parent), before if isinstance(before, dict) else {}, identity)


def _entry(settings: Settings, chosen: Mapping[str, Any]) -> str:
    """What a comparison calls a run with these settings."""
    recipe = chosen.get("recipe", settings.recipe)
    name = recipe or chosen.get("model") or settings.model
    chosen = {setting: value for setting, value in chosen.items() if setting != "model" and not (setting == "recipe" and value)}
    inner = ",".join(f"{setting}={_literal(value)}" for setting, value in chosen.items())
    return f"{name}({inner})" if inner else str(name)


def _literal(value: Any) -> str:
    return value if isinstance(value, str) and value.isidentifier() else repr(value)


def _plain(value: Any) -> Any:
    """As JSON has it: no tuples."""
    return json.loads(json.dumps(value))


def _command(sources: Sequence[Source], data: Path | None, space: Path, how: TuneOptions, out: str | Path | None) -> str:
    """The shell line that makes the search again."""
    flags: dict[str, Any] = {name: value for _, content in sources for name, value in content.items()}
    if data is not None:
        flags["dataset"] = data
    flags |= {"params_file": space, **how.model_dump(exclude_defaults=True), **({} if out is None else {"out": out})}
    if how.storage is not None:
        flags["storage"] = shown(how.storage)
    words = [f"--{name}" if name == "yes" else f"--{name}={shlex.quote(str(value))}" for name, value in flags.items()]
    return " ".join(["gaterec tune", *words])
