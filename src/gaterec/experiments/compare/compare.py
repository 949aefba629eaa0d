"""Several models on one split under one protocol, over several seeds, in one table.

The log is read, filtered and ordered once; every cell (an entry with a seed) is a run in a process of its own (gaterec.experiments.compare.run_process). What was finished
stays finished: the same comparison goes on where it was killed, and tries again what failed.

    OUT/data/            the prepared log          OUT/runs/     a run folder per cell
    OUT/results.parquet  one row per figure        OUT/results.md, results.tex, comparison.html, comparison.json
"""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import polars as pl

from gaterec._version import __version__
from gaterec.config.paths import expanded
from gaterec.config.presets import bundle
from gaterec.config.resolve import Source, check_dictionary, read_settings_file
from gaterec.config.settings import Evaluation, Settings
from gaterec.data.prepared import kept_prepared, with_prepared_settings
from gaterec.data.split import EvalQueries
from gaterec.errors import RunError, SettingsError
from gaterec.evaluation.audit import Finding, audit
from gaterec.evaluation.evaluate import evaluate
from gaterec.evaluation.protocol import describe_protocol
from gaterec.evaluation.significance import compare_all
from gaterec.experiments.compare import tables as tables
from gaterec.experiments.compare.entries import Entry, resolve_entries
from gaterec.experiments.compare.page import render
from gaterec.experiments.compare.results import ComparisonResults, RunOutcome, Summary, read_outcome
from gaterec.experiments.compare.run_process import RunSpec, follow
from gaterec.experiments.setup import Prepared, prepare, truth_scorer
from gaterec.inference.run_folder import SAME_BITS_ANYWAY, environment, folder_name, run_name
from gaterec.io.console import Terminal, counted
from gaterec.io.files import check_output, check_writable, only_one, write_parquet, write_text
from gaterec.io.html import write_page
from gaterec.training.reproducibility import pick_device

FORMAT = 1
"""The version of comparison.json."""


class ComparisonResult(TypedDict):
    """What a comparison found.

    folder: where all of it is; table: results.parquet; sentences: what the paired tests say; failed: label, seed and reason of each failed cell;
    means: a sentence for each entry, with the mean and spread of the metric that early stopping follows; runs: label -> its finished run folders.
    """

    folder: Path
    table: pl.DataFrame
    protocol: list[str]
    sentences: list[str]
    failed: list[str]
    means: list[str]
    runs: dict[str, list[Path]]


def compare(
    models: str | Iterable[str] | Mapping[str, str] = "HGN",
    dataset: Any = None,
    config_file_list: str | Path | Iterable[str | Path] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    seeds: int | Sequence[int] = 3,
    ablation: bool = False,
    out: str | Path | None = None,
    valid_latex: str | Path | None = None,
    test_latex: str | Path | None = None,
) -> ComparisonResult:
    """Train several models on one split, judge them under one protocol, and put them into one table.

    Args:
        models: entries, in a list or separated by commas: a model, a recipe, or either with settings of its own, `HGN(loss_type=BPR)`; or a
            dictionary from labels to entries.
        dataset, config_file_list, config_dict, flags: as gaterec.run takes them; settings for all entries that have them.
        seeds: how many, from `seed` on; or which.
        ablation: add to each HGN the same without each of its parts.
        out: the folder; checkpoint_dir/compare-DATASET-digest by default. Runs that it holds already are not made again.
        valid_latex, test_latex: where tables of the validation and of the test figures go besides.

    Returns:
        The folder, the figures, and what failed; failed cells are tried again by the same call.

    Raises:
        GaterecError: bad settings, bad data, or a folder that can't be written, in one line each, before anything is trained.
    """
    check_dictionary(config_dict)
    models = models if isinstance(models, str | Mapping) else list(models)
    files = [config_file_list] if isinstance(config_file_list, str | Path) else config_file_list or ()
    frame = None if dataset is None or isinstance(dataset, str | Path) else dataset
    name = "DataFrame" if frame is not None else dataset and str(dataset)
    shared: list[Source] = [(str(file), read_settings_file(file)) for file in files]
    shared += [("config_dict", config_dict or {}), ("command line", flags or {})]
    entries, notes = resolve_entries(models, shared, name, ablation=ablation)
    if frame is None:
        entries = [Entry(entry.label, with_prepared_settings(entry.settings)) for entry in entries]
    settings = entries[0].settings
    chosen = _seeds(seeds, settings.seed)
    display = Terminal(settings)
    for option, path in (("valid_latex", valid_latex), ("test_latex", test_latex)):
        if path is not None:
            check_output(expanded(path, option), option)
    option, place = ("checkpoint_dir", settings.checkpoint_dir) if out is None else ("out", out)
    check_writable(expanded(place, option), option)
    with display.stages() as tell:
        prepared = prepare(settings, frame, tell)
    if not len(prepared.test):
        raise SettingsError(
            f"eval_args: nothing is held out for test under split {settings.eval_args.split}, so there is nothing to compare"
        )
    folder = _folder(settings, entries, prepared, out)
    with only_one(folder):
        data = kept_prepared(prepared.log, settings, folder / "data", frame is None)
        cells = [_cell(entry, seed, data, folder, prepared) for seed in chosen for entry in entries]
        command = _command(models, shared, settings.dataset if frame is None else str(data), chosen, ablation, out)
        comparison = _Matrix(display, prepared, folder, entries, cells, [*notes, *_protocol_notes(settings, prepared.test)], command)
        return comparison.run({"valid": valid_latex, "test": test_latex})


class _Matrix:
    """The cells of a comparison, and what became of them so far."""

    def __init__(
        self,
        display: Terminal,
        prepared: Prepared,
        folder: Path,
        entries: list[Entry],
        cells: list[RunSpec],
        notes: list[str],
        command: str,
    ) -> None:
        self.display, self.prepared, self.folder, self.entries, self.cells = display, prepared, folder, entries, cells
        self.notes, self.command, self.settings = notes, command, entries[0].settings
        self.device = pick_device(self.settings)
        self.protocol = describe_protocol(self.settings, prepared.interactions, prepared.test)
        if self.settings.protocol is not None:
            self.protocol = [_named_protocol(self.settings.protocol, self.settings), *self.protocol]
        counts = prepared.counts.numpy()
        self.audit = _audited(audit(prepared.interactions, prepared.split, prepared.valid, prepared.test, self.settings, counts))
        self.outcomes = {cell.folder: RunOutcome(cell) for cell in cells}
        self.best_possible = self._best_possible()

    def run(self, latex: Mapping[str, str | Path | None]) -> ComparisonResult:
        """Run what is not finished yet, and write all tables after each cell."""
        display = self.display
        self._tell_before()
        waiting = []
        for cell in self.cells:
            if not (cell.finished and self._read(cell)):
                waiting.append(cell)
        if len(waiting) < len(self.cells):
            display.line(f"{len(self.cells) - len(waiting)} of {len(self.cells)} runs are finished already")
        with display.matrix(len(self.cells), len(self.cells) - len(waiting)) as progress:
            for cell in waiting:
                progress.begin(f"{cell.label}, seed {cell.settings.seed}", cell.settings.epochs)
                try:
                    for entry in follow(cell):
                        progress.epoch(entry, cell.settings.valid_metric)
                    self._read(cell)
                except RunError as error:
                    self.outcomes[cell.folder] = RunOutcome(cell, f"failed: {error}")
                progress.end(self._told(self.outcomes[cell.folder]))
                self.write()
        findings = self.write(final=True)
        for part, path in latex.items():
            if path is not None:
                write_text(expanded(path, f"{part}_latex"), tables.latex(findings, part))
        self._tell_after(findings)
        return ComparisonResult(
            folder=self.folder,
            table=tables.frame(findings.outcomes),
            protocol=self.protocol,
            sentences=[test.sentence for test in findings.tests],
            failed=findings.status,
            means=[self._mean(summary) for summary in findings.summaries if summary.done],
            runs={
                label: [one.cell.folder for one in findings.outcomes if one.cell.label == label and one.done] for label in findings.entries
            },
        )

    def _read(self, cell: RunSpec) -> bool:
        """Take in what a finished cell found; False where its folder is damaged, which is then told."""
        try:
            self.outcomes[cell.folder] = read_outcome(cell, self.prepared)
        except RunError as error:
            self.outcomes[cell.folder] = RunOutcome(cell, f"failed: {error}")
        return self.outcomes[cell.folder].done

    def findings(self, final: bool = False) -> ComparisonResults:
        """All that is known so far; tests only at the end."""
        outcomes, seeds = list(self.outcomes.values()), {cell.settings.seed for cell in self.cells}
        done = [outcome for outcome in outcomes if outcome.done]
        references: dict[str, dict[str, list[float]]] = {}
        pop = {o.cell.settings.seed: o.info["baselines"]["Pop"] for o in done if "Pop" in o.info["baselines"]}
        for figures in pop.values():
            for name, value in figures.items():
                references.setdefault("Pop", {}).setdefault(name, []).append(value)
        if self.best_possible:
            references["best possible"] = {name: [value] for name, value in self.best_possible.items()}
        findings = ComparisonResults(
            title=f"{self.prepared.interactions.name}: {counted(len(self.entries), 'entry', 'entries')}, {counted(len(seeds), 'seed')}",
            outcomes=outcomes,
            references=references,
            protocol=self.protocol,
            tests=[],
            audit=self.audit,
            notes=self.notes,
            settings=_by_entry(self.entries),
            environment=environment(self.device),
            command=self.command,
        )
        if final:
            people = {summary.label: summary.people for summary in findings.summaries if summary.done}
            if len(people) > 1 and next(iter(people.values())):
                findings.tests.extend(compare_all(people))
        return findings

    def write(self, final: bool = False) -> ComparisonResults:
        """Write all files, each whole or not at all."""
        findings = self.findings(final)
        write_parquet(self.folder / "results.parquet", tables.frame(findings.outcomes))
        write_text(self.folder / "results.md", tables.markdown(findings))
        write_text(self.folder / "results.tex", tables.latex(findings, "test"))
        write_page(render(findings), self.folder / "comparison.html")
        content = {
            "format": FORMAT,
            "gaterec": __version__,
            "title": findings.title,
            "protocol": findings.protocol,
            "settings": findings.settings,
            "seeds": sorted({cell.settings.seed for cell in self.cells}),
            "not done": findings.status,
            "tests": [test.sentence for test in findings.tests],
            "audit": findings.audit,
            "notes": findings.notes,
            "environment": findings.environment,
            "command": findings.command,
        }
        write_text(self.folder / "comparison.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        return findings

    def _best_possible(self) -> dict[str, float]:
        """The figures of the true probabilities, where they are known."""
        prepared, counts = self.prepared, self.prepared.counts.to(self.device)
        if prepared.truth is None:
            return {}
        score = truth_scorer(prepared.truth, prepared.interactions, self.device)
        return evaluate(score, prepared.interactions, prepared.test, self.settings, part="test", counts=counts).figures

    def _mean(self, summary: Summary) -> str:
        metric, seeds = self.settings.valid_metric, counted(len(summary.done), "seed")
        mean, deviation = summary.figures("test")[metric.lower()]
        spread = f" ± {self.display.number(deviation)}" if len(summary.done) > 1 else ""
        return f"{summary.label}: {metric} {self.display.number(mean)}{spread} on test, {seeds}."

    def _tell_before(self) -> None:
        display, interactions = self.display, self.prepared.interactions
        for note in [*self.prepared.log.notes, *self.notes]:
            display.warn(note)
        display.line(
            f"{interactions.name}: {len(interactions.users) - 1:,} people, {len(interactions.items) - 1:,} items, "
            f"{len(interactions.item):,} events; {counted(len(self.entries), 'entry', 'entries')}, {counted(len(self.cells), 'run')} on {self.device}, "
            f"in {self.folder}"
        )
        for sentence in self.protocol:
            display.line(sentence)
        for sentence in self.audit:
            display.line(f"Audit: {sentence}")

    def _told(self, outcome: RunOutcome) -> str:
        if not outcome.done:
            return outcome.status
        metric = self.settings.valid_metric
        epochs = counted(len(outcome.info["epochs"]), "epoch")
        return f"{metric} {self.display.number(outcome.info['test'][metric.lower()])} on test, {epochs} in {outcome.seconds:.1f} s"

    def _tell_after(self, findings: ComparisonResults) -> None:
        display = self.display
        display.either_way(findings.title, *tables.text_rows(findings))
        for sentence in [*tables.MEANINGS, *self.protocol]:
            display.answer(sentence)
        for test in findings.primary_tests:
            display.answer(test.sentence)
        for line in findings.status:
            display.warn(line)
        display.line(f"All figures and tests: {self.folder} (comparison.html shows the curves)")


def _named_protocol(name: str, settings: Settings) -> str:
    """Its name, and what was changed of it."""
    content = bundle("protocol", name).settings
    usual = Evaluation(**content)
    changed = [setting for setting in content if getattr(usual, setting) != getattr(settings, setting)]
    return f"Protocol: {name}{', but for its ' + ' and '.join(changed) if changed else ''}."


def _audited(findings: Sequence[Finding]) -> list[str]:
    """A line for each finding that counts something or can't be judged, and one for all others."""
    lines, nothing = [], [finding.name for finding in findings if finding.of and not finding.count]
    for finding in findings:
        if finding.name not in nothing:
            share = "" if finding.share is None else f": {finding.count:,} of {finding.of:,} ({100 * finding.share:.3g} %)"
            lines.append(f"{finding.name[0].upper()}{finding.name[1:]}{share}. {finding.meaning}")
    return [*lines, *([f"Nothing found: {'; '.join(nothing)}."] if nothing else [])]


def _seeds(seeds: int | Sequence[int], first: int) -> list[int]:
    chosen: Any = list(range(first, first + seeds)) if isinstance(seeds, int) and 0 < seeds <= 1000 else seeds
    whole = isinstance(chosen, list | tuple) and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in chosen)
    if not whole or not chosen or min(chosen) < 0 or max(chosen) >= 2**63:
        raise SettingsError(f"seeds: expected how many (1 to 1000), or a list of whole numbers such as [1,2,3], found {seeds!r}")
    return list(dict.fromkeys(chosen))


def _protocol_notes(settings: Settings, test: EvalQueries) -> list[str]:
    """What a reader should know of figures under this protocol."""
    notes = []
    drawn = [f"{mode} of {part}" for part, mode in settings.eval_args.mode.items() if mode != "full"]
    if drawn:
        notes.append(f"the items drawn for {' and '.join(drawn)} change with the seed, and are the same for all entries of one seed")
    if len(test) > len(np.unique(test.user)):
        notes.append(
            "people have several test queries: tests weigh each person alike and the table each query, so differences are not quite the table's"
        )
    return notes


def _folder(settings: Settings, entries: Sequence[Entry], prepared: Prepared, out: str | Path | None) -> Path:
    """Where the comparison is; equal for equal entries on equal data, whatever the seeds."""
    if out is not None:
        return expanded(out, "out").absolute()
    leave = SAME_BITS_ANYWAY | {"seed"}
    identity = [[e.label, {name: value for name, value in e.settings.as_dict().items() if name not in leave}] for e in entries]
    name = folder_name("compare", prepared.interactions.name, [identity, prepared.interactions.fingerprint()])
    return expanded(settings.checkpoint_dir, "checkpoint_dir").absolute() / name


def _cell(entry: Entry, seed: int, data: Path, folder: Path, prepared: Prepared) -> RunSpec:
    runs = folder / "runs"
    changes = {"seed": seed, "dataset": str(data), "checkpoint_dir": str(runs), "show_progress": False}
    settings = entry.settings.model_copy(update=changes)
    return RunSpec(entry.label, settings, runs / run_name(settings, prepared.interactions.name, prepared.interactions.fingerprint()))


def _by_entry(entries: Sequence[Entry]) -> dict[str, Any]:
    """The settings that all entries share, and each entry's others."""
    each = {entry.label: entry.settings.as_dict() for entry in entries}
    first = next(iter(each.values()))
    shared = {name for name in first if all(name in one and one[name] == first[name] for one in each.values())} - {"model"}
    return {"all": {name: first[name] for name in first if name in shared}} | {
        label: {name: value for name, value in one.items() if name not in shared} for label, one in each.items()
    }


def _command(
    models: str | Iterable[str] | Mapping[str, str],
    shared: Sequence[Source],
    dataset: str,
    seeds: Sequence[int],
    ablation: bool,
    out: str | Path | None,
) -> str:
    """The shell line that makes the comparison again."""
    text = models if isinstance(models, str) else ",".join(models.values() if isinstance(models, Mapping) else models)
    flags = {"models": text, "dataset": dataset, "seeds": str(list(seeds)).replace(" ", "")}
    flags |= {name: str(value) for _, content in shared for name, value in content.items() if name != "dataset"}
    flags |= {} if out is None else {"out": str(out)}
    return " ".join(
        ["gaterec compare", *(f"--{name}={shlex.quote(value)}" for name, value in flags.items()), *(["--ablation"] if ablation else [])]
    )
