"""The table of settings: complete, and told of a misspelt name."""

import pytest

from gaterec.cli.settings_table import GROUPS, rows_for, rows_of
from gaterec.config.settings import Settings
from gaterec.errors import SettingsError
from gaterec.models import MODELS, model_class


def test_every_setting_has_a_row_with_a_meaning() -> None:
    rows = rows_for(None)
    names = [name for name, *_ in rows]
    assert len(set(names)) == len(names)
    assert {name for name in names if "." not in name} == set(Settings.model_fields) - {"model_settings"}
    assert all(kind not in ("", "any") and default and meaning for _, kind, default, meaning in rows)


def test_a_setting_stands_in_one_group() -> None:
    names = [name for section in GROUPS.values() for name in section.model_fields]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("model", MODELS)
def test_a_models_own_settings(model: str) -> None:
    rows = rows_for(model)
    assert [name for name, *_ in rows] == list(model_class(model).Settings.model_fields)
    assert all(meaning for *_, meaning in rows)


@pytest.mark.parametrize(
    "row",
    [
        ("epochs", "whole number", "300", "passes over the training events, at most"),
        ("learning_rate", "number", "0.001", "its step size"),
        ("use_gpu", "true | false", "True", "use CUDA when it is there"),
        (
            "sparse_updates",
            "auto | true | false",
            "'auto'",
            "adam moves only the rows of the tables that a step touches, as sparse_adam does; auto: where a step touches less than a tenth of a table of more than 200,000 rows",
        ),
        ("topk", "list of whole number", "[10]", "at which cutoffs"),
        ("reg_weight", "list of number", "[0.0, 0.0]", "weight of the L2 norms of the gates' weights, and of the embeddings in the batch"),
    ],
)
def test_rows(row: tuple[str, str, str, str]) -> None:
    assert row in rows_for(row[0])


def test_dictionaries_come_with_their_parts() -> None:
    names = [name for name, *_ in rows_for("eval_args")]
    assert names == ["eval_args", *(f"eval_args.{part}" for part in ("split", "group_by", "order", "mode", "target"))]
    assert rows_for("eval_args.order")[0][1:3] == ("TO | RO", "'TO'")
    assert {name: default for name, _, default, _ in rows_for("clip_grad_norm")}["clip_grad_norm.max_norm"] == "must be given"
    assert [row[0] for row in rows_of(GROUPS["Training"]) if row[0].startswith("clip_grad_norm")] == [
        "clip_grad_norm",
        "clip_grad_norm.max_norm",
        "clip_grad_norm.norm_type",
    ]


def test_misspelt_names() -> None:
    with pytest.raises(SettingsError, match="no model or setting 'epoch'; did you mean epochs"):
        rows_for("epoch")
    with pytest.raises(SettingsError, match="`gaterec settings` lists them all"):
        rows_for("xyzzyq")
