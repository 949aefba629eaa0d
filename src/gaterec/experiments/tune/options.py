"""How a search goes about it: all that `gaterec tune` takes and that is no setting of a run."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from gaterec.config.section import Section
from gaterec.config.settings import none_word

Against = Literal["training_time", "recommendation_time"]
COSTS: dict[Against, str] = {
    "training_time": "seconds of training",
    "recommendation_time": "seconds for 1,000 recommendations",
}
"""What may be weighed against quality, in words."""
TOOLS = {"hyperopt": "local", "local": "local", "ray": "Ray"}
"""The tools by the names that people may write, RecBole's among them: its Hyperopt is what runs on this machine."""


def _tool(value: Any) -> Any:
    return TOOLS.get(value.lower(), value) if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class TuneOptions(Section):
    """How to search."""

    trials: int | None = Field(None, ge=1, le=1_000_000, description="how many trials at most; all points of a grid, else 100, by default")
    sampler: Annotated[Literal["grid", "random", "tpe"] | None, BeforeValidator(_lower)] = Field(
        None, description="what chooses the points; grid where the space is finite, else tpe, by default"
    )
    pruner: Annotated[Literal["none", "median", "hyperband"], BeforeValidator(_lower)] = Field(
        "none", description="what ends hopeless trials by their validation curve"
    )
    against: Annotated[Against | None, BeforeValidator(none_word)] = Field(None, description="what is weighed against quality, if anything")
    early_stop: int | None = Field(None, ge=1, description="end the search after so many trials without a better one; never by default")
    workers: int | None = Field(None, ge=1, le=1024, description="trials at a time; one here, as many as fit on a cluster, by default")
    tool: Annotated[Literal["local", "Ray"], BeforeValidator(_tool)] = Field(
        "local", description="where trials run: this machine, or Ray's"
    )
    storage: str | None = Field(
        None, description="where trials are kept: a file, or postgresql://...; a file in the search's folder by default"
    )
    seeds: int = Field(3, ge=0, le=1000, description="how many times the winner and the defaults are trained at the end; 0 judges neither")
    yes: bool = Field(False, description="try a grid of more than 10,000 points")
    ray_address: str | None = Field(None, description="a cluster that is there: HOST:PORT, or auto; one is begun here by default")
    cpus_per_trial: float = Field(1.0, gt=0, le=4096, description="cores of a Ray worker")
    gpus_per_trial: float = Field(0.0, ge=0, le=1024, description="GPUs of a Ray worker; 0.5 lets two share one")

    @model_validator(mode="after")
    def _one_objective_for_a_pruner(self) -> "TuneOptions":
        if self.against is not None and self.pruner != "none":
            raise ValueError(f"pruner: a search with two objectives can't be pruned, found {self.pruner}; leave --pruner or --against out")
        return self
