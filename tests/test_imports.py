"""Optional packages are imported only where they are used, and nothing unsafe is imported at all (read from the source, so nothing is run).

The order of the packages is checked by import-linter in `make lint` (see pyproject.toml).
"""

import ast
import sys
from pathlib import Path

import pytest

import gaterec

ROOT = Path(gaterec.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
OPTIONAL = {
    "pandas",
    "pyarrow",
    "wandb",
    "tensorboard",
    "vl_convert",
    "optuna",
    "sqlalchemy",
    "psycopg",
    "ray",
    "faiss",
    "fastapi",
    "fastapi_offline",
    "h11",
    "httptools",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "starlette",
    "uvicorn",
    "uvloop",
    "prometheus_client",
}
SERVING = {"fastapi", "fastapi_offline", "starlette", "uvicorn", "prometheus_client", "h11"}
TORCH_ALONE = ["training.losses", "evaluation.metrics", "kernels"]


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path, top_level_only: bool = False) -> set[str]:
    """Full names of all that a file imports: modules, and the names taken from them (which may be modules too)."""
    found: set[str] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in _outside_functions(tree) if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are written in full"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _outside_functions(tree: ast.AST) -> list[ast.AST]:
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found


def test_imported_finds_imports_outside_and_inside_functions(tmp_path: Path) -> None:
    source = "import a.b\nfrom c import d\nif True:\n    import e\nclass C:\n    import f\ndef g():\n    import h\n    from i.j import k\n"
    file = tmp_path / "x.py"
    file.write_text(source)
    assert imported(file, top_level_only=True) == {"a.b", "c", "c.d", "e", "f"}
    assert imported(file) == {"a.b", "c", "c.d", "e", "f", "h", "i.j", "i.j.k"}


@pytest.mark.parametrize("name", TORCH_ALONE)
def test_pure_functions_import_torch_and_numpy_alone(name: str) -> None:
    files = [file for file in FILES if module_name(file) == f"gaterec.{name}" or module_name(file).startswith(f"gaterec.{name}.")]
    assert files
    for file in files:
        for full in imported(file):
            top = full.split(".")[0]
            own = full == "gaterec" or full.startswith(
                (f"gaterec.{name}", "gaterec.kernels", "gaterec.config.loss_names", "gaterec.config.metric_names")
            )
            assert top in {"torch", "numpy"} or top in sys.stdlib_module_names or own, f"{module_name(file)} imports {full}"


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_optional_packages_are_imported_where_they_are_used(file: Path) -> None:
    at_import = {full.split(".")[0] for full in imported(file, top_level_only=True)}
    serving = module_name(file).startswith("gaterec.serve.")  # imported when `gaterec serve` runs and has found the extra
    assert not at_import & (OPTIONAL - SERVING if serving else OPTIONAL)
    assert "torch.utils.tensorboard" not in imported(file, top_level_only=True)


def test_the_command_line_imports_nothing_heavy_before_a_command_runs() -> None:
    files = (ROOT / "cli" / "app.py", ROOT / "cli" / "__init__.py", ROOT / "__init__.py", ROOT / "__main__.py", ROOT / "errors.py")
    at_import = {full.split(".")[0] for file in files for full in imported(file, True)}
    assert not at_import & {"torch", "polars", "numpy", "pydantic", "yaml"}


def test_pickle_and_eval_are_nowhere() -> None:
    for file in FILES:
        names = imported(file)
        assert not {"pickle", "marshal", "shelve", "dill", "joblib"} & {full.split(".")[0] for full in names}, file
        calls = [node.func for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        assert not {call.id for call in calls if isinstance(call, ast.Name)} & {"eval", "exec", "__import__"}, file
