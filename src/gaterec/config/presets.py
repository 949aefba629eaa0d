"""Settings under one name: recipes (a model and how to train it) and protocols (what is held out and how it is judged).

Each is a YAML file, recipes/NAME.yaml or protocols/NAME.yaml, whose first comment line says what it is. Whatever else says a setting wins over them.
To add one: a file there.
"""

from importlib.resources import files
from typing import Any, Literal, NamedTuple

import yaml

from gaterec.errors import SettingsError, nearest

Kind = Literal["recipe", "protocol"]
KINDS: tuple[Kind, ...] = ("protocol", "recipe")
"""In the order of their precedence: a recipe wins over a protocol."""


class Preset(NamedTuple):
    """What a name stands for.

    Attributes:
        meaning: what it is, in one line.
        settings: name -> value.
    """

    meaning: str
    settings: dict[str, Any]


def bundles(kind: Kind) -> dict[str, Preset]:
    """All recipes, or all protocols, by name."""
    found = sorted(files("gaterec.config").joinpath(f"{kind}s").iterdir(), key=lambda file: file.name.removesuffix(".yaml"))
    texts = {file.name.removesuffix(".yaml"): file.read_text(encoding="utf-8") for file in found if file.name.endswith(".yaml")}
    return {name: Preset(text.splitlines()[0].lstrip("# "), yaml.safe_load(text)) for name, text in texts.items()}


def bundle(kind: Kind, name: str) -> Preset:
    """The recipe or protocol of that name.

    Raises:
        SettingsError: there is none; names the nearest.
    """
    known = bundles(kind)
    if name not in known:
        raise SettingsError(f"{kind}: there is no {kind} {name[:80]!r}; {nearest(name, known)}")
    return known[name]
