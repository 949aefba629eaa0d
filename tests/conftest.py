"""What several tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgres

# Tests run side by side, one per core: more threads than that only wait for one another. Child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder of real logs, which lies beside the repository and is not part of it."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "datasets"
    if not folder.is_dir():
        pytest.skip("needs ../shared/datasets")
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a PostgreSQL server of the module's own."""
    if postgres.programs() is None:
        pytest.skip("needs PostgreSQL")
    with postgres.server() as address:
        yield address
