"""Trains RecBole's HGN one epoch at a time; run by the peer's own Python, never imported (see peer.py).

    .peer/bin/python benchmarks/recbole_peer.py --data_path ../shared/datasets --epochs 3 --settings '{"loss_type": "BPR"}'

Prints one line of JSON when it is ready (after an epoch that warms up), then one per epoch: {"seconds": 12.3}. The seconds are those of the
training loop alone. With --wait it waits for a line on its standard input before each epoch. With --judge it trains to the end instead, on the log
in its true order, and prints RecBole's own figures:

    .peer/bin/python benchmarks/recbole_peer.py --data_path ../shared/datasets --judge --settings '{"seed": 2021}'
    .peer/bin/python benchmarks/recbole_peer.py --data_path ../shared/datasets --judge --model BPR --settings '{"seed": 2021}'

With --search FILE it tries every point of a space (hyper.test) as RecBole's run_hyper.py does, and prints how many, and when the last one ended:

    .peer/bin/python benchmarks/recbole_peer.py --data_path ../shared/datasets --search hyper.test --settings '{"epochs": 1}'
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

# RecBole 1.2.1 speaks names that NumPy has given up, and reads checkpoints that torch now refuses.
for name, kind in {"float": float, "int": int, "bool": bool, "object": object, "long": int}.items():
    setattr(np, name, kind)

import torch  # noqa: E402

_load = torch.load
torch.load = lambda *args, **kwargs: _load(*args, **{"weights_only": False, **kwargs})

from recbole.config import Config  # type: ignore[import-not-found]  # noqa: E402
from recbole.data import create_dataset, data_preparation  # type: ignore[import-not-found]  # noqa: E402
from recbole.utils import get_model, get_trainer, init_seed  # type: ignore[import-not-found]  # noqa: E402


def main() -> None:
    """Prepare, warm up, train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_path", required=True)
    parser.add_argument("--model", default="HGN", help="with --judge, any of RecBole's")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, help="how many cores to use; torch's own choice, all of them, without it")
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--judge", action="store_true")
    parser.add_argument("--search")
    asked = parser.parse_args()
    sys.argv = sys.argv[:1]  # RecBole reads the command line too
    logging.disable(logging.WARNING)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    settings = {"data_path": asked.data_path, "show_progress": False, **asked.settings}
    if asked.model == "HGN" and settings.get("loss_type", "CE") == "CE":
        settings["train_neg_sample_args"] = None  # else RecBole's default for it makes HGN raise
    if asked.judge:
        judge(asked.model, asked.dataset, settings)
        return
    if asked.search:
        search(asked.dataset, settings, asked.search)
        return
    config = Config(model="HGN", dataset=asked.dataset, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    train_data, _, _ = data_preparation(config, create_dataset(config))
    model = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer._train_epoch(train_data, 0, show_progress=False)
    about = {"ready": True, "targets": len(train_data._dataset), "threads": torch.get_num_threads(), "torch": torch.__version__}
    print(json.dumps(about), flush=True)
    for epoch in range(1, asked.epochs + 1):
        if asked.wait and not sys.stdin.readline():
            break
        begin = time.perf_counter()
        trainer._train_epoch(train_data, epoch, show_progress=False)
        print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)


def judge(model: str, dataset: str, settings: dict[str, object]) -> None:
    """Train to the end and test, on the same events with their places in time as times, which a float32 can tell apart."""
    import pandas as pd  # type: ignore[import-untyped]
    from recbole.quick_start import run_recbole  # type: ignore[import-not-found]

    log = pd.read_csv(f"{settings['data_path']}/{dataset}/{dataset}.inter", sep="\t")
    log["timestamp:float"] = log["timestamp:float"].rank(method="first").astype(int)
    ordered = f"{dataset}-in-order"  # another name: whatever data_path says, RecBole reads its own copy of ml-100k
    settings = {"load_col": None, **settings}
    with tempfile.TemporaryDirectory(prefix="gaterec-peer-") as folder:
        (Path(folder) / ordered).mkdir()
        log.to_csv(f"{folder}/{ordered}/{ordered}.inter", sep="\t", index=False)
        os.chdir(folder)  # RecBole writes logs wherever it stands
        found = run_recbole(
            model, ordered, config_dict={**settings, "data_path": folder, "checkpoint_dir": folder, "metric_decimal_place": 6}
        )
    print(json.dumps({part: dict(found[part]) for part in ("best_valid_result", "test_result")}), flush=True)


def search(dataset: str, settings: dict[str, object], space: str) -> None:
    """Every point of the space, by RecBole's own search and objective."""
    import yaml
    from recbole.quick_start import objective_function
    from recbole.trainer import HyperTuning, hyper_tuning  # type: ignore[import-not-found]

    # RecBole gives its Hyperopt of 2020 a RandomState, of which later ones want what is named `integers` since.
    hyper_tuning.np = SimpleNamespace(array=np.array, prod=np.prod, random=SimpleNamespace(RandomState=np.random.default_rng))
    with tempfile.TemporaryDirectory(prefix="gaterec-peer-") as folder:
        file = Path(folder) / "settings.yaml"
        file.write_text(yaml.safe_dump({**settings, "model": "HGN", "dataset": dataset, "checkpoint_dir": folder}))
        tuning = HyperTuning(objective_function, algo="exhaustive", params_file=space, fixed_config_file_list=[str(file)])
        os.chdir(folder)  # RecBole writes logs wherever it stands
        tuning.run()
        print(json.dumps({"ended": time.time(), "points": len(tuning.score_list), "best": tuning.best_score}), flush=True)


if __name__ == "__main__":
    main()
