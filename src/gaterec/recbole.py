"""RecBole's own way in: change the import, and nothing else.

from gaterec.recbole import run_recbole
run_recbole(model='HGN', dataset='ml-100k')
"""

import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaterec.config.recbole_keys import REFUSED, REPLACED, WITHOUT_MEANING
from gaterec.config.resolve import parse_flags
from gaterec.config.settings import Settings
from gaterec.errors import short
from gaterec.experiments.run import run
from gaterec.models import MODELS, model_class


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
        saved: false leaves no run folder behind.
        queue: if given, the result is put there as well.

    Returns:
        best_valid_score, valid_score_bigger, best_valid_result, test_result; rounded to metric_decimal_place, as RecBole does.

    The arguments of the script count as settings too, and win over the dictionary; those that are no settings are passed over with a warning.

    Raises:
        GaterecError: bad settings or bad data, in one line.
    """
    if not saved:
        with tempfile.TemporaryDirectory(prefix="gaterec-") as folder:
            kept_nowhere = {**(config_dict or {}), "checkpoint_dir": folder}
            return run_recbole(model, dataset, config_file_list, kept_nowhere, True, queue)
    result = run(model, dataset, config_file_list, config_dict, flags=_script_flags())
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


def _script_flags() -> dict[str, Any]:
    """Settings among the script's own arguments, which RecBole reads too: `python my_script.py --learning_rate=0.01`.

    Those of every model count, and those that gaterec refuses. All else is the script's own, or mistyped: passed over with a warning.
    """
    names = {*Settings.model_fields, *REFUSED, *WITHOUT_MEANING, *REPLACED} - {"model_settings"}
    names.update(*(model_class(model).Settings.model_fields for model in MODELS))
    words = [] if "ipykernel_launcher" in sys.argv[0] else sys.argv[1:]
    flags = [word for word in words if word.startswith("--") and "=" in word and word[2:].partition("=")[0] in names]
    if rest := [word for word in words if word not in flags]:
        hint = "" if all(word.startswith("--") and "=" in word for word in rest) else "; a setting is written --name=value"
        warnings.warn(f"command line: not settings, and passed over: {short(' '.join(rest), 500)}{hint}", stacklevel=3)
    return parse_flags(flags)
