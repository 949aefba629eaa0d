"""Where the time of a training epoch goes."""

import time
from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from benchmarks.harness import Benchmark, Options, Row, Skipped, timed
from benchmarks.training import Training, product_floor, settings_for
from gaterec.training.losses import LOSSES
from gaterec.training.reproducibility import reproducible
from gaterec.training.trainer import loss_arguments

DATASET = "ml-100k"


def measure(options: Options) -> Iterator[Row | Skipped]:
    """One row per loss and part."""
    if missing := options.missing(DATASET):
        yield missing
        return
    for loss in ("CE", "BPR"):
        options.tell(f"parts: {DATASET}, {loss} ...")
        training = Training(settings_for(options, DATASET, {"loss_type": loss}))
        training()
        floor = timed(product_floor(training))
        floor()
        rounds = [_epoch(training, number) for number in range(options.repeats)]
        floors = [floor() for _ in range(options.repeats)]
        for part in rounds[0]:
            yield {
                "epoch": f"{DATASET}, {loss}",
                "part": part,
                "time": median(found[part] for found in rounds),
                "part / CE's floor": median(found[part] / bare for found, bare in zip(rounds, floors, strict=True)),
            }


def _epoch(training: Training, number: int) -> dict[str, float]:
    """Seconds of every part of an epoch, which is trained on as usual."""
    trainer = training.trainer
    model, settings = trainer.model, training.settings
    seconds: defaultdict[str, float] = defaultdict(float)
    clock = time.perf_counter()

    def lap(part: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[part] += now - clock
        clock = now

    with reproducible(settings, training.device):
        model.train()
        for batch in trainer.batches.epoch(number + 1000):
            lap("batches")
            queries = model(batch.users, batch.items).flatten(0, 1).index_select(0, batch.positions)
            lap("gates, forward")
            apart = queries.detach().requires_grad_()
            arguments = loss_arguments(apart, batch, model, settings, trainer.sampler, trainer.plan.by_row)
            LOSSES[settings.loss_type].function(**arguments).backward()  # type: ignore[no-untyped-call]
            lap("loss, forward and backward")
            queries.backward(apart.grad)
            lap("gates, backward")
            for optimizer in trainer.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            lap("optimizer")
    return {**seconds, "all": sum(seconds.values())}


BENCHMARK = Benchmark(
    name="parts",
    title="Where the time of an epoch goes",
    about="HGN on ml-100k, all defaults. The floor is that of CE: three bare matrix products over the catalogue, at the shapes of the batches.",
    columns={"epoch": "{}", "part": "{}", "time": "{:.3f} s", "part / CE's floor": "{:.2f}x"},
    ratio="part / CE's floor",
    measure=measure,
)
