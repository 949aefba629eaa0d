"""What is compared: entries such as `HGN`, `hgn-paper` or `HGN(loss_type=BPR,feature_gate=False)`, each resolved to the settings of a run.

Shared settings hold for every entry that has them. Everything that decides what is asked and how answers are judged must be the same for all
entries, or the figures could not stand in one table. All is checked here, before anything is read.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gaterec.config.presets import bundles
from gaterec.config.resolve import SettingsFile, Source, read_value, resolve_sources
from gaterec.config.section import Section
from gaterec.config.settings import Evaluation, Settings
from gaterec.data.prepared import FIXED
from gaterec.errors import SettingsError, nearest, short
from gaterec.models import MODELS, model_class

COMMON = frozenset({*Evaluation.model_fields, *FIXED, "dataset", "data_path"}) - {"eval_batch_size", "metric_decimal_place"}
"""Settings that no entry may have for itself."""
OF_THE_COMPARISON = {
    "seed": "give --seed and --seeds",
    "checkpoint_dir": "give --out",
    "state": "give --state",
    "model": "write the model's name",
}
"""Settings that have no place in an entry's brackets, and what to do instead."""

ABLATION: tuple[dict[str, Any], ...] = (
    {"feature_gate": False},
    {"instance_gate": False},
    {"feature_gate": False, "instance_gate": False},
    {"item_item": False},
    {"user_term": False},
    {"pooling_type": "average"},
    {"pooling_type": "max"},
)
"""What the ablation takes away from HGN, one after the other (the paper's Table 4), and both ways of pooling."""


@dataclass(frozen=True)
class Entry:
    """One line of the comparison.

    Attributes:
        label: as it was written; its name everywhere.
        settings: of its runs, but for the seed.
    """

    label: str
    settings: Settings


def parse_entries(text: str | Iterable[str] | Mapping[str, str]) -> list[tuple[str, str, dict[str, Any]]]:
    """Label, name and own settings of every entry; commas inside brackets separate settings. A dictionary gives entries labels of their own.

    >>> parse_entries("Pop, HGN(loss_type=BPR,topk=[5,10])")
    [('Pop', 'Pop', {}), ('HGN(loss_type=BPR,topk=[5,10])', 'HGN', {'loss_type': 'BPR', 'topk': [5, 10]})]
    >>> parse_entries({"ours": "HGN(loss_type=BPR)"})
    [('ours', 'HGN', {'loss_type': 'BPR'})]

    Raises:
        SettingsError: an entry can't be read, or there are none.
    """
    if isinstance(text, Mapping):
        return [(str(label), *_parsed(str(entry))[1:]) for label, entry in text.items()]
    labels = [label.strip() for part in ([text] if isinstance(text, str) else text) for label in _parted(str(part))]
    labels = [label for label in labels if label]
    if not labels:
        raise SettingsError("models: expected names separated by commas, such as HGN,Pop; found none")
    return [_parsed(label) for label in labels]


def resolve_entries(
    models: str | Iterable[str] | Mapping[str, str], shared: Sequence[Source], dataset: str | None, *, ablation: bool = False
) -> tuple[list[Entry], list[str]]:
    """The entries with their settings, and notes about what was left out.

    Args:
        models: see parse_entries.
        shared: settings for all entries, by source, a later one winning.
        dataset: its name; wins over every other source.
        ablation: put behind each HGN the same without each of its parts.

    Raises:
        SettingsError: names the entry, the setting, what was expected and what was found.
    """
    parsed = parse_entries(models)
    own = {label: _model_of(label, name) for label, name, _ in parsed}
    if ablation:
        if "HGN" not in {model for model, _ in own.values()}:
            raise SettingsError("ablation: takes parts of HGN away, and no entry is one; add HGN to --models")
        parsed = [line for entry in parsed for line in (_without_parts(entry) if own[entry[0]][0] == "HGN" else [entry])]
        own = {label: _model_of(label, name) for label, name, _ in parsed}
    classes = {label: model_class(model).Settings for label, (model, _) in own.items()}
    entries: dict[str, Entry] = {}
    notes: list[str] = []
    same: dict[str, str] = {}
    for label, _, chosen in parsed:
        if label in entries:
            notes.append(f"{label}: is there twice; compared once")
            continue
        for name in chosen:
            if name in COMMON or name in OF_THE_COMPARISON:
                instead = OF_THE_COMPARISON.get(name, f"give --{name}=... for all")
                raise SettingsError(f"{label}: {name}: must be the same for all entries; {instead}")
        fitting = [(source, _fitting(content, classes[label], classes.values())) for source, content in shared]
        arguments = {**own[label][1], **({} if dataset is None else {"dataset": dataset})}
        try:
            settings = resolve_sources(
                lambda kind: model_class(kind).Settings, [*fitting, (label, chosen), ("arguments", arguments)], MODELS
            )
        except SettingsError as error:
            raise SettingsError(str(error) if label in str(error) else f"{label}: {error}") from None
        dropped = [name for _, content in shared for name in content if name not in {n for _, part in fitting for n in part}]
        notes += [f"{label}: has no {name}, which holds for the others alone" for name in dict.fromkeys(dropped)]
        twin = same.setdefault(str(sorted(settings.as_dict().items())), label)
        if twin == label:
            entries[label] = Entry(label, settings)
        else:
            notes.append(f"{label}: has the settings of {twin}; compared once")
    _check_common(list(entries.values()))
    return list(entries.values()), notes


def _parted(text: str) -> list[str]:
    """Text cut at its commas, but for those inside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _parsed(label: str) -> tuple[str, str, dict[str, Any]]:
    found = re.fullmatch(r"([^()\s]+)\s*(?:\((.*)\))?", label, re.DOTALL)
    if found is None:
        raise SettingsError(f"models: expected NAME or NAME(setting=value,...), found {label!r}")
    chosen: dict[str, Any] = {}
    for part in filter(str.strip, _parted(found[2] or "")):
        name, equals, value = part.partition("=")
        if not equals:
            raise SettingsError(f"{label}: expected setting=value in the brackets, found {part.strip()!r}")
        name, value = name.strip(), read_value(name.strip(), value)
        if name in chosen and chosen[name] != value:
            raise SettingsError(f"{label}: {name} is there twice, with {short(chosen[name])} and with {short(value)}; leave one out")
        chosen[name] = value
    return label, found[1], chosen


def _model_of(label: str, name: str) -> tuple[str, dict[str, Any]]:
    """The model that a name means, directly or through a recipe, and the settings that say so."""
    recipes = bundles("recipe")
    if name in recipes:
        model = str(recipes[name].settings.get("model", "HGN"))
        return model, {"model": model, "recipe": name}
    if name in MODELS:
        return name, {"model": name}
    where = "" if name == label else f"{label}: "
    raise SettingsError(f"models: {where}there is no model or recipe {name!r}; {nearest(name, (*MODELS, *recipes))}")


def _without_parts(entry: tuple[str, str, dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    """An HGN, and the same without each of its parts."""
    _, name, chosen = entry
    lines = [entry]
    for change in ABLATION:
        together = {**chosen, **change}
        lines.append((f"{name}({','.join(f'{setting}={value}' for setting, value in together.items())})", name, together))
    return lines


def _fitting(content: Mapping[str, Any], own: type[Section], all_own: Iterable[type[Section]]) -> Mapping[str, Any]:
    """Of shared settings those that a model has: not another's own, and no loss for a model that is counted. What nobody has stays, to be refused."""
    others = {name for section in all_own for name in section.model_fields} - set(own.model_fields) - set(Settings.model_fields)
    kept = [name for name in content if name not in others and (own.trained or name != "loss_type")]
    return content.only(kept) if isinstance(content, SettingsFile) else {name: content[name] for name in kept}


def _check_common(entries: Sequence[Entry]) -> None:
    first = entries[0]
    for entry in entries:
        for name in sorted(COMMON):
            ours, theirs = getattr(first.settings, name), getattr(entry.settings, name)
            if ours != theirs:
                raise SettingsError(
                    f"{entry.label}: {name}: must be the same for all entries, found {theirs!r}, but {ours!r} for {first.label}; give --{name} for all"
                )
    if first.settings.eval_args.order != "TO":
        raise SettingsError(
            "eval_args.order: the models of a comparison share a log that is put in order of time (TO) once, found RO, "
            "which draws another order with every seed"
        )
