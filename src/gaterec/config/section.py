"""What every group of settings shares, the general ones (gaterec.config.settings) and a model's own (above the model in its file)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings: unknown names are errors, and values don't change after they were checked.

    Attributes:
        general: the general settings for which a model has a default of its own.
        trained: false for a model that is counted and not trained by a loss.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)

    general: ClassVar[Mapping[str, Any]] = {}
    trained: ClassVar[bool] = True
