"""TODO."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)

_HELD = 2**30  # bytes


def device() -> str:
    """``cuda`` where there is one, else ``cpu``; GLASSBENCH_DEVICE overrules."""
    import torch

    return os.environ.get("GLASSBENCH_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")


def default_workers() -> int:
    """One worker a core that this process may use; one worker in all where a GPU does the computing."""
    if os.environ.get("GLASSBENCH_WORKERS"):
        return max(1, int(os.environ["GLASSBENCH_WORKERS"]))
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    )
    return 1 if device() != "cpu" else cores


def local_workers() -> int:
    """Processes that units run in on this machine; 0 where they run on a cluster."""
    return 0 if os.environ.get("GLASSBENCH_CLUSTER") else default_workers()


def single_thread() -> None:
    """One thread for this process, deterministic algorithms, and memory that it keeps while it works."""
    import torch

    keep_memory()
    torch.set_num_threads(1)
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = (
            False  # rows of a GPU and of a CPU then agree to float32 rounding
        )
        torch.use_deterministic_algorithms(True, warn_only=True)


def blas() -> str:
    """numpy's library for matrix products and the kernels that it chose, as "openblas Haswell"; "" if it is not known."""
    import numpy  # noqa: F401  (seen once it is loaded)
    from threadpoolctl import threadpool_info

    for library in threadpool_info():
        if library["user_api"] == "blas" and "numpy" in library["filepath"]:
            return f"{library['internal_api']} {library.get('architecture') or ''}".strip()
    return ""


def keep_memory() -> None:
    """Freed blocks stay with this process, to be used again, where glibc would hand those above 32 MiB back at once and
    fetch them anew, zeroed page by page: the larger half of a forward pass of 224-pixel images. No bit differs."""
    if libc := _glibc():
        libc.mallopt(_MMAP_THRESHOLD, _HELD)
        libc.mallopt(_TRIM_THRESHOLD, _HELD)


def give_memory_back() -> None:
    """What this process has freed goes back to the system: the next unit starts with little."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "malloc_trim") else None


def device_name() -> str:
    """``cpu``, or the GPU's name."""
    import torch

    return torch.cuda.get_device_name() if device() == "cuda" else device()


def _forget_peak() -> None:
    with contextlib.suppress(OSError):  # Linux; elsewhere memory stays unknown
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """The most memory that this process held since ``_forget_peak``, in GB."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e9
    return 0.0
