"""How text leaves the program: what a terminal or a page would hide or obey is shown as an escape, and a failing output ends in one line."""

import errno
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_HIDDEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters: they color a terminal, move its cursor and set its title; XML and the charts refuse them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they change the direction of the text that follows
    "\u2028\u2029\ufeff\ufff9-\ufffb"
    "\ud800-\udfff"  # halves of surrogate pairs: bytes of a path or an argument that are not UTF-8
    "\ufdd0-\ufdef" + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)) + "]"
)
_HIDDEN_BUT_LINES = re.compile(rf"(?!\n){_HIDDEN.pattern}")

in_command = False
"""Whether a command of the command line is running: its answer is printed whatever the setting `state` is."""


def visible(text: str, *, lines: bool = False) -> str:
    r"""The text with control characters and other invisible characters as escapes, as in `\x1b`.

    Args:
        lines: whether line breaks stay line breaks.

    >>> visible("\x1b[31mred\n"), visible("a\nb", lines=True)
    ('\\x1b[31mred\\n', 'a\nb')
    """
    return (_HIDDEN_BUT_LINES if lines else _HIDDEN).sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def all_visible(value: Any) -> Any:
    """The same for every text in lists and dictionaries of any depth."""
    if isinstance(value, str):
        return visible(value, lines=True)
    if isinstance(value, dict):
        return {key: all_visible(part) for key, part in value.items()}
    return [all_visible(part) for part in value] if isinstance(value, list | tuple) else value


class VisibleFormatter(logging.Formatter):
    """Lines of a log, in the same way."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), lines=True)


def tell(text: str) -> None:
    """Print lines of a command to standard error, where it can be written."""
    with suppress(OSError):
        print(f"gaterec: {visible(text, lines=True)}", file=sys.stderr, flush=True)


@contextmanager
def of_a_command() -> Iterator[None]:
    """Standard output and standard error for a command: characters that their encoding lacks are replaced, and all text is written at the end.

    Ends the process with code 1 where the reader of standard output has gone (`| head`), and with code 2 and one line where it can't be written.
    """
    global in_command
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=errors)
    before, in_command = in_command, True
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if not _of_standard_output(error):
            raise
        if error.errno == errno.EPIPE:
            sys.exit(1)
        tell(f"standard output: can't be written: {error.strerror}; give it a place with room, as in > FILE")
        sys.exit(2)
    finally:
        in_command = before


def _of_standard_output(error: OSError) -> bool:
    """Whether standard output raised the error; it is replaced then, so that the interpreter does not raise it again at its end."""
    try:
        sys.stdout.flush()
        if error.filename is None:
            os.write(sys.stdout.fileno(), b"\n")  # of a long text nothing is left in the buffer
    except OSError as again:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return again.errno == error.errno
    return False
