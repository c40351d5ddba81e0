"""The same units on a Dask cluster: a real scheduler and real workers on loopback."""

import contextlib
import dataclasses
import json
import multiprocessing.forkserver
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import yaml

from benchmark import engine, store
from benchmark.api import Target
from benchmark.cli import main
from benchmark.engine import ClusterError, Unit
from benchmark.methods.contract import guard
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import unit_times
from benchmark.pipeline.cells import Cell

pytest.importorskip("distributed")
import distributed

from benchmark.engine import cluster
from benchmark.pipeline import collect, replicate
from tests.helpers import toy_paper
from tests.helpers.places import ROOT as HERE


class Dask:
    """A scheduler and its workers, each a process group of its own."""

    def __init__(self, folder, **environment):
        self.folder, self.groups = folder, []
        self.environment = (
            os.environ
            | {
                "PYTHONPATH": str(HERE),
                "OMP_NUM_THREADS": "1",
                "GLASSBENCH_DEVICE": "cpu",
                "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2",
            }
            | environment
        )
        self.environment.pop("GLASSBENCH_CLUSTER", None)
        self.environment.pop("GLASSBENCH_ROOT", None)
        file = folder / "scheduler.json"
        self._start(
            "dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(file),
        )
        self.address = self._soon(
            lambda: (
                file.exists()
                and file.read_text().endswith("}")
                and json.loads(file.read_text())["address"]
            )
        )

    def worker(self, *options, **environment):
        return self._start(
            "dask_worker",
            self.address,
            "--no-dashboard",
            "--local-directory",
            str(self.folder / "local"),
            *(options or ("--nthreads", "1")),
            environment=environment,
        )

    def _start(self, program, *options, environment=()):
        with open(self.folder / "log.txt", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{program}", *options],
                cwd=self.folder,
                env=self.environment | dict(environment),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
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
            with contextlib.suppress(ProcessLookupError):
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
    """The workers, both of them: one that the test before killed or restarted may still be on its way back."""
    with distributed.Client(dask.address) as client:
        client.wait_for_workers(2, timeout=60)
    monkeypatch.setenv("GLASSBENCH_CLUSTER", dask.address)
    return dask


def square(x):
    return x * x


def count(folder, name, seconds=0.0):
    """Leaves a file each time that it begins; with its process."""
    (folder / f"{name}.{time.time_ns()}.{os.getpid()}").touch()
    time.sleep(seconds)
    return name


def resumable(folder, name, seconds=0.1):
    """As glassbench's units: one that is called again (its result was lost with its worker) finds its work done."""
    if (done := folder / f"{name}.done").exists():
        return engine.KEPT
    count(folder, name, seconds)
    done.touch()
    return name


def die(folder, name):
    count(folder, name)
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ValueError("first\nsecond")


def state():
    import torch

    return (
        torch.get_num_threads(),
        os.environ.get("GLASSBENCH_CLUSTER"),
        str(store.ROOT),
    )


def guarded(library):
    """What ``contract.guard`` says of a method that draws from a global random state."""
    net = torch.nn.Sequential()
    net.add_module("fc", torch.nn.Linear(1, 1))
    target = Target(net, name="toy", classes="a", input_shape=(1, 1, 1))
    try:
        with guard(target):
            {"numpy": np.random.rand, "random": random.random}[library]()
    except ValueError as error:
        return str(error)
    return ""


def run(units):
    return {done.unit.name: done for done in engine.run(units, label="test")}


def begun(folder):
    names = [
        path.name.split(".")[0] for path in folder.iterdir() if path.suffix != ".done"
    ]
    return {name: names.count(name) for name in names}


def test_units_run_there_on_one_thread_in_the_projects_folder(there, workspace):
    done = run(
        [
            Unit("fails", fail),
            Unit("state", state),
            *(Unit(str(i), square, (i,)) for i in range(5)),
        ]
    )
    assert [done[str(i)].result for i in range(5)] == [0, 1, 4, 9, 16]
    assert done["fails"].error.startswith("ValueError: first second (test_cluster.py:")
    assert done["state"].result == (1, None, str(workspace.root))
    assert done["state"].gigabytes > 0.05 and done["state"].device == "cpu"
    assert not list((workspace.root / "results").glob(".cluster-*"))


def test_pythons_own_random_state_is_not_watched_there(there):
    """Threads of Dask draw from it while a method runs."""
    done = run([Unit(name, guarded, (name,)) for name in ("numpy", "random")])
    assert "global random state of numpy" in done["numpy"].result
    assert done["random"].result == ""
    assert "global random state of random" in guarded("random")


def test_a_killed_workers_unit_is_run_again_and_nothing_else(there, tmp_path):
    (folder := tmp_path / "begun").mkdir()
    units = [
        Unit(f"u{i}", resumable, (folder, f"u{i}", 1.0 if i == 2 else 0.2))
        for i in range(6)
    ]

    def kill():
        (process,) = there._soon(lambda: list(folder.glob("u2.*")))
        os.kill(int(process.name.rsplit(".", 1)[1]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    done = run(units)
    killer.join()
    assert done.keys() == {u.name for u in units} and all(
        d.result in (n, engine.KEPT) for n, d in done.items()
    )
    assert done["u2"].result == "u2"
    assert begun(folder) == {u.name: 1 + (u.name == "u2") for u in units}


@pytest.mark.slow
def test_a_unit_that_kills_three_workers_fails_and_harms_no_other(there, tmp_path):
    (folder := tmp_path / "begun").mkdir()
    done = run(
        [
            Unit("bad", die, (folder, "bad")),
            *(Unit(f"u{i}", resumable, (folder, f"u{i}")) for i in range(4)),
        ]
    )
    assert done["bad"].error == "its worker died 3 times (out of memory?)"
    assert begun(folder) == {"bad": 3} | {f"u{i}": 1 for i in range(4)}
    assert all(done[f"u{i}"].error is None for i in range(4))


def dies_twice(folder, name):
    """The third time it ends; with its process."""
    count(folder, name)
    if begun(folder)[name] < 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return name


@pytest.mark.slow
def test_a_unit_that_loses_its_worker_twice_is_done_by_a_third(there, tmp_path):
    (folder := tmp_path / "begun").mkdir()
    units = [Unit(f"u{i}", resumable, (folder, f"u{i}")) for i in range(4)]
    done = run([Unit("unlucky", dies_twice, (folder, "unlucky")), *units])
    assert done["unlucky"].result == "unlucky" and done["unlucky"].error is None
    assert begun(folder) == {"unlucky": 3} | {unit.name: 1 for unit in units}


def slow_on_one(folder, name):
    """A second on the worker that begins first, a moment on the others; returns which worker it was."""
    count(folder, name)
    first = min(folder.iterdir(), key=lambda path: int(path.name.split(".")[1]))
    is_slow = first.name.endswith(f".{os.getpid()}")
    time.sleep(1.5 if is_slow else 0.05)
    return is_slow


@pytest.mark.slow
def test_a_slow_worker_holds_up_its_own_unit_alone(there, tmp_path):
    (folder := tmp_path / "begun").mkdir()
    done = run([Unit(f"u{i}", slow_on_one, (folder, f"u{i}")) for i in range(12)])
    assert 1 <= sum(unit.result for unit in done.values()) <= 3


@pytest.mark.slow
def test_a_run_goes_on_where_its_scheduler_was_lost(tmp_path, workspace, monkeypatch):
    """What was finished is kept; another scheduler, with other workers, does the rest."""
    (folder := tmp_path / "begun").mkdir()
    units = [Unit(f"u{i}", resumable, (folder, f"u{i}", 0.3)) for i in range(8)]
    for attempt in ("lost", "found"):
        (place := tmp_path / attempt).mkdir()
        made = Dask(place)
        try:
            made.worker()
            monkeypatch.setenv("GLASSBENCH_CLUSTER", made.address)
            if attempt == "found":
                done = run(units)
                continue
            found = engine.run(units, label="test")
            kept = {next(found).unit.name for _ in range(3)}
            os.killpg(made.groups[0].pid, signal.SIGKILL)
            with pytest.raises(ClusterError, match="is gone; what is finished is kept"):
                list(found)
        finally:
            made.close()
    assert done.keys() == {unit.name for unit in units}
    assert all(done[name].result == engine.KEPT for name in kept)
    assert all(times <= 2 for times in begun(folder).values())  # one was cut off
    assert sum(begun(folder).values()) <= len(units) + 1


def rows_of(name, dataset, profile):
    """Everything recomputed: (rows, values of single images, hash of the weights, units that were timed)."""
    paths = store.Paths(name)
    shutil.rmtree(paths.results, ignore_errors=True)
    multiprocessing.forkserver._forkserver._stop()  # one of an earlier test has its folder for the project's
    for command in ("train", "explain", "score", "replicate"):
        assert main.main([command]) == 0
    rows, values = collect.profile_rows(profile)
    found, _, _ = replicate.collect(profile, rows)
    weights = store.sha256(*sorted(paths.targets(dataset).glob("*.safetensors")))
    return (
        store.rows_text(pd.concat([rows, found]).assign(seconds=0.0)),
        values.value.to_numpy().tobytes(),  # bits: some are NaN
        weights,
        sorted(unit_times.read(paths)),
    )


METHODS = [
    "baselines/grad_cam.py:GradCAM",
    "baselines/random_map.py:RandomMap",
    "baselines/edge_map.py:EdgeMap",
]
EXPERIMENTS = [
    {"experiment": "planted", "seeds": [0, 1], "m": 10, "n": 500},
    {
        "experiment": "intervention",
        "dataset": "blobs",
        "target": "cnn",
        "samples": 60,
        "test_samples": 20,
    },
]


def copy_folders(root, *names):
    for name in names:
        shutil.copytree(
            HERE / name,
            root / name,
            ignore=shutil.ignore_patterns("__pycache__", "processed", "raw"),
            dirs_exist_ok=True,
        )


def offline_digits():
    """The profile ``offline`` cut to digits under every method, and to the experiments on one of its networks."""
    params = yaml.safe_load(main.profiles()["offline"].read_text())
    del params["explain"]["only"]  # of networks on toybirds
    networks, experiments = {}, {}
    for name, recipe in params["zoo"]["digits"].items():
        if name != "mlp-100x8":
            networks[name] = recipe | {"seeds": [0]}
    for paper, entries in params["replicate"].items():
        for entry in entries:
            if entry.get("dataset") == "digits" and entry.get("target") in (
                "cnn",
                "mlp-16x8",
            ):
                experiments.setdefault(paper, []).append(entry | {"seeds": [0]})
    return params | {
        "datasets": ["digits"],
        "zoo": {"digits": networks},
        "replicate": experiments,
        "papers": list(experiments),
        "data": {"digits": params["data"]["digits"]},
    }


@pytest.mark.slow
def test_rows_are_those_of_this_machine_to_the_bit(there, workspace, monkeypatch):
    """Train, explain, score and replicate: locally, then on the cluster by the shared folder, then
    with files sent along."""
    workspace.params |= {"papers": ["explainn"], "replicate": {"explainn": EXPERIMENTS}}
    workspace.params["zoo"]["blobs"]["cnn"]["seeds"] = [0, 1]
    workspace.params["explain"]["methods"] = METHODS
    workspace.save()
    copy_folders(workspace.root, "baselines")

    on_cluster = rows_of("tiny", "blobs", workspace.profile)
    monkeypatch.setattr(cluster, "look", blind)
    sent_along = rows_of("tiny", "blobs", workspace.profile)
    monkeypatch.delenv("GLASSBENCH_CLUSTER")
    here = rows_of("tiny", "blobs", workspace.profile)
    assert (here[0].count("\n"), "failed" in here[0]) == (
        on_cluster[0].count("\n"),
        False,
    )
    assert on_cluster[:3] == here[:3] and sent_along[:3] == here[:3]
    # a stage's time is that of one machine
    assert on_cluster[3] == [key for key in here[3] if key[0] != "stage"]


QUICK = {  # what the profile quick does on real data, at toy size
    "representative": ["unseen", "similar"],
    "cladec": ["layers", "alphas"],
}


@pytest.mark.slow
def test_experiments_of_quick_are_those_of_this_machine_to_the_bit(
    there, workspace, monkeypatch
):
    entries = {}
    for paper, names in QUICK.items():
        network = {"dataset": "blobs", "target": "cnn", "seeds": [0]}
        for name in names:
            settings = toy_paper.EXPERIMENTS[f"{paper}.{name}"]
            entry = {"experiment": name} | network | settings
            entries.setdefault(paper, []).append(entry)
    workspace.params |= {"papers": list(QUICK), "replicate": entries}
    workspace.save()
    (workspace.root / "benchmark").symlink_to(HERE / "benchmark")
    copy_folders(workspace.root, "baselines")
    on_cluster = rows_of("tiny", "blobs", workspace.profile)
    monkeypatch.delenv("GLASSBENCH_CLUSTER")
    here = rows_of("tiny", "blobs", workspace.profile)
    assert on_cluster[:3] == here[:3] and "failed" not in here[0]
    assert all(here[0].count(f"replication,{paper},blobs") > 4 for paper in QUICK)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_offline_profile_with_a_worker_killed_on_the_way(
    there, workspace, monkeypatch
):
    """A worker goes in the middle of the explanations."""
    workspace.params.clear()
    workspace.params.update(offline_digits())
    workspace.save()
    # the papers' methods are the package's own
    (workspace.root / "benchmark").symlink_to(HERE / "benchmark")
    copy_folders(workspace.root, "baselines", "datasets")
    assert main.main(["prepare", "digits"]) == 0
    folder = store.Paths("offline").explanations("digits")

    def kill():
        there._soon(lambda: len(list(folder.rglob("*.npz"))) >= 3, 200)
        children = psutil.Process(there.groups[1].pid).children(recursive=True)
        next(
            child for child in children if "spawn_main" in " ".join(child.cmdline())
        ).kill()

    killer = threading.Thread(target=kill)
    killer.start()
    on_cluster = rows_of("offline", "digits", workspace.profile)
    killer.join()
    monkeypatch.delenv("GLASSBENCH_CLUSTER")
    assert on_cluster[:3] == rows_of("offline", "digits", workspace.profile)[:3]


def blind(place, dask_worker):
    """A worker that does not see the folder."""
    return dataclasses.replace(look(place, dask_worker), sees=False)


look = cluster.look


def test_ctrl_c_cancels_what_waits_and_ends_what_runs(there, tmp_path):
    (folder := tmp_path / "begun").mkdir()
    units = [
        Unit(f"u{i}", count, (folder, f"u{i}", 0.0 if i == 0 else 60.0))
        for i in range(8)
    ]
    found = engine.run(units, label="test")
    next(found)
    there._soon(lambda: begun(folder) == {"u0": 1, "u1": 1})
    processes = [
        int(path.name.rsplit(".", 1)[1])
        for path in folder.iterdir()
        if not path.name.startswith("u0.")
    ]
    with pytest.raises(KeyboardInterrupt):
        found.throw(KeyboardInterrupt())
    there._soon(
        lambda: not any(Path(f"/proc/{process}").exists() for process in processes), 20
    )
    assert begun(folder) == {"u0": 1, "u1": 1}  # nothing that waited began
    assert run([Unit("after", square, (3,))])["after"].result == 9


def facts(**changes):
    like = {
        "threads": 1,
        "code": cluster._code(),
        "versions": cluster._versions(),
        "device": "cpu",
        "instructions": "AVX2",
        "sees": True,
        "gpu": False,
    }
    return cluster.Facts(**(like | changes))


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([{"threads": 4}], "worker w0 has 4 threads"),
        ([{"code": "abc"}], "worker w0 runs other code than this machine (abc"),
        ([{"versions": "torch 1.0"}], "worker w0 has torch 1.0, this machine Python"),
        (
            [{"device": "cuda"}, {}],
            "the workers differ in device (1 with cuda, 1 with cpu)",
        ),
        (
            [{"instructions": "AVX512"}, {}, {}],
            "the workers differ in instructions (2 with AVX2, 1 with AVX512)",
        ),
        ([{}, {"sees": False}], "1 of 2 workers, e.g. w1, do not see"),
        ([{}, {}], ""),
        ([{"sees": False}, {"sees": False}], ""),  # files are sent along with the units
        (
            [{"gpu": True, "device": "cuda"}, {"threads": 8}],
            "",
        ),  # only the first gets units
    ],
)
def test_workers_that_would_change_rows_are_refused_in_one_line(others, words):
    problem = cluster._problem(
        {f"w{i}": facts(**changes) for i, changes in enumerate(others)}
    )
    assert (
        problem.startswith(words)
        and bool(problem) == bool(words)
        and "\n" not in problem
    )


def test_no_scheduler_is_one_line(workspace, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "_CONNECT", 0.5)
    monkeypatch.setenv("GLASSBENCH_CLUSTER", "")
    assert main.main(["train", "--cluster", "tcp://127.0.0.1:1"]) == 2
    assert "no Dask scheduler at tcp://127.0.0.1:1" in capsys.readouterr().err


def test_no_scheduler_for_a_word_that_is_no_address(workspace, monkeypatch):
    monkeypatch.setenv("GLASSBENCH_CLUSTER", "nowhere at all")
    monkeypatch.setattr(cluster, "_CONNECT", 0.5)
    with pytest.raises(ClusterError, match="no Dask scheduler at nowhere at all"):
        run([Unit("0", square, (0,))])


def test_without_the_extra_one_line_names_it(workspace, monkeypatch):
    monkeypatch.setenv("GLASSBENCH_CLUSTER", "tcp://127.0.0.1:1")
    monkeypatch.delitem(sys.modules, "benchmark.engine.cluster")
    monkeypatch.delattr("benchmark.engine.cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install 'glassbench\[cluster\]'"):
        run([Unit("0", square, (0,))])


@pytest.mark.slow
def test_a_scheduler_without_workers_is_one_line_and_so_is_one_that_goes(
    tmp_path, workspace, monkeypatch
):
    """The same scheduler: first nobody comes, then a worker, and then the scheduler goes in the middle of a unit."""
    made = Dask(tmp_path)
    try:
        monkeypatch.setenv("GLASSBENCH_CLUSTER", made.address)
        monkeypatch.setattr(cluster, "_WORKERS", 0.5)
        with pytest.raises(ClusterError, match="has no workers; start some"):
            run([Unit("0", square, (0,))])
        monkeypatch.setattr(cluster, "_WORKERS", 60.0)
        wide = made.worker("--nthreads", "2")
        with pytest.raises(ClusterError, match="has 2 threads"):
            run([Unit("0", square, (0,))])
        os.killpg(wide.pid, signal.SIGKILL)
        made.worker("--nthreads", "1", "--resources", "GPU=1")
        (folder := tmp_path / "begun").mkdir()
        found = engine.run(
            [Unit("0", square, (2,)), Unit("1", count, (folder, "1", 60.0))],
            label="test",
        )
        assert next(found).result == 4
        os.killpg(made.groups[0].pid, signal.SIGKILL)  # the scheduler
        with pytest.raises(ClusterError, match="is gone; what is finished is kept"):
            next(found)
    finally:
        made.close()


def test_paths_move_with_the_project():
    cell = Cell(
        "tiny",
        "blobs",
        "cnn",
        0,
        MethodRef("baselines/grad_cam.py", "GradCAM"),
        root=Path("/a/b"),
    )
    unit = Unit(
        "x", square, ((cell, [Path("/a/b/c"), Path("/else")]),), reads=(cell.weights,)
    )
    moved = cluster._moved(unit, Path("/a/b"), Path("/z"))
    assert moved.arguments[0][0].root == Path("/z") and moved.arguments[0][1] == [
        Path("/z/c"),
        Path("/else"),
    ]
    assert moved.reads == (dataclasses.replace(cell, root=Path("/z")).weights,)
