"""Killed at random moments, run again: the same rows bit for bit, no half file, nothing temporary,
no lock.

``make faults`` runs these; GLASSBENCH_KILLS (default 50) says how often ``make leaderboard`` is
killed, on the profile as it is shipped. Kills come in every stage, more in the longer ones, and
before the first. What a killed run has made is kept by the next, so that all of them together take
little more than one run from nothing and the starts. GLASSBENCH_NETWORKS names another checkout's
trained networks, of which two thirds are then taken over: where cores are busy, training takes most
of the time. The rows must be the committed ones where the machine, the code, the data and the
networks are those of the committed rows, else those of a run that nobody interrupts.
"""

import math
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmark import store
from benchmark.pipeline import unit_times
from tests.helpers.faults import Project, rows

pytestmark = [pytest.mark.faults, pytest.mark.timeout(7200)]
KILLS = int(os.environ.get("GLASSBENCH_KILLS", "50"))
STEPS = {"prepare", "train", "explain", "score", "replicate", "report"}
# seconds, where nobody measured them; these two start over after a kill
UNKNOWN = {"prepare": 5.0, "report": 20.0}


def step_of(stage):
    """``prepare`` of ``prepare digits``; empty before the first stage."""
    return stage.partition(" ")[0]


class Moments:
    """When to kill in a stage: so often in each, the longer ones more often, and spread over all of it."""

    def __init__(self, params, seconds, kills, seed):
        """``seconds``: of each stage, ``train``."""
        stages = [f"prepare {name}" for name in params["datasets"]]
        stages += ["train", "explain", "score", "replicate", "report"]
        self.seconds = {
            stage: seconds.get(stage) or UNKNOWN.get(step_of(stage), 10.0)
            for stage in stages
        }
        weights = {stage: math.sqrt(taken) for stage, taken in self.seconds.items()}
        self.planned = {
            s: math.ceil(kills * weight / sum(weights.values()))
            for s, weight in weights.items()
        }
        self.planned[""] = math.ceil(kills / 10)
        self.kills, self.hits, self.rng = kills, Counter(), np.random.default_rng(seed)

    def __call__(self, stage):
        if not stage:  # until the first stage: seconds
            return (
                self.rng.uniform(0, 40)
                if self.hits[""] < self.planned[""]
                else math.inf
            )
        if (stage == "report" and self.hits.total() < self.kills) or self.hits[
            stage
        ] < self.planned[stage]:
            whole = step_of(stage) in UNKNOWN
            return self.rng.uniform(
                0, self.seconds[stage] * (1 if whole else 2 / self.planned[stage])
            )
        return math.inf

    def missing(self):
        return self.hits.total() < self.kills or STEPS - set(map(step_of, self.hits))


def test_make_leaderboard_survives_kills(tmp_path):
    """The lock file also holds the stages of other profiles, which nobody touches."""
    project = Project(tmp_path, params=None)
    if "GLASSBENCH_NETWORKS" in os.environ:
        take_over(
            Path(os.environ["GLASSBENCH_NETWORKS"]), project.paths.artifacts / "targets"
        )
    others, start = project.others(), time.monotonic()
    assert others
    seconds = Counter()
    for (step, unit), taken in unit_times.read(project.committed).items():
        if step == "stage":  # of a step on one data set or paper
            name = step_of(unit).replace("again", "score")
            seconds[name] += taken.seconds
    moments, found = Moments(project.params, seconds, KILLS, 0), []
    while moments.missing() or not found:
        if found:
            project.reset(networks=True)
        while True:
            code, stage, into = project.kill(project.leaderboard(), moments)
            assert not project.orphans(), "processes outlive the group that was killed"
            project.check_files()
            if code is not None:
                break
            moments.hits[stage] += 1
            print(
                f"kill {moments.hits.total()}: {into:.1f} s into {stage or 'the start'}; "
                f"{time.monotonic() - start:.0f} s in all",
                flush=True,
            )
        assert code == 0, project.said()[-3000:]
        found.append(project.rows())
        assert not project.temporary()
        assert not project.locks()
        assert project.others() == others
        status = project.run("dvc", "status")
        assert "up to date" in status.stdout, status.stdout + status.stderr
    hits = Counter()
    for stage, count in moments.hits.items():
        hits[step_of(stage) or "the start"] += count
    print(
        f"{hits.total()} kills in {time.monotonic() - start:.0f} s, runs that ended: {len(found)}; {dict(hits)}"
    )
    assert set(found) == {expected(project)}


def take_over(networks, folder):
    """Two thirds of the networks, as if an earlier run had trained them."""
    trained = sorted(
        path
        for path in networks.glob("*/*.safetensors")
        if path.with_suffix(".json").exists()
    )
    for path in [path for i, path in enumerate(trained) if i % 3]:
        for file in (path, path.with_suffix(".json")):
            (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / path.parent.name)
    print(
        f"{len(trained) - -(-len(trained) // 3)} of {len(trained)} networks taken over"
    )


def expected(project):
    """The committed rows where they were made of what is here, else those of a run that nobody interrupts."""
    here, then = (
        store.read_json(p.results / "provenance.json")
        for p in (project.paths, project.committed)
    )
    if all(
        here[key] == then.get(key)
        for key in (
            "machine",
            "steps",
            "experiments",
            "methods",
            "metrics",
            "params",
            "data",
            "weights",
        )
    ):
        print("compared with the committed rows")
        return rows(project.committed.rows)
    project.reset()
    start = time.monotonic()
    done = project.run(*project.leaderboard(), timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    print(
        f"compared with a run that nobody interrupted: {time.monotonic() - start:.0f} s"
    )
    return project.rows()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("faults"))


def test_evaluate_survives_kills(small):
    """Data and networks are made on the way; the method runs in a process of its own, which dies with the rest."""
    command = ["glassbench", "evaluate", "mine.py:Mine"]
    written = small.root / "results" / "evaluations" / "offline" / "Mine"
    start = time.monotonic()
    done = small.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    seconds, expected = time.monotonic() - start, rows(written / "rows.csv")
    print(f"evaluate: {seconds:.0f} s from nothing")
    small.reset()
    rng, killed, kills, start = (
        np.random.default_rng(1),
        [],
        max(10, KILLS // 4),
        time.monotonic(),
    )

    def moment(_):
        return rng.uniform(0, seconds) if len(killed) < kills else math.inf

    while True:
        code, _, into = small.kill(command, moment)
        assert not small.orphans(), "processes outlive the group that was killed"
        small.check_files()
        if code is None:
            killed.append(into)
            last = (small.said().strip().splitlines() or ["the start"])[-1]
            print(
                f"kill {len(killed)}: {into:.1f} s into evaluate, after: {last[:80]}",
                flush=True,
            )
            continue
        assert code == 0, small.said()[-3000:]
        assert rows(written / "rows.csv") == expected
        assert not small.temporary()
        assert not small.locks()
        if len(killed) == kills:
            break
        small.reset()
    print(f"{len(killed)} kills in {time.monotonic() - start:.0f} s")


def test_only_the_first_process_killed_leaves_nobody_behind(small):
    """As the system does it when memory runs out: workers and the processes of external methods notice, and end."""
    small.reset()
    for step in ("prepare", "train"):
        assert small.run("glassbench", step).returncode == 0
    for command in (
        ["glassbench", "explain"],
        ["glassbench", "evaluate", "mine.py:Mine", "--no-page"],
    ):
        process = small.start(*command)
        end = time.monotonic() + 120
        while (
            len(list(small.alive())) < 4
            and process.poll() is None
            and time.monotonic() < end
        ):
            time.sleep(0.02)  # fork server, resource tracker, a worker
        process.kill()
        process.wait()
        assert not small.orphans(patience=60), command
        small.check_files()
