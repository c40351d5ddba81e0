"""The same units on a Dask cluster: a real scheduler and real workers on loopback."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmark import engine, store
from benchmark.engine import Unit

pytest.importorskip("distributed")

HERE = Path(__file__).parent.parent


class Dask:
    """A scheduler and its workers, each a process group of its own."""

    def __init__(self, folder, **environment):
        self.folder, self.groups = folder, []
        self.environment = os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "GLASSBENCH_DEVICE": "cpu",
                                         "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2"} | environment  # fmt: skip
        self.environment.pop("GLASSBENCH_CLUSTER", None)
        self.environment.pop("GLASSBENCH_ROOT", None)
        file = folder / "scheduler.json"
        self._start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)
        )
        self.address = self._soon(lambda: file.exists() and json.loads(file.read_text())["address"])

    def worker(self, *options, **environment):
        return self._start("dask_worker", self.address, "--no-dashboard", "--local-directory", str(self.folder / "local"),
                           *(options or ("--nthreads", "1")), environment=environment)  # fmt: skip

    def _start(self, program, *options, environment=()):
        with open(self.folder / "log.txt", "ab") as log:
            process = subprocess.Popen([sys.executable, "-m", f"distributed.cli.{program}", *options], cwd=self.folder,
                                       env=self.environment | dict(environment), stdout=log, stderr=log, start_new_session=True)  # fmt: skip
        self.groups.append(process)
        return process

    @staticmethod
    def _soon(look, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.05)
        raise AssertionError("it took too long")

    def close(self):
        for process in self.groups:
            with __import__("contextlib").suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """Two workers that any test may use, and kill: a nanny brings them back."""
    made = Dask(tmp_path_factory.mktemp("dask"))
    for _ in range(2):
        made.worker()
    yield made
    made.close()


@pytest.fixture
def there(dask, workspace, monkeypatch):
    monkeypatch.setenv("GLASSBENCH_CLUSTER", dask.address)
    return dask


def square(x):
    return x * x


def count(folder, name, seconds=0.0):
    """Leaves a file each time that it begins; with its process."""
    (folder / f"{name}.{time.time_ns()}.{os.getpid()}").touch()
    time.sleep(seconds)
    return name


def die(folder, name):
    count(folder, name)
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ValueError("first\nsecond")


def state():
    import torch

    return torch.get_num_threads(), os.environ.get("GLASSBENCH_CLUSTER"), str(store.ROOT)


def run(units):
    return {done.unit.name: done for done in engine.run(units, label="test")}


def begun(folder):
    names = [path.name.split(".")[0] for path in folder.iterdir()]
    return {name: names.count(name) for name in names}


def test_units_run_there_on_one_thread_in_the_projects_folder(there, workspace):
    done = run([Unit("fails", fail), Unit("state", state), *(Unit(str(i), square, (i,)) for i in range(5))])
    assert [done[str(i)].result for i in range(5)] == [0, 1, 4, 9, 16]
    assert done["fails"].error.startswith("ValueError: first second (test_cluster.py:")
    assert done["state"].result == (1, None, str(workspace.root))
    assert done["state"].gigabytes > 0.05 and done["state"].device == "cpu"
    assert not list((workspace.root / "results").glob(".cluster-*"))


def test_a_killed_workers_unit_is_run_again_and_nothing_else(there, tmp_path):
    (folder := tmp_path / "begun").mkdir()
    units = [Unit(f"u{i}", count, (folder, f"u{i}", 1.0 if i == 2 else 0.2)) for i in range(6)]

    def kill():
        (process,) = there._soon(lambda: list(folder.glob("u2.*")))
        os.kill(int(process.name.rsplit(".", 1)[1]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    done = run(units)
    killer.join()
    assert {name: d.result for name, d in done.items()} == {u.name: u.name for u in units}
    assert begun(folder) == {u.name: 1 + (u.name == "u2") for u in units}


def test_a_unit_that_kills_three_workers_fails_and_harms_no_other(there, tmp_path):
    (folder := tmp_path / "begun").mkdir()
    done = run([Unit("bad", die, (folder, "bad")), *(Unit(f"u{i}", count, (folder, f"u{i}", 0.1)) for i in range(4))])
    assert done["bad"].error == "its worker died 3 times (out of memory?)"
    assert begun(folder) == {"bad": 3} | {f"u{i}": 1 for i in range(4)}
    assert all(done[f"u{i}"].error is None for i in range(4))
