"""The one error that a person is meant to read.

Everything that can go wrong through bad input, a bad setting or a bad file raises GaterecError with one clear line: where, what was
expected, what was found and what to do. The command line prints that line and exits with code 2; anything else is a bug and keeps its
traceback.
"""

import difflib
from collections.abc import Iterable


class GaterecError(Exception):
    """Bad input, told in one line."""


class SettingsError(GaterecError):
    """A setting that is unknown, out of range, or does not fit another one."""


class DataError(GaterecError):
    """A log that can't be read, or with which the job can't be done."""


class RunError(GaterecError):
    """A run folder that can't be read or written, or a training that can't go on."""


class RequestError(GaterecError):
    """A question to a trained run that can't be answered: an unknown item, say."""


class RequestWarning(UserWarning):
    """A request that was answered in part: an item that the run does not know was left out, or a condition that no item meets."""


def nearest(name: object, known: Iterable[str]) -> str:
    """What to say of a name that is none: the nearest one in any case, or all.

    >>> nearest("hng", ["HGN", "Pop"]), nearest("xyzzy", ["HGN", "Pop"])
    ('did you mean HGN?', 'known: HGN, Pop')
    """
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.5)
    return f"did you mean {by_lower[near[0]]}?" if near else f"known: {', '.join(by_lower.values())}"


def short(value: object, limit: int = 80) -> str:
    """A value as a message shows it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python prints no integer of more than 4300 digits
        text = f"a {type(value).__name__} too long to print"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def out_of_memory(error: MemoryError | RuntimeError) -> str | None:
    """What to say when memory ran out, in RAM or on a GPU; None where the error is another one."""
    if not isinstance(error, MemoryError) and "memory" not in str(error):
        return None
    return "out of memory; a smaller train_batch_size, embedding_size or eval_batch_size needs less"
