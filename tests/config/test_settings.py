"""Which values settings take, what is refused, and in which words."""

from pathlib import Path
from typing import Any

import pytest

from gaterec.config.intervals import parse_intervals
from gaterec.config.metric_names import METRICS, split_metric
from gaterec.config.resolve import parse_flags
from gaterec.models import MODELS
from tests.support.resolved import config, refusal, resolved

# -- what is refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "right"), [("learning_rat", "learning_rate"), ("epoch", "epochs"), ("Epochs", "epochs"), ("emb_size", "embedding_size")]
)
def test_misspelt_names_name_their_neighbour(wrong: str, right: str) -> None:
    assert refusal(flags={wrong: 1}) == f"command line: {wrong}: there is no such setting; did you mean {right}?"


@pytest.mark.parametrize("name", ["xyzzyq", "", 3, "model_settings"])
def test_names_without_a_neighbour(name: Any) -> None:
    assert refusal(config_dict={name: 1}) == f"config_dict: {name}: there is no such setting; `gaterec settings` lists them all."


def test_misspelt_models_name_their_neighbour() -> None:
    assert refusal(model="HNG") == "model: there is no model 'HNG'; did you mean HGN?"
    assert refusal(model="Transformer9") == f"model: there is no model 'Transformer9'; known: {', '.join(MODELS)}"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"epochs": -1}, "epochs: expected a number greater than or equal to 0, found -1"),
        ({"epochs": 1.5}, "epochs: expected a whole number, found 1.5"),
        ({"epochs": "many"}, "epochs: expected a whole number, found 'many'"),
        ({"learning_rate": 0}, "learning_rate: expected a number greater than 0, found 0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a finite number, found nan"),
        ({"seed": 2**63}, "seed: expected a number less than 9223372036854775808, found 9223372036854775808"),
        ({"gpu_id": "0,1"}, "gpu_id: expected the number of one GPU, such as 0, found '0,1'"),
        ({"learner": "adamax"}, "learner: expected 'adam', 'adamw', 'sgd', 'adagrad', 'rmsprop' or 'sparse_adam', found 'adamax'"),
        ({"loss_type": "BCE"}, "loss_type: expected 'CE', 'BPR', 'SSM', 'gBCE', 'BPRmax' or 'TOP1max', found 'BCE'"),
        ({"sparse_updates": "often"}, "sparse_updates: expected 'auto', True or False, found 'often'"),
        ({"gbce_t": 1.5}, "gbce_t: expected a number less than or equal to 1, found 1.5"),
        ({"pooling_type": "min"}, "pooling_type: expected 'average' or 'max', found 'min'"),
        ({"reg_weight": 0.1}, "reg_weight: expected a list, found 0.1"),
        ({"reg_weight": [0.1]}, "reg_weight.1: expected a value, found none"),
        ({"reg_weight": [1, 2, 3]}, "reg_weight: expected at most 2 of them, found [1, 2, 3]"),
        ({"reg_weight": [-1, 0]}, "reg_weight.0: expected a number greater than or equal to 0, found -1"),
        ({"topk": []}, "topk: expected at least 1 of them, found []"),
        ({"topk": [5, 0]}, "topk.1: expected a number greater than or equal to 1, found 0"),
        ({"field_separator": "::"}, "field_separator: expected text of at most 1 characters, found '::'"),
        ({"clip_grad_norm": 5}, "clip_grad_norm: expected a dictionary, found 5"),
        ({"clip_grad_norm": {"norm_type": 2}}, "clip_grad_norm.max_norm: expected a value, found none"),
        ({"train_neg_sample_args": {"dynamic": True}}, "train_neg_sample_args: dynamic needs candidate_num of at least 1"),
        (
            {"train_neg_sample_args": {"number": 3}},
            "train_neg_sample_args.number: there is no such setting; `gaterec settings train_neg_sample_args` lists them",
        ),
        ({"load_col": {"intr": ["a"]}}, "load_col.intr: expected 'inter', 'user' or 'item', found 'intr'"),
        ({"load_col": {"inter": "user_id"}}, "load_col.inter: expected a list, found 'user_id'; write ['user_id']"),
        ({"user_inter_num_interval": "[5,2]"}, "user_inter_num_interval: expected an interval from low to high, found '[5,2]'"),
        (
            {"val_interval": {"kind": "buy"}},
            "val_interval: kind: expected an interval such as '[5,inf)', found 'buy'; for text write a list: ['buy']",
        ),
        (
            {"val_interval": {"rating": 4}},
            "val_interval: rating: expected an interval such as '[5,inf)' for numbers, or a list such as ['buy'] for text, found 4",
        ),
        (
            {"val_interval": {"rating": []}},
            "val_interval: rating: expected an interval such as '[5,inf)' for numbers, or a list such as ['buy'] for text, found []",
        ),
        (
            {"val_interval": {"rating": [[1, 2], [4, 5]]}},
            "val_interval: rating: expected an interval such as '[5,inf)' for numbers, or a list such as ['buy'] for text, found [[1, 2], [4, 5]]",
        ),
        ({"val_interval": {"rating": "[5,3]"}}, "val_interval: rating: expected an interval from low to high, found '[5,3]'"),
        ({"val_interval": [3, 5]}, "val_interval: expected a dictionary, found [3, 5]"),
        (
            {"user_inter_num_interval": [9, 10, 12]},
            "user_inter_num_interval: expected an interval such as '[5,inf)' or '[9,12]', found [9, 10, 12]",
        ),
        (
            {"item_inter_num_interval": 5},
            "item_inter_num_interval: expected an interval such as '[5,inf)' or '[9,12]', found 5; '[5,inf)' means at least 5",
        ),
        (
            {"item_inter_num_interval": [10**400, 1]},
            f"item_inter_num_interval: expected an interval such as '[5,inf)' or '[9,12]', found {str([10**400, 1])[:77]}...",
        ),
        ({"rm_dup_inter": "middle"}, "rm_dup_inter: expected 'first' or 'last', found 'middle'"),
        ({"valid_metric": "NDCG"}, "valid_metric: expected a cutoff, as in NDCG@10, found 'NDCG'"),
        ({"valid_metric": "GAUC@3"}, "valid_metric: GAUC is a metric of the whole ranking and takes no @3"),
    ],
)
def test_values_out_of_range(chosen: dict[str, Any], message: str) -> None:
    assert refusal(config_dict=chosen) == f"config_dict: {message}"


@pytest.mark.parametrize(
    ("chosen", "line"),
    [
        ({"negatives_may_be_own": False}, "negatives_may_be_own: {} draws its negatives once for all targets of a step"),
        (
            {"train_neg_sample_args": {"dynamic": True, "candidate_num": 2}},
            "train_neg_sample_args.dynamic: {} draws its negatives once for all targets of a step",
        ),
    ],
)
@pytest.mark.parametrize("loss", ["SSM", "gBCE", "BPRmax", "TOP1max"])
def test_what_shared_negatives_can_not_do(loss: str, chosen: dict[str, Any], line: str) -> None:
    assert refusal(config_dict={"loss_type": loss, **chosen}).startswith(f"config_dict: {line.format(loss)}")
    resolved(config_dict={"loss_type": "BPR", **chosen})


@pytest.mark.parametrize(("loss", "usual"), [("BPR", 1), ("SSM", 1024), ("gBCE", 256), ("BPRmax", 2048), ("TOP1max", 2048)])
@pytest.mark.parametrize("given", [None, {"distribution": "popularity"}, {"sample_num": 7}])
def test_sample_num_is_the_losses_own_unless_it_is_given(loss: str, usual: int, given: dict[str, Any] | None) -> None:
    found = resolved(config_dict={"loss_type": loss, "train_neg_sample_args": given})
    assert found.negatives.sample_num == (7 if given and "sample_num" in given else usual)
    assert resolved(config_dict=found.as_dict()).negatives == found.negatives


@pytest.mark.parametrize(("text", "value"), [("auto", "auto"), ("true", True), ("False", False)])
def test_sparse_updates_from_the_command_line(text: str, value: object) -> None:
    assert resolved(flags=parse_flags([f"--sparse_updates={text}"])).sparse_updates is value


def test_the_source_is_named(tmp_path: Path) -> None:
    file = config(tmp_path, "a.yaml", "epochs: -1\n")
    assert refusal(config_files=[file]).startswith(f"{file}:1: epochs: ")
    assert refusal(config_files=[file], flags={"epochs": -2}).startswith("command line: epochs: ")


def test_several_mistakes_are_told_together() -> None:
    assert refusal(config_dict={"epochs": -1}, flags={"seed": -1}).splitlines() == [
        "config_dict: epochs: expected a number greater than or equal to 0, found -1",
        "command line: seed: expected a number greater than or equal to 0, found -1",
    ]


def test_load_and_unload_of_the_same_file() -> None:
    assert "both speak of inter" in refusal(config_dict={"load_col": {"inter": ["user_id"]}, "unload_col": {"inter": ["x"]}})


def test_what_is_found_is_cut_short() -> None:
    assert len(refusal(config_dict={"epochs": "x" * 10_000})) < 300


# -- eval_args --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "split", "group_by", "order", "mode"),
    [
        ({}, {"LS": "valid_and_test"}, "user", "TO", ("full", "full")),
        ({"split": {"LS": "test_only"}}, {"LS": "test_only"}, "user", "TO", ("full", "full")),
        ({"split": {"RS": [8, 1, 1]}, "order": "RO"}, {"RS": [8.0, 1.0, 1.0]}, "user", "RO", ("full", "full")),
        ({"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "none"}, {"RS": [0.8, 0.1, 0.1]}, None, "TO", ("full", "full")),
        ({"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": None}, {"RS": [0.8, 0.1, 0.1]}, None, "TO", ("full", "full")),
        ({"split": {"TS": [0.8, 0.1, 0.1]}}, {"TS": [0.8, 0.1, 0.1]}, "user", "TO", ("full", "full")),
        ({"mode": "uni100"}, {"LS": "valid_and_test"}, "user", "TO", ("uni100", "uni100")),
        ({"mode": {"valid": "uni10", "test": "full"}}, {"LS": "valid_and_test"}, "user", "TO", ("uni10", "full")),
        ({"mode": {"valid": "pop5"}}, {"LS": "valid_and_test"}, "user", "TO", ("pop5", "full")),
    ],
)
def test_eval_args(written: dict[str, Any], split: object, group_by: object, order: str, mode: tuple[str, str]) -> None:
    found = resolved(config_dict={"eval_args": written}).eval_args
    assert (found.split, found.group_by, found.order, (found.mode["valid"], found.mode["test"])) == (split, group_by, order, mode)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (3, ": expected a dictionary, found 3"),
        ({"splt": {}}, ".splt: there is no such setting; `gaterec settings eval_args` lists them"),
        ({"split": {"XX": 1}}, ".split.XX: expected 'LS', 'RS' or 'TS', found 'XX'"),
        ({"split": {"LS": "both"}}, ".split: LS: expected valid_and_test, valid_only or test_only, found 'both'"),
        ({"split": {"LS": "test_only", "RS": [8, 1, 1]}}, ".split: expected exactly one of LS, RS, TS"),
        ({"split": {}}, ".split: expected exactly one of LS, RS, TS"),
        ({"split": {"RS": [8, 1]}}, ".split: RS: expected three shares"),
        ({"split": {"RS": [0, 1, 1]}}, ".split: RS: expected three shares"),
        ({"split": {"RS": [8, -1, 1]}}, ".split: RS: expected three shares"),
        ({"split": {"RS": "811"}}, ".split: RS: expected three shares"),
        ({"order": "XX"}, ".order: expected 'TO' or 'RO', found 'XX'"),
        ({"mode": "uni"}, ".mode: expected full, uniN or popN (say uni100), found 'uni'"),
        ({"mode": "uni0"}, ".mode: expected full, uniN or popN (say uni100), found 'uni0'"),
        ({"mode": "labeled"}, ".mode: labeled: every event is a choice here"),
        ({"mode": {"tset": "full"}}, ".mode.tset: expected 'valid' or 'test', found 'tset'"),
        ({"target": "some"}, ".target: expected 'next' or 'all', found 'some'"),
        ({"group_by": None}, ": group_by none goes with split RS"),
        ({"order": "RO", "split": {"TS": [8, 1, 1]}}, ": order RO has no moments to cut at"),
    ],
)
def test_eval_args_that_are_refused(written: Any, message: str) -> None:
    assert refusal(config_dict={"eval_args": written}).startswith(f"config_dict: eval_args{message}")


# -- names in any case ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS.values())
def test_metrics_in_any_case(name: str) -> None:
    for spelt in (name, name.lower(), name.upper()):
        assert resolved(config_dict={"metrics": [spelt]}).metrics == [name]
        assert resolved(config_dict={"metrics": spelt}).metrics == [name]


@pytest.mark.parametrize(("spelt", "known"), [("ndcg@10", "NDCG@10"), ("HIT@5", "Hit@5"), ("gauc", "GAUC"), ("giniindex@3", "GiniIndex@3")])
def test_valid_metric_in_any_case(spelt: str, known: str) -> None:
    assert resolved(config_dict={"valid_metric": spelt}).valid_metric == known


@pytest.mark.parametrize("name", ["ndcg@0", "ndcg@", "ndcg@-1", "ndcg@x", "ndcg@1.5", "@10", ""])
def test_no_metrics(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown metric|expected a cutoff"):
        split_metric(name)


def test_other_words_that_recbole_takes_in_any_case() -> None:
    found = resolved(config_dict={"learner": "Adam", "state": "info"})
    assert (found.learner, found.state) == ("adam", "INFO")


def test_lists_of_one_may_be_written_without_brackets() -> None:
    assert resolved(config_dict={"topk": 5}).topk == [5]


@pytest.mark.parametrize("word", ["None", "none", "~", "", None])
def test_words_for_nothing(word: str | None) -> None:
    chosen = {
        "rm_dup_inter": word,
        "clip_grad_norm": word,
        "train_neg_sample_args": word,
        "val_interval": word,
        "user_inter_num_interval": word,
    }
    found = resolved(config_dict=chosen)
    assert [getattr(found, name) for name in chosen] == [None] * len(chosen)


def test_recboles_long_way_to_ask_for_no_negatives() -> None:
    assert resolved(config_dict={"train_neg_sample_args": {"distribution": "none", "sample_num": "none"}}).train_neg_sample_args is None


# -- intervals --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [("[5,inf)", [5, 1e300], [4]), ("(5,7]", [6, 7], [5, 8]), ("(-inf,3)", [-9, 2.9], [3]), ("[1,2];(4,5]", [1, 2, 5], [3, 4, 6])],
)
def test_intervals(text: str, inside: list[float], outside: list[float]) -> None:
    intervals = parse_intervals(text)
    assert all(any(number in interval for interval in intervals) for number in inside)
    assert not any(number in interval for interval in intervals for number in outside)


@pytest.mark.parametrize("text", ["", "5", "[5,", "[5]", "[a,b]", "[nan,1]", "[2,1]", "[1,2],[3,4]", "[1,2];", "(5,5]", "[5,5)"])
def test_no_intervals(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_intervals(text)


@pytest.mark.parametrize("name", ["user_inter_num_interval", "item_inter_num_interval"])
@pytest.mark.parametrize(
    ("written", "text"),
    [("[9,12]", "[9,12]"), ("(8,12]", "(8,12]"), ("[9,inf)", "[9,inf)"), ("[1,2];[9,12]", "[1,2];[9,12]"), ("(8,12)", "(8,12)")],
)
def test_an_interval_of_counts_is_the_same_from_flags_files_and_dictionaries(tmp_path: Path, name: str, written: str, text: str) -> None:
    found = [
        resolved(flags=parse_flags([f"--{name}={written}"])),
        resolved(flags=parse_flags([f"--{name}='{written}'"])),
        resolved(config_dict={name: written}),
        resolved(config_files=[config(tmp_path, "a.yaml", f"{name}: '{written}'\n")]),
    ]
    assert [parse_intervals(getattr(one, name)) for one in found] == [parse_intervals(text)] * 4


def test_lists_of_two_counts_are_closed_intervals_and_tuples_open_ones(tmp_path: Path) -> None:
    file = config(tmp_path, "a.yaml", "user_inter_num_interval: [9, 12]\nitem_inter_num_interval: [9, .inf]\n")
    found = resolved(config_files=[file])
    assert (found.user_inter_num_interval, found.item_inter_num_interval) == ("[9,12]", "[9,inf]")
    found = resolved(config_dict={"user_inter_num_interval": [9, 12], "item_inter_num_interval": (8, 12)})
    assert (found.user_inter_num_interval, found.item_inter_num_interval) == ("[9,12]", "(8,12)")


def test_lists_of_values_keep_their_types_and_dates_become_text(tmp_path: Path) -> None:
    file = config(tmp_path, "a.yaml", "val_interval: {rating: [3, 5], kind: [buy], day: [2024-01-02], weight: [4, .inf]}\n")
    found = resolved(config_files=[file])
    assert found.val_interval == {"rating": [3, 5], "kind": ["buy"], "day": ["2024-01-02"], "weight": "[4,inf]"}
    assert resolved(config_dict=found.as_dict()) == found
    assert resolved(config_dict={"val_interval": {"rating": (3, 5)}}).val_interval == {"rating": "(3,5)"}


@pytest.mark.parametrize(("metric", "bigger"), [("MRR@10", True), ("GiniIndex@10", False), ("averagepopularity@5", False)])
def test_the_direction_is_the_metrics_own_and_a_contradiction_is_refused(metric: str, bigger: bool) -> None:
    assert resolved(config_dict={"valid_metric": metric}).valid_metric_bigger is bigger
    assert resolved(config_dict={"valid_metric": metric, "valid_metric_bigger": bigger}).valid_metric_bigger is bigger
    line = refusal(config_dict={"valid_metric": metric, "valid_metric_bigger": not bigger})
    assert line.startswith(f"config_dict: valid_metric_bigger: expected {str(bigger).lower()}, as ")
