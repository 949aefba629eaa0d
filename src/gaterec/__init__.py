"""gaterec: sequential recommendation. Train HGN on your own log, know how good it is, and keep a folder that serves and explains.

import gaterec
result = gaterec.run(model="HGN", dataset="ml-100k")
print(result["test_result"])
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["GaterecError", "load", "run"]

if TYPE_CHECKING:
    from gaterec.checkpoint import load_run as load
    from gaterec.errors import GaterecError
    from gaterec.run import run

_PUBLIC = {"run": ("gaterec.run", "run"), "load": ("gaterec.checkpoint", "load_run"), "GaterecError": ("gaterec.errors", "GaterecError")}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that `gaterec --help` need not wait for PyTorch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gaterec' has no attribute {name!r}")
    import importlib

    module, attribute = _PUBLIC[name]
    return getattr(importlib.import_module(module), attribute)
