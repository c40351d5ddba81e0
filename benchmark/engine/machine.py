"""The machine that a process runs on: its device, cores, threads, BLAS library and memory.

A worker computes on one thread, with deterministic algorithms. It keeps freed memory while a unit runs and returns it
to the system between units.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

from benchmark.utils.errors import UsageError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_HELD = 2**30  # bytes


def device() -> str:
    """``cuda`` or another accelerator where there is one, else ``cpu``; GLASSBENCH_DEVICE overrides both.

    Raises:
        UsageError: a GLASSBENCH_DEVICE that this machine does not have.
    """
    from benchmark.utils import devices

    asked = os.environ.get("GLASSBENCH_DEVICE")
    if asked and not devices.exists(asked):
        raise UsageError(
            f"GLASSBENCH_DEVICE={asked}: this machine's torch has "
            f"{' and '.join(devices.kinds())}"
        )
    return asked or devices.available()


def default_workers() -> int:
    """One worker per core that this process may use; a single worker on a GPU. GLASSBENCH_WORKERS overrides both."""
    if os.environ.get("GLASSBENCH_WORKERS"):
        return max(1, int(os.environ["GLASSBENCH_WORKERS"]))
    if device() != "cpu":
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_workers() -> int:
    """Processes that units run in on this machine; 0 where they run on a cluster."""
    return 0 if os.environ.get("GLASSBENCH_CLUSTER") else default_workers()


def single_thread() -> None:
    """Set this process to one thread and deterministic algorithms, and let it keep the memory that it frees."""
    import torch

    keep_memory()
    torch.set_num_threads(1)
    if torch.accelerator.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        # Without TF32, rows of a GPU and of a CPU agree to float32 rounding.
        torch.backends.cudnn.allow_tf32 = False
        torch.use_deterministic_algorithms(True, warn_only=True)


def blas() -> str:
    """numpy's BLAS library and the kernels that it chose, e.g. "openblas Haswell"; "" if unknown."""
    import numpy  # noqa: F401  (threadpoolctl lists loaded libraries only)
    from threadpoolctl import threadpool_info

    for library in threadpool_info():
        if library["user_api"] == "blas" and "numpy" in library["filepath"]:
            return (
                f"{library['internal_api']} {library.get('architecture') or ''}".strip()
            )
    return ""


def keep_memory() -> None:
    """Keep freed blocks in this process for reuse (glibc only).

    By default glibc returns blocks above 32 MiB to the system at once, and allocating them again zeroes them page by
    page: more than half the time of a forward pass of 224-pixel images. Results are the same to the last bit.
    """
    if libc := _glibc():
        libc.mallopt(_MMAP_THRESHOLD, _HELD)
        libc.mallopt(_TRIM_THRESHOLD, _HELD)


def give_memory_back() -> None:
    """Return freed memory to the system, so that the next unit starts with little."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "malloc_trim") else None


def device_name() -> str:
    """``cpu``, or the accelerator's name."""
    from benchmark.utils import devices

    return devices.name(device())


def reset_peak_memory() -> None:
    """Start a new measurement of peak memory: of an accelerator, or of this process (Linux only)."""
    from benchmark.utils import devices

    devices.reset_peak_memory(device())
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> float:
    """The most memory that was held since ``reset_peak_memory``, in GB: tensors on an accelerator, or this process;
    0 where the system does not tell."""
    from benchmark.utils import devices

    if device() != "cpu":
        return devices.peak_memory(device()) / 1e9
    with contextlib.suppress(OSError, IndexError):
        status = Path("/proc/self/status").read_text()
        kilobytes = int(status.split("VmHWM:")[1].split()[0])
        return kilobytes * 1024 / 1e9
    return 0.0
