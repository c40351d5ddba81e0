"""Runs units on a Dask cluster, through the scheduler that GLASSBENCH_CLUSTER names (``--cluster tcp://host:8786``).

A unit is one Dask task, and there are never more tasks than workers. It is then certain which unit a lost worker ran,
and only that one is run again (if it had finished, and only its answer was lost, it finds its work done). Workers
compute on one thread, with the code and the versions of this machine. If some declare ``GPU`` as a resource, they get
all units, so that the rows of one run come from one kind of device.

Data, networks and results lie in the project's folder, which all workers see (each with its own GLASSBENCH_ROOT, if it
is mounted elsewhere). Where no worker sees it, a unit's files are sent along and its results are sent back; files that
several units read are sent to each worker once.

Workers run what this process sends, as Python: use a cluster that you trust, and TLS (``tls://``) unless it is a single
machine or a closed network. docs/cluster.md has a worked example.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import torch
from distributed.diagnostics.plugin import WorkerPlugin

from benchmark import engine, store
from benchmark.engine import ClusterError, Done, Unit
from benchmark.store.code_hash import package_hash

_CONNECT = 10.0  # seconds for the scheduler to answer
_WORKERS = 60.0  # seconds for the first worker to join
_LOOK = 2.0  # seconds between two counts of the workers
_LOSSES = 3  # times that a unit may lose the files that were sent to it


@dataclass(frozen=True)
class Facts:
    """What rows depend on at a worker.

    Attributes:
        code: hash of the package.
        sees: whether it sees the project's folder and may write its results.
        gpu: whether it declares ``GPU`` as a resource.
    """

    threads: int
    code: str
    versions: str
    device: str
    instructions: str
    sees: bool
    gpu: bool


@dataclass(frozen=True)
class Place:
    """Where units run; sent along with each.

    Attributes:
        root: the project's folder on this machine.
        marker: a file below it; a worker that finds it sees the folder.
        device: GLASSBENCH_DEVICE of this machine.
        shared: whether the workers see the folder.
    """

    root: Path
    marker: str
    device: str
    shared: bool = True

    def here(self) -> Path:
        """The project's folder on the worker that calls this."""
        if os.environ.get("GLASSBENCH_ROOT"):
            return Path(os.environ["GLASSBENCH_ROOT"])
        if self.shared:
            return self.root
        return Path(distributed.get_worker().local_directory, "glassbench")


# --------------------------------------------------------------------------------------------- what engine calls


def run(units: Sequence[Unit]) -> Iterator[Done]:
    """Run units and yield each as it ends.

    A unit that kills its worker more often than the scheduler's ``allowed-failures`` permits is an error. Ctrl-C
    cancels all units and restarts the workers that run one, if they have a nanny.

    Raises:
        ClusterError: the scheduler or its workers cannot be used, or the scheduler is lost.
    """
    with _connected() as (client, place, facts):
        with_gpu = any(worker.gpu for worker in facts.values())
        send = _Sender(client, place, units, "GPU" if with_gpu else "")
        waiting = list(units)
        running: dict[distributed.Future, Unit] = {}
        losses: Counter[str] = Counter()
        slots, looked = send.workers(), time.monotonic()
        try:
            while waiting or running:
                while waiting and len(running) < slots:
                    unit = waiting.pop(0)
                    running[send(unit)] = unit
                with contextlib.suppress(TimeoutError, distributed.CancelledError):
                    distributed.wait(
                        list(running), timeout=_LOOK, return_when="FIRST_COMPLETED"
                    )
                for future in [f for f in running if f.done()]:
                    unit = running.pop(future)
                    if future.cancelled():
                        if client.status != "running":
                            raise ClusterError(
                                f"the scheduler at {_address()} is gone; "
                                "what is finished is kept, run again"
                            )
                        losses[unit.name] += 1
                        if losses[unit.name] < _LOSSES:
                            waiting.insert(0, unit)
                            continue
                    yield _settle(unit, future, place)
                if time.monotonic() - looked > _LOOK:
                    slots, looked = send.workers(), time.monotonic()
        finally:
            if running:
                _stop(client, list(running))


@functools.cache
def _device(address: str) -> str:
    with _connected() as (_, _, facts):
        return _first_used(facts).device


def device() -> str:
    """The device of the workers that units will run on: ``cpu`` or ``cuda``."""
    return os.environ.get("GLASSBENCH_DEVICE") or _device(_address())


# --------------------------------------------------------------------------------------------- the cluster


def _address() -> str:
    return os.environ["GLASSBENCH_CLUSTER"]


@contextlib.contextmanager
def _connected() -> Iterator[tuple[distributed.Client, Place, dict[str, Facts]]]:
    """The client, the place and the workers' facts, all checked; workers that join later are checked as well."""
    # Errors that matter become one line, here.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    address = _address()
    try:
        client = distributed.Client(address, timeout=_CONNECT)
    except (OSError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())[:150]
        raise ClusterError(
            f"no Dask scheduler at {address} ({why}); start one: dask scheduler"
        ) from None
    marker = f"results/.cluster-{uuid.uuid4().hex[:12]}"
    place = Place(store.ROOT.resolve(), marker, os.environ.get("GLASSBENCH_DEVICE", ""))
    try:
        store.write_text(place.root / marker, address)
        facts = _look_around(client, place)
        if problem := _problem(facts):
            raise ClusterError(problem)
        first = _first_used(facts)
        place = dataclasses.replace(place, shared=first.sees)
        if not place.shared:
            text = f"no worker of {address} sees {place.root}: files are sent along with the units"
            print(text, file=sys.stderr)
        client.register_plugin(Gate(place, first), name=marker)
        yield client, place, facts
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            client.unregister_worker_plugin(marker)
        (place.root / marker).unlink(missing_ok=True)
        client.close(timeout=5)


def _look_around(client: distributed.Client, place: Place) -> dict[str, Facts]:
    """The facts of each worker, by its name; those that leave meanwhile are skipped."""
    address, deadline = _address(), time.monotonic() + _WORKERS
    while True:
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(1, timeout=max(0.1, deadline - time.monotonic()))
        answers = client.run(look, place, on_error="return")
        errors = [
            answer for answer in answers.values() if not isinstance(answer, Facts)
        ]
        for error in errors:
            if isinstance(error, ImportError):
                raise ClusterError(
                    f"a worker of {address} lacks glassbench ({error}); install it there: pip install "
                    "'glassbench[cluster]', the same commit as here"
                )
        if len(errors) < len(answers):
            return {
                name: found
                for name, found in answers.items()
                if isinstance(found, Facts)
            }
        if time.monotonic() > deadline:
            why = f" ({engine.one_line(errors[0])})" if errors else ""
            raise ClusterError(
                f"the scheduler at {address} has no workers{why}; start some on each machine: "
                f"dask worker {address} --nthreads 1 --nworkers 2"
            )


def look(place: Place, dask_worker: Any) -> Facts:
    """The facts of the worker that this runs on."""
    root = place.here() if place.shared else place.root
    with contextlib.suppress(OSError):
        os.listdir(
            root / "results"
        )  # a listing makes new files on a network folder visible
    return Facts(
        threads=dask_worker.state.nthreads,
        code=_code(),
        versions=_versions(),
        device=place.device or engine.device(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        sees=(root / place.marker).exists() and os.access(root / "results", os.W_OK),
        gpu="GPU" in dask_worker.state.total_resources,
    )


@functools.cache
def _code() -> str:
    """Hash of the package when this process first asked: the code that it goes on running."""
    return package_hash()[:12]


def _versions() -> str:
    python, blas = sys.version.split()[0], engine.blas() or "BLAS unknown"
    return f"Python {python}, torch {torch.__version__}, numpy {np.__version__}, {blas}"


def _used(facts: Mapping[str, Facts]) -> dict[str, Facts]:
    """The workers that get units."""
    with_gpu = {name: worker for name, worker in facts.items() if worker.gpu}
    return with_gpu or dict(facts)


def _first_used(facts: Mapping[str, Facts]) -> Facts:
    return next(iter(_used(facts).values()))


def _problem(facts: Mapping[str, Facts]) -> str:
    """What is wrong with the workers, in one line; empty if nothing is."""
    used = _used(facts)
    for name, worker in used.items():
        if worker.threads != 1:
            return (
                f"worker {name} has {worker.threads} threads, and a unit needs a process of its own: "
                "start workers with --nthreads 1 (and --nworkers N for N of them)"
            )
    for name, worker in used.items():
        if worker.code != _code():
            return (
                f"worker {name} runs other code than this machine ({worker.code}, here {_code()}): "
                "bring it to the same commit and start it again"
            )
        if worker.versions != _versions():
            return (
                f"worker {name} has {worker.versions}, this machine {_versions()}: rows would differ; "
                "install the same, and export the same OPENBLAS_CORETYPE"
            )
    for what in ("device", "instructions"):
        kinds = Counter(getattr(worker, what) for worker in used.values())
        if len(kinds) > 1:
            text = ", ".join(f"{n} with {kind}" for kind, n in kinds.most_common())
            return (
                f"the workers differ in {what} ({text}), and so would rows: "
                "use one kind, or set GLASSBENCH_DEVICE=cpu"
            )
    blind = [name for name, worker in used.items() if not worker.sees]
    if 0 < len(blind) < len(used):
        return (
            f"{len(blind)} of {len(used)} workers, e.g. {blind[0]}, do not see {store.ROOT}, or may not write "
            "into its results/: mount it there and start them with GLASSBENCH_ROOT set to its place"
        )
    return ""


class Gate(WorkerPlugin):
    """Turns away a worker that joins later and differs from the others."""

    def __init__(self, place: Place, like: Facts) -> None:
        self.place = place
        self.like = like

    async def setup(self, worker: Any) -> None:
        """Called by Dask on each worker; closes one that would change rows."""
        found = look(self.place, worker)
        gets_units = found.gpu or not self.like.gpu
        sees = found.sees or not self.place.shared
        others = dataclasses.replace(self.like, gpu=found.gpu, sees=found.sees)
        if gets_units and not (sees and found == others):
            text = f"this worker is not like the others ({found}; they are {self.like})"
            print(f"glassbench: {text}", file=sys.stderr)
            worker.loop.call_later(
                0.1, worker.close, 5, True, False, "not like the others"
            )


# --------------------------------------------------------------------------------------------- units


class _Sender:
    """Submits units, together with their files where no folder is shared."""

    def __init__(
        self,
        client: distributed.Client,
        place: Place,
        units: Sequence[Unit],
        resource: str,
    ) -> None:
        self.client = client
        self.place = place
        self.resource = resource
        self._readers = Counter(path for unit in units for path in unit.reads)
        self._sent: dict[Path, tuple[float, Any]] = {}

    def __call__(self, unit: Unit) -> distributed.Future:
        files = {}
        if not self.place.shared:
            files = {
                str(path): self._file(path) for path in unit.reads if path.exists()
            }
        resources = {self.resource: 1} if self.resource else None
        return self.client.submit(
            work,
            unit,
            self.place,
            files,
            key=f"{unit.name}-{uuid.uuid4().hex[:8]}",
            pure=False,
            resources=resources,
        )

    def _file(self, path: Path) -> Any:
        """The bytes of a file; a future that every worker holds already, if several units read it."""
        if self._readers[path] == 1:
            return path.read_bytes()
        stamp = path.stat().st_mtime
        sent_stamp, future = self._sent.get(path, (None, None))
        if sent_stamp != stamp or future.status != "finished":
            future = self.client.scatter(path.read_bytes(), broadcast=True, hash=False)
            self._sent[path] = stamp, future
        return future

    def workers(self) -> int:
        """How many workers take units now; at least one, so that a unit waits if all are lost."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        if not self.resource:
            return max(1, len(workers))
        return max(1, sum(self.resource in worker["resources"] for worker in workers))


def work(unit: Unit, place: Place, files: Mapping[str, bytes]) -> dict[str, Any]:
    """On a worker: run the unit; returns ``engine.measured`` and, if no folder is shared, the files that it wrote."""
    engine.single_thread()
    os.environ.pop("GLASSBENCH_CLUSTER", None)
    if place.device:
        os.environ["GLASSBENCH_DEVICE"] = place.device
    store.ROOT = here = place.here()
    unit = _moved(unit, place.root, here)
    for name, content in files.items():
        path = _moved(Path(name), place.root, here)
        if not path.exists() or path.read_bytes() != content:
            with store.atomic(path) as file:
                file.write(content)
    _list_folders((*unit.reads, *unit.writes))
    found = engine.measured(unit)
    if not place.shared:
        written = [path for path in unit.writes if path.exists()]
        found["files"] = {
            str(_moved(path, here, place.root)): path.read_bytes() for path in written
        }
    return found


def _moved(value: Any, old: Path, new: Path) -> Any:
    """``value`` with each path below ``old`` moved below ``new``, also within dataclasses, lists and tuples."""
    if old == new:
        return value
    if isinstance(value, Path):
        return new / value.relative_to(old) if value.is_relative_to(old) else value
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        changed = {name: _moved(getattr(value, name), old, new) for name in names}
        return dataclasses.replace(value, **changed)
    if isinstance(value, (tuple, list)):
        return type(value)(_moved(v, old, new) for v in value)
    return value


def _list_folders(paths: Sequence[Path]) -> None:
    """A network folder may hide a new file for a while from machines that looked for it before; a listing shows it."""
    for folder in {path.parent for path in paths}:
        with contextlib.suppress(OSError):
            os.listdir(folder)


def _settle(unit: Unit, future: distributed.Future, place: Place) -> Done:
    try:
        found = future.result()
    except distributed.KilledWorker as error:
        times = error.allowed_failures + 1
        return Done(unit, error=f"its worker died {times} times (out of memory?)")
    except Exception as error:  # it could not be sent
        return Done(unit, error=engine.one_line(error))
    for name, content in found.pop("files", {}).items():
        with store.atomic(Path(name)) as file:
            file.write(content)
    _list_folders(unit.writes)
    return Done(unit, **found)


def _stop(client: distributed.Client, futures: list[distributed.Future]) -> None:
    """Cancel units; those that run can only be stopped by restarting their workers."""
    with contextlib.suppress(Exception):
        keys = {future.key for future in futures}
        busy = [
            name for name, at_work in client.processing().items() if keys & set(at_work)
        ]
        client.cancel(futures, force=True)
        client.restart_workers(busy, timeout=10, raise_for_error=False)
