"""A process that answers what it is told, for tests of how processes speak with each other."""

import os
import signal
import sys
import time

from gaterec.io.processes import Parent


def main() -> None:
    """Answer until told to end."""
    parent = Parent()
    print("a word for the log", flush=True)
    for request in parent.asks():
        match request:
            case {"say": words}:
                parent.tell({"said": words, "pid": os.getpid(), "SIGINT": signal.getsignal(signal.SIGINT) == signal.SIG_IGN})
            case {"raise": words}:
                raise ValueError(words)
            case {"exit": code}:
                sys.exit(code)
            case {"kill": number}:
                os.kill(os.getpid(), number)
            case {"cut": words}:
                parent._messages.write(words)
                parent._messages.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            case {"sleep": seconds}:
                time.sleep(seconds)
