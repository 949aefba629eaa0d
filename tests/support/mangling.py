"""Ways to damage bytes and settings, and what must hold of what becomes of them."""

import faulthandler
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from gaterec.errors import GaterecError

EXAMPLES = int(os.environ.get("GATEREC_FUZZ", "300"))
SECONDS = 5
"""Of a processor, which one example may take however busy the machine is."""
HANG = 120
"""After so many seconds in one example the process is ended: even one that hangs outside Python fails."""
NASTY = [
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\n\n", b"\t", b",", b'"', b'""', b"\\", b":", b" ", b"nan", b"-inf", b"1e999", b"9" * 25,
    b"-", b"0x1", b"1_000", b"2024-02-30", b"null", "\u202e\U0001f600".encode(), b"\xed\xa0\x80", b"x" * 1500, b"9" * 5000, b"PAR1", b"\x1f\x8b",
]  # fmt: skip


places = st.floats(0, 1)
Change = Callable[[bytes], bytes]


def _at(raw: bytes, place: float) -> int:
    return int(place * len(raw))


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """One way to damage bytes."""
    first, second = sorted((draw(places), draw(places)))
    piece = draw(
        st.sampled_from(NASTY) | st.binary(max_size=8) | st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass"))
    )
    bit = draw(st.integers(0, 7))
    kinds: list[Change] = [
        lambda raw: raw[: _at(raw, first)],
        lambda raw: raw[: _at(raw, first)] + raw[_at(raw, second) :],
        lambda raw: raw[: _at(raw, first)] + piece + raw[_at(raw, first) :],
        lambda raw: raw[: _at(raw, first)] + piece + raw[_at(raw, first) + len(piece) :],
        lambda raw: raw[: _at(raw, second)] + raw[_at(raw, first) :],
        lambda raw: raw[: _at(raw, first)] + bytes([raw[_at(raw, first)] ^ 1 << bit]) + raw[_at(raw, first) + 1 :] if first < 1 and raw else raw,
    ]  # fmt: skip
    return draw(st.sampled_from(kinds))


def mangled(raw: bytes, how: list[Change]) -> bytes:
    for change in how:
        raw = change(raw)[:100_000]
    return raw


@contextmanager
def a_result_or_a_clear_error() -> Iterator[None]:
    faulthandler.dump_traceback_later(HANG, exit=True)
    begun = time.process_time()
    try:
        yield
    except GaterecError as error:
        message = str(error)
        assert 0 < len(message.strip()) < 20_000, message
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert time.process_time() - begun < SECONDS


def fuzz(share: float) -> settings:
    """A share of the examples."""
    return settings(
        max_examples=max(1, round(EXAMPLES * share)),
        deadline=None,  # of the clock on the wall; see SECONDS
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


NESTED_KEYS = ["split", "LS", "RS", "TS", "group_by", "order", "mode", "valid", "test", "inter", "user", "item", "distribution", "max_norm"]
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**20, 10**4000, -(10**4000), float("inf"), float("nan"), -0.0])
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["None", "~", "", "[5,inf)", "[5,", "(1,0]", "[nan,1]", "[1,2];", "NDCG@10", "NDCG@", "HIT@0", "uni100", "user", "token", "\\t"]
    )
    | st.binary(max_size=4)
    | st.dates()
)


values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4)
    | st.tuples(inner, inner)
    | st.dictionaries(st.sampled_from(NESTED_KEYS) | st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
