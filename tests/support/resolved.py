"""Settings resolved with the models that there are, and the line with which they are refused."""

from pathlib import Path
from typing import Any

import pytest

from gaterec.config.resolve import resolve
from gaterec.config.settings import Settings
from gaterec.errors import SettingsError
from gaterec.models import model_class


def resolved(**sources: Any) -> Settings:
    return resolve(lambda name: model_class(name).Settings, **sources)


def refusal(**sources: Any) -> str:
    """The one line with which the sources are refused."""
    with pytest.raises(SettingsError) as caught:
        resolved(**sources)
    return str(caught.value)


def config(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path
