"""A trained run to serve, and a server in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from gaterec.serve.app import Options, make_app
from gaterec.serve.events.store import open_store
from gaterec.serve.metrics import Metrics
from gaterec.serve.reloading import Live
from gaterec.serve.service import Service
from tests.support.servers import Make, train


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained HGN on a log whose items have titles and kinds; nobody may change it."""
    return train(tmp_path_factory.mktemp("serve"))


@pytest.fixture
def make(run_folder: Path, tmp_path: Path) -> Make:
    """Makes servers with the run and the store of this test, unless told, to be entered: `with make(queue=1, token="...") as client`."""

    def made(
        folder: Path = run_folder, events: str | None = None, queue: int = 64, batch: int = 16, seconds: float = 10.0, **options: Any
    ) -> TestClient:
        store = open_store(events or str(tmp_path / "events.db"))
        service = Service(Live(folder), store, Metrics(), queue=queue, batch=batch, seconds=seconds)
        app = make_app(service, Options(**{"watch": 0.0, **options}))
        return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)

    return made


@pytest.fixture
def client(make: Make) -> Iterator[TestClient]:
    with make() as client:
        yield client
