"""What it costs to get the same bits again."""

from collections.abc import Callable, Iterator
from statistics import median

from benchmarks.harness import Benchmark, Options, Row, Skipped, in_turns, ratio
from benchmarks.training import Training, settings_for

DATASET = "ml-100k"


def measure(options: Options) -> Iterator[Row | Skipped]:
    """One row per loss."""
    if missing := options.missing(DATASET):
        yield missing
        return
    for loss in ("CE", "BPR"):
        options.tell(f"reproducibility: {DATASET}, {loss} ...")
        contenders: dict[str, Callable[[], float]] = {
            str(same_bits).lower(): Training(settings_for(options, DATASET, {"loss_type": loss, "reproducibility": same_bits}))
            for same_bits in (True, False)
        }
        # A difference of a few percent needs more rounds than one of several times.
        seconds = in_turns(contenders, 3 * options.repeats)
        times = ratio(seconds["true"], seconds["false"])
        yield {
            "epoch": f"{DATASET}, {loss}",
            **{name: median(found) for name, found in seconds.items()},
            "true / false": times,
            "overhead": times - 1,
        }


BENCHMARK = Benchmark(
    name="reproducibility",
    title="Seconds per training epoch with `reproducibility` true and false",
    about="HGN, all defaults, the two in turns, three times as many rounds as elsewhere.",
    columns={"epoch": "{}", "true": "{:.2f} s", "false": "{:.2f} s", "true / false": "{:.3f}x", "overhead": "{:+.1%}"},
    ratio="true / false",
    measure=measure,
)
