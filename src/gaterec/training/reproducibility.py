"""Seeds, deterministic algorithms and the device of a training."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import deterministic

from gaterec.config.settings import Settings
from gaterec.errors import SettingsError


def hash_seed(seed: int, epoch: int) -> int:
    """One 63-bit seed per (seed, epoch), far apart for neighbours (the finaliser of SplitMix64)."""
    mixed = (seed + 0x9E3779B97F4A7C15 * (epoch + 1)) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (mixed ^ (mixed >> 31)) >> 1


@contextmanager
def reproducible(settings: Settings, device: torch.device) -> Iterator[None]:
    """Inside, the same settings give the same bits, and outside nothing of it is left: neither torch's seed nor its switches."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once, when it starts
    memory: Any = deterministic  # its switch is a property of the module, which type checkers can't see
    before = torch.get_deterministic_debug_mode()
    filled = memory.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        # The same switch as torch.use_deterministic_algorithms, which would first import the compiler: a second and more.
        torch.set_deterministic_debug_mode("error" if settings.reproducibility else "default")
        # Memory that is written before it is read needs no filling.
        memory.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(before)
            memory.fill_uninitialized_memory = filled


def pick_device(settings: Settings) -> torch.device:
    """The GPU that gpu_id names when use_gpu is set and one is there, else the CPU.

    Raises:
        SettingsError: there are GPUs, but not that one.
    """
    if not settings.use_gpu or not torch.cuda.is_available():
        return torch.device("cpu")
    number = int(settings.gpu_id)
    if number >= torch.cuda.device_count():
        raise SettingsError(f"gpu_id: expected at most {torch.cuda.device_count() - 1} on this machine, found {number}")
    return torch.device("cuda", number)
