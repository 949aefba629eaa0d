"""What README and docs claim is there: the snippet runs, the commands parse, the files exist, generated pages are up to date."""

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup as Group

from gaterec.cli.app import app
from gaterec.config.resolve import parse_flags, resolve
from gaterec.models import model_class

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def commands() -> list[str]:
    """Every `gaterec ...` line of README and docs, comments cut off."""
    found = [
        line.split("  #")[0].strip(" `") for page in PAGES for line in re.findall(r"^ {4,}(gaterec .*)$", page.read_text(), re.MULTILINE)
    ]
    assert found
    return found


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    assert "recall@10" in capsys.readouterr().out


@pytest.mark.parametrize("command", commands())
def test_a_shown_command_has_a_known_name_and_known_settings(command: str) -> None:
    _, name, *rest = shlex.split(command)
    program = typer.main.get_command(app)
    assert isinstance(program, Group)
    own = {flag for parameter in program.commands[name].params for flag in parameter.opts} | {"--help"}
    flags = [flag for flag in rest if flag.startswith("--") and flag.partition("=")[0] not in own]
    resolve(lambda kind: model_class(kind).Settings, flags=parse_flags(flags))


def test_the_files_of_the_maps_exist() -> None:
    root = ROOT / "src" / "gaterec"
    for page in (ROOT / "README.md", ROOT / "docs" / "design.md"):
        (layout,) = re.findall(r"^    src/gaterec/\n(.*?)^    tests/", page.read_text(), re.DOTALL | re.MULTILINE)
        named = set(re.findall(r"[\w]+\.py", layout))
        assert named
        assert named <= {path.name for path in root.rglob("*.py")}, page.name
        assert set(re.findall(r"\b(\w+)/ ", layout)) >= {path.parent.name for path in root.glob("*/__init__.py")}, page.name


def test_each_package_lists_its_files() -> None:
    for init in (ROOT / "src" / "gaterec").glob("*/**/__init__.py"):
        told = ast.get_docstring(ast.parse(init.read_text())) or ""
        files = {path.name for path in init.parent.glob("*.py")} - {"__init__.py"}
        folders = {f"{path.parent.name}/" for path in init.parent.glob("*/__init__.py")}
        missing = {name for name in files | folders if name not in told}
        assert not missing, f"the docstring of {init} lacks {missing}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_table_of_settings_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert (ROOT / "docs" / "settings.md").read_text() == generate.render(), "run `make docs`"
