"""Recipes and protocols: each is whole, says what it is, and holds only settings that there are."""

import pytest

from gaterec.config.presets import KINDS, Kind, bundle, bundles
from gaterec.config.resolve import resolve
from gaterec.config.settings import Evaluation, Settings
from gaterec.errors import SettingsError
from gaterec.models import model_class

EACH = [(kind, name) for kind in KINDS for name in bundles(kind)]


@pytest.mark.parametrize(("kind", "name"), EACH)
def test_each_says_what_it_is_and_can_be_run(kind: Kind, name: str) -> None:
    found = bundle(kind, name)
    assert len(found.meaning) > 40
    settings = resolve(lambda model: model_class(model).Settings, config_dict={kind: name})
    assert getattr(settings, kind) == name
    plain = resolve(lambda model: model_class(model).Settings, config_dict=found.settings).as_dict()
    assert {key: value for key, value in settings.as_dict().items() if key != kind} == {k: v for k, v in plain.items() if k != kind}


@pytest.mark.parametrize("name", bundles("protocol"))
def test_protocols_judge_and_train_nothing(name: str) -> None:
    assert set(bundle("protocol", name).settings) <= set(Evaluation.model_fields)


@pytest.mark.parametrize("name", bundles("recipe"))
def test_recipes_name_a_model_and_judge_nothing(name: str) -> None:
    content = bundle("recipe", name).settings
    own = model_class(content["model"]).Settings
    assert not set(content) & set(Evaluation.model_fields)
    assert set(content) <= {*Settings.model_fields, *own.model_fields}


@pytest.mark.parametrize(
    ("kind", "wrong", "line"),
    [
        ("recipe", "hgn-papr", "recipe: there is no recipe 'hgn-papr'; did you mean hgn-paper?"),
        ("protocol", "RecBole", "protocol: there is no protocol 'RecBole'; did you mean recbole?"),
        ("protocol", "xyzzy", "protocol: there is no protocol 'xyzzy'; known: paper, recbole, recbole-general, temporal"),
    ],
)
def test_names_that_are_none(kind: Kind, wrong: str, line: str) -> None:
    with pytest.raises(SettingsError) as found:
        bundle(kind, wrong)
    assert str(found.value) == line
