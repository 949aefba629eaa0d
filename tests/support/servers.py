"""A run to serve, and `gaterec serve` as a process of its own."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import polars as pl
from starlette.testclient import TestClient

import gaterec
from tests.support.commands import start, write_log

SMALL = {"embedding_size": 4, "MAX_ITEM_LIST_LENGTH": 5, "epochs": 2, "state": "WARNING"}


def train(place: Path, model: str = "HGN", title: str = "Film", **settings: object) -> Path:
    """A run folder in place/saved: 60 people u0.., 20 items i0.. with titles ("Film 7"), kinds and years (1997)."""
    log = place / "log"
    log.mkdir(exist_ok=True)
    events = pl.read_csv(write_log(log / "log.csv", people=60))
    (log / "log.csv").unlink()
    names = {"user_id": "user_id:token", "item_id": "item_id:token", "timestamp": "timestamp:float"}
    events.rename(names).write_csv(log / "log.inter", separator="\t")
    lines = [f"i{number}\t{title} {number}\t{'funny sad' if number % 2 else 'sad'}\t{1990 + number}" for number in range(20)]
    (log / "log.item").write_text("\n".join(["item_id:token\ttitle:token_seq\tkind:token_seq\tyear:float", *lines]) + "\n")
    own = {"data_path": str(place), "checkpoint_dir": str(place / "saved"), **SMALL, **settings}
    folder: Path = gaterec.run(model, "log", config_dict=own)["folder"]
    return folder


@dataclass(frozen=True)
class Running:
    """A server.

    Attributes:
        process: its process, whose standard error holds its log.
        address: http://127.0.0.1:PORT
    """

    process: "subprocess.Popen[str]"
    address: str


@contextmanager
def serving(folder: Path, events: Path | str, *options: object, **process_options: Any) -> Iterator[Running]:
    """`gaterec serve FOLDER` at a free port, from when it listens until the block ends; see also tests.support.commands.start."""
    process = start("serve", folder, "--port=0", f"--events={events}", *options, **process_options)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert "http://" in line, process.communicate(timeout=30)
        yield Running(process, "http://" + line.partition("http://")[2].partition("/")[0])
    finally:
        process.kill()
        process.communicate(timeout=30)


def problem(answer: httpx.Response, status: int, name: str) -> str:
    """The detail of a problem, which must be one of that status and name."""
    content = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, content["status"], content["type"]) == (status, status, f"urn:gaterec:problem:{name}"), content
    return str(content["detail"])


Make = Callable[..., TestClient]
