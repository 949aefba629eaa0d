"""How a search goes about it: the defaults, the words that are taken, and what is refused."""

from typing import Any

import pytest

from gaterec.errors import SettingsError
from gaterec.experiments.tune.options import COSTS, TuneOptions
from gaterec.experiments.tune.tune import _plan


def test_by_default_one_worker_here_prunes_nothing_and_weighs_nothing() -> None:
    assert TuneOptions().model_dump() == {
        "trials": None, "sampler": None, "pruner": "none", "against": None, "early_stop": None, "workers": None, "tool": "local",
        "storage": None, "seeds": 3, "yes": False, "ray_address": None, "cpus_per_trial": 1.0, "gpus_per_trial": 0.0,
    }  # fmt: skip


BOUNDS: dict[str, tuple[int, int | None]] = {
    "trials": (1, 1_000_000),
    "early_stop": (1, None),
    "workers": (1, 1024),
    "seeds": (0, 1000),
    "gpus_per_trial": (0, 1024),
}
"""The least and the most of each number."""


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("tool", "Hyperopt", "local"),  # as RecBole's users write it
        ("tool", "hyperopt", "local"),
        ("tool", "Local", "local"),
        ("tool", "Ray", "Ray"),
        ("tool", "ray", "Ray"),
        ("sampler", "TPE", "tpe"),
        ("sampler", "Random", "random"),
        ("sampler", None, None),
        ("pruner", "Median", "median"),
        ("pruner", "HYPERBAND", "hyperband"),
        ("pruner", "None", "none"),
        ("against", "none", None),
        ("against", "", None),
        ("trials", "20", 20),
        ("storage", "trials.db", "trials.db"),
        ("gpus_per_trial", 0.5, 0.5),
        *((name, end, end) for name, ends in BOUNDS.items() for end in ends if end is not None),
    ],
)
def test_words_that_are_taken(name: str, given: Any, taken: Any) -> None:
    assert getattr(_plan({name: given}), name) == taken


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"trials": 0}, "trials: expected a number greater than or equal to 1, found 0"),
        ({"trials": 2_000_000}, "trials: expected a number less than or equal to 1000000, found 2000000"),
        ({"trials": "many"}, "trials: expected a whole number, found 'many'"),
        ({"workers": 0}, "workers: expected a number greater than or equal to 1, found 0"),
        ({"seeds": -1}, "seeds: expected a number greater than or equal to 0, found -1"),
        ({"early_stop": 0}, "early_stop: expected a number greater than or equal to 1, found 0"),
        ({"cpus_per_trial": 0}, "cpus_per_trial: expected a number greater than 0, found 0"),
        ({"gpus_per_trial": -1}, "gpus_per_trial: expected a number greater than or equal to 0, found -1"),
        ({"cpus_per_trial": float("nan")}, "cpus_per_trial: expected a finite number, found nan"),
        ({"sampler": "nonsense"}, "sampler: expected 'grid', 'random' or 'tpe', found 'nonsense'"),
        ({"sampler": 5}, "sampler: expected 'grid', 'random' or 'tpe', found 5"),
        ({"pruner": "nonsense"}, "pruner: expected 'none', 'median' or 'hyperband', found 'nonsense'"),
        ({"tool": "nonsense"}, "tool: expected 'local' or 'Ray', found 'nonsense'"),
        ({"against": "nonsense"}, "against: expected 'training_time' or 'recommendation_time', found 'nonsense'"),
        ({"trails": 5}, "trails: there is no such option of a search; did you mean trials?"),
        (
            {"against": "training_time", "pruner": "median"},
            "pruner: a search with two objectives can't be pruned, found median; leave --pruner or --against out",
        ),
    ],
)
def test_what_is_refused(content: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _plan(content)
    assert str(caught.value) == line


@pytest.mark.parametrize(("name", "value"), [(name, end) for name, (low, high) in BOUNDS.items() for end in (low - 1, (high or -2) + 1)])
def test_what_is_beyond_a_bound_is_refused(name: str, value: int) -> None:
    with pytest.raises(SettingsError, match=f"{name}: expected a number (greater|less) than or equal to .*, found {value}"):
        _plan({name: value})


def test_every_cost_has_words_with_its_unit() -> None:
    for cost, words in COSTS.items():
        assert TuneOptions(against=cost).against == cost
        assert words.startswith("seconds")
