"""What is compared: entries are read, resolved and refused before anything is trained."""

from typing import Any

import pytest

from gaterec.errors import SettingsError
from gaterec.experiments.compare.entries import ABLATION, Entry, parse_entries, resolve_entries


def entries(text: str, *, ablation: bool = False, **shared: Any) -> tuple[dict[str, Entry], list[str]]:
    found, notes = resolve_entries(text, [("command line", shared)], None, ablation=ablation)
    return {entry.label: entry for entry in found}, notes


def test_commas_inside_brackets_separate_settings() -> None:
    text = "HGN, HGN(loss_type=BPR,train_neg_sample_args={'sample_num': 2, 'distribution': 'uniform'}),Pop()"
    assert parse_entries(text) == [
        ("HGN", "HGN", {}),
        (text[5:-6], "HGN", {"loss_type": "BPR", "train_neg_sample_args": {"sample_num": 2, "distribution": "uniform"}}),
        ("Pop()", "Pop", {}),
    ]


def test_own_settings_win_over_shared_ones_and_over_a_recipe() -> None:
    found, _ = entries("HGN,HGN(epochs=3),hgn-paper,hgn-paper(embedding_size=8)", epochs=2)
    assert [entry.settings.epochs for entry in found.values()] == [2, 3, 2, 2]
    assert [entry.settings.loss_type for entry in found.values()] == ["CE", "CE", "BPR", "BPR"]
    assert [entry.settings.model_settings.embedding_size for entry in found.values()] == [64, 64, 50, 8]


def test_a_shared_setting_goes_to_those_that_have_it_and_a_note_says_so() -> None:
    found, notes = entries("HGN,Pop", loss_type="BPR", pooling_type="max", epochs=2)
    assert found["HGN"].settings.loss_type == "BPR"
    assert found["HGN"].settings.model_settings.pooling_type == "max"
    assert notes == [
        "Pop: has no loss_type, which holds for the others alone",
        "Pop: has no pooling_type, which holds for the others alone",
    ]


def test_equal_entries_are_compared_once() -> None:
    found, notes = entries("HGN,HGN,HGN(dropout=0.0)")
    assert list(found) == ["HGN"]
    assert notes == ["HGN: is there twice; compared once", "HGN(dropout=0.0): has the settings of HGN; compared once"]


def test_the_ablation_takes_each_part_away() -> None:
    found, notes = entries("HGN,Pop", ablation=True)
    assert len(found) == len(ABLATION) + 1  # average pooling is HGN's own
    assert notes == ["HGN(pooling_type=average): has the settings of HGN; compared once"]
    switches = ("feature_gate", "instance_gate", "item_item", "user_term")
    off = {tuple(name for name in switches if not getattr(e.settings.model_settings, name)) for e in found.values() if e.label != "Pop"}
    assert off == {(), ("feature_gate",), ("instance_gate",), ("feature_gate", "instance_gate"), ("item_item",), ("user_term",)}
    assert found["HGN(pooling_type=max)"].settings.model_settings.pooling_type == "max"
    of_recipe, _ = entries("hgn-paper(epochs=1)", ablation=True)
    assert of_recipe["hgn-paper(epochs=1,user_term=False)"].settings.loss_type == "BPR"


@pytest.mark.parametrize(
    ("text", "shared", "line"),
    [
        ("HGN,SASRek", {}, "there is no model or recipe 'SASRek'; did you mean SASRec?"),
        ("hgn_paper", {}, "there is no model or recipe 'hgn_paper'; did you mean hgn-paper?"),
        ("HGM(epochs=1)", {}, "HGM(epochs=1): there is no model or recipe 'HGM'; did you mean HGN?"),
        (" , ", {}, "models: expected names separated by commas, such as HGN,Pop; found none"),
        ("HGN(epochs=1", {}, "models: expected NAME or NAME(setting=value,...), found 'HGN(epochs=1'"),
        ("HGN(epochs)", {}, "HGN(epochs): expected setting=value in the brackets, found 'epochs'"),
        ("HGN(dropuot=0.1)", {}, "HGN(dropuot=0.1): dropuot: there is no such setting; did you mean dropout?"),
        ("HGN(epochs=-1)", {}, "HGN(epochs=-1): epochs: expected a number greater than or equal to 0, found -1"),
        ("HGN,Pop(loss_type=BPR)", {}, "Pop(loss_type=BPR): loss_type: Pop is counted and not trained"),
        ("HGN(repeatable=False)", {}, "HGN(repeatable=False): repeatable: must be the same for all entries; give --repeatable=... for all"),
        ("HGN(seed=1)", {}, "HGN(seed=1): seed: must be the same for all entries; give --seed and --seeds"),
        ("HGN", {"eval_args": {"order": "RO"}}, "eval_args.order: the models of a comparison share a log"),
        ("HGN,Pop", {"epochz": 3}, "command line: epochz: there is no such setting; did you mean epochs?"),
        ("HGN", {"protocol": "papre"}, "there is no protocol 'papre'; did you mean paper?"),
    ],
)
def test_mistakes_are_told_in_one_line(text: str, shared: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        entries(text, **shared)
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_ablation_needs_an_hgn() -> None:
    with pytest.raises(SettingsError, match="no entry is one; add HGN to --models"):
        entries("Pop", ablation=True)
