"""RecBole's own way in: change the import, and nothing else.

from gaterec.recbole import run_recbole
run_recbole(model='HGN', dataset='ml-100k')
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaterec.run import run


def run_recbole(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str | Path] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
    queue: Any = None,
) -> dict[str, Any]:
    """Train and test a model; RecBole's signature and dictionary.

    Args:
        model: its name.
        dataset: a known name or a folder of data_path.
        config_file_list: YAML files of settings.
        config_dict: settings; wins over the files.
        saved: must be true: a run always leaves its folder.
        queue: if given, the result is put there as well.

    Returns:
        best_valid_score, valid_score_bigger, best_valid_result, test_result; rounded to metric_decimal_place, as RecBole does.

    Raises:
        GaterecError: bad settings or bad data, in one line.
    """
    if not saved:
        raise ValueError("saved=False: a run always leaves its folder; give a checkpoint_dir in config_dict to choose where")
    result = run(model, dataset, config_file_list, config_dict)
    decimals = result["settings"]["metric_decimal_place"]

    def rounded(figures: dict[str, float] | None) -> dict[str, float] | None:
        return figures and {name: round(value, decimals) for name, value in figures.items()}

    score = result["best_valid_score"]
    recbole = {
        "best_valid_score": None if score is None else round(score, decimals),
        "valid_score_bigger": result["valid_score_bigger"],
        "best_valid_result": rounded(result["best_valid_result"]),
        "test_result": rounded(result["test_result"]),
    }
    if queue is not None:
        queue.put(recbole)
    return recbole
