"""Units on a Dask cluster: the scheduler that GLASSBENCH_CLUSTER names (``--cluster tcp://host:8786``).

A unit is one Dask task, and there are never more of them under way than workers: which unit a lost worker ran is then
certain, and it alone is run again (one that had ended, but whose word was lost with its worker, finds its work done).
Workers compute on one thread, with the code and the versions of this machine; those that declare ``GPU`` as a resource get
all units where there are any (rows of one run then come from one kind of device).

Data, networks and results lie in the project's folder, which all workers see (each under its own GLASSBENCH_ROOT, where it
is mounted elsewhere). Where no worker sees it, a unit's files travel with it and its results come back: what several units
read goes to each worker once.

Workers run what this process sends, as Python: use a cluster that you trust, over TLS (``tls://``) outside of one machine
or closed network. docs/cluster.md has a worked example.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import random
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
_WORKERS = 60.0  # seconds for the first worker to come
_LOOK = 2.0  # seconds between two looks at which workers there are
_LOSSES = 3  # times that a unit may lose the files that were sent to it


@dataclass(frozen=True)
class Facts:
    """What a worker is, as far as rows depend on it."""

    threads: int
    code: str  # hash of the package
    versions: str
    device: str
    instructions: str
    sees: bool  # the project's folder
    gpu: bool  # declared as a resource


@dataclass(frozen=True)
class Place:
    """Where units run: sent along with each."""

    root: Path  # of the project, on this machine
    marker: str  # a file below it that proves that a worker sees it
    device: str  # GLASSBENCH_DEVICE of this machine
    shared: bool = True

    def here(self) -> Path:
        """The project's folder on the worker that asks."""
        if os.environ.get("GLASSBENCH_ROOT"):
            return Path(os.environ["GLASSBENCH_ROOT"])
        return (
            self.root
            if self.shared
            else Path(distributed.get_worker().local_directory, "glassbench")
        )


# --------------------------------------------------------------------------------------------- doors


def run(units: Sequence[Unit]) -> Iterator[Done]:
    """Run units and yield each as it ends. A unit that kills its worker more often than the scheduler's
    ``allowed-failures`` permits is an error; Ctrl-C cancels all and restarts the workers that are at work, where they have
    a nanny.

    Raises:
        ClusterError: the scheduler or its workers cannot be used, or the scheduler is lost.
    """
    with _connected() as (client, place, facts):
        send = _Sender(client, place, units, "GPU" if any(f.gpu for f in facts.values()) else "")
        waiting, running, losses = list(units), {}, Counter()
        slots, looked = send.workers(), time.monotonic()
        try:
            while waiting or running:
                while waiting and len(running) < slots:
                    unit = waiting.pop(0)
                    running[send(unit)] = unit
                with contextlib.suppress(TimeoutError, distributed.CancelledError):
                    distributed.wait(list(running), timeout=_LOOK, return_when="FIRST_COMPLETED")
                for future in [f for f in running if f.done()]:
                    unit = running.pop(future)
                    if future.cancelled():
                        if client.status != "running":
                            raise ClusterError(
                                f"the scheduler at {_address()} is gone; what is finished is kept, run again"
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
        return next(iter(_used(facts).values())).device


def device() -> str:
    """``cpu`` or ``cuda``: of the workers that units will run on."""
    return os.environ.get("GLASSBENCH_DEVICE") or _device(_address())


# --------------------------------------------------------------------------------------------- the cluster


def _address() -> str:
    return os.environ["GLASSBENCH_CLUSTER"]


@contextlib.contextmanager
def _connected() -> Iterator[tuple[distributed.Client, Place, dict[str, Facts]]]:
    """The scheduler, with workers that were looked at; whoever joins later is looked at as well."""
    logging.getLogger("distributed").setLevel(
        logging.CRITICAL
    )  # what matters is said in one line, here
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
        place = dataclasses.replace(place, shared=next(iter(_used(facts).values())).sees)
        if not place.shared:
            print(
                f"no worker of {address} sees {place.root}: files travel with the units",
                file=sys.stderr,
            )
        client.register_plugin(Gate(place, next(iter(_used(facts).values()))), name=marker)
        yield client, place, facts
    finally:
        with contextlib.suppress(Exception):  # a scheduler that is gone has no plugins
            client.unregister_worker_plugin(marker)
        (place.root / marker).unlink(missing_ok=True)
        client.close(timeout=5)


def _look_around(client: distributed.Client, place: Place) -> dict[str, Facts]:
    """What each worker is; one that goes meanwhile is none."""
    address, deadline = _address(), time.monotonic() + _WORKERS
    while True:
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(1, timeout=max(0.1, deadline - time.monotonic()))
        answers = client.run(look, place, on_error="return")
        if lacking := [error for error in answers.values() if isinstance(error, ImportError)]:
            raise ClusterError(
                f"a worker of {address} lacks glassbench ({lacking[0]}); install it there: pip install "
                "'glassbench[cluster]', the same commit as here"
            )
        if facts := {name: f for name, f in answers.items() if isinstance(f, Facts)}:
            return facts
        if time.monotonic() > deadline:
            why = "".join(f" ({engine.one_line(error)})" for error in list(answers.values())[:1])
            raise ClusterError(
                f"the scheduler at {address} has no workers{why}; start some on each machine: "
                f"dask worker {address} --nthreads 1 --nworkers 2"
            )


def look(place: Place, dask_worker: Any) -> Facts:
    """What the worker is that this is called on."""
    root = place.here() if place.shared else place.root
    with contextlib.suppress(OSError):
        os.listdir(
            root / "results"
        )  # a network folder shows new files at once to those who list it
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
    """Of the package as it was when this process first asked: what it goes on running."""
    return package_hash()[:12]


def _versions() -> str:
    return f"Python {sys.version.split()[0]}, torch {torch.__version__}, numpy {np.__version__}, {engine.blas() or 'BLAS unknown'}"


def _used(facts: Mapping[str, Facts]) -> dict[str, Facts]:
    """The workers that get units."""
    return {name: f for name, f in facts.items() if f.gpu} or dict(facts)


def _problem(facts: Mapping[str, Facts]) -> str:
    """What is wrong with the workers, in one line; empty: nothing."""
    used = _used(facts)
    if many := [name for name, f in used.items() if f.threads != 1]:
        return (
            f"worker {many[0]} has {used[many[0]].threads} threads, and a unit needs a process of its own: start workers "
            f"with --nthreads 1 (and --nworkers N for N of them)"
        )
    for name, f in used.items():
        if f.code != _code():
            return (
                f"worker {name} runs other code than this machine ({f.code}, here {_code()}): bring it to the same "
                "commit and start it again"
            )
        if f.versions != _versions():
            return (
                f"worker {name} has {f.versions}, this machine {_versions()}: rows would differ; install the same, and "
                "export the same OPENBLAS_CORETYPE"
            )
    for what in ("device", "instructions"):
        kinds = Counter(getattr(f, what) for f in used.values())
        if len(kinds) > 1:
            text = ", ".join(f"{n} with {kind}" for kind, n in kinds.most_common())
            return f"the workers differ in {what} ({text}), and rows with them: use one kind, or set GLASSBENCH_DEVICE=cpu"
    if (seeing := sum(f.sees for f in used.values())) and seeing < len(used):
        name = next(name for name, f in used.items() if not f.sees)
        return (
            f"{len(used) - seeing} of {len(used)} workers, {name} for one, do not see {store.ROOT}, or may not write "
            "into its results/: mount it there and start them with GLASSBENCH_ROOT set to where"
        )
    return ""


class Gate(WorkerPlugin):
    """Turns away a worker that joins later and is not like the others."""

    def __init__(self, place: Place, like: Facts) -> None:
        self.place, self.like = place, like

    async def setup(self, worker: Any) -> None:
        found = look(self.place, worker)
        alike = dataclasses.replace(found, gpu=self.like.gpu, sees=self.like.sees) == self.like
        sees = found.sees or not self.place.shared
        if not (alike and sees) and (found.gpu or not self.like.gpu):
            print(
                f"glassbench: this worker is not like the others ({found}; they are {self.like})",
                file=sys.stderr,
            )
            worker.loop.call_later(0.1, worker.close, 5, True, False, "not like the others")


# --------------------------------------------------------------------------------------------- units


class _Sender:
    """Submits units; where no folder is shared, with their files."""

    def __init__(
        self, client: distributed.Client, place: Place, units: Sequence[Unit], resource: str
    ) -> None:
        self.client, self.place, self.resource = client, place, resource
        self._readers = Counter(path for unit in units for path in unit.reads)
        self._sent: dict[Path, tuple[float, Any]] = {}

    def __call__(self, unit: Unit) -> distributed.Future:
        files = (
            {} if self.place.shared else {str(p): self._file(p) for p in unit.reads if p.exists()}
        )
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
        """Its bytes; on the workers already, where several units read it."""
        if self._readers[path] == 1:
            return path.read_bytes()
        stamp = path.stat().st_mtime
        kept = self._sent.get(path)
        if not kept or kept[0] != stamp or kept[1].status != "finished":
            kept = self._sent[path] = (
                stamp,
                self.client.scatter(path.read_bytes(), broadcast=True, hash=False),
            )
        return kept[1]

    def workers(self) -> int:
        """How many take units now; at least one, so that a unit waits where all are lost."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return max(1, sum(not self.resource or self.resource in w["resources"] for w in workers))


def work(unit: Unit, place: Place, files: Mapping[str, bytes]) -> dict[str, Any]:
    """On a worker: what ``engine.measured`` tells of the unit, and the files that it wrote where none are shared."""
    engine.single_thread()
    _own_dice()
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
    _show((*unit.reads, *unit.writes))
    found = engine.measured(unit)
    if not place.shared:
        found["files"] = {
            str(_moved(p, here, place.root)): p.read_bytes() for p in unit.writes if p.exists()
        }
    return found


@functools.cache
def _own_dice() -> None:
    """Dask's threads in this process draw from the global ``random``, for which a method would be blamed: they get another."""
    dice, shared = random.Random(), random.random.__self__
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("distributed", "dask", "tornado"):
            for key, value in list(vars(module).items()):
                if value is random:
                    setattr(module, key, dice)
                elif getattr(value, "__self__", None) is shared:
                    setattr(module, key, getattr(dice, value.__name__))


def _moved(value: Any, old: Path, new: Path) -> Any:
    """The same with every path below ``old`` below ``new``."""
    if old == new:
        return value
    if isinstance(value, Path):
        return new / value.relative_to(old) if value.is_relative_to(old) else value
    if dataclasses.is_dataclass(value):
        changed = {
            f.name: _moved(getattr(value, f.name), old, new)
            for f in dataclasses.fields(value)
            if f.init
        }
        return dataclasses.replace(value, **changed)
    if isinstance(value, (tuple, list)):
        return type(value)(_moved(v, old, new) for v in value)
    return value


def _show(paths: Sequence[Path]) -> None:
    """A network folder hides a file for a while from those who looked before it was written; a listing shows it."""
    for folder in {path.parent for path in paths}:
        with contextlib.suppress(OSError):
            os.listdir(folder)


def _settle(unit: Unit, future: distributed.Future, place: Place) -> Done:
    try:
        found = future.result()
    except distributed.KilledWorker as error:
        return Done(
            unit, error=f"its worker died {error.allowed_failures + 1} times (out of memory?)"
        )
    except Exception as error:  # it could not travel
        return Done(unit, error=engine.one_line(error))
    for name, content in found.pop("files", {}).items():
        with store.atomic(Path(name)) as file:
            file.write(content)
    _show(unit.writes)
    return Done(unit, **found)


def _stop(client: distributed.Client, futures: list[distributed.Future]) -> None:
    """Cancel them; a unit that is under way cannot be stopped but with its worker."""
    with contextlib.suppress(Exception):
        keys = {future.key for future in futures}
        busy = [name for name, at_work in client.processing().items() if keys & set(at_work)]
        client.cancel(futures, force=True)
        client.restart_workers(busy, timeout=10, raise_for_error=False)
