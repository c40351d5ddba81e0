"""Where work runs: worker processes here, or those of a Dask cluster (``cluster``). What runs is the same.

A unit is a picklable function with its arguments: pure, resumable, written atomically by itself. Each worker process
computes on one thread (two threads made small networks up to sixteen times slower on shared cores); parallel work means
units side by side, the longest first. A worker that dies costs its unit only: units that ran beside it are run again, each
alone, so that the one to blame is known. A unit with limits runs the code of strangers: each has a process of its own
(``isolation``), on this machine also where there is a cluster.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import multiprocessing.util
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

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
    """``cpu`` or ``cuda``: of the workers that units will run on."""
    return _cluster().device() if _cluster() else device()


def _cluster() -> Any:
    """The room for Dask where GLASSBENCH_CLUSTER names a scheduler; None: units run on this machine."""
    if not os.environ.get("GLASSBENCH_CLUSTER"):
        return None
    try:
        from benchmark.engine import cluster
    except ModuleNotFoundError as error:
        raise ClusterError(
            f"a cluster needs {error.name}: pip install 'glassbench[cluster]'"
        ) from None
    return cluster


def warm_up() -> None:
    """Start the process that workers are forked from: it imports torch while the caller does something else."""
    _context()
    multiprocessing.forkserver.ensure_running()


def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    _name_temporary_folder()
    context.set_forkserver_preload(
        [
            "benchmark.engine.ignore_ctrl_c",
            "benchmark.pipeline.explain",
            "benchmark.pipeline.score",
            "torch._dynamo",
        ]
    )  # torch needs it for its first ReLU
    return context


def _name_temporary_folder() -> None:
    """Give multiprocessing's folder for sockets our name: ``pymp-*``, its own, does not say whose it is when a kill has left
    it. ``multiprocessing.util.get_temp_dir`` takes the folder that it finds in this dictionary."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if config.get("tempdir") is None:
        config["tempdir"] = folder = sockets()
        multiprocessing.util.Finalize(
            None, shutil.rmtree, args=(folder, True), exitpriority=-100
        )  # as Python's own


def _start() -> None:
    die_with_parent()
    single_thread()


def _pool(workers: int) -> ProcessPoolExecutor:
    context = _context()
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start)


def run(
    units: Sequence[Unit], *, label: str, workers: int | None = None, verbose: bool = False
) -> Iterator[Done]:
    """Run all units and yield each as it ends, in any order, behind a progress bar.

    An exception in a unit is its ``error``; it stops nothing else. Ctrl-C kills the workers and is raised again.

    Raises:
        ClusterError: a cluster that cannot be used; one line.
    """
    units = longest_first(units)
    workers = min(workers or default_workers(), len(units)) or 1
    console = Console(stderr=True)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ]
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=len(units))
        for done in _in_order_of_end(units, workers):
            progress.advance(task)
            if done.error or verbose or not console.is_terminal:
                mark = "[red]failed[/]" if done.error else "done"
                progress.console.print(
                    f"{label} {mark}: {done.unit.name}" + (f": {done.error}" if done.error else ""),
                    highlight=False,
                    soft_wrap=True,
                )
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
            ready = wait_for(
                [c for call in running for c in call.channels], min(call.left() for call in running)
            )
            for call in [call for call in running if call.ended(ready)]:
                yield Done(
                    running.pop(call),
                    call.result,
                    call.error,
                    time.perf_counter() - begun.pop(call),
                )
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
