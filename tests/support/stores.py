"""An event store whose writer is busy."""

import threading
from typing import Any

from gaterec.serve.events.store import EventStore


def held(store: EventStore) -> tuple[threading.Event, threading.Thread]:
    """A writer that does nothing until told; and who waits for that."""
    begun, go = threading.Event(), threading.Event()

    def wait(connection: Any) -> None:
        begun.set()
        go.wait(30)

    thread = threading.Thread(target=lambda: store._errand(wait))
    thread.start()
    assert begun.wait(30)
    return go, thread
