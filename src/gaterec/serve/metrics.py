"""What Prometheus reads at /metrics."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The figures of one server, in a registry of their own."""

    CONTENT_TYPE = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter("gaterec_requests", "Requests answered, by path and status.", ["path", "status"], registry=own)
        self.seconds = Histogram(
            "gaterec_request_seconds", "From the first byte of a request to its answer.", ["path"], buckets=SECONDS, registry=own
        )
        self.batch = Histogram("gaterec_batch_size", "Requests answered together.", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=own)
        self.waited = Histogram("gaterec_queue_seconds", "How long the oldest request of a batch waited.", buckets=SECONDS, registry=own)
        self.fallbacks = Counter("gaterec_fallbacks", "Recommendations of popular items, as nothing was known of the person.", registry=own)
        self.windows = Counter(
            "gaterec_windows", "People's windows that were asked for, by whether they were remembered.", ["outcome"], registry=own
        )
        self.events = Counter("gaterec_events", "Events taken in.", registry=own)
        self.unknown = Counter(
            "gaterec_unknown_items", "Stored events left out of a history, as the run doesn't know their items.", registry=own
        )
        self.reloads = Counter("gaterec_reloads", "Attempts to take another run.", ["outcome"], registry=own)

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """A figure that is asked for when it is read."""
        Gauge(name, meaning, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)
