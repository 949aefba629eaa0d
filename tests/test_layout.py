"""Where tests stand: those of src/gaterec/X/Y.py in tests/X/test_Y.py, and what several of them use in tests/support."""

import re
from pathlib import Path

import gaterec

TESTS = Path(__file__).parent
SOURCE = Path(gaterec.__file__).parent
TESTED_ELSEWHERE = {
    "client.py": "serve/test_client.py",
    "config/intervals.py": "config/test_settings.py",
    "config/loss_names.py": "training/test_losses.py",
    "config/metric_names.py": "config/test_settings.py",
    "config/section.py": "config/test_resolve.py",
    "data/datasets/publishers.py": "data/datasets/test_registry.py",
    "data/log.py": "data/test_interactions.py",
    "errors.py": "cli/test_app.py",
    "evaluation/protocol.py": "evaluation/test_evaluate.py",
    "evaluation/scorer.py": "evaluation/test_evaluate.py",
    "inference/bulk.py": "inference/test_recommender.py",
    "inference/ids.py": "inference/test_recommender.py",
    "inference/lists.py": "inference/test_recommender.py",
    "inference/notes.py": "inference/test_recommender.py",
    "inference/requests.py": "inference/test_recommender.py",
    "inference/users.py": "inference/test_query_cache.py",
    "io/database_urls.py": "experiments/tune/test_study.py",
    "io/html.py": "experiments/test_run_page.py",
    "serve/events/database.py": "serve/events/test_store.py",
    "serve/events/postgres.py": "serve/events/test_store.py",
    "serve/metrics.py": "serve/test_middleware.py",
    "serve/problems.py": "serve/test_app.py",
    "training/reproducibility.py": "training/test_trainer.py",
    "training/states.py": "training/test_trainer.py",
}
"""Files whose behavior is tested with that of the file which uses them."""


def test_each_source_file_has_a_test_file() -> None:
    files = {file.relative_to(SOURCE) for file in SOURCE.rglob("*.py") if not file.name.startswith("_")}
    without = {file.as_posix() for file in files if not (TESTS / file.parent / f"test_{file.name}").is_file()}
    assert without == TESTED_ELSEWHERE.keys()
    assert not [name for name in TESTED_ELSEWHERE.values() if not (TESTS / name).is_file()]


def test_no_file_imports_a_test_file() -> None:
    imports = re.compile(r"^ *(?:from|import) +tests\b.*\b(?:test_\w+|conftest)\b", re.MULTILINE)
    assert imports.search("from tests.serve.test_app import problem")
    assert imports.search("from tests.serve import conftest")
    assert not {file.name: found[0] for file in TESTS.rglob("*.py") if (found := imports.search(file.read_text(encoding="utf-8")))}
