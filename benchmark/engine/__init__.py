"""Where work runs: worker processes on this machine, those of a Dask cluster, or a sandbox for external code."""

from benchmark.engine.machine import (
    blas,
    default_workers,
    device,
    device_name,
    give_memory_back,
    keep_memory,
    local_workers,
    single_thread,
)
from benchmark.engine.pool import FITTING, alone, run, warm_up, workers_device
from benchmark.engine.units import (
    KEPT,
    ClusterError,
    Done,
    Failed,
    Unit,
    longest_first,
    measured,
    one_line,
)

__all__ = [
    "FITTING",
    "KEPT",
    "ClusterError",
    "Done",
    "Failed",
    "Unit",
    "alone",
    "blas",
    "default_workers",
    "device",
    "device_name",
    "give_memory_back",
    "keep_memory",
    "local_workers",
    "longest_first",
    "measured",
    "one_line",
    "run",
    "single_thread",
    "warm_up",
    "workers_device",
]
