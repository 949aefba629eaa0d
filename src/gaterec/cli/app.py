"""The command line. Every command is a thin layer over a function of the library, imported when the command runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from typer.core import TyperOption

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Sequential recommendation: train a model on a log, evaluate it, explain its recommendations and serve them.",
)
ANY_SETTING = {"allow_extra_args": True, "ignore_unknown_options": True}
MODEL = Annotated[str | None, typer.Option("--model", "-m", help="the model [default: HGN]")]
DATASET = Annotated[str | None, typer.Option("--dataset", "-d", help="a known dataset, a folder of data_path, or a file [default: demo]")]
FILES = Annotated[str, typer.Option("--config_files", help="YAML files of settings, separated by spaces")]


@app.command(context_settings=ANY_SETTING)
def run(
    context: typer.Context,
    model: MODEL = None,
    dataset: DATASET = None,
    config_files: FILES = "",
    resume: Annotated[bool, typer.Option("--resume", help="resume a killed run with the same settings")] = False,
) -> None:
    """Train a model on a log, evaluate it and write a run folder. Any setting is a flag: --learning_rate=0.01 (see `gaterec settings`)."""
    from gaterec.config.resolve import parse_flags
    from gaterec.experiments.run import run

    try:
        run(model, dataset, config_files.split(), flags=parse_flags(context.args), resume=resume)
    except KeyboardInterrupt:  # caught here, as Typer ends without a word
        _stop("the same command with --resume goes on from the last saved epoch")


@app.command(context_settings=ANY_SETTING)
def compare(
    context: typer.Context,
    models: Annotated[
        str,
        typer.Option(
            "--models", "--model_list", "-m", help="models or recipes, separated by commas, each with settings: HGN(loss_type=BPR)"
        ),
    ] = "HGN",
    dataset: DATASET = None,
    config_files: FILES = "",
    seeds: Annotated[str, typer.Option("--seeds", help="number of seeds, starting at --seed; or a list: [1,2,3]")] = "3",
    ablation: Annotated[bool, typer.Option("--ablation", help="HGN, and HGN without each of its parts (the paper's ablation)")] = False,
    out: Annotated[str | None, typer.Option("--out", help="the folder [default: checkpoint_dir/compare-DATASET-digest]")] = None,
    valid_latex: Annotated[str | None, typer.Option("--valid_latex", help="a file for a LaTeX table of the validation metrics")] = None,
    test_latex: Annotated[str | None, typer.Option("--test_latex", help="a file for a LaTeX table of the test metrics")] = None,
) -> None:
    """Compare models on one split with several seeds. Any setting is a flag for all models: --epochs=20, --protocol=paper."""
    from gaterec.config.resolve import parse_flags, parse_value
    from gaterec.experiments.compare.compare import compare

    try:
        result = compare(
            models,
            dataset,
            config_files.split(),
            flags=parse_flags(context.args),
            seeds=parse_value(seeds),
            ablation=ablation,
            out=out,
            valid_latex=valid_latex,
            test_latex=test_latex,
        )
    except KeyboardInterrupt:
        _stop("the same command goes on from there")
    if result["failed"]:
        sys.exit(1)


@app.command(context_settings=ANY_SETTING)
def tune(
    context: typer.Context,
    params_file: Annotated[str, typer.Option("--params_file", help="the search space: a file in RecBole's format (hyper.test), or YAML")],
    model: MODEL = None,
    dataset: DATASET = None,
    config_files: FILES = "",
    trials: Annotated[int | None, typer.Option("--trials", help="number of trials [default: all points of a grid, else 100]")] = None,
    sampler: Annotated[str | None, typer.Option("--sampler", help="grid, random or tpe [default: grid if the space is finite]")] = None,
    pruner: Annotated[str, typer.Option("--pruner", help="end trials early: none, median or hyperband")] = "none",
    against: Annotated[str | None, typer.Option("--against", help="a second objective: training_time or recommendation_time")] = None,
    early_stop: Annotated[int | None, typer.Option("--early_stop", help="end after this many trials in a row without a better one")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="trials at a time [default: 1; on a cluster, as many as fit]")] = None,
    tool: Annotated[str, typer.Option("--tool", help="local (RecBole's Hyperopt means the same), or Ray")] = "local",
    storage: Annotated[str | None, typer.Option("--storage", help="a file, or postgresql://... [default: trials.db in the folder]")] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="seeds for the final training of winner and defaults; 0 skips it")] = 3,
    out: Annotated[str | None, typer.Option("--out", help="the folder [default: checkpoint_dir/tune-MODEL-DATASET-digest]")] = None,
    output_file: Annotated[str | None, typer.Option("--output_file", help="a file for the results in RecBole's format")] = None,
    display_file: Annotated[str | None, typer.Option("--display_file", help="a file for the page (HTML)")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="try a grid of more than 10,000 points")] = False,
    ray_address: Annotated[
        str | None, typer.Option("--ray_address", help="a Ray cluster, HOST:PORT or auto [default: start one here]")
    ] = None,
    cpus_per_trial: Annotated[float, typer.Option("--cpus_per_trial", help="cores of a Ray worker")] = 1.0,
    gpus_per_trial: Annotated[float, typer.Option("--gpus_per_trial", help="GPUs of a Ray worker; 0.5 lets two share one")] = 0.0,
) -> None:
    """Search for the best settings on validation, then train the winner and the defaults and evaluate both. Any setting is a flag for all trials."""
    from gaterec.config.resolve import parse_flags
    from gaterec.experiments.tune.tune import tune

    try:
        tune(
            model,
            dataset,
            config_files.split(),
            space=params_file,
            flags=parse_flags(context.args),
            out=out,
            output_file=output_file,
            display_file=display_file,
            trials=trials,
            sampler=sampler,
            pruner=pruner,
            against=against,
            early_stop=early_stop,
            workers=workers,
            tool=tool,
            storage=storage,
            seeds=seeds,
            yes=yes,
            ray_address=ray_address,
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=gpus_per_trial,
        )
    except KeyboardInterrupt:
        _stop("the same command goes on from there")


@app.command(context_settings=ANY_SETTING)
def evaluate(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="a run folder")],
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="the log of the run, if it has moved")] = None,
    config_files: FILES = "",
) -> None:
    """Evaluate a trained run again, optionally with other metrics or another ranking: --topk=[5,20], --repeatable=False, --data_path=..."""
    from gaterec.config.resolve import parse_flags
    from gaterec.experiments.run import evaluate_run

    evaluate_run(folder, parse_flags(context.args), dataset=dataset, config_file_list=config_files.split())


RUN = Annotated[Path, typer.Argument(help="a run folder, or a folder of runs, of which the newest is used")]


@app.command()
def recommend(
    folder: RUN,
    users: Annotated[str | None, typer.Option("--users", "-u", help="user ids, separated by commas; @FILE with ids; or all")] = None,
    history: Annotated[
        str, typer.Option("--history", help="item ids: newer events of one user, or the history of a user without an id")
    ] = "",
    k: Annotated[int, typer.Option("-k", "--k", help="number of items per user")] = 10,
    seen: Annotated[bool, typer.Option("--seen", help="recommend items of the history too")] = False,
    deny: Annotated[str, typer.Option("--deny", help="item ids to exclude")] = "",
    allow: Annotated[str | None, typer.Option("--allow", help="item ids to choose from")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="only items with COLUMN=VALUE in the .item file; repeat it for one column to allow several values"),
    ] = None,
    why: Annotated[bool, typer.Option("--why", help="explain each item")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="refuse users that the run does not know")] = False,
    diversity: Annotated[float, typer.Option("--diversity", help="0 to 1: how different the items of a list are")] = 0.0,
    out: Annotated[Path | None, typer.Option("--out", help="write Parquet files to this folder instead of printing")] = None,
    index: Annotated[str | None, typer.Option("--index", help="hnsw or ivf, or none to score all items [default: the run's]")] = None,
) -> None:
    """Recommend items to users with a trained run."""
    from gaterec.cli.recommend import columns_and_values, item_ids, recommend
    from gaterec.inference.filters import Filters

    allowed = None if allow is None else item_ids(allow)
    filters = Filters(k, seen, item_ids(deny), allowed, columns_and_values(where or []), strict, diversity)
    recommend(folder, filters, users=users, history=item_ids(history) if history else None, why=why, out=out, index=index)


@app.command()
def index(
    folder: RUN, kind: Annotated[str, typer.Option("--index", help="hnsw (a graph) or ivf (cells, faster to build)")] = "hnsw"
) -> None:
    """Build an approximate index in a run folder, for very large catalogs, and measure its recall on queries of users."""
    from gaterec.inference.ann_index import index

    index(folder, kind)


@app.command()
def export(
    folder: RUN,
    out: Annotated[Path, typer.Option("--out", help="the folder to write; an earlier export is replaced")],
    kind: Annotated[str, typer.Option("--format", help="onnx (encoder and items), or the items alone: parquet or numpy")] = "onnx",
) -> None:
    """Export a run: the encoder for ONNX Runtime, checked against PyTorch, or the item vectors for a vector store."""
    from gaterec.inference.export import export

    export(folder, kind, out)


@app.command()
def explain(
    folder: RUN,
    item: Annotated[str, typer.Option("--item", "-i", help="the item id")],
    user: Annotated[str | None, typer.Option("--user", "-u", help="the user id")] = None,
    history: Annotated[
        str, typer.Option("--history", help="item ids: newer events of the user, or the history of a user without an id")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="write to this file, ending in .svg, .png, .html or .json")] = None,
) -> None:
    """Explain why a trained run recommends an item to a user: every part of the score."""
    from gaterec.cli.recommend import explain

    explain(folder, user, item, history, out)


@app.command()
def serve(
    folder: Annotated[Path, typer.Argument(help="a run folder, or a folder of runs, of which the newest is used")],
    host: Annotated[
        str, typer.Option("--host", help="the address to listen on; any other than this machine's own requires a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="the port; 0 for any free one")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option("--token_file", help="a file with the token that clients must send [default: the environment variable GATEREC_TOKEN]"),
    ] = None,
    events: Annotated[str, typer.Option("--events", help="where new events are stored: a file, or postgresql://...")] = "events.db",
    retention: Annotated[
        float | None, typer.Option("--retention_days", min=0.0, help="delete events after this many days [default: never]")
    ] = None,
    queue: Annotated[int, typer.Option("--queue", min=1, help="maximum number of waiting requests; further ones are refused (503)")] = 256,
    batch: Annotated[int, typer.Option("--batch", min=1, help="maximum number of requests answered together")] = 64,
    deadline: Annotated[float, typer.Option("--deadline", min=0.001, help="seconds after which a waiting request is refused (503)")] = 1.0,
    watch: Annotated[
        float, typer.Option("--watch", min=0.0, help="seconds between checks for a newer run in the folder; 0 for none")
    ] = 2.0,
    hosts: Annotated[str, typer.Option("--hosts", help="further host names of this server, separated by commas")] = "",
) -> None:
    """Serve a trained run: an HTTP API and a web page. Needs pip install 'gaterec[serve]'."""
    from gaterec.errors import SettingsError

    try:
        from gaterec.serve.server import serve
    except ModuleNotFoundError as error:
        raise SettingsError(f"serve: needs {error.name}, which is not installed: pip install 'gaterec[serve]'") from None
    serve(
        folder,
        host=host,
        port=port,
        token_file=token_file,
        events=events,
        retention=retention,
        queue=queue,
        batch=batch,
        deadline=deadline,
        watch=watch,
        hosts=hosts,
    )


@app.command(context_settings=ANY_SETTING)
def prepare(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="a file (.inter, CSV, TSV, Parquet), a folder of data_path, or a known dataset")],
    out: Annotated[Path, typer.Argument(help="the folder to write; an earlier prepared one is replaced")],
    config_files: FILES = "",
) -> None:
    """Read, filter and order a log once; runs take the folder as --dataset. Settings of the data are flags."""
    from gaterec.config.resolve import parse_flags
    from gaterec.experiments.run import prepare_folder

    prepare_folder(source, out, config_files.split(), flags=parse_flags(context.args))


@app.command()
def datasets(data_path: Annotated[str, typer.Option("--data_path", help="the folder with NAME/NAME.inter")] = "dataset/") -> None:
    """List the known datasets and which of them are on this machine."""
    from gaterec.data.datasets.registry import known_datasets
    from gaterec.io.console import plain

    table = _table("name", "users", "items", "events", "publisher", "terms", "on this machine")
    table.add_row("demo", "2,000", "480", "about 77,000", "simulated", "none", "simulated in memory")
    for known in known_datasets(data_path):
        place = plain(str(known.place)) if known.place else "no: downloaded on first use"
        table.add_row(known.name, f"{known.users:,}", f"{known.items:,}", f"{known.events:,}", known.publisher, known.terms, place)
    _print(table)


@app.command()
def models() -> None:
    """List the models."""
    from gaterec.models import MODELS

    table = _table("model", "what it is")
    for name, (_, meaning) in MODELS.items():
        table.add_row(name, meaning)
    _print(table)


@app.command()
def recipes() -> None:
    """List the recipes: named settings of a model and its training, --recipe=NAME."""
    _list_bundles("recipe")


@app.command()
def protocols() -> None:
    """List the protocols: named settings of the split and the evaluation, --protocol=NAME."""
    _list_bundles("protocol")


def _list_bundles(kind: Literal["recipe", "protocol"]) -> None:
    from gaterec.config.presets import bundles

    table = _table(kind, "what it is", "settings")
    for name, (meaning, settings) in bundles(kind).items():
        table.add_row(name, meaning, "\n".join(f"{setting}: {value}" for setting, value in settings.items()))
    _print(table)


@app.command()
def settings(name: Annotated[str | None, typer.Argument(help="a model or a setting [default: all general settings]")] = None) -> None:
    """List the settings: name, type, default, meaning."""
    from rich.console import Console
    from rich.padding import Padding

    from gaterec.cli.settings_table import rows_for

    rows, console = rows_for(name), Console(highlight=False, markup=False)
    if console.width >= WIDE:
        table = _table("setting", "type", "default", "meaning")
        for row in rows:
            table.add_row(*row)
        _print(table)
        return
    for setting, kind, default, meaning in rows:
        console.print(f"{setting}  ({kind}; default {default})", soft_wrap=True)
        console.print(Padding(meaning, (0, 0, 0, 4)))


WIDE = 120
"""The characters that a line must have for a table of settings; narrower ones show a list."""


def _table(name: str, *others: str) -> "Table":
    """A table of names, which are never cut or folded; the other columns fold."""
    from rich.table import Column, Table

    return Table(Column(name, no_wrap=True), *(Column(other, overflow="fold") for other in others))


def _print(table: "Table") -> None:
    """Print a table of names; where the screen is too narrow for them, in lines that are longer than the screen."""
    from rich.cells import cell_len
    from rich.console import Console

    console = Console()
    needed = max(map(cell_len, map(str, table.columns[0].cells))) + 10 * (len(table.columns) - 1) + 3 * len(table.columns) + 1
    console.width = max(console.width, needed)
    console.print(table)


def _one_value_each(arguments: list[str]) -> None:
    """Refuse an option that is there twice with different values, of which the last would be taken. Settings: see parse_flags."""
    command = getattr(typer.main.get_command(app), "commands", {}).get(arguments[0] if arguments else "")
    options = {name: option for option in getattr(command, "params", ()) if isinstance(option, TyperOption) for name in option.opts}
    values: dict[str | None, str] = {}
    words = iter(arguments[1:])
    for word in words:
        name, equals, value = word.partition("=")
        option = options.get(name)
        if option is None or option.is_flag or option.multiple:
            continue
        value = value if equals else next(words, "")
        if values.setdefault(option.name, value) != value:
            from gaterec.config.resolve import twice

            raise twice(next(one for one in option.opts if one.startswith("--")).removeprefix("--"), values[option.name], value)


def _stop(then: str) -> NoReturn:
    from gaterec.io.output import tell

    tell(f"stopped; {then}")
    sys.exit(130)


def main() -> None:
    """Run a command; bad input ends it with one clear line and exit code 2."""
    from gaterec.errors import GaterecError, out_of_memory
    from gaterec.io.output import of_a_command, tell

    with of_a_command():
        try:
            _one_value_each(sys.argv[1:])
            app()
        except GaterecError as error:
            tell(str(error))
            sys.exit(2)
        except (MemoryError, RuntimeError) as error:
            if (words := out_of_memory(error)) is None:
                raise
            tell(words)
            sys.exit(2)
