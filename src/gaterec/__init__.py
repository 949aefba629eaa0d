"""gaterec: sequential recommendation. Train HGN on your own log, know how good it is, and keep a folder that serves and explains.

import gaterec
result = gaterec.run(model="HGN", dataset="ml-100k")
print(result["test_result"])
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["GaterecError", "compare", "load", "prepare", "run", "tune"]

if TYPE_CHECKING:
    from gaterec.compare import compare
    from gaterec.errors import GaterecError
    from gaterec.recommend import load
    from gaterec.run import prepare_folder as prepare
    from gaterec.run import run
    from gaterec.tune import tune

_PUBLIC = {
    "run": ("gaterec.run", "run"),
    "compare": ("gaterec.compare", "compare"),
    "tune": ("gaterec.tune", "tune"),
    "prepare": ("gaterec.run", "prepare_folder"),
    "load": ("gaterec.recommend", "load"),
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
