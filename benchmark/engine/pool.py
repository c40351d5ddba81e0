"""Where work runs: worker processes here, or those of a Dask cluster (``cluster``). What runs is the same.

A unit is a picklable function with its arguments: pure, resumable, written atomically by itself. Each worker process
computes on one thread (two threads made small networks up to sixteen times slower on shared cores); parallel work means
units side by side, the longest first. A worker that dies costs its unit only: units that ran beside it are run again, each
alone, so that the one to blame is known. A unit with limits runs the code of strangers: each has a process of its own
(``isolation``), on this machine also where there is a cluster.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import multiprocessing.util
import os
import shutil
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmark.engine.sandbox import Call, Limits, die_with_parent
from benchmark.utils.temporary import sockets

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_HELD = 2**30  # bytes
KEPT = "kept"  # what a unit returns that found its work done


class Failed(Exception):
    """Raised by a unit that wrote down its failure; the message is the reason, in one line."""


class ClusterError(Exception):
    """A cluster that cannot be used; one line for the user."""


@dataclass(frozen=True)
class Unit:
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    limits: Limits | None = None  # with limits: a process of its own, and a result that JSON can hold
    folder: Path | None = None  # of a unit with limits: the only folder that it may write into
    expected: float = 0.0  # seconds; the longest units start first
    reads: tuple[Path, ...] = ()  # files, for workers that do not see this machine's folder
    writes: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Done:
    """A unit that ended: ``result``, or ``error`` (one line) where it raised or its worker died."""

    unit: Unit
    result: Any = None
    error: str | None = None
    seconds: float = 0.0
    gigabytes: float = 0.0  # the most memory that its process held meanwhile; 0 where that is unknown
    device: str = ""  # cpu, or the GPU's name


def device() -> str:
    """``cuda`` where there is one, else ``cpu``; GLASSBENCH_DEVICE overrules."""
    import torch

    return os.environ.get("GLASSBENCH_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")


def default_workers() -> int:
    """One worker a core that this process may use; one worker in all where a GPU does the computing."""
    if os.environ.get("GLASSBENCH_WORKERS"):
        return max(1, int(os.environ["GLASSBENCH_WORKERS"]))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
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
        torch.backends.cudnn.allow_tf32 = False  # rows of a GPU and of a CPU then agree to float32 rounding
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


def measured(unit: Unit) -> dict[str, Any]:
    """What a ``Done`` tells, here and now; an error is worded where it happened, for tracebacks do not travel."""
    give_memory_back()
    _forget_peak()
    begin = time.perf_counter()
    try:
        found = {"result": unit.function(*unit.arguments)}
    except Exception as error:
        found = {"error": one_line(error)}
    return found | {"seconds": time.perf_counter() - begin, "gigabytes": _peak(), "device": device_name()}


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


def workers_device() -> str:
    """``cpu`` or ``cuda``: of the workers that units will run on."""
    return _cluster().device() if _cluster() else device()


def _cluster() -> Any:
    """The room for Dask where GLASSBENCH_CLUSTER names a scheduler; None: units run on this machine."""
    if not os.environ.get("GLASSBENCH_CLUSTER"):
        return None
    try:
        from benchmark.engine import cluster
    except ModuleNotFoundError as error:
        raise ClusterError(f"a cluster needs {error.name}: pip install 'glassbench[cluster]'") from None
    return cluster


def longest_first(units: Iterable[Unit]) -> list[Unit]:
    return sorted(units, key=lambda unit: -unit.expected)


def warm_up() -> None:
    """Start the process that workers are forked from: it imports torch while the caller does something else."""
    _context()
    multiprocessing.forkserver.ensure_running()


def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    _name_temporary_folder()
    context.set_forkserver_preload(
        ["benchmark.engine.ignore_ctrl_c", "benchmark.pipeline.run", "torch._dynamo"]
    )  # torch needs it for its first ReLU
    return context


def _name_temporary_folder() -> None:
    """Give multiprocessing's folder for sockets our name: ``pymp-*``, its own, does not say whose it is when a kill has left
    it. ``multiprocessing.util.get_temp_dir`` takes the folder that it finds in this dictionary."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if config.get("tempdir") is None:
        config["tempdir"] = folder = sockets()
        multiprocessing.util.Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)  # as Python's own


def _start() -> None:
    die_with_parent()
    single_thread()


def _pool(workers: int) -> ProcessPoolExecutor:
    context = _context()
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start)


def run(units: Sequence[Unit], *, label: str, workers: int | None = None, verbose: bool = False) -> Iterator[Done]:
    """Run all units and yield each as it ends, in any order, behind a progress bar.

    An exception in a unit is its ``error``; it stops nothing else. Ctrl-C kills the workers and is raised again.

    Raises:
        ClusterError: a cluster that cannot be used; one line.
    """
    units = longest_first(units)
    workers = min(workers or default_workers(), len(units)) or 1
    console = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=len(units))
        for done in _in_order_of_end(units, workers):
            progress.advance(task)
            if done.error or verbose or not console.is_terminal:
                mark = "[red]failed[/]" if done.error else "done"
                progress.console.print(f"{label} {mark}: {done.unit.name}" + (f": {done.error}" if done.error else ""), highlight=False, soft_wrap=True)  # fmt: skip
            yield done


def alone(unit: Unit) -> Done:
    """Run one unit with limits, now."""
    (done,) = _limited([unit], 1)
    return done


def _in_order_of_end(units: Sequence[Unit], workers: int) -> Iterator[Done]:
    limited = [unit for unit in units if unit.limits]
    if trusted := [unit for unit in units if not unit.limits]:
        yield from _cluster().run(trusted) if _cluster() else _trusted(trusted, workers)
    yield from _limited(limited, workers)


def _limited(units: Sequence[Unit], workers: int) -> Iterator[Done]:
    """Units with limits, a process each."""
    waiting: list[Unit] = list(units)
    running: dict[Call, Unit] = {}
    begun: dict[Call, float] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                unit = waiting.pop(0)
                call = Call(_context(), _call_apart, (unit,), unit.limits, unit.folder)
                running[call], begun[call] = unit, time.perf_counter()
            ready = wait_for([c for call in running for c in call.channels], min(call.left() for call in running))
            for call in [call for call in running if call.ended(ready)]:
                yield Done(running.pop(call), call.result, call.error, time.perf_counter() - begun.pop(call))
    finally:
        for call in running:
            call.kill()


def _call_apart(unit: Unit) -> Any:
    single_thread()
    try:
        return unit.function(*unit.arguments)
    except Exception as error:
        raise Failed(one_line(error)) from None


def _trusted(units: Sequence[Unit], workers: int) -> Iterator[Done]:
    if workers == 1 and device() != "cpu":  # one GPU: stay in this process, its context is costly
        for unit in units:
            yield Done(unit, **measured(unit))
        return
    waiting, suspects = list(units), []
    pool = _pool(workers)
    running: dict[Future, Unit] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                unit = waiting.pop(0)
                running[pool.submit(measured, unit)] = unit
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in ended):
                for future, unit in running.items():
                    if future.done() and not isinstance(future.exception(), BrokenProcessPool):
                        yield _settle(unit, future)
                    else:
                        suspects.append(unit)
                running.clear()
                pool.shutdown(wait=False, cancel_futures=True)
                pool = _pool(workers)
                continue
            for future in ended:
                yield _settle(running.pop(future), future)
        for unit in suspects:
            pool.shutdown(wait=False)
            pool = _pool(1)
            yield _settle(unit, pool.submit(measured, unit))
    except BaseException:
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _settle(unit: Unit, future: Future) -> Done:
    try:
        return Done(unit, **future.result())
    except BrokenProcessPool:
        return Done(unit, error="its worker process was killed (out of memory?)")
    except Exception as error:  # the result could not travel
        return Done(unit, error=one_line(error))


_LIBRARIES = ("<", str(Path(__file__).parent.parent), *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


def one_line(error: BaseException) -> str:
    """``ValueError: what is wrong (file.py:12)``, on one line: the last line outside of libraries and of this package."""
    if isinstance(error, Failed):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    frames = [f for f in frames if not f.filename.startswith(_LIBRARIES)] or frames
    where = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{where}"
