"""Imports run downwards only, and optional packages are imported only where they are used (read from the source, so nothing is run)."""

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
    "onnx",
    "onnxruntime",
    "onnxscript",
    "starlette",
    "uvicorn",
    "uvloop",
    "prometheus_client",
}
SERVING = {"fastapi", "fastapi_offline", "h11", "starlette", "uvicorn", "prometheus_client"}
TORCH_ALONE = ["losses", "metrics", "kernels"]


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path, top_level_only: bool = False) -> set[str]:
    """Full names of all that a file imports: modules, and what is taken out of them (which may be modules too)."""
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


def below(name: str) -> list[Path]:
    """The files of gaterec.NAME: one module, or a package."""
    return [file for file in FILES if module_name(file) == f"gaterec.{name}" or module_name(file).startswith(f"gaterec.{name}.")]


def assert_imports_none_of(name: str, forbidden: set[str]) -> None:
    files = below(name)
    assert files, f"there is no gaterec.{name}"
    for file in files:
        for full in imported(file):
            parts = full.split(".")
            assert not (parts[0] == "gaterec" and parts[1:2] and parts[1] in forbidden), f"{module_name(file)} imports {full}"


def test_the_reader_of_imports_sees_them(tmp_path: Path) -> None:
    source = "import a.b\nfrom c import d\nif True:\n    import e\nclass C:\n    import f\ndef g():\n    import h\n    from i.j import k\n"
    file = tmp_path / "x.py"
    file.write_text(source)
    assert imported(file, top_level_only=True) == {"a.b", "c", "c.d", "e", "f"}
    assert imported(file) == {"a.b", "c", "c.d", "e", "f", "h", "i.j", "i.j.k"}


UPPER = {
    "cli",
    "serve",
    "client",
    "schemas",
    "conditions",
    "diversity",
    "export",
    "fold_in",
    "index",
    "compare",
    "entries",
    "cells",
    "outcomes",
    "comparison_tables",
    "comparison_page",
    "page",
    "tune",
    "space",
    "plan",
    "study",
    "search",
    "workers",
    "ray_workers",
    "trials",
    "tuning_page",
    "tuning_tables",
    "tuning_display",
    "recommend",
    "explain",
    "explanation_picture",
    "recommend_command",
    "report",
    "recbole",
}
MIDDLE = {
    "resume",
    "costs",
    "processes",
    "train",
    "evaluate",
    "checkpoint",
    "prepare",
    "preflight",
    "run",
    "display",
    "loggers",
    "slices",
    "audit",
}


def test_models_import_neither_data_nor_settings_nor_training() -> None:
    assert_imports_none_of("models", {"data", "settings", "losses", "metrics", "sampling", "significance"} | MIDDLE | UPPER)


def test_data_never_imports_models() -> None:
    assert_imports_none_of("data", {"models", "losses", "metrics", "sampling", "significance", "kernels"} | MIDDLE | UPPER)


@pytest.mark.parametrize("name", TORCH_ALONE)
def test_torch_and_numpy_alone(name: str) -> None:
    for file in below(name):
        for full in imported(file):
            top = full.split(".")[0]
            own = full == "gaterec" or full.startswith((f"gaterec.{name}", "gaterec.kernels"))
            assert top in {"torch", "numpy"} or top in sys.stdlib_module_names or own, f"{module_name(file)} imports {full}"


@pytest.mark.parametrize("name", ["settings", "sources", "bundles", "section", "recbole_keys", "errors", "output"])
def test_the_ground_imports_nothing_above_it(name: str) -> None:
    above = {"models", "data", "losses", "metrics", "sampling", "significance", "kernels", "files", "settings_table"} | MIDDLE | UPPER
    assert_imports_none_of(name, above)


@pytest.mark.parametrize("name", ["sampling", "losses", "metrics", "significance", "kernels", "optimizers", "row_adam"])
def test_the_means_of_training_know_no_training(name: str) -> None:
    assert_imports_none_of(name, MIDDLE | UPPER)


@pytest.mark.parametrize("name", ["train", "evaluate", "checkpoint"])
def test_the_middle_imports_nothing_above_it(name: str) -> None:
    assert_imports_none_of(name, UPPER | {"run", "prepare"})


def test_the_audit_needs_no_model() -> None:
    assert_imports_none_of("audit", {"models", "losses", "metrics", "sampling", "kernels"} | (MIDDLE - {"evaluate", "audit"}) | UPPER)


def test_the_space_of_a_search_needs_no_training() -> None:
    assert_imports_none_of("space", {"models", "data", "losses", "metrics", "sampling", "kernels", "files"} | MIDDLE | (UPPER - {"space"}))


@pytest.mark.parametrize("file", [file for file in FILES if module_name(file) != "gaterec.cli.app"], ids=module_name)
def test_nothing_imports_the_command_line(file: Path) -> None:
    assert not any(full == "gaterec.cli.app" or full.startswith("gaterec.cli.app.") for full in imported(file))


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_optional_packages_are_imported_where_they_are_used(file: Path) -> None:
    at_import = {full.split(".")[0] for full in imported(file, top_level_only=True)}
    serving = module_name(file).startswith("gaterec.serve.")  # which the command imports when it runs, and after it found the extra
    assert not at_import & (OPTIONAL - SERVING if serving else OPTIONAL)
    assert "torch.utils.tensorboard" not in imported(file, top_level_only=True)


def test_the_command_line_imports_nothing_heavy_before_a_command_runs() -> None:
    at_import = {
        full.split(".")[0] for file in (ROOT / "cli.py", ROOT / "__init__.py", ROOT / "errors.py") for full in imported(file, True)
    }
    assert not at_import & {"torch", "polars", "numpy", "pydantic", "yaml"}


def test_pickle_and_eval_are_nowhere() -> None:
    for file in FILES:
        names = imported(file)
        assert not {"pickle", "marshal", "shelve", "dill", "joblib"} & {full.split(".")[0] for full in names}, file
        calls = [node.func for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        assert not {call.id for call in calls if isinstance(call, ast.Name)} & {"eval", "exec", "__import__"}, file
