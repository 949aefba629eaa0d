"""gaterec: sequential recommendation. Train HGN on your own log, know how good it is, and keep a folder that serves and explains.

import gaterec
result = gaterec.run(model="HGN", dataset="ml-100k")
print(result["test_result"])
"""

from typing import TYPE_CHECKING, Any

from gaterec._version import __version__

__all__ = ["Client", "GaterecError", "__version__", "compare", "load", "prepare", "run", "tune"]

if TYPE_CHECKING:
    from gaterec.errors import GaterecError
    from gaterec.experiments.compare.compare import compare
    from gaterec.experiments.run import prepare_folder as prepare
    from gaterec.experiments.run import run
    from gaterec.experiments.tune.tune import tune
    from gaterec.inference.recommender import load
    from gaterec.serve.client import Client

_PUBLIC = {
    "run": ("gaterec.experiments.run", "run"),
    "compare": ("gaterec.experiments.compare.compare", "compare"),
    "tune": ("gaterec.experiments.tune.tune", "tune"),
    "prepare": ("gaterec.experiments.run", "prepare_folder"),
    "load": ("gaterec.inference.recommender", "load"),
    "Client": ("gaterec.serve.client", "Client"),
    "GaterecError": ("gaterec.errors", "GaterecError"),
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that `gaterec --help` need not wait for PyTorch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gaterec' has no attribute {name!r}")
    import importlib

    module, attribute = _PUBLIC[name]
    return getattr(importlib.import_module(module), attribute)
