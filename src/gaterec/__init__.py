"""gaterec: sequential recommendation. Train HGN on your own log, know how good it is, and keep a folder that serves and explains.

import gaterec
result = gaterec.run(model="HGN", dataset="ml-100k")
print(result["test_result"])
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gaterec._version import __version__

__all__ = ["GaterecError", "__version__", "compare", "load", "prepare", "run", "tune"]

if TYPE_CHECKING:
    from gaterec.errors import GaterecError
    from gaterec.experiments.compare.compare import compare
    from gaterec.experiments.run import prepare_folder as prepare
    from gaterec.experiments.run import run
    from gaterec.experiments.tune.tune import tune
    from gaterec.inference.recommender import load

_PUBLIC = {
    "run": ("gaterec.experiments.run", "run"),
    "compare": ("gaterec.experiments.compare.compare", "compare"),
    "tune": ("gaterec.experiments.tune.tune", "tune"),
    "prepare": ("gaterec.experiments.run", "prepare_folder"),
    "load": ("gaterec.inference.recommender", "load"),
    "GaterecError": ("gaterec.errors", "GaterecError"),
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that `gaterec --help` need not wait for PyTorch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gaterec' has no attribute {name!r}")
    import importlib

    module, attribute = _PUBLIC[name]
    return getattr(importlib.import_module(module), attribute)


class _Package(ModuleType):
    """Python binds an imported submodule to its name in the package; where a function has that name, the function is what people mean."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _PUBLIC or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
