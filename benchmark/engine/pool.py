"""Runs units in parallel: in worker processes on this machine, or in those of a Dask cluster (``cluster``).

Each worker process computes on one thread (two threads made small networks up to sixteen times slower on shared cores),
and units run side by side, the longest first. If a worker dies, only its own unit fails: the units that ran beside it
are run again, one at a time, to find the one that kills its worker. A unit with limits runs external code, in a process
of its own (``sandbox``); it stays on this machine even where there is a cluster.
"""

from __future__ import annotations

import functools
import math
import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import multiprocessing.util
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmark.engine.machine import default_workers, device, single_thread
from benchmark.engine.sandbox import Call, die_with_parent
from benchmark.engine.units import (
    ClusterError,
    Done,
    Failed,
    Unit,
    longest_first,
    measured,
    one_line,
)
from benchmark.utils.temporary import sockets


def workers_device() -> str:
    """The device of the workers that units will run on: ``cpu`` or ``cuda``."""
    cluster = _cluster()
    return cluster.device() if cluster else device()


def _cluster() -> Any:
    """The module ``cluster`` if GLASSBENCH_CLUSTER names a scheduler; None: units run on this machine."""
    if not os.environ.get("GLASSBENCH_CLUSTER"):
        return None
    try:
        from benchmark.engine import cluster
    except ModuleNotFoundError as error:
        raise ClusterError(
            f"a cluster needs {error.name}: pip install 'glassbench[cluster]'"
        ) from None
    return cluster


FITTING = ("torch._dynamo",)  # loaded with a process's first optimiser: a second


def warm_up(*modules: str) -> None:
    """Start the process that workers are forked from; it imports torch while the caller does something else.

    Args:
        modules: what it imports besides, once for all workers.
    """
    _context(modules)


def _context(
    modules: Sequence[str] = (),
) -> multiprocessing.context.ForkServerContext:
    """The start method of workers; the process that they are forked from runs.

    Python starts that process with ``-c``, which puts the caller's folder first on its path: a ``copy.py`` there would
    be imported in place of the library's. PYTHONSAFEPATH prevents it. Workers get the path of this process.
    """
    context = multiprocessing.get_context("forkserver")
    _name_temporary_folder()
    preloaded = [
        "benchmark.engine.forkserver",
        "benchmark.pipeline.explain",
        "benchmark.pipeline.score",
        *modules,
    ]
    context.set_forkserver_preload(preloaded)
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
    return context


@functools.cache
def _name_temporary_folder() -> None:
    """Have multiprocessing create its folder for sockets inside one that carries the name of this process.

    Its own name, ``pymp-*``, does not tell which process a folder belonged to that a kill has left behind.
    ``multiprocessing.util.get_temp_dir`` creates it on the first call, below ``tempfile.tempdir``, and removes it at
    exit.
    """
    folder = sockets()
    before = tempfile.tempdir
    tempfile.tempdir = folder
    try:
        multiprocessing.util.get_temp_dir()
    finally:
        tempfile.tempdir = before
    remove = functools.partial(shutil.rmtree, folder, ignore_errors=True)
    multiprocessing.util.Finalize(
        None, remove, exitpriority=-101
    )  # after multiprocessing's (-100)


def _start_worker() -> None:
    die_with_parent()
    single_thread()


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        workers, mp_context=_context(), initializer=_start_worker
    )


def run(
    units: Sequence[Unit],
    *,
    label: str,
    workers: int | None = None,
    verbose: bool = False,
) -> Iterator[Done]:
    """Run all units and yield each as it ends, in any order, with a progress bar.

    An exception in a unit becomes its ``error`` and stops nothing else. Ctrl-C kills the workers and is raised again.

    Raises:
        ClusterError: the cluster cannot be used; one line.
    """
    units = longest_first(units)
    workers = min(workers or default_workers(), len(units)) or 1
    console = Console(stderr=True)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[ended]}/{task.fields[units]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    share = shares(units)
    silent = not units or not console.is_terminal
    with Progress(*columns, console=console, disable=silent) as progress:
        task = progress.add_task(label, total=1.0, units=len(units), ended=0)
        for ended, done in enumerate(_in_order_of_end(units, workers), start=1):
            progress.update(task, advance=share.get(id(done.unit), 0.0), ended=ended)
            if done.error or verbose or not console.is_terminal:
                progress.console.print(
                    _line(label, done), highlight=False, soft_wrap=True
                )
            yield done


def shares(units: Sequence[Unit]) -> dict[int, float]:
    """Of the work, by the id of a unit: by its expected seconds; one that never ran counts as much as the others do on
    average."""
    known = [unit.expected for unit in units if 0 < unit.expected < math.inf]
    usual = sum(known) / len(known) if known else 1.0
    sizes = {}
    for unit in units:
        is_known = 0 < unit.expected < math.inf
        sizes[id(unit)] = unit.expected if is_known else usual
    total = sum(sizes.values())
    return {key: size / total for key, size in sizes.items()}


def _line(label: str, done: Done) -> str:
    what = escape(done.unit.title or done.unit.name)
    if done.error:
        return f"{label} [red]failed[/]: {what}: {escape(done.error)}"
    return f"{label} done: {what}"


def alone(unit: Unit) -> Done:
    """Run a single unit that has limits."""
    (done,) = _limited([unit], 1)
    return done


def _in_order_of_end(units: Sequence[Unit], workers: int) -> Iterator[Done]:
    limited = [unit for unit in units if unit.limits]
    trusted = [unit for unit in units if not unit.limits]
    if trusted:
        cluster = _cluster()
        yield from cluster.run(trusted) if cluster else _trusted(trusted, workers)
    yield from _limited(limited, workers)


def _limited(units: Sequence[Unit], workers: int) -> Iterator[Done]:
    """Run units with limits, each in a process of its own."""
    waiting: list[Unit] = list(units)
    running: dict[Call, Unit] = {}
    begun: dict[Call, float] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                unit = waiting.pop(0)
                call = Call(_context(), _in_sandbox, (unit,), unit.limits, unit.folder)
                running[call], begun[call] = unit, time.perf_counter()
            channels = [channel for call in running for channel in call.channels]
            ready = wait_for(channels, min(call.left() for call in running))
            for call in [call for call in running if call.ended(ready)]:
                unit, seconds = running.pop(call), time.perf_counter() - begun.pop(call)
                yield Done(unit, call.result, call.error, seconds)
    finally:
        for call in running:
            call.kill()


def _in_sandbox(unit: Unit) -> Any:
    single_thread()
    try:
        return unit.function(*unit.arguments)
    except Exception as error:
        raise Failed(one_line(error)) from None


def _trusted(units: Sequence[Unit], workers: int) -> Iterator[Done]:
    """Run units without limits, in this machine's worker processes."""
    if (
        workers == 1 and device() != "cpu"
    ):  # one GPU: its context is costly, stay in this process
        for unit in units:
            yield Done(unit, **measured(unit))
        return
    waiting = list(units)
    suspects: list[Unit] = []  # ran when a worker died
    pool = _pool(workers)
    running: dict[Future, Unit] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                unit = waiting.pop(0)
                running[pool.submit(measured, unit)] = unit
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            if any(_lost_its_worker(future) for future in ended):
                for future, unit in running.items():
                    if future.done() and not _lost_its_worker(future):
                        yield _settle(unit, future)
                    else:
                        suspects.append(unit)
                running.clear()
                pool.shutdown(wait=False, cancel_futures=True)
                pool = _pool(workers)
                continue
            for future in ended:
                yield _settle(running.pop(future), future)
        for unit in suspects:  # one at a time
            pool.shutdown(wait=False)
            pool = _pool(1)
            yield _settle(unit, pool.submit(measured, unit))
    except BaseException:
        processes = getattr(pool, "_processes", None) or {}
        for process in list(processes.values()):
            process.kill()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _lost_its_worker(future: Future) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _settle(unit: Unit, future: Future) -> Done:
    try:
        return Done(unit, **future.result())
    except BrokenProcessPool:
        return Done(unit, error="its worker process was killed (out of memory?)")
    except Exception as error:  # the result could not be sent
        return Done(unit, error=one_line(error))
