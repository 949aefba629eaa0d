"""How much memory a log may take, so that one that does not fit is refused with a message instead of ending the process."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
BYTES_PER_EVENT = 80
"""What preparing a log takes per event where ids are numbers; docs/benchmarks.md."""


def available_memory() -> int:
    """The bytes that this process can still get: of the machine, or of its container where that has a limit."""
    found = [_of_machine()]
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        if limit != "max":
            found.append(int(limit) - int((CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(min(found), 0)


def _of_machine() -> int:
    try:
        entries = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return 1024 * sum(int(entries[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError):  # not Linux: all memory, as nothing says what of it is free
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 62


def in_gb(size: int) -> str:
    """1,234,000,000 bytes as 1.2 GB."""
    return f"{size / 1e9:.1f} GB"
