"""What several tests share."""

import os
from pathlib import Path

import pytest

# Tests run side by side, one per core: more threads than that only wait for one another. Child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder of real logs, which lies beside the repository and is not part of it."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "datasets"
    if not folder.is_dir():
        pytest.skip("needs ../shared/datasets")
    return folder
